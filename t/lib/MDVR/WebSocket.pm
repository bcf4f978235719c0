package MDVR::WebSocket;

# A WebSocket client that can also misbehave.
#
#   my $ws = $t->websocket(token => $token);        # Authorization header
#   $ws->send({ type => 'subscribe', topics => ['telemetry'] });
#   my $m = $ws->next('telemetry', 5);              # skips other types
#   $ws->frame(0x9, 'ping');                        # any opcode, see the options
#   $ws->closed(5)                                  # close code, 1006 without one
#
# With deflate => 'permessage-deflate' that is offered; what comes deflated is
# inflated by next() ($ws->{packed} counts), and
# pack_message() deflates for frame().

use v5.30;
use warnings;
use Carp qw(croak);
use Compress::Raw::Zlib ();
use Digest::SHA qw(sha1_base64);
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use Time::HiRes qw(time);

sub new {
    my ($class, %o) = @_;
    my $self = bless { host => '127.0.0.1', path => '/ws', buf => '', inbox => [], %o }, $class;
    $self->{sock} = IO::Socket::INET->new(PeerAddr => $self->{host}, PeerPort => $self->{port},
        Timeout => 5, Proto => 'tcp') or croak "connect: $!";
    setsockopt $self->{sock}, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
    my $key = encode_base64(join('', map { chr int rand 256 } 1 .. 16), '');
    my %h = (host => "$self->{host}:$self->{port}", upgrade => 'websocket', connection => 'Upgrade',
        'sec-websocket-key' => $key, 'sec-websocket-version' => 13, %{ $o{headers} // {} });
    $h{'sec-websocket-extensions'} = $o{deflate} if defined $o{deflate};
    $h{authorization} = "Bearer $o{token}" if defined $o{token};
    $self->write("GET $self->{path} HTTP/1.1\r\n"
        . join('', map { defined $h{$_} ? "$_: $h{$_}\r\n" : () } sort keys %h) . "\r\n");
    my $end = time + 10;
    until ($self->{buf} =~ /\r\n\r\n/) { $self->fill($end) or croak 'no answer to the handshake' }
    $self->{buf} =~ s/\A(.*?)\r\n\r\n//s;
    $self->{handshake} = $1;
    ($self->{status}) = $self->{handshake} =~ m{^HTTP/1\.1 (\d+)};
    if ($self->{status} == 101) {
        my ($accept) = $self->{handshake} =~ /^sec-websocket-accept:\s*(\S+)/mi;
        my $want = sha1_base64($key . '258EAFA5-E914-47DA-95CA-C5AB0DC85B11') . '=';
        croak 'wrong Sec-WebSocket-Accept' unless ($accept // '') eq $want;
    }
    return $self;
}

sub write {
    my ($self, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $at = 0;
    while ($at < length $bytes) {
        my $n = syswrite $self->{sock}, $bytes, length($bytes) - $at, $at;
        return 0 unless defined $n;
        $at += $n;
    }
    return 1;
}

sub fill {
    my ($self, $end) = @_;
    my $left = $end - time;
    return 0 if $self->{eof} || $left < 0 || !IO::Select->new($self->{sock})->can_read($left);
    my $n = sysread $self->{sock}, $self->{buf}, 262144, length $self->{buf};
    $self->{eof} = 1 unless $n;
    return $n ? 1 : 0;
}

# One frame; options fin, masked, rsv.
sub frame {
    my ($self, $opcode, $payload, %o) = @_;
    my $len = length $payload;
    my $b0 = (($o{fin} // 1) ? 0x80 : 0) | (($o{rsv} // 0) << 4) | $opcode;
    my $masked = $o{masked} // 1;
    my $m = $masked ? 0x80 : 0;
    my $head = $len < 126 ? pack('CC', $b0, $m | $len)
        : $len < 65536 ? pack('CCn', $b0, $m | 126, $len) : pack('CCQ>', $b0, $m | 127, $len);
    if ($masked) {
        my $mask = pack 'N', int rand 2**32;
        my $pad = substr $mask x (int($len / 4) + 1), 0, $len;
        return $self->write($head . $mask . ($payload ^. $pad));
    }
    return $self->write($head . $payload);
}

sub send {
    my ($self, $message) = @_;
    return $self->frame(1, ref $message ? JSON::PP->new->utf8->canonical->encode($message) : $message);
}

# The next frame as { opcode, fin, payload }; pings are answered; undef when
# time is up or the peer has gone.
sub recv {
    my ($self, $seconds) = @_;
    my $end = time + ($seconds // 5);
    while (1) {
        if (length $self->{buf} >= 2) {
            my ($b0, $b1) = unpack 'CC', $self->{buf};
            my ($len, $head) = ($b1 & 127, 2);
            if ($len == 126 && length $self->{buf} >= 4) { ($len, $head) = (unpack('x2n', $self->{buf}), 4) }
            elsif ($len == 127 && length $self->{buf} >= 10) { ($len, $head) = (unpack('x2Q>', $self->{buf}), 10) }
            elsif ($len >= 126) { $len = 2**62 }
            if (length $self->{buf} >= $head + $len) {
                my $payload = substr $self->{buf}, $head, $len;
                substr($self->{buf}, 0, $head + $len) = '';
                my $op = $b0 & 15;
                if ($op == 9 && !$self->{no_pong}) { $self->frame(10, $payload); $self->{pings}++; next }
                if ($op == 8) {
                    $self->{close_code} = length $payload >= 2 ? unpack 'n', $payload : 1005;
                    $self->{close_reason} = length $payload > 2 ? substr $payload, 2 : '';
                    $self->frame(8, substr $payload, 0, 2) unless $self->{close_sent}++;
                    return { opcode => 8, fin => 1, payload => $payload };
                }
                return { opcode => $op, fin => $b0 & 128 ? 1 : 0, rsv => ($b0 >> 4) & 7, payload => $payload };
            }
        }
        $self->fill($end) or return undef;
    }
}

# The next JSON message of a type (any type without one); others are skipped
# unless keep => 1.
sub next {
    my ($self, $type, $seconds, %o) = @_;
    my $end = time + ($seconds // 5);
    for my $i (0 .. $#{ $self->{inbox} }) {
        next if defined $type && ($self->{inbox}[$i]{type} // '') ne $type;
        return splice @{ $self->{inbox} }, $i, 1;
    }
    while ((my $left = $end - time) > 0) {
        my $f = $self->recv($left) or return undef;
        return undef if $f->{opcode} == 8;
        next unless $f->{opcode} == 1;
        if ($f->{rsv} == 4) {
            $self->{packed}++;
            $self->{packed_bytes} += length $f->{payload};
            $f->{payload} = unpack_message($f->{payload}) // croak 'what came does not inflate';
        }
        $self->{plain_bytes} += length $f->{payload};
        my $m = JSON::PP->new->utf8->decode($f->{payload});
        return $m if !defined $type || ($m->{type} // '') eq $type;
        push @{ $self->{inbox} }, $m if $o{keep};
    }
    return undef;
}

# Reads until the peer closes; the close code, or undef when it does not.
sub closed {
    my ($self, $seconds) = @_;
    my $end = time + ($seconds // 5);
    while ((my $left = $end - time) > 0) {
        my $f = $self->recv($left);
        return $self->{close_code} if defined $self->{close_code};
        return 1006 if !$f && $self->{eof};
    }
    return undef;
}

# RFC 7692 without context: a raw deflate stream whose last four bytes are left out.
sub pack_message {
    my ($text, %o) = @_;
    my ($z) = Compress::Raw::Zlib::Deflate->new(-WindowBits => -15, -AppendOutput => 1, -Level => $o{level} // 6);
    my $out = '';
    $z->deflate($text, $out);
    if ($o{final}) { $z->flush($out); return "$out\0" }
    $z->flush($out, Compress::Raw::Zlib::Z_SYNC_FLUSH());
    return substr $out, 0, -4;
}

sub unpack_message {
    my ($packed) = @_;
    my ($z) = Compress::Raw::Zlib::Inflate->new(-WindowBits => -12, -AppendOutput => 1);
    my ($in, $out) = ("$packed\0\0\xff\xff", '');
    return $z->inflate($in, $out) == Compress::Raw::Zlib::Z_OK() ? $out : undef;
}

sub close {
    my ($self, $code) = @_;
    $self->frame(8, pack 'n', $code // 1000) unless $self->{close_sent}++;
    my $got = $self->closed(2);
    CORE::close $self->{sock};
    return $got;
}

# Leaves without a word.
sub drop { my ($self) = @_; CORE::close $self->{sock} }

1;
