# Talk over the WebSocket with a recorder on the wire: both ways, in every
# coding, and what goes wrong.

use MDVR::Test;
use MDVR::Clip;
use MDVR::WebSocket;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;', media => 'mdvr_media_talk_idle 700ms;');
my $id = $t->add_device('00007');
my $api = $t->admin;
my $start = "/api/v1/devices/$id/talk/start";

sub sine { my ($hz, $n, $at) = @_; return map { int 9000 * sin(2 * 3.14159265 * $hz * ($_ + ($at // 0)) / 8000) } 0 .. $n - 1 }

# Energy of a frequency (Goertzel), as part of all energy.
sub share { my ($hz, @s) = @_;
    return 0 unless @s;
    my ($c, $a, $b, $all) = (2 * cos(2 * 3.14159265 * $hz / 8000), 0, 0, 1);
    for (@s) { ($a, $b) = ($_ + $c * $a - $b, $a); $all += $_ * $_ }
    return ($a * $a + $b * $b - $c * $a * $b) / (@s / 2) / $all;
}

sub alaw_decode { my ($v) = @_;
    $v ^= 0x55;
    my $m = ($v & 15) << 4 | 8;
    my $e = $v >> 4 & 7;
    $m = ($m | 256) << $e - 1 if $e;
    return $v & 0x80 ? $m : -$m;
}

sub alaw { my ($s) = @_;
    my $sign = $s >= 0 ? 0x80 : 0;
    $s = $s >= 0 ? $s : -$s - 1;
    my $exp = 7;
    for (my $m = 0x4000; $exp > 0 && !($s & $m); $m >>= 1) { $exp-- }
    return chr((($exp << 4 | ($s >> ($exp ? $exp + 3 : 4)) & 15) | $sign) ^ 0x55);
}

sub params { my ($type, $length) = @_; return pack('VVv', 0x60000001, $type, $length) . "\0" x 502 }

# Starts a talk: the recorder answers C550 and connects.  Returns the answer, the media connection and the command.
sub talk { my ($dev, %o) = @_;
    my $p = $o{api} // $api;
    my $r = $p->begin('POST', $start, { %{ $o{body} // {} } });
    my $c = $dev->expect($o{keyword} // 'C550', 5) or return $r->end;
    my $m = $dev->media($c, connect_only => 1);
    $m->register('V105', $c->{keyword}, 1, 8000, 16, $o{format} // 2, $o{length} // 320, 2, '', 'ZH 4711');
    $dev->answer($c, 1, '', '');
    return ($r->end, $m, $c);
}

sub socket_of { my ($r, $query) = @_; return MDVR::WebSocket->new(port => $n->{http_port}, path => $r->{json}{urls}{ws} . ($query // '')) }

# The next text message of a socket that says a state.
sub state_of { my ($ws, $state, $seconds) = @_;
    my $end = time + ($seconds // 5);
    while (time < $end) {
        my $f = $ws->recv($end - time) or return undef;
        return json_of($f->{payload}) if $f->{opcode} == 1 && $f->{payload} =~ /"state":"$state"/;
    }
}

sub ends { my ($id) = @_; return $t->value('select end_reason from mdvr.video_session where id = ?', $id) // 'open' }

my $r = $api->post("/devices/$id/talk/start", {});
is "$r->{status} $r->{json}{code}", '409 device_offline', 'a device that is not there: 409 device_offline';
ok eventually(sub { $t->value("select count(*) from mdvr.video_session where ended_at is null") == 0 }), '... and nobody has its voice channel';
is $api->post("/devices/$id/talk/start", { channel => 2 })->{status}, 422, 'a talk has no camera';

my $dev = $t->device('00007');
$dev->register;

# one that agrees and never connects: nobody knows that before 20 s, so it begins now
my $never = $t->add_device('00009');
my $lazy = $t->device('00009');
$lazy->register;
my $calling = $api->begin('POST', "/api/v1/devices/$never/talk/start", {});
$lazy->answer($lazy->expect('C550'), 1, '', '');
$calling = $calling->end;
is "$calling->{status} $calling->{json}{status}", '200 starting', 'a device that agrees';

# ------------------------------------------------------------- both ways, G.711

{
    my ($r, $m, $c) = talk($dev);
    is $r->{status}, 200, 'a talk starts';
    is join(',', @{ $c->{body} }[1 .. 4]), '1,,2,0', 'C550: the intercom';
    is "$r->{json}{mode} $r->{json}{duplex}", 'talk full', 'the answer says what it is';
    like $r->{json}{urls}{$_}, qr{^/live/\Q$r->{json}{token}\E/$_$}, "... and where: $_" for qw(ws whep);
    $m->send(0x6401, params(10, 320));
    my $p = $m->expect(0x6401, 3);
    is join(',', unpack 'VVv', $p->{payload}), join(',', 0x60000001, 10, 320), 'the device\'s parameters are mirrored';
    is length $p->{payload}, 512, '... in 512 bytes';

    my $ws = socket_of($r);
    is $ws->{status}, 101, 'the operator connects';
    is state_of($ws, 'starting')->{coding}, 'pcm', 'and learns the coding';
    ok state_of($ws, 'live'), 'the device is there';

    # device -> operator
    my @heard;
    for my $i (0 .. 24) {
        $m->send(0x6411, pack('Q<', 1_000_000 + 40_000 * $i) . pack('CCCC', 0, 1, 160, 0) . join '', map { alaw($_) } sine(440, 320, 320 * $i));
    }
    while (my $f = $ws->recv(0.5)) { push @heard, unpack 's<*', $f->{payload} if $f->{opcode} == 2 }
    is scalar @heard, 8000, 'a second of the device\'s voice arrives';
    cmp_ok share(440, @heard), '>', 0.9, '... as it was said';

    # operator -> device
    my $t0 = time;
    for my $i (0 .. 49) {
        $ws->frame(2, pack 's<*', sine(700, 160, 160 * $i));
        my $wait = $t0 + $i / 50 - time;
        sleep $wait if $wait > 0;
    }
    my (@got, @stamp, @at);
    while (my $f = $m->expect(0x6411, 0.5)) {
        my ($us, $h) = unpack 'Q<a4', $f->{payload};
        is unpack('H*', $h), '0001a000', 'with the voice header of the device\'s own frames' unless @got;
        push @stamp, $us;
        push @got, map { alaw_decode($_) } unpack 'x12C*', $f->{payload};
    }
    cmp_ok scalar @got, '>=', 320 * 22, 'the operator\'s voice arrives at the device (' . @got / 320 . ' frames)';
    cmp_ok share(700, @got), '>', 0.9, '... as it was said';
    is join(',', map { $_ - $stamp[0] } @stamp[0 .. 3]), '0,40000,80000,120000', '... in frames of 40 ms';

    # a report for what came
    ok $m->expect(0x6403, 4), 'the device is told what arrived';

    # a viewer's token does not open it, a tampered one neither
    my $token = $r->{json}{token};
    is $t->http->request('GET', "/live/$token/index.m3u8")->{status}, 404, 'a talk is no film';
    is $t->http->request('GET', '/live/' . ($token =~ s/^(.{30})./$1 . ($token =~ m{^.{30}A} ? 'B' : 'A')/er) . '/ws')->{status}, 401, 'a token that was changed is refused';

    # a second talker
    my $other = $t->admin;
    my $busy = $other->post("/devices/$id/talk/start", {});
    is "$busy->{status} $busy->{json}{code}", '409 device_busy', 'a second talker is refused';
    like $busy->{json}{detail}, qr/has the device's voice channel since 20/, '... and told who is in the way';
    is $api->post("/devices/$id/talk/start", {})->{json}{session_id}, $r->{json}{session_id}, 'one\'s own talk is shared';
    is scalar(grep { $_->{kind} eq 'talk' && $_->{channel} == 0 && $_->{device_id} eq $id } @{ $api->get('/video/sessions')->{json}{items} }), 1, 'it is listed';
    ok !$dev->expect('C550', 0.2), '... and the device is not asked again';

    # force takes over
    my ($taken, $m2, $c2) = talk($dev, api => $other, body => { force => JSON::PP::true() });
    is $taken->{status}, 200, 'with force it begins';
    is $ws->closed(4) . " $ws->{close_reason}", '4410 replaced', '... and the first one\'s ends';
    is ends($r->{json}{session_id}), 'replaced', '... for that reason';
    ok !$dev->expect('C550', 0.3), 'the device is not told to stop the new one';
    $m->close;
    my $ws2 = socket_of($taken);
    $m2->send(0x6401, params(10, 320));
    ok state_of($ws2, 'live'), 'the second one talks';

    # stop
    is $other->post("/devices/$id/talk/stop", {})->{status}, 204, 'hanging up';
    my $stop = $dev->expect('C550', 3);
    is $stop && join(',', @{ $stop->{body} }[ 0, 1 ]), "$c2->{body}[0],0", 'the device is told';
    $dev->answer($stop, 2, '', '');
    is $ws2->closed(3) . " $ws2->{close_reason}", '1000 stopped', 'the operator\'s socket is closed';
    $m2->close;
    is scalar(grep { $_->{action} =~ /^talk/ } @{ $api->get('/audit?action=talk.start')->{json}{items} }), 4, 'each start is audited';
}

# ------------------------------------------------ the old layout, other codings

for my $case ([ 1, 200, 4 ], [ 7, 160, 4 ], [ 2, 164, 3 ], [ 11, 320, 2 ]) {
    my ($type, $length, $format) = @$case;
    my ($r, $m) = talk($dev, format => $format, length => $length);
    $m->send(0x6401, params($type, $length));
    is((unpack 'VVv', $m->expect(0x6401, 3)->{payload})[1], $type, "type $type is mirrored");
    my $ws = socket_of($r, '?coding=ulaw');
    state_of($ws, 'live');
    $m->send(0x6402, pack('VQ<', $length, 5) . "\0" x $length) for 1 .. 3;        # no voice header
    my $f;
    do { $f = $ws->recv(3) } while $f && $f->{opcode} != 2;
    ok $f && length $f->{payload} == 320, '... and decoded';
    $ws->frame(2, "\x90\x10" x 80) for 1 .. 12;
    my $out = $m->expect(0x6402, 3);
    ok $out && unpack('V', $out->{payload}) == $length, 'the old layout is answered in the old layout'
        or diag $out ? unpack 'H*', $out->{payload} : 'nothing came';
    $ws->close;
    my $stop = $dev->expect('C550', 5);
    is $stop && $stop->{body}[1], 0, 'the last one hangs up: the device is told';
    $dev->answer($stop, 2, '', '') if $stop;
    $m->close;
    ok eventually(sub { ends($r->{json}{session_id}) eq 'no_viewers' }), '... and the session ends';
}

# ---------------------------------------------------------------- half duplex

{
    my ($r, $m) = talk($dev, body => { duplex => 'half' });
    $m->send(0x6401, params(10, 320));
    my $ws = socket_of($r);
    state_of($ws, 'live');
    $ws->frame(2, pack 's<*', (0) x 160) for 1 .. 10;
    ok !$m->expect(0x6411, 0.4), 'half duplex: silence is not sent';
    my $frame = sub { $m->send(0x6411, pack('Q<', 9) . pack('CCCC', 0, 1, 160, 0) . "\x95" x 320) };
    $frame->();
    my $f;
    do { $f = $ws->recv(2) } while $f && $f->{opcode} != 2;
    ok $f, 'while nobody speaks the device is heard';
    $ws->frame(2, pack 's<*', sine(700, 160)) for 1 .. 6;
    ok $m->expect(0x6411, 2), 'the operator speaks';
    $frame->();
    ok !$ws->recv(0.2), '... and the device is not heard meanwhile';
    $m->send(0x6404);
    is $ws->closed(3), 1000, 'the person in the vehicle hangs up';
    is $ws->{close_reason}, 'hung_up', '... which is the reason';
    ok eventually(sub { ends($r->{json}{session_id}) eq 'hung_up' }), 'the session says so, too';
    ok !$dev->expect('C550', 0.3), 'nobody has to tell the device';
    $m->close;
}

# --------------------------------------------------------------------- listen

{
    my ($r, $m, $c) = talk($dev, keyword => 'C551', body => { mode => 'listen', channel => 2 });
    is join(',', @{ $c->{body} }[1 .. 4]), '1,1,1,0', 'C551: the microphone of camera 2';
    my $ws = socket_of($r);
    is state_of($ws, 'starting')->{mode}, 'listen', 'a listener';
    $m->send(0x6411, pack('Q<', 9) . pack('CCCC', 0, 1, 160, 0) . "\x95" x 320);
    ok state_of($ws, 'live'), 'hears the device';
    $ws->frame(2, pack 's<*', sine(700, 160)) for 1 .. 10;
    ok !$m->expect(0x6411, 0.4), 'and cannot be heard';
    ok !$m->expect(0x6401, 2), 'a device that begins by itself is not greeted';
    $ws->close;
    my $stop = $dev->expect('C551', 5);
    $dev->answer($stop, 2, '', '') if $stop;
    $m->close;
}

# ------------------------------------------------------------------- bad days

{
    my $r = $api->begin('POST', $start, {});
    my $c = $dev->expect('C550');
    $dev->answer($c, 0, 4, 'the driver said no');
    $r = $r->end;
    is "$r->{status} $r->{json}{code}", '409 device_refused', 'the device refuses: 409';
    like $r->{json}{detail}, qr/the driver said no/, '... in its own words';
    ok eventually(sub { $t->value('select count(*) from mdvr.video_session where ended_at is null and device_id = ?', $id) == 0 }), '... and its channel is free';
}

{
    my $r = $api->begin('POST', $start, {});
    my $c = $dev->expect('C550');
    $dev->answer($c, 1, '', '');
    $r = $r->end;
    is "$r->{status} $r->{json}{status}", '200 starting', 'a device that agrees';
    my $m = $dev->media($c, connect_only => 1);
    is $m->register('V105', 'C550', 1, 8000, 16, 1, 32, 2, '', 'ZH'), 0, '... but speaks AMR is refused';
    my $ws = socket_of($r);
    like $ws->{status}, qr/^404|101$/, 'the operator';
    is $ws->{status} == 101 ? $ws->closed(3) : 4410, 4410, '... is told';
    ok eventually(sub { ends($r->{json}{session_id}) eq 'unsupported' }), 'why: unsupported';
    $m->close;
    my $stop = $dev->expect('C550', 2);
    $dev->answer($stop, 2, '', '') if $stop;
}

{
    my ($r, $m) = talk($dev);
    my $ws = socket_of($r);
    $m->send(0x6401, params(10, 320));
    state_of($ws, 'live');
    $m->send(0x6411, pack('Q<', 9) . "\x95" x 320);
    $ws->frame(2, pack 's<*', sine(700, 160)) for 1 .. 6;
    my $f = $m->expect(0x6411, 2);
    is $f && length $f->{payload}, 328, 'no voice header for a device that has none';
    $ws->frame(2, 'x' x 4000) for 1 .. 40;                       # 80 000 samples at once
    my $bytes = 0;
    while (my $f = $m->expect(0x6411, 1)) { $bytes += length($f->{payload}) - 8 }
    cmp_ok $bytes, '<=', 3200 + 8 * 300, 'what comes all at once is dropped but for the newest 0.4 s';
    $m->close;
    ok state_of($ws, 'starting'), 'the line breaks: the operator is told';
    my $c = { keyword => 'C550', body => [ $f ? $m->{session} : '', 1, '', 2, 0, '127.0.0.1', $n->{media_port} ] };
    my $m2 = $dev->media($c, connect_only => 1);
    is $m2->register('V105', 'C550', 1, 8000, 16, 2, 320, 2, '', 'ZH'), 1, 'the device may return to the session';
    $m2->send(0x6401, params(10, 320));
    ok state_of($ws, 'live'), 'and the talk goes on';
    $m2->send(0x6102, pack 'VV', 0, 0);
    ok $m2->closed(3), 'a file on a talk is refused';
    $m2->close;

    # the operator signs out
    my $who = $t->admin;
    (my $r2, $m, $c) = talk($dev, api => $who, body => { force => JSON::PP::true() });
    $m->send(0x6401, params(10, 320));
    $ws = socket_of($r2);
    state_of($ws, 'live');
    my $t0 = time;
    $who->post('/auth/logout', {});
    is $ws->closed(5), 4401, 'who signs out talks no longer';
    my $stop = $dev->expect('C550', 5);
    is $stop && $stop->{body}[1], 0, '... and the device is told to stop';
    cmp_ok time - $t0, '<', 5, sprintf '... %.1f s later', time - $t0;
    $dev->answer($stop, 2, '', '') if $stop;
    $m->close;
}

{
    my $r = $api->begin('POST', $start, {});
    my $c = $dev->expect('C550');
    $dev->answer($c, 1, '', '');
    $r = $r->end;
    my $m = $dev->media($c, connect_only => 1, serial => '00008');
    is $m->register('V105', 'C550', 1, 8000, 16, 2, 320, 2, '', 'ZH'), 0, 'another device\'s registration is refused';
    is $m->{reason}, 0x1002, '... as that';
    $m->close;
    is $api->post("/devices/$id/talk/stop", {})->{status}, 204, 'a talk that never began is stopped';
    my $stop = $dev->expect('C550', 3);
    is $stop && $stop->{body}[1], 0, '... at the device, too';
    $dev->answer($stop, 2, '', '') if $stop;
    is $api->post("/devices/$id/talk/stop", {})->{status}, 204, 'stopping twice is no error';
}

ok eventually(sub { $t->value("select end_reason from mdvr.video_session where id = ?", $calling->{json}{session_id}) }, 15),
    'the one that agreed and never connected';
is $t->http->request('GET', $calling->{json}{urls}{ws})->{json}{code}, 'no_media', '... is given up, and the operator told why';
is join(',', @{ ($lazy->expect('C550', 2) // { body => [] })->{body} }[1]), 0, '... and the device';

is $t->http(token => $t->user(role => 'client_user')->{token} // '')->request('POST', $start, {})->{status}, 401, 'without a token nobody talks';
my $client = $t->login($t->user(role => 'client_user'));
is $client->post("/devices/$id/talk/start", {})->{status}, 403, 'who may only watch may not talk';

my $metrics = $t->http->request('GET', '/metrics')->{body};
like $metrics, qr/mdvr_talk_frames_in_total \d*[1-9]/, 'voice of devices is counted';
like $metrics, qr/mdvr_talk_frames_out_total \d*[1-9]/, 'and to devices';
like $metrics, qr/mdvr_talk_ends_total\{reason="hung_up"\} 1/, 'ends by their reasons';
like $metrics, qr/mdvr_refusals_total\{reason="$_"\} \d/, "refused: $_" for qw(talk_codec talk_busy talk_flood);

# the tenant is suspended in the middle of a talk

{
    my ($r, $m) = talk($dev);
    $m->send(0x6401, params(10, 320));
    my $ws = socket_of($r);
    ok state_of($ws, 'live'), 'a last talk';
    my $t0 = time;
    is $t->super_admin->patch('/tenants/' . $t->tenant('A'), { status => 'suspended' })->{status}, 200, 'the tenant is suspended';
    is $ws->closed(6), 4401, '... which ends it';
    cmp_ok time - $t0, '<', 5, sprintf '... %.1f s later', time - $t0;
    ok eventually(sub { ends($r->{json}{session_id}) ne 'open' }), '... and gives the channel back';
    $m->close;
}

$_->close for $dev, $lazy;
$t->done;
