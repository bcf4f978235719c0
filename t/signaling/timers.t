# Silence, slowness and half messages: each has its time.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Events;

my $t = MDVR::Test->new;
my %id = map { $_ => $t->add_device($_) } qw(IDLE BEAT SLOW HALF ZONE FIXED STORM);
$t->sql("update mdvr.device set utc_offset_minutes = -180 where serial = 'FIXED'");
my $n = $t->nginx(ready => 0, signaling => 'mdvr_signaling_idle_timeout 7s; mdvr_signaling_heartbeat 2s;'
    . ' mdvr_signaling_output_limit 4k; mdvr_signaling_send_timeout 2s; mdvr_signaling_alarm_queue 4;');
my $events = MDVR::Events->new($t, $t->tenant);

# ------------------------------------------------------------- the zone of a clock

sub stored_at { $t->value('select extract(epoch from max(recorded_at))::bigint from mdvr.telemetry where device_id = ?', $id{$_[0]}) }

my $now = int(time);
my $zone = $t->device('ZONE');
like $zone->v101(at => $now + 8 * 3600), qr/,0,1,1,#$/, 'a device whose clock is eight hours ahead registers';
my $hb = $zone->v109;
my ($stamp) = $hb =~ /(\d{6} \d{6})#$/;
is substr($stamp, 0, 9), substr(MDVR::Device::stamp(time + 8 * 3600), 0, 9), 'it is spoken to in its own zone';
$zone->v114(at => $now + 8 * 3600 + 5);
ok eventually(sub { stored_at('ZONE') }), 'its position is stored';
is stored_at('ZONE'), $now + 5, 'at the right time';
is $t->value('select utc_offset_minutes from mdvr.device_state where device_id = ?', $id{ZONE}), 480,
    'the zone is on the record';

my $fixed = $t->device('FIXED')->register(at => $now);
$fixed->v114(at => $now - 3 * 3600 + 1);
ok eventually(sub { stored_at('FIXED') }), 'a device with a zone in its settings';
is stored_at('FIXED'), $now + 1, 'is believed by the settings, not by its registration';
$fixed->v114(at => $now + 40 * 86400);
ok eventually(sub { $t->value('select count(*) from mdvr.telemetry where device_id = ? and clock_at is not null', $id{FIXED}) }),
    'a time far in the future is replaced and kept beside';

# ------------------------------------------------------------------------ half

my $half = $t->device('HALF')->register;
my $v109 = MDVR::Device::text(7, 'V109', 'HALF', '', MDVR::Device::stamp());
$half->send_raw('$$dc9000' . substr $v109, 8);
$half->{inbox} = [];
my $t0 = time;
ok $half->find(sub { $_[0]{keyword} eq 'C501' && time - $t0 > 4.5 }, 9),
    'a message whose length is wrong is taken after five seconds of silence';

# ------------------------------------------------------------------- heartbeat

my $beat = $t->device('BEAT')->register;
$t0 = time;
ok $beat->expect('C501', 4), 'a C501 comes by itself when nothing else was sent';
cmp_ok time - $t0, '>', 1.5, 'after the time that was set';

# ------------------------------------------------------------------------ idle

my $idle = $t->device('IDLE')->register;
$t0 = time;
ok $idle->closed(10), 'a silent device is closed';
cmp_ok time - $t0, '>', 6.5, 'not too early';
my $off = $events->find(sub { $_[0]{type} eq 'device' && $_[0]{event} eq 'offline' && $_[0]{serial} eq 'IDLE' });
is $off && $off->{reason}, 'silent', 'and offline for that reason';

# ------------------------------------------------------------------------ slow

my $slow = $t->device('SLOW', connect => 0);
$slow->connect;
setsockopt $slow->{sock}, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), pack 'i', 2048;
$slow->register;
my $many = join '', map { MDVR::Device::text($_, 'V109', 'SLOW', '', MDVR::Device::stamp()) } 1 .. 2000;
{
    local $SIG{ALRM} = sub { die };
    eval { alarm 60; $slow->send_raw($many) or die for 1 .. 200; alarm 0 };
    alarm 0;
}
ok eventually(sub { $n->metrics('mdvr_refusals_total{reason="slow_peer"}') > 0 }, 60),
    'a device that reads nothing is given up';

# ----------------------------------------------------------------------- storm

my $storm = $t->device('STORM')->register;
my @uids = map { sprintf 'S%05d', $_ } 1 .. 300;
$storm->send_raw(join '', map {
    ($storm->message('V203', [ MDVR::Device::location(), '', MDVR::Device::stamp(), $_, 0, '', 0, '' ]))[1] } @uids);
my $acked = 0;
$acked++ while $acked < @uids && $storm->expect('C100', 10);
is $acked, 300, 'three hundred alarms at once are acknowledged';
is $t->value('select count(*) from mdvr.alarm_message where device_id = ?', $id{STORM}), 300, 'and stored';
is $t->value('select string_agg(uid, $$,$$ order by received_at, uid) from mdvr.alarm_message where device_id = ?', $id{STORM}),
    join(',', @uids), 'all of them';

$t->done;
