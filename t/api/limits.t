# The general limit: one bucket a user, shared between nodes without asking Redis
# for each request.

use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
my %api = (api => 'mdvr_login_rate 0; mdvr_api_rate 4 burst=40 share=50ms;');
my @n = map { $t->nginx(workers => 2, %api) } 1, 2;
my @user = map { $t->user(tenant => 'A', role => 'technician') } 1 .. 4;

sub on { my ($node, $token) = @_; return $t->http(node => $n[$node])->token($token) }
sub token { $t->http->post('/auth/login', { email => $_[0]{email}, password => $_[0]{password} })->{json}{access_token} }
# how many of n requests go through
sub through { my ($api, $n) = @_; my $good = 0; $good += $api->get('/auth/me')->{status} == 200 for 1 .. $n; return $good }
# what is in the bucket in Redis, in requests
sub shared { my ($key) = map { @$_ } $t->redis('KEYS', 'mdvr:rate:{user}:*'); return 0 unless $key; return (split ' ', $t->redis('GET', $key))[0] / 1000 }

# ------------------------------------------------------------------- one node

my $token = token($user[0]);
my $from = time;
my $good = through(on(0, $token), 60);
my $more = 4 * (time - $from) + 2;
cmp_ok $good, '>=', 41, 'the burst goes through';
cmp_ok $good, '<=', 41 + $more, '... and hardly more';
my $r = on(0, $token)->get('/auth/me');
is "$r->{status} $r->{json}{code}", '429 rate_limited', 'then 429';
like $r->{headers}{'retry-after'}, qr/^[1-9]\d*$/, '... with Retry-After';
is on(0, token($user[1]))->get('/auth/me')->{status}, 200, 'another user is not held up';

# ------------------------------------------------------------------ two nodes

ok eventually(sub { on(1, $token)->get('/auth/me')->{status} == 429 }, 3), 'the other node knows, too';

$t->redis('FLUSHALL');
$token = token($user[2]);
$from = time;
my @api = map { on($_, $token) } 0, 1;
$good = 0;
for (1 .. 6) {
    for my $api (@api) {
        $good += through($api, 10);
        ok eventually(sub { shared() + 1 >= ($good > 40 ? 40 : $good) - 4 * (time - $from) }, 5), "what was taken comes to Redis: $good";
    }
}
# a node learns what the other one took with its own next exchange
cmp_ok $good, '>=', 41, 'who asks two nodes in turn gets the burst';
cmp_ok $good, '<=', 41 + 4 * (time - $from) + 12, "... once, not twice: $good";

# --------------------------------------- a configuration that is refused, then a worker that dies

my $conf = "$n[0]{dir}/nginx.conf";
my $text = MDVR::Test::slurp($conf);
open my $fh, '>', $conf or die "$conf: $!";
print $fh "$text\nno_such_directive on;\n";
close $fh;
kill HUP => $n[0]->master;
ok eventually(sub { $n[0]->log =~ /unknown directive "no_such_directive"/ }, 5), 'a configuration is refused after its http block';
$t->allow(qr/exited on signal 9|no_such_directive/);
$n[0]->kill_worker for 1, 2;
is $t->http(node => $n[0])->get('/auth/me')->{status}, 401, 'new workers know the routes';
isnt on(0, token($user[1]))->get('/auth/me')->{status}, 500, '... and the limits';
unlike $n[0]->log, qr/exited on signal (?!9)/, '... of the configuration in use';
open $fh, '>', $conf or die "$conf: $!";
print $fh $text;
close $fh;

# ------------------------------------------------------------ it costs no waiting

$token = token($user[3]);
through(on(0, $token), 30);
ok eventually(sub { $t->redis('KEYS', 'mdvr:rate:{user}:*') }, 3), 'what was taken is in Redis';
$t->store->redis_stop('KILL');
$from = time;
cmp_ok through(on(0, $token), 5), '>=', 4, 'without Redis each node counts for itself';
cmp_ok time - $from, '<', 2, '... and waits for nothing';
cmp_ok through(on(0, $token), 60), '<', 50, '... but still counts';
$t->store->redis_start;
ok eventually(sub { $t->http->request('GET', '/readyz')->{status} == 200 }, 10), 'Redis is back';

# --------------------------------------------- sign-ins, per address and account

$t->redis('FLUSHALL');
$_->reload(api => 'mdvr_login_rate 10; mdvr_api_rate 0;') for @n;
my %status;
for my $i (0 .. 13) { $status{ $t->http(node => $n[$i % 2])->post('/auth/login', { email => "u$i\@example.test", password => 'x' })->{status} }++ }
is_deeply \%status, { 401 => 10, 429 => 4 }, 'ten sign-ins a minute from an address, on both nodes together';
$r = $t->http(node => $n[1])->post('/auth/login', { email => 'u@example.test', password => 'x' });
cmp_ok $r->{headers}{'retry-after'}, '<=', 60, '... then wait up to a minute';

$_->reload(api => 'mdvr_login_rate 0; mdvr_api_rate 0;') for @n;
my $victim = $user[0];
my @said = map { $t->http(node => $n[$_ % 2])->post('/auth/login', { email => $victim->{email}, password => 'wrong' })->{status} } 1 .. 6;
is "@said", '401 401 401 401 401 429', 'five failures of an account, on both nodes together, lock it';
is $t->http(node => $n[0])->post('/auth/login', { email => $victim->{email}, password => $victim->{password} })->{status}, 429, '... for the right password as well';
my $me = on(1, token($user[1]));
@said = map { $me->put('/auth/password', { current_password => "wrong $_", new_password => 'a better horse' })->{status} } 1 .. 6;
is "@said", '403 403 403 403 403 429', 'nor is a token a way to try passwords';

$t->allow(qr/redis|Redis/);
$t->done;
