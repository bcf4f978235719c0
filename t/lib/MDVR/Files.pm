package MDVR::Files;

# What devices record, made with ffmpeg: H.264 and H.265 as byte streams, in the
# private framing, length-prefixed, as MP4; pictures; damaged files.  Movies show
# ffmpeg's test picture with a running clock.

use v5.30;
use warnings;
use MDVR::Test ();

# Raw Annex B.  seconds, fps, size, codec (libx264, libx265), bframes
sub annexb {
    my ($dir, @options) = @_;
    my %o = (seconds => 3, fps => 25, size => '352x288', codec => 'libx264', bframes => 0, @options);
    my $format = $o{codec} eq 'libx265' ? 'hevc' : 'h264';
    my $file = "$dir/raw-$$-" . int(rand 1e9) . ".$format";
    my $extra = $o{codec} eq 'libx265' ? "-x265-params log-level=none:bframes=$o{bframes}:keyint=$o{fps}"
        : "-profile:v main -bf $o{bframes} -g $o{fps} -sc_threshold 0";
    system("ffmpeg -loglevel error -y -f lavfi -i testsrc=duration=$o{seconds}:size=$o{size}:rate=$o{fps} -pix_fmt yuv420p "
        . "-c:v $o{codec} -preset ultrafast $extra -f $format $file") == 0 or die 'ffmpeg';
    my $data = MDVR::Test::slurp($file);
    unlink $file;
    return $data;
}

sub mp4 {
    my ($dir, @options) = @_;
    my %o = (seconds => 2, sound => 1, @options);
    my $file = "$dir/mp4-$$-" . int(rand 1e9) . '.mp4';
    my $sound = $o{sound} ? "-f lavfi -i sine=frequency=440:duration=$o{seconds}" : '';
    system("ffmpeg -loglevel error -y -f lavfi -i testsrc=duration=$o{seconds}:size=320x240:rate=25 $sound -pix_fmt yuv420p "
        . "-c:v libx264 -preset ultrafast -c:a aac $file") == 0 or die 'ffmpeg';
    my $data = MDVR::Test::slurp($file);
    unlink $file;
    return $data;
}

sub jpeg {
    my ($dir, $size) = @_;
    my $file = "$dir/jpeg-$$-" . int(rand 1e9) . '.jpg';
    system("ffmpeg -loglevel error -y -f lavfi -i testsrc=size=$size -frames:v 1 -f image2 -c:v mjpeg $file") == 0 or die 'ffmpeg';
    my $data = MDVR::Test::slurp($file);
    unlink $file;
    return $data;
}

# NAL units of a byte stream.
sub nals {
    my ($data) = @_;
    return grep { length } split /\x00*\x00\x00\x01/, $data;
}

# Access units (H.264 with one slice a picture).
sub pictures {
    my ($data) = @_;
    my @au = ('');
    my $seen = 0;
    for my $n (nals($data)) {
        my $type = ord($n) & 31;
        my $slice = $type == 1 || $type == 5;
        if ($seen && ($slice ? ord(substr $n, 1) & 0x80 : 1)) { push @au, ''; $seen = 0 }
        $au[-1] .= "\0\0\0\1$n";
        $seen ||= $slice;
    }
    return @au;
}

sub vendor_header {
    my $h = "\0" x 80 . 'SSY_DVR_10XX' . "\0" x 100 . "\0\0\1\x64garbage\0\0\0\1\x67\x42 not an SPS" . "_ITEMLIST_";
    return $h . "\0" x (4096 - length $h);
}

# The vendor's framing: 16-byte headers, microseconds, 16-byte alignment.
# step_us between pictures, sound => data of one frame after each picture
sub private {
    my ($data, @options) = @_;
    my %o = (step_us => 40_000, origin_us => 123_456_789_000, header => 1, @options);
    my $out = $o{header} ? vendor_header() : '';
    my $stamp = $o{origin_us};
    my $frame = sub {
        my ($kind, $bytes) = @_;
        $out .= $kind . pack('V Q<', length $bytes, $stamp) . $bytes;
        $out .= "\0" x (-length($out) % 16);
    };
    for my $au (pictures($data)) {
        $frame->($au =~ /\x00\x00\x01[\x25\x45\x65]/ ? '00dc' : '01dc', $au);
        $frame->('02dc', "\0\1" . pack('CC', length($o{sound}) / 2, 0) . $o{sound}) if $o{sound};
        $stamp += $o{step_us};
    }
    return $out . "\0" x (-length($out) % 65536);
}

sub length_prefixed {
    my ($data) = @_;
    return join '', map { pack('N', length) . $_ } nals($data);
}

# What ffprobe says of a file: { width, height, codec, frames, seconds, sound }.
sub probe {
    my ($file) = @_;
    my $j = MDVR::Test::json_of(scalar qx(ffprobe -loglevel quiet -count_frames -show_streams -show_format -of json $file) || '{}');
    my ($v) = grep { $_->{codec_type} eq 'video' } @{ $j->{streams} // [] };
    my ($a) = grep { $_->{codec_type} eq 'audio' } @{ $j->{streams} // [] };
    return {
        width => $v->{width}, height => $v->{height}, codec => $v->{codec_name}, frames => $v->{nb_read_frames},
        seconds => $j->{format}{duration}, sound => $a ? $a->{codec_name} : '', sound_s => $a ? $a->{duration} : 0,
    };
}

1;
