# Webhooks: signed, tried again, left alone when they fail too often, and never
# a way into our own network.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Push;

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new;
my $p = MDVR::Push->new($t);
my %env = (MDVR_WORKER_RETRY_MS => 50, MDVR_WORKER_LEASE_MS => 1000, MDVR_WORKER_TICK_MS => 500, MDVR_NOTIFY_BREAKER_S => 1,
    MDVR_STATE_DIR => $t->dir, MDVR_NOTIFY_CA_FILE => "$p->{dir}/tls.crt");
my $tenant = $t->tenant('A');
my $dev = $t->add_device('00007');

sub worker { $t->daemon('mdvr-worker', { %env, @_ }) }
sub soon(&$;$) { my ($cond, $name, $seconds) = @_; ok(eventually(\&$cond, $seconds // 10), $name) }

sub webhook {
    my ($url, $topics) = @_;
    return $t->value('insert into mdvr.webhook (tenant_id, url, secret, topics) values (?, ?, convert_to(?, \'UTF8\'), ?) returning id',
        $tenant, $url, $p->secret, $topics // '{alarm}');
}

my $n = 0;
sub event {
    my ($topic) = @_;
    my $m = $t->value("select message from mdvr.event_append(?, ?, ?, json_build_object('device_id', ?::text, 'n', ?::integer, 'text', 'Zürich'))",
        $tenant, $topic // 'alarm', $dev, $dev, ++$n);
    $t->redis('PUBLISH', "mdvr:event:$tenant", $m);
    return $m;
}

sub hooks { my ($path) = @_; grep { $_->{path} eq $path } $p->got('hook') }
sub hook_of { $t->row('select * from mdvr.webhook where id = ?', $_[0]) }
sub last_of { $t->row('select * from mdvr.delivery where webhook_id = ? order by created_at desc, id desc limit 1', $_[0]) // {} }

my $w = worker(MDVR_WEBHOOK_ALLOW => '127.0.0.0/8,::1');
my $hook = webhook($p->hook_url('/a'));
my $both = webhook($p->hook_url('/b'), '{device,media}');

my $m = event();
soon { hooks('/a') == 1 } 'an event is posted';
my ($got) = hooks('/a');
is $got->{body}, do { utf8::decode(my $text = $m); $text }, 'as it was published';
is $got->{id}, last_of($hook)->{id}, 'with the id of its delivery';
is $got->{agent}, 'mdvr-worker', 'by us';
event('device');
soon { hooks('/b') == 1 } 'each hears of its topics';
is scalar(hooks('/a')), 1, 'only';
soon { (last_of($hook)->{status} // '') eq 'delivered' } 'it is recorded';
is last_of($hook)->{last_code}, 204, 'with the answer';

# a test from the API, which has no event

my $test = $t->value("select set_config('app.current_tenant_id', ?, false), mdvr.webhook_test(?)", $tenant, $hook);
soon { hooks('/a') == 2 } 'a test arrives without an event', 10;
like +(hooks('/a'))[1]{body}, qr/^\{"type":"test","id":"[-0-9a-f]{36}","webhook_id":"$hook"/, 'and says so';

# TLS

my $tls = webhook("https://localhost:$p->{tls}/tls");
event();
soon { hooks('/tls') == 1 } 'a webhook with TLS';
soon { hooks('/a') == 3 } 'beside the one that there was';
$t->sql('update mdvr.webhook set active = false where id = ?', $tls);

# down, then up

my $before = hooks('/a');
$p->stop;
event() for 1 .. 8;
soon { (hook_of($hook)->{failures} // 0) >= 5 } 'failures of a receiver are counted', 20;
soon { defined hook_of($hook)->{disabled_until} } 'and it is left alone';
soon { (last_of($hook)->{last_error} // '') =~ /connect|waiting/i } 'with the reason';
$p->start;
soon { hooks('/a') == $before + 8 } 'when it is back it gets everything', 40;
soon { hook_of($hook)->{failures} == 0 } 'and is trusted again';
my %ids = map { $_->{id} => 1 } hooks('/a');
is scalar(keys %ids), $before + 8, 'each once';

# killed while the receiver thinks: nothing twice

$p->mode(delay_ms => 400);
event() for 1 .. 3;
soon { $p->log_of('hook') > $before + 8 } 'a slow receiver';
$t->daemon_stop($w, 'KILL');
$w = worker(MDVR_WEBHOOK_ALLOW => '127.0.0.0/8');
soon { $t->value("select count(*) from mdvr.delivery where status = 'queued'") == 0 } 'a worker dies meanwhile, another goes on', 20;
$p->mode;
my @all = hooks('/a');
%ids = map { $_->{id} => 1 } @all;
is scalar(@all), scalar(keys %ids), 'nothing came twice';
is scalar(@all), $before + 11, 'and nothing is missing';

# redirects

$p->mode(hook => 'redirect');
event();
soon { (last_of($hook)->{last_error} // '') =~ /redirects are not followed/ } 'a redirect is not followed';
is scalar(grep { $_->{path} eq '/inside' } $p->log_of('hook')), 0, 'nobody was asked there';
$p->mode;
soon { $t->value("select count(*) from mdvr.delivery where status = 'queued'") == 0 } 'it is tried again', 20;
$t->sql('update mdvr.webhook set active = false');
$t->daemon_stop($w, 'TERM');

# addresses that are not public

$w = worker(MDVR_WEBHOOK_ALLOW => '10.99.0.0/16');
my $seen = () = $p->log_of('hook');
my $port = $p->{http};
for my $host ('127.0.0.1', '[::1]', '169.254.169.254', '2130706433', '0x7f000001', '0177.0.0.1', '127.1', '[::ffff:127.0.0.1]',
    '[64:ff9b::7f00:1]', '[2002:7f00:1::]', 'localhost', '10.1.2.3', '192.168.0.1', '100.64.0.1', '0.0.0.0', '[fe80::1]', '[fd00::1]',
    '224.0.0.1', '[::]')
{
    my $id = webhook("http://$host:$port/secret");
    event();
    my $d;
    eventually(sub { $d = last_of($id); ($d->{status} // '') eq 'failed' }, 10);
    is $d->{status}, 'failed', "$host is refused";
    like $d->{last_error} // '', qr/not public|no address/, 'for that reason';
    $t->sql('delete from mdvr.webhook where id = ?', $id);
}
is scalar(my @now = $p->log_of('hook')), $seen, 'nobody inside was asked';
$t->daemon_stop($w, 'TERM');

# a name that changes between looking and calling

my $shim = $t->dir . '/rebind.so';
open my $cc, '|-', 'cc', '-shared', '-fPIC', '-o', $shim, '-xc', '-', '-ldl' or die $!;
print $cc <<'EOF_C';
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
int getaddrinfo(const char *h, const char *s, const struct addrinfo *in, struct addrinfo **out) {
    static int n;
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = dlsym(RTLD_NEXT, "getaddrinfo");
    if (h && strcmp(h, "rebind.test") == 0) h = n++ ? "127.0.0.1" : "192.31.196.1";
    return real(h, s, in, out);
}
EOF_C
if (close $cc) {
    $w = worker(LD_PRELOAD => $shim);
    my $id = webhook("http://rebind.test:$port/secret");
    event();
    soon { (last_of($id)->{attempts} // 0) > 0 } 'a name that is public when it is looked at', 20;
    isnt last_of($id)->{last_error}, undef, 'and leads inside when it is called';
    is scalar(@now = $p->log_of('hook')), $seen, 'is called where it was when it was looked at';
    $t->sql('delete from mdvr.webhook where id = ?', $id);
    $t->daemon_stop($w, 'TERM');
}

# settings

for my $bad ('10.0.0.0/33', 'example.com', '10.0.0.0/x') {
    my %e = ($t->daemon_env, %env, MDVR_WEBHOOK_ALLOW => $bad);
    local @ENV{keys %e} = values %e;
    like qx(build/bin/mdvr-worker 2>&1), qr/invalid network "\Q$bad\E" in MDVR_WEBHOOK_ALLOW/, "$bad is no network";
}
$t->done;
