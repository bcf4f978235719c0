# Arguments of programs can be read by every user of the machine: none that ops/mdvr,
# sql/migrate, ops/backup and ops/restore start ever has a password or a key there.
# Each program they find is noted down with its arguments before it runs.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use Digest::SHA qw(hmac_sha256_hex);

my $top = $MDVR::Test::TOP;
my $dir = MDVR::Test::test_dir();
my %env = (MDVR_VAR => "$dir/var", DEMO => 0, MDVR_WORKERS => 1, PATH => "$dir/bin:$ENV{PATH}");
$env{"MDVR_${_}_PORT"} = MDVR::Test::free_port() for qw(HTTP WS HTTPS SIGNAL MEDIA);

mkdir "$dir/bin";
chmod 0755, $dir, "$dir/bin";
open my $fh, '>', "$dir/noted" or die;
close $fh;
chmod 0666, "$dir/noted";
open $fh, '>', "$dir/bin/note" or die;
print $fh <<"SH";
#!/bin/bash
name=\${0##*/}
{ printf '%s ' "\$name" "\$@"; echo; } >>$dir/noted
PATH=$ENV{PATH}
exec "\$(type -P "\$name")" "\$@"
SH
close $fh;
chmod 0755, "$dir/bin/note";
my @programs = qw(psql createdb pg_dump pg_restore pg_isready openssl perl jq grep sed awk cut head tail cat tee curl redis-cli redis-server getent
    env setpriv runuser su sha256sum xargs cp mv install);
symlink 'note', "$dir/bin/$_" for @programs;

my ($out, $rc);
sub run {
    my ($what, %more) = @_;
    local %ENV = (%ENV, %env, %more);
    $out = `timeout 170 $what 2>&1 </dev/null`;
    $rc = $?;
    return is $rc, 0, $what =~ s/\Q$top\E\///r =~ s/\Q$dir\E\///gr =~ s/:[^:@]+@/:...@/r || diag $out;
}
END {
    local $?;
    if ($env{MDVR_VAR}) { local %ENV = (%ENV, %env); system "$top/ops/mdvr stop >/dev/null 2>&1" }
}

run("$top/ops/mdvr start");
my %settings = slurp("$env{MDVR_VAR}/mdvr.env") =~ /^(\w+)='?(.*?)'?$/mg;
my $url = $settings{MDVR_DATABASE_URL};
like $url, qr{^postgresql://mdvr_admin:[^@]+@/mdvr\?}, 'the address of the database has the password';
my ($word) = $url =~ /:([^:@]+)@/;

my %running;        # what runs now was started by programs with full paths, too
for my $file (glob '/proc/[0-9]*/cmdline') { my $args = eval { slurp($file) } // next; $running{$file} = $args =~ tr/\0/ /r }
run("$top/ops/mdvr reload");
run("$top/ops/backup - $env{MDVR_VAR}/objects $dir/saved", MDVR_DATABASE_URL => $url);
my ($saved) = $out =~ /(\S+)\s*\z/;
run("$top/ops/backup '$url' $env{MDVR_VAR}/objects $dir/saved");
my $other = $url =~ s{/mdvr\?}{/again?}r;
my $sock = ($url =~ /host=([^&]+)/)[0] =~ s/%(..)/chr hex $1/ger;
run("createdb -h $sock -U mdvr_admin again", PGPASSWORD => $word);
run("$top/ops/restore $saved - $dir/objects", MDVR_DATABASE_URL => $other);
run("$top/sql/migrate --status", MDVR_DATABASE_URL => $url);
run("$top/sql/migrate '$url'");
run("$top/ops/mdvr stop");

# -- what nobody may have seen

my %secret = (q(the administrator's password) => $word, 'the first user\'s password' => json_of(slurp("$env{MDVR_VAR}/credentials.json"))->{password});
$secret{"the password of $_"} = hmac_sha256_hex("$_:mdvr", $word) for qw(mdvr_stream mdvr_api mdvr_worker seal all);
for my $file (glob "$env{MDVR_VAR}/secrets/*") {
    $secret{ $file =~ s{.*/}{secrets/}r . ($_ ? " ($_)" : '') } = (split /\n/, slurp($file))[$_] =~ s/.*://r for 0 .. (() = slurp($file) =~ /\n/g) - 1;
}
is $secret{'secrets/seal'}, $secret{'the password of seal'}, 'keys are still derived as before';
my @noted = split /\n/, slurp("$dir/noted");
cmp_ok scalar @noted, '>', 50, scalar(@noted) . ' programs were started';
my %had = map { (/^(\S+)/ ? ($1 => 1) : ()) } @noted;
ok $had{$_}, "$_ among them" for qw(psql pg_dump pg_restore perl jq);
for my $what (sort keys %secret) {
    next if length $secret{$what} < 8;
    is_deeply [ map { /^(\S+)/ } grep { index($_, $secret{$what}) >= 0 } @noted, values %running ], [], "$what is in no argument";
}
if (Test::More->builder->is_passing) { File::Path::remove_tree($dir) } else { diag "state kept in $dir" }
done_testing;
