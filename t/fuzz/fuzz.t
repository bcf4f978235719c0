# Every parser that reads from strangers is fuzzed for a short time under the
# address and undefined-behaviour sanitizers (FUZZ_S seconds each, default 20);
# make test-long does the same for longer.
# alone

use v5.30;
use FindBin;
use Test::More;

chdir "$FindBin::Bin/../.." or die;
my @targets = map { m{([^/]+)\.c$} ? $1 : () } glob 't/fuzz/*.c';
my @missing = grep { !-x "build/fuzz/$_" } @targets;
is "@missing", '', 'every fuzz target is built';

open my $out, '-|', 't/run-fuzz', $ENV{FUZZ_S} // 20, @targets or die "t/run-fuzz: $!";
my %seen;
while (<$out>) {
    if (/^(not )?ok - fuzz ([^:]+): (.*)/) {
        $seen{$2} = 1;
        ok !$1, "$2: $3";
    } else {
        chomp;
        diag $_;
    }
}
close $out;
ok $seen{$_}, "$_ ran" for @targets;
done_testing;
