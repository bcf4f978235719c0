# A simulated camera: live video paced by the wall clock, sound on request, and
# the ways in which a live session goes wrong.

use v5.30;
use warnings;
use lib 't/lib';
use Test::More;
use Time::HiRes qw(time);
use MDVR::Center;

plan skip_all => 'the simulator is not built' unless -x 'build/bin/mdvr-sim';
plan skip_all => 'there are no films' unless -s 'build/clips/SIM-sub.h264';

my $c = MDVR::Center->new;
my ($dev, $media);

# C508 start and the connection it brings
sub start {
    my (%o) = @_;
    my @cmd = $dev->command('C508', $o{id} // 50012345, 1, $o{channel} // 0, $o{stream} // 1, 0, '127.0.0.1', $c->{media_port});
    $media = $c->media(%o);
    return @cmd;
}

$c->sim('--serial', 'DEMO1', '--plate', 'ZH 1');
$dev = $c->register;
my ($n, $t) = start(channel => 1);
my $v100 = $dev->expect('V100');
is_deeply [ $v100->{number}, @{ $v100->{body} } ], [ $n, 'C508', $t, 0, 1, 1, '', 0 ], 'V100 answers as captured';
my $reg = $media->{registration};
is $reg->{keyword}, 'V102', 'V102 comes to the address of the command';
is $reg->{number}, 1, 'with its own numbers';
like $reg->{raw}, qr/^\@\@\$\$dc/, 'behind @@';
is_deeply [ @{ $reg->{body} }[ 0, 4 .. 8 ] ], [ 'V0.0.0.1', 50012345, 'C508', 1, 1, 'ZH 1' ], 'session, command, channel, stream';
is length $media->expect(0x6015)->{payload}, 512, 'stream parameters come first';
my $i = $media->expect(0x6011);
is scalar @{ $media->{seen} // [] }, 0, 'then an I-frame at once';
my ($stamp, $au) = (unpack('Q<', $i->{payload}), substr $i->{payload}, 8);
like $au, qr/^\x00\x00\x00\x01[\x67\x27]/, 'that begins with a parameter set';

my $film = do { local (@ARGV, $/) = ('build/clips/DEMO1-ch2-sub.h264'); <> };
isnt index($film, $au), -1, 'out of the film of that camera';

my (@stamps, @types, @at) = ($stamp);
my $begin = time;
while (time < $begin + 1.2) {
    my $m = $media->next(1) or last;
    push @types, $m->{type};
    push @stamps, unpack 'Q<', $m->{payload};
    push @at, $m->{at};
}
is_deeply [ grep { $stamps[$_] - $stamps[ $_ - 1 ] != 40000 } 1 .. $#stamps ], [], 'stamps advance by 40 ms';
ok @types >= 27 && @types <= 34, 'in real time: ' . @types . ' frames in 1.2 s';
is_deeply [ sort keys %{ { map { $_ => 1 } @types } } ], [ 0x6011, 0x6012 ], 'I- and P-frames';
is scalar(grep { $_ == 0x6013 } @types), 0, 'no sound unless asked for';

# the picture is that of the wall clock: which frame of the film was it?
my @offsets;
{
    my $pos = 0;
    my $m = $media->expect(0x6011);
    my $at = index $film, substr $m->{payload}, 8;
    # key frames come every ten frames
    my $key = () = substr($film, 0, $at) =~ /\x00\x00\x00\x01[\x67\x27]/g;
    my $now = int($m->{at} * 25) % 500;
    my $late = ($now - 10 * $key) % 500;
    cmp_ok $late, '<=', 3, "the clock in the picture is right ($late frames late)";
}

$media->say(0x6002, '');
$media->say(0x6004, pack 'V', 1);
my $sound = $media->expect(0x6013);
is length $sound->{payload}, 216, 'a sound frame as captured';
is unpack('H8', substr $sound->{payload}, 8), '00016400', 'with its voice header';
is unpack('H8', substr $sound->{payload}, 212), '00000000', 'and four bytes of padding';
my ($before) = grep { $_->{type} != 0x6013 } reverse @{ $media->{seen} };
is unpack('Q<', $sound->{payload}), unpack('Q<', $before->{payload}), 'and the stamp of the picture';
$media->say(0x6403, pack 'VQ<VQ<', 0, $stamp, 0, $stamp + 2e6);
$media->say(0x6004, pack 'V', 0);

# another channel beside it, then both stop by channel and stream
my $one = $media;
start(id => 50012346, channel => 0, stream => 0);
ok $media->expect(0x6011), 'a second camera, main stream';
$dev->command('C508', 999, 0, 1, 1, 0, '', 0);
ok $one->closed, 'stop goes by channel and stream, whatever the session';
$v100 = $dev->expect('V100') for 1 .. 2;
is "@{ $v100->{body} }[3..6]", '1 0  0', 'and is answered with mark 0';
$dev->command('C508', 999, 0, -1, 1, 0, '', 0);
ok $media->closed, 'channel -1 stops everything';
$dev->expect('V100');

$dev->command('C508', 1, 1, 7, 1, 0, '127.0.0.1', $c->{media_port});
is join(',', @{ $dev->expect('V100')->{body} }[ 3 .. 6 ]), '0,1,8,no channel 8', 'a camera that does not exist';

start(id => 7, result => 0, reason => 0x1001);
ok $media->closed, 'a refused registration ends';
my $stats = $c->end;
is $stats->{media_refused}, 1, 'and is counted';
cmp_ok $stats->{frames_sent}, '>', 40, 'as are frames';
is $stats->{key_requests} . $stats->{reports_received}, '11', 'requests and reports';

$c->sim('--codec', 'h265', '--media-order', 'data', '--audio-type', 10, '--audio-padding', 0);
$dev = $c->register;
is $dev->{v101}{body}[9], 10, 'V101 tells the sound';
start(answer => 0);
my $key = $media->expect(0x6011);
like substr($key->{payload}, 8), qr/^\x00\x00\x00\x01\x40\x01/, 'H.265, before 0x6000 has come';
$media->say(0x6000, pack 'VV', 1, 0);
$media->say(0x6004, pack 'V', 1);
is length $media->expect(0x6013)->{payload}, 332, 'A-law: 320 bytes';
$c->end;

$c->sim('--answer-order', 'late', '--stamp-jump', 0.4);
$dev = $c->register;
start(answer => 0);
is $dev->expect('V100', 0.3), undef, 'V100 waits';
$media->say(0x6000, pack 'VV', 1, 0);
ok $dev->expect('V100'), 'until data flows';
my ($last, $back) = (0, 0);
for (1 .. 25) {
    my $m = $media->next(1) or last;
    next if $m->{type} == 0x6015;
    my $s = unpack 'Q<', $m->{payload};
    $back++ if $s < $last;
    $last = $s;
}
is $back, 1, 'stamps jump back once';
$c->end;

$c->sim('--media-fail', 'garbage', '--media-fail-after', 0.2);
$dev = $c->register;
start();
my $m;
1 while ($m = $media->next(1)) && !$m->{junk};
ok $m && $m->{junk}, 'garbage between frames';
$c->end;

$c->sim('--media-fail', 'mid', '--media-fail-after', 0.3);
$dev = $c->register;
start();
ok $media->closed(2), 'breaks in the middle';
$c->end;

$c->sim('--media-fail', 'never');
$dev = $c->register;
$dev->command('C508', 1, 1, 0, 1, 0, '127.0.0.1', $c->{media_port});
ok $dev->expect('V100'), 'promises';
is $c->media(timeout => 0.5), undef, 'and never connects';
$c->end;

$c->sim('--answer', 'fail', '--answer-code', 4, '--answer-reason', 'busy, sorry');
$dev = $c->register;
$dev->command('C508', 1, 1, 0, 1, 0, '127.0.0.1', $c->{media_port});
is join(',', @{ $dev->expect('V100')->{body} }[ 3 .. 7 ]), '0,1,4,busy, sorry', 'refuses with a reason that has a comma';
$c->end;

$c->sim('--answer', 'none');
$dev = $c->register;
$dev->command('C508', 1, 1, 0, 1, 0, '127.0.0.1', $c->{media_port});
is $dev->expect('V100', 0.5), undef, 'or says nothing';
$c->end;

done_testing;
