# nginx's error log becomes JSON, whatever happens to the follower.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use File::Temp qw(tempdir);

my $program = "$MDVR::Test::TOP/build/bin/mdvr-logjson";
my $dir = tempdir(CLEANUP => 1);

sub put { my ($text) = @_; open my $fh, '>>', "$dir/raw" or die; print $fh $text; close $fh }
sub lines { my $text = slurp("$dir/out"); map { json_of($_) } $text =~ /^(.+)\n/mg }      # whole ones

put(<<'LOG');
2026/01/31 08:15:30 [error] 12#12: *5 connect() failed while connecting to upstream, client: 10.0.0.7, server: _, request: "GET /live/eyJhbGciOiJIUzI1NiJ9.abc.def/index.m3u8?x=1 HTTP/1.1", upstream: "http://10.0.0.9/live/eyJhbGciOiJIUzI1NiJ9.abc.def/index.m3u8", host: "a, b"
2026/01/31 08:15:31 [notice] 12#12: signal process started
2026/01/31 08:15:32 [info] 13#13: *7 closed: bad "length", client: 10.0.0.8, server: 0.0.0.0:1087, device: 00007, reason: syntax
2026/01/31 08:15:33 [alert] 12#12: worker process 13 exited on signal 9
==12==ERROR: AddressSanitizer: heap-use-after-free
LOG
put(<<'LOG');
2026/01/31 08:15:33 [info] 13#13: *7 mdvr: alarm V201 stored, event_id: 57, tenant_id: 0190aaaa, device: "00007", alarm_id: 0190bbbb, trace_id: 0190cccc while serving a device, client: 10.0.0.8, server: 0.0.0.0:1087, device: "00007", tenant_id: 0190aaaa
2026/01/31 08:15:33 [info] 13#13: *8 file interrupted at 5, alarm_id: , request_id: , trace_id: , client: 10.0.0.8, server: 0.0.0.0:6602
2026/01/31 08:15:33 [error] 13#13: *9 open() "/www/a, tenant_id: 0190eeee" failed, tenant_id: 0190ffff, client: 10.0.0.9, server: _, request: "GET /a HTTP/1.1", host: "h", referrer: "x", trace_id: 0190dddd, host: "y"
LOG
put("2026/01/31 08:15:34 [warn] 1#1: broken \xff\xfe bytes and \"quotes\" \\ \x01\n");
system($program, "$dir/raw", "$dir/out") == 0 or die;

my @l = lines();
is @l, 9, 'each line is one object';
is_deeply [ @{ $l[0] }{qw(time level msg nginx_level pid connection client)} ],
    [ '2026-01-31T08:15:30.000Z', 'ERROR', 'connect() failed while connecting to upstream', 'error', 12, 5, '10.0.0.7' ],
    'stamp, level, message and numbers are taken apart';
is $l[0]{request}, 'GET /live/[redacted]/index.m3u8?x=1 HTTP/1.1', 'a stream token in the request is replaced';
is $l[0]{upstream}, 'http://10.0.0.9/live/[redacted]/index.m3u8', 'and in the upstream';
is $l[0]{host}, 'a, b', 'a quoted value may have commas';
is_deeply [ @{ $l[1] }{qw(level msg)} ], [ 'INFO', 'signal process started' ], 'notices are INFO';
is_deeply [ @{ $l[2] }{qw(msg device reason)} ], [ 'closed: bad "length"', '00007', 'syntax' ], 'our own names are members';
is $l[3]{level}, 'ERROR', 'alerts are ERROR';
is $l[4]{msg}, '==12==ERROR: AddressSanitizer: heap-use-after-free', 'a line of another form is kept whole';
is_deeply [ @{ $l[5] }{qw(msg event_id tenant_id device alarm_id trace_id client server)} ],
    [ 'mdvr: alarm V201 stored', 57, '0190aaaa', '00007', '0190bbbb', '0190cccc', '10.0.0.8', '0.0.0.0:1087' ], 'names before ", client" are members, without what nginx adds';
is_deeply [ grep { exists $l[6]{$_} } qw(alarm_id request_id trace_id) ], [], 'what is empty is left out';
is_deeply [ @{ $l[7] }{qw(client request host)} ], [ '10.0.0.9', 'GET /a HTTP/1.1', 'h' ], 'a request has nginx\'s names, the first of each';
is_deeply [ grep { exists $l[7]{$_} } qw(tenant_id trace_id) ], [], '... and cannot pretend to be ours';
is scalar(() = slurp("$dir/out") =~ /"device":"00007"/g), 2, 'no member comes twice';
like $l[8]{msg}, qr/^broken \x{fffd}+ bytes and "quotes" \\ \x01$/, 'bytes that are not UTF-8 are replaced';

# following, killed at any moment, started again

my $pid;
my $follow = sub {
    $pid = fork // die;
    if (!$pid) { open STDOUT, '>', '/dev/null'; exec $program, '-f', "$dir/raw", "$dir/out" or POSIX::_exit(127) }
};
my $stop = sub { kill KILL => $pid; waitpid $pid, 0; undef $pid };
END { my $status = $?; $stop->() if $pid; $? = $status }

put("2026/01/31 08:15:35 [info] 1#1: begins");
$follow->();
put(" and ends\n");
ok eventually { (lines())[-1]{msg} eq 'begins and ends' }, 'a line that comes in two pieces is one';

my $n = 20000;
for my $i (1 .. $n) {
    put("2026/01/31 08:15:36 [info] 1#1: line $i " . 'x' x 80 . "\n");
    if ($i % 5000 == 2500) { $stop->(); $follow->() }
}
ok +(eventually { ((lines())[-1]{msg} // '') =~ /^line $n / } 20), 'it catches up after each kill';
my %seen;
my $out = slurp("$dir/out");
$seen{$1}++ while $out =~ /"line (\d+) /g;
is scalar(keys %seen), $n, 'no line is missing';
cmp_ok scalar(grep { $_ > 1 } values %seen), '<', 2000, 'only lines in hand at a kill are repeated';
ok +(eventually { (stat "$dir/raw")[12] * 512 < 1.5 * 2**20 }), 'what has been converted is given back to the disk';
$stop->();

# a disk that is full in the middle of a line: whole lines only, and the rest later

unlink glob "$dir/*";
put("2026/01/31 08:15:37 [info] 1#1: line $_ " . 'y' x 80 . "\n") for 1 .. 20;
my @limited = ('bash', '-c', 'trap "" XFSZ; ulimit -f 1; exec "$@"', '-', $program, "$dir/raw", "$dir/out");
system @limited;
$out = slurp("$dir/out");
like $out, qr/\}\n\z/, 'a full disk ends with a whole line';
my $had = () = $out =~ /^\{.*\}$/mg;
cmp_ok $had, '>', 0, "... the last of $had";
is $had, scalar(() = $out =~ /\n/g), '... and all of them are';
system($program, "$dir/raw", "$dir/out") == 0 or die;
is_deeply [ map { $_->{msg} =~ /^line (\d+)/ } lines() ], [ 1 .. 20 ], 'what did not fit comes later, once';

done_testing;
