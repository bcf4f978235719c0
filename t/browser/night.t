# A watch at night in the console, in Chromium: alarms that want somebody, a list that holds still, a connection that
# is lost, a server that does not answer, a session that ends, cameras by keyboard, and names for who does not see.

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
$t->add_device('00007', plate => '34 MDV 007', name => 'Night bus', channels => 4);
$t->add_device('00008', plate => '35 MDV 008');
my $vehicle = MDVR::Browser->vehicle($t, '00007');

ok eventually(sub { $t->online('00007') }), 'the vehicle has registered';
MDVR::Browser->script('night.mjs', { url => $node->url, email => $user->{email}, password => $user->{password} },
    alarm => sub {
        my ($code) = @_;
        $vehicle->alarm($code);
        eventually(sub { $t->value('select count(*) from mdvr.alarm where code = ?', $code) }) or die "$code is not stored\n";
    });
$vehicle->stop;
$t->done;
