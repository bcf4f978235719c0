# Commands: from a request to the device and back, one of each type.

use lib 't/lib';
use MDVR::Test;
use Digest::MD5 qw(md5_hex);
use MIME::Base64;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;');
my $id = $t->add_device('00007', plate => 'B-LB 7');
my $api = $t->admin;
my $media = $n->{media_port};

my $r = $api->post("/devices/$id/commands", { type => 'device_info' });
is $r->{status}, 409, 'a command to a device that is not there is refused';
is $r->{json}{code}, 'device_offline', '... with the reason';

my $dev = $t->device('00007');
$dev->register;

# Sends a command in the background; the device sees it and answers.
sub command {
    my ($body, @content) = @_;
    my $p = $api->begin('POST', "/api/v1/devices/$id/commands", $body);
    my $m = $dev->expect(qr/^C(?!501)\d+/, 5);
    $dev->answer($m, @content) if @content;
    return ($p->end, $m);
}

sub finished {
    my ($cid) = @_;
    my $c;
    eventually { $c = $api->get("/commands/$cid")->{json}; $c->{status} =~ /acknowledged|failed|timeout/ };
    return $c;
}

my ($a, $m) = command({ type => 'text_message', params => { text => 'Call #5, gate open' } }, 1, '', '');
is $a->{status}, 202, 'a text message is accepted';
is $a->{json}{status}, 'queued', '... as queued';
like $m->{raw}, qr/,C151,00007,,\d{6} \d{6},18,Call #5, gate open#$/, '... and on the wire as documented';
is finished($a->{json}{id})->{status}, 'acknowledged', 'the answer is recorded';

($a, $m) = command({ type => 'picture_get', params => { channel => 2 } }, 0, 8, 'no channel 3');
my $c = finished($a->{json}{id});
is $c->{status}, 'failed', 'a refusal of the device is a failed command';
is "$c->{error_code} $c->{error} $c->{reason}", '8 channel does not exist no channel 3', '... with code, word and reason';

# type, params, what is on the wire behind the header
my $admin = md5_hex('admin');
my @table = (
    [ control => { action => 'reboot', device_password => 'x' }, "5,$admin," . md5_hex('x') ],
    [ position_interval => { interval_s => 10, distance_m => 500 }, '1,50,10,0300' ],
    [ position_interval => { interval_s => 30 }, '1,,30,0200' ],
    [ position_interval => { mode => 'disable' }, '0,,,0[0-3]00' ],
    [ snapshot => { channel => 1 }, "\\d{1,10},0,127.0.0.1,$media" ],
    [ motion_set => { channel => 1, rows => [ 2047, 2047, 2047, 0, 0, 0, 0, 0, 0 ], enabled => \1, sensitivity => 'high' },
        '0,2047,2047,2047,0,0,0,0,0,0,1,2' ],
    [ motion_get => { channel => 3 }, '2' ],
    [ params => { type => 3, data_hex => '414243' }, '3,3,ABC' ],
    [ config_push => { name => 'fleet.cfg', content_base64 => encode_base64("[net]\n", '') },
        '\d+,6,' . md5_hex("[net]\n") . ",127.0.0.1,$media,fleet.cfg" ],
    [ config_pull => {}, "\\d+,127.0.0.1,$media" ],
    [ listen => { action => 'start', source => 'camera', channel => 1 }, "\\d+,1,0,1,0,127.0.0.1,$media" ],
    [ device_info => {}, undef ],
    [ factory_reset => {}, undef ],
    [ transparent => { data_hex => '0a1b', number => 12345 }, '12345,2,.*0a1b', ],
    [ search => { from => '2021-03-05T00:00:00Z', to => '2021-03-05T23:59:59Z', channel => 1 },
        "\\d+,210305 000000,235959,3,0,127.0.0.1,$media" ],
    [ download => { path => '/mnt/sd0/a,b.h264', from_byte => 262144 }, "\\d+,1,262144,0,127.0.0.1,$media,/mnt/sd0/a,b.h264" ],
    [ log_query => { from => '2021-03-05T00:00:00Z', to => '2021-03-05T23:59:59Z', level => 'all' },
        "\\d+,127.0.0.1,$media,1,29,210305 000000,210305 235959,3" ],
    [ file_push => { name => 'logo.jpg', kind => 'picture', content_base64 => encode_base64('abc', '') },
        '\d+,3,' . md5_hex('abc') . ",127.0.0.1,$media,logo.jpg,1,0,?" ],
    [ picture_set => { channel => 1, exposure => 128, brightness => 140, contrast => 0, hue => -4, saturation => 130 },
        '0,128,140,0,-4,130' ],
    [ alarm_server => { host => '203.0.113.10', port => 1087 }, '203.0.113.10,1087,0' ],
);

for (@table) {
    my ($type, $params, $wire) = @$_;
    my ($a, $m) = command({ type => $type, params => $params }, $type =~ /_push$/ ? 4 : 1, '', '');
    is $a->{status}, 202, "$type is accepted" or diag $a->{body};
    my $body = defined $wire ? ",$wire" : '';
    like $m->{raw}, qr/,C\d+,00007,,\d{6} \d{6}$body#$/, '... and on the wire as documented';
}

$a = $api->post("/devices/$id/commands", { type => 'ptz', params => { channel => 1, action => 'goto_preset', preset => 5 } });
$m = $dev->expect('C1111');
like $m->{raw}, qr/,0,22,,5#$/, 'ptz is on the wire as documented';
is finished($a->{json}{id})->{status}, 'acknowledged', '... and is over when it was written';

# progress of an upgrade-like command
my $p = $api->begin('POST', "/api/v1/devices/$id/commands",
    { type => 'config_push', params => { name => 'a.cfg', content_base64 => 'QUJD' } });
$m = $dev->expect('C520');
my $pid = $p->end->{json}{id};
$dev->answer($m, $_, '', '') for 1, 3, 4;
$c = finished($pid);
is $c->{status}, 'acknowledged', 'the last of several answers decides';
is scalar(grep { defined $_->{success} } @{ $c->{progress} }), 3, '... and each is in the progress';

# refusals before anything is sent
for ([ 'an unknown type', { type => 'explode' }, 'type' ],
     [ 'an unknown parameter', { type => 'snapshot', params => { channel => 1, x => 1 } }, 'params.x' ],
     [ 'a missing parameter', { type => 'snapshot' }, 'params.channel' ],
     [ 'a channel that the device does not have', { type => 'snapshot', params => { channel => 5 } }, 'params.channel' ],
     [ 'a value out of range', { type => 'position_interval', params => { interval_s => 1 } }, 'params.interval_s' ],
     [ 'fuel cut without confirmation', { type => 'control', params => { action => 'fuel_cut' } }, 'confirm' ],
     [ 'power cut confirmed with another plate', { type => 'control', params => { action => 'power_cut' }, confirm => 'X' },
         'confirm' ],
     [ 'an unknown firmware', { type => 'upgrade', params => { firmware_id => $id } }, 'firmware_id' ]) {
    my ($what, $body, $field) = @$_;
    my $r = $api->post("/devices/$id/commands", $body);
    is $r->{status}, 422, "$what is refused";
    is $r->{json}{errors}[0]{field}, $field, '... and named';
}
is $api->post("/devices/$id/commands", { type => 'raw', params => { keyword => 'C588' } })->{status}, 403,
    'raw commands are not for tenants';

($a, $m) = command({ type => 'control', params => { action => 'fuel_cut' }, confirm => 'B-LB 7' }, 1, '', '');
is $a->{status}, 202, 'a confirmed fuel cut is sent';
unlike $api->get("/commands/$a->{json}{id}")->{body}, qr/device_password|[0-9a-f]{32}/, 'no password is shown';

# idempotency
my $body = { type => 'device_info' };
$p = $api->begin('POST', "/api/v1/devices/$id/commands", $body, 'idempotency-key' => 'k1');
$m = $dev->expect('C588');
$dev->answer($m, 1, '');
my $first = $p->end->{json}{id};
$r = $api->post("/devices/$id/commands", $body, 'idempotency-key' => 'k1');
is $r->{json}{id}, $first, 'the same key returns the first answer';
is $r->{headers}{'idempotency-replayed'}, 'true', '... and says so';
is $dev->expect('C588', 0.3), undef, '... and sends nothing';
is $api->post("/devices/$id/commands", { type => 'factory_reset' }, 'idempotency-key' => 'k1')->{status}, 422,
    'a key is good for one request';

# firmware
my $objects = "$t->{dir}/objects";
mkdir $objects;
chown scalar(getpwnam 'www-data'), -1, $objects if $> == 0;
my $image = join '', map { chr($_ % 251) } 1 .. 1_500_000;
my $upload = sub { $api->clone->request('POST', "/api/v1/firmware?$_[0]", $_[1], 'content-type' => 'application/octet-stream') };
$r = $upload->('name=app_2.1.img&version=2.1&device_type=4108', $image);
is $r->{status}, 201, 'firmware is uploaded' or diag $r->{body};
is $r->{json}{md5}, md5_hex($image), '... whole';
my $firmware = $r->{json}{id};
is scalar(@{ $api->get('/firmware')->{json}{items} }), 1, '... and listed';
is slurp("$objects/@{[ $t->tenant('A') ]}/firmware/$firmware/app_2.1.img") eq $image ? 1 : 0, 1, '... and stored';
is $upload->('name=app_2.1.img&version=2.1', 'x')->{json}{code}, 'version_taken', 'a version is there once';
is $upload->('name=../x&version=1', 'x')->{status}, 422, 'a name is no path';
is $upload->('name=x', 'x')->{status}, 422, 'a version is needed';
$p = $api->begin('POST', "/api/v1/devices/$id/upgrade", { firmware_id => $firmware });
$m = $dev->expect('C152');
like $m->{raw}, qr/,\d+,1500000,\Q@{[ md5_hex($image) ]}\E,127\.0\.0\.1,$media,app_2\.1\.img,4108,2\.1,?#$/, 'an upgrade names the file';
$dev->answer($m, 1, '', '');
is $p->end->{status}, 202, '... and is accepted';
$dev->answer($m, 3, '', '');
$dev->answer($m, 4, '', '');

# hold
$dev->close;
ok eventually { !$t->online('00007') }, 'the device has left';
$r = $api->post("/devices/$id/commands", { type => 'device_info', hold_s => 600 });
is $r->{status}, 202, 'a command may wait for the device';
is $api->get("/commands/$r->{json}{id}")->{json}{status}, 'queued', '... as queued';

# events and audit
my $events = $api->get('/events?topics=command&limit=500')->{json}{items};
ok scalar(grep { $_->{command_id} eq $first && $_->{status} eq 'acknowledged' } @$events), 'commands are events';
my $audit = $api->get('/audit?action=command&limit=500')->{json}{items};
ok scalar(grep { $_->{detail}{command_id} eq $first } @$audit), '... and audit rows';

my $list = $api->get("/devices/$id/commands?status=queued")->{json}{items};
is scalar(@$list), 1, 'commands are listed by status';

my $clerk = $t->login($t->user(tenant => 'A', role => 'client_user'));
is $clerk->post("/devices/$id/commands", $body)->{status}, 403, 'a client_user sends no commands';
is $t->admin(tenant => 'B')->post("/devices/$id/commands", $body)->{status}, 404, 'nor does another tenant';

$t->done;
