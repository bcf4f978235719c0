# What somebody on the internet tries, one section each: nothing of it works.  What one
# tries from the device ports, by files and webhooks is in attacks_device.t.

use lib 't/lib';
use MDVR::Test;
use MDVR::Clip;
use IO::Socket::INET;
use MIME::Base64 qw(encode_base64url);

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;', pool => 4,
    http => 'client_header_timeout 2s; client_body_timeout 2s;');
my $tenant = $t->tenant('A');
my $id = $t->add_device('00007', plate => 'P-OWN');
my $victim = $t->add_device('00008', tenant => 'B', plate => 'P-VICTIM');
my $user = $t->user(tenant => 'A', role => 'tenant_admin', password => 'Tr0ub4dor-kept-out-of-logs');
my $api = $t->login($user);
my $http = $t->http;
my ($r, @bad, @secrets);
push @secrets, $user->{password}, @{ $api->{login} }{qw(access_token refresh_token)};

sub esc { return $_[0] =~ s/([^A-Za-z0-9])/sprintf '%%%02X', ord $1/ger }
# anything but an answer of the API's own, in time
sub odd {
    my ($what, $r, $from) = @_;
    push @bad, "$what: $r->{status}" if $r->{status} >= 500;
    push @bad, "$what: " . substr $r->{body}, 0, 200 if $r->{body} =~ /syntax error|SQLSTATE|PostgreSQL|root:x:|P-VICTIM|\Q$victim\E/;
    push @bad, "$what: slow" if time - $from > 3;
}
sub none { my ($what) = @_; ok !@bad, $what or diag join "\n", splice @bad, 0, 15; @bad = () }

# ---------------------------------------------------------- default credentials

for (['admin', 'admin'], ['admin@example.com', 'admin'], ['root', 'root'], ['admin', ''], ['test', 'test'],
     ['admin@localhost', 'password'], ['admin@example.test', 'changeme'], ['super_admin', 'mdvr']) {
    my $r = $http->post('/auth/login', { email => $_->[0], password => $_->[1] });
    push @bad, "@$_: $r->{status}" unless $r->{status} =~ /^(401|422|429)$/;
}
none('no default credentials');
is $t->value("select count(*) from mdvr.user where email !~ 'example.test\$'"), 1, 'no account but the one that was asked for'
    if $t->store->first_admin->{email} !~ /example\.test$/;

# ------------------------------------------------------------------ SQL injection

my @sql = ("' or '1'='1", "'; drop table mdvr.device; --", "x'||pg_sleep(5)||'", '\\', '$1', "') union select secret from mdvr.signing_key --",
    '%', "\xc2\xbf", '{}', '-1');
my $doc = $http->get('/openapi.json')->{json};
my $asked = 0;
for my $path (sort keys %{ $doc->{paths} }) {
    next if $path =~ /stream$/;
    for my $method (sort keys %{ $doc->{paths}{$path} }) {
        my $op = $doc->{paths}{$path}{$method};
        (my $at = $path) =~ s/\{id\}/$id/;
        for my $q (grep { $_->{in} eq 'query' } @{ $op->{parameters} // [] }) {
            for my $evil (@sql) {
                my $from = time;
                odd("$method $path?$q->{name}=$evil", $api->request(uc $method, "/api/v1$at?$q->{name}=" . esc($evil)), $from);
                $asked++;
            }
        }
    }
}
none("SQL in $asked query parameters");

# every leaf of every body, one after another
sub leaves { my ($v) = @_; return \$_[0] unless ref $v eq 'HASH' || ref $v eq 'ARRAY';
    return map { leaves($_) } ref $v eq 'HASH' ? @$v{ sort keys %$v } : @$v }
$asked = 0;
for my $path (sort keys %{ $doc->{paths} }) {
    next if $path =~ m{^/auth/(logout|password)};
    for my $method (qw(post put patch)) {
        my $op = $doc->{paths}{$path}{$method} or next;
        my $schema = $op->{requestBody}{content}{'application/json'}{schema} or next;
        $schema = $doc->{components}{schemas}{ $schema->{'$ref'} =~ s{.*/}{}r } if $schema->{'$ref'};
        my $body = $schema->{examples}[0] or next;
        (my $at = $path) =~ s/\{id\}/$id/;
        for my $leaf (leaves($body)) {
            my $was = $$leaf;
            for my $evil (@sql[0 .. 4]) {
                $$leaf = $evil;
                my $from = time;
                odd("$method $path $evil", $api->request(uc $method, "/api/v1$at", $body), $from);
                $asked++;
            }
            $$leaf = $was;
        }
    }
}
none("SQL in $asked leaves of bodies");
cmp_ok $asked, '>', 100, '... in many of them';

my $plate = "x'); delete from mdvr.device; --";
my $dev = $t->device('00007', plate => $plate);
$dev->v101(imei => "1' or '1'='1", version => "'||pg_sleep(9)||'");
ok eventually(sub { $t->online('00007') }), 'a device with SQL in its fields registers';
is $t->value('select count(*) from mdvr.device where deleted_at is null') >= 2 ? 1 : 0, 1, '... and no device is gone';
is $api->get("/devices/$id/status")->{status}, 200, '... and is shown';
unlike $api->get("/devices/$id")->{body}, qr/syntax error/, '... as text';

for my $evil ('id;drop', 'name desc', '(select 1)', "name'--", '-name,evil', 'password_hash', '1') {
    is $api->get('/devices?sort=' . esc($evil))->{status}, 422, "sort=$evil is no key";
}
for my $evil ('abc', "' or 1=1", '00', 'f' x 5000, encode_base64url('{"id":"x"}'), $victim) {
    my $r = $api->get('/devices?cursor=' . esc($evil));
    push @bad, "$evil: $r->{status}" unless $r->{status} =~ /^(422|414|200)$/;
    odd("cursor $evil", $r, time);
}
none('a cursor that was not given out brings nothing');

# --------------------------------------------------------------- path traversal

for my $path ('/../../../../etc/passwd', '/%2e%2e/%2e%2e/%2e%2e/etc/passwd', '/..%2f..%2fetc%2fpasswd', '/api/v1/..%2f..%2f..%2fetc/passwd',
              '/files/../../etc/passwd', '/files/x/..%2f..%2f..%2fetc%2fpasswd', '/files/x/%2e%2e/%2e%2e/nginx.conf', '/.objects/x', '/.objects/',
              '/live/../nginx.conf', '/live/x/..%2f..%2fnginx.conf', '/live/x/%00.m3u8', '/api/v1/devices/..%2f..%2fauth%2fme',
              "/api/v1/devices/$id%00", '/api/v1/media/..%5c..%5c/hls/index.m3u8', "/api/v1/devices/$id/../$victim", '/nginx.conf', '/.git/config') {
    my $r = $http->clone->request('GET', $path, undef, authorization => "Bearer $api->{token}");
    odd($path, $r, time);
    push @bad, "$path: $r->{status}" if $r->{status} !~ /^(30[1278]|4\d\d)$/;
}
none('a path leads nowhere but to its route');
for my $name ('../../etc/cron.d/x', '/etc/passwd', "a\0b", '..', '.', 'a/b', 'a\\b', '$(id)', '`id`', "a;id", "a\nb", '') {
    my $r = $api->clone->request('POST', '/api/v1/firmware?version=1&name=' . esc($name), 'x', 'content-type' => 'application/octet-stream');
    push @bad, "$name: $r->{status}" if $r->{status} >= 500 || $r->{status} < 400 && $name =~ m{/|\.\.|\\|\0|\n|^\.?$};
}
none('nor does the name of a file');

# -------------------------------------------------------------- addresses of files

my $key = "$tenant/m/clip.mp4";
system 'mkdir', '-p', "$t->{dir}/objects/$tenant/m";
MDVR::Test::svc_user() && system 'sh', '-c', "printf secretfilm > '$t->{dir}/objects/$key'; printf other > '$t->{dir}/objects/$tenant/m/other.mp4'";
my $media = $t->value("insert into mdvr.media (tenant_id, device_id, kind, source, status, at, size_bytes, sha256, original_key, playback_key) values
    ('$tenant', '$id', 'mp4', 'download', 'ready', now(), 10, sha256('x'), '$key', '$key') returning id");
my $url = $api->get("/media/$media/url")->{json}{url} // '';
$url =~ s{^https?://[^/]+}{};
is $http->request('GET', $url)->{body}, 'secretfilm', 'an address that was handed out works' or diag $url;
my ($mark) = $url =~ m{^/files/([^/]+)/};
my $flip = $mark // ''; substr($flip, -3, 1) =~ tr/A-Za-z0-9_-/B-ZAb-za1-90A0/;
for (['no mark', "/files/$key"], ['an empty one', "/files//$key"], ['a wrong one', "/files/$flip/$key"], ['a cut one', '/files/' . substr($mark, 0, -8) . "/$key"],
     ['another file', $url =~ s/clip\.mp4/other.mp4/r], ["a neighbour's", $url =~ s/\Q$tenant\E/$t->tenant('B')/er],
     ['a folder', $url =~ s/clip\.mp4.*//r], ['directly', "/.objects/$key"]) {
    my $r = $http->clone->request('GET', $_->[1]);
    push @bad, "$_->[0] $_->[1]: $r->{status}" unless $r->{status} =~ /^40[034]$/ && $r->{body} !~ /secretfilm|other$/;
}
none('an address of a file without the right mark: refused');
is $t->admin(tenant => 'B')->get("/media/$media/url")->{status}, 404, "another tenant's file has no address";

# ------------------------------------------------------------------ live segments

my $bus = MDVR::Clip::bus($n);
my $s = $bus->start('00007', channel => 1, device => $id);
my $m = $bus->media($s);
my $player = $m->play_on(MDVR::Clip::make('h264', seconds => 4), loop => 1, seconds => 15);
my $good = $bus->token($t, $s);
ok eventually(sub { ($http->clone->request('GET', "/live/$good/index.m3u8")->{body} // '') =~ /#EXTM3U/ }, 8), 'a viewer with a token gets the list';
my ($segment) = ($http->clone->request('GET', "/live/$good/index.m3u8")->{body} // '') =~ /^([^#\s]+)$/m;
$segment //= 'stream.m3u8';
my ($fields, $mac) = split /\./, $good;
my %token = (
    'an expired one' => $bus->token($t, $s, issued => time - 900, expires => time - 300),
    'one without a signature' => $fields, 'an empty signature' => "$fields.", 'another signature' => "$fields." . scalar reverse($mac),
    'an access token' => $api->{token}, 'nothing' => 'x', "another device's" => $bus->token($t, { %$s, device => $victim }) =~ s/\..*/.$mac/r,
);
for my $what (sort keys %token) {
    for my $file ('index.m3u8', $segment, 'stream.mp4', 'init.mp4', '../index.m3u8') {
        my $r = $http->clone->stream("/live/$token{$what}/$file");
        push @bad, "$what $file: $r->{status}" unless $r->{status} =~ /^(40[0134]|410)$/;
    }
}
none('live video without a good token: refused, lists and segments');
MDVR::Media::play_stop($player);

# ---------------------------------------------------------------------------- IDOR

for (['GET', ''], ['PATCH', '', { name => 'x' }], ['DELETE', ''], ['GET', '/telemetry'], ['GET', '/status'], ['POST', '/video/start', { channel => 1 }],
     ['POST', '/commands', { type => 'device_info' }], ['POST', '/snapshot', { channel => 1 }], ['GET', '/trips'], ['GET', '/recordings']) {
    my ($method, $more, $body) = @$_;
    my $r = $api->request($method, "/api/v1/devices/$victim$more", $body);
    push @bad, "$method $more: $r->{status}" unless $r->{status} == 404;
}
$r = $api->post('/groups', { name => 'mine', device_ids => [$victim] });
push @bad, "group: $r->{status}" unless $r->{status} == 422;
for my $list ('/alarms', '/media', '/devices', '/events') {
    odd($list, $api->get("$list?limit=500"), time);
}
none("another tenant's device cannot be named");

# ------------------------------------------------------------------------ passwords

for my $password ('', ' ', 'x' x 1_000, 'x' x 200_000, "\0", ['a'], { a => 1 }, undef, \1, 0) {
    my $from = time;
    my $r = $http->clone->post('/auth/login', { email => $user->{email}, password => $password });
    push @bad, "login: $r->{status}" unless $r->{status} =~ /^(400|401|413|422|429)$/;
    odd('login', $r, $from);
}
none('empty and overlong passwords do not sign in, quickly');
$t->sql('delete from mdvr.login_failure');
for my $password ('', 'short', 'x' x 100_000) {
    is $api->post('/users', { email => 'new@example.test', role => 'technician', password => $password })->{status}, 422, 'nor are they set';
}

# -------------------------------------------------------------------- refresh replay

my $login = $t->login($user)->{login};
my $next = $http->post('/auth/refresh', { refresh_token => $login->{refresh_token} })->{json};
push @secrets, $login->{refresh_token}, $next->{refresh_token}, $next->{access_token};
is $http->post('/auth/refresh', { refresh_token => $login->{refresh_token} })->{status}, 401, 'a spent refresh token is refused';
is $http->post('/auth/refresh', { refresh_token => $next->{refresh_token} })->{status}, 401, '... and its successor is void, too';
ok eventually(sub { $http->clone->token($next->{access_token})->get('/auth/me')->{status} == 401 }, 5), '... and the access token within 5 s';

# ----------------------------------------------------------------------- CORS, CSRF

for my $method (qw(GET OPTIONS POST)) {
    my $r = $api->clone->request($method, '/api/v1/devices', undef, origin => 'https://evil.example', 'access-control-request-method' => 'POST');
    push @bad, map { "$method $_" } grep { /^access-control|^set-cookie/ } keys %{ $r->{headers} };
}
none('no other origin is let in unless it is configured, and there is no cookie');
is $http->clone->request('POST', '/api/v1/groups', 'name=a', 'content-type' => 'application/x-www-form-urlencoded', cookie => "token=$api->{token}")->{status},
    401, 'a form of another site has no credentials';
is $api->clone->request('POST', '/api/v1/groups', '{"name":"a"}', 'content-type' => 'text/plain')->{status}, 415, '... and is not JSON';
is $http->clone->request('GET', "/api/v1/devices?access_token=$api->{token}")->{status}, 401, 'a token in an address is none';

# ---------------------------------------------------------------------------- markup

my $markup = '"><img src=x onerror=alert(1)><script>alert(2)</script>';
$r = $api->patch("/devices/$id", { plate => '<img src=x>', name => $markup });
is $r->{json}{name}, $markup, 'markup in a name is text';
for my $path ("/devices/$id", '/devices', '/nothing<script>') {
    my $r = $api->get($path);
    like $r->{headers}{'content-type'}, qr{^application/(problem\+)?json$}, "... sent as JSON";
    is $r->{headers}{'x-content-type-options'}, 'nosniff', '... and not to be taken for anything else';
}

# -------------------------------------------------------------- oversized and slow

is $api->clone->request('POST', '/api/v1/groups', '{"name":"' . 'x' x 2_000_000 . '"}', 'content-type' => 'application/json')->{status}, 413,
    'a body of 2 MB: 413';
like $http->clone->raw("GET /api/v1/devices HTTP/1.1\r\nHost: x\r\nX-Big: " . 'x' x 70_000 . "\r\n\r\n"), qr{^HTTP/1.1 4(00|31|94)}, 'a header of 70 kB: refused';
like $http->clone->raw('GET /api/v1/devices?q=' . 'x' x 70_000 . " HTTP/1.1\r\nHost: x\r\n\r\n"), qr{^HTTP/1.1 414}, 'an address of 70 kB: 414';
my $from = time;
my $got = $http->clone->raw("POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", 10);
cmp_ok time - $from, '<', 8, 'a body that does not come ends with the configured time';
$from = time;
$http->clone->raw("GET /api/v1/devices HTTP/1.1\r\nHos", 10);
cmp_ok time - $from, '<', 8, '... so does a header';
like $http->clone->raw("POST /api/v1/groups HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 3), qr{^HTTP/1.1 400},
    'two lengths: 400';

# ----------------------------------------------------------------- directory listing

for my $path ('/api/', '/api/v1/', '/live/', '/files/', '/.objects/', "/files/$mark/", "/.objects/$tenant/", '/assets/', '/docs/', '/images/') {
    my $r = $http->clone->request('GET', $path);
    push @bad, "$path: $r->{status}" if $r->{status} == 200 && $r->{body} =~ /Index of|<pre><a href/ || $r->{body} =~ /clip\.mp4/;
}
none('no directory is listed');

# --------------------------------------------------------------------- secrets in logs

my $log = slurp("$n->{dir}/access.log") . slurp($n->{error_log});
cmp_ok length $log, '>', 10_000, 'there are logs';
push @secrets, map { $_->[0] } $t->sql("select encode(secret, 'hex') from mdvr.signing_key"), $t->sql('select password_hash from mdvr.user');
push @secrets, slurp($t->store->{redis_password_file}) =~ s/\s+\z//r, $t->store->first_admin->{password};
# the token that this test itself put into an address is not ours to hide
my $mine = qr{(?:access_token=|/live/)\Q$api->{token}\E};
$log =~ s/$mine//g;
push @bad, map { substr($_, 0, 12) . '...' } grep { length && index($log, $_) >= 0 } @secrets;
none('no password, token, key or hash is in a log: ' . @secrets . ' looked for');

$t->allow(qr/client/);
$t->done;
