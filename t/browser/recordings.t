# Recordings in the console, in Chromium: the calendar of what the recorder holds, playback from a click in it, and
# the record button of a camera and its sound.

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
$t->add_device('DEMO1', plate => '34 MDV 001', channels => 4);
MDVR::Browser::simulator($t, '--serial', 'DEMO1', '--interval', 1);

my $helper = $t->daemon('mdvr-worker', 'sound');      # plays recordings, too

ok eventually(sub { $t->online('DEMO1') }), 'the vehicle has registered';
ok eventually(sub { $t->daemon_log($helper) =~ /sound encoder ready/ }), 'there is a player of recordings';
MDVR::Browser->script('recordings.mjs', { url => $node->url, email => $user->{email}, password => $user->{password} });
$t->done;
