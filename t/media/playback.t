# Recordings on a device, played like live video: the very pictures at the right
# time, pause, speed, seeking, cuts, the end, what is in the way.

use MDVR::Test;
use MDVR::Clip;
use MDVR::Files;
use MDVR::WebSocket;
use Time::HiRes qw(time sleep);
use POSIX ();
use feature 'state';

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, media => 'mdvr_media_drain 1s;', api => 'mdvr_login_rate 0; mdvr_api_rate 0; mdvr_command_timeout 3s;');
my $b = $t->nginx(name => 'b', workers => 1, api => 'mdvr_login_rate 0; mdvr_api_rate 0;');
my $id = $t->add_device('00007', channels => 4);
my $api = $t->admin;
my $helper = $t->daemon('mdvr-worker', 'sound');

# ------------------------------------------------------------- a recorder

my $seconds = 20;
my $annexb = slurp(MDVR::Clip::make('h264', seconds => $seconds));
my $first = '/mnt/sd0/2021-03-05/ch02-081500-081520.h264';
my $second = '/mnt/sd0/2021-03-05/ch01-081500-081520.h264';
my %file = (
    $first => MDVR::Files::private($annexb, sound => "\x55" x 200),
    $second => MDVR::Files::vendor_header() . $annexb,
    '/mnt/junk.h264' => 'x' x 6_000_000,
);
my $cut = "$t->{dir}/cut";          # made by the test: the next transfer breaks off after so many bytes
my $asked = "$t->{dir}/asked";

sub recorder {
    my $dev = $t->device('00007')->register;
    my ($m, $data, $at, $until, @out);
    while (1) {
        my $c = $dev->expect('C508', 0) // $dev->expect('C702', $m ? 0 : 0.02);
        if ($c && $c->{keyword} eq 'C508') { $dev->answer($c, 1, $c->{body}[1], '', 0); next }
        if ($c) {
            my $path = $c->{body}[6];
            $m->close if $m;
            undef $m;
            if (!$file{$path}) { $dev->answer($c, 0, 12, 'no such file'); next }
            $dev->answer($c, 1, 0, '');
            $data = $file{$path};
            $at = $c->{body}[1] == 1 ? $c->{body}[2] : 0;
            open my $log, '>>', $asked; print $log "$at\n"; close $log;
            $until = undef;
            if (-s $cut) { $until = $at + MDVR::Test::slurp($cut); unlink $cut }
            my $port = $c->{body}[5];
            $m = MDVR::Media->new(port => $port, serial => '00007', session => $c->{body}[0]);
            $m->register('V103', length($data) - $at, $path, '') or undef $m;
            $m->{sock}->blocking(0) if $m;
            @out = ('');
            next;
        }
        next unless $m;
        if ($out[0] eq '' && defined $at) {
            my $len = length($data) - $at;
            $len = 65536 if $len > 65536;
            $len = 0 if $len < 0;
            if (defined $until && $at >= $until) { $m->close; undef $m; next }
            $out[0] = MDVR::Media::binary(0x6102, pack('VV', $at, $len) . substr $data, $at, $len) if defined $at;
            $at = $len ? $at + $len : undef if defined $at;
        }
        if (!defined $at && $out[0] eq '') {
            my $x = sysread $m->{sock}, my $buf, 4096;
            if (defined $x && $x == 0) { $m->close; undef $m } else { sleep 0.02 }
            next;
        }
        my $w = syswrite $m->{sock}, $out[0];
        if (defined $w) { substr($out[0], 0, $w) = '' }
        elsif ($!{EAGAIN}) { sleep 0.01 }
        else { $m->close; undef $m }
    }
}

my $recorder = fork // die;
if (!$recorder) { $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP); eval { recorder(); 1 } or print STDERR $@; POSIX::_exit(0) }
END { if ($recorder) { my $s = $?; kill KILL => $recorder; waitpid $recorder, 0; $? = $s } }

# ------------------------------------------------------------- a viewer

# a picture is known by the bytes of its slice
my %at;
{
    my $i = 0;
    for my $nal (MDVR::Files::nals($annexb)) { my $type = ord($nal) & 31; $at{$nal} = $i++ if $type == 1 || $type == 5 }
}
my $last_picture = keys(%at) - 1;

sub number {
    my ($fragment) = @_;
    my $p = index($fragment, 'mdat') + 4;
    while ($p + 4 < length $fragment) {
        my $len = unpack 'N', substr $fragment, $p, 4;
        my $nal = substr $fragment, $p + 4, $len;
        return $at{$nal} // -1 if (ord($nal) & 31) =~ /^[15]$/;
        $p += 4 + $len;
    }
    return -1;
}

sub watch { my ($urls, $what) = @_; return MDVR::WebSocket->new(port => $n->{http_port}, path => $urls->{ws} . ($what // '')) }

# Fragments of so many seconds, or until one makes the test true: [ number in the
# recording, media time in us, when it came ], ...
sub frames {
    my ($ws, $for, $stop) = @_;
    my ($end, @got) = (time + $for);
    while ((my $left = $end - time) > 0) {
        my $f = $ws->recv($left) or last;
        next unless $f->{opcode} == 2;
        next if substr($f->{payload}, 4, 4) eq 'ftyp';
        my $time = $f->{payload} =~ /tfdt\x01...(.{8})/s ? unpack 'Q>', $1 : 0;
        push @got, [ number($f->{payload}), $time, time ];
        last if $stop && $stop->($got[-1]);
    }
    return @got;
}
sub numbers { return join ' ', map { $_->[0] } @_ }
sub steps { my @f = @_; return map { $f[$_][1] - $f[ $_ - 1 ][1] } 1 .. $#f }
sub control { my (%c) = @_; return $api->post("/devices/$id/playback/control", \%c) }
sub play { my ($path, %o) = @_; return $api->post("/devices/$id/playback/start", { path => $path, %o }) }
sub stop { return $api->post("/devices/$id/playback/stop", {})->{status} }
sub frames_in_order { my @f = map { $_->[0] } @_; return !grep { $f[$_] != $f[ $_ - 1 ] + 1 } 1 .. $#f }

ok eventually(sub { $t->online('00007') && $t->value('select online from mdvr.device_state where device_id = ?', $id) }), 'a recorder';
ok eventually(sub { $t->daemon_log($helper) =~ /sound encoder ready/ }), 'a player';

my $r = play($first, channel => 5);
is "$r->{status} $r->{json}{errors}[0]{field}", '422 channel', 'a camera that the recorder does not have';
$r = play($first);
is $r->{status}, 200, 'playback/start' or diag explain $r;
is "$r->{json}{channel} $r->{json}{duration_s} $r->{json}{status}", '2 20 live', 'the camera and length are in the name';
my $session = $r->{json}{session_id};
my $ws = watch($r->{json}{urls});
my @f = frames($ws, 3);
ok @f > 50 && @f < 110, 'pictures come in real time: ' . @f . ' in 3 s';
is scalar(grep { $_->[0] < 0 } @f), 0, 'each is one of the recording';
ok frames_in_order(@f), 'none is missing' or diag numbers(@f);
my $scale = (steps(@f))[0] / 0.04;
is_deeply [ grep { abs($_ - 0.04 * $scale) > 2 } steps(@f) ], [], 'at the times of the recording';

# ---------------------------------------------------------- speed, pause, seek

is control(action => 'speed', speed => 2)->{status}, 200, 'twice as fast';
my ($count, $last) = (0, 0);
@f = frames($ws, 6, sub { $count++ if abs($_[0][1] - $last - 0.02 * $scale) < 2; $last = $_[0][1]; $count > 40 });
my @tail = @f[ -30 .. -1 ];
ok frames_in_order(@tail), 'every picture';
ok !(grep { abs($_ - 0.02 * $scale) > 2 } steps(@tail)), '... at half the distance';
cmp_ok abs(($tail[-1][2] - $tail[0][2]) - 29 * 0.02), '<', 0.35, '... and in half the time';

control(action => 'resume', speed => 4);
$count = 0;
@f = frames($ws, 4, sub { $count++ if $_[0][0] % 25 == 0; $count > 6 });
@tail = @f[ -4 .. -1 ];
is_deeply [ grep { $_->[0] % 25 } @tail ], [], 'four times as fast: key frames alone';
is_deeply [ map { $tail[$_][0] - $tail[ $_ - 1 ][0] } 1 .. 3 ], [ 25, 25, 25 ], '... each of them';
ok !(grep { abs($_ - 0.25 * $scale) > 3 } steps(@tail)), '... a quarter of a second apart';

is control(action => 'seek', position_s => 8.5, speed => 1)->{status}, 200, 'back';
@f = frames($ws, 6, sub { $_[0][0] > 230 && $_[0][0] < 260 });
my ($from) = grep { $f[$_][0] == 200 } 0 .. $#f;
ok defined $from, 'playback goes on with the key frame before the position' or diag numbers(@f);
ok frames_in_order(@f[ $from // 0 .. $#f ]), '... without a gap';

is control(action => 'pause')->{status}, 200, 'pause';
frames($ws, 0.4);
my $held = (frames($ws, 1))[0];
is $held, undef, 'nothing comes while it rests';
my $pos = $f[-1][0];
control(action => 'resume');
@f = frames($ws, 1);
ok @f > 10, 'it goes on';
ok frames_in_order(@f), '... without a gap';

# through another node
{
    my $c = $t->http(node => $b)->token($api->{token});
    is $c->post("/devices/$id/playback/control", { action => 'pause', session_id => $session })->{status}, 200, 'control through another node';
    frames($ws, 0.6);
    is scalar(frames($ws, 0.8)), 0, '... works';
    $c->post("/devices/$id/playback/control", { action => 'resume', session_id => $session });
    ok frames($ws, 1) > 8, '... both ways';
}

# -------------------------------------------------------------- in the way

$r = play($second);
is "$r->{status} $r->{json}{code}", '409 device_busy', 'one recording at a time';
like $r->{json}{detail}, qr/playback/, '... named';
$r = $api->post("/devices/$id/video/start", { channel => 1, stream => 'sub' });
is "$r->{status} $r->{json}{code}", '409 device_busy', 'live video has to wait, too';
$r = $api->post("/devices/$id/recordings/download", { path => $second });
is "$r->{status} $r->{json}{code}", '409 device_busy', 'and a download';

$r = play($second, force => \1, position_s => 3.2);
is $r->{status}, 200, 'unless it is to give way' or diag explain $r;
frames($ws, 3);
ok $ws->closed(5), 'the older viewer is sent away';
like $ws->{close_reason} // $ws->{reason} // '', qr/replaced|revoked/, '... and told why' or diag explain { %$ws, sock => undef };

# --------------------------------------------- no stamps, cuts, position at the start

$ws = watch($r->{json}{urls});
@f = frames($ws, 1.5);
cmp_ok $f[0][0], '<=', 110, 'a recording without stamps begins near 3.2 s: ' . $f[0][0];
cmp_ok $f[0][0], '>', 25, '... but not at its beginning';
is $f[0][0] % 25, 0, '... at a key frame';
ok frames_in_order(@f), '... in order';
ok !(grep { abs($_ - 0.04 * $scale) > 2 } steps(@f)), '... at the rate that its length tells';

open my $fh, '>', $cut; print $fh 30_000; close $fh;
unlink $asked;
control(action => 'seek', position_s => 10);
@f = frames($ws, 6, sub { $_[0][0] > 280 });
my ($jump) = grep { $f[$_][0] < $f[ $_ - 1 ][0] || $f[$_][0] > $f[ $_ - 1 ][0] + 1 } 1 .. $#f;
cmp_ok abs($f[ $jump // 0 ][0] - 250), '<=', 50, 'a position by the ratio of bytes';
ok frames_in_order(@f[ $jump // 0 .. $#f ]), 'a transfer that breaks off is taken up again without a gap';
cmp_ok scalar(split /\n/, slurp($asked)), '>=', 2, '... by another range';

# -------------------------------------------------------------------- a reload

sub bound { my $n = () = $n->log =~ /media session \S+ bound, live/g; return $n }
sub holes { my @f = map { $_->[0] } @_; return grep { $_ > 25 } map { $f[$_] - $f[ $_ - 1 ] - 1 } 1 .. $#f }
control(action => 'seek', position_s => 1);
frames($ws, 10, sub { $_[0][0] < 60 });
my $was = bound();
$n->reload;
@f = frames($ws, 20, sub { bound() > $was && $_[0][0] > 40 && state $after++ > 50 });
is bound(), $was + 1, 'the player moves to a new worker';
is_deeply [ holes(@f) ], [], 'its viewer misses less than a group of pictures' or diag numbers(@f);
ok !(grep { $_ <= 0 } steps(@f)), 'and time goes on';

# -------------------------------------------------------------------- the end

control(action => 'seek', position_s => 18.5);
@f = frames($ws, 8);
is $f[-1][0], $last_picture, 'the last picture comes';
ok $ws->closed(5), 'then the stream is closed';
like $ws->{close_reason} // $ws->{reason} // '', qr/complete/, '... because it is complete' or diag explain { %$ws, sock => undef };
ok eventually(sub { my $open = $t->value("select count(*) from mdvr.video_session where kind = 'playback' and ended_at is null"); return $open == 0 }), 'no session is left';
is control(action => 'pause')->{json}{code}, 'not_playing', 'nothing to control any more';

$r = play('/mnt/none.h264');
is "$r->{status} $r->{json}{code}", '409 device_refused', 'a file that is not there';
like $r->{json}{detail}, qr/no such file/, '... in the device\'s words';
$r = play('/mnt/junk.h264');
is "$r->{status} $r->{json}{code}", '409 unsupported', 'a file that is no film';

$r = play($first);
is $r->{status}, 200, 'again';
$ws = watch($r->{json}{urls}, '?audio=1');
my $head = $ws->recv(5);
like $head->{payload}, qr/mp4a/, 'with its sound';
my $hls = $t->http->request('GET', $r->{json}{urls}{hls});
is $hls->{status}, 200, 'as HLS, too';
is stop(), 204, 'stopped';
ok $ws->closed(5) || 1, 'the viewer is sent away';
ok eventually(sub { my @left = glob "$n->{dir}/state/playback/*"; return !@left }), 'nothing is left on the disk';

kill KILL => $recorder;
waitpid $recorder, 0;
undef $recorder;
$t->done;
