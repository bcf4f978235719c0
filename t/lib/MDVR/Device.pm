package MDVR::Device;

# A recorder on the signaling port, as far as a test needs one.  It knows the
# wire by itself and shares no code with the product: what both get wrong
# would otherwise look right.
#
#   my $dev = $t->device('00007');
#   like $dev->v101, qr/,C100,00007,.*,V101,/, 'registered';
#   $dev->v114(lat => [22, 40, 236220000], speed => '63.40');
#   my $cmd = $dev->expect('C508');              # or undef after 5 s
#   $dev->answer($cmd, 1, 1, '', 0);
#   my $media = $dev->media($cmd);               # connects, V102, 0x6000; MDVR::Media
#
# Framing: "$$dc", four digits that count from the comma to before '#'.

use v5.30;
use warnings;
use Carp qw(croak);
use IO::Select;
use IO::Socket::INET;
use POSIX qw(strftime);
use Time::HiRes qw(time);

sub new {
    my ($class, %o) = @_;
    my $self = bless { host => '127.0.0.1', number => 0, buf => '', inbox => [], plate => '', %o }, $class;
    $self->connect unless exists $o{connect} && !$o{connect};
    return $self;
}

sub connect {
    my ($self) = @_;
    $self->{sock} = IO::Socket::INET->new(PeerAddr => $self->{host}, PeerPort => $self->{port}, Timeout => 5,
        Proto => 'tcp', $self->{local} ? (LocalAddr => $self->{local}) : ()) or croak "connect to $self->{port}: $!";
    setsockopt $self->{sock}, Socket::IPPROTO_TCP(), Socket::TCP_NODELAY(), 1;
    @$self{qw(buf inbox eof)} = ('', [], 0);
    return $self;
}

sub close { my ($self) = @_; CORE::close $self->{sock} if $self->{sock}; delete $self->{sock} }

# Closes with a reset.
sub reset {
    my ($self) = @_;
    setsockopt $self->{sock}, Socket::SOL_SOCKET(), Socket::SO_LINGER(), pack 'ii', 1, 0;
    $self->close;
}

# --------------------------------------------------------------------- bytes

# YYMMDD hhmmss of a unix time (now), or of a text that is such a stamp.
sub stamp {
    my ($at) = @_;
    return $at if defined $at && $at =~ /^\d{6} \d{6}$/;
    return strftime '%y%m%d %H%M%S', gmtime($at // time);
}

sub text {
    my (@tokens) = @_;
    my $content = join '', map { ",$_" } @tokens;
    return sprintf '$$dc%04d%s#', length $content, $content;
}

sub send_raw {
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

# Header and body; options number, serial, station, at.  Returns the number.
sub message {
    my ($self, $keyword, $body, %o) = @_;
    my $number = $o{number} // ++$self->{number};
    return ($number, text($number, $keyword, $o{serial} // $self->{serial}, $o{station} // '', stamp($o{at}), @$body));
}

sub send {
    my ($self, $keyword, $body, %o) = @_;
    my ($number, $bytes) = $self->message($keyword, $body, %o);
    $self->send_raw($bytes);
    return $number;
}

# The 18 tokens of the location group; defaults are the captured ones.
#   fix 'A' or 'V', satellites, lon and lat as [degrees, minutes, seconds*1e7],
#   speed (km/h, text), course (degrees*1e4), status, mask (16 hex digits),
#   temp [device, engine, cabin], mileage (m), fuel, parking (s), bus
sub location {
    my (%o) = @_;
    my $lon = $o{lon} // [114, 3, 337788000];
    my $lat = $o{lat} // [22, 40, 230304000];
    my $temp = $o{temp} // ['0.00', '0.00', '0.00'];
    return (
        sprintf('%s%04d', $o{fix} // 'A', $o{satellites} // 10), @$lon, @$lat,
        $o{speed} // '0.00', $o{course} // 2265900, $o{status} // '000E00010101D383',
        $o{mask} // '0000000000000000', @$temp, $o{mileage} // 0, $o{fuel} // '0.00', $o{parking} // 61,
        $o{bus} // '0|0.00|0|0|0|0|0|0|0',
    );
}

# Degrees as the wire wants them: [degrees, minutes, seconds*1e7].
sub dms {
    my ($value) = @_;
    my $units = sprintf '%.0f', abs($value) * 3600 * 1e7;
    my $d = int($units / 36e9);
    my $m = int(($units - $d * 36e9) / 6e8);
    my $s = $units - $d * 36e9 - $m * 6e8;
    return [ ($value < 0 ? '-' : '') . $d, $m, sprintf('%.0f', $s) ];
}

# ---------------------------------------------------------------- what it says

# Registers; returns the answer's text, or undef.  Options: those of
# location(), fields => [16 tokens], audio, storage, imei, version, plate.
sub v101 {
    my ($self, %o) = @_;
    my $fields = $o{fields} // [
        'V1.0.0.1', 4108, '', 0, $o{power_on} // 1, 1, $o{plate} // $self->{plate}, $o{network} // 2, '',
        $o{audio} // 1, $o{storage} // 2, 2, 101, $o{imei} // 'IMEI0', 'T2018', $o{version} // 'V6.1.33', '',
    ];
    my $n = $self->send('V101', [ location(%o), $o{people} // '', @$fields ], %o);
    return if $o{no_wait};
    my $m = $self->answered('V101', $n, $o{timeout} // 5) or return undef;
    return $m->{raw};
}

# Registers or dies.
sub register {
    my ($self, %o) = @_;
    my $raw = $self->v101(%o) // croak "no answer to V101 of $self->{serial}";
    $raw =~ /,V101,[^,]*,0,1,1,#$/ or croak "registration of $self->{serial} was refused: $raw";
    return $self;
}

# Heartbeat; the C501, or undef.
sub v109 {
    my ($self, %o) = @_;
    $self->send('V109', [], %o);
    return if $o{no_wait};
    my $m = $self->expect('C501', $o{timeout} // 5) or return undef;
    return $m->{raw};
}

# A position; never answered.  trigger: drive flag (1), people: an L19.
sub v114 {
    my ($self, %o) = @_;
    my @people = defined $o{people} ? ($o{people}) : ();
    return $self->send('V114', [ location(%o), @people, $o{trigger} // 1 ], %o);
}

# An alarm message; the answer's text, or undef.  alarm_at, uid, snapshot,
# snapshot_path, recording, recording_path, data => [tokens]; no_wait.
sub alarm {
    my ($self, $keyword, %o) = @_;
    state $uids = 0;
    $o{uid} //= sprintf '%08X%08X', $$ & 0xffffffff, ++$uids;
    $self->{uid} = $o{uid};
    my $n = $self->send($keyword, [
        location(%o), $o{people} // '', stamp($o{alarm_at} // $o{at}), $o{uid}, $o{snapshot} // 0,
        $o{snapshot_path} // '', $o{recording} // 0, $o{recording_path} // '', @{ $o{data} // [] },
    ], %o);
    return if $o{no_wait};
    my $m = $self->answered($keyword, $n, $o{timeout} // 5) or return undef;
    return $m->{raw};
}

# V100 to a command that expect() returned; content as tokens.
sub answer {
    my ($self, $command, @content) = @_;
    my %o = ref $content[0] eq 'HASH' ? %{ shift @content } : ();
    $self->send('V100', [ location(%o), '', $command->{keyword}, $command->{time}, $o{mode} // 0, @content ],
        number => $command->{number}, %o);
}

# --------------------------------------------------------------- what it hears

sub fill {
    my ($self, $end) = @_;
    my $left = $end - time;
    return 0 if $self->{eof} || !$self->{sock} || $left < 0 || !IO::Select->new($self->{sock})->can_read($left);
    my $n = sysread $self->{sock}, $self->{buf}, 65536, length $self->{buf};
    $self->{eof} = 1 unless $n;
    return $n ? 1 : 0;
}

# The next message { raw, number, keyword, serial, station, time, body => [] },
# in the order of arrival; undef when time is up or the peer has closed.  Dies
# on bytes that are not a message: the server must not send such.
sub next {
    my ($self, $seconds) = @_;
    return shift @{ $self->{inbox} } if @{ $self->{inbox} };
    return $self->read_message(time + ($seconds // 5));
}

sub read_message {
    my ($self, $end) = @_;
    while (1) {
        if ($self->{buf} =~ /\A\$\$dc(\d{4})/ && length $self->{buf} >= $1 + 9) {
            my $raw = substr $self->{buf}, 0, $1 + 9, '';
            $raw =~ /#\z/ or croak "no # at the end of: $raw";
            my (undef, @t) = split /,/, substr($raw, 8, -1), -1;
            my ($number, $keyword, $serial, $station, $time, @body) = @t;
            return { raw => $raw, number => $number, keyword => $keyword, serial => $serial,
                station => $station, time => $time, body => \@body };
        }
        croak "not a message: $self->{buf}" if length $self->{buf} >= 8 && $self->{buf} !~ /\A\$\$dc\d{4}/;
        $self->fill($end) or return undef;
    }
}

# The next message with one of these keywords; others wait for next().
sub expect {
    my ($self, $keyword, $seconds) = @_;
    my $want = ref $keyword eq 'Regexp' ? $keyword : qr/^\Q$keyword\E$/;
    return $self->find(sub { $_[0]{keyword} =~ $want }, $seconds);
}

sub find {
    my ($self, $match, $seconds) = @_;
    my $end = time + ($seconds // 5);
    for my $i (0 .. $#{ $self->{inbox} }) {
        return splice @{ $self->{inbox} }, $i, 1 if $match->($self->{inbox}[$i]);
    }
    while (my $m = $self->read_message($end)) {
        return $m if $match->($m);
        push @{ $self->{inbox} }, $m;
    }
    return undef;
}

# The C100 that answers our message of that number.
sub answered {
    my ($self, $keyword, $number, $seconds) = @_;
    return $self->find(sub {
        $_[0]{keyword} eq 'C100' && $_[0]{number} eq $number && ($_[0]{body}[0] // '') eq $keyword;
    }, $seconds);
}

# Whether the server closes within so many seconds; reads what comes before.
sub closed {
    my ($self, $seconds) = @_;
    my $end = time + ($seconds // 5);
    1 while $self->fill($end);
    return $self->{eof} ? 1 : 0;
}

# ---------------------------------------------------------------------- media

# Goes where a command sends it and registers there: C508 with V102.  Options:
# session, channel, stream, serial, host, port, keyword; connect_only => 1.
sub media {
    my ($self, $command, %o) = @_;
    my @b = $command ? @{ $command->{body} } : ();
    my $m = MDVR::Media->new(
        serial => $self->{serial}, plate => $self->{plate},
        session => $b[0], channel => $b[2] // 0, stream => $b[3] // 1,
        host => $b[5] || '127.0.0.1', port => $b[6] || $self->{media_port}, command => $command->{keyword} // 'C508', %o,
    );
    $m->v102 unless $o{connect_only};
    return $m;
}

1;
