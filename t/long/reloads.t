# alone
# t/ops/reloads.t with 100 reloads and 10 binary upgrades; ten minutes.
use v5.30;
$ENV{RELOADS} //= 100;
$ENV{UPGRADES} //= 10;
exec $^X, 't/ops/reloads.t' or die "t/ops/reloads.t: $!";
