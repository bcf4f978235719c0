#!/usr/bin/perl

# The database becomes an older one under running clients: its events' numbers
# go back (a replica that lacked the last seconds took over) or leap (a backup
# was restored, ops/restore).  Clients are told, and what happens then arrives.

use lib 't/lib';
use MDVR::Test;
use MDVR::EventStream;
use JSON::PP ();

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2);
$t->allow(qr/as after a restore: clients are told/);

my $json = JSON::PP->new->utf8->canonical;
my $A = $t->tenant('A');
my $dev = $t->add_device('00001');
my $token = $t->admin->{token};

sub event {
    my ($code, %o) = @_;
    my ($row) = $t->sql("select event_id, message from mdvr.event_append(?, 'alarm', ?, ?)", $A, $dev,
        $json->encode({ device_id => $dev, code => $code }));
    $t->redis('PUBLISH', "mdvr:event:$A", $row->[1]) unless $o{silent};
    return $row->[0];
}

# What happened after one number never did.
sub back_to {
    my ($seq) = @_;
    $t->sql('delete from mdvr.event where tenant_id = ? and seq > ?', $A, $seq);
    $t->sql('update mdvr.event_counter set last_seq = ? where tenant_id = ?', $seq, $A);
}

sub subscribed {
    my ($after) = @_;
    my $ws = $t->websocket(token => $token);
    $ws->send({ type => 'subscribe', topics => ['alarm'], defined $after ? (after => "$after") : () });
    $ws->next('subscribed') or die;
    return $ws;
}

my $old = event("a$_") for 1 .. 20;
$old = 20;
my @ws = map { subscribed() } 1 .. 4;
my $s = MDVR::EventStream->new($t, token => $token, query => 'topics=alarm');
ok eventually(sub { $s->event(0.05); $s->{id} }), 'clients of both kinds are live';
my $last = event('before');
is $_->next('alarm')->{code}, 'before', '... and hear' for @ws, $s;

back_to(my $at = $last - 11);
my $new = event('in the new life');
is $new, $at + 1, 'a number is given out again';
is $_->next('gap', 10)->{id}, $new, 'a client is told where it goes on' for @ws, $s;
is $s->{id}, $new, '... which is what a stream comes back with';
event('and on');
is $_->next('alarm')->{code}, 'and on', '... and hears what happens then' for @ws, $s;

# those who come back with a number that never was

my $late = subscribed($last);
is $late->next('gap')->{id}, $new + 1, 'who resumes behind a number that never was is told';
my $stream = MDVR::EventStream->new($t, token => $token, query => 'topics=alarm', after => $last);
is $stream->next('gap')->{id}, $new + 1, '... by a stream as well';
event('once');
for ($late, $stream, @ws) {
    is $_->next('alarm')->{code}, 'once', '... and goes on';
    ok !$_->next(undef, 0.2), '... once';
}

# a backup was restored: numbers leap

$last = event('known to clients only');
is $_->next('alarm')->{code}, 'known to clients only', 'an event' for @ws;
back_to($last - 1);
$t->sql('update mdvr.event_counter set last_seq = last_seq + 1000000000 where tenant_id = ?', $A);
event('after the restore');
for (@ws, $s) {
    is $_->next('gap', 10)->{id}, $last, 'clients are told';
    is $_->next('alarm')->{code}, 'after the restore', '... and miss nothing new';
}
my $back = subscribed($last);
is $back->next('gap')->{id}, $last, 'who was away is told as well';
is $back->next('alarm')->{code}, 'after the restore', '... and misses nothing new';
my $fresh = subscribed(0);
ok $fresh->next('alarm'), 'who begins at the beginning is not';

$t->done;
