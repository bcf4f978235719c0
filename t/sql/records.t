# Begins and ends of many connections in one call: the same as one by one.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Session;

my $t = MDVR::Test->new(no_redis => 1);
my $one = $t->add_device('00007');
my $two = $t->add_device('00008');
my $far = $t->add_device('00009', tenant => 'B');
my $stream = MDVR::Session->new($t, 'mdvr_stream');
my $boot = '01a00000-0000-7000-8000-000000000001';
my $json = JSON::PP->new->canonical;
my ($at, $later, $last) = map { "2026-01-01T00:00:0${_}Z" } 1 .. 3;

sub record {
    my @rows = $stream->rows('select device_id, message, held from mdvr.record_devices(?, ?, ?)', 'n1', $boot, $json->encode(\@_));
    return map { { device => $_->[0], held => $_->[2], $_->[1] ? %{ json_of($_->[1]) } : () } } @rows;
}
sub on { my ($device, $at, %v101) = @_; { online => \1, device => $device, at => $at, address => '10.0.0.1', v101 => \%v101 } }
sub off { my ($device, $at) = @_; { online => \0, device => $device, at => $at, reason => 'gone' } }
sub said { join ' ', map { ($_->{serial} // '-') . ':' . ($_->{event} // '-') . ':' . ($_->{reason} // '-') . ':' . ($_->{id} // '-') } @_ }
sub state_of { $t->row('select * from mdvr.device_state where device_id = ?', $_[0]) }

my @first = record(on($one, $at, utc_offset_minutes => 60, plate => 'A'), on($two, $at), on($far, $at));
is join(' ', sort map { "$_->{serial}:$_->{event}:$_->{reason}" } @first),
    '00007:online:registered 00008:online:registered 00009:online:registered', 'three devices are online';
is join(' ', sort map { $_->{id} } @first), '1 1 2', 'their events are numbered by tenant';
is $t->value('select string_agg(message::text, chr(10) order by tenant_id, seq) from mdvr.event where message::text !~ ?',
    '^\{"type":"device","id":"[0-9]+","tenant_id":"'), undef, 'and written as all events are';
is state_of($one)->{utc_offset_minutes}, 60, 'the zone is kept';
is $t->value('select count(*) from mdvr.connection where disconnected_at is null'), 3, 'each has an open connection';

is said(record(on($one, $at, plate => 'B'))), '-:-:-:-', 'V101 again on the same connection is no event';
is state_of($one)->{registration}{plate}, 'B', 'but it is kept';
is said(record(off($two, $last))), '-:-:-:-', 'the end of another connection is none';
ok state_of($two)->{online}, 'and changes nothing';

my @both = record(off($two, $at), on($two, $later), on($one, $later));
is join(' ', sort map { said($_) } @both), '00007:online:reconnected:3 00008:offline:gone:4 00008:online:registered:5',
    'an end and a begin of one device in their order';
is $t->value('select reason from mdvr.connection where device_id = ? and connected_at = ?', $one, $at), 'replaced',
    'the older connection was replaced';
is $t->value('select count(*) from mdvr.connection where disconnected_at is null'), 3, 'one connection each is open';

is said(record(on($one, $at))), '-:-:-:-', 'a connection older than the known one comes too late';
like state_of($one)->{connected_at}, qr{:02(?:\+|$)}, 'and is not believed';
is_deeply [ record(on('01a00000-0000-7000-8000-00000000ffff', $at)) ], [], 'nobody\'s device is no row';

is said(record(off($one, $later), off($two, $later), off($far, $at))) =~ s/ .*//r, '00007:offline:gone:6', 'all of them leave';
is $t->value('select count(*) from mdvr.device_state where online'), 0, 'and nobody is online';

$t->done;
