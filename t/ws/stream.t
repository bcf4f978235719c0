#!/usr/bin/perl

# Event streams are clients of the hub: what a push socket promises holds for
# GET /events/stream (resuming across what dies is in wander.t).

use lib 't/lib';
use MDVR::Test;
use MDVR::EventStream;
use JSON::PP ();
use Socket;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0; mdvr_ws_queue 64k; mdvr_ws_per_user 6;'
        . ' mdvr_ws_per_address 40; mdvr_ws_drain 300ms; mdvr_ws_ping 300ms;',
    ws => 'mdvr_ws_per_user 6;',
    conf => sub { $_[0] =~ s/(listen 127\.0\.0\.1:$_[1]{http_port}\b[^;]*;)/$1 listen unix:$_[1]{dir}\/h2.sock http2;/r });

my $json = JSON::PP->new->utf8->canonical;
my ($A, $B) = ($t->tenant('A'), $t->tenant('B'));
my ($d1, $d2) = map { $t->add_device($_) } '00001', '00002';
my $other = $t->add_device('00009', tenant => 'B');

sub event {
    my ($tenant, $topic, $device, $body, %o) = @_;
    my ($row) = $t->sql('select event_id, message from mdvr.event_append(?, ?, ?, ?)',
        $tenant, $topic, $device, $json->encode({ device_id => $device, %$body }));
    $t->redis('PUBLISH', "mdvr:event:$tenant", $row->[1]) unless $o{silent};
    return $row->[0];
}

my $number = 0;
sub telemetry {
    my ($tenant, $device, %m) = @_;
    $t->redis('PUBLISH', "mdvr:event:$tenant", $json->encode({ type => 'telemetry', id => 't1-' . ++$number,
        tenant_id => $tenant, device_id => $device, %m }));
}

sub opened { my ($token, $query, %o) = @_; return MDVR::EventStream->new($t, token => $token, query => $query, %o) }

# One that is live: it knows the id to come back with.
sub live {
    my $s = opened(@_);
    eventually(sub { $s->event(0.05); $s->{id} }) or die 'not live';
    return $s;
}

my $admin = $t->admin;
my $token = $admin->{token};
my $first = event($A, 'device', $d1, { event => 'online' });

# -- what arrives

my $s = live($token);
is $s->{status}, 200, 'a stream opens';
is $s->{id}, $first, '... and says at once behind which event it is';
telemetry($A, $d1, lat => 1);
event($B, 'alarm', $other, { code => 'not ours' });
my $id = event($A, 'alarm', $d1, { code => 'V202' });
my $m = $s->next('alarm');
is "$m->{id} $m->{code} $s->{id}", "$id V202 $id", 'an alarm is an event with its id; other tenants are not heard';
for my $topic (qw(device media command)) {
    event($A, $topic, $d1, { x => $topic });
    is $s->next($topic)->{x}, $topic, "$topic events arrive";
}
event($A, 'alarm', $d1, { code => 'lost' }, silent => 1);
event($A, 'alarm', $d1, { code => 'next' });
is $s->next->{code}, 'lost', 'an event whose publication was lost is fetched';
is $s->next->{code}, 'next', '... and comes before the one behind it';
ok eventually(sub { $s->event(0.05); ($s->{beats} // 0) >= 2 }), 'in silence there are comments';

my $p = live($token, "topics=telemetry,alarm&device_id=$d2");
telemetry($A, $d1, lat => 1);
telemetry($A, $d2, lat => 2);
is $p->next->{lat}, 2, 'positions come to who asks for them, of the device that was named';
isnt $p->{id} // '', 't1-' . $number, '... without an id: who comes back does so behind the last event';

# -- who may

is opened($token, 'topics=weather')->{status}, 422, 'an unknown topic is refused';
is opened($token, 'device_id=x')->{status}, 422, '... so is a device id that is none';
is opened($token, 'after=nonsense')->{status}, 422, '... and an id that is none';
my $client = $t->user(role => 'client_user');
my $user = $t->login($client);
is opened($user->{token}, 'topics=alarm,command')->{status}, 403, 'a topic without its scope is refused';
$t->sql('insert into mdvr.assignment (tenant_id, user_id, device_id) values (?, ?, ?)', $A, $client->{id}, $d2);
my $c = live($user->{token}, 'topics=telemetry,alarm');
telemetry($A, $d1, lat => 1);
telemetry($A, $d2, lat => 2);
is $c->next->{lat}, 2, 'a client_user hears assigned devices only';
$t->sql('insert into mdvr.assignment (tenant_id, user_id, device_id) values (?, ?, ?)', $A, $client->{id}, $d1);
ok eventually(sub { telemetry($A, $d1, lat => 3); my $x = $c->next('telemetry', 0.2); $x && $x->{device_id} eq $d1 }, 5),
    'a new assignment holds within 5 s';
$t->sql('delete from mdvr.assignment where device_id = ?', $d1);
ok eventually(sub { 1 while $c->next('telemetry', 0.05); telemetry($A, $d1, lat => 3); !$c->next('telemetry', 0.2) }, 5),
    '... so does its end';
my $replay = opened($user->{token}, 'topics=alarm,device&after=0');
event($A, 'alarm', $d2, { code => 'mine' });
is $replay->next->{code}, 'mine', 'a replay holds assigned devices only';
$_->drop for $c, $replay, $p;

# -- resume

my $mark = event($A, 'alarm', $d1, { code => 'mark' });
event($A, 'alarm', $d1, { code => "m$_" }) for 1 .. 250;
my $pid = fork;
if (!$pid) {
    event($A, 'alarm', $d1, { code => "s$_" }) for 1 .. 150;
    POSIX::_exit(0);
}
$s = opened($token, 'topics=alarm', after => $mark);
my @got;
while (@got < 400 and my $a = $s->next('alarm', 10)) { push @got, $a->{code} }
waitpid $pid, 0;
is_deeply \@got, [(map "m$_", 1 .. 250), (map "s$_", 1 .. 150)], 'replay and live meet without gap or duplicate';
$s->drop;

# -- slow readers

sub flood { my ($n, $size) = @_; telemetry($A, $d1, n => $_, fill => 'x' x $size) for 1 .. $n }

my $slow = live($token, 'topics=telemetry,alarm');
setsockopt $slow->{sock}, SOL_SOCKET, SO_RCVBUF, 262144;
my $quick = live($token, 'topics=alarm');
flood(1500, 8000);
event($A, 'alarm', $d1, { code => 'meanwhile' });
is $quick->next('alarm')->{code}, 'meanwhile', 'who reads nothing slows nobody';
my ($told, $seen, $last, $order) = (0, 0, 0, 1);
while (my $m = $slow->next(undef, 2)) {
    if ($m->{type} eq 'dropped') { $told += $m->{count} }
    elsif ($m->{type} eq 'telemetry') { $seen++; $order &&= $m->{n} > $last; $last = $m->{n} }
    last if $seen + $told >= 1500;
}
is $seen + $told, 1500, "a slow stream is told how much telemetry it lost ($told of 1500)";
ok $told > 0 && $order && $last == 1500, '... the oldest: the rest is in order up to the newest';
my $was = event($A, 'alarm', $d1, { code => 'mark2' });
$slow->next('alarm') for 1, 2;
event($A, 'alarm', $d1, { code => "a$_", fill => 'x' x 50000 }) for 1 .. 300;
@got = ();
while (my $a = $slow->next('alarm', 3)) { push @got, $a->{code} }
is $slow->{close_code}, 4408, 'alarms that a stream does not take end it with 4408';
my $back = opened($token, 'topics=alarm', after => $slow->{id});
while (@got < 300 and my $a = $back->next('alarm', 3)) { push @got, $a->{code} }
is_deeply \@got, [map "a$_", 1 .. 300], '... and Last-Event-ID brings the others, each once';
$_->drop for $slow, $quick, $back;

# -- limits are those of sockets

my $many = $t->login($t->user);
my @s = map { live($many->{token}) } 1 .. 4;
my @w = map { my $w = $t->websocket(token => $many->{token}); $w->send({ type => 'ping' }); $w->next('pong'); $w } 1 .. 2;
my $over = opened($many->{token});
is $over->{status}, 429, 'streams and sockets count together: one over the limit of a user is refused';
is $t->websocket(token => $many->{token})->closed, 4429, '... whichever it is';
$_->drop for @s, @w;
ok eventually(sub { my $x = opened($many->{token}); $x->drop; $x->{status} == 200 }), '... closed ones do not count';

# -- the end

my $out = $t->admin;
$s = live($out->{token});
is $out->post('/auth/logout')->{status}, 204, 'a logout';
is $s->closed(5), 4401, '... ends the streams of the session';
my $key = $admin->post('/api-keys', { name => 'k', scopes => ['alarm:read'], device_ids => [$d2] })->{json};
$s = live($key->{key});
event($A, 'alarm', $d1, { code => 'no' });
event($A, 'alarm', $d2, { code => 'yes' });
is $s->next('alarm')->{code}, 'yes', 'a key hears its devices';
is $admin->delete("/api-keys/$key->{id}")->{status}, 204, '... is deleted';
is $s->closed(6), 4401, '... and its stream ends';
$s = live($token);
$n->reload;
is $s->closed(5), 1001, 'a reload sends streams to the new workers';

# -- HTTP/2

SKIP: {
    skip 'no curl with HTTP/2', 3 unless `curl --version 2>/dev/null` =~ /\bHTTP2\b/;
    open my $curl, '-|', 'curl', qw(-sNi --http2-prior-knowledge --max-time 20 --unix-socket), "$n->{dir}/h2.sock",
        '-H', "Authorization: Bearer $token", "http://localhost/api/v1/events/stream?topics=alarm&after=$mark" or die $!;
    my ($text, $codes) = ('', 0);
    my $to = sub { my ($re) = @_; while (<$curl>) { $text .= $_; $codes++ if /^event: alarm/; return 1 if /$re/ } return };
    ok $to->(qr/"code" ?: ?"a300"/), 'a stream over HTTP/2';
    like $text, qr{^HTTP/2 200.*^content-type: text/event-stream}msi, '... is one';
    event($A, 'alarm', $d1, { code => 'by h2' });
    ok $to->(qr/"code" ?: ?"by h2"/), '... goes on live';
    close $curl;
}

# -- a token ends

$n->stop;
$n = $t->nginx(api => 'mdvr_access_ttl 3s;');
$s = MDVR::EventStream->new($t, node => $n, token => $t->admin(node => $n)->{token});
ok $s->next('token_expired', 9), 'the end of a token is told';
is $s->closed, 4401, '... and ends the stream';

$t->done;
