# Objects in S3, against a real server that checks signatures: stored when
# complete, in parts that an interrupted upload goes on with, handed out by
# presigned addresses, swept when nobody completed them.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Files;
use MDVR::Media;
use MDVR::S3;
use Digest::MD5 qw(md5_hex);
use Digest::SHA qw(sha256_hex);
use File::Path qw(make_path);
use IO::Select;
use IO::Socket::INET;

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
plan skip_all => MDVR::S3::missing() if MDVR::S3::missing();
my $t = MDVR::Test->new;
my $dev = $t->add_device('00007');
my $tenant = $t->tenant('A');
my $dir = $t->dir;
my $s3 = MDVR::S3->start($t);
my %env = $s3->env(MDVR_S3_PART_MB => 5, MDVR_S3_PREFIX => 'fleet/one', MDVR_WORKER_RETRY_MS => 100, MDVR_WORKER_TICK_MS => 300,
    MDVR_WORKER_ORPHAN_S => 86400);
my $node = $t->nginx(http => "mdvr_s3 @{[ $s3->url ]} $s3->{bucket} region=us-east-1 prefix=fleet/one/ "
    . "access_key_file=$dir/s3.access secret_key_file=$dir/s3.secret;");
my $state = $node->{dir} . '/state';
make_path("$state/staged");
my @svc = $> == 0 ? (getpwnam MDVR::Test::svc_user())[2, 3] : ();
chown @svc, "$state/staged" if @svc;

my $n = 0;
sub soon(&$;$) { my ($cond, $name, $seconds) = @_; ok(eventually(\&$cond, $seconds // 20), $name) }
sub stage {
    my ($data, %doc) = @_;
    my $id = sprintf '01a00000-0000-7000-8000-%012d', ++$n;
    my $file = "$state/staged/$id.bin";
    open my $fh, '>:raw', $file or die $!;
    print $fh $data;
    close $fh;
    chown @svc, $file if @svc;
    $t->redis('XADD', "mdvr:job:{ingest\@$node->{name}}", '*', 'job', JSON::PP->new->encode({ id => $id, kind => 'ingest', device_id => $dev,
        tenant_id => $tenant, file => $file, media_kind => 'mp4', source => 'alarm_file', channel => 1, at_ms => 1_600_000_000_000, %doc }));
    return $id;
}
sub row { $t->row('select * from mdvr.media where id = ?', $_[0]) }
sub status { my ($id, $s) = @_; eventually { my $r = row($id); $r && $r->{status} =~ /ready|failed/ && $r->{status} } $s // 15 }
sub object { $s3->request('GET', "fleet/one/$_[0]") }

# What is wrong is said at the start.
for my $case ([ MDVR_S3_ENDPOINT => '', qr/needs MDVR_S3_ENDPOINT/ ], [ MDVR_S3_ENDPOINT => 'ftp://x', qr/must begin with/ ],
    [ MDVR_S3_BUCKET => '', qr/needs MDVR_S3_BUCKET/ ], [ MDVR_S3_SECRET_KEY_FILE => '/nowhere', qr{cannot open /nowhere} ]) {
    my %e = ($t->daemon_env, %env, $case->[0] => $case->[1]);
    local @ENV{keys %e} = values %e;
    like qx(build/bin/mdvr-worker jobs list 2>&1), $case->[2], "$case->[0]=\"$case->[1]\" is refused";
}

# The wrong secret: nothing is lost.
my $raw = MDVR::Files::annexb($dir, seconds => 2);
MDVR::S3::write_file("$dir/s3.wrong", "wrong\n");
my $worker = $t->daemon('mdvr-worker', { %env, MDVR_S3_SECRET_KEY_FILE => "$dir/s3.wrong" });
my $id = stage($raw);
soon { $t->daemon_log($worker) =~ /SignatureDoesNotMatch/ } 'a request with the wrong secret is refused, and the job waits';
is row($id), undef, 'nothing is shown';
my $http = $t->admin;
my $image = join '', map { pack 'N', $_ * 2654435761 % 4294967296 } 1 .. 50_000;
my $upload_image = sub { $http->request('POST', "/api/v1/firmware?name=$_[0]&version=2.1", $image, 'content-type' => 'application/octet-stream') };
my $said = $upload_image->('lost.img');
is "$said->{status} $said->{json}{code}", '503 storage_away', 'firmware that cannot be stored is not taken';
is $t->value('select count(*) from mdvr.firmware'), 0, '... and not in the list';
is_deeply [ glob "$state/firmware/*" ], [], '... nor anywhere else';
$t->daemon_stop($worker, 'TERM');
$worker = $t->daemon('mdvr-worker', \%env);
is status($id), 'ready', 'with the right one it is stored' or diag $t->daemon_log($worker);
my $r = row($id);
is object($r->{original_key})->{body}, $raw, 'the original, bit by bit';
is substr(object($r->{thumbnail_key})->{body}, 0, 2), "\xff\xd8", 'the thumbnail is a picture';
like object($r->{playback_key})->{body}, qr/^....ftyp/s, 'the movie is an MP4';
ok eventually(sub { !(() = glob "$dir/tmp/*") }, 60), 'nothing is left in the temporary directory, once it is analysed';

# Presigned addresses.
my $answer = $http->get("/media/$id/url");
is $answer->{status}, 200, 'the API hands out an address';
my $url = $answer->{json}{url};
like $url, qr{^http://127\.0\.0\.1:$s3->{port}/mdvr/fleet/one/$tenant/.*X-Amz-Signature=[0-9a-f]{64}$}, 'of the object in S3';
my $movie = object($r->{playback_key})->{body};
is sha256_hex(MDVR::S3::plain($url)->{body}), sha256_hex($movie), 'which gives the movie';
my $part = MDVR::S3::plain($url, 'GET', '', 'Range: bytes=100-199');
is "$part->{status} $part->{body}", '206 ' . substr($movie, 100, 100), 'and parts of it';
is MDVR::S3::plain($url =~ s/(.)$/$1 eq '0' ? '1' : '0'/er)->{status}, 403, 'not when it was changed';
is MDVR::S3::plain($url =~ s/video\.mp4/original.bin/r)->{status}, 403, 'nor for another object';
like MDVR::S3::plain($url =~ s/\?.*//r)->{status}, qr/^40[03]$/, 'nor without signature';
$answer = $http->get("/media/$id");
is substr(MDVR::S3::plain($answer->{json}{thumbnail_url})->{body}, 0, 2), "\xff\xd8", 'the thumbnail has an address, too';

# Firmware: an object, and a copy on the node that sends it to devices.
{
    my $r = $upload_image->('app.img');
    is $r->{status}, 201, 'firmware is stored' or diag explain $r;
    my $row = $t->row('select * from mdvr.firmware where id = ?', $r->{json}{id});
    is sha256_hex(object($row->{object_key})->{body}), sha256_hex($image), 'as an object';
    my $bin = "$state/firmware/$row->{id}.bin";
    is MDVR::Test::slurp($bin), $image, 'its copy is here';
    is $upload_image->('app.img')->{json}{code}, 'version_taken', 'a version that is there is refused';
    unlink $bin;                                        # as on another node
    my $vehicle = $t->device('00007')->register;
    my $p = $http->begin('POST', "/api/v1/devices/$dev/upgrade", { firmware_id => $row->{id} });
    my $c = $vehicle->expect('C152', 20);
    ok -s $bin, 'an upgrade fetches it';
    is $p->end->{status}, 202, 'and begins';
    my $m = MDVR::Media->new(port => $node->{media_port}, serial => '00007', session => $c->{body}[0]);
    is $m->register('V106', 'app.img', 0, ''), 1, 'the device comes for it';
    my $got = '';
    while (my $b = $m->read_message(Time::HiRes::time() + 10)) {
        next if $b->{type} != 0x6102;
        last if length $b->{payload} == 8;
        $got .= substr $b->{payload}, 8;
    }
    is sha256_hex($got), sha256_hex($image), 'and gets it';
    $m->send(0x6501, pack 'vv', 1, 0);
    $m->expect(0x6105, 5);
    $m->close;
    $vehicle->answer($c, 4, '', '');
    $vehicle->close;
    utime time - 8 * 86400, time - 8 * 86400, $bin;
    $t->daemon_stop($worker, 'TERM');
    $worker = $t->daemon('mdvr-worker', \%env);
    soon { !-e $bin } 'a copy that nobody used for a week goes';
    is object($row->{object_key})->{status}, 200, 'the object stays';
}

# Parts, and an upload that somebody began.
my $big = $raw . join '', map { pack 'N', $_ * 2654435761 % 4294967296 } 1 .. 3_000_000;
$id = stage($big);
is status($id, 30), 'ready', 'a file of three parts is stored';
is sha256_hex(object(row($id)->{original_key})->{body}), sha256_hex($big), 'bit by bit';
is scalar(() = $s3->uploads), 0, 'nothing is left unfinished';

$t->daemon_stop($worker, 'TERM');
my $next = sprintf '01a00000-0000-7000-8000-%012d', $n + 1;
my $key = "fleet/one/$tenant/" . (row($id)->{original_key} =~ m{/(\d+/\d+/\d+)/})[0] . "/$next/original.bin";
my ($upload) = $s3->request('POST', $key, { uploads => '' })->{body} =~ m{<UploadId>([^<]+)};
ok $upload, 'an upload is begun';
my $size = 5 << 20;
is $s3->request('PUT', $key, { partNumber => 1, uploadId => $upload }, substr $big, 0, $size)->{status}, 200, 'with a good part';
is $s3->request('PUT', $key, { partNumber => 2, uploadId => $upload }, 'x' x $size)->{status}, 200, 'and one that is not';
is $s3->request('GET', $key)->{status}, 404, 'it is not visible';
$worker = $t->daemon('mdvr-worker', { %env, MDVR_LOG_LEVEL => 'debug' });
$id = stage($big);
is status($id, 30), 'ready', 'the worker goes on with it';
is "fleet/one/" . row($id)->{original_key}, $key, 'under the same key';
is sha256_hex($s3->request('GET', $key)->{body}), sha256_hex($big), 'and mends what was wrong';
is scalar(() = $s3->uploads), 0, 'no second upload was begun';
like $t->daemon_log($worker), qr/"parts":"3","sent":"2"/, 'the good part was not sent again';

# What nobody completes is swept.
$s3->request('POST', 'fleet/one/orphan', { uploads => '' });
$s3->request('POST', 'elsewhere/orphan', { uploads => '' });
is scalar(() = $s3->uploads), 2, 'two uploads are begun';
$t->daemon_stop($worker, 'TERM');
$worker = $t->daemon('mdvr-worker', { %env, MDVR_WORKER_ORPHAN_S => 1 });
$t->sql("delete from mdvr.schedule where name = 'storage'");
soon { $t->sql("delete from mdvr.schedule where name = 'storage'"); 1 == (() = $s3->uploads) } 'the sweep ends ours';
is scalar(() = $s3->uploads), 1, 'and leaves what is not below the prefix';

# The server goes away and comes back.
my $proxy = pop @{ $s3->{pids} };
kill STOP => $proxy;
$id = stage($raw);
is row($id), undef, "while S3 hangs nothing is shown";
kill CONT => $proxy;
is status($id, 30), 'ready', 'and then it is stored';

# Encryption is asked for, and the header is signed: what goes over the wire.
$t->daemon_stop($worker, 'TERM');
my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 5) or die $!;
$worker = $t->daemon('mdvr-worker', { %env, MDVR_S3_ENDPOINT => 'http://127.0.0.1:' . $listen->sockport, MDVR_S3_ENCRYPTION => 'aws:kms',
    MDVR_S3_KMS_KEY => 'key-1' });
stage($raw);
my $head = '';
while ($head !~ /^PUT/ && IO::Select->new($listen)->can_read(20) && (my $c = $listen->accept)) {
    local $/ = "\r\n\r\n";
    $head = <$c> // '';
    print $c "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
}
like $head, qr{^PUT /mdvr/fleet/one/$tenant/\S+/original\.bin HTTP/1\.1}, 'an object is stored';
like $head, qr/^x-amz-server-side-encryption: aws:kms\r$/m, 'encrypted';
like $head, qr/^x-amz-server-side-encryption-aws-kms-key-id: key-1\r$/m, 'with the key of the settings';
like $head, qr/SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-server-side-encryption;x-amz-server-side-encryption-aws-kms-key-id,/,
    'and both headers are signed';
close $listen;

$t->daemon_stop($worker);
$t->done;
