# What changes in rights holds within five seconds: in the API, on sockets, in
# running streams, on every node.

use lib 't/lib';
use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my @n = map { $t->nginx(workers => 2, pool => 4, api => 'mdvr_login_rate 0; mdvr_api_rate 0;') } 1, 2;
my $admin = $t->admin;
my $platform = $t->super_admin;
my %id = map { $_ => $t->add_device($_, plate => "P$_") } qw(00007 00008);
my $group = $admin->post('/groups', { name => 'g', device_ids => [ $id{'00008'} ] })->{json}{id};

# a camera that films all the time
my $bus = MDVR::Clip::bus($n[0]);
my $slot = $bus->start('00007', channel => 1, device => $id{'00007'});
my $media = $bus->media($slot);
my $player = $media->play_on(MDVR::Clip::make('h264', seconds => 4), loop => 1, seconds => 60);

sub with { my ($node, $token) = @_; return $t->http(node => $n[$node])->token($token) }

# Everything that somebody has open: requests and sockets on both nodes, events,
# a stream.
sub opened {
    my ($token) = @_;
    my %o = (token => $token, since => time);
    my $r = with(0, $token)->post("/devices/$id{'00007'}/video/start", { channel => 1, stream => 'sub' });
    $o{video} = $r->{json}{urls}{fmp4} // '';
    $o{stream} = $t->http(node => $n[0])->stream($o{video}) if $o{video};
    $o{ws} = [ map { my $w = $t->websocket(node => $n[$_], token => $token); $w->send({ type => 'subscribe', topics => [ 'device' ] }); $w } 0, 1 ];
    $o{events} = with(1, $token)->stream('/api/v1/events/stream');
    return \%o;
}

# whether an answer has come to its end
sub over { my ($s) = @_; $s->read(1 << 30, 0.1) unless $s->{ended}; return $s->{ended} }

# ... and that it is shut within five seconds
sub shut {
    my ($o, $why) = @_;
    my $from = time;
    ok eventually(sub { 2 == grep { with($_, $o->{token})->get('/auth/me')->{status} == 401 } 0, 1 }, 5), "$why: the API is shut on both nodes";
    ok eventually(sub { 2 == grep { $_->closed(0.1) } @{ $o->{ws} } }, 5), "$why: so are the sockets";
    ok eventually(sub { over($o->{events}) }, 5), "$why: ... the events";
    ok eventually(sub { over($o->{stream}) }, 5), "$why: ... and the stream" if $o->{stream};
    cmp_ok time - $from, '<', 5 * MDVR::Test::patience(1), "$why: all of it within five seconds";
}
sub token { $t->login($_[0])->{token} }

my $tech = $t->user(tenant => 'A', role => 'technician');
my %change = (
    'another role'   => sub { $admin->patch("/users/$tech->{id}", { role => 'client_user' }) },
    'an extra scope' => sub { $admin->patch("/users/$tech->{id}", { extra_scopes => ['billing:manage'] }) },
    'disabled'       => sub { $admin->patch("/users/$tech->{id}", { active => \0 }) },
);
for my $what ('an extra scope', 'disabled', 'another role') {
    $t->sql("update mdvr.user set active = true, role = 'technician', extra_scopes = '{}' where id = ?", $tech->{id});
    my $o = opened(token($tech));
    is $change{$what}->()->{status}, 200, "a user: $what";
    shut($o, $what);
}

# --------------------------------------------------------------- what is assigned

my $client = $t->user(tenant => 'A', role => 'client_user');
is $admin->put("/users/$client->{id}/devices", { device_ids => [ $id{'00007'} ], group_ids => [$group] })->{status}, 200, 'devices are assigned';
my $token = token($client);
my $o = opened($token);
ok $o->{stream}, 'its stream runs';
sub sees { my ($node) = @_; return join ' ', sort map { $_->{serial} } @{ with($node, $token)->get('/devices')->{json}{items} } }
is sees($_), '00007 00008', "both are seen (node $_)" for 0, 1;

is $admin->put("/users/$client->{id}/devices", { device_ids => [] })->{status}, 200, 'one is taken away';
my $from = time;
is sees($_), '00008', "... and is not seen any more (node $_)" for 0, 1;
is with(1, $token)->get("/devices/$id{'00007'}")->{status}, 404, '... nor when it is named';
ok eventually(sub { over($o->{stream}) }, 5), '... and its stream ends';
is $t->http(node => $n[0])->stream($o->{video})->{status} =~ /^40[13]$/ ? 1 : 0, 1, '... the address of it, too';
cmp_ok time - $from, '<', 5 * MDVR::Test::patience(1), '... within five seconds';
is with(0, $token)->post("/devices/$id{'00007'}/video/start", { channel => 1 })->{status}, 404, '... and no other begins';
is with(0, $token)->get('/auth/me')->{status}, 200, 'the session goes on';

# --------------------------------------------------- keys, and a tenant suspended

my $key = $admin->post('/api-keys', { name => 'k', scopes => [ 'device:read', 'video:watch', 'alarm:read' ] })->{json};
$o = opened($key->{key});
is $admin->delete("/api-keys/$key->{id}")->{status}, 204, 'an API key is revoked';
shut($o, 'a revoked key');

$key = $admin->post('/api-keys', { name => 'l', scopes => [ 'device:read', 'video:watch', 'alarm:read' ] })->{json};
my $of_key = opened($key->{key});
$t->sql("update mdvr.user set active = true, role = 'technician' where id = ?", $tech->{id});
my $of_user = opened(token($tech));
is $platform->patch('/tenants/' . $t->tenant('A'), { status => 'suspended' })->{status}, 200, 'the tenant is suspended';
shut($of_user, 'a suspended tenant');
shut($of_key, 'its key');
is $t->http->post('/auth/login', { email => $tech->{email}, password => $tech->{password} })->{status}, 401, 'nobody of it signs in';

MDVR::Media::play_stop($player);
$t->done;
