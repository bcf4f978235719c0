# Two nodes behind HAProxy, as conf/haproxy.cfg has them: devices spread over
# both; when a node is killed its devices and users find the other one.

use MDVR::Test;
use MDVR::Clip;

plan skip_all => 'haproxy is not installed' if system('command -v haproxy >/dev/null');
my $t = MDVR::Test->new;
my %node = map {
    $_ => $t->nginx(name => $_, workers => 1, signaling => 'set_real_ip_from 127.0.0.1;', conf => sub {
        my ($conf, $self) = @_;
        $conf =~ s/(listen 127\.0\.0\.1:$self->{signal_port} reuseport);/$1 proxy_protocol;/ or die;
        return $conf;
    })
} qw(a b);

# the sample, with the ports of this test
my %port = map { $_ => MDVR::Test::free_port() } qw(1087 6602 6603 443);
my $conf = slurp('conf/haproxy.cfg');
$conf =~ s{maxconn 200000}{maxconn 2000};
$conf =~ s/^(\s*bind ):(\d+)$/"${1}127.0.0.1:$port{$2}"/gme;
my %of = (11 => $node{a}, 12 => $node{b});
$conf =~ s/10\.0\.0\.(11|12):1087 check port 3000/"127.0.0.1:$of{$1}{signal_port} check port $of{$1}{http_port} inter 200"/ge;
$conf =~ s/10\.0\.0\.(11|12):443 check port 3000 send-proxy-v2/"127.0.0.1:$of{$1}{http_port} check port $of{$1}{http_port} inter 200"/ge;
$conf =~ s/10\.0\.0\.(11|12):6602/"127.0.0.1:$of{$1}{media_port}"/ge;
unlike $conf, qr/10\.0\.0/, 'the sample has no other addresses';
open my $fh, '>', "$t->{dir}/haproxy.cfg" or die;
print $fh $conf;
close $fh;
is system("haproxy -c -q -f $t->{dir}/haproxy.cfg"), 0, 'HAProxy takes it';
my $pid = fork // die;
if (!$pid) {
    open STDOUT, '>', "$t->{dir}/haproxy.log";
    open STDERR, '>&', \*STDOUT;
    { exec 'haproxy', '-db', '-f', "$t->{dir}/haproxy.cfg" }
    POSIX::_exit(127);
}
END { local $?; kill KILL => $pid if $pid }

$t->add_device(sprintf 'BAL%03u', $_) for 1 .. 20;
my $sim = fork // die;
if (!$sim) {
    open STDOUT, '>', "$t->{dir}/sim.log";
    open STDERR, '>&', \*STDOUT;
    { exec 'build/bin/mdvr-sim', '--devices', 20, '--serial-format', 'BAL%03u', '--signal-port', $port{1087}, '--retry', 2, '--interval', 1 }
    POSIX::_exit(127);
}
END { local $?; kill KILL => $sim if $sim }

my $s = $t->store;
ok eventually(sub { $s->value('select count(*) from mdvr.device_state where online') == 20 }, 20), 'twenty devices come in by way of the balancer'
    or diag slurp("$t->{dir}/haproxy.log"), slurp("$t->{dir}/sim.log");
my @at = map { $_->[0] } $s->sql('select count(*) from mdvr.device_state where online group by node order by node');
is scalar @at, 2, "both nodes have some (@at)";

my $api = MDVR::HTTP->new(port => $port{443});
my $admin = $s->first_admin;
$api->token($api->post('/auth/login', { email => $admin->{email}, password => $admin->{password} })->{json}{access_token});
is $api->get('/auth/me')->{status}, 200, 'the API answers there, too, on any node';

my $last = $s->value('select count(*) from mdvr.telemetry');
kill KILL => $node{a}->master, $node{a}->workers;
my $t0 = time;
ok eventually(sub { $s->value("select count(*) from mdvr.device_state where online and node = 'b'") == 20 }, 30), 'when one node is killed all devices are at the other one'
    or diag join ' ', map { "@$_" } $s->sql('select node, online, count(*) from mdvr.device_state group by 1, 2');
note sprintf '%.1f s', time - $t0;
is $api->get('/auth/me')->{status}, 200, 'whose API knows the session';
ok eventually(sub { $s->value('select count(*) from mdvr.telemetry') > $last + 40 }, 20), 'and positions go on';
$node{a}{running} = 0;
$t->done;
