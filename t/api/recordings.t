# Recordings that lie on the device: lists, downloads, pictures.

use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0; mdvr_command_timeout 3s;');
my $id = $t->add_device('00007');
my $api = $t->admin;
my $path = "/devices/$id/recordings";

my $r = $api->get($path);
is "$r->{status} $r->{json}{code}", '409 device_offline', 'a device that is not there cannot be asked';
my $dev = $t->device('00007')->register;
$t->sql("update mdvr.device set utc_offset_minutes = 480 where id = '$id'");

sub record { my ($day, $hour, $channel, $name) = @_; return pack 'C6 V V C C a256', 21, 3, $day, $hour, 0, 0, 600, 655360, 1, $channel, $name }

# The device answers one search with these records.
sub search {
    my (@records) = @_;
    my $c = $dev->expect('C701', 5) or return undef;
    my $m = MDVR::Media->new(port => $n->{media_port}, serial => '00007', session => $c->{body}[0]);
    $m->register('V108', '');
    $dev->answer($c, 1, '', '');
    $m->send(0x6101, $_) for @records;
    $m->send(0x6101, "\0" x 272);
    $m->expect(0x6105, 5);
    $m->close;
    return join ',', @{ $c->{body} }[1 .. 4];
}

my $p = $api->begin('GET', "/api/v1$path?from=2021-03-05T00:00:00Z&to=2021-03-06T10:00:00Z&channel=3");
my @asked = (search(record(6, 9, 2, '/c.h264')), search(record(5, 9, 2, '/a.h264') . record(5, 10, 2, '/b.h264')));
$r = $p->end;
is_deeply \@asked, [ '210306 000000,180000,3,2', '210305 080000,235959,3,2' ], 'a range is asked for by days of the device, the newest first';
is $r->{status}, 200, 'the list';
my $items = $r->{json}{items};
is_deeply [ map { $_->{path} } @$items ], [ '/a.h264', '/b.h264', '/c.h264' ], '... of all days';
is ${ $r->{json}{truncated} }, 0, '... and whole';
is_deeply $items->[0], { path => '/a.h264', channel => 3, type => 'alarm', from => '2021-03-05T01:00:00.000Z',
    to => '2021-03-05T01:10:00.000Z', duration_s => 600, size_bytes => 655360 }, '... in our time';
$r = $api->get("$path?from=2021-03-05T00:00:00Z&to=2021-03-06T10:00:00Z&channel=3");
is scalar(@{ $r->{json}{items} }), 3, 'the same again';
is $dev->expect('C701', 0.3), undef, '... without asking the device';

$r = $api->get("$path/calendar?from=2021-03-05T00:00:00Z&to=2021-03-06T10:00:00Z&channel=3");
is_deeply $r->{json}, { utc_offset_minutes => 480, truncated => JSON::PP::false(), days => [
    { date => '2021-03-05', channels => [ { channel => 3, normal_s => 0, alarm_s => 1200, spans => [
        { from => '2021-03-05T01:00:00.000Z', to => '2021-03-05T01:10:00.000Z', type => 'alarm' },
        { from => '2021-03-05T02:00:00.000Z', to => '2021-03-05T02:10:00.000Z', type => 'alarm' } ] } ] },
    { date => '2021-03-06', channels => [ { channel => 3, normal_s => 0, alarm_s => 600, spans => [
        { from => '2021-03-06T01:00:00.000Z', to => '2021-03-06T01:10:00.000Z', type => 'alarm' } ] } ] } ] }, 'the same as a calendar';
is $dev->expect('C701', 0.3), undef, '... of the list that is known';

# files that overlap, follow each other, cross midnight, of two channels and types
sub file { my ($day, $time, $seconds, $channel, $alarm) = @_; return pack 'C6 V V C C a256', 21, 4, $day, $time =~ /(..)/g, $seconds, 1000, $alarm, $channel, "/$day$time" }
$p = $api->begin('GET', "/api/v1$path/calendar?from=2021-04-05T00:00:00Z&to=2021-04-05T23:59:59Z");
search(file(5, '235800', 300, 0, 0));
search(file(5, '100500', 300, 1, 0) . file(5, '100000', 301, 1, 0), file(5, '100200', 60, 1, 1) . file(5, '110000', 60, 0, 0));
$r = $p->end;
is $r->{status}, 200, 'a calendar is asked for from the device' or diag $r->{body};
is_deeply [ map { my $d = $_; map { my $c = $_; map { join ' ', $d->{date}, $c->{channel}, $_->{type}, substr($_->{from}, 11, 8), substr($_->{to}, 11, 8) } @{ $c->{spans} } }
    @{ $d->{channels} } } @{ $r->{json}{days} } ],
    [ '2021-04-05 1 normal 03:00:00 03:01:00', '2021-04-05 1 normal 15:58:00 16:00:00', '2021-04-05 2 normal 02:00:00 02:10:00', '2021-04-05 2 alarm 02:02:00 02:03:00',
      '2021-04-06 1 normal 16:00:00 16:03:00' ], '... merged by channel and kind, cut at midnight of the device';
is $api->get("$path/calendar?from=2021-03-05T00:00:00Z&to=2021-01-01T00:00:00Z")->{status}, 422, '... with the same checks';

# more than an answer holds: the oldest are missing, and it says so
my $range = 'from=2021-04-07T00:00:00Z&to=2021-04-08T10:00:00Z';
my @many = map { file(8, sprintf('%02d%02d%02d', $_ / 3600, $_ / 60 % 60, $_ % 60), 1, 0, 0) } 1 .. 5002;
$p = $api->begin('GET', "/api/v1$path?$range");
search(map { join '', grep defined, @many[$_ * 50 .. $_ * 50 + 49] } 0 .. 100);
$r = $p->end;
is $r->{status}, 200, 'a day of more than 5,000 files' or diag $r->{body};
is scalar(@{ $r->{json}{items} }), 5000, '... shows so many';
is "$r->{json}{items}[0]{path} $r->{json}{items}[-1]{path}", '/8000003 /8012322', '... the newest';
is ${ $r->{json}{truncated} }, 1, '... says that there are more';
is $dev->expect('C701', 0.3), undef, '... and the days before are not asked for';
$r = $api->get("$path/calendar?$range");
is_deeply [ map { $_->{date} } @{ $r->{json}{days} } ], [ '2021-04-08' ], 'its calendar has the newest day';
is ${ $r->{json}{truncated} }, 1, '... and says so as well';

$p = $api->begin('GET', "/api/v1$path?type=log");
my $c = $dev->expect('C701');
like join(',', @{ $c->{body} }[3 .. 4]), qr/^7,98$/, 'a type and all channels';
$dev->answer($c, 0, 10, 'disk gone');
$r = $p->end;
is "$r->{status} $r->{json}{code}", '409 device_refused', 'a refusal is told';
like $r->{json}{detail}, qr/disk gone/, '... in words';
$p = $api->begin('GET', "/api/v1$path?type=picture");
$dev->expect('C701');
$r = $p->end;
is "$r->{status} $r->{json}{code}", '504 device_timeout', 'so is silence';
is $api->get("$path?from=2021-03-05T00:00:00Z&to=2021-01-01T00:00:00Z")->{status}, 422, 'a range runs forward';
is $api->get("$path?type=x")->{status}, 422, 'a type is one';

# ------------------------------------------------------------------- downloads

$r = $api->post("$path/download", { path => '/a.h264', from_byte => 4096 }, 'idempotency-key' => 'd1');
is $r->{status}, 202, 'a download is accepted';
my $d = $r->{json}{download_id};
is $api->post("$path/download", { path => '/a.h264', from_byte => 4096 }, 'idempotency-key' => 'd1')->{json}{download_id}, $d, '... once';
is $api->get("/downloads/$d")->{json}{status} =~ /^(queued|running)$/ ? 1 : 0, 1, '... and can be followed';
$c = $dev->expect('C702', 6);
ok $c, 'the device is asked for it';
like join(',', @{ $c->{body} }), qr{,1,4096,0,127\.0\.0\.1,$n->{media_port},/a\.h264$}, '... from where it was wanted';
$dev->answer($c, 0, 12, 'no such file');
ok eventually(sub { $api->get("/downloads/$d")->{json}{attempts} > 0 || $api->get("/downloads/$d")->{json}{status} eq 'failed' }, 8),
    'a refusal is seen';

my $tenant = $t->tenant('A');
$t->sql("insert into mdvr.media_session (tenant_id, device_id, kind, channel, stream, node) values ('$tenant', '$id', 'live', 1, 'sub', 'a')");
$r = $api->post("$path/download", { path => '/b.h264' });
is "$r->{status} $r->{json}{code}", '409 device_busy', 'live video is in the way';
like $r->{json}{detail}, qr/live video of channel 1 \(sub\)/, '... and named';
is $api->post("$path/download", { path => '/b.h264', force => \1 })->{status}, 202, 'unless it has to give way';
$r = $api->post("$path/download", { path => '/ssyhdd/0/p1/2021-03-05/241-02-104340-104356-05p100.h264', force => \1 });
is join(' ', @{ ($t->sql("select channel, mdvr.rfc3339(file_at), duration_s from mdvr.download where id = '$r->{json}{download_id}'"))[0] }),
    '2 2021-03-05T02:43:40.000Z 16', 'what a file name tells is kept';
is $api->post("$path/download", { path => '/2021-13-45/02-104340-104356.h264', force => \1 })->{status}, 202, '... or not';
is $api->post("$path/download", { path => '' })->{status}, 422, 'a path is needed';
is $api->post("$path/download", { path => '/x', from_byte => 9, to_byte => 3 })->{status}, 422, 'a part runs forward';

$t->done;
