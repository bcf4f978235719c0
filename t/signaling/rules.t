# Rules over positions: a vehicle enters, stays in and leaves geofences, drives
# too fast and idles; each is an alarm once, and late uploads raise none.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Events;

my $t = MDVR::Test->new;
my $id = $t->add_device('00007');
my $other = $t->add_device('OTHER', tenant => 'B');
my $n = $t->nginx(ready => 0);
my $events = MDVR::Events->new($t, $t->tenant);

sub fence {
    my ($name, $geometry, %o) = @_;
    my @c = $geometry->{type} eq 'Point' ? $geometry->{coordinates} : @{ $geometry->{coordinates}[0] };
    my $r = ($o{radius} // 0) / 60000;
    my ($s, $north) = (sort { $a <=> $b } map { $_->[1] } @c)[0, -1];
    my ($w, $e) = (sort { $a <=> $b } map { $_->[0] } @c)[0, -1];
    return $t->value('insert into mdvr.geofence (tenant_id, name, shape, geometry, radius_m, min_lat_deg, max_lat_deg,
        min_lon_deg, max_lon_deg, dwell_s, group_ids) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) returning id', $t->tenant, $name,
        $geometry->{type} eq 'Point' ? 'circle' : 'polygon', JSON::PP->new->encode($geometry), $o{radius},
        $s - $r, $north + $r, $w - $r, $e + $r, $o{dwell}, $o{groups});
}

my $square = fence('depot', { type => 'Polygon', coordinates => [
    [ [ 8.5, 47.3 ], [ 8.6, 47.3 ], [ 8.6, 47.4 ], [ 8.5, 47.4 ], [ 8.5, 47.3 ] ],
    [ [ 8.54, 47.34 ], [ 8.56, 47.34 ], [ 8.56, 47.36 ], [ 8.54, 47.36 ], [ 8.54, 47.34 ] ] ] }, dwell => 60);
my $circle = fence('school', { type => 'Point', coordinates => [ 8.55, 47.35 ] }, radius => 500);
my $group = $t->value("insert into mdvr.device_group (tenant_id, name) values (?, 'others') returning id", $t->tenant);
my $theirs = fence('of others', { type => 'Point', coordinates => [ 8.51, 47.31 ] }, radius => 5000, groups => "{$group}");

my $at = int(time) + 5;
my $dev = $t->device('00007')->register;

sub at {
    my ($lat, $lon, %o) = @_;
    $at += $o{after} // 10;
    $dev->v114(at => $at, lat => MDVR::Device::dms($lat), lon => MDVR::Device::dms($lon), speed => $o{speed} // '30.00',
        status => $o{status} // '0F00000000007783', $o{fix} ? (fix => $o{fix}) : ());
    ok eventually(sub { ($t->value('select extract(epoch from recorded_at)::bigint from mdvr.position where device_id = ?', $id) // 0) >= $at
        || $o{late} }), "a position at $lat, $lon";
    eventually { ($t->value('select s.seen_at >= p.received_at from mdvr.rule_state s join mdvr.position p using (device_id)
        where p.device_id = ?', $id) // '') eq 't' };
}

sub crossing {
    my ($kind) = @_;
    my $e = $events->find(sub { $_[0]{type} eq 'alarm' && $_[0]{kind} eq 'geofence' && $_[0]{data}{transition} eq $kind }, 4);
    return $e && $e->{data}{name};
}

at(47.25, 8.45);
at(47.32, 8.52);
is crossing('enter'), 'depot', 'driving into a polygon is an alarm';
at(47.33, 8.53, after => 30);
at(47.33, 8.53, after => 40);
is crossing('dwell'), 'depot', 'staying is one, once';
at(47.3501, 8.5501);
is crossing('exit'), 'depot', 'the hole of a polygon is outside';
is crossing('enter'), 'school', 'and the circle in it is entered';
at(47.33, 8.53, fix => 'V');
at(47.45, 8.7);
is crossing('exit'), 'school', 'without a fix nothing is left';
is crossing('enter') // 'none', 'none', 'or entered';
is_deeply [ map { $_->[0] } $t->sql('select kind from mdvr.geofence_event where device_id = ? order by at, kind', $id) ],
    [ qw(enter dwell enter exit exit) ], 'all of it is in the history';
is $t->value("select count(*) from mdvr.geofence_state"), 0, 'the vehicle is nowhere inside';
is $t->value('select count(*) from mdvr.geofence_event where geofence_id = ?', $theirs), 0, 'fences of other groups do not count';

# ------------------------------------------------------------------------- speed

$t->sql(q(update mdvr.device set settings = '{"speed_limit_kmh": 80, "idle_limit_s": 120}' where id = ?), $id);
at(47.45, 8.71, speed => '79.00');
at(47.45, 8.72, speed => '96.50');
my $fast = $events->find(sub { $_[0]{type} eq 'alarm' && $_[0]{kind} eq 'overspeed' });
is_deeply [ @$fast{qw(code phase severity)}, $fast->{data}{speed_kmh}, $fast->{data}{source} ],
    [ 'V211', 'start', 'warning', 96.5, 'server' ], 'over the limit is an alarm';
at(47.45, 8.73, speed => '99.00');
at(47.45, 8.74, speed => '60.00');
is +($events->find(sub { $_[0]{type} eq 'alarm' && $_[0]{kind} eq 'overspeed' }) // {})->{phase}, 'end', 'which ends below it';
is $t->value("select status from mdvr.alarm where kind = 'overspeed'"), 'ended', 'one alarm from start to end';

# -------------------------------------------------------------------------- idle

at(47.45, 8.74, speed => '0.00');
at(47.45, 8.74, speed => '0.00', after => 60);
is $t->value("select count(*) from mdvr.alarm where kind = 'idle'"), 0, 'standing for a while is no alarm';
at(47.45, 8.74, speed => '0.00', after => 70);
my $idle = $events->find(sub { $_[0]{type} eq 'alarm' && $_[0]{kind} eq 'idle' });
is $idle && $idle->{phase}, 'start', 'with the ignition on it becomes one';
at(47.45, 8.74, speed => '0.00', status => '0F00000000007781');
is +($events->find(sub { $_[0]{type} eq 'alarm' && $_[0]{kind} eq 'idle' }) // {})->{phase}, 'end', 'until it is switched off';

# -------------------------------------------------------------------------- late

$dev->v114(at => $at - 3000, lat => MDVR::Device::dms(47.32), lon => MDVR::Device::dms(8.52), status => '0F00000004007783');
ok eventually(sub { $t->value('select count(*) from mdvr.telemetry where late') == 1 }), 'a late report is stored';
sleep 2;
is scalar(grep { $_->{type} eq 'alarm' } $events->all), 0, 'and raises nothing';

my $b = $t->device('OTHER')->register;
$b->v114(lat => MDVR::Device::dms(47.32), lon => MDVR::Device::dms(8.52));
sleep 2;
is $t->value('select count(*) from mdvr.geofence_event where device_id = ?', $other), 0, 'another tenant has nothing to do with it';

$t->done;
