# WebRTC in Chromium: the console plays by WHEP, the clock in the picture is
# read, and a viewer does not outlive its permission.
# alone

use v5.30;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::UNIX;
use MDVR::Test;
use MDVR::Browser;

my $missing = MDVR::Browser::missing();
plan skip_all => $missing if $missing;

my $t = MDVR::Test->new;
my $node = $t->nginx(workers => 2);
my $user = $t->user(role => 'tenant_admin');
my $id = $t->add_device('00007', plate => '34 MDV 007');
my $vehicle = MDVR::Browser->vehicle($t, '00007');
my $rtc = $t->daemon('mdvr-rtc');

ok eventually(sub { -S "$node->{dir}/state/rtc.sock" }), 'mdvr-rtc listens';
ok eventually(sub { $t->online('00007') }), 'the vehicle has registered';

my $seen = MDVR::Browser->script('latency.mjs', {
    url => $node->url, email => $user->{email}, password => $user->{password}, serial => '00007',
    ways => ['webrtc'], seconds => 5, starts => 1,
});

my @delay = $vehicle->delays($seen->{webrtc_seen} // []);
ok @delay > 40, 'webrtc: frames on the screen are frames that were sent';
diag sprintf 'webrtc: first frame after %d ms; lens to screen p50 %d ms, p95 %d ms', $seen->{webrtc_first}[0] // -1,
    MDVR::Browser::percentile(50, @delay), MDVR::Browser::percentile(95, @delay) if @delay;
ok eventually(sub { stats()->{viewers} == 0 }), 'the viewer who left is forgotten';

# without a browser: what WHEP refuses

my $api = $t->login($user);
my $start = $api->post("/devices/$id/video/start", { channel => 1, stream => 'sub' });
is $start->{status}, 200, 'a stream is started';
my $whep = $start->{json}{urls}{whep};
my @sdp = ('Content-Type' => 'application/sdp');
my $http = $t->http;

is $http->request(POST => $whep, "v=0\r\n", @sdp)->{status}, 422, 'half an offer is refused';
is $http->request(POST => $whep, "\0\xff", @sdp)->{status}, 400, 'what is no text is refused';
is $http->request(POST => $whep, 'v=0', 'Content-Type' => 'text/plain')->{status}, 415, 'another content type is refused';
is $http->request(GET => $whep)->{status}, 405, 'GET is refused';
is $http->request(DELETE => "$whep/nobody")->{status}, 404, 'a viewer who is none cannot leave';
is $http->request(POST => '/live/x/whep', 'v=0', @sdp)->{status}, 401, 'without a token nobody gets in';

$t->daemon_stop($rtc);
is $http->request(POST => $whep, 'v=0', @sdp)->{status}, 503, 'without mdvr-rtc the answer is 503';

# the camera's process holds the vehicle's socket, too, until it is told to stop
$api->post("/devices/$id/video/stop", { channel => 1, stream => 'sub' });
$vehicle->stop;
ok eventually(sub { !$t->online('00007') }, 30), 'the vehicle has left';
$t->done;

sub stats {
    my $s = IO::Socket::UNIX->new(Peer => "$node->{dir}/state/rtc.sock") or return { viewers => -1 };
    print {$s} qq({"op":"stats"}\n);
    return MDVR::Test::json_of(scalar <$s>);
}
