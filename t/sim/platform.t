# The simulator and the platform: a fleet registers, its drive is stored, a camera
# plays with the right time in the picture, an alarm is kept, commands come back.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Center;
use MDVR::WebSocket;

plan skip_all => 'the simulator is not built' unless -x 'build/bin/mdvr-sim';
plan skip_all => 'there are no films' unless -s 'build/clips/DEMO1-ch1-sub.h264';

my $t = MDVR::Test->new;
my %id = map { $_ => $t->add_device($_, channels => 4) } map { "DEMO$_" } 1 .. 3;
my $n = $t->nginx(workers => 2);
my $api = $t->admin;

# the simulator is started with the ports of the node
my $c = MDVR::Center->new;
$c->sim('--signal-port', $n->{signal_port}, '--devices', 3, '--serial-format', 'DEMO%u', '--interval', 0.2, '--retry', 1);

ok eventually { 3 == grep { $t->online($_) } keys %id }, 'three vehicles are online';
ok eventually { $t->value('select count(*) from mdvr.telemetry') >= 30 }, 'positions are stored';
my $p = $t->row('select * from mdvr.position where device_id = ?', $id{DEMO1});
cmp_ok abs($p->{lat_deg} - 47.38), '<', 0.05, 'where they drive';

# --------------------------------------------------------------------- video
my $r = $api->post("/devices/$id{DEMO1}/video/start", { channel => 2, stream => 'sub' });
is $r->{status}, 200, 'video/start' or diag explain $r;
my $ws = MDVR::WebSocket->new(port => $n->{http_port}, path => $r->{json}{urls}{ws});
my ($file, $frames) = ("$t->{dir}/live.mp4", 0);
open my $out, '>:raw', $file;
my ($first, $at);
while (my $f = $ws->recv(5)) {
    next unless $f->{opcode} == 2;
    print $out $f->{payload};
    next unless substr($f->{payload}, 4, 4) eq 'moof';
    $first //= Time::HiRes::time();
    last if ++$frames == 60;
}
$at = Time::HiRes::time();
close $out;
is $frames, 60, 'pictures arrive';
cmp_ok abs($at - $first - 59 / 25), '<', 0.8, 'in real time';

# The row of squares in the newest picture: which frame was it?
my $gray = `ffmpeg -v error -i $file -vf "select=eq(n\\,59),crop=256:16:16:16" -fps_mode passthrough -f rawvideo -pix_fmt gray - 2>&1`;
is length $gray, 256 * 16, 'the newest picture is decoded';
my $number = 0;
$number = $number * 2 + (ord(substr $gray, 8 * 256 + 16 * $_ + 8, 1) > 128 ? 1 : 0) for 0 .. 15;
my $late = ($at * 25 - $number) % 500;
cmp_ok $late, '<=', 10, "its clock is right: $late frames late";
$ws->close;

# ----------------------------------------------------------- alarms, commands
$c->order('DEMO2 alarm V201 2,0,door');
ok eventually { $t->value("select count(*) from mdvr.alarm where device_id = ? and code = 'V201'", $id{DEMO2}) }, 'an alarm is kept';
$c->order('DEMO2 end V201');
ok eventually { $t->value("select count(*) from mdvr.alarm where device_id = ? and status = 'ended'", $id{DEMO2}) }, 'and ended';

$r = $api->post("/devices/$id{DEMO3}/commands", { type => 'device_info', params => {} });
is $r->{status}, 202, 'a command is taken' or diag explain $r;
my $command = $r->{json}{id};
ok eventually { $api->get("/commands/$command")->{json}{status} eq 'acknowledged' }, 'and answered by the vehicle';

my $stats = $c->end;
is $stats->{registrations}, 3, 'nobody had to come twice';
is $stats->{alarms_acknowledged}, $stats->{alarms_sent}, 'every alarm was acknowledged';
is $stats->{alarm_repeats}, 0, 'at once';
ok eventually { 0 == grep { $t->online($_) } keys %id }, 'all have left';

$t->done;
