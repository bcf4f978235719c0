package MDVR::Center;

# The other end of the simulator: a center that listens on both ports, says
# what the test tells it to and shows what came.  It knows the wire by itself.
#
#   my $c = MDVR::Center->new;
#   $c->sim('--serial', '00007');                 # a process, ended with the object
#   my $dev = $c->register;                        # signaling connection, V101 answered
#   my ($n, $t) = $dev->command('C508', 1, 1, 0, 1, 0, '127.0.0.1', $c->{media_port});
#   my $media = $c->media;                         # media connection, registration read
#   $media->say(0x6000, pack 'VV', 1, 0);
#   my $frame = $media->expect(0x6011);

use v5.30;
use warnings;
use Carp qw(croak);
use File::Temp qw(tempdir);
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX qw(strftime);
use Time::HiRes qw(time sleep);

sub new {
    my ($class, %o) = @_;
    my $self = bless { dir => tempdir(CLEANUP => 1), sims => [], %o }, $class;
    for (qw(signal media)) {
        $self->{$_} = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Proto => 'tcp', Listen => 512,
            ReuseAddr => 1, Blocking => 0) or croak "listen: $!";
        $self->{"${_}_port"} = $self->{$_}->sockport;
    }
    return $self;
}

# Starts the simulator; its control FIFO and statistics are in the directory.
sub sim {
    my ($self, @options) = @_;
    my $n = @{ $self->{sims} };
    my $sim = { log => "$self->{dir}/sim-$n.log", fifo => "$self->{dir}/orders-$n", stats => "$self->{dir}/stats-$n.json" };
    my @cmd = ('build/bin/mdvr-sim', '--server', '127.0.0.1', '--signal-port', $self->{signal_port}, '--interval', 0,
        '--control', $sim->{fifo}, '--stats-json', $sim->{stats}, '--verbose', @options);
    $sim->{pid} = fork // croak "fork: $!";
    if (!$sim->{pid}) {
        open STDOUT, '>', $sim->{log};
        open STDERR, '>&', \*STDOUT;
        { exec @cmd }
        POSIX::_exit(127);
    }
    push @{ $self->{sims} }, $sim;
    return $sim;
}

# An order through the FIFO of the newest simulator.
sub order {
    my ($self, $text) = @_;
    my $fifo = $self->{sims}[-1]{fifo};
    my $end = time + 5;
    sleep 0.01 until -p $fifo || time > $end;
    open my $fh, '>', $fifo or croak "$fifo: $!";
    print $fh "$text\n";
    close $fh;
}

# Ends the newest simulator; its statistics.
sub end {
    my ($self) = @_;
    my $sim = pop @{ $self->{sims} } or return {};
    kill TERM => $sim->{pid};
    waitpid $sim->{pid}, 0;
    $self->{status} = $?;
    $self->{log} = do { local (@ARGV, $/) = ($sim->{log}); <> };
    return {} unless -s $sim->{stats};
    return JSON::PP::decode_json(do { local (@ARGV, $/) = ($sim->{stats}); <> });
}

sub DESTROY { my ($self) = @_; local $?; $self->end while @{ $self->{sims} } }

sub accept {
    my ($self, $which, $timeout) = @_;
    return undef unless IO::Select->new($self->{$which})->can_read($timeout // 5);
    my $sock = $self->{$which}->accept or return undef;
    setsockopt $sock, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
    return bless { sock => $sock, buf => '', number => 0 }, 'MDVR::Center::Conn';
}

sub signaling { my ($self, $timeout) = @_; return $self->accept('signal', $timeout) }

# A signaling connection whose V101 has been answered.
sub register {
    my ($self, $timeout) = @_;
    my $c = $self->signaling($timeout) or return undef;
    $c->{v101} = $c->expect('V101') or return undef;
    $c->c100($c->{v101}, '1,1,');
    return $c;
}

# A media connection; the registration is in {registration}.  0x6000 follows
# unless answer => 0.
sub media {
    my ($self, %o) = @_;
    my $c = $self->accept('media', $o{timeout}) or return undef;
    $c->{registration} = $c->expect('', 5) or return undef;
    $c->say(0x6000, pack 'VV', $o{result} // 1, $o{reason} // 0) if $o{answer} // 1;
    return $c;
}

package MDVR::Center::Conn;

use v5.30;
use warnings;
use Time::HiRes qw(time);
use POSIX qw(strftime);

sub stamp { strftime '%y%m%d %H%M%S', gmtime }

sub text {
    my $content = join '', map { ",$_" } @_;
    return sprintf '$$dc%04d%s#', length $content, $content;
}

sub raw { my ($self, $bytes) = @_; local $SIG{PIPE} = 'IGNORE'; return syswrite $self->{sock}, $bytes }

# A command; its number and time.
sub command {
    my ($self, $keyword, @tokens) = @_;
    my ($n, $t) = (++$self->{number}, stamp());
    $self->raw(text($n, $keyword, $self->{v101}{serial} // $self->{serial} // '00007', '', $t, @tokens));
    return ($n, $t);
}

sub c100 {
    my ($self, $msg, $content) = @_;
    $self->raw(text($msg->{number}, 'C100', $msg->{serial}, '', stamp(), $msg->{keyword}, $msg->{time}, 0, $content));
}

sub say { my ($self, $type, $payload) = @_; $self->raw(pack('a2vV', '@@', $type, length($payload // '')) . ($payload // '')) }

# Reads until the deadline; 0 when nothing came or the end did.
sub fill {
    my ($self, $end) = @_;
    my $left = $end - time;
    return 0 if $left <= 0 || $self->{eof};
    return 0 unless IO::Select->new($self->{sock})->can_read($left);
    my $n = sysread $self->{sock}, $self->{buf}, 262144, length $self->{buf};
    push @{ $self->{reads} }, $n // 0;
    $self->{eof} = 1 unless $n;
    return $n // 0;
}

# The next message of either form, or undef.
sub next {
    my ($self, $timeout) = @_;
    my $end = time + ($timeout // 5);
    do {
        if ($self->{buf} =~ /^(?:\@\@)?\$\$dc(\d{4})/) {
            my ($head, $len) = ($+[0], $1);
            if (length $self->{buf} > $head + $len) {
                my $raw = substr $self->{buf}, 0, $head + $len + 1, '';
                return parse($raw, substr $raw, $head + 1, $len - 1);
            }
        }
        elsif (length $self->{buf} >= 8 && $self->{buf} =~ /^\@\@/) {
            my ($type, $len) = unpack 'x2vV', $self->{buf};
            if (length $self->{buf} >= 8 + $len) {
                my $raw = substr $self->{buf}, 0, 8 + $len, '';
                return { type => $type, payload => substr($raw, 8), at => time };
            }
        }
        elsif (length $self->{buf} >= 8) {
            return { junk => 1 };
        }
    } while ($self->fill($end));
    return undef;
}

# The next message of that keyword ('' any text) or binary type; others pass
# into {seen}.
sub expect {
    my ($self, $what, $timeout) = @_;
    my $end = time + ($timeout // 5);
    while (defined(my $m = $self->next($end - time))) {
        return undef if $m->{junk};
        return $m if $what =~ /^\d/ ? ($m->{type} // -1) == $what
            : defined $m->{keyword} && ($what eq '' || $m->{keyword} eq $what);
        push @{ $self->{seen} }, $m;
    }
    return undef;
}

sub closed {
    my ($self, $timeout) = @_;
    my $end = time + ($timeout // 5);
    1 while $self->fill($end);
    return $self->{eof} ? 1 : 0;
}

# Header, location group (18 tokens, layouts B and C 19) and body.
sub parse {
    my ($raw, $content) = @_;
    my %m = (raw => $raw);
    (@m{qw(number keyword serial station time)}, my @rest) = split /,/, $content, -1;
    if (@rest >= 18 && $rest[0] =~ /^[AV]\d*$/) {
        my $n = $rest[17] =~ /\|/ ? 18 : 19;
        $m{loc} = [ splice @rest, 0, $n ];
        $m{people} = shift @rest if $n == 18 && $m{keyword} ne 'V114';
    }
    $m{body} = \@rest;
    return \%m;
}

1;
