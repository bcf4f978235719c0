# A daemon that dies is started again within 2 s, and stops when told.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use File::Temp qw(tempdir);

my $keeper = "$MDVR::Test::TOP/build/bin/mdvr-keeper";
my $dir = tempdir(CLEANUP => 1);
chmod 0755, $dir;

my $pid_of = sub { slurp("$dir/$_[0].pid") =~ /(\d+)/ ? $1 : 0 };
my $keep = sub { my ($name, @cmd) = @_; system $keeper, '-n', $name, '-r', $dir, '-l', "$dir/$name.log", '-s', 1, '-u', 'www-data', '--', @cmd };
my $alive = sub { my $s = slurp("/proc/$_[0]/stat"); $s ne '' && $s !~ /\) Z / };

is $keep->('a', '/bin/sh', '-c', 'echo hello; exec sleep 1000'), 0, 'the keeper goes into the background';
my $first = eventually { $pid_of->('a') };
ok $alive->($first), 'the daemon runs';
ok eventually { slurp("$dir/a.log") =~ /^hello$/m }, 'its output is in its log';
is((stat "/proc/$first")[4], scalar getpwnam('www-data'), 'as an unprivileged user') if $> == 0;

is $keep->('a', '/bin/sleep', 1000), 0, 'a second keeper of that name leaves at once';
is $pid_of->('a'), $first, 'and changes nothing';

my $t0 = time;
kill KILL => $first;
my $second = eventually { my $p = $pid_of->('a'); $p != $first && $alive->($p) && $p };
ok $second, 'a daemon that was killed is started again';
cmp_ok time - $t0, '<', 2, 'within 2 s';
ok eventually { grep { /died of a signal/ && json_of($_)->{number} == 9 } split /\n/, slurp("$dir/a.log") },
    'and the log says so in JSON';

my $k = slurp("$dir/a.keeper") + 0;
kill TERM => $k;
ok eventually { !-e "/proc/$k" || !$alive->($k) }, 'the keeper stops on TERM';
ok !$alive->($second), 'with its daemon';
ok !-e "$dir/a.pid" && !-e "$dir/a.keeper", 'and leaves no file';

$keep->('b', '/bin/sh', '-c', 'trap "" TERM; while :; do sleep 1; done');
my $stubborn = eventually { $pid_of->('b') };
eventually { slurp("/proc/$stubborn/cmdline") =~ /trap/ };
sleep 0.3;      # the shell has to reach its trap
$k = slurp("$dir/b.keeper") + 0;
kill TERM => $k;
ok eventually { !$alive->($k) && !$alive->($stubborn) }, 'a daemon that ignores TERM is killed';

$keep->('c', '/bin/sleep', 1000);
my $orphan = eventually { $pid_of->('c') };
eventually { slurp("/proc/$orphan/comm") =~ /sleep/ };
kill KILL => slurp("$dir/c.keeper") + 0;
ok eventually { !$alive->($orphan) }, 'when the keeper itself is killed, its daemon ends too';

done_testing;
