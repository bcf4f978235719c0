# Files of a simulated device: recordings found and fetched, pictures, logs,
# configuration and firmware, in both directions.

use v5.30;
use warnings;
use lib 't/lib';
use Test::More;
use Digest::MD5 qw(md5_hex);
use POSIX qw(strftime);
use Time::HiRes qw(time sleep);
use MDVR::Center;

plan skip_all => 'the simulator is not built' unless -x 'build/bin/mdvr-sim';
plan skip_all => 'there are no films' unless -s 'build/clips/SIM-sub.h264';

my $c = MDVR::Center->new;
my ($dev, $media);
my @here = ('127.0.0.1', $c->{media_port});

my $number;
sub order { ($number) = $dev->command(@_); return $media = $c->media }

# what the device answers to the newest command, answers to older ones left out
sub content {
    while (my $v100 = $dev->expect('V100')) {
        my @body = @{ $v100->{body} };
        return join ',', @body[ 3 .. $#body ] if $v100->{number} eq $number;
    }
    return 'nothing';
}

# blocks until the end message: (bytes at their offsets, offset of the end)
sub receive {
    my ($type, $bytes) = (shift // 0x6102, '');
    while (my $m = $media->expect($type, 5)) {
        my ($offset, $len) = unpack 'VV', $m->{payload};
        return ($bytes, $offset) unless $len;
        substr($bytes, $offset, $len, substr $m->{payload}, 8);
    }
    return ($bytes, 'no end');
}

# like receive, for a part of a file that begins at $from
sub receive_part {
    my ($from, $bytes) = (shift, '');
    while (my $m = $media->expect(0x6102, 5)) {
        my ($offset, $len) = unpack 'VV', $m->{payload};
        return $bytes unless $len;
        return 'hole' if $offset != $from + length $bytes;
        $bytes .= substr $m->{payload}, 8;
    }
    return 'no end';
}

$c->sim('--serial', 'DEMO1', '--plate', 'ZH 4711', '--recording-length', 20, '--channels', 2);
$dev = $c->register;

# ------------------------------------------------------------------- search
my $now = time;
my $day = strftime '%y%m%d', gmtime $now - 600;
order('C701', 11, "$day " . strftime('%H%M%S', gmtime $now - 600), strftime('%H%M%S', gmtime $now - 420), 3, 98, @here);
is content(), '1,,', 'C701 is accepted';
is $media->{registration}{keyword}, 'V108', 'V108';
my @found;
while (my $m = $media->expect(0x6101)) {
    last if $m->{payload} eq "\0" x 272;
    my ($y, $mo, $d, $h, $mi, $s, $dur, $size, $type, $ch, $name) = unpack 'C6VVCCZ*', $m->{payload};
    push @found, { start => sprintf('%02d%02d%02d %02d%02d%02d', $y, $mo, $d, $h, $mi, $s), duration => $dur, size => $size,
        type => $type, channel => $ch, name => $name };
}
cmp_ok scalar @found, '>=', 16, 'three minutes of two cameras, ' . @found . ' files';
is $found[0]{duration}, 20, 'of twenty seconds';
like $found[0]{name}, qr{^/mnt/sd0/\d{4}-\d\d-\d\d/ch0[12]-\d{6}-\d{6}\.h264$}, 'with names like these';
is $found[0]{size} % 4096, 0, 'and sizes of whole blocks';
$media->say(0x6105);
ok $media->closed, 'the end is answered by closing';

# ----------------------------------------------------------------- download
my $path = $found[0]{name};
system 'build/bin/mdvr-sim', '--serial', 'DEMO1', '--channels', 2, '--dump-file', $path, '--out', "$c->{dir}/want";
my $want = do { local (@ARGV, $/) = ("$c->{dir}/want"); <> };
is length $want, $found[0]{size}, 'what --dump-file writes has that size';
is substr($want, 80, 12), 'SSY_DVR_10XX', 'and the header of a real device';

order('C702', 12, 0, 0, 0, @here, $path);
is content(), '1,0,', 'C702 is accepted';
is join(',', @{ $media->{registration}{body} }[ 5 .. 7 ]), length($want) . ",$path,ZH 4711", 'V103: size, name, plate';
my ($got, $end) = receive();
ok $got eq $want, 'the file arrives whole';
is $end, 0, 'the end has offset 0, as captured';
$media->say(0x6105);
ok $media->closed, 'and 0x6105 ends it';

order('C702', 13, 1, 65536, 0, @here, $path);
is $media->{registration}{body}[5], length($want) - 65536, 'resumed: V103 has the rest';
is receive_part(65536), substr($want, 65536), 'which arrives';

order('C702', 14, 1, 4096, 12288, @here, $path);
is receive_part(4096), substr($want, 4096, 8192), 'a part by bytes';

order('C702', 15, 2, 10, 0, @here, $path);
my $m = $media->expect(0x6102);
cmp_ok abs(unpack('V', $m->{payload}) - length($want) / 2), '<', 8192, 'a part by seconds';

($number) = $dev->command('C702', 16, 0, 0, 0, @here, '/mnt/sd0/none.h264');
is content(), '0,12,no such file', 'a file that is not there';
$c->end;

# ---------------------------------------------------------- slowly, and moved
$c->sim('--serial', 'DEMO1', '--channels', 2, '--upload-rate', 200, '--eof', 'size', '--v103', 'bar', '--plate', 'ZH 1');
$dev = $c->register;
my $start = time;
order('C702', 17, 1, 0, 122880, @here, $path);
is $media->{registration}{body}[6], "$path|ZH 1", 'V103 with a bar';
my $bytes = receive_part(0);
is $bytes, substr($want, 0, 122880), '120 KB';
cmp_ok time - $start, '>', 0.4, 'at 200 KB/s';

order('C702', 18, 0, 0, 0, @here, $path);
$media->expect(0x6102);
$media->say(0x6103, pack 'VVV', 0x6001, 262144, 0);
1 while ($m = $media->expect(0x6102)) && unpack('V', $m->{payload}) < 262144;
is unpack('V', $m->{payload}), 262144, '0x6103 moves a running transfer';
$c->end;

# ------------------------------------------------------------------ pictures
$c->sim('--serial', 'DEMO1');
$dev = $c->register;
order('C510', 21, 2, @here);
is content(), '1,,', 'C510 is accepted';
my $jpeg = do { local (@ARGV, $/) = ('build/clips/DEMO1-ch3.jpg'); <> };
is join(',', @{ $media->{registration}{body} }[ 5 .. 7 ]), '2,' . length($jpeg) . ',2', 'V107: channel, size, JPEG';
($got) = receive(0x6201);
ok $got eq $jpeg, 'the picture of that camera';
$media->say(0x6105);

# ---------------------------------------------------------- configuration, log
order('C521', 22, @here);
my ($size, $name, $md5) = @{ $media->{registration}{body} }[ 8 .. 10 ];
is $media->{registration}{keyword}, 'V109', 'C521 brings V109';
($got) = receive(0x6301);
is "$size $md5", length($got) . ' ' . md5_hex($got), 'size and MD5 of the configuration are right';
like $got, qr/^serial=DEMO1$/m, 'it names the device';
$media->say(0x6105);

order('C704', 23, @here, 1, 29, '210305 000000', '210305 235959', 3);
like $media->expect(0x6106)->{payload}, qr/power on/, 'C704 brings a log';
ok $media->expect(0x6105), 'which the device ends';

sub push_file {
    my ($type, $data) = @_;
    for (my $at = 0; $at < length $data; $at += 4096) {
        my $block = substr $data, $at, 4096;
        $media->say($type, pack('VV', $at, length $block) . $block);
    }
    $media->say($type, pack 'VV', length $data, 0);
}

my $config = join '', map { "key$_=value\n" } 1 .. 1000;
order('C520', 24, length $config, md5_hex($config), @here, 'fleet.cfg');
is content(), '1,,', 'C520: ready';
push_file(0x6302, $config);
is content() . ' ' . content(), '3,, 4,,', 'verified, then configured';
$media->say(0x6105);

order('C706', 25, 5000, '0' x 32, @here, 'logo.jpg', 1, 0, '');
is content(), '1,,', 'C706: ready';
push_file(0x6102, 'x' x 5000);
is unpack('H8', $media->expect(0x6501)->{payload}), '00000d00', 'a wrong MD5 is told on the media port';
is content(), '2,13,file damaged', 'and on signaling';
$media->say(0x6105);

my $firmware = join '', map { chr($_ * 7 % 256) } 1 .. 30000;
($number) = $dev->command('C152', 26, 30000, md5_hex($firmware), @here, 'app.img', '9999', '2.1', '');
is content(), '5,5,wrong file type', 'firmware for another model is refused';
order('C152', 27, 30000, md5_hex($firmware), @here, 'app.img', '4100', '2.1', '');
is content(), '1,,', 'C152: ready';
is $media->{registration}{body}[6], 0, 'V106: from the beginning';
push_file(0x6102, $firmware);
is unpack('H8', $media->expect(0x6501)->{payload}), '01000000', 'the package is good';
$media->say(0x6105);
is content() . ' ' . content(), '3,, 4,,', 'verified, then done';
$dev = $c->register(8);
is $dev->{v101}{body}[14], '2.1', 'and it comes back with the new version';
$c->end;

# --------------------------------------------------------------- V141 and V112
$c->sim('--v141');
$dev = $c->register;
my $v141 = $dev->expect('V141');
$dev->c100($v141, "1,1,77,/x.jpg,127.0.0.1,$c->{media_port}," . md5_hex('picture') . ',0,,');
$media = $c->media;
is $media->{registration}{keyword}, 'V112', 'a waiting file is fetched';
push_file(0x6102, 'picture');
is unpack('v', $media->expect(0x6501)->{payload}), 1, 'checked';
my $v234 = $dev->expect('V234');
is join(',', @{ $v234->{body} }[ 6 .. 8 ]), '77,1,0', 'and reported';
$dev->c100($v234, $v234->{body}[1]);
$c->end;

# ---------------------------------------------------------------------- talk
$c->sim('--channels', 1);
$dev = $c->register;
order('C550', 31, 1, '', 2, 0, @here);
is content(), '1,,', 'C550 is accepted';
is join(',', @{ $media->{registration}{body} }[ 5 .. 11 ]), 'C550,1,8000,16,4,200,2', 'V105: G.726, intercom';
is unpack('x4V', $media->expect(0x6401)->{payload}), 1, 'audio parameters';
is length $media->expect(0x6411)->{payload}, 216, 'speech';
$media->say(0x6411, pack('Q<', 1) . "\0\1\x64\0" . 'x' x 200) for 1 .. 3;
$media->expect(0x6411) for 1 .. 3;
($number) = $dev->command('C550', 31, 0, '', 2, 0, '', 0);
ok $media->closed, 'the call ends';
is content(), '2,,', 'and is answered with 2';
is $c->end->{audio_frames_received}, 3, 'it heard us';

done_testing;
