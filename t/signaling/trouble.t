# PostgreSQL goes away: devices stay, positions and alarms are kept on disk
# and stored once, in their order, when it is back.  Redis goes away: storage
# goes on.  A worker dies, nginx is stopped: nothing that was kept is lost.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Events;
use Compress::Raw::Zlib ();

my $t = MDVR::Test->new;
$t->allow(qr/exited on signal 9/);
my $id = $t->add_device('00007');
my $n = $t->nginx(ready => 0, stream => 'mdvr_alarm_timeout 1s; mdvr_telemetry_timeout 2s;');
my $state = "$n->{dir}/state";
my $events = MDVR::Events->new($t, $t->tenant);
my $base = int(time) - 3600;
my $sent = 0;

sub report { my ($dev) = @_; $dev->v114(at => $base + $sent++, speed => sprintf '%.2f', $sent % 100) }
sub stored { $t->value('select count(*) from mdvr.telemetry where device_id = ?', $id) }

my $dev = $t->device('00007')->register;
report($dev) for 1 .. 20;
ok eventually(sub { stored() == 20 }), 'positions are stored';

# ------------------------------------------------------------ PostgreSQL is away

$t->store->pg_stop('immediate');
report($dev) for 1 .. 200;
like $dev->alarm('V201', uid => 'START1', data => [ 2, 0, 'x' ], timeout => 8), qr/,0,START1#$/,
    'an alarm is acknowledged';
cmp_ok -s "$state/alarms.journal", '>', 0, 'after it was written to the journal';
like $dev->alarm('V251', uid => 'END1', data => [ 2, 0, 'x' ]), qr/,0,END1#$/, 'so is its end';
like $dev->alarm('V201', uid => 'START1', data => [ 2, 0, 'x' ]), qr/,0,START1#$/, 'and a repetition';
like $dev->v109, qr/C501/, 'the device is served';
my $again = $t->device('00007');
like $again->v101, qr/,0,1,1,#$/, 'a device that was seen before can register';
ok $dev->closed, 'and replaces its older connection';
report($again) for 1 .. 30;
ok eventually(sub { -s "$state/positions.spool" }), 'positions are in the spool';
ok eventually(sub { $n->metrics('mdvr_spool_depth') >= 200 }), 'which the metric shows';

$t->store->pg_start;
ok eventually(sub { -s "$state/alarms.journal" == 0 && -s "$state/positions.spool" == 0 }, 15),
    'both are replayed when PostgreSQL is back';
is stored(), 250, 'every position is there once';
is $t->value("select count(*) from mdvr.alarm where uid = 'START1'"), 1, 'the alarm once';
is $t->value("select status || ' ' || end_uid from mdvr.alarm where uid = 'START1'"), 'ended END1',
    'with its end';
ok $events->find(sub { $_[0]{type} eq 'alarm' && $_[0]{uid} eq 'START1' }), 'its event is published after the replay';
ok eventually(sub { $t->value('select count(*) from mdvr.connection where device_id = ?', $id) == 2 }),
    'both connections are in the history';
is $t->value('select online from mdvr.device_state where device_id = ?', $id), 't', 'the device is online';
report($again) for 1 .. 10;
ok eventually(sub { stored() == 260 }), 'and storing goes on directly';

# ------------------------------------------------------- nginx restarts meanwhile

$t->store->pg_stop('immediate');
report($again) for 1 .. 50;
like $again->alarm('V202', uid => 'KEPT', data => [ 1, '' ], timeout => 8), qr/,0,KEPT#$/, 'an alarm is acknowledged';
$again->v109;
ok eventually(sub { -s "$state/positions.spool" }), 'positions reach the spool';
$n->stop('KILL');
$t->store->pg_start;
$n->start(ready => 0);
ok eventually(sub { $t->value("select count(*) from mdvr.alarm where uid = 'KEPT'") == 1 }, 15),
    'and stored by the next nginx after a kill';
ok eventually(sub { stored() == 310 }), 'as are the positions that were in the spool';
ok eventually(sub { $t->value('select not online from mdvr.device_state where device_id = ?', $id) eq 't' }),
    'the device is offline';

# ------------------------------------------------- a stop with a batch in memory

my $last = $t->device('00007')->register;
my $before = stored();
$n->stop;
$n->write_conf(stream => 'mdvr_telemetry_flush 30s;');
$n->start(ready => 0);
$last = $t->device('00007')->register;
report($last) for 1 .. 25;
$last->v109;
$n->stop;
$n->write_conf(stream => '');
$n->start(ready => 0);
ok eventually(sub { stored() == $before + 25 }, 15), 'a stop keeps the batch in memory for the next start';

# --------------------------------------------------------------- Redis is away

$last = $t->device('00007')->register;
$t->store->redis_stop('KILL');
report($last) for 1 .. 10;
like $last->alarm('V201', uid => 'NOREDIS', data => [ 2, 0, 'x' ]), qr/,0,NOREDIS#$/, 'without Redis alarms are stored';
ok eventually(sub { stored() == $before + 35 }), 'and positions';
my $newer = $t->device('00007')->register;
ok $last->closed, 'and the newest connection wins';
$t->store->redis_start;
ok eventually(sub { $newer->v109(no_wait => 1); $t->online('00007') }, 20), 'the route comes back with Redis';

# ------------------------------------------- what another version has written

# A worker that drains after a binary upgrade meets registrations of workers with
# a later boot: those are good, one of an earlier boot is not.
sub record {
    my ($kind, @params) = @_;
    my $body = join '', map { pack('V', length) . $_ } @params, $t->tenant;
    my $rest = pack('vCC', 1, $kind, @params + 1) . $body;
    return slurp("$state/alarms.journal.key") . pack('VV', length $body, Compress::Raw::Zlib::crc32($rest)) . $rest;
}
sub begin_of { my ($device, $boot, $address) = @_; return record(4, $device, 'a', $boot, $address // '127.0.0.1', '2030-01-01T00:00:00Z', '{}') }
sub end_of { my ($device) = @_; return record(5, $device, 'a', '2030-01-01T00:00:00Z', 'written') }
sub append {
    open my $fh, '>>', "$state/alarms.journal" or die "journal: $!";
    syswrite $fh, join '', @_;
    close $fh;
}
my %boots = (EARLIER => '01000000-0000-7000-8000-000000000000', LATER => '0f000000-0000-7000-8000-000000000000');
append(begin_of($t->add_device($_), $boots{$_})) for sort keys %boots;
ok eventually(sub { -s "$state/alarms.journal" == 0 }), 'a journal with registrations of other boots is replayed';
my @known = map { $_->[0] } $t->sql("select serial from mdvr.device d join mdvr.connection c on c.device_id = d.id where serial in ('EARLIER', 'LATER')");
is "@known", 'LATER', '... of which a later one counts';

# ------------------------------------------------ many begins and ends, in groups

$t->sql("insert into mdvr.device (tenant_id, serial) select ?, 'G' || n from generate_series(1, 600) n", $t->tenant);
my @many = map { $_->[0] } $t->sql("select id from mdvr.device where serial ~ '^G[0-9]' order by substr(serial, 2)::int");
$last = $t->device('00007')->register;
ok eventually(sub { $t->value("select online from mdvr.device_state where device_id = ?", $id) eq 't' }), 'a device is online';
my $boot = $t->value('select boot from mdvr.device_state where device_id = ?', $id);

$t->store->pg_stop('immediate');
my $bad = begin_of($many[599], $boot, 'nowhere');
append((map { begin_of($_, $boot) } @many[0 .. 149]), $bad, begin_of($many[150], $boots{EARLIER}), map { begin_of($_, $boot) } @many[150 .. 299]);
like $last->alarm('V201', uid => 'BETWEEN', data => [ 2, 0, 'x' ], timeout => 8), qr/,0,BETWEEN#$/, 'an alarm comes behind 300 registrations';
append(map { end_of($_) } @many[0 .. 299]);
like $last->alarm('V251', uid => 'BEHIND', data => [ 2, 0, 'x' ], timeout => 8), qr/,0,BEHIND#$/, 'its end behind 300 ends of connections';
$t->store->pg_start;
ok eventually(sub { -s "$state/alarms.journal" == 0 }, 30), 'all of it is replayed';
is slurp("$state/alarms.journal.refused"), $bad, 'the one that PostgreSQL refuses is set aside alone';
is $t->value("select count(*) || ' ' || count(distinct device_id) from mdvr.connection where reason = 'written'"), '300 300', 'every connection began and ended once';
is $t->value("select status || ' ' || end_uid from mdvr.alarm where uid = 'BETWEEN'"), 'ended BEHIND', 'the alarm is stored with its end';
my $at = $t->value("select seq from mdvr.event where topic = 'alarm' and message ->> 'uid' = 'BETWEEN' order by seq limit 1");
is $t->value("select string_agg(n::text, ' ') from (select count(*) as n from mdvr.event e join mdvr.device d on d.id = e.device_id
    where d.serial ~ '^G[0-9]' and e.topic = 'device' group by e.message ->> 'event', e.seq < ? order by min(e.seq)) x", $at), '300 300',
    'the begins came before it, the ends after it';

# the worker that replays is killed while a group is under way

$t->sql('begin');
$t->sql("select from mdvr.device_state where device_id = ? for update", $many[299]);
append(map { begin_of($_, $boot) } @many);
ok eventually(sub { $t->value("select count(*) from pg_locks where not granted") }), 'a group waits';
is $t->value("select count(*) from mdvr.connection where disconnected_at is null and connected_at > '2029-01-01'
    and device_id = any (string_to_array(?, ',')::uuid[])", join ',', @many), 256, 'the one before it is stored, nothing of this one';
$n->kill_worker;
$t->sql('rollback');
ok eventually(sub { -s "$state/alarms.journal" == 0 }, 30), 'the next worker replays it';
is $t->value("select count(*) || ' ' || count(distinct device_id) from mdvr.connection where disconnected_at is null and connected_at > '2029-01-01' and device_id = any (string_to_array(?, ',')::uuid[])", join ',', @many), '600 600',
    'every connection is there once';
is slurp("$state/alarms.journal.refused"), $bad, 'nothing else was set aside';

$t->done;
