#!/usr/bin/perl

# Clients that come, go and move between two nodes while events happen and
# everything around them dies: workers are killed, nodes reloaded and
# restarted, Redis is restarted and replaced.  Each client resumes with `after`
# where it was, now by WebSocket, now as an event stream, and at the end each
# has had each alarm once, in order.
# MOVES (100) connections altogether, by CLIENTS (5).

use lib 't/lib';
use MDVR::Test;
use MDVR::EventStream;
use JSON::PP ();

my $moves = $ENV{MOVES} // 100;
my $clients = $ENV{CLIENTS} // 5;
my $limit = 20 + $moves / 4;

$SIG{PIPE} = 'IGNORE';

my $t = MDVR::Test->new;
my @nodes = map { $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;', ws => 'mdvr_ws_drain 500ms;') } 1, 2;
$t->allow(qr/signal 9|exited on signal 9|open socket #\d+ left in connection/);

my $json = JSON::PP->new->utf8->canonical;
my $A = $t->tenant('A');
my @devices = map { $t->add_device("0000$_") } 1 .. 4;
my $clerk = $t->user(role => 'client_user');
$t->sql('insert into mdvr.assignment (tenant_id, user_id, device_id) values (?, ?, ?)', $A, $clerk->{id}, $_) for @devices[0, 1];
my %token = (admin => $t->admin(node => $nodes[0])->{token}, clerk => $t->login($clerk, node => $nodes[0])->{token});
my $start = 0;
my $dir = $t->{dir};

# Commits some events and publishes them, or dies before it does.
sub events {
    my ($silent, @codes) = @_;
    my @rows = $t->sql('select e.message from unnest(string_to_array(?, \',\'), string_to_array(?, \',\')) u(code, device),'
        . ' lateral mdvr.event_append(?, \'alarm\', u.device::uuid, json_build_object(\'device_id\', u.device, \'code\', u.code)) e',
        join(',', @codes), join(',', map { $devices[ /(\d+)/ ? $1 % @devices : 0 ] } @codes), $A);
    return if $silent;
    eval { $t->redis('PUBLISH', "mdvr:event:$A", $_->[0]) } for @rows;
}

sub child(&) {
    my ($code) = @_;
    my $pid = fork // die "fork: $!";
    return $pid if $pid;
    srand $$;
    eval { $code->(); 1 } or print STDERR "# $@";
    POSIX::_exit(0);
}

sub spill { my ($file, $text) = @_; open my $fh, '>', "$file.part" or die; print $fh $text; close $fh; rename "$file.part", $file }

my $producer = child {
    my $n = 0;
    until (-e "$dir/enough") {
        my $some = 1 + int rand 4;
        events(rand() < 0.1, map { 'e' . $n++ } 1 .. $some);
        select undef, undef, undef, 0.02 + rand 0.06;
    }
    events(0, 'end0', 'end1');                  # one for whoever sees only the first devices
    spill("$dir/produced", $n);
};

sub wander {
    my ($i) = @_;
    my $who = $i % 3 ? 'admin' : 'clerk';
    my ($at, $came, @got) = ($start, 0);
    my $end = time + $limit;
    while (time < $end) {
        my $stream = rand() < 0.4;
        my %to = (node => $nodes[rand @nodes], token => $token{$who});
        my $ws = eval { $stream ? MDVR::EventStream->new($t, %to, query => 'topics=alarm', after => $at) : $t->websocket(%to) };
        unless ($ws && $ws->{status} == ($stream ? 200 : 101)) { select undef, undef, undef, 0.05; next }
        $ws->send({ type => 'subscribe', topics => ['alarm'], after => "$at" }) unless $stream;
        $came++;
        open my $fh, '>>', "$dir/moves";
        syswrite $fh, '.';
        my $until = time + 0.02 + rand 0.5;
        $until += 5 if -e "$dir/produced";
        while ((my $left = $until - time) > 0) {
            my $m = $ws->next('alarm', $left) or last;
            $at = $m->{id};
            push @got, $m->{code};
            last if $m->{code} eq 'end1';
        }
        last if @got && $got[-1] eq 'end1';
        if ($stream) { }
        elsif (rand() < 0.3) { $ws->close } elsif (rand() < 0.3) { $ws->write("\x81") }
        $ws->drop;
    }
    spill("$dir/got$i", join ' ', @got);
}

my @pids;
for my $i (0 .. $clients - 1) { push @pids, child { wander($i) } }

my %harm;
my $last = '';
my $end = time + $limit;
while (time < $end && (-s "$dir/moves" // 0) < $moves) {
    my $node = $nodes[rand @nodes];
    my @other = grep { $_ ne $last } qw(kill kill reload restart redis failover);
    my $what = $other[rand @other];
    if ($what eq 'kill') { $node->kill_worker(int rand 2) }
    elsif ($what eq 'reload') { $node->reload }
    elsif ($what eq 'restart') { $node->restart(rand() < 0.5 ? 'TERM' : 'QUIT') }
    elsif ($what eq 'redis') { $t->store->redis_restart('KILL') }
    else { $t->store->redis_failover }
    $harm{$what}++;
    $last = $what;
    select undef, undef, undef, 0.2 + rand 0.5;
}
spill("$dir/enough", '');
waitpid $_, 0 for $producer, @pids;

my $n = slurp("$dir/produced");
my $came = -s "$dir/moves";
diag("$came connections, $n events, " . join ', ', map { "$harm{$_} $_" } sort keys %harm);
cmp_ok $came, '>=', $moves, "$moves connections";
for my $i (0 .. $clients - 1) {
    my @got = split ' ', slurp("$dir/got$i");
    my @want = ((map { "e$_" } grep { $i % 3 || $_ % @devices < 2 } 0 .. $n - 1), 'end0', 'end1');
    my %seen;
    my $twice = grep { $seen{$_}++ } @got;
    my $missed = grep { !$seen{$_} } @want;
    ok "@got" eq "@want", 'client ' . ($i + 1) . ': each of ' . @want . " alarms once, in order (missed $missed, twice $twice)";
}

$t->done;
