# What `make start`, `make run` and `make stop` do: a private instance, twice
# side by side, and nothing left behind.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my $dir = MDVR::Test::test_dir();
my $mdvr = "$MDVR::Test::TOP/ops/mdvr";

sub instance {
    my ($name, %more) = @_;
    my %env = (MDVR_VAR => "$dir/$name", DEMO => 0, MDVR_WORKERS => 2, %more);
    $env{"MDVR_${_}_PORT"} //= MDVR::Test::free_port() for qw(HTTP WS HTTPS SIGNAL MEDIA);
    return \%env;
}

# Runs ops/mdvr; its output, and the exit status in $?.
sub mdvr {
    my ($env, @args) = @_;
    local %ENV = (%ENV, %$env);
    open my $out, '-|', 'sh', '-c', 'exec timeout 120 "$@" 2>&1 </dev/null', 'sh', $mdvr, @args or die;
    local $/;
    my $text = <$out>;
    close $out;
    return $text // '';
}

sub mode { sprintf '%04o', 07777 & (stat $_[0])[2] // 0 }

sub left {      # processes and shared memory of an instance
    my ($env) = @_;
    my @found;
    for my $p (glob '/proc/[0-9]*') {
        my $cwd = readlink "$p/cwd" // '';
        my $cmd = slurp("$p/cmdline") =~ tr/\0/ /r;
        my ($pid) = $p =~ /(\d+)$/;
        push @found, "$pid $cmd" if $cmd ne '' && (index($cmd, "$env->{MDVR_VAR}/") >= 0 || index("$cwd/", "$env->{MDVR_VAR}/") == 0)
            && $pid != $$ && MDVR::Test::alive($pid);
    }
    return @found;
}

my $a = instance('a');
my $t0 = time;
my $out = mdvr($a, 'start');
is $?, 0, 'it starts' or diag $out;
note sprintf 'first start in %.1f s', time - $t0;
my $http = MDVR::HTTP->new(port => $a->{MDVR_HTTP_PORT});
is $http->request('GET', '/readyz')->{status}, 200, 'start returns when readyz is good';
like $out, qr{http://127\.0\.0\.1:$a->{MDVR_HTTP_PORT}/}, 'and says where to look';

is mode("$a->{MDVR_VAR}/credentials.json"), '0600', 'credentials.json is private';
is mode("$a->{MDVR_VAR}/mdvr.env"), '0600', 'mdvr.env is private';
my $cred = json_of(slurp("$a->{MDVR_VAR}/credentials.json"));
like $cred->{$_}, qr/./, "credentials.json has $_" for qw(email password tenant_id);
my %env = slurp("$a->{MDVR_VAR}/mdvr.env") =~ /^(\w+)='?(.*?)'?$/mg;
is $env{MDVR_HTTP_PORT}, $a->{MDVR_HTTP_PORT}, 'mdvr.env has the settings in effect';
like $env{MDVR_API_URL}, qr{^http://127\.0\.0\.1:\d+/api/v1$}, 'and the URLs';

my $r = $http->post('/auth/login', { email => $cred->{email}, password => $cred->{password} });
is $r->{status}, 200, 'the first super admin signs in';
is $http->post('/auth/login', { email => 'admin@mdvr.local', password => 'admin' })->{status}, 401, 'no default password';

like $http->request('GET', '/')->{body}, qr/<html/i, 'the console is served' if -e "$MDVR::Test::TOP/web/dist/index.html";
$r = $http->request('GET', '/nothing/here.js', undef, 'x-request-id' => 'my-request');
is $r->{status}, 404, "nginx's own errors";
like $r->{headers}{'content-type'}, qr{^application/problem\+json}, 'are problem+json';
is_deeply [ @{ $r->{json} }{qw(status code request_id)} ], [ 404, 'not_found', 'my-request' ], 'like those of the API';
like $http->raw("GET / HTTP/1.1\r\nHost: x y\r\n\r\n"), qr{^HTTP/1\.1 400.*application/problem\+json}s, 'also for a bad request';
like $http->raw("GET /" . 'x' x 20000 . " HTTP/1.1\r\nHost: x\r\n\r\n"), qr{^HTTP/1\.1 414.*problem\+json}s, 'a long address';
like $http->raw("GET / HTTP/7.0\r\nHost: x\r\n\r\n"), qr{^HTTP/1\.1 505.*problem\+json}s, 'another HTTP';
like $http->raw("GET / HTTP/1.1\r\nHost: x\r\nA: " . 'x' x 20000 . "\r\n\r\n"), qr{^HTTP/1\.1 431.*problem\+json}s, 'large headers';
$http->request('GET', '/live/secret-token-of-a-viewer/index.m3u8');
my $log = eventually { my $t = slurp("$a->{MDVR_VAR}/log/access.log"); $t =~ m{/live/} && $t };
unlike $log, qr/secret-token/, 'no stream token in the access log';
my @lines = map { eval { json_of($_) } } grep { length } split /\n/, $log;
is scalar(grep { !$_ || !$_->{time} || !$_->{level} || !defined $_->{msg} } @lines), 0, 'each line of it is JSON';
like $lines[-1]{time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, 'with the time in UTC and milliseconds';
ok eventually { my @l = map { eval { json_of($_) } } split /\n/, slurp("$a->{MDVR_VAR}/log/nginx.log"); @l && !grep { !$_ } @l },
    "nginx's own log is JSON too";

for my $file (glob "$a->{MDVR_VAR}/log/*.log") {
    my @bad = grep { my $l = eval { json_of($_) }; !$l || grep { !defined $l->{$_} } qw(time level msg) } split /\n/, slurp($file);
    is_deeply \@bad, [], 'each line has time, level and msg: ' . $file =~ s{.*/}{}r;
}

mdvr($a, 'start');
is $?, 0, 'starting again is harmless';
like mdvr($a, 'status'), qr/nginx +running/, 'status says what runs';
is $?, 0, 'and is good';

SKIP: {
    my $pid = slurp("$a->{MDVR_VAR}/run/rtc.pid") + 0 or skip 'no daemon', 1;
    kill KILL => $pid;
    my $t1 = time;
    ok eventually { my $p = slurp("$a->{MDVR_VAR}/run/rtc.pid") + 0; $p != $pid && MDVR::Test::alive($p) && time - $t1 < 2 },
        'a daemon that was killed is back within 2 s';
}

# a second instance beside it; a node on the stores of the first

my $b = instance('b', DEMO => 1);
mdvr($b, 'start');
is $?, 0, 'a second instance starts beside it';
{
    my $c = json_of(slurp("$b->{MDVR_VAR}/credentials.json"));
    my $demo = MDVR::HTTP->new(port => $b->{MDVR_HTTP_PORT});
    $demo->token($demo->post('/auth/login', { email => $c->{email}, password => $c->{password} })->{json}{access_token});
    my @items = @{ $demo->get('/devices?online=true')->{json}{items} };
    is scalar @items, 3, 'with a demo fleet that is online';
    my $r = $demo->post("/devices/$items[0]{id}/video/start", { channel => 1, stream => 'sub' });
    is $r->{status}, 200, 'its cameras can be watched';
    my $film = $demo->stream($r->{json}{urls}{fmp4} // '/live/none/stream.mp4');
    like $film->read(20000, 10), qr/^....ftyp.*moof/s, 'and deliver a film';
    $film->close;
}
isnt json_of(slurp("$b->{MDVR_VAR}/credentials.json"))->{password}, $cred->{password}, 'with secrets of its own';
mdvr($b, 'stop');
is_deeply [ left($b) ], [], 'and stops without a trace';
is $http->request('GET', '/readyz')->{status}, 200, 'the first goes on';

my $c = instance('c', MDVR_DATABASE_URL => $env{MDVR_DATABASE_URL}, MDVR_REDIS_URL => $env{MDVR_REDIS_URL});
$out = mdvr($c, 'start');
is $?, 0, 'a node starts on the stores of the first' or diag $out;
my $other = MDVR::HTTP->new(port => $c->{MDVR_HTTP_PORT});
is $other->post('/auth/login', { email => $cred->{email}, password => $cred->{password} })->{status}, 200,
    'and knows the same users';
mdvr($c, 'stop');
is $http->post('/auth/login', { email => $cred->{email}, password => $cred->{password} })->{status}, 200,
    'the first still has its database';

# a port that is taken

my $d = instance('d', MDVR_HTTP_PORT => $a->{MDVR_HTTP_PORT});
$out = mdvr($d, 'start');
isnt $?, 0, 'a port that is taken is an error';
like $out, qr/another program uses port $a->{MDVR_HTTP_PORT}/, 'that says so';
is_deeply [ left($d) ], [], 'and nothing goes on running';

# stop, and the data is still there

mdvr($a, 'stop');
is $?, 0, 'it stops';
is_deeply [ left($a) ], [], 'no process is left';
is_deeply [ glob "/dev/shm/mdvr-$env{MDVR_NODE}*" ], [], 'and no shared memory';
isnt mdvr($a, 'status') && $?, 0, 'status is bad then';

my $pid = fork // die;
if (!$pid) {
    %ENV = (%ENV, %$a);
    POSIX::setsid();
    $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP);
    open STDOUT, '>', "$dir/run.out";
    open STDERR, '>&', \*STDOUT;
    exec $mdvr, 'run' or POSIX::_exit(127);
}
ok((eventually { slurp("$dir/run.out") =~ /Ctrl-C stops/ } 60), 'run comes up in the foreground');
is $http->post('/auth/login', { email => $cred->{email}, password => $cred->{password} })->{status}, 200, 'with the old data';
kill INT => -$pid;
ok MDVR::Test::wait_pid($pid, 60), 'Ctrl-C ends it';
is_deeply [ left($a) ], [], 'and everything with it';

END {
    my $status = $?;
    if ($dir && $mdvr) {
        for my $name (qw(a b c d)) { mdvr({ MDVR_VAR => "$dir/$name" }, 'stop') if -d "$dir/$name" && left({ MDVR_VAR => "$dir/$name" }) }
        File::Path::remove_tree($dir) if Test::More->builder->is_passing;
    }
    $? = $status;
}

done_testing;
