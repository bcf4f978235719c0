# Live video end to end: POST /video/start, C508, the device's media connection,
# viewers by WebSocket, one device stream for all of them, and its end.

use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, media => 'mdvr_media_idle_stop 1500ms; mdvr_media_stall 2s; mdvr_media_close_wait 1s;');
my $id = $t->add_device('00007', channels => 4);
my $api = $t->admin;
my $clip = MDVR::Clip::make('h264', seconds => 4);
my @units = MDVR::Media::access_units($clip);
my $bus = MDVR::Clip::bus($n);

my $dev = $t->device('00007');
$dev->v101;

# Starts a stream: the API's answer and the device's media connection.
sub start {
    my ($channel, %o) = @_;
    my $p = ($o{api} // $api)->begin('POST', "/api/v1/devices/$id/video/start", { channel => $channel, stream => 'sub' });
    my $cmd = $dev->expect('C508', 10);
    $dev->answer($cmd, 1, 1, '', 0);
    my $m = $dev->media($cmd);
    my $r = $p->end;
    return ($r, $m, $cmd);
}

sub ws { my ($path, %o) = @_; return MDVR::WebSocket->new(port => $n->{http_port}, path => $path, %o) }

# Binary messages until there are so many bytes, or seconds have passed.
sub collect {
    my ($ws, $seconds, $want) = @_;
    my ($end, @got) = (time + $seconds);
    while ((my $left = $end - time) > 0) {
        my $f = $ws->recv($left) or last;
        last if $f->{opcode} == 8;
        push @got, $f->{payload} if $f->{opcode} == 2;
        last if $want && @got >= $want;
    }
    return @got;
}

sub box { return substr $_[0], 4, 4 }

# ---------------------------------------------------------------- one stream

{
    my ($r, $m, $cmd) = start(1);
    is $r->{status}, 200, 'video start is answered';
    is join(' ', sort keys %{ $r->{json}{urls} }), 'fmp4 hls whep ws', 'with four addresses';
    is "$cmd->{body}[1] $cmd->{body}[2] $cmd->{body}[3]", '1 0 1', 'C508 starts channel 0 of the wire, sub stream';

    my $a = ws($r->{json}{urls}{ws});
    is $a->{status}, 101, 'a WebSocket is accepted before the first picture';
    $m->play(\@units, fps => 50);
    my @got = collect($a, 5, @units + 1);
    is box($got[0]), 'ftyp', 'first an init segment';
    is scalar(grep { box($_) ne 'moof' } @got[1 .. $#got]), 0, 'then fragments';
    my $all = join '', @got;
    is_deeply MDVR::Clip::sums(\$all), MDVR::Clip::sums($clip), 'whose pictures are the source\'s';

    # more viewers, one stream
    my $again = $api->post("/devices/$id/video/start", { channel => 1, stream => 'sub' });
    is $again->{status}, 200, 'a second start shares the stream';
    ok !$dev->expect('C508', 0.3), 'the device is not asked again';
    my $plain = $t->http->request('GET', $again->{json}{urls}{ws});
    is $plain->{status}, 426, 'the WebSocket\'s address without an upgrade';
    like $plain->{body}, qr/"code":"upgrade_required","detail":"this address speaks WebSocket/, '... is told what it speaks';
    my @more = map { ws($again->{json}{urls}{ws}) } 1 .. 6;        # on both workers
    my @first = map { [ collect($_, 3, 2) ] } @more;
    is scalar(grep { @$_ == 2 && box($_->[0]) eq 'ftyp' && box($_->[1]) eq 'moof' } @first), 6,
        'each gets a picture at once, from the newest key frame';
    is $bus->info({ session => $cmd->{body}[0] })->{viewers}, 7, 'seven viewers';
    $_->close for @more;
    ok eventually(sub { $bus->info({ session => $cmd->{body}[0] })->{viewers} == 1 }), 'six leave';

    # the last one leaves
    my $player = $m->play_on($clip, from => 10_000_000);
    $a->close;
    my $t0 = time;
    my $stop = $dev->expect('C508', 8);
    ok $stop, 'the device is told to stop after the last viewer left' or diag $n->log;
    is "$stop->{body}[0] $stop->{body}[1]", "$cmd->{body}[0] 0", 'that session';
    cmp_ok time - $t0, '>', 1, 'not at once';
    $dev->answer($stop, 1, 0, '', 0);
    ok eventually(sub { !kill(0, $player) || waitpid($player, POSIX::WNOHANG()) }, 5), 'the server closes if the device does not';
    MDVR::Media::play_stop($player);
}

# --------------------------------------------------------------- slow viewers

{
    my $big = MDVR::Clip::make('h264', width => 1280, height => 720, seconds => 4, rate => '12M');
    my ($r, $m, $cmd) = start(2);
    my $player = $m->play_on($big);
    my $fast = ws($r->{json}{urls}{ws});
    my $slow = ws($r->{json}{urls}{ws});
    setsockopt $slow->{sock}, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 65536;
    my @f = collect($fast, 9);
    cmp_ok scalar @f, '>', 180, 'a fast viewer is not slowed by a slow one';
    my @s = collect($slow, 2);
    ok scalar @s, 'the slow one has something';
    my $seq = sub { unpack 'N', substr $_[0], 20, 4 };      # mfhd
    my @numbers = map { $seq->($_) } grep { box($_) eq 'moof' } @s;
    my @gaps = grep { $numbers[$_] != $numbers[ $_ - 1 ] + 1 } 1 .. $#numbers;
    ok scalar @gaps, 'it skipped';
    like $n->metrics->{'mdvr_viewer_skips_total'} // 0, qr/^[1-9]/, 'which is counted';
    my ($gap) = @gaps;
    my @after = grep { box($_) eq 'moof' } @s;
    my $key = $after[$gap];
    # sample_flags of the trun: not a difference sample
    my $at = index $key, 'trun';
    is unpack('N', substr $key, $at + 24, 4) & 0x00010000, 0, 'to a key frame' if $gap;
    MDVR::Media::play_stop($player);
    $m->close;
    $bus->run('end', $bus->info({ session => $cmd->{body}[0] })->{slot});
    is $fast->closed(5), 1000, 'an end on purpose closes with 1000';
    is $fast->{close_reason}, 'stopped', 'and the reason';
    $_->drop for $slow;
}

# ---------------------------------------------------------------- stall, end

{
    my ($r, $m, $cmd) = start(3);
    my $ws = ws($r->{json}{urls}{ws});
    $m->play(\@units, paced => 0);
    cmp_ok scalar(collect($ws, 3, 101)), '==', 101, 'a stream runs';
    my $restart = $dev->expect('C508', 6);
    ok $restart, 'it stalls: the device is started again';
    is "$restart->{body}[0] $restart->{body}[1]", "$cmd->{body}[0] 1", 'the same session';
    $dev->answer($restart, 1, 1, '', 0);
    my $stop = $dev->expect('C508', 6);
    is $stop->{body}[1], 0, 'then stopped';
    $dev->answer($stop, 1, 0, '', 0);
    is $ws->closed(5), 4410, 'viewers are told that it ended';
    is $ws->{close_reason}, 'stalled', 'and why';
    is $t->http->request('GET', $r->{json}{urls}{hls})->{json}{code}, 'stalled', 'HLS viewers too';
    $m->close;
}

# ------------------------------------------------------------- refused, absent

{
    my $p = $api->begin('POST', "/api/v1/devices/$id/video/start", { channel => 4, stream => 'sub' });
    my $cmd = $dev->expect('C508');
    $dev->answer($cmd, 0, 0, '8', 0);
    my $r = $p->end;
    cmp_ok $r->{status}, '>=', 400, 'a device that refuses is an error of the start';
    ok eventually(sub { ($bus->info({ session => $cmd->{body}[0] })->{state} // 'ending') eq 'ending' }), 'the session ends';
}

# --------------------------------------------------------------------- logout

{
    my $user = $t->user(role => 'tenant_admin');
    my $mine = $t->login($user);
    my ($r, $m, $cmd) = start(1, api => $mine);
    my $player = $m->play_on($clip);
    my $ws = ws($r->{json}{urls}{ws});
    my $mp4 = $t->http->stream($r->{json}{urls}{fmp4});
    ok collect($ws, 3, 10) && $mp4->read(1000, 3), 'viewers of a session';
    is $mine->post('/auth/logout')->{status} =~ /^20/ ? 1 : 0, 1, 'which logs out';
    my $t0 = time;
    is $ws->closed(8), 4401, 'the WebSocket is closed with 4401';
    1 while length($mp4->read(1, 6)) && time - $t0 < 8;
    cmp_ok time - $t0, '<', 5, 'everything of it within 5 s';
    my $no = $t->http->request('GET', $r->{json}{urls}{hls});
    is $no->{status}, 401, 'and playlists are refused';
    like $no->{body}, qr/"detail":"[^"]*start the stream again"/, '... with a word of what to do';
    MDVR::Media::play_stop($player);
    $m->close;
}

# --------------------------------------------------------------------- reload

{
    my ($r, $m, $cmd) = start(2);
    my $player = $m->play_on($clip);
    my @ws = map { ws($r->{json}{urls}{ws}) } 1 .. 3;
    my @before = map { [ collect($_, 1) ] } @ws;
    $n->reload;
    my $new = ws($r->{json}{urls}{ws});            # a new worker, the device at an old one
    my @n = collect($new, 2);
    cmp_ok scalar @n, '>', 30, 'after a reload a new viewer sees the old connection\'s picture';
    my $ok = 0;
    for my $i (0 .. 2) {
        my @now = collect($ws[$i], 1);
        my @numbers = map { unpack 'N', substr $_, 20, 4 } grep { box($_) eq 'moof' } @{ $before[$i] }, @now;
        $ok++ if @now > 20 && !grep { $numbers[$_] != $numbers[ $_ - 1 ] + 1 } 1 .. $#numbers;
    }
    is $ok, 3, 'viewers of the old workers go on without a gap';
    is $t->http->request('GET', $r->{json}{urls}{hls})->{status}, 200, 'HLS too';
    $_->drop for @ws, $new;
    MDVR::Media::play_stop($player);
    $m->close;
}

# ------------------------------------------------------- a worker is killed

{
    $t->allow(qr/exited on signal 9/);
    my $serial = '00021';
    my $other = $t->add_device($serial, channels => 2);
    my $s = $bus->start($serial, device => $other);
    my $m = $bus->media($s);
    my $player = $m->play_on($clip);
    ok eventually(sub { $bus->info($s)->{state} eq 'live' }), 'a stream is live';
    for (1 .. 2) {                            # the older one each time, until it was the right one
        $n->kill_worker(0);
        last if eventually(sub { !$bus->info($s)->{connected} }, 1);
    }
    ok eventually(sub { my $i = $bus->info($s); $i->{state} eq 'starting' && !$i->{connected} }, 10), 'its worker dies: the session waits';
    MDVR::Media::play_stop($player);
    $m->close;
    my $back;
    ok eventually(sub { $back = eval { $bus->media($s) } }, 5), 'the device comes back to another worker';
    $back->play(\@units, paced => 0);
    ok eventually(sub { $bus->info($s)->{state} eq 'live' }), 'and the stream goes on';
    $back->close;
}

$dev->close;
$t->done;
