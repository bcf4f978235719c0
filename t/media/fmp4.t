# What the fragment writer makes of a stream decodes to the very same pictures,
# H.264 and H.265, and a player finds nothing to complain about.

use v5.30;
use warnings;
use Test::More;
use File::Temp qw(tempdir);

plan skip_all => 'build/t/fmp4 is not built' unless -x 'build/t/fmp4';

my $dir = tempdir(CLEANUP => 1);
my %clip = (
    'H.264 baseline' => [ 'h264', '-c:v libx264 -profile:v baseline -g 25 -x264-params slices=2' ],
    'H.264 main'     => [ 'h264', '-c:v libx264 -profile:v main -bf 0 -g 25' ],
    'H.264 high'     => [ 'h264', '-c:v libx264 -profile:v high -bf 0 -g 25 -x264-params aud=1' ],
    'H.265'          => [ 'hevc', '-c:v libx265 -x265-params log-level=none:bframes=0:keyint=25' ],
);

for my $name (sort keys %clip) {
    my ($format, $options) = @{ $clip{$name} };
    my ($in, $out) = map { "$dir/clip.$_" } $format, 'mp4';

    run("ffmpeg -y -f lavfi -i testsrc2=size=354x290:rate=25:duration=3 -pix_fmt yuv420p -preset ultrafast"
        . " -threads 1 $options -f $format $in");
    like(run("build/t/fmp4 pack $in $out"), qr/^75 frames/, "$name: 75 access units become fragments");

    my @want = sums("-f $format -r 25 -i $in");
    my @got  = sums("-i $out");
    is(scalar @got, 75, "$name: 75 pictures are decoded");
    is_deeply(\@got, \@want, "$name: each like its source");
    is(run("ffmpeg -v warning -i $out -f null - 2>&1"), '', "$name: without a complaint");
    my $probe = run("ffprobe -v error -show_entries stream=codec_name,width,height,start_time,avg_frame_rate -of csv=p=0 $out");
    like($probe, qr{^$format,354,290,25/1,0\.0+$}m, "$name: size, rate and start are told");
}

done_testing;

sub run { my $text = `$_[0] 2>/dev/null`; $? == 0 or diag "$_[0]: $?"; chomp $text; return $text }

# checksums of the decoded pictures, in order
sub sums {
    my ($input) = @_;
    return map { (split /,\s*/)[-1] } grep { !/^#/ }
        split /\n/, run("ffmpeg -v error $input -fps_mode passthrough -f framemd5 -pix_fmt yuv420p -");
}
