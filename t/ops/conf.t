# The sample configurations load, and the module refuses nonsense in a sentence.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use File::Path qw(make_path);

my $dir = MDVR::Test::test_dir();
make_path("$dir/log", "$dir/state");
my $module = "$MDVR::Test::TOP/build/ngx_mdvr_module.so";
plan(skip_all => 'the module is not built') unless -f $module;
system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x -keyout $dir/key.pem -out $dir/cert.pem 2>/dev/null");
my $key = '9f3c1ab27e5d604811c0d92f7b3ea6558842fc0d17e96ba35c20714fde88b39a';

# a file below /etc/mdvr
sub put {
    my ($name, $text, $mode) = @_;
    open my $fh, '>', "$dir/$name" or die;
    print $fh $text;
    close $fh;
    chmod $mode // 0600, "$dir/$name";
}
put($_, "kept in a file\n") for qw(pgpass redis.password);
put('secret.key', "$key\n");

# Checks a configuration; what nginx said.
sub check {
    my ($text) = @_;
    open my $out, '>', "$dir/x.conf" or die;
    print $out $text;
    close $out;
    open my $in, '-|', 'sh', '-c', "exec /usr/sbin/nginx -t -q -p $dir -c $dir/x.conf -e stderr 2>&1" or die;
    local $/;
    my $said = <$in> // '';
    close $in;
    return $said;
}

# A sample with the paths and ports of this machine.
sub sample {
    my ($name) = @_;
    my $text = slurp("conf/$name");
    $text =~ s{/usr/lib/nginx/modules/ngx_mdvr_module\.so}{$module};
    $text =~ s{/etc/mdvr/}{$dir/}g;
    $text =~ s{/var/lib/mdvr}{$dir/state}g;
    $text =~ s{/var/(?:log|cache)/nginx/}{$dir/log/}g;
    $text =~ s{/run/(nginx[-a-z]*)\.pid}{$dir/$1.pid};
    $text =~ s{^user .*;}{}m if $> != 0;
    $text =~ s/listen (\d+)(?![\d.])/'listen 127.0.0.1:' . ($1 < 1024 ? $1 + 18000 : $1)/ge;
    return $text;
}

for my $name (qw(minimal.conf full.conf rtmp.conf cdn.conf split/signaling.conf split/media.conf)) {
    is check(sample($name)), '', "conf/$name loads";
}

my $good = sample('minimal.conf');
for my $case (
    [ 'mdvr_node n1;', 'mdvr_node N_1;', qr/invalid node id "N_1": only a-z/ ],
    [ 'mdvr_node n1;', '', qr/"mdvr_zone" needs "mdvr_node"/ ],
    [ 'mdvr_zone 64m;', 'mdvr_zone 1m;', qr/invalid size "1m"/ ],
    [ 'mdvr_zone 64m;', 'mdvr_zone 64m; mdvr_zone 64m;', qr/"mdvr_zone" directive is duplicate/ ],
    [ 'mdvr_postgres stream', 'mdvr_postgres root', qr/invalid parameter "root" in "mdvr_postgres"/ ],
    [ 'passfile=PATH"', 'passfile=PATH" pool=0', qr/invalid parameter "pool=0" in "mdvr_postgres": pool must be between 1 and 64/ ],
    [ 'mdvr_public_host 203.0.113.10;', 'mdvr_public_host 203.0.113.10; mdvr_media_port x;', qr/invalid number "?x?"?/ ],
    [ 'load_module /usr/lib/nginx/modules/ngx_stream_module.so;', '', qr/undefined symbol|is not binary compatible|dlopen/ ],
) {
    my ($from, $to, $says) = @$case;
    my $text = $good;
    s/PATH/$dir\/pgpass/ for $from, $to;
    ok $text =~ s/\Q$from\E/$to/, "the sample has '$from'" or next;
    like check($text), $says, "refused: $to" . ($to ? '' : "without $from");
}

# ----------------------------------------- secrets: missing, empty, examples

(my $no_key = $good) =~ s/^mdvr_secret_key .*;$//m;
like check($no_key), qr/"mdvr_postgres api" needs "mdvr_secret_key"/, 'without a key it does not start';
is check($good =~ s/(mdvr_secret_key) .*;/$1 off;/r), '', '... unless that is said';
for my $case (
    [ '', 0600, qr/secret\.key" of "mdvr_secret_key" is empty/ ],
    [ "changeme\n", 0600, qr/has a line that is not 64 hexadecimal digits/ ],
    [ '0123456789abcdef' x 4, 0600, qr/holds an example, not a random key/ ],
    [ '0' x 64, 0600, qr/holds an example, not a random key/ ],
    [ "$key\n", 0644, qr/can be read by everybody/ ],
) {
    put('secret.key', @$case[0, 1]);
    like check($good), $case->[2], "a key file is refused: $case->[2]";
}
unlink "$dir/secret.key";
like check($good), qr/does not exist/, '... and none';
put('secret.key', "# made today\n$key\n", 0640);
is check($good), '', 'a group may read it';

my $full = sample('full.conf');
for my $word ('', 'changeme', 'Password', 'secret', 'abc', 'foobared') {
    put('redis.password', "$word\n");
    like check($full), $word ? qr/is an example, or shorter than 8 characters/ : qr/does not hold a password/, "Redis's password '$word' is refused";
}
put('redis.password', "kept in a file\n");
is check($full), '', 'a good one is not';
like check($good =~ s/user=mdvr_api passfile=\S+"/user=mdvr_api password=changeme"/r),
    qr/the password in "mdvr_postgres api" is an example/, "PostgreSQL's as well";

File::Path::remove_tree($dir) if Test::More->builder->is_passing;
done_testing;
