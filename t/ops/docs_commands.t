# The shell commands of the documentation are run as they stand there, against an
# instance of this test; those that are not say why.  A command that is new in a
# document has to be added here.

use v5.30;
use lib 't/lib';
use MDVR::Test;

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $top = $MDVR::Test::TOP;
my $dir = MDVR::Test::test_dir();
my $device = MDVR::Test::free_port();
my %env = (MDVR_VAR => "$dir/var", DEMO => 0, MDVR_WORKERS => 1, MDVR_SIGNAL_PORT => $device);
$env{"MDVR_${_}_PORT"} = MDVR::Test::free_port() for qw(HTTP WS HTTPS MEDIA);

# a simulator finds its server on the port of this test and ends
my @sim = ([ 'build/bin/mdvr-sim', "build/bin/mdvr-sim --signal-port $device --media-port $env{MDVR_MEDIA_PORT}" ]);
my $ends = sub { [ qr/$/, ' --duration 2' ] };

# Commands in the order in which they are run.  sub => [from, to], ...: what is
# replaced because it names a place that is not on this machine, or takes hours.
# until: a command that goes on until it is interrupted, and what it has said then.
my @run = (
    [ 'make run', until => qr{http://127\.0\.0\.1:$env{MDVR_HTTP_PORT}/.*e-mail|http://127\.0\.0\.1:$env{MDVR_HTTP_PORT}/}s ],
    [ 'make start' ],
    [ 'make status' ],
    [ 'make logs', until => qr/"time":/ ],
    [ 'build/bin/mdvr-sim --serial 00007 --verbose', sub => [ @sim, $ends->() ] ],
    [ q(build/bin/mdvr-sim --devices 3 --serial-format 'DEMO%u' --alarm-every 120), sub => [ @sim, $ends->() ] ],
    [ 'build/bin/mdvr-sim --devices 10000 --rate 20000 --connect-rate 2000 --duration 60 --report 5',
        sub => [ @sim, [ '--devices 10000', '--devices 50' ], [ '--rate 20000', '--rate 100' ], [ '--duration 60', '--duration 2' ] ] ],
    [ 'build/bin/mdvr-sim --serial 00007 --audio-type 10 --talk-tone 500 --talk-record /tmp/heard-%s.pcm',
        sub => [ @sim, [ '/tmp/heard', "$dir/heard" ], $ends->() ] ],
    [ 'mdvr-migrate postgresql://owner@db/mdvr', sub => [ [ 'mdvr-migrate', 'sql/migrate' ], [ 'postgresql://owner@db/mdvr', 'URL' ] ] ],
    [ q(psql postgresql://owner@db/mdvr -v email=you@example.com -v hash="$(mdvr-passwd)" <<<"select mdvr.bootstrap_admin(:'email', :'hash', 'Your company')"),
        sub => [ [ 'postgresql://owner@db/mdvr', 'URL' ], [ 'mdvr-passwd', q(build/bin/mdvr-passwd <<<'a long password of somebody') ] ] ],
    [ 'ops/backup <URL> <objects> <directory>', sub => [ [ '<URL>', 'URL' ], [ '<objects>', "$dir/var/objects" ], [ '<directory>', "$dir/saved" ] ] ],
    [ 'ops/restore <directory> <empty URL> <objects>', sub => [ [ '<directory>', "$dir/saved/*" ], [ '<empty URL>', 'EMPTY' ], [ '<objects>', "$dir/found" ] ] ],
    [ q(grep -h <trace_id> $MDVR_VAR/log/*.log | jq -s 'sort_by(.time)[] | {time, msg, device, event_id, job}' -c),
        sub => [ [ '<trace_id>', '.' ], [ 'grep', 'set -o pipefail; grep' ] ] ],        # every line is JSON
    [ 'make stop' ],
);
my %skip = (
    'make test'         => 'is what runs this',
    'make test T=t/api' => 'a part of what runs this',
    'make unit'         => 'a part of what runs this',
    'make fuzz'         => 'minutes; t/fuzz/fuzz.t is its short form',
    'make test-long'    => 'hours',
    'make soak'         => 'half an hour; t/ops/soak.t is its short form',
    'make bench'        => 'needs a silent machine',
    'make deb'          => 'installed and run by t/ops/deploy.t',
    'apt install ./build/mdvr_*.deb' => 'changes the machine; t/ops/deploy.t unpacks the package and runs it',
    'ffplay -f s16le -ar 8000 -ch_layout mono /tmp/heard-00007.pcm' => 'needs somebody who hears',
);

# -- what the documents say

my %said;
for my $file (qw(README.md docs/operations.md docs/deployment.md docs/testing.md docs/simulator.md)) {
    my $fence;
    for (split /\n/, slurp("$top/$file")) {
        if (/^```(\w*)/) { $fence = defined $fence ? undef : $1; next }
        next unless defined $fence ? $fence eq 'sh' : /^    \S/;
        next if !/^\s*[A-Za-z.\/]/ || /[^\x00-\x7f]/;             # a drawing
        my $command = s/\s+#\s.*//r =~ s/^\s+|\s+$//gr =~ s/ +/ /gr;
        $said{$command} //= $file;
    }
}
my %known = (%skip, map { $_->[0] => 1 } @run);
is_deeply [ map { "$said{$_}: $_" } grep { !$known{$_} } sort keys %said ], [], 'each command of the documents is run here or has a reason';
is_deeply [ grep { !$said{$_} } sort keys %known ], [], 'and each one here is in a document';
note "not run: $_: $skip{$_}" for sort keys %skip;

# -- they are run

chdir $top;
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};
@ENV{keys %env} = values %env;
END { local $?; system "$top/ops/mdvr stop >/dev/null 2>&1" if $env{MDVR_VAR} }

sub replaced {
    my ($command, %o) = @_;
    for my $pair (@{ $o{sub} // [] }) {
        my ($from, $to) = @$pair;
        if (ref $from) { $command =~ s/$from/$to/; next }
        index($command, $from) >= 0 or fail "'$command' has no '$from'";
        $command =~ s/\Q$from\E/$to/;
    }
    if ($command =~ /\b(?:URL|EMPTY)\b/) {
        my ($url) = slurp("$env{MDVR_VAR}/mdvr.env") =~ /^MDVR_DATABASE_URL='?(.*?)'?$/m;
        my $empty = $url =~ s{/mdvr\b(?=\?|$)}{/empty}r;
        system('psql', '-X', '-q', '-d', $url, '-c', 'create database empty') if $command =~ /EMPTY/;
        $command =~ s/\bURL\b/'$url'/;
        $command =~ s/\bEMPTY\b/'$empty'/;
    }
    return $command;
}

sub began {
    my ($command, $log) = @_;
    my $pid = fork // die "fork: $!";
    return $pid if $pid;
    open STDIN, '<', '/dev/null';
    open STDOUT, '>', $log;
    open STDERR, '>&', \*STDOUT;
    setpgrp;
    { exec 'bash', '-c', $command }
    POSIX::_exit(127);
}

my $n = 0;
for my $c (@run) {
    my ($command, %o) = @$c;
    my $log = "$dir/out." . ++$n;
    my $pid = began(replaced($command, %o), $log);
    my $end = time + MDVR::Test::patience(60);
    if ($o{until}) {
        my $seen = eventually { slurp($log) =~ $o{until} || !MDVR::Test::alive($pid) } 60;
        like slurp($log), $o{until}, "$command says what it does";
        kill INT => -$pid;
    }
    my $ended = MDVR::Test::wait_pid($pid, MDVR::Test::patience(60));
    my $status = $?;
    kill KILL => -$pid unless $ended;
    if ($o{until}) { ok $ended, '... and ends with Ctrl-C' }
    else { ok($ended && $status == 0, $command) or diag "status $status\n", substr slurp($log), -1500 }
}

is_deeply [ map { slurp("$_/cmdline") =~ tr/\0/ /r } grep { (readlink("$_/cwd") // '') =~ /^\Q$dir\E/ } glob '/proc/[0-9]*' ], [], 'nothing is left running';
if (Test::More->builder->is_passing) { File::Path::remove_tree($dir) } else { diag "state kept in $dir" }
done_testing;
