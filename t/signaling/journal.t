# What goes into the alarm journal: nothing because of a reload.  A worker that
# still makes its first connection to PostgreSQL lets what it has to store wait
# for that, and takes the journal when the time is over or the connection fails.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
$t->add_device("J$_") for 1 .. 10;
my $n = $t->nginx(ready => 0, workers => 2, stream => 'mdvr_alarm_timeout 20s; mdvr_signaling_drain_delay 30s;');
my $journal = "$n->{dir}/state/alarms.journal";

# The postmaster takes no connection while it is stopped; those that are there work.
my ($postmaster) = slurp("$t->{store}{pg}/postmaster.pid") =~ /^(\d+)/;
END { kill CONT => $postmaster if $postmaster }

my ($registered, $raised) = (0, 0);
sub everybody { $registered += 10; return map { $t->device("J$_")->register } 1 .. 10 }
sub raise { my ($dev) = @_; return $dev->alarm('V201', uid => 'U' . ++$raised, data => [ 2, 0, 'x' ], no_wait => 1) }
sub acknowledged { my ($dev, $seconds) = @_; return $dev->find(sub { $_[0]{keyword} eq 'C100' && $_[0]{raw} =~ /,V201,/ }, $seconds) }
sub stored {
    $t->value('select count(*) from mdvr.connection') == $registered && $t->value('select count(*) from mdvr.alarm') == $raised;
}

my @dev = everybody();
ok eventually(sub { stored() }), 'ten connections are on the record';

# ---------------------------------------------------------------- reloads

for my $round (1 .. 3) {
    kill STOP => $postmaster;
    $n->reload;
    @dev = everybody();
    raise($_) for @dev[0 .. 2];
    ok !(grep { !$_->v109 } @dev), 'without a connection to PostgreSQL the devices are served';
    ok !(grep { acknowledged($_, 0) } @dev[0 .. 2]), 'their alarms are not acknowledged';
    is -s $journal, 0, 'and not in the journal';
    kill CONT => $postmaster;
    ok !(grep { !acknowledged($_, 15) } @dev[0 .. 2]), 'but as soon as there is a connection';
    ok eventually(sub { stored() }, 15), 'everything is stored';
}
unlike $n->log, qr/replaying the alarm journal/, 'the journal was never used';

# --------------------------------------------- PostgreSQL is away at the start

for (['1s', 'when the time is over'], ['60s', 'when the first connection has failed']) {
    my ($timeout, $when) = @$_;
    $n->write_conf(stream => "mdvr_alarm_timeout $timeout; mdvr_signaling_drain_delay 30s;");
    kill STOP => $postmaster;
    $n->reload;
    my $late = $t->device('J1')->register;
    $registered++;
    raise($late);
    ok acknowledged($late, 30), "an alarm is acknowledged $when";
    cmp_ok -s $journal, '>', 0, 'and is in the journal then';
    kill CONT => $postmaster;
    ok eventually(sub { -s $journal == 0 && stored() }, 20), 'which is replayed';
}

$t->done;
