# The camera analyser on all four photographs: the long form of
# t/worker/ai_camera.t, which takes two.

use v5.30;
use FindBin;

$ENV{MDVR_LONG} = 1;
chdir "$FindBin::Bin/../..";
do './t/worker/ai_camera.t' or die $@ || $!;
