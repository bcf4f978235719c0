# Clocks of devices: in another zone, put forward while connected, set by
# somebody, wrong by years, wrong by hours.  Positions are stored at the right
# time, or at the server's with the device's own kept beside it.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
my %id = map { $_ => $t->add_device($_) } qw(ZONE BOOT WILD);
my $n = $t->nginx(workers => 2);
my $api = $t->admin;
my $now = int(time);
my $hour = 3600;
my $mileage = 0;

sub status { $api->get("/devices/$id{$_[0]}/status")->{json} }

# Reports with the clock `ahead` seconds ahead and returns the stored time, in
# seconds from now, and the clock that was kept.
sub stored {
    my ($dev, $ahead, %o) = @_;
    my $m = ++$mileage;
    $dev->v114(at => time + $ahead, mileage => $m, %o);
    my $row;
    eventually(sub { ($row) = $t->rows("select round(extract(epoch from recorded_at - now())) as at,
        extract(epoch from clock_at)::bigint as clock from mdvr.telemetry where mileage_m = $m") }) or return;
    return ($row->{at}, $row->{clock});
}
sub near { my ($at, $want, $name) = @_; ok defined $at && abs($at - $want) < 60, $name or diag $at // 'nothing' }

# ------------------------------------------------------------------- local time

my $dev = $t->device('ZONE')->register(at => time + 8 * $hour);
near((stored($dev, 8 * $hour))[0], 0, 'a device in another zone reports');
ok eventually(sub { (status('ZONE')->{utc_offset_minutes} // '') eq 480 }), 'the API tells its zone';
$dev->v109(at => time + 8 * $hour + 200);
near((stored($dev, 8 * $hour))[0], 0, 'three minutes are no other zone');
$dev->v109(at => time + 9 * $hour);
near((stored($dev, 8 * $hour))[0], 0, 'nor is one odd heartbeat');
my $beat = $dev->v109(at => time + 9 * $hour);
$beat = $dev->v109(at => time + 9 * $hour);
my ($stamp) = $beat =~ /(\d{6} \d{6})#$/;
is substr($stamp, 0, 9), substr(MDVR::Device::stamp(time + 9 * $hour), 0, 9), 'its clock is put forward: it is spoken to in the new time';
near((stored($dev, 9 * $hour))[0], 0, 'and believed');
ok eventually(sub { status('ZONE')->{utc_offset_detected} == 540 }), 'that is on the record';
$dev->close;
$dev = $t->device('ZONE')->register(at => time + 8 * $hour);
near((stored($dev, 8 * $hour))[0], 0, 'it is put back while the device is away: the next registration sees it at once');
is $api->patch("/devices/$id{ZONE}", { settings => { utc_offset_minutes => 60 } })->{status}, 200, 'a zone is set';
ok eventually(sub { my ($at) = stored($dev, $hour); defined $at && abs($at) < 60 }), 'which counts from then on';
$dev->v109(at => time + 8 * $hour);
near((stored($dev, 8 * $hour))[0], 7 * $hour, 'whatever the clock says');
my $s = status('ZONE');
is "$s->{utc_offset_minutes} $s->{utc_offset_detected}", '60 480', 'what was detected stays a suggestion';
is $api->patch("/devices/$id{ZONE}", { settings => {} })->{status}, 200, 'other settings';
near((stored($dev, $hour))[0], 0, 'leave it alone');

# --------------------------------------------------------- no satellite seen yet

$dev = $t->device('BOOT')->register(at => '000101 000010');
my ($at, $clock) = stored($dev, 0, at => '000101 000020');
near($at, 0, 'a device that booted without a clock is stored at the time of the server');
is $clock, 946684820, 'its own is kept beside';
$dev->v109(at => time + 2 * $hour);
near((stored($dev, 2 * $hour))[0], 0, 'when it has seen a satellite its zone is known');
ok eventually(sub { (status('BOOT')->{utc_offset_minutes} // '') eq 120 }), 'and recorded';
like $dev->alarm('V203', at => time + 2 * $hour, uid => 'BOOT1'), qr/BOOT1/, 'an alarm';
near($t->value("select extract(epoch from started_at - now()) from mdvr.alarm where uid = 'BOOT1'"), 0, 'has the right time, too');
my $second = $t->device('BOOT');
like $second->alarm('V203', at => time + 2 * $hour, uid => 'BOOT2'), qr/BOOT2/, 'and on a second connection';
near($t->value("select extract(epoch from started_at - now()) from mdvr.alarm where uid = 'BOOT2'"), 0, 'as well');

# --------------------------------------------------------------------- absurd

$dev = $t->device('WILD')->register;
for ([ 'in years', 5 * 365 * 86400 ], [ 'years ago', -5 * 365 * 86400 ], [ 'in three days', 3 * 86400 ]) {
    my ($what, $ahead) = @$_;
    ($at, $clock) = stored($dev, $ahead);
    near($at, 0, "a report from $what is stored now");
    ok abs($clock - time - $ahead) < 60, 'with its own time beside';
}
near((stored($dev, 0, at => '991399 256199'))[0], 0, 'a stamp that is no time at all, too');
near((stored($dev, -10 * 86400, status => '000E00010105D383'))[0], -10 * 86400, 'a report that was buffered for ten days keeps its time');
near($t->value('select extract(epoch from recorded_at - now()) from mdvr.position where device_id = ?', $id{WILD}), 0, 'and is not where the vehicle is');
cmp_ok $n->metrics('mdvr_refusals_total{reason="clock"}'), '>=', 3, 'times that are not believed are counted';

$t->done;
