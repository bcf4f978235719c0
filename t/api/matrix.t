# Every route of the served document x role x object x token: nothing leaks, nothing fails.
#
# The routes come from /openapi.json, so that a new one is tested without being
# listed here.  Roles: the four.  Objects: of one's own tenant, of another one, of
# nobody.  For routes without an id the object is the tenant that X-Tenant-Id names
# and what the query parameters ending in _id point to.  Tokens: valid, missing,
# expired, tampered, alg none, signed with another key.

use lib 't/lib';
use MDVR::Test;
use MIME::Base64 qw(encode_base64url decode_base64url);
use Digest::SHA qw(hmac_sha256);

my $t = MDVR::Test->new;
$t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;', pool => 4);
my $http = $t->http;
my $doc = $http->get('/openapi.json')->{json};

my %READ = map { $_ => 1 } qw(device:read video:watch alarm:read);
my %may = (
    super_admin  => sub { 1 },
    tenant_admin => sub { $_[0] ne 'platform' },
    technician   => sub { $READ{ $_[0] } || $_[0] =~ /^(any|device:write|device:control)$/ },
    client_user  => sub { $READ{ $_[0] } || $_[0] eq 'any' },
);

my @routes;
for my $path (sort keys %{ $doc->{paths} }) {
    for my $method (sort keys %{ $doc->{paths}{$path} }) {
        my $op = $doc->{paths}{$path}{$method};
        my ($s) = @{ $op->{security} // [] };
        my $scope = !$s || !exists $s->{bearer} ? '-' : $s->{bearer}[0] // 'any';
        $scope = 'platform' if $scope eq 'role:super_admin';
        push @routes, { method => uc $method, path => $path, op => $op, scope => $scope, kind => $path =~ m{^/(.*?)/\{id\}} ? $1 : '',
            what => uc($method) . " $path" };
    }
}
# what takes something away comes last, leaving comes after that
sub late { my ($r) = @_; return $r->{path} eq '/auth/logout' ? 2 : $r->{method} eq 'DELETE' ? 1 : 0 }
@routes = sort { late($a) <=> late($b) } @routes;
cmp_ok scalar(@routes), '>', 60, 'the document has routes: ' . @routes;

# ------------------------------------------------------------------- the objects

my @marks;      # what only tenant B knows
my $n = 0;

# One object of each kind in that tenant.
sub objects {
    my ($name, $session, $user) = @_;
    my $tenant = $t->tenant($name);
    my $x = $name . ++$n . 'zq';
    my $device = $t->add_device("SER$x", tenant => $name, name => "Name$x", plate => "Plate$x");
    my $u = $t->user(tenant => $name, role => 'technician', email => "mail$x\@example.test", password => 'a long password');
    my $who = $user // $u->{id};
    my $one = sub { $t->value("insert into mdvr.$_[0] ($_[1]) values ($_[2]) returning id") };
    my $dk = "'$tenant', '$device'";
    my %o = (
        tenants => $tenant, users => $u->{id}, devices => $device, 'auth/sessions' => $session,
        groups => $one->('device_group', 'tenant_id, name', "'$tenant', 'Group$x'"),
        'api-keys' => $one->('api_key', 'tenant_id, user_id, name, hash, scopes',
            "'$tenant', '$u->{id}', 'Key$x', sha256('$x'), '{device:read}'"),
        commands => $one->('command', 'tenant_id, device_id, type, keyword', "$dk, 'device_info', 'C588'"),
        alarms => $one->('alarm', 'tenant_id, device_id, code, kind, severity, uid, started_at',
            "$dk, 'V202', 'panic_button', 'critical', 'Uid$x', now()"),
        media => $one->('media', 'tenant_id, device_id, kind, source, at, original_key', "$dk, 'mp4', 'download', now(), 'media/Key$x'"),
        downloads => $one->('download', 'tenant_id, device_id, origin, path', "$dk, 'user', '/path$x'"),
        'video/sessions' => $one->('video_session', 'tenant_id, device_id, user_id, channel, stream, node, expires_at',
            "$dk, '$who', 1, 'sub', 'a', now() + interval '1 hour'"),
        geofences => $one->('geofence', 'tenant_id, name, shape, geometry, radius_m, min_lat_deg, max_lat_deg, min_lon_deg, max_lon_deg',
            "'$tenant', 'Fence$x', 'circle', '{}', 5, 0, 1, 0, 1"),
        webhooks => $one->('webhook', 'tenant_id, url, secret, topics', "'$tenant', 'https://1.1.1.1/$x', '\\x" . '00' x 32 . "', '{alarm}'"),
        'push-tokens' => $one->('push_token', 'tenant_id, user_id, platform, token', "'$tenant', '$who', 'fcm', 'Push$x'"),
    );
    # a client_user sees a group by the devices in it
    $t->sql('insert into mdvr.group_device (tenant_id, group_id, device_id) values (?, ?, ?)', $tenant, $o{groups}, $device);
    push @marks, $x, $u->{id}, values %o if $name eq 'B';
    return \%o;
}

my $b = $t->login($t->user(tenant => 'B', role => 'tenant_admin', email => 'adminBzq@example.test'));
my $foreign = objects('B', $t->value("select id from mdvr.session where user_id = '$b->{login}{user}{id}'"));
push @marks, 'adminBzq', $b->{login}{user}{id};
is_deeply [ grep { $_->{kind} && !$foreign->{ $_->{kind} } } @routes ], [], 'there is an object for every route with an id';

# an administrator of the platform makes tenants with a plan
$t->sql('insert into mdvr.plan (tenant_id) values (?)', $t->tenant($_)) for qw(A B);
my $nobody = '0190b6c2-0000-7000-8000-00000000000a';
my %unknown = map { $_ => $nobody } keys %$foreign;

# ------------------------------------------------------------------- the requests

# A body that the route accepts, from the document; ids in it are those of the object.
sub body {
    my ($route, $o) = @_;
    my $content = $route->{op}{requestBody}{content}{'application/json'} or return undef;
    my $example = $content->{examples} && ($content->{examples}{device_info} // (values %{ $content->{examples} })[0])->{value};
    my $schema = $content->{schema};
    $schema = $doc->{components}{schemas}{ $schema->{'$ref'} =~ s{.*/}{}r } if $schema->{'$ref'};
    my %body = %{ $example // $schema->{examples}[0] // {} };
    $body{device_ids} = [ $o->{devices} ] if $body{device_ids} || $schema->{properties}{device_ids};
    $body{group_ids} = [ $o->{groups} ] if $schema->{properties}{group_ids};
    $body{group_id} = $o->{groups} if $schema->{properties}{group_id};
    for ([ serial => 'M' . ++$n ], [ email => "m$n\@example.test" ], [ name => "m$n" ]) {
        $body{ $_->[0] } = $_->[1] if exists $body{ $_->[0] } && $route->{path} ne '/auth/login';
    }
    return \%body;
}

my %kind_of = (device_id => 'devices', group_id => 'groups', user_id => 'users', alarm_id => 'alarms', object_id => 'devices');

sub ask {
    my ($api, $route, $o, %h) = @_;
    my $path = $route->{path};
    # a tenant that is deleted is one that nobody needs any more
    $o = { %$o, tenants => $t->tenant('C' . ++$n) } if $h{spare};
    delete $h{spare};
    $path =~ s/\{id\}/$o->{ $route->{kind} }/;
    if (!$route->{kind}) {
        my @q = map { $_->{name} } grep { $_->{in} eq 'query' && $_->{name} =~ /_id$/ } @{ $route->{op}{parameters} // [] };
        $path .= '?' . join '&', map { "$_=" . $o->{ $kind_of{$_} // 'devices' } } @q if @q;
    }
    return $api->stream("/api/v1$path", %h) if $path =~ m{/events/stream};
    return $api->request($route->{method}, "/api/v1$path", body($route, $o), %h);
}

my (@wrong, %count);
sub judge {
    my ($what, $route, $role, $o, $r, $want) = @_;
    $count{$role}++;
    my $all = join "\n", map({ "$_: " . ($r->{headers}{$_} // '') } keys %{ $r->{headers} }), $r->{body} // $r->{buf} // '';
    my $sent = join ' ', $route->{kind} ? $o->{ $route->{kind} } : (), $o->{tenants}, @$o{qw(devices groups users alarms)};
    push @wrong, "$what: $r->{status}, not $want: " . substr $r->{body} // '', 0, 200 unless $r->{status} =~ /^(?:$want)$/;
    push @wrong, "$what: $r->{status}" if $r->{status} >= 500 && !($r->{status} == 503 && $want =~ /503/);
    for my $mark (@marks) {
        next if index($all, $mark) < 0;
        # the platform's own list of tenants; an id that one has named oneself
        next if $role eq 'super_admin' && $route->{path} =~ m{^/tenants} && $mark eq $foreign->{tenants};
        next if $r->{status} >= 400 && index($sent, $mark) >= 0;
        push @wrong, "$what: '$mark' leaks: " . substr $all, 0, 300;
    }
}

# ------------------------------------------------------------------- the tokens

sub jwt {
    my ($h, $c, $key) = @_;
    my $x = join '.', map { encode_base64url(JSON::PP->new->canonical->encode($_)) } $h, $c;
    return "$x." . (defined $key ? encode_base64url(hmac_sha256($x, $key)) : '');
}

sub bad_tokens {
    my ($good) = @_;
    my ($head, $claims, $mac) = split /\./, $good;
    my ($h, $c) = map { json_of(decode_base64url($_)) } $head, $claims;
    my $secret = pack 'H*', $t->value("select encode(secret, 'hex') from mdvr.signing_key where kid = '$h->{kid}'");
    return (
        missing   => undef,
        expired   => jwt($h, { %$c, iat => $c->{iat} - 9000, exp => $c->{exp} - 9000 }, $secret),
        tampered  => "$head." . encode_base64url(JSON::PP->new->canonical->encode({ %$c, tid => $foreign->{tenants}, role => 'super_admin' })) . ".$mac",
        'alg none'  => jwt({ %$h, alg => 'none' }, $c, undef),
        'wrong key' => jwt($h, $c, 'y' x 32),
    );
}

# ------------------------------------------------------------------- the matrix

# The answers of a route that one may use, for one's own object.  409: the device
# is not connected, or the thing is there already.  422: the example does not fit
# this object.  404: nothing was ever filmed, so that there is no file of it.  503:
# a worker makes that file, and none runs here.
my $fine = '2\d\d|409|422';
my %also = (
    'GET /media/{id}/url' => '404', 'GET /media/{id}/hls/index.m3u8' => '404', 'POST /devices/{id}/upgrade' => '404',
    'GET /alarms/{id}/evidence' => '503', 'PUT /auth/password' => '401|403', 'POST /firmware' => '400|415', 'GET /commands/{id}/file' => '404', 'GET /devices/{id}/status' => '404',
);

# a super_admin is no user of the tenant whose sessions and addresses these are
my %super = ('POST /video/sessions/{id}/renew' => '404', 'DELETE /push-tokens/{id}' => '404');

for my $role (qw(super_admin tenant_admin technician client_user)) {
    my $user = $role eq 'super_admin' ? undef : $t->user(tenant => 'A', role => $role);
    my $in = sub { my $a = $user ? $t->login($user) : $t->super_admin; $a->{headers}{'x-tenant-id'} = $t->tenant('A') unless $user; $a };
    my $api = $in->();
    my $second = $in->();
    my $own = objects('A', json_of(decode_base64url((split /\./, $second->{token})[1]))->{sid}, $user && $user->{id});
    if ($role eq 'client_user') {
        my $r = $t->admin->put("/users/$user->{id}/devices", { device_ids => [ $own->{devices} ], group_ids => [ $own->{groups} ] });
        like $r->{status}, qr/^2/, 'a device is assigned to the client_user' or diag $r->{body};
    }
    my %bad = bad_tokens($api->{token});
    my $none = $http->clone;

    @wrong = ();
    for my $route (@routes) {
        next if $route->{scope} eq '-';
        for my $token (sort keys %bad) {
            for (['own', $own], ['foreign', $foreign], ['unknown', \%unknown]) {
                $none->token($bad{$token});
                judge("$role $route->{what} $_->[0] $token", $route, $role, $_->[1], ask($none, $route, $_->[1]), 401);
            }
        }
    }
    ok !@wrong, "$role: no good token, no answer" or diag join "\n", splice @wrong, 0, 12;

    @wrong = ();
    for my $route (@routes) {
        my $may = $route->{scope} eq '-' || $may{$role}->($route->{scope});
        my $fixed = $route->{path} =~ m{^/auth/(login|refresh)$} ? '401' : undef;
        for (['foreign', $foreign], ['unknown', \%unknown], ['own', $own]) {
            my ($what, $o) = @$_;
            my %h = $route->{kind} || $what eq 'own' ? () : $user ? ('x-tenant-id' => $o->{tenants}) : ();
            $h{spare} = 1 if $route->{what} eq 'DELETE /tenants/{id}' && !$user && $what ne 'unknown';
            my $r = ask($api, $route, $o, %h);
            my $want = defined $fixed ? "$fixed|4\\d\\d"
                : !$may ? ($route->{kind} || $what eq 'own' ? '403' : '403|404')
                : $what eq 'own' ? join('|', $fine, grep { defined } $also{ $route->{what} }, $user ? undef : $super{ $route->{what} })
                # what concerns only oneself asks for no tenant
                : $route->{scope} eq 'any' && !$route->{kind} ? join('|', $fine, grep { defined } $also{ $route->{what} })
                : $route->{scope} eq '-' ? '2\d\d|404'
                : !$route->{kind} ? ($user ? '404|403' : "$fine|400|401|403|404|415")
                : $route->{kind} eq 'tenants' && !$user && $what eq 'foreign' ? '2\d\d|409|422'
                # the body of these is looked at first
                : $route->{path} =~ /upgrade$|download$|devices$/ ? '404|422' : '404';
            judge("$role $route->{what} $what", $route, $role, $o, $r, $want);
            $api = $in->() if $route->{path} eq '/auth/logout' || $route->{path} eq '/auth/password';
        }
    }
    ok !@wrong, "$role: one's own, and nothing else" or diag join "\n", splice @wrong, 0, 25;
}

# ------------------------------------------------------ and tenant B has lost nothing

is $t->value("select count(*) from mdvr.device where tenant_id = '$foreign->{tenants}' and deleted_at is null"), 1, 'the other tenant still has its device';
is $t->value("select name from mdvr.device_group where id = '$foreign->{groups}'") =~ /^Group/ ? 1 : 0, 1, '... and its group, unchanged';
note join ', ', map { "$_: $count{$_}" } sort keys %count;
my $all = 0;
$all += $_ for values %count;
cmp_ok $all, '>', 4000, "so many requests: $all";

$t->allow(qr/client/);
$t->done;
