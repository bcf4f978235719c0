# Who sees what: one tenant never sees another's rows, an unset tenant sees none,
# a client_user sees the devices assigned to it and what belongs to them.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Session;

my $t = MDVR::Test->new(no_redis => 1);
my $a = $t->tenant('A');
my $b = $t->tenant('B');
my $none = '00000000-0000-7000-8000-000000000000';
my %dev = (
    a1 => $t->add_device('A1'), a2 => $t->add_device('A2'), a3 => $t->add_device('A3'),
    b1 => $t->add_device('B1', tenant => 'B'),
);
my $sql = sub { $t->sql(@_) };
my $person = sub {
    my ($tenant, $email, $role) = @_;
    return $t->value(q{insert into mdvr.user (tenant_id, email, role, password_hash)
        values (?, ?, ?, '$argon2id$x') returning id}, $tenant, $email, $role);
};
my $admin_a = $person->($a, 'admin@a.test', 'tenant_admin');
my $client = $person->($a, 'client@a.test', 'client_user');
my $admin_b = $person->($b, 'admin@b.test', 'tenant_admin');
my $group = $t->value('insert into mdvr.device_group (tenant_id, name) values (?, ?) returning id', $a, 'north');
$sql->('insert into mdvr.group_device (group_id, device_id, tenant_id) values (?, ?, ?)', $group, $dev{a2}, $a);
$sql->('insert into mdvr.assignment (tenant_id, user_id, device_id) values (?, ?, ?)', $a, $client, $dev{a1});
$sql->('insert into mdvr.assignment (tenant_id, user_id, group_id) values (?, ?, ?)', $a, $client, $group);

# One row of everything for each device.
my $stream = MDVR::Session->new($t, 'mdvr_stream');
my $store = sub {
    my ($id, $digest) = @_;
    return $stream->value("select mdvr.store_positions(array[?]::uuid[], array[now()], array[now()], '{t}', '{1}', '{2}', '{9}',
        '{1}', '{1}', '{t}', '{1}', '{1}', '{0}', '{0}', '{1}', '{1}', '{1}', '{1}', '{1}', '{1}', '{1}', '{1}', '{f}',
        array[?::bytea])", $id, $digest);
};
my $u = 0;
for my $d (sort keys %dev) {
    my $id = $dev{$d};
    $store->($id, '\x0102030405060708');
    $stream->run("select * from mdvr.node_started('n', ?)", $none);
    $stream->run("select * from mdvr.register_device(?, 'n', ?, '127.0.0.1', now(), '{}')", $id, $none);
    $stream->run("select * from mdvr.store_alarm(?, 'V201', 'V201', 'start', 'custom', 'info', '', ?, now(), now(), null, null,
        null, null)", $id, 'U' . $u++);
    $stream->run("select * from mdvr.store_alarm_file(?, ?, now(), now(), 'mp4', '/f', 10, now(), 3, 1, null)", $id, 'F' . $u);
    $stream->run("select mdvr.media_create(?, null, null, 1, 'jpeg', 'snapshot', '/p', now(), 1, null)", $id);
    $stream->run("select mdvr.media_session_start(?, 'live', 1, 'sub', 'n', '1')", $id);
}
$sql->(q{insert into mdvr.command (tenant_id, device_id, type, keyword) select tenant_id, id, 'snapshot', 'C510' from mdvr.device});
$sql->(q{insert into mdvr.video_session (tenant_id, device_id, channel, stream, node, expires_at)
    select tenant_id, id, 1, 'sub', 'n', now() + interval '10 min' from mdvr.device});
$sql->(q{insert into mdvr.finding (tenant_id, device_id, media_id, kind, confidence, model, model_version)
    select tenant_id, device_id, id, 'person', 0.9, 'hog', '1' from mdvr.media});
$sql->(q{insert into mdvr.geofence (tenant_id, name, shape, geometry, min_lat_deg, max_lat_deg, min_lon_deg, max_lon_deg)
    select id, 'g', 'polygon', '{}', 0, 1, 0, 1 from mdvr.tenant where id in (?, ?)}, $a, $b);
$sql->(q{insert into mdvr.geofence_event (tenant_id, geofence_id, device_id, kind, at)
    select d.tenant_id, g.id, d.id, 'enter', now() from mdvr.device d join mdvr.geofence g using (tenant_id)});

my @bound = qw(device device_state connection position telemetry event alarm alarm_message media finding download
    media_session video_session command geofence_event group_device);
my $api = MDVR::Session->new($t, 'mdvr_api');
my $worker = MDVR::Session->new($t, 'mdvr_worker');

for my $table (@bound) {
    my $key = $table eq 'device' ? 'id' : 'device_id';
    my $count = "select count(distinct $key) from mdvr.$table";
    my $all = $table eq 'group_device' ? 1 : 3;
    my $mine = $table eq 'group_device' ? 1 : 2;

    is $api->as()->value($count), 0, "$table: an unset tenant sees nothing";
    is $api->as(tenant => '', user => '', role => '')->value($count), 0, "$table: nor does an empty one";
    is $api->as(tenant => $a)->value($count), 0, "$table: nor a tenant without role";
    is $api->as(tenant => $a, user => $admin_a, role => 'tenant_admin')->value($count), $all, "$table: an admin sees its tenant's";
    is $api->as(tenant => $a, user => $client, role => 'client_user')->value($count), $mine, "$table: a client_user sees what is assigned";
    is $api->as(tenant => $a, user => $none, role => 'client_user')->value($count), 0, "$table: an unknown user sees nothing";
    is $api->as(tenant => $b, user => $client, role => 'client_user')->value($count), 0, "$table: nor in another tenant";
    is $api->as(tenant => $a, user => $admin_a, role => 'tenant_admin')->value("$count where $key = ?", $dev{b1}), 0,
        "$table: another tenant's device is not there";
    is $worker->as()->value($count), 0, "$table: a worker without tenant sees nothing";
    is $worker->as(tenant => $a)->value($count), $all, "$table: with one, that tenant's";
}

for my $table (qw(plan device_group assignment geofence event_counter)) {
    is $api->as()->value("select count(*) from mdvr.$table"), 0, "$table: an unset tenant sees nothing";
    isnt $api->as(tenant => $a, user => $admin_a, role => 'tenant_admin')->value("select count(*) from mdvr.$table"), 0,
        "$table: a tenant sees its own" unless $table eq 'plan';
    is $api->as(tenant => $a, user => $admin_a, role => 'tenant_admin')->value("select count(*) from mdvr.$table where tenant_id <> ?", $a), 0,
        "$table: and no other";
}
is $api->as(tenant => $a, user => $admin_a, role => 'tenant_admin')->value('select count(*) from mdvr.tenant'), 1, 'one tenant is visible';

# Writing across the border.
$api->as(tenant => $a, user => $admin_a, role => 'tenant_admin');
like $api->error("insert into mdvr.device (tenant_id, serial) values (?, 'X1')", $b), qr/^42501/, 'a device of another tenant cannot be made';
is $api->value("with x as (update mdvr.device set name = 'x' where id = ? returning 1) select count(*) from x", $dev{b1}), 0, 'nor changed';
like $api->error('update mdvr.device set tenant_id = ?', $b), qr/^42501/, 'a device cannot be moved away';
like $api->error('insert into mdvr.group_device (group_id, device_id, tenant_id) values (?, ?, ?)', $group, $dev{b1}, $a), qr/^23503/,
    'a group takes no foreign device';
like $api->error('insert into mdvr.assignment (tenant_id, user_id, device_id) values (?, ?, ?)', $a, $client, $dev{b1}), qr/^23503/,
    'a foreign device cannot be assigned';
like $api->error('insert into mdvr.assignment (tenant_id, user_id, device_id) values (?, ?, ?)', $a, $admin_b, $dev{a1}), qr/^23503/,
    'nor one\'s own to a foreign user';
is $api->value("select command_id from mdvr.store_command(?, 'snapshot', 'C510', null, '', 15, 0, null, null)", $dev{b1}), undef,
    'a foreign device takes no command';
isnt $api->value("select command_id from mdvr.store_command(?, 'snapshot', 'C510', null, '', 15, 0, null, null)", $dev{a1}), undef,
    'one\'s own does';
like $api->error("select mdvr.video_session_start(?, 1, 'sub', 'n', now() + interval '1 min')", $dev{b1}), qr/^(42501|23503)/,
    'a foreign device cannot be watched';
isnt $api->value("select mdvr.video_session_start(?, 1, 'sub', 'n', now() + interval '1 min')", $dev{a1}), undef, 'one\'s own can';
is $api->value('select verdict from mdvr.acknowledge_alarm((select id from mdvr.alarm where device_id = ?), null)', $dev{b1}), 'unknown',
    'a foreign alarm is unknown';
my $foreign = $t->value('select id from mdvr.alarm where device_id = ?', $dev{b1});
is $api->value('select verdict from mdvr.acknowledge_alarm(?, null)', $foreign), 'unknown', 'even by its id';
like $api->error('select * from mdvr.tenant_list(null, 10)'), qr/^42501/, 'a tenant_admin does not list tenants';
is $api->as(tenant => $a, user => $admin_a, role => 'super_admin')->value('select count(*) > 1 from mdvr.tenant_list(null, 10)'), 't',
    'a super_admin does';

$api->as(tenant => $a, user => $client, role => 'client_user');
like $api->error("select mdvr.video_session_start(?, 1, 'sub', 'n', now() + interval '1 min')", $dev{a3}), qr/^42501/,
    'a client_user does not watch a device that is not assigned';
is $api->value("select command_id from mdvr.store_command(?, 'snapshot', 'C510', null, '', 15, 0, null, null)", $dev{a3}), undef,
    'nor command it';
is $api->value('select mdvr.can_see_device(?)', $dev{a1}), 't', 'can_see_device: assigned directly';
is $api->value('select mdvr.can_see_device(?)', $dev{a2}), 't', 'can_see_device: through a group';
is $api->value('select mdvr.can_see_device(?)', $dev{a3}), 'f', 'can_see_device: not assigned';
like $api->error("insert into mdvr.device (tenant_id, serial) values (?, 'X2')", $a), qr/^42501/, 'a client_user makes no device';
is_deeply [ sort map { $_->[0] } $api->rows(q{select distinct device_id from mdvr.events_after('0')}) ], [ sort @dev{qw(a1 a2)} ],
    'and gets the events of its devices only';

# A key bound to devices sees these.
my $key = $t->value(q{insert into mdvr.api_key (tenant_id, user_id, name, hash, scopes, device_ids)
    values (?, ?, 'k', sha256('k'), '{device:read}', array[?]::uuid[]) returning id}, $a, $admin_a, $dev{a3});
$api->as();
is_deeply [ ($api->row("select api_key_id, role from mdvr.api_key_lookup(sha256('k'))")) ], [ $key, 'client_user' ], 'a key is known by its hash';
$api->as(tenant => $a, user => $key, role => 'client_user');
is_deeply [ map { $_->[0] } $api->rows('select serial from mdvr.device') ], ['A3'], 'a key bound to a device sees that device';
$sql->('update mdvr.api_key set revoked_at = now() where id = ?', $key);
is $api->value('select count(*) from mdvr.device'), 0, 'until it is revoked';

# Users: no escalation, no secret.
$api->as(tenant => $a, user => $admin_a, role => 'tenant_admin');
like $api->error(q{insert into mdvr.user (tenant_id, email, role, password_hash) values (?, 'x@a.test', 'super_admin', '$argon2id$x')}, $a),
    qr/^42501/, 'a tenant_admin makes no super_admin';
like $api->error("update mdvr.user set role = 'super_admin' where id = ?", $admin_a), qr/^42501/, 'nor becomes one';
like $api->error('select password_hash from mdvr.user'), qr/^42501/, 'password hashes cannot be read';
like $api->error('select secret from mdvr.webhook'), qr/^42501/, 'nor webhook secrets';
like $api->error('select hash from mdvr.api_key'), qr/^42501/, 'nor key hashes';
like $api->error('select * from mdvr.signing_key'), qr/^42501/, 'nor signing keys';
like $api->error('select count(*) from mdvr.telemetry_' . $t->value("select to_char(now(), 'YYYYMM')")), qr/^42501/, 'nor a partition';
like $stream->error('select * from mdvr.device'), qr/^42501/, 'the stream role reads no table';
like $stream->error("select * from mdvr.login_lookup('a')"), qr/^42501/, 'and no identity';

# Cost: the predicate runs once per query, not per row.
$sql->('insert into mdvr.device (tenant_id, serial) select ?, \'bulk\' || g from generate_series(1, 5000) g', $a);
$sql->('insert into mdvr.group_device (group_id, device_id, tenant_id) select ?, id, tenant_id from mdvr.device where serial like \'bulk%\'', $group);
$sql->('analyze mdvr.device, mdvr.group_device');
$api->as(tenant => $a, user => $client, role => 'client_user');
my $plan = $api->run('explain (analyze, costs off, summary off) select count(*) from mdvr.device');
like $plan, qr/visible_devices|ProjectSet/, 'the plan asks for the visible devices';
unlike $plan, qr/ProjectSet.*loops=(?!1\b)/, 'once' or diag $plan;
my ($ms) = $api->run('explain (analyze) select count(*) from mdvr.device') =~ /Execution Time: ([\d.]+)/;
cmp_ok $ms, '<', 200, "5,000 visible devices are counted in $ms ms";

$t->done;
