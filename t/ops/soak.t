# A day in little: a fleet that reports, raises alarms with films and is
# watched, people who sign in, ask the API and listen, and some who stopped
# listening.  Memory and descriptors of every process stay flat, and everything
# that was sent is stored.
# SOAK_S seconds: 75 here, 1800 in t/long/soak.t and `make soak`.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use List::Util qw(min max sum0);

my $seconds = $ENV{SOAK_S} // 75;
my ($fleet, $watched) = (200, 6);
plan skip_all => 'there are no films' unless -s 'build/clips/SIM-sub.h264';
my $top = $MDVR::Test::TOP;
my $dir = MDVR::Test::test_dir();
my %env = (MDVR_VAR => "$dir/var", DEMO => 0, MDVR_WORKERS => 2, MDVR_AI => 'camera');
$env{"MDVR_${_}_PORT"} = MDVR::Test::free_port() for qw(HTTP WS HTTPS SIGNAL MEDIA);

sub mdvr {
    local %ENV = (%ENV, %env);
    my $out = `timeout 120 $top/ops/mdvr $_[0] 2>&1 </dev/null`;
    is $?, 0, "ops/mdvr $_[0]" or diag $out;
}

my $sim;
END {
    local $?;
    kill KILL => $sim if $sim;
    if ($env{MDVR_VAR}) { local %ENV = (%ENV, %env); system "$top/ops/mdvr stop >/dev/null 2>&1" }
}

mdvr('start');
my $cred = json_of(slurp("$env{MDVR_VAR}/credentials.json"));
my $http = MDVR::HTTP->new(port => $env{MDVR_HTTP_PORT});
sub sign_in { $http->token($http->post('/auth/login', { email => $cred->{email}, password => $cred->{password} })->{json}{access_token}) }
sign_in();
my ($url) = slurp("$env{MDVR_VAR}/mdvr.env") =~ /^MDVR_DATABASE_URL='?([^'\n]*)/m;
my @ids;
for my $i (1 .. $fleet) {               # a user may ask fifty times a second
    my $r = eventually(sub { my $r = $http->post('/devices', { serial => sprintf('SOAK%04d', $i), name => "Vehicle $i", channels => 4 }); $r->{status} == 201 && $r }, 10);
    push @ids, $r->{json}{id};
}
is scalar(grep { defined } @ids), $fleet, "$fleet devices";

my $stats = "$dir/sim.json";
$sim = fork // die "fork: $!";
if (!$sim) {
    open STDOUT, '>', "$dir/sim.log";
    open STDERR, '>&', \*STDOUT;
    { exec 'build/bin/mdvr-sim', '--devices', $fleet, '--serial-format', 'SOAK%04u', '--signal-port', $env{MDVR_SIGNAL_PORT}, '--media-port', $env{MDVR_MEDIA_PORT},
        '--interval', 2, '--ignition-events', 'no', '--control', "$dir/orders", '--upload-rate', 2000, '--stats-json', $stats, '--duration', $seconds + 60 }
    POSIX::_exit(127);
}

# ------------------------------------------------------------ what is measured

my $name = qr/^(?:nginx|mdvr-worker|mdvr-rtc|mdvr-logjson|redis-server)$/;
sub processes {
    my %found;
    for my $p (glob '/proc/[0-9]*') {
        my ($pid) = $p =~ /(\d+)$/;
        my $comm = slurp("$p/comm") =~ s/\n//r;
        next unless $comm =~ $name;
        my $cmd = slurp("$p/cmdline") =~ tr/\0/ /r;
        my $cwd = readlink("$p/cwd") // '';
        next unless index("$cmd $cwd/", "$env{MDVR_VAR}/") >= 0;
        next if slurp("$p/stat") =~ /^\d+ \(.*\) \S (\d+)/s && $comm eq 'mdvr-worker' && slurp("/proc/$1/comm") =~ /mdvr-worker/;  # a job
        my ($kib) = slurp("$p/smaps_rollup") =~ /^Anonymous:\s+(\d+)/m;
        next unless defined $kib;
        my @fds = glob "$p/fd/*";
        $found{"$comm $pid" . ($cmd =~ /mdvr-worker (\w+)/ ? " $1" : $cmd =~ /(master|worker) process/ ? " $1" : '')} = [ $kib, scalar @fds ];
    }
    return \%found;
}

# What a process that grew consists of: KiB of its heap, of the arenas of its
# threads, of other mappings.
sub parts {
    my ($pid) = $_[0] =~ / (\d+)/;
    my (%kib, $in);
    for (split /\n/, slurp("/proc/$pid/smaps")) {
        if (/^([0-9a-f]+)-\S+ \S+ \S+ \S+ \S+\s*(.*)/) { $in = $2 ? $2 =~ /^\[heap/ ? 'heap' : 'file' : hex($1) % (1 << 26) ? 'mapped' : 'arena' }
        elsif (/^Anonymous:\s+(\d+)/) { $kib{$in} += $1 }
    }
    return join ', ', map { "$_ $kib{$_}" } sort keys %kib;
}

# ---------------------------------------------------------------------- the day

my (%series, %asked, @viewers, @asleep);
my $samples = 0;
my $ws;

# A client that is told to slow down does.
sub patiently { my ($ask, @args) = @_; return eventually(sub { my $r = $ask->(@args); $r->{status} != 429 && $r }, 10) }

sub watch {
    my ($id) = @_;
    my $r = patiently(sub { $http->post("/devices/$id/video/start", { channel => 1, stream => 'sub' }) });
    $asked{ $r->{status} }++;
    return $r->{status} == 200 ? $r->{json}{urls} : undef;
}

sub listen_to_events {
    my $ws = MDVR::WebSocket->new(port => $env{MDVR_WS_PORT}, path => '/ws', token => $http->{token});
    $ws->send({ type => 'subscribe', topics => [qw(telemetry alarm device media command)] });
    return $ws;
}

sub people {
    my ($round) = @_;
    sign_in() if $round % 20 == 19;
    if ($round % 45 == 0) {             # a viewer and a listener that read nothing
        my $urls = watch($ids[$watched]);
        $_->drop for splice @asleep;
        push @asleep, MDVR::WebSocket->new(port => $env{MDVR_HTTP_PORT}, path => $urls->{ws}) if $urls;
        push @asleep, listen_to_events();
    }
    $asked{ patiently(sub { $http->get($_[0]) }, $_)->{status} }++ for '/devices?limit=50', "/devices/$ids[ rand @ids ]", "/devices/$ids[ rand @ids ]/telemetry?limit=100",
        '/alarms?limit=20', "/devices/$ids[ rand @ids ]/status", '/media?limit=20';
    for my $n (1 .. $watched) {         # somebody comes and goes every few rounds
        my $id = $ids[ $n - 1 ];
        next if ($round + $n) % 5;
        $viewers[$n]->close if $viewers[$n];
        my $urls = watch($id) or next;
        $http->request('GET', $urls->{hls}) if $n % 2;
        $viewers[$n] = eval { MDVR::WebSocket->new(port => $env{MDVR_HTTP_PORT}, path => $urls->{ws}) };
    }
    if (!$ws || $round % 20 == 0) {
        $ws->close if $ws;
        $ws = listen_to_events();
    }
}

ok eventually(sub { -p "$dir/orders" }), 'the fleet takes orders';
my ($round, $t0, $next) = (0, time, time);
while (time - $t0 < $seconds) {
    people($round++);
    if ($round % 6 == 0) {              # an alarm with a film
        open my $fh, '>', "$dir/orders" or die "orders: $!";
        printf $fh "SOAK%04d clip V201 2\n", 1 + rand $fleet;
        close $fh;
    }
    my $until = time + 1;
    while (time < $until) {             # read what they get
        for my $v (grep { $_ } $ws, @viewers) { my $n = 0; 1 while $n++ < 50 && eval { $v->recv(0.002) } }
        sleep 0.02;
    }
    if (time >= $next) {
        my $now = processes();
        $samples++;
        push @{ $series{$_} }, $now->{$_} for keys %$now;
        $next = time + $seconds / 36;
    }
}
$_->close for grep { $_ } $ws, @viewers;
$_->drop for @asleep;
kill TERM => $sim;
waitpid $sim, 0;
undef $sim;

# ------------------------------------------------------------------- the evening

is scalar(grep { !/^(?:200|409)$/ } keys %asked), 0, 'answers: ' . join ', ', map { "$_: $asked{$_}" } sort keys %asked;
cmp_ok $samples, '>=', 8, "$samples samples";
my %whole = map { $_ => $series{$_} } grep { @{ $series{$_} } >= 0.9 * $samples } keys %series;
cmp_ok scalar(grep { /worker$/ && /^nginx/ } keys %whole), '>=', 2, 'nginx workers lived through it';
ok scalar(grep { /^mdvr-worker/ } keys %whole), 'the worker, too';
sub middle { my @s = sort { $a <=> $b } @_; return $s[ @s / 2 ] }
for my $p (sort keys %whole) {
    my @s = @{ $whole{$p} };
    my $q = int(@s / 4);
    my ($early, $late) = map { my $w = $_; [ map { my $k = $_; middle(map { $_->[$k] } @s[@$w]) } 0, 1 ] } [ $q .. 2 * $q - 1 ], [ 3 * $q .. $#s ];
    cmp_ok $late->[0], '<=', $early->[0] * 1.1 + 2048, "$p: memory is flat: $early->[0] KiB early, $late->[0] KiB late"
        or diag join(' ', map { $_->[0] } @s), "\n", parts($p);
    cmp_ok $late->[1], '<=', $early->[1] * 1.2 + 20, "$p: descriptors, too: $early->[1] and $late->[1]";
}
my $c = json_of(slurp($stats));
my $stored = sub { my $out = `psql -X -q -A -t -d "$url" -c "select count(*) from mdvr.telemetry" 2>$dir/psql.log`; $out + 0 };
SKIP: {
    skip 'no administrator of the database', 1 unless $url;
    ok eventually(sub { $stored->() >= $c->{positions_sent} }, 30), "all $c->{positions_sent} positions are stored"
        or diag $stored->(), slurp("$dir/psql.log");
}
cmp_ok $c->{positions_sent}, '>', $fleet * $seconds / 4, 'they were many';
cmp_ok $c->{files_sent}, '>', 0, "$c->{alarms_acknowledged} alarms were acknowledged, $c->{files_sent} films fetched";
note join ', ', map { "$_ $c->{$_}" } qw(alarms_sent alarms_acknowledged files_sent media_sessions frames_sent disconnects);
is $c->{disconnects}, 0, 'no device lost its connection';
done_testing;
