# The variants of real devices that the simulator can play, each as it looks on
# the wire, and load by the thousand.

use v5.30;
use warnings;
use lib 't/lib';
use Test::More;
use Time::HiRes qw(time sleep);
use MDVR::Center;

plan skip_all => 'the simulator is not built' unless -x 'build/bin/mdvr-sim';

my $c = MDVR::Center->new;

# one device with these options: its V101 and first position
sub device {
    my (@options) = @_;
    $c->sim('--serial', 'X1', '--interval', 0.05, @options);
    my $dev = $c->register or return;
    my $v114 = $dev->expect('V114');
    return ($dev->{v101}, $v114, $dev);
}

my ($v101, $v114, $dev) = device('--layout', 'current12');
is scalar(split /\|/, $v114->{loc}[17]), 12, 'bus group of twelve';
$c->end;

($v101, $v114) = device('--layout', 'b');
is scalar @{ $v114->{loc} }, 19, 'layout B has 19 tokens in V114, too';
like "$v114->{loc}[0] $v114->{loc}[1]", qr/^A \+8$/, 'no satellites, a printed sign';
is $v114->{body}[0], 1, 'then the drive flag';
$c->end;

($v101, $v114) = device('--layout', 'c');
cmp_ok $v114->{loc}[3], '<', 10000, 'layout C: parts of minutes';
$c->end;

($v101, $v114) = device('--fix', 'void');
like "@{$v114->{loc}}[0,1]", qr/^V0000 8$/, 'void with the last position';
$c->end;

($v101, $v114) = device('--fix', 'none');
is "@{$v114->{loc}}[0..6]", 'V0000 -0 0 0 -0 0 0', 'no position';
$c->end;

($v101, $v114) = device('--fix', 'zero');
is $v114->{loc}[0], 'A0000', 'a fix without satellites';
$c->end;

($v101, $v114) = device('--origin', '-23.5488,-46.6332');
like "@{$v114->{loc}}[1,4]", qr/^-46 -23$/, 'the south-west';
$c->end;

($v101, $v114) = device('--origin', '51.5074,-0.1276');
is $v114->{loc}[1], '-0', 'just west of Greenwich';
$c->end;

($v101) = device('--v101', 'extra');
is join(',', @{ $v101->{body} }[ 16 .. 20 ]), ',0,1,0,', 'V101 with extra fields';
$c->end;

($v101) = device('--v101', 'short');
is scalar @{ $v101->{body} }, 7, 'V101 of seven fields';
$c->end;

($v101) = device('--plate', "\xe7\xb2\xa4B8,8#8");
is $v101->{body}[6], "\xd4\xc1B8 8 8", 'a plate in GB18030, without comma and #';
$c->end;

($v101) = device('--plate', "\xe7\xb2\xa4B", '--text', 'utf8');
is $v101->{body}[6], "\xe7\xb2\xa4B", 'or in UTF-8';
$c->end;

($v101) = device('--clock', 480);
is substr($v101->{time}, 0, 11), POSIX::strftime('%y%m%d %H%M', gmtime(time + 28800)), 'eight hours ahead';
$c->end;

($v101) = device('--clock', 'wrong');
cmp_ok substr($v101->{time}, 0, 2), '<', POSIX::strftime('%y', gmtime) - 3, 'years behind';
$c->end;

($v101, $v114, $dev) = device('--tcp', 'bytes');
is $dev->expect('V114')->{keyword}, 'V114', 'one byte per segment';
$c->end;

$c->sim('--serial', 'X1', '--interval', 0.1, '--tcp', 'split');
$dev = $c->register;
$dev->{reads} = [];
$dev->expect('V114') for 1 .. 3;
ok scalar(grep { $_ == 6 } @{ $dev->{reads} }), 'cut inside the length digits';
$c->end;

$c->sim('--serial', 'X1', '--interval', 0.05, '--tcp', 'batch');
$dev = $c->register;
$dev->expect('V114');
is scalar(() = $dev->{buf} =~ /V114/g), 2, 'several messages per segment';
$c->end;

# ------------------------------------------------------- settings and answers
($v101, $v114, $dev) = device('--plate', 'ZH 1');
sub answer {
    $dev->command(@_);
    my @body = @{ $dev->expect('V100')->{body} };
    return join ',', @body[ 3 .. $#body ];
}
like answer('C588'), qr/^1,SNX1,4108,X1,T2019061202,4,0,15,1,12745_8023,/, 'C588';
like answer('C505', 1, '', 30, '0200'), qr/^1,1,,/, 'C505';
like answer('C505', 1, '', 2, '0200'), qr/^0,1,2,out of range/, 'C505 out of range';
like answer('C722', 0, 1, 2, 3, -4, 5), qr/^1,,/, 'C722';
like answer('C723', 0), qr/^1,1,2,3,-4,5/, 'C723 gives it back';
like answer('C511', 1, 2047, 0, 0, 0, 0, 0, 0, 0, 7, 1, 2), qr/^1,,/, 'C511';
like answer('C512', 1), qr/^1,2047,0,0,0,0,0,0,0,7,1,2,,/, 'C512 gives it back';
like answer('C512', 9), qr/^0,8,/, 'a channel that is not there';
like answer('C517', 1, 5, 'a,b#c'), qr/^1,5,a,b#c/, 'C517 raw bytes';
like answer('C600', 7, 2, '0a1b'), qr/^1,0,7,2,4,0a1b,,/, 'C600';
like answer('C151', 18, 'Call #5, gate open'), qr/^1,,/, 'C151';
like answer('C7212', '127.0.0.1', 1087, 0), qr/^1,,/, 'C7212';
like answer('C999'), qr/^0,2,unknown command/, 'what it does not know';
$dev->command('C1111', 0, 1, 60, '');
is $dev->expect('V100', 0.3), undef, 'C1111 is not answered';
like answer('C150', 5, 'x', 'y'), qr/^1,,/, 'C150 reboot';
ok $dev->closed, 'and it is gone';
$dev = $c->register(8);
is $dev->{v101}{body}[4], 2, 'and back, switched on once more';
$c->end;

# ----------------------------------------------------------------------- load
$c->sim('--devices', 200, '--rate', 4000, '--connect-rate', 2000, '--batch', 20);
my @devs;
while (@devs < 200) { push @devs, $c->register // last }
is scalar @devs, 200, 'two hundred devices';
my ($count, $start, $sel) = (0, time, IO::Select->new(map { $_->{sock} } @devs));
while (time < $start + 2) {
    for ($sel->can_read(0.1)) {
        sysread $_, my $buf, 262144 or next;
        $count += () = $buf =~ /,V114,/g;
    }
}
my $rate = $count / (time - $start);
ok $rate > 3200 && $rate < 4800, "send what they were told: $rate positions/s";
my $stats = $c->end;
cmp_ok $stats->{positions_sent}, '>=', $count, 'and count them';

done_testing;
