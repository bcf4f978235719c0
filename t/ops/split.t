# One node as two nginx: devices' text and the API in one, media and viewers in
# the other, on one frame bus.  Either is reloaded without the other noticing.

use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $media_port = MDVR::Test::free_port();
my $a = $t->nginx(name => 'a', workers => 1, conf => sub {
    my ($conf) = @_;
    $conf =~ s/^\s*server \{ listen \S+ reuseport; mdvr_media;.*?\n//m or die 'no media server';
    $conf =~ s/mdvr_media_port \d+;/mdvr_media_port $media_port;/;
    return $conf;
});
my $m = $t->nginx(name => 'm', workers => 1, media_port => $media_port, media => 'mdvr_media_idle_stop 1500ms;', conf => sub {
    my ($conf, $self) = @_;
    $conf =~ s/^\s*server \{ listen \S+ reuseport; mdvr_signaling;.*?\n//m or die 'no signaling server';
    $conf =~ s/mdvr_node m \S+;/"mdvr_node a " . $a->url . ';'/e;
    $conf =~ s/mdvr_bus \Q$self->{bus}\E/mdvr_bus $a->{bus}/;
    $conf =~ s{mdvr_state_dir \S+;}{mdvr_state_dir $a->{dir}/state;};
    $conf =~ s{location /api/.*}{};
    return $conf;
});
my $id = $t->add_device('00007', channels => 4);
my $api = $t->admin(node => $a);
my @units = MDVR::Media::access_units(MDVR::Clip::make('h264', seconds => 4));

my $dev = $t->device('00007', node => $a);
$dev->v101;

my $p = $api->begin('POST', "/api/v1/devices/$id/video/start", { channel => 1, stream => 'sub' });
my $cmd = $dev->expect('C508', 10);
is $cmd->{body}[6], $media_port, 'the device is sent to the other nginx';
$dev->answer($cmd, 1, 1, '', 0);
my $film = $dev->media($cmd);
my $r = $p->end;
is $r->{status}, 200, 'video start is answered by the one with the API' or diag $r->{body};

sub ws { my ($node) = @_; return MDVR::WebSocket->new(port => $node->{http_port}, path => $r->{json}{urls}{ws}) }
my ($here, $there) = (ws($m), ws($a));
is $here->{status}, 101, 'a viewer at the media nginx';
is $there->{status}, 101, 'and one at the API nginx';
$film->play(\@units, fps => 50);

sub pictures {
    my ($ws, $want) = @_;
    my $n = 0;
    my $end = time + MDVR::Test::patience(5);
    while ($n < $want && time < $end) {
        my $f = $ws->recv($end - time) or last;
        last if $f->{opcode} == 8;
        $n++ if $f->{opcode} == 2 && substr($f->{payload}, 4, 4) eq 'moof';
    }
    return $n;
}
cmp_ok pictures($here, 50), '>=', 50, 'sees pictures';
cmp_ok pictures($there, 50), '>=', 50, 'sees them too';

# the API may be reloaded, or restarted, while media flows
$a->reload;
ok !$film->closed(0.2), 'a reload of the API nginx leaves media alone';
my $late = ws($m);
$film->play(\@units, fps => 50);
cmp_ok pictures($late, 50), '>=', 50, 'and pictures go on';
is $t->store->value('select count(*) from mdvr.device_state where device_id = ? and online', $id), 1, 'the device is still online';

$_->close for $here, $there, $late;
my $stop = $dev->expect('C508', 10);
is $stop->{body}[4] // '', 0, 'after the last viewer the media nginx has the device told to stop' or note explain $stop->{body};
$dev->answer($stop, 1, 1, '', 0) if $stop;
$t->done;
