# From an alarm to evidence: V201 and V232, the file is fetched, becomes a movie
# of its alarm, is announced, and leaves as a signed package that anybody can
# verify.  A file that contradicts its alarm is never attached to it.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Clip;
use MDVR::Files;
use Digest::SHA qw(sha256_hex);
use File::Path qw(make_path);
use POSIX ();

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new;
my $dir = $t->dir;
my $id = $t->add_device('00007', channels => 4, plate => 'EV 1');
my $other = $t->add_device('00008', channels => 4);
my $n = $t->nginx(workers => 2, media => 'mdvr_media_close_wait 1s; mdvr_media_file_timeout 3s;');
my $api = $t->admin;
my $worker = $t->daemon('mdvr-worker', { MDVR_WORKER_RETRY_MS => 100 });
my $ws = $t->websocket(token => $api->{token});
$ws->send({ type => 'subscribe', topics => [qw(alarm media)] });
$ws->next('subscribed', 5);

my $clip = slurp(MDVR::Clip::make('h264', width => 1280, height => 720, seconds => 15, rate => '1500k'));
my $dev = $t->device('00007');
$dev->v101;
my $now = int time;
$dev->v114(at => $now - 40 + $_, lat => [ 47, 22, 36000000 + $_ * 100000 ], lon => [ 8, 32, 0 ], speed => '30.00') for 0 .. 5;

# One V232 of the device; the V201 before it starts `ago` seconds before.
sub file_stamp { POSIX::strftime('%Y-%m-%d %H%M%S', gmtime $_[0]) }
sub announce {
    my (%o) = @_;
    $dev->alarm('V232', at => $now, alarm_at => $now, data => [ 2, $o{path}, $o{size} // length $clip, 2, file_stamp($o{start} // $now - 18),
        $o{seconds} // 15, $o{channel} // 0, 0, 1, 0, '' ], %{ $o{more} // {} });
}

# Serves the next C702; returns it and the time after the last byte.
sub serve {
    my ($bytes, %o) = @_;
    my $cmd = $dev->expect('C702', $o{wait} // 20) or return;
    $dev->answer($cmd, 1, 0, '', 0);
    my $m = MDVR::Media->new(port => $n->{media_port}, serial => '00007', session => $cmd->{body}[0]);
    my $at = $cmd->{body}[2];
    $m->register('V103', length($bytes) - $at, $o{name} // $cmd->{body}[6], 'EV 1');
    my $until = $o{until} // length $bytes;
    for (; $at < $until; $at += 32768) { $m->block($at, substr $bytes, $at, $until - $at < 32768 ? $until - $at : 32768) }
    if ($until < length $bytes) { $m->close; return $cmd }
    $m->block($at, '');
    my $end = time;
    $m->expect(0x6105, 10);
    $m->close;
    return ($cmd, $end);
}
sub media { my ($path) = @_; $t->row('select * from mdvr.media where source_path = ?', $path) }
sub settled { my ($path) = @_; eventually(sub { my $r = media($path); $r && $r->{status} =~ /ready|failed/ && $r }, 20) }

# ------------------------------------------------------------- the whole chain

my $path = '/mnt/sd0/2026/ch01-alarm.h264';
my $begin = time;
like $dev->alarm('V201', at => $now - 15, alarm_at => $now - 15, data => [ 2, 0, 'door' ]) // '', qr/,C100,/, 'the alarm is acknowledged';
my $news = $ws->next('alarm', 5);
my $alarm = $news->{alarm_id};
like announce(path => $path) // '', qr/,C100,.*,V232,/, 'so is the announcement of its file';
my ($cmd, $last) = serve($clip);
is_deeply [ @{ $cmd->{body} }[1, 2, 3, 6] ], [ 3, 0, 0, $path ], 'C702 fetches it as alarm data, from the beginning';
my $event = $ws->next('media', 20);
my $done = time;
is_deeply [ @{$event}{qw(status alarm_id device_id kind)} ], [ 'ready', $alarm, $id, 'mp4' ], 'a media event names the alarm';
diag sprintf 'from V201 to the media event %.2f s, after the last byte %.2f s', $done - $begin, $done - $last;
my $slow = $ENV{MDVR_ASAN} || $ENV{MDVR_SLOW} ? 10 : 1;
cmp_ok $done - $begin, '<', 15 * $slow, 'under 15 s in all';
cmp_ok $done - $last, '<', 3 * $slow, 'under 3 s after the last byte';

my $r = $api->get("/alarms/$alarm");
my ($item) = @{ $r->{json}{media} };
is $item->{id}, $event->{media_id}, 'the alarm includes it';
is $item->{sha256}, sha256_hex($clip), 'with the hash of what the device sent';
my $url = $api->get("/media/$item->{id}/url")->{json}{url};
my $movie = $t->http->request('GET', $url);
is $movie->{status}, 200, 'the movie can be fetched';
open my $fh, '>:raw', "$dir/movie.mp4"; print $fh $movie->{body}; close $fh;
my $p = MDVR::Files::probe("$dir/movie.mp4");
is_deeply [ @{$p}{qw(width height frames codec)} ], [ 1280, 720, 375, 'h264' ], 'and plays: every picture is there';
my $thumb = $t->http->request('GET', $item->{thumbnail_url});
like $thumb->{body}, qr/^\xff\xd8\xff/, 'with a thumbnail';
my $hls = $api->get("/media/$item->{id}/hls/index.m3u8");
is $hls->{status}, 307, 'it is stored as HLS, too';
my $list_url = $hls->{headers}{location};
my $playlist = $t->http->request('GET', $list_url)->{body};
like $playlist, qr/#EXT-X-MAP:URI="media\.mp4",BYTERANGE=.*#EXT-X-ENDLIST/s, 'one playlist of byte ranges';
$p = MDVR::Files::probe($n->url . $list_url);
is_deeply [ @{$p}{qw(width frames)} ], [ 1280, 375 ], 'that plays every picture';
is $t->http->request('GET', $list_url =~ s{hls/index\.m3u8}{original.bin}r)->{status}, 403, 'and opens nothing else';
cmp_ok $n->metrics('mdvr_transcode_speed_factor'), '>', 0, 'the speed of the work is measured';
is $n->metrics('mdvr_job_queue_depth{kind="evidence"}'), 0, 'the queues are, too';

# repetitions of a message make nothing twice
$dev->alarm('V232', at => $now, alarm_at => $now, uid => $dev->{uid}, data => [ 2, $path, length $clip, 2, file_stamp($now - 18), 15, 0, 0, 1, 0, '' ]);
announce(path => $path);
is $t->value('select count(*) from mdvr.download'), 1, 'an announcement that is repeated is fetched once';

# --------------------------------------------------------- the package

my $zip = $api->get("/alarms/$alarm/evidence");
is $zip->{status}, 200, 'GET /alarms/{id}/evidence' or diag $zip->{body};
is $zip->{headers}{'content-type'}, 'application/zip', 'is a ZIP file';
open $fh, '>:raw', "$dir/e.zip"; print $fh $zip->{body}; close $fh;
is system("unzip -qqt $dir/e.zip >/dev/null 2>&1"), 0, 'that other programs read, too';
my $list = qx(unzip -v $dir/e.zip);
like $list, qr/Stored.*manifest\.json/, 'the manifest is not compressed';
like $list, qr/Stored.*manifest\.sig/, 'nor is its signature';
like $list, qr/\Q$_\E/, "it has $_" for 'alarm.json', 'track.json', 'audit.json', "media/$item->{id}/original.bin", "media/$item->{id}/video.mp4";
my $part = sub { scalar qx(unzip -p $dir/e.zip $_[0]) };
is sha256_hex($part->("media/$item->{id}/original.bin")), $item->{sha256}, 'the original is the device\'s';
is json_of($part->('alarm.json'))->{alarm}{id}, $alarm, 'the alarm is described';
cmp_ok scalar @{ json_of($part->('track.json'))->{points} }, '>=', 6, 'the track is there';
my %seen = map { $_->{action} => 1 } @{ json_of($part->('audit.json'))->{entries} };
ok $seen{'alarm.evidence'} && $seen{'media.view'}, 'and who has looked';
my $m = json_of($part->('manifest.json'));
is $m->{alarm_id}, $alarm, 'the manifest names the alarm';

my $keys = $api->get('/evidence/keys')->{json}{items};
is $keys->[0]{kid}, $m->{key}{kid}, 'the key is published';
open $fh, '>', "$dir/key.pem"; print $fh $keys->[0]{pem}; close $fh;
my $verify = sub { my $out = qx(tools/mdvr-verify-evidence @_ 2>&1); return ($? >> 8, $out) };
my ($status, $out) = $verify->("--key $dir/key.pem $dir/e.zip");
is $status, 0, 'the verifier finds it good' or diag $out;
($status) = $verify->("$dir/e.zip");
is $status, 3, 'without the key it says so';
is system("cd $dir && unzip -qqo e.zip manifest.json manifest.sig && openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in manifest.json -sigfile manifest.sig >/dev/null"),
    0, 'openssl alone can check the signature';
my $env = join ' ', map { my %e = $t->daemon_env; "$_='$e{$_}'" } qw(MDVR_PG_CONNINFO MDVR_REDIS MDVR_REDIS_PASSWORD_FILE MDVR_STORAGE);
like scalar qx($env build/bin/mdvr-worker evidence-key 2>&1), qr/^# kid $m->{key}{kid}\n-----BEGIN PUBLIC KEY-----\n/, 'the worker prints the key as well';

# every byte counts
my $whole = $zip->{body};
my $flip = sub {
    my ($where) = @_;
    my $copy = $whole;
    substr($copy, $where, 1) ^.= "\x01";
    open my $out, '>:raw', "$dir/bad.zip"; print $out $copy; close $out;
    return ($verify->("--key $dir/key.pem $dir/bad.zip"))[0];
};
is $flip->(index($whole, '"started_at"')), 1, 'a changed letter of the alarm is found';
is $flip->(index($whole, substr($clip, 200_000, 64)) + 10), 1, 'a changed bit of the video is found';
is $flip->(index($whole, '"format": "mdvr-evidence"') + 30), 1, 'a changed manifest is found';
srand 11;
is scalar(grep { $flip->(int rand(length($whole) * 0.99)) == 0 } 1 .. 12), 0, 'no random change is overlooked';

# the same package again, another after something happened
is $api->get("/alarms/$alarm/evidence")->{body}, $whole, 'asked again, it is the same file';
is $api->get("/alarms/$alarm/evidence", range => 'bytes=0-9')->{status}, 206, 'of which a range may be asked for';
is $api->post("/alarms/$alarm/acknowledge", { note => 'seen' })->{status}, 200, 'the alarm is acknowledged';
my $second = $api->get("/alarms/$alarm/evidence");
isnt $second->{body}, $whole, 'then it is another one';
is $api->get('/alarms/00000000-0000-7000-8000-000000000000/evidence')->{status}, 404, 'an alarm that does not exist has none';
my $client = $t->login($t->user(role => 'client_user'));
is $client->get("/alarms/$alarm/evidence")->{status}, 403, 'without video:download there is none';
is $t->login($t->user(tenant => 'B', role => 'tenant_admin'))->get("/alarms/$alarm/evidence")->{status}, 404, 'nor for another tenant';

# an original that is not what arrived proves nothing
my $key = $t->value('select original_key from mdvr.media where id = ?', $item->{id});
chmod 0644, "$dir/objects/$key";
open $fh, '+<:raw', "$dir/objects/$key" or die $!; seek $fh, 5000, 0; print $fh 'forged'; close $fh;
$t->sql('update mdvr.evidence set created_at = created_at - interval \'1 hour\'');
$r = $api->get("/alarms/$alarm/evidence");
is $r->{status}, 409, 'a forged original stops the package';
like $r->{body}, qr/is not what arrived/, 'and is named';

# ----------------------------------------------------- which alarm a file is of

my $small = MDVR::Files::annexb($dir, seconds => 1);
announce(path => '/mnt/late.h264', start => $now - 400, seconds => 10, size => length $small);
serve($small);
$r = settled('/mnt/late.h264');
is "$r->{status} @{[ $r->{alarm_id} // '' ]}", 'ready ', 'a file of a time without alarm belongs to none';

$dev->alarm('V211', at => $now - 5, alarm_at => $now - 5, data => [ 120, 1 ]);
my $newer;
while (my $e = $ws->next('alarm', 5)) { if ($e->{code} eq 'V211') { $newer = $e->{alarm_id}; last } }
announce(path => '/mnt/newest.h264', start => $now - 20, seconds => 20, size => length $small);
serve($small);
is settled('/mnt/newest.h264')->{alarm_id}, $newer, 'of two alarms in its time the newest has it';

announce(path => '/mnt/asked.h264', start => $now - 18, seconds => 15, size => length $small);
serve($small, name => '/mnt/another.h264');
$r = settled('/mnt/another.h264');
is $r->{alarm_id}, undef, 'a device that sends another file than it was asked for: not attached';
like $r->{quarantined} // '', qr/another name/, 'but quarantined';
my ($listed) = grep { $_->{id} eq $r->{id} } @{ $api->get('/media?status=failed')->{json}{items} };
like $listed->{failed_reason} // '', qr/^quarantined: .*another name/, 'and listed with the reason';
is $api->get("/media/$r->{id}/url")->{status}, 404, 'it is not given away';

# an alarm that comes after its file, which is stored already
announce(path => '/mnt/early.h264', start => $now - 900, seconds => 10, size => length $small);
serve($small);
is settled('/mnt/early.h264')->{alarm_id}, undef, 'a file whose alarm has not come belongs to none';
$dev->alarm('V201', at => $now - 895, alarm_at => $now - 895, data => [ 3, 0, 'late' ]);
ok eventually(sub { media('/mnt/early.h264')->{alarm_id} }, 20), 'when it comes the file is its own';
is $t->value('select to_char(started_at, \'SS\') from mdvr.alarm where id = ?', media('/mnt/early.h264')->{alarm_id}),
    POSIX::strftime('%S', gmtime $now - 895), 'that one';
my $attached;
while (my $e = $ws->next('media', 10)) { if ($e->{alarm_id} && $e->{media_id} eq media('/mnt/early.h264')->{id}) { $attached = $e; last } }
is $attached->{status} // '', 'ready', 'and a media event says so';
is $t->value(q{select count(*) from mdvr.alarm_message where keyword = 'V232' and alarm_id = ?}, media('/mnt/early.h264')->{alarm_id}), 1,
    'the announcement is the alarm\'s, too';
is $t->value(q{select alarm_id is not null from mdvr.download where path = '/mnt/early.h264'}), 't', 'and the download';
is media('/mnt/another.h264')->{alarm_id}, undef, 'what is quarantined stays alone';

# jobs whose claim is wrong, as a forged or stale document would have it
my $staged = "$n->{dir}/state/staged";
my $k = 0;
my $foreign = $t->value(q{insert into mdvr.alarm (tenant_id, device_id, code, kind, severity, status, uid, started_at)
    values (?, ?, 'V201', 'custom', 'warning', 'open', 'X1', to_timestamp(?)) returning id}, $t->tenant, $other, $now - 10);
my $claim = sub {
    my ($alarm_id, %o) = @_;
    my $job = sprintf '01a00000-0000-7000-8000-%012d', ++$k;
    open my $out, '>:raw', "$staged/$job.bin" or die $!; print $out $small; close $out;
    chown +(getpwnam MDVR::Test::svc_user())[2, 3], "$staged/$job.bin" if $> == 0;
    $t->redis('XADD', "mdvr:job:{ingest\@$n->{name}}", '*', 'job', JSON::PP->new->encode({ id => $job, kind => 'ingest', device_id => $id,
        tenant_id => $t->tenant, serial => '00007', file => "$staged/$job.bin", media_kind => 'mp4', source => 'alarm_file',
        source_path => "/mnt/claim$k.h264", channel => 1, at_ms => ($now - 18) * 1000, duration_s => 15, alarm_id => $alarm_id, %o }));
    my $row = settled("/mnt/claim$k.h264");
    return ($row->{alarm_id} // 'none') . ' ' . ($row->{quarantined} // '');
};
like $claim->($foreign), qr/^none .*another device/, 'an alarm of another device is not taken';
like $claim->('00000000-0000-7000-8000-000000000001'), qr/^none .*does not exist/, 'nor one that does not exist';
like $claim->('no id'), qr/^none .*does not exist/, 'nor what is no id';
like $claim->($alarm, source_path => "/mnt/claim@{[ $k + 1 ]}.h264"), qr/^none no message/, 'nor one that never announced such a file';
my $d = $t->value('select id from mdvr.download where path = ?', '/mnt/newest.h264');
like $claim->($alarm, download_id => $d), qr/^none .*another alarm/, 'nor another than the download\'s';
like $claim->($newer, download_id => $d), qr/^none .*another name/, 'nor with another name';
is $t->value('select count(*) from mdvr.media where alarm_id = ?', $alarm), 1, 'the alarm has its one file';

# ------------------------------------------------------- policy, resume, watching

$t->sql(q{update mdvr.tenant set alarm_download = 'never' where id = ?}, $t->tenant);
announce(path => '/mnt/never.h264', start => $now - 18);
is $dev->expect('C702', 4), undef, 'a tenant that wants no files gets none';
$t->sql(q{update mdvr.tenant set alarm_download = 'severity', alarm_download_min = 'critical' where id = ?}, $t->tenant);
announce(path => '/mnt/info.h264', start => $now - 500, seconds => 5);
is $t->value(q{select count(*) from mdvr.download where path in ('/mnt/never.h264', '/mnt/info.h264')}), 0, 'nor one that wants those of graver alarms only';
$t->sql(q{update mdvr.tenant set alarm_download = 'always' where id = ?}, $t->tenant);

announce(path => '/mnt/cut.h264', start => $now - 18);
serve($clip, until => 1_000_000);
($cmd) = serve($clip);
cmp_ok $cmd->{body}[2], '>', 0, 'an interrupted download goes on where it was cut';
is settled('/mnt/cut.h264')->{sha256}, media('/mnt/cut.h264')->{sha256}, 'and is complete';
is $t->value(q{select encode(sha256, 'hex') from mdvr.media where source_path = '/mnt/cut.h264'}), sha256_hex($clip), 'bit by bit';

my $bus = MDVR::Clip::bus($n);
my $s = $bus->start('00007', device => $id, channel => 1);
my $view = $bus->view($s);
announce(path => '/mnt/wait.h264', start => $now - 18, size => length $small);
is $dev->expect('C702', 5), undef, 'while somebody watches, evidence waits';
$bus->run('end', $s->{slot});
$view->();
($cmd) = serve($small);
is $cmd->{body}[6], '/mnt/wait.h264', 'and is fetched afterwards';
is settled('/mnt/wait.h264')->{status}, 'ready', 'as ever';

$dev->close;
$t->daemon_stop($worker, 'TERM');
$t->done;
