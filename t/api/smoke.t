use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 1000; mdvr_api_rate 0;');
my $id = $t->add_device('00007');
my $api = $t->admin;
my $r;
for my $p ('/auth/me', '/auth/sessions', '/devices', "/devices/$id", "/devices/$id/status", "/devices/$id/telemetry",
    "/devices/$id/telemetry?every_s=10", "/devices/$id/trips", "/devices/$id/diagnostics", '/devices/pending', '/groups', '/users', '/api-keys', '/video/sessions',
    '/alarms', '/events', '/audit', '/usage', '/openapi.json', '/docs', '/devices?q=7&online=false&bbox=1,2,3,4&limit=1') {
    $r = $api->get($p);
    is $r->{status}, 200, $p or diag $r->{body};
    note substr $r->{body}, 0, 1500 unless $p =~ /openapi|docs/;
}
for my $p ('/nothing', '/devices/abc', '/devices/0190b6c2-0000-7000-8000-00000000000a', '/devices?limit=0', '/tenants') {
    $r = $api->get($p);
    note "$p $r->{status} $r->{body}";
}
$r = $api->post('/devices', { serial => '00008', name => 'x', group_ids => [], channels => 4, settings => { a => 1 } });
is $r->{status}, 201; note $r->{body};
my $d = $r->{json}{id};
$r = $api->post('/devices', { serial => '00008'}); note "$r->{status} $r->{body}";
$r = $api->post('/devices', { serial => '00009', foo => 1, channels => 'x'}); note "$r->{status} $r->{body}";
$r = $api->patch("/devices/$d", { plate => 'AB', settings => { text_encoding => 'gb18030' } }); note "$r->{status} $r->{body}";
$r = $api->post('/groups', { name => 'G', device_ids => [$d] }); note "$r->{status} $r->{body}";
my $g = $r->{json}{id};
$r = $api->get("/devices?group_id=$g"); note "$r->{status} $r->{body}";
$r = $api->post('/users', { email => 'c@example.com', password => 'correct horse', role => 'client_user' }); note "$r->{status} $r->{body}";
my $u = $r->{json}{id};
$r = $api->put("/users/$u/devices", { device_ids => [$d] }); note "$r->{status} $r->{body}";
$r = $api->patch("/users/$u", { name => 'Cx', password => 'correct horse 2' }); note "$r->{status} $r->{body}";
my $c = $t->http; $r = $c->post('/auth/login', { email => 'c@example.com', password => 'correct horse 2' }); note "$r->{status} $r->{body}";
$c->token($r->{json}{access_token});
$r = $c->get('/devices'); note "$r->{status} $r->{body}";
$r = $c->get("/devices/$id"); note "$r->{status} $r->{body}";
$r = $c->post("/devices/$d/video/start", {channel=>1}); note "$r->{status} $r->{body}";
$r = $c->delete("/devices/$d"); note "$r->{status} $r->{body}";
$r = $api->delete("/users/$u"); note "$r->{status} $r->{body}";
$r = $api->post('/auth/logout'); note "$r->{status} $r->{body}";
$r = $api->get('/devices'); note "$r->{status} $r->{body}";
$t->done;
