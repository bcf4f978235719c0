#!/usr/bin/perl

# permessage-deflate on the push socket, RFC 7692: an own client that can also
# misbehave, and Chromium.

use lib 't/lib';
use MDVR::Test;
use MDVR::Browser;
use JSON::PP ();

$SIG{PIPE} = 'IGNORE';

my $t = MDVR::Test->new;
my $n = $t->nginx(ws => 'mdvr_ws_max_message 64k;');
my $plain = $t->nginx(ws => 'mdvr_ws_deflate off;');
my $json = JSON::PP->new->utf8->canonical;
my $A = $t->tenant('A');
my $dev = $t->add_device('00001');
my $token = $t->admin(node => $n)->{token};
my ($TEXT, $BIN, $CLOSE, $PING) = (1, 2, 8, 9);
my $ping = '{"type":"ping"}';
my $pack = \&MDVR::WebSocket::pack_message;

sub event {
    my (%body) = @_;
    my ($row) = $t->sql("select message from mdvr.event_append(?, 'alarm', ?, ?)", $A, $dev, $json->encode({ device_id => $dev, %body }));
    $t->redis('PUBLISH', "mdvr:event:$A", $row->[0]);
}

sub opened { return $t->websocket(node => $n, token => $token, deflate => 'permessage-deflate', @_) }

# -- what is agreed on

my $ext = qr/^sec-websocket-extensions: (.*?)\r?$/mi;
my $both = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';
for (['permessage-deflate', $both], ['permessage-deflate; client_max_window_bits', $both],
    ['permessage-deflate; server_max_window_bits=13', "$both; server_max_window_bits=12"],
    ['permessage-deflate; server_max_window_bits=9', undef], ['x-other', undef], [undef, undef])
{
    my ($offer, $want) = @$_;
    my $ws = opened(deflate => $offer);
    is(($ws->{handshake} =~ $ext)[0], $want, 'the answer to ' . ($offer // 'no offer'));
    $ws->drop;
}
my $ws = $t->websocket(node => $plain, token => $token, deflate => 'permessage-deflate');
unlike $ws->{handshake}, $ext, 'mdvr_ws_deflate off: nothing is agreed on';
$ws->frame($TEXT, $pack->($ping), rsv => 4);
is $ws->closed, 1002, '... and a deflated message is a protocol error';

# -- what it gets

$ws = opened();
my $other = opened(deflate => undef);
for ($ws, $other) {
    $_->send({ type => 'subscribe', topics => ['alarm'] });
    ok $_->next('subscribed'), 'subscribed';
}
my $word = join ' ', map { "word$_ \x{e9}\x{20ac}" } 1 .. 60;
event(text => $word);
is $ws->next('alarm')->{text}, $word, 'a long message arrives';
is $ws->{packed}, 1, '... deflated';
is $other->next('alarm')->{text}, $word, '... and to whom did not ask for it as it is';
ok !$other->{packed}, '... not deflated';
cmp_ok $ws->{packed_bytes}, '<', length($word) / 2, '... in less than half the bytes';
event(text => 'short');
is $ws->next('alarm')->{text}, 'short', 'a short message arrives';
is $ws->{packed}, 1, '... as it is';
my $noise = join '', map { chr 33 + int rand 90 } 1 .. 2000;
event(text => $noise);
is $ws->next('alarm')->{text}, $noise, 'what does not get shorter arrives';
event(text => 'z' x 40000);
is $ws->next('alarm')->{text}, 'z' x 40000, 'a very long one as well';
$_->drop for $ws, $other;

# -- what it sends

my $long = '{"type":"ping","x":"' . 'y' x 60000 . '"}';
my $packed = $pack->($long);
my @cases = (
    ['a deflated ping',                [[$TEXT, $pack->($ping), rsv => 4]], 'pong'],
    ['one that is not, in between',    [[$TEXT, $ping]], 'pong'],
    ['in fragments',                   [[$TEXT, substr($pack->($ping), 0, 3), rsv => 4, fin => 0], [0, substr $pack->($ping), 3]], 'pong'],
    ['with an empty last fragment',    [[$TEXT, $pack->($ping), rsv => 4, fin => 0], [0, '']], 'pong'],
    ['stored, not compressed',         [[$TEXT, $pack->($ping, level => 0), rsv => 4]], 'pong'],
    ['with a final block',             [[$TEXT, $pack->($ping, final => 1), rsv => 4]], 'pong'],
    ['two of them',                    [[$TEXT, $pack->($ping), rsv => 4], [$TEXT, $pack->($ping), rsv => 4]], 'pong'],
    ['60,000 bytes in a few',          [[$TEXT, $packed, rsv => 4]], 'pong'],
    ['longer than is taken',           [[$TEXT, $pack->('x' x 65537), rsv => 4]], 1009],
    ['a frame within the limit that is 60 MB', [[$TEXT, $pack->('x' x 6e7), rsv => 4]], 1009],
    ['a bomb of 100 MB',               [[$TEXT, $pack->('x' x 1e8), rsv => 4]], 1009],
    ['no deflated data',               [[$TEXT, "\xff\xff\xff\xff", rsv => 4]], 1007],
    ['cut off within a block',         [[$TEXT, substr($pack->($ping), 0, 5), rsv => 4]], 1007],
    ['text that is not UTF-8',         [[$TEXT, $pack->("\xff\xfe"), rsv => 4]], 1007],
    ['binary',                         [[$BIN, $pack->('x'), rsv => 4]], 1003],
    ['RSV1 on a continuation',         [[$TEXT, 'a', rsv => 4, fin => 0], [0, 'b', rsv => 4]], 1002],
    ['RSV1 on a control frame',        [[$PING, 'a', rsv => 4]], 1002],
    ['RSV2',                           [[$TEXT, $ping, rsv => 2]], 1002],
    ['RSV1 and RSV3',                  [[$TEXT, $pack->($ping), rsv => 5]], 1002],
);
for my $case (@cases) {
    my ($title, $frames, $want) = @$case;
    $ws = opened();
    $ws->frame(@$_) for @$frames;
    if ($want eq 'pong') { ok $ws->next('pong'), $title } else { is $ws->closed, $want, $title }
    $ws->drop;
}

# anything may come

my ($fine, $closed) = (0, 0);
my @seeds = ($pack->($ping), $pack->($ping, level => 0), $pack->($long));
for my $i (1 .. 150) {
    my $bytes = $seeds[$i % @seeds];
    substr($bytes, rand length $bytes, 1) = chr rand 256 for 0 .. rand 3;
    $ws = opened();
    $ws->frame($TEXT, $bytes, rsv => 4);
    $ws->send($ping);
    my $f = $ws->recv(5);
    if (!$f) { last }
    elsif ($f->{opcode} == 8) { $ws->{close_code} =~ /^(1007|1009)$/ or last; $closed++ }
    else { $fine++ }
    $ws->drop;
}
is $fine + $closed, 150, "150 messages with wrong bytes: $fine were text all the same, $closed ended their socket";

# -- Chromium

SKIP: {
    my $missing = MDVR::Browser::missing();
    skip $missing, 3 if $missing;
    MDVR::Browser->script('deflate.mjs', {
        url => $n->url, ws => "ws://127.0.0.1:$n->{ws_port}/ws", token => $token, count => 4, limit_s => 60,
        texts => [$word, 'short', $noise, 'z' x 40000],
    });
}

$t->done;
