# What is handed to machines: the Debian package, the systemd units, logrotate,
# containers and manifests.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use File::Path qw(make_path);

plan skip_all => 'not everything is built' if grep { !-e } 'build/ngx_mdvr_module.so', 'build/bin/mdvr-worker', 'build/bin/mdvr-rtc', 'web/dist/index.html';
my $dir = MDVR::Test::test_dir();

# ---------------------------------------------------------------- the package

my $deb = `ops/deb/build 2>$dir/deb.log`;
is $?, 0, 'the package is made' or diag slurp("$dir/deb.log");
chomp $deb;
like my $info = `dpkg-deb -I $deb`, qr/^ Package: mdvr$/m, 'dpkg reads it';
like $info, qr/nginx-abi-[\d.]+/, "it needs the nginx that the module was built for";
like $info, qr/libpq5.*libsrtp2-1/, 'and the libraries that the programs are linked to';
my @list = split /\n/, `dpkg-deb -c $deb`;
my %mode = map { my ($m, $o, $n) = /^(\S+) (\S+) .*? \.(\S*)/; ($n => "$m $o") } @list;
for (qw(/usr/lib/nginx/modules/ngx_mdvr_module.so /usr/bin/mdvr-worker /usr/bin/mdvr-rtc /usr/bin/mdvr-passwd /usr/bin/mdvr-migrate
    /usr/bin/mdvr-verify-evidence /usr/share/mdvr/web/index.html /usr/share/mdvr/sql/migrate /usr/lib/systemd/system/mdvr-worker.service
    /etc/mdvr/mdvr.env /etc/logrotate.d/mdvr /usr/share/doc/mdvr/docs/operations.md /usr/share/doc/mdvr/examples/full.conf
    /usr/share/doc/mdvr/examples/prometheus/mdvr.rules.yml))
{
    ok $mode{$_}, "it has $_";
}
is_deeply [ grep { $mode{$_} !~ m{ root/root$} } sort keys %mode ], [], 'all of it is of root';
is_deeply [ grep { $mode{$_} =~ /^[d-].{7}w/ } sort keys %mode ], [], 'nothing is writable by anybody else';
is substr($mode{'/etc/mdvr/mdvr.env'}, 0, 10), '-rw-r-----', 'settings are not for everybody';

system "dpkg-deb -x $deb $dir/root";
my $root = "$dir/root";
like `$root/usr/bin/mdvr-worker 2>&1`, qr/must be set/, 'the worker of the package runs';
ok -s "$root/usr/share/mdvr/sql/migrations/0001_base.sql" || glob("$root/usr/share/mdvr/sql/migrations/*.sql"), 'migrations are in it';
like slurp("$root/usr/share/mdvr/sql/migrate"), qr{^here=/usr/share/mdvr/sql$}m, 'and are found where they are';
is_deeply [ grep { slurp($_) =~ m{\Q$MDVR::Test::TOP\E} } glob("$root/usr/bin/* $root/usr/lib/nginx/modules/*") ], [], 'no program knows where it was built';

# the module as packaged, with the sample that is packaged with it
my $conf = slurp("$root/usr/share/doc/mdvr/examples/minimal.conf");
system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x -keyout $dir/key.pem -out $dir/cert.pem 2>/dev/null");
make_path("$dir/state");
open my $fh, '>', "$dir/pgpass" or die;
close $fh;
system "umask 077; openssl rand -hex 32 >$dir/secret.key";
$conf =~ s{/usr/lib/nginx/modules/ngx_mdvr_module\.so}{$root$&};
$conf =~ s{/etc/mdvr/}{$dir/}g;
$conf =~ s{/var/lib/mdvr}{$dir/state}g;
$conf =~ s{/var/log/nginx/}{$dir/}g;
$conf =~ s{/run/nginx\.pid}{$dir/nginx.pid};
$conf =~ s{^user .*;}{}m if $> != 0;
$conf =~ s/listen (\d+)/'listen 127.0.0.1:' . MDVR::Test::free_port()/ge;
open $fh, '>', "$dir/nginx.conf" or die;
print $fh $conf;
close $fh;
is `/usr/sbin/nginx -t -q -p $dir -c $dir/nginx.conf -e stderr 2>&1`, '', 'nginx loads the packaged module';

# ------------------------------------------------------------------ the units

my $analyze = `sh -c 'command -v systemd-analyze'`;
SKIP: {
    skip 'systemd-analyze is not installed', 10 unless $analyze;
    make_path("$dir/units");
    for my $unit (glob 'ops/systemd/*.service') {
        my ($name) = $unit =~ m{([^/]+)$};
        my $text = slurp($unit) =~ s{ExecStart=/usr/bin}{ExecStart=$root/usr/bin}r =~ s{EnvironmentFile=/etc}{EnvironmentFile=$root/etc}r;
        open my $out, '>', "$dir/units/$name" or die;
        print $out $text;
        close $out;
        is `systemd-analyze verify --man=no $dir/units/$name 2>&1 | grep -F $name`, '', "$name is a good unit";
        my $safe = `systemd-analyze security --offline=true --no-pager $dir/units/$name 2>/dev/null | tail -n 1`;
        my ($exposure) = $safe =~ /: ([\d.]+) /;
        cmp_ok $exposure // 10, '<', 4, "$name may do little: exposure " . ($exposure // 'unknown');
    }
}
my $rotate = slurp('ops/logrotate.conf') =~ s{/var/log/mdvr}{$dir/log}r =~ s/^\s*su .*$//mr;
make_path("$dir/log");
open $fh, '>', "$dir/log/nginx.log" or die;
print $fh "{}\n" x 100;
close $fh;
open $fh, '>', "$dir/rotate.conf" or die;
print $fh $rotate;
close $fh;
chmod 0644, "$dir/rotate.conf";
is system("logrotate -f -s $dir/rotate.state $dir/rotate.conf >$dir/rotate.log 2>&1"), 0, 'logrotate takes its file' or diag slurp("$dir/rotate.log");
ok -e "$dir/log/nginx.log.1" && !-s "$dir/log/nginx.log", 'and rotates in place';

# --------------------------------------------------- containers and manifests

my $yaml = `python3 - conf/kubernetes/*.yaml ops/container/compose.yaml 2>&1 <<'PY'
import sys, yaml
for name in sys.argv[1:]:
    for doc in yaml.safe_load_all(open(name)):
        if "kubernetes" in name:
            assert doc["apiVersion"] and doc["kind"] and doc["metadata"], name
            for spec in [doc.get("spec", {}).get("template", {}).get("spec", {})]:
                volumes = {v["name"] for v in spec.get("volumes", [])} | {c["metadata"]["name"] for c in doc["spec"].get("volumeClaimTemplates", [])} if spec else set()
                for c in spec.get("containers", []) + spec.get("initContainers", []):
                    for m in c.get("volumeMounts", []):
                        assert m["name"] in volumes, (name, c["name"], m["name"])
        else:
            for s in doc["services"].values():
                for v in s.get("volumes", []):
                    first = v.split(":")[0]
                    assert first.startswith(".") or first in doc["volumes"], v
PY`;
is $yaml, '', 'manifests are YAML, and what they mount exists';
my %setting = map { $_ => 1 } map { slurp($_) =~ /\b(MDVR_[A-Z0-9_]+)/g } glob('worker/*.c rtc/*.c worker/*.h');
my @unknown = grep { !$setting{$_} && $_ ne 'MDVR_PUBLIC_HOST' } map { slurp($_) =~ /^\s*(?:- \{ name: )?(MDVR_[A-Z0-9_]+)[:=,]/mg }
    glob('conf/kubernetes/*.yaml ops/container/compose.yaml ops/deb/mdvr.env');
is_deeply \@unknown, [], 'each setting in them is one that a program reads';
system "rm -rf $dir";
done_testing;
