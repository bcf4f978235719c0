# Who is told of an alarm: once when it starts and once when its video is
# ready, if they may see the vehicle, want to know, and are not asleep.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Push;
use POSIX ();

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new;
my $p = MDVR::Push->new($t);
my %env = ($p->env, MDVR_WORKER_RETRY_MS => 50, MDVR_WORKER_LEASE_MS => 1000, MDVR_WORKER_TICK_MS => 500,
    MDVR_NOTIFY_BREAKER_S => 1, MDVR_WORKER_JOBS => 1, MDVR_STATE_DIR => $t->dir);
my $tenant = $t->tenant('A');
my $dev = $t->add_device('00007');
my $other = $t->add_device('00008');

sub worker { $t->daemon('mdvr-worker', { %env, @_ }) }
sub soon(&$;$) { my ($cond, $name, $seconds) = @_; ok(eventually(\&$cond, $seconds // 10), $name) }

my $n = 0;
sub alarm_of {
    my ($device, %a) = @_;
    my $uid = sprintf 'uid%06d', ++$n;
    my $id;
    for my $r ($t->rows('select alarm_id, message from mdvr.store_alarm(?, ?, ?, ?, ?, ?, ?, ?, now(), now(), ?, ?, null, null)',
        $device, $a{code} // 'V201', $a{code} // 'V201', 'start', $a{kind} // 'sudden_braking', $a{severity} // 'critical',
        $a{sub} // '', $uid, '{}', '{}'))
    {
        $id //= $r->{alarm_id};
        $t->redis('PUBLISH', "mdvr:event:$tenant", $r->{message}) if $r->{message} && !$a{quiet};
    }
    return $id;
}

sub video_of {
    my ($alarm, $channel) = @_;
    my $id = $t->value("insert into mdvr.media (tenant_id, device_id, alarm_id, channel, kind, source, status, at, ready_at, sha256,
        size_bytes, original_key) select tenant_id, device_id, id, ?, 'mp4', 'alarm_file', 'ready', now(), now(), sha256('x'), 1, 'x' from mdvr.alarm where id = ? returning id",
        $channel // 1, $alarm);
    my $m = $t->value('select message from mdvr.media_event(?)', $id);
    $t->redis('PUBLISH', "mdvr:event:$tenant", $m);
    return $id;
}

sub phone {
    my ($user, $platform, $token) = @_;
    return $t->value('insert into mdvr.push_token (tenant_id, user_id, platform, token) values (?, ?, ?, ?) returning id',
        $tenant, $user->{id}, $platform, $token);
}

sub prefer {
    my ($user, %p) = @_;
    $t->sql("insert into mdvr.notification_preference (user_id, tenant_id, push, min_severity, muted_kinds, quiet_from, quiet_to, time_zone)
        values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (user_id) do update set push = excluded.push, min_severity = excluded.min_severity,
        muted_kinds = excluded.muted_kinds, quiet_from = excluded.quiet_from, quiet_to = excluded.quiet_to, time_zone = excluded.time_zone",
        $user->{id}, $tenant, $p{push} // 't', $p{min} // 'warning', $p{muted} // '{}', $p{from}, $p{to}, $p{zone} // 'UTC');
}

sub fcm { grep { !$_[0] || $_->{message}{data}{alarm_id} eq $_[0] } $p->got('fcm') }
sub tokens { join ' ', sort map { $_->{message}{token} } @_ }
sub planned { $t->value('select coalesce((select last_seq from mdvr.event_counter where tenant_id = ?), 0)
    = coalesce((select seq from mdvr.notify_cursor where tenant_id = ?), 0)', $tenant, $tenant) eq 't' }
sub idle { eventually(sub { planned() && $t->value("select count(*) from mdvr.delivery where status = 'queued'") == 0 }, 15) }

my $admin = $t->user(role => 'tenant_admin');
my $driver = $t->user(role => 'client_user');
my $stranger = $t->user(role => 'client_user');
my $foreign = $t->user(role => 'tenant_admin', tenant => 'B');
phone($admin, 'fcm', 'phone-of-the-admin');
phone($admin, 'apns', 'abcdef0123456789');
phone($driver, 'fcm', 'phone-of-the-driver');
phone($stranger, 'fcm', 'phone-of-the-stranger');
$t->sql('insert into mdvr.push_token (tenant_id, user_id, platform, token) values (?, ?, ?, ?)', $t->tenant('B'), $foreign->{id}, 'fcm', 'phone-of-B');
$t->sql('insert into mdvr.assignment (tenant_id, user_id, device_id) values (?, ?, ?)', $tenant, $driver->{id}, $dev);

my $w = worker();

# --- an alarm, its video

my $began = time;
my $a = alarm_of($dev);
soon { fcm($a) == 2 } 'an alarm is pushed';
my ($took) = map { $_->{at} - $began } (fcm($a))[-1];
cmp_ok $took, '<', MDVR::Test::patience(1.5), sprintf 'at once (%.2f s)', $took;
soon { $p->got('apns') == 1 } 'to APNs, too';
ok idle(), 'and nothing is left';
is tokens(fcm($a)), 'phone-of-the-admin phone-of-the-driver', 'who may see the vehicle is told, nobody else';
my ($m) = map { $_->{message} } fcm($a);
is $m->{notification}{title}, 'P 00007', 'by the name of the vehicle';
is $m->{notification}{body}, 'Sudden braking', 'and of the alarm';
is $m->{data}{type}, 'alarm', 'it says what it is';
is $m->{android}{notification}{tag}, "alarm:$a", 'a repetition would show once';
my ($apple) = $p->got('apns');
is $apple->{token}, 'abcdef0123456789', 'APNs has the token';
is $apple->{topic}, 'com.example.fleet', 'and the topic';
is $apple->{body}{aps}{alert}{title}, 'P 00007', 'and the words';
is $apple->{id}, $t->value("select d.id from mdvr.delivery d join mdvr.push_token p on p.id = d.push_token_id where p.platform = 'apns'"),
    'the id is the delivery\'s';
video_of($a);
soon { fcm($a) == 4 } 'when the video is ready there is one more';
is scalar(grep { $_->{message}{data}{type} eq 'video' } fcm($a)), 2, 'that says so';
like +(grep { $_->{message}{data}{type} eq 'video' } fcm($a))[0]{message}{notification}{body}, qr/^Video: sudden braking$/, 'in words';
video_of($a, 2);
ok idle(), 'a second camera';
is scalar(fcm($a)), 4, 'is not another reason';
is scalar(my @tokens = $p->log_of('token')), 1, 'one access token served them all';

# --- repetitions

my $again = alarm_of($dev);
video_of($again);
ok idle(), 'the same alarm again';
is scalar(fcm($again)), 0, 'is not told again, nor is its video';
my $sub = alarm_of($dev, sub => 'input 2');
soon { fcm($sub) == 2 } 'another input is another alarm';
$t->sql("update mdvr.alarm_push set at = at - interval '6 minutes'");
my $later = alarm_of($dev);
soon { fcm($later) == 2 } 'after a while it is news again';

# --- a worker that is busy

my $holds = fork // die $!;
if ($holds == 0) {
    eval { $t->sql('do $$ begin lock table mdvr.evidence in access exclusive mode; perform pg_sleep(60); end $$') };
    POSIX::_exit(0);
}
ok eventually(sub { $t->value("select count(*) from pg_locks where relation = 'mdvr.evidence'::regclass and mode = 'AccessExclusiveLock'") }, 5),
    'PostgreSQL keeps jobs waiting';
my $film = '01a00000-0000-7000-8000-00000000000';
$t->redis('XADD', 'mdvr:job:{evidence}', '*', 'job', JSON::PP->new->encode({ id => "$film$_", alarm_id => "$film$_", device_id => $dev,
    kind => 'evidence', tenant_id => $tenant })) for 1 .. 3;
ok eventually(sub { $t->value("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") }, 5), 'they have all slots';
my $pressing = alarm_of($dev, sub => 'busy');
soon { fcm($pressing) == 2 } 'an alarm does not wait for them', 1;
is waitpid($holds, POSIX::WNOHANG()), 0, 'they wait themselves';
$t->value("select pg_terminate_backend(pid) from pg_locks where relation = 'mdvr.evidence'::regclass and mode = 'AccessExclusiveLock'");
waitpid $holds, 0;

# --- preferences

prefer($driver, muted => '{sudden_braking}');
my $hour = (gmtime)[2];
prefer($admin, from => sprintf('%02d:00', $hour), to => sprintf('%02d:00', ($hour + 2) % 24));
$a = alarm_of($dev, sub => 'p1');
ok idle(), 'muted and asleep';
is scalar(fcm($a)), 0, 'nobody is told';
prefer($admin, from => sprintf('%02d:00', ($hour + 2) % 24), to => sprintf('%02d:00', ($hour + 3) % 24));
prefer($driver, min => 'critical');
$a = alarm_of($dev, sub => 'p2', severity => 'warning');
ok idle(), 'awake, and important only';
is tokens(fcm($a)), 'phone-of-the-admin', 'each as they like';
prefer($admin, from => '00:00', to => '23:59', zone => 'No/Where');
prefer($driver, push => 'f');
$a = alarm_of($dev, sub => 'p3');
ok idle(), 'a zone that nobody knows stops nothing';
is scalar(fcm($a)), 0, 'no push at all';
$t->sql('delete from mdvr.notification_preference');
$t->sql("insert into mdvr.alarm_override (tenant_id, code, notify) values (?, 'V202', false)", $tenant);
$a = alarm_of($dev, code => 'V202');
ok idle(), 'what the tenant does not want to hear of';
is scalar(fcm($a)), 0, 'is not told';
$a = alarm_of($dev, sub => 'p4', severity => 'info');
ok idle(), 'by default information';
is scalar(fcm($a)), 0, 'is not, either';

# --- services fail and come back

$p->mode(fcm => '503', apns => '503');
$a = alarm_of($dev, sub => 's1');
soon { $p->log_of('fcm') && grep { ($_->{status} // 0) == 503 } $p->log_of('fcm') } 'a service that is down';
soon { $t->redis('EXISTS', 'mdvr:notify:{fcm}:open') == 1 } 'is left alone after a few tries', 20;
$p->mode;
soon { fcm($a) == 2 } 'and gets what it missed when it is back', 30;
ok idle(), 'all of it';
$p->mode(fcm => '401');
$a = alarm_of($dev, sub => 's2');
soon { grep { $_->{status} == 401 } $p->log_of('fcm') } 'an access token that is no longer good';
$p->mode;
soon { fcm($a) == 2 } 'is replaced', 20;
ok idle(), 'nothing waits';
$p->stop;
$a = alarm_of($dev, sub => 's3');
soon { $t->value("select count(*) from mdvr.delivery where status = 'queued' and attempts > 0 and last_error is not null") > 0 }
    'a service that does not answer';
$p->start;
soon { fcm($a) == 2 } 'is tried again', 30;
ok idle(), 'until it does';

# --- phones that are gone

$p->mode(fcm => 'gone', apns => 'gone');
$a = alarm_of($dev, sub => 'g1');
soon { $t->value('select count(*) from mdvr.push_token where tenant_id = ?', $tenant) == 1 } 'phones that are gone are forgotten';
is $t->value('select token from mdvr.push_token where tenant_id = ?', $tenant), 'phone-of-the-stranger', 'only they';
ok idle(), 'and their deliveries end';
$p->mode;
$a = alarm_of($dev, sub => 'g2');
ok idle(), 'afterwards';
is scalar(fcm($a)), 0, 'nobody is called';

# --- Redis and workers die

phone($admin, 'fcm', 'new-phone-of-the-admin');
$t->redis('FLUSHALL');
$a = alarm_of($dev, sub => 'd1', quiet => 1);
soon { fcm($a) == 1 } 'without a message from Redis it takes a second';
$t->daemon_stop($w, 'KILL');
$a = alarm_of($dev, sub => 'd2');
video_of($a);
worker() for 1 .. 2;
soon { fcm($a) == 2 } 'what happened while no worker ran is told', 15;
ok idle(), 'by one of two';
my @pids = grep { $t->{children}{$_}{name} eq 'mdvr-worker' } keys %{ $t->{children} };
$t->daemon_stop($_, 'TERM') for @pids;

my $kills = $ENV{MDVR_LONG} ? 50 : 12;
my @alarms;
for my $i (1 .. $kills) {
    my $w = worker(MDVR_WORKER_LEASE_MS => 500);
    push @alarms, alarm_of($dev, sub => "k$i");
    select undef, undef, undef, 0.02 + rand 0.3;
    $t->daemon_stop($w, 'KILL');
}
worker(MDVR_WORKER_LEASE_MS => 500);
soon { !grep { fcm($_) == 0 } @alarms } "of $kills alarms between as many kill -9 all are told", 40;
ok idle(), 'and nothing waits';
my %shown;
$shown{$_->{message}{token}}{$_->{message}{android}{notification}{tag}}++ for map { fcm($_) } @alarms;
my ($phone) = keys %shown;
is scalar(keys %{ $shown{$phone} }), $kills, 'a phone shows each once';
my $twice = grep { $_ > 1 } values %{ $shown{$phone} };
is $twice, 0, 'and was sent each once';
is $t->value('select count(*) from (select dedupe_key from mdvr.delivery group by tenant_id, dedupe_key having count(*) > 1) x'), 0, 'no delivery twice';

# --- the worker may, others may not

is $t->value("select count(*) from mdvr.delivery where tenant_id <> ?", $tenant), 0, 'another tenant hears nothing';
$t->done;
