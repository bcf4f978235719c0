# A stream that nobody follows is taken in gulps, and no frame is lost by it;
# whoever begins to watch gets each frame when it comes.

use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 1, bus => 'streams=8 ring=4m', media => 'mdvr_media_unseen_stop 60s;');
my $bus = MDVR::Clip::bus($n);
my $clip = MDVR::Clip::make('h264', width => 1280, height => 720, seconds => 4, rate => '2M');
my @units = MDVR::Media::access_units($clip);
my $s = $bus->start('00001');
my $m = $bus->media($s);
my $pid = $m->play_on($clip);

sub frames { return $bus->info($s)->{frames} }

ok eventually(sub { frames() > 40 }), 'pictures come';

# how many values the counter takes in a second: 25 when each frame is read as it comes
my $steps = sub {
    my (%seen, $end);
    $end = time + 2;
    while (time < $end) { $seen{ frames() }++; sleep 0.004 }
    return scalar(keys %seen) / 2;
};
my $alone = $steps->();
cmp_ok $alone, '<', 15, "read together ($alone times a second)";

my $ws = MDVR::WebSocket->new(port => $n->{http_port}, path => '/live/' . $bus->token($t, $s) . '/ws');
my ($t0, @at) = (time);
while (time < $t0 + 3) { my $f = $ws->recv(1) or last; push @at, time }
cmp_ok $at[0] - $t0, '<', 0.5, 'a viewer has its picture at once';
my @late = grep { $_ > $t0 + 1 } @at;
my @gap = map { $late[$_] - $late[ $_ - 1 ] } 1 .. $#late;
my $long = grep { $_ > 0.12 } @gap;
cmp_ok scalar @late, '>=', 45, '25 a second';
cmp_ok $long, '<=', @gap / 10, 'one by one';
$ws->close;

cmp_ok eventually(sub { my $r = $steps->(); $r < 15 ? $r : 0 }, 10), '>', 0, 'together again when it has left';
MDVR::Media::play_stop($pid);
$m->close;

# every frame, also the last ones
$s = $bus->start('00002');
$m = $bus->media($s);
$m->play(\@units, loop => 1, seconds => 6);
ok eventually(sub { frames() == 150 }), 'all 150 frames of 6 s arrive' or diag frames();
$m->close;
$t->done;
