# One alarm followed by one id: from the device's message through signaling, the
# push socket, the transfer of its film and each job of the worker, in all of the
# logs under the same keys.  And the levels of core and worker at run time.

use v5.30;
use lib 't/lib';
use MDVR::Test;

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';

my $top = $MDVR::Test::TOP;
my $dir = MDVR::Test::test_dir();
my %env = (MDVR_VAR => "$dir/var", DEMO => 0, MDVR_WORKERS => 2, MDVR_WEBHOOK_ALLOW => '127.0.0.0/8', MDVR_LOG_LEVEL => 'info');
$env{"MDVR_${_}_PORT"} = MDVR::Test::free_port() for qw(HTTP WS HTTPS SIGNAL MEDIA);
my @children;

sub mdvr {
    my ($what, %more) = @_;
    local %ENV = (%ENV, %env, %more);
    my $out = `timeout 120 $top/ops/mdvr $what 2>&1 </dev/null`;
    is $?, 0, "ops/mdvr $what" or diag $out;
}

END {
    local $?;
    kill TERM => @children if @children;
    if ($env{MDVR_VAR}) { local %ENV = (%ENV, %env); system "$top/ops/mdvr stop >/dev/null 2>&1" }
}

# Lines of a log that answer to a test.
sub lines_of {
    my ($log, $test) = @_;
    return grep { $test->($_) } map { json_of($_) } grep { /^\{.*\}$/ } split /\n/, slurp("$env{MDVR_VAR}/log/$log.log") // '';
}
sub told { my ($log, $words, $key, $value) = @_; return lines_of($log, sub { ($_[0]{msg} // '') =~ $words && ($_[0]{$key} // '') eq $value }) }

mdvr('start');
my $cred = json_of(slurp("$env{MDVR_VAR}/credentials.json"));
my $http = MDVR::HTTP->new(port => $env{MDVR_HTTP_PORT});
my $token = $http->post('/auth/login', { email => $cred->{email}, password => $cred->{password} })->{json}{access_token};
$http->token($token);
my $device = $http->post('/devices', { serial => '00007', name => 'Followed', channels => 4 })->{json}{id};
my $nobody = MDVR::Test::free_port();
is $http->post('/webhooks', { url => "http://127.0.0.1:$nobody/hook", topics => ['alarm'], secret => 'a-secret-of-thirty-two-characters' })->{status},
    201, 'somebody who is told about alarms';
my $viewer = MDVR::WebSocket->new(port => $env{MDVR_WS_PORT}, token => $token);
$viewer->send({ type => 'subscribe', topics => ['alarm'] });
ok $viewer->next('subscribed', 10), 'a viewer';

my $pid = fork // die "fork: $!";
if (!$pid) {
    open STDOUT, '>', "$dir/sim.log";
    open STDERR, '>&', \*STDOUT;
    { exec "$top/build/bin/mdvr-sim", '--serial', '00007', '--signal-port', $env{MDVR_SIGNAL_PORT}, '--media-port', $env{MDVR_MEDIA_PORT},
        '--control', "$dir/orders", '--clip-dir', "$top/build/clips" }
    POSIX::_exit(127);
}
push @children, $pid;
ok +(eventually { $http->get("/devices/$device/status")->{json}{online} } 30), 'a recorder';
open my $fh, '>', "$dir/orders" or die "orders: $!";
print $fh "00007 clip V201 2\n";
close $fh;
my $event = $viewer->next('alarm', 30);
ok $event, 'the viewer has an alarm';
my $alarm = $event->{alarm_id} // $event->{alarm}{id} // '';
like $alarm, qr/^[0-9a-f-]{36}$/, 'with its id' or diag explain $event;
my $trace = $alarm =~ tr/-//dr;
my %same = (tenant_id => $cred->{tenant_id}, alarm_id => $alarm, trace_id => $trace);

# -- each step has a line with the same keys

my @steps = (
    [ 'the message is stored', 'nginx', qr/alarm V201 stored$/, qw(device device_id event_id client connection) ],
    [ 'it is pushed to the viewer', 'nginx', qr/event alarm pushed$/, qw(device_id event_id viewers) ],
    [ 'its film is announced', 'nginx', qr/alarm V232 stored$/, qw(device device_id) ],
    [ 'its film is received', 'nginx', qr/^file received, complete at \d+$/, qw(device session client) ],
    [ 'its film is a job', 'worker', qr/^job done$/, qw(device device_id job kind attempt) ],
    [ 'others are told', 'worker', qr/^notification (?:not )?delivered$/, qw(device_id delivery event_id) ],
);
for my $step (@steps) {
    my ($what, $log, $words, @keys) = @$step;
    my @l;
    ok +(eventually { @l = told($log, $words, trace_id => $trace) } 60), "$what: a line of $log" or next;
    is_deeply [ @{ $l[0] }{ sort keys %same } ], [ @same{ sort keys %same } ], '... tenant, alarm and trace are those of the viewer';
    is_deeply [ grep { !length($l[0]{$_} // '') } qw(time level msg), @keys ], [], "... with @keys" or diag explain $l[0];
    is $l[0]{device}, '00007', '... and the serial' if grep { $_ eq 'device' } @keys;
    is $l[0]{device_id}, $device, '... and the id of the device' if grep { $_ eq 'device_id' } @keys;
}
my ($stored) = told('nginx', qr/alarm V201 stored$/, trace_id => $trace);
my ($pushed) = grep { $_->{event_id} eq ($stored->{event_id} // '') } told('nginx', qr/event alarm pushed$/, trace_id => $trace);
ok $pushed, 'the event is the same one in signaling and push';
is $stored->{event_id}, $event->{id}, '... and that of the viewer';
my ($done) = told('worker', qr/^job done$/, alarm_id => $alarm);
is_deeply [ grep { exists $done->{$_} && exists $stored->{$_} && $done->{$_} ne $stored->{$_} } qw(tenant_id device device_id alarm_id trace_id) ], [],
    'nginx and worker name them alike';
my ($ended) = lines_of('nginx', sub { ($_[0]{msg} // '') =~ /connection ends/ });
$http->request('GET', "/api/v1/devices/$device", undef, traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'x-request-id' => 'followed-1');
my @l;
ok +(eventually { @l = told('access', qr/^request$/, request_id => 'followed-1') }), 'a request';
is_deeply [ @{ $l[0] }{qw(trace_id tenant_id)} ], [ '4bf92f3577b34da6a3ce929d0e0e4736', $cred->{tenant_id} ], '... has its caller\'s trace and its tenant';

# -- levels

sub debug { my ($log) = @_; return scalar lines_of($log, sub { $_[0]{level} eq 'DEBUG' }) }
sub alarms { my ($n) = @_; open my $o, '>', "$dir/orders" or die; print $o "00007 clip V201 1\n" for 1 .. $n; close $o }
is debug('worker'), 0, 'the worker is quiet';
mdvr('reload', MDVR_LOG_LEVEL_WORKER => 'debug');
my $was = () = lines_of('worker', sub { ($_[0]{msg} // '') eq 'worker started' });
ok +(eventually { alarms(1) unless debug('worker'); debug('worker') } 60), '... and says more after MDVR_LOG_LEVEL_WORKER=debug and a reload';
is scalar(() = lines_of('worker', sub { ($_[0]{msg} // '') eq 'worker started' })), $was, '... without a new start';
is debug('nginx'), 0, '... nginx does not';
mdvr('reload', MDVR_LOG_LEVEL_WORKER => 'error');
is slurp("$env{MDVR_VAR}/run/worker.level"), "error\n", 'and back';

SKIP: {
    skip 'this nginx has no debug log', 2 if qx(/usr/sbin/nginx -V 2>&1) !~ /--with-debug/;
    mdvr('reload', MDVR_LOG_LEVEL_CORE => 'debug');
    ok +(eventually { $http->get('/devices'); debug('nginx') } 30), 'the core says more after MDVR_LOG_LEVEL_CORE=debug';
}
$viewer->drop;
mdvr('stop');
if (Test::More->builder->is_passing) { File::Path::remove_tree($dir) } else { diag "state kept in $dir" }
done_testing;
