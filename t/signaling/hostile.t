# What strangers and broken devices send: each case is closed or survived,
# counted by its reason, and never felt by the device next to it.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
$t->add_device('00007');
$t->add_device('VICTIM');
my $n = $t->nginx(ready => 0, signaling => 'mdvr_signaling_register_timeout 2s;');

my $victim = $t->device('VICTIM')->register;
my $loc = join ',', MDVR::Device::location();
my $v109 = sub { MDVR::Device::text(@_ ? @_ : (1, 'V109', '00007', '', MDVR::Device::stamp())) };

# --------------------------------------------------- before registration: strict

my @closed = (
    [ 'an HTTP request',             "GET / HTTP/1.1\r\nHost: x\r\n\r\n",            'syntax' ],
    [ 'a TLS client hello',          "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 'syntax' ],
    [ 'media on this port',          "\@\@\x11\x60\x00\x00\x00\x00",                  'syntax' ],
    [ 'a wrong mark',                '$$dd0029,1,V109,00007,,180903 110250#',         'syntax' ],
    [ 'a length without digits',     '$$dc00x9,1,V109,00007,,180903 110250#',         'syntax' ],
    [ 'too many blank lines',        "\r\n" x 40,                                    'syntax' ],
    [ 'a legacy binary message',     "\$\$\$\$\$\$dc\x0c\0\0\0xxxxxxxxxxxx####",      'syntax' ],
    [ 'a length that is far too short', '$$dc0010' . substr($v109->(), 8) . $v109->(), 'syntax' ],
    [ 'a serial of 21 characters',   MDVR::Device::text(1, 'V101', 'A' x 21, '', '180903 110250', $loc, ''), 'serial' ],
    [ 'an empty serial',             MDVR::Device::text(1, 'V101', '', '', '180903 110250', $loc, ''),       'serial' ],
    [ 'SQL in the serial',           MDVR::Device::text(1, 'V101', "' or 1=1 --", '', '180903 110250', $loc, ''), 'serial' ],
    [ 'a path in the serial',        MDVR::Device::text(1, 'V101', '../../etc', '', '180903 110250', $loc, ''), 'serial' ],
    [ 'a NUL in the serial',         MDVR::Device::text(1, 'V101', "0\0007", '', '180903 110250', $loc, ''), 'serial' ],
);

for my $case (@closed) {
    my ($what, $bytes, $reason) = @$case;
    my $before = $n->metrics(qq(mdvr_refusals_total{reason="$reason"}));
    my $dev = $t->device('00007');
    $dev->send_raw($bytes);
    ok $dev->closed(4), "$what closes the connection";
    cmp_ok $n->metrics(qq(mdvr_refusals_total{reason="$reason"})), '>', $before, "$what is counted as $reason";
}

my @survived = (
    [ 'blank bytes in front',        "\r\n\0\r\n",                                    undef ],
    [ 'five hundred commas',         MDVR::Device::text(1, 'V114', '00007', '', '180903 110250', (',') x 600), 'tokens' ],
    [ 'a header that is too short',  MDVR::Device::text(1, 'V101'),                   'header' ],
    [ 'no keyword',                  MDVR::Device::text(1, 'HELLO', '00007', '', '180903 110250'), 'header' ],
    [ 'a command of the center',     MDVR::Device::text(1, 'C508', '00007', '', '180903 110250'), 'direction' ],
    [ 'a position before V101',      MDVR::Device::text(1, 'V114', '00007', '', '180903 110250', $loc, 1), 'not_registered' ],
    [ 'an alarm of nobody\'s device', MDVR::Device::text(1, 'V201', 'NOBODY', '', '180903 110250', $loc, '', '180903 110250', 'U', 0, '', 0, ''), 'unknown_serial' ],
    [ 'an alarm without a UID',      MDVR::Device::text(1, 'V201', '00007', '', '180903 110250', $loc, '', '180903 110250', ''), 'alarm' ],
    [ 'an alarm with an endless UID', MDVR::Device::text(1, 'V201', '00007', '', '180903 110250', $loc, '', '180903 110250', 'U' x 65, 0, '', 0, ''), 'alarm' ],
    [ 'a length one too small',      '$$dc' . sprintf('%04d', length($v109->()) - 10) . substr($v109->(), 8), 'length' ],
    [ 'a length one too large',      '$$dc' . sprintf('%04d', length($v109->()) - 8) . substr($v109->(), 8), 'length' ],
);

for my $case (@survived) {
    my ($what, $bytes, $reason) = @$case;
    my $before = $reason && $n->metrics(qq(mdvr_refusals_total{reason="$reason"}));
    my $dev = $t->device('00007');
    $dev->send_raw($bytes);
    like $dev->v101 // 'no answer', qr/,0,1,1,#$/, "$what does not keep the device from registering";
    cmp_ok $n->metrics(qq(mdvr_refusals_total{reason="$reason"})), '>', $before, "$what is counted as $reason" if $reason;
}

# --------------------------------------------------- registered: resynchronised

my $dev = $t->device('00007')->register;
for my $case (
    [ 'garbage',                     'garbage' x 100 ],
    [ 'binary junk',                 join '', map { chr(int rand 256) } 1 .. 2000 ],
    [ 'a nonsense length',           '$$dc0060' . substr($v109->(), 8) ],
    [ 'bad digits',                  '$$dc00x2,1,V109##' ],
    [ 'a legacy binary message',     "\$\$\$\$\$\$dc\x0c\0\0\0xxxxxxxxxxxx####" ],
    [ 'a message of another serial', $v109->(1, 'V109', 'VICTIM', '', '180903 110250') ],
    [ 'an unknown keyword',          $v109->(1, 'V999', '00007', '', '180903 110250') ],
    [ 'V80',                         $v109->(1, 'V80', '00007', '', '180903 110250', 'x') ],
    [ 'a media registration',        $v109->(1, 'V102', '00007', '', '180903 110250', $loc, '', 'V1', 1, '', '', 's', 'C508', 0, 1, '') ],
    [ 'a location cut short',        $v109->(1, 'V114', '00007', '', '180903 110250', 'A0010', 114, 3) ],
    [ 'a location of nonsense',      $v109->(1, 'V114', '00007', '', '180903 110250', 'A9999999999', ('x') x 16, "\xff{},\"\\|", 1) ],
    [ 'an answer to nothing',        $v109->(1, 'V100', '00007', '', '180903 110250', $loc, '', 'C508', '180903 110250', 0, 1) ],
    [ 'an empty answer',             $v109->(1, 'V100', '00007', '', '180903 110250', $loc, '') ],
    [ 'a clock of next century',     $v109->(1, 'V114', '00007', '', '991231 235959', $loc, 1) ],
    [ 'a stamp that is none',        $v109->(1, 'V114', '00007', '', '999999 999999', $loc, 1) ],
    [ 'braces and quotes in status', $v109->(1, 'V114', '00007', '', '180903 110250', 'A0010', 114, 3, 0, 22, 40, 0, '0.00', 0, '"},{NULL,\\"\'--', '}{', (0) x 6, '0|0', 1) ],
) {
    my ($what, $bytes) = @$case;
    $dev->send_raw($bytes);
    ok $dev->v109, "$what: the next message is understood";
}

ok eventually(sub { $t->value('select count(*) from mdvr.telemetry') >= 2 }), 'odd positions are stored';
is $t->value("select count(*) from mdvr.telemetry where recorded_at > now() + interval '25 hours'"), 0,
    'a clock in the future is not believed';

my $flood = $t->device('00007')->register;
$flood->send_raw('x' x 65536) for 1 .. 3;
ok $flood->closed, '64 KB of garbage without a message close the connection';
cmp_ok $n->metrics('mdvr_refusals_total{reason="garbage"}'), '>', 0, 'counted as garbage';

# ------------------------------------------------------------------ byte by byte

my $slow = $t->device('00007');
my (undef, $v101) = $slow->message('V101', [ MDVR::Device::location(), '', 'V1.0.0.1', 4108, '', 0, 1, 3, "\xd4\xc1\x42 1", '' ]);
for my $byte (split //, $v101) {
    $slow->send_raw($byte);
    select undef, undef, undef, 0.0005;
}
like $slow->answered('V101', 1)->{raw}, qr/,0,1,1,#$/, 'a V101 byte by byte is accepted';
ok eventually(sub {
    ($t->value("select registration->>'plate' from mdvr.device_state s join mdvr.device d on d.id = s.device_id where d.serial = '00007'") // '') eq "\x{e7}\x{b2}\x{a4}B 1"
}), 'a GB18030 plate is stored as UTF-8';

my $many = join '', map { $v109->($_, 'V109', '00007', '', '180903 110250') } 1 .. 3000;
$slow->send_raw($many);
my $c501 = 0;
$c501++ while $c501 < 3000 && $slow->expect('C501');
is $c501, 3000, 'three thousand heartbeats in one go are answered';

# -------------------------------------------------------------------- time limit

my $mute = $t->device('00007');
ok $mute->closed(6), 'who does not register in time is closed';
cmp_ok $n->metrics('mdvr_refusals_total{reason="timeout"}'), '>', 0, 'counted as timeout';

like $victim->v109, qr/C501/, 'the device beside them noticed nothing';

$t->done;
