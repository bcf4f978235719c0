# 500 viewers of one channel join and leave at random: one start, one stop, no
# gap for those who stay.
# alone

use MDVR::Test;
use MDVR::Clip;
use IO::Select;
use IO::Socket::INET;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, connections => 4096, media => 'mdvr_media_idle_stop 2s;');
my $id = $t->add_device('00007', channels => 4);
my $api = $t->admin;
my $dev = $t->device('00007');
$dev->v101;
my $p = $api->begin('POST', "/api/v1/devices/$id/video/start", { channel => 1, stream => 'sub' });
my $cmd = $dev->expect('C508', 10);
$dev->answer($cmd, 1, 1, '', 0);
my $m = $dev->media($cmd);
my $clip = MDVR::Clip::make('h264', width => 176, height => 144, seconds => 4);
my $player = $m->play_on($clip);
my $r = $p->end;
my ($ws, $mp4) = @{ $r->{json}{urls} }{qw(ws fmp4)};
my $bus = MDVR::Clip::bus($n);
my $session = { session => $cmd->{body}[0] };

# Viewers are bare sockets that one loop reads; ws and stream.mp4 in turn.
my %viewer;
my ($joined, $left, $bad) = (0, 0, 0);
srand 11;

sub join_one {
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $n->{http_port}, Proto => 'tcp') or die $!;
    my $path = $joined % 2 ? "$mp4?audio=0" : $ws;
    my $up = $joined % 2 ? '' : "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    syswrite $s, "GET $path HTTP/1.1\r\nHost: x\r\n$up\r\n";
    $s->blocking(0);
    $viewer{ fileno $s } = { s => $s, ws => $joined % 2 ? 0 : 1, buf => '', next => undef, frames => 0 };
    $joined++;
}

sub leave_one { my ($v) = @_; delete $viewer{ fileno $v->{s} }; close $v->{s}; $left++ }

# Takes the numbers of the fragments out of what has come; a gap is bad.
sub look { my ($v) = @_;
    while ($v->{buf} =~ /moof\0\0\0\x10mfhd\0\0\0\0(....)/gs) {
        my $number = unpack 'N', $1;
        $bad++ if defined $v->{next} && $number != $v->{next};
        $v->{next} = $number + 1;
        $v->{frames}++;
    }
    substr($v->{buf}, 0, length($v->{buf}) - 40) = '' if length $v->{buf} > 40;
}

sub pump { my ($seconds) = @_;
    my $end = time + $seconds;
    while (time < $end) {
        my @ready = IO::Select->new(map { $_->{s} } values %viewer)->can_read(0.05);
        for my $s (@ready) {
            my $v = $viewer{ fileno $s } or next;
            my $got = sysread $s, $v->{buf}, 262144, length $v->{buf};
            if (!$got) { $bad++; leave_one($v); next }
            look($v);
        }
    }
}

while ($joined < 500) {
    join_one() for 1 .. 10;
    pump(0.05);
    for (1 .. int rand 4) { my @v = values %viewer; leave_one($v[ rand @v ]) if @v > 20 }
}
my $peak = keys %viewer;
pump(3);
is $bad, 0, "500 viewers join, $left of them leave, $peak stay: no gap for any";
is scalar(grep { $_->{frames} < 40 } values %viewer), 0, 'all who stay see the picture';
is $bus->info($session)->{viewers}, $peak, 'and are counted';
ok !$dev->expect('C508', 0.1), 'the device was started once';
while (keys %viewer) {
    my @v = values %viewer;
    leave_one($_) for splice @v, 0, 25;
    pump(0.02);
}
is $bad, 0, 'none of the last ones missed anything';
my $stop = $dev->expect('C508', 10);
is $stop ? $stop->{body}[1] : undef, 0, 'and stopped after the last one';
$dev->answer($stop, 1, 0, '', 0) if $stop;
ok !$dev->expect('C508', 1), 'once';
is $n->metrics('mdvr_viewer_skips_total'), 0, 'nobody had to skip';
MDVR::Media::play_stop($player);
$_->close for $m, $dev;
$t->done;
