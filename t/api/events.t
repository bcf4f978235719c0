# What happened: alarms, events and their stream, media by signed addresses,
# webhooks.

use lib 't/lib';
use MDVR::Test;
use File::Path qw(make_path);

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;');
my $id = $t->add_device('00007');
my $hidden = $t->add_device('00008');
my $api = $t->admin;
my $dev = $t->device('00007')->register;

# ------------------------------------------------------------------ the stream

my $s = $t->http(token => $api->{token})->stream('/api/v1/events/stream?topics=alarm');
is $s->{status}, 200, 'the stream opens';
like $s->{headers}{'content-type'}, qr{^text/event-stream}, '... as Server-Sent Events';
like $s->read(10, 5), qr/^retry: \d+\n\n/, '... and begins at once';

$dev->send('V202', [ MDVR::Device::location(), '', MDVR::Device::stamp(), 'A0000000000000E1', 0, '', 0, '', 1 ]);
my $text = '';
eventually { $text .= $s->read(1, 0.3) // ''; $text =~ /\n\n/ };
like $text, qr/^id: (\d+)\nevent: alarm\ndata: (\{.*\})\n\n/, 'an alarm is an event of the stream';
my ($event_id, $data) = $text =~ /^id: (\d+)\nevent: alarm\ndata: (\{.*\})/;
is json_of($data)->{kind}, 'panic_button', '... with the message of the WebSocket';

my $items = $api->get('/events?after=0&limit=500')->{json}{items};
is scalar(grep { $_->{id} eq $event_id } @$items), 1, 'the same event is in the replay';
is_deeply [ map { $_->{id} } @$items ], [ sort { $a <=> $b } map { $_->{id} } @$items ], '... which is in order';
is scalar(@{ $api->get("/events?after=$event_id")->{json}{items} }), 0, 'after it there is nothing';

my $again = $t->http(token => $api->{token})->stream('/api/v1/events/stream', 'last-event-id' => $event_id - 1);
like $again->read(40, 5), qr/id: $event_id\n/, 'Last-Event-ID resumes';

my $clerk = $t->user(tenant => 'A', role => 'client_user');
my $c = $t->login($clerk);
is scalar(@{ $c->get('/events?after=0')->{json}{items} }), 0, 'a client_user sees events of its devices only';

# -------------------------------------------------------------------- the alarm

my $alarms = $api->get('/alarms')->{json}{items};
is scalar(@$alarms), 1, 'the alarm is listed';
my $a = $alarms->[0];
is "$a->{code} $a->{kind} $a->{severity} $a->{status}", 'V202 panic_button critical open', '... as what it is';
is scalar(@{ $api->get('/alarms?kind=panic_button&severity=critical&status=open&code=V202')->{json}{items} }), 1, 'filters find it';
is scalar(@{ $api->get('/alarms?kind=overspeed')->{json}{items} }), 0, '... or not';
is $c->get("/alarms/$a->{id}")->{status}, 404, 'who does not see the device does not see the alarm';

my $r = $api->post("/alarms/$a->{id}/acknowledge", { note => 'driver was called' });
is $r->{status}, 200, 'it is acknowledged';
is "$r->{json}{status} $r->{json}{note}", 'acknowledged driver was called', '... with the note';
$r = $api->post("/alarms/$a->{id}/acknowledge");
is "$r->{status} $r->{json}{code}", '409 already_acknowledged', '... once';
is $t->login($t->user(tenant => 'A', role => 'technician'))->post("/alarms/$a->{id}/acknowledge")->{status}, 403,
    'a technician may not';

# ------------------------------------------------------------------------ media

my $tenant = $t->tenant('A');
my $media = $t->value("select mdvr.uuid7()");
my $key = "$tenant/2026/01/31/$media";
make_path("$t->{dir}/objects/$key");
for (qw(original.bin video.mp4 thumb.jpg index.m3u8 seg-1.m4s)) {
    open my $fh, '>', "$t->{dir}/objects/$key/$_" or die;
    print $fh "this is $_";
}
$t->sql("insert into mdvr.media (id, tenant_id, device_id, alarm_id, kind, source, status, at, size_bytes, sha256, original_key,
    playback_key, thumbnail_key, hls_key) values ('$media', '$tenant', '$id', '$a->{id}', 'mp4', 'alarm_file', 'ready', now(), 9,
    sha256('x'), '$key/original.bin', '$key/video.mp4', '$key/thumb.jpg', '$key/index.m3u8')");

my $m = $api->get("/media?device_id=$id")->{json}{items}[0];
is $m->{id}, $media, 'a stored recording is listed';
my $open = $t->http;
$r = $open->request('GET', $m->{thumbnail_url});
is "$r->{status} $r->{body}", '200 this is thumb.jpg', 'its thumbnail has an address of its own';
is $r->{headers}{'content-type'}, 'image/jpeg', '... of the right type';
is $api->get("/alarms/$a->{id}")->{json}{media}[0]{id}, $media, 'it belongs to its alarm';

my $url = $api->get("/media/$media/url")->{json}{url};
$r = $open->request('GET', $url);
is "$r->{status} $r->{body}", '200 this is video.mp4', 'the file is served by a signed address';
$r = $open->request('GET', $url, undef, range => 'bytes=5-6');
is "$r->{status} $r->{body}", '206 is', '... in ranges too';
is $open->request('GET', $url =~ s/video\.mp4/original.bin/r)->{status}, 403, 'the signature is for that file only';
is $open->request('GET', $url =~ s/-([0-9a-f]+)-/'-' . sprintf('%x', hex($1) + 1) . '-'/er)->{status}, 403, '... and that time';
is $open->request('GET', "/.objects/$key/video.mp4")->{status}, 404, 'without one there is nothing';
is $open->request('GET', $url =~ s{[^/]+$}{../../../../../../etc/passwd}r)->{status} =~ /^40[034]$/ ? 1 : 0, 1, 'no way up';
is $open->request('GET', $api->get("/media/$media/url?variant=original")->{json}{url})->{body}, 'this is original.bin',
    'the original as well';
$t->sql("update mdvr.media set status = 'failed', failed_reason = 'undecodable' where id = '$media'");
is $open->request('GET', $api->get("/media/$media/url?variant=original")->{json}{url})->{body}, 'this is original.bin',
    '... also of what could not be decoded';
is $api->get("/media/$media/url")->{status}, 409, '... which does not play';
$t->sql("update mdvr.media set quarantined = 'no alarm' where id = '$media'");
is $api->get("/media/$media/url?variant=original")->{status}, 404, '... and nothing of what is quarantined';
$t->sql("update mdvr.media set status = 'ready', failed_reason = null, quarantined = null where id = '$media'");
$r = $api->get("/media/$media/hls/index.m3u8");
is $r->{status}, 307, 'a recording as HLS is a redirect';
is $open->request('GET', $r->{headers}{location})->{body}, 'this is index.m3u8', '... to the playlist';
is $open->request('GET', $r->{headers}{location} =~ s/index\.m3u8/seg-1.m4s/r)->{body}, 'this is seg-1.m4s', '... and what it names';
is $c->get("/media/$media")->{status}, 404, 'others do not see it';
is $api->delete("/media/$media")->{status}, 204, 'it is deleted';
is $api->get("/media/$media")->{status}, 404, '... and gone';
ok scalar(@{ $api->get('/audit?action=media')->{json}{items} }) >= 2, 'views and deletion are audited';

# --------------------------------------------------------------------- webhooks

for (qw(http://127.0.0.1/x http://localhost:3000/ http://10.1.2.3/ http://192.168.0.1/ http://169.254.169.254/latest
        http://[::1]/ http://[::ffff:127.0.0.1]/ http://2130706433/ http://0x7f.1/ http://0/ http://127.1/
        http://a@127.0.0.1/ http://[fd00::1]/ http://[64:ff9b::7f00:1]/)) {
    is $api->post('/webhooks', { url => $_, topics => ['alarm'] })->{status}, 422, "$_ is refused";
}
is $api->post('/webhooks', { url => 'ftp://example.com/' })->{status}, 422, 'so is another scheme';
$r = $api->post('/webhooks', { url => 'https://1.1.1.1/hook', topics => [ 'alarm', 'device' ] });
is $r->{status}, 201, 'a public address is accepted';
like $r->{json}{secret}, qr/^[\w-]{43}$/, '... its secret is shown';
my $hook = $r->{json}{id};
unlike $api->get('/webhooks')->{body}, qr/secret/, '... once';
is $api->patch("/webhooks/$hook", { url => 'http://127.0.0.1/' })->{status}, 422, 'nor can it be moved inside';
is $api->patch("/webhooks/$hook", { active => \0, secret => 'x' x 30 })->{json}{active}, JSON::PP::false, 'it is changed';
is $api->post("/webhooks/$hook/test")->{status}, 202, 'and tested';
is $api->delete("/webhooks/$hook")->{status}, 204, 'and deleted';

$t->done;
