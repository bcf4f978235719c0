# One WebSocket, many tiles: ws?mux=1.

use MDVR::Test;
use MDVR::Clip;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, live => 'mdvr_live_tiles 12;');
my $bus = MDVR::Clip::bus($n);
my $clip = MDVR::Clip::make('h264', seconds => 4);

my (@s, @m, @p);
for my $i (0 .. 8) {
    push @s, $bus->start('00007', channel => $i + 1, device => '00000000-0000-7000-8000-000000000007');
    push @m, $bus->media($s[-1]);
    push @p, $m[-1]->play_on($clip);
}
my @token = map { $bus->token($t, $_) } @s;
my $ws;
ok eventually(sub {
    $ws = MDVR::WebSocket->new(port => $n->{http_port}, path => "/live/$token[0]/ws?mux=1");
    $ws->{status} == 101;
}), 'a socket for a wall';
$ws->send({ type => 'add', stream => $_, token => $token[$_] }) for 1 .. 8;

my (%bytes, %told);
sub listen_for { my ($seconds, $until) = @_;
    my $end = time + $seconds;
    while ((my $left = $end - time) > 0) {
        my $f = $ws->recv($left) or last;
        if ($f->{opcode} == 2) { $bytes{ unpack 'n', $f->{payload} } .= substr $f->{payload}, 2 }
        elsif ($f->{opcode} == 1) { my $m = json_of($f->{payload}); push @{ $told{ $m->{type} } }, $m }
        last if $until && $until->();
    }
}
listen_for(3);
is_deeply [ sort { $a <=> $b } keys %bytes ], [ 0 .. 8 ], 'nine streams come by it';
is_deeply [ sort { $a <=> $b } map { $_->{stream} } @{ $told{added} } ], [ 1 .. 8 ], 'eight were added';
my $good = 0;
my $source = { map { $_ => 1 } @{ MDVR::Clip::sums($clip) } };
for my $i (0 .. 8) {
    my $sums = MDVR::Clip::sums(\$bytes{$i});
    $good++ if @$sums > 50 && !grep { !$source->{$_} } @$sums;
}
is $good, 9, 'each has its init segment and decodes to its source\'s pictures';

# bad words
%told = ();
$ws->send({ type => 'add', stream => 20, token => 'x' });
$ws->send({ type => 'add', stream => 21, token => $bus->token($t, { %{ $s[0] }, channel => 15 }) });
$ws->send({ type => 'add', stream => 22, token => $bus->token($t, $s[0], node => 'elsewhere') });
$ws->send({ type => 'add', stream => 99999, token => $token[1] });
$ws->send('{nonsense');
$ws->send({ type => 'ping' });
listen_for(3, sub { $told{pong} });
is_deeply { map { $_->{stream} => $_->{reason} } @{ $told{ended} } },
    { 20 => 'token_invalid', 21 => 'stream_not_running', 22 => 'other_node' }, 'what cannot be added is said so';
is scalar @{ $told{error} // [] }, 2, 'nonsense is answered';

# limits
%told = ();
$ws->send({ type => 'add', stream => 30 + $_, token => $token[1] }) for 1 .. 4;
listen_for(3, sub { $told{ended} });
is $told{ended}[0]{reason}, 'too_many', 'twelve streams and no more';

# one leaves, one ends
%told = ();
$ws->send({ type => 'remove', stream => $_ }) for 1, 31 .. 33;
MDVR::Media::play_stop($p[2]);
$bus->run('end', $s[2]{slot});
listen_for(5, sub { $told{ended} });
is "$told{ended}[0]{stream} $told{ended}[0]{reason} $told{ended}[0]{code}", '2 stopped 1000', 'a stream that ends is named';
%bytes = ();
listen_for(1);
is_deeply [ sort { $a <=> $b } keys %bytes ], [ 0, 3 .. 8 ], 'the others go on';
is $bus->info($s[1])->{viewers}, 0, 'who was removed is no viewer';

$ws->close;
ok eventually(sub { !grep { ($_->{viewers} // 0) > 0 } $bus->sessions }), 'closing leaves all of them';

MDVR::Media::play_stop($_) for @p[0, 1, 3 .. 8];
$_->close for @m;
$t->done;
