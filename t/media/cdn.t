# Live video through caches: the edge of conf/cdn.conf asks the origin for each
# segment once, whoever's token asks; a token that was taken back is refused
# there within 5 s; the CloudFront function knows a token from a forged one.

use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, live => 'mdvr_live_cdn on;');
my $bus = MDVR::Clip::bus($n);
my $clip = MDVR::Clip::make('h264', seconds => 4);

# ------------------------------------------------------------------- the edge

my $port = MDVR::Test::free_port();
my $dir = "$t->{dir}/edge";
mkdir $_ for $dir, "$dir/cache", map { "$dir/$_" } qw(body proxy fastcgi uwsgi scgi);
MDVR::Store::give($_, MDVR::Test::svc_user()) for $dir, glob "$dir/*";
my $tls = $n->certificate;
my $conf = slurp('conf/cdn.conf');
$conf =~ s/^user .*;/$> == 0 ? 'user ' . MDVR::Test::svc_user() . ';' : ''/me;
$conf =~ s/^worker_rlimit_nofile .*;//m;
$conf =~ s{/var/log/nginx/}{$dir/}g;
$conf =~ s{/var/cache/nginx}{$dir/cache}g;
$conf =~ s{/run/nginx-edge\.pid}{$dir/nginx.pid};
$conf =~ s{/etc/mdvr/}{$tls/}g;
$conf =~ s/server 10\.0\.0\.11:3000/server 127.0.0.1:$n->{http_port}/;
$conf =~ s/listen 443 ssl http2/listen 127.0.0.1:$port/;
$conf =~ s/^http \{/http {\n    client_body_temp_path $dir\/body; proxy_temp_path $dir\/proxy; fastcgi_temp_path $dir\/fastcgi;\n    uwsgi_temp_path $dir\/uwsgi; scgi_temp_path $dir\/scgi;/m;
open my $fh, '>', "$dir/nginx.conf" or die $!;
print $fh "daemon off;\n$conf";
close $fh;
my $edge = fork // die;
if ($edge == 0) { chdir $dir; exec MDVR::Nginx::binary(), '-p', $dir, '-c', "$dir/nginx.conf", '-e', "$dir/edge.log" }
END { kill TERM => $edge if $edge }
ok eventually(sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) }), 'the edge runs' or diag slurp("$dir/edge.log");

sub get { my ($path) = @_; return MDVR::HTTP->new(port => $port, timeout => 20)->request('GET', $path) }

# --------------------------------------------------------------- twenty viewers

my $s = $bus->start('00001');
my $m = $bus->media($s);
my $film = $m->play_on($clip);
my @user = map { sprintf '00000000-0000-7000-c000-%012d', $_ } 1 .. 20;
my @live = map { '/live/' . $bus->token($t, $s, user_session => $_) . '/' } @user;
my (%file, %sum, $bad);
my $end = time + 6;
ok eventually(sub { get("$live[0]index.m3u8")->{status} == 200 }, 10), 'a playlist through the edge';
while (time < $end) {
    for my $live (@live) {
        my $list = get("${live}index.m3u8")->{body};
        for my $name (($list =~ /URI="([^"]*init[^"]+)"/)[0], ($list =~ /^(\S+seg-\d+\.m4s)$/mg)[-1], ($list =~ /PART:.*URI="([^"]+)"/g)[-1]) {
            next if !$name || $file{"$live$name"}++;
            my $r = get("$live$name");
            $bad .= "$name $r->{status}\n" if $r->{status} != 200;
            $sum{$name}{ Digest::SHA::sha1_hex($r->{body}) }++;
        }
    }
    sleep 0.3;
}
is $bad, undef, 'all that playlists named was there';
my ($segment) = sort { $b cmp $a } grep { /seg-/ } keys %sum;
like $segment, qr{^[0-9a-f]{24}/seg-\d+\.m4s$}, 'names say which stream they belong to';
my $seen = sub { my ($re) = @_; my %n; $n{$_}++ for $n->access_log =~ m{GET /live/[^/ ]+/(?:[0-9a-f]+/)?($re) }g; return \%n };
my $segments = $seen->(qr/seg-\d+\.m4s/);
cmp_ok scalar keys %$segments, '>=', 4, 'segments came from the origin';
is_deeply [ grep { $segments->{$_} != 1 } keys %$segments ], [], 'each once';
is_deeply [ grep { $seen->(qr/(?:part|init)-[\d.]+\.(?:m4s|mp4)/)->{$_} != 1 } keys %{ $seen->(qr/(?:part|init)-[\d.]+\.(?:m4s|mp4)/) } ], [],
    'so did parts and the init segment';
cmp_ok scalar(grep { /seg-/ } keys %file), '>=', 60, 'although many viewers had them';
is_deeply [ grep { keys %{ $sum{$_} } != 1 } keys %sum ], [], 'the same bytes for everybody';
cmp_ok $bus->info($s)->{viewers}, '>=', 20, 'and all of them count as viewers';

# -------------------------------------- a blocking playlist is asked for once

my ($msn) = get("$live[0]index.m3u8")->{body} =~ /PRELOAD-HINT:TYPE=PART,URI="[^"]*part-(\d+)/;
my $path = 'index.m3u8?_HLS_msn=' . ($msn + 1) . '&_HLS_part=0';
my @wait = map { MDVR::HTTP->new(port => $port, timeout => 20)->begin('GET', "$_$path") } @live[0 .. 9];
my @status = map { $_->end->{status} } @wait;
is "@status", join(' ', (200) x 10), 'ten wait for the same playlist';
is scalar(() = $n->access_log =~ /index\.m3u8\?_HLS_msn=@{[ $msn + 1 ]}&_HLS_part=0 /g), 1, 'which the origin made once';

# ------------------------------------------------------------------ permission

my ($cached) = ($live[3] . $segment, get("$live[3]$segment"));
$t->redis('PUBLISH', 'mdvr:ctl', qq({"op":"revoke_session","id":"$user[3]","until":) . int(time + 900) . '}');
my $t0 = time;
ok eventually(sub { get($cached)->{status} == 401 }, 5), 'a token that was taken back gets nothing, cached or not';
cmp_ok time - $t0, '<', 5, sprintf 'within 5 s (%.1f s)', time - $t0;
is get("$live[3]index.m3u8")->{status}, 401, 'no playlist either';
is get("$live[4]$segment")->{status}, 200, 'another viewer still does';
my $forged = $live[4] =~ s/.(?=\/$)/A/r;
is get(($forged eq $live[4] ? $live[4] =~ s/.(?=\/$)/B/r : $forged) . $segment)->{status}, 401, 'a forged token does not';
my $other = $bus->start('00002');
is get('/live/' . $bus->token($t, $other) . "/$segment")->{status}, 404, 'nor does a token of another stream';
is get('/live/' . $bus->token($t, { %$other, device => '00000000-0000-7000-8000-000000000099' }) . "/$segment")->{status}, 403,
    'and one whose stream does not run';
is get("$live[4]permit")->{status}, 204, 'permission alone is 204';

# ------------------------------------------------------- the CloudFront function

open $fh, '>', "$dir/edge.cjs" or die $!;
print $fh slurp('conf/cdn-cloudfront.js') =~ s/^import cf from 'cloudfront';/const store = JSON.parse(process.argv[2]); const cf = { kvs: () => ({ get: async (k) => { if (!(k in store)) throw new Error('none'); return store[k]; } }) };/mr,
    'handler({ request: { uri: process.argv[3], headers: {} } }).then((r) => console.log(r.statusCode || r.uri, (r.headers["x-mdvr-token"] || {}).value || ""));';
close $fh;
my ($kid, $secret) = @{ ($t->sql(q{select left(kid, 8), encode(secret, 'hex') from mdvr.signing_key where purpose = 'stream'}))[0] };
my $ask = sub { my ($uri) = @_; open my $out, '-|', 'node', "$dir/edge.cjs", qq({"$kid":"$secret"}), $uri or die $!; my $l = <$out>; close $out; chomp $l; return $l };
my ($token) = $live[4] =~ m{/live/(.*)/};
is $ask->("$live[4]$segment"), "/live/$segment $token", 'CloudFront: a good token leaves the address';
is $ask->("$live[4]index.m3u8"), "$live[4]index.m3u8 ", 'playlists are left alone';
is $ask->('/live/' . $bus->token($t, $s, expires => time - 5) . "/$segment"), '403 ', 'one that expired is refused';
is $ask->('/live/' . ($token =~ s/^(.{60})(.)/$1 . ($2 eq 'A' ? 'B' : 'A')/er) . "/$segment"), '401 ', 'and a forged one';
is $ask->("/live/$segment"), '401 ', 'so is the address of what is cached';
is $n->{t}->http->request('GET', "$live[4]" . ($segment =~ s/^./x/r))->{status}, 404, 'the origin knows its streams\' names';

MDVR::Media::play_stop($film);
kill QUIT => $edge;
ok eventually(sub { waitpid($edge, POSIX::WNOHANG()) > 0 }, 10), 'the edge stops';
undef $edge;
is_deeply [ MDVR::Test::alarms(slurp("$dir/edge.log")) ], [], 'without an alert';
$t->done;
