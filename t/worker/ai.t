# Analysis as a job: it follows the item, its findings are shown by the API and
# replaced by a second run, it fails without harm.  People, a driver, and a
# model that this test makes itself.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Files;
use MDVR::Onnx;
use MDVR::Scenes;
use File::Path qw(make_path);

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new;
my $dev = $t->add_device('00007');
my $tenant = $t->tenant('A');
my $dir = $t->dir;
my $node = $t->nginx;
my $state = "$node->{dir}/state";
make_path("$state/staged");
my @svc = $> == 0 ? (getpwnam MDVR::Test::svc_user())[2, 3] : ();
chown @svc, "$state/staged" if @svc;
my %env = (MDVR_WORKER_RETRY_MS => 100, MDVR_WORKER_LEASE_MS => 2000);

sub soon(&$;$) { my ($cond, $name, $seconds) = @_; ok(eventually(\&$cond, $seconds // 20), $name) }

# What mdvr-worker says of files.
sub look {
    my ($files, %e) = @_;
    local @ENV{qw(MDVR_PG_CONNINFO MDVR_REDIS MDVR_STORAGE), keys %e} = ('none', 'unix:/none', 'file:/none', values %e);
    my @r = map { MDVR::Test::json_of($_) } grep { /^\{/ } split /\n/, qx(build/bin/mdvr-worker analyse @$files 2>&1);
    return @r == 1 ? $r[0] : @r;
}
sub kinds { join ' ', sort map { $_->{kind} } @{ $_[0]{findings} // [] } }

# People.
my ($with, $without) = (MDVR::Scenes::person("$dir/person.jpg", 240), MDVR::Scenes::person("$dir/empty.jpg", 0));
my ($one, $none) = look([ $with, $without ], MDVR_AI => 'people');
is kinds($one), 'person', 'a person is found';
my $box = $one->{findings}[0]{box};
ok $box->[0] < 0.5 && $box->[0] + $box->[2] > 0.5 && $box->[3] > 0.5, 'in the middle of the picture';
like $one->{findings}[0]{model_version}, qr/^4\.\d/, 'with the version of the model';
is kinds($none), '', 'and none in the empty picture';

# A driver: there with open eyes; gone; eyes closed.
my $face = MDVR::Scenes::data('face.jpg');
my $skin = 'drawbox=x=228:y=152:w=64:h=40:color=0xd3a88a:t=fill,drawbox=x=322:y=156:w=68:h=40:color=0xcfa488:t=fill,avgblur=2';
MDVR::Scenes::ffmpeg("-loop 1 -framerate 10 -t 5 -i $face -vf noise=alls=4:allf=t -pix_fmt yuv420p -c:v libx264 -preset veryfast -y $dir/driver.mp4");
MDVR::Scenes::ffmpeg("-loop 1 -framerate 10 -t 3 -i $face -loop 1 -framerate 10 -t 5 -i " . MDVR::Scenes::data('coffee.jpg')
    . " -filter_complex \"[0:v]scale=640:480,setsar=1[a];[1:v]scale=640:480,setsar=1[b];[a][b]concat=n=2:v=1:a=0\" -pix_fmt yuv420p -c:v libx264 -preset veryfast -y $dir/gone.mp4");
MDVR::Scenes::ffmpeg("-loop 1 -framerate 10 -t 7 -i $face -vf \"split[x][y];[y]$skin\[z];[x][z]overlay=enable='gt(t,2.2)',noise=alls=3:allf=t\" "
    . "-pix_fmt yuv420p -c:v libx264 -preset veryfast -y $dir/closed.mp4");
my ($driver, $gone, $closed) = look([ map { "$dir/$_.mp4" } qw(driver gone closed) ], MDVR_AI => 'driver');
is kinds($driver), '', 'a driver who looks ahead is no finding';
is kinds($gone), 'driver_absent', 'one who is not there any more is';
cmp_ok $gone->{findings}[0]{at_s}, '>=', 2.9, 'from then on';
is kinds($closed), 'eyes_closed', 'and so are closed eyes';
cmp_ok $closed->{findings}[0]{at_s}, '>=', 2, 'when they were closed';
is kinds(look([ MDVR::Scenes::film('coffee', "$dir/coffee.mp4") ], MDVR_AI => 'driver')), '', 'a camera that never saw a driver misses none';

# A model: finds bright squares of 32 pixels, in three layouts.
MDVR::Scenes::ffmpeg("-f lavfi -i color=c=0x202020:s=640x384:r=10:d=3 -vf \"drawbox=x=128:y=64:w=64:h=64:color=white:t=fill,drawbox=x=448:y=256:w=64:h=64:color=white:t=fill:enable='gt(t,1.2)'\" "
    . "-pix_fmt yuv420p -c:v libx264 -preset veryfast -y $dir/squares.mp4");
MDVR::Scenes::write_file("$dir/labels", "square 0.6\n");
for my $layout (qw(yolov5 yolov8 yolox)) {
    MDVR::Onnx::squares("$dir/$layout.onnx", 320, 192, $layout);
    my $r = look([ "$dir/squares.mp4" ], MDVR_AI => 'detector', MDVR_AI_MODEL => "$dir/$layout.onnx", MDVR_AI_LABELS => "$dir/labels",
        MDVR_AI_LAYOUT => $layout, MDVR_AI_SIZE => '320x192');
    is kinds($r), 'square', "$layout: the square is found" or diag JSON::PP->new->encode($r);
    my $f = $r->{findings}[0] // {};
    is $f->{model}, $layout, "$layout: by the model";
    like $f->{model_version} // '', qr/^[0-9a-f]{12}$/, "$layout: whose hash is its version";
    my @want = (0.2, 64 / 384, 0.1, 64 / 384);
    my $off = 0;
    for (0 .. 3) { my $d = abs(($f->{box}[$_] // 9) - $want[$_]); $off = $d if $d > $off }
    cmp_ok $off, '<', 0.01, "$layout: where it is";
}
MDVR::Scenes::write_file("$dir/strict", "square 1\n");
is kinds(look([ "$dir/squares.mp4" ], MDVR_AI => 'detector', MDVR_AI_MODEL => "$dir/yolov5.onnx", MDVR_AI_LABELS => "$dir/strict",
    MDVR_AI_SIZE => '320x192')), '', 'below the threshold of its class nothing is found';
MDVR::Scenes::write_file("$dir/two", "square\nround\n");
like look([ "$dir/squares.mp4" ], MDVR_AI => 'detector', MDVR_AI_MODEL => "$dir/yolov5.onnx", MDVR_AI_LABELS => "$dir/two",
    MDVR_AI_SIZE => '320x192')->{error}, qr/model yolov5 refused: .*2 labels/, 'a model that does not fit its labels is refused';
MDVR::Scenes::write_file("$dir/broken.onnx", 'no model');
like look([ "$dir/squares.mp4" ], MDVR_AI => 'detector', MDVR_AI_MODEL => "$dir/broken.onnx", MDVR_AI_LABELS => "$dir/labels",
    MDVR_AI_SIZE => '320x192')->{error}, qr/model broken refused/, 'a file that is none, too';

# The job.
my $n = 0;
sub stage {
    my ($file, %doc) = @_;
    my $id = sprintf '01a00000-0000-7000-8000-%012d', ++$n;
    my $to = "$state/staged/$id.bin";
    open my $fh, '>:raw', $to or die $!;
    print $fh MDVR::Test::slurp($file);
    close $fh;
    chown @svc, $to if @svc;
    $t->redis('XADD', "mdvr:job:{ingest\@$node->{name}}", '*', 'job', JSON::PP->new->encode({ id => $id, kind => 'ingest', device_id => $dev,
        tenant_id => $tenant, file => $to, media_kind => 'mp4', source => 'alarm_file', channel => 1, at_ms => 1_600_000_000_000, %doc }));
    return $id;
}
sub findings { my ($id) = @_; return $t->rows('select * from mdvr.finding where media_id = ? order by kind', $id) }
my %defect = MDVR::Scenes::defects();
MDVR::Scenes::spoil("$dir/coffee.mp4", $defect{camera_covered}[1], "$dir/covered.mp4");
my $worker = $t->daemon('mdvr-worker', \%env);
my $id = stage("$dir/covered.mp4");
soon { findings($id) } 'findings of a clip are stored';
my ($f) = findings($id);
is $f->{kind}, 'camera_covered', 'a covered camera';
like $f->{picture_key}, qr{/$id/finding-\d+\.jpg$}, 'with its picture';
is MDVR::Files::probe("$dir/objects/$f->{picture_key}")->{width}, 640, 'which is one';
my $http = $t->admin;
my $m = $http->get("/media/$id")->{json};
is $m->{status}, 'ready', 'the item is ready';
is_deeply [ map { "$_->{kind} $_->{model}" } @{ $m->{findings} } ], ['camera_covered camera'], 'and the API shows what was found';
is $t->value("select count(*) from mdvr.event where topic = 'media'"), 1, 'there is one event all the same';
is $t->value("select amount from mdvr.usage where metric = 'ai_s' and tenant_id = ?", $tenant), 5, 'the seconds are metered';

my $again = JSON::PP->new->encode({ id => $id, kind => 'analyse', media_id => $id, tenant_id => $tenant });
$t->redis('XADD', 'mdvr:job:{analyse}', '*', 'job', $again);
soon { my ($g) = findings($id); $g && $g->{id} ne $f->{id} } 'a second run replaces them';
is scalar(() = findings($id)), 1, 'it adds none';

$id = stage($with, media_kind => 'jpeg', source => 'snapshot');
soon { findings($id) } 'a picture is analysed, too';
is +(findings($id))[0]{kind}, 'person', 'a person';
is +(findings($id))[0]{at_s}, 0, 'at its only time';
$t->daemon_stop($worker, 'TERM');

# A model that cannot be used: the rest is found, and the job says so.
$worker = $t->daemon('mdvr-worker', { %env, MDVR_AI_MODEL => "$dir/broken.onnx", MDVR_AI_LABELS => "$dir/labels" });
$id = stage("$dir/covered.mp4");
soon { $t->redis('XLEN', 'mdvr:job:{analyse}:dead') == 1 } 'a refused model ends in the dead-letter list';
is $t->value('select status from mdvr.media where id = ?', $id), 'ready', 'the item is ready all the same';
is +(findings($id))[0]{kind}, 'camera_covered', 'and what others found is stored';
$t->daemon_stop($worker, 'TERM');

# a plan whose minutes are used up, and one that has more
$worker = $t->daemon('mdvr-worker', { %env });
my $analysis = sub { my ($item) = @_; eventually(sub { my $s = $t->value('select analysis from mdvr.media where id = ?', $item) // ''; $s ne 'queued' && $s }, 30) };
$t->sql('insert into mdvr.plan (tenant_id, max_ai_minutes) values (?, 0) on conflict (tenant_id) do update set max_ai_minutes = 0', $t->tenant('A'));
$id = stage("$dir/covered.mp4");
is $analysis->($id), 'quota', 'beyond the minutes of the plan an item is not analysed, and says so';
is $t->value('select status from mdvr.media where id = ?', $id), 'ready', 'it is ready all the same';
is scalar(findings($id)), 0, 'nothing was found';
$t->sql('update mdvr.plan set max_ai_minutes = 100000');
my $used = $t->value("select sum(amount) from mdvr.usage where metric = 'ai_s'");
$id = stage("$dir/covered.mp4");
is $analysis->($id), 'done', 'with more of them it is';
my $now = $t->value("select sum(amount) from mdvr.usage where metric = 'ai_s'");
cmp_ok $now, '>', $used, 'which is metered';
$t->redis('XADD', 'mdvr:job:{analyse}', '*', 'job', JSON::PP->new->encode({ id => $id, kind => 'analyse', tenant_id => $t->tenant('A'), media_id => $id }));
ok eventually(sub { $t->redis('XLEN', 'mdvr:job:{analyse}') == 0 }, 20), 'a repetition';
is $t->value("select sum(amount) from mdvr.usage where metric = 'ai_s'"), $now, 'is not metered again';
$t->daemon_stop($worker, 'TERM');
$worker = $t->daemon('mdvr-worker', { %env, MDVR_AI => 'none' });
$id = stage("$dir/covered.mp4");
soon { ($t->value('select status from mdvr.media where id = ?', $id) // '') eq 'ready' } 'without analysers an item is ready';
is $t->redis('XLEN', 'mdvr:job:{analyse}'), 0, 'and no job is made';
ok eventually(sub { !(() = glob "$dir/tmp/*") }, 30), 'nothing is left in the temporary directory';
$t->daemon_stop($worker, 'TERM');
$t->done;
