package MDVR::S3;

# A real S3 server that checks signatures: OpenStack Swift with its s3api, as
# Debian packages it, in a directory of the test.  And a small client that
# signs on its own (in Perl), to look at what the platform stored.

use v5.30;
use warnings;
use Digest::SHA qw(sha256_hex hmac_sha256 hmac_sha256_hex);
use File::Path qw(make_path);
use IO::Socket::INET;
use MDVR::HTTP;
use MDVR::Test ();
use POSIX qw(strftime);

my @PROGRAMS = qw(swift-proxy-server swift-account-server swift-container-server swift-object-server);

# Why there is none, or ''.
sub missing {
    for my $name (@PROGRAMS) {
        return "$name is not installed" unless grep { -x "$_/$name" } '/usr/bin', '/usr/local/bin';
    }
    return '';
}

# Which server has what, for all three kinds at once: each start of swift-ring-builder takes most of a second.
sub rings {
    my ($dir, $port) = @_;
    write_file("$dir/rings.py", <<'PY');
import sys
from swift.common.ring import RingBuilder
for arg in sys.argv[1:]:
    kind, port = arg.split('=')
    ring = RingBuilder(4, 1, 0)
    ring.add_dev({'region': 1, 'zone': 1, 'ip': '127.0.0.1', 'port': int(port), 'replication_ip': '127.0.0.1',
                  'replication_port': int(port), 'device': 'sd1', 'weight': 1.0, 'meta': ''})
    ring.rebalance()
    ring.get_ring().save(kind + '.ring.gz')
PY
    my $out = qx(cd $dir && /usr/bin/python3 rings.py @{[ map { "$_=$port->{$_}" } qw(account container object) ]} 2>&1);
    -f "$dir/$_.ring.gz" or die "ring: $out" for qw(account container object);
    return;
}

# start($t, bucket => 'name'): the server runs and has the bucket.
sub start {
    my ($class, $t, %opt) = @_;
    my $dir = $t->dir . '/swift';
    my $self = bless { t => $t, dir => $dir, access => 'test:tester', secret => 'testing', region => 'us-east-1',
        bucket => $opt{bucket} // 'mdvr' }, $class;
    my %port = map { $_ => MDVR::Test::free_port() } qw(proxy account container object);
    $self->{port} = $port{proxy};
    make_path("$dir/sd1", "$dir/recon");
    write_file("$dir/swift.conf", "[swift-hash]\nswift_hash_path_suffix = mdvr\n[storage-policy:0]\nname = one\ndefault = yes\n"
        . "[swift-constraints]\nmax_header_size = 16384\n");
    my $common = "swift_dir = $dir\nuser = @{[ MDVR::Test::svc_user() ]}\nworkers = 0\nbind_ip = 127.0.0.1\nlog_level = WARNING\n";
    for my $kind (qw(account container object)) {
        write_file("$dir/$kind-server.conf", "[DEFAULT]\n${common}bind_port = $port{$kind}\ndevices = $dir\nmount_check = false\n"
            . "fallocate_reserve = 0\n[pipeline:main]\npipeline = $kind-server\n[app:$kind-server]\nuse = egg:swift#$kind\n");
    }
    rings($dir, \%port);
    write_file("$dir/proxy-server.conf", <<"TXT");
[DEFAULT]
${common}bind_port = $port{proxy}
[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth copy slo proxy-server
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:9
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
min_segment_size = 5242880
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
TXT
    if ($> == 0) {
        my ($uid, $gid) = (getpwnam MDVR::Test::svc_user())[2, 3];
        chown $uid, $gid, $dir, "$dir/sd1", "$dir/recon", glob "$dir/*";
    }
    for my $kind (qw(account container object proxy)) {
        my ($program) = grep { -x } map { "$_/swift-$kind-server" } '/usr/bin', '/usr/local/bin';
        push @{ $self->{pids} }, $t->daemon($program, { HOME => $dir }, "$dir/$kind-server.conf");
    }
    my $up = MDVR::Test::eventually(sub { my $r = eval { $self->request('PUT', '') }; $r && $r->{status} =~ /^(?:200|409)$/ }, MDVR::Test::patience(45));
    die 'Swift does not start: ' . $t->daemon_log($self->{pids}[-1]) unless $up;
    return $self;
}

sub url { "http://127.0.0.1:$_[0]{port}" }

# What mdvr-worker needs to use it.
sub env {
    my ($self, %more) = @_;
    my $dir = $self->{t}->dir;
    write_file("$dir/s3.access", "$self->{access}\n");
    write_file("$dir/s3.secret", "$self->{secret}\n");
    return (MDVR_STORAGE => 's3:', MDVR_S3_ENDPOINT => $self->url, MDVR_S3_REGION => $self->{region}, MDVR_S3_BUCKET => $self->{bucket},
        MDVR_S3_ACCESS_KEY_FILE => "$dir/s3.access", MDVR_S3_SECRET_KEY_FILE => "$dir/s3.secret", %more);
}

sub encode { my ($s, $path) = @_; my $keep = $path ? 'A-Za-z0-9\-._~/' : 'A-Za-z0-9\-._~'; return $s =~ s/([^$keep])/sprintf '%%%02X', ord $1/ger }

# A signed request for a key of the bucket ('' is the bucket); query: a hash.
# Returns { status, headers, body }.
sub request {
    my ($self, $method, $key, $query, $body) = @_;
    $body //= '';
    my $path = encode("/$self->{bucket}" . ($key eq '' ? '' : "/$key"), 1);
    my $q = join '&', map { encode($_) . '=' . encode($query->{$_}) } sort keys %{ $query // {} };
    my $stamp = strftime '%Y%m%dT%H%M%SZ', gmtime;
    my $day = substr $stamp, 0, 8;
    my $hash = sha256_hex($body);
    my $names = 'host;x-amz-content-sha256;x-amz-date';
    my $host = "127.0.0.1:$self->{port}";
    my $canonical = join "\n", $method, $path, $q, "host:$host", "x-amz-content-sha256:$hash", "x-amz-date:$stamp", '', $names, $hash;
    my $scope = "$day/$self->{region}/s3/aws4_request";
    my $k = hmac_sha256($day, "AWS4$self->{secret}");
    $k = hmac_sha256($_, $k) for $self->{region}, 's3', 'aws4_request';
    my $signature = hmac_sha256_hex("AWS4-HMAC-SHA256\n$stamp\n$scope\n" . sha256_hex($canonical), $k);
    return plain("http://$host$path" . ($q eq '' ? '' : "?$q"), $method, $body, "X-Amz-Date: $stamp", "X-Amz-Content-Sha256: $hash",
        "Authorization: AWS4-HMAC-SHA256 Credential=$self->{access}/$scope,SignedHeaders=$names,Signature=$signature");
}

# Any HTTP request, as curl sends it.
sub plain {
    my ($url, $method, $body, @headers) = @_;
    my ($host, $port, $path) = $url =~ m{^http://([^/:]+):(\d+)(/.*)$} or die "no address: $url";
    my $sock = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 10) or die "connect: $!";
    $method //= 'GET';
    print $sock join("\r\n", "$method $path HTTP/1.1", "Host: $host:$port", 'Connection: close', 'Content-Length: ' . length($body // ''),
        @headers, '', '') . ($body // '');
    local $/;
    my ($head, $text) = split /\r\n\r\n/, scalar(<$sock>) // '', 2;
    my ($status, @lines) = split /\r\n/, $head // '';
    my %h = map { /^([^:]+):\s*(.*)$/ ? (lc $1 => $2) : () } @lines;
    $text = join '', map { $_ // '' } unchunk($text) if ($h{'transfer-encoding'} // '') =~ /chunked/i;
    return { status => ($status // '') =~ / (\d{3})/ ? $1 : 0, headers => \%h, body => $text // '' };
}

sub unchunk { my ($t) = @_; my @out; while ($t =~ s/^([0-9a-fA-F]+)[^\r\n]*\r\n//) { my $n = hex $1; last unless $n; push @out, substr $t, 0, $n, ''; $t =~ s/^\r\n// } return @out }

# Names of all objects below a prefix, and of uploads that are not complete.
sub keys_below { my ($self, $prefix) = @_; return $self->request('GET', '', { prefix => $prefix // '' })->{body} =~ m{<Key>([^<]+)</Key>}g }
sub uploads { my ($self) = @_; return $self->request('GET', '', { uploads => '' })->{body} =~ m{<UploadId>([^<]+)</UploadId>}g }

sub write_file { my ($file, $text) = @_; open my $fh, '>', $file or die "$file: $!"; print $fh $text; close $fh or die "$file: $!"; return }

1;
