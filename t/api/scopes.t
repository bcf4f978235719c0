# Every route, every role, every kind of object and token, from the table beside.

use lib 't/lib';
use MDVR::Test;
use MIME::Base64 qw(encode_base64url decode_base64url);
use Digest::SHA qw(hmac_sha256);

my $t = MDVR::Test->new;
$t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;', pool => 4);
my $http = $t->http;

my @table;
for (split /\n/, slurp('t/api/scopes.table')) {
    next if /^#/ || !/\S/;
    my ($method, $path, $scope, $roles) = split;
    push @table, { method => $method, path => $path, scope => $scope, map { $_ => 1 } split //, $roles };
}

# ------------------------------------------------------ the document says the same

my $doc = $http->get('/openapi.json')->{json};
my %said;
for my $path (keys %{ $doc->{paths} }) {
    for my $method (keys %{ $doc->{paths}{$path} }) {
        my $op = $doc->{paths}{$path}{$method};
        my $s = $op->{security}[0];
        my $scope = !$s ? '-' : join ' ', @{ $s->{bearer} };
        $said{ uc($method) . " $path" } = $scope eq '' ? 'any' : $scope eq 'role:super_admin' ? 'platform' : $scope;
    }
}
is_deeply \%said, { map { ("$_->{method} $_->{path}" => $_->{scope}) } @table }, 'routes and scopes of the document are those of the table';

# ------------------------------------------------- one object of each kind per tenant

my %user = map { my ($letter, $role) = @$_; ($letter => $t->user(tenant => 'A', role => $role)) }
    [ T => 'tenant_admin' ], [ E => 'technician' ], [ C => 'client_user' ];
my %api = map { $_ => $t->login($user{$_}) } qw(T E C);
$api{S} = $t->super_admin;
$api{S}{headers}{'x-tenant-id'} = $t->tenant('A');

my %object;
for my $name (qw(A B)) {
    my $tenant = $t->tenant($name);
    my $device = $t->add_device($name eq 'A' ? '00007' : '00008', tenant => $name);
    my $u = $t->user(tenant => $name, role => 'technician');
    my $admin = $t->login($t->user(tenant => $name, role => 'tenant_admin'));
    my $one = sub { $t->value("insert into mdvr.$_[0] values ($_[2]) returning id" =~ s/ values/ ($_[1]) values/r) };
    my $dk = "'$tenant', '$device'";
    $object{$name} = {
        tenants => $tenant, users => $u->{id}, devices => $device,
        groups => $one->('device_group', 'tenant_id, name', "'$tenant', 'g'"),
        'api-keys' => $one->('api_key', 'tenant_id, user_id, name, hash, scopes', "'$tenant', '$u->{id}', 'k', sha256('$name'), '{device:read}'"),
        commands => $one->('command', 'tenant_id, device_id, type, keyword', "$dk, 'device_info', 'C588'"),
        alarms => $one->('alarm', 'tenant_id, device_id, code, kind, severity, uid, started_at',
            "$dk, 'V202', 'panic_button', 'critical', 'A1', now()"),
        media => $one->('media', 'tenant_id, device_id, kind, source, at', "$dk, 'mp4', 'download', now()"),
        downloads => $one->('download', 'tenant_id, device_id, origin, path', "$dk, 'user', '/x'"),
        'video/sessions' => $one->('video_session', 'tenant_id, device_id, user_id, channel, stream, node, expires_at',
            "$dk, '$u->{id}', 1, 'sub', 'a', now() + interval '1 hour'"),
        geofences => $one->('geofence', 'tenant_id, name, shape, geometry, radius_m, min_lat_deg, max_lat_deg, min_lon_deg, max_lon_deg',
            "'$tenant', 'f', 'circle', '{}', 5, 0, 1, 0, 1"),
        webhooks => $one->('webhook', 'tenant_id, url, secret, topics', "'$tenant', 'https://1.1.1.1/', '\\x" . '00' x 32 . "', '{alarm}'"),
        'push-tokens' => $one->('push_token', 'tenant_id, user_id, platform, token', "'$tenant', '$u->{id}', 'fcm', '12345678'"),
        'auth/sessions' => $t->value("select id from mdvr.session where user_id = '$admin->{login}{user}{id}'"),
    };
}

sub kind { my ($path) = @_; return $path =~ m{^/(.*?)/\{id\}} ? $1 : undef }

# A body that the route accepts, from the document.
sub body {
    my ($route) = @_;
    my $op = $doc->{paths}{ $route->{path} }{ lc $route->{method} };
    my $content = $op->{requestBody}{content}{'application/json'} or return undef;
    return $content->{examples}{device_info}{value} if $content->{examples};
    my $schema = $content->{schema};
    $schema = $doc->{components}{schemas}{ $schema->{'$ref'} =~ s{.*/}{}r } if $schema->{'$ref'};
    return $schema->{examples}[0] // {};
}

sub call {
    my ($api, $route, $id) = @_;
    my $path = $route->{path} =~ s/\{id\}/$id/r;
    return $api->clone->request($route->{method}, "/api/v1$path", body($route));
}

# -------------------------------------------------------------------- the matrix

my (@wrong, $asked);
sub expect {
    my ($what, $r, $ok) = @_;
    $asked++;
    push @wrong, "$what: $r->{status} " . substr($r->{body}, 0, 160) unless $ok;
    push @wrong, "$what: 500" if $r->{status} == 500;
    push @wrong, "$what: no problem+json" if $r->{status} >= 400 && $r->{headers}{'content-type'} ne 'application/problem+json';
}

my @objects = grep { kind($_->{path}) } @table;
my $unknown = '0190b6c2-0000-7000-8000-00000000000a';

for my $letter (qw(S T E C)) {
    @wrong = ();
    for my $route (@objects) {
        my $kind = kind($route->{path});
        for (['foreign', $object{B}{$kind}], ['unknown', $unknown], ['malformed', 'abc'], ['traversing', '..%2f..%2fetc'],
             ['injected', "1'%20or%20'1'='1"]) {
            my ($what, $id) = @$_;
            my $r = call($api{$letter}, $route, $id);
            # a super_admin's platform routes have no foreign tenants
            next if $letter eq 'S' && $kind eq 'tenants' && $what eq 'foreign';
            my $want = $route->{$letter} ? 404 : 403;
            $want = 404 if $what eq 'traversing';
            # the body of these is looked at first, and there is no such firmware
            my $also = $route->{path} =~ m{/(upgrade|password|totp)$} ? 422 : 0;
            expect("$letter $route->{method} $route->{path} $what", $r, $r->{status} == $want || $r->{status} == $also);
        }
    }
    ok !@wrong, "role $letter: what is not one's own does not exist" or diag join "\n", @wrong;
}

for my $letter (qw(S T E C)) {
    @wrong = ();
    for my $route (@table) {
        next if $route->{path} =~ m{^/auth/(login|refresh|logout|password)|/events/stream$};
        next if $route->{method} eq 'DELETE' && $route->{$letter};
        my $kind = kind($route->{path});
        my $r = call($api{$letter}, $route, $kind ? $object{A}{$kind} : '');
        next if $route->{$letter} && $r->{status} == 503 && $route->{path} =~ /evidence$/;  # no worker makes it here
        my $ok = $route->{$letter} ? $r->{status} != 401 && $r->{status} != 403 && $r->{status} < 500 : $r->{status} == 403;
        expect("$letter $route->{method} $route->{path}", $r, $ok);
        # nothing is assigned to the client_user
        expect("$letter $route->{method} $route->{path} unassigned", $r, $r->{status} == 404)
            if $letter eq 'C' && $route->{C} && $kind && $kind =~ /^(devices|alarms|media|groups|video)/
                && $r->{status} != 422;
    }
    ok !@wrong, "role $letter: exactly the routes of the table" or diag join "\n", @wrong;
}

# -------------------------------------------------------------------- the tokens

my ($head, $claims, $mac) = split /\./, $api{T}{token};
my $c = json_of(decode_base64url($claims));
my $h = json_of(decode_base64url($head));
my $secret = pack 'H*', $t->value("select encode(secret, 'hex') from mdvr.signing_key where kid = '$h->{kid}'");
sub jwt { my ($h, $c, $key) = @_; my $x = join '.', map { encode_base64url(JSON::PP->new->canonical->encode($_)) } $h, $c;
    return "$x." . (defined $key ? encode_base64url(hmac_sha256($x, $key)) : '') }
my %token = (
    missing => undef, tampered => "$head." . encode_base64url(JSON::PP->new->canonical->encode({ %$c, role => 'super_admin' })) . ".$mac",
    expired => jwt($h, { %$c, iat => $c->{iat} - 9000, exp => $c->{exp} - 9000 }, $secret),
    'alg:none' => jwt({ %$h, alg => 'none' }, $c, undef), 'wrong key' => jwt($h, $c, 'y' x 32),
);
for my $what (sort keys %token) {
    @wrong = ();
    for my $route (grep { $_->{scope} ne '-' } @table) {
        my $kind = kind($route->{path});
        my $r = call($http->clone->token($token{$what}), $route, $kind ? $object{A}{$kind} : '');
        expect("$what $route->{method} $route->{path}", $r, $r->{status} == 401);
    }
    ok !@wrong, "token $what: 401 everywhere" or diag join "\n", @wrong;
}

# ------------------------------------------------------------------- methods, paths

@wrong = ();
my %methods;
push @{ $methods{ $_->{path} } }, $_->{method} for @table;
for my $path (sort keys %methods) {
    next if $path =~ /stream$/;
    my $id = kind($path) ? $object{A}{ kind($path) } : '';
    for my $method (qw(GET POST PUT PATCH DELETE)) {
        next if grep { $_ eq $method } @{ $methods{$path} };
        my $r = $api{T}->clone->request($method, '/api/v1' . ($path =~ s/\{id\}/$id/r), {});
        expect("$method $path", $r, $r->{status} == 405);
        my $allow = join ' ', sort grep { !/HEAD|OPTIONS/ } split /, /, $r->{headers}{allow} // '';
        expect("$method $path allow", $r, $allow eq join ' ', sort @{ $methods{$path} });
    }
}
ok !@wrong, 'other methods: 405 with what is allowed' or diag join "\n", @wrong;

my $r = $api{T}->clone->request('GET', '/api/v1/devices', undef, 'x-tenant-id' => $t->tenant('B'));
is $r->{status}, 404, 'nobody but a super_admin names another tenant';
$r = $api{S}->clone->request('GET', '/api/v1/devices', undef, 'x-tenant-id' => $unknown);
is $r->{status}, 404, 'nor one that does not exist';
$r = $api{S}->clone->request('GET', "/api/v1/devices/$object{B}{devices}", undef, 'x-tenant-id' => $t->tenant('B'));
is $r->{status}, 200, 'a super_admin acts in any tenant by naming it';
$r = $api{S}->clone->request('PATCH', "/api/v1/devices/$object{B}{devices}", { name => 'x' }, 'x-tenant-id' => $t->tenant('B'));
is $r->{status}, 200, '... writing too';
is $t->value("select count(*) from mdvr.audit where action = 'tenant.act' and tenant_id = '$object{B}{tenants}'"), 1,
    '... which is written down there';
$r = $api{S}->clone->request('POST', "/api/v1/alarms/$object{B}{alarms}/acknowledge", { note => 'seen' }, 'x-tenant-id' => $t->tenant('B'));
is "$r->{status} $r->{json}{status}", '200 acknowledged', '... and alarms';
note "$asked requests";

$t->done;
