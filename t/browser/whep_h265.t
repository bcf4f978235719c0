# A camera that sends H.265 in Chromium by WebRTC: what the worker makes of it is
# what it filmed, it runs only while somebody watches, and no more at a time than
# the node is allowed.
# alone

use v5.30;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MDVR::Test;
use MDVR::Browser;
use MDVR::Clip;

my $missing = MDVR::Browser::missing();
plan skip_all => $missing if $missing;

my $t = MDVR::Test->new;
my $node = $t->nginx(workers => 2, media => 'mdvr_media_idle_stop 2s;');
my $user = $t->user(role => 'tenant_admin');
my $id = $t->add_device('00007', plate => '34 MDV 007', channels => 4);
my $vehicle = MDVR::Browser->vehicle($t, '00007', codec => 'h265');
my $bus = MDVR::Clip::bus($node);
my $rtc = $t->daemon('mdvr-rtc');
my $h264 = $t->daemon('mdvr-worker', { MDVR_H264_STREAMS => 1 }, 'h264');

ok eventually(sub { -S "$node->{dir}/state/rtc.sock" }), 'mdvr-rtc listens';
ok eventually(sub { $t->daemon_log($h264) =~ /H\.264 encoder ready/ }), 'the worker is there';
ok eventually(sub { $t->online('00007') }), 'the vehicle has registered';

sub made { return grep { $_->{kind} == 11 && $_->{state} =~ /^(?:starting|live)$/ } $bus->sessions }

my $seen = MDVR::Browser->script('latency.mjs', {
    url => $node->url, email => $user->{email}, password => $user->{password}, serial => '00007',
    ways => ['webrtc', 'ws'], seconds => 5, starts => 1,
});
for my $way ('webrtc', 'ws') {
    my @delay = $vehicle->delays($seen->{"${way}_seen"} // []);
    ok @delay > 40, "$way: frames on the screen are frames that were sent" or diag scalar @delay;
    diag sprintf "$way from H.265: first frame after %d ms; lens to screen p50 %d ms, p95 %d ms", $seen->{"${way}_first"}[0] // -1,
        MDVR::Browser::percentile(50, @delay), MDVR::Browser::percentile(95, @delay) if @delay;
}

ok eventually(sub { !made() }, 15), 'nobody watches: nothing is made any more';
ok eventually(sub { !grep { $_->{state} =~ /^(?:starting|live)$/ } $bus->sessions }, 15), 'and the camera is stopped';

# ---------------------------------------------------------- without a browser

my $offer = join "\r\n", 'v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0', 'm=video 9 UDP/TLS/RTP/SAVPF 96',
    'c=IN IP4 0.0.0.0', 'a=rtcp-mux', 'a=ice-ufrag:abcd', 'a=ice-pwd:abcdefghijklmnopqrstuvwx',
    'a=fingerprint:sha-256 ' . join(':', ('AB') x 32), 'a=setup:actpass', 'a=mid:0', 'a=recvonly', 'a=rtpmap:96 H264/90000',
    'a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f', '';
my $api = $t->login($user);
my $whep = sub {
    my ($channel) = @_;
    my $r = $api->post("/devices/$id/video/start", { channel => $channel, stream => 'sub' });
    eventually(sub { grep { $_->{kind} == 0 && $_->{channel} == $channel && $_->{state} eq 'live' } $bus->sessions }, 10) or diag 'no picture';
    my $p = $t->http->request(POST => $r->{json}{urls}{whep}, $offer, 'Content-Type' => 'application/sdp');
    return $p;
};
my $first = $whep->(1);
is $first->{status}, 201, 'a viewer of an H.265 camera';
like $first->{body}, qr/H264/, 'is offered H.264';
ok eventually(sub { (made())[0] && (made())[0]{state} eq 'live' }, 10), 'which is made';
my ($made) = made();
is $made->{size}, '640x360', 'in its size';
is $whep->(1)->{status}, 201, 'a second viewer shares it';
is scalar made(), 1, 'one encoder for both';
my $busy = $whep->(2);
is "$busy->{status} $busy->{json}{code}", '503 transcoder_busy', 'another camera is one too many here';
$t->daemon_stop($h264, 'TERM');
ok eventually(sub { my $r = $whep->(3); "$r->{status} " . ($r->{json}{code} // '') eq '409 codec_unsupported' }, 10),
    'without the worker: 409, the browser cannot show it';

$api->post("/devices/$id/video/stop", { channel => $_, stream => 'sub' }) for 1 .. 3;
$t->daemon_stop($rtc, 'TERM');
$vehicle->stop;
ok eventually(sub { !$t->online('00007') }, 30), 'the vehicle has left';
$t->done;
