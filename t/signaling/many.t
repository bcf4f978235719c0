# Several workers, several nodes: the newest registration wins wherever it
# arrives, commands find the holder, limits count per address.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Events;

my $t = MDVR::Test->new;
$t->add_device('00007');
$t->add_device("D$_") for 1 .. 40;
my $a = $t->nginx(ready => 0, workers => 4, level => 'info');
my $b = $t->nginx(ready => 0, workers => 2);

sub holder { $t->redis('GET', "mdvr:route:{$_[0]}") // '' }

# -------------------------------------------------------------- duplicate login

my ($dev, %slots) = (undef);
for my $round (1 .. 30) {
    my $next = $t->device('00007')->register;
    if ($dev) {
        $dev->closed(3) or fail "round $round: the older connection stays";
    }
    $dev = $next;
    eventually { holder('00007') =~ /^a (\d+) / and $slots{$1} = 1 };
}
like $dev->v109, qr/C501/, 'after thirty registrations the newest connection is served';
cmp_ok keys %slots, '>', 1, 'they came to several workers';
ok eventually(sub { $t->value('select count(*) from mdvr.connection where disconnected_at is null') == 1 }),
    'one is open in the history' or diag explain [ $t->rows('select connected_at, disconnected_at, reason from mdvr.connection order by 1') ];

my $else = $t->device('00007', node => $b)->register;
ok $dev->closed, 'a registration on another node closes the connection here';
ok eventually(sub { holder('00007') =~ /^b / }), 'and takes the route along';
ok eventually(sub { $t->value("select node from mdvr.device_state s join mdvr.device d on d.id = s.device_id where serial = '00007'") eq 'b' }),
    'the record names the other node';
my $back = $t->device('00007', node => $a)->register;
ok $else->closed, 'and back';
ok eventually(sub { holder('00007') =~ /^a / }), 'with the route';
my $is = sub { $t->value("select s.node || ' ' || s.online from mdvr.device_state s join mdvr.device d on d.id = s.device_id where serial = '00007'") };
ok eventually(sub { $is->() eq 'a true' }), 'the record names this node again';
sleep 0.2;
is $is->(), 'a true', 'the end of the older connection does not make the device offline';

# ------------------------------------------------------------------- a dead worker

my @devs = map { $t->device("D$_")->register } 1 .. 40;
ok eventually(sub { $t->value('select count(*) from mdvr.device_state where online and node = ?', 'a') == 41 }),
    'forty more devices are online';
my $pid = $a->kill_worker(0);
$t->allow(qr/exited on signal 9/);
my @lost = grep { $_->closed(0.2) } @devs;
cmp_ok @lost, '>', 0, 'a killed worker loses its devices';
cmp_ok @lost, '<', 40, 'and only its own';
my $gone = @lost + ($back->closed(0.1) ? 1 : 0);
ok eventually(sub { $t->value('select count(*) from mdvr.device_state where online and node = ?', 'a') == 41 - $gone }, 10),
    'which are reported offline';
for my $dev (@lost) { $dev->connect; $dev->register }
ok eventually(sub { $t->value('select count(*) from mdvr.device_state where online and node = ?', 'a') == 41 - ($gone - @lost) }, 10),
    'until they come back';
$_->close for @devs;

# --------------------------------------------------------------------- per address

my $c = $t->nginx(ready => 0, workers => 2,
    signaling => 'mdvr_signaling_unregistered_per_address 5; mdvr_signaling_connections_per_address 8;');
my @strangers = map { $t->device("D$_", node => $c) } 1 .. 6;
my @refused = grep { $_->closed(0.5) } @strangers;
is @refused, 1, 'of six unregistered connections of an address one is closed at once';
cmp_ok $c->metrics('mdvr_refusals_total{reason="address_limit"}'), '>=', 1, 'it is counted';
@strangers = grep { !$_->{eof} } @strangers;
$_->register for @strangers[0 .. 3];
my @more = map { $t->device('00007', node => $c) } 1 .. 3;
ok !$more[2]->closed(0.1), 'registered ones make room';
my $ninth = $t->device('00007', node => $c);
ok $ninth->closed(2), 'but all of them together have a limit too';
$strangers[0]->close;
ok eventually(sub { my $d = $t->device('00007', node => $c); !$d->closed(0.1) }), 'which forgets who has left';
my $other = $t->device('00007', node => $c, local => '127.0.0.2');
ok !$other->closed(0.1), 'another address is another matter';

$t->done;
