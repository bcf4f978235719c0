# A reload: the old workers keep their devices for a while and then close them
# spread over time, cleanly; nothing that was acknowledged is lost.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
$t->add_device("R$_") for 1 .. 30;
my $n = $t->nginx(ready => 0, workers => 2,
    stream => 'mdvr_signaling_drain_delay 3s; mdvr_signaling_drain_spread 4s;');

my @dev = map { $t->device("R$_")->register } 1 .. 30;
my $t0 = time;
$n->reload;
ok !(grep { $_->closed(0.01) } @dev), 'a reload closes nobody';
ok $_->v109, 'a draining worker serves its device' for @dev[0 .. 4];
like $dev[7]->alarm('V201', data => [ 2, 0, '' ]), qr/,0,[0-9A-F]{16}#$/, 'and acknowledges alarms';

my %closed;
while (keys %closed < 30 && time - $t0 < 15) {
    for my $i (grep { !$closed{$_} } 0 .. 29) {
        $closed{$i} = time - $t0 if $dev[$i]->closed(0.01);
    }
    sleep 0.05;
}
is keys %closed, 30, 'all are closed in the end' or diag join ' ', grep { !$closed{$_} } 0 .. 29;
my @times = sort { $a <=> $b } values %closed;
cmp_ok $times[0], '>', 2.5, 'none before the delay';
cmp_ok $times[-1], '<', 9, 'all within the spread';
cmp_ok $times[20] - $times[5], '>', 0.5, 'not all at once';

for my $d (@dev) { $d->connect; $d->register }
ok eventually(sub { !$n->workers(draining => 1) }, 10), 'the old workers are gone';
ok eventually(sub { $t->value('select count(*) from mdvr.device_state where online') == 30 }), 'the devices are online again';
is $t->value("select count(*) from mdvr.connection where disconnected_at is null"), 30, 'each on one connection';
is $t->value("select count(*) from mdvr.connection where reason = 'server reload'"), 30, 'the history says why';

# a device that comes back while the old connection still drains

my $d = $dev[3];
$n->reload;
my $new = $t->device('R4')->register;
ok $d->closed(2), 'a registration at a new worker closes the connection that drains';
ok $new->v109, 'and is served';

$t->done;
