# Secrets in the database are sealed with a key that is not there: nothing of them
# can be read in a copy of it, everything works, and the key can be replaced.

use lib 't/lib';
use MDVR::Test;
use Digest::SHA qw(hmac_sha1 sha256_hex);

my $t = MDVR::Test->new;
my @key = map { sha256_hex("$_ " . rand . $$) } 1, 2;
my $file = "$t->{dir}/secret.key";
sub keys_are { open my $fh, '>', $file or die $!; print $fh "$_\n" for @_; close $fh; chmod 0600, $file }
keys_are($key[0]);

my @n = map { $t->nginx(workers => 2, secret_key => $file, api => 'mdvr_login_rate 0; mdvr_api_rate 0; mdvr_webhook_allow 127.0.0.0/8;') } 1, 2;
sub open_rows { $t->value("select count(*) from (select secret from mdvr.signing_key union all select secret from mdvr.webhook
    union all select totp_secret from mdvr.user where totp_secret is not null) x (s) where substr(s, 1, 4) <> convert_to('MDS1', 'UTF8')") }
sub sealed_by { my ($key) = @_; $t->value("select count(*) from (select secret from mdvr.signing_key union all select secret from mdvr.webhook
    union all select totp_secret from mdvr.user where totp_secret is not null) x (s) where substr(s, 1, 8) <> convert_to('MDS1', 'UTF8') || decode('"
    . substr(sha256_hex(pack 'H*', $key), 0, 8) . "', 'hex')") == 0 }

ok eventually(sub { open_rows() == 0 }, 10), 'what SQL made is sealed when a node starts';
is $t->value('select count(distinct octet_length(secret)) from mdvr.signing_key'), 1, 'all signing keys';

# ------------------------------------------------------------ everything works

my $user = $t->user(tenant => 'A', role => 'tenant_admin');
my $api = $t->login($user);
is $t->http(node => $n[1])->token($api->{token})->get('/auth/me')->{status}, 200, 'a token of one node is good on the other';

my $hook = $api->post('/webhooks', { url => 'https://127.0.0.1:1/x', topics => ['alarm'], secret => 'a secret of twenty-five chars' })->{json};
is $hook->{secret}, 'a secret of twenty-five chars', 'a webhook';
is $api->patch("/webhooks/$hook->{id}", { secret => 'another secret, a long one' })->{status}, 200, '... with another secret';

my $totp = $api->post('/auth/totp')->{json}{secret};
# Each code is good once.
my %used;
sub unused { my ($step) = grep { !$used{ int(time / 30) + $_ } } 0, 1, -1; return otp($step) }
sub otp {
    $used{ int(time / 30) + ($_[0] // 0) } = 1;
    my %v; @v{'A' .. 'Z', 2 .. 7} = 0 .. 31;
    my $mac = hmac_sha1(pack('Q>', int(time / 30) + ($_[0] // 0)), pack 'B*', join '', map { sprintf '%05b', $v{$_} } split //, $totp);
    my $o = ord(substr $mac, 19) & 15;
    return sprintf '%06d', (unpack('N', substr $mac, $o, 4) & 0x7fffffff) % 1_000_000;
}
is $api->put('/auth/totp', { otp => otp() })->{status}, 204, 'a second factor';
sub login { $t->http->post('/auth/login', { email => $user->{email}, password => $user->{password}, @_ }) }
is login(otp => '000000')->{status}, 401, 'a wrong code is refused';
$t->sql('delete from mdvr.login_failure');
is login(otp => otp(1))->{status}, 200, '... the right one is good';
is open_rows(), 0, 'nothing of it lies open';

my $dump = join '', map { join '|', map { $_ // '' } @$_ } map { $t->sql("select x::text from mdvr.$_ x") } qw(webhook signing_key user);
unlike $dump, qr/@{[ unpack 'H*', 'another secret' ]}/, 'a copy of the database shows no secret';

# ---------------------------------------------------------- each in its own row

my $columns = join ', ', map { $_->[0] } $t->sql("select attname from pg_attribute where attrelid = 'mdvr.webhook'::regclass
    and attnum > 0 and not attisdropped and attgenerated = '' and attname <> 'id'");
$t->sql("insert into mdvr.webhook (id, $columns) select ('00000000-0000-7000-8000-' || lpad(i::text, 12, '0'))::uuid, $columns
    from mdvr.webhook, generate_series(1, 120) i where id = ?", $hook->{id});

# ------------------------------------------------------------- the key is replaced

my $old = $api->{token};
keys_are(@key[1, 0]);
$_->reload for @n;
$t->redis('PUBLISH', 'mdvr:ctl', '{"op":"keys_changed"}');        # now, not within a minute
# the copied rows open in none
ok eventually(sub { !grep { $_->metrics('mdvr_secrets_closed') != 120 } @n }, 45), 'what no key opens is counted';
like $n[0]->log . $n[1]->log, qr/opens 120 secrets, the first is webhook\/00000000-0000-7000-8000-000000000001/, '... and said';
unlike $n[0]->log . $n[1]->log, qr/1[2-9]\d secrets are sealed/, '... not taken for sealed';
$t->sql("delete from mdvr.webhook where id < '00000000-0000-7000-8000-000000000121'");
$t->redis('PUBLISH', 'mdvr:ctl', '{"op":"keys_changed"}');
ok eventually(sub { sealed_by($key[1]) }, 45), 'a new first key: everything else is sealed with it';
keys_are($key[1]);
$_->reload for @n;
is $t->http(node => $n[$_])->token($old)->get('/auth/me')->{status}, 200, "... nobody is signed out by that (node $_)" for 0, 1;
is login(otp => unused())->{status}, 200, '... and second factors go on';

# ----------------------------------------------------------- keys of tokens rotate

my ($before) = $t->value("select kid from mdvr.signing_key where purpose = 'access' and expires_at is null");
$t->sql("select mdvr.rotate_signing_key('access', '1 hour')");
$t->redis('PUBLISH', 'mdvr:ctl', '{"op":"keys_changed"}');
is $t->http(node => $n[1])->token($old)->get('/auth/me')->{status}, 200, 'a new key signs tokens, the old ones are good';
ok eventually(sub { open_rows() == 0 }, 45), '... and it is sealed';
$t->redis('DEL', @{ $t->redis('KEYS', 'mdvr:rate:{otp}:*') });
%used = ();
my $new = login(otp => unused())->{json}{access_token} // '';
ok eventually(sub { $t->http(node => $n[1])->token($new)->get('/auth/me')->{status} == 200 }, 5), 'new ones as well, everywhere';

# ------------------------------------------------------------- without the key

$n[1]->stop;
keys_are($key[0]);
eval { $n[1]->start(ready => 0) };
my $r;
ok eventually(sub { $r = eval { $t->http(node => $n[1])->request('GET', '/readyz') }; $r && $r->{status} == 503 && $r->{json}{checks}{signing_keys} eq 'away' }, 10),
    'a node with another key is not ready';
is $t->http(node => $n[1])->token($new)->get('/auth/me')->{status} =~ /^(401|503)$/ ? 1 : 0, 1, '... and lets nobody in';
like $n[1]->log, qr/no key of "mdvr_secret_key" opens signing_key/, '... and says why';

$t->allow(qr/no key of "mdvr_secret_key" opens|webhook/);
$t->done;
