#!/usr/bin/perl

# Health, readiness and numbers, while what they speak of comes and goes.

use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2);
my $http = $t->http;

sub get { $http->request('GET', $_[0]) }

my $r = get('/healthz');
is $r->{status}, 200, '/healthz answers';
is_deeply $r->{json}, { status => 'ok' }, '... ok';
$r = get('/readyz');
is $r->{status}, 200, '/readyz is good when everything is there';
is_deeply $r->{json}, { status => 'ready', checks => { postgres_stream => 'ok', postgres_api => 'ok', redis => 'ok',
    storage => 'ok', signing_keys => 'ok' } }, '... and says what it looked at';
is $http->request('POST', '/readyz', {})->{status}, 405, 'only GET and HEAD';
like get('/healthz')->{headers}{'x-request-id'}, qr/^[0-9a-f]{8}-[0-9a-f]{4}-7/, 'an answer has a request id';
is $http->request('GET', '/healthz', undef, 'x-request-id' => 'abc-1.2_3')->{headers}{'x-request-id'}, 'abc-1.2_3', '... the client\'s if it sent one';
isnt $http->request('GET', '/healthz', undef, 'x-request-id' => 'a b')->{headers}{'x-request-id'}, 'a b', '... unless it is not one';

# -- every name that dashboards rely on is there from the start

my $m = get('/metrics');
is $m->{status}, 200, '/metrics answers';
like $m->{headers}{'content-type'}, qr{^text/plain; version=0\.0\.4}, '... in the text format';
no warnings 'qw';
for my $series (qw(
    mdvr_http_requests_total{route= mdvr_http_request_seconds_bucket{route= mdvr_device_connections mdvr_messages_total{keyword="V114"}
    mdvr_refusals_total{reason= mdvr_db_pool_in_use mdvr_db_pool_waiting mdvr_job_queue_depth{kind="transcode"}
    mdvr_job_queue_age_seconds{kind="ingest"} mdvr_job_seconds_bucket{kind="transcode",le="1.0"} mdvr_job_seconds_count{kind="ingest"}
    mdvr_job_failures_total{kind="ingest",reason= mdvr_transcode_speed_factor mdvr_live_streams mdvr_live_viewers
    mdvr_media_bytes_total{direction="in"} mdvr_media_bytes_total{direction="out"} mdvr_redis_up mdvr_spool_depth)) {
    ok $m->{body} =~ /^\Q$series\E/m, "$series";
}
my @bad = grep { !/^# (?:HELP|TYPE) mdvr_\w+ ./ && !/^mdvr_\w+(?:\{\w+="[^"]*"(?:,\w+="[^"]*")*\})? -?\d+(?:\.\d+)?$/ } split /\n/, $m->{body};
is_deeply \@bad, [], 'every line is one of the format';
my %seen;
$seen{ /^(\S+(?:\{.*\})?) / ? $1 : '' }++ for grep { !/^#/ } split /\n/, $m->{body};
is_deeply [grep { $seen{$_} > 1 } keys %seen], [], 'no series is there twice';

# -- jobs as the workers count them

$t->redis(qw(SADD mdvr:jobqueues transcode ingest@a));
$t->redis('XADD', 'mdvr:job:{transcode}', '1000-1', 'job', '{}');
$t->redis('XADD', 'mdvr:job:{transcode}', '*', 'job', '{}');
$t->redis('ZADD', 'mdvr:job:{ingest@a}:delayed', 1, 'x');
$t->redis(qw(HSET mdvr:jobstats transcode:le:500 3 transcode:le:inf 1 transcode:sum_ms 2500 transcode:media_ms 10000 transcode:failed:decode 2));
$m = get('/metrics')->{body};
like $m, qr/^mdvr_job_queue_depth\{kind="transcode"\} 2$/m, 'queue depth is the length of the stream';
like $m, qr/^mdvr_job_queue_age_seconds\{kind="transcode"\} \d{9,}\.\d+$/m, 'its age that of the oldest entry';
like $m, qr/^mdvr_job_delayed\{kind="ingest"\} 1$/m, 'delayed jobs are counted, of all nodes';
like $m, qr/^mdvr_job_seconds_bucket\{kind="transcode",le="0\.1"\} 0\n.*le="0\.5"\} 3\n/m, 'buckets are cumulative';
like $m, qr/^mdvr_job_seconds_count\{kind="transcode"\} 4$/m, 'runs are counted';
like $m, qr/^mdvr_job_failures_total\{kind="transcode",reason="decode"\} 2$/m, 'failures by reason';
like $m, qr/^mdvr_transcode_speed_factor 4\.000$/m, 'speed is media per work';

# -- what goes and comes back

$t->store->pg_stop('immediate');
ok eventually(sub { my $r = get('/readyz'); $r->{status} == 503 && $r->{json}{checks}{postgres_api} eq 'away' }),
    'without PostgreSQL /readyz is 503 and says so';
ok get('/readyz')->{headers}{'retry-after'}, '... with Retry-After';
is get('/healthz')->{status}, 200, '... /healthz stays 200';
$t->store->pg_start;
ok eventually(sub { get('/readyz')->{status} == 200 }, 10), '... and it is ready again when PostgreSQL is back';

$t->store->redis_stop('KILL');
ok eventually(sub { my $r = get('/readyz'); $r->{status} == 503 && $r->{json}{checks}{redis} eq 'away' }),
    'without Redis as well';
like get('/metrics')->{body}, qr/^mdvr_redis_up 0$/m, 'mdvr_redis_up is 0';
like get('/metrics')->{body}, qr/^mdvr_job_queue_depth\{kind="transcode"\} 0$/m, '... job numbers are there, zero';
$t->store->redis_start;
ok eventually(sub { get('/readyz')->{status} == 200 }, 10), '... and back';

rename "$t->{dir}/objects", "$t->{dir}/objects.away" or die $!;
ok eventually(sub { my $r = get('/readyz'); $r->{status} == 503 && $r->{json}{checks}{storage} eq 'away' }, 8), 'without the storage as well';
is get('/readyz')->{json}{checks}{redis}, 'ok', '... and only that is away';
rename "$t->{dir}/objects.away", "$t->{dir}/objects" or die $!;
ok eventually(sub { get('/readyz')->{status} == 200 }, 8), '... and back';

# a refused configuration's storage is not that of a later one without

my $text = MDVR::Test::slurp("$n->{dir}/nginx.conf");
sub conf_is { open my $fh, '>', "$n->{dir}/nginx.conf" or die $!; print $fh @_; close $fh }
conf_is($text =~ s{(mdvr_objects )\S+;}{$1/nonexistent;}gr, "no_such_directive on;\n");
kill HUP => $n->master;
ok eventually(sub { $n->log =~ /unknown directive "no_such_directive"/ }, 5), 'a configuration is refused';
$t->allow(qr/no_such_directive/);
conf_is($text =~ s{mdvr_objects \S+;}{}gr);
$n->reload;
ok eventually(sub { my $r = get('/readyz'); $r->{status} == 200 && !exists $r->{json}{checks}{storage} }, 8), 'the next one has no storage to look at'
    or diag get('/readyz')->{body};
conf_is($text);
$n->reload;
ok eventually(sub { (get('/readyz')->{json}{checks}{storage} // '') eq 'ok' }, 8), '... the one after has';

is_deeply [ grep { !m{^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[} } split /\n/, $n->log ], [], 'whatever libpq says of it is one line of the log';

# a stopped PostgreSQL is not a slow one for ever

my ($pid) = MDVR::Test::slurp("$t->{store}{pg}/postmaster.pid") =~ /^(\d+)/;
my @backends = map { $_->[0] } $t->sql("select pid from pg_stat_activity where usename in ('mdvr_api', 'mdvr_stream')");
kill STOP => @backends;
my $start = time;
$r = get('/readyz');
is $r->{status}, 503, 'backends that are stopped make it 503';
cmp_ok time - $start, '<', 10 * MDVR::Test::patience(1), '... within the deadline';
kill CONT => @backends;
ok eventually(sub { get('/readyz')->{status} == 200 }, 15), '... until they go on or others are there';

# -- workers die

my $before = get('/metrics')->{body} =~ /^mdvr_db_calls_total (\d+)/m ? $1 : -1;
my @old = $n->workers;
$n->kill_worker;
ok eventually(sub { my %now = map { $_ => 1 } $n->workers; keys(%now) == 2 && grep { !$now{$_} } @old }), 'a worker that dies is replaced';
ok eventually(sub { get('/readyz')->{status} == 200 }), '... and ready';
$n->reload;
ok eventually(sub { get('/readyz')->{status} == 200 }), 'after a reload too';
ok eventually(sub { my $b = get('/metrics')->{body} =~ /^mdvr_db_calls_total (\d+)/m ? $1 : -1; $b >= $before && $before > 0 }),
    'counters do not go back';
ok eventually(sub { 16 >= $t->value("select count(*) from pg_stat_activity where usename in ('mdvr_api', 'mdvr_stream')") }, 10),
    'connections of workers that are gone are gone';

$t->allow(qr/signal 9|exited on signal 9/);
$t->done;
