# Sign-in, sessions, keys and the audit chain.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Session;

my $t = MDVR::Test->new(no_redis => 1);
my $api = MDVR::Session->new($t, 'mdvr_api');
my $a = $t->tenant('A');
my $hash = '$argon2id$v=19$m=19456,t=3,p=1$c2FsdA$aGFzaA';
my $user = $t->value('insert into mdvr.user (tenant_id, email, role, password_hash) values (?, ?, ?, ?) returning id', $a, 'Ann@A.test', 'tenant_admin', $hash);
my $n = 0;
my $token = sub { sprintf "sha256('token%d')", $_[0] // ++$n };

# Looking up.
my @row = $api->row('select user_id, tenant_id, tenant_active, role, password_hash, active, locked_until from mdvr.login_lookup(?)', 'ann@a.TEST');
is_deeply \@row, [ $user, $a, 't', 'tenant_admin', $hash, 't', undef ], 'a user is found by e-mail, however it is written';
is_deeply [ $api->row('select user_id, password_hash from mdvr.login_lookup(?)', 'nobody@a.test') ], [ undef, undef ], 'an unknown one is a row of nothing';
like $t->value("select 'x' where (select count(*) from mdvr.user where email = 'Ann\@A.test') = 1"), qr/x/, 'the address is kept as written';
ok !eval { $t->sql('insert into mdvr.user (tenant_id, email, role, password_hash) values (?, ?, ?, ?)', $t->tenant('B'), 'ANN@a.test', 'client_user', $hash); 1 },
    'one address is one user, over all tenants';

# Lockout.
is $api->value('select mdvr.login_failed(?)', 'ann@a.test'), undef, "failure $_ does not lock" for 1 .. 4;
isnt $api->value('select mdvr.login_failed(?)', 'ann@a.test'), undef, 'failure 5 does';
isnt $api->value('select locked_until from mdvr.login_lookup(?)', 'ANN@a.test'), undef, 'and the look-up says so';
$api->value('select mdvr.login_failed(?)', 'nobody@a.test') for 1 .. 5;
isnt $api->value('select locked_until from mdvr.login_lookup(?)', 'nobody@a.test'), undef, 'for an unknown address just the same';
$t->sql("update mdvr.login_failure set first_at = first_at - interval '16 min', locked_until = locked_until - interval '16 min'");
is $api->value('select locked_until from mdvr.login_lookup(?)', 'ann@a.test'), undef, '15 minutes later it is open';
is $api->value('select mdvr.login_failed(?)', 'ann@a.test'), undef, 'and counts from one';

# Sessions.
sub session { $api->row("select session_id, expires_at from mdvr.session_create(?, @{[ $token->($_[0]) ]}, '10.0.0.1', 'test', 3600)", $_[1] // $user) }
sub refresh { $api->row("select verdict, session_id, user_id, role from mdvr.session_refresh(@{[ $token->($_[0]) ]}, @{[ $token->($_[1]) ]}, '10.0.0.2', 3600)") }
my ($s) = session(1);
like $s, qr/^[0-9a-f-]{36}$/, 'a session is made';
is $t->value('select count(*) from mdvr.login_failure where account = ?', 'ann@a.test'), 0, 'which forgets the failures';
is_deeply [ refresh(1, 2) ], [ 'ok', $s, $user, 'tenant_admin' ], 'its refresh token is exchanged';
is_deeply [ (refresh(2, 3))[0] ], ['ok'], 'and the next one';
is_deeply [ (refresh(99, 98))[0] ], ['unknown'], 'an invented one is unknown';
is_deeply [ (refresh(1, 4))[0] ], ['reused'], 'a spent one is noticed';
is_deeply [ (refresh(3, 5))[0] ], ['revoked'], 'and takes the whole family with it';
is_deeply [ map { $_->[0] } $api->rows("select session_id from mdvr.revoked_since(now() - interval '1 min')") ], [$s], 'everybody learns of it';

my ($s2) = session(10);
my ($s3) = session(11);
my $other = $t->value('insert into mdvr.user (tenant_id, email, role, password_hash) values (?, ?, ?, ?) returning id', $a, 'bob@a.test', 'client_user', $hash);
$api->as(tenant => $a, user => $other, role => 'client_user');
is $api->value('select mdvr.session_revoke(?, ?)', $s2, 'x'), undef, 'another\'s session cannot be revoked';
is $api->value('select count(*) from mdvr.session'), 0, 'nor seen';
$api->as(tenant => $a, user => $user, role => 'tenant_admin');
is $api->value('select mdvr.session_revoke(?, ?)', $s2, 'logout'), 't', 'one\'s own can';
is $api->value('select mdvr.session_revoke(?, ?)', $s2, 'logout'), 'f', 'once';
is $api->value('select count(*) from mdvr.session'), 3, 'and seen';
$api->run('update mdvr.user set active = false where id = ?', $user);
is_deeply [ (refresh(11, 12))[0] ], ['revoked'], 'a user who is disabled loses its sessions';
is scalar(() = session(13)), 0, 'and gets none';
$api->run('update mdvr.user set active = true where id = ?', $user);
my ($s4) = session(20);
is $api->value('select mdvr.password_lookup(?)', $user), $hash, 'one reads one\'s own hash';
is $api->value('select mdvr.password_lookup(?)', $other), undef, 'and no other';
my ($s5) = session(21);
is $api->value('select mdvr.password_set(?, ?, ?)', $user, "${hash}2", $s5), 't', 'a new password';
is_deeply [ (refresh(20, 22))[0] ], ['revoked'], 'ends the other sessions';
is_deeply [ (refresh(21, 23))[0] ], ['ok'], 'but not this one';
like $api->error('select mdvr.password_set(?, ?, null)', $user, 'plain'), qr/^23514/, 'a password that is not hashed is refused';
$api->as(tenant => $a, user => $other, role => 'client_user');
is $api->value('select mdvr.password_set(?, ?, null)', $user, $hash), 'f', 'a client_user sets no other\'s password';
my $root = $t->value("select id from mdvr.user where role = 'super_admin'");
$api->as(tenant => $t->value('select tenant_id from mdvr.user where id = ?', $root), user => $user, role => 'tenant_admin');
is $api->value('select mdvr.password_set(?, ?, null)', $root, $hash), 'f', 'nor a tenant_admin a super_admin\'s';

# Suspension.
$api->as(tenant => $a, user => $root, role => 'super_admin');
is $api->value("select mdvr.tenant_set_status(?, 'suspended')", $a), 't', 'a tenant is suspended';
is_deeply [ (refresh(23, 24))[0] ], ['revoked'], 'which ends its sessions';
$t->add_device('00007');
is $api->value("select suspended from mdvr.device_by_serial('00007')"), 't', 'and is said of its devices';
$api->value("select mdvr.tenant_set_status(?, 'active')", $a);

# A second factor.
$api->as(tenant => $a, user => $user, role => 'tenant_admin');
$api->run("select mdvr.totp_set('\\x00112233445566778899', false)");
is $api->value('select totp_secret from mdvr.login_lookup(?)', 'ann@a.test'), undef, 'a prepared factor is not asked for';
$api->run('select mdvr.totp_set(null, true)');
is $api->value('select totp_secret from mdvr.login_lookup(?)', 'ann@a.test'), '\x00112233445566778899', 'an enabled one is';
$api->run('select mdvr.totp_set(null, false)');
is $api->value('select totp_secret from mdvr.login_lookup(?)', 'ann@a.test'), undef, 'until it is removed';

# Signing keys.
my $worker = MDVR::Session->new($t, 'mdvr_worker');
is_deeply [ sort map { $_->[0] } $api->rows('select distinct purpose from mdvr.signing_keys()') ], [qw(access evidence stream url)], 'the first start made a key of each purpose';
my $kid = $api->value("select kid from mdvr.signing_keys() where purpose = 'access'");
is $api->value("select mdvr.ensure_signing_key('access')"), $kid, 'there is one already';
my $new = $worker->value("select mdvr.rotate_signing_key('access', '1 hour')");
isnt $new, $kid, 'rotation makes another';
is_deeply [ map { $_->[0] } $api->rows("select kid from mdvr.signing_keys() where purpose = 'access'") ], [ $new, $kid ], 'the newest first, the old one still verifies';
is $api->value("select length(secret) from mdvr.signing_keys() where kid = ?", $new), 32, 'with 32 bytes';
$t->sql("update mdvr.signing_key set expires_at = now() - interval '1 s' where kid = ?", $kid);
is $api->value("select count(*) from mdvr.signing_keys() where kid = ?", $kid), 0, 'until it expires';

is_deeply [ $t->sql("select * from mdvr.bootstrap_admin('x\@y.z', '\$argon2id\$x', 'T')") ], [ [ '', '' ] ], 'there is one first start only';

# Audit.
$api->as(tenant => $a, user => $user, role => 'tenant_admin');
my $log = sub { $api->value(q{select mdvr.audit_append(?, ?, null, '10.0.0.1', ?, 'device', 'x', '{"k": "v"}', 'req')}, $a, $user, $_[0]) };
is $log->('login'), 1, 'the chain begins at 1';
is $log->("video.start"), 2, 'and counts';
$log->('command') for 1 .. 8;
is $api->value('select mdvr.audit_verify(?)', $a), 0, 'it is whole';
is $api->value('select mdvr.audit_verify(?)', $t->tenant('B')), 0, 'an empty one, too';
is $api->as(tenant => $t->tenant('B'), user => $user, role => 'tenant_admin')->value('select count(*) from mdvr.audit'), 0, 'another tenant does not see it';
$api->as(tenant => $a, user => $user, role => 'tenant_admin');
like $api->error("update mdvr.audit set action = 'x'"), qr/^42501/, 'nobody changes it';
like $api->error('delete from mdvr.audit'), qr/^42501/, 'or deletes';
like $api->error("insert into mdvr.audit select * from mdvr.audit"), qr/^42501/, 'or inserts';
ok !eval { $t->sql("update mdvr.audit set action = 'x'"); 1 }, 'not even the administrator';
like $@, qr/append-only/, 'by mistake';
my $break = sub {
    my ($what) = @_;
    $t->sql('begin');
    $t->sql('set local session_replication_role = replica');
    $t->sql($what);
    my $found = $t->value('select mdvr.audit_verify(?)', $a);
    $t->sql('rollback');
    return $found;
};
is $break->("update mdvr.audit set action = 'logout' where seq = 4"), 4, 'who changes a row on purpose is found';
is $break->("update mdvr.audit set detail = '{}' where seq = 5"), 5, 'in any column';
is $break->('delete from mdvr.audit where seq = 6'), 6, 'who takes one out, too';
is $break->('delete from mdvr.audit where seq = 10'), 10, 'even the last';
is $break->('update mdvr.audit set seq = seq + 100 where seq in (3)'), 3, 'or moves one';

my @pids = map {
    my $pid = fork // die $!;
    if (!$pid) {
        my $s = MDVR::Session->new($t, 'mdvr_api');
        $s->run("select mdvr.audit_append(?, null, null, null, 'command', null, null, null, null)", $a) for 1 .. 25;
        POSIX::_exit(0);
    }
    $pid;
} 1 .. 3;
waitpid $_, 0 for @pids;
is $api->value('select mdvr.audit_verify(?)', $a), 0, 'three writers at once keep the chain';
is $api->value('select max(seq) from mdvr.audit'), 85, 'and lose nothing';

$t->done;
