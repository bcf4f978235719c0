package MDVR::Test;

# One private instance for one test: PostgreSQL and Redis of its own, one or
# more nginx on them, and everything a test says to them.
#
#   use MDVR::Test;                     # brings Test::More and eventually() along
#
#   my $t = MDVR::Test->new;            # stores only
#   my $n = $t->nginx(workers => 2, signaling => 'mdvr_idle_timeout 5s;');
#   my $id = $t->add_device('00007');   # a row; tenant "A" unless told otherwise
#   my $dev = $t->device('00007');      # a connection, see MDVR::Device
#   my $api = $t->admin;                # signed in, see MDVR::HTTP
#   is $api->get('/devices')->{json}{items}[0]{serial}, '00007', 'it is listed';
#   $t->done;                           # stops, checks the logs, closes the plan
#
# Nothing outlives the test: not even when it dies or is killed.  The state is
# under build/tmp/, kept when the test failed or MDVR_KEEP is set.

use v5.30;
use warnings;
use Carp qw(croak);
use Cwd qw(abs_path);
use Fcntl qw(:flock);
use File::Basename qw(basename);
use File::Path qw(make_path remove_tree);
use IO::Socket::INET;
use JSON::PP ();
use POSIX qw(WNOHANG);
use Test::More ();
use Time::HiRes qw(time sleep);

use MDVR::Store;
use MDVR::Nginx;
use MDVR::HTTP;
use MDVR::WebSocket;
use MDVR::Device;
use MDVR::Media;

our $TOP = abs_path(__FILE__) =~ s{/t/lib/MDVR/Test\.pm$}{}r;

sub import {
    my $caller = caller;
    strict->import;
    warnings->import;
    feature->import(':5.30');
    no strict 'refs';
    *{"${caller}::$_"} = \&{"Test::More::$_"} for @Test::More::EXPORT;
    *{"${caller}::$_"} = \&{$_} for qw(eventually json_of slurp);
    *{"${caller}::TODO"} = \$Test::More::TODO;
    *{"${caller}::$_"} = \&{"Time::HiRes::$_"} for qw(time sleep);
}

# ------------------------------------------------------------- small helpers

# Calls the sub until it returns something true, at most so many seconds (5,
# ten times as much under a sanitizer or when MDVR_SLOW is set).
sub eventually(&;$) {
    shift if ref $_[0] ne 'CODE';           # also callable as a method
    my ($sub, $seconds) = @_;
    my $end = time + patience($seconds // 5);
    my $pause = 0.005;
    while (1) {
        my $value = $sub->();
        return $value if $value;
        return $value if time > $end;
        sleep $pause;
        $pause *= 1.5 if $pause < 0.1;
    }
}

sub patience { $_[0] * ($ENV{MDVR_ASAN} || $ENV{MDVR_SLOW} ? 10 : 2) }

sub json_of { JSON::PP->new->utf8->allow_nonref->decode($_[0]) }

sub slurp {
    my ($file) = @_;
    open my $fh, '<:raw', $file or return '';
    local $/;
    return scalar <$fh> // '';
}

# Another user's command when we are root and the user is not us.
sub as_user {
    my ($user, @cmd) = @_;
    return @cmd if $> != 0 || $user eq 'root';
    my $group = (getpwnam $user)[3];
    return ('setpriv', "--reuid=$user", "--regid=$group", '--init-groups', @cmd);
}

sub db_user  { $> == 0 ? 'postgres' : scalar getpwuid $> }

# www-data, unless it cannot read this tree (a clone below /root): then root
sub svc_user {
    state $user = $> != 0 ? scalar getpwuid $>
        : system(as_user('www-data', 'test', '-x', "$TOP/.")) == 0 ? 'www-data' : 'root';
    return $user;
}

# A TCP port of 127.0.0.1 that no other test uses: its lock file is held until
# this process ends.  Below the range that the kernel gives to clients.
my @port_locks;

sub free_port {
    state $next = 12000 + $$ * 37 % 8000;
    my $dir = '/tmp/mdvr-test-ports';
    unless (-d $dir) { make_path($dir); chmod 01777, $dir }
    for (1 .. 8000) {
        my $port = $next;
        $next = 12000 + ($next - 12000 + 1) % 8000;
        open my $fh, '>>', "$dir/$port" or next;
        chmod 0666, "$dir/$port";
        flock $fh, LOCK_EX | LOCK_NB or next;
        my $probe = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port,
            Proto => 'tcp', Listen => 1, ReuseAddr => 1) or next;
        close $probe;
        push @port_locks, $fh;
        return $port;
    }
    croak 'no free port';
}

# ------------------------------------------------------------------ life time

my @alive;      # instances to clean up when the test dies

sub new {
    my ($class, %opt) = @_;
    my $self = bless {
        pid => $$, nodes => [], children => {}, tenants => {}, allowed => [], opt => \%opt,
        asan => $opt{asan} // $ENV{MDVR_ASAN},
    }, $class;
    $self->{dir} = test_dir();
    $self->{store} = MDVR::Store->new("$self->{dir}", %opt);
    push @alive, $self;
    $self->{store}->start(%opt);
    return $self;
}

# A directory that PostgreSQL's and nginx's users can reach, with a path short
# enough for Unix sockets.
sub test_dir {
    state $n = 0;
    my $name = basename($0) =~ s/\.t$//r =~ s/[^A-Za-z0-9_-]/_/gr;
    my $dir = "$TOP/build/tmp/$name-$$-" . ++$n;
    if (length $dir > 70 || !reachable($TOP)) {
        $dir = "/tmp/mdvr-t/$name-$$-$n";
    }
    make_path($dir);
    chmod 0755, $dir;
    return $dir;
}

sub reachable {
    my ($dir) = @_;
    state %known;
    return $known{$dir} //= do {
        my $ok = 1;
        for my $user (db_user(), svc_user()) {
            $ok &&= system(as_user($user, 'test', '-x', "$dir/.")) == 0;
        }
        $ok ? 1 : 0;
    };
}

sub dir   { $_[0]{dir} }
sub store { $_[0]{store} }
sub plan  { my ($self, $n) = @_; Test::More::plan(tests => $n + 2); return $self }

# Lines of nginx's log, or of PostgreSQL's (they begin with its name), that match are
# expected, e.g. after killing a worker.
sub allow { my ($self, @re) = @_; push @{ $self->{allowed} }, @re; return $self }

# Stops everything and checks what it left; two tests.  Closes the plan unless
# there is one.
sub done {
    my ($self) = @_;
    return if $self->{finished};
    my @bad = $self->stop;
    my $tb = Test::More->builder;
    $tb->is_eq(join("\n", @bad), '', 'no alert and no sanitizer report in the logs');
    eventually(sub { !$self->processes }, 5);
    my @left = $self->processes;
    kill KILL => map { $_->{pid} } @left;
    $tb->is_eq(join("\n", map { "$_->{pid} $_->{command}" } @left), '', 'no process is left');
    $self->cleanup;
    $tb->done_testing unless $tb->has_plan;
}

# Stops nginx, daemons and stores; returns the lines of the logs that alarm.
sub stop {
    my ($self) = @_;
    my @bad;
    for my $node (@{ $self->{nodes} }) {
        push @bad, $node->stop;
    }
    for my $pid (keys %{ $self->{children} }) {
        my $child = delete $self->{children}{$pid};
        kill TERM => $pid;
        unless (wait_pid($pid, patience(5))) {
            push @bad, "$child->{name} did not stop";
            kill KILL => $pid;
            wait_pid($pid, 5);
        }
        push @bad, map { "$child->{name}: $_" } alarms(slurp($child->{log}));
    }
    $self->{store}->stop;
    push @bad, $self->{store}->alarms;
    $self->{finished} = 1;
    for my $re (@{ $self->{allowed} }) {
        @bad = grep { $_ !~ $re } @bad;
    }
    return @bad;
}

sub alarms {
    my ($text) = @_;
    return grep { /\[(?:alert|emerg)\]|ERROR: \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer|"level":"(?:ALERT|EMERG)"/ }
        split /\n/, $text;
}

sub wait_pid {
    my ($pid, $seconds) = @_;
    my $end = time + $seconds;
    while (1) {
        my $got = waitpid $pid, WNOHANG;
        return 1 if $got == $pid || $got == -1;
        return 0 if time > $end;
        sleep 0.01;
    }
}

# Whether a process lives; one that waits to be reaped does not.
sub alive {
    my ($pid) = @_;
    return 0 unless $pid && slurp("/proc/$pid/stat") =~ /\) (\S)/;
    return $1 ne 'Z' && $1 ne 'X' ? 1 : 0;
}

# Processes whose working directory is ours.
sub processes {
    my ($self) = @_;
    my @found;
    for my $p (glob '/proc/[0-9]*') {
        my $cwd = readlink "$p/cwd" or next;
        next unless $cwd eq $self->{dir} || index($cwd, "$self->{dir}/") == 0;
        my ($pid) = $p =~ /(\d+)$/;
        next if $pid == $$;
        my $command = slurp("$p/cmdline") =~ tr/\0/ /r;
        next if $command eq '';
        push @found, { pid => $pid, command => $command };
    }
    return @found;
}

sub cleanup {
    my ($self) = @_;
    remove_tree($_) for map { glob "/dev/shm/mdvr-$_->{bus}*" } @{ $self->{nodes} };
    my $ok = Test::More->builder->is_passing;
    if ($ok && !$ENV{MDVR_KEEP}) {
        remove_tree($self->{dir});
    } else {
        Test::More::diag("state kept in $self->{dir}");
    }
}

# Whatever ends the test: nothing of it goes on running.
END {
    my $status = $?;
    for my $self (@alive) {
        next if $self->{pid} != $$ || $self->{finished};
        eval { $self->stop; 1 } or kill KILL => map { $_->{pid} } $self->processes;
        eval { $self->cleanup };
    }
    $? = $status;
}

$SIG{$_} = sub { exit 1 } for qw(INT TERM HUP);

# --------------------------------------------------------------------- stores

sub sql    { shift->{store}->sql(@_) }       # list of rows (array references)
sub value  { shift->{store}->value(@_) }     # first column of the first row
sub row    { shift->{store}->row(@_) }       # first row as a hash
sub rows   { shift->{store}->rows(@_) }      # all rows as hashes
sub redis  { shift->{store}->redis(@_) }     # one command, its answer
sub quote  { shift->{store}->quote(@_) }

# --------------------------------------------------------------------- tenants

# The id of the tenant of that name; made when new.
sub tenant {
    my ($self, $name) = @_;
    $name //= 'A';
    return $self->{tenants}{$name} //= $self->value(
        "insert into mdvr.tenant (name) values (?) returning id", $name);
}

# A user; returns { id, email, password, tenant_id, role }.
sub user {
    my ($self, %u) = @_;
    state $n = 0;
    $n++;
    $u{role} //= 'tenant_admin';
    $u{tenant_id} //= $self->tenant($u{tenant});
    $u{email} //= "$u{role}-$n\@example.test";
    $u{password} //= "a long password $n";
    $u{id} = $self->value(
        'insert into mdvr.user (tenant_id, email, role, password_hash) values (?, ?, ?, ?) returning id',
        $u{tenant_id}, $u{email}, $u{role}, password_hash($u{password}));
    return \%u;
}

sub password_hash {
    my ($password) = @_;
    state %known;
    return $known{$password} //= do {
        open my $out, '-|', 'sh', '-c', 'printf "%s\n" "$1" | "$2"', 'sh', $password,
            "$TOP/build/bin/mdvr-passwd" or croak "mdvr-passwd: $!";
        chomp(my $hash = <$out> // '');
        close $out;
        $hash or croak 'mdvr-passwd made no hash';
    };
}

# A device row; further columns as name => value.  Returns its id.
sub add_device {
    my ($self, $serial, %col) = @_;
    $col{tenant_id} //= $self->tenant(delete $col{tenant});
    delete $col{tenant};
    $col{name} //= "Vehicle $serial";
    $col{plate} //= "P $serial";
    my @names = sort keys %col;
    return $self->value(
        "insert into mdvr.device (serial, @{[ join ', ', @names ]}) values (?"
        . ', ?' x @names . ') returning id', $serial, @col{@names});
}

# ----------------------------------------------------------------- programs

# A node on these stores; see MDVR::Nginx for the options.
sub nginx {
    my ($self, %opt) = @_;
    my $node = MDVR::Nginx->new($self, %opt);
    push @{ $self->{nodes} }, $node;
    $node->start unless $opt{stopped};
    return $node;
}

sub node { my ($self, $i) = @_; return $self->{nodes}[$i // 0] // croak 'no nginx was started' }

# A program of build/bin in the background, with the settings of the node in
# its environment.  Returns its pid.
sub daemon {
    my ($self, $name, @args) = @_;
    my %env = ref $args[0] ? %{ shift @args } : ();
    my $program = $name =~ m{/} ? $name : "$TOP/build/bin/$name";
    my $log = "$self->{dir}/" . basename($name) . '.' . (1 + keys %{ $self->{children} }) . '.log';
    my $pid = fork // croak "fork: $!";
    if ($pid == 0) {
        %ENV = (%ENV, $self->daemon_env, %env);
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', $log;
        open STDERR, '>&', \*STDOUT;
        chdir $self->{dir};
        POSIX::setsid();
        exec as_user(svc_user(), $program, @args) or POSIX::_exit(127);
    }
    $self->{children}{$pid} = { name => basename($name), log => $log };
    return $pid;
}

sub daemon_log { my ($self, $pid) = @_; return slurp($self->{children}{$pid}{log}) }

# Sends a signal to a daemon (KILL by default) and waits for its end.
sub daemon_stop {
    my ($self, $pid, $signal) = @_;
    kill $signal // 'KILL', $pid;
    wait_pid($pid, patience(10)) or croak "process $pid does not stop";
    delete $self->{children}{$pid};
}

sub daemon_env {
    my ($self) = @_;
    my $s = $self->{store};
    my %env = (
        TZ => 'UTC', MDVR_PG_CONNINFO => $s->conninfo('mdvr_worker'),
        MDVR_REDIS => "unix:$s->{redis_socket}", MDVR_REDIS_PASSWORD_FILE => $s->{redis_password_file},
        MDVR_STORAGE => "file:$self->{dir}/objects", MDVR_TMP => "$self->{dir}/tmp",
        MDVR_STORAGE_KEY_FILE => "$self->{dir}/storage.key",
    );
    if (my $node = $self->{nodes}[0]) {
        $env{MDVR_NODE} = $node->{name};
        $env{MDVR_BUS} = $node->{bus};
        $env{MDVR_BUS_DIR} = '/dev/shm';
        $env{MDVR_STATE_DIR} = "$node->{dir}/state";
        $env{MDVR_NODE_URL} = $node->url;
        $env{MDVR_RTC_PORT} = $self->{rtc_port} //= free_port();    # one that is free by UDP and by TCP
    }
    return %env;
}

# ------------------------------------------------------------ who talks to it

# A device's signaling connection to the first node (or node => $n).
sub device {
    my ($self, $serial, %opt) = @_;
    my $node = delete $opt{node} // $self->node;
    return MDVR::Device->new(serial => $serial, port => $node->{signal_port},
        media_port => $node->{media_port}, %opt);
}

# HTTP without a token, and signed in.
sub http {
    my ($self, %opt) = @_;
    my $node = delete $opt{node} // $self->node;
    return MDVR::HTTP->new(port => $node->{http_port}, %opt);
}

sub login {
    my ($self, $user, %opt) = @_;
    my $http = $self->http(%opt);
    my $r = $http->post('/auth/login', { email => $user->{email}, password => $user->{password} });
    croak "login of $user->{email} failed: $r->{status} $r->{body}" unless $r->{status} == 200;
    $http->token($r->{json}{access_token});
    $http->{login} = $r->{json};
    return $http;
}

# Signed in as an administrator of tenant A (or of tenant => name).
sub admin {
    my ($self, %opt) = @_;
    my $tenant = delete $opt{tenant} // 'A';
    my $user = $self->{admins}{$tenant} //= $self->user(tenant => $tenant, role => 'tenant_admin');
    return $self->login($user, %opt);
}

# Signed in as the first super admin.
sub super_admin {
    my ($self, %opt) = @_;
    return $self->login($self->{store}->first_admin, %opt);
}

# A push socket that has said who it is; token => undef leaves that out.
sub websocket {
    my ($self, %opt) = @_;
    my $node = delete $opt{node} // $self->node;
    my $ws = MDVR::WebSocket->new(port => $node->{ws_port}, path => '/ws', %opt);
    return $ws;
}

# Is that device registered somewhere, by the route in Redis?
sub online { my ($self, $serial) = @_; return defined $self->redis('GET', "mdvr:route:{$serial}") ? 1 : 0 }

1;
