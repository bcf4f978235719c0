package MDVR::Nginx;

# One nginx with the module, on the stores of a test.
#
#   $t->nginx(
#       name      => 'b',               # node id; default a, b, c ...
#       workers   => 2,                 # default 1
#       main      => '...',             # more directives in the main context
#       stream    => '...',  signaling => '...',  media => '...',
#       http      => '...',  server => '...',  api => '...',  live => '...',
#       zone      => '16m', bus => 'streams=64 ring=4m', pool => 2, prepare => 'on',
#       sub       => { 'mdvr_media;' => '' },    # literal replacements, last
#       asan      => 1,                 # the sanitized module
#       level     => 'info',            # of error_log
#   );
#
# The configuration is $node->{conf}, the log $node->log.

use v5.30;
use warnings;
use Carp qw(croak);
use File::Path qw(make_path);
use POSIX ();
use Time::HiRes qw(time sleep);

sub new {
    my ($class, $t, %opt) = @_;
    my $name = $opt{name} // chr(ord('a') + @{ $t->{nodes} });
    my $self = bless {
        t => $t, name => $name, dir => "$t->{dir}/n-$name", bus => "t$$-" . ($t->{dir} =~ /(\d+)$/)[0] . "-$name",
        opt => \%opt, asan => $opt{asan} // $t->{asan}, owner => $$,
    }, $class;
    $self->{"${_}_port"} = $opt{"${_}_port"} // MDVR::Test::free_port() for qw(http ws https signal media);
    make_path("$self->{dir}/state", "$self->{dir}/temp");
    MDVR::Store::give($_, MDVR::Test::svc_user()) for "$self->{dir}/state", "$self->{dir}/temp";
    $self->{conf} = "$self->{dir}/nginx.conf";
    $self->{error_log} = "$self->{dir}/error.log";
    $self->write_conf;
    return $self;
}

sub url { my ($self) = @_; return "http://127.0.0.1:$self->{http_port}" }

sub certificate {
    my ($self) = @_;
    my $dir = "$self->{t}{dir}/tls";
    return $dir if -e "$dir/cert.pem";
    make_path($dir);
    system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=localhost"
        . " -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout $dir/key.pem -out $dir/cert.pem 2>/dev/null") == 0
        or croak 'openssl failed';
    return $dir;
}

sub write_conf {
    my ($self, %more) = @_;
    my %o = (
        workers => 1, main => '', stream => '', signaling => '', media => '', http => '', server => '',
        api => '', live => '', ws => '', zone => '16m', bus => 'streams=64 ring=4m', pool => 2,
        prepare => 'on', secret_key => 'off', level => 'info', connections => 4096, %{ $self->{opt} }, %more,
    );
    $self->{opt} = { %{ $self->{opt} }, %more };
    my $s = $self->{t}{store};
    my $dir = $self->{dir};
    my $top = $MDVR::Test::TOP;
    my $module = $self->{asan} ? "$top/build/asan/ngx_mdvr_module.so" : "$top/build/ngx_mdvr_module.so";
    my $tls = $self->certificate;
    my $www = -d "$top/web/dist" ? "$top/web/dist" : $dir;
    my $user = $> == 0 ? 'user ' . MDVR::Test::svc_user() . ';' : '';
    my $stream_so = '/usr/lib/nginx/modules/ngx_stream_module.so';
    my $load = -e $stream_so ? "load_module $stream_so;" : '';
    my $pg = join "\n", map {
        "mdvr_postgres $_ \"" . $s->conninfo("mdvr_$_") . "\" pool=$o{pool} prepare=$o{prepare};"
    } qw(stream api);

    my $conf = <<"CONF";
$user
worker_processes $o{workers};
pid $dir/nginx.pid;
error_log $self->{error_log} $o{level};
$load
load_module $module;
worker_shutdown_timeout 30s;
thread_pool mdvr_hash threads=2 max_queue=16;

mdvr_node $self->{name} @{[ $self->url ]};
mdvr_zone $o{zone};
mdvr_state_dir $dir/state;
mdvr_secret_key $o{secret_key};
$pg
mdvr_redis unix:$s->{redis_socket} password_file=$s->{redis_password_file};
mdvr_bus $self->{bus} $o{bus};
mdvr_public_host 127.0.0.1;
mdvr_media_port $self->{media_port};
$o{main}

events { worker_connections $o{connections}; }

@{[ $self->stream_block(%o) ]}
http {
    client_body_temp_path $dir/temp/body;
    proxy_temp_path $dir/temp/proxy;
    fastcgi_temp_path $dir/temp/fastcgi;
    uwsgi_temp_path $dir/temp/uwsgi;
    scgi_temp_path $dir/temp/scgi;
    include /etc/nginx/mime.types;
    access_log $dir/access.log;
    client_max_body_size 1m;
    ssl_certificate $tls/cert.pem;
    ssl_certificate_key $tls/key.pem;
    map \$http_upgrade \$mdvr_connection { default upgrade; "" ""; }
    $o{http}

    server {
        listen 127.0.0.1:$self->{http_port} reuseport;
        listen 127.0.0.1:$self->{ws_port} reuseport;
        listen 127.0.0.1:$self->{https_port} ssl reuseport;
        $o{server}

@{[ map { "        $_\n" } $self->locations(%o) ]}
@{[ $self->peer_location ]}
@{[ $self->file_locations ]}
        location / { root $www; }
    }
}
CONF
    if (my $sub = $o{sub}) {
        for my $from (keys %$sub) {
            index($conf, $from) >= 0 or croak "the configuration has no '$from'";
            $conf =~ s/\Q$from\E/$sub->{$from}/g;
        }
    }
    $conf = $o{conf}->($conf, $self) if $o{conf};
    open my $fh, '>', $self->{conf} or croak "$self->{conf}: $!";
    print $fh $conf;
    close $fh;
}

# Whether the module has the part that a directive belongs to: fronts that are
# not built are left out.
my %part = (
    mdvr_signaling => 'ngx_stream_mdvr_signaling_module', mdvr_media => 'ngx_stream_mdvr_media_module',
    mdvr_api => 'ngx_http_mdvr_api_module', mdvr_live => 'ngx_http_mdvr_live_module',
    mdvr_peer => 'ngx_http_mdvr_core_module', mdvr_ws => 'ngx_http_mdvr_ws_module',
    mdvr_health => 'ngx_http_mdvr_core_module', mdvr_metrics => 'ngx_http_mdvr_core_module',
);

sub has {
    my ($self, $directive) = @_;
    state %modules;
    my $module = "$MDVR::Test::TOP/build/" . ($self->{asan} ? 'asan/' : '') . 'ngx_mdvr_module.so';
    my $symbols = $modules{$module} //= `nm -D --defined-only $module 2>/dev/null`;
    my $symbol = $part{$directive} // croak "no part has $directive";
    return $symbols =~ / \Q$symbol\E$/m ? 1 : 0;
}

sub stream_block {
    my ($self, %o) = @_;
    my @servers;
    for (['signaling', $self->{signal_port}], ['media', $self->{media_port}]) {
        my ($kind, $port) = @$_;
        push @servers, "server { listen 127.0.0.1:$port reuseport; mdvr_$kind; $o{$kind} }" if $self->has("mdvr_$kind");
    }
    return join "\n    ", 'stream {', $o{stream}, @servers, "\n}\n";
}

sub peer_location {
    my ($self) = @_;
    return '' unless $self->has('mdvr_peer');
    return <<'CONF';
        location @mdvr_peer {
            proxy_pass $mdvr_peer;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $mdvr_connection;
            proxy_buffering off;
        }
CONF
}

# Stored objects lie in the store's "objects" folder, as the worker puts them.
sub file_locations {
    my ($self) = @_;
    return '' unless $self->has('mdvr_api');
    my $objects = "$self->{t}{dir}/objects";
    my $api = $self->{opt}{api} // '';
    return "        mdvr_objects $objects;\n        location ~ ^/api/v1/(firmware|devices/[0-9a-f-]+/files)\$ { mdvr_api; client_max_body_size 64m; $api }\n"
        . "        location /files/ { mdvr_files /.objects/; }\n"
        . "        location /.objects/ { internal; alias $objects/; }\n";
}

sub locations {
    my ($self, %o) = @_;
    return map { my ($where, $directive, $more) = @$_;
        $self->has($directive) ? "location $where { $directive; $more }" : () }
        [ '/api/', 'mdvr_api', "mdvr_password_pool mdvr_hash; $o{api}" ], [ '/live/', 'mdvr_live', $o{live} ], [ '= /ws', 'mdvr_ws', $o{ws} ],
        [ '= /healthz', 'mdvr_health', '' ], [ '= /readyz', 'mdvr_health', '' ], [ '= /metrics', 'mdvr_metrics', '' ];
}

sub binary { $ENV{MDVR_NGINX} // '/usr/sbin/nginx' }

sub environment {
    my ($self) = @_;
    my %env = (PATH => $ENV{PATH}, TZ => 'UTC');
    if ($self->{asan}) {
        my @libs = map { my $l = `gcc -print-file-name=$_`; chomp $l; $l } qw(libasan.so libubsan.so);
        %env = (%env, LD_PRELOAD => "@libs",
            ASAN_OPTIONS => "detect_leaks=0:log_path=$self->{dir}/state/asan:abort_on_error=1:handle_segv=1",
            UBSAN_OPTIONS => "print_stacktrace=1:halt_on_error=1:log_path=$self->{dir}/state/ubsan");
    }
    $env{$_} = $ENV{$_} for grep { /^MDVR_TEST_/ } keys %ENV;
    return \%env;
}

# `nginx -t`: true when valid; the messages are in $node->{check}.
sub check {
    my ($self) = @_;
    my $pid = open my $out, '-|';
    defined $pid or croak "fork: $!";
    if ($pid == 0) {
        %ENV = %{ $self->environment };
        open STDERR, '>&', \*STDOUT;
        exec binary(), '-t', '-p', $self->{dir}, '-c', $self->{conf}, '-e', 'stderr' or POSIX::_exit(127);
    }
    local $/;
    $self->{check} = <$out>;
    close $out;
    return $? == 0;
}

# Starts and waits until every port answers and /readyz is good (ready => 0:
# only the ports).
sub start {
    my ($self, %o) = @_;
    my $pid = fork // croak "fork: $!";
    if ($pid == 0) {
        %ENV = %{ $self->environment };
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$self->{dir}/stdout";
        open STDERR, '>>', "$self->{dir}/stderr";
        chdir $self->{dir};
        POSIX::setsid();
        exec binary(), '-p', $self->{dir}, '-c', $self->{conf}, '-e', $self->{error_log} or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    if ($? == 0) {
        $self->{running} = 1;
        my $ready = $o{ready} // $self->{opt}{ready} // $self->has('mdvr_health');
        return $self if MDVR::Test::eventually(sub { $ready ? $self->ready : $self->listening }, 15);
    }
    my $r = $self->{running} ? eval { $self->{t}->http(node => $self)->request('GET', '/readyz')->{body} } // '' : '';
    croak "nginx $self->{name} does not start: $r\n"
        . substr(MDVR::Test::slurp("$self->{dir}/stderr") . $self->log, -3000);
}

sub listening {
    my ($self) = @_;
    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{http_port}, Timeout => 1);
    return $s ? 1 : 0;
}

sub ready {
    my ($self) = @_;
    return $self->listening unless $self->has('mdvr_health');
    # each worker has connections of its own, and the kernel chooses who answers
    for (1 .. 4 * ($self->workers || 1) - 3) {
        my $r = eval { MDVR::HTTP->new(port => $self->{http_port}, timeout => 5)->request('GET', '/readyz') };
        return 0 unless $r && $r->{status} == 200;
    }
    return 1;
}

sub master {
    my ($self) = @_;
    my $pid = MDVR::Test::slurp("$self->{dir}/nginx.pid");
    return $pid =~ /(\d+)/ ? $1 : 0;
}

# Pids of the worker processes of a master; draining => 1: those that leave.
sub workers {
    my ($self, %o) = @_;
    my $want = $o{draining} ? qr/worker process is shutting down/ : qr/worker process$/;
    my $master = $o{master} // $self->master;
    my %since;                                      # the 22nd field: numbers of processes begin anew
    for my $p (glob '/proc/[0-9]*') {
        my $stat = MDVR::Test::slurp("$p/stat");
        next unless $stat =~ /^(\d+) \(.*\) \S (\d+)(?: \S+){17} (\d+)/s && $2 == $master;
        my ($pid, $start) = ($1, $3);
        my $cmd = MDVR::Test::slurp("$p/cmdline") =~ s/[\0 ]+$//r;
        $since{$pid} = $start if $cmd =~ $want;
    }
    my @pids = sort { $since{$a} <=> $since{$b} || $a <=> $b } keys %since;
    return @pids;
}

# Reload; returns when new workers accept and the old ones drain.
sub reload {
    my ($self, %more) = @_;
    $self->write_conf(%more) if %more;
    my %old = map { $_ => 1 } $self->workers;
    kill HUP => $self->master;
    MDVR::Test::eventually(sub {
        my @now = $self->workers;
        @now && !grep { $old{$_} } @now;
    }, 10) or croak "nginx $self->{name} does not reload: " . substr($self->log, -1500);
    MDVR::Test::eventually(sub { $self->ready }, 10) if $self->{opt}{ready} // $self->has('mdvr_health');
    return $self;
}

# Binary upgrade: a new master with new workers takes over, the old one quits.
sub upgrade {
    my ($self) = @_;
    my $old = $self->master;
    kill USR2 => $old;
    MDVR::Test::eventually(sub { -e "$self->{dir}/nginx.pid.oldbin" && $self->master != $old && $self->workers }, 10)
        or croak 'no new master: ' . substr($self->log, -1500);
    $self->{upgraded} = $old;
    MDVR::Test::eventually(sub { $self->ready }, 10);
    kill QUIT => $old;
    return $self;
}

# Kills one worker (the first, or by number) and waits for its successor.
sub kill_worker {
    my ($self, $i, $signal) = @_;
    my $pid = ($self->workers)[$i // 0] or croak 'no worker';
    my $n = () = $self->workers;
    kill $signal // 'KILL', $pid;
    MDVR::Test::eventually(sub {
        my @now = $self->workers;
        @now == $n && !grep { $_ == $pid } @now;
    }, 10) or croak 'no new worker';
    MDVR::Test::eventually(sub { $self->ready }, 10);
    return $pid;
}

# Stops (TERM; or QUIT, KILL) and returns the lines that alarm.
sub stop {
    my ($self, $signal) = @_;
    my @bad;
    if ($self->{running} && $self->{owner} == $$) {
        my $master = $self->master;
        my @workers = $self->workers;
        $signal //= 'TERM';
        kill $signal, $master if $master;
        kill KILL => @workers if $signal eq 'KILL';
        unless (MDVR::Test::eventually(sub { !MDVR::Test::alive($master) }, 20)) {
            push @bad, "nginx $self->{name} did not stop on SIG$signal";
            kill KILL => $self->workers, $master;
        }
        delete $self->{running};
        unlink "$self->{dir}/nginx.pid" if $signal eq 'KILL';
    }
    push @bad, MDVR::Test::alarms($self->log), MDVR::Test::alarms(MDVR::Test::slurp("$self->{dir}/stderr"));
    for my $report (glob "$self->{dir}/state/{asan,ubsan}.*") {
        my $text = MDVR::Test::slurp($report);
        push @bad, "$report: " . join "\n", (split /\n/, $text)[0 .. 30] if $text =~ /\S/;
    }
    return map { "$self->{name}: $_" } @bad;
}

sub restart { my ($self, $signal) = @_; $self->stop($signal); return $self->start }

sub log        { my ($self) = @_; return MDVR::Test::slurp($self->{error_log}) }
sub access_log { my ($self) = @_; return MDVR::Test::slurp("$self->{dir}/access.log") }

# Numbers of /metrics: { 'name{label="x"}' => value }; or one of them, 0 when
# it is not there.
sub metrics {
    my ($self, $name) = @_;
    my $r = MDVR::HTTP->new(port => $self->{http_port})->request('GET', '/metrics');
    my %m = map { /^([^#\s]\S*(?:\{.*\})?)\s+(\S+)/ ? ($1 => $2) : () } split /\n/, $r->{body};
    return defined $name ? $m{$name} // 0 : \%m;
}

# Resident kilobytes of all workers.
sub memory_kb {
    my ($self) = @_;
    my $sum = 0;
    for my $pid ($self->workers) {
        $sum += $1 if MDVR::Test::slurp("/proc/$pid/status") =~ /^VmRSS:\s+(\d+)/m;
    }
    return $sum;
}

1;
