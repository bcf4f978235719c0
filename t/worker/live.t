# Live streams that somebody watches are analysed when their device's settings want
# it: what is seen is an event, once in a while, and nothing else changes.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Clip;

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new;
my $id = $t->add_device('00007', channels => 4);
my $other = $t->add_device('00008', channels => 4);
my $n = $t->nginx(workers => 1, media => 'mdvr_media_close_wait 1s;');
my $api = $t->admin;
my $tenant = $t->tenant('A');

# A camera in the dark.
my $dark = $t->dir . '/dark.h264';
system("ffmpeg -v error -nostdin -y -f lavfi -i color=black:size=320x240:rate=25:duration=2,noise=alls=3:allf=t -pix_fmt yuv420p -c:v libx264"
    . " -preset ultrafast -tune zerolatency -profile:v baseline -x264-params keyint=12:min-keyint=12:scenecut=0:sliced-threads=0:slices=1:repeat-headers=1"
    . " -f h264 $dark") == 0 or die 'ffmpeg';
is $api->patch("/devices/$id", { settings => { ai_live => JSON::PP::true } })->{status}, 200, 'a device\'s settings want it';
my $ws = $t->websocket(token => $api->{token});
$ws->send({ type => 'subscribe', topics => ['device'] });
$ws->next('subscribed', 5);

my $bus = MDVR::Clip::bus($n);
my (@views, @players);
for my $d ([ '00007', $id ], [ '00008', $other ]) {
    my $s = $bus->start($d->[0], device => $d->[1], channel => 2);
    push @views, [ $s, $bus->view($s, 120) ];
    my $m = $bus->media($s);
    push @players, $m->play_on($dark);
}
ok eventually(sub { 2 == grep { $_->{state} eq 'live' } $bus->sessions }, 10), 'two streams are live';
my $jobs = $t->daemon('mdvr-worker', { MDVR_AI => 'none' });
my $w = $t->daemon('mdvr-worker', { MDVR_AI_LIVE_S => 1, MDVR_AI => 'camera' }, 'watch');

my $seen;
my $until = time + MDVR::Test::patience(40);
while (!$seen && time < $until) { my $e = $ws->next('device', 5); $seen = $e if $e && ($e->{event} // '') eq 'finding' }
is_deeply [ @{ $seen // {} }{qw(kind device_id channel model serial)} ], [ 'camera_black', $id, 2, 'camera', '00007' ], 'what is seen is an event'
    or diag $t->daemon_log($w);
cmp_ok $seen->{confidence}, '>', 0.5, 'with its confidence';
ok eventually(sub { ($api->get("/media/$seen->{media_id}")->{json}{status} // '') eq 'ready' }, MDVR::Test::patience(20)), 'and its picture, an item of its own'
    or diag $t->daemon_log($w), $t->daemon_log($jobs);
my $item = $api->get("/media/$seen->{media_id}")->{json};
is_deeply [ @$item{qw(kind device_id channel at)} ], [ 'jpeg', $id, 2, $seen->{at} ], 'of that moment';
is substr($t->http->request('GET', $item->{thumbnail_url})->{body}, 0, 3), "\xff\xd8\xff", 'which can be looked at';
like $seen->{at}, qr/^20\d\d-.*Z$/, 'and its time';
my ($again) = grep { ($_->{event} // '') eq 'finding' } @{ $api->get('/events?topics=device')->{json}{items} };
is $again->{id}, $seen->{id}, 'it is in the events, too';

my $metered = sub { $t->value("select coalesce(sum(amount), 0) from mdvr.usage where metric = 'ai_s' and tenant_id = ?", $tenant) };
my $first = $metered->();
ok eventually(sub { $metered->() > $first }, MDVR::Test::patience(40)), 'it goes on, and is metered';
is $t->value("select count(*) from mdvr.event where message->>'event' = 'finding'"), 1, 'the same is not told again at once';
is $t->value("select count(*) from mdvr.event where message->>'device_id' = ?::text and message->>'event' = 'finding'", $other), 0,
    'a device whose settings do not want it is not looked at';
is $t->value('select count(*) from mdvr.media'), 1, 'and no other picture is stored';
is_deeply [ glob "$n->{dir}/state/staged/*" ], [], 'nor left behind';
is $t->value("select mdvr.live_watch(?)", $id), $tenant, 'it would go on';
$t->sql('insert into mdvr.plan (tenant_id, max_ai_minutes) values (?, 0) on conflict (tenant_id) do update set max_ai_minutes = 0', $tenant);
is $t->value("select mdvr.live_watch(?)", $id), undef, 'but not beyond the minutes of the plan';

MDVR::Media::play_stop($_) for @players;
$bus->run('end', $_->[0]{slot}) for @views;
$_->[1]->() for @views;
$t->daemon_stop($_, 'TERM') for $w, $jobs;
$t->done;
