# alone
# Twenty devices report and raise alarms while PostgreSQL, Redis, workers and
# the whole nginx are killed (-9), stopped and frozen at random moments.  The
# devices write down what they sent and what was acknowledged; afterwards:
#
#   every acknowledged alarm is there, once;
#   every position that nginx had taken is there, once.
#
# Nobody acknowledges a position.  Each device therefore sends a heartbeat
# behind each report: the answer C501 proves that what was sent before it on
# that connection had been read.  Such a report is never sent again and must
# not be missing, whoever is killed.  What was still on its way when a
# connection broke is sent again as it was, which must not make it two.
#
# FAULTS=n (10; 200 in t/long/faults.t), MDVR_SEED=n to repeat a run.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use IO::Select;

my $faults = $ENV{FAULTS} // ($ENV{MDVR_LONG} ? 200 : 10);
my $seed = $ENV{MDVR_SEED} // time;
srand $seed;
note "$faults faults, MDVR_SEED=$seed";

my $t = MDVR::Test->new(durable => 1);
$t->allow(qr/exited on signal 9/, qr/ shared memory|mutex|child process/);
my @serials = map { "F$_" } 1 .. 20;
$t->add_device($_) for @serials;
my $limits = 'mdvr_alarm_timeout 1s; mdvr_telemetry_timeout 2s;';
my $n = $t->nginx(ready => 0, workers => 2, stream => $limits);

# ---------------------------------------------------------------------- devices

my $base = int(time) - 60 * 86400;
my $positions = 0;                          # mileage is the name of a position
my ($confirmed, $again) = (0, 0);
my (%raised, %acked);                       # uid => serial
my %dev;
my $calm;                                   # nothing new: what is open comes to its end

sub step {
    my ($d) = @_;
    return dial($d) unless $d->{sock};
    if ($d->{state} eq 'new') {
        drop($d) if time - $d->{since} > 8;
        return;
    }
    my @report = splice @{ $d->{again} }, 0, 20;    # first what may not have arrived
    push @report, ++$positions unless $calm;
    push @{ $d->{flying} }, @report;
    for my $p (@report) {
        $d->v114(at => $base + $p, mileage => $p) or return drop($d);
    }
    if (@report) {
        $d->v109(no_wait => 1);
        push @{ $d->{beats} }, scalar @{ $d->{flying} };
    }
    my ($uid) = keys %{ $d->{open} };
    if (defined $uid) {
        return if time - $d->{asked} <= 3;
    } else {
        return if $calm || rand() > 0.2;
        $uid = sprintf 'U%08d', ++$d->{uids} * 100 + substr $d->{serial}, 1;
        $raised{$uid} = $d->{open}{$uid} = 1;
    }
    $d->{asked} = time;                     # the device repeats what nobody acknowledged
    $d->alarm('V203', uid => $uid, no_wait => 1);
}

sub dial {
    my ($d) = @_;
    return if time < ($d->{retry} // 0);
    $d->{retry} = time + 0.2;
    eval { $d->connect; 1 } or return;
    $d->{state} = 'new';
    $d->{sock}->blocking(0);
    $d->send('V101', [ MDVR::Device::location(), '', 'V1.0.0.1', 4108, '', 0, 1, 3, '', '' ]);
    $d->{since} = time;
}

sub drop {
    my ($d) = @_;
    $d->close;
    push @{ $d->{again} }, @{ $d->{flying} };
    $again += @{ $d->{flying} };
    @$d{qw(flying beats)} = ([], []);
}

sub hear {
    my ($d) = @_;
    my $got = sysread $d->{sock}, $d->{buf}, 65536, length $d->{buf};
    return if !defined $got && $!{EAGAIN};
    return drop($d) unless $got;
    while ($d->{buf} =~ s/\A\$\$dc\d{4},([^#]*)#//) {
        my @f = split /,/, $1, -1;
        if ($f[1] eq 'C501' && @{ $d->{beats} }) {
            my $read = shift @{ $d->{beats} };
            $_ -= $read for @{ $d->{beats} };
            splice @{ $d->{flying} }, 0, $read;
            $confirmed += $read;
        }
        next unless $f[1] eq 'C100';
        if ($f[5] eq 'V101') { $d->{state} = $f[8] eq '1' ? 'online' : 'new' }
        if ($f[5] eq 'V203') { $acked{ $f[8] } = 1; delete $d->{open}{ $f[8] } }
    }
}

sub drive {
    my ($seconds) = @_;
    my $end = time + $seconds;
    while (time < $end) {
        step($_) for values %dev;
        my %by = map { $_->{sock} ? ($_->{sock} => $_) : () } values %dev;
        my $wait = time + 0.05;
        while ((my $left = $wait - time) > 0) {
            my @ready = IO::Select->new(map { $_->{sock} } grep { $_->{sock} } values %dev)->can_read($left);
            for (@ready) { my $d = $by{$_}; hear($d) if $d && $d->{sock} }
            sleep $left unless %by;
        }
    }
}

sub unanswered { grep { %{ $_->{open} } || @{ $_->{flying} } || @{ $_->{again} } || ($_->{state} // '') ne 'online' } values %dev }

for (@serials) {
    $dev{$_} = MDVR::Device->new(serial => $_, port => $n->{signal_port}, connect => 0, asked => 0, uids => 0,
        again => [], flying => [], beats => [], open => {});
}
$SIG{PIPE} = 'IGNORE';
drive(2);
is scalar(grep { ($_->{state} // '') eq 'online' } values %dev), 20, 'twenty devices are online';

# ----------------------------------------------------------------------- faults

sub postmaster { slurp($t->dir . '/pg/postmaster.pid') =~ /^(\d+)/ ? $1 : () }
sub postgres { my ($pid) = postmaster(); return $pid ? ($pid, split ' ', qx(pgrep -P $pid)) : () }
sub frozen { my ($s, @pids) = @_; kill STOP => @pids; drive($s); kill CONT => @pids }

my @kinds = (
    [ 'PostgreSQL is killed', sub {
        my @pids = postgres();
        kill KILL => @pids;
        eventually(sub { !grep { MDVR::Test::alive($_) } @pids }, 10);
        drive(0.3 + rand 3);
        delete $t->store->{psql};
        unlink glob $t->dir . '/pg/postmaster.pid ' . $t->dir . '/s/.s.PGSQL.*.lock';    # nobody may have reaped it
        $t->store->pg_start;
    } ],
    [ 'a session of PostgreSQL is killed', sub {
        my @pids = split ' ', qx(pgrep -f "^postgres: .*mdvr_stream");
        @pids = grep { my $p = $_; grep { $_ == $p } postgres() } @pids;
        kill KILL => $pids[rand @pids] if @pids;
    } ],
    [ 'PostgreSQL is stopped', sub { $t->store->pg_stop('fast'); drive(0.3 + rand 3); $t->store->pg_start } ],
    [ 'PostgreSQL is stopped at once', sub { $t->store->pg_stop('immediate'); drive(0.3 + rand 1); $t->store->pg_start } ],
    [ 'PostgreSQL stands still', sub { frozen(0.5 + rand 4, postgres()) } ],
    [ 'Redis is killed', sub { $t->store->redis_stop('KILL'); drive(0.3 + rand 2); $t->store->redis_start } ],
    [ 'Redis is stopped', sub { $t->store->redis_stop('TERM'); drive(0.3 + rand 1); $t->store->redis_start } ],
    [ 'Redis stands still', sub { frozen(0.5 + rand 2, $t->store->{redis_pid}) } ],
    [ 'a worker is killed', sub { kill KILL => ($n->workers)[rand 2] } ],
    [ 'both workers are killed', sub { kill KILL => $n->workers } ],
    [ 'a worker is killed while PostgreSQL stands still', sub {
        my @pids = postgres();
        kill STOP => @pids;
        drive(0.3 + rand 1.5);              # batches under way, nothing has timed out
        kill KILL => ($n->workers)[rand 2];
        drive(0.5 + rand 1);
        kill CONT => @pids;
    } ],
    [ 'a worker stands still', sub { frozen(0.5 + rand 2, ($n->workers)[rand 2]) } ],
    [ 'nginx is killed', sub { $n->stop('KILL'); drive(0.2 + rand 1); $n->start(ready => 0) } ],
    [ 'nginx is stopped and started', sub { $n->stop('TERM'); $n->start(ready => 0) } ],
    [ 'nginx reloads', sub { $n->reload(stream => "$limits mdvr_signaling_drain_delay 1s; mdvr_signaling_drain_spread 1s;") } ],
);

my %done;
my @order = map { $kinds[$_ % @kinds] } 0 .. ($faults > @kinds ? $faults : @kinds) - 1;
for (reverse 1 .. $#order) { my $j = int rand $_ + 1; @order[$_, $j] = @order[$j, $_] }
for my $f (@order[0 .. $faults - 1]) {
    drive(rand 1.5);
    note $f->[0];
    $done{ $f->[0] }++;
    $f->[1]->();
    drive(0.5 + rand 1);
}
note sprintf '%3d  %s', $done{$_}, $_ for sort keys %done;

drive(2);
$calm = 1;
for (1 .. 60) { last unless unanswered(); drive(0.5) }
drive(0.5);
is scalar(unanswered()), 0, 'everything was answered in the end';
my $state = "$n->{dir}/state";
ok eventually(sub { -s "$state/alarms.journal" == 0 && -s "$state/positions.spool" == 0 }, 30), 'journal and spool are empty';

# ------------------------------------------------------------------------ count

my %alarm = map { $_->[0] => $_->[1] } $t->sql("select uid, count(*) from mdvr.alarm where code = 'V203' group by 1");
is join(' ', grep { !$alarm{$_} } sort keys %acked), '', scalar(keys %acked) . ' acknowledged alarms are all there';
is join(' ', grep { $alarm{$_} > 1 } sort keys %alarm), '', 'once';
is $t->value(q(select count(*) from (select message ->> 'uid' from mdvr.event where topic = 'alarm' and message ->> 'phase' = 'start'
    group by 1 having count(*) > 1) x)), 0, 'and told once';
is $t->value(q(select count(*) from mdvr.event where topic = 'alarm' and message ->> 'phase' = 'start')), scalar(keys %alarm), 'each of them';

eventually(sub { $t->value('select count(*) from mdvr.telemetry where mileage_m > 0') >= $positions }, 20);
my %stored = map { $_->[0] => $_->[1] } $t->sql('select mileage_m, count(*) from mdvr.telemetry where mileage_m > 0 group by 1');
my @missing = grep { !$stored{$_} } 1 .. $positions;
is "@missing[0 .. ($#missing > 20 ? 20 : $#missing)]", '',
    "$positions positions ($confirmed read by nginx, $again sent again), none is missing";
is scalar(grep { $_ > 1 } values %stored), 0, 'none is there twice';
note "$faults faults: " . keys(%acked) . " alarms acknowledged, $positions positions, " . @missing . ' missing';
my $adopted = 0;
$adopted += $_ for $n->log =~ /(\d+) positions of a worker that is gone/g;
note "taken over from workers that were killed: $adopted positions";
cmp_ok $t->value('select count(*) from mdvr.connection where disconnected_at is null'), '<=', 20, 'no connection is left open in the history';
$_->close for grep { $_->{sock} } values %dev;
ok eventually(sub { $t->value('select count(*) from mdvr.device_state where online') == 0 }, 20), 'everybody is offline when all have left';

$t->done;
