# nginx with the module: starts, reloads, is upgraded, loses a worker.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2);
my @first = $n->workers;
is scalar @first, 2, 'two workers run';
is $t->http->request('GET', '/healthz')->{status}, 200, 'healthz is good';
is $t->http->request('GET', '/readyz')->{status}, 200, 'readyz is good';
cmp_ok keys %{ $n->metrics }, '>', 20, 'there are metrics';

$n->reload;
my @second = $n->workers;
is scalar @second, 2, 'two workers run after a reload';
ok !grep({ my $p = $_; grep { $_ == $p } @first } @second), 'others than before';

my $old = $n->master;
$n->upgrade;
isnt $n->master, $old, 'another master after a binary upgrade';
ok eventually { !MDVR::Test::alive($old) }, 'the old one has gone';
ok eventually { $t->http->request('GET', '/readyz')->{status} == 200 }, 'readyz is good';

$t->allow(qr/worker process \d+ exited on signal 9/);
my $killed = $n->kill_worker;
ok !grep({ $_ == $killed } $n->workers), 'a worker that was killed is replaced';
ok eventually { $t->http->request('GET', '/readyz')->{status} == 200 }, 'readyz is good';

my $b = $t->nginx;
is $t->http(node => $b)->request('GET', '/readyz')->{status}, 200, 'a second node runs on the same stores';

SKIP: {
    skip 'the sanitized module is not built', 1 unless -f "$MDVR::Test::TOP/build/asan/ngx_mdvr_module.so";
    my $s = $t->nginx(asan => 1);
    is $t->http(node => $s)->request('GET', '/readyz')->{status}, 200, 'a node with the sanitized module runs';
}

$t->done;
