# Talk on two nodes: the request at one, the device at the other; who talks is
# known everywhere, and taking over works across.

use MDVR::Test;
use MDVR::WebSocket;

my $t = MDVR::Test->new;
my %o = (workers => 1, media => 'mdvr_media_talk_idle 700ms; mdvr_media_close_wait 1s;');
my ($a, $b) = ($t->nginx(%o), $t->nginx(%o));
my $id = $t->add_device('00007');
my $dev = $t->device('00007', node => $a);
$dev->register;
my ($at_a, $at_b) = ($t->admin(node => $a), $t->admin(node => $b));

for my $n ($a, $b) { ok eventually(sub { ($t->redis('GET', "mdvr:node:$n->{name}") // '') eq $n->url }, 15), 'a node is known' }

sub params { my ($type, $length) = @_; return pack('VVv', 0x60000001, $type, $length) . "\0" x 502 }

# the device is at A for signaling, the operator asks B: media goes to B
sub talk { my ($api, $body) = @_;
    my $p = $api->begin('POST', "/api/v1/devices/$id/talk/start", $body // {});
    my $c = $dev->expect('C550', 5) or return $p->end;
    my $m = $dev->media($c, connect_only => 1);
    $m->register('V105', 'C550', 1, 8000, 16, 2, 320, 2, '', 'ZH');
    $dev->answer($c, 1, '', '');
    $m->send(0x6401, params(10, 320));
    return ($p->end, $m, $c);
}

my ($r, $m, $c) = talk($at_b);
is $r->{status}, 200, 'a talk is started at B for a device at A';
is $c->{body}[6], $b->{media_port}, 'the device is asked to B';

# the operator's browser may ask any node
my $ws = MDVR::WebSocket->new(port => $a->{http_port}, path => $r->{json}{urls}{ws});
is $ws->{status}, 101, 'its address works at A';
$m->send(0x6411, pack('Q<', 9) . pack('CCCC', 0, 1, 160, 0) . "\x95" x 320) for 1 .. 5;
my $f;
do { $f = $ws->recv(3) } while $f && $f->{opcode} != 2;
is length($f->{payload} // ''), 640, 'the device is heard through A';
for (1 .. 20) { $ws->frame(2, pack 's<*', map { 9000 * sin($_ / 2) } 1 .. 160) }
ok $m->expect(0x6411, 3), 'and hears the operator';

my $other = $t->admin(node => $a);
my $busy = $other->post("/devices/$id/talk/start", {});
is "$busy->{status} $busy->{json}{code}", '409 device_busy', 'A knows that somebody talks at B';

my ($taken, $m2, $c2) = talk($other, { force => JSON::PP::true() });
is $taken->{status}, 200, '... and can take over';
is $c2->{body}[6], $a->{media_port}, 'the device goes to A';
is $ws->closed(5), 4401, 'the first operator is out';
$m->close;
ok !$dev->expect('C550', 2), 'the device is not told to hang up on the new one';
my $ws2 = MDVR::WebSocket->new(port => $b->{http_port}, path => $taken->{json}{urls}{ws});
is $ws2->{status}, 101, 'the second one talks, through B';

# hanging up at the node where it is not
is $t->admin(node => $b)->post("/devices/$id/talk/stop", { force => JSON::PP::true() })->{status}, 204, 'an administrator hangs up at B';
is $ws2->closed(5), 4401, '... and the talk at A ends';
my $stop = $dev->expect('C550', 5);
is $stop && $stop->{body}[1], 0, '... for the device, too';

$_->close for $m2, $dev;
$t->allow(qr/upstream|client/);
$t->done;
