# H.265 for players that know none: stream.mp4 and ws with ?codec=h264, one
# encoder for all, for as long as somebody watches.

use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, live => 'mdvr_live_audio off;');
my $bus = MDVR::Clip::bus($n);
my $h264 = $t->daemon('mdvr-worker', { MDVR_H264_STREAMS => 1 }, 'h264');
ok eventually(sub { $t->daemon_log($h264) =~ /H\.264 encoder ready/ }), 'the worker is there';

my $clip = MDVR::Clip::make('h265', seconds => 4);
my $s = $bus->start('00001');
my $m = $bus->media($s);
my $film = $m->play_on($clip);
my $live = '/live/' . $bus->token($t, $s);
ok eventually(sub { $bus->info($s)->{state} eq 'live' }), 'a camera sends H.265';

sub made { return grep { $_->{kind} == 11 && $_->{state} =~ /^(?:starting|live)$/ } $bus->sessions }
sub take { my ($path, $bytes, $seconds) = @_; my $st = $t->http->stream($path); my $got = $st->read($bytes, $seconds); $st->close; return $got }

like take("$live/stream.mp4", 2000, 5), qr/hvc1/, 'as it is without asking';
is scalar made(), 0, 'and nothing is made';
my $bytes = take("$live/stream.mp4?codec=h264", 10_000_000, 4);
like $bytes, qr/avc1/, 'H.264 for who asks';
unlike $bytes, qr/hvc1/, 'and nothing else';
my $file = "$t->{dir}/made.mp4";
open my $fh, '>:raw', $file; print $fh $bytes; close $fh;

# pixels: small grey pictures of what was made, each beside the source's
my $grey = sub { my ($f) = @_;
    open my $out, '-|', 'ffmpeg', '-v', 'error', '-nostdin', '-i', $f, '-vf', 'scale=32:24:flags=area,format=gray', '-fps_mode', 'passthrough', '-f', 'rawvideo', '-';
    binmode $out; local $/; my $all = <$out>; close $out; return unpack '(a768)*', $all };
my @source = $grey->($clip);
my @made = $grey->($file);
cmp_ok scalar @made, '>=', 50, 'pictures of more than two seconds';
my $differ = sub { my ($x, $y) = @_; my $sum = 0; my @x = unpack 'C*', $x; my @y = unpack 'C*', $y; $sum += abs($x[$_] - $y[$_]) for 0 .. 767; $sum / 768 };
my ($first) = sort { $differ->($made[0], $source[$a]) <=> $differ->($made[0], $source[$b]) } 0 .. $#source;
my $worst = 0;
for my $i (0 .. $#made) { my $d = $differ->($made[$i], $source[ ($first + $i) % @source ]); $worst = $d if $d > $worst }
cmp_ok $worst, '<', 4, sprintf 'each is the source\'s, in order (worst mean difference %.2f of 255)', $worst;

my $ws = MDVR::WebSocket->new(port => $n->{http_port}, path => "$live/ws?codec=h264");
like $ws->recv(5)->{payload}, qr/avc1/, 'so has a WebSocket';
is scalar made(), 1, 'from one encoder';

my $other = $bus->start('00002');
my $m2 = $bus->media($other);
my $film2 = $m2->play_on($clip);
ok eventually(sub { $bus->info($other)->{state} eq 'live' }), 'another camera';
my $busy = $t->http->request('GET', '/live/' . $bus->token($t, $other) . '/stream.mp4?codec=h264');
is "$busy->{status} $busy->{json}{code}", '503 transcoder_busy', 'is one too many';
ok $busy->{headers}{'retry-after'}, 'for now';

# tiles of one socket
my $wall = MDVR::WebSocket->new(port => $n->{http_port}, path => "$live/ws?mux=1");
$wall->send({ type => 'add', stream => 1, token => $bus->token($t, $s), codec => 'h264' });
$wall->send({ type => 'add', stream => 2, token => $bus->token($t, $other), codec => 'h264' });
my (%tile, $refused);
ok eventually(sub {
    my $f = $wall->recv(1) or return;
    if ($f->{opcode} == 2) { $tile{ unpack 'n', $f->{payload} } //= substr $f->{payload}, 2 }
    elsif ($f->{opcode} == 1) { my $said = json_of($f->{payload}); $refused = $said if $said->{type} eq 'ended' }
    return $tile{0} && $tile{1} && $refused;
}), 'a wall';
like $tile{0}, qr/hvc1/, '... as it is without asking';
like $tile{1}, qr/avc1/, '... a tile that asks is H.264';
is "$refused->{stream} $refused->{reason}", '2 transcoder_busy', '... and one too many is told';
$wall->close;
$wall = MDVR::WebSocket->new(port => $n->{http_port}, path => "$live/ws?mux=1&codec=h264");
like $wall->recv(5)->{payload}, qr/avc1/, '... all of them by its address';
$wall->close;

# the worker dies in the middle: it goes on
$t->daemon_stop($h264);
$h264 = $t->daemon('mdvr-worker', { MDVR_H264_STREAMS => 1 }, 'h264');
my $before = 0;
ok eventually(sub { $t->daemon_log($h264) =~ /H\.264 begins/ }, 15), 'a new worker takes it over';
my $t0 = time;
my $frames = 0;
while (time < $t0 + 15 && $frames < 60) { my $f = $ws->recv(2) or last; $frames++ if substr($f->{payload}, 4, 4) eq 'moof' }
cmp_ok $frames, '>=', 60, 'the viewer sees on';

$bus->run('end', $s->{slot});
ok eventually(sub { !made() }, 10), 'with the camera\'s stream that of the worker ends';
is $ws->closed(5), 1000, 'and the viewer is told';
MDVR::Media::play_stop($_) for $film, $film2;
$t->daemon_stop($h264, 'TERM');
$t->done;
