# The console's pages behind the live view, in Chromium.
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
$t->add_device('00007', plate => '34 MDV 007', name => 'Night bus');
$t->add_device('00008', plate => '34 MDV 008');
my $vehicle = MDVR::Browser->vehicle($t, '00007', every => 0.5);

ok eventually(sub { $t->online('00007') }), 'the vehicle has registered';
MDVR::Browser->script('pages.mjs', {
    url => $node->url, email => $user->{email}, password => $user->{password}, guest_password => 'a guest who may look',
});
$vehicle->stop;
$t->done;
