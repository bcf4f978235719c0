# Sound: asked for only while somebody listens, decoded and made AAC beside
# nginx, silent where the device is, and never in the way of the picture.

use MDVR::Test;
use MDVR::Clip;
use MDVR::Sound;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2);
my $bus = MDVR::Clip::bus($n);
my $clip = MDVR::Clip::make('h264', seconds => 8);
my @units = MDVR::Media::access_units($clip);

my $tone = MDVR::Sound::tone();
sub film { my ($m, %o) = @_; return MDVR::Sound::film($m, \@units, %o) }

# Loudness, frequency and length of the sound in some bytes.
sub hear { my ($bytes) = @_;
    my $file = "$t->{dir}/heard.mp4";
    open my $fh, '>:raw', $file; print $fh $bytes; close $fh;
    return MDVR::Sound::hear($file);
}

sub get { my ($path) = @_; return $t->http->request('GET', $path) }

my $sound = $t->daemon('mdvr-worker', 'sound');
ok eventually(sub { $t->daemon_log($sound) =~ /sound encoder ready/ }), 'an encoder is there' or diag $t->daemon_log($sound);

# --------------------------------------------------------------- stream.mp4

{
    my $s = $bus->start('00001');
    my $live = '/live/' . $bus->token($t, $s);
    my $m = $bus->media($s);
    $m->send(0x6015, "\0" x 512);
    my ($key, $switch) = ($m->next, $m->next);
    is unpack('V', $switch->{payload}), 0, 'nobody listens: the device is told to be silent';
    my $film = film($m, sound => $tone);
    ok eventually(sub { $bus->info($s)->{state} eq 'live' }), 'the picture comes';
    my $st = $t->http->stream("$live/stream.mp4");
    my $bytes = $st->read(10_000_000, 5);
    $st->close;
    my ($rms, $hz, $seconds) = hear($bytes);
    cmp_ok $rms, '>', 5000, 'stream.mp4 has the device\'s sound';
    ok $hz > 420 && $hz < 460, "at its pitch ($hz Hz)";
    cmp_ok $seconds, '>', 2, 'for as long as it played';
    my $wrong = 0;
    my %source = map { $_ => 1 } @{ MDVR::Clip::sums($clip) };
    $wrong += !$source{$_} for @{ MDVR::Clip::sums(\$bytes) };
    is $wrong, 0, 'and the very pictures';

    my $mute = $t->http->stream("$live/stream.mp4?audio=0");
    is index($mute->read(200_000, 3), 'mp4a'), -1, '?audio=0 leaves it out';
    $mute->close;

    my $ws = MDVR::WebSocket->new(port => $n->{http_port}, path => "$live/ws?audio=1");
    my $first = $ws->recv(5);
    like $first->{payload}, qr/mp4a/, 'ws?audio=1 has a track of sound';
    my $all = $first->{payload};
    my $end = time + 3;
    while (time < $end) { my $f = $ws->recv(1) or last; $all .= $f->{payload} }
    ($rms) = hear($all);
    cmp_ok $rms, '>', 5000, 'that sounds';
    $ws->close;
    $ws = MDVR::WebSocket->new(port => $n->{http_port}, path => "$live/ws");
    unlike $ws->recv(5)->{payload}, qr/mp4a/, 'ws alone has not';
    $ws->close;
    kill TERM => $film; waitpid $film, 0;
    $bus->run('end', $s->{slot});
    $m->close;
}

# ---------------------------------------------------------------------- HLS

for my $case ([ 'a tone', $tone, 10 ], [ 'a silent device', undef, 1 ]) {
    my ($what, $source, $type) = @$case;
    my $s = $bus->start('00002', channel => $type);
    my $live = '/live/' . $bus->token($t, $s);
    my $m = $bus->media($s);
    my $film = film($m, sound => $source, type => $type);
    ok eventually(sub { $bus->info($s)->{state} eq 'live' }), "$what: the picture comes";
    my $t0 = time;
    my $list = get("$live/index.m3u8");
    is $list->{status}, 200, 'a playlist';
    cmp_ok time - $t0, '<', 4, 'soon';
    my ($map) = $list->{body} =~ /URI="(init-\d+\.mp4)"/;
    my $bytes = get("$live/$map")->{body};
    like $bytes, qr/mp4a/, 'its init segment has a track of sound';
    like get("$live/master.m3u8")->{body}, qr/CODECS="avc1\.[^"]+,mp4a\.40\.2"/, 'as the master playlist says';
    my $n = 0;
    for (1 .. 4) {
        my ($seg) = (get("$live/index.m3u8?_HLS_msn=" . ($n + 1))->{body} // '') =~ /^(seg-$n\.m4s)$/m or last;
        $bytes .= get("$live/$seg")->{body};
        $n++;
    }
    is $n, 4, 'four segments';
    my ($rms, $hz, $seconds) = hear($bytes);
    if ($source) {
        cmp_ok $rms, '>', 5000, 'with the sound';
        ok $hz > 420 && $hz < 460, "at its pitch ($hz Hz)";
    } else {
        cmp_ok $rms, '<', 10, 'silence where the device is silent';
    }
    cmp_ok $seconds, '>', 3, "in step with the picture ($seconds s)";
    cmp_ok scalar(@{ MDVR::Clip::sums(\$bytes) }), '>=', 100, 'and all pictures';
    unlike get("$live/index.m3u8")->{body}, qr/DISCONTINUITY\n/, 'without a break';
    kill TERM => $film; waitpid $film, 0;
    $bus->run('end', $s->{slot});
    $m->close;
}

# ------------------------------------------------- every coding of the table

{
    my %vector = map { my ($name, $hex) = split /\t/; ($name => pack 'H*', $hex) }
        grep { /^model\.6013/ } split /\n/, slurp("$MDVR::Test::TOP/t/vectors/media.hex");
    my @g726 = map { my $p = substr $vector{"model.6013.$_"}, 8; substr $p, 12, 2 * unpack 'x2C', substr $p, 8, 4 } 0 .. 2;
    my $i = 0;
    my $s = $bus->start('00003');
    my $m = $bus->media($s);
    my $film = film($m, type => 1, sound => sub { $g726[ $i++ % 3 ] });
    ok eventually(sub { $bus->info($s)->{state} eq 'live' }), 'G.726 as captured';
    my $st = $t->http->stream('/live/' . $bus->token($t, $s) . '/stream.mp4');
    my ($rms, $hz) = hear($st->read(10_000_000, 4));
    cmp_ok $rms, '>', 1000, 'sounds';
    ok $hz > 350 && $hz < 550, "near its pitch ($hz Hz)";
    $st->close;
    kill TERM => $film; waitpid $film, 0;
    $bus->run('end', $s->{slot});
    $m->close;
}

# ------------------------------------------- what the device has announced

{
    my $id = $t->add_device('00005');
    my $dev = $t->device('00005')->register(audio => 10);
    my $p = $t->admin->begin('POST', "/api/v1/devices/$id/video/start", { channel => 1, stream => 'sub' });
    my $c = $dev->expect('C508', 10);
    $dev->answer($c, 1, 1, '', 0);
    my $m = $dev->media($c);
    my $film = film($m, type => 1, sound => $tone);
    my $r = $p->end;
    is $r->{status}, 200, 'a device that announced A-law in V101, and something else in 0x6015';
    my $st = $t->http->stream($r->{json}{urls}{fmp4});
    my ($rms, $hz) = hear($st->read(10_000_000, 4));
    $st->close;
    ok $hz > 420 && $hz < 460, "V101 counts ($hz Hz)";
    kill TERM => $film; waitpid $film, 0;
    $m->close;
}

# ------------------------------------------------------ without the encoder

{
    my $s = $bus->start('00004');
    my $live = '/live/' . $bus->token($t, $s);
    my $m = $bus->media($s);
    my $film = film($m, sound => $tone);
    my $list = get("$live/index.m3u8");
    ok $list->{body} =~ /init/, 'a stream with sound';
    $t->daemon_stop($sound);
    ok eventually(sub { get("$live/index.m3u8")->{body} =~ /DISCONTINUITY\n.*?init-\d*[02468]\.mp4/s }, 15),
        'the encoder dies: the picture goes on without sound';
    my $st = $t->http->stream("$live/stream.mp4");
    is index($st->read(100_000, 3), 'mp4a'), -1, 'a new viewer does not wait for it';
    $st->close;
    kill TERM => $film; waitpid $film, 0;
    $m->close;
}

$t->done;
