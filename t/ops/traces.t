# Traces: a collector that checks the schema gets one connected trace of an
# API call down to the device's answer, and one of an alarm down to its push.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use File::Temp qw(tempdir);

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
plan skip_all => 'the collector needs web/node_modules' unless -d 'web/node_modules/@opentelemetry/otlp-transformer';

my $top = $MDVR::Test::TOP;
my $dir = MDVR::Test::test_dir();
mkdir "$dir/otlp";

sub run_in_background {
    my ($log, @cmd) = @_;
    my $pid = fork // die "fork: $!";
    return $pid if $pid;
    open STDOUT, '>', $log;
    open STDERR, '>&', \*STDOUT;
    { exec @cmd }
    POSIX::_exit(127);
}

my @children = run_in_background("$dir/otlp.log", 'node', "$top/t/lib/MDVR/otlp.mjs", "$dir/otlp");
ok eventually { -s "$dir/otlp/port" }, 'a collector listens' or diag slurp("$dir/otlp.log");
my $port = slurp("$dir/otlp/port");

my %env = (MDVR_VAR => "$dir/var", DEMO => 0, MDVR_WORKERS => 2, MDVR_OTLP_ENDPOINT => "http://127.0.0.1:$port/",
    MDVR_WEBHOOK_ALLOW => '127.0.0.0/8');
$env{"MDVR_${_}_PORT"} = MDVR::Test::free_port() for qw(HTTP WS HTTPS SIGNAL MEDIA);

sub mdvr {
    local %ENV = (%ENV, %env);
    my $out = `timeout 120 $top/ops/mdvr $_[0] 2>&1 </dev/null`;
    is $?, 0, "ops/mdvr $_[0]" or diag $out;
}

END {
    local $?;
    kill TERM => @children if @children;
    if ($env{MDVR_VAR}) { local %ENV = (%ENV, %env); system "$top/ops/mdvr stop >/dev/null 2>&1" }
}

sub spans { map { json_of($_) } split /\n/, slurp("$dir/otlp/spans") }
sub attr { my ($s, $key) = @_; my ($a) = grep { $_->{key} eq $key } @{ $s->{attributes} }; $a && ($a->{value}{stringValue} // $a->{value}{intValue}) }

# Those of a trace by span id, when each of them hangs below another one and
# exactly one does not.
sub connected {
    my ($trace, $top_parent) = @_;
    my %by = map { $_->{spanId} => $_ } grep { $_->{traceId} eq $trace } spans();
    my @loose = grep { !$_->{parentSpanId} || !$by{ $_->{parentSpanId} } } values %by;
    return (\%by, @loose == 1 && ($loose[0]{parentSpanId} // '') eq $top_parent, \@loose);
}

mdvr('start');
my $cred = json_of(slurp("$env{MDVR_VAR}/credentials.json"));
my $http = MDVR::HTTP->new(port => $env{MDVR_HTTP_PORT});
$http->token($http->post('/auth/login', { email => $cred->{email}, password => $cred->{password} })->{json}{access_token});
my $device = $http->post('/devices', { serial => '00007', name => 'Traced', channels => 4 })->{json}{id};
like $device, qr/^[0-9a-f-]{36}$/, 'a device';
is $http->post('/webhooks', { url => "http://127.0.0.1:$port/hook", topics => ['alarm'], secret => 'a-secret-of-thirty-two-characters' })->{status},
    201, 'somebody who is told about alarms';

push @children, run_in_background("$dir/sim.log", "$top/build/bin/mdvr-sim", '--serial', '00007', '--signal-port', $env{MDVR_SIGNAL_PORT},
    '--media-port', $env{MDVR_MEDIA_PORT}, '--control', "$dir/orders", '--clip-dir', "$top/build/clips");
ok eventually { $http->get("/devices/$device/status")->{json}{online} }, 'which is online';

# an API call down to the device's answer

my $caller = '4bf92f3577b34da6a3ce929d0e0e4736';
my $r = $http->request('POST', "/api/v1/devices/$device/commands", { type => 'device_info', params => {} },
    traceparent => "00-$caller-00f067aa0ba902b7-01");
is $r->{status}, 202, 'a command' or diag $r->{body};
ok eventually { grep { $_->{traceId} eq $caller && $_->{name} eq 'C588' } spans() }, 'its span at the device arrives';
ok eventually { my (undef, $ok) = connected($caller, '00f067aa0ba902b7'); $ok }, 'all of it is below the span of the caller';
my ($by) = connected($caller, '00f067aa0ba902b7');
my %named = map { $_->{name} => $_ } values %$by;
is $named{'POST /devices/{id}/commands'}{kind}, 2, 'the API is a server';
is attr($named{'POST /devices/{id}/commands'}, 'http.response.status_code'), 202, 'with the status it answered';
like attr($named{'POST /devices/{id}/commands'}, 'mdvr.tenant_id') // '', qr/^[0-9a-f-]{36}$/, 'and the tenant';
is $named{C588}{parentSpanId}, $named{'POST /devices/{id}/commands'}{spanId}, 'the device is asked by it';
is $named{C588}{kind}, 3, 'as a client';
is attr($named{C588}, 'mdvr.serial'), '00007', 'which device';
is attr($named{postgresql}, 'db.system'), 'postgresql', 'a call of the database is a span';

$http->request('GET', "/api/v1/devices/$device", undef, traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-00');
$http->request('GET', "/api/v1/devices/$device", undef, traceparent => 'rubbish');

# an alarm down to its film and its push

open my $fh, '>', "$dir/orders" or die "orders: $!";
print $fh "00007 clip V201 2\n";
close $fh;

my $alarm;
ok eventually(sub { ($alarm) = map { $_->{id} } grep { $_->{code} eq 'V201' } @{ $http->get('/alarms')->{json}{items} }; $alarm }), 'an alarm';
ok eventually(sub { grep { $_->{status} eq 'ready' } @{ $http->get("/media?alarm_id=$alarm")->{json}{items} } }, 60), 'its film is ready';
my $trace = $alarm =~ tr/-//dr;
my @wanted = qw(V201 V232 C702 transfer ingest transcode analyse notify POST postgresql);
ok eventually(sub { my ($by, $ok) = connected($trace, ''); my %n = map { $_->{name} => 1 } values %$by; $ok && !grep { !$n{$_} } @wanted }, 60),
    "the alarm's id is that of a trace with each step, all connected";
(my $all, my $ok, my $loose) = connected($trace, '');
%named = map { $_->{name} => $_ } values %$all;
is_deeply [ grep { !$named{$_} } @wanted ], [], 'none is missing';
is_deeply [ map { $_->{name} } @$loose ], ['V201'], 'it begins with the message of the device';
is $named{ingest}{parentSpanId}, $named{transfer}{spanId}, 'the worker goes on where the transfer ended';
is $named{transcode}{parentSpanId}, $named{ingest}{spanId}, 'job after job';
is $named{ingest}{service}, 'mdvr-worker', 'in its own name';
is $named{V201}{service}, 'mdvr-nginx', 'nginx in its';
ok !(grep { $_->{endTimeUnixNano} < $_->{startTimeUnixNano} } values %$all), 'no span ends before it begins';
my %texts = map { $_ => 1 } map { attr($_, 'db.statement') // () } spans();
ok !(grep { /00007|secret-of/ } keys %texts), "no value of anybody is in a statement's text";
is((scalar grep { $_->{traceId} eq '4bf92f3577b34da6a3ce929d0e0e4737' } spans()), 0, 'what the caller does not sample is not sent');
unlike slurp("$dir/otlp/spans"), qr/\Q$cred->{password}\E|eyJ[\w-]+\./, 'no password and no token in any span';

like slurp("$dir/otlp/hooks"), qr/"traceparent":"00-$trace-[0-9a-f]{16}-01"/, 'who is told gets the trace along';
like slurp("$env{MDVR_VAR}/log/worker.log"), qr/"trace_id":"$trace"/, "the worker's log names the trace";

# a collector that is away

open $fh, '>', "$dir/otlp/away";
close $fh;
my $later = '4bf92f3577b34da6a3ce929d0e0e4738';
$http->request('GET', "/api/v1/devices/$device", undef, traceparent => "00-$later-00f067aa0ba902b7-01");
ok eventually(sub { -s "$dir/otlp/sent-away" }), 'while the collector is away';
is $http->get("/devices/$device")->{status}, 200, 'the API answers';
unlink "$dir/otlp/away";
ok eventually(sub { grep { $_->{traceId} eq $later } spans() }, 30), 'and its spans come later';
ok !-e "$dir/otlp/refused", 'nothing was against the schema' or diag slurp("$dir/otlp/refused");

my $metrics = $http->request('GET', '/metrics')->{body};
my ($sent) = $metrics =~ /^mdvr_trace_spans_total (\d+)/m;
my ($dropped) = $metrics =~ /^mdvr_trace_spans_dropped_total (\d+)/m;
cmp_ok $sent, '>', 10, 'spans are counted';
is $dropped, 0, 'none was dropped';
done_testing;
