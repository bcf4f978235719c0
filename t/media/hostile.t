# Hostile and broken media peers: each is closed with a counted reason, and a
# stream beside them does not notice.

use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 1, media => 'mdvr_media_register_timeout 2s; mdvr_media_live_timeout 2s; mdvr_media_stall 1500ms;'
    . ' mdvr_media_unregistered 40; mdvr_media_close_wait 1s;');
my $bus = MDVR::Clip::bus($n);
my $clip = MDVR::Clip::make('h264', seconds => 4);
my @units = MDVR::Media::access_units($clip);

my $good = $bus->start('00001', seconds => 60);
my $view = $bus->view($good, 120);
my $m = $bus->media($good);
my $player = $m->play_on($clip);

sub refusals { my ($reason) = @_; return $n->metrics->{qq(mdvr_refusals_total{reason="$reason"})} // 0 }
sub msg { return MDVR::Media::binary(@_) }
sub video { my ($type, $data, $us) = @_; return msg($type, pack('Q<', $us // 0) . $data) }

# ------------------------------------------- before a session is bound
# reason, 0x6000's reason (undef: none is sent), what, bytes

my $s = $bus->start('00002', seconds => 60);
my $file = $bus->start('00002', seconds => 60, kind => 2);

sub text { my ($kw, %o) = @_;
    my $m = bless { serial => $o{serial} // '00002', session => $o{session} // $s->{session}, host => '127.0.0.1', port => 1 }, 'MDVR::Media';
    return $m->registration($kw, @{ $o{fields} // [ 'C508', 0, 1, '' ] }) }

my $seven = text('V102');
for my $case (
    [ 'media_syntax', undef, 'junk', "GET / HTTP/1.1\r\n\r\n" ],
    [ 'media_syntax', undef, 'NULs', "\0" x 100 ],
    [ 'unregistered', undef, 'a frame without a registration', video(0x6011, $units[0]{data}) ],
    [ 'unregistered', undef, 'a length of 0xFFFFFFFF', pack('a2vV', '@@', 0x6011, 0xFFFFFFFF) ],
    [ 'legacy', undef, 'the old form of the registration', substr $seven, 2 ],
    [ 'legacy', undef, 'the old binary form', '$$$$$$dc' . pack('VvvV', 8, 0x6001, 1, 0) . '####' ],
    [ 'unknown_session', 0x1001, 'a session nobody asked for', text('V102', session => '12345678') ],
    [ 'session_serial', 0x1002, 'someone else\'s session', text('V102', serial => '00001') ],
    [ 'session_kind', 0x1001, 'another channel', text('V102', fields => [ 'C508', 3, 1, '' ]) ],
    [ 'session_kind', 0x1001, 'the main stream instead of the sub', text('V102', fields => [ 'C508', 0, 0, '' ]) ],
    [ 'session_kind', 0x1001, 'a talk for a live session', text('V105', fields => [ 'C550', 1, 8000, 16, 4, 200, 2, '', '' ]) ],
    [ 'session_kind', 0x1001, 'live video for a file session', text('V102', session => $file->{session}) ],
    [ 'media_registration', 0x1001, 'a keyword that registers nothing', text('V114') ],
    [ 'media_registration', 0x1001, 'a session id with SQL in it', text('V102', session => q(1'; drop table x; --) x 5) ],
    [ 'unknown_session', 0x1001, 'a path as session id', text('V102', session => '../../etc/passwd') ],
    [ 'media_registration', 0x1001, 'a channel that is no number', text('V102', fields => [ 'C508', 'x', 1, '' ]) ],
) {
    my ($reason, $answer, $what, $bytes) = @$case;
    my $before = refusals($reason);
    my $p = MDVR::Media->new(port => $n->{media_port});
    $p->send_raw($bytes);
    if (defined $answer) {
        my $r = $p->expect(0x6000, 3);
        is $r ? join(' ', unpack 'VV', $r->{payload}) : 'nothing', "0 $answer", "$what: refused";
    }
    ok $p->closed(4), "$what: closed";
    ok eventually(sub { refusals($reason) == $before + 1 }), "counted as $reason" or diag $n->log;
    $p->close;
}

{
    my $p = MDVR::Media->new(port => $n->{media_port});
    ok $p->closed(6), 'who says nothing is closed';
    is refusals('register_timeout'), 1, 'and counted';
}
{
    my $p = MDVR::Media->new(port => $n->{media_port});
    for (split //, substr $seven, 0, 20) { $p->send_raw($_); sleep 0.2 }
    ok $p->closed(4), 'who registers byte by byte without end, too';
}

# ------------------------------------------------- with a session bound
# reason, what, sub that gets the connection; the session it leaves

my $next = 100;
my $mib = "\xff" x 1048576;
for my $case (
    [ 'media_syntax', 'rubbish three times', sub { my ($p) = @_;
        for (1 .. 3) { $p->send_raw("rubbish" . video(0x6011, $units[0]{data})) } } ],
    [ 'media_syntax', 'a MiB of rubbish', sub { $_[0]->send_raw($mib . 'x' x 100) } ],
    [ 'media_length', 'a length of 0xFFFFFFFF', sub { my ($p) = @_;
        $p->iframe(0, $units[0]{data}); $p->send_raw(pack('a2vV', '@@', 0x6011, 0xFFFFFFFF)) } ],
    [ 'media_syntax', 'rubbish and then silence', sub { my ($p) = @_; $p->iframe(0, $units[0]{data}); $p->send_raw('rubbish') } ],
    [ 'media_type', 'unknown types', sub { my ($p) = @_; for (1 .. 3) { $p->send(0x6666, 'x'); $p->iframe(0, $units[0]{data}) } } ],
    [ 'media_payload', 'a frame without a time stamp', sub { $_[0]->send(0x6011, 'abc') } ],
    [ 'media_type', 'a file block in a live session', sub { $_[0]->block(0, 'x' x 100) } ],
    [ 'media_type', 'the server\'s own message', sub { $_[0]->send(0x6000, pack 'VV', 1, 0) } ],
    [ 'legacy', 'an old frame', sub { $_[0]->send(0x6001, 'x' x 100) } ],
    [ 'codec', 'I-frames of no codec', sub { my ($p) = @_; $p->iframe($_, "\0\0\0\1\x21garbage") for 1 .. 5 } ],
    [ 'session_change', 'another session on the same connection', sub { $_[0]->send_raw(text('V102', session => $file->{session})) } ],
    [ 'media_stalled', 'P-frames without end and no key frame', sub { my ($p) = @_;
        for (1 .. 80) { $p->pframe($_ * 40_000, $units[5]{data}) or last; sleep 0.05 } } ],
    [ 'media_silence', 'silence', sub { my ($p) = @_; $p->iframe(0, $units[0]{data}) } ],
) {
    my ($reason, $what, $do) = @$case;
    my $device = ++$next;
    my $s = $bus->start($device, seconds => 60);
    my $before = refusals($reason);
    my $p = $bus->media($s);
    $do->($p);
    ok $p->closed(8), "$what: closed";
    ok eventually(sub { refusals($reason) == $before + 1 }), "counted as $reason" or diag $n->log;
    $p->close;
    $bus->run('end', $s->{slot});
}

# ---------------------------------------------------------------- memory

{
    my $kb = sub { return $n->memory_kb };
    my $before = $kb->();
    my @peers;
    for my $i (1 .. 8) {
        my $s = $bus->start(200 + $i, seconds => 60);
        my $p = $bus->media($s);
        $p->send_raw(pack('a2vV', '@@', 0x6011, 4 << 20) . 'x' x 5000);    # announces 4 MiB
        push @peers, [ $p, $s ];
    }
    sleep 0.3;
    my $grown = $kb->() - $before;
    cmp_ok $grown, '<', 2048, "eight peers that announce 4 MiB and send 5 KB cost $grown KiB";
    for (@peers) { $_->[0]->close; $bus->run('end', $_->[1]{slot}) }
}

# ------------------------------------------------------- limits per address

{
    my @many = map { MDVR::Media->new(port => $n->{media_port}) } 1 .. 45;
    ok eventually(sub { refusals('address_limit') >= 5 }), 'unregistered connections beyond the limit are refused';
    my $s = $bus->start('00300');
    $_->close for @many;
    ok eventually(sub { eval { $bus->media($s) } }, 5), 'the address is not banned';
}

# ------------------------------------------------------------- undisturbed

MDVR::Media::play_stop($player);
$bus->run('end', $good->{slot});
my $bytes = $view->();
my $sums = MDVR::Clip::sums(\$bytes);
my $source = MDVR::Clip::sums($clip);
my @wrong = grep { $sums->[$_] ne $source->[ $_ % @$source ] } 0 .. $#$sums;
cmp_ok scalar(@$sums), '>', 300, 'the stream beside all this ran on';
is scalar(@wrong), 0, 'without a wrong picture';

$t->done;
