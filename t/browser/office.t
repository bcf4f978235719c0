# The administration in the console, in Chromium: a platform's own person acts for a tenant, plans, webhooks,
# geofences that are drawn, the second factor, notifications, the audit trail; and what is not there.

use v5.30;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MDVR::Test;
use MDVR::Browser;

my $missing = MDVR::Browser::missing();
plan skip_all => $missing if $missing;

my $t = MDVR::Test->new;
my $node = $t->nginx(workers => 1);
$t->add_device('00007', plate => '34 MDV 007', name => 'Night bus');
my $admin = $t->{store}->first_admin;

MDVR::Browser->script('office.mjs', {
    url => $node->url, email => $admin->{email}, password => $admin->{password}, tenant => 'A',
});
$t->done;
