# A certificate is replaced: after a reload new handshakes get the new one, and
# connections made before go on, a viewer's socket and a request that runs.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use IPC::Open2 qw(open2);
use IO::Select;

my $t = MDVR::Test->new;
my $id = $t->add_device('00007');
my $n = $t->nginx(workers => 2, ws => 'mdvr_ws_drain 3000s;', sub => { 'worker_shutdown_timeout 30s' => 'worker_shutdown_timeout 600s' });
my $tls = "$t->{dir}/tls";

sub fingerprint { qx(openssl x509 -noout -fingerprint -sha256 -in $_[0]) =~ s/\s+$//r }
sub offered {
    return qx(openssl s_client -connect 127.0.0.1:$n->{https_port} -servername localhost </dev/null 2>/dev/null | openssl x509 -noout -fingerprint -sha256) =~ s/\s+$//r;
}
my $first = fingerprint("$tls/cert.pem");
is offered(), $first, 'the first certificate';

# a WebSocket over TLS: s_client carries the bytes
my $token = $t->admin->{token};
my $pid = open2(my $out, my $in, 'openssl', 's_client', '-quiet', '-connect', "127.0.0.1:$n->{https_port}", '-servername', 'localhost');
END { local $?; kill KILL => $pid if $pid }
$in->autoflush(1);
print $in "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    . "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer $token\r\n\r\n";
my $heard = '';
sub heard {
    my ($what, $seconds) = @_;
    return eventually {
        while (IO::Select->new($out)->can_read(0.01)) { sysread $out, $heard, 65536, length $heard or last }
        $heard =~ $what;
    } $seconds // 5;
}
sub say_ws { my ($text) = @_; print $in pack('CC', 0x81, 0x80 | length $text) . "\0\0\0\0" . $text }
ok heard(qr/101 Switching/), 'a push socket over TLS';
say_ws('{"type":"subscribe","topics":["alarm"]}');
ok heard(qr/"subscribed"/), 'is subscribed';
my $dev = $t->device('00007');
$dev->v101;

# -- replaced

system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=renewed -keyout $tls/key.new -out $tls/cert.new 2>/dev/null") == 0 or die;
rename "$tls/$_.new", "$tls/$_.pem" or die for 'key', 'cert';
is offered(), $first, 'a file alone changes nothing';
$n->reload;
my $second = fingerprint("$tls/cert.pem");
isnt $second, $first, 'another certificate';
is offered(), $second, 'after the reload new handshakes get it';
say_ws('{"type":"ping"}');
ok heard(qr/"pong"/), 'the socket that was there answers';
$dev->alarm('V201');
ok heard(qr{"V201"}), '... and hears an alarm';
unlike $heard, qr/\x88/, '... nobody has closed it';
like $dev->v109, qr/,C501,/, 'the recorder has its connection, too';

# -- one that is broken

open my $fh, '>', "$tls/cert.pem" or die;
print $fh "nothing\n";
close $fh;
kill HUP => $n->master;
ok eventually { $n->log =~ /\[emerg\].*cert\.pem/ }, 'a broken one is refused';
is offered(), $second, '... and the one before stays';
$t->allow(qr/\[emerg\].*cert\.pem/);
kill KILL => $pid;
waitpid $pid, 0;
undef $pid;
$t->done;
