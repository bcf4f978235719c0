# How stored objects end, in a directory and in S3: when a tenant's retention is
# over and when a user deletes them, never under a legal hold; what nobody knows is
# swept, what is somebody else's is not.  And what is stored can be used: playlist,
# timeline, pictures, package.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Files;
use MDVR::S3;
use File::Path qw(make_path);

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new;
my $dev = $t->add_device('00007');
my $tenant = $t->tenant('A');
my $dir = $t->dir;
my @svc = $> == 0 ? (getpwnam MDVR::Test::svc_user())[2, 3] : ();
my $raw = MDVR::Files::annexb($dir, seconds => 6);
my $n = 0;
my ($node, $api, $kind, $s3, $worker);

sub soon(&$;$) { my ($cond, $name, $seconds) = @_; ok(eventually(\&$cond, $seconds // 20), "$kind: $name") }
sub uuid { sprintf '01a00000-0000-7000-8000-%012d', ++$n }
sub row { $t->row('select * from mdvr.media where id = ?', $_[0]) }
# Orphans are looked for when the test says so: with this limit what is just being stored may be one.
sub again { my @what = @_ ? @_ : qw(purge storage); $t->sql('delete from mdvr.schedule where name in (' . join(', ', map { $t->quote($_) } @what) . ')') }
sub no_orphans { $t->sql("insert into mdvr.schedule (name, last_at) values ('orphans', now()) on conflict (name) do update set last_at = now()") }
sub audit { $t->value('select count(*) from mdvr.audit where action = ? and object_id = ?', @_) }

# An item that is ready, and analysed.
sub item {
    my (%doc) = @_;
    my $id = uuid();
    no_orphans();
    my $state = "$node->{dir}/state";
    make_path("$state/staged");
    open my $fh, '>:raw', "$state/staged/$id.bin" or die $!;
    print $fh $raw;
    close $fh;
    chown @svc, "$state/staged", "$state/staged/$id.bin" if @svc;
    $t->redis('XADD', "mdvr:job:{ingest\@$node->{name}}", '*', 'job', JSON::PP->new->encode({ id => $id, kind => 'ingest', device_id => $dev,
        tenant_id => $tenant, file => "$state/staged/$id.bin", media_kind => 'mp4', source => 'recording', channel => 1,
        at_ms => 1_600_000_000_000, %doc }));
    eventually { my $r = row($id); $r && ($r->{analysis} // '') eq 'done' && $r->{sprite_key} } 30;
    return $id;
}

# Keys below a folder, and one object.
sub keys_of {
    my ($prefix) = @_;
    my @keys = $kind eq 's3' ? map { s{^lifecycle/}{}r } $s3->keys_below("lifecycle/$prefix")
        : map { s{^\Q$dir\E/objects/}{}r } split /\n/, qx(find $dir/objects/$prefix* -type f 2>/dev/null);
    return sort { $a cmp $b } @keys if wantarray;
    return scalar @keys;
}
sub put {
    my ($key, $text) = @_;
    return $s3->request('PUT', "lifecycle/$key", {}, $text) if $kind eq 's3';
    my $file = "$dir/objects/$key";
    make_path($file =~ s{/[^/]+$}{}r);
    open my $fh, '>', $file or die "$file: $!";
    print $fh $text;
    close $fh;
    system('chown', '-R', "$svc[0]:$svc[1]", "$dir/objects") if @svc;
    return;
}
sub folder { my ($id) = @_; my $r = row($id); return $r->{original_key} =~ s{[^/]+$}{}r }
sub get { my ($url) = @_; return $url =~ /^http/ ? MDVR::S3::plain($url) : $t->http(node => $node)->request('GET', $url) }

sub all_of_it {
    my $id = item();
    my $r = row($id);
    is "$r->{status} " . ($r->{analysis} // ''), 'ready done', "$kind: an item is ready and analysed" or diag $t->daemon_log($worker);
    my $folder = folder($id);
    my @keys = keys_of($folder);
    is scalar(grep { m{/(?:original\.bin|video\.mp4|thumb\.jpg|sprite\.jpg|hls/index\.m3u8|hls/media\.mp4)$} } @keys), 6, "$kind: six objects at least"
        or diag "@keys";

    # what is stored can be used
    my $media = $api->get("/media/$id")->{json};
    is_deeply [ map { $media->{sprite}{$_} } qw(columns rows width count every_s) ], [ 3, 1, 160, 3, 2 ], "$kind: the timeline has a picture every two seconds";
    like get($media->{sprite_url})->{body}, qr/^\xff\xd8\xff/, "$kind: and is one";
    like get($api->get("/media/$id/url?variant=sprite")->{json}{url})->{body}, qr/^\xff\xd8\xff/, "$kind: that has an address";
    like get($media->{thumbnail_url})->{body}, qr/^\xff\xd8\xff/, "$kind: so has the thumbnail";
    like get($api->get("/media/$id/url")->{json}{url})->{body}, qr/^....ftyp/s, "$kind: and the movie";
    my ($finding) = @{ $media->{findings} };
    ok $finding, "$kind: something was found in it";
    like get($finding->{picture_url})->{body}, qr/^\xff\xd8\xff/, "$kind: and its picture can be seen";
    my $hls = $api->get("/media/$id/hls/index.m3u8");
    my $list = $kind eq 's3' ? $hls->{body} : $t->http(node => $node)->request('GET', $hls->{headers}{location})->{body};
    like $list, qr/^#EXTM3U.*#EXT-X-ENDLIST/s, "$kind: the playlist can be had";
    my ($piece) = $list =~ /^([^#\s].*)$/m;
    $piece = $hls->{headers}{location} =~ s{[^/]+$}{$piece}r unless $piece =~ m{^/};
    my $r307 = $t->http(node => $node)->request('GET', $piece);
    $r307 = MDVR::S3::plain($r307->{headers}{location}, 'GET', '', 'Range: bytes=0-99') if $r307->{status} == 307;
    like $r307->{body}, qr/^....ftyp/s, "$kind: and what it names";
    open my $fh, '>', "$dir/list.m3u8" or die $!;
    print $fh $list =~ s{(^|")(/files/|media\.mp4)}{$1 . ($2 eq 'media.mp4' ? $node->url . $piece : $node->url . $2)}gmer;
    close $fh;
    is MDVR::Files::probe("-protocol_whitelist file,http,tcp -allowed_extensions ALL $dir/list.m3u8")->{frames}, 150, "$kind: which plays every picture";

    # the meters
    my $bytes = 0;
    $bytes += length get_object($_) for @keys;
    is $api->get('/usage')->{json}{storage_bytes}, $bytes, "$kind: what is stored is metered, all of it";
    is $t->value("select sum(amount) from mdvr.usage where metric = 'transcode_s' and tenant_id = ?", $tenant) >= 6, 1, "$kind: so is transcoding";

    # legal hold of the item, of its alarm, of the tenant
    my $alarm = $t->value(q{insert into mdvr.alarm (tenant_id, device_id, code, kind, severity, status, uid, started_at)
        values (?, ?, 'V201', 'custom', 'warning', 'open', ?, now()) returning id}, $tenant, $dev, "u$n");
    $t->sql('update mdvr.media set alarm_id = ?, created_at = now() - interval \'91 days\' where id = ?', $alarm, $id);
    my $super = $t->super_admin(node => $node);
    for my $held ([ "/media/$id", $api, 'item' ], [ "/alarms/$alarm", $api, 'alarm' ], [ "/tenants/$tenant", $super, 'tenant' ]) {
        my ($path, $who, $what) = @$held;
        my $hold = sub { my $v = $_[0] ? JSON::PP::true : JSON::PP::false;
            $who->patch($path, $what eq 'tenant' ? { settings => { legal_hold => $v } } : { legal_hold => $v }) };
        my $set = $hold->(1);
        is $set->{status}, 200, "$kind: a legal hold of the $what" or diag $set->{body};
        ok $set->{json}{legal_hold} // $set->{json}{settings}{legal_hold}, "$kind: is shown";
        is $api->delete("/media/$id")->{status}, 409, "$kind: nobody deletes then";
        again();
        soon { $t->value("select count(*) from mdvr.schedule where name = 'purge'") } 'and retention';
        is row($id)->{deleted_at}, undef, "$kind: does not, either" if $what eq 'tenant';
        is $hold->(0)->{status}, 200, "$kind: it ends";
        $hold->(1) if $what ne 'tenant';
    }
    again();
    soon { $t->value("select count(*) from mdvr.schedule where name = 'storage'") } 'held by item and alarm';
    is row($id)->{deleted_at}, undef, "$kind: it stays";
    $api->patch("/media/$id", { legal_hold => JSON::PP::false });
    $api->patch("/alarms/$alarm", { legal_hold => JSON::PP::false });
    is $t->login($t->user(role => 'technician'), node => $node)->patch("/media/$id", { legal_hold => JSON::PP::true })->{status}, 403,
        "$kind: holds are not for everybody";

    # retention
    my $young = item();
    soon { again(); row($id)->{purged_at} } 'without a hold it is removed when its time is over';
    is_deeply [ keys_of($folder) ], [], "$kind: every object of it";
    is $api->get("/media/$id")->{status}, 404, "$kind: the API knows it no more";
    is join(' ', map { audit($_, $id) } 'media.expire', 'media.purge'), '1 1', "$kind: and it is written down, once";
    is scalar(grep { m{/original\.bin$} } keys_of(folder($young))), 1, "$kind: a younger one stays";
    is $api->get('/usage')->{json}{storage_bytes}, row($young)->{stored_bytes}, "$kind: the meter knows";

    # a user deletes; the objects were half gone already
    $folder = folder($young);
    is $api->delete("/media/$young")->{status}, 204, "$kind: a user deletes the other";
    soon { again(); row($young)->{purged_at} } 'its objects follow';
    is_deeply [ keys_of($folder) ], [], "$kind: all of them";
    is join(' ', map { audit($_, $young) } 'media.delete', 'media.expire', 'media.purge'), '1 0 1', "$kind: that is written down, too";
    is $api->get('/usage')->{json}{storage_bytes}, 0, "$kind: nothing is stored now";
    $t->sql("update mdvr.media set purged_at = now() - interval '31 days' where id = ?", $id);
    soon { again(); !row($id) } 'the row is forgotten a month later';

    # orphans
    my ($lost, $foreign) = (uuid(), '00000000-0000-4000-8000-000000000001');
    my $day = $folder =~ s{[^/]+/$}{}r =~ s{^[^/]+/}{}r;
    put("$tenant/$day$lost/video.mp4", 'x');
    put("$tenant/$day$lost/hls/media.mp4", 'x');
    put("$foreign/$day$lost/video.mp4", 'x');
    put("$tenant/firmware/$lost/v1.bin", 'x');
    my $known = $t->value("insert into mdvr.firmware (id, tenant_id, name, version, size_bytes, md5, sha256, object_key) values (?, ?, 'v2.bin', ?, 1,"
        . " decode(repeat('00', 16), 'hex'), decode(repeat('00', 32), 'hex'), 'x') returning id", uuid(), $tenant, $kind);
    put("$tenant/firmware/$known/v2.bin", 'x');
    put("$tenant/notes.txt", 'x');
    soon { again('orphans'); !keys_of("$tenant/$day$lost/") } 'objects that no item has are swept';
    soon { again('orphans'); !keys_of("$tenant/firmware/$lost/") } 'firmware without a row, too';
    is scalar(keys_of("$foreign/")), 1, "$kind: not those of a tenant that is not known here";
    is scalar(keys_of("$tenant/firmware/$known/")) + scalar(keys_of("$tenant/notes")), 2, "$kind: nor what is known, or no item";
    is audit('storage.orphan', $lost), 2, "$kind: it is written down";
    return;
}
sub get_object {
    my ($key) = @_;
    return $kind eq 's3' ? $s3->request('GET', "lifecycle/$key")->{body} : MDVR::Test::slurp("$dir/objects/$key");
}

my %env = (MDVR_WORKER_RETRY_MS => 100, MDVR_WORKER_TICK_MS => 300, MDVR_WORKER_ORPHAN_S => 1);
$kind = 'file';
$node = $t->nginx;
$api = $t->admin(node => $node);
no_orphans();
$worker = $t->daemon('mdvr-worker', { %env });
all_of_it();
$t->daemon_stop($worker, 'TERM');

SKIP: {
    skip MDVR::S3::missing(), 1 if MDVR::S3::missing();
    $kind = 's3';
    $s3 = MDVR::S3->start($t);
    my %s3 = $s3->env(MDVR_S3_PREFIX => 'lifecycle');
    $node->stop;
    $node = $t->nginx(http => "mdvr_s3 @{[ $s3->url ]} $s3->{bucket} region=us-east-1 prefix=lifecycle/ "
        . "access_key_file=$dir/s3.access secret_key_file=$dir/s3.secret;");
    $api = $t->admin(node => $node);
    no_orphans();
    $worker = $t->daemon('mdvr-worker', { %env, %s3, MDVR_NODE => $node->{name}, MDVR_STATE_DIR => "$node->{dir}/state" });
    all_of_it();

    # a package of evidence
    my $id = item();
    my $alarm = $t->value('select id from mdvr.alarm limit 1');
    $t->sql('update mdvr.media set alarm_id = ? where id = ?', $alarm, $id);
    my $zip = $api->get("/alarms/$alarm/evidence");
    is $zip->{status}, 307, 's3: a package is in S3, too' or diag $zip->{body};
    open my $fh, '>:raw', "$dir/e.zip" or die $!;
    print $fh MDVR::S3::plain($zip->{headers}{location})->{body};
    close $fh;
    like scalar qx(unzip -v $dir/e.zip), qr{media/$id/original\.bin}, 's3: with the original';
    my ($package) = grep { m{/evidence\.zip$} } keys_of($tenant);
    ok $package, 's3: it is an object';
    $t->sql("update mdvr.evidence set created_at = now() - interval '2 days'");
    soon { $t->sql("delete from mdvr.schedule where name = 'evidence'"); !grep { $_ eq $package } keys_of($tenant) } 'that goes after a day';
    $t->daemon_stop($worker, 'TERM');
}
$t->done;
