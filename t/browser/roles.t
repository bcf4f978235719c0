# Every page of the console as each role, in Chromium, wide and on a phone.
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
my $password = 'every page once';
$t->add_device('00007', plate => '34 MDV 007', name => 'Night bus');
my $vehicle = MDVR::Browser->vehicle($t, '00007', every => 0.5);
my %user = map { $_ => $t->user(role => $_, password => $password) } qw(client_user technician tenant_admin super_admin);
$t->sql("insert into mdvr.assignment (tenant_id, user_id, device_id) select tenant_id, ?, id from mdvr.device where serial = '00007'",
    $user{client_user}{id});

ok eventually(sub { $t->online('00007') }), 'the vehicle has registered';
MDVR::Browser->script('roles.mjs', { url => $node->url, password => $password,
    users => { map { $_ => $user{$_}{email} } keys %user } });
$vehicle->stop;
$t->done;
