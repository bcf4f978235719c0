# A simulated device registers, beats, reports where it is and comes back.

use v5.30;
use warnings;
use lib 't/lib';
use Test::More;
use Time::HiRes qw(time);
use MDVR::Center;

plan skip_all => 'the simulator is not built' unless -x 'build/bin/mdvr-sim';

my $c = MDVR::Center->new;
$c->sim('--serial', 'MDVR_0042', '--plate', 'ZH %s', '--interval', 0.2, '--heartbeat', 0.4, '--retry', 0.3, '--channels', 4);
my $dev = $c->register;
my $v101 = $dev->{v101};

is $v101->{serial}, 'MDVR_0042', 'V101 names the device';
is_deeply [ @{ $v101->{body} }[ 0, 1, 3, 6, 7, 9, 13 ] ], [ 'V1.0.0.1', 4100, 0, 'ZH MDVR_0042', 3, 1, 'MDVR_0042' ],
    'protocol, type, port, plate, network, audio, IMEI';
is scalar @{ $v101->{body} }, 17, 'sixteen fields and an empty one';
is scalar @{ $v101->{loc} }, 18, 'the location group of today';

my $v114 = $dev->expect('V114');
is_deeply $v114->{body}, [1], 'positions are periodic';
like $v114->{loc}[0], qr/^A00\d\d$/, 'with a fix';
my @p = map { $dev->expect('V114')->{loc} } 1 .. 4;
my $far = grep { "@{$p[$_]}[1..6]" ne "@{$p[0]}[1..6]" } 1 .. 3;
ok $far || $p[0][16] > 0 || $p[-1][7] == 0, 'the vehicle moves or stands';
cmp_ok abs($p[0][4] + $p[0][5] / 60 - 47.37), '<', 0.05, 'in its city';

$dev->raw(MDVR::Center::Conn::text(1, 'C500', 'MDVR_0042', '', MDVR::Center::Conn::stamp()));
ok $dev->expect('V101'), 'C500 makes it register again';

close $dev->{sock};
$dev = $c->register;
ok $dev, 'it comes back after a loss';
is $dev->{v101}{body}[5], 2, 'and counts its connections';
$c->end;
is $c->{status}, 0, 'it leaves politely';

$c->sim('--heartbeat', 0.3, '--silence', 1, '--retry', 0.3);
$dev = $c->register;
ok my $beat = $dev->expect('V109', 2), 'without positions it beats';
is_deeply $beat->{body}, [], 'with an empty body';
$dev->command('C501');
ok $dev->expect('V109', 2), 'again';
my $start = time;
ok $dev->closed(3), 'a silent server is given up';
ok $c->signaling(3), 'and called again';
$c->end;

$c->sim('--on-reject', 'stop', '--retry', 0.2);
$dev = $c->signaling;
$dev->c100($dev->expect('V101'), '0,2,');
ok $dev->closed, 'a refused device hangs up';
ok !$c->signaling(1), 'and stays away when told so';
like $c->end->{rejections}, qr/^1$/, 'counted';

$c->sim('--retry', 0.2);
$dev = $c->signaling;
$dev->c100($dev->expect('V101'), '1,2,');
ok $dev->closed, 'result 1 with cause 2, as captured, is a refusal';
$dev = $c->signaling(3);
ok $dev, 'otherwise it tries again';
$dev->c100($dev->expect('V101'), '1,');
$dev->command('C588');
like join(',', @{ $dev->expect('V100')->{body} }), qr/^C588,\d{6} \d{6},0,1,SN/, 'the documented form of "accepted" counts, too';
$c->end;

my @first = map {
    $c->sim('--seed', 5, '--serial', 'X1');
    my $d = $c->register;
    my @loc = @{ $d->{v101}{loc} };
    $c->end;
    "@loc[1 .. 6] $loc[14]";
} 1 .. 2;
is $first[0], $first[1], 'the same seed and serial begin at the same place';

my %seen;
$c->sim('--devices', 20, '--serial-format', 'SIM%04u', '--first', 5, '--connect-rate', 1000);
for (1 .. 20) {
    my $d = $c->register or last;
    $seen{ $d->{v101}{serial} }++;
    push @{ $c->{keep} }, $d;
}
is join(' ', (sort keys %seen)[ 0, -1 ]), 'SIM0005 SIM0024', 'twenty devices with serials in a row';
my $stats = $c->end;
is $stats->{registrations}, 20, 'all registered';
cmp_ok $stats->{registration_ms}{p99}, '<', 5000, 'and timed';

is system('build/bin/mdvr-sim --nonsense >/dev/null 2>&1') >> 8, 2, 'an unknown option is refused';
like `build/bin/mdvr-sim --channels 17 2>&1`, qr/invalid value "17" of "--channels"/, 'a wrong value is quoted';
like `build/bin/mdvr-sim --serial-format 'S%s' 2>&1`, qr/needs one %u/, 'a format that would read memory is refused';

done_testing;
