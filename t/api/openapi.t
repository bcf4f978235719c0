# The document, the routes and the answers agree.

use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;');
my $tenant = $t->tenant('A');
my $id = $t->add_device('00007');
my $api = $t->admin;
my $super = $t->super_admin;
my $http = $t->http;

my $r = $http->get('/openapi.json');
is $r->{status}, 200, 'the document is served to everybody';
is $r->{headers}{'content-type'}, 'application/json', '... as JSON';
my $doc = $r->{json};
is $doc->{openapi}, '3.1.0', '... OpenAPI 3.1';
is $doc->{servers}[0]{url}, '/api/v1', '... below /api/v1';

# ------------------------------------------------------------- a JSON Schema check

sub resolve { my ($s) = @_; $s = $doc->{components}{schemas}{ $s->{'$ref'} =~ s{.*/}{}r } // die "no $s->{'$ref'}" while ref $s && $s->{'$ref'}; return $s }

sub type_of {
    my ($v) = @_;
    return 'null' unless defined $v;
    return 'object' if ref $v eq 'HASH';
    return 'array' if ref $v eq 'ARRAY';
    return 'boolean' if JSON::PP::is_bool($v);
    my $number = B::svref_2object(\$v)->FLAGS & (B::SVp_IOK() | B::SVp_NOK()) && !(B::svref_2object(\$v)->FLAGS & B::SVp_POK());
    return $number ? ($v == int $v ? 'integer' : 'number') : 'string';
}
use B ();

# What is wrong with $v, as a list of "where: what".
sub check {
    my ($s, $v, $at) = @_;
    $s = resolve($s);
    if ($s->{anyOf}) {
        my @all = map { [ check($_, $v, $at) ] } @{ $s->{anyOf} };
        return (grep { !@$_ } @all) ? () : map { @$_ } @all;
    }
    my $type = type_of($v);
    my @types = ref $s->{type} ? @{ $s->{type} } : defined $s->{type} ? $s->{type} : ();
    return "$at: $type is not @types" if @types && !grep { $_ eq $type || $_ eq 'number' && $type eq 'integer' } @types;
    return () if $type eq 'null';
    my @bad;
    push @bad, "$at: '$v' is not one of the words" if $s->{enum} && !grep { defined && $_ eq $v } @{ $s->{enum} };
    push @bad, "$at: '$v' is no uuid" if ($s->{format} // '') eq 'uuid' && $v !~ /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
    push @bad, "$at: '$v' is no time" if ($s->{format} // '') eq 'date-time' && $v !~ /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
    push @bad, "$at: $v is out of range" if defined $s->{minimum} && $v < $s->{minimum} || defined $s->{maximum} && $v > $s->{maximum};
    if ($type eq 'object') {
        my $p = $s->{properties} // {};
        push @bad, map { "$at: $_ is missing" } grep { !exists $v->{$_} } @{ $s->{required} // [] };
        for my $k (keys %$v) {
            if ($p->{$k}) { push @bad, check($p->{$k}, $v->{$k}, "$at.$k") }
            elsif (ref $s->{additionalProperties}) { push @bad, check($s->{additionalProperties}, $v->{$k}, "$at.$k") }
            elsif (keys %$p) { push @bad, "$at: $k is not in the document" }
        }
    }
    if ($type eq 'array' && $s->{items}) {
        push @bad, map { check($s->{items}, $v->[$_], "$at\[$_]") } 0 .. $#$v;
    }
    return @bad;
}

sub fits {
    my ($r, $method, $path, $what) = @_;
    my $op = $doc->{paths}{$path}{$method} // die "no $method $path";
    my ($ok) = grep { /^2/ } keys %{ $op->{responses} };
    my $content = $op->{responses}{$ok}{content}{'application/json'};
    my @bad = $r->{status} == $ok ? () : "status $r->{status}, not $ok: " . substr $r->{body}, 0, 200;
    push @bad, check($content->{schema}, $r->{json}, '') if $content && !@bad;
    ok !@bad, "$method $path" . ($what ? " $what" : '') or diag join "\n", @bad[0 .. ($#bad > 8 ? 8 : $#bad)];
    return $r;
}

# ----------------------------------------------------------------- one of everything

my $dev = $t->device('00007', plate => 'B-LB 7')->register;
$dev->v114(lat => [ 22, 40, 236220000 ], speed => '63.40', status => '0F00000001007783');
$dev->send('V202', [ MDVR::Device::location(), '', MDVR::Device::stamp(), 'A1', 0, '', 0, '', 1 ]);
ok eventually(sub { $t->value('select count(*) from mdvr.telemetry') && $t->value('select count(*) from mdvr.alarm') }), 'the device has reported';
my $alarm = $t->value('select id from mdvr.alarm');
my $media = $t->value("insert into mdvr.media (tenant_id, device_id, alarm_id, kind, source, status, at, size_bytes, sha256, original_key,
    playback_key, thumbnail_key, duration_s) values ('$tenant', '$id', '$alarm', 'mp4', 'alarm_file', 'ready', now(), 9, sha256('x'), 'a/o', 'a/v',
    'a/t', 15) returning id");
$t->sql("insert into mdvr.finding (tenant_id, device_id, media_id, kind, confidence, at_s, box, model, model_version)
    values ('$tenant', '$id', '$media', 'person', 0.9, 1.5, '[0, 0, 10, 10]', 'hog', '1')");
my $download = $t->value("insert into mdvr.download (tenant_id, device_id, origin, path, status, failed_reason)
    values ('$tenant', '$id', 'user', '/x', 'failed', 'x') returning id");
$t->sql("insert into mdvr.firmware (tenant_id, name, version, size_bytes, md5, sha256, object_key)
    values ('$tenant', 'a.img', '2.1', 9, decode(repeat('00', 16), 'hex'), sha256('x'), 'f')");
$t->device('99999', connect => 1)->v101(no_wait => 1);
ok eventually(sub { $t->value('select count(*) from mdvr.pending_device') }), 'an unknown serial has knocked';

my %id = (devices => $id, alarms => $alarm, media => $media, downloads => $download, tenants => $tenant);
$id{groups} = fits($api->post('/groups', { name => 'G', device_ids => [$id] }), 'post', '/groups')->{json}{id};
$id{geofences} = fits($api->post('/geofences', { name => 'Depot', geometry => { type => 'Polygon',
    coordinates => [ [ [ 1, 1 ], [ 2, 1 ], [ 2, 2 ], [ 1, 1 ] ] ] } }), 'post', '/geofences')->{json}{id};
fits($api->post('/geofences', { name => 'Yard', geometry => { type => 'Point', coordinates => [ 114, 22 ] }, radius_m => 100, dwell_s => 60 }),
    'post', '/geofences', 'circle');
fits($api->post('/api-keys', { name => 'k', scopes => ['device:read'], device_ids => [$id], expires_at => '2036-01-01T00:00:00+02:00' }),
    'post', '/api-keys');
fits($api->post('/webhooks', { url => 'https://1.1.1.1/' }), 'post', '/webhooks');
fits($api->post('/push-tokens', { platform => 'fcm', token => 'x' x 20 }), 'post', '/push-tokens');
fits($api->put('/notification-preferences', { quiet_from => '22:00', quiet_to => '06:00', time_zone => 'Europe/Berlin', muted_kinds => ['motion'] }),
    'put', '/notification-preferences');
$id{users} = fits($api->post('/users', { email => 'c@example.test', role => 'client_user', password => 'correct horse' }), 'post', '/users')->{json}{id};
fits($api->put("/users/$id{users}/devices", { device_ids => [$id], group_ids => [ $id{groups} ] }), 'put', '/users/{id}/devices');
fits($api->post('/devices', { serial => 'new', settings => { x => 1 } }), 'post', '/devices');
fits($api->patch("/devices/$id", { name => 'x' }), 'patch', '/devices/{id}');
fits($api->patch("/groups/$id{groups}", { name => 'H' }), 'patch', '/groups/{id}');
fits($api->patch("/users/$id{users}", { name => 'H' }), 'patch', '/users/{id}');
fits($api->patch("/geofences/$id{geofences}", { active => \0 }), 'patch', '/geofences/{id}');
my $new = fits($super->post('/tenants', { name => 'C', settings => { retention_days => 30, time_zone => 'Asia/Shanghai', quotas => { max_devices => 1 } } }),
    'post', '/tenants')->{json};
is "$new->{retention_days} $new->{time_zone} $new->{quotas}{max_devices}", '30 Asia/Shanghai 1', 'settings of a tenant are kept';
fits($super->patch("/tenants/$new->{id}", { quotas => { max_devices => undef } }), 'patch', '/tenants/{id}');
fits($super->put("/tenants/$new->{id}/plan", { name => 'p', max_users => 3 }), 'put', '/tenants/{id}/plan');
my $p = $api->begin('POST', "/api/v1/devices/$id/commands", { type => 'device_info' });
my $m = $dev->expect('C588');
$dev->answer($m, 1, 'SN', 4108, '00007', 'T2018', 4, 0, 15, 1, '12745_8023', 1, 5, 27, '198.51.100.7', 0, '', '', '', 1, 4, 4, '', '');
$id{commands} = fits($p->end, 'post', '/devices/{id}/commands')->{json}{id};
$t->sql("insert into mdvr.file (tenant_id, device_id, command_id, name, size_bytes, md5, sha256, content)
    values ('$tenant', '$id', ?, 'a.cfg', 1, decode(repeat('00', 16), 'hex'), sha256('x'), 'x')", $id{commands});
ok eventually(sub { $api->get("/commands/$id{commands}")->{json}{status} eq 'acknowledged' }), 'a command was answered';
$p = $api->begin('POST', "/api/v1/devices/$id/video/start", { channel => 1 });
$m = $dev->expect('C508');
my $film = $dev->media($m);
$dev->answer($m, 1, 1, '', 0);
$id{'video/sessions'} = fits($p->end, 'post', '/devices/{id}/video/start')->{json}{session_id};
fits($api->post("/video/sessions/$id{'video/sessions'}/renew"), 'post', '/video/sessions/{id}/renew');
$p = $api->begin('GET', "/api/v1/devices/$id/recordings?from=2021-03-05T00:00:00Z&to=2021-03-05T01:00:00Z");
$m = $dev->expect('C701');
$film = MDVR::Media->new(port => $n->{media_port}, serial => '00007', session => $m->{body}[0]);
$film->register('V108', '');
$dev->answer($m, 1, '', '');
$film->send(0x6101, pack('C6 V V C C a256', 21, 3, 5, 0, 0, 0, 600, 655360, 0, 1, '/a.h264') . "\0" x 272);
fits($p->end, 'get', '/devices/{id}/recordings');
fits($api->get("/devices/$id/recordings/calendar?from=2021-03-05T00:00:00Z&to=2021-03-05T01:00:00Z"), 'get', '/devices/{id}/recordings/calendar');
fits($api->post("/alarms/$alarm/acknowledge"), 'post', '/alarms/{id}/acknowledge');
fits($http->post('/auth/refresh', { refresh_token => $super->{login}{refresh_token} }), 'post', '/auth/refresh');

$t->sql("select mdvr.evidence_key_put('0123456789abcdef', sha256('x'))");

# ------------------------------------------------------------------- every GET

for my $path (sort keys %{ $doc->{paths} }) {
    next if !$doc->{paths}{$path}{get} || $path =~ m{stream$|hls|/docs$|/recordings(?:/calendar)?$|/evidence$};
    my ($kind) = $path =~ m{^/(.*?)/\{id\}};
    my $at = $path;
    $at =~ s/\{id\}/$id{$kind} \/\/ die $kind/e if defined $kind;
    my $who = $path =~ m{^/tenants} ? $super : $api;
    $at .= '?serial=99999' if $path eq '/devices/pending';
    my $r = fits($who->get($at), 'get', $path);
    ok scalar(@{ $r->{json}{items} }), '... and there is something to look at'
        if ref $r->{json} eq 'HASH' && $r->{json}{items} && $path !~ /trips/;
    for my $q (@{ $doc->{paths}{$path}{get}{parameters} // [] }) {
        next unless $q->{in} eq 'query' && $q->{name} eq 'limit';
        is $who->get("$path?limit=501" =~ s/\{id\}/$id{$kind}/r)->{status}, 422, '... whose limit ends at 500' if !defined $kind;
    }
}

# ------------------------------------------------------------ requests, examples, page

my $content = $doc->{paths}{'/devices/{id}/commands'}{post}{requestBody}{content}{'application/json'};
my @types = qw(control text_message upgrade position_interval snapshot motion_set motion_get params config_push config_pull listen
    device_info factory_reset transparent search download log_query file_push picture_set picture_get ptz alarm_server raw);
is join(' ', sort keys %{ $content->{examples} }), join(' ', sort @types), 'every command type has an example';

my @bad;
for my $name (keys %{ $doc->{components}{schemas} }) {
    my $s = $doc->{components}{schemas}{$name};
    push @bad, map { check($s, $_, $name) } @{ $s->{examples} // [] };
}
ok !@bad, 'the examples are valid' or diag join "\n", @bad;

# every request and every answer of every route has an example that fits
@bad = ();
my $examples = 0;
for my $path (sort keys %{ $doc->{paths} }) {
    for my $method (sort keys %{ $doc->{paths}{$path} }) {
        my $op = $doc->{paths}{$path}{$method};
        my %part = map { ("answer $_" => $op->{responses}{$_}) } keys %{ $op->{responses} };
        $part{request} = $op->{requestBody} if $op->{requestBody};
        for my $what (sort keys %part) {
            my $x = $part{$what};
            $x = $doc->{components}{responses}{ $x->{'$ref'} =~ s{.*/}{}r } if $x->{'$ref'};
            for my $type (sort keys %{ $x->{content} // {} }) {
                my $c = $x->{content}{$type};
                next if ($c->{schema}{format} // '') eq 'binary';
                my @e = exists $c->{example} ? $c->{example} : $c->{examples} ? map { $_->{value} } values %{ $c->{examples} }
                    : $c->{schema} ? @{ resolve($c->{schema})->{examples} // [] } : ();
                $examples += @e;
                push @bad, "$method $path: $what of $type has no example" unless @e;
                push @bad, map { "$method $path $what: $_" } map { check($c->{schema}, $_, '') } @e if $type =~ /json$/ && $type !~ /geo/;
            }
        }
        push @bad, "$method $path says nothing of 401" if ($op->{security} && @{ $op->{security} }) && !$op->{responses}{401};
        push @bad, "$method $path says nothing of 404" if $path =~ /\{/ && !$op->{responses}{404};
    }
}
ok !@bad, "every request and answer has a valid example: $examples" or diag join "\n", @bad[0 .. ($#bad > 20 ? 20 : $#bad)];

my $refs = JSON::PP->new->canonical->encode($doc);
my %missing = map { $_ => 1 } grep { !$doc->{components}{schemas}{$_} } $refs =~ m{"#/components/schemas/(\w+)"}g;
is join(' ', keys %missing), '', 'nothing is referred to that is not there';

my %told = map { $_ => 1 } slurp('docs/api.md') =~ /^\| `([A-Z]+ \S+)` \|/mg;
my %real = map { my $p = $_; map { (uc($_) . " $p" => 1) } keys %{ $doc->{paths}{$p} } } keys %{ $doc->{paths} };
is_deeply \%told, \%real, 'docs/api.md lists the same routes';

$r = $http->get('/docs');
is $r->{status}, 200, 'the document can be read in a browser';
unlike $r->{body}, qr{(?:src|href)=["']?https?:}, '... from this server alone';
like $r->{headers}{'content-security-policy'}, qr/default-src 'none'.*script-src 'sha256-/, '... under a strict policy';

$t->done;
