# Files from the device: downloads with resume, snapshots, lists.

use MDVR::Test;
use MDVR::Clip;
use Digest::SHA qw(sha256_hex);

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, media => 'mdvr_media_close_wait 1s; mdvr_media_file_timeout 3s; mdvr_media_max_file 80m;');
my $bus = MDVR::Clip::bus($n);
my $id = $t->add_device('00007', channels => 4);
my $tenant = $t->tenant;
my $dev = $t->device('00007');
$dev->v101;
my $staged = "$n->{dir}/state/staged";

sub download {
    my ($path, %c) = @_;
    $c{origin} //= 'user';
    my @names = sort keys %c;
    return $t->value("insert into mdvr.download (tenant_id, device_id, path, @{[ join ', ', @names ]})
        values (?, ?, ?@{[ ', ?' x @names ]}) returning id", $tenant, $id, $path, @c{@names});
}

# C702 and the device's connection: body fields are session, flag, start, end, ...
sub fetch {
    my ($remaining, %o) = @_;
    my $cmd = $dev->expect('C702', $o{wait} // 15) or return;
    $dev->answer($cmd, 1, 0, '', 0);
    my $m = MDVR::Media->new(port => $n->{media_port}, serial => '00007', session => $cmd->{body}[0]);
    $m->register('V103', $remaining // $o{size} - $cmd->{body}[2], $cmd->{body}[6] // '', '');
    return ($m, $cmd);
}

# ------------------------------------------------------------- a whole file

my $content = join '', map { pack 'N', $_ * 2654435761 % 2**32 } 0 .. 64 * 1024 - 1;     # 256 KiB

{
    my $d = download('/mnt/a.h264', channel => 2, request_id => 'req-1');
    my ($m, $cmd) = fetch(length $content);
    ok $m, 'a waiting download is asked for with C702';
    is "$cmd->{body}[1] $cmd->{body}[2] $cmd->{body}[6]", '0 0 /mnt/a.h264', 'from the beginning';
    is $m->{result}, 1, 'V103 is accepted';
    for (my $at = 0; $at < length $content; $at += 4096) { $m->block($at, substr $content, $at, 4096) }
    $m->block(8192, substr $content, 8192, 4096);            # a repetition harms nothing
    $m->block(0, '');                                        # the end, as captured
    ok $m->expect(0x6105, 5), 'the end is confirmed';
    is sha256_hex(slurp("$staged/$d.bin")), sha256_hex($content), 'the staged file is the device\'s, bit by bit';
    my $job = json_of(slurp("$staged/$d.job"));
    is_deeply [ @$job{qw(kind id device_id tenant_id file source_path channel request_id source)} ],
        [ 'ingest', $d, $id, $tenant, "$staged/$d.bin", '/mnt/a.h264', 2, 'req-1', 'download' ], 'its job document is beside it';
    my $entries = $t->redis('XRANGE', "mdvr:job:{ingest\@$n->{name}}", '-', '+');
    is json_of($entries->[-1][1][1])->{id}, $d, 'and in the queue of the node';
    ok eventually(sub { $t->row('select * from mdvr.download where id = ?', $d)->{status} eq 'complete' }), 'the download is complete';
    ok $m->closed(5), 'the connection is closed';
    $m->close;
}

# ------------------------------------------------- cut ten times, resumed

{
    my $big = $content x 256;                                # 64 MiB
    my $d = download('/mnt/big.h264', size_bytes => length $big);
    my ($cuts, $sent, $resumed) = (0, 0, 0);
    srand 7;
    my $end = time + 240;
    while (time < $end) {
        my ($m, $cmd) = fetch(undef, size => length $big, wait => 40) or last;
        my $at = $cmd->{body}[2];
        $resumed++ if $at && $cmd->{body}[1] == 1 && $at <= $sent;
        my $until = $cuts < 10 ? $at + 1_000_000 + int rand 8_000_000 : length $big;
        $until = length $big if $until > length $big;
        my $chunk = '';
        while ($at < $until) {
            my $size = $until - $at < 65536 ? $until - $at : 65536;
            $chunk .= MDVR::Media::binary(0x6102, pack('VV', $at, $size) . substr $big, $at, $size);
            $at += $size;
            if (length $chunk > 1_000_000) { $m->send_raw($chunk); $chunk = '' }
        }
        $m->send_raw($chunk);
        $sent = $at;
        if ($at == length $big) {
            $m->block($at, '');
            ok $m->expect(0x6105, 20), 'the last part is confirmed';
            $m->close;
            last;
        }
        if ($cuts++ % 2) { $m->reset } else { $m->close }    # what was under way may be lost
    }
    is $cuts, 10, 'a 64 MiB download is cut ten times';
    is $resumed, 10, 'and resumed each time where the staged bytes end';
    is sha256_hex(slurp("$staged/$d.bin")), sha256_hex($big), 'it arrives bit-exact';
}

# --------------------------------------------------------- ranges, refusals

{
    my $d = download('/mnt/r.h264', from_byte => 4096, to_byte => 12288);
    my ($m, $cmd) = fetch(8192);
    is "@{$cmd->{body}}[1 .. 3]", '1 4096 12288', 'a range is asked for by bytes';
    $m->block($_, substr $content, $_, 4096) for 4096, 8192;
    $m->block(12288, '');
    ok $m->expect(0x6105, 5), 'it comes';
    ok slurp("$staged/$d.bin") eq substr($content, 4096, 8192), 'and begins with its first byte';
    $m->close;
}
# The server's own disk is full: nobody's attempt, and the device is asked again.
SKIP: {
    my ($uid, $gid) = (stat $staged)[4, 5];
    skip 'needs a file system to fill', 4
        if system("mount -t tmpfs -o size=64k,mode=0770,uid=$uid,gid=$gid tmpfs $staged 2>/dev/null");
    my $d = download('/mnt/full.h264', size_bytes => length $content, attempts => 4);
    my ($m) = fetch(length $content);
    $m->send_raw(join '', map { MDVR::Media::binary(0x6102, pack('VV', $_ * 4096, 4096) . substr $content, $_ * 4096, 4096) } 0 .. 63);
    ok $m->closed(5), 'a film that finds no room is cut off';
    my $row = eventually(sub { my $r = $t->row('select *, next_at > now() + interval \'20 s\' as later
        from mdvr.download where id = ?', $d); $r->{status} ne 'running' && $r });
    is "$row->{status} $row->{later}", 'queued 1', 'and waits a minute, however often that happened';
    system("mount -o remount,size=1m $staged") == 0 or die;
    $t->sql('update mdvr.download set next_at = now() where id = ?', $d);
    $m->close;
    ($m, my $cmd) = fetch(undef, size => length $content);
    my $at = $cmd->{body}[2] || 0;
    cmp_ok $at, '>', 0, 'it goes on where the room ended';
    for (; $at < length $content; $at += 4096) { $m->block($at, substr $content, $at, 4096) }
    $m->block($at, '');
    ok $m->expect(0x6105, 5) && slurp("$staged/$d.bin") eq $content, 'and is whole when there is room';
    $m->close;
    system("umount -l $staged");
}
{
    my $d = download('/mnt/none.h264');
    my $cmd = $dev->expect('C702', 10);
    $dev->answer($cmd, 0, 0, '', 3);
    my $row = eventually(sub { my $r = $t->row('select * from mdvr.download where id = ?', $d); $r->{attempts} && $r });
    is "$row->{status} $row->{attempts}", 'queued 1', 'a refused download waits and is tried again';
    $t->sql('update mdvr.download set attempts = 4, next_at = now() where id = ?', $d);
    $cmd = $dev->expect('C702', 10);
    $dev->answer($cmd, 0, 0, '', 3);
    $row = eventually(sub { my $r = $t->row('select * from mdvr.download where id = ?', $d); $r->{status} eq 'failed' && $r });
    like $row->{failed_reason} // '', qr/refused/, 'and fails after five attempts without progress';
}
{
    my $d = download('/mnt/evil.h264');
    my ($m) = fetch(8192);
    $m->block(4_000_000, 'x' x 4096);
    ok $m->closed(5), 'an offset far beyond the size closes';
    ok eventually(sub { $n->metrics('mdvr_refusals_total{reason="file_offset"}') == 1 }), 'and is counted';
    $t->sql('delete from mdvr.download where id = ?', $d);
    $m->close;
}
{
    my $d = download('/mnt/huge.h264');
    my ($m) = fetch(100 << 20);
    is $m->{result}, 0, 'a file over the limit is refused';
    $t->sql('delete from mdvr.download where id = ?', $d);
    $m->close;
}

# ---------------------------------------------------------------- snapshots

my $jpeg = "\xff\xd8\xff\xe0" . 'picture' x 700 . "\xff\xd9";
{
    my $api = $t->admin;
    for my $case ([ 0x6201, 'with 0x6201' ], [ 0x6102, 'with 0x6102' ]) {
        my ($type, $what) = @$case;
        my $r = $api->post("/devices/$id/snapshot", { channel => 2 });
        is $r->{status}, 202, "a snapshot is asked for, $what";
        my $cmd = $dev->expect('C510', 10);
        $dev->answer($cmd, 1, 1, '', 0);
        my $m = MDVR::Media->new(port => $n->{media_port}, serial => '00007', session => $cmd->{body}[0]);
        is $m->register('V107', 1, length $jpeg, 2, ''), 1, 'V107 is accepted';
        $m->block(0, substr($jpeg, 0, 4096), $type);
        $m->block(4096, substr($jpeg, 4096), $type);
        ok $m->expect(0x6105, 5), 'complete with its last byte';
        my ($job) = grep { $_->{source} eq 'snapshot' } map { json_of(slurp($_)) } glob "$staged/*.job";
        ok $job && slurp($job->{file}) eq $jpeg, 'the picture is staged';
        is "$job->{media_kind} $job->{channel}", 'jpeg 2', 'as a JPEG of its channel' if $job;
        unlink glob "$staged/*.job";
        $m->close;
    }
    my $s = $bus->start('00007', device => $id, kind => 5, channel => 1, note => '{"command_id":"00000000-0000-7000-8000-0000000000aa"}');
    my $m = MDVR::Media->new(port => $n->{media_port}, serial => '00007', session => $s->{session});
    $m->register('V107', 0, 100, 2, '');
    $m->block(0, 'no picture at all' x 6, 0x6201);
    ok $m->closed(5), 'what is no JPEG is refused';
    is $n->metrics('mdvr_refusals_total{reason="snapshot_format"}'), 1, 'and counted';
    is_deeply [ glob "$staged/00000000-0000-7000-8000-0000000000aa*" ], [], 'nothing of it stays';
    $m->close;
}

# -------------------------------------------------------------------- lists

{
    my $s = $bus->start('00007', device => $id, kind => 6);
    my $m = MDVR::Media->new(port => $n->{media_port}, serial => '00007', session => $s->{session});
    is $m->register('V108', ''), 1, 'V108 is accepted';
    my $record = sub { pack 'C6 V V C C a256', 18, 9, 4, 10, 43, $_[0], 16, 655360, 1, 2, "/ssyhdd/$_[0].h264" };
    $m->send(0x6101, $record->(1));
    $m->send(0x6101, $record->(2) . $record->(3));
    $m->send(0x6101, "\0" x 272);
    ok $m->expect(0x6105, 5), 'a list ends with a record of zeros';
    my $i = $bus->info($s);
    is "$i->{state} $i->{end} $i->{frames}", 'ending complete 3', 'its records are in the session';
    $m->close;
}

$dev->close;
$t->done;
