# The outbox: numbered per tenant without gaps, in the order of commits, so that
# no reader ever misses a late commit.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Session;

my $t = MDVR::Test->new(no_redis => 1);
my $dev = $t->add_device('00007');
my $dev2 = $t->add_device('00008');
my $far = $t->add_device('00009', tenant => 'B');
my $a = $t->tenant('A');
my $node = '01a00000-0000-7000-8000-000000000001';
my $stream = MDVR::Session->new($t, 'mdvr_stream');
my $second = MDVR::Session->new($t, 'mdvr_stream');
my $api = MDVR::Session->new($t, 'mdvr_api')->as(tenant => $a, user => $a, role => 'technician');

sub raise {
    my ($device, $uid) = @_;
    return "select event_id from mdvr.store_alarm('$device', 'V203', 'V203', 'event', 'vibration', 'info', '', '$uid', now(), now(),
        '{}', '{}', null, null)";
}
sub after { map { $_->[0] } $api->rows('select id from mdvr.events_after(?)', @_) }

is $api->value('select mdvr.event_position()'), '0', 'before the first event the position is 0';
is $stream->value(raise($dev, 'A1')), '1', 'the first event has number 1';
is $stream->value(raise($far, 'A1')), '1', 'in every tenant';
is $stream->value(raise($dev, 'A2')), '2', 'the next one 2';
is_deeply [ after('0') ], [ 1, 2 ], 'a reader gets them in order';
is_deeply [ after('1') ], [ 2 ], 'after the one it knows';
is_deeply [ after('2') ], [], 'or none';
is_deeply [ after('1-0') ], [ 2 ], 'an id may carry a counter';
is_deeply [ after('t0') ], [ 1, 2 ], 'or a time';
is_deeply [ after('t' . int(time + 3600) . '000') ], [], 'or a later one';
like $api->error('select * from mdvr.events_after(?)', $_), qr/^22023/, "'$_' is no id" for '', 'x', '1;', "1'", '-1', '99999999999999999999';
is $api->value('select mdvr.event_position()'), '2', 'the position is the newest id';

# A rolled back transaction leaves no gap.
$stream->send('begin'); $stream->answer;
$stream->send(raise($dev, 'A3')); $stream->answer;
$stream->send('rollback'); $stream->answer;
is $stream->value(raise($dev, 'A4')), '3', 'a rolled back event leaves no gap';

# A late commit: the first takes its number and hesitates.
$stream->send('begin'); $stream->answer;
$stream->send(raise($dev, 'B1'));
is $stream->answer, '4', 'a slow transaction has number 4';
$second->send(raise($dev2, 'B2'));
is $second->answer(0.3), undef, 'a faster one of that tenant waits for its number';
is_deeply [ after('3') ], [], 'the reader sees neither';
is $api->value('select mdvr.event_position()'), '3', 'and believes in 3';
my $third = MDVR::Session->new($t, 'mdvr_stream');
is $third->value(raise($far, 'B3')), '2', 'another tenant does not wait';
$stream->send('commit'); $stream->answer;
is $second->answer, '5', 'then it is 5';
is_deeply [ after('3') ], [ 4, 5 ], 'and the reader that knew 3 gets both';

# Many writers, one reader that polls: nothing is skipped.
my @writers = map {
    my $n = $_;
    my $pid = fork // die $!;
    if (!$pid) {
        my $s = MDVR::Session->new($t, 'mdvr_stream');
        $s->value(raise($n % 2 ? $dev : $dev2, "C$n-$_")) for 1 .. 60;
        POSIX::_exit(0);
    }
    $pid;
} 1 .. 4;
my ($last, @got) = ('5');
my $left = @writers;
while (1) {
    $left = grep { waitpid($_, 1) == 0 } @writers if $left;
    my @new = after($last);
    push @got, @new;
    $last = $new[-1] if @new;
    last if !$left && !@new;
}
is_deeply \@got, [ 6 .. 245 ], 'a polling reader gets every event of four concurrent writers once and in order';

# Filters.
is scalar(() = $api->rows('select id from mdvr.events_after(?, ?)', '0', '{device}')), 0, 'by topic';
is scalar(() = $api->rows('select id from mdvr.events_after(?, null, array[?]::uuid[])', '5', $dev2)), 120, 'by device';
is scalar(() = $api->rows('select id from mdvr.events_after(?, null, null, 7)', '0')), 7, 'a few at a time';
my $plan = $api->run("explain (costs off) select * from mdvr.events_after('240')");
$plan = $api->run(q{explain (costs off) select e.seq from mdvr.event e where e.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid and e.seq > 240 order by e.seq limit 5});
like $plan, qr/Index Scan (?:using|on) event_pkey/, 'replay reads the primary key' or diag $plan;

# Devices come and go.
$t->sql('delete from mdvr.event');
my $reg = sub {
    my ($s, $d, $secs, $n) = @_;
    return $s->row("select * from mdvr.register_device(?, ?, ?, '10.0.0.1', now() + make_interval(secs => ?::float8), ?)", $d, $n // 'n1', $node, $secs,
        '{"firmware":"T1","utc_offset_minutes":480}');
};
my $at = sub { "(select connected_at from mdvr.device_state where device_id = '$_[0]')" };
my $state = sub { $t->row('select * from mdvr.device_state where device_id = ?', $_[0]) };
$stream->run("select * from mdvr.node_started('n1', ?)", $node);
my ($event, $message) = $reg->($stream, $dev, 0);
is_deeply [ @{ MDVR::Test::json_of($message) }{qw(type event reason serial)} ], [ 'device', 'online', 'registered', '00007' ], 'a registration is an event';
is $state->($dev)->{registration}{firmware}, 'T1', 'what V101 said is kept';
is $stream->value("select utc_offset_minutes from mdvr.device_by_serial('00007')"), 480, 'the detected offset is used';
$t->sql('update mdvr.device set utc_offset_minutes = 60 where id = ?', $dev);
is $stream->value("select utc_offset_minutes from mdvr.device_by_serial('00007')"), 60, 'unless one is set';
is_deeply [ ($reg->($stream, $dev, -5, 'n2'))[0] ], [ undef ], 'an older connection changes nothing';
is $state->($dev)->{node}, 'n1', 'the newer one holds the device';
($event, $message) = $reg->($stream, $dev, 5, 'n2');
is MDVR::Test::json_of($message)->{reason}, 'reconnected', 'a newer connection takes over';
is_deeply [ $stream->row("select * from mdvr.device_offline(?, 'n1', now(), 'closed')", $dev) ], [ undef, undef ], 'the end of the older one is no news';
($event, $message) = $stream->row("select * from mdvr.device_offline(?, 'n2', " . '(select ?::timestamptz)' . ", 'idle')", $dev, $state->($dev)->{connected_at});
is_deeply [ @{ MDVR::Test::json_of($message) }{qw(event reason)} ], [ 'offline', 'idle' ], 'the end of the current one is';
is $state->($dev)->{online}, JSON::PP::false, 'and the device is offline';
is $t->value('select count(*) from mdvr.connection where device_id = ? and disconnected_at is not null', $dev), 2, 'both connections are history';

$reg->($stream, $_, 10) for $dev, $dev2, $far;
my @lost = $stream->rows("select tenant_id, event_id, message from mdvr.node_started('n1', ?)", '01a00000-0000-7000-8000-000000000002');
is scalar(@lost), 3, 'a node that boots again has lost its devices';
is MDVR::Test::json_of($lost[0][2])->{reason}, 'server restart', 'and says why';
is scalar($stream->rows("select * from mdvr.node_started('n1', ?)", '01a00000-0000-7000-8000-000000000002')), 0, 'once';
$reg->($stream, $dev, 20);
is scalar($stream->rows("select * from mdvr.nodes_expire('30 s')")), 0, 'a node that lives keeps its devices';
$t->sql("update mdvr.node set heartbeat_at = now() - interval '1 min'");
is scalar($stream->rows("select * from mdvr.nodes_expire('30 s')")), 1, 'one that is silent loses them';
$stream->run("select mdvr.node_heartbeat('n1', ?)", '01a00000-0000-7000-8000-000000000002');
is $t->value("select heartbeat_at > now() - interval '5 s' from mdvr.node"), 't', 'a heartbeat is noted';
$reg->($stream, $dev, 30);
$stream->run("select mdvr.node_upgraded('n1', ?)", '01a00000-0000-7000-8000-000000000003');
$t->sql("update mdvr.node set heartbeat_at = now() - interval '1 min'");
$stream->run("select mdvr.node_heartbeat('n1', ?)", '01a00000-0000-7000-8000-000000000002');
is scalar($stream->rows("select * from mdvr.nodes_expire('30 s')")), 0, 'an upgrade that is taken back: the nginx before it keeps its devices';

# Serials that nobody owns.
$stream->run("select mdvr.knock(?, '10.0.0.9')", $_) for qw(X1 X1 X2);
my $knocks = sub { $api->as(tenant => $a, user => $a, role => $_[0])->value('select count(*) from mdvr.pending_devices(?)', $_[1]) };
is $knocks->('technician', 'X1'), 1, 'a technician asks for one by name';
is $knocks->('technician', undef), 0, 'and gets no list';
is $knocks->('super_admin', undef), 2, 'a super_admin does';
is $t->value("select knocks from mdvr.pending_device where serial = 'X1'"), 2, 'knocks are counted';
$t->sql("insert into mdvr.pending_device (serial, last_at) select 'y' || g, now() - interval '1 h' from generate_series(1, 9998) g");
$stream->run("select mdvr.knock('X3', '10.0.0.9')");
is $t->value('select count(*) from mdvr.pending_device'), 9901, 'the list is bounded: the longest silent go';
is $t->value("select count(*) from mdvr.pending_device where serial like 'X%'"), 3, 'the recent ones stay';

$t->done;
