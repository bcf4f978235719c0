# WebRTC by each way there is: UDP and TCP, IPv4 and IPv6.
# alone

use v5.30;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MDVR::Test;
use MDVR::Browser;

my $missing = MDVR::Browser::missing();
plan skip_all => $missing if $missing;
my $v6 = IO::Socket::IP->can('new') || eval { require IO::Socket::IP; 1 };
$v6 &&= IO::Socket::IP->new(LocalHost => '::1', Proto => 'udp');

my $t = MDVR::Test->new;
my $node = $t->nginx(workers => 2);
my $user = $t->user(role => 'tenant_admin');
$t->add_device('00007', plate => '34 MDV 007');
my $vehicle = MDVR::Browser->vehicle($t, '00007');
my $rtc = $t->daemon('mdvr-rtc', { MDVR_RTC_LISTEN => $v6 ? '127.0.0.1,::1' : '127.0.0.1' });
ok eventually(sub { -S "$node->{dir}/state/rtc.sock" }), 'mdvr-rtc listens' or diag $t->daemon_log($rtc);
ok eventually(sub { $t->online('00007') }), 'the vehicle has registered';

for my $way ([ 'tcp', '127.0.0.1' ], $v6 ? ([ 'udp', '::1' ], [ 'tcp', '::1' ]) : ()) {
    my $seen = MDVR::Browser->script('latency.mjs', {
        url => $node->url, email => $user->{email}, password => $user->{password}, serial => '00007',
        ways => ['webrtc'], seconds => 2, starts => 1, candidate => $way,
    });
    my @delay = $vehicle->delays($seen->{webrtc_seen} // []);
    ok @delay > 15, "@$way alone: frames on the screen are frames that were sent" or diag scalar @delay;
    diag sprintf '%s: lens to screen p50 %d ms, p95 %d ms', "@$way", MDVR::Browser::percentile(50, @delay), MDVR::Browser::percentile(95, @delay) if @delay;
}

$vehicle->stop;
ok eventually(sub { !$t->online('00007') }, 30), 'the vehicle has left';
$t->daemon_stop($rtc, 'TERM');
$t->done;
