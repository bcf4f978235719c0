# What the API does while PostgreSQL or Redis is away, and when they are back.

use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;');
my $id = $t->add_device('00007');
my $user = $t->user(tenant => 'A', role => 'tenant_admin');
my $api = $t->login($user);
my $r;

# --------------------------------------------------------------------- Redis away

$t->store->redis_stop;
is $api->get("/devices/$id")->{status}, 200, 'Redis away: reads go on';
is $api->patch("/devices/$id", { name => 'x' })->{status}, 200, '... and writes';
is $t->http->post('/auth/login', { email => $user->{email}, password => $user->{password} })->{status}, 200, '... and sign-in';
$r = $api->post('/groups', { name => 'G' }, 'idempotency-key' => 'k');
is $r->{status}, 503, 'what must not happen twice waits';
ok $r->{headers}{'retry-after'}, '... and says when';
$r = $api->post("/devices/$id/commands", { type => 'device_info' });
like $r->{status}, qr/^(503|409)$/, 'a command says so';
$t->store->redis_start;
ok eventually(sub { $api->post('/groups', { name => 'G' }, 'idempotency-key' => 'k')->{status} == 201 }, 10), 'it goes on by itself';

# ---------------------------------------------------------------- PostgreSQL away

$t->store->pg_stop('immediate');
my $from = time;
$r = $api->get("/devices/$id");
is $r->{status}, 503, 'PostgreSQL away: 503';
is $r->{json}{code}, 'unavailable', '... as a problem';
cmp_ok $r->{headers}{'retry-after'} // 0, '>', 0, '... with Retry-After';
cmp_ok time - $from, '<', 7, '... within 5 s';
is $t->http->post('/auth/login', { email => $user->{email}, password => $user->{password} })->{status}, 503, 'sign-in too';
is $t->http->get('/openapi.json')->{status}, 200, 'what needs no database is answered';
unlike $r->{body}, qr/connect|socket|postgres/i, 'nothing of the inside is told';
$t->store->pg_start;
ok eventually(sub { $api->get("/devices/$id")->{status} == 200 }, 15), 'it goes on by itself';

$t->allow(qr/PostgreSQL|Redis|connect|failed/i);
$t->done;
