#!/usr/bin/perl

# What a push client is told, and what it is not.

use lib 't/lib';
use MDVR::Test;
use JSON::PP ();
use MIME::Base64 qw(encode_base64url);

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, ws => 'mdvr_ws_auth_timeout 700ms;');

my $json = JSON::PP->new->utf8->canonical;
my ($A, $B) = ($t->tenant('A'), $t->tenant('B'));
my ($d1, $d2) = map { $t->add_device($_) } '00001', '00002';
my $other = $t->add_device('00009', tenant => 'B');

# An event as the fronts make it: committed, then published.
sub event {
    my ($tenant, $topic, $device, $body, %o) = @_;
    my ($row) = $t->sql('select event_id, message from mdvr.event_append(?, ?, ?, ?)',
        $tenant, $topic, $device, $json->encode({ device_id => $device, %$body }));
    $t->redis('PUBLISH', "mdvr:event:$tenant", $row->[1]) unless $o{silent};
    return $row->[0];
}

sub telemetry {
    my ($tenant, $device, %m) = @_;
    my $now = int(1000 * time);
    $t->redis('PUBLISH', "mdvr:event:$tenant", $json->encode({ type => 'telemetry', id => "t$now-1.1",
        tenant_id => $tenant, device_id => $device, %m }));
}

my $admin = $t->admin;
my $token = $admin->{token};

# -- who may talk

my $ws = $t->websocket(token => $token);
is $ws->{status}, 101, 'a token in the header opens the socket';
$ws->send({ type => 'ping' });
is $ws->next('pong')->{type}, 'pong', 'ping is answered with pong';

$ws->send({ type => 'subscribe', topics => [qw(telemetry alarm device media command)] });
is_deeply $ws->next('subscribed')->{topics}, [qw(telemetry alarm device media command)], 'a subscription is confirmed';

my $late = $t->websocket;
is $late->{status}, 101, 'without a header the socket opens as well';
$late->send({ type => 'auth', token => $token });
$late->send({ type => 'subscribe', topics => ['alarm'], device_ids => [$d2] });
$late->send({ type => 'ping' });
ok $late->next('subscribed') && $late->next('pong'), 'the first message says who it is; answers come in order';

is $t->websocket->closed(5), 4401, 'a socket that stays silent is closed with 4401';
my $bad = $t->websocket;
$bad->send({ type => 'subscribe' });
is $bad->closed, 4401, 'nothing can be done before auth';
is $t->websocket(token => 'nonsense')->{status}, 401, 'a bad token in the header is refused with 401';
$bad = $t->websocket;
$bad->send({ type => 'auth', token => "${token}x" });
is $bad->closed, 4401, 'a token with a wrong signature closes with 4401';
my (undef, $claims) = split /\./, $token;
for my $alg ('none', 'HS384') {
    my $forged = encode_base64url(qq({"alg":"$alg","typ":"JWT","kid":"0123456789abcdef"})) . ".$claims.";
    $bad = $t->websocket;
    $bad->send({ type => 'auth', token => $forged });
    is $bad->closed, 4401, "alg $alg closes with 4401";
}

# -- what arrives

telemetry($A, $d1, lat => 1.5);
is $ws->next('telemetry')->{lat}, 1.5, 'telemetry arrives as it was published';
telemetry($B, $other, lat => 7);
event($B, 'alarm', $other, { code => 'V201' });
my $id = event($A, 'alarm', $d1, { code => 'V202' });
my $m = $ws->next('alarm');
is $m->{id}, $id, 'an alarm arrives';
is $m->{device_id}, $d1, '... of the own tenant, the other one is not heard';
my $id2 = event($A, 'alarm', $d2, { code => 'V203' });
is $late->next('alarm')->{device_id}, $d2, 'device_ids filters';
for my $topic (qw(device media command)) {
    event($A, $topic, $d1, { x => $topic });
    is $ws->next($topic)->{x}, $topic, "$topic events arrive";
}

# -- numbers tell what is missing

$id = event($A, 'alarm', $d1, { code => 'lost' }, silent => 1);
$id2 = event($A, 'alarm', $d1, { code => 'next' });
is $ws->next('alarm')->{code}, 'lost', 'an event whose publication was lost is fetched';
is $ws->next('alarm')->{code}, 'next', '... and comes before the one behind it';
$t->redis('PUBLISH', "mdvr:event:$A", $t->value('select message from mdvr.event where tenant_id = ? and seq = ?', $A, $id2));
event($A, 'alarm', $d1, { code => 'after' });
is $ws->next('alarm')->{code}, 'after', 'a repeated publication is not repeated to clients';

# -- resume

my $mark = event($A, 'alarm', $d1, { code => 'mark' });
$ws->next('alarm');
is $ws->close, 1000, 'a close is answered';
event($A, 'alarm', $d1, { code => "m$_" }) for 1 .. 450;
event($A, 'device', $d1, { event => 'online' });
$t->sql(q{insert into mdvr.position (device_id, tenant_id, recorded_at, received_at, gps_valid, lat_deg, lon_deg, speed_kmh, status_hex, trigger)
    values (?, ?, '2026-01-31T08:15:30.25Z', now(), true, 22.5, 114.25, 31.5, '0000000000000002', 1)}, $d1, $A);

$ws = $t->websocket(token => $token);
$ws->send({ type => 'subscribe', topics => [qw(alarm telemetry)], after => "$mark" });
my @got;
while (@got < 450 and my $a = $ws->next('alarm', 5, keep => 1)) { push @got, $a->{code} }
is_deeply \@got, [map "m$_", 1 .. 450], '450 missed alarms are replayed in order, once';
my $p = $ws->next('telemetry');
is_deeply [@{$p}{qw(device_id lat lon speed_kmh at gps_valid serial acc trigger)}],
    [$d1, 22.5, 114.25, 31.5, '2026-01-31T08:15:30.250Z', JSON::PP::true, '00001', JSON::PP::true, 'interval'],
    'telemetry resumes with the last position of each device';
event($A, 'alarm', $d1, { code => 'live' });
is $ws->next('alarm')->{code}, 'live', '... and goes on live';

my $again = $t->websocket(token => $token);
$again->send({ type => 'subscribe', topics => ['alarm'], after => $p->{id} });
is $again->next('alarm')->{code}, 'live', 'the id of a position resumes as well';
$again->send({ type => 'subscribe', topics => ['alarm'], after => 'nonsense' });
is $again->next('error')->{code}, 'unknown_id', 'an id that is none is an error';
$again->send({ type => 'subscribe', topics => ['alarm'], after => -1 });
is $again->next('error')->{code}, 'unknown_id', '... and so is a number';

# a live storm during a replay: no gap, no duplicate

my $pid = fork;
if (!$pid) {
    event($A, 'alarm', $d1, { code => "s$_" }) for 1 .. 150;
    POSIX::_exit(0);
}
$ws = $t->websocket(token => $token);
$ws->send({ type => 'subscribe', topics => ['alarm'], after => "$mark" });
@got = ();
while (@got < 601 and my $a = $ws->next('alarm', 10)) { push @got, $a->{code} }
waitpid $pid, 0;
is_deeply \@got, [(map "m$_", 1 .. 450), 'live', (map "s$_", 1 .. 150)], 'replay and live meet without gap or duplicate';

# -- restricted users

my $client = $t->user(role => 'client_user');
my $user = $t->login($client);
$t->sql('insert into mdvr.assignment (tenant_id, user_id, device_id) values (?, ?, ?)', $A, $client->{id}, $d2);
my $cu = $t->websocket(token => $user->{token});
$cu->send({ type => 'subscribe', topics => [qw(telemetry alarm command)] });
is $cu->next('error')->{code}, 'forbidden', 'a topic without its scope is refused';
is_deeply $cu->next('subscribed')->{topics}, [qw(telemetry alarm)], '... the others hold';
telemetry($A, $d1, lat => 1);
telemetry($A, $d2, lat => 2);
is $cu->next('telemetry')->{device_id}, $d2, 'a client_user hears assigned devices only';
$t->sql('insert into mdvr.assignment (tenant_id, user_id, device_id) values (?, ?, ?)', $A, $client->{id}, $d1);
ok eventually(sub { telemetry($A, $d1, lat => 3); my $x = $cu->next('telemetry', 0.2); $x && $x->{device_id} eq $d1 }, 5),
    'a new assignment holds within 5 s';
$t->sql('delete from mdvr.assignment where device_id = ?', $d1);
ok eventually(sub { 1 while $cu->next('telemetry', 0.05); telemetry($A, $d1, lat => 3); !$cu->next('telemetry', 0.2) }, 5),
    '... so does its end';
$cu->send({ type => 'subscribe', topics => ['alarm'], after => '0' });
my %devices;
while (my $a = $cu->next('alarm', 1)) { $devices{ $a->{device_id} }++ }
is_deeply [keys %devices], [$d2], 'a replay holds assigned devices only';

# -- super admin

my $super = $t->super_admin;
my $sws = $t->websocket;
$sws->send({ type => 'auth', token => $super->{token}, tenant_id => $B });
$sws->send({ type => 'subscribe', topics => ['alarm'] });
ok $sws->next('subscribed'), 'a super admin names a tenant';
event($B, 'alarm', $other, { code => 'VB' });
is $sws->next('alarm')->{code}, 'VB', '... and hears it';
is $t->value(q{select count(*) from mdvr.audit where tenant_id = ? and action = 'tenant.act' and detail ->> 'path' = '/ws'}, $B), 1,
    '... which the audit of the tenant tells';
$sws->send({ type => 'auth', token => $t->super_admin->{token} });
$sws->send({ type => 'ping' });
ok $sws->next('pong'), 'a new token renews in place';
is $t->value(q{select count(*) from mdvr.audit where tenant_id = ? and action = 'tenant.act' and detail ->> 'path' = '/ws'}, $B), 1,
    '... which is no other step into it';
$sws->send({ type => 'auth', token => $super->{token}, tenant_id => '00000000-0000-7000-8000-000000000000' });
is $sws->next('error')->{code}, 'unknown_tenant', 'a tenant that does not exist is told';
$sws->send({ type => 'subscribe' });
is $sws->next('error')->{code}, 'tenant_required', '... and cannot be heard';
my $cross = $t->websocket;
$cross->send({ type => 'auth', token => $token, tenant_id => $B });
$cross->send({ type => 'subscribe', topics => ['alarm'] });
$cross->next('subscribed');
event($B, 'alarm', $other, { code => 'secret' });
event($A, 'alarm', $d1, { code => 'own' });
is $cross->next('alarm')->{code}, 'own', 'anybody else who names one stays at home';

# -- a key for one device; a device seen through a group

my $key = $admin->post('/api-keys', { name => 'one', scopes => [qw(device:read alarm:read)], device_ids => [$d2] })->{json}{key};
my $kws = $t->websocket(token => $key);
$kws->send({ type => 'subscribe', topics => ['telemetry'] });
ok $kws->next('subscribed'), 'a key subscribes';
telemetry($A, $d1, lat => 1);
telemetry($A, $d2, lat => 2);
is $kws->next('telemetry')->{lat}, 2, '... and hears its devices only';

my $group = $admin->post('/groups', { name => 'g', device_ids => [$d1] })->{json}{id};
my $member = $t->user(role => 'client_user');
$admin->put("/users/$member->{id}/devices", { group_ids => [$group] });
my $mws = $t->websocket(token => $t->login($member)->{token});
$mws->send({ type => 'subscribe', topics => ['telemetry'], device_ids => [$d1, $d2, $other] });
ok $mws->next('subscribed'), 'somebody who sees a group subscribes';
telemetry($A, $d2, lat => 1);
telemetry($A, $d1, lat => 2);
is $mws->next('telemetry')->{lat}, 2, '... and hears the devices of it only, whatever it names';
$admin->patch("/groups/$group", { device_ids => [] });
ok eventually(sub { 1 while $mws->next('telemetry', 0.05); telemetry($A, $d1, lat => 3); !$mws->next('telemetry', 0.2) }, 5),
    '... until it leaves the group';

# -- the end of a session

my $out = $t->admin;
my $ows = $t->websocket(token => $out->{token});
$ows->send({ type => 'subscribe', topics => ['alarm'] });
$ows->next('subscribed');
$ows->send({ type => 'auth', token => $t->admin->{token} });
$ows->send({ type => 'ping' });
ok $ows->next('pong'), 'another token of the same user renews in place';
$ows->send({ type => 'auth', token => $user->{token} });
is $ows->closed, 4403, 'a token of somebody else closes with 4403';

$ows = $t->websocket(token => $out->{token});
$ows->send({ type => 'ping' });
$ows->next('pong');
is $out->post('/auth/logout')->{status}, 204, 'a logout';
is $ows->closed(5), 4401, '... closes the session\'s sockets';

# -- nonsense

$ws->send('nonsense');
is $ws->next('error')->{code}, 'malformed', 'what is not JSON is answered with an error';
$ws->send({ type => 'dance' });
is $ws->next('error')->{code}, 'unknown_type', 'an unknown type as well';
$ws->send({ type => 'subscribe', topics => ['weather'] });
is $ws->next('error')->{code}, 'unknown_topic', 'an unknown topic as well';
$ws->send({ type => 'subscribe', device_ids => ['x'] });
is $ws->next('error')->{code}, 'out_of_range', 'a device id that is none as well';
$ws->frame(2, 'bytes');
is $ws->closed, 1003, 'binary messages are not understood';

$t->done;
