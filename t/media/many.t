# Several streams of one recorder: channels beside each other, from main to sub
# and back without a hole, and what a recorder does not do beside filming.

use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2);
my $id = $t->add_device('00007', channels => 4);
my $api = $t->admin;
my $dev = $t->device('00007');
$dev->v101;
my $bus_list = sub { MDVR::Clip::bus($n)->run('list') };
my %clip = (sub => MDVR::Clip::make('h264', width => 176, height => 144), main => MDVR::Clip::make('h264', width => 640, height => 360));

sub ask { my ($channel, $stream, %more) = @_; return $api->begin('POST', "/api/v1/devices/$id/video/start", { channel => $channel, stream => $stream, %more }) }

# Starts and films; the answer, the connection, the camera.
sub start {
    my ($channel, $stream, %more) = @_;
    my $p = ask($channel, $stream, %more);
    my $cmd = $dev->expect('C508', 10) or return { answer => $p->end };
    $dev->answer($cmd, 1, 1, '', 0);
    my $m = $dev->media($cmd);
    my $pid = $m->play_on($clip{$stream});
    return { answer => $p->end, cmd => $cmd, media => $m, pid => $pid };
}

sub ws { my ($s) = @_; return MDVR::WebSocket->new(port => $n->{http_port}, path => $s->{answer}{json}{urls}{ws}) }

# Numbers of the fragments that come within some seconds; the init segment.
sub take {
    my ($ws, $seconds, $want) = @_;
    my ($end, @number, $init) = time + $seconds;
    while (time < $end) {
        my $f = $ws->recv($end - time) or last;
        $init = $f->{payload} if substr($f->{payload}, 4, 4) eq 'ftyp';
        push @number, unpack 'N', substr $f->{payload}, 20, 4 if substr($f->{payload}, 4, 4) eq 'moof';
        last if $want && @number >= $want;
    }
    return (\@number, $init);
}

sub gaps { my ($n) = @_; return scalar grep { $n->[$_] != $n->[ $_ - 1 ] + 1 } 1 .. $#$n }

# --------------------------------------------------------------- four channels

my %s = map { ($_ => start($_, 'sub')) } 1 .. 4;
is_deeply [ map { $s{$_}{answer}{status} } 1 .. 4 ], [ (200) x 4 ], 'four channels at once';
is_deeply [ map { $s{$_}{cmd}{body}[2] } 1 .. 4 ], [ 0 .. 3 ], 'each asked for by itself';
my %ws = map { ($_ => ws($s{$_})) } 1 .. 4;
my %n = map { ($_ => (take($ws{$_}, 5, 40))[0]) } 1 .. 4;
is_deeply [ map { scalar @{ $n{$_} } >= 40 && !gaps($n{$_}) } 1 .. 4 ], [ (1) x 4 ], 'all play without a gap';

# ------------------------------------------------------------- sub, main, sub

my $main = start(1, 'main');
is $main->{answer}{status}, 200, 'the main stream of a channel whose sub stream runs';
is $main->{cmd}{body}[3], 0, 'as on the wire';
my $mw = ws($main);
my ($first, $init) = take($mw, 5, 10);
cmp_ok scalar @$first, '>=', 10, 'it plays';
like $init, qr/avc1.{24}\x02\x80\x01\x68/s, 'in its own size, 640x360';
my ($sub) = take($ws{1}, 1);
ok @$sub && !gaps($sub), 'while the sub stream goes on';
is $api->post("/devices/$id/video/stop", { channel => 1, stream => 'sub' })->{status}, 204, 'now the sub stream is not wanted any more';
my $stop = $dev->expect('C508', 5);
is join(' ', @{ $stop->{body} }[1 .. 3]), '0 0 1', 'and only that one is stopped';
$dev->answer($stop, 1, 1, '', 0);
my ($on) = take($mw, 2);
ok @$on >= 25 && !gaps([ $first->[-1], @$on ]), 'the main stream has no gap';
is $ws{1}->closed(5), 1000, 'who watched the sub stream is told';
MDVR::Media::play_stop($s{1}{pid});
$s{1} = start(1, 'sub');
is $s{1}{answer}{status}, 200, 'back to the sub stream';
my $back = ws($s{1});
my ($again) = take($back, 5, 10);
cmp_ok scalar @$again, '>=', 10, 'which plays again' or diag "$back->{status} ", $back->closed(1) // '', ' ', $back->{close_reason} // '', ' ', $bus_list->();

# ------------------------------------------------- what is in the way of filming

$_->close for $mw, $back, @ws{ 2 .. 4 };
$api->post("/devices/$id/video/stop", { channel => $_, stream => 'sub' }) for 2 .. 4;
while (my $c = $dev->expect('C508', 1)) { $dev->answer($c, 1, 1, '', 0) }
MDVR::Media::play_stop($s{$_}{pid}) for 2 .. 4;

my $path = '/2026-01-05/ch01-101500-102000-1.mp4';
my $load = sub { my ($origin, $status) = @_;
    return $t->value("insert into mdvr.download (tenant_id, device_id, origin, path, status) values (?, ?, ?, ?, ?) returning id",
        $t->tenant, $id, $origin, $path, $status) };
my $row = $load->('user', 'running');
my $r = ask(3, 'sub')->end;
is "$r->{status} $r->{json}{code}", '409 device_busy', 'a download runs: 409';
is $r->{json}{detail}, "download of $path is in the way", 'that names it';
is ask(1, 'sub')->end->{status}, 200, 'a stream that runs is shared all the same';
my $forced = start(3, 'sub', force => \1);
is $forced->{answer}{status}, 200, 'with force it starts: the recorder ends the download';
$t->sql("update mdvr.download set status = 'failed', failed_reason = 'test' where id = ?", $row);
$row = $load->('alarm', 'running');
my $over = start(4, 'sub');
is $over->{answer}{status}, 200, 'evidence that is fetched by itself gives way';
my $refused = ask(2, 'main');
my $c = $dev->expect('C508', 5);
$dev->answer($c, 0, 1, 3, '');
$r = $refused->end;
is "$r->{status} $r->{json}{code}", '409 device_refused', 'what the recorder itself refuses is 409, too';
like $r->{json}{detail}, qr/session already exists/, 'in its words';

MDVR::Media::play_stop($_->{pid}) for $main, $s{1}, $forced, $over;
$t->done;
