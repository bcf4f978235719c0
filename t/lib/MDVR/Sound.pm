package MDVR::Sound;

# A device that films with sound, and ears.
#
#   my $pid = MDVR::Sound::film($media, \@units, sound => MDVR::Sound::tone());
#   my ($rms, $hz, $seconds) = MDVR::Sound::hear($file, $skip);   # pitch and loudness after $skip s

use v5.30;
use warnings;
use Time::HiRes qw(time sleep);

sub alaw {                                              # ITU-T G.711
    my ($s) = @_;
    my $sign = $s >= 0 ? 0x80 : 0;
    $s = $s >= 0 ? $s : -$s - 1;
    $s = 32635 if $s > 32635;
    my $exp = 7;
    for (my $m = 0x4000; $exp > 0 && !($s & $m); $m >>= 1) { $exp-- }
    return chr((($exp << 4 | ($s >> ($exp ? $exp + 3 : 4)) & 15) | $sign) ^ 0x55);
}

# A source of 40 ms after 40 ms of a tone of 440 Hz.
sub tone {
    my $phase = 0;
    return sub { join '', map { alaw(int 12000 * sin(2 * 3.14159265 * 440 * $phase++ / 8000)) } 1 .. 320 };
}

# Picture at 25 frames/s and, while it is switched on, sound (`type` of the
# protocol's table, A-law unless told otherwise); a process of its own.
sub film {
    my ($m, $units, %o) = @_;
    my $pid = fork // die "fork: $!";
    if ($pid) {
        push @MDVR::Media::players, { pid => $pid, of => $$ };
        return $pid;
    }
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    $SIG{PIPE} = 'IGNORE';
    $m->send(0x6015, pack('V7', 0x40000001, 0, $o{type} // 10, 2, 1, 8000, 16) . "\0" x 484);
    my ($on, $t0) = (0, time);
    eval {
        for my $i (0 .. 10_000) {
            my $wait = $t0 + $i / 25 - time;
            sleep $wait if $wait > 0;
            while (my $msg = $m->next(0.002)) { $on = unpack 'V', $msg->{payload} if $msg->{type} == 0x6004 }
            last if $m->{eof};
            my ($u, $us) = ($units->[$i % @$units], 1_000_000 + $i * 40_000);
            ($u->{key} ? $m->iframe($us, $u->{data}) : $m->pframe($us, $u->{data})) or last;
            next unless $on && $o{sound};
            my $coded = $o{sound}->();
            $m->send(0x6013, pack('Q<', $us) . pack('CCCC', 0, 1, length($coded) / 2, 0) . $coded);
        }
    };
    POSIX::_exit(0);
}

# Loudness (RMS), frequency (by zero crossings) and length of a file's sound.
sub hear {
    my ($file, $skip) = @_;
    open my $out, '-|', 'ffmpeg', '-v', 'error', '-nostdin', '-i', $file, '-map', '0:a', '-ac', 1, '-ar', 16000, '-f', 's16le', '-'
        or die "ffmpeg: $!";
    binmode $out;
    my @s = unpack 's<*', do { local $/; <$out> // '' };
    close $out;
    return (0, 0, 0) unless @s;
    my $seconds = @s / 16000;
    $skip = 16000 * ($skip // 0.5);                     # what came before the tone
    splice @s, 0, $skip if @s > $skip + 8000;
    my ($sum, @up) = (0);
    for my $i (1 .. $#s) { $sum += $s[$i] ** 2; push @up, $i if $s[$i] >= 0 && $s[ $i - 1 ] < 0 }
    # the median of eight periods: where sound was late there is silence between them
    my @eight = sort { $a <=> $b } map { $up[$_] - $up[ $_ - 8 ] } 8 .. $#up;
    return (sqrt($sum / @s), @eight ? 8 * 16000 / $eight[ @eight / 2 ] : 0, $seconds);
}

1;
