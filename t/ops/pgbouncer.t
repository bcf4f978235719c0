# Everything by way of conf/pgbouncer.ini, transaction pooling with fewer server
# connections than users: recorders, alarms, the API and an evidence job work,
# and two tenants who share each connection never see each other.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Clip;
use MDVR::Media;
use POSIX ();

my ($bouncer) = grep { -x } '/usr/sbin/pgbouncer', '/usr/bin/pgbouncer';
plan skip_all => 'pgbouncer is not installed' unless $bouncer;
plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';

my $t = MDVR::Test->new;
my $s = $t->store;
my $dir = $t->dir;
my $port = MDVR::Test::free_port();

# -- the sample, with the paths of this test and three connections per role

my $ini = slurp('conf/pgbouncer.ini');
$ini =~ s{host=10\.0\.0\.21 port=5432}{host=$s->{pg_socket} port=5432} or die;
$ini =~ s{listen_addr = 10\.0\.0\.22}{listen_addr = 127.0.0.1} or die;
$ini =~ s{listen_port = 6432}{listen_port = $port\nunix_socket_dir =\nlogfile = $dir/bouncer.out} or die;
$ini =~ s{/etc/pgbouncer/userlist\.txt}{$dir/userlist.txt} or die;
$ini =~ s{default_pool_size = 20}{default_pool_size = 3} or die;
like $ini, qr/^pool_mode = transaction$/m, 'the sample pools transactions';
unlike $ini =~ s/^;.*//mgr, qr/10\.0\.0/, 'and has no other addresses';
my %secret = map { my @f = split /:/; ($f[3] => $f[4]) } split /\n/, slurp($s->{passfile});
$s->write_secret("$dir/userlist.txt", join '', map { qq("$_" "$secret{$_}"\n) } sort keys %secret);
$s->write_secret("$dir/pgbouncer.ini", $ini);
$s->write_secret("$dir/bouncer.out", '');
my $pid = $t->daemon($bouncer, "$dir/pgbouncer.ini");
ok eventually(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) }), 'pgbouncer takes it' or diag $t->daemon_log($pid), slurp("$dir/bouncer.out");

my $through = sub { $_[0] =~ s{host=\Q$s->{pg_socket}\E port=5432}{host=127.0.0.1 port=$port}gr };
my $n = $t->nginx(workers => 2, pool => 6, prepare => 'off', api => 'mdvr_api_rate 0;', conf => sub { $through->($_[0]) },
    media => 'mdvr_media_close_wait 1s; mdvr_media_file_timeout 3s;');
my $worker = $t->daemon('mdvr-worker', { MDVR_PG_CONNINFO => $through->($s->conninfo('mdvr_worker')), MDVR_WORKER_RETRY_MS => 100 });
ok eventually(sub { $t->value("select count(*) from pg_stat_activity where usename = 'mdvr_api'") > 0 }), 'PostgreSQL is asked';

# -- two tenants, a recorder each

my %of;
for my $name ('A', 'B') {
    my $serial = "PGB$name";
    $of{$name} = { serial => $serial, id => $t->add_device($serial, tenant => $name, channels => 4, plate => "EV $name"), api => $t->admin(tenant => $name) };
    $t->add_device("$serial$_", tenant => $name) for 1 .. 4;
    $of{$name}{dev} = $t->device($serial);
    like $of{$name}{dev}->v101, qr/,C100,$serial,/, "the recorder of tenant $name registers";
}
my $now = int time;
my $dev = $of{A}{dev};
for my $k (0 .. 19) {
    $of{$_}{dev}->v114(at => $now - 40 + $k, lat => [ $_ eq 'A' ? 47 : 22, 22, 36000000 + $k * 1000 ], lon => [ 8, 32, 0 ]) for 'A', 'B';
}
my $stored = sub { $t->value('select count(*) from mdvr.telemetry where device_id = ?', $of{ $_[0] }{id}) };
ok eventually(sub { $stored->('A') == 20 && $stored->('B') == 20 }, 10), 'their positions are stored';

my %ws = map {
    my $ws = $t->websocket(token => $of{$_}{api}{token});
    $ws->send({ type => 'subscribe', topics => [qw(alarm media)] });
    $ws->next('subscribed', 5);
    ($_ => $ws);
} 'A', 'B';

# -- an alarm becomes evidence

like $dev->alarm('V201', at => $now - 15, alarm_at => $now - 15, data => [ 2, 0, 'door' ]) // '', qr/,C100,/, 'an alarm is acknowledged';
my $alarm = $ws{A}->next('alarm', 5)->{alarm_id};
my $clip = slurp(MDVR::Clip::make('h264', seconds => 4));
my $path = '/mnt/sd0/2026/ch01-alarm.h264';
like $dev->alarm('V232', at => $now, alarm_at => $now, data => [ 2, $path, length $clip, 2, POSIX::strftime('%Y-%m-%d %H%M%S', gmtime $now - 16),
    4, 0, 0, 1, 0, '' ]) // '', qr/,V232,/, 'so is its film';
my $cmd = $dev->expect('C702', 20) or BAIL_OUT('nobody asks for the film');
$dev->answer($cmd, 1, 0, '', 0);
my $m = MDVR::Media->new(port => $n->{media_port}, serial => 'PGBA', session => $cmd->{body}[0]);
$m->register('V103', length $clip, $path, 'EV A');
for (my $at = 0; $at < length $clip; $at += 32768) { $m->block($at, substr $clip, $at, 32768) }
$m->block(length $clip, '');
$m->expect(0x6105, 10);
$m->close;
my $event = $ws{A}->next('media', 30);
is $event->{status}, 'ready', 'the worker makes the film of it' or diag $t->daemon_log($worker);
is $event->{alarm_id}, $alarm, '... of that alarm';
my $zip = $of{A}{api}->get("/alarms/$alarm/evidence");
is $zip->{status}, 200, 'and a package of evidence' or diag $zip->{body};
like $zip->{body}, qr/\APK.*manifest\.sig/s, '... with a signature';
is $of{B}{api}->get("/alarms/$alarm/evidence")->{status}, 404, 'which is not there for the other tenant';
is $ws{B}->next('alarm', 0.5), undef, 'who has heard nothing of it';

# -- both at once over the same three connections

my ($bad, $mixed, $good) = (0, 0, 0);
for my $round (1 .. 30) {
    my @asked = map { my $who = $_; map { [ $who, $of{$who}{api}->begin('GET', "/api/v1$_") ] } '/devices?limit=50', '/alarms', "/devices/$of{$who}{id}/telemetry",
        "/devices/$of{ $who eq 'A' ? 'B' : 'A' }{id}" } 'A', 'B', 'A', 'B';
    for my $p (@asked) {
        my ($who, $pending) = @$p;
        my $other = $who eq 'A' ? 'B' : 'A';
        my $r = $pending->end;
        $bad++ if $r->{status} != 200 && $r->{status} != 404;
        $mixed++ if $r->{body} =~ /PGB$other|$of{$other}{id}/ && $r->{status} == 200;
        $good++;
    }
}
is $bad, 0, "$good requests of two tenants are answered";
is $mixed, 0, 'none has anything of the other one';
my $servers = $t->value("select count(*) from pg_stat_activity where usename = 'mdvr_api'");
cmp_ok $servers, '<=', 3, "over $servers connections";
is $of{A}{api}->get('/devices?limit=50')->{json}{items} && scalar @{ $of{A}{api}->get('/devices?limit=50')->{json}{items} }, 5, 'each sees its own five';
unlike slurp("$dir/bouncer.out") . $t->daemon_log($pid), qr/unsupported|prepared statement|ERROR/, 'pgbouncer has nothing to complain of';

# -- pgbouncer is restarted

$t->daemon_stop($pid, 'KILL');
$pid = $t->daemon($bouncer, "$dir/pgbouncer.ini");
ok eventually(sub { $of{A}{api}->get('/devices')->{status} == 200 }, 10), 'after pgbouncer was killed nginx connects again by itself';
$dev->v114(at => $now + 1, lat => [ 47, 23, 0 ], lon => [ 8, 32, 0 ]);
ok eventually(sub { $stored->('A') == 21 }, 10), 'and positions are stored';

$t->done;
