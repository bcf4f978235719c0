# Redis with Sentinel behind conf/haproxy-redis.cfg: the master is killed under
# load, and nginx and the worker go on with the one that Sentinel made master.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Files;
use File::Path qw(make_path);

plan skip_all => 'haproxy is not installed' if system('command -v haproxy >/dev/null');
plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new(no_redis => 1);
my $s = $t->store;
my $dir = $t->dir;
my ($password) = slurp($s->{redis_password_file}) =~ /(\S+)/;
my %port = map { $_ => MDVR::Test::free_port() } 1, 2, qw(sentinel proxy);

# -- two servers, one Sentinel, HAProxy

sub server {
    my ($name, $text, @more) = @_;
    make_path("$dir/$name");
    MDVR::Store::give("$dir/$name", MDVR::Test::svc_user());
    $s->write_secret("$dir/$name/conf", "bind 127.0.0.1\nport $port{$name}\ndir $dir/$name\nlogfile $dir/$name/log\n$text");
    return $t->daemon('/usr/bin/redis-server', "$dir/$name/conf", @more);
}
sub redis_conf { my ($n, $more) = @_; return "requirepass $password\nmasterauth $password\nappendonly yes\nappendfsync no\nsave \"\"\nrepl-diskless-sync-delay 0\n$more" }

my $master = server(1, redis_conf(1, ''));
server(2, redis_conf(2, "replicaof 127.0.0.1 $port{1}\n"));
my $cli = sub { my ($where, @cmd) = @_; local $ENV{REDISCLI_AUTH} = $where eq 'sentinel' ? '' : $password;
    delete local $ENV{REDISCLI_AUTH} if $where eq 'sentinel'; my $text = qx(redis-cli -p $port{$where} @cmd 2>&1); return $text };
ok +(eventually { $cli->(2, 'info replication') =~ /master_link_status:up/ } 15), 'a replica follows the master' or diag $cli->(2, 'info replication');
server('sentinel', <<"CONF", '--sentinel');
sentinel monitor mdvr 127.0.0.1 $port{1} 1
sentinel auth-pass mdvr $password
sentinel down-after-milliseconds mdvr 1000
sentinel failover-timeout mdvr 5000
CONF
ok +(eventually { $cli->('sentinel', 'sentinel replicas mdvr') =~ /\b@{[ $port{2} ]}\b/ } 20), 'Sentinel knows both' or diag slurp("$dir/sentinel/log");

my $conf = slurp('conf/haproxy-redis.cfg');
$conf =~ s/^(\s*bind) 127\.0\.0\.1:6380$/$1 127.0.0.1:$port{proxy}\n    bind $s->{redis_socket} mode 777/m or die;
$conf =~ s/10\.0\.0\.3([12]):6379/"127.0.0.1:$port{$1}"/ge;
$conf =~ s/10\[\.\]0\[\.\]0\[\.\]3([12])(\S+)6379/"127[.]0[.]0[.]1${2}$port{$1}"/ge;
$conf =~ s/10\.0\.0\.41:26379/127.0.0.1:$port{sentinel}/g;
$conf =~ s/^\s*server s[23] .*\n//mg;
$conf =~ s/ge 2/ge 1/g;                     # one Sentinel, not three
unlike $conf =~ s/^#.*//mgr, qr/10\.0\.0|10\[\.\]0/, 'the sample has no other addresses';
open my $fh, '>', "$dir/haproxy.cfg" or die;
print $fh $conf;
close $fh;
my $haproxy = $t->daemon('/usr/sbin/haproxy', { REDIS_PASSWORD => $password }, '-db', '-f', "$dir/haproxy.cfg");
ok +(eventually { eval { ($s->redis('ROLE') // [''])->[0] eq 'master' } } 15), 'by way of HAProxy one comes to the master' or diag $t->daemon_log($haproxy);

# -- the platform

my $id = $t->add_device('00007', channels => 4);
my $n = $t->nginx(workers => 2, sub => { "mdvr_redis unix:$s->{redis_socket}" => "mdvr_redis redis://127.0.0.1:$port{proxy}" });
my $worker = $t->daemon('mdvr-worker', { MDVR_REDIS => "redis://127.0.0.1:$port{proxy}", MDVR_WORKER_RETRY_MS => 100, MDVR_WORKER_LEASE_MS => 2000, MDVR_WORKER_TICK_MS => 300 });
my $api = $t->admin;
my $dev = $t->device('00007');
$dev->v101;

my (%seen, $last);
my $sent = 0;
sub subscriber {
    my ($after) = @_;
    my $ws = $t->websocket(token => $api->{token});
    $ws->send({ type => 'subscribe', topics => ['alarm'], $after ? (after => $after) : () });
    $ws->next('subscribed', 10) or die 'not subscribed';
    return $ws;
}
sub hear {
    my ($ws, $who, $seconds) = @_;
    while (my $m = $ws->next('alarm', $seconds)) {
        $seen{$who}{"$m->{alarm_id} $m->{phase}"}++;         # the next one ends it
        $last = $m->{id} if $who eq 'resumed';
        $seconds = 0.01;
    }
}
sub heard { return scalar(grep { /start/ } keys %{ $seen{ $_[0] } }) == $sent && scalar(grep { /end/ } keys %{ $seen{ $_[0] } }) == $sent - 1 }
my ($stays, $leaves) = (subscriber(), subscriber());
sub alarms {
    for (1 .. $_[0]) {
        my $ok = $dev->alarm('V201', data => [ 2, ++$sent, 'door' ]);
        defined $ok or fail "alarm $sent is not acknowledged";
    }
}
sub command {
    my $p = $api->begin('POST', "/api/v1/devices/$id/commands", { type => 'device_info', params => {} });
    my $cmd = $dev->expect('C588', 2);
    $dev->answer($cmd, 'x') if $cmd;
    return $p->end->{status};
}
my $raw = MDVR::Files::annexb($dir, seconds => 1);
my $state = "$n->{dir}/state";
make_path("$state/staged");
MDVR::Store::give("$state/staged", MDVR::Test::svc_user());
my @jobs;
sub job {
    my $media = sprintf '01a00000-0000-7000-8000-%012d', 1 + @jobs;
    my $file = "$state/staged/$media.bin";
    open my $out, '>:raw', $file or die $!;
    print $out $raw;
    close $out;
    MDVR::Store::give($file, MDVR::Test::svc_user());
    $t->redis('XADD', "mdvr:job:{ingest\@$n->{name}}", '*', 'job', JSON::PP->new->encode({ id => $media, kind => 'ingest',
        device_id => $id, file => $file, media_kind => 'mp4', source => 'alarm_file' }));
    push @jobs, $media;
}
sub ready { $t->value("select count(*) from mdvr.media where status = 'ready'") }

alarms(30);
is command(), 202, 'commands are taken';
job() for 1 .. 3;
ok +(eventually { ready() == 3 } 20), 'jobs are done' or diag $t->daemon_log($worker);
hear($stays, 'stays', 5);
hear($leaves, 'resumed', 5);
job() for 1 .. 5;                           # some wait, some are under way
$t->redis('WAIT', 1, 2000);                 # the replica has them

# -- the master is killed

my $t0 = time;
$t->daemon_stop($master, 'KILL');
$leaves->drop;
delete $s->{redis_conn};
my $new = 0;
while (time - $t0 < MDVR::Test::patience(30)) {
    alarms(5);
    $new = $cli->('sentinel', 'sentinel get-master-addr-by-name mdvr') =~ /^@{[ $port{2} ]}$/m
        && eval { ($s->redis('ROLE') // [''])->[0] eq 'master' };
    last if $new;
    delete $s->{redis_conn};
    sleep 0.05;
}
ok $new, 'Sentinel fails over, HAProxy follows' or diag slurp("$dir/sentinel/log"), $t->daemon_log($haproxy);
note sprintf 'after %.1f s and %d alarms', time - $t0, $sent - 30;
ok +(eventually { alarms(1); command() == 202 } 15), 'commands go on by themselves';
note sprintf 'after %.1f s', time - $t0;
alarms(30);
job() for 1 .. 3;
ok +(eventually { ready() == 11 } 30), 'every job is done, those from before the death too' or diag ready(), $t->daemon_log($worker);
my $wanted = $t->value("select count(*) from mdvr.alarm where code = 'V201'");
is $wanted, $sent, 'every alarm that was acknowledged is stored, once';
my $back = subscriber($last);
ok +(eventually { hear($stays, 'stays', 0.2); heard('stays') } 15), 'a socket that stayed has heard all of them';
ok +(eventually { hear($back, 'resumed', 0.2); heard('resumed') } 15), 'so has one that left and resumed'
    or diag scalar(keys %{ $seen{resumed} }), " of $sent";
is scalar(grep { $_ > 1 } map { values %$_ } values %seen), 0, 'none of them twice';
alarms(3);
hear($back, 'resumed', 5);
ok +(eventually { hear($back, 'resumed', 0.2); heard('resumed') }), 'live events come';

# -- the old master comes back: nobody is sent to it

server(1, redis_conf(1, ''));
ok +(eventually { $cli->(1, 'role') =~ /^slave/ } 30), 'the one that died comes back and is made a replica' or diag slurp("$dir/sentinel/log");
is $s->redis('ROLE')->[0], 'master', 'HAProxy has not moved';
is command(), 202, 'nor is anything cut';

$t->done;
