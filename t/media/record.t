# A live stream is recorded on the server, with the seconds before and with its
# sound: when somebody says so, when the device raises an alarm, and when a rule of
# the platform does.

use MDVR::Test;
use MDVR::Clip;
use MDVR::Files;
use MDVR::Sound;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0; mdvr_command_timeout 5s;');
my $id = $t->add_device('00007', channels => 4);
my $api = $t->admin;
my $dev = $t->device('00007')->register(audio => 10);
$t->daemon('mdvr-worker', { MDVR_AI => 'none' });
my $sound = $t->daemon('mdvr-worker', 'sound');
ok eventually(sub { $t->daemon_log($sound) =~ /sound encoder ready/ }), 'an encoder is there';

my $path = "/devices/$id/video";
my %what = (channel => 1, stream => 'sub');
my $r = $api->post("$path/record", { %what, duration_s => 2 });
is "$r->{status} $r->{json}{code}", '409 not_live', 'only what is watched can be recorded';

my $p = $api->begin('POST', "/api/v1$path/start", \%what);
my $c = $dev->expect('C508', 10);
$dev->answer($c, 1, 1, '', 0);
my $m = $dev->media($c);
my $clip = MDVR::Clip::make('h264', seconds => 8);
my $player = MDVR::Sound::film($m, [ MDVR::Media::access_units($clip) ], sound => MDVR::Sound::tone());
$r = $p->end;
is $r->{status}, 200, 'a camera is watched';
my $st = $t->http->stream("$r->{json}{urls}{fmp4}?audio=0");
$st->read(10_000_000, 4);             # the seconds before

$r = $api->post("$path/record", { %what, duration_s => 2, preroll_s => 3 });
is $r->{status}, 202, 'it is recorded' or diag explain $r;
my $media = $r->{json}{media_id};
my $item = eventually(sub { my $i = $api->get("/media/$media"); $i->{status} == 200 && $i->{json}{status} eq 'ready' && $i->{json} }, 40);
ok $item, 'a media item' or diag $n->log;
is "$item->{kind} $item->{channel}", 'mp4 1', '... of the camera';
cmp_ok $item->{duration_s}, '>', 3.5, '... longer than was asked for: with the seconds before';
cmp_ok $item->{duration_s}, '<', 6.5, '... and no longer';
my ($key) = $t->value('select original_key from mdvr.media where id = ?', $media);
my %source = map { $_ => 1 } @{ MDVR::Clip::sums($clip) };
my $sums = MDVR::Clip::sums("$t->{dir}/objects/$key");
cmp_ok scalar(@$sums), '>', 85, '... ' . @$sums . ' pictures';
is scalar(grep { !$source{$_} } @$sums), 0, '... each as the camera sent it';
my ($rms, $hz, $seconds) = MDVR::Sound::hear("$t->{dir}/objects/" . $t->value('select playback_key from mdvr.media where id = ?', $media), 4);
cmp_ok $seconds, '>', $item->{duration_s} - 2, "... with sound, $seconds s of it, though nobody listened";
ok $hz > 420 && $hz < 460 && $rms > 3000, "... the device's ($hz Hz, $rms)";
is $t->value("select count(*) from mdvr.event where topic = 'media' and message->>'media_id' = ? and message->>'status' = 'ready'", $media), 1,
    '... announced once';

# alarms

my @door = (data => [ 2, 1, 'door' ]);
my $tenant = '/tenants/' . $t->tenant('A');
my $alarm_of = sub { $t->value('select alarm_id from mdvr.alarm_message where keyword = ? and uid = ?', @_) };
my $parts = sub { my @files = glob "$n->{dir}/state/staged/*.part"; return @files };

ok $dev->alarm('V201', @door), 'an alarm, while the tenant has not asked for recordings';
my $super = $t->super_admin;
is $super->patch($tenant, { settings => { record_on_alarm => 'yes' } })->{status}, 422, 'a setting has its values';
$r = $super->patch($tenant, { settings => { record_on_alarm => 'on' } });
is "$r->{status} $r->{json}{settings}{record_on_alarm}", '200 on', 'now it asks for them';

my $quiet = $t->add_device('00008', channels => 4);
ok $t->device('00008')->register->alarm('V201', @door), 'an alarm of a device of which nothing is live';
ok $dev->alarm('V201', @door, at => time - 600, alarm_at => time - 600), 'one that comes ten minutes late';
ok $dev->alarm('V201', @door), 'an alarm of the device that is watched';
my $uid = $dev->{uid};
my $alarm = $alarm_of->('V201', $uid);
ok eventually(sub { 1 == $parts->() }, 10), 'one recording runs' or diag join ' ', $parts->();
my ($part) = $parts->();
my $size = $part && -s $part;
ok $dev->alarm('V201', @door, uid => $uid), 'the alarm again';
ok $dev->alarm('V251', @door), 'its end';
ok eventually(sub { $part && (-s $part // 0) > $size }, 10), 'it goes on after the alarm';
is scalar(my @now = $parts->()), 1, 'no other one began';

$t->sql(q(update mdvr.device set settings = '{"speed_limit_kmh": 80}' where id = ?), $id);
$dev->v114(at => 3 + int time, speed => '96.50');          # newer than the alarms' positions
ok eventually(sub { 2 == $parts->() }, 20), 'too fast by a rule of the platform: recorded, too' or diag $n->log;
$dev->v114(at => 5 + int time, speed => '60.00');
my $fast = $t->value("select id from mdvr.alarm where kind = 'overspeed'") // '';

$item = eventually(sub { my ($i) = @{ $api->get("/media?alarm_id=$alarm")->{json}{items} }; $i && $i->{status} eq 'ready' && $i }, 60);
ok $item, 'the alarm has a media item' or diag $n->log;
is "$item->{kind} $item->{channel} $item->{source}", 'mp4 1 recording', '... of the camera';
cmp_ok $t->value("select extract(epoch from a.received_at - m.at) from mdvr.alarm a join mdvr.media m on m.alarm_id = a.id where a.id = ?", $alarm),
    '>', 2, '... that begins before the alarm';
cmp_ok $item->{duration_s}, '<', 33, '... and is no longer than it should be';
cmp_ok $item->{duration_s}, '>', 20, '... nor shorter';
($key) = $t->value('select original_key from mdvr.media where id = ?', $item->{id});
$sums = MDVR::Clip::sums("$t->{dir}/objects/$key");
is scalar(grep { !$source{$_} } @$sums), 0, '... ' . @$sums . ' pictures, each as the camera sent it';
is $t->value("select count(*) from mdvr.event where topic = 'media' and message->>'media_id' = ? and message->>'status' = 'ready'", $item->{id}),
    1, '... announced once';
(undef, $hz, $seconds) = MDVR::Sound::hear("$t->{dir}/objects/" . $t->value('select playback_key from mdvr.media where id = ?', $item->{id}), 12);
ok $hz > 400 && $hz < 480, "... and the device's sound ($hz Hz)";
cmp_ok $seconds, '>', 18, '... all the time';
ok eventually(sub { my ($i) = @{ $api->get("/media?alarm_id=$fast")->{json}{items} // [] }; $i && $i->{status} eq 'ready' }, 60), 'the rule\'s alarm has an item';
is $t->value('select count(*) from mdvr.media where alarm_id is not null'), 2, 'no other alarm has one';
is $t->value('select count(*) from mdvr.media where quarantined is not null'), 0, 'and none was put aside';

MDVR::Media::play_stop($player);
$t->done;
