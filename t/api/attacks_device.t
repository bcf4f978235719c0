# What somebody tries who reaches the device ports, or the server by way of files
# and webhooks, one section each: nothing of it works.  attacks.t has the rest.

use lib 't/lib';
use MDVR::Test;
use MDVR::Clip;
use MDVR::Files;
use MDVR::Media;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, pool => 4, api => 'mdvr_login_rate 0; mdvr_api_rate 0;', server => 'mdvr_url_ttl 2s;');
my $tenant = $t->tenant('A');
my $id = $t->add_device('00007', imei => '860000000000042', name => 'own');
my $victim = $t->add_device('00008', tenant => 'B', name => 'victim');
my $api = $t->admin;
my $bus = MDVR::Clip::bus($n);
my (@bad, $r);

sub none { my ($what) = @_; ok !@bad, $what or diag join "\n", splice @bad, 0, 15; @bad = () }
sub staged { my @f = glob "$n->{dir}/state/staged/*"; return scalar @f }
sub refusals { return $n->metrics(qq(mdvr_refusals_total{reason="$_[0]"})) }
sub mark { return "$t->{dir}/owned" . ($_[0] // '') }

# -------------------------------------------------------------- SQL in device fields

my @sql = ("' or '1'='1", "'; drop table mdvr.device; --", "x'||pg_sleep(5)||'", "\\", '$1', '{"a":1}', "\xc2\xbf", '%s%n', "E'\\\\x00'");
my $open = $t->add_device('00009');
my $dev = $t->device('00009');
my $from = time;
for my $evil (@sql) {
    (my $word = $evil) =~ s/[,#;]/ /g;              # the protocol's own marks
    $dev->v101(fields => [ map { ($_ // '') =~ /^\d*$/ ? $_ : $word } 'V1', 4108, '', 0, 1, 1, 'plate', 2, 'net', 1, 2, 2, 101, 'imei', 'type', 'ver', '' ]);
    $dev->send('V202', [ MDVR::Device::location(), '', MDVR::Device::stamp(), $word, 0, $word, 0, $word, 1 ], no_wait => 1);
    $dev->send('V142', [ $word, $word, $word ], no_wait => 1);
    $dev->send('V232', [ $word, $word, 1, 1, 1, $word ], no_wait => 1);
    $dev->send($word, [ $word ], no_wait => 1);
    $dev = $t->device('00009') if !$dev->{sock} || $dev->closed(0.05);
}
cmp_ok time - $from, '<', 5 + 5 * MDVR::Test::patience(1), 'SQL in device fields: no statement of it runs';
is $t->value('select count(*) from mdvr.device where deleted_at is null'), 3, '... no table is gone';
unlike $n->log, qr/syntax error|SQLSTATE/, '... nor is there an error of SQL';
$r = $api->get("/devices/$open/diagnostics");
is $r->{status}, 200, '... and it is shown as it was sent';
$dev->close if $dev->{sock};

# --------------------------------------------------------------- device impersonation

my $imei = refusals('imei');
my $fake = $t->device('00007');
unlike $fake->v101(imei => '860000000000041') // '', qr/,0,1,1,#$/, 'device impersonation: a serial with the wrong IMEI is refused';
ok $fake->closed, '... and closed';
ok !$t->online('00007'), '... and not online';
$r = $t->device('00010', connect => 1);
$r->v101(no_wait => 1);
ok eventually(sub { $t->value("select count(*) from mdvr.pending_device where serial = '00010'") }), 'an unknown serial only knocks';
is $t->value("select count(*) from mdvr.device where serial = '00010'"), 0, '... and becomes no device';
my $real = $t->device('00007', imei => '860000000000042');
like $real->v101(imei => '860000000000042') // '', qr/,0,1,1,#$/, 'the right one is let in';
my $before = $t->value('select count(*) from mdvr.telemetry where device_id = ?', $victim);
{
    local $real->{serial} = '00008';                # reports for another one over its own connection
    eval { $real->v114(lat => [ 1, 2, 3 ]); $real->alarm('V202') };
}
is $t->value('select count(*) from mdvr.telemetry where device_id = ?', $victim), $before, '... and reports nothing for another';
is $t->value('select count(*) from mdvr.alarm where device_id = ?', $victim), 0, '... no alarm either';
my $s = $bus->start('00008', channel => 1, device => $victim);
my $m = MDVR::Media->new(port => $n->{media_port}, serial => '00007', session => $s->{session}, channel => 0, stream => 1);
isnt $m->v102 // -1, 1, "... nor does it film for another one's session";
ok $m->closed(4), '... and is closed';

# -------------------------------------------------------------- upload outside a session

my $had = staged();
for my $case (['V102', '11111111'], ['V103', '22222222'], ['V103', $s->{session}], ['V103', '../../x'], ['V104', '33333333'], ['V106', '44444444']) {
    my ($kw, $session) = @$case;
    my $m = MDVR::Media->new(port => $n->{media_port}, serial => '00007', session => $session, channel => 0, stream => 1);
    $m->send_raw($m->registration($kw, 'C702', '/x', 0, 100, ''));
    eval { $m->block($_ * 100, 'y' x 100) for 0 .. 20 };
    push @bad, "$kw $session is open" unless $m->closed(4);
}
my $raw = MDVR::Media->new(port => $n->{media_port});
eval { $raw->send(0x6102, pack('VV', 0, 100) . 'z' x 100) for 1 .. 20 };
push @bad, 'file blocks without a session' unless $raw->closed(4);
push @bad, 'there are files: ' . staged() if staged() != $had;
push @bad, 'there is media' if $t->value('select count(*) from mdvr.media');
for my $token (undef, 'x', $t->login($t->user(tenant => 'A', role => 'client_user'))->{token}) {
    my $r = $t->http->token($token)->request('POST', '/api/v1/firmware?name=a&version=1', 'x', 'content-type' => 'application/octet-stream');
    push @bad, "firmware: $r->{status}" unless $r->{status} =~ /^40[13]$/;
}
for my $method (qw(PUT POST DELETE)) {
    for my $path ("/.objects/$tenant/x", "/files/x/$tenant/x", '/live/x/x', '/index.html', '/assets/x') {
        my $r = $t->http->token($api->{token})->request($method, $path, 'x', 'content-type' => 'text/html');
        push @bad, "$method $path: $r->{status}" unless $r->{status} =~ /^4\d\d$/;
    }
}
none('upload outside a session: nothing is taken');

# --------------------------------------------------- command injection through file names

SKIP: {
    skip 'mdvr-worker is not built', 1 unless -x 'build/bin/mdvr-worker';
    my $state = "$n->{dir}/state";
    my $worker = $t->daemon('mdvr-worker', { MDVR_WORKER_TICK_MS => 500, MDVR_WORKER_RETRY_MS => 50 });
    my (@media, $i);
    my $jpeg = MDVR::Files::jpeg($t->{dir}, "320x240");
    mkdir "$state/staged";
    chown +(getpwnam MDVR::Test::svc_user())[2, 3], "$state/staged" if $> == 0;
    for my $name ('$(touch MARK)', '`touch MARK`', "a.jpg; touch MARK", "a.jpg\ntouch MARK", '| touch MARK', "' ; touch MARK ; '", '-version',
                  'concat:/etc/passwd', '../../../MARK', "a.jpg\" -y \"MARK") {
        (my $path = $name) =~ s/MARK/mark()/ge;
        my $media = sprintf '01a00000-0000-7000-8000-%012d', ++$i;
        my $file = "$state/staged/$media.bin";
        open my $fh, '>:raw', $file or die "$file: $!";
        print $fh $jpeg;
        close $fh;
        chown +(getpwnam MDVR::Test::svc_user())[2, 3], $file if $> == 0;
        $t->redis('XADD', "mdvr:job:{ingest\@$n->{name}}", '*', 'job', JSON::PP->new->canonical->encode({ id => $media, kind => 'ingest', device_id => $id,
            tenant_id => $tenant, serial => '00007', file => $file, media_kind => 'jpeg', source => 'alarm_file', source_path => "/mnt/$path", channel => 1,
            at_ms => 1_600_000_000_123 }));
        $t->redis('SADD', 'mdvr:jobqueues', "ingest\@$n->{name}");
        push @media, $media;
        my $r = $api->post("/devices/$id/recordings/download", { path => $path });
        push @bad, "download of $name: $r->{status}" if $r->{status} >= 500;
    }
    eventually(sub { $t->value("select count(*) from mdvr.media where status in ('ready', 'failed', 'quarantined')") >= @media }, 30)
        or push @bad, 'not all files were handled: ' . join ' ', map { $_->[0] } $t->sql('select status from mdvr.media');
    push @bad, "a command ran: $_" for glob mark('*');
    push @bad, "a key of the device's choice: $_->[0]" for $t->sql("select original_key from mdvr.media where original_key !~ '^[-0-9a-f]{36}/\\d{4}/\\d\\d/\\d\\d/[-0-9a-f]{36}/'");
    none('command injection through file names: they are text');
    $t->daemon_stop($worker, 'TERM');
}

# ------------------------------------------------------------------ expired media URLs

my $key = "$tenant/m/clip.mp4";
system 'mkdir', '-p', "$t->{dir}/objects/$tenant/m";
open my $fh, '>', "$t->{dir}/objects/$key" or die $!;
print $fh 'secretfilm';
close $fh;
my $media = $t->value("insert into mdvr.media (tenant_id, device_id, kind, source, status, at, size_bytes, sha256, original_key, playback_key) values
    ('$tenant', '$id', 'mp4', 'download', 'ready', now(), 10, sha256('x'), '$key', '$key') returning id");
my $url = $api->get("/media/$media/url")->{json}{url} =~ s{^https?://[^/]+}{}r;
is $t->http->request('GET', $url)->{body}, 'secretfilm', 'an expired media URL: as long as it is good, it works';
ok eventually(sub { $t->http->request('GET', $url)->{status} == 403 }, 6), '... and then it does not';
unlike $t->http->request('GET', $url)->{body}, qr/secretfilm/, '... in any way';

# ------------------------------------------------------- SSRF through webhooks (addresses)

for my $host (qw(127.0.0.1 localhost 10.0.0.1 172.16.0.1 192.168.1.1 169.254.169.254 0.0.0.0 [::1] [::] [fe80::1] [fc00::1] [::ffff:127.0.0.1]
                 2130706433 0x7f.1 127.1 017700000001 100.64.0.1 224.0.0.1 255.255.255.255 [64:ff9b::7f00:1] [2002:7f00:1::])) {
    for my $url ("https://$host/", "http://$host:6379/") {
        my $r = $api->post('/webhooks', { url => $url });
        push @bad, "$url: $r->{status}" unless $r->{status} == 422;
    }
}
for my $url ('file:///etc/passwd', 'gopher://1.1.1.1/', 'ftp://1.1.1.1/', 'https://a@127.0.0.1/', 'https://1.1.1.1@127.0.0.1/', 'https:///x', '//1.1.1.1/',
             'https://127.0.0.1\\@1.1.1.1/', "https://1.1.1.1/\r\nX: y", 'javascript:alert(1)', "https://127.0.0.1\0.example.com/") {
    my $r = $api->post('/webhooks', { url => $url });
    push @bad, "$url: $r->{status}" unless $r->{status} =~ /^(400|422)$/;
}
none('SSRF through webhooks: no address inside is taken');
my $hook = $api->post('/webhooks', { url => 'https://1.1.1.1/' })->{json}{id};
is $api->patch("/webhooks/$hook", { url => 'http://169.254.169.254/latest/meta-data/' })->{status}, 422, '... nor put in place later';
like slurp('t/worker/webhook.t'), qr/a redirect is not followed.*rebind\.test/s, '... redirects and rebinding are tried on the worker, t/worker/webhook.t';

# --------------------------------------------------- markup in plate and driver names

my $markup = q('"><script>alert(1)</script>&<b>);
is $api->patch("/devices/$id", { name => $markup, plate => '"><i>' })->{json}{plate}, '"><i>', 'markup in plate and driver names is text';
is $api->post('/users', { email => 'driver@example.test', role => 'client_user', name => $markup, password => 'a better horse' })->{json}{name}, $markup, '... of people as well';
$t->sql("insert into mdvr.telemetry (tenant_id, device_id, recorded_at, received_at, lat_deg, lon_deg, speed_kmh, gps_valid, acc, status_hex, mask_hex, trigger,
    mileage_m, body_digest) values ('$tenant', '$id', now(), now(), 1, 2, 3, true, true, '0F00000001007783', '0000000000000000', 1, 1, substr(sha256('x'), 1, 16))");
for my $type (qw(application/gpx+xml text/csv application/geo+json)) {
    my $r = $api->get("/devices/$id/telemetry", accept => $type);
    push @bad, "$type: $r->{status}" unless $r->{status} == 200;
    push @bad, "$type: $r->{body}" if $type ne 'application/geo+json' && $r->{body} =~ /<script>|^[=+@]/m;
    push @bad, "$type: not to be sniffed" unless ($r->{headers}{'x-content-type-options'} // '') eq 'nosniff';
}
none('... in every export');

$t->allow(qr/client|refused|media/);
$t->done;
