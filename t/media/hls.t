# HLS and stream.mp4: what leaves over HTTP is what the device filmed, and the
# playlists keep the rules of low-latency HLS.

use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2);
my $bus = MDVR::Clip::bus($n);
my $http = $t->http;

sub get { my ($path, %h) = @_; return $http->clone->request('GET', $path, undef, %h) }

my $first = $bus->start('00001');
my $token = $bus->token($t, $first);
ok eventually(sub { get("/live/$token/index.m3u8x")->{status} == 404 }), 'the workers know the key';

# --------------------------------------------- a device whose clock stands

{
    my $clip = MDVR::Clip::make('h264', seconds => 4);
    my @units = MDVR::Media::access_units($clip);
    my $s = $bus->start('00009');
    my $m = $bus->media($s);
    my $early = $http->begin('GET', '/live/' . $bus->token($t, $s) . '/index.m3u8');
    for my $u (@units) { my $how = $u->{key} ? 'iframe' : 'pframe'; $m->$how(77, $u->{data}) }
    my $r = $early->end;
    is $r->{status}, 200, 'every frame has the same stamp: a playlist all the same';
    like $r->{body}, qr/#EXTINF:/, 'with segments';
    $m->close;
    $bus->run('end', $s->{slot});
}

# --------------------------------------------------------- live, both codecs

for my $codec (qw(h264 h265)) {
    my $clip = MDVR::Clip::make($codec, seconds => 6);
    my @units = MDVR::Media::access_units($clip);
    my $s = $bus->start($codec eq 'h264' ? '00002' : '00003', channel => 2);
    my $live = "/live/" . $bus->token($t, $s);
    my $m = $bus->media($s);

    my $mp4 = $http->begin('GET', "$live/stream.mp4");         # waits for a picture
    my $early = $http->begin('GET', "$live/index.m3u8");       # waits for a segment
    my $player = $m->play_on($clip, loop => 0, seconds => 6);

    my $r = $early->end;
    is $r->{status}, 200, "$codec: a playlist asked for too early waits";
    like $r->{body}, qr/\A#EXTM3U\n/, 'and is one';
    like $r->{headers}{'content-type'}, qr{^application/vnd\.apple\.mpegurl}, 'of the right type';
    is $r->{headers}{'cache-control'}, 'no-cache', 'asked for anew each time';
    my ($part_target) = $r->{body} =~ /PART-TARGET=([\d.]+)/;
    cmp_ok $part_target, '==', 0.2, 'parts of 200 ms';
    like $r->{body}, qr/CAN-BLOCK-RELOAD=YES/, 'blocking reload is offered';
    my @parts = $r->{body} =~ /#EXT-X-PART:DURATION=([\d.]+)/g;
    is scalar(grep { $_ > 0.2001 } @parts), 0, 'no part is longer than announced';
    my ($hint) = $r->{body} =~ /#EXT-X-PRELOAD-HINT:TYPE=PART,URI="([^"]+)"/;
    ok $hint, 'the next part is hinted';

    # blocking: the next part, five times
    my ($msn, $part) = $hint =~ /part-(\d+)\.(\d+)\.m4s/;
    my $ok = 0;
    for (1 .. 5) {
        my $t0 = time;
        my $next = get("$live/index.m3u8?_HLS_msn=$msn&_HLS_part=$part");
        my $took = time - $t0;
        my ($h) = $next->{body} =~ /#EXT-X-PRELOAD-HINT:TYPE=PART,URI="part-([\d.]+)\.m4s"/;
        $ok++ if $next->{status} == 200 && $took < 0.6 && "$msn.$part" ne ($h // '')
            && $next->{headers}{'cache-control'} eq 'max-age=6';
        ($msn, $part) = split /\./, $h;
    }
    is $ok, 5, 'a blocking request is answered when its part is there';

    # not the one that the next key frame may forestall
    for (1 .. 5) {
        last if $part >= 1 && $part <= 3;
        my $next = get("$live/index.m3u8?_HLS_msn=$msn&_HLS_part=$part");
        ($msn, $part) = $next->{body} =~ /#EXT-X-PRELOAD-HINT:TYPE=PART,URI="part-(\d+)\.(\d+)\.m4s"/;
    }
    my $hinted = get("$live/part-$msn.$part.m4s");
    is $hinted->{status}, 200, 'so is a request for the part itself';
    like $hinted->{headers}{'cache-control'}, qr/max-age=3600, immutable/, 'which may be cached';

    is get("$live/index.m3u8?_HLS_msn=" . ($msn + 9))->{status}, 400, 'too far ahead is refused';
    is get("$live/index.m3u8?_HLS_part=1")->{status}, 400, 'a part without a segment too';

    waitpid $player, 0;
    $bus->run('end', $s->{slot});

    my $list = get("$live/index.m3u8");
    is $list->{status}, 404, 'an ended stream is no longer found by the token';
    is $list->{json}{code}, 'stopped', 'and says why';

    # what stream.mp4 was
    $mp4 = $mp4->end;
    my $bytes = $mp4->{body};
    is $mp4->{headers}{'content-type'}, 'video/mp4', 'stream.mp4 is video/mp4';
    is_deeply MDVR::Clip::sums(\$bytes), MDVR::Clip::sums($clip), 'its pictures are the source\'s, all of them';
    $m->close;
}

# -------------------------------------------- segments and parts, bit by bit

for my $codec (qw(h264 h265)) {
    my $clip = MDVR::Clip::make($codec, seconds => 6);
    my @units = MDVR::Media::access_units($clip);
    my $s = $bus->start($codec eq 'h264' ? '00004' : '00005');
    my $live = "/live/" . $bus->token($t, $s);
    my $m = $bus->media($s);
    my $wait = $http->begin('GET', "$live/index.m3u8");
    my $player = $m->play_on($clip, loop => 0, seconds => 6);
    $wait->end;

    my (%file, $body, $map);
    my $end = time + 20;
    while (time < $end) {
        $body = get("$live/index.m3u8")->{body};
        ($map) = $body =~ /EXT-X-MAP:URI="([^"]+)"/;
        for my $name ($map, $body =~ /^(seg-\d+\.m4s)$/mg, $body =~ /PART:[^\n]*URI="([^"]+)"/g) {
            $file{$name} //= get("$live/$name");
        }
        last if $file{'seg-4.m4s'};
        sleep 0.1;
    }
    is join(' ', map { "$_->{status}" } grep { $_->{status} != 200 } values %file), '', "$codec: everything listed is there";
    my $all = join '', map { $file{$_}{body} } $map, map { "seg-$_.m4s" } 0 .. 4;
    my $sums = MDVR::Clip::sums(\$all);
    is_deeply $sums, [ @{ MDVR::Clip::sums($clip) }[0 .. 124] ], 'the segments decode to the very pictures of the source';

    my $good = 1;
    for my $msn (1 .. 3) {
        my @parts = map { $file{"part-$msn.$_.m4s"} // () } 0 .. 9;
        next unless @parts;
        $good &&= @parts == 5 && join('', map { $_->{body} } @parts) eq $file{"seg-$msn.m4s"}{body};
    }
    ok $good, 'the parts of a segment are the segment';
    like $body, qr/#EXT-X-PROGRAM-DATE-TIME:\d{4}-\d\d-\d\dT/, 'segments carry the time of day';

    my $range = get("$live/seg-1.m4s", range => 'bytes=10-19');
    is "$range->{status} $range->{body}", '206 ' . substr($file{'seg-1.m4s'}{body}, 10, 10), 'ranges are served';
    is get("$live/seg-99.m4s")->{status}, 404, 'what is not listed is not there';
    is get("$live/part-1.77.m4s")->{status}, 404, 'nor such a part';
    is get("$live/../../etc/passwd")->{status} =~ /^40[04]$/ ? 1 : 0, 1, 'nor anything else';
    is get("$live/init-7.mp4")->{status}, 404, 'nor another init segment';

    # players
    my $master = get("$live/master.m3u8");
    like $master->{body}, $codec eq 'h264' ? qr/CODECS="avc1\./ : qr/CODECS="hvc1\./, 'master.m3u8 names the codec';

    waitpid $player, 0;
    $bus->run('end', $s->{slot});
    $m->close;
}

# ------------------------------------------------------ ffmpeg as a player

{
    my $clip = MDVR::Clip::make('h264', seconds => 6);
    my $s = $bus->start('00006');
    my $live = $n->url . "/live/" . $bus->token($t, $s);
    my $m = $bus->media($s);
    my $player = $m->play_on($clip, seconds => 12);
    for my $name (qw(index.m3u8 master.m3u8 stream.mp4)) {
        my $sums = MDVR::Clip::sums("$live/$name", '-t', 3);
        cmp_ok scalar(@$sums), '>=', 60, "ffmpeg plays $name";
    }
    MDVR::Media::play_stop($player);
    $bus->run('end', $s->{slot});
    $m->close;
}

# ------------------------------------------------------------------- tokens

{
    my $s = $bus->start('00007');
    my $m = $bus->media($s);
    my $player = $m->play_on(MDVR::Clip::make('h264'));
    my $good = $bus->token($t, $s);
    is get("/live/$good/index.m3u8")->{status}, 200, 'a good token';
    my $bad = $good =~ s/(.)$/$1 eq 'A' ? 'B' : 'A'/er;
    for my $case ([ $bad, 'a forged one' ], [ 'x', 'a word' ], [ $bus->token($t, $s, expires => time - 1), 'one of yesterday' ]) {
        my ($token, $what) = @$case;
        my $r = get("/live/$token/index.m3u8");
        is "$r->{status} $r->{headers}{'content-type'}", '401 application/problem+json', "$what is refused";
        is get("/live/$token/seg-0.m4s")->{status}, 401, 'on segments too';
        is get("/live/$token/stream.mp4")->{status}, 401, 'and on streams';
    }
    my $other = $bus->token($t, { %$s, channel => 5 });
    is get("/live/$other/index.m3u8")->{status}, 404, 'a token of another channel finds nothing';

    my $short = $http->stream("/live/" . $bus->token($t, $s, expires => time + 2) . "/stream.mp4");
    ok $short->read(1000, 5), 'a stream runs while its token is good';
    my $t0 = time;
    1 while length($short->read(1, 8) // '') && time - $t0 < 10;
    cmp_ok time - $t0, '<', 6, 'and ends when it has expired';

    unlike $n->log, qr/\Q$good\E/, 'no token in the error log';
    MDVR::Media::play_stop($player);
    $m->close;
}

$t->done;
