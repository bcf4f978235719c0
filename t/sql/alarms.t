# Alarms: start and end paired by sub-key, repetitions stored once, files attached.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Session;

my $t = MDVR::Test->new(no_redis => 1);
my $dev = $t->add_device('00007');
my $stream = MDVR::Session->new($t, 'mdvr_stream');
my $worker = MDVR::Session->new($t, 'mdvr_worker');

# One message; minutes are relative to now.  Returns rows of [alarm, is_new, event, message].
sub store {
    my (%m) = (keyword => 'V201', phase => 'start', sub_key => '2', at => 0, device => $dev, severity => 'warning', @_);
    my ($n) = $m{keyword} =~ /(\d+)/;
    my $code = $m{phase} eq 'end' ? 'V' . ($n - 50) : $m{keyword};
    return $stream->rows(q{select alarm_id, is_new, event_id, message from mdvr.store_alarm(?, ?, ?, ?, 'custom', ?, ?, ?,
        now() + make_interval(mins => ?::integer), now(), '{"lat": 22.5, "lon": 114, "gps_valid": true}', '{"number": 2}', '', null)},
        @m{qw(device keyword)}, $code, @m{qw(phase severity sub_key uid at)});
}

sub row_of {
    $t->row(q{select status, end_reason, uid, end_uid, severity, extract(epoch from ended_at - started_at)::integer as seconds,
        snapshot_path, lat_deg from mdvr.alarm where id = ?}, $_[0]);
}
sub message { MDVR::Test::json_of($_[0]) }
my $events = sub { $t->value('select count(*) from mdvr.event where topic = \'alarm\'') };

# Start, repetition, end.
my ($r) = store(uid => 'A1');
my ($id, $new, $event, $message) = @$r;
is $new, 't', 'a start is new';
my $m = message($message);
is_deeply [ @{$m}{qw(type id alarm_id device_id serial code kind phase uid severity status)} ],
    [ 'alarm', $event, $id, $dev, '00007', 'V201', 'custom', 'start', 'A1', 'warning', 'open' ], 'the message names it';
is $m->{position}{lat}, 22.5, 'and where it was';
like $m->{at}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'and when';
is $t->value('select message::text from mdvr.event where seq = ?', $event), $message, 'the outbox holds exactly this message';
is row_of($id)->{status}, 'open', 'the alarm is open';
is row_of($id)->{snapshot_path}, undef, 'an empty path is none';
is row_of($id)->{lat_deg}, 22.5, 'the place is kept';

($r) = store(uid => 'A1');
is_deeply [ @$r[0 .. 3] ], [ $id, 'f', undef, undef ], 'a repetition is the same alarm and no event';
is $events->(), 1, 'nothing was published again';

($r) = store(uid => 'A2', keyword => 'V251', phase => 'end', at => 3);
is $r->[0], $id, 'the end finds its start although its UID differs';
is message($r->[3])->{phase}, 'end', 'and is published as the end';
is message($r->[3])->{uid}, 'A2', 'with its own UID';
is_deeply [ @{ row_of($id) }{qw(status end_reason end_uid seconds)} ], [ 'ended', 'device', 'A2', 180 ], 'the alarm has ended';
($r) = store(uid => 'A2', keyword => 'V251', phase => 'end', at => 3);
is_deeply [ @$r[0 .. 2] ], [ $id, 'f', undef ], 'a repeated end is stored once';

# Same UID with another keyword or device is another message.
($r) = store(uid => 'A1', keyword => 'V203', sub_key => '');
is $r->[1], 't', 'the same UID under another keyword is new';
my $dev2 = $t->add_device('00008');
($r) = store(uid => 'A1', device => $dev2);
is $r->[1], 't', 'and from another device';

# Sub-keys.
my ($one) = store(uid => 'B1', sub_key => '1');
my ($three) = store(uid => 'B3', sub_key => '3', at => 1);
($r) = store(uid => 'B4', keyword => 'V251', phase => 'end', sub_key => '1', at => 2);
is $r->[0], $one->[0], 'the end of input 1 ends the alarm of input 1';
is row_of($three->[0])->{status}, 'open', 'input 3 stays open';

# An end without a start.
my @rows = store(uid => 'C1', keyword => 'V255', phase => 'end', sub_key => '000A', at => 4);
is_deeply [ @{ row_of($rows[0][0]) }{qw(status end_reason seconds)} ], [ 'ended', 'unpaired', 0 ], 'an end without start is an alarm of no length';
is message($rows[0][3])->{phase}, 'end', 'published as an end';
my ($late) = store(uid => 'C2', keyword => 'V205', sub_key => '000A', at => 10);
my ($early) = store(uid => 'C3', keyword => 'V255', phase => 'end', sub_key => '000A', at => 9);
isnt $early->[0], $late->[0], 'an end older than the open start is not its end';
is row_of($late->[0])->{status}, 'open', 'which stays open';

# The same start again.
@rows = store(uid => 'D1', keyword => 'V206', sub_key => '06');
my $first = $rows[0][0];
@rows = store(uid => 'D2', keyword => 'V206', sub_key => '06', at => 5);
is scalar(@rows), 2, 'a second start closes the first';
isnt $rows[0][0], $first, 'the first row is the new alarm';
is_deeply [ $rows[1][0], $rows[1][1] ], [ $first, 'f' ], 'the second row is the old one';
is message($rows[1][3])->{phase}, 'end', 'whose end is published';
cmp_ok $rows[0][2], '<', $rows[1][2], 'rows come in the order of their events';
is_deeply [ @{ row_of($first) }{qw(status end_reason seconds)} ], [ 'closed', 'superseded', 300 ], 'it was closed at the new start\'s time';
my ($older) = store(uid => 'D3', keyword => 'V206', sub_key => '06', at => 2);
is_deeply [ @{ row_of($older->[0]) }{qw(status end_reason seconds)} ], [ 'closed', 'superseded', 180 ], 'a late start before the open one is closed by it';
is row_of($rows[0][0])->{status}, 'open', 'which stays open';

# Events without end.
($r) = store(uid => 'E1', keyword => 'V214', phase => 'event', sub_key => '');
is_deeply [ @{ row_of($r->[0]) }{qw(status end_reason seconds)} ], [ 'ended', 'instant', 0 ], 'ignition on has no length';
is message($r->[3])->{phase}, 'start', 'and is published once, as a start';

# Release by the device, expiry by the server.
store(uid => 'F' . $_, keyword => 'V204', sub_key => $_) for 1 .. 3;
@rows = $stream->rows("select alarm_id, event_id, message from mdvr.release_alarms(?, 'V204', null, now())", $dev);
is scalar(@rows), 3, 'V299 closes every open alarm of its kind';
is row_of($rows[0][0])->{end_reason}, 'released', 'as released';
is scalar($stream->rows("select * from mdvr.release_alarms(?, 'V204', null, now())", $dev)), 0, 'once';

is scalar($worker->rows('select * from mdvr.expire_alarms()')), 0, 'nothing is a day old';
$t->sql("update mdvr.alarm set started_at = started_at - interval '2 days', received_at = received_at - interval '2 days' where ended_at is null");
my $open = $t->value('select count(*) from mdvr.alarm where ended_at is null');
@rows = $worker->rows('select alarm_id, message from mdvr.expire_alarms()');
is scalar(@rows), $open, 'alarms that never end are closed after a day';
is_deeply [ @{ row_of($rows[0][0]) }{qw(status end_reason seconds)} ], [ 'closed', 'expired', 86400 ], 'as expired';

# Severity of the tenant, acknowledgement.
$t->sql(q{insert into mdvr.alarm_override (tenant_id, code, severity) values (?, 'V202', 'critical')}, $t->tenant('A'));
($r) = store(uid => 'G1', keyword => 'V202', sub_key => '1');
is row_of($r->[0])->{severity}, 'critical', 'a tenant gives an alarm its own severity';
my $user = $t->value(q{insert into mdvr.user (tenant_id, email, role, password_hash)
    values (?, 'u@a.test', 'tenant_admin', '$argon2id$x') returning id}, $t->tenant('A'));
my $api = MDVR::Session->new($t, 'mdvr_api')->as(tenant => $t->tenant('A'), user => $user, role => 'tenant_admin');
my ($verdict, undef, $msg) = $api->row('select * from mdvr.acknowledge_alarm(?, ?)', $r->[0], 'seen');
is $verdict, 'ok', 'a user acknowledges it';
is_deeply [ @{ message($msg) }{qw(phase status)} ], [ 'acknowledged', 'acknowledged' ], 'which is an event';
is +($api->row('select * from mdvr.acknowledge_alarm(?, null)', $r->[0]))[0], 'conflict', 'once';
store(uid => 'G2', keyword => 'V252', phase => 'end', sub_key => '1', at => 1);
is_deeply [ @{ row_of($r->[0]) }{qw(status end_reason)} ], [ 'acknowledged', 'device' ], 'its end does not take that back';

# Two connections at once.
my $s2 = MDVR::Session->new($t, 'mdvr_stream');
my $call = q{select is_new from mdvr.store_alarm('%s', 'V207', 'V207', 'start', 'password_error', 'info', '', '%s', now(), now(), '{}', '{}', null, null)};
$stream->send('begin');
$stream->send(sprintf $call, $dev, 'H1');
$stream->answer for 1, 2;
$s2->send(sprintf $call, $dev, 'H1');
is $s2->answer(0.3), undef, 'the same message on a second connection waits';
$stream->send('commit');
$stream->answer;
is $s2->answer, 'f', 'and is a repetition';
like $stream->error(sprintf $call, '00000000-0000-7000-8000-000000000000', 'H2'), qr/^02000/, 'an unknown device is refused';

# V232: the file belongs to the newest alarm that started within it.
sub file {
    my (%f) = (from => -3, seconds => 10, path => '/a', size => 4096, device => $dev, @_);
    return $stream->row(q{select alarm_id, is_new, download_id from mdvr.store_alarm_file(?, ?, now(), now(), 'mp4', ?, ?,
        now() + make_interval(secs => ?::float8), ?, 1, jsonb_build_object('path', ?::text))}, @f{qw(device uid path size from seconds path)});
}
$t->sql('delete from mdvr.alarm_message');
$t->sql('delete from mdvr.download');
$t->sql('delete from mdvr.alarm');
my ($old) = store(uid => 'I1', keyword => 'V203', sub_key => '', at => -1);
my ($cur) = store(uid => 'I2', keyword => 'V211', sub_key => '', at => 0);
my @f = file(uid => 'J1');
is $f[0], $cur->[0], 'a file that covers the alarm is attached to it';
is $f[1], 't', 'it is new';
is $t->row('select * from mdvr.download where id = ?', $f[2])->{status}, 'queued', 'and will be fetched';
is_deeply [ file(uid => 'J1') ], [ $cur->[0], 'f', undef ], 'a repetition fetches nothing';
is +(file(uid => 'J2'))[2], undef, 'nor does the same file under another UID';
is +(file(uid => 'J3', path => '/b', from => -70, seconds => 20))[0], $old->[0], 'an older file goes to the older alarm';
is +(file(uid => 'J4', path => '/c', from => -600, seconds => 5))[0], undef, 'a file that covers none stays alone';
is +(file(uid => 'J5', path => '/d', from => 1))[0], $cur->[0], 'two seconds of tolerance before';
$t->sql("update mdvr.tenant set alarm_download = 'severity', alarm_download_min = 'critical'");
is +(file(uid => 'K1', path => '/e'))[2], undef, 'by severity: a warning is not fetched';
$t->sql("update mdvr.alarm set severity = 'critical'");
isnt +(file(uid => 'K2', path => '/f'))[2], undef, 'a critical alarm is';
$t->sql("update mdvr.tenant set alarm_download = 'never'");
is +(file(uid => 'K3', path => '/g'))[2], undef, 'never means never';

# An alarm that comes after its file takes the announcement of that file: "_" is no pattern.
$t->sql("update mdvr.tenant set alarm_download = 'always'");
is +(file(uid => 'L1', path => '/late_1', from => -900))[0], undef, 'a file comes before its alarm';
is +(file(uid => 'L2', path => '/lateX1', from => -1800))[0], undef, 'and another of nearly the same name, of another time';
my ($behind) = store(uid => 'I3', keyword => 'V211', sub_key => '', at => -15);
is $t->value("select alarm_id from mdvr.download where path = '/late_1'"), $behind->[0], 'the alarm takes its file';
is $t->value("select alarm_id from mdvr.alarm_message where uid = 'L1'"), $behind->[0], 'and its announcement';
is $t->value("select alarm_id from mdvr.alarm_message where uid = 'L2'"), undef, 'and not that of the other';

# Alarms end with the retention, when nothing of theirs is left.
my $purge = sub { $worker->value('select mdvr.purge_alarms(100)') };
my $count = sub { $t->value('select count(*) from mdvr.alarm') };
$t->sql("update mdvr.alarm set ended_at = coalesce(ended_at, started_at), end_reason = coalesce(end_reason, 'device')");
is $purge->(), 0, 'no alarm is old';
$t->sql("update mdvr.alarm set received_at = now() - interval '91 days'");
$t->sql("update mdvr.alarm set ended_at = null, end_reason = null where id = ?", $old->[0]);
$t->sql('update mdvr.alarm set legal_hold = true where id = ?', $cur->[0]);
$t->sql("update mdvr.download set status = 'complete'");
$t->sql("update mdvr.download set status = 'queued' where path = '/late_1'");
my $all = $count->();
is $purge->() + 3, $all, 'old ones go, but not what is open, held, or still being fetched';
is $t->value(q{select string_agg(id::text, ' ' order by id) from mdvr.alarm}), join(' ', sort $old->[0], $cur->[0], $behind->[0]), 'these stay';
$t->sql('update mdvr.tenant set legal_hold = true');
$t->sql("update mdvr.alarm set ended_at = started_at, end_reason = 'device', legal_hold = false");
$t->sql("update mdvr.download set status = 'complete'");
is $purge->(), 0, 'under a tenant\'s hold nothing goes';
$t->sql('update mdvr.tenant set legal_hold = false');
my $media = $stream->value(q{select mdvr.media_create(?, ?, null, 1, 'mp4', 'snapshot', '/m', now(), 10, sha256('x'))}, $dev, $cur->[0]);
is $purge->(), 2, 'then they do';
is $count->(), 1, 'but for that of a media item';
$t->sql('delete from mdvr.media');
is $purge->(), 1, 'which goes after it';
is $t->value('select count(*) from mdvr.alarm_message where alarm_id is not null') + $t->value('select count(*) from mdvr.download where alarm_id is not null'), 0,
    'with what was of them';

$t->done;
