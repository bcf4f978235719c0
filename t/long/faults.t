# alone
# t/fault/signaling.t with 200 faults; 15 minutes.
use v5.30;
$ENV{FAULTS} //= 200;
exec $^X, 't/fault/signaling.t' or die "t/fault/signaling.t: $!";
