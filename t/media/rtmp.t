# A live channel by RTMP: nginx-rtmp asks whether the token is good, has the
# device started, and plays what it filmed, with its sound; it ends with the
# last player, and with the permission.

use MDVR::Test;
use MDVR::Clip;
use MDVR::Sound;

my $so = '/usr/lib/nginx/modules/ngx_rtmp_module.so';
plan(skip_all => 'libnginx-mod-rtmp is not installed') unless -e $so;

my $t = MDVR::Test->new;
my $rtmp = MDVR::Test::free_port();

# The sample configurations with the ports of this test.
sub play_location {
    my ($conf) = @_;
    my ($play) = slurp('conf/full.conf') =~ /^( +location = \/rtmp\/play \{.*?^ +\})/ms or die 'the sample has no /rtmp/play';
    return $conf =~ s/(location \@mdvr_peer)/$play\n        $1/r;
}

my $n = $t->nginx(workers => 2, media => 'mdvr_media_idle_stop 1500ms;', conf => \&play_location);
my $dir = "$t->{dir}/rtmp";
mkdir $dir;
MDVR::Store::give($dir, MDVR::Test::svc_user());
my $conf = slurp('conf/rtmp.conf');
$conf =~ s/127\.0\.0\.1:3000/127.0.0.1:$n->{http_port}/g;
$conf =~ s/listen 1935/listen 127.0.0.1:$rtmp/;
$conf =~ s/127\.0\.0\.1:1935/127.0.0.1:$rtmp/;
$conf =~ s{/usr/bin/mdvr-worker}{$MDVR::Test::TOP/build/bin/mdvr-worker};
$conf =~ s{/run/nginx-rtmp\.pid}{$dir/nginx.pid};
$conf =~ s{/var/log/nginx/rtmp\.log}{$dir/error.log};
$conf =~ s/^user .*;/$> == 0 ? 'user ' . MDVR::Test::svc_user() . ';' : ''/me;
open my $fh, '>', "$dir/nginx.conf" or die $!;
print $fh "daemon off;\n$conf";
close $fh;
my $nginx = fork // die;
if ($nginx == 0) { chdir $dir; exec MDVR::Nginx::binary(), '-p', $dir, '-c', "$dir/nginx.conf", '-e', "$dir/error.log" }
END { kill TERM => $nginx if $nginx }
ok eventually(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $rtmp) }), 'the nginx for RTMP runs' or diag slurp("$dir/error.log");
my $id = $t->add_device('00007', channels => 4);
my $api = $t->admin;
my $dev = $t->device('00007');
$dev->v101(audio => 10);
my $bus = MDVR::Clip::bus($n);
my $clip = MDVR::Clip::make('h264', seconds => 4);
my @source = @{ MDVR::Clip::sums($clip) };
my $sound = $t->daemon('mdvr-worker', 'sound');
ok eventually(sub { $t->daemon_log($sound) =~ /sound encoder ready/ }), 'an encoder is there';

# The device takes C508 and films.
sub film { my ($cmd) = @_;
    $dev->answer($cmd, 1, 1, '', 0);
    return MDVR::Sound::film($dev->media($cmd), [ MDVR::Media::access_units($clip) ], sound => MDVR::Sound::tone());
}

# ffmpeg plays for so many seconds of video into a file, in the background.
sub player { my ($url, $file, @how) = @_;
    my $pid = fork // die;
    if ($pid == 0) {
        open STDERR, '>', "$file.err";
        exec 'timeout', 30, 'ffmpeg', '-v', 'error', '-nostdin', '-rw_timeout', 15_000_000, '-i', $url, '-c', 'copy', @how, '-y', $file;
    }
    return $pid;
}

my $p = $api->begin('POST', "/api/v1/devices/$id/video/start", { channel => 1, stream => 'sub' });
my $film = film($dev->expect('C508', 10));
my $token = $p->end->{json}{token};
my $url = "rtmp://127.0.0.1:$rtmp/live/$token";
ok eventually(sub { (grep { $_->{state} eq 'live' } $bus->sessions) == 1 }), 'the stream runs';

# ------------------------------------------------------------------ it plays

my $file = "$t->{dir}/played.mkv";
my $pid = player($url, $file, '-t', 4);
ok eventually(sub { my ($s) = grep { $_->{state} eq 'live' } $bus->sessions; $s && $s->{viewers} == 1 }), 'a player is a viewer of the bus';
my $cmdline = join ' ', map { $_->{command} } grep { $_->{command} =~ /mdvr-worker restream/ } $t->processes;
ok $cmdline && index($cmdline, $token) < 0, 'whose process does not show the token' or diag $cmdline;
waitpid $pid, 0;
is $? >> 8, 0, 'ffmpeg plays the address' or diag slurp("$file.err");
my $probe = `ffprobe -v error -show_entries stream=codec_name,codec_type -of csv=p=0 $file`;
is join(' ', sort split /\n/, $probe), 'aac,audio h264,video', 'H.264 and AAC';

my @got = @{ MDVR::Clip::sums($file) };
cmp_ok scalar @got, '>=', 75, 'at least 3 s of pictures' or diag slurp("$file.err");
my %at = map { $source[$_] => $_ } 0 .. $#source;
my $first = $at{ $got[0] } // -1;
is $first % 25, 0, 'which begin with a key frame of the source';
is_deeply \@got, [ map { $source[ ($first + $_) % @source ] } 0 .. $#got ], 'and are its very pictures, one after the other';
my ($loud, $hz) = MDVR::Sound::hear($file, 2);                # the device is told to make sound only now
cmp_ok $loud, '>', 3000, 'the tone is heard';
cmp_ok abs($hz - 440), '<', 15, 'as the tone it was';

# ---------------------------------------- the last one out, and in once more

my $stop = $dev->expect('C508', 10);
is $stop && $stop->{body}[1], 0, 'the last player left: the device is told to stop';
$dev->answer($stop, 1, 1, '', 0);
waitpid $film, 0;
ok eventually(sub { !grep { $_->{state} ne 'ending' } $bus->sessions }, 10), 'the stream is over';

my $tenant = $t->tenant('A');
$t->sql("insert into mdvr.plan (tenant_id, max_live_minutes) values ('$tenant', 0)");
my $no = $t->http->request('GET', "/live/$token/permit?start=1");
is "$no->{status} $no->{json}{code}", '403 quota_exceeded', 'beyond the plan\'s live minutes nobody starts it again';
$t->sql("delete from mdvr.plan where tenant_id = '$tenant'");

$file = "$t->{dir}/again.mkv";
$pid = player($url, $file, '-t', 60);
my $start = $dev->expect('C508', 10);
is $start && $start->{body}[1], 1, 'who plays the address has the device start again';
$film = film($start);
ok eventually(sub { -s $file && -s $file > 50_000 }, 10), 'and sees it' or diag slurp("$file.err");

# ---------------------------------------------------------------- permission

is $api->post("/devices/$id/video/stop", { channel => 1, stream => 'sub' })->{status}, 204, 'the viewer\'s session is stopped';
ok eventually(sub { waitpid($pid, POSIX::WNOHANG()) > 0 }, 5), 'the player is sent away within 5 s';
my $denied = player($url, "$t->{dir}/denied.mkv", '-t', 2);
waitpid $denied, 0;
isnt $? >> 8, 0, 'the token is good for nothing now';
$denied = player("rtmp://127.0.0.1:$rtmp/live/x;touch\$IFS$t->{dir}/bad", "$t->{dir}/bad.mkv", '-t', 2);
waitpid $denied, 0;
isnt $? >> 8, 0, 'nonsense is not played';
ok !-e "$t->{dir}/bad", 'nor run';
ok eventually(sub { !grep { $_->{command} =~ /mdvr-worker restream/ } $t->processes }, 8), 'no restream is left';
unlike $n->log . slurp("$dir/error.log"), qr/\Q$token\E/, 'no error log shows the token';
kill QUIT => $nginx;
ok eventually(sub { waitpid($nginx, POSIX::WNOHANG()) > 0 }, 10), 'the nginx for RTMP stops';
undef $nginx;
is_deeply [ MDVR::Test::alarms(slurp("$dir/error.log")) ], [], 'without an alert';
MDVR::Media::play_stop($film) if kill 0, $film;
$t->daemon_stop($sound, 'TERM');
$t->done;
