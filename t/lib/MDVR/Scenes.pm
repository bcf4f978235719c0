package MDVR::Scenes;

# Clips for the analysers: photographs filmed by a camera that is not quite
# still, with sensor noise and something that passes by, encoded at 600 kbit/s
# as a device does; then what can happen to a camera.  And a drawn person.

use v5.30;
use warnings;
use File::Basename qw(dirname);

my $DATA = dirname(__FILE__) . '/../../worker/data';
my $ENC = '-an -pix_fmt yuv420p -c:v libx264 -preset veryfast -b:v 600k -g 20 -threads 1 -y';

sub write_file { my ($file, $text) = @_; open my $fh, '>:raw', $file or die "$file: $!"; print $fh $text; close $fh or die "$file: $!"; return }

sub data { "$DATA/$_[0]" }

sub ffmpeg { my ($args) = @_; system("ffmpeg -loglevel error -nostdin $args") == 0 or die "ffmpeg $args"; return }

# A clip of seconds at 10 pictures a second that shows a photograph.
# move => pixels the camera shakes, pass => 0 without anything passing by,
# turn => pixels that somebody turns the camera in the middle
sub film {
    my ($photo, $out, %o) = @_;
    my $s = $o{seconds} // 5;
    my $m = $o{move} // 1;
    my $pass = $o{pass} // 1;
    my $noise = $o{noise} // 5;
    my ($x, $y) = $o{turn} ? ("(20+if(gt(t\\,$s/2)\\,$o{turn}\\,0))", "((ih-360)/2+if(gt(t\\,$s/2)\\,20\\,0))") : (20, '(ih-360)/2');
    my $width = 680 + ($o{turn} // 0);
    my $object = $pass ? "[bg];color=c=0x203040:s=60x90:r=10:d=$s\[ob];[bg][ob]overlay=x='-60+t*140':y=240" : '';
    ffmpeg("-loop 1 -framerate 10 -t $s -i " . data("$photo.jpg") . " -filter_complex \"[0:v]scale=$width:-2,"
        . "crop=640:360:$x+$m*sin(t*3):$y+$m*cos(t*2)$object,noise=alls=$noise:allf=t\" -r 10 $ENC $out");
    return $out;
}

# The same clip with a defect: a filter of ffmpeg.
sub spoil { my ($in, $filter, $out) = @_; ffmpeg("-i $in -vf \"$filter\" $ENC $out"); return $out }

my %DEFECT = (
    camera_blurred => [ 'gblur=sigma=4', 'gblur=sigma=8' ],
    camera_black => [ 'drawbox=color=black:t=fill,noise=alls=5:allf=t', 'drawbox=color=0x081018:t=fill,noise=alls=3:allf=t' ],
    camera_covered => [ 'drawbox=0:0:iw:ih*0.85:color=0x403028:t=fill,noise=alls=4:allf=t', 'drawbox=color=0x706050:t=fill,noise=alls=5:allf=t',
        'drawbox=iw*0.1:0:iw:ih:color=0x504038:t=fill,noise=alls=3:allf=t' ],
    camera_frozen => [ 'loop=loop=-1:size=1:start=8,setpts=N/10/TB,trim=duration=5' ],
);

sub defects { %DEFECT }

# A picture of 640x360 with a wall and, when height > 0, a person in front.
sub person {
    my ($out, $height) = @_;
    my ($w, $h) = (640, 360);
    my $s = ($height || 100) / 100;
    my $top = $h - 20 - $height;
    my $rgb = '';
    for my $y (0 .. $h - 1) {
        for my $x (0 .. $w - 1) {
            my $row = int($y / 24);
            my $v = $y > 300 ? 110 : 185;
            $v -= 35 if $y <= 300 && ($y % 24 < 2 || ($x + 24 * ($row % 2)) % 48 < 2);
            $v -= 25 if $y > 300 && ($x + $y * 2) % 40 < 3;
            $v += ($x * 7919 + $y * 104729) % 17 / 17 * 12;
            my @c = ($v, $v, $v - 8);
            if ($height) {
                my ($dx, $dy) = (abs($x - 320) / $s, ($y - $top) / $s);
                @c = (150, 110, 90) if ($dx / 6.5) ** 2 + (($dy - 8) / 8) ** 2 < 1;
                my $shoulder = $dy < 22 ? 6 + ($dy - 15) * 1.6 : 16 - ($dy - 22) * 0.08;
                @c = (60, 60, 90) if $dy >= 15 && $dy < 52 && $dx < $shoulder * ($dy > 26 ? 0.72 : 1);
                @c = (55, 55, 80) if $dy >= 20 && $dy < 54 && $dx >= 11 && $dx < 16.5;
                @c = (35, 35, 45) if $dy >= 50 && $dy < 97 && $dx < 11 && $dx >= ($dy > 56 ? ($dy - 56) * 0.09 : 0);
                @c = (20, 20, 20) if $dy >= 96 && $dy < 100 && $dx < 12 && $dx > 2;
            }
            $rgb .= pack 'C3', map { int } @c;
        }
    }
    open my $fh, '>:raw', "$out.ppm" or die "$out: $!";
    print $fh "P6\n$w $h\n255\n$rgb";
    close $fh or die "$out: $!";
    ffmpeg("-y -i $out.ppm -q:v 3 $out");
    unlink "$out.ppm";
    return $out;
}

1;
