# From a staged file to a playable movie: every form a device writes, stored with
# its hash, shown when complete, announced once.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Files;
use Digest::SHA qw(sha256_hex);
use File::Path qw(make_path);
use POSIX ();

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new;
my $dev = $t->add_device('00007');
my $tenant = $t->tenant('A');
my $dir = $t->dir;
my $state = "$dir/state";
make_path("$state/staged");
chown +(getpwnam MDVR::Test::svc_user())[2, 3], $state, "$state/staged" if $> == 0;
my %env = (MDVR_STATE_DIR => $state, MDVR_NODE => 'n1', MDVR_WORKER_RETRY_MS => 100, MDVR_WORKER_LEASE_MS => 2000);

my $n = 0;
sub uuid { sprintf '01a00000-0000-7000-8000-%012d', ++$n }

# Stages a file as the media front does; returns the media id.
sub stage {
    my ($data, %doc) = @_;
    my $id = uuid();
    my $file = "$state/staged/$id.bin";
    open my $fh, '>:raw', $file or die $!;
    print $fh $data;
    close $fh;
    chown +(getpwnam MDVR::Test::svc_user())[2, 3], $file if $> == 0;
    my $text = JSON::PP->new->canonical->encode({ id => $id, kind => 'ingest', device_id => $dev, tenant_id => $tenant, serial => '00007',
        file => $file, media_kind => 'mp4', source => 'alarm_file', source_path => '/mnt/sd0/x.h264', channel => 1,
        at_ms => 1_600_000_000_123, %doc });
    $t->redis('XADD', 'mdvr:job:{ingest@n1}', '*', 'job', $text) unless $doc{silent};
    if ($doc{silent}) {
        open my $side, '>', "$state/staged/$id.job" or die $!;
        print $side $text;
        close $side;
        utime time - 60, time - 60, "$state/staged/$id.job";
    }
    return $id;
}
sub row { $t->row('select *, encode(sha256, \'hex\') as sha from mdvr.media where id = ?', $_[0]) }
sub status { my ($id) = @_; eventually { my $r = row($id); $r && $r->{status} =~ /ready|failed/ && $r->{status} } 10 }
sub object { "$dir/objects/$_[0]" }

my $raw = MDVR::Files::annexb($dir);
my $worker = $t->daemon('mdvr-worker', \%env);

# A plain byte stream.
my $download = $t->value(q{insert into mdvr.download (tenant_id, device_id, origin, path, status) values (?, ?, 'alarm', '/a', 'running') returning id}, $tenant, $dev);
my $id = stage($raw, download_id => $download, duration_s => 3);
is status($id), 'ready', 'a byte stream becomes ready' or diag MDVR::Test::slurp($_) for grep { -f } glob "$dir/*worker*.log";
my $r = row($id);
is $r->{sha}, sha256_hex($raw), 'with the hash of what arrived';
is $r->{size_bytes}, length $raw, 'and its size';
is MDVR::Test::slurp(object($r->{original_key})), $raw, 'the original is kept bit by bit';
like $r->{original_key}, qr{^$tenant/\d{4}/\d\d/\d\d/$id/original\.bin$}, 'under a key that the server made';
is $r->{codec}, 'avc1.42C00D', 'the codec is known';
is_deeply [ @{$r}{qw(width_px height_px channel source)} ], [ 352, 288, 1, 'alarm_file' ], 'size, channel and source, too';
my $p = MDVR::Files::probe(object($r->{playback_key}));
is_deeply [ @{$p}{qw(codec width height frames)} ], [ 'h264', 352, 288, 75 ], 'the movie has every picture';
cmp_ok abs($p->{seconds} - 3), '<', 0.1, 'and the announced length';
my $head = substr MDVR::Test::slurp(object($r->{playback_key})), 0, 4096;
ok index($head, 'moov') >= 0, 'its index comes first';
is MDVR::Files::probe(object($r->{thumbnail_key}))->{codec}, 'mjpeg', 'there is a thumbnail';
my $d = $t->row('select * from mdvr.download where id = ?', $download);
is_deeply [ @{$d}{qw(status media_id received_bytes)} ], [ 'complete', $id, length $raw ], 'the download is complete';
is $t->value("select count(*) from mdvr.event where topic = 'media'"), 1, 'one event tells it';
like $t->value("select message::text from mdvr.event where topic = 'media'"), qr/"status" : "ready"/, 'it is ready';
ok eventually { !-e "$state/staged/$id.bin" }, 'the staged file is gone';
ok eventually(sub { !(() = glob "$dir/tmp/*") }, 30), 'nothing is left in the temporary directory';
is $t->redis('XLEN', 'mdvr:job:{ingest@n1}') + $t->redis('XLEN', 'mdvr:job:{transcode}'), 0, 'nor in the queues';

# Every other form.
my $sound = pack 'C*', map { int(rand 256) } 1 .. 160;
my %form = (
    'private framing' => [ MDVR::Files::private($raw), { form => 'private', frames => 75, seconds => 3 } ],
    'private framing without header' => [ MDVR::Files::private($raw, header => 0), { form => 'private', frames => 75, seconds => 3 } ],
    'private framing at 10 pictures a second' => [ MDVR::Files::private($raw, step_us => 100_000), { form => 'private', frames => 75, seconds => 7.5 } ],
    'private framing with sound' => [ MDVR::Files::private($raw, sound => 'x' x 320), { form => 'private', frames => 75, seconds => 3, sound => 'aac' }, audio_type => 10 ],
    'private framing with sound of no table' => [ MDVR::Files::private($raw, sound => 'x' x 320), { form => 'private', frames => 75, seconds => 3, sound => '' }, audio_type => 13 ],
    'a byte stream behind a vendor header' => [ MDVR::Files::vendor_header() . $raw . "\0" x 5000, { form => 'annexb', frames => 75, seconds => 3 } ],
    'a byte stream with voice headers in between' => [ join('', map { $_ . "\0\0\1\x50" . 'y' x 160 . "\0\0\1\x28" . 'z' x 80 } MDVR::Files::pictures($raw)),
        { form => 'annexb', frames => 75, seconds => 3 } ],
    'lengths in front of NAL units' => [ MDVR::Files::length_prefixed($raw), { form => 'length', frames => 75, seconds => 3 } ],
    'a stream that begins in the middle' => [ join('', (MDVR::Files::pictures($raw))[10 .. 74]), { form => 'annexb', frames => 50, seconds => 2 } ],
    'a byte stream with B-frames' => [ MDVR::Files::annexb($dir, bframes => 2), { form => 'annexb', frames => 75, seconds => 3 } ],
    'H.265' => [ MDVR::Files::annexb($dir, codec => 'libx265', seconds => 2), { form => 'annexb', frames => 50, seconds => 2, encoded => 'yes' } ],
    'an MP4 with sound' => [ MDVR::Files::mp4($dir), { form => 'mp4', frames => 50, seconds => 2, sound => 'aac' } ],
);
my %of = map { $_ => stage($form{$_}[0], @{ $form{$_} }[2 .. $#{ $form{$_} }]) } sort keys %form;
for my $name (sort keys %form) {
    my $want = $form{$name}[1];
    is status($of{$name}), 'ready', "$name: ready" or do { diag row($of{$name})->{failed_reason} // 'nothing'; next };
    my $p = MDVR::Files::probe(object(row($of{$name})->{playback_key}));
    is $p->{codec}, 'h264', "$name: plays as H.264";
    is $p->{frames}, $want->{frames}, "$name: every picture";
    cmp_ok abs($p->{seconds} - $want->{seconds}), '<', 0.15, "$name: $want->{seconds} s" or diag $p->{seconds};
    is $p->{sound}, $want->{sound}, "$name: sound" if exists $want->{sound};
}
my $log = $t->daemon_log($worker);
for my $name (sort keys %form) {
    my ($line) = grep { /"movie made"/ && /"$of{$name}"/ } split /\n/, $log;
    like $line // '', qr/"form":"$form{$name}[1]{form}"/, "$name: recognised as $form{$name}[1]{form}";
}
# B-frames keep their order: the decoded pictures are the same, in the same order
my $frames = sub { qx(ffmpeg -loglevel error -i $_[0] -f framemd5 - 2>/dev/null | grep -v '^#' | awk '{print \$NF}') };
open my $fh, '>:raw', "$dir/b.h264"; print $fh $form{'a byte stream with B-frames'}[0]; close $fh;
is $frames->(object(row($of{'a byte stream with B-frames'})->{playback_key})), $frames->("$dir/b.h264"), 'B-frames are shown in their order, bit-exact';
open $fh, '>:raw', "$dir/p.h264"; print $fh $raw; close $fh;
is $frames->(object(row($of{'private framing'})->{playback_key})), $frames->("$dir/p.h264"), 'remuxed pictures are bit-exact';

# Pictures.
my $jpeg = MDVR::Files::jpeg($dir, '1280x720');
$id = stage($jpeg, media_kind => 'jpeg', source => 'snapshot');
is status($id), 'ready', 'a picture becomes ready';
$r = row($id);
is_deeply [ @{$r}{qw(width_px height_px duration_s)} ], [ 1280, 720, undef ], 'with its size';
is MDVR::Test::slurp(object($r->{playback_key})), $jpeg, 'shown as it arrived';
like $r->{original_key}, qr{/original\.jpg$}, 'under a name whose type nginx knows';
is MDVR::Files::probe(object($r->{thumbnail_key}))->{width}, 640, 'with a smaller one';

# What cannot work.
my $events = $t->value("select count(*) from mdvr.event where topic = 'media'");
my %bad = (
    'random bytes' => [ join('', map { chr rand 256 } 1 .. 100_000) ],
    'an empty file' => [ '' ],
    'only the vendor header' => [ MDVR::Files::vendor_header() ],
    'an empty MP4' => [ "\0\0\0\x18ftypisom\0\0\0\0isommp42" . "\0" x 100 ],
    'a text that claims to be a picture' => [ 'no picture', media_kind => 'jpeg' ],
    'half a header of a picture' => [ "\xff\xd8\xff", media_kind => 'jpeg' ],
    'P-frames without a key frame' => [ join('', grep { !/\x00\x00\x01[\x25\x45\x65\x67\x27]/ } MDVR::Files::pictures($raw)) ],
);
my %id = map { $_ => stage(@{ $bad{$_} }) } sort keys %bad;
for my $name (sort keys %bad) {
    is status($id{$name}), 'failed', "$name: failed";
    $r = row($id{$name});
    like $r->{failed_reason}, qr/\w \w/, "$name: $r->{failed_reason}";
    ok -f object($r->{original_key}), "$name: the original is kept";
}
is $t->value("select count(*) from mdvr.event where topic = 'media'"), $events + keys %bad, 'each is one event';
ok eventually { $t->redis('XLEN', 'mdvr:job:{transcode}:dead') == keys %bad }, 'and one entry of the dead-letter list';

my %never = (
    'an unknown device' => { device_id => '00000000-0000-7000-8000-000000000000' },
    'a device of another tenant' => { tenant_id => $t->tenant('B') },
    'a file that was never staged' => { file => '/etc/passwd' },
    'a file outside' => { file => "$state/staged/../../etc/passwd.bin" },
);
for my $name (sort keys %never) {
    my $dead = $t->redis('XLEN', 'mdvr:job:{ingest@n1}:dead');
    stage($raw, %{ $never{$name} });
    ok eventually { $t->redis('XLEN', 'mdvr:job:{ingest@n1}:dead') == $dead + 1 }, "$name: given up";
}
is $t->value('select count(*) from mdvr.media where device_id <> ? or tenant_id <> ?', $dev, $tenant), 0, 'and nothing was made';

# Redis was away when the file came: the worker finds it on disk.
my $lost = stage($raw, silent => 1);
$t->daemon_stop($worker, 'TERM');
$worker = $t->daemon('mdvr-worker', \%env);
is status($lost), 'ready', 'a file without a job is found';
ok eventually { !-e "$state/staged/$lost.job" }, 'and its document removed';

$t->daemon_stop($worker, 'TERM');
$t->done;
