# Alarms of a simulated device: raised by order or by itself, repeated until they
# are answered, ended with another UID, followed by a film.

use v5.30;
use warnings;
use lib 't/lib';
use Test::More;
use Time::HiRes qw(time);
use MDVR::Center;

plan skip_all => 'the simulator is not built' unless -x 'build/bin/mdvr-sim';
plan skip_all => 'there are no films' unless -s 'build/clips/SIM-sub.h264';

my $c = MDVR::Center->new;

$c->sim('--serial', 'DEMO1');
my $dev = $c->register;
$c->order('DEMO1 alarm V201 2,0,');
my $v201 = $dev->expect('V201');
my ($time, $uid, $snapshot, $picture, $recording, $film, @data) = @{ $v201->{body} };
like "$time $uid", qr/^\d{6} \d{6} [0-9A-F]{16}$/, 'alarm time and UID';
is "@data", '2 0 ', 'the data of the order';
is scalar @{ $v201->{loc} }, 18, 'and where it was';
$dev->c100($v201, $uid);
$c->order('DEMO1 end V201');
my $v251 = $dev->expect('V251');
isnt $v251->{body}[1], $uid, 'the end has a UID of its own';
is join(',', @{ $v251->{body} }[ 6 .. 8 ]), '2,0,', 'and the same data';
$dev->c100($v251, $v251->{body}[1]);

$c->order('DEMO1 alarm V211');
my $v211 = $dev->expect('V211');
cmp_ok $v211->{body}[6], '>', 100, 'without data it makes some up';
my $again = $dev->expect('V211', 12);
is $again->{body}[1], $v211->{body}[1], 'unanswered, it is repeated after 10 s with the same UID';
is $again->{body}[0], $v211->{body}[0], 'and the same alarm time';
isnt $again->{time}, $v211->{time}, 'at another time';
$dev->c100($again, $again->{body}[1]);

$c->order('DEMO1 clip V201 0.5');
$v201 = $dev->expect('V201');
$dev->c100($v201, $v201->{body}[1]);
my $v232 = $dev->expect('V232', 5);
my ($media, $path, $size, $type, $start, $seconds, $channel) = @{ $v232->{body} }[ 6 .. 12 ];
is "$media $type", '2 2', 'V232 announces an alarm film';
like $start, qr/^20\d\d-\d\d-\d\d \d{6}$/, 'with its start as captured';
like $path, qr{/ch0@{[ $channel + 1 ]}-}, 'the channel counts from 1 in the path, from 0 in the field';
$dev->c100($v232, $v232->{body}[1]);
$dev->command('C702', 5, 3, 0, 0, '127.0.0.1', $c->{media_port}, $path);
my $conn = $c->media;
is $conn->{registration}{body}[5], $size, 'the film can be fetched and has that size';
my $bytes = 0;
while (my $m = $conn->expect(0x6102)) {
    my $len = unpack 'x4V', $m->{payload};
    last unless $len;
    $bytes += $len;
}
is $bytes, $size, 'all of it';
$conn->say(0x6105);
my $stats = $c->end;
is $stats->{alarm_repeats}, 1, 'repetitions are counted';
is $stats->{files_sent}, 1, 'so are files';

$c->sim('--serial', 'A1', '--alarm-connection', 'own', '--alarm-counter', '--numbers', 'hex');
$dev = $c->register;
$c->order('A1 alarm V203');
my $other = $c->signaling;
my $v203 = $other->expect('V203');
is $v203->{serial}, 'A1', 'alarms may come on a connection of their own';
is $v203->{number}, 1, 'with a counter of their own';
is scalar @{ $v203->{body} }, 6, 'V203 has no data';
$other->c100($v203, $v203->{body}[1]);
$c->order('A1 alarm V203') for 1 .. 9;
$v203 = $other->expect('V203') for 1 .. 9;
is $v203->{number}, 'a', 'in hexadecimal';
$c->end;

$c->sim('--alarm-every', 0.2, '--alarm-kinds', 'V204,V217');
$dev = $c->register;
my %kind;
for (1 .. 6) {
    my $m = $dev->next(3) or last;
    $kind{ $m->{keyword} }++;
    $dev->c100($m, $m->{body}[1]);
}
is join(' ', sort grep { !/V254/ } keys %kind), 'V204 V217', 'alarms by themselves, of the kinds that were named';
$c->end;

done_testing;
