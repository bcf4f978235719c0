# alone
# t/ops/soak.t for half an hour.
use v5.30;
$ENV{SOAK_S} //= 1800;
exec $^X, 't/ops/soak.t' or die "t/ops/soak.t: $!";
