# Live video on the media port: what the device films is on the frame bus, bit
# by bit, and the device is spoken to as the protocol wants it.

use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, media => 'mdvr_media_report 500ms;');
my $bus = MDVR::Clip::bus($n);

for my $codec (qw(h264 h265)) {
    my $clip = MDVR::Clip::make($codec);
    my @units = MDVR::Media::access_units($clip);
    my $s = $bus->start('00007', channel => 3);
    my $view = $bus->view($s);
    my $m = $bus->media($s);

    is $m->{result}, 1, "$codec: V102 of the session is accepted";
    $m->parameters;
    is_deeply [map { $_->{type} } $m->next, $m->next], [0x6002, 0x6004], 'an I-frame request and the sound switch follow';

    $m->play(\@units, from => 60_000_000, fps => 100);
    my $report = $m->expect(0x6403, 3);
    ok $report, 'a receive report comes';
    is unpack('Q<', substr $report->{payload}, 4), 60_000_000, 'it begins with the first frame' if $report;

    ok eventually(sub { $bus->info($s)->{frames} == @units }), 'every frame is on the bus';
    my $i = $bus->info($s);
    is "$i->{state} $i->{connected} $i->{size} $i->{keys}", 'live 1 320x240 4', 'the session is live and knows its picture';
    like $i->{codecs}, $codec eq 'h264' ? qr/^avc1\.42/i : qr/^hvc1\./, 'and its codec string';

    $bus->run('end', $s->{slot});
    my $sums = MDVR::Clip::sums(\$view->());
    is_deeply $sums, MDVR::Clip::sums($clip), 'a viewer decodes the very pictures of the source';
    is scalar @$sums, scalar @units, 'all of them';
    $m->close;
}

# bytes in any pieces

{
    my $s = $bus->start('00008');
    my $view = $bus->view($s);
    my $clip = MDVR::Clip::make('h264', seconds => 1);
    my @units = MDVR::Media::access_units($clip);
    my $m = $bus->media($s, register => 0);
    my $us = 0;
    my $bytes = $m->registration('V102', 'C508', 0, 1, '');
    for my $u (@units) {
        $bytes .= MDVR::Media::binary($u->{key} ? 0x6011 : 0x6012, pack('Q<', $us) . $u->{data});
        $us += 40_000;
    }
    my @sizes = (1, 1, 2, 3, 1, 7, 1400, 1, 8, 65536, 3000, 1, 1, 1, 100);
    my $head = 400;                                   # byte by byte at first
    for (my $at = 0, my $i = 0; $at < length $bytes; $i++) {
        my $n = $at < $head ? 1 : $sizes[$i % @sizes];
        $m->send_raw(substr $bytes, $at, $n);
        $at += $n;
        sleep 0.0005 if $i % 8 == 0;
    }
    ok eventually(sub { $bus->info($s)->{frames} == @units }), 'a message may be cut anywhere';
    $bus->run('end', $s->{slot});
    is_deeply MDVR::Clip::sums(\$view->()), MDVR::Clip::sums($clip), 'and arrives whole';
    $m->close;
}

# frames before a key frame

{
    my $s = $bus->start('00009');
    my @units = MDVR::Media::access_units(MDVR::Clip::make('h264', seconds => 1));
    my $m = $bus->media($s);
    $m->pframe($_ * 40_000, $units[$_]{data}) for 1 .. 10;
    ok eventually(sub { ($bus->info($s)->{dropped} // 0) == 10 }, 3), 'P-frames before a key frame are dropped and counted';
    $m->iframe(400_000 + $_ * 40_000, $units[$_]{data}) for 0 .. 4;   # the type may lie, the bytes do not
    ok eventually(sub { $bus->info($s)->{frames} == 5 }), 'then the picture starts';
    is $bus->info($s)->{keys}, 1, 'what is a key frame is read from the bytes';

    # a clock that jumps
    $m->pframe(9_000_000, $units[5]{data});
    $m->pframe(1_000_000, $units[6]{data});
    $m->pframe(1_040_000, $units[7]{data});
    ok eventually(sub { $bus->info($s)->{frames} == 8 }), 'a jump of the clock loses no frame';
    is $bus->info($s)->{gaps}, 2, 'both directions are discontinuities';

    # the same channel, another size
    my @small = MDVR::Media::access_units(MDVR::Clip::make('h264', seconds => 1, width => 176, height => 144));
    $m->play(\@small, from => 1_080_000, paced => 0);
    ok eventually(sub { $bus->info($s)->{size} eq '176x144' }), 'another picture size is a new init segment';
    is $bus->info($s)->{init}, 2, 'of the next version';

    # rubbish between frames
    $m->send_raw("\0\1\2rubbish");
    my $frames = $bus->info($s)->{frames};
    $m->play(\@units, from => 3_000_000, paced => 0);
    ok eventually(sub { $bus->info($s)->{frames} == $frames + 25 }), 'after rubbish the next key frame goes on';
    ok $m->expect(0x6002), 'which the device was asked for';
    $m->close;
}

# the connection breaks, the device comes back

{
    my $s = $bus->start('00010');
    my @units = MDVR::Media::access_units(MDVR::Clip::make('h264', seconds => 1));
    my $view = $bus->view($s);
    my $m = $bus->media($s);
    $m->play(\@units, paced => 0);
    ok eventually(sub { $bus->info($s)->{state} eq 'live' }), 'a stream is live';
    $m->reset;
    ok eventually(sub { $bus->info($s)->{state} eq 'starting' }), 'its connection breaks: it waits';
    $m = $bus->media($s);
    is $m->{result}, 1, 'the same session id is accepted again';
    $m->play(\@units, from => 777, paced => 0);
    ok eventually(sub { $bus->info($s)->{frames} == 50 }), 'and goes on';
    my $other = $bus->media($s);
    is $other->{result}, 1, 'a second connection takes over a living one';
    ok $m->closed(5), 'which is closed';
    $other->play(\@units, from => 0, paced => 0);
    ok eventually(sub { $bus->info($s)->{frames} == 75 }), 'frames of the new one count';
    $bus->run('end', $s->{slot});
    is scalar @{ MDVR::Clip::sums(\$view->()) }, 75, 'a viewer has seen all of it';
    ok $other->closed(12), 'after the end the connection is closed, at the latest by the server';
}

$t->done;
