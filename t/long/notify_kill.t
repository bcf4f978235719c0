# kill -9 of a worker between fifty alarms: every phone is told, none twice; the long
# form of what t/worker/notify.t does twelve times, with everything else that it does.

use v5.30;
use FindBin;

$ENV{MDVR_LONG} = 1;
chdir "$FindBin::Bin/../..";
do './t/worker/notify.t' or die $@ || $!;
