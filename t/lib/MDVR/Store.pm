package MDVR::Store;

# A private PostgreSQL and a private Redis.
#
# The cluster is copied from a template that is made once for each state of
# sql/: initdb, migrations, passwords of the roles, a first super admin.  A
# copy starts in about half a second.  Commits survive a crash of PostgreSQL, but
# are not synced to disk unless
# durable => 1.

use v5.30;
use warnings;
use Carp qw(croak);
use Digest::SHA qw(sha256_hex);
use Fcntl qw(:flock);
use File::Path qw(make_path remove_tree);
use IO::Socket::UNIX;
use IPC::Open2 qw(open2);
use JSON::PP ();
use Time::HiRes qw(time sleep);

my $PGBIN = (sort glob '/usr/lib/postgresql/*/bin')[-1];
my $ADMIN = { email => 'admin@mdvr.test', password => 'the first password' };
my $SECRET = 'test-password';

sub new {
    my ($class, $dir, %opt) = @_;
    my $self = bless {
        dir => $dir, pid => $$, durable => $opt{durable},
        pg => "$dir/pg", pg_socket => "$dir/s",
        redis_dir => "$dir/redis", redis_socket => "$dir/s/redis.sock",
        redis_password_file => "$dir/redis.password", passfile => "$dir/pgpass",
        pg_options => $opt{postgres} // {},
    }, $class;

    make_path("$dir/s", "$dir/redis", "$dir/objects", "$dir/tmp");
    chmod 01777, "$dir/s";
    give($_, MDVR::Test::svc_user()) for "$dir/redis", "$dir/objects", "$dir/tmp";
    $self->write_secret($self->{redis_password_file}, "redis-$SECRET\n");
    $self->write_secret($self->{passfile}, join '', map { "*:*:*:$_:$SECRET\n" }
        qw(mdvr_stream mdvr_api mdvr_worker));
    $self->write_secret("$dir/storage.key", sha256_hex($SECRET) . "\n");

    return $self;
}

sub start {
    my ($self, %opt) = @_;
    $self->redis_start unless $opt{no_redis};
    unless ($opt{no_postgres}) {
        my $template = template();
        system('cp', '-a', '--reflink=auto', $template, $self->{pg}) == 0 or croak 'cannot copy the template';
        $self->pg_start;
    }
}

sub give {
    my ($file, $user) = @_;
    return if $> != 0;
    my ($uid, $gid) = (getpwnam $user)[2, 3];
    chown $uid, $gid, $file;
}

sub write_secret {
    my ($self, $file, $text) = @_;
    open my $fh, '>', $file or croak "$file: $!";
    print $fh $text;
    close $fh;
    chmod 0600, $file;
    give($file, MDVR::Test::svc_user());
}

sub first_admin { return $ADMIN }

# ----------------------------------------------------------------- PostgreSQL

# The path of the template for the present sql/; made when missing.
sub template {
    my $top = $MDVR::Test::TOP;
    my $sum = sha256_hex(join "\0", 'v3', map { $_, MDVR::Test::slurp($_) }
        sort(glob("$top/sql/migrations/*.sql"), glob("$top/sql/verify/*.sql")), "$top/sql/migrate");
    my $base = MDVR::Test::reachable($top) ? "$top/build/tmp" : '/tmp/mdvr-t';
    my $dir = "$base/pg-" . substr $sum, 0, 16;
    return $dir if -e "$dir/ready" || -e "$dir.ready";

    make_path($base);
    open my $lock, '>>', "$base/pg-template.lock" or croak "$base: $!";
    flock $lock, LOCK_EX;
    return $dir if -e "$dir.ready";

    remove_tree(grep { !/\.lock$/ } glob "$base/pg-[0-9a-f]*");
    make_path($dir);
    my $user = MDVR::Test::db_user();
    give($dir, $user);
    chmod 0700, $dir;
    my $log = "$base/pg-template.log";
    my $run = sub {
        my ($what, @cmd) = @_;
        local $ENV{LC_ALL} = 'C.UTF-8';
        my $pid = fork // croak "fork: $!";
        if ($pid == 0) {
            open STDIN, '<', '/dev/null';
            open STDOUT, '>>', $log;
            open STDERR, '>&', \*STDOUT;
            chdir '/';
            exec @cmd or POSIX::_exit(127);
        }
        waitpid $pid, 0;
        if ($?) {
            my @tail = split /\n/, MDVR::Test::slurp($log);
            splice @tail, 0, @tail - 15 if @tail > 15;
            system(MDVR::Test::as_user($user, "$PGBIN/pg_ctl", '-D', $dir, '-s', '-m', 'immediate', 'stop'))
                if -e "$dir/postmaster.pid";
            croak join "\n", "$what failed:", @tail, '';
        }
    };

    my $sock = "/tmp/mdvr-tpl-$$";
    make_path($sock);
    give($sock, $user);
    $run->('initdb', MDVR::Test::as_user($user, "$PGBIN/initdb", '-D', $dir, '-U', 'mdvr_admin',
        '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync', '--wal-segsize=4'));
    $run->('starting the template', MDVR::Test::as_user($user, "$PGBIN/pg_ctl", '-D', $dir, '-s', '-w',
        '-o', "-c listen_addresses='' -c unix_socket_directories='$sock' -c fsync=off -c full_page_writes=off",
        '-l', "$dir/template.log", 'start'));
    eval {
        my $url = "host=$sock user=mdvr_admin dbname=mdvr";
        my @psql = ('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $url);
        $run->('createdb', 'createdb', '-h', $sock, '-U', 'mdvr_admin', 'mdvr');
        $run->('sql/migrate', "$top/sql/migrate", $url) if -x "$top/sql/migrate";
        $run->('role passwords', @psql, '-c', "alter role $_ login password '$SECRET'")
            for -x "$top/sql/migrate" ? qw(mdvr_stream mdvr_api mdvr_worker) : ();
        my $hash = MDVR::Test::password_hash($ADMIN->{password});
        $run->('the first super admin', @psql, '-c',
            "select mdvr.bootstrap_admin('$ADMIN->{email}', '$hash', 'First')") if -x "$top/sql/migrate";
        1;
    } or do {
        my $why = $@;
        system(MDVR::Test::as_user($user, "$PGBIN/pg_ctl", '-D', $dir, '-s', '-m', 'immediate', 'stop'));
        die $why;
    };
    $run->('stopping the template', MDVR::Test::as_user($user, "$PGBIN/pg_ctl", '-D', $dir, '-s', '-w', 'stop'));
    open my $hba, '>', "$dir/pg_hba.conf" or croak $!;
    print $hba "local all mdvr_admin trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";
    close $hba;
    remove_tree($sock);
    open my $ready, '>', "$dir.ready" or croak $!;
    return $dir;
}

sub pg_start {
    my ($self) = @_;
    my %conf = (
        listen_addresses => "''", unix_socket_directories => "'$self->{pg_socket}'", port => 5432,
        max_connections => 100, shared_buffers => '32MB', jit => 'off', dynamic_shared_memory_type => 'mmap', timezone => "'UTC'",
        log_timezone => "'UTC'", log_line_prefix => "'%m [%p] %u %a %e '", max_wal_size => '512MB',
        $self->{durable} ? () : (fsync => 'off', full_page_writes => 'off'),
        %{ $self->{pg_options} },
    );
    my $file = "$self->{pg}/postgresql.auto.conf";
    open my $fh, '>', $file or croak "$file: $!";
    print $fh "$_ = $conf{$_}\n" for sort keys %conf;
    close $fh;
    give($file, MDVR::Test::db_user());
    $self->pg_ctl('-w', '-t', 60, '-l', "$self->{pg}/server.log", 'start')
        or croak 'PostgreSQL does not start: ' . MDVR::Test::slurp("$self->{pg}/server.log");
}

sub pg_ctl {
    my ($self, @args) = @_;
    delete $self->{psql} unless grep { $_ eq 'start' } @args;
    my $pid = fork // croak "fork: $!";
    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', '/dev/null';
        open STDERR, '>&', \*STDOUT;
        chdir $self->{dir};
        exec MDVR::Test::as_user(MDVR::Test::db_user(), "$PGBIN/pg_ctl", '-D', $self->{pg}, '-s', @args)
            or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    return $? == 0;
}

# What the server said that nobody may make it say: deadlocks (40), whoever it was,
# and, in a statement of our programs (psql is a test's own), what cannot be right:
# names and types that do not exist (42), rights that are missing, two rows where
# one is (21), the server's own faults (XX).  42P05 is known from pgbouncer.
sub alarms {
    my ($self) = @_;
    open my $log, '<', "$self->{pg}/server.log" or return;
    my @bad;
    while (my $line = <$log>) {
        my ($who, $state, $said) = $line =~ /^\S+ \S+ UTC \[\d+\] (.*) ([0-9A-Z]{5}) (?:ERROR|FATAL|PANIC): +(.*)/ or next;
        my $never = $state =~ /^(?:40...|XX...)$/ || $who !~ / psql$/
            && ($state =~ /^(?:21...|42(?!501|P05)...)$/ || $state eq '42501' && $said =~ /^(?:permission denied|must be)/);
        push @bad, "PostgreSQL: $who $state $said" if $never;
    }
    return @bad;
}

# mode: fast (default), or immediate, which is a crash
sub pg_stop { my ($self, $mode) = @_; $self->pg_ctl('-w', '-t', 60, '-m', $mode // 'fast', 'stop') }
sub pg_restart { my ($self, $mode) = @_; $self->pg_stop($mode); $self->pg_start }

# For libpq: one of the application's roles, or the administrator.
sub conninfo {
    my ($self, $role) = @_;
    my $base = "host=$self->{pg_socket} port=5432 dbname=mdvr user=$role";
    return $role eq 'mdvr_admin' ? $base : "$base passfile=$self->{passfile}";
}

sub quote {
    my ($self, $v) = @_;
    return 'null' unless defined $v;
    $v =~ s/'/''/g;
    return $v =~ /\\/ ? " E'" . ($v =~ s/\\/\\\\/gr) . "'" : "'$v'";
}

# Each ? outside of quotes is replaced by the next value, quoted.
sub bind_values {
    my ($self, $sql, @values) = @_;
    return $sql unless @values;
    $sql =~ s{('(?:[^']|'')*')|\?}{ $1 // $self->quote(shift @values) }ge;
    return $sql;
}

# Runs SQL as the administrator (who sees every tenant) over one psql that
# stays open.  Dies with PostgreSQL's message.
sub sql {
    my ($self, $sql, @values) = @_;
    $sql = $self->bind_values($sql, @values);
    my $text = $self->psql($sql);
    return map { [ split /\x1f/, $_, -1 ] } split /\x1e/, $text;
}

sub psql {
    my ($self, $sql) = @_;
    unless ($self->{psql} && $self->{psql}{pid_of} == $$) {
        my ($out, $in);
        my $pid = open2($out, $in, 'sh', '-c', 'exec "$@" 2>&1', 'sh', 'psql', '-X', '-q', '-A', '-t',
            '-F', "\x1f", '-R', "\x1e", '-P', 'null=', '-d', $self->conninfo('mdvr_admin'));
        $self->{psql} = { in => $in, out => $out, pid => $pid, pid_of => $$ };
        $in->autoflush(1);
    }
    my $p = $self->{psql};
    local $SIG{PIPE} = 'IGNORE';
    print { $p->{in} } "$sql\n;\n\\echo \x1d\n";
    my $text = '';
    while (1) {
        my $n = sysread $p->{out}, $text, 65536, length $text;
        if (!$n) { delete $self->{psql}; croak "psql went away: $text" }
        last if $text =~ s/\x1d\n\z//;
    }
    chomp $text;
    croak "$1 in: $sql" if $text =~ /^((?:ERROR|FATAL):.*)/ms;
    return $text;
}

sub value { my ($self, @args) = @_; my ($row) = $self->sql(@args); return $row ? $row->[0] : undef }

sub rows {
    my ($self, $sql, @values) = @_;
    $sql = $self->bind_values($sql =~ s/;\s*$//r, @values);
    my $json = $self->psql("select coalesce(json_agg(q), '[]') from ($sql) q");
    return @{ JSON::PP->new->decode($json) };
}

# A query, or the name of a table: then its only (or any) row.
sub row {
    my ($self, $sql, @values) = @_;
    $sql = "select * from mdvr.$sql" unless $sql =~ /\s/;
    return ($self->rows($sql, @values))[0];
}

# ---------------------------------------------------------------------- Redis

sub redis_start {
    my ($self, $socket) = @_;
    $socket //= $self->{redis_socket};
    my $conf = "$self->{dir}/redis.conf";
    my $password = "redis-$SECRET";
    $self->write_secret($conf, <<"TXT");
port 0
unixsocket $socket
unixsocketperm 777
requirepass $password
daemonize no
logfile $self->{redis_dir}/redis.log
dir $self->{redis_dir}
save ""
appendonly yes
appendfsync no
TXT
    my $pid = fork // croak "fork: $!";
    if ($pid == 0) {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$self->{dir}/redis.out";
        open STDERR, '>&', \*STDOUT;
        chdir $self->{dir};
        POSIX::setsid();
        exec MDVR::Test::as_user(MDVR::Test::svc_user(), 'redis-server', $conf) or POSIX::_exit(127);
    }
    $self->{redis_pid} = $pid;
    my $up = MDVR::Test::eventually(sub { -S $socket && ($socket ne $self->{redis_socket} || eval { $self->redis('PING') }) }, 10);
    croak 'Redis does not start: ' . MDVR::Test::slurp("$self->{dir}/redis.out") unless $up;
}

sub redis_stop {
    my ($self, $signal) = @_;
    my $pid = delete $self->{redis_pid} or return;
    delete $self->{redis_conn};
    kill $signal // 'TERM', $pid;
    MDVR::Test::wait_pid($pid, 20) or kill KILL => $pid;
    unlink $self->{redis_socket};
}

# Another server, which knows nothing, takes the address over; then the old one dies.
sub redis_failover {
    my ($self) = @_;
    my $old = $self->{redis_pid};
    my ($dir, $n) = ($self->{redis_dir}, ++$self->{redis_n});
    $self->{redis_dir} = "$self->{dir}/redis$n";
    make_path($self->{redis_dir});
    give($self->{redis_dir}, MDVR::Test::svc_user());
    $self->redis_start("$self->{dir}/s/redis$n.sock");
    rename "$self->{dir}/s/redis$n.sock", $self->{redis_socket} or croak "rename: $!";
    delete $self->{redis_conn};
    kill KILL => $old;
    MDVR::Test::wait_pid($old, 20);
}

sub redis_restart { my ($self, $signal) = @_; $self->redis_stop($signal); $self->redis_start }

# One command; nil is undef, an array a reference, an error dies.
sub redis {
    my ($self, @args) = @_;
    my $c = $self->{redis_conn};
    if (!$c || $c->{pid} != $$) {
        my $s = IO::Socket::UNIX->new(Peer => $self->{redis_socket}) or croak "Redis: $!";
        $c = $self->{redis_conn} = { sock => $s, pid => $$, buf => '' };
        $self->redis_send($c, 'AUTH', "redis-$SECRET");
        redis_read($c);
    }
    $self->redis_send($c, @args);
    return redis_read($c);
}

sub redis_send {
    my ($self, $c, @args) = @_;
    my $msg = '*' . @args . "\r\n" . join '', map { '$' . length($_) . "\r\n$_\r\n" } @args;
    local $SIG{PIPE} = 'IGNORE';
    unless (defined syswrite $c->{sock}, $msg) { delete $self->{redis_conn}; croak "Redis: $!" }
}

sub redis_read {
    my ($c) = @_;
    my $more = sub {
        my $n = sysread $c->{sock}, $c->{buf}, 65536, length $c->{buf};
        croak 'Redis closed the connection' unless $n;
    };
    $more->() until $c->{buf} =~ /\r\n/;
    $c->{buf} =~ s/^([-+:\$*])(.*?)\r\n//s;
    my ($kind, $rest) = ($1, $2);
    return $rest if $kind eq '+' || $kind eq ':';
    croak "Redis: $rest" if $kind eq '-';
    return undef if $rest < 0;
    if ($kind eq '$') {
        $more->() until length $c->{buf} >= $rest + 2;
        my $v = substr $c->{buf}, 0, $rest;
        substr($c->{buf}, 0, $rest + 2) = '';
        return $v;
    }
    return [ map { redis_read($c) } 1 .. $rest ];
}

sub stop {
    my ($self) = @_;
    return if $self->{stopped}++;
    if (my $p = delete $self->{psql}) {
        if ($p->{pid_of} == $$) {
            close $p->{in};
            close $p->{out};
            waitpid $p->{pid}, 0;
        }
    }
    $self->redis_stop;
    $self->pg_ctl('-w', '-t', 60, '-m', 'immediate', 'stop') if -e "$self->{pg}/postmaster.pid";
}

1;
