# Reloads and binary upgrades while 2,000 devices report and 20 live streams
# are watched: no device loses its connection before its planned drain, no
# viewer misses more than a group of pictures, nothing acknowledged is lost.
# RELOADS and UPGRADES: 5 and 1 here, 100 and 10 in t/long/reloads.t.
# alone

use v5.30;
use lib 't/lib';
use MDVR::Test;
use Digest::MD5 qw(md5);
use IO::Select;
use IO::Socket::INET;

my ($reloads, $upgrades) = ($ENV{RELOADS} // 5, $ENV{UPGRADES} // 1);
my ($fleet, $films, $witnesses) = ($ENV{RELOAD_DEVICES} // 2000, 20, 10);
plan skip_all => 'there are no films' unless -s 'build/clips/SIM-sub.h264';
my $delay = 4;                          # seconds that old workers keep what they have

my $t = MDVR::Test->new(postgres => { max_connections => 100 });
my $s = $t->store;
my $n = $t->nginx(workers => 2, zone => '64m', connections => 8192, level => 'notice',
    stream => "mdvr_signaling_drain_delay ${delay}s; mdvr_signaling_drain_spread 4s; mdvr_media_drain 3s;",
    sub => { 'worker_shutdown_timeout 30s' => 'worker_shutdown_timeout 60s' });
my $api = $t->admin;
my $tenant = $t->tenant;
$s->sql("insert into mdvr.device (tenant_id, serial, channels) select ?, 'REL' || lpad(g::text, 5, '0'), 4 from generate_series(1, $fleet) g", $tenant);

# the fleet, of which the first devices film
my $stats = "$t->{dir}/sim.json";
my $sim = fork // die "fork: $!";
if (!$sim) {
    open STDOUT, '>', "$t->{dir}/sim.log";
    open STDERR, '>&', \*STDOUT;
    { exec 'build/bin/mdvr-sim', '--devices', $fleet, '--serial-format', 'REL%05u', '--signal-port', $n->{signal_port}, '--interval', 10,
        '--connect-rate', 1000, '--retry', 3, '--stats-json', $stats }
    POSIX::_exit(127);
}
END { local $?; kill KILL => $sim if $sim }
ok eventually(sub { $s->value('select count(*) from mdvr.device_state where online') == $fleet }, 60), "$fleet devices are online";

# some of our own, that notice how a connection ends and what was acknowledged
$t->add_device("WIT$_") for 1 .. $witnesses;
my @witness = map { { dev => $t->device("WIT$_")->register, since => time, acked => [], cut => 0, closed => 0 } } 1 .. $witnesses;

# ------------------------------------------------------------------ the viewers

my (@viewer, @gaps);
my $began = time;
for my $i (1 .. $films) {
    my $id = $s->value('select id from mdvr.device where serial = ?', sprintf 'REL%05d', $i);
    my $r = eventually(sub { my $r = $api->post("/devices/$id/video/start", { channel => 1, stream => 'sub' }); $r->{status} == 200 && $r }, 10);
    push @viewer, { n => $i, path => $r->{json}{urls}{ws}, buf => '', frames => 0, gap => 0, again => 0, id => $id, session => $r->{json}{session_id} };
}

sub see {
    my ($v) = @_;
    my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $n->{http_port}, Proto => 'tcp') or return;
    syswrite $sock, "GET $v->{path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    $sock->blocking(0);
    @$v{qw(sock buf anew)} = ($sock, '', 1);
}
# Which picture of the film it is: by its first slice.  A camera's clock chooses
# what it sends (sim/session.c), so that a step of more than one picture is what
# a viewer has missed, whatever the times in the fragments say.
my ($film, %picture) = (0);
{
    my $bytes = slurp('build/clips/SIM-sub.h264');
    for my $nal (split /\0\0\0?\x01/, $bytes) {
        my ($head, $slice) = unpack 'CC', $nal;
        next unless defined $slice && ($head & 31) =~ /^[15]$/ && $slice & 0x80;
        $picture{ md5($nal =~ s/\0+\z//r) } = $film++;
    }
}

sub look {
    my ($v) = @_;
    while ($v->{buf} =~ /\G.*?(....)mdat/gcs) {
        my ($begin, $size) = (pos $v->{buf}, unpack('N', $1) - 8);
        if (length $v->{buf} < $begin + $size) { pos($v->{buf}) = $begin - 8; last }
        my ($at, $n);
        for (my $i = $begin; $i < $begin + $size; $i += 4 + $n) {
            $n = unpack 'N', substr $v->{buf}, $i, 4;
            my $nal = substr $v->{buf}, $i + 4, $n;
            next unless (ord($nal) & 31) =~ /^[15]$/;
            $at = $picture{ md5($nal =~ s/\0+\z//r) };
            last;
        }
        pos($v->{buf}) = $begin + $size;
        $v->{frames}++;
        if (!defined $at) { $v->{unknown}++; next }
        if (defined $v->{at}) {
            my $gap = ($at - $v->{at}) % $film;
            next if $gap > $film / 2;   # seen already
            $v->{gap} = $gap if $gap > $v->{gap};
            push @gaps, sprintf '%.1f: viewer %d missed %.2f s%s', time - $began, $v->{n}, ($gap - 1) / 25, $v->{anew} ? ' (came back)' : '' if $gap > 25;
        }
        $v->{anew} = 0;
        $v->{at} = $at;
    }
    substr($v->{buf}, 0, pos($v->{buf}) // 0) = '';
}

# They have a process of their own, as clients have: whoever is busy with a
# device that connects again cannot see that a viewer was cut.
my $seen = "$t->{dir}/seen.json";
my $audience = fork // die "fork: $!";
if (!$audience) {
    my ($over, $pong) = (0, time);
    $SIG{TERM} = sub { $over = 1 };
    see($_) for @viewer;
    until ($over) {
        if (time - $pong > 10) {        # who answers no ping is gone, RFC 6455 5.5.3: a pong may come unasked
            syswrite $_->{sock}, "\x8a\x80\0\0\0\0" for grep { $_->{sock} } @viewer;
            $pong = time;
        }
        my %of = map { fileno($_->{sock}) => $_ } grep { $_->{sock} } @viewer;
        for my $sock (IO::Select->new(map { $_->{sock} } values %of)->can_read(0.05)) {
            my $v = $of{ fileno $sock };
            my $got = sysread $sock, $v->{buf}, 262144, length $v->{buf};
            next if !defined $got && $!{EAGAIN};
            if (!$got) { close $sock; delete $v->{sock}; $v->{again}++; see($v); next }
            look($v);
        }
        for my $v (grep { !$_->{sock} } @viewer) { see($v) }
    }
    open my $fh, '>', $seen;
    print $fh JSON::PP->new->encode({ gaps => \@gaps, viewers => [ map { my $v = $_; +{ map { $_ => $v->{$_} } qw(n gap frames again unknown) } } @viewer ] });
    close $fh;
    POSIX::_exit(0);
}
END { local $?; kill KILL => $audience if $audience }

my $renewed = time;
sub pause {
    my ($seconds, $until) = @_;
    my $end = time + $seconds;
    select undef, undef, undef, 0.05 while time < $end && !($until && $until->());
    if (time - $renewed > 200) {        # tokens live for ten minutes
        $api = $t->admin;
        $api->post("/video/sessions/$_->{session}/renew") for @viewer;
        $renewed = time;
    }
}

my ($planned, $early, $torn) = (0, 0, 0);
sub witness {       # an alarm each; a connection that was closed comes back
    my ($changed) = @_;
    for my $w (@witness) {
        my $uid = sprintf '%08X%08X', $$, ++$w->{n} * 100 + $w->{dev}{serial} =~ s/\D//gr;
        my $raw = eval { $w->{dev}->alarm('V201', uid => $uid, data => [ 2, 0, '' ], timeout => 10) };
        if ($raw) { push @{ $w->{acked} }, $uid; next }
        $w->{closed}++;
        $torn++ if ($w->{dev}{error} // '') =~ /reset/i;
        $early++ if time - $w->{since} < $delay && $w->{since} > $changed;
        eval { $w->{dev}->connect; $w->{dev}->register };
        $w->{since} = time;
        $planned++;
    }
}

# ---------------------------------------------------------------- again and again

pause(3);
my @plan = map { 'reload' } 1 .. $reloads;
splice @plan, int(@plan * $_ / ($upgrades + 1)) + $_ - 1, 0, 'upgrade' for 1 .. $upgrades;
my %done;
my $failed = 0;
my $before;                             # the master of the version before
for my $what (@plan) {
    if ($what eq 'upgrade') {           # nginx has two versions at a time, not three
        pause(90, sub { !MDVR::Test::alive($before) }) if $before;
        $before = $n->master;
    }
    my $t0 = time;
    eval { $n->$what; 1 } or do { $failed++; diag $@ };
    $done{$what}++;
    witness($t0);
    pause(1.5);
}
is $failed, 0, "$done{reload} reloads and " . ($done{upgrade} // 0) . ' upgrades worked';
pause($delay + 8);
witness(time);

is $torn, 0, 'no connection of a device was reset';
is $early, 0, "and none closed before its time ($planned were closed as planned)";
kill TERM => $audience;
waitpid $audience, 0;
undef $audience;
@viewer = @{ json_of(slurp($seen))->{viewers} };
@gaps = @{ json_of(slurp($seen))->{gaps} };
is scalar(grep { !$_->{frames} } @viewer), 0, "$films viewers see pictures";
my @missed = sort { $b <=> $a } map { ($_->{gap} - 1) / 25 } @viewer;
cmp_ok $missed[0], '<=', 1.0, sprintf 'no viewer missed more than a group of pictures: at most %.2f s, median %.2f s', @missed[0, @missed / 2]
    or diag join "\n", @gaps, map { "viewer $_->{n}: $_->{again} times again, $_->{frames} pictures, " . ($_->{unknown} // 0) . ' unknown' } @viewer;
my $frames = 0;
$frames += $_->{frames} for @viewer;
cmp_ok $frames, '>', $films * 25 * 5, "$frames pictures were seen";
my @acked = map { @{ $_->{acked} } } @witness;
my $missing;                            # acknowledged is committed, or in the journal
eventually(sub { my %found = map { $_->[0] => 1 } $s->sql("select distinct uid from mdvr.alarm_message"); !($missing = grep { !$found{$_} } @acked) }, 60);
is $missing, 0, scalar(@acked) . ' acknowledged alarms, none is missing';
my @reasons = map { "$_->[0]: $_->[1]" } $s->sql("select coalesce(reason, ''), count(*) from mdvr.connection c join mdvr.device d on d.id = c.device_id
    where disconnected_at is not null and d.serial like 'REL%' group by 1 order by 1");
is scalar(grep { !/^(?:server reload|replaced):/ } @reasons), 0, 'the history gives the reason: ' . join(', ', @reasons);
ok eventually(sub { $s->value('select count(*) from mdvr.device_state where online') == $fleet + $witnesses }, 30), 'all devices are online in the end';
kill TERM => $sim;
waitpid $sim, 0;
undef $sim;
my $c = json_of(slurp($stats));
note join ', ', map { "$_ $c->{$_}" } qw(positions_sent disconnects registrations media_sessions);
ok eventually(sub { !$n->workers(draining => 1) && !-e "$n->{dir}/nginx.pid.oldbin" && (!$n->{upgraded} || !kill 0, $n->{upgraded}) }, 60), 'the old ones are gone';
$t->done;
