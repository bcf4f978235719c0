# What nobody may read in a log: passwords, tokens, keys, secrets of webhooks and
# texts of commands pass through a whole instance, with failures on the way, and
# no file that it wrote has one of them: nginx, access, worker, rtc, PostgreSQL, Redis.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use File::Find ();
use MIME::Base64 qw(encode_base64);

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $top = $MDVR::Test::TOP;
my $dir = MDVR::Test::test_dir();
my %env = (MDVR_VAR => "$dir/var", DEMO => 0, MDVR_WORKERS => 2, MDVR_WEBHOOK_ALLOW => '127.0.0.0/8');
$env{"MDVR_${_}_PORT"} = MDVR::Test::free_port() for qw(HTTP WS HTTPS SIGNAL MEDIA);
my @children;
sub mdvr { local %ENV = (%ENV, %env); my $out = `timeout 120 $top/ops/mdvr $_[0] 2>&1 </dev/null`; is $?, 0, "ops/mdvr $_[0]" or diag $out }
END {
    local $?;
    kill TERM => @children if @children;
    if ($env{MDVR_VAR}) { local %ENV = (%ENV, %env); system "$top/ops/mdvr stop >/dev/null 2>&1" }
}

mdvr('start');
my %secret;
my $cred = json_of(slurp("$env{MDVR_VAR}/credentials.json"));
$secret{'the password'} = $cred->{password};
my $http = MDVR::HTTP->new(port => $env{MDVR_HTTP_PORT});

# -- signing in, wrongly and well; tokens renewed, used, abused

$secret{'a wrong password'} = 'wr0ng-but-nearly-right-5512';
is $http->post('/auth/login', { email => $cred->{email}, password => $secret{'a wrong password'} })->{status}, 401, 'a wrong password';
my $login = $http->post('/auth/login', { email => $cred->{email}, password => $cred->{password} })->{json};
@secret{'an access token', 'a refresh token'} = @{$login}{qw(access_token refresh_token)};
my $next = $http->post('/auth/refresh', { refresh_token => $login->{refresh_token} })->{json};
@secret{'the next access token', 'the next refresh token'} = @{$next}{qw(access_token refresh_token)};
$http->token($next->{access_token});
is $http->clone->token("$next->{access_token}x")->get('/devices')->{status}, 401, 'a damaged token';

# -- keys, webhooks, phones

my $r = $http->post('/api-keys', { name => 'reader', scopes => ['device:read'] });
is $r->{status}, 201, 'a key of the API' or diag $r->{body};
($secret{'a key of the API'}) = grep { defined && !ref && length > 24 && !/^[0-9a-f-]{36}$/ } @{ $r->{json} }{qw(key secret token api_key)};
ok $secret{'a key of the API'}, '... is told' or diag $r->{body};
is $http->clone->token($secret{'a key of the API'})->get('/devices')->{status}, 200, '... and used' or diag $r->{body};
$http->clone->token("$secret{'a key of the API'}x")->get('/devices');
$secret{'the secret of a webhook'} = 'webhook-secret-of-thirty-two-characters';
my $nobody = MDVR::Test::free_port();
is $http->post('/webhooks', { url => "http://127.0.0.1:$nobody/hook", topics => ['alarm'], secret => $secret{'the secret of a webhook'} })->{status}, 201,
    'a webhook that nobody answers';
$secret{"a phone's token"} = 'phone-token-nobody-may-read-in-logs';
is $http->post('/push-tokens', { platform => 'fcm', token => $secret{"a phone's token"} })->{status}, 201, 'a phone';
$secret{"a user's password"} = 'another long password 7731';
my %user = (email => 'second@mdvr.test', name => 'Second', role => 'operator', password => $secret{"a user's password"});
$http->post('/users', \%user) for 1, 2;             # the second fails in the database

# -- a recorder, a command, a picture that moves

my $id = $http->post('/devices', { serial => '00007', name => 'Kept', channels => 4 })->{json}{id};
$http->post('/devices', { serial => '00007', name => 'Kept', channels => 4 });
my $pid = fork // die;
if (!$pid) {
    open STDOUT, '>', "$dir/sim.out";
    open STDERR, '>&', \*STDOUT;
    { exec 'build/bin/mdvr-sim', '--serial', '00007', '--signal-port', $env{MDVR_SIGNAL_PORT}, '--media-port', $env{MDVR_MEDIA_PORT},
        '--clip-dir', "$top/build/clips", '--alarm-every', 2 }
    POSIX::_exit(127);
}
push @children, $pid;
ok +(eventually { $http->get("/devices/$id/status")->{json}{online} } 15), 'a recorder';
$secret{'the text of a command'} = 'a text for the driver alone 9914';
$r = $http->post("/devices/$id/commands", { type => 'text_message', params => { text => $secret{'the text of a command'} } });
note "command: $r->{status}";
$r = $http->post("/devices/$id/video/start", { channel => 1, stream => 'sub' });
is $r->{status}, 200, 'live video' or diag $r->{body};
my @urls = $r->{body} =~ m{(/live/[^"\s]+)}g;
my ($token) = map { m{/live/([^/?"]{20,})} } @urls;
$token //= (grep { /^eyJ|^.{40,}$/ } grep { defined && !ref } values %{ $r->{json} })[0];
ok $token, 'with a token' or diag $r->{body};
$secret{'a token of a stream'} = $token;
for my $url (@urls, "/live/$token/nothing", "/live/$token/index.m3u8") { eval { $http->clone->token(undef)->stream($url) } }
my $ws = MDVR::WebSocket->new(port => $env{MDVR_WS_PORT}, path => "/ws?access_token=$next->{access_token}");
eval { $ws->drop };
ok +(eventually { @{ $http->get('/alarms')->{json}{items} } > 1 } 20), 'alarms, which the webhook is told of';
ok +(eventually { slurp("$env{MDVR_VAR}/log/worker.log") =~ /webhook|notify|deliver/i } 20), 'and the worker speaks of that';
is $http->post('/auth/logout', {})->{status}, 204, 'out again';
kill TERM => $pid;
waitpid $pid, 0;
@children = ();
mdvr('stop');

# -- the logs

for my $file (glob "$env{MDVR_VAR}/secrets/*") { my $v = slurp($file) =~ s/\s+\z//r; $secret{"$file"} = $v if length $v >= 16 && $v !~ /\n/ }
my (%text, $bytes);
File::Find::find({ no_chdir => 1, follow => 1, wanted => sub {
    return unless -f && (m{/log/} || /\.(?:log|raw|out)$/) && !m{/(?:pg|redis)/(?:base|pg_wal|appendonlydir)};
    $text{$_} = slurp($_);
    $bytes += length $text{$_};
} }, "$env{MDVR_VAR}/");
for my $name (qw(access.log nginx.log worker.log rtc.log postgresql)) { ok scalar(grep { m{log/\Q$name\E} } keys %text), "there is a log of $name" }
like $text{"$env{MDVR_VAR}/log/access.log"} // (map { $text{$_} } grep { m{log/access\.log$} } keys %text)[0], qr{"/ws\?access_token=\[redacted\]"}, 'a token in an address is replaced';
cmp_ok $bytes, '>', 5000, "$bytes bytes of logs, " . scalar(keys %secret) . ' secrets';
for my $what (sort keys %secret) {
    my $v = $secret{$what};
    my $name = $what =~ s{.*/}{secrets/}r;
    my %forms = map { $_ => 1 } $v, unpack('H*', $v), encode_base64($v, ''), $v =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02X', ord $1/ger;
    my @in = grep { my $f = $_; grep { index($text{$f}, $_) >= 0 } keys %forms } sort keys %text;
    is "@in", '', "$name is in none";
}
if (Test::More->builder->is_passing) { File::Path::remove_tree($dir) } else { diag "state kept in $dir" }
done_testing;
