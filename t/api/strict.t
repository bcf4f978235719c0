# What the API refuses, how it says so, and how lists and exports behave.

use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;', http => 'mdvr_cors https://fleet.example.com;', pool => 4);
my $tenant = $t->tenant('A');
my $id = $t->add_device('00007');
my $api = $t->admin;
my ($r, $p);

sub raw { my ($body, %h) = @_; return $api->clone->request('POST', '/api/v1/groups', $body, 'content-type' => 'application/json', %h) }

# -------------------------------------------------------------------- bodies

for (
    [ 'not JSON',                 '{"name":',                          400, 'malformed_json' ],
    [ 'nothing',                  '',                                  400, 'malformed_json' ],
    [ 'two values',               '{"name":"a"} {}',                   400, 'malformed_json' ],
    [ 'a trailing comma',         '{"name":"a",}',                     400, 'malformed_json' ],
    [ 'single quotes',            "{'name':'a'}",                      400, 'malformed_json' ],
    [ 'NaN',                      '{"name":NaN}',                      400, 'malformed_json' ],
    [ 'broken UTF-8',             "{\"name\":\"\xff\xfe\"}",           400, 'malformed_json' ],
    [ 'a lone surrogate',         '{"name":"\ud800"}',                 400, 'malformed_json' ],
    [ 'a NUL',                    '{"name":"a\u0000b"}',               400, 'malformed_json' ],
    [ 'a huge number',            '{"name":' . '9' x 400 . '}',        400, 'malformed_json' ],
    [ 'a name twice',             '{"name":"a","name":"b"}',           422, 'duplicate_field' ],
    [ 'deep nesting',             '{"name":' . '[' x 40 . ']' x 40 . '}', 422, 'nested_too_deep' ],
    [ 'very deep nesting',        '[' x 100_000,                       422, 'nested_too_deep' ],
    [ 'an array',                 '[]',                                422, 'invalid_type' ],
    [ 'a string',                 '"x"',                               422, 'invalid_type' ],
    [ 'an unknown field',         '{"name":"a","evil":1}',             422, 'unknown_field' ],
    [ 'a missing field',          '{}',                                422, 'required' ],
    [ 'a wrong type',             '{"name":5}',                        422, 'invalid_type' ],
    [ 'null',                     '{"name":null}',                     422, 'invalid_type' ],
    [ 'an empty name',            '{"name":""}',                       422, 'out_of_range' ],
    [ 'an overlong name',         '{"name":"' . 'x' x 201 . '"}',      422, 'out_of_range' ],
    [ 'control characters',       '{"name":"a\nb"}',                   422, 'invalid_value' ],
    [ 'no uuid in a list',        '{"name":"a","device_ids":["x"]}',   422, 'invalid_value' ],
    [ 'an unknown device',        '{"name":"a","device_ids":["0190b6c2-0000-7000-8000-00000000000a"]}', 422, 'unknown_device' ],
) {
    my ($what, $body, $status, $code) = @$_;
    $r = raw($body);
    is "$r->{status} " . ($r->{json}{code} // ''), "$status $code", "a body with $what: $status $code";
}

$r = raw('{"name":"","evil":1,"device_ids":[1]}');
is_deeply [ sort map { $_->{field} } @{ $r->{json}{errors} } ], [ 'device_ids[0]', 'evil', 'name' ], 'every wrong field is named';
is $r->{headers}{'content-type'}, 'application/problem+json', '... as problem+json';
is_deeply [ grep { !exists $r->{json}{$_} } qw(type title status code detail request_id errors) ], [], '... with all its members';
is raw('{"name":"a"}', 'content-type' => 'text/plain')->{status}, 415, 'another content type: 415';
is raw('{"name":"a"}', 'content-type' => 'application/jsonx')->{status}, 415, '... even a similar one';
is raw('{"name":"a"}', 'content-encoding' => 'gzip')->{status}, 415, 'a body that says that it is compressed: 415';
is raw('{"name":"charset"}', 'content-type' => 'application/json; charset=utf-8')->{status}, 201, 'a charset is no harm';
is raw('{"name":"' . 'x' x (1 << 20) . '"}')->{status}, 413, 'more than 1 MiB: 413';
$r = $api->clone->raw("POST /api/v1/groups HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $api->{token}\r\nContent-Type: application/json\r\n"
    . "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" . ("8000\r\n" . 'x' x 0x8000 . "\r\n") x 40 . "0\r\n\r\n", 5);
like $r, qr{^HTTP/1.1 413}, '... in chunks too';
is raw('{"name":"' . 'ü' x 80 . '"}')->{status}, 201, 'text in UTF-8 is welcome';

# ------------------------------------------------------------------- request ids

$r = $api->clone->request('GET', '/api/v1/nothing', undef, 'x-request-id' => 'abc-1.2_3');
is "$r->{json}{request_id} $r->{headers}{'x-request-id'}", 'abc-1.2_3 abc-1.2_3', 'a request id is accepted and returned';
$r = $api->clone->request('GET', '/api/v1/nothing', undef, 'x-request-id' => "x\"><script>");
like $r->{headers}{'x-request-id'}, qr/^[0-9a-f-]{36}$/, 'a strange one is replaced';
$r = $api->get('/devices');
like $r->{headers}{'x-request-id'}, qr/^[0-9a-f-]{36}$/, 'each answer has one';

# -------------------------------------------------------------------------- CORS

$r = $api->clone->request('GET', '/api/v1/devices', undef, origin => 'https://fleet.example.com');
is $r->{headers}{'access-control-allow-origin'}, 'https://fleet.example.com', 'a listed origin may read';
$r = $api->clone->request('GET', '/api/v1/devices', undef, origin => 'https://evil.example');
is $r->{headers}{'access-control-allow-origin'}, undef, 'another may not';
is $r->{headers}{'set-cookie'}, undef, 'there are no cookies';
$r = $t->http->request('OPTIONS', '/api/v1/devices', undef, origin => 'https://fleet.example.com',
    'access-control-request-method' => 'POST');
is $r->{status}, 204, 'a preflight is answered';
like $r->{headers}{'access-control-allow-headers'}, qr/Authorization/, '... with what may be sent';

# ---------------------------------------------------------------------- injection

my @evil = ("'", "';drop table mdvr.device;--", "1 or 1=1", "\\", '%00', "a\tb", "\x{27}||pg_sleep(5)||\x{27}", '${jndi:x}',
    '../../etc/passwd', '%27%20union%20select%201--', '<script>alert(1)</script>', "\xff");
my @bad;
my $doc = $t->http->get('/openapi.json')->{json};
for my $path (sort keys %{ $doc->{paths} }) {
    my $op = $doc->{paths}{$path}{get} or next;
    next if $path =~ /stream$/;
    (my $at = $path) =~ s/\{id\}/$id/;
    for my $q (grep { $_->{in} eq 'query' } @{ $op->{parameters} // [] }) {
        for my $evil (@evil) {
            (my $v = $evil) =~ s/([^A-Za-z0-9%])/sprintf '%%%02X', ord $1/ge;
            my $from = time;
            my $r = $api->get("$at?$q->{name}=$v");
            push @bad, "$at?$q->{name}=$v: $r->{status}" if $r->{status} >= 500 || time - $from > 3;
            push @bad, "$at?$q->{name}=$v: $r->{body}" if $r->{body} =~ /syntax error|pg_|SQLSTATE|PostgreSQL|\.c:\d/i;
        }
    }
}
ok !@bad, 'no parameter reaches the database as text' or diag join "\n", @bad;
for my $q ('sort=id;drop', 'order=1', 'evil=1', 'limit=5&limit=6', 'limit=0', 'limit=x', 'limit=501', 'limit=1e2', 'cursor=zz', 'online=yes',
    'bbox=1,2,3', 'bbox=1,2,3,400', 'bbox=3,2,1,4', 'group_id=x') {
    is $api->get("/devices?$q")->{status}, 422, "?$q: 422";
}
@bad = ();
for my $evil (@evil[0 .. 7], '<b>x</b>', "\x{0}") {
    for my $field (qw(serial name plate imei)) {
        my $r = $api->post('/devices', { serial => 'S' . int(rand 1e9), $field => $evil });
        push @bad, "$field $evil: $r->{status}" if $r->{status} >= 500;
        $api->delete("/devices/$r->{json}{id}") if $r->{status} == 201;
    }
    my $r = $api->post('/groups', { name => "g $evil" });
    push @bad, "name $evil: $r->{status}" if $r->{status} >= 500;
}
ok !@bad, 'nor does any text of a body' or diag join "\n", @bad;
$r = $api->patch("/devices/$id", { name => '<script>alert(1)</script>', plate => '"><img src=x>' });
is $r->{json}{name}, '<script>alert(1)</script>', 'markup is text';
is $r->{headers}{'content-type'}, 'application/json', '... and never sent as anything else';

# --------------------------------------------------------------------- pagination

my @ids = map { $t->add_device(sprintf 'p%04d', $_) } 1 .. 60;
my (%seen, $cursor, $pages);
do {
    $r = $api->get('/devices?limit=7' . ($cursor ? "&cursor=$cursor" : ''));
    $seen{ $_->{id} }++ for @{ $r->{json}{items} };
    $cursor = $r->{json}{next_cursor};
    $t->add_device("late$pages") if ++$pages < 5;
    $t->sql("update mdvr.device set deleted_at = now() where serial = 'p0001'") if $pages == 3;
} while $cursor && $pages < 30;
is scalar(grep { $_ > 1 } values %seen), 0, 'no item comes twice while others are inserted and deleted';
is scalar(grep { !$seen{$_} } @ids), 0, '... and none is missed';
is $api->get('/devices?limit=500')->{json}{next_cursor}, undef, 'the last page has no cursor';
is scalar(@{ $api->get('/devices?limit=7')->{json}{items} }), 7, 'a page is as long as asked for';
is scalar(@{ $api->get('/devices')->{json}{items} }), 50, '... 50 by default';
is scalar(@{ $api->get('/devices?q=P001')->{json}{items} }), 10, 'a search finds parts in any case';
is scalar(@{ $api->get('/devices?q=%25')->{json}{items} }), 0, '... and has no wildcards';

# ------------------------------------------------------------------------ history

$t->sql("insert into mdvr.telemetry (tenant_id, device_id, recorded_at, received_at, lat_deg, lon_deg, speed_kmh, gps_valid, acc, status_hex,
    mask_hex, trigger, mileage_m, body_digest)
    select '$tenant', '$id', t, t, 22.5 + n / 1000.0, 114, case when n between 20 and 80 then 50 else 0 end, n <> 5, true, '0F00000001007783',
    '0000000000000000', 1, n * 100, substr(sha256(n::text::bytea), 1, 16)
    from (select n, date_trunc('second', now()) - make_interval(secs => 10 * (100 - n)) as t from generate_series(0, 99) n) x");
my $h = $api->get("/devices/$id/telemetry?limit=100")->{json};
is scalar(@{ $h->{items} }), 100, 'the history is there';
cmp_ok $h->{items}[0]{at}, 'gt', $h->{items}[1]{at}, '... newest first';
is_deeply $h->{items}[0]{status}{recording}, [ 1, 2, 3, 4 ], '... with the status bits decoded';
is $h->{items}[0]{trigger}, 'interval', '... and what triggered it';
my @pages;
$cursor = '';
do {
    $r = $api->get("/devices/$id/telemetry?limit=30" . ($cursor ? "&cursor=$cursor" : ''))->{json};
    push @pages, @{ $r->{items} };
    $cursor = $r->{next_cursor};
} while $cursor;
is_deeply [ map { $_->{at} } @pages ], [ map { $_->{at} } @{ $h->{items} } ], 'its pages are the same';
my ($from, $to) = ($h->{items}[49]{at}, $h->{items}[10]{at});
is scalar(@{ $api->get("/devices/$id/telemetry?limit=100&from=$from&to=$to")->{json}{items} }), 40, 'from and to are kept';
my $every = $api->get("/devices/$id/telemetry?limit=100&every_s=100")->{json}{items};
cmp_ok scalar(@$every), '<=', 11, 'every_s thins it out';
cmp_ok scalar(@$every), '>=', 10, '... evenly';
is $every->[0]{at}, $h->{items}[0]{at}, '... keeping the newest';
my @thin;
$cursor = '';
do {
    $r = $api->get("/devices/$id/telemetry?limit=3&every_s=100" . ($cursor ? "&cursor=$cursor" : ''))->{json};
    push @thin, map { $_->{at} } @{ $r->{items} };
    $cursor = $r->{next_cursor};
} while $cursor;
is_deeply \@thin, [ map { $_->{at} } @$every ], '... over pages too';
is $api->get("/devices/$id/telemetry?from=yesterday")->{status}, 422, 'a time must be one';
is $api->get("/devices/$id/telemetry?cursor=00")->{status}, 422, 'and a cursor';
$r = $api->get("/devices/$id/telemetry?limit=30", accept => 'text/csv');
like $r->{headers}{'content-type'}, qr{^text/csv}, 'CSV';
is scalar(split /\r\n/, $r->{body}), 31, '... one line each';
like $r->{headers}{link}, qr{<\?cursor=[0-9a-f]+>; rel="next"}, '... and where it goes on';
$r = $api->get("/devices/$id/telemetry?limit=30", accept => 'text/csv;q=0.5, application/json');
is scalar(@{ $r->{json}{items} }), 30, '... unless JSON is liked better';
is $r->{headers}{vary}, 'Accept', '... which caches hear';
$r = $api->get("/devices/$id/telemetry?limit=30", accept => 'application/gpx+xml');
like $r->{body}, qr{^<\?xml.*<trkpt lat="22\.\d+" lon="114"><time>\d{4}-}s, 'GPX';
$r = $api->get("/devices/$id/telemetry?limit=30", accept => 'application/geo+json');
is $r->{headers}{'content-type'}, 'application/geo+json', 'GeoJSON';
is scalar(@{ json_of($r->{body})->{features} }), 30, '... with a feature each';
my @trips = @{ $api->get("/devices/$id/trips")->{json}{items} };
is join(' ', map { $_->{type} } @trips), 'stop trip stop', 'a drive between two stops is found';
cmp_ok $trips[1]{distance_m}, '>', 5000, '... with its distance';
is scalar(@{ $api->get('/devices?bbox=113,22,115,23')->{json}{items} }), 0, 'bbox looks at last positions';

# ------------------------------------------------------------------------- quotas

$t->sql("insert into mdvr.plan (tenant_id, max_devices, max_users) values ('$tenant', 1, 1)");
$r = $api->post('/devices', { serial => 'one-more' });
is "$r->{status} $r->{json}{code}", '409 quota_exceeded', 'the plan limits devices';
$r = $api->post('/users', { email => 'x@example.test', role => 'technician', password => 'correct horse' });
is "$r->{status} $r->{json}{code}", '409 quota_exceeded', '... and users';

$t->sql("update mdvr.plan set max_devices = null, max_storage_bytes = 100, max_live_minutes = 0 where tenant_id = '$tenant'");
$r = $api->post("/devices/$id/video/start", { channel => 1 });
is "$r->{status} $r->{json}{code}", '409 quota_exceeded', '... live minutes';
like $r->{json}{detail}, qr/0 live minutes a month/, '... in words';
$t->sql("insert into mdvr.media (tenant_id, device_id, kind, source, status, at, original_key, stored_bytes) values ('$tenant', '$id', 'mp4', 'download', 'processing', now(), 'a', 100)");
my $on = $t->add_device('on1');
my $dev = $t->device('on1')->register;
ok eventually(sub { $t->value('select online from mdvr.device_state where device_id = ?', $on) }), 'a device is there';
$r = $api->post("/devices/$on/recordings/download", { path => '/a.h264' });
is "$r->{status} $r->{json}{code}", '409 quota_exceeded', '... and storage';
like $r->{json}{detail}, qr/100 bytes of storage/, '... in words';
is $api->post("/devices/$id/snapshot", { channel => 1 })->{json}{code}, 'quota_exceeded', '... pictures too';
is $api->post("/devices/$id/video/record", { channel => 1, duration_s => 2 })->{json}{code}, 'quota_exceeded', '... and recordings of the server';
is $api->get('/usage')->{json}{storage_bytes}, 100, 'and usage says so';

# -------------------------------------------------------- an upload, twice with one key

my %key = ('idempotency-key' => 'up-1', 'content-type' => 'application/octet-stream');
my $up = sub { $api->clone->request('POST', "/api/v1/firmware?version=1&name=$_[0]", $_[1], %key) };
my $first = $up->('a.bin', 'x' x 5000);
is $first->{status}, 201, 'a file is uploaded';
my $second = $up->('a.bin', 'x' x 5000);
is "$second->{status} $second->{json}{id}", "201 $first->{json}{id}", '... once, with one key';
is $second->{headers}{'idempotency-replayed'}, 'true', '... which is said';
is $up->('b.bin', 'x' x 5000)->{json}{code}, 'idempotency_key_reused', '... not another one';
is $up->('a.bin', 'x' x 5001)->{json}{code}, 'idempotency_key_reused', '... nor a longer one';
is $t->value('select count(*) from mdvr.firmware'), 1, 'there is one';

# ------------------------------------------------------------- secrets, slow clients

my $log = slurp("$n->{dir}/access.log") . slurp($n->{error_log});
unlike $log, qr/\Q$api->{token}\E|correct horse|password"/, 'no token and no password in a log';

$t->allow(qr/client/);
$t->done;
