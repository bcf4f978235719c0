# Position reports: stored once, clamped, in the order of their own time.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Session;
use Time::HiRes qw(time);

my $t = MDVR::Test->new(no_redis => 1);
my $dev = $t->add_device('00007');
my $other = $t->add_device('00008', tenant => 'B');
my $stream = MDVR::Session->new($t, 'mdvr_stream');

my @cols = (
    [ device => 'uuid' ], [ at => 'timestamptz' ], [ received => 'timestamptz' ], [ gps => 'bool' ], [ lat => 'float8' ],
    [ lon => 'float8' ], [ sat => 'int2' ], [ speed => 'real' ], [ course => 'real' ], [ acc => 'bool' ], [ mileage => 'bigint' ],
    [ fuel => 'real' ], [ status => 'text' ], [ mask => 'text' ], [ t1 => 'real' ], [ t2 => 'real' ], [ t3 => 'real' ],
    [ parking => 'int' ], [ rpm => 'int' ], [ obd => 'real' ], [ people => 'int' ], [ trigger => 'int2' ], [ late => 'bool' ],
    [ digest => 'bytea' ],
);

# One call; times as SQL expressions.
sub call {
    my (@reports) = @_;
    my $n = 0;
    my @arg;
    for my $c (@cols) {
        my ($name, $type) = @$c;
        push @arg, 'array[' . join(', ', map {
            my %r = (device => $dev, at => 'now()', received => 'now()', gps => 't', lat => 22.5, lon => 114, late => 'f',
                     digest => '\x0000000000000000', %$_);
            my $v = $r{$name};
            $type eq 'timestamptz' ? $v : $t->quote($v);
        } @reports) . "]::$type\[]";
    }
    return 'select mdvr.store_positions(' . join(', ', @arg) . ')';
}

sub store { $stream->value(call(@_)) }
sub digest { sprintf '\x%016x', $_[0] }
sub position { $t->row('select *, recorded_at = received_at as same from mdvr.position where device_id = ?', $_[0] // $dev) }

is store({ digest => digest(1), speed => 50.5, sat => 9, mileage => 5 }), 1, 'a report is stored';
my $row = $t->row('telemetry');
is $row->{speed_kmh}, 50.5, 'with its speed';
is $row->{tenant_id}, $t->tenant('A'), 'and the tenant of its device';
is $row->{cell}, (int((22.5 + 90) * 100) * 36000 + int((114 + 180) * 100)), 'and its square of the map';
is position()->{lat_deg}, 22.5, 'the latest position is there';

my $at = $t->value('select recorded_at from mdvr.telemetry');
is store({ at => "'$at'", digest => digest(1) }), 0, 'the same report again is not stored';
is store({ at => "'$at'", digest => digest(2) }), 1, 'another report of the same second is';
is store({ at => "'$at'", digest => digest(3) }, { at => "'$at'", digest => digest(3) }, { at => "'$at'", digest => digest(1) }), 1,
    'a batch with repetitions, old and in itself, stores what is new';
is $t->value('select count(*) from mdvr.telemetry'), 3, 'three rows in all';

is store({ at => "now() + interval '1 min'", lat => 23, digest => digest(4) }), 1, 'a newer report';
is position()->{lat_deg}, 23, 'moves the position';
is store({ at => "now() - interval '1 min'", lat => 24, digest => digest(5) }), 1, 'an older one is stored';
is position()->{lat_deg}, 23, 'and does not';
is store({ at => "now() + interval '2 min'", lat => 25, late => 't', digest => digest(6) }), 1, 'a late upload is stored';
is position()->{lat_deg}, 23, 'and does not either';
is store({ at => "now() + interval '3 min'", gps => 'f', lat => undef, lon => undef, mileage => undef, digest => digest(7) }), 1, 'a report without fix';
my $p = position();
is $p->{gps_valid}, JSON::PP::false, 'says so';
is $p->{lat_deg}, 23, 'and leaves the last known place';
is $p->{mileage_m}, 5, 'and mileage';
is store({ at => "now() + interval '4 min'", digest => undef, lat => 26 }), 0, 'a position inside another message makes no row';
is position()->{lat_deg}, 26, 'but moves the position';

is store({ at => "now() + interval '4 min'", lat => 1, digest => digest(8), device => $dev }, { at => "now() + interval '5 min'", lat => 2, digest => digest(9) },
    { at => "now() + interval '4 min 30 s'", lat => 3, digest => digest(10) }), 3, 'several reports of a device in one batch';
is position()->{lat_deg}, 2, 'the newest counts';

# Clocks.
is store({ at => "'2031-01-01Z'", digest => digest(11) }), 1, 'a clock years ahead is not believed';
$row = $t->row("select recorded_at = received_at as moved, clock_at::text from mdvr.telemetry where clock_at > '2030-01-01'");
is $row->{moved}, JSON::PP::true, 'the row has the server\'s time';
like $row->{clock_at}, qr/^2031-01-01/, 'and keeps the device\'s';
is store({ at => "'2031-01-01Z'", received => "now() + interval '9 s'", digest => digest(11) }), 0, 'its repetition is none of its own';
is store({ at => "'2031-01-01 00:00:01Z'", received => "now() + interval '9 s'", digest => digest(11) }), 1, 'another time of the device is';
$t->sql("delete from mdvr.telemetry where clock_at = '2031-01-01 00:00:01Z'");
is store({ at => "'1970-01-01Z'", digest => digest(12) }), 1, 'nor is one decades behind';
is store({ at => "now() - interval '89 days'", late => 't', digest => digest(13) }), 1, '89 days late is believed';
is $t->value("select count(*) from mdvr.telemetry where recorded_at < now() - interval '88 days'"), 1, 'and stored at its own time';
is store({ at => "now() + interval '23 hours'", lat => 40, digest => digest(14) }), 1, 'a clock 23 h ahead is believed';
is position()->{lat_deg}, 40, 'and moves the position';
is store({ at => 'now()', lat => 41, digest => digest(15) }), 1, 'once the clock is right again';
is position()->{lat_deg}, 41, 'the position follows';

# What a device may send.
is store({ digest => digest(20), lat => 91, lon => 0 }, { digest => digest(21), speed => 5000, course => 400, rpm => -1, sat => -2, mileage => -3,
    fuel => -1, parking => -5, people => -1, obd => -3 }, { digest => digest(22), speed => 'NaN', lat => 'NaN', course => 'NaN', fuel => 'NaN' },
    { digest => digest(23), speed => 'Infinity', status => 'F' x 100 }), 4, 'absurd values do not lose the report';
is $t->value('select count(*) from mdvr.telemetry where body_digest = ? and lat_deg is null and not gps_valid', digest(20)), 1, 'they become unknown';
is $t->value('select num_nulls(speed_kmh, course_deg, rpm, satellites, mileage_m, fuel_l, parking_s, people, obd_speed_kmh) from mdvr.telemetry where body_digest = ?', digest(21)), 9,
    'each of them';
is $t->value('select num_nulls(speed_kmh, course_deg, lat_deg, fuel_l) from mdvr.telemetry where body_digest = ?', digest(22)), 4, 'also what is no number';

is store({ device => '00000000-0000-7000-8000-000000000000', digest => digest(30) }, { device => $other, digest => digest(31) }), 1,
    'an unknown device is left out, the rest of its batch is stored';
is $t->value('select tenant_id from mdvr.telemetry where body_digest = ?', digest(31)), $t->tenant('B'), 'a batch mixes tenants';
is store({ device => $other, digest => digest(32), speed => 9999 }), 1, 'the first report of a device may be absurd, too';
is $stream->value("select mdvr.store_positions('{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}')"), 0,
    'an empty batch is nothing';
my $third = $t->add_device('00009');
is store({ device => $third, digest => digest(40), lat => 95, speed => 2000, course => 999, gps => undef, acc => undef, late => undef }), 1, 'a new device';
is position($third)->{gps_valid}, JSON::PP::false, 'has a position row from its first report';
is position($third)->{speed_kmh}, undef, 'without absurd values';

# Two transactions with the same reports wait for each other.
my $second = MDVR::Session->new($t, 'mdvr_stream');
my @same = map { { digest => digest(100 + $_), at => "'$at'::timestamptz + interval '$_ s'" } } 1 .. 5;
$stream->send('begin');
$stream->send(call(@same));
$stream->answer for 1 .. 2;
$second->send(call(reverse(@same), { digest => digest(106), at => "'$at'" }));
is $second->answer(0.3), undef, 'the second waits';
$stream->send('commit');
$stream->answer;
is $second->answer, 1, 'and stores only what the first did not';

# Batches in any order do not deadlock.
$t->sql(q{insert into mdvr.device (tenant_id, serial) select ?, 'm' || g from generate_series(1, 200) g}, $t->tenant('A'));
my @ids = map { $_->[0] } $t->sql("select id from mdvr.device where serial like 'm%'");
store(map { { device => $ids[$_], digest => digest(1000 + $_) } } 0 .. $#ids);
my $seq = 10000;
my @sessions = map { MDVR::Session->new($t, 'mdvr_stream') } 1 .. 3;
my $bad = 0;
for my $round (1 .. 10) {
    for my $s (@sessions) {
        my @order = sort { rand() <=> 0.5 } @ids;
        $s->send(call(map { { device => $_, at => "clock_timestamp() + interval '$round ms'", digest => digest($seq++) } } @order));
    }
    $bad += ($_->answer // '') ne '200' for @sessions;
}
is $bad, 0, '30 concurrent batches of the same 200 devices in any order all succeed';

# What the foreign key would have said.
my $keeper = $t->tenant('C');
$t->sql('update mdvr.telemetry set tenant_id = ? where body_digest = ?', $keeper, digest(31));
like eval { $t->sql('delete from mdvr.tenant where id = ?', $keeper); '' } // $@, qr/has positions/, 'a tenant with positions stays';
like eval { $t->sql('update mdvr.tenant set id = mdvr.uuid7() where id = ?', $keeper); '' } // $@, qr/has positions/, 'and keeps its id';
$t->sql('delete from mdvr.telemetry where body_digest = ?', digest(31));
ok eval { $t->sql('delete from mdvr.tenant where id = ?', $keeper); 1 }, 'without them it may go';

# A batch that nobody sees yet: late reports move no position, so they hold no row of their device.
my $leaver = $t->tenant('D');
my $gone = $t->add_device('00010', tenant => 'D');
my $owner = MDVR::Session->new($t, 'mdvr_admin');
$stream->send('begin');
$stream->send(call({ device => $gone, digest => digest(50), late => 't' }));
$stream->answer for 1 .. 2;
$t->sql('delete from mdvr.device where id = ?', $gone);
$owner->send('delete from mdvr.tenant where id = ?', $leaver);
is $owner->answer(0.3), undef, 'a tenant that goes waits for batches under way';
$stream->send('commit');
$stream->answer;
like $owner->answer, qr/has positions/, '... and sees what they stored';

$t->done;
