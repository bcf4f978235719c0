# Telemetry lives in months that are made ahead and dropped whole.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Session;

my $t = MDVR::Test->new(no_redis => 1);
my $worker = MDVR::Session->new($t, 'mdvr_worker');
my $api = MDVR::Session->new($t, 'mdvr_api');
my $dev = $t->add_device('00007');
my $tenant = $t->tenant('A');

sub months {
    return map { $_->[0] } $t->sql(q{select right(c.relname, 6) from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'mdvr.telemetry'::regclass order by 1});
}

my $now = $t->value(q{select to_char(now() at time zone 'UTC', 'YYYYMM')});
my @ahead = grep { $_ gt $now } months();
cmp_ok scalar @ahead, '>=', 2, 'at least two months ahead exist';
is $worker->value('select mdvr.ensure_partitions()'), 0, 'nothing is missing';

my $last = (months())[-1];
$t->sql("drop table mdvr.telemetry_$last");
is $worker->value('select mdvr.ensure_partitions()'), 1, 'a missing month is made';
is +(months())[-1], $last, 'it is the one that was missing';
is $worker->value('select mdvr.ensure_partitions(5)'), 2, 'more months on request';

is $t->value(q{select count(*) from pg_class c join pg_inherits i on i.inhrelid = c.oid
    where i.inhparent = 'mdvr.telemetry'::regclass and not (c.relrowsecurity and c.relforcerowsecurity)}), 0,
    'every partition forces row security';
is $t->value(q{select count(*) from pg_class c join pg_inherits i on i.inhrelid = c.oid,
    unnest(array['mdvr_stream', 'mdvr_api', 'mdvr_worker', 'mdvr_definer']) r
    where i.inhparent = 'mdvr.telemetry'::regclass
      and (has_table_privilege(r, c.oid, 'select') or has_table_privilege(r, c.oid, 'insert')
           or has_table_privilege(r, c.oid, 'delete') or has_table_privilege(r, c.oid, 'update'))}), 0,
    'and nobody has a grant on one';

$api->as(tenant => $tenant, role => 'technician', user => $tenant);
my $plan = $api->run("explain (costs off) select * from mdvr.telemetry where device_id = '$dev'
    and recorded_at >= now() - interval '1 hour' order by recorded_at desc limit 50");
my @scans = $plan =~ /on (telemetry_\d+)/g;
my $removed = $plan =~ /Subplans Removed: (\d+)/ ? $1 : 0;
cmp_ok scalar(@scans), '<=', 7, 'a query of an hour looks at few months' or diag $plan;
cmp_ok $removed, '>=', 4, 'and leaves the older ones out' or diag $plan;
like $plan, qr/Index Scan.*telemetry_\d+_pkey|Index Scan Backward/, 'through the (device, time) index';
my ($from, $to) = $t->value("select date_trunc('month', now())::date || ' ' || (date_trunc('month', now()) + interval '1 day')::date") =~ /(\S+) (\S+)/;
$plan = $api->run("explain (costs off) select * from mdvr.telemetry where device_id = '$dev'
    and recorded_at >= '${from}T00:00:00Z' and recorded_at < '${to}T00:00:00Z'");
is scalar(() = $plan =~ /on telemetry_\d+/g), 1, 'a query with constants plans one month only' or diag $plan;
$plan = $api->run("explain (costs off) select * from mdvr.telemetry where tenant_id = '$tenant'
    and recorded_at >= '${from}T00:00:00Z' and recorded_at < '${to}T00:00:00Z'");
like $plan, qr/tenant_id_recorded_at_idx|telemetry_\d+_tenant/, 'a tenant\'s day goes through its index' or diag $plan;
$plan = $api->run("set local enable_seqscan = off; explain (costs off) select * from mdvr.telemetry where cell in (408162942, 408162943)
    and recorded_at >= '${from}T00:00:00Z' and recorded_at < '${to}T00:00:00Z'");
like $plan, qr/Index Cond: .*cell/, 'and a square of the map through the location index, under row security' or diag $plan;

# Retention.
$t->sql("insert into mdvr.telemetry (tenant_id, device_id, recorded_at, received_at, gps_valid, body_digest)
    select ?, ?, now() - make_interval(days => d), now(), false, decode(lpad(to_hex(d), 16, '0'), 'hex')
      from generate_series(0, 80, 10) d", $tenant, $dev);
is $worker->value('select mdvr.purge_positions()'), 0, 'within 90 days nothing is deleted';
$t->sql('update mdvr.tenant set retention_days = 45 where id = ?', $tenant);
$t->sql('update mdvr.tenant set legal_hold = true where id = ?', $tenant);
is $worker->value('select mdvr.purge_positions()'), 0, 'a legal hold keeps everything';
$t->sql('update mdvr.tenant set legal_hold = false where id = ?', $tenant);
is $worker->value('select mdvr.purge_positions(3)'), 3, 'a shorter retention deletes, a few at a time';
is $worker->value('select mdvr.purge_positions(3)'), 1, 'until all is gone';
is $worker->value('select mdvr.purge_positions(3)'), 0, 'and then reports so';
is $t->value('select count(*) from mdvr.telemetry'), 5, 'the rest is there';

$t->sql('set role mdvr_owner');
$t->sql(q{create table mdvr.telemetry_202001 (like mdvr.telemetry including defaults including constraints including generated)});
$t->sql(q{alter table mdvr.telemetry attach partition mdvr.telemetry_202001 for values from ('2020-01-01 00:00Z') to ('2020-02-01 00:00Z')});
$t->sql('reset role');
$t->sql(q{update mdvr.tenant set legal_hold = true where id = ?}, $tenant);
is $worker->value('select mdvr.drop_partitions()'), 0, 'a legal hold keeps whole months, too';
$t->sql(q{update mdvr.tenant set legal_hold = false where id = ?}, $tenant);
is $worker->value('select mdvr.drop_partitions()'), 1, 'a month that nobody keeps is dropped';
ok !(grep { $_ eq '202001' } months()), 'it is the old one';

$t->done;
