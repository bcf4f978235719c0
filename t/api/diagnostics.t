# Diagnostics of a device: what it said on the wire and was told, decoded; how its
# connections ended; why it is offline, in words.

use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
my @n = map { $t->nginx(workers => 2) } 1, 2;
my $id = $t->add_device('00007');
my $api = $t->admin;
my $other = $t->http(node => $n[1])->token($api->{token});

sub diagnostics { my $r = ($_[0] // $api)->get("/devices/$id/diagnostics"); $r->{status} == 200 or diag $r->{body}; return $r->{json} }
sub said { my ($keyword, $direction) = @_; return grep { $_->{keyword} eq $keyword && $_->{direction} eq $direction } @{ diagnostics()->{messages} } }

is diagnostics()->{offline_cause}, 'never registered', 'a device that never came';
is_deeply diagnostics()->{messages}, [], '... has said nothing';

my $dev = $t->device('00007', plate => 'B-LB 7')->register;
$dev->v109;
$dev->v114(lat => [ 22, 40, 236220000 ], speed => '63.40');
$dev->send('V202', [ MDVR::Device::location(), '', MDVR::Device::stamp(), 'A1', 0, '', 0, '', 1 ]);
my $p = $api->begin('POST', "/api/v1/devices/$id/commands", { type => 'device_info' });
my $m = $dev->expect('C588');
$dev->answer($m, 1, 'SN', 4108, '00007', 'T2018');
$p->end;

ok eventually(sub { said('C588', 'out') && said('V100', 'in') && said('V109', 'in') && said('V114', 'in') && said('V202', 'in') }, 5),
    'messages of every kind are there' or diag join ' ', map { "$_->{direction}:$_->{keyword}" } @{ diagnostics()->{messages} };
my ($v101) = said('V101', 'in');
is_deeply [ grep { $_ eq 'B-LB 7' } @{ $v101->{data}{fields} } ], ['B-LB 7'], 'a registration with its fields';
ok scalar(said('C100', 'out')), '... and what it was answered';
ok scalar(said('C501', 'out')), 'a heartbeat and its answer';
is((said('V114', 'in'))[0]{data}{speed_kmh}, 63.4, 'a position, decoded');
is((said('C588', 'out'))[0]{data}{type}, 'device_info', 'a command by its type');
is((said('V100', 'in'))[0]{data}{to}, 'C588', '... its answer');
is scalar(said('C588', 'out')), 1, '... once';
my @at = map { $_->{at} } @{ diagnostics()->{messages} };
is_deeply \@at, [ sort { $b cmp $a } @at ], 'newest first';
is_deeply [ map { $_->{keyword} } @{ diagnostics($other)->{messages} } ], [ map { $_->{keyword} } @{ diagnostics()->{messages} } ], 'the other node says the same';

# ------------------------------------------------- what is strange, what is much

$dev->send('V999', [ "\xb2\xe2\x01\"\\", '<b>', 'x' x 900 ], no_wait => 1);
ok eventually(sub { my ($s) = said('V999', 'in'); $s && $s->{data}{cut} }, 5), 'a message nobody knows is shown, cut and as text';
my ($strange) = said('V999', 'in');
is $strange->{data}{fields}[0], '???"\\', '... without bytes that are no text';
for (1 .. 120) { $dev->v109 }
ok eventually(sub { said('V109', 'in') + said('C501', 'out') >= 90 }, 5), 'much of it: the last ones';
is scalar(@{ diagnostics()->{messages} }), 100, '... a hundred at the most';
is $t->redis('LLEN', "mdvr:wire:{$id}"), 100, '... and no more are kept';
cmp_ok $t->redis('TTL', "mdvr:wire:{$id}"), '>', 600_000, '... for a week';

# ------------------------------------------------------------------ who may, why

is $t->admin(tenant => 'B')->get("/devices/$id/diagnostics")->{status}, 404, 'not for another tenant';
is $t->login($t->user(tenant => 'A', role => 'client_user'))->get("/devices/$id/diagnostics")->{status}, 403, 'nor for who only looks';
my $sold = $t->add_device('00008');
$t->device('00008')->register->v109;
ok eventually(sub { $t->redis('EXISTS', "mdvr:wire:{$sold}") }, 5), 'a device that is sold';
$t->sql('update mdvr.device set deleted_at = now() where id = ?', $sold);
my $bought = $t->add_device('00008', tenant => 'B');
is_deeply $t->admin(tenant => 'B')->get("/devices/$bought/diagnostics")->{json}{messages}, [], '... has said nothing to who bought it';
my $knock = $t->device('99999', connect => 1);
$knock->v101(no_wait => 1);
ok eventually(sub { $t->value('select count(*) from mdvr.pending_device') }), 'an unknown serial knocks';
is scalar(map { @$_ } $t->redis('KEYS', 'mdvr:wire:*')), 2, '... and nothing is kept of it';

$t->store->redis_stop('KILL');
$dev->v109;
my $d = diagnostics();
ok scalar(grep { $_->{keyword} eq 'V101' } @{ $d->{messages} }), 'without Redis: what was stored';
$t->store->redis_start;
ok eventually(sub { $t->http->request('GET', '/readyz')->{status} == 200 }, 10), 'Redis is back';

$dev->close;
ok eventually(sub { !diagnostics()->{online} }, 10), 'it leaves';
$d = diagnostics();
like $d->{offline_cause}, qr/\w{3}/, "... and why is said in words: $d->{offline_cause}";
ok $d->{connections}[0]{disconnected_at}, '... in the history, too';

$t->allow(qr/redis|Redis|unknown/);
$t->done;
