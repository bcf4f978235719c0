# alone
# t/ws/wander.t with 1,000 connections; 5 minutes.
use v5.30;
$ENV{MOVES} //= 1000;
$ENV{CLIENTS} //= 12;
exec $^X, 't/ws/wander.t' or die "t/ws/wander.t: $!";
