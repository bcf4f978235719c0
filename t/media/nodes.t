# Two nodes: a viewer who asks the node where a stream does not arrive is
# passed on to the one where it does, by every transport.

use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $a = $t->nginx(workers => 1);
my $b = $t->nginx(workers => 1);
my $id = $t->add_device('00007', channels => 4);
my $clip = MDVR::Clip::make('h264', seconds => 4);
my $bus = MDVR::Clip::bus($a);

# the device is at A for signaling; the stream is started at A
my $dev = $t->device('00007', node => $a);
$dev->v101;
my $api = $t->admin(node => $a);
my $p = $api->begin('POST', "/api/v1/devices/$id/video/start", { channel => 1, stream => 'sub' });
my $cmd = $dev->expect('C508', 10);
$dev->answer($cmd, 1, 1, '', 0);
my $m = $dev->media($cmd);
my $player = $m->play_on($clip);
my $r = $p->end;
is $r->{status}, 200, 'a stream is started at node A';
ok eventually(sub { $t->redis('GET', "mdvr:live:{$id:1:sub}") eq $a->{name} }), 'which says so in Redis';
ok eventually(sub { ($t->redis('GET', "mdvr:node:$a->{name}") // '') eq $a->url }), 'and where it is';

my $http = $t->http(node => $b);
my $urls = $r->{json}{urls};
my $hls = $http->request('GET', $urls->{hls});
is $hls->{status}, 200, 'node B gives the playlist of a stream of A';
my ($seg) = $hls->{body} =~ /^(seg-\d+\.m4s)$/m;
is $http->request('GET', $urls->{hls} =~ s/index\.m3u8/$seg/r)->{status}, 200, 'and its segments';
my $mp4 = $http->stream($urls->{fmp4});
cmp_ok length $mp4->read(20_000, 5), '>=', 20_000, 'stream.mp4';
my $ws = MDVR::WebSocket->new(port => $b->{http_port}, path => $urls->{ws});
is $ws->{status}, 101, 'a WebSocket';
my $first = $ws->recv(5);
is substr($first->{payload}, 4, 4), 'ftyp', 'with the picture of A';

# started at B, the device stays at A for signaling and sends media to B
my $admin = $t->admin(node => $b);
$p = $admin->begin('POST', "/api/v1/devices/$id/video/start", { channel => 2, stream => 'sub' });
$cmd = $dev->expect('C508', 10);
ok $cmd, 'a start at B reaches the device at A';
is $cmd->{body}[6], $b->{media_port}, 'and asks for media at B';
$dev->answer($cmd, 1, 1, '', 0);
my $m2 = $dev->media($cmd);
my $player2 = $m2->play_on($clip);
$r = $p->end;
is $r->{status}, 200, 'it is answered';
is $t->http(node => $a)->request('GET', $r->{json}{urls}{hls})->{status}, 200, 'and watched through A';

# a second start at A shares the stream of B
$r = $api->post("/devices/$id/video/start", { channel => 2, stream => 'sub' });
is $r->{status}, 200, 'a start at A shares the stream of B';
ok !$dev->expect('C508', 0.3), 'the device is not asked again';
is $t->http(node => $a)->request('GET', $r->{json}{urls}{hls})->{status}, 200, 'and its address works at A';

# a token of a node that is not there
my $s = { device => $id, channel => 3, stream => 'sub' };
is $http->request('GET', '/live/' . $bus->token($t, $s, node => 'nowhere') . '/index.m3u8')->{status}, 503,
    'a node that is not there is unavailable';

MDVR::Media::play_stop($_) for $player, $player2;
$_->close for $m, $m2, $dev;
$t->done;
