# kill -9 of a worker at fifty random points of fifty jobs: the long form of what
# t/worker/jobs.t does ten times, with everything else that it does.

use v5.30;
use FindBin;

$ENV{MDVR_LONG} = 1;
chdir "$FindBin::Bin/../..";
do './t/worker/jobs.t' or die $@ || $!;
