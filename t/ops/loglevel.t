# The level of each component's log is its own, and changes with a reload that
# cuts nothing.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;
$t->add_device($_) for '00007', '00008';
my $n;
my %block = (signaling => 'signaling', media => 'media', api => 'api', ws => 'ws');
sub levels { my (%l) = @_; return map { my $c = $_; ($block{$c} => "error_log $t->{dir}/n-a/error.log " . ($l{$c} // 'error') . ';') } keys %block }

my $binary = MDVR::Nginx::binary();
plan skip_all => 'this nginx has no debug log' if qx($binary -V 2>&1) !~ /--with-debug/;
$n = $t->nginx(level => 'error', levels());
my $stays = $t->device('00007');
$stays->v101;
my $token = $t->admin->{token};

my %act = (
    signaling => sub { my $d = $t->device('00008'); $d->v101; $d->close },
    media     => sub { my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $n->{media_port}); syswrite $s, 'rubbish' x 10; sysread $s, my $b, 1 },
    api       => sub { my $h = $t->http; $h->token($token); $h->get('/devices') },
    ws        => sub { my $w = $t->websocket(token => $token); $w->send({ type => 'ping' }); $w->next('pong', 5); $w->drop },
);

# Lines of level debug that an action adds.
sub words {
    my ($who) = @_;
    my $before = length $n->log;
    $act{$who}->();
    return scalar(() = substr($n->log, $before) =~ /\[debug\]/g);
}

is words($_), 0, "$_ is quiet" for sort keys %act;
for my $who (sort keys %act) {
    $n->reload(levels($who => 'debug'));
    cmp_ok words($who), '>', 0, "$who says more after a reload";
    for my $other (grep { $_ ne $who } sort keys %act) {         # what the other one still says of its end may come late
        ok +(eventually { words($other) == 0 }), "... $other does not";
    }
}
$n->reload(levels());
ok +(eventually { words('signaling') == 0 }), 'and is quiet after the next one';
like $stays->v109, qr/,C501,/, 'a recorder that was there all the time still is';
$t->done;
