# Live video from the request to the bytes, with a real device connection.

use lib 't/lib';
use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;');
my $id = $t->add_device('00007');
my $api = $t->admin;
my $watch = { channel => 1, stream => 'sub' };
my $clip = MDVR::Clip::make('h264', seconds => 4);

my $r = $api->post("/devices/$id/video/start", $watch);
is "$r->{status} $r->{json}{code}", '409 device_offline', 'a device that is not there: 409 device_offline';
is $api->post("/devices/$id/video/start", { channel => 9 })->{status}, 422, 'nor a channel it does not have';

my $dev = $t->device('00007');
$dev->register;

# the device refuses
my $p = $api->begin('POST', "/api/v1/devices/$id/video/start", { channel => 2, stream => 'sub' });
my $c = $dev->expect('C508');
is "@{$c->{body}}[1 .. 4]", '1 1 1 0', 'C508 names channel and stream as on the wire';
$dev->answer($c, 0, 1, 8, 'no channel 2');
$r = $p->end;
is "$r->{status} $r->{json}{code}", '409 device_refused', 'a refusal of the device: 409';
like $r->{json}{detail}, qr/channel does not exist.*no channel 2/, '... in words';

# it films; the answer is there when the media connection is, before V100
$p = $api->begin('POST', "/api/v1/devices/$id/video/start", $watch, 'idempotency-key' => 'v1');
$c = $dev->expect('C508');
my $media = $dev->media($c);
$r = $p->end;
is $r->{status}, 200, 'video starts';
my $v = $r->{json};
is "$v->{device_id} $v->{channel} $v->{stream}", "$id 1 sub", 'the answer says what is watched';
like $v->{status}, qr/^(starting|live)$/, '... and how far it is';
like $v->{urls}{$_}, qr{^/live/\Q$v->{token}\E/}, "the $_ address holds the token" for qw(hls fmp4 ws whep);
$dev->answer($c, 1, 1, '', 0);

my $mp4 = $t->http->begin('GET', $v->{urls}{fmp4});
my $player = $media->play_on($clip, loop => 1, seconds => 20);

# a second viewer shares the stream
my $other = $t->admin;
my $r2 = $other->post("/devices/$id/video/start", $watch);
is $r2->{status}, 200, 'a second viewer starts';
isnt $r2->{json}{session_id}, $v->{session_id}, '... with a session of its own';
is $dev->expect('C508', 0.3), undef, '... and the device is not asked again';
is scalar(@{ $api->get('/video/sessions')->{json}{items} }), 2, 'both are listed';

# the bytes
my $s = $t->http->stream($r2->{json}{urls}{fmp4});
is $s->{status}, 200, 'the second viewer gets the stream';
like $s->read(2000, 5), qr/^....ftyp.*moof/s, '... as fragments';

# repetition with the key: the same session, a new token
my $r3 = $api->post("/devices/$id/video/start", $watch, 'idempotency-key' => 'v1');
is $r3->{json}{session_id}, $v->{session_id}, 'the same key returns the same session';
like $r3->{json}{token}, qr/^[\w.-]{40,}$/, '... with a token';

# renewal
$r = $api->post("/video/sessions/$v->{session_id}/renew");
is $r->{status}, 200, 'a session is renewed';
cmp_ok $r->{json}{expires_at}, 'ge', $v->{expires_at}, '... until later';
is $other->post("/video/sessions/$id/renew")->{status}, 404, 'but not one that is none';
is $t->admin(tenant => 'B')->post("/video/sessions/$v->{session_id}/renew")->{status}, 404, '... or of another tenant';

# signing out ends what one watches
$other->post('/auth/logout', {});
ok eventually(sub { $t->http->request('GET', $r2->{json}{urls}{hls})->{status} =~ /^40[134]$/ }, 5),
    'signing out ends the other viewer within 5 s';
is $t->http->request('GET', $v->{urls}{hls})->{status}, 200, 'the first one goes on watching';

# stop
$r = $api->post("/devices/$id/video/stop", $watch);
is $r->{status}, 204, 'the last viewer stops';
my $stop = $dev->expect('C508', 5);
ok $stop, 'the device is told';
is $stop && $stop->{body}[1], 0, '... to stop';
ok eventually(sub { $t->http->request('GET', $v->{urls}{hls})->{status} =~ /^40[0-9]|410$/ }, 5), 'its addresses are void';
is $api->post("/devices/$id/video/stop", $watch)->{status}, 204, 'stopping twice is no error';
ok scalar(grep { $_->{object_id} eq $id } @{ $api->get('/audit?action=video&limit=100')->{json}{items} }), 'watching is audited';

MDVR::Media::play_stop($player);

# not answered
$p = $api->begin('POST', "/api/v1/devices/$id/video/start", { channel => 3 });
$dev->expect('C508');
$dev->close;
$r = $p->end;
is $r->{status}, 409, 'a device that leaves in the middle: 409';

$t->allow(qr/upstream|client/);
$t->done;
