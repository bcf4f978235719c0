# The drill: an instance with positions, alarms, a film with evidence and an
# audit trail is saved, lost, restored elsewhere, and compared.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Clip;
use File::Path qw(make_path remove_tree);

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new;
my $s = $t->store;
my $dir = $t->dir;
my $n = $t->nginx;
my $id = $t->add_device('00007', channels => 4);
my $api = $t->admin;
$t->daemon('mdvr-worker');
my $dev = $t->device('00007');
$dev->v101;
my $now = int time;
$dev->v114(at => $now - 100 + $_, lat => [ 47, 22, 36000000 + $_ * 1000 ], lon => [ 8, 32, 0 ]) for 1 .. 50;
ok eventually { $s->value('select count(*) from mdvr.telemetry') == 50 }, 'positions';
$dev->alarm('V201');
ok eventually { $s->value('select count(*) from mdvr.alarm') == 1 }, 'an alarm';
my $p = $api->begin('POST', "/api/v1/devices/$id/snapshot", { channel => 1 });
my $cmd = $dev->expect('C510', 10);
$dev->answer($cmd, 1, 1, '', 0);
is $p->end->{status}, 202, 'a picture is asked for';
my $objects = "$dir/objects";
make_path("$objects/t/2026/01/02/m");
for my $i (1 .. 3) { open my $fh, '>', "$objects/t/2026/01/02/m/file$i.bin" or die; print $fh $i x (1000 * $i); close $fh }

sub run { my $out = `@_ 2>&1`; return ($?, $out) }
my $url = $s->conninfo('mdvr_admin');
my ($rc, $first) = run("ops/backup '$url' $objects $dir/saved");
is $rc, 0, 'a backup while it runs' or diag $first;
chomp $first;
my $m = json_of(slurp("$first/manifest.json"));
is $m->{rows}{telemetry}, 50, 'it says how many rows there are';
is $m->{objects}, 3, 'and objects';
cmp_ok $m->{rows}{audit}, '>', 1, 'the audit trail is in it';
is +(stat $first)[2] & 077, 0, 'nobody else reads it';

# a second one shares what has not changed, unless it was damaged
my $rotten = "$first/objects/t/2026/01/02/m/file2.bin";
open my $fh, '>', $rotten or die;
print $fh 'x' x -s "$objects/t/2026/01/02/m/file2.bin";
close $fh;
open $fh, '>', "$objects/t/2026/01/02/m/file4.bin" or die;
print $fh 'four';
close $fh;
($rc, my $second) = run("ops/backup '$url' $objects $dir/saved");
($second) = $second =~ /(\S+)\s*\z/;
is $rc, 0, 'another backup' or diag $second;
is slurp("$second/objects/t/2026/01/02/m/file2.bin"), slurp("$objects/t/2026/01/02/m/file2.bin"), 'does not keep what was damaged';
is +(stat "$second/objects/t/2026/01/02/m/file1.bin")[3], 2, 'shares objects with the one before';
is json_of(slurp("$second/manifest.json"))->{objects}, 4, 'and has the new one';

# lost
my %before = map { $_ => [ map { join '|', map { $_ // '' } @$_ } $s->sql("select * from mdvr.$_ order by 1, 2") ] }
    qw(device alarm event audit user tenant telemetry);
my $tenant = $s->value('select tenant_id from mdvr.device where id = ?', $id);
$n->stop;
remove_tree("$objects");

# found
$s->sql('create database restored');
my $new = $url =~ s/dbname=mdvr/dbname=restored/r;
($rc, my $said) = run("ops/restore $second '$new' $objects");
is $rc, 0, 'the restore verifies every row and object' or diag $said;
like $said, qr/restored: \d+ rows in \d+ tables, 4 objects/, 'and says so';
is +(stat "$objects/t/2026")[2], (stat $objects)[2], 'folders are as open as the storage';
my $psql = sub { my ($q) = @_; my $out = `psql -X -q -A -t -F '|' -d '$new' -c "$q"`; return split /\n/, $out };
for my $table (qw(device alarm event audit tenant)) {
    is scalar(my @now = $psql->("select * from mdvr.$table")), scalar @{ $before{$table} }, "mdvr.$table is whole";
}
is +($psql->("select mdvr.audit_verify('$tenant')"))[0], 0, "the audit's chain of hashes holds";
is +($psql->("set role mdvr_api; select count(*) from mdvr.device"))[-1], 0, 'row security is in force there: no tenant, no rows';
like +($psql->("select 'made', mdvr.ensure_partitions()"))[0] // '', qr/^made/, 'partitions can be made';

($rc, $said) = run("ops/restore $second '$new' $dir/elsewhere");
isnt $rc, 0, 'a database that is in use is not overwritten';
like $said, qr/has a schema mdvr already/, 'which is said';
open $fh, '>>', "$first/database.dump" or die;
print $fh 'x';
close $fh;
$s->sql('create database third');
($rc, $said) = run("ops/restore $first '" . ($url =~ s/dbname=mdvr/dbname=third/r) . "' $dir/elsewhere");
isnt $rc, 0, 'a damaged backup is not loaded';
like $said, qr/damaged/, 'which is said, too';
$t->done;
