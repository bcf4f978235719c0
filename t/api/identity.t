# Who is it: sign-in, tokens, sessions, passwords, second factor, keys.

use lib 't/lib';
use MDVR::Test;
use Digest::SHA qw(hmac_sha1 hmac_sha256);
use MIME::Base64 qw(encode_base64url decode_base64url);

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;');
my $user = $t->user(tenant => 'A', role => 'tenant_admin');
my $http = $t->http;
my $r;

sub login { my ($u, %more) = @_; return $http->clone->post('/auth/login', { email => $u->{email}, password => $u->{password}, %more }) }
sub with { return $http->clone->token($_[0]) }
sub memory { return map { $_ => slurp("/proc/$_/smaps_rollup") =~ /^Anonymous:\s+(\d+)/m } $n->workers }
my %at_first = memory();

# ----------------------------------------------------------------------- sign-in

$r = login($user);
is $r->{status}, 200, 'the right password signs in';
my $one = $r->{json};
is "$one->{token_type} $one->{expires_in}", 'Bearer 900', '... with a bearer token for 15 minutes';
is $one->{user}{email}, $user->{email}, '... and the user';
unlike $r->{body}, qr/password|argon/, '... without secrets';
is $r->{headers}{'cache-control'}, 'no-store', 'tokens are not cached';

my %body;
for (['wrong password', $user->{email}], ['unknown user', 'nobody@example.test']) {
    my ($what, $email) = @$_;
    my $r = $http->post('/auth/login', { email => $email, password => 'wrong horse' });
    is $r->{status}, 401, "$what: 401";
    $body{$what} = $r->{body} =~ s/"request_id":"[^"]*"//r;
}
is $body{'wrong password'}, $body{'unknown user'}, '... with the same words';

# the processors' time of nine each: the work is the same
sub worked {
    my $ticks = 0;
    for my $pid ($n->workers) {
        my @stat = split ' ', slurp("/proc/$pid/stat") =~ s/^.*\) //sr;
        $ticks += $stat[11] + $stat[12];
    }
    return $ticks;
}
my %took;
for my $email ($user->{email}, 'nobody@example.test') {
    my $from = worked();
    for (1 .. 9) {
        $t->sql("delete from mdvr.login_failure");
        $http->post('/auth/login', { email => $email, password => 'wrong horse' });
    }
    $took{$email} = worked() - $from;
}
my ($known, $unknown) = values %took;
cmp_ok abs($known - $unknown), '<', 0.5 * ($known > $unknown ? $known : $unknown), '... and with the same work' or diag "$known $unknown";
$t->sql("delete from mdvr.login_failure");

my %now = memory();
my ($most) = sort { $b <=> $a } map { $now{$_} - $at_first{$_} } keys %now;
cmp_ok $most, '<', 10240, '... in memory that is given back';

# ----------------------------------------------------------------------- lockout

for my $email ('nobody@example.test', $user->{email}) {
    $http->post('/auth/login', { email => $email, password => 'wrong horse' }) for 1 .. 5;
    $r = $http->post('/auth/login', { email => $email, password => $user->{password} });
    is "$r->{status} $r->{json}{code}", '429 account_locked', "five failures lock the account, known or not";
    cmp_ok $r->{headers}{'retry-after'}, '>', 800, '... for a quarter of an hour';
}
$t->sql("delete from mdvr.login_failure");

# ------------------------------------------------------------------------ tokens

my ($head, $claims, $mac) = split /\./, $one->{access_token};
my $h = json_of(decode_base64url($head));
my $c = json_of(decode_base64url($claims));
is $h->{alg}, 'HS256', 'tokens are HS256';
like $h->{kid}, qr/^[0-9a-f]{16}$/, '... and name their key';
is $c->{sub}, $one->{user}{id}, '... and their user';
is $c->{exp} - $c->{iat}, 900, '... for 15 minutes';

sub token { my ($h, $c, $key) = @_; my $t = join '.', map { encode_base64url(JSON::PP->new->canonical->encode($_)) } $h, $c;
    return $t . '.' . (defined $key ? encode_base64url(hmac_sha256($t, $key)) : '') }

my $secret = pack 'H*', $t->value("select encode(secret, 'hex') from mdvr.signing_key where kid = '$h->{kid}'");
my $good = token($h, $c, $secret);
is with($good)->get('/auth/me')->{status}, 200, 'a token that the key signed is good';
my %bad = (
    'no token'        => undef,
    'not a token'     => 'abc',
    'an empty one'    => '',
    'alg none'        => token({ %$h, alg => 'none' }, $c, undef),
    'alg none signed' => token({ %$h, alg => 'none' }, $c, $secret),
    'alg HS512'       => token({ %$h, alg => 'HS512' }, $c, $secret),
    'alg RS256'       => token({ %$h, alg => 'RS256' }, $c, $secret),
    'another key'     => token($h, $c, 'x' x 32),
    'an unknown kid'  => token({ %$h, kid => '0123456789abcdef' }, $c, $secret),
    'no kid'          => token({ alg => 'HS256', typ => 'JWT' }, $c, $secret),
    'another role'    => $head . '.' . encode_base64url(JSON::PP->new->canonical->encode({ %$c, role => 'super_admin' })) . ".$mac",
    'an expired one'  => token($h, { %$c, iat => $c->{iat} - 2000, exp => $c->{exp} - 2000 }, $secret),
    'no expiry'       => token($h, { map { $_ => $c->{$_} } grep { $_ ne 'exp' } keys %$c }, $secret),
    'one from the future' => token($h, { %$c, iat => $c->{iat} + 5000, exp => $c->{exp} + 5000 }, $secret),
    'another issuer'  => token($h, { %$c, iss => 'evil' }, $secret),
    'no session'      => token($h, { map { $_ => $c->{$_} } grep { $_ ne 'sid' } keys %$c }, $secret),
    'a cut signature' => substr($good, 0, -5),
    'a stream key'    => token($h, $c, pack 'H*', $t->value("select encode(secret, 'hex') from mdvr.signing_key where purpose = 'stream' limit 1")),
);
for (sort keys %bad) {
    my $r = with($bad{$_})->get('/auth/me');
    is $r->{status}, 401, "$_: 401";
}
like $http->get('/auth/me')->{headers}{'www-authenticate'}, qr/^Bearer/, '401 says how';

# ----------------------------------------------------------------------- refresh

$r = $http->post('/auth/refresh', { refresh_token => $one->{refresh_token} });
is $r->{status}, 200, 'a refresh token is exchanged';
my $two = $r->{json};
isnt $two->{refresh_token}, $one->{refresh_token}, '... for another';
is with($two->{access_token})->get('/auth/me')->{status}, 200, '... and a token that works';
is $http->post('/auth/refresh', { refresh_token => $one->{refresh_token} })->{status}, 401, 'a spent one is refused';
is $http->post('/auth/refresh', { refresh_token => $two->{refresh_token} })->{status}, 401, '... and ends the whole family';
ok eventually(sub { with($two->{access_token})->get('/auth/me')->{status} == 401 }, 5), '... access tokens too, within 5 s';
is $http->post('/auth/refresh', { refresh_token => 'x' x 43 })->{status}, 401, 'an unknown one is refused';

# ---------------------------------------------------------------------- sessions

my @s = map { login($user)->{json} } 1 .. 3;
my $api = with($s[0]{access_token});
my $sessions = $api->get('/auth/sessions')->{json}{items};
is scalar(@$sessions), 3, 'sessions are listed';
is scalar(grep { $_->{current} } @$sessions), 1, '... and which is this one';
my ($other) = grep { !$_->{current} } @$sessions;
is $api->delete("/auth/sessions/$other->{id}")->{status}, 204, 'another one is ended';
is $api->delete("/auth/sessions/$other->{id}")->{status}, 404, '... once';
my $stranger = $t->admin(tenant => 'B');
my ($mine) = grep { $_->{current} } @$sessions;
is $stranger->delete("/auth/sessions/$mine->{id}")->{status}, 404, 'but only by its user';
is $api->get('/auth/me')->{status}, 200, '... it goes on';
my $logged = login($user)->{json};
is with($logged->{access_token})->post('/auth/logout', {})->{status}, 204, 'signing out';
ok eventually(sub { my $n = 0; $n += with($logged->{access_token})->get('/auth/me')->{status} == 401 for 1 .. 8; $n == 8 }, 5),
    '... is effective on every worker within 5 s';
is $http->post('/auth/refresh', { refresh_token => $logged->{refresh_token} })->{status}, 401, '... for the refresh token too';

# --------------------------------------------------------------------- passwords

for (['', 'empty'], ['short', 'short'], ['a' x 8, 'one character'], ['x' x 129, 'overlong'], [uc $user->{email}, 'the address']) {
    is $api->put('/auth/password', { current_password => $user->{password}, new_password => $_->[0] })->{status}, 422,
        "a new password is refused: $_->[1]";
}
is $api->put('/auth/password', { current_password => 'wrong', new_password => 'better horse' })->{status}, 403, 'nor with a wrong one';
is $api->put('/auth/password', { current_password => $user->{password}, new_password => 'better horse' })->{status}, 204, 'it is changed';
is $api->get('/auth/me')->{status}, 200, 'this session goes on';
ok eventually(sub { with($s[2]{access_token})->get('/auth/me')->{status} == 401 }, 6), 'the others end within 5 s';
is login($user)->{status}, 401, 'the old password is void';
$user->{password} = 'better horse';
is login($user)->{status}, 200, 'the new one is good';
is $http->post('/auth/login', { email => $user->{email}, password => '' })->{status}, 422, 'an empty password is no attempt';
is $http->post('/auth/login', { email => $user->{email}, password => 'x' x 2000 })->{status}, 422, 'nor an overlong one';

# ----------------------------------------------------------------- second factor

$api = with(login($user)->{json}{access_token});
my $totp = $api->post('/auth/totp')->{json};
like $totp->{secret}, qr/^[A-Z2-7]{32}$/, 'a secret for the phone';
sub otp {
    my ($secret, $step) = @_;
    my %v; @v{'A' .. 'Z', 2 .. 7} = 0 .. 31;
    my $bits = join '', map { sprintf '%05b', $v{$_} } split //, $secret;
    my $mac = hmac_sha1(pack('Q>', int(time / 30) + ($step // 0)), pack 'B*', $bits);
    my $o = ord(substr $mac, 19) & 15;
    return sprintf '%06d', (unpack('N', substr $mac, $o, 4) & 0x7fffffff) % 1_000_000;
}
is login($user)->{status}, 200, 'prepared is not enabled';
is $api->put('/auth/totp', { otp => '000000' })->{status}, 422, 'a wrong code does not enable it';
my $first = otp($totp->{secret});
is $api->put('/auth/totp', { otp => $first })->{status}, 204, 'the right one does';
$r = login($user);
is "$r->{status} $r->{json}{code}", '401 otp_required', 'now a code is required';
is login($user, otp => $first)->{status}, 401, 'the code that enabled it is spent';
is login($user, otp => '123456')->{status}, 401, 'a wrong one is refused';
my $code = otp($totp->{secret}, 1);
is login($user, otp => $code)->{status}, 200, 'the right one signs in';
is login($user, otp => $code)->{status}, 401, '... once';
is $api->delete('/auth/totp')->{status}, 204, 'it is switched off';
is login($user)->{status}, 200, '... and not asked for any more';
$t->sql("delete from mdvr.login_failure");

# ------------------------------------------------------------------- being removed

my $admin = $t->admin;
my $clerk = $t->user(tenant => 'A', role => 'client_user');
$c = login($clerk)->{json};
is $admin->patch("/users/$clerk->{id}", { active => \0 })->{status}, 200, 'a user is disabled';
ok eventually(sub { with($c->{access_token})->get('/auth/me')->{status} == 401 }, 6), '... and out within 5 s';
is login($clerk)->{status}, 401, '... for good';
is $http->post('/auth/refresh', { refresh_token => $c->{refresh_token} })->{status}, 401, '... in every way';

# ---------------------------------------------------------------------- API keys

my $dev = $t->add_device('00007');
my $hid = $t->add_device('00008');
$r = $admin->post('/api-keys', { name => 'ERP', scopes => ['device:read'] });
is $r->{status}, 201, 'an API key';
my $key = with($r->{json}{key});
is scalar(@{ $key->get('/devices')->{json}{items} }), 2, '... reads';
is $key->patch("/devices/$dev", { name => 'x' })->{status}, 403, '... but writes nothing';
is $key->get('/auth/sessions')->{status}, 403, '... and has no account';
unlike $admin->get('/api-keys')->{body}, qr/\Q$r->{json}{key}\E/, 'it is shown once';
my $bound = $admin->post('/api-keys', { name => 'one', scopes => [ 'device:read', 'device:control' ], device_ids => [$dev] })->{json};
is_deeply [ map { $_->{id} } @{ with($bound->{key})->get('/devices')->{json}{items} } ], [$dev], 'a bound key sees its device';
is with($bound->{key})->get("/devices/$hid")->{status}, 404, '... and no other';
is $admin->post('/api-keys', { name => 'x', scopes => ['device:read'], device_ids => [ $t->add_device('00009', tenant => 'B') ] })->{status}, 422,
    'it cannot be bound to what one does not have';
is $admin->delete("/api-keys/$r->{json}{id}")->{status}, 204, 'a key is revoked';
ok eventually(sub { $key->get('/devices')->{status} == 401 }, 6), '... within 5 s';
is with('mdvr_' . 'x' x 43)->get('/devices')->{status}, 401, 'an unknown key is refused';
my $tech = $t->login($t->user(tenant => 'A', role => 'technician', extra_scopes => '{user:manage}'));
is $tech->post('/api-keys', { name => 'x', scopes => ['billing:manage'] })->{status}, 403, 'nobody grants more than it holds';
is $tech->post('/users', { email => 'boss@example.test', role => 'tenant_admin', password => 'correct horse' })->{status}, 403,
    '... nor by a role';
is $admin->post('/users', { email => 'boss@example.test', role => 'super_admin', password => 'correct horse' })->{status}, 403,
    'a tenant makes no super_admin';
is $tech->patch("/users/$user->{id}", { password => 'correct horse' })->{status}, 403, 'nor takes over an administrator';

ok $t->value("select bool_and(mdvr.audit_verify(id) = 0) from mdvr.tenant") eq 't', 'the audit chains are whole';
my %actions = map { $_->{action} => 1 } @{ $admin->get('/audit?limit=500')->{json}{items} };
ok $actions{$_}, "audited: $_" for qw(auth.login auth.login_failed auth.logout auth.password user.update api_key.create api_key.delete);

# ------------------------------------------------------------------------- limits

$t->nginx(name => 'limits', workers => 2);
my $lim = $t->http(node => $t->node(1));
my @status = map { $lim->post('/auth/login', { email => $user->{email}, password => $user->{password} })->{status} } 1 .. 12;
is join(' ', @status), join(' ', (200) x 10, 429, 429), 'ten sign-ins a minute from one address';
$r = $lim->post('/auth/login', { email => $user->{email}, password => $user->{password} });
cmp_ok $r->{headers}{'retry-after'}, '>', 0, '... then Retry-After';
my $fast = $lim->clone->token($admin->{token});
my %count;
$count{ $fast->get('/auth/me')->{status} }++ for 1 .. 200;
cmp_ok $count{200}, '>=', 100, 'a user has a burst of 100';
cmp_ok $count{429} // 0, '>', 0, '... and then waits';
is $t->http(node => $t->node(1))->token($stranger->{token})->get('/auth/me')->{status}, 200, 'others do not';

$t->done;
