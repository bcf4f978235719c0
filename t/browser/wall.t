# Sixteen cameras on the wall of the console, over one WebSocket, in Chromium.
# alone

use v5.30;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MDVR::Test;
use MDVR::Browser;

my $missing = MDVR::Browser::missing() // MDVR::Browser::no_simulator();
plan skip_all => $missing if $missing;

my $t = MDVR::Test->new;
my $node = $t->nginx(workers => 2);
my $user = $t->user(role => 'tenant_admin');
$t->add_device("SIM0000$_", plate => "34 KD 10$_", channels => 4) for 1 .. 5;
MDVR::Browser::simulator($t, '--devices', 5, '--serial-format', 'SIM%05u', '--first', 1, '--interval', 1);

MDVR::Browser->script('wall.mjs', { url => $node->url, email => $user->{email}, password => $user->{password} });
$t->done;
