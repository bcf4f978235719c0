package MDVR::Media;

# A recorder's connection to the media port: one text registration, then
# binary messages "@@", type, length (both little-endian), payload.
#
#   my $m = $dev->media($c508);            # connected, V102 sent, 0x6000 read
#   $m->iframe(0, $annexb); $m->pframe(40_000, $annexb);
#   $m->play('build/clips/x.h264', fps => 25, seconds => 2);   # in real time
#   my $report = $m->expect(0x6403, 3);

use v5.30;
use warnings;
use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(time sleep);

use MDVR::Device;

our @players;

sub new {
    my ($class, %o) = @_;
    my $self = bless { host => '127.0.0.1', buf => '', inbox => [], plate => '', stream => 1, channel => 0, %o }, $class;
    $self->{sock} = IO::Socket::INET->new(PeerAddr => $self->{host}, PeerPort => $self->{port}, Timeout => 5,
        Proto => 'tcp') or croak "connect to media port $self->{port}: $!";
    setsockopt $self->{sock}, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
    return $self;
}

sub send_raw { goto &MDVR::Device::send_raw }
sub fill     { goto &MDVR::Device::fill }
sub close    { goto &MDVR::Device::close }
sub reset    { goto &MDVR::Device::reset }
sub closed   { goto &MDVR::Device::closed }

# A registration; the tokens behind the session id are given.
sub registration {
    my ($self, $keyword, @fields) = @_;
    my $text = MDVR::Device::text(1, $keyword, $self->{serial}, '', MDVR::Device::stamp(),
        MDVR::Device::location(), '', 'V0.0.0.1', 4108, $self->{host}, $self->{port}, $self->{session}, @fields);
    return '@@' . $text;
}

# Sends a registration and waits for 0x6000; its result (1 accepted, 0
# refused), {reason} has the reason; undef when nothing came.
sub register {
    my ($self, $keyword, @fields) = @_;
    $self->send_raw($self->registration($keyword, @fields));
    my $r = $self->expect(0x6000, 5) or return undef;
    ($self->{result}, $self->{reason}) = unpack 'VV', $r->{payload} . "\0" x 8;
    return $self->{result};
}

sub v102 {
    my ($self, %o) = @_;
    return $self->register('V102', $o{command} // $self->{command} // 'C508', $self->{channel}, $self->{stream}, $self->{plate});
}

# ------------------------------------------------------------------- messages

sub binary { my ($type, $payload) = @_; return "\@\@" . pack('vV', $type, length $payload) . $payload }
sub send   { my ($self, $type, $payload) = @_; return $self->send_raw(binary($type, $payload // '')) }

# time stamps in microseconds
sub iframe { my ($self, $us, $annexb) = @_; return $self->send(0x6011, pack('Q<', $us) . $annexb) }
sub pframe { my ($self, $us, $annexb) = @_; return $self->send(0x6012, pack('Q<', $us) . $annexb) }
sub audio {
    my ($self, $us, $coded) = @_;
    return $self->send(0x6013, pack('Q<', $us) . pack('CCCC', 0, 1, length($coded) / 2, 0) . $coded);
}

# 0x6015 as captured: audio type 1 (G.726), 8000 Hz, 16 bits
sub parameters {
    my ($self) = @_;
    my $p = pack 'V7', 0x40000001, 0, 1, 2, 1, 8000, 16;
    return $self->send(0x6015, $p . "\0" x (512 - length $p));
}

# file blocks (0x6102 or another type); an empty one ends the file
sub block { my ($self, $offset, $data, $type) = @_; return $self->send($type // 0x6102, pack('VV', $offset, length $data) . $data) }

sub next {
    my ($self, $seconds) = @_;
    return shift @{ $self->{inbox} } if @{ $self->{inbox} };
    return $self->read_message(time + ($seconds // 5));
}

sub read_message {
    my ($self, $end) = @_;
    while (1) {
        if (length $self->{buf} >= 8) {
            my ($mark, $type, $len) = unpack 'a2vV', $self->{buf};
            $mark eq '@@' or croak 'not a binary message: ' . unpack 'H*', substr $self->{buf}, 0, 32;
            if (length $self->{buf} >= 8 + $len) {
                my $payload = substr $self->{buf}, 8, $len;
                substr($self->{buf}, 0, 8 + $len) = '';
                return { type => $type, payload => $payload };
            }
        }
        $self->fill($end) or return undef;
    }
}

# The next message of a type; others wait for next().
sub expect {
    my ($self, $type, $seconds) = @_;
    my $end = time + ($seconds // 5);
    for my $i (0 .. $#{ $self->{inbox} }) {
        return splice @{ $self->{inbox} }, $i, 1 if $self->{inbox}[$i]{type} == $type;
    }
    while (my $m = $self->read_message($end)) {
        return $m if $m->{type} == $type;
        push @{ $self->{inbox} }, $m;
    }
    return undef;
}

# ----------------------------------------------------------------- real video

# Splits an Annex B stream into access units { data, key, codec }.  Made for
# encoders with one slice per picture, or that write access unit delimiters.
sub access_units {
    my ($file) = @_;
    my $bytes = MDVR::Test::slurp($file);
    croak "$file is empty" unless length $bytes;
    my @nal = grep { length } split /\x00{2,}\x01/, $bytes;      # start codes of 3 and more bytes
    my $hevc = grep { ord($_) == 0x40 && ord(substr $_, 1, 1) == 1 } @nal[0 .. ($#nal < 5 ? $#nal : 5)];
    my (@units, $now);
    for my $nal (@nal) {
        my ($slice, $first, $key, $lead);
        if ($hevc) {
            my $type = ord($nal) >> 1 & 63;
            $slice = $type < 32;
            $first = $slice && ord(substr $nal, 2, 1) & 0x80;
            $key = $type >= 16 && $type <= 23;
            $lead = $type >= 32 && $type <= 35 || $type == 39;
        } else {
            my $type = ord($nal) & 31;
            $slice = $type >= 1 && $type <= 5;
            $first = $slice && ord(substr $nal, 1, 1) & 0x80;
            $key = $type == 5;
            $lead = $type >= 6 && $type <= 9;
        }
        if (!$now || $now->{slices} && ($first || $lead)) {
            push @units, $now if $now;
            $now = { data => '', key => 0, slices => 0, codec => $hevc ? 'h265' : 'h264' };
        }
        $now->{data} .= "\0\0\0\1$nal";
        $now->{slices}++ if $slice;
        $now->{key} ||= $key ? 1 : 0;
    }
    push @units, $now if $now && $now->{slices};
    return @units;
}

# Sends a file's access units: fps (25), seconds (all), from (time stamp of
# the first, us), paced => 0 for as fast as possible, loop => 1.  A request
# for a key frame (0x6002) is not obeyed.  Returns the stamp behind the last.
sub play {
    my ($self, $file, %o) = @_;
    my @units = ref $file ? @$file : access_units($file);
    my $fps = $o{fps} // 25;
    my $n = defined $o{seconds} ? int $o{seconds} * $fps : scalar @units;
    my ($t0, $us) = (time, $o{from} // 0);
    for my $i (0 .. $n - 1) {
        last if $i >= @units && !$o{loop};
        my $u = $units[$i % @units];
        if ($o{paced} // 1) {
            my $wait = $t0 + $i / $fps - time;
            sleep $wait if $wait > 0;
        }
        ($u->{key} ? $self->iframe($us, $u->{data}) : $self->pframe($us, $u->{data})) or last;
        $us += int 1e6 / $fps;
        $o{each}->($i) if $o{each};
    }
    return $us;
}

# The same in a process of its own, until the test stops it or ends: returns
# its pid.
sub play_on {
    my ($self, $file, %o) = @_;
    my @units = access_units($file);
    my $pid = fork // croak "fork: $!";
    if ($pid == 0) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
        eval { $self->play(\@units, loop => 1, seconds => 86400, %o) };
        POSIX::_exit(0);
    }
    push @players, { pid => $pid, of => $$ };
    return $pid;
}



sub play_stop { my ($pid) = @_; kill TERM => $pid; waitpid $pid, 0 }

END {
    my $status = $?;
    for (@players) { if ($_->{of} == $$ && kill 0, $_->{pid}) { kill TERM => $_->{pid}; waitpid $_->{pid}, 0 } }
    $? = $status;
}

1;
