# A device registers, reports, raises an alarm and leaves; who may not come in
# is told so, and an unregistered one is asked to register.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Events;

my $t = MDVR::Test->new;
my $id = $t->add_device('00007');
$t->add_device('WITH_IMEI', imei => '860000000000042');
$t->add_device('GONE', tenant => 'B');
$t->sql("update mdvr.tenant set status = 'suspended' where id = ?", $t->tenant('B'));
my $n = $t->nginx(ready => 0);
my $events = MDVR::Events->new($t, $t->tenant);

# ---------------------------------------------------------------- registration

my $dev = $t->device('00007');
like $dev->v101(number => '1d', version => 'V6.1.33'), qr/^\$\$dc\d{4},1d,C100,00007,,\d{6} \d{6},V101,\d{6} \d{6},0,1,1,#$/,
    'V101 of a known serial is accepted under its own number';
ok eventually(sub { $t->online('00007') }), 'the route is in Redis';
like $t->redis('GET', 'mdvr:route:{00007}'), qr/^a \d+ \d+$/, 'and names node, slot and connection';

my $online = $events->find(sub { $_[0]{type} eq 'device' });
is $online->{event}, 'online', 'the online event is published';
is $online->{device_id}, $id, 'for that device';
my $state = $t->row('select * from mdvr.device_state where device_id = ?', $id);
is $state->{online}, JSON::PP::true, 'the record says online';
is $state->{node}, 'a', 'on this node';
is $state->{registration}{firmware}, 'T2018', 'with the fields of V101';
ok !exists $state->{registration}{extra}, 'and no more than it had';
is $state->{registration}{plate}, '', 'an empty plate is an empty plate';

my $first = $t->value('select connected_at from mdvr.device_state where device_id = ?', $id);
like $dev->v101(version => 'V6.2.0'), qr/,0,1,1,#$/, 'a second V101 on the same connection is answered';
ok eventually(sub {
    ($t->value("select registration->>'network_library' from mdvr.device_state where device_id = ?", $id) // '') eq 'V6.2.0'
}), 'and refreshes the record';
is $t->value('select count(*) from mdvr.connection where device_id = ?', $id), 1, 'it is the same connection';
is scalar(grep { $_->{type} eq 'device' } $events->all), 0, 'and no new event';

# ------------------------------------------------------------------- heartbeat

my $hb = $dev->v109;
like $hb, qr/^\$\$dc\d{4},\d+,C501,00007,,\d{6} \d{6}#$/, 'V109 is answered by C501';
my ($a) = $hb =~ /,(\d+),C501/;
my ($b) = $dev->v109 =~ /,(\d+),C501/;
is $b, $a + 1, 'which has a number of its own';

# -------------------------------------------------------------------- position

my $at = int(time) + 2;                      # later than the position in V101
$dev->v114(at => $at, lat => [22, 40, 236220000], speed => '63.40', course => 1521000, trigger => 1);
my $live = $events->find(sub { $_[0]{type} eq 'telemetry' });
is $live->{serial}, '00007', 'V114 is published';
is $live->{device_id}, $id, 'with the device';
is $live->{tenant_id}, $t->tenant, 'and the tenant';
cmp_ok abs($live->{lat} - 22.673228), '<', 1e-6, 'in degrees';
is $live->{speed_kmh}, 63.4, 'with the speed';
is $live->{course_deg}, 152.1, 'and the course';
is $live->{acc}, JSON::PP::true, 'the ignition';
is $live->{trigger}, 'interval', 'and why it was sent';
is $live->{at}, POSIX::strftime('%Y-%m-%dT%H:%M:%S.000Z', gmtime $at), 'at the time of the device';
like $live->{id}, qr/^t\d+-\d+\.\d+$/, 'its id is a time that replay understands';

ok eventually(sub { $t->value('select count(*) from mdvr.telemetry where device_id = ?', $id) }), 'it is stored';
my $row = $t->row('select *, extract(epoch from recorded_at) as at from mdvr.telemetry where device_id = ?', $id);
cmp_ok abs($row->{lat_deg} - 22.673228), '<', 1e-6, 'with the latitude';
cmp_ok abs($row->{lon_deg} - 114.059383), '<', 1e-6, 'and longitude';
is $row->{at}, $at, 'under the time of the device';
is $row->{status_hex}, '000E00010101D383', 'the raw status bits';
is $row->{satellites}, 10, 'and satellites';
is $t->value('select speed_kmh from mdvr.position where device_id = ?', $id), 63.4, 'the latest position follows';

$dev->v114(at => $at, lat => [22, 40, 236220000], speed => '63.40', course => 1521000, trigger => 1);
$dev->v114(at => $at, lat => [22, 40, 236220001], speed => '63.40', course => 1521000, trigger => 1);
ok eventually(sub { $t->value('select count(*) from mdvr.telemetry where device_id = ?', $id) == 2 }),
    'the same report twice is one row, another one in the same second a second row';

$events->all;
$dev->v114(at => time - 3600, status => '000E00010501D383');
ok eventually(sub { $t->value('select count(*) from mdvr.telemetry where device_id = ? and late', $id) == 1 }),
    'a late report is stored as late';
is scalar(grep { $_->{type} eq 'telemetry' } $events->all), 0, 'and not shown as live';

# ---------------------------------------------------------------------- alarms

like $dev->alarm('V201', uid => 'A4362779F6557409', data => [ 2, 0, '' ]),
    qr/,C100,00007,,\d{6} \d{6},V201,\d{6} \d{6},0,A4362779F6557409#$/, 'an alarm is acknowledged with its UID';
my $alarm = $events->find(sub { $_[0]{type} eq 'alarm' });
is_deeply [ @$alarm{qw(code kind phase uid device_id)} ], [ 'V201', 'custom', 'start', 'A4362779F6557409', $id ],
    'and published';
is $t->value('select count(*) from mdvr.alarm where device_id = ? and ended_at is null', $id), 1, 'one alarm is open';
like $dev->alarm('V201', uid => 'A4362779F6557409', data => [ 2, 0, '' ]), qr/,0,A4362779F6557409#$/,
    'a repetition is acknowledged again';
is $t->value('select count(*) from mdvr.alarm where device_id = ?', $id), 1, 'and stored once';
like $dev->alarm('V251', uid => 'A4362779F6557410', data => [ 2, 0, '' ]), qr/,0,A4362779F6557410#$/,
    'the end has a UID of its own';
is $t->value('select status from mdvr.alarm where device_id = ?', $id), 'ended', 'and ends the alarm';

my $second = $t->device('00007');
like $second->alarm('V202', uid => 'OTHER_CONNECTION', data => [ 1, 'driver' ]), qr/,0,OTHER_CONNECTION#$/,
    'an alarm on a connection that never sent V101 is acknowledged';
is $t->value("select kind from mdvr.alarm where uid = 'OTHER_CONNECTION'"), 'panic_button', 'and stored for the device';
ok $t->device('00007')->send('V109', []), 'a heartbeat on an unregistered connection';
$second->send('V109', []);
like +($second->expect('C500') // {})->{raw}, qr/,C500,00007,,\d{6} \d{6}#$/, 'is answered by C500';
like $dev->v109, qr/C501/, 'the registered connection is untouched by that';

# -------------------------------------------------------------- other messages

my $no = $dev->send('V141', [ MDVR::Device::location(), '' ]);
like $dev->answered('V141', $no)->{raw}, qr/,V141,\d{6} \d{6},0,0,0,0,,,0,,0,,#$/, 'V141: nothing to fetch';
$no = $dev->send('V130', [ MDVR::Device::location(), '', 'sess-1', 1, '' ]);
like $dev->answered('V130', $no)->{raw}, qr/,V130,\d{6} \d{6},0,0#$/, 'V130: a call is refused when nobody can take it';
$no = $dev->send('V130', [ 'sess-1', 0, '' ]);
like $dev->answered('V130', $no)->{raw}, qr/,V130,\d{6} \d{6},0,2#$/, 'V130: its end is confirmed';
like $dev->alarm('V234', uid => 'FETCHED1', data => [ 77, 2, 16 ]), qr/,0,FETCHED1#$/, 'V234 is acknowledged';
is $t->value("select kind || ' ' || (data->>'file_id') || ' ' || (data->>'result') from mdvr.alarm where uid = 'FETCHED1'"),
    'file_fetched 77 16', 'and kept with its result';
$no = $dev->send('V600', [ MDVR::Device::location(), '', 12345, 0, 8, '0a1b2c3d' ]);
like $dev->answered('V600', $no)->{raw}, qr/,V600,\d{6} \d{6},0,1,0,12345#$/, 'V600 is confirmed';
is $t->value("select data->>'hex' from mdvr.alarm where code = 'V600'"), '0a1b2c3d', 'and kept';
like $dev->alarm('V232', uid => 'FILE1', data => [ 2, '/mnt/ch01.h264', 1310720, 2,
    POSIX::strftime('%Y-%m-%d %H%M%S', gmtime(time - 25)), 25, 0, 0, 1, 0, 0, '' ]), qr/,0,FILE1#$/, 'V232 is acknowledged';
is_deeply [ map { @$_ } $t->sql("select path, size_bytes, channel, duration_s from mdvr.download where device_id = ?", $id) ],
    [ '/mnt/ch01.h264', 1310720, 1, 25 ], 'and the file queued to be fetched';
like $dev->alarm('V231', uid => 'TRANS1', data => [ 7, 5, 'a,b,c' ]), qr/,0,TRANS1#$/, 'V231 is acknowledged';
is $t->value("select kind from mdvr.alarm where uid = 'TRANS1'"), 'transparent_data', 'and kept';
is $t->value("select data->>'data' from mdvr.alarm where uid = 'TRANS1'"), 'a,b,c', 'with its data whole';
like $dev->alarm('V245', uid => 'NEW1', data => [ 1, 2 ]), qr/,V245,\d{6} \d{6},0,NEW1#$/,
    'an alarm of a newer firmware is acknowledged';
is $t->value("select kind from mdvr.alarm where uid = 'NEW1'"), 'unknown', 'and kept as unknown';
$no = $dev->send('V298', [ MDVR::Device::location(), '', '210305 111000', 'U1', 0, 1, 2 ]);
like $dev->answered('V298', $no)->{raw}, qr/,V298,\d{6} \d{6},0,0#$/, 'V298: alarm video is forbidden';
is $t->value("select kind || ' ' || (data->>'channel') || ' ' || (data->>'allowed') from mdvr.alarm where uid = 'U1'"),
    'video_offer 1 false', 'which is kept';
$dev->alarm('V202', uid => 'P1', data => [ 1, 'b' ]);
$no = $dev->send('V299', [ MDVR::Device::location(), '', 2, '' ]);
like $dev->answered('V299', $no)->{raw}, qr/,V299,\d{6} \d{6},0,2#$/, 'V299 is answered with the type';
is $t->value("select end_reason from mdvr.alarm where uid = 'P1'"), 'released', 'and the alarm is released';
$dev->send('V142', [ 1, 'SN0042', 4108, '00007', 'T2019', 4, 0, 15, 1, '12745_8023', 1, 5, 27, '198.51.100.7',
    0, '', '', '', 1, 4, 4, '', '' ]);
ok eventually(sub { ($t->value('select health::text from mdvr.device_state where device_id = ?', $id) // '') =~ /SN0042/ }),
    'V142 is kept as health';

# ----------------------------------------------------------- who may not come in

my $stranger = $t->device('NOBODY');
like $stranger->v101, qr/,V101,\d{6} \d{6},0,0,2,#$/, 'an unknown serial is rejected with cause 2';
ok $stranger->closed, 'and the connection is closed';
ok eventually(sub { $t->value("select knocks from mdvr.pending_device where serial = 'NOBODY'") }), 'it is remembered as pending';

my $gone = $t->device('GONE');
like $gone->v101, qr/,0,0,2,#$/, 'a suspended tenant\'s device is rejected';
ok $gone->closed, 'and closed';

my $imei = $t->device('WITH_IMEI');
like $imei->v101(imei => '860000000000041'), qr/,0,0,2,#$/, 'the wrong IMEI is rejected';
ok $imei->closed, 'and closed';
like $t->device('WITH_IMEI')->v101(imei => '860000000000042'), qr/,0,1,1,#$/, 'the right one is accepted';

ok eventually(sub { $t->value("select count(*) from mdvr.connection c join mdvr.device d on d.id = c.device_id
    where d.serial = 'WITH_IMEI' and c.reason = 'refused: wrong IMEI'") == 1 }), 'the refusal is in the history';

my $broken = $t->device('00007');
$broken->send('V101', [ 'A0010', 1, 2 ]);
like +($broken->expect('C100') // {})->{raw}, qr/,V101,\d{6} \d{6},0,0,1,#$/, 'a broken V101 is rejected with cause 1';
ok $broken->closed, 'and closed';

my $other = $t->device('00007', serial => 'WITH_IMEI');
$other->register(imei => '860000000000042');
like $other->v101(serial => '00007'), qr/,C100,00007,.*,0,0,2,#$/, 'another serial on a registered connection is rejected';
ok $other->closed, 'and the connection closed';

# ------------------------------------------------------------ changes of the record

my $changed = $t->device('WITH_IMEI')->register(imei => '860000000000042');
$t->sql("update mdvr.device set enabled = false where serial = 'WITH_IMEI'");
my $device = $t->value("select id from mdvr.device where serial = 'WITH_IMEI'");
$t->redis('PUBLISH', 'mdvr:ctl', qq({"op":"device_changed","id":"$device","serial":"WITH_IMEI"}));
ok $changed->closed, 'a device that is disabled is closed';
ok eventually(sub { ($t->value('select offline_reason from mdvr.device_state where device_id = ?', $device) // '') eq 'suspended' }),
    'and offline for that reason';

# ------------------------------------------------------------------- replaced

$events->all;
my $newer = $t->device('00007');
$newer->register;
ok $dev->closed, 'a newer registration closes the older connection at once';
like $newer->v109, qr/C501/, 'and holds the device';
ok !$second->closed(0.2), 'a connection that never registered stays';
is $t->value('select count(*) from mdvr.connection where device_id = ? and disconnected_at is null', $id), 1,
    'one connection is open in the history';

$events->all;
$newer->close;
my $off = $events->find(sub { $_[0]{type} eq 'device' });
is $off->{event}, 'offline', 'its end is an offline event';
is $off->{reason}, 'closed by the device', 'with the reason';
ok eventually(sub { !$t->online('00007') }), 'and the route is gone';

$t->done;
