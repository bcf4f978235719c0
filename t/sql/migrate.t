# The migration runner: each file once, in order, checked, and never halfway.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use File::Copy qw(copy);
use File::Path qw(make_path);

my $t = MDVR::Test->new(no_redis => 1);
my $admin = $t->store->conninfo('mdvr_admin');

sub migrate {
    my ($dir, @args) = @_;
    my $text = qx($dir/migrate @{[ map { "'$_'" } @args ]} 2>&1);
    return ($? >> 8, $text);
}

sub fresh {
    my ($name) = @_;
    $t->sql("create database $name");
    return $admin =~ s/dbname=mdvr/dbname=$name/r;
}

my ($rc, $text) = migrate('sql', $admin);
is $rc, 0, 'a migrated database is accepted';
is $text, "schema is up to date\n", 'and nothing is done';

($rc, $text) = migrate('sql', '--status', $admin);
my @files = map { m{([^/]+)\.sql$} } sort glob 'sql/migrations/*.sql';
is $text, join('', map { "$_ applied\n" } @files), 'status lists every file as applied';

($rc, $text) = migrate('sql');
is $rc, 2, 'without an address it prints its usage';
($rc, $text) = migrate('sql', 'host=/nowhere dbname=x');
isnt $rc, 0, 'an unreachable server is an error';

# A copy of sql/ that may be changed.
my $copy = $t->dir . '/sql';
make_path("$copy/migrations", "$copy/verify");
copy("sql/$_", "$copy/$_") for qw(migrate connect.sh);
chmod 0755, "$copy/migrate";
copy($_, "$copy/" . s{^sql/}{}r) for glob('sql/migrations/*.sql'), glob('sql/verify/*.sql');

sub put {
    my ($file, $what) = @_;
    open my $fh, '>', "$copy/$file" or die $!;
    print $fh $what;
    close $fh;
}

put('migrations/0900_more.sql', 'create table mdvr.more (a integer);');
put('verify/0900_more.sql', "select 1 / (select count(*) from mdvr.more);");
($rc, $text) = migrate($copy, $admin);
isnt $rc, 0, 'a failing verify script is an error';
like $text, qr/0900_more failed and was rolled back/, 'that names the migration';
is $t->value("select to_regclass('mdvr.more') is null"), 't', 'and takes it back';
is((migrate($copy, '--status', $admin))[1] =~ /^0900_more pending$/m, 1, 'it stays pending');

put('verify/0900_more.sql', 'select a from mdvr.more;');
($rc, $text) = migrate($copy, $admin);
is $text, "0900_more applied\n", 'corrected, it is applied';
put('migrations/0900_more.sql', 'create table mdvr.more (b integer);');
($rc, $text) = migrate($copy, $admin);
is $rc, 1, 'a file that was changed afterwards is refused';
like $text, qr/0900_more was changed/, 'by name';
is((migrate($copy, '--status', $admin))[1] =~ /^0900_more changed$/m, 1, 'and shown as changed');
unlink "$copy/migrations/0900_more.sql";

put('migrations/0901_bare.sql', 'select 1;');
($rc, $text) = migrate($copy, $admin);
like $text, qr/0901_bare has no verify script/, 'a migration without a verify script is refused';
unlink "$copy/migrations/0901_bare.sql";

# Two runners at once, on an empty database of the same cluster.
my $url = fresh('twice');
my @pids = map {
    my $pid = fork // die $!;
    if (!$pid) {
        my ($rc, $text) = migrate($copy, $url);
        print STDERR $text if $rc;
        POSIX::_exit($rc);
    }
    $pid;
} 1, 2;
my @rc = map { waitpid $_, 0; $? } @pids;
is "@rc", '0 0', 'two runners at the same time both succeed';
is qx(psql -XtA -d '$url' -c 'select count(*) from mdvr.migration'), @files . "\n", 'and each file ran once';

# A user who is no superuser, as managed databases have.
$t->sql("create role installer login createrole password 'x'");
$t->sql('create database managed owner installer');
my $managed = "host=@{[ $t->store->{pg_socket} ]} dbname=managed user=installer password=x";
($rc, $text) = migrate($copy, $managed);
is $rc, 0, 'a user with CREATEROLE can migrate' or diag $text;
is qx(psql -XtA -d '$managed' -c "select tenant_id is not null from mdvr.bootstrap_admin('a\@b.c', '\\\$argon2id\\\$x', 'T')"), "t\n",
    'and make the first administrator';

$t->done;
