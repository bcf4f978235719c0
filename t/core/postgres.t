#!/usr/bin/perl

# One PostgreSQL connection serves many tenants at once: none ever sees what
# belongs to another, whatever fails meanwhile.  Prepared, unprepared, and
# through pgbouncer with transaction pooling.

use lib 't/lib';
use MDVR::Test;
use IO::Socket::UNIX;

my $t = MDVR::Test->new;
my %serials;
for my $tenant (qw(A B C)) {
    $t->add_device("$tenant-$_", tenant => $tenant) for 1 .. 5;
}

# $n clients of three tenants ask at once; returns counts by what they got
sub storm {
    my ($node, $n, $requests, %o) = @_;
    my %token = map { $_ => $t->admin(tenant => $_, node => $node)->{token} } qw(A B C);
    pipe my $in, my $out;
    my @pids;
    for my $i (1 .. $n) {
        my $pid = fork;
        push @pids, $pid and next if $pid;
        my $tenant = (qw(A B C))[$i % 3];
        my $http = $t->http(node => $node)->token($token{$tenant});
        for my $k (1 .. $requests) {
            my $what;
            if ($k % 10 == 0) {                 # a deliberate error: the serial exists
                my $r = eval { $http->post('/devices', { serial => 'A-1', name => 'x', channels => 1 }) };
                $what = !$r ? 'lost' : $r->{status} == 409 ? 'good' : $r->{status};
            } else {
                my $r = eval { $http->get('/devices') };
                $what = !$r ? 'lost' : $r->{status} != 200 ? $r->{status}
                    : join(' ', sort map { $_->{serial} } @{ $r->{json}{items} }) eq join(' ', map { "$tenant-$_" } 1 .. 5)
                    ? 'good' : 'WRONG';
            }
            syswrite $out, "$what\n";
        }
        POSIX::_exit(0);
    }
    close $out;
    $o{meanwhile}->() if $o{meanwhile};
    my %count;
    while (my $line = <$in>) { chomp $line; $count{$line}++ }
    waitpid $_, 0 for @pids;
    return \%count;
}

my %api = (api => 'mdvr_api_rate 100000; mdvr_login_rate 1000;');

for my $prepare (qw(on off)) {
    my $n = $t->nginx(%api, pool => 1, prepare => $prepare);
    is_deeply storm($n, 9, 60), { good => 540 }, "prepare=$prepare: 540 requests of three tenants over one connection";

    my $got = storm($n, 9, 60, meanwhile => sub {
        for (1 .. 10) {
            $t->sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'mdvr_api'");
            select undef, undef, undef, 0.05;
        }
    });
    my $all = 0;
    $all += $_ for values %$got;
    ok !$got->{WRONG}, "prepare=$prepare: no wrong answer while connections are killed";
    is $all, 540, '... each request is answered';
    is_deeply [grep { !/^(?:good|503)$/ } keys %$got], [], '... well, or with 503' or diag join ' ', %$got;
    ok $got->{good} > 270, '... most of them well' or diag join ' ', %$got;

    $n->stop;
}

# -- the plan of a statement changes under a running connection

{
    my $n = $t->nginx(%api, pool => 1);
    my $http = $t->admin(node => $n);
    is $http->get('/devices')->{status}, 200, 'a statement is prepared';
    $t->sql('alter table mdvr.device add column t_core text');
    is $http->get('/devices')->{status}, 200, '... and works after the table has changed';
    $t->sql('alter table mdvr.device drop column t_core');
    is $http->get('/devices')->{status}, 200, '... and changed again';
    $t->sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'mdvr_api'");
    is $http->get('/devices')->{status}, 200, 'a read is repeated when its connection was lost';
    $n->stop;
}

# -- pgbouncer

SKIP: {
    my ($bouncer) = grep { -x } '/usr/sbin/pgbouncer', '/usr/bin/pgbouncer';
    skip 'no pgbouncer here', 2 unless $bouncer;

    my $s = $t->store;
    my $dir = "$t->{dir}/bouncer";
    mkdir $dir;
    my %info = map { /(\w+)=(\S+)/g } $s->conninfo('mdvr_api') =~ s/'//gr;
    my $pass = $info{passfile} ? MDVR::Test::slurp($info{passfile}) : '';
    my %secret = map { my @f = split /:/; ($f[3] => $f[4]) } split /\n/, $pass;
    open my $fh, '>', "$dir/users" or die;
    print $fh map { qq("$_" ") . ($secret{$_} // $info{password} // '') . qq("\n) } qw(mdvr_api mdvr_stream);
    close $fh;
    open $fh, '>', "$dir/ini" or die;
    print $fh <<"INI";
[databases]
* = host=$s->{pg_socket} port=5432
[pgbouncer]
listen_addr =
unix_socket_dir = $dir
listen_port = 6432
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = extra_float_digits
logfile = $dir/log
INI
    close $fh;
    MDVR::Store::give($_, MDVR::Test::svc_user()) for $dir, "$dir/ini", "$dir/users";
    my $pid = $t->daemon($bouncer, "$dir/ini");
    ok eventually(sub { -S "$dir/.s.PGSQL.6432" }), 'pgbouncer runs' or diag $t->daemon_log($pid);
    my $n = $t->nginx(%api, pool => 2, prepare => 'off', conf => sub {
        my ($c) = @_;
        $c =~ s{(mdvr_postgres \w+ ".*?)host=\S+}{$1host=$dir port=6432}g;
        $c =~ s{port=6432(.*?)port=5432}{port=6432$1}g;
        $c;
    });
    is_deeply storm($n, 9, 60), { good => 540 }, '540 requests through pgbouncer with transaction pooling';
    $n->stop;
}

$t->done;
