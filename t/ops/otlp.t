# A collector that is slow, that refuses, and an exporter that is not there: spans
# wait within bounds, what is lost is counted, and nobody is delayed.  The collector
# is this test: it answers when it likes.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use IO::Select;
use IO::Socket::INET;
use Socket qw(AF_UNIX SOCK_DGRAM pack_sockaddr_un);

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
$SIG{PIPE} = 'IGNORE';
my $t = MDVR::Test->new;
my $door = IO::Socket::INET->new(Listen => 16, LocalAddr => '127.0.0.1', Proto => 'tcp') or die $!;
my $state = "$t->{dir}/n-a/state";
my $at = "$state/trace.sock";
my $n = $t->nginx(main => "mdvr_trace $at;");
my %env = (MDVR_TRACE_SOCKET => $at, MDVR_OTLP_ENDPOINT => 'http://127.0.0.1:' . $door->sockport);
my $exporter = $t->daemon('mdvr-worker', \%env, 'traces');
ok +(eventually { -S $at } 20), 'an exporter' or diag $t->daemon_log($exporter);

socket my $to, AF_UNIX, SOCK_DGRAM, 0 or die $!;
my ($sent, %got) = (0);

# Hands spans over as fast as they are taken; false: it has to wait for somebody.
sub hand {
    my ($count, $size) = @_;
    for (1 .. $count) {
        my $id = sprintf '%016x', ++$sent;
        my $span = qq({"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"$id","name":") . 'x' x ($size // 1400) . '"}';
        local $SIG{ALRM} = sub { die "stuck\n" };
        alarm MDVR::Test::patience(30);
        my $ok = eval { CORE::send($to, "mdvr-test\n$span", 0, pack_sockaddr_un($at)) };
        alarm 0;
        return 0 unless $ok;
    }
    return 1;
}

# One request: its connection and body; undef: none comes.
my $open;
sub request {
    my ($seconds) = @_;
    my $end = time + MDVR::Test::patience($seconds // 30);
    my ($c, $text) = ($open, '');
    undef $open;
    while (time < $end) {
        IO::Select->new($c // $door)->can_read(1) or next;
        if (!$c) { $c = $door->accept; $text = ''; next }
        my $more = sysread $c, $text, 1 << 20, length $text;
        if (!$more) { undef $c; next }
        my ($head, $body) = split /\r\n\r\n/, $text, 2;
        if (defined $body && $head =~ /^Expect: 100/mi) { ${*$c}{told}++ or syswrite $c, "HTTP/1.1 100 Continue\r\n\r\n" }
        return ($c, $body) if defined $body && $head =~ /^Content-Length: (\d+)/mi && length $body >= $1;
    }
    return;
}

sub answer {
    my ($c, $status) = @_;
    syswrite $c, "HTTP/1.1 $status -\r\nContent-Length: 2\r\n\r\n{}";
    $open = $c;
}
sub spans { my ($body) = @_; my @id = $body =~ /"spanId":"([0-9a-f]{16})","name":"x/g; return @id }
sub metric { my ($name) = @_; return $t->http->request('GET', '/metrics')->{body} =~ /^\Q$name\E (\d+)/m ? $1 : undef }

is metric('mdvr_worker_trace_spans_dropped_total'), 0, 'nothing is lost';
hand(1);
my ($c, $body) = request();
my ($resource) = @{ json_of($body)->{resourceSpans} };
is $resource->{resource}{attributes}[0]{value}{stringValue}, 'mdvr-test', 'spans come with the name of who made them';
answer($c, 200);

# -- slow: the request of one span is not answered while thousands come

hand(1);
($c, $body) = request();
my $before = $sent;
ok hand(4000), '4000 spans are taken while the collector does not answer';
answer($c, 200);
my $largest = 0;
while (keys %got < 4000) {
    ($c, $body) = request() or last;
    $largest = length $body if length $body > $largest;
    $got{$_} = 1 for grep { hex > $before } spans($body);
    answer($c, 200);
}
is scalar keys %got, 4000, 'and come when it does';
cmp_ok $largest, '<', 1 << 20, "in requests of at most $largest bytes";
is metric('mdvr_worker_trace_spans_dropped_total'), 0, 'none was lost';

# -- errors: 503 is tried again, 400 is counted

hand(1);
my $id = sprintf '%016x', $sent;
($c, $body) = request();
answer($c, 503);
ok +(grep { $_ eq $id } spans($body)), 'one that is not taken';
($c, $body) = request(60);
ok +(grep { $_ eq $id } spans($body)), '... comes again';
answer($c, 400);
my $refused = scalar spans($body);
ok +(eventually { metric('mdvr_worker_trace_spans_dropped_total') >= $refused } 20), '... and is counted when it is refused for good';

# -- away for long: bounded

hand(1);
($c) = request();
ok hand(16000), 'more than there is room for is taken at the same pace';
my ($rss) = slurp("/proc/$exporter/status") =~ /^VmRSS:\s+(\d+)/m;
cmp_ok $rss, '<', 65536, "the exporter has $rss KiB";
close $c;
undef $open;
ok +(eventually { metric('mdvr_worker_trace_spans_dropped_total') > $refused + 1000 } 30), '... and what did not fit is counted';

# -- no exporter at all: nobody waits, all is counted

$t->daemon_stop($exporter);
unlink $at;
my $was = metric('mdvr_worker_trace_spans_dropped_total');
my $api = $t->admin;
is $api->get('/devices')->{status}, 200, 'the API answers without an exporter';
cmp_ok metric('mdvr_trace_spans_dropped_total'), '>', 0, '... and nginx counts what it could not hand over';
my $worker = $t->daemon('mdvr-worker', { %env, MDVR_WORKER_LEASE_MS => 1000, MDVR_WORKER_RETRY_MS => 50 });
$t->redis('SADD', 'mdvr:jobqueues', 'notify');
$t->redis('XADD', 'mdvr:job:{notify}', '*', 'job', JSON::PP->new->encode({ id => '01a00000-0000-7000-8000-000000000001', kind => 'notify',
    traceparent => '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' }));
ok +(eventually { $t->daemon_log($worker) =~ /job given up/ } 20), 'a worker does its jobs' or diag $t->daemon_log($worker);
ok +(eventually { metric('mdvr_worker_trace_spans_dropped_total') > $was } 20), '... and counts, too';
$t->done;
