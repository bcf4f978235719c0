# What is out of the ordinary on the signaling port: a serial that registers
# from elsewhere while its device is sending, keywords nobody knows, answers
# that come long after their command, an alarm server to announce, a storm of
# alarms.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
my %id = map { $_ => $t->add_device($_) } '00007', '00008', 'S1';
my $a = $t->nginx(workers => 2, signaling => 'mdvr_signaling_alarm_server alarms.example.org:1087;');
my $b = $t->nginx(ready => 0);
my $api = $t->admin;

sub contested { $t->value(q(select count(*) from mdvr.event where message ->> 'event' = 'contested' and device_id = ?), $id{ $_[0] }) }
sub diagnostics { $api->get("/devices/$id{$_[0]}/diagnostics")->{json} }

# -------------------------------------------------------------------- alarm server

my $dev = $t->device('00007')->register;
my $cmd = $dev->expect('C7212');
is join(',', @{ $cmd->{body} }), 'alarms.example.org,1087,0', 'a device that registers is told where alarms go';
$dev->v101;
is $dev->expect('C7212', 0.3), undef, 'once';
$dev->answer($cmd, 0, 2, 'bad parameter');
like $dev->v109, qr/C501/, 'a refusal changes nothing';
my $other = $t->device('00008', node => $b)->register;
is $other->expect('C7212', 0.3), undef, 'by default nothing is said';

# ------------------------------------------------------------------------ contested

$dev->v114;
my $same = $t->device('00007')->register;
ok $dev->closed, 'a second registration takes the device';
my $thief = $t->device('00007', local => '127.0.0.2')->register;
ok $same->closed, 'from anywhere';
ok eventually(sub { contested('00007') == 1 }), 'from another address while the first was sending it is an event';
is $t->value("select detail ->> 'address' || ' ' || (detail ->> 'replaced_address') from mdvr.audit where action = 'device.contested'"),
    '127.0.0.2 127.0.0.1', 'and in the audit trail';
my $d = diagnostics('00007');
is scalar @{ $d->{contested} }, 1, 'diagnostics show it';
is $d->{contested}[0]{reason}, 'contested: 127.0.0.2 registered while 127.0.0.1 was sending', 'in words';
ok $d->{refusals}{ $d->{contested}[0]{reason} }, 'and count it';
my $victim = $t->device('00007')->register;
ok $thief->closed, 'the first comes back';
ok eventually(sub { @{ diagnostics('00007')->{contested} } == 2 }), 'the history has each time';
is contested('00007'), 1, 'the event comes once in ten minutes';
is $a->metrics('mdvr_registrations_contested_total'), 2, 'all are counted';

my $far = $t->device('00008', local => '127.0.0.3')->register;
ok $other->closed, 'a registration on another node';
ok eventually(sub { contested('00008') == 1 }), 'is no different';
like diagnostics('00008')->{contested}[0]{reason}, qr/127\.0\.0\.3 registered while 127\.0\.0\.1 was/, 'with both addresses';

# ---------------------------------------------------------------- unknown keywords

my $says = sub { my ($kw) = @_; scalar(() = $a->log =~ /keyword $kw is not for this port/g) };
$victim->send('V777', [ 'x', 'y' ]) for 1 .. 5;
like $victim->v109, qr/C501/, 'a keyword nobody knows is not answered';
my $before = $a->metrics('mdvr_refusals_total{reason="keyword"}');
cmp_ok $before, '>=', 5, 'it is counted';
is $says->('V777'), 1, 'and logged once';
for (1 .. 4) { $victim->close; $victim = $t->device('00007')->register; $victim->send('V777', []); $victim->v109 }
is $says->('V777'), 1, 'whatever connection it comes on';
$victim->send('V778', [ 'x' ]);
$victim->v109;
is $says->('V778'), 1, 'another one is another matter';
$victim->v101(fields => [ 'V1.0.0.1', 4108, '', 0, 1, 1, '', 2, '', 1, 2, 2, 101, 'IMEI0', 'T2019', 'V6.1.33', '' ]);
$victim->send('V777', [ 'x' ]);
$victim->v109;
is $says->('V777'), 2, 'as is another firmware';
is $a->metrics('mdvr_messages_total{keyword="unknown"}') >= 10, 1, 'messages are counted, too';
like $victim->alarm('V289', uid => 'NEW1'), qr/,V289,[^,]*,0,NEW1#/, 'what looks like an alarm is answered like one';
is $t->value("select kind from mdvr.alarm where uid = 'NEW1'"), 'unknown', 'and kept as what it is';

# --------------------------------------------------------------------- late answers

sub command { my $r = $api->post("/devices/$id{'00007'}/commands", { type => 'device_info', @_ }); $r->{json}{id} }
sub status { $api->get("/commands/$_[0]")->{json} }
my $c = command(timeout_s => 1);
$cmd = $victim->expect('C588');
ok eventually(sub { status($c)->{status} eq 'timeout' }), 'a command is not answered in time';
$victim->close;
$victim = $t->device('00007')->register;
$victim->answer($cmd, 1, 'SN', 4108, '00007', 'T1', 4, 0, 0, 1, '1_1', 0, 0, 0, '', 0, '', '', '', 1, 4, 4, '', '');
ok eventually(sub { status($c)->{status} eq 'acknowledged' }), 'its answer comes on the next connection and counts';
like status($c)->{answer}{content}, qr/^1,SN,/, 'with what it said';
$c = command(timeout_s => 60);
$cmd = $victim->expect('C588');
$victim->close;
ok eventually(sub { status($c)->{status} eq 'failed' }), 'a command whose connection breaks has failed';
$victim = $t->device('00007')->register;
$victim->answer($cmd, 1, 'SN', 4108, '00007', 'T1', 4, 0, 0, 1, '1_1', 0, 0, 0, '', 0, '', '', '', 1, 4, 4, '', '');
ok eventually(sub { status($c)->{status} eq 'acknowledged' }), 'until the device says that it has not';
$victim->answer({ keyword => 'C588', time => '200101 000000', number => 9 }, 1);
like $victim->v109, qr/C501/, 'an answer to nothing changes nothing';

# ----------------------------------------------------------------------- alarm storm

my $storm = $t->device('S1')->register;
my %open = map { sprintf('STORM%04d', $_) => 1 } 1 .. 1000;
for my $uid (sort keys %open) { $storm->alarm('V201', uid => $uid, no_wait => 1, data => [ 1 + substr($uid, -4) % 200, 0, '' ]) }
my $t0 = time;
my $quiet = $t->device('00008')->register;
$quiet->v114(mileage => 77) ;
ok eventually(sub { $t->value('select count(*) from mdvr.telemetry where mileage_m = 77') }), 'other devices are served meanwhile';
while (my $m = $storm->next(20)) {
    next unless $m->{keyword} eq 'C100' && $m->{body}[0] eq 'V201';
    delete $open{ $m->{body}[3] };
    last unless %open;
}
is scalar(keys %open), 0, 'each of a thousand alarms at once is acknowledged';
is $t->value("select count(*) from mdvr.alarm where uid like 'STORM%'"), 1000, 'and stored';
note sprintf '%.1f s', time - $t0;

my $second = $t->device('S1');
like $second->alarm('V203', uid => 'SECOND1'), qr/,0,SECOND1#/, 'an alarm on a second connection is acknowledged';
like $storm->v109, qr/C501/, 'which the first survives';

$t->done;
