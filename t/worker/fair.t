# A tenant with ten thousand jobs does not keep another waiting, and evidence does
# not wait for convenience; nothing is lost when workers die over it.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use IO::Socket::UNIX;

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new;
my $tenant = $t->tenant('A');
my $n = $t->nginx;
my $q = 'mdvr:job:{transcode}';
my %env = (MDVR_WORKER_RETRY_MS => 100, MDVR_WORKER_JOBS => 1, MDVR_STATE_DIR => $t->dir);
my %uuid = (big => $tenant, small => $t->tenant('B'), third => $t->tenant('C'));

# Jobs that fail at once (their item does not exist): they end in the dead-letter
# list in the order in which they ran.
my $k = 0;
sub job {
    my ($who, %doc) = @_;
    my $id = sprintf '%s-%d', $who, ++$k;
    return JSON::PP->new->canonical->encode({ id => $id, kind => 'transcode', tenant_id => $uuid{$who},
        media_id => sprintf('01a00000-0000-7000-8000-%012d', $k), source => 'recording', %doc });
}
sub add { my @docs = @_; $t->redis('XADD', $q, '*', 'job', $_) for @docs; return }
sub ran { my $r = $t->redis('XRANGE', "$q:dead", '-', '+') // []; map { my %f = @{ $_->[1] }; ($f{job} =~ /"id":"([^"]+)"/)[0] } @$r }
sub left { my ($p) = $t->redis('XLEN', $q) + $t->redis('ZCARD', "$q:parked"); $p }
sub soon(&$;$) { my ($cond, $name, $seconds) = @_; ok(eventually(\&$cond, $seconds // 20), $name) }

# Ten thousand of one, then a few of others, before there is a worker.
my $lua = 'for i = 1, tonumber(ARGV[2]) do redis.call("XADD", KEYS[1], "*", "job", (string.gsub(ARGV[1], "NUMBER", string.format("%06d", i)))) end return ARGV[2]';
$t->redis('EVAL', $lua, 1, $q, job('big', id => 'big-NUMBER', media_id => '01a00000-0000-7000-8000-000001NUMBER'), 10_000);
add(map { job('small') } 1 .. 3);
add(map { job('third') } 1 .. 2);
$t->redis('SADD', 'mdvr:jobqueues', 'transcode');
my $w = $t->daemon('mdvr-worker', \%env);
soon { grep { /^third/ } ran() } 'a job of the last tenant is done', 60;
soon { 3 == grep { /^small/ } ran() } 'those of the other, too', 30;
my @first = ran();
cmp_ok scalar(grep { /^big/ } @first[0 .. 5]), '<=', 3, 'of the first six no more than its turns are the big one\'s' or diag "@first[0 .. 9]";
cmp_ok left(), '>', 9000, 'while most of the ten thousand wait';
cmp_ok $n->metrics('mdvr_job_queue_depth{kind="transcode"}'), '>', 9000, 'which the metrics say';
cmp_ok $n->metrics('mdvr_job_queue_age_seconds{kind="transcode"}'), '>', 0.2, 'and how old the oldest is';
my %e = ($t->daemon_env, %env);
my $text = do { local @ENV{keys %e} = values %e; qx(build/bin/mdvr-worker jobs list transcode 2>&1) };
like $text, qr/^queue transcode: 9\d\d\d waiting/m, 'and the list';
$text = do { local @ENV{keys %e} = values %e; qx(build/bin/mdvr-worker jobs show big-009999 2>&1) };
like $text, qr/^queued transcode\n.*"big-009999"/m, 'one of them can be looked at';

# Evidence overtakes, convenience is not forgotten.
my $mark = ran();
add(map { job('big', source => 'alarm_file', id => "evidence-$_") } 1 .. 16);
soon { 16 == grep { /^evidence/ } ran() } 'evidence goes first';
my @since = ran();
splice @since, 0, $mark;
my ($from) = grep { $since[$_] =~ /^evidence/ } 0 .. $#since;
my ($to) = reverse grep { $since[$_] =~ /^evidence/ } 0 .. $#since;
my $between = grep { !/^evidence/ } @since[$from .. $to];
cmp_ok $between, '>=', 1, 'one in a while is a convenience all the same';
cmp_ok $between, '<=', 5, 'not more';

# A worker dies: what it had is done by the next, what is parked is still there.
$t->daemon_stop($w, 'KILL');
my $before = left();
cmp_ok $before + ran(), '>=', 10_021, 'nothing is lost with a worker';
$w = $t->daemon('mdvr-worker', { %env, MDVR_WORKER_LEASE_MS => 1000 });
add(job('small', id => 'after'));
soon { grep { $_ eq 'after' } ran() } 'the next one goes on with everybody\'s turn';
$t->daemon_stop($w, 'KILL');
my %seen;
$seen{$_}++ for ran();
is scalar(grep { $_ > 1 } values %seen), 0, 'and nothing ran to its end twice';
$t->done;
