package MDVR::Chain;

# The whole way of an alarm: a recorder's V201 and V232, the file over the media
# port, movie, thumbnail and analysis, objects in S3, a WebSocket event, two pushes
# to a fake FCM that checks the RS256 signature.
#
#   my $chain = MDVR::Chain->new(15);         # stores, S3, node, worker, phone; films of 15 s
#   my $seen = $chain->run;                   # one alarm
#   # { ok => {...}, total, event, push, media, findings, last }: seconds after
#   # V201, `last` the last byte of the file
#   $chain->done;

use v5.30;
use warnings;
use MDVR::Clip;
use MDVR::Files;
use MDVR::Media;
use MDVR::Push;
use MDVR::S3;
use MDVR::Scenes;
use MDVR::Test;
use POSIX ();
use Time::HiRes qw(time);

sub missing { return -x 'build/bin/mdvr-worker' ? MDVR::S3::missing() : 'mdvr-worker is not built' }

# So many seconds at 1280x720, filmed by a camera that shakes: something is seen in it.
sub clip {
    my ($dir, $seconds) = @_;
    my $seen = MDVR::Scenes::film('coffee', "$dir/scene.mp4", seconds => $seconds);
    system("ffmpeg -v error -nostdin -y -i $dir/scene.mp4 -vf scale=1280:720,fps=25 -pix_fmt yuv420p -c:v libx264 -preset ultrafast"
        . " -profile:v baseline -b:v 1500k -maxrate 1500k -bufsize 1500k -x264-params keyint=50:min-keyint=50:scenecut=0:slices=1:repeat-headers=1"
        . " -f h264 $dir/clip.h264") == 0 or die 'ffmpeg';
    return MDVR::Test::slurp("$dir/clip.h264");
}

sub new {
    my ($class, $seconds) = @_;
    my $t = MDVR::Test->new;
    my $self = bless { t => $t, k => 0, dir => $t->dir, seconds => $seconds }, $class;
    $self->{device_id} = $t->add_device('00007', channels => 4, plate => 'EV 1');
    my $s3 = $self->{s3} = MDVR::S3->start($t);
    my %s3 = $s3->env;
    $self->{push} = MDVR::Push->new($t);
    my $n = $self->{node} = $t->nginx(workers => 2, media => 'mdvr_media_close_wait 1s; mdvr_media_file_timeout 3s;',
        http => "mdvr_s3 @{[ $s3->url ]} $s3->{bucket} region=us-east-1 access_key_file=$self->{dir}/s3.access secret_key_file=$self->{dir}/s3.secret;");
    my $api = $self->{api} = $t->admin;
    $api->post('/push-tokens', { platform => 'fcm', token => 'phone-of-the-admin' })->{status} == 201 or die 'no phone';
    $self->{worker} = $t->daemon('mdvr-worker', { %s3, $self->{push}->env, MDVR_NOTIFY_REPEAT_S => 0, MDVR_WORKER_JOBS => 2 });
    $self->{ws} = $t->websocket(token => $api->{token});
    $self->{ws}->send({ type => 'subscribe', topics => [qw(alarm media)] });
    $self->{ws}->next('subscribed', 5);
    $self->{clip} = clip($self->{dir}, $seconds);
    $self->{dev} = $t->device('00007');
    $self->{dev}->v101;
    return $self;
}

# Sends the file that the next C702 asks for; the time after its last byte.
sub serve {
    my ($self) = @_;
    my ($dev, $bytes) = @$self{qw(dev clip)};
    my $cmd = $dev->expect('C702', 20) or die 'nobody asks for the file';
    $dev->answer($cmd, 1, 0, '', 0);
    my $m = MDVR::Media->new(port => $self->{node}{media_port}, serial => '00007', session => $cmd->{body}[0]);
    $m->register('V103', length $bytes, $cmd->{body}[6], 'EV 1');
    for (my $at = 0; $at < length $bytes; $at += 32768) { $m->block($at, substr $bytes, $at, 32768) }
    $m->block(length $bytes, '');
    my $end = time;
    $m->expect(0x6105, 10);
    $m->close;
    return $end;
}

sub run {
    my ($self) = @_;
    my ($t, $dev, $ws, $api, $push) = @$self{qw(t dev ws api push)};
    my $path = sprintf '/mnt/sd0/ch01-%d.h264', ++$self->{k};
    my $now = int(time) - 3600 * $self->{k};                # each alarm has a time, and a file, of its own
    my $begin = time;
    $dev->alarm('V201', at => $now - $self->{seconds}, alarm_at => $now - $self->{seconds}, data => [ 2, $self->{k}, 'door' ]);
    my $news = $ws->next('alarm', 10) or die 'no alarm event';
    $dev->alarm('V232', at => $now, alarm_at => $now, data => [ 2, $path, length $self->{clip}, 2,
        POSIX::strftime('%Y-%m-%d %H%M%S', gmtime $now - $self->{seconds} - 3), $self->{seconds}, 0, 0, 1, 0, '' ]);
    my $last = $self->serve;
    my %seen = (last => $last - $begin);
    my $event = $ws->next('media', 30) or die "no media event\n" . $t->daemon_log($self->{worker});
    $seen{event} = time - $begin;
    my $of = sub { my ($type) = @_; grep { $_->{message}{data}{alarm_id} eq $news->{alarm_id} && $_->{message}{data}{type} eq $type } $push->got('fcm') };
    my @video;
    MDVR::Test::eventually(sub { @video = $of->('video') }, 20);
    my ($first) = $of->('alarm');
    $seen{told} = $first ? $first->{at} - $begin : undef;
    $seen{push} = @video ? $video[0]{at} - $begin : undef;
    MDVR::Test::eventually(sub { $t->value('select analysis from mdvr.media where id = ?', $event->{media_id}) ne 'queued' }, 30);
    $seen{findings} = time - $begin;
    my ($item) = @{ $api->get("/alarms/$news->{alarm_id}")->{json}{media} };
    my $movie = MDVR::S3::plain($api->get("/media/$item->{id}/url")->{json}{url})->{body};
    open my $fh, '>:raw', "$self->{dir}/movie.mp4" or die $!;
    print $fh $movie;
    close $fh;
    my $p = MDVR::Files::probe("$self->{dir}/movie.mp4");
    $seen{ok} = {
        'a media event names the alarm' => $event->{status} eq 'ready' && ($event->{alarm_id} // '') eq $news->{alarm_id},
        'every picture of the movie is there' => ($p->{frames} // 0) == 25 * $self->{seconds} && $p->{width} == 1280,
        'the movie is an object in S3' => $movie eq $self->{s3}->request('GET', $t->value('select playback_key from mdvr.media where id = ?', $item->{id}))->{body},
        'the thumbnail is a picture' => MDVR::S3::plain($item->{thumbnail_url})->{body} =~ /^\xff\xd8\xff/,
        'the analysis has findings' => $item->{analysis} eq 'done' && @{ $item->{findings} } > 0,
        'a phone is told of the alarm, once' => scalar(my @told = $of->('alarm')) == 1,
        'and of its video, once' => scalar(@video) == 1,
    };
    ($seen{total}) = sort { $b <=> $a } grep { defined } @seen{qw(event push findings)};
    return \%seen;
}

sub done { my ($self) = @_; $self->{t}->done }

1;
