# Who may do what: the database's privileges are exactly those of grants.table,
# every table forces row security, and nothing is open to everybody.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new(no_redis => 1);

# Present privileges in the form of the table.

sub text_of { $t->value(@_) // '' }

my %have;

for my $r ($t->sql(q{
    select r.rolname, c.relname,
           string_agg(case p.priv when 'select' then 'r' when 'insert' then 'a' when 'update' then 'w' when 'delete' then 'd'
                                  else 'X' end, '' order by p.ord)
      from pg_class c, unnest(array['mdvr_api', 'mdvr_worker', 'mdvr_stream', 'mdvr_definer']) r (rolname),
           unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger'])
               with ordinality p (priv, ord)
     where c.relnamespace = 'mdvr'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'S')
       and has_table_privilege(r.rolname, c.oid, p.priv)
     group by 1, 2}))
{
    $have{"$r->[1] $r->[0]"} = $r->[2];
}

# Columns, where a role has not the whole table.

for my $r ($t->sql(q{
    select g.grantee, g.table_name, g.privilege_type, string_agg(g.column_name, ',' order by g.column_name)
      from information_schema.column_privileges g
     where g.table_schema = 'mdvr' and g.grantee in ('mdvr_api', 'mdvr_worker', 'mdvr_stream', 'mdvr_definer')
       and not has_table_privilege(g.grantee, format('mdvr.%I', g.table_name)::regclass, g.privilege_type)
     group by 1, 2, 3}))
{
    my $letter = { SELECT => 'r', INSERT => 'a', UPDATE => 'w' }->{ $r->[2] } // 'X';
    $have{"$r->[1] $r->[0]"} = join ' ', sort(grep { length } split(' ', $have{"$r->[1] $r->[0]"} // ''), "$letter($r->[3])");
}

for my $r ($t->sql(q{
    select p.proname, string_agg(r.rolname, ' ' order by r.rolname)
      from pg_proc p, unnest(array['mdvr_api', 'mdvr_worker', 'mdvr_stream']) r (rolname)
     where p.pronamespace = 'mdvr'::regnamespace and has_function_privilege(r.rolname, p.oid, 'execute')
     group by p.oid, 1}))
{
    $have{"$r->[0]()"} = $r->[1];
}

my $file = 't/sql/grants.table';

if ($ENV{MDVR_WRITE_GRANTS}) {          # to start a new table from; read it before you keep it
    open my $fh, '>', $file or die $!;
    print $fh "# What each role may do, complete.  r read, a add, w change, d delete; with (columns) only those.\n",
        "# Partitions and whatever is not listed: nothing.  Functions: who may execute them.\n\n";
    printf $fh "%-44s %s\n", $_, $have{$_} for sort { ($a =~ /\(/) <=> ($b =~ /\(/) || $a cmp $b } keys %have;
    close $fh;
}

my %want;

for (split /\n/, MDVR::Test::slurp($file)) {
    next if /^#/ || !/\S/;
    my ($key, $value) = /^(\S+(?: mdvr_\w+)?)\s+(.*?)\s*$/ or die "cannot read: $_";
    $want{$key} = $value;
}

for my $key (sort keys %want) {
    is $have{$key} // 'nothing', $want{$key}, "$key: exactly $want{$key}";
}

is_deeply [ grep { !exists $want{$_} } sort keys %have ], [], 'and nothing else';

is text_of(q{select string_agg(c.relname, ' ') from pg_class c
    where c.relnamespace = 'mdvr'::regnamespace and c.relkind in ('r', 'p') and not (c.relrowsecurity and c.relforcerowsecurity)}),
    '', 'row security is forced on every table and partition';
is text_of(q{select string_agg(c.relname, ' ') from pg_class c
    where c.relnamespace = 'mdvr'::regnamespace and c.relkind in ('r', 'p') and pg_get_userbyid(c.relowner) <> 'mdvr_owner'}),
    '', 'every table belongs to mdvr_owner';
is text_of(q{select string_agg(p.proname, ' ') from pg_proc p
    where p.pronamespace = 'mdvr'::regnamespace and has_function_privilege('public', p.oid, 'execute')}),
    '', 'no function is open to everybody';
is text_of(q{select string_agg(p.proname, ' ') from pg_proc p
    where p.pronamespace = 'mdvr'::regnamespace and p.prosecdef
      and not coalesce(p.proconfig::text like '%search_path=%pg_catalog, pg_temp%', false)}),
    '', 'every security definer function fixes its search path';
is text_of(q{select string_agg(rolname, ' ') from pg_roles
    where rolname like 'mdvr\_%' and rolname <> 'mdvr_admin' and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb)}),
    '', 'no role of the application bypasses anything';
is $t->value(q{select count(*) from pg_auth_members m join pg_roles r on r.oid = m.member
    where r.rolname in ('mdvr_stream', 'mdvr_api', 'mdvr_worker', 'mdvr_definer')}), 0, 'or inherits anything';

my %no_tenant = map { $_ => 1 } qw(migration tenant signing_key login_failure node pending_device schedule evidence_key);
is_deeply [ grep { !$no_tenant{$_} } map { $_->[0] } $t->sql(q{
    select c.relname from pg_class c
     where c.relnamespace = 'mdvr'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
       and not exists (select from pg_constraint k
                        where k.conrelid = c.oid and k.contype = 'f' and k.confrelid = 'mdvr.tenant'::regclass)
     order by 1}) ], ['telemetry'], 'every table but the platform\'s own refers to its tenant, but for positions';
is text_of(q{select string_agg(c.relname, ' ') from pg_class c
    where c.relnamespace = 'mdvr'::regnamespace and c.relkind in ('r', 'p') and obj_description(c.oid) is null}),
    '', 'every table says what it is';
is text_of(q{select string_agg(p.proname, ' ') from pg_proc p
    where p.pronamespace = 'mdvr'::regnamespace and obj_description(p.oid) is null and p.prorettype <> 'trigger'::regtype}),
    '', 'and so does every function';
is $t->value(q{select count(*) from pg_policies where schemaname = 'mdvr' and qual like '%current_setting%'
    and qual !~ 'SELECT'}), 0, 'policies read settings in sub-selects, once per query';

$t->done;
