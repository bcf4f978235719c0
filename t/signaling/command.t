# A command document in Redis becomes a message to the device, and the
# device's V100 becomes the answer.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
$t->add_device('00007');
my $n = $t->nginx(ready => 0, workers => 2);
my $dev = $t->device('00007')->register;
ok eventually(sub { $t->online('00007') }), 'the device is online';

package Answers {
    use JSON::PP;
    sub new {
        my ($class, $t) = @_;
        $t->redis('PING');
        my $store = $t->store;
        my $self = bless { buf => '', seen => [],
            sock => IO::Socket::UNIX->new(Peer => $store->{redis_socket}) }, $class;
        my ($password) = MDVR::Test::slurp("$store->{dir}/redis.conf") =~ /^requirepass (\S+)/m;
        for (['AUTH', $password], ['SUBSCRIBE', 'mdvr:ans:t:0']) {
            $store->redis_send($self, @$_);
            MDVR::Store::redis_read($self);
        }
        return $self;
    }
    sub next {
        my ($self, $id, $seconds) = @_;
        my $end = time + ($seconds // 5);
        while (1) {
            for my $i (0 .. $#{ $self->{seen} }) {
                return splice @{ $self->{seen} }, $i, 1 if $self->{seen}[$i]{id} eq $id;
            }
            return undef if time > $end;
            next unless length $self->{buf} || IO::Select->new($self->{sock})->can_read(0.1);
            push @{ $self->{seen} }, decode_json(MDVR::Store::redis_read($self)->[2]);
        }
    }
}

my $answers = Answers->new($t);
my $ids = 0;

sub command {
    my ($keyword, $body, %o) = @_;
    my ($node, $slot) = split / /, $o{route} // $t->redis('GET', 'mdvr:route:{00007}');
    my $id = sprintf '00000000-0000-7000-8000-%012d', ++$ids;
    $t->redis('PUBLISH', "mdvr:cmd:$node:$slot", JSON::PP->new->utf8->encode({
        id => $id, reply => 'mdvr:ans:t:0', serial => $o{serial} // '00007', keyword => $keyword,
        $o{hex} ? (body_hex => $body) : (body => $body), timeout_ms => $o{timeout} // 5000 }));
    return $id;
}

# ------------------------------------------------------------------ one command

my $id = command('C508', '50012345,1,0,1,0,127.0.0.1,6602');
my $cmd = $dev->expect('C508');
is join(',', @{ $cmd->{body} }), '50012345,1,0,1,0,127.0.0.1,6602', 'the body arrives as it was';
like $cmd->{number}, qr/^\d+$/, 'under a number of the connection';
is $answers->next($id)->{status}, 'sent', 'the sender hears that it was sent';
$dev->answer($cmd, 1, 1, '', 0);
my $a = $answers->next($id);
is_deeply [ @$a{qw(status content success)} ], [ 'acknowledged', '1,1,,0', 1 ], 'and what the device said';
ok $a->{device_time}, 'with the time of the device';

$id = command('C508', '50012346,1,9,1,0,127.0.0.1,6602');
$cmd = $dev->expect('C508');
$answers->next($id);
$dev->answer($cmd, 0, 1, 8, 'no channel 9, sorry');
$a = $answers->next($id);
is_deeply [ @$a{qw(status error_code error reason)} ],
    [ 'failed', '8', 'channel does not exist', 'no channel 9, sorry' ], 'a refusal is told in words';

# ---------------------------------------------------------------- how it is matched

$id = command('C505', '1,50,10,0300');
$cmd = $dev->expect('C505');
$answers->next($id);
$dev->answer({ %$cmd, time => '180903 110250' }, 1, 1, '', '');
is $answers->next($id)->{status}, 'acknowledged', 'keyword and number are enough';

$id = command('C505', '1,50,10,0300');
$cmd = $dev->expect('C505');
$answers->next($id);
$dev->answer({ %$cmd, number => 'zz' }, 1, 1, '', '');
is $answers->next($id)->{status}, 'acknowledged', 'so are keyword and time';

# ------------------------------------------------------------- one of a kind at a time

my ($x, $y, $z) = map { command(@$_) } [ 'C723', 0 ], [ 'C723', 1 ], [ 'C588', '' ];
my $first = $dev->expect('C723');
ok my $info = $dev->expect('C588'), 'another kind does not wait';
is $dev->expect('C723', 0.3), undef, 'a second command of the same kind waits';
$dev->answer($first, 1, 128, 120, 0, -4, 130);
ok my $second = $dev->expect('C723'), 'until the first is answered';
$answers->next($x);
is $answers->next($x)->{content}, '1,128,120,0,-4,130', 'the first has its answer';
$dev->answer($second, 1, 1, 2, 3, 4, 5);
$answers->next($y);
is $answers->next($y)->{content}, '1,1,2,3,4,5', 'the second has its own';
$dev->answer($info, 1, 'SN', 4108, '00007', 'T1', 4, 0, 0, 1, '1_1', 0, 0, 0, '', 0, '', '', '', 1, 4, 4, '', '');
$answers->next($z);
is $answers->next($z)->{status}, 'acknowledged', 'the third too';

# -------------------------------------------------------------- answers in several steps

$id = command('C152', '50012353,21083,1d249cc3f0300519fcc74afaf75f8ce9,127.0.0.1,6602,app.img,4108,2.1,');
$cmd = $dev->expect('C152');
$answers->next($id);
$dev->answer($cmd, $_, '', '') for 1, 3, 4;
is_deeply [ map { $answers->next($id)->{status} } 1 .. 3 ], [ qw(sent sent acknowledged) ], 'progress, then the end';

# ------------------------------------------------------------------------ no answer

$id = command('C510', '1,0,127.0.0.1,6602', timeout => 500);
$cmd = $dev->expect('C510');
is $answers->next($id)->{status}, 'sent', 'sent';
is $answers->next($id)->{status}, 'timeout', 'no answer in time is a timeout';
$dev->answer($cmd, 1, '', '');
is $answers->next($id)->{status}, 'acknowledged', 'a late answer still counts';

$id = command('C1111', '0,1,60,');
ok $dev->expect('C1111'), 'PTZ is sent';
$answers->next($id);
is $answers->next($id)->{status}, 'acknowledged', 'and has no answer to wait for';

$id = command('C501', '', serial => 'NOBODY');
is $answers->next($id)->{status}, 'offline', 'a device that is not here is offline';
$id = command('XYZ', '1');
is $answers->next($id)->{status}, 'failed', 'what is no command is not sent';

# -------------------------------------------------------------------- raw and text

$id = command('C517', unpack('H*', '5,6,' . "a,#\0\r\n"), hex => 1);
my $raw = $dev->expect('C517');
like $raw->{raw}, qr/,5,6,a,#\0\r\n#$/s, 'raw bytes travel as hexadecimal digits';
$answers->next($id);
$dev->answer($raw, 1, 0, '');
is $answers->next($id)->{status}, 'acknowledged', 'and are answered';

# ------------------------------------------------------------ commands that waited

my $device = $t->value("select id from mdvr.device where serial = '00007'");
sub stored {
    my ($keyword, $body, %o) = @_;
    return $t->value("insert into mdvr.command (tenant_id, device_id, type, keyword, body, timeout_s, hold_until, status)
        values (?, ?, 'raw', ?, ?, ?, now() + interval '1 hour', ?) returning id", $t->tenant, $device, $keyword, $body,
        $o{timeout} // 5, $o{status} // 'queued');
}
sub status { $t->row('select * from mdvr.command where id = ?', $_[0]) }

my $held = stored('C151', '5,a,b#c');
my $second_held = stored('C505', '\\x312c35302c31302c30333030');
my $lost = stored('C588', '', timeout => 1);
$dev->v101;
my $text = $dev->expect('C151');
like $text->{raw}, qr/,5,a,b#c#$/, 'a command that was held is sent when the device registers';
is join(',', @{ $dev->expect('C505')->{body} }), '1,50,10,0300', 'all of them';
ok eventually(sub { status($held)->{status} eq 'sent' }), 'that is recorded';
$dev->answer($text, 1, '', '');
ok eventually(sub { status($held)->{status} eq 'acknowledged' }), 'as is the answer';
my $late = $dev->expect('C588');
ok eventually(sub { status($lost)->{status} eq 'timeout' }), 'and that there was none';
$dev->answer($late, 1, 'SN', 4108, '00007', 'T1', 4, 0, 0, 1, '1_1', 0, 0, 0, '', 0, '', '', '', 1, 4, 4, '', '');
ok eventually(sub { status($lost)->{status} eq 'acknowledged' }), 'until it comes late';
$dev->v101;
is $dev->expect('C151', 0.5), undef, 'nothing is sent twice';

my $slow = stored('C510', '1,0,127.0.0.1,6602', status => 'timeout');
$t->redis('PUBLISH', join(':', 'mdvr:cmd', (split / /, $t->redis('GET', 'mdvr:route:{00007}'))[0, 1]),
    JSON::PP->new->utf8->encode({ id => $slow, reply => 'mdvr:ans:t:0', serial => '00007', keyword => 'C510',
        body => '1,0,127.0.0.1,6602', timeout_ms => 300 }));
$cmd = $dev->expect('C510');
$answers->next($slow), $answers->next($slow);
$dev->answer($cmd, 0, 9, 'capture failed');
ok eventually(sub { status($slow)->{status} eq 'failed' }), 'an answer that its sender did not wait for is recorded';
is status($slow)->{error}, 'snapshot failed', 'in words';

# -------------------------------------------------------------- the connection ends

$id = command('C588', '');
ok $dev->expect('C588'), 'a command is under way';
$answers->next($id);
$dev->close;
is $answers->next($id)->{status}, 'offline', 'when the connection ends its sender hears it';

$t->done;
