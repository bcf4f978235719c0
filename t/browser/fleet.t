# A simulated fleet in the console, and nine of its cameras at once, then sixteen, in Chromium.
# alone

use v5.30;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MDVR::Test;
use MDVR::Browser;

my $missing = MDVR::Browser::missing() // MDVR::Browser::no_simulator();
plan skip_all => $missing if $missing;

my $seconds = $ENV{MDVR_WALL_S} // 8;
my $t = MDVR::Test->new;
my $node = $t->nginx(workers => 2);
my $user = $t->user(role => 'tenant_admin', email => 'anna@fleet.example');
my @name = ('Night line 1', 'Night line 2', 'Airport');
$t->add_device("DEMO$_", plate => "34 MDV 00$_", name => $name[ $_ - 1 ], channels => 4) for 1 .. 3;
$t->add_device(sprintf('SIM%05d', $_), plate => sprintf('34 KD %03d', 100 + $_), name => ('School', 'Depot', 'Line 42')[ $_ % 3 ], channels => 4) for 1 .. 40;

MDVR::Browser::simulator($t, '--serial', "DEMO$_", '--interval', 1, '--alarm-every', 30, '--seed', $_) for 1 .. 3;
MDVR::Browser::simulator($t, '--devices', 40, '--serial-format', 'SIM%05u', '--first', 1, '--interval', 1, '--seed', 9);

my $seen = MDVR::Browser->script('fleet.mjs', {
    url => $node->url, email => $user->{email}, password => $user->{password}, count => 43, seconds => $seconds,
    shot => $ENV{MDVR_SCREENSHOT} ? "$MDVR::Test::TOP/docs/images/console.png" : undef,
});

my @delay = MDVR::Browser::film_delays($seen->{seen} // []);
ok @delay > $seconds * 5, 'the film of the simulated camera is seen';
cmp_ok MDVR::Browser::percentile(50, @delay) // 9e9, '<', 3000, 'live';

my $lag = $seen->{lag_ms} // [0];
diag sprintf 'nine cameras for %d s: camera to screen p50 %d ms, p95 %d ms; buffers p95 %d ms; heap %.1f -> %.1f MB, processes %.0f -> %.0f MB; main thread %s %%, script %s %%',
    $seconds, MDVR::Browser::percentile(50, @delay) // -1, MDVR::Browser::percentile(95, @delay) // -1,
    MDVR::Browser::percentile(95, @$lag), map({ $_ / 1e6 } @{ $seen->{heap} // [0, 0] }, @{ $seen->{rss} // [0, 0] }),
    $seen->{main_thread_percent} // '?', $seen->{script_percent} // '?';
$t->done;
