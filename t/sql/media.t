# Downloads, media items, live sessions, commands and what the schedule clears.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Session;

my $t = MDVR::Test->new(no_redis => 1);
my $a = $t->tenant('A');
my $dev = $t->add_device('00007');
my $stream = MDVR::Session->new($t, 'mdvr_stream');
my $worker = MDVR::Session->new($t, 'mdvr_worker')->as(tenant => $a);
my $user = $t->value(q{insert into mdvr.user (tenant_id, email, role, password_hash) values (?, 'u@a.test', 'technician', '$argon2id$x') returning id}, $a);
my $api = MDVR::Session->new($t, 'mdvr_api')->as(tenant => $a, user => $user, role => 'technician');

# Downloads.
my $queue = sub {
    $api->value("insert into mdvr.download (tenant_id, device_id, origin, path) values (?, ?, ?, ?) returning id", $a, $dev, @_);
};
my $next = sub { $stream->value("select download_id from mdvr.download_next(?, 'n1', '77')", $dev) };
my $update = sub { $stream->value('select mdvr.download_update(?, ?, ?, ?, ?, ?)', @_) };
my $auto = $queue->('alarm', '/auto');
my $wanted = $queue->('user', '/wanted');
is $next->(), $wanted, 'what a user asked for comes first';
is $next->(), undef, 'one at a time';
is $update->($wanted, 'running', 1000, 5000, '/stage/1', undef), 'running', 'progress is noted';
is $update->($wanted, 'queued', 2000, undef, undef, 'connection lost'), 'queued', 'an interruption puts it back';
$t->sql('update mdvr.download set next_at = now()');
is $next->(), $wanted, 'to go on';
is $t->row('select * from mdvr.download where id = ?', $wanted)->{received_bytes}, 2000, 'where it stopped';
for my $try (1 .. 4) {
    is $update->($wanted, 'queued', 2000, undef, undef, 'connection lost'), 'queued', "attempt $try without progress";
}
is $update->($wanted, 'held', 2000, undef, undef, 'no room'), 'queued', 'what the server cannot write waits, and is no attempt';
is $update->($wanted, 'queued', 2000, undef, undef, 'connection lost'), 'failed', 'attempt 5 is the last';
is $t->row('select * from mdvr.download where id = ?', $wanted)->{failed_reason}, 'connection lost', 'with the reason';
is $update->($wanted, 'running', 3000, undef, undef, undef), 'failed', 'finished stays finished';
is $next->(), $auto, 'then the automatic one';
my $old = $queue->('alarm', '/old');
$t->sql("update mdvr.download set created_at = now() - interval '8 days' where id = ?", $old);
is $update->($old, 'held', 0, undef, undef, 'no room'), 'failed', 'for a week';

# Media.
my $media = $stream->value("select mdvr.media_create(?, null, ?, 1, 'mp4', 'alarm_file', '/auto', now(), 10, sha256('x'))", $dev, $auto);
is $t->row('select * from mdvr.download where id = ?', $auto)->{media_id}, $media, 'a media item knows its download';
like $worker->error("update mdvr.media set status = 'ready' where id = ?", $media), qr/^23514/, 'without its object it cannot be ready';
like $worker->error("update mdvr.media set status = 'failed' where id = ?", $media), qr/^23514/, 'nor failed without reason';
my ($event, $message) = $worker->row(q{with m as (update mdvr.media set status = 'ready', original_key = 'k', ready_at = now() where id = ? returning id)
    select event_id, message from m, mdvr.media_event(m.id)}, $media);
my $m = MDVR::Test::json_of($message);
is_deeply [ @{$m}{qw(type media_id device_id alarm_id kind)} ], [ 'media', $media, $dev, undef, 'mp4' ], 'the worker publishes it';
$worker->run("update mdvr.media set status = 'ready' where id = ?", $media);
($event, $message) = $worker->row('select * from mdvr.media_event(?)', $media);
is MDVR::Test::json_of($message)->{status}, 'ready', 'ready';

# Live sessions.
my $v = $api->value("select mdvr.video_session_start(?, 1, 'sub', 'n1', now() + interval '10 min')", $dev);
is $t->row('select * from mdvr.video_session where id = ?', $v)->{user_id}, $user, 'a viewer session has its user';
is $api->value("select mdvr.video_session_renew(?, now() + interval '20 min')", $v), 't', 'it is renewed';
is $api->as(tenant => $a, user => $a, role => 'technician')->value("select mdvr.video_session_renew(?, now())", $v), undef, 'by nobody else';
$api->as(tenant => $a, user => $user, role => 'technician');
$t->sql("update mdvr.video_session set started_at = now() - interval '90 s'");
is $stream->value("select mdvr.video_session_end(?, 'left', 5000)", $v), 't', 'it ends';
is $stream->value("select mdvr.video_session_end(?, 'left', 5000)", $v), 'f', 'once';
is $t->value("select amount from mdvr.usage where metric = 'live_s'"), 90, 'its time is metered';
is $t->value("select amount from mdvr.usage where metric = 'bytes_out'"), 5000, 'and its bytes';
is $api->value("select mdvr.video_session_renew(?, now())", $v), undef, 'what has ended is not renewed';
$api->value("select mdvr.video_session_start(?, 1, 'sub', 'n1', now() - interval '5 min')", $dev);
is $worker->value('select mdvr.video_sessions_expire()'), 1, 'a session whose token ran out is ended';
is $worker->value('select mdvr.video_sessions_expire()'), 0, 'once';

my $ms = $stream->value("select mdvr.media_session_start(?, 'live', 1, 'sub', 'n1', '77')", $dev);
$stream->run("select mdvr.media_session_end(?, 'closed', now(), 12345, 250, 0)", $ms);
is $t->value("select amount from mdvr.usage where metric = 'bytes_in'"), 12345, 'what a device sends is metered';

# Commands.
my $command = sub {
    my ($hold) = @_;
    return $api->row("select command_id, message from mdvr.store_command(?, 'text_message', 'C151', '{\"text\":\"hi\"}', '1,hi', 15, ?, 'r1', null)", $dev, $hold // 0);
};
my ($c, $msg) = $command->();
is_deeply [ @{ MDVR::Test::json_of($msg) }{qw(type command_id status)} ], [ 'command', $c, 'queued' ], 'a command is an event';
my $status = sub {
    my ($event, $msg) = $stream->row('select * from mdvr.command_update(?, ?, ?, ?, ?, ?, null)', @_, (undef) x (6 - @_));
    return $msg ? MDVR::Test::json_of($msg)->{status} : 'no news';
};
is $status->($c, 'sent'), 'sent', 'it is sent';
is $status->($c, 'sent'), 'no news', 'twice is no news';
is $status->($c, 'timeout'), 'timeout', 'nobody answers in time';
is $status->($c, 'acknowledged', '1,,', 1), 'acknowledged', 'a late answer still counts';
is $status->($c, 'timeout'), 'no news', 'a late timeout does not';
is $status->($c, 'acknowledged', '1,3', 3), 'acknowledged', 'further answers are progress';
is $t->value('select jsonb_array_length(progress) from mdvr.command where id = ?', $c), 4, 'all are kept';
my ($held) = $command->(3600);
is_deeply [ map { $_->[0] } $stream->rows('select command_id from mdvr.commands_held(?)', $dev) ], [$held], 'a held command waits for its device';
my ($lost) = $command->();
is scalar($worker->rows('select * from mdvr.commands_expire()')), 0, 'nothing is old';
$t->sql("update mdvr.command set created_at = created_at - interval '5 min'");
is_deeply [ map { $_->[0] } $worker->rows('select command_id from mdvr.commands_expire()') ], [$lost], 'what nobody sent or answered times out; what is held does not';

# A purge and a legal hold decide one after the other.
my $claim = sub { $worker->value('select media_id from mdvr.media_purge_claim()') };
my $alarm = $t->value(q{insert into mdvr.alarm (tenant_id, device_id, code, kind, severity, status, uid, started_at)
    values (?, ?, 'V201', 'custom', 'warning', 'open', 'P1', now()) returning id}, $a, $dev);
my ($gone) = map { $stream->value("select mdvr.media_create(?, ?, null, 1, 'mp4', 'snapshot', ?, now(), 10, sha256('x'))", $dev, $_, '/p') } $alarm;
is $claim->(), undef, 'what is not deleted is not purged';
$t->sql('update mdvr.media set deleted_at = now() where id = ?', $gone);
$api->send("begin;\nselect set_config('app.current_tenant_id', ?, true), set_config('app.current_user_id', ?, true),
    set_config('app.current_role', 'tenant_admin', true);\nupdate mdvr.alarm set legal_hold = true where id = ?", $a, $user, $alarm);
unlike $api->answer, qr/ERROR/, 'a hold is being set';
is $claim->(), undef, 'its item waits for that';
$api->send('commit');
$api->answer;
is $claim->(), undef, 'and stays under the hold';
$t->sql('update mdvr.alarm set legal_hold = false where id = ?', $alarm);
$t->sql('update mdvr.tenant set legal_hold = true where id = ?', $a);
is $claim->(), undef, 'nor is it under the tenant\'s';
$t->sql('update mdvr.tenant set legal_hold = false where id = ?', $a);
is $claim->(), $gone, 'then it goes';
is $claim->(), undef, 'one worker removes it';
$t->sql("update mdvr.media set purging_at = purging_at - interval '6 min'");
$t->sql('update mdvr.alarm set legal_hold = true where id = ?', $alarm);
is $claim->(), undef, 'when that worker died a hold counts again';
$t->sql('update mdvr.alarm set legal_hold = false where id = ?', $alarm);
is $claim->(), $gone, 'and without one another goes on';

# The schedule.
$t->sql("update mdvr.event set created_at = now() - interval '7 days 20 hours'");
is $worker->value('select mdvr.purge_history()'), 0, 'events are kept for a week';
my $events = $t->value('select count(*) from mdvr.event');
$t->sql("update mdvr.event set created_at = now() - interval '9 days'");
is $worker->value('select mdvr.purge_history()'), $events, 'and then forgotten';
is $api->value("select message::text from mdvr.events_after('0') limit 1"), undef, 'they are gone';
is $stream->value("select event_id from mdvr.command_update(?, 'failed')", $held), $events + 1, 'but their numbers are not used again';
$worker->run('select mdvr.usage_snapshot()');
is $t->value("select amount from mdvr.usage where metric = 'devices' and tenant_id = ?", $a), 1, 'devices are counted daily';
is scalar($worker->rows('select * from mdvr.tenants()')), $t->value('select count(*) from mdvr.tenant'), 'the worker knows every tenant';
is $worker->value('select mdvr.device_owner(?)', $dev), $a, 'and whose a device is';

$t->done;
