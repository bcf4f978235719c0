#!/usr/bin/perl

# RFC 6455 on the push socket: the cases of the Autobahn suite that apply, as a
# table.  A line is what a client sends and what becomes of the socket.

use lib 't/lib';
use MDVR::Test;

$SIG{PIPE} = 'IGNORE';

my $t = MDVR::Test->new;
my $n = $t->nginx(ws => 'mdvr_ws_max_message 64k; mdvr_ws_ping 400ms;');
my $token = $t->admin->{token};

my ($TEXT, $BIN, $CLOSE, $PING, $PONG) = (1, 2, 8, 9, 10);
my $ping = '{"type":"ping"}';
my $euro = "{\"type\":\"ping\",\"x\":\"\xe2\x82\xac\"}";

sub pad { my ($n) = @_; return '{"type":"ping","x":"' . 'y' x ($n - 22) . '"}' }

# frames: [opcode, payload, options] or [raw => bytes]; then the close code, or
# 'pong' for an answered ping, 'error' for that message, or "=payload" for a pong frame with that payload
my @cases = (
    ['a ping in one frame',              [[$TEXT, $ping]], 'pong'],
    ['in two fragments',                 [[$TEXT, substr($ping, 0, 5), fin => 0], [0, substr($ping, 5)]], 'pong'],
    ['in fragments of one byte',         [map { [$_ ? 0 : $TEXT, substr($ping, $_, 1), fin => $_ == length($ping) - 1] } 0 .. length($ping) - 1], 'pong'],
    ['with empty fragments',             [[$TEXT, '', fin => 0], [0, $ping, fin => 0], [0, '']], 'pong'],
    ['with a protocol ping between',     [[$TEXT, substr($ping, 0, 5), fin => 0], [$PING, ''], [0, substr($ping, 5)]], 'pong'],
    ['with UTF-8 cut by a fragment',     [[$TEXT, substr($euro, 0, 22), fin => 0], [0, substr($euro, 22)]], 'pong'],
    ['a protocol ping without payload',  [[$PING, '']], '='],
    ['with 125 bytes',                   [[$PING, 'x' x 125]], '=' . 'x' x 125],
    ['with binary payload',              [[$PING, "\x00\xff\xfe"]], "=\x00\xff\xfe"],
    ['an unsolicited pong is ignored',   [[$PONG, 'hi'], [$TEXT, $ping]], 'pong'],
    ['a protocol ping of 126 bytes',     [[$PING, 'x' x 126]], 1002],
    ['a fragmented protocol ping',       [[$PING, '', fin => 0]], 1002],
    ['RSV bits',                         [[$TEXT, $ping, rsv => 4]], 1002],
    ['RSV bits of a control frame',      [[$PING, '', rsv => 1]], 1002],
    (map { ["reserved opcode $_",        [[$_, '']], 1002], ["... with a payload, $_", [[$_, 'x' x 10]], 1002] } 3 .. 7, 11 .. 15),
    ['a reserved opcode within a message', [[$TEXT, 'x', fin => 0], [5, '']], 1002],
    ['each RSV bit',                     [[$TEXT, $ping], [$TEXT, $ping, rsv => 1]], 1002],
    ['RSV bits of a pong',               [[$PONG, '', rsv => 2]], 1002],
    ['RSV bits of a close',              [[$CLOSE, '', rsv => 4]], 1002],
    ['ten protocol pings, then a message', [(map { [$PING, "p$_"] } 1 .. 10), [$TEXT, $ping]], 'pong'],
    ['ten pongs nobody asked for',       [(map { [$PONG, "p$_"] } 1 .. 10), [$TEXT, $ping]], 'pong'],
    ['a fragmented pong',                [[$PONG, '', fin => 0]], 1002],
    ['a fragmented close',               [[$CLOSE, '', fin => 0]], 1002],
    ['a pong of 126 bytes',              [[$PONG, 'x' x 126]], 1002],
    ['a close of 126 bytes',             [[$CLOSE, pack('n', 1000) . 'x' x 124]], 1002],
    ['an empty message',                 [[$TEXT, '']], 'error'],
    ['an empty message in fragments',    [[$TEXT, '', fin => 0], [0, '', fin => 0], [0, '']], 'error'],
    ['an empty binary message',          [[$BIN, '']], 1003],
    ['65,535 bytes',                     [[$TEXT, pad(65535)]], 'pong'],
    ['65,536 bytes',                     [[$TEXT, pad(65536)]], 'pong'],
    ['65,536 bytes in fragments',        [[$TEXT, substr(pad(65536), 0, 30000), fin => 0], [0, substr(pad(65536), 30000)]], 'pong'],
    ['a length of 64 bits with the highest set', [[raw => "\x81\xff\x80\0\0\0\0\0\0\x10abcd"]], 1002],
    ['a length of 2 to the 63 less 1',   [[raw => "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd"]], 1009],
    ['a length of 64 bits that 7 would hold', [[raw => "\x81\xff\0\0\0\0\0\0\0\x10abcd"]], 1002],
    ['a length of 16 bits that 7 would hold', [[raw => "\x81\xfe\0\x10abcd"]], 1002],
    ['a control frame with a length of 16 bits', [[raw => "\x89\xfe\0\x80abcd"]], 1002],
    ['a continuation of nothing',        [[0, $ping]], 1002],
    ['a continuation after the end',     [[$TEXT, $ping], [0, 'x']], 1002],
    ['a message within a message',       [[$TEXT, 'x', fin => 0], [$TEXT, 'y']], 1002],
    ['a frame that is not masked',       [[$TEXT, $ping, masked => 0]], 1002],
    ['text that is not UTF-8',           [[$TEXT, "\xc0\xaf"]], 1007],
    ['text with a surrogate',            [[$TEXT, "\xed\xa0\x80"]], 1007],
    ['text that ends within a character', [[$TEXT, "\xe2\x82"]], 1007],
    ['bad UTF-8, the frame not yet complete', [[raw => "\x81\x94\0\0\0\0abc\xff"]], 1007],
    ['... of three bytes, known by the second', [[raw => "\x81\x94\0\0\0\0\xed\xa0"]], 1007],
    ['bad UTF-8 across two fragments',   [[$TEXT, "\xe2\x82", fin => 0], [0, "\x41", fin => 0]], 1007],
    ['an overlong form of three bytes',  [[$TEXT, "\xe0\x80\xaf"]], 1007],
    ['an overlong form of four bytes',   [[$TEXT, "\xf0\x80\x80\xaf"]], 1007],
    ['a form of five bytes',             [[$TEXT, "\xf8\x88\x80\x80\x80"]], 1007],
    ['a lone continuation byte',         [[$TEXT, "\x80"]], 1007],
    ['noncharacters and the last one',   [[$TEXT, "{\"type\":\"ping\",\"x\":\"\xef\xbf\xbe\xef\xbf\xbf\xf4\x8f\xbf\xbf\xf0\x9f\x98\x80\"}"]], 'pong'],
    ['text beyond U+10FFFF',             [[$TEXT, "\xf4\x90\x80\x80"]], 1007],
    ['bad UTF-8 in the first fragment',  [[$TEXT, "\xff", fin => 0]], 1007],
    ['a message over the limit',         [[$TEXT, 'x' x 65537]], 1009],
    ['fragments over the limit',         [[$TEXT, 'x' x 40000, fin => 0], [0, 'x' x 40000]], 1009],
    ['a close without a code',           [[$CLOSE, '']], 1000],
    ['a close with 1000',                [[$CLOSE, pack 'n', 1000]], 1000],
    ['a close with 1011 and a reason',   [[$CLOSE, pack('n', 1011) . 'reason']], 1011],
    (map { ["a close with $_",           [[$CLOSE, pack 'n', $_]], $_] } 1000 .. 1003, 1007 .. 1010, 3000, 3999, 4000, 4999),
    ['a close with a reason of 123 bytes', [[$CLOSE, pack('n', 1000) . 'x' x 123]], 1000],
    ['two closes',                       [[$CLOSE, pack 'n', 1000], [$CLOSE, pack 'n', 1001]], 1000],
    ['a close within a message',         [[$TEXT, 'x', fin => 0], [$CLOSE, pack 'n', 1000]], 1000],
    ['half a close code',                [[$CLOSE, "\x03"]], 1002],
    (map { ["close code $_ is refused", [[$CLOSE, pack 'n', $_]], 1002] } 0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535),
    ['a close whose reason is not UTF-8', [[$CLOSE, pack('n', 1000) . "\xff"]], 1007],
    ['nothing is read behind a close',   [[$CLOSE, pack 'n', 1000], [$TEXT, $ping]], 1000],
);

for my $split ('whole', 'byte by byte') {
    for my $case (@cases) {
        my ($title, $frames, $want) = @$case;
        next if $split ne 'whole' && grep { length $_->[1] > 1000 } @$frames;
        my $ws = $t->websocket(token => $token, no_pong => 1);
        if ($split eq 'whole') {
            $_->[0] eq 'raw' ? $ws->write($_->[1]) : $ws->frame(@$_) for @$frames;
        } else {
            my $bytes = '';
            no warnings 'redefine';
            local *MDVR::WebSocket::write = sub { $bytes .= $_[1]; 1 };
            $_->[0] eq 'raw' ? $ws->write($_->[1]) : $ws->frame(@$_) for @$frames;
            syswrite $ws->{sock}, $_ for split //, $bytes;
        }
        if ($want eq 'pong' || $want eq 'error') {
            ok $ws->next($want), "$title ($split)";
        } elsif ($want =~ /^=(.*)/s) {
            my ($f, $payload) = (undef, $1);
            do { $f = $ws->recv } while $f && $f->{opcode} == 9;
            is $f->{opcode} . $f->{payload}, "10$payload", "$title ($split)";
        } else {
            is $ws->closed, $want, "$title ($split)";
        }
        $ws->drop;
    }
}

# -- the handshake

my %refused = (
    'without Upgrade'              => [{ upgrade => undef }, 426],
    'Upgrade to something else'    => [{ upgrade => 'h2c' }, 426],
    'Connection without Upgrade'   => [{ connection => 'keep-alive' }, 426],
    'another version'              => [{ 'sec-websocket-version' => 8 }, 426],
    'without a version'            => [{ 'sec-websocket-version' => undef }, 426],
    'without a key'                => [{ 'sec-websocket-key' => undef }, 400],
    'a key of another length'      => [{ 'sec-websocket-key' => 'dG9vIHNob3J0' }, 400],
    'a key that is not base64'     => [{ 'sec-websocket-key' => '!' x 24 }, 400],
);
for my $title (sort keys %refused) {
    my ($headers, $status) = @{ $refused{$title} };
    my $ws = $t->websocket(token => $token, headers => $headers);
    is $ws->{status}, $status, "handshake $title";
    like $ws->{handshake}, qr{application/problem\+json}, '... is answered with a problem' if $title eq 'without a key';
    like $ws->{handshake}, qr{sec-websocket-version: 13}i, '... names the version' if $title eq 'another version';
}
my $ws = $t->websocket(token => $token, headers => { connection => 'keep-alive, Upgrade', upgrade => 'WebSocket' });
is $ws->{status}, 101, 'header values are lists and have no case';

# -- pings of the server

$ws = $t->websocket(token => $token);
ok eventually(sub { $ws->recv(0.1); ($ws->{pings} // 0) >= 3 }), 'the server pings';
$ws = $t->websocket(token => $token, no_pong => 1);
is $ws->closed(5), 1011, 'who does not answer is closed';

# -- a frame that arrives with the handshake

my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $n->{ws_port}) or die;
syswrite $sock, "GET /ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $token\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    . "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    . "\x89\x82abcd" . ('hi' ^ 'ab');
my $got = '';
ok eventually(sub { IO::Select->new($sock)->can_read(0.1) and sysread $sock, $got, 4096, length $got; $got =~ /\r\n\r\n\x8a\x02hi/ }),
    'a frame that comes with the handshake is read';
like $got, qr/^sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r$/mi, 'the accept key is the one of the RFC';

$t->done;
