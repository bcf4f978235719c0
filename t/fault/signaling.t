# alone
# Twenty devices report and raise alarms while PostgreSQL, Redis, workers and
# the whole nginx are killed and stopped at random moments.  Afterwards: no
# acknowledged alarm is missing, no position of a worker that lived is missing,
# and nothing is there twice.
#
# FAULTS=n (10), MDVR_SEED=n to repeat a run.

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
my %id = map { $_ => $t->add_device($_) } @serials;
my $n = $t->nginx(ready => 0, workers => 2, stream => 'mdvr_alarm_timeout 1s; mdvr_telemetry_timeout 2s;');

# ---------------------------------------------------------------------- devices

my $base = int(time) - 86400;
my $positions = 0;                          # mileage is the name of a position
my %sent;                                   # mileage => [ serial, when ]
my (%raised, %acked);                       # uid => serial
my @dead;                                   # [ from, to ]: positions of then may be lost
my %dev;

sub step {
    my ($d) = @_;
    if (!$d->{sock}) {
        return if time < ($d->{retry} // 0);
        $d->{retry} = time + 0.2;
        eval { $d->connect; 1 } or return;
        $d->{state} = 'new';
        $d->{sock}->blocking(0);
        $d->send('V101', [ MDVR::Device::location(), '', 'V1.0.0.1', 4108, '', 0, 1, 3, '', '' ]);
        $d->{since} = time;
        return;
    }
    if ($d->{state} eq 'new') {
        if (time - $d->{since} > 8) { $d->close; delete $d->{sock} }
        return;
    }
    $sent{++$positions} = [ $d->{serial}, time ];
    $d->v114(at => $base + $positions, mileage => $positions) or drop($d);
    return unless $d->{sock};
    my ($uid) = grep { $raised{$_} eq $d->{serial} } keys %raised;
    if (defined $uid) {
        if (time - $d->{asked} > 3) {       # the device repeats what nobody acknowledged
            $d->{asked} = time;
            $d->alarm('V203', uid => $uid, no_wait => 1);
        }
    } elsif (rand() < 0.2) {
        $uid = sprintf 'U%06d', ++$d->{uids} * 100 + substr $d->{serial}, 1;
        $raised{$uid} = $d->{serial};
        $d->{asked} = time;
        $d->alarm('V203', uid => $uid, no_wait => 1);
    }
}

sub drop { my ($d) = @_; $d->close; delete $d->{sock} }

sub hear {
    my ($d) = @_;
    my $got = sysread $d->{sock}, $d->{buf}, 65536, length $d->{buf};
    return if !defined $got && $!{EAGAIN};
    return drop($d) unless $got;
    while ($d->{buf} =~ s/\A\$\$dc\d{4},([^#]*)#//) {
        my @f = split /,/, $1, -1;
        next unless $f[1] eq 'C100';
        if ($f[5] eq 'V101') { $d->{state} = $f[8] eq '1' ? 'online' : 'new' }
        if ($f[5] eq 'V203') { $acked{ $f[8] } = delete $raised{ $f[8] } // $acked{ $f[8] } }
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

$dev{$_} = MDVR::Device->new(serial => $_, port => $n->{signal_port}, connect => 0, asked => 0, uids => 0) for @serials;
$SIG{PIPE} = 'IGNORE';
drive(2);
is scalar(grep { ($_->{state} // '') eq 'online' } values %dev), 20, 'twenty devices are online';

# ----------------------------------------------------------------------- faults

my @kinds = (
    [ 'PostgreSQL is killed', sub { $t->store->pg_stop('immediate'); drive(0.3 + rand 3); $t->store->pg_start } ],
    [ 'PostgreSQL is stopped', sub { $t->store->pg_stop('fast'); drive(0.3 + rand 3); $t->store->pg_start } ],
    [ 'PostgreSQL stands still', sub {
        my @pids = split ' ', qx(pgrep -f "\Q@{[ $t->dir ]}\E/pg") . join ' ', map { "$_ " . qx(pgrep -P $_) } (slurp($t->dir . '/pg/postmaster.pid') =~ /^(\d+)/);
        kill STOP => @pids; drive(0.5 + rand 4); kill CONT => @pids;
    } ],
    [ 'Redis is killed', sub { $t->store->redis_stop('KILL'); drive(0.3 + rand 2); $t->store->redis_start } ],
    [ 'a worker is killed', sub {
        my $at = time;
        kill KILL => ($n->workers)[rand 2];
        push @dead, [ $at - 12, time + 1 ];
    } ],
    [ 'nginx is killed', sub {
        my $at = time;
        $n->stop('KILL');
        push @dead, [ $at - 12, time + 1 ];
        drive(0.2 + rand 1);
        $n->start(ready => 0);
    } ],
    [ 'nginx is stopped and started', sub {
        my $at = time;
        $n->stop('TERM');
        push @dead, [ $at - 1, time + 1 ];  # what was on the way to it
        $n->start(ready => 0);
    } ],
    [ 'nginx reloads', sub { $n->reload(stream => 'mdvr_alarm_timeout 1s; mdvr_telemetry_timeout 2s;'
        . ' mdvr_signaling_drain_delay 1s; mdvr_signaling_drain_spread 1s;') } ],
);

my @order = map { $kinds[$_ % @kinds] } 0 .. $faults - 1;
for (reverse 1 .. $#order) { my $j = int rand $_ + 1; @order[$_, $j] = @order[$j, $_] }
for my $f (@order) {
    drive(rand 1.5);
    note $f->[0];
    $f->[1]->();
    drive(1 + rand 1);
}

drive(6);
for (1 .. 20) { last unless %raised; drive(1) }
is scalar(keys %raised), 0, 'every alarm was acknowledged in the end';
my $state = "$n->{dir}/state";
ok eventually(sub { -s "$state/alarms.journal" == 0 && -s "$state/positions.spool" == 0 }, 30), 'journal and spool are empty';

# ------------------------------------------------------------------------ count

my %alarm = map { $_->[0] => $_->[1] } $t->sql("select uid, count(*) from mdvr.alarm where code = 'V203' group by 1");
is join(' ', grep { !$alarm{$_} } sort keys %acked), '', scalar(keys %acked) . ' acknowledged alarms are all there';
is join(' ', grep { $alarm{$_} > 1 } sort keys %alarm), '', 'once';

my $stored = sub { map { $_->[0] => $_->[1] } $t->sql('select mileage_m, count(*) from mdvr.telemetry where mileage_m > 0 group by 1') };
my (%stored, @missing);
eventually(sub {
    %stored = $stored->();
    @missing = grep { my $s = $sent{$_}; !$stored{$_} && !grep { $s->[1] >= $_->[0] && $s->[1] <= $_->[1] } @dead } sort { $a <=> $b } keys %sent;
    !@missing;
}, 10);
my %broken;                                 # the last report before a connection broke may not have arrived
is scalar(@missing), 0, scalar(keys %sent) . ' positions, none of a worker that lived is missing'
    or diag "missing: @missing[0 .. ($#missing > 20 ? 20 : $#missing)]";
is scalar(grep { $_ > 1 } values %stored), 0, 'none is there twice';
cmp_ok $t->value('select count(*) from mdvr.connection where disconnected_at is null'), '<=', 20, 'no connection is left open in the history';
$_->close for grep { $_->{sock} } values %dev;
ok eventually(sub { $t->value('select count(*) from mdvr.device_state where online') == 0 }, 20), 'everybody is offline when all have left';

$t->done;
