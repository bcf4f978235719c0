# A live stream is recorded on the server, with the seconds before.

use MDVR::Test;
use MDVR::Clip;
use MDVR::Files;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0; mdvr_command_timeout 5s;');
my $id = $t->add_device('00007', channels => 4);
my $api = $t->admin;
my $dev = $t->device('00007')->register;
$t->daemon('mdvr-worker', { MDVR_AI => 'none' });

my $path = "/devices/$id/video";
my %what = (channel => 1, stream => 'sub');
my $r = $api->post("$path/record", { %what, duration_s => 2 });
is "$r->{status} $r->{json}{code}", '409 not_live', 'only what is watched can be recorded';

my $p = $api->begin('POST', "/api/v1$path/start", \%what);
my $c = $dev->expect('C508', 10);
$dev->answer($c, 1, 1, '', 0);
my $m = $dev->media($c);
my $clip = MDVR::Clip::make('h264', seconds => 8);
my $player = $m->play_on($clip);
$r = $p->end;
is $r->{status}, 200, 'a camera is watched';
my $st = $t->http->stream($r->{json}{urls}{fmp4});
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
is $t->value("select count(*) from mdvr.event where topic = 'media' and message->>'media_id' = ? and message->>'status' = 'ready'", $media), 1,
    '... announced once';
MDVR::Media::play_stop($player);
$t->done;
