#!/usr/bin/perl

# A Redis that becomes a replica under open connections takes publications that
# nobody hears: it is found out by its role or by the first READONLY answer,
# counts as away until it is a master again, and no alarm is missed.

use lib 't/lib';
use MDVR::Test;
use JSON::PP ();

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2);
my $replica = qr/is away: it is a replica/;
$t->allow($replica);

my $json = JSON::PP->new->utf8->canonical;
my $A = $t->tenant('A');
my $dev = $t->add_device('00001');
my $admin = $t->admin;

sub event {
    my ($code) = @_;
    my ($row) = $t->sql("select event_id, message from mdvr.event_append(?, 'alarm', ?, ?)", $A, $dev,
        $json->encode({ device_id => $dev, code => $code }));
    $t->redis('PUBLISH', "mdvr:event:$A", $row->[1]);
    return $row->[0];
}

my @ws = map { my $ws = $t->websocket(token => $admin->{token}); $ws->send({ type => 'subscribe', topics => ['alarm'] });
    $ws->next('subscribed') or die; $ws } 1 .. 4;
event('by the master');
is $_->next('alarm')->{code}, 'by the master', 'an alarm' for @ws;

# both workers find it out, without anything to write

$t->redis('REPLICAOF', '127.0.0.1', '1');
my %seen = map { $_ => 0 } 'commands', 'subscriptions';
ok eventually(sub { my $log = $n->log; $seen{$_} = () = $log =~ /Redis \($_\) $replica/g for keys %seen; !grep { $seen{$_} < 2 } keys %seen }, 12),
    'a replica is as good as none, to both links of both workers';
event('by nobody');
is $_->next('alarm')->{code}, 'by nobody', '... so alarms come from PostgreSQL' for @ws;

$t->redis('REPLICAOF', 'NO', 'ONE');
ok eventually(sub { ($t->redis('PUBSUB', 'NUMSUB', "mdvr:event:$A"))->[1] >= 1 }, 15), 'a master again, it is used again';
event('by the new one');
is $_->next('alarm')->{code}, 'by the new one', '... and push goes on' for @ws;

# the first write tells at once

ok eventually(sub { $n->ready }, 15), 'ready';
$t->redis('REPLICAOF', '127.0.0.1', '1');
my $was = () = $n->log =~ /$replica/g;
ok eventually(sub {
    $t->http->request('POST', '/api/v1/auth/login', { email => 'x@example.com', password => 'nobody' });
    my $now = () = $n->log =~ /$replica/g;
    $now > $was;
}, 12), 'a READONLY answer, or the role, ends it again';
event('by nobody again');
is $_->next('alarm')->{code}, 'by nobody again', '... and no alarm is missed' for @ws;
$t->redis('REPLICAOF', 'NO', 'ONE');
ok eventually(sub { $n->ready }, 15), 'the end';

$t->done;
