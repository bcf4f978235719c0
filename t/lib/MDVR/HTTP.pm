package MDVR::HTTP;

# A small HTTP/1.1 client for the API and for odd requests.
#
#   my $http = MDVR::HTTP->new(port => 3000);
#   my $r = $http->get('/devices?limit=2');     # /api/v1 is put in front
#   $r->{status}, $r->{headers}{'x-request-id'}, $r->{body}, $r->{json}
#   $http->post('/x', { a => 1 }, 'idempotency-key' => 'k');
#   $http->request('GET', '/healthz');          # nothing is put in front
#
#   my $p = $http->begin('POST', '/api/v1/...', { ... });   # does not wait
#   ... play the device ...
#   my $r = $p->end;                                        # waits
#
#   my $s = $http->stream('/live/.../stream.mp4');   # $s->{status}, then
#   my $bytes = $s->read(1000, 5);                   # at least 1000, in 5 s
#
# One connection is kept open; begin() and stream() open one of their own.

use v5.30;
use warnings;
use Carp qw(croak);
use Errno qw(EAGAIN EINTR);
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Time::HiRes qw(time);

sub new {
    my ($class, %o) = @_;
    return bless { host => '127.0.0.1', timeout => 20, headers => {}, %o }, $class;
}

sub token { my ($self, $token) = @_; $self->{token} = $token; return $self }

# The same place and token, a connection of its own.
sub clone { my ($self) = @_; my %c = %$self; delete @c{qw(sock buf)}; return bless \%c, ref $self }

sub get    { my ($self, $path, @h) = @_; return $self->request('GET', "/api/v1$path", undef, @h) }
sub delete { my ($self, $path, @h) = @_; return $self->request('DELETE', "/api/v1$path", undef, @h) }
sub post   { my ($self, $path, $body, @h) = @_; return $self->request('POST', "/api/v1$path", $body, @h) }
sub put    { my ($self, $path, $body, @h) = @_; return $self->request('PUT', "/api/v1$path", $body, @h) }
sub patch  { my ($self, $path, $body, @h) = @_; return $self->request('PATCH', "/api/v1$path", $body, @h) }

sub connect_socket {
    my ($self) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => $self->{host}, PeerPort => $self->{port}, Proto => 'tcp',
        Timeout => 5, $self->{local} ? (LocalAddr => $self->{local}) : ()) or croak "connect to port $self->{port}: $!";
    $s->sockopt(Socket::SO_KEEPALIVE(), 1);
    setsockopt $s, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
    return $s;
}

# The bytes of a request.  `body`: a reference becomes JSON, a string is sent
# as it is.  Header values undef: that header is left out.
sub bytes {
    my ($self, $method, $path, $body, %h) = @_;
    my %all = (host => "$self->{host}:$self->{port}", %{ $self->{headers} }, map { lc $_ => $h{$_} } keys %h);
    $all{authorization} //= "Bearer $self->{token}" if defined $self->{token} && !exists $h{authorization};
    if (ref $body) {
        $body = JSON::PP->new->utf8->canonical->encode($body);
        $all{'content-type'} //= 'application/json';
    }
    $all{'content-length'} //= length $body if defined $body && !$all{'transfer-encoding'};
    return "$method $path HTTP/1.1\r\n"
        . join('', map { defined $all{$_} ? "$_: $all{$_}\r\n" : () } sort keys %all) . "\r\n" . ($body // '');
}

sub request {
    my ($self, $method, $path, $body, @h) = @_;
    my $bytes = $self->bytes($method, $path, $body, @h);
    for my $try (1, 2) {
        my $fresh = !$self->{sock};
        $self->{sock} //= $self->connect_socket;
        my $r = eval { write_all($self->{sock}, $bytes); read_response($self, $method, $self->{timeout}) };
        if ($r) {
            delete @$self{qw(sock buf)} if ($r->{headers}{connection} // '') eq 'close';
            return $r;
        }
        delete @$self{qw(sock buf)};
        croak "$method $path: $@" if $fresh || $@ !~ /closed|reset|pipe/i;
    }
}

sub begin {
    my ($self, $method, $path, $body, @h) = @_;
    my $p = bless { %{ $self->clone }, method => $method }, 'MDVR::HTTP::Pending';
    $p->{sock} = $self->connect_socket;
    write_all($p->{sock}, $self->bytes($method, $path, $body, @h));
    return $p;
}

sub stream {
    my ($self, $path, @h) = @_;
    my $p = bless { %{ $self->clone }, method => 'GET' }, 'MDVR::HTTP::Stream';
    $p->{sock} = $self->connect_socket;
    write_all($p->{sock}, $self->bytes('GET', $path, undef, @h));
    $p->{buf} = '';
    read_head($p, time + $self->{timeout});
    return $p;
}

# Bytes as they are, and everything that comes back until the peer closes or
# so many seconds have passed.
sub raw {
    my ($self, $bytes, $seconds) = @_;
    my $s = $self->connect_socket;
    write_all($s, $bytes);
    my ($buf, $end) = ('', time + ($seconds // 5));
    while ((my $left = $end - time) > 0) {
        last unless IO::Select->new($s)->can_read($left);
        my $n = sysread $s, $buf, 65536, length $buf;
        last unless $n;
    }
    return $buf;
}

sub write_all {
    my ($s, $bytes) = @_;
    local $SIG{PIPE} = 'IGNORE';
    my $at = 0;
    while ($at < length $bytes) {
        my $n = syswrite $s, $bytes, length($bytes) - $at, $at;
        croak "write: $!" unless defined $n;
        $at += $n;
    }
}

sub fill {
    my ($p, $end) = @_;
    my $left = $end - time;
    croak 'no answer in time' if $left <= 0 || !IO::Select->new($p->{sock})->can_read($left);
    my $n = sysread $p->{sock}, $p->{buf}, 65536, length $p->{buf};
    croak "read: $!" unless defined $n;
    croak 'connection closed' if $n == 0;
}

sub read_head {
    my ($p, $end) = @_;
    $p->{buf} //= '';
    while (1) {
        fill($p, $end) until $p->{buf} =~ /\r\n\r\n/;
        $p->{buf} =~ s/\A(.*?)\r\n\r\n//s;
        my ($line, @lines) = split /\r\n/, $1;
        $line =~ m{^HTTP/1\.\d (\d{3}) ?(.*)} or croak "not an HTTP answer: $line";
        next if $1 == 100;
        @$p{qw(status reason)} = ($1, $2);
        my %h;
        for (@lines) {
            my ($k, $v) = /^([^:]+):\s*(.*?)\s*$/ or next;
            $k = lc $k;
            $h{$k} = exists $h{$k} ? "$h{$k}, $v" : $v;
        }
        $p->{headers} = \%h;
        return;
    }
}

sub read_response {
    my ($p, $method, $timeout) = @_;
    my $end = time + $timeout;
    local @$p{qw(status reason headers)} = ($p->{status}, $p->{reason}, $p->{headers});
    my $sent = $p->{headers};
    read_head($p, $end);
    my %r = (status => $p->{status}, reason => $p->{reason}, headers => $p->{headers}, body => '');
    my $h = $r{headers};
    if ($method eq 'HEAD' || $r{status} == 204 || $r{status} == 304 || $r{status} == 101) {
        # no body
    } elsif (($h->{'transfer-encoding'} // '') =~ /chunked/) {
        while (1) {
            fill($p, $end) until $p->{buf} =~ /\A([0-9A-Fa-f]+)[^\n]*\r\n/;
            my $n = hex $1;
            $p->{buf} =~ s/\A[^\n]*\n//;
            fill($p, $end) until length $p->{buf} >= $n + 2;
            $r{body} .= substr $p->{buf}, 0, $n;
            substr($p->{buf}, 0, $n + 2) = '';
            last if $n == 0;
        }
    } elsif (defined $h->{'content-length'}) {
        fill($p, $end) until length $p->{buf} >= $h->{'content-length'};
        $r{body} = substr $p->{buf}, 0, $h->{'content-length'}, '';
    } else {
        1 while eval { fill($p, $end); 1 };
        $r{body} = $p->{buf};
        $h->{connection} = 'close';
    }
    if (($h->{'content-type'} // '') =~ m{^application/(?:[\w.-]+\+)?json}) {
        $r{json} = eval { JSON::PP->new->utf8->allow_nonref->decode($r{body}) };
    }
    return \%r;
}

package MDVR::HTTP::Pending;

# True when (part of) the answer is here.
sub ready { my ($p) = @_; return IO::Select->new($p->{sock})->can_read(0) ? 1 : 0 }

sub end {
    my ($p, $timeout) = @_;
    $p->{buf} //= '';
    return MDVR::HTTP::read_response($p, $p->{method}, $timeout // $p->{timeout});
}

package MDVR::HTTP::Stream;

use Time::HiRes qw(time);

# At least `want` bytes of the body within so many seconds, chunks taken
# apart; fewer when the peer ended or time is up ({ended} says which).
sub read {
    my ($p, $want, $seconds) = @_;
    my $end = time + $seconds;
    my $chunked = ($p->{headers}{'transfer-encoding'} // '') =~ /chunked/;
    $p->{body} //= '';
    while (1) {
        while ($chunked && !$p->{ended}) {
            if ($p->{left}) {
                my $take = substr $p->{buf}, 0, $p->{left}, '';
                $p->{body} .= $take;
                $p->{left} -= length $take;
                last if $p->{left};
            } elsif ($p->{buf} =~ s/\A(?:\r\n)?([0-9A-Fa-f]+)[^\n]*\r\n//) {
                $p->{left} = hex $1;
                $p->{ended} = 1 if $p->{left} == 0;
            } else {
                last;
            }
        }
        if (!$chunked) { $p->{body} .= $p->{buf}; $p->{buf} = '' }
        last if length $p->{body} >= $want || $p->{ended};
        last unless eval { MDVR::HTTP::fill($p, $end); 1 } or do { $p->{ended} = 1 if $@ =~ /closed|reset/i; 0 };
    }
    my $out = $p->{body};
    $p->{body} = '';
    return $out;
}

sub close { close $_[0]{sock} }

1;
