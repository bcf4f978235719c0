# Files to the device and its configuration back: firmware (C152, V106), files
# (C706, V111), configuration both ways (C520, C521, V109); cuts, damage, strangers.

use MDVR::Test;
use Digest::MD5 qw(md5_hex);

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, media => 'mdvr_media_close_wait 1s; mdvr_media_comeback 20s;',
    api => 'mdvr_login_rate 0; mdvr_api_rate 0; mdvr_command_timeout 5s;');
my $id = $t->add_device('00007', channels => 4);
my $api = $t->admin;
my $dev = $t->device('00007')->register;

sub refusals { return $n->metrics->{qq(mdvr_refusals_total{reason="$_[0]"})} // 0 }
sub command { return $api->get("/commands/$_[0]")->{json} }

# A request that is answered when the device has the command: 202, its id, and the command.
sub order {
    my ($keyword, $path, $body) = @_;
    my $p = $api->begin('POST', "/api/v1/devices/$id/$path", $body);
    my $c = $dev->expect($keyword, 10);
    my $r = $p->end;
    return ($r->{json}{id}, $c, $r);
}

sub media { return MDVR::Media->new(port => $n->{media_port}, serial => '00007', session => $_[0]{body}[0]) }

# Blocks from the server until the empty one, or until so many bytes have come.
sub receive {
    my ($m, $at, $most) = @_;
    my ($data, $end) = ('', undef);
    while (my $b = $m->read_message(Time::HiRes::time() + 10)) {
        next unless $b->{type} == 0x6102 || $b->{type} == 0x6302;
        my ($offset, $len) = unpack 'VV', $b->{payload};
        $end = $offset, last if $len == 0;
        $offset == $at + length $data or die "block at $offset, " . ($at + length $data) . ' expected';
        $len <= 4096 && $len == length($b->{payload}) - 8 or die "a block of $len";
        $data .= substr $b->{payload}, 8;
        last if defined $most && length $data >= $most;
    }
    return ($data, $end);
}

sub content { my ($size) = @_; return substr(join('', map { pack 'N', $_ * 2654435761 % 2**32 } 0 .. $size / 4), 0, $size) }

# A file as the body of a request: the same.
sub order_file {
    my ($keyword, $query, $bytes) = @_;
    my $p = $api->begin('POST', "/api/v1/devices/$id/files?$query", $bytes, 'content-type' => 'application/octet-stream');
    my $c = $dev->expect($keyword, 10);
    my $r = $p->end;
    $c or diag $r->{body};
    return ($r->{json}{id}, $c);
}

# --------------------------------------------------------------- firmware

my $image = content(3_000_001);
my $r = $api->request('POST', '/api/v1/firmware?name=app_2.1.img&version=2.1&device_type=4108', $image,
    'content-type' => 'application/octet-stream');
is $r->{status}, 201, 'firmware is uploaded' or diag explain $r;
my $firmware = $r->{json}{id};
is $r->{json}{md5}, md5_hex($image), 'with its MD5';

{
    my ($command, $c, $answer) = order('C152', 'upgrade', { firmware_id => $firmware });
    is $answer->{status}, 202, 'an upgrade is taken';
    is "@{$c->{body}}[1, 2, 5, 6, 7]", length($image) . ' ' . md5_hex($image) . ' app_2.1.img 4108 2.1', 'C152 names it';
    $dev->answer($c, 1, '', '');

    srand 11;
    my ($got, $cuts) = ('', 0);
    while ($cuts < 5) {
        my $m = media($c);
        is $m->register('V106', 'app_2.1.img', length $got, ''), 1, 'V106 from ' . length $got;
        my ($data) = receive($m, length $got, 100_000 + int rand 500_000);
        $got .= $data;
        $cuts++;
        $cuts % 2 ? $m->close : $m->reset;
    }
    my $m = media($c);
    $m->register('V106', length $got, '');                       # as documented: no name
    my ($data, $end) = receive($m, length $got);
    $got .= $data;
    is $end, length $image, 'the empty block has the size as its offset';
    is md5_hex($got), md5_hex($image), 'cut five times, the image arrives bit-exact';
    $m->send(0x6501, pack 'vv', 1, 0);
    ok $m->expect(0x6105, 5), '0x6501 is answered by 0x6105';
    $m->close;
    $dev->answer($c, 3, '', '');
    $dev->answer($c, 4, '', '');
    my $row = eventually(sub { my $j = command($command); $j->{status} eq 'acknowledged' && $j });
    ok $row, 'the upgrade is done';
    is_deeply [ grep { defined } map { $_->{success} } @{ $row->{progress} } ], [ 1, 3, 4 ], 'its progress was kept';
    ok eventually(sub { command($command)->{transferred_bytes} == length $image }), 'and how far it came';
}

# ------------------------------------------------------- files, configuration

{
    my $bytes = content(10_000);
    my ($command, $c) = order('C706', 'commands', { type => 'file_push',
        params => { name => 'logo.jpg', kind => 'picture', content_base64 => MIME::Base64::encode_base64($bytes, '') } });
    is "@{$c->{body}}[1, 2, 5]", length($bytes) . ' ' . md5_hex($bytes) . ' logo.jpg', 'C706';
    $dev->answer($c, 1, '', '');
    my $m = media($c);
    is $m->register('V111', ''), 1, 'V111';
    my ($data) = receive($m, 0);
    ok $data eq $bytes, 'the file arrives';
    $m->send(0x6501, pack 'vv', 1, 0);
    ok $m->expect(0x6105, 5), '... and its end';
    $m->close;
    $dev->answer($c, 3, '', '');
    $dev->answer($c, 4, '', '');
    ok eventually(sub { command($command)->{status} eq 'acknowledged' }), 'the device has it';
    ok eventually(sub { !-e "$n->{dir}/state/push/$command" }), 'the staged copy is gone';

    my $big = content(2_500_001);
    ($command, $c) = order_file('C706', 'name=voice.zip&kind=stop_announcement', $big);
    is "@{$c->{body}}[1, 2, 5]", length($big) . ' ' . md5_hex($big) . ' voice.zip', 'an uploaded file';
    $dev->answer($c, 1, '', '');
    $m = media($c);
    is $m->register('V111', ''), 1, 'V111';
    ($data) = receive($m, 0);
    is md5_hex($data), md5_hex($big), '... arrives';
    $m->send(0x6501, pack 'vv', 1, 0);
    ok $m->expect(0x6105, 5), '... to its end';
    $m->close;
    $dev->answer($c, 4, '', '');
    ok eventually(sub { command($command)->{status} eq 'acknowledged' }), 'the device has it';
    is_deeply command($command)->{params}, { name => 'voice.zip', kind => 'stop_announcement', size => length $big, md5 => md5_hex($big) },
        '... and no path is shown' or diag explain command($command);
    ok eventually(sub { !glob "$n->{dir}/state/push/*" }), 'nothing of it stays';
    for my $case ([ 422, 'name=a.bin&kind=virus' ], [ 422, 'kind=picture' ], [ 422, 'name=a.bin' ], [ 422, 'name=a,b&kind=picture' ]) {
        my $r = $api->clone->request('POST', "/api/v1/devices/$id/files?$case->[1]", 'x', 'content-type' => 'application/octet-stream');
        is $r->{status}, $case->[0], "... $case->[1]: refused";
    }
    is $api->clone->request('POST', "/api/v1/devices/$id/files?name=a&kind=other", '', 'content-type' => 'application/octet-stream')->{status}, 400,
        '... nor an empty one';

    ($command, $c) = order('C706', 'commands', { type => 'file_push',
        params => { name => 'a.bin', kind => 'other', content_base64 => MIME::Base64::encode_base64($bytes, '') } });
    $dev->answer($c, 1, '', '');
    $m = media($c);
    $m->register('V111', '');
    receive($m, 0);
    my $before = refusals('file_checksum');
    $m->send(0x6501, pack 'vv', 0, 13);
    ok $m->expect(0x6105, 5), 'damage ends the session, too';
    my $row = eventually(sub { my $j = command($command); $j->{status} eq 'failed' && $j });
    is $row->{error_code}, '13', 'a file that the device found damaged has failed';
    like $row->{error} . $row->{reason}, qr/checksum.*damaged/s, '... in words';
    is refusals('file_checksum'), $before + 1, '... and is counted';
    $m->close;
}
{
    my $bytes = content(5000);
    my ($command, $c) = order_file('C520', 'name=fleet.cfg&kind=config', $bytes);
    $dev->answer($c, 1, '', '');
    my $m = media($c);
    is $m->register('V109', 'C520', 0, 1000, '', '', '', ''), 1, 'V109 with an offset';
    my ($data) = receive($m, 1000);
    ok $data eq substr($bytes, 1000), 'the rest of the configuration';
    ok $m->expect(0x6105, 5), '... and its end';
    $m->close;
    $dev->answer($c, 2, 13, 'file damaged');
    my $row = eventually(sub { my $j = command($command); $j->{status} eq 'failed' && $j });
    is "$row->{error_code} $row->{reason}", '13 file damaged', 'an MD5 that does not fit is told';
}
for my $case ([ 'as it is', 0 ], [ 'damaged', 1 ]) {
    my ($what, $damaged) = @$case;
    my $bytes = "[device]\nplate=B\n" x 500;
    my ($command, $c) = order('C521', 'commands', { type => 'config_pull', params => {} });
    $dev->answer($c, 1, '', '');
    my $m = media($c);
    is $m->register('V109', 'C521', 1, '', length $bytes, 'fleet.cfg', md5_hex($bytes), ''), 1, "a configuration comes, $what";
    $m->block(0, substr($bytes, 0, 4096), 0x6301);
    $m->close, $m = media($c), $m->register('V109', 'C521', 1, '', length $bytes, 'fleet.cfg', md5_hex($bytes), ''),
        $m->block(0, substr($bytes, 0, 4096), 0x6301) unless $damaged;                   # cut once
    $m->block(4096, $damaged ? 'x' . substr($bytes, 4097) : substr($bytes, 4096), 0x6301);
    $m->block(length $bytes, '', 0x6301);
    ok $m->expect(0x6105, 5), '... to its end';
    $m->close;
    if ($damaged) {
        my $row = eventually(sub { my $j = command($command); $j->{status} eq 'failed' && $j });
        like $row->{reason}, qr/checksum/, 'its MD5 is compared';
        is $t->value('select count(*) from mdvr.file where command_id = ?', $command), 0, '... and nothing is kept';
        is $api->get("/commands/$command/file")->{status}, 404, '... nor handed out';
        next;
    }
    my $row = eventually(sub {
        my $f = $t->row("select encode(md5, 'hex') as md5, name, size_bytes from mdvr.file where command_id = ?", $command);
        $f->{md5} && $f });
    is "$row->{md5} $row->{name} $row->{size_bytes}", md5_hex($bytes) . ' fleet.cfg ' . length $bytes, 'it is kept';
    my $got = $api->clone->request('GET', "/api/v1/commands/$command/file");
    is $got->{body}, $bytes, '... and handed out';
    is $got->{headers}{'content-disposition'}, 'attachment; filename="fleet.cfg"', '... by its name';
    is $t->value("select count(*) from mdvr.audit where action = 'command.file' and object_id = ?", $command), 1, '... which is written down';
}

# ------------------------------------------------------------------ strangers

{
    my $big = $api->request('POST', '/api/v1/firmware?name=big.img&version=3&device_type=4108', $image x 6,
        'content-type' => 'application/octet-stream')->{json}{id};
    my ($command, $c) = order('C152', 'upgrade', { firmware_id => $big });
    $dev->answer($c, 1, '', '');
    for my $case (
        [ 'session_serial', 0x1002, 'another device', '00008', 'V106', 'x', 0, '' ],
        [ 'session_kind', 0x1001, 'another kind', '00007', 'V111', '' ],
        [ 'session_kind', 0x1001, 'a file from the device', '00007', 'V103', 5, '/x', '' ],
        [ 'file_offset', 0x1003, 'an offset past the end', '00007', 'V106', 'app', 18_000_007, '' ],
    ) {
        my ($reason, $code, $what, $serial, @reg) = @$case;
        my $before = refusals($reason);
        my $m = MDVR::Media->new(port => $n->{media_port}, serial => $serial, session => $c->{body}[0]);
        is $m->register(@reg), 0, "$what: refused";
        is $m->{reason}, $code, '... with a reason';
        ok eventually(sub { refusals($reason) == $before + 1 }), "... and counted as $reason";
        $m->close;
    }
    for my $case ([ 'media_type', sub { $_[0]->send(0x6011, 'x' x 20) } ], [ 'media_payload', sub { $_[0]->send(0x6501, 'x') } ],
        [ 'file_short', sub { $_[0]->send(0x6501, pack 'vv', 1, 0) } ])
    {
        my ($reason, $do) = @$case;
        my $before = refusals($reason);
        my $m = media($c);
        setsockopt $m->{sock}, Socket::SOL_SOCKET(), Socket::SO_RCVBUF(), 4096;
        $m->register('V106', 'app', 0, '');
        $do->($m);
        ok eventually(sub { refusals($reason) == $before + 1 }), "$reason while a file is sent" or diag $n->log;
        $m->close;
    }
    my $before = refusals('file_missing');
    my $m = MDVR::Media->new(port => $n->{media_port}, serial => '00007', session => '');
    is $m->register('V112', '', 0, '', 'logo.jpg'), 0, 'a file that nobody offers';
    is $m->{reason}, 0x1003, '... does not exist';
    is refusals('file_missing'), $before + 1, '... counted';
    $m->close;

    my $busy = $api->post("/devices/$id/video/start", { channel => 1, stream => 'sub' });
    is "$busy->{status} $busy->{json}{code}", '409 device_busy', 'nothing else runs beside an upgrade';
    like $busy->{json}{detail}, qr/upgrade/, '... which is named';
    $dev->answer($c, 7, 7, 'no');
    ok eventually(sub { command($command)->{status} eq 'failed' }), 'until it is over';
}

# --------------------------------------------------- several at once, the simulator

SKIP: {
    skip 'the simulator is not built', 2 unless -x 'build/bin/mdvr-sim';
    require MDVR::Center;
    my @id = map { $t->add_device("DEMO$_", channels => 4) } 1 .. 6;
    my $sim = MDVR::Center->new;
    $sim->sim('--signal-port', $n->{signal_port}, '--devices', 6, '--serial-format', 'DEMO%u', '--interval', 5, '--retry', 1,
        '--channels', 4);
    ok eventually(sub { 6 == grep { $t->online("DEMO$_") } 1 .. 6 }), 'six simulated vehicles';
    my $r = $api->request('POST', '/api/v1/firmware?name=sim.img&version=9.1&device_type=4100', $image,
        'content-type' => 'application/octet-stream');
    my @commands = map { $api->post("/devices/$_/upgrade", { firmware_id => $r->{json}{id} })->{json}{id} } @id;
    ok eventually(sub { 6 == grep { command($_)->{status} eq 'acknowledged' } @commands }, 30), 'are upgraded at the same time'
        or diag explain [ map { command($_) } @commands ];
    my $stats = $sim->end;
    is $stats->{files_received}, 6, 'each has a good image';
}

# ------------------------------------------------ what a killed nginx has left

my $left = "$n->{dir}/state/push";
for my $file ("$left/old.up", "$left/new.up", "$left/old") { open my $fh, '>', $file or die "$file: $!"; close $fh }
utime time - 7200, time - 7200, "$left/old.up", "$left/old";
$n->reload;
ok eventually(sub { !-e "$left/old.up" }), 'an upload that was left is removed when a worker starts';
ok -e "$left/new.up" && -e "$left/old", '... not one that may be going on, nor a file of a command';

$t->done;
