# The console in Chromium against a whole instance: a vehicle drives and films,
# the page shows both, and the clock in the picture is read.
# alone

use v5.30;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MDVR::Test;
use MDVR::Browser;

my $missing = MDVR::Browser::missing();
plan skip_all => $missing if $missing;

my $t = MDVR::Test->new;
my $node = $t->nginx(workers => 2);
my $user = $t->user(role => 'tenant_admin');
my $id = $t->add_device('00007', plate => '34 MDV 007', name => 'Night bus', channels => 4);
my $vehicle = MDVR::Browser->vehicle($t, '00007');

ok eventually(sub { $t->online('00007') }), 'the vehicle has registered';

my $seen = MDVR::Browser->script('console.mjs', {
    url => $node->url, email => $user->{email}, password => $user->{password}, serial => '00007',
});

for my $way (qw(ws hls)) {
    my @delay = $vehicle->delays($seen->{"${way}_seen"} // []);
    ok @delay > 40, "$way: frames on the screen are frames that were sent";
    next unless @delay;
    diag sprintf '%s: first frame after %d ms; lens to screen p50 %d ms, p95 %d ms', $way, $seen->{"${way}_first_frame_ms"} // -1,
        MDVR::Browser::percentile(50, @delay), MDVR::Browser::percentile(95, @delay);
    cmp_ok MDVR::Browser::percentile(50, @delay), '<', $way eq 'ws' ? 2000 : 6000, "$way: live";
}

$vehicle->stop;
ok eventually(sub { !$t->online('00007') }, 10), 'the vehicle has left';
$t->done;
