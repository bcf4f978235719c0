# Talk in Chromium: a tone from the browser's microphone arrives at the vehicle,
# the vehicle's is heard in the browser, by WebRTC and by the WebSocket; and
# what an operator is told when it does not work.
# alone

use v5.30;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MDVR::Test;
use MDVR::Browser;
use POSIX ();
use Time::HiRes qw(time sleep);

my $missing = MDVR::Browser::missing() // (-x "$MDVR::Test::TOP/build/bin/mdvr-sim" ? undef : 'the simulator is not built');
plan skip_all => $missing if $missing;

my $t = MDVR::Test->new;
my $node = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;', media => 'mdvr_media_comeback 2s;', signaling => 'mdvr_signaling_call_wait 20s;');
my $user = $t->user(role => 'technician');
my %id = map { $_ => $t->add_device($_, plate => "34 TALK $_") } qw(00001 00002 00003);
my $rtc = $t->daemon('mdvr-rtc');
ok eventually(sub { -S "$node->{dir}/state/rtc.sock" }), 'mdvr-rtc listens';

# the microphone of the browser: 700 Hz, as loud as speech
my $wav = "$t->{dir}/mic.wav";
system(qw(ffmpeg -v error -nostdin -y -f lavfi -i), "sine=frequency=700:sample_rate=48000:duration=10", '-af', 'volume=12dB', '-ac', 1, $wav) == 0
    or die 'ffmpeg';

mkdir "$t->{dir}/heard";
chmod 0777, "$t->{dir}/heard";                     # the vehicles run as somebody else
my $heard = "$t->{dir}/heard/%s.pcm";
my $orders = "$t->{dir}/heard/orders";
POSIX::mkfifo($orders, 0666);
chmod 0666, $orders;
sub order { my $line = join ' ', @_; open my $out, '>', $orders or die $!; print {$out} "$line\n"; close $out }

sub vehicle { my ($serial, @more) = @_;
    return MDVR::Browser::simulator($t, '--serial', $serial, '--interval', 5, '--talk-tone', 500, '--talk-record', $heard, @more);
}

# G.726 as captured, and A-law; one whose driver refuses
my %sim = (
    '00001' => vehicle('00001', '--audio-type', 1, '--control', $orders), '00002' => vehicle('00002', '--audio-type', 10),
    '00003' => vehicle('00003', '--answer', 'fail', '--answer-code', 4, '--answer-reason', 'not now'),
);
ok eventually(sub { !grep { !$t->online($_) } keys %id }), 'the vehicles are online';

# Loudness of a frequency in what a vehicle heard (Goertzel), as part of all.
sub share { my ($hz, @s) = @_;
    return 0 unless @s;
    my ($c, $x, $y, $all) = (2 * cos(2 * 3.14159265 * $hz / 8000), 0, 0, 1);
    for (@s) { ($x, $y) = ($_ + $c * $x - $y, $x); $all += $_ * $_ }
    return ($x * $x + $y * $y - $c * $x * $y) / (@s / 2) / $all;
}

my $seen = MDVR::Browser->script('talk.mjs', {
    url => $node->url, email => $user->{email}, password => $user->{password}, wav => $wav, ids => \%id,
}, other => sub {
    my ($serial) = @_;
    my $api = $t->login($t->user(role => 'tenant_admin'));
    my $r = $api->post("/devices/$id{$serial}/talk/start", {});
    die "start: $r->{status}" unless $r->{status} == 200;
    $t->{other_ws} = MDVR::WebSocket->new(port => $node->{http_port}, path => $r->{json}{urls}{ws});
}, call => sub { my ($serial, @how) = @_; order($serial, 'call', @how) }, gone => sub { my ($serial) = @_; $t->daemon_stop(delete $sim{$serial}) });

for my $case ([ '00001', 'WebRTC' ], [ '00002', 'WebSocket' ]) {
    my ($serial, $way) = @$case;
    my @s = unpack 's<*', slurp($heard =~ s/%s/$serial/r);
    splice @s, 0, 4000 if @s > 16000;
    my $energy = sqrt((eval { my $e = 0; $e += $_ ** 2 for @s; $e } // 0) / (@s || 1));
    cmp_ok scalar @s, '>', 16000, sprintf '%s: the vehicle heard %.1f s', $way, @s / 8000;
    cmp_ok $energy, '>', 300, sprintf '... of some loudness (%d)', $energy;
    my ($in, $out) = (share(700, @s), share(500, @s));
    cmp_ok $in, '>', 0.5, sprintf '... which is the tone of the browser\'s microphone (%.0f %%)', 100 * $in;
    cmp_ok $out, '<', 0.05, '... and not its own voice';
    ok abs(($seen->{"${way}_hz"} // 0) - 500) < 30, sprintf '%s: the browser heard the vehicle\'s tone (%d Hz, %.3f)', $way, $seen->{"${way}_hz"} // 0,
        $seen->{"${way}_level"} // 0;
    diag sprintf '%s: live %d ms after the click', $way, $seen->{"${way}_ms"} // -1;
}

is $t->value("select count(*) from mdvr.video_session where kind = 'talk' and ended_at is null"), 0, 'nobody has a voice channel any more';
my $metrics = $t->http->request('GET', '/metrics')->{body};
like $metrics, qr/mdvr_talk_ends_total\{reason="$_"\} \d/, "ended: $_" for qw(stopped device_refused);

$t->daemon_stop($_) for values %sim, $rtc;
$t->done;
