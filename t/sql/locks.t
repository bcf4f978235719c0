# The functions that write more than one row, run against each other from many
# connections: whatever two of them meet over, nobody ends in a deadlock.  The
# order they keep is in docs/internals.md, "The order of locks".

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Session;

my $seconds = $ENV{MDVR_LOCKS_S} // 4;
my $t = MDVR::Test->new(no_redis => 1, postgres => { deadlock_timeout => '100ms', log_lock_waits => 'off' });
my @tenant = map { $t->tenant($_) } qw(A B);
my @device = map { $t->add_device("0000$_", tenant_id => $tenant[ $_ % 2 ]) } 1 .. 6;
my @mine = @device[ grep { $_ % 2 } 0 .. 5 ];           # of tenant A
my @user = map { $t->user(tenant => 'A', role => 'technician')->{id} } 1 .. 2;
my @group = map { $t->value('insert into mdvr.device_group (tenant_id, name) values (?, ?) returning id', $tenant[0], "G$_") } 1 .. 2;
my $json = JSON::PP->new->canonical;
my $boot = '01a00000-0000-7000-8000-000000000001';
my $now = '2026-01-01T00:00:00Z';

sub any { $_[ rand @_ ] }
sub shuffled { map { $_->[1] } sort { $a->[0] <=> $b->[0] } map { [ rand, $_ ] } @_ }
sub at { sprintf '2026-01-01T%02d:%02d:%02d.%03dZ', map { int rand $_ } 24, 60, 60, 1000 }

# What one connection does, in psql's words: role, who it is, a statement.
my @in = (tenant => $tenant[0], role => 'tenant_admin');
my $audit = "mdvr.audit_append('$tenant[0]', null, null, null, 'test', 'test', null, '{}', null)";

my %work = (
    record => [ mdvr_stream => [], sub {
        my @r = map { my $d = $_; rand() < 0.6
            ? { online => \1, device => $d, at => at(), address => '10.0.0.1', v101 => {} }
            : { online => \0, device => $d, at => at(), reason => 'gone' } } shuffled((@device) x 2);
        "select count(*) from mdvr.record_devices('n1', '$boot', '" . $json->encode(\@r) . "')" } ],
    contested => [ mdvr_stream => [], sub {
        my $d = any(@device);
        "select message from mdvr.device_contested('$d', 'n1', (select now()), '10.0.0.1', '10.0.0.2', 1)" } ],
    contested_now => [ mdvr_admin => [], sub {
        my $d = any(@device);
        "select x.message from mdvr.connection c, mdvr.device_contested('$d', 'n1', c.connected_at, '10.0.0.1', '10.0.0.2', 1) x"
        . " where c.device_id = '$d' and c.disconnected_at is null and c.node = 'n1'" } ],
    lost => [ mdvr_admin => [], sub { "select count(*) from mdvr.devices_lost(array['n1', 'n2'], null, 'lost')" } ],
    online => [ mdvr_stream => [], sub {
        "select message from mdvr.register_device('" . any(@device) . "', '" . any(qw(n1 n2)) . "', '$boot', '10.0.0.1', '" . at() . "', '{}')" } ],
    alarm => [ mdvr_stream => [], sub {
        my $phase = any(qw(start start end event));
        sprintf "select message from mdvr.store_alarm('%s', '%s', 'V201', '%s', 'io', 'info', '', '%s', now(), now(), '{}', '{}', null, null)",
            any(@device), $phase eq 'end' ? 'V251' : 'V201', $phase, "u$$-" . rand } ],
    release => [ mdvr_stream => [], sub { "select message from mdvr.release_alarms('" . any(@device) . "', null, null, now())" } ],
    rules => [ mdvr_admin => [], sub {
        "insert into mdvr.rule_alarm (tenant_id, device_id, code, phase, kind, sub_key, at, received_at, position, data)"
        . " select tenant_id, id, 'V211', p, 'overspeed', 'server', clock_timestamp(), now(), '{}', '{}'"
        . " from mdvr.device, unnest(array['start', 'end', 'start']) p where id = '" . any(@mine) . "';\n"
        . "select count(*) from mdvr.rules_store()" } ],
    acknowledge => [ mdvr_api => \@in, sub {
        "with a as materialized (select id from mdvr.alarm where acknowledged_at is null order by random() limit 1),"
        . " x as materialized (select y.* from a, mdvr.acknowledge_alarm(a.id, 'seen') y)"
        . " select x.message, $audit from x where x.verdict = 'ok'" } ],
    attach => [ mdvr_admin => [], sub {
        "insert into mdvr.media_late (media_id, tenant_id, alarm_id)"
        . " select m.id, m.tenant_id, a.id from mdvr.media m, lateral (select id from mdvr.alarm a where a.tenant_id = m.tenant_id limit 1) a"
        . " where m.alarm_id is null order by random() limit 2 on conflict do nothing;\n"
        . "select count(*) from mdvr.media_attach(10)" } ],
    media => [ mdvr_admin => [], sub {
        "with m as (update mdvr.media set status = 'ready', alarm_id = null, updated_at = now() where id ="
        . " (select id from mdvr.media order by random() limit 1) returning id) select e.message from m, mdvr.media_event(m.id) e" } ],
    hold => [ mdvr_api => \@in, sub {
        "with h as (update mdvr.media set legal_hold = not legal_hold where id = (select id from mdvr.media order by random() limit 1)"
        . " returning id) select $audit from h" } ],
    command => [ mdvr_api => \@in, sub {
        "with c as materialized (select * from mdvr.store_command(mdvr.uuid7(), '" . any(@mine) . "', 'test', 'C508', '{}', '', 15, 0, null, null))"
        . " select c.message, $audit from c where c.command_id is not null" } ],
    password => [ mdvr_api => [ @in ], sub {
        my $u = any(@user);
        "with s as materialized (select mdvr.password_set('$u', 'x', null) as done) select $audit from s where done" } ],
    role => [ mdvr_api => \@in, sub {
        "with u as (update mdvr.user set role = case role when 'technician' then 'client_user' else 'technician' end"
        . " where id = '" . any(@user) . "' returning id) select $audit from u" } ],
    session => [ mdvr_admin => [], sub {
        my $u = any(@user);
        "with s as (insert into mdvr.session (tenant_id, user_id, expires_at) select '$tenant[0]', '$u', now() + interval '1 h'"
        . " where (select count(*) from mdvr.session where revoked_at is null) < 30 returning id)"
        . " insert into mdvr.video_session (tenant_id, device_id, user_id, session_id, kind, channel, stream, node, expires_at, started_at)"
        . " select '$tenant[0]', '" . any(@mine) . "', '$u', s.id, 'live', n, 'main', 'n1', now() + interval '1 h', now() - interval '9 s'"
        . " from s, generate_series(1, 3) n" } ],
    logout => [ mdvr_admin => [], sub {
        "with s as materialized (select id from mdvr.session where revoked_at is null order by random() limit 1),"
        . " e as materialized (select mdvr.session_end(s.id, 'x') as done from s) select $audit from e" } ],
    viewer => [ mdvr_admin => [], sub {
        "with v as materialized (select id from mdvr.video_session where ended_at is null order by random() limit 1)"
        . " select mdvr.video_session_end(v.id, 'x', 10) from v" } ],
    device => [ mdvr_api => \@in, sub {
        "with d as materialized (select mdvr.device_write('" . any(@mine) . "', '" . $json->encode({ group_ids => [ shuffled(grep { rand() < 0.6 } @group) ] })
        . "') as id) select $audit from d" } ],
    group => [ mdvr_api => \@in, sub {
        "with g as materialized (select mdvr.group_write('" . any(@group) . "', '" . $json->encode({ device_ids => [ shuffled(grep { rand() < 0.6 } @mine) ] })
        . "') as id) select $audit from g" } ],
    assign => [ mdvr_api => \@in, sub {
        "with u as materialized (select mdvr.assign('" . any(@user) . "', '" . $json->encode({ device_ids => [ shuffled(grep { rand() < 0.6 } @mine) ],
            group_ids => [ shuffled(grep { rand() < 0.6 } @group) ] }) . "') as done) select $audit from u" } ],
    ungroup => [ mdvr_api => \@in, sub {
        "with g as (delete from mdvr.device_group where id = '$group[1]' returning id) select $audit from g;\n"
        . "insert into mdvr.device_group (id, tenant_id, name) values ('$group[1]', '$tenant[0]', 'again') on conflict do nothing" } ],
    position => [ mdvr_stream => [], sub {
        my @d = shuffled(@device, @device);
        my @at = map { at() } @d;
        my $nulls = sub { "array_fill(null::$_[0], array[" . @d . "])" };
        my $list = sub { my $type = shift; "array[" . join(',', map { "'$_'" } @_) . "]::$type\[]" };
        "select mdvr.store_positions(" . join(', ', $list->('uuid', @d), $list->('timestamptz', @at), $list->('timestamptz', @at),
            map({ $nulls->($_) } qw(bool float8 float8 int2 real real bool bigint real text text real real real int int int int int2 bool)),
            $list->('bytea', map { sprintf '\x%016x', rand 5 } @d)) . ")" } ],
);

$t->sql('insert into mdvr.media (tenant_id, device_id, channel, kind, source, at, status, ready_at, original_key, playback_key, size_bytes, sha256) '
    . "select tenant_id, id, 1, 'mp4', 'upload', now(), 'ready', now(), 'o', 'p', 1, sha256('x') from mdvr.device, generate_series(1, 2)");

# Each kind of work on two connections, all at once; one that fails says why.
my (@busy, %did, %failed);
my $gone = qr/23503: .*group_id_fkey|42501: new row .* "(?:group_device|assignment)"/;     # the group, meanwhile
for my $name (sort keys %work) {
    my ($role, $who) = @{ $work{$name} };
    my $own = { tenant => undef, @$who };
    for (1 .. 2) {
        my $s = MDVR::Session->new($t, $role);
        my %key = (tenant => 'app.current_tenant_id', user => 'app.current_user_id', role => 'app.current_role');
        $s->send(join ";\n", 'select 1', map { "set $key{$_} = '$own->{$_}'" } grep { defined $own->{$_} } keys %$own);
        $s->answer;
        push @busy, { name => $name, session => $s };
        $s->send($work{$name}[2]->());
    }
}
my $end = time + $seconds;
while (@busy && time < $end + MDVR::Test::patience(60)) {
    for my $b (@busy) {
        my $said = $b->{session}->answer(0.0005) // next;
        $did{ $b->{name} }++;
        $failed{ $b->{name} } //= $1 if $said =~ /((?:ERROR|FATAL):.*)/ && $1 !~ $gone;
        if (time > $end) { $b->{over} = 1 } else { $b->{session}->send($work{ $b->{name} }[2]->()) }
    }
    @busy = grep { !$_->{over} } @busy;
}

is join("\n", map { "$_: $failed{$_}" } sort keys %failed), '', 'nobody fails';
is join(' ', map { $_->{name} } @busy), '', 'and nobody waits for ever';
is join(' ', grep { !$did{$_} } sort keys %work), '', 'everybody had a turn';
note join ' ', map { "$_:$did{$_}" } sort keys %did;
is $t->value("select deadlocks from pg_stat_database where datname = 'mdvr'"), 0, 'and there is no deadlock';

$t->done;
