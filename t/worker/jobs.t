# The job engine: at least once, taken over, tried again with pauses, given up
# with a reason, and never twice with a visible effect.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Files;
use File::Path qw(make_path);
use POSIX ();
use Time::HiRes qw(time);

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new;
my $dev = $t->add_device('00007');
my $tenant = $t->tenant('A');
my $dir = $t->dir;
my $state = "$dir/state";
make_path("$state/staged");
my @svc = $> == 0 ? (getpwnam MDVR::Test::svc_user())[2, 3] : ();
chown @svc, $state, "$state/staged" if @svc;
my %env = (MDVR_STATE_DIR => $state, MDVR_NODE => 'n1', MDVR_WORKER_RETRY_MS => 50, MDVR_WORKER_LEASE_MS => 1000,
    MDVR_WORKER_TICK_MS => 200);
my $in = 'mdvr:job:{ingest@n1}';
my $out = 'mdvr:job:{transcode}';
my $raw = MDVR::Files::annexb($dir, seconds => 1);

sub jobs { my %e = ($t->daemon_env, %env); local @ENV{keys %e} = values %e; my $text = qx(build/bin/mdvr-worker jobs @_ 2>&1); ($? >> 8, $text) }
sub worker { $t->daemon('mdvr-worker', { %env, @_ }) }

sub soon(&$;$) { my ($cond, $name, $seconds) = @_; ok(eventually(\&$cond, $seconds // 10), $name) }

my $n = 0;
sub stage {
    my (%doc) = @_;
    my $id = sprintf '01a00000-0000-7000-8000-%012d', ++$n;
    open my $fh, '>:raw', "$state/staged/$id.bin" or die $!;
    print $fh $raw;
    close $fh;
    chown @svc, "$state/staged/$id.bin" if @svc;
    $t->redis('XADD', $in, '*', 'job', JSON::PP->new->encode({ id => $id, kind => 'ingest', device_id => $dev,
        file => "$state/staged/$id.bin", media_kind => 'mp4', source => 'alarm_file', %doc }));
    return $id;
}
sub status { $t->value('select status from mdvr.media where id = ?', $_[0]) }
sub ready { my ($id, $s) = @_; return eventually(sub { (status($id) // '') eq 'ready' }, $s // 10) }

# Nobody works: jobs wait.
my $first = stage();
$t->redis('SADD', 'mdvr:jobqueues', 'ingest@n1');
my ($rc, $text) = jobs('list');
like $text, qr/^queue ingest\@n1: 1 waiting, 0 running, 0 delayed, 0 dead$/m, 'a job waits while there is no worker';
($rc, $text) = jobs('show', $first);
like $text, qr/^queued ingest\@n1\n\{.*"$first"/, 'and can be looked at';
is +(jobs('show', 'nothing'))[0], 1, 'an unknown one cannot';
is +(jobs('bogus'))[0], 2, 'an unknown verb is refused';
my $w = worker();
ok ready($first), 'a worker does it';

# Storage is away: later, with pauses, until it is back.
rename "$dir/objects", "$dir/gone";
open my $file, '>', "$dir/objects" or die $!;         # a file where the directory should be
close $file;
my $waiting = stage();
soon { $t->daemon_log($w) =~ /"will be tried again"|will be tried again.*storage/ } 'without storage a job is put back';
soon { (() = $t->daemon_log($w) =~ /tried again/g) >= 3 } 'and tried again';
like +(jobs('show', $waiting))[1], qr/"attempt":\d.*"last_error":"cannot make/, 'it remembers why';
is status($waiting), undef, 'nothing shows';
unlink "$dir/objects";
rename "$dir/gone", "$dir/objects";
ok ready($waiting, 20), 'when storage is back it is done';

# PostgreSQL is away.
$t->store->pg_stop;
my $offline = stage();
soon { $t->daemon_log($w) =~ /tried again.*"database"/ } 'without PostgreSQL a job is put back';
$t->store->pg_start;
ok ready($offline, 20), 'and done afterwards';

# Redis goes away in between.
$t->store->redis_restart;
my $after = stage();
ok ready($after, 20), 'a restart of Redis is survived';
$t->redis('FLUSHALL');
my $flushed = stage();
ok ready($flushed, 20), 'even one that lost everything';

# A job that never works.
$t->redis('XADD', $out, '*', 'job', JSON::PP->new->encode({ id => 'poison', kind => 'transcode', tenant_id => $tenant,
    media_id => '01a00000-0000-7000-8000-999999999999' }));
$t->redis('XADD', $out, '*', 'job', 'no json');
$t->redis('XADD', $out, '*', 'other', 'field');
soon { $t->redis('XLEN', "$out:dead") == 3 } 'poisoned jobs end in the dead-letter list';
my $fine = stage();
ok ready($fine), 'and stop nobody';
($rc, $text) = jobs('list', 'transcode');
like $text, qr/3 dead$/m, 'the list counts them';
like $text, qr/^dead transcode poison after 1 attempts, \d+ s ago: unknown_media: media item .* does not exist$/m, 'with the reason';
unlike $text, qr/ingest/, 'one queue only when asked so';
is +(jobs('requeue', 'poison'))[1], "1 jobs\n", 'an operator puts one back';
soon { $t->redis('XLEN', "$out:dead") == 3 } 'it fails again';
is +(jobs('drop', 'poison'))[1], "1 jobs\n", 'and is dropped';
is $t->redis('XLEN', "$out:dead"), 2, 'for good';
is +(jobs('drop', 'all'))[1], "2 jobs\n", 'like all the others';
cmp_ok $t->redis('HGET', 'mdvr:jobstats', 'transcode:failed:unknown_media'), '>=', 2, 'failures are counted by reason';
cmp_ok $t->redis('HGET', 'mdvr:jobstats', 'ingest:sum_ms'), '>', 0, 'and time by kind';

# A failed item can be tried again once its file is right.
my $bad = stage(source => 'alarm_file');
ok ready($bad), 'an item';
$t->sql("update mdvr.media set status = 'failed', failed_reason = 'for the test' where id = ?", $bad);
$t->redis('XADD', $out, '*', 'job', JSON::PP->new->encode({ id => $bad, kind => 'transcode', tenant_id => $tenant, media_id => $bad }));
ok ready($bad), 'a failed item becomes ready when its job is repeated';
my $events = $t->value("select count(*) from mdvr.event where topic = 'media'");
$t->redis('XADD', $out, '*', 'job', JSON::PP->new->encode({ id => $bad, kind => 'transcode', tenant_id => $tenant, media_id => $bad }));
soon { $t->redis('XLEN', $out) == 0 } 'a repeated job of a ready item';
is $t->value("select count(*) from mdvr.event where topic = 'media'"), $events, 'tells nobody anything';

# Two workers share the work; a third takes over what they leave.
my $log = $t->{children}{$w}{log};
$t->daemon_stop($w, 'TERM');
like MDVR::Test::slurp($log), qr/"worker stopped"/, 'a worker stops cleanly';
my @ids = map { stage() } 1 .. 10;
my @w = (worker(), worker());
my @had = map { scalar(() = MDVR::Test::slurp($t->{children}{$_}{log}) =~ /"job done"/g) } @w;
ok ready($_, 20), 'with two workers each job is done' for @ids[0, 4, 9];
soon { !grep { (status($_) // '') ne 'ready' } @ids } 'all of them';
my %by;
my $count = sub {
    for my $i (0, 1) { $by{$i} = (() = $t->daemon_log($w[$i]) =~ /"job done"/g) - $had[$i] }
    return $by{0} + $by{1};
};
soon { $count->() >= 20 } 'both tell what they did';
cmp_ok $by{0}, '>', 0, 'the first did some';
cmp_ok $by{1}, '>', 0, 'the second did some';
is $count->(), 20, 'and none twice';
$t->daemon_stop($_, 'TERM') for @w;

# kill -9 at random moments: every job finishes, once, and nothing half shows.
my $kills = $ENV{MDVR_LONG} ? 50 : 10;
my $told = $t->value("select count(*) from mdvr.event where topic = 'media'");
@ids = map { stage() } 1 .. $kills;
my $k = 0;
my $deadline = time + 90;
while ($k < $kills && time < $deadline) {
    my $w = worker(MDVR_WORKER_LEASE_MS => 500);
    select undef, undef, undef, 0.05 + rand 0.35;
    my @half = grep { !-s } glob "$dir/objects/*/*/*/*/*/*.{mp4,jpg}";
    $bad = "half an object: @half" if @half;
    $t->daemon_stop($w, 'KILL');
    $k++;
}
$w = worker(MDVR_WORKER_LEASE_MS => 500);
soon { !grep { (status($_) // '') ne 'ready' } @ids } "after $k kills every job has finished", 40
    or diag join ' ', map { status($_) // 'none' } @ids;
is $t->value("select count(*) from mdvr.event where topic = 'media'"), $told + $kills, 'with one event each';
is $t->redis('XLEN', "$in:dead") + $t->redis('XLEN', "$out:dead"), 0, 'none was given up';
my @wrong = grep { MDVR::Files::probe("$dir/objects/" . $t->value('select playback_key from mdvr.media where id = ?', $_))->{frames} != 25 } @ids[0 .. 4];
is scalar(@wrong), 0, 'the movies are whole';
soon { $t->redis('XLEN', $in) + $t->redis('XLEN', $out) == 0 } 'the queues are empty', 20;
soon { !(() = glob "$state/staged/*") } 'and so is the staging directory';

# Scheduled work.
my $before = length $t->daemon_log($w);
soon { $t->value('select count(*) from mdvr.schedule') >= 11 } 'every scheduled task ran', 10;
my $second = worker();
my $ran = $t->value("select last_at from mdvr.schedule where name = 'partitions'");
select undef, undef, undef, 1;
is $t->value("select last_at from mdvr.schedule where name = 'partitions'"), $ran, 'and not again before its time, with two workers';
$t->sql("drop table mdvr.telemetry_" . $t->value("select to_char(now() + interval '2 months', 'YYYYMM')"));
$t->sql("update mdvr.schedule set last_at = last_at - interval '2 hours'");
soon { $t->value("select to_regclass('mdvr.telemetry_' || to_char(now() + interval '2 months', 'YYYYMM')) is not null") eq 't' } 'a missing month is made', 10;
unlike substr($t->daemon_log($w), $before), qr/scheduled work failed/, 'nothing failed';

# What the server undid for the sake of another transaction: a single statement is
# run again at once, a transaction with its job.
$t->sql('create sequence undone minvalue 0 start 1; grant all on undone to public');
$t->sql('alter function mdvr.device_owner(uuid) rename to device_owner_of');
$t->sql(q{create function mdvr.device_owner(p_device uuid) returns uuid language plpgsql security definer as $$ begin
    if nextval('public.undone') <= 4 then
        raise exception using errcode = case when currval('public.undone') % 2 = 0 then '40001' else '40P01' end, message = 'undone here';
    end if;
    return mdvr.device_owner_of(p_device);
end $$});
sub put_back { my ($id) = @_; scalar grep { /tried again/ && /\Q$id\E/ } map { split /\n/, $t->daemon_log($_) } $w, $second }
sub undone { $t->sql('select setval(?, ?, false)', 'undone', $_[0]) }
undone(1);
$t->allow(qr{^PostgreSQL: mdvr_worker .* undone here});
my $through = stage();
ok ready($through), 'a statement that is undone four times';
is $t->value('select last_value from undone'), 5, 'is run five times';
is put_back($through), 0, 'and the job knows nothing of it';
undone(0);
$through = stage();
ok ready($through), 'one that is undone more often';
is put_back($through), 1, 'is left to the next attempt of its job';
like join("\n", map { $t->daemon_log($_) } $w, $second), qr/tried again.*undone here/, 'with the reason';
undone(5);
$t->sql(q{create function undone_media() returns trigger language plpgsql security definer as $$ begin
    if nextval('public.undone') = 6 then raise exception using errcode = '40P01', message = 'undone here'; end if;
    return new;
end $$});
$t->sql('create trigger undone before insert on mdvr.media for each row execute function undone_media()');
$through = stage();
ok ready($through), 'a transaction that is undone';
is put_back($through), 1, 'is not taken for its last statement: the job is tried again';

$t->daemon_stop($w, 'TERM');
$t->daemon_stop($second, 'TERM');
$t->done;
