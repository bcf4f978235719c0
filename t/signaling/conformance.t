# Every keyword of the reference, tried on a running server; the table of
# docs/protocol.md says the same.  MDVR_UPDATE=1 writes the table.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my @meaning = map { [ /^(\S+)\s+(\S)\s+(.+)$/ ] } grep { /\S/ } split /\n/, <<'TABLE';
V100 S answer to a command
V101 S registration
V102 M live video
V103 M file from the device
V105 M talk, listen
V106 M firmware upgrade
V107 M snapshot
V108 M search results
V109 S heartbeat
V110 M transparent query data
V111 M file to the device
V112 M device fetches a file
V114 S position report
V130 S asks for a call, ends it
V141 S which file to fetch
V142 S hardware status
V201 S custom alarm
V202 S emergency button
V203 S vibration
V204 S camera without signal
V205 S camera covered
V206 S illegal door opening
V207 S password wrong three times
V208 S illegal ignition
V209 S temperature
V210 S disk error
V211 S speed
V212 S geofence of the device
V213 S abnormal door
V214 S ignition on
V215 S ignition off
V216 S parked too long
V217 S motion
V218 S GPS failure
V219 S fatigue
V220 S power cut
V221 S disk over-temperature
V222 S front panel forced
V231 S transparent data
V232 S alarm file ready
V234 S file fetched by the device
V251 S end of V201
V252 S end of V202
V253 S end of V203
V254 S end of V204
V255 S end of V205
V256 S end of V206
V257 S end of V207
V258 S end of V208
V259 S end of V209
V260 S end of V210
V261 S end of V211
V262 S end of V212
V263 S end of V213
V266 S end of V216
V267 S end of V217 (not documented)
V268 S end of V218
V269 S end of V219
V271 S end of V221
V298 S may alarm video be sent
V299 S alarm released by the device
V304 S fuel increased
V305 S fuel decreased
V600 S transparent data
V80 S not to be parsed
C100 S answer to a device message
C150 S control
C151 S text message
C152 S upgrade
C500 S not registered
C501 S heartbeat
C505 S periodic position
C508 S live video
C510 S snapshot
C511 S motion detection, set
C512 S motion detection, get
C517 S transparent parameters
C520 S configuration push
C521 S configuration pull
C550 S talk
C551 S listen
C588 S device information
C589 S factory reset
C600 S transparent data
C701 S search
C702 S download
C704 S query search
C706 S file push
C722 S picture settings, set
C723 S picture settings, get
C1111 S pan, tilt, zoom
C7212 S alarm server
TABLE

my %known = map { $_->[0] => 1 } @meaning;
my ($list) = slurp('mdvr/dc/message.h') =~ /define MDVR_KEYWORD_LIST\(X\)(.*?)typedef/s;
my @listed = $list =~ /X\((\w+)\)/g;
is join(' ', grep { !$known{$_} } @listed), '', 'every keyword of the library has a row';
is scalar(@listed), scalar(@meaning), 'and every row a keyword';

# ------------------------------------------------------------ what a server does

my $t = MDVR::Test->new;
my $id = $t->add_device('00007');
my $n = $t->nginx(ready => 0, signaling => 'mdvr_signaling_call_wait 200ms;');
my $dev = $t->device('00007')->register;
eventually { $t->online('00007') };
my @loc = (MDVR::Device::location(), '');
my $uid = 0;

# keyword => [ body, what it leaves behind ]
my %data = (
    V201 => [ 2, 0, '' ], V202 => [ 1, 'b' ], V204 => ['000A'], V205 => ['0001'], V206 => [ 1, '06', 12 ], V209 => [ 0, '81.00', '0.00', '80.00' ],
    V210 => [ 0, 'FFFFFF0A', 'x' ], V211 => [ '130.80', '0.00', '100.00', 5 ], V212 => [ 0, 1, '8.5', '47.4', '8.6', '47.3', 1, 1 ],
    V213 => [ 1, '06', 12 ], V216 => [ 95, 90 ], V217 => ['0001'], V219 => [2], V221 => [ 0, 2, 7000 ], V231 => [ 1, 3, 'abc' ],
    V232 => [ 2, '/d/f.h264', 1000, 2, '2021-03-05 101747', 25, 0 ], V234 => [ 77, 2, 0 ], V304 => [ 4050, 1270 ], V305 => [ 4050, 1270 ],
);
$data{'V' . (50 + substr $_, 1)} = $data{$_} for grep { /^V2[01]\d$|^V221$/ } keys %data;

my %stored = (
    V101 => sub { $t->value("select registration->>'firmware' from mdvr.device_state where device_id = ?", $id) && 'record' },
    V114 => sub { $t->value('select count(*) from mdvr.telemetry') && 'telemetry' },
    V142 => sub { $t->value("select health <> '{}' from mdvr.device_state where device_id = ?", $id) eq 't' && 'health' },
    V130 => sub { $t->value(q(select count(*) from mdvr.event where message ->> 'event' = 'call')) && 'event' },
    V232 => sub { $t->value('select count(*) from mdvr.download') && 'download' },
);

sub answer_of {
    my ($keyword) = @_;
    my $number;
    my $c = sub { my ($m) = @_; $m ? join ' ', $m->{keyword}, join ',', @{ $m->{body} }[3 .. $#{ $m->{body} }] : '' };
    if ($keyword eq 'V101') { my ($m) = $dev->v101; return 'C100 1,1,' if $m =~ /,0,1,1,#/ }
    if ($keyword eq 'V109') { return $dev->v109 ? 'C501' : '' }
    my %body = (
        V130 => [ @loc, 's', 1, '' ], V141 => [@loc], V298 => [ @loc, '210305 111000', 'U', 0, 1, 2 ], V299 => [ @loc, 1, 9 ],
        V600 => [ @loc, 7, 0, 4, '0a0b' ], V80 => ['x'], V114 => [ MDVR::Device::location(), 1 ],
        V100 => [ @loc, 'C588', '210305 111000', 0, 1 ], V142 => [ 1, 'SN', 4108, '00007', 'T1', 4, 0, 0, 1, '1_1', 0, 0, 0, '', 0, '', '', '', 1, 4, 4, '', '' ],
    );
    if ($body{$keyword}) {
        $number = $dev->send($keyword, $body{$keyword});
        return $c->($dev->answered($keyword, $number, $keyword =~ /^V(?:80|100|114|142)$/ ? 0.3 : 5));
    }
    my $u = sprintf 'UID%03d', ++$uid;
    my $raw = $dev->alarm($keyword, uid => $u, data => $data{$keyword} // []);
    return $raw && $raw =~ /,0,\Q$u\E#$/ ? 'C100 UID' : '';
}

my %row;
for (grep { $_->[0] =~ /^V/ && $_->[1] eq 'S' } @meaning) {
    my ($keyword) = @$_;
    my $before = $n->metrics(qq(mdvr_messages_total{keyword="$keyword"}));
    $row{$keyword}{answer} = answer_of($keyword) || '-';
    ok $dev->v109, "$keyword is survived";
    cmp_ok $n->metrics(qq(mdvr_messages_total{keyword="$keyword"})), '>', $before, "$keyword is counted by its name";
    $row{$keyword}{stored} =
        $stored{$keyword} ? eventually(sub { $stored{$keyword}->() }) || '-'
        : $t->value('select count(*) from mdvr.alarm_message where keyword = ?', $keyword) ? 'alarm' : '-';
}
for (grep { $_->[0] =~ /^V/ && $_->[1] eq 'M' } @meaning) { $row{ $_->[0] } = { answer => $_->[0] eq 'V105' ? '0x6000, 0x6401' : '0x6000', stored => '-' } }

# ------------------------------------------------------- what can be sent to a device

my $write = slurp('mdvr/dc/write.h');
my ($node, $slot) = split / /, $t->redis('GET', 'mdvr:route:{00007}');
for (grep { $_->[0] =~ /^C/ } @meaning) {
    my ($keyword) = @$_;
    my $writer = $write =~ /mdvr_body_\L$keyword\E/ || $write =~ /\b$keyword\b[^*]*have no body/s;
    ok $writer, "$keyword has a writer";
    if ($keyword =~ /^C(?:100|500|501)$/) { $row{$keyword} = { answer => '-' }; next }
    $t->redis('PUBLISH', "mdvr:cmd:$node:$slot", JSON::PP->new->encode({ id => "00000000-0000-7000-8000-00000000$keyword" =~ s/C(\d+)$/substr "0000$1", -4/er,
        reply => 'mdvr:ans:t:0', serial => '00007', keyword => $keyword, body => '1', timeout_ms => 5000 }));
    my $got = $dev->expect($keyword);
    ok $got, "$keyword reaches the device";
    $dev->answer($got, 1, '', '') if $got && $keyword ne 'C1111';
    $row{$keyword} = { answer => $keyword eq 'C1111' ? '-' : 'V100' };
}

# ----------------------------------------------------------------------- the table

my %vectors;
for (split /\n/, slurp('t/vectors/signaling.txt')) {
    my ($tag, $keyword) = /^(\S+)\t(?:\@\@)?\$\$dc\d{4},[^,]*,([VC]\d+),/ or next;
    $vectors{$keyword}++;
}
my $sim = join '', map { slurp($_) } glob 'sim/*.c';
my $library = join '', map { slurp($_) } glob('mdvr/dc/*.c'), 'mdvr/domain/alarm_kind.c';
my $out = '';
for (@meaning) {
    my ($keyword, $channel, $meaning) = @$_;
    my $start = $keyword =~ /^V2[5-7]\d$/ ? 'V' . (substr($keyword, 1) - 50) : $keyword;
    my $decoded = $keyword =~ /^V/ && ($library =~ /(?:KW_|")$keyword\b/ || $library =~ /"$start"/) ? 'yes'
        : $keyword =~ /^C/ ? 'written' : 'no';
    $decoded = 'ignored' if $keyword eq 'V80';
    $decoded = 'yes' if $keyword =~ /^V(?:101|109|114|130|142|298|299|600)$/ && $library =~ /\L$keyword\E|alarm_permit|location/;
    my $simulated = $sim =~ /(?:KW_|")\Q$keyword\E\b/ || $sim =~ /mdvr_body_\L$keyword\E\b/
        || $keyword =~ /^V2[5-7]\d$/ && $sim =~ /\+ 50/ && $sim =~ /"$start"/ ? 'yes' : '-';
    $out .= sprintf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", $keyword, $channel eq 'M' ? 'media' : 'signaling', $meaning,
        $decoded, $row{$keyword}{answer}, $row{$keyword}{stored} // '-', $simulated, $vectors{$keyword} // '-';
}

my $doc = <<'DOC' . $out;
# Protocol conformance

What the platform makes of each keyword of the device protocol. This table is made by `t/signaling/conformance.t`, which sends every
message to a running server (`MDVR_UPDATE=1 perl t/signaling/conformance.t` writes it).

- decoded: fields are read (or, for messages to the device, written) by the library in `mdvr/dc/`
- answered: what came back when the test sent it; for messages to the device, what the device answers
- stored: where it was found afterwards; positions inside other messages move the latest position
- simulated: `sim/mdvr-sim` sends it or obeys it
- vectors: how many messages of the reference's vectors carry it

Further alarms (V2xx) of newer firmware are acknowledged and stored as kind `unknown`. Other unknown keywords are counted, logged once per
device and firmware, and not answered.

| keyword | port | meaning | decoded | answered | stored | simulated | vectors |
|---|---|---|---|---|---|---|---|
DOC

if ($ENV{MDVR_UPDATE}) {
    open my $fh, '>', 'docs/protocol.md' or die $!;
    print $fh $doc;
    close $fh;
}
# the simulator and the vectors have tests of their own
my $told = sub { $_[0] =~ s/^(\|(?:[^|]*\|){6}).*/$1/gmr };
is $told->(slurp('docs/protocol.md')), $told->($doc), 'docs/protocol.md says what happened';
is scalar(grep { /^\| V/ && / no \|/ } split /\n/, $out), 0, 'every message is decoded';

$t->done;
