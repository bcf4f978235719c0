package MDVR::Push;

# Push services and a webhook receiver that check what they are sent.
#
#   my $p = MDVR::Push->new($t);
#   $t->daemon('mdvr-worker', { $p->env });
#   $p->mode(fcm => '503');               # ok, 503, gone, 401; hook: redirect
#   $p->got('fcm')                        # what it took, oldest first
#   $p->hook_url('/path'), $p->secret

use v5.30;
use warnings;
use Carp qw(croak);
use JSON::PP ();
use MDVR::Test ();

my $json = JSON::PP->new->utf8->canonical;

sub put {
    my ($file, $text) = @_;
    open my $fh, '>:raw', "$file.new" or croak "$file: $!";
    print $fh $text;
    close $fh;
    chmod 0644, "$file.new";
    rename "$file.new", $file;
}

sub new {
    my ($class, $t) = @_;
    my $dir = $t->dir . '/push';
    mkdir $dir;
    chmod 0777, $dir;
    my $self = bless { t => $t, dir => $dir, tls => MDVR::Test::free_port(), http => MDVR::Test::free_port(),
        secret => 'whsec_a secret that only two know' }, $class;
    for my $cmd (
        "openssl genrsa -out $dir/rsa.key 2048",
        "openssl rsa -in $dir/rsa.key -pubout -out $dir/rsa.pub",
        "openssl ecparam -name prime256v1 -genkey -noout -out $dir/ec.raw",
        "openssl pkcs8 -topk8 -nocrypt -in $dir/ec.raw -out $dir/ec.key",
        "openssl ec -in $dir/ec.raw -pubout -out $dir/ec.pub",
        "openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
        . " -keyout $dir/tls.key -out $dir/tls.crt")
    {
        system("$cmd >$dir/openssl.log 2>&1") == 0 or croak "$cmd: " . MDVR::Test::slurp("$dir/openssl.log");
    }
    put("$dir/hook.secret", $self->{secret});
    put("$dir/account.json", $json->encode({ type => 'service_account', project_id => 'fleet-1', private_key_id => 'k1',
        client_email => 'push@fleet-1.example', private_key => MDVR::Test::slurp("$dir/rsa.key"),
        token_uri => "https://localhost:$self->{tls}/token" }));
    chmod 0644, glob "$dir/*";
    $self->mode;
    $self->start;
    return $self;
}

sub start {
    my ($self) = @_;
    my $starts = () = $self->log_of('start');
    $self->{pid} = $self->{t}->daemon('/usr/bin/env', 'node', "$MDVR::Test::TOP/t/lib/MDVR/push.mjs", $self->{dir}, $self->{tls},
        $self->{http});
    MDVR::Test::eventually(sub { (my @s = $self->log_of('start')) > $starts }, 10)
        or croak 'the receivers do not start: ' . $self->{t}->daemon_log($self->{pid});
}

sub stop { my ($self) = @_; $self->{t}->daemon_stop($self->{pid}, 'KILL') }

sub env {
    my ($self) = @_;
    my $dir = $self->{dir};
    return (MDVR_FCM_ENDPOINT => "https://localhost:$self->{tls}", MDVR_FCM_CREDENTIALS_FILE => "$dir/account.json",
        MDVR_APNS_ENDPOINT => "https://localhost:$self->{tls}", MDVR_APNS_KEY_FILE => "$dir/ec.key",
        MDVR_APNS_KEY_ID => 'KEY1234567', MDVR_APNS_TEAM_ID => 'TEAM123456', MDVR_APNS_TOPIC => 'com.example.fleet',
        MDVR_NOTIFY_CA_FILE => "$dir/tls.crt");
}

sub mode { my ($self, %mode) = @_; put("$self->{dir}/mode.json", $json->encode(\%mode)) }

sub log_of {
    my ($self, $to) = @_;
    return grep { $_->{to} eq $to } map { $json->decode($_) } split /\n/, MDVR::Test::slurp("$self->{dir}/push.log");
}

sub got { my ($self, $to) = @_; return grep { ($_->{status} // 0) =~ /^2/ } $self->log_of($to) }

sub hook_url { my ($self, $path) = @_; return "http://127.0.0.1:$self->{http}" . ($path // '/hook') }
sub secret   { $_[0]{secret} }

1;
