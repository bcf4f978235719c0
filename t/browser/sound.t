# Sound and picture in Chromium, for every coding of the protocol's table at once:
# WebRTC and HLS, by the energy of the camera's tone and by pixels; and a
# camera whose sound nobody knows delays nothing.
# alone

use v5.30;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MDVR::Test;
use MDVR::Browser;

my $missing = MDVR::Browser::missing() // MDVR::Browser::no_simulator();
plan skip_all => $missing if $missing;

my @type = (undef, 'G.726-40', 'ADPCM', 'G.726-40 media', 'G.726-32 media', 'G.726-24 media', 'G.726-16 media', 'G.726-32', 'G.726-24', 'G.726-16',
    'A-law', 'u-law', 'an unknown coding');

my $t = MDVR::Test->new;
my $node = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;');
my %id = map { $_ => $t->add_device(sprintf '%05d', $_) } 1 .. 12;
my @daemon = ($t->daemon('mdvr-rtc'), $t->daemon('mdvr-worker', 'sound'));
push @daemon, MDVR::Browser::simulator($t, '--serial', sprintf('%05d', $_), '--interval', 5, '--audio-type', $_) for 1 .. 12;
ok eventually(sub { !grep { !$t->online(sprintf '%05d', $_) } 1 .. 12 }), 'twelve vehicles';
my $api = $t->admin;

for my $way (qw(whep hls)) {
    my %url;
    for my $type (1 .. 12) {
        my $r = $api->post("/devices/$id{$type}/video/start", { channel => 1, stream => 'sub' });
        is $r->{status}, 200, "$way: camera $type starts" or next;
        $url{$type} = $r->{json}{urls}{$way};
    }
    my ($hls) = map { m{([^/]+)$} } glob "$MDVR::Test::TOP/web/dist/hls.light-*.js";
    my $seen = MDVR::Browser->script('sound.mjs', { url => $node->url, way => $way, urls => \%url, hls => "/$hls", silent => 12 });
    my $got = $seen->{seen} // {};
    for my $type (1 .. 12) {
        my $g = $got->{$type} // {};
        cmp_ok $g->{pictures} // 0, '>=', 2, "$way, $type[$type]: pictures that move";
        if ($type < 12) {
            ok +($g->{level} // 0) > 0.02 && abs(($g->{hz} // 0) - 440) < 30,
                sprintf '... and the camera\'s tone (%d Hz, %.3f)', $g->{hz} // 0, $g->{level} // 0;
        } else {
            cmp_ok $g->{level} // 1, '<', 0.005, '... and silence';
        }
    }
    my @first = sort { $a <=> $b } map { $got->{$_}{first_ms} // 99999 } 1 .. 11;
    cmp_ok $got->{12}{first_ms} // 99999, '<', 2 * $first[-1] + 1000, sprintf 'a camera without sound waits for nothing: %d ms, the others %d to %d',
        $got->{12}{first_ms} // -1, $first[0], $first[-1];
    $api->post("/devices/$id{$_}/video/stop", { channel => 1, stream => 'sub' }) for 1 .. 12;
}

$t->daemon_stop($_) for reverse @daemon;
$t->done;
