#!/usr/bin/perl

# Push under trouble: slow clients, tokens that end, Redis and PostgreSQL away.
# No alarm is missed or repeated (what dies and moves is in wander.t).

use lib 't/lib';
use MDVR::Test;
use JSON::PP ();
use Socket;

my $t = MDVR::Test->new;
my $n = $t->nginx(api => 'mdvr_access_ttl 6s;');

my $json = JSON::PP->new->utf8->canonical;
my $A = $t->tenant('A');
my $dev = $t->add_device('00001');

sub event {
    my (%o) = @_;
    my ($row) = $t->sql("select event_id, message from mdvr.event_append(?, 'alarm', ?, ?)", $A, $dev,
        $json->encode({ device_id => $dev, code => $o{code}, fill => $o{fill} // '' }));
    eval { $t->redis('PUBLISH', "mdvr:event:$A", $row->[1]) } unless $o{silent};
    return $row->[0];
}

sub subscribed {
    my (%o) = @_;
    my $ws = $t->websocket(node => $o{node} // $n, token => $o{token});
    $ws->send({ type => 'subscribe', topics => $o{topics} // ['alarm'], $o{after} ? (after => $o{after}) : () });
    $ws->next('subscribed', 10) or die "not subscribed: $ws->{handshake}";
    return $ws;
}

# -- a token ends

my $admin = $t->admin;
my $ws = subscribed(token => $admin->{token});
my $stay = subscribed(token => $admin->{token});
ok $stay->next('token_expired', 9), 'the end of a token is told';
event(code => 'meanwhile');
$stay->send({ type => 'auth', token => $t->admin->{token} });
is $stay->next('alarm')->{code}, 'meanwhile', 'a new token in time goes on without a gap';
event(code => 'then');
is $stay->next('alarm')->{code}, 'then', '... and live';
ok $ws->next('token_expired', 9), 'without a new one';
is $ws->closed(5), 4401, '... the socket is closed with 4401';
$stay->drop;

# -- limits

$n->stop;
$n = $t->nginx(workers => 2, api => 'mdvr_login_rate 1000;',
    ws => 'mdvr_ws_queue 64k; mdvr_ws_per_user 6; mdvr_ws_per_address 12; mdvr_ws_drain 500ms;');
sub token { $t->admin(node => $n)->{token} }

my $token = $t->login($t->user, node => $n)->{token};
my @many = map { $t->websocket(node => $n, token => $token) } 1 .. 6;
my $over = $t->websocket(node => $n, token => $token);
is $over->closed, 4429, 'a socket over the limit of a user is closed';
$_->drop for @many;
ok eventually(sub { my $w = $t->websocket(node => $n, token => $token); $w->send({ type => 'ping' }); my $p = $w->next('pong', 1); $w->drop; $p }),
    '... closed ones do not count';

my @crowd;
my $refused = eventually(sub {
    my $w = $t->websocket(node => $n);
    return $w if $w->{status} == 429;
    push @crowd, $w;
    return;
});
ok $refused && $refused->{handshake} =~ /problem\+json/ && @crowd <= 12, 'over the limit of an address a socket is refused with 429';
$_->drop for @crowd;
ok eventually(sub { my $w = $t->websocket(node => $n); $w->drop; $w->{status} == 101 }), '... others are let in when they have left';

# -- slow clients

sub slow {
    my ($token) = @_;
    my $ws = subscribed(token => $token, topics => [qw(telemetry alarm)]);
    setsockopt $ws->{sock}, SOL_SOCKET, SO_RCVBUF, 262144;
    return $ws;
}

sub flood {
    my ($n, $size) = @_;
    $t->redis('PUBLISH', "mdvr:event:$A", $json->encode({ type => 'telemetry', id => "t1-$_", device_id => $dev,
        n => $_, fill => 'x' x $size })) for 1 .. $n;
}

$token = token();
my $slow = slow($token);
flood(3000, 8000);
my ($told, $seen, $last, $order) = (0, 0, 0, 1);
while (my $m = $slow->next(undef, 2)) {
    if ($m->{type} eq 'dropped') { $told += $m->{count} }
    elsif ($m->{type} eq 'telemetry') { $seen++; $order &&= $m->{n} > $last; $last = $m->{n} }
    last if $seen + $told >= 3000;
}
is $seen + $told, 3000, "a slow client is told how much telemetry it lost ($told of 3000)";
ok $told > 0, '... which is some';
ok $order && $last == 3000, '... the oldest: the rest is in order up to the newest';
my $mark = event(code => 'mark');
is $slow->next('alarm')->{code}, 'mark', 'alarms still arrive';

event(code => "a$_", fill => 'x' x 50000) for 1 .. 300;
event(code => 'marker2');
my @got;
while (my $m = $slow->next('alarm', 3)) { push @got, $m->{code} }
is $slow->{close_code}, 4408, 'alarms that a client does not take close with 4408';
ok @got < 300, '... before the queue grows';
is_deeply \@got, [map "a$_", 1 .. @got], '... none of those it got is missing';
my $after = $t->value(q{select seq from mdvr.event where tenant_id = ? and message ->> 'code' = ?}, $A, @got ? $got[-1] : 'mark');
my $back = subscribed(token => token(), after => $after);
my @rest;
while (@rest < 301 - @got and my $m = $back->next('alarm', 3)) { push @rest, $m->{code} }
is_deeply [@got, @rest], [(map "a$_", 1 .. 300), 'marker2'], '... and `after` brings the others';
$back->drop;

# -- those who read nothing slow nobody

my @idle = map { subscribed(token => $token, topics => ['telemetry']) } 1 .. 5;
my $quick = subscribed(token => $t->login($t->user, node => $n)->{token}, topics => ['telemetry']);
my ($all, $lost) = (0, 0);
for (1 .. 100) {
    flood(20, 2000);                    # as much as its queue takes
    my $want = $all + 20;
    while ($all < $want and my $m = $quick->next(undef, 5)) { $m->{type} eq 'dropped' ? ($lost += $m->{count}) : $all++ }
}
is "$all $lost", '2000 0', 'who reads gets everything beside five who read nothing';
$_->drop for @idle, $quick;

# -- Redis away

$token = token();
$ws = subscribed(token => $token);
$t->store->redis_stop('KILL');
event(code => 'no redis', silent => 1);
is $ws->next('alarm', 6)->{code}, 'no redis', 'without Redis alarms come from PostgreSQL';
$t->store->redis_start;
event(code => 'redis again', silent => 1);
ok my $m = $ws->next('alarm', 6), 'what was not published is found when Redis is back';
ok eventually(sub { $t->redis('PUBSUB', 'NUMSUB', "mdvr:event:$A")->[1] }), 'subscriptions come back by themselves';
event(code => 'live again');
is $ws->next('alarm')->{code}, 'live again', '... and push goes on';

# -- PostgreSQL away

$t->store->pg_stop('immediate');
$ws->send({ type => 'ping' });
ok $ws->next('pong'), 'without PostgreSQL sockets stay open';
$t->store->pg_start;
ok eventually(sub { my $w = eval { subscribed(token => $token) }; $w && $w->drop; $w }, 10), '... and take subscriptions when it is back';

$_->drop for $ws, $slow;

$t->done;
