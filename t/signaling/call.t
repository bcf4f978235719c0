# A person in a vehicle asks for a call (V130): an operator takes it, refuses
# it, or nobody does.

use MDVR::Test;

my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 2, api => 'mdvr_login_rate 0; mdvr_api_rate 0;', signaling => 'mdvr_signaling_call_wait 2s;');
my $id = $t->add_device('00007');
my $api = $t->admin;
my $dev = $t->device('00007');
$dev->register;

my $ask = sub { return $dev->send('V130', [ MDVR::Device::location(), '', 'sess-1', 1, '' ]) };
my $events = sub { return [ map { join ' ', grep { defined } @{$_}{qw(event reason)} } grep { ($_->{event} // '') =~ /^call/ } @{ $api->get('/events?topics=device&limit=100')->{json}{items} } ] };

# taken: the permission goes out before the call
my $no = $ask->();
ok eventually(sub { "@{ $events->() }" eq 'call' }), 'who asks is an event';
ok !$dev->expect('C100', 0.3), 'the question waits for an operator';
my $p = $api->begin('POST', "/api/v1/devices/$id/talk/start", {});
like $dev->answered('V130', $no)->{raw}, qr/,V130,\d{6} \d{6},1,1#$/, 'who calls the vehicle allows it: by a person, yes';
my $c = $dev->expect('C550');
my $m = $dev->media($c, connect_only => 1);
is $m->register('V105', 'V130', 1, 8000, 16, 2, 320, 2, '', 'ZH'), 1, '... and the vehicle connects';
$dev->answer($c, 1, '', '');
my $r = $p->end;
is $r->{status}, 200, 'the talk runs';
ok eventually(sub { "@{ $events->() }" =~ /call_ended accepted/ }), '... and everybody knows that it was taken';

# the driver hangs up
$no = $dev->send('V130', [ 'sess-1', 0, '' ]);
like $dev->answered('V130', $no)->{raw}, qr/,V130,\d{6} \d{6},0,2#$/, 'its end is confirmed at once';
ok eventually(sub { ($t->value('select end_reason from mdvr.video_session where id = ?', $r->{json}{session_id}) // '') eq 'hung_up' }), 'and ends the talk';
ok !$dev->expect('C550', 0.3), '... of which the vehicle need not be told';
$m->close;

# refused
$no = $ask->();
ok eventually(sub { @{ $events->() } == 3 }), 'asked again';
is $api->post("/devices/$id/talk/stop", {})->{status}, 204, 'an operator refuses';
like $dev->answered('V130', $no)->{raw}, qr/,V130,\d{6} \d{6},1,0#$/, 'the vehicle is told';

# nobody; asked twice meanwhile
$ask->();
$no = $ask->();
my $t0 = time;
like $dev->answered('V130', $no)->{raw}, qr/,V130,\d{6} \d{6},1,0#$/, 'nobody takes it: no';
cmp_ok time - $t0, '>', 1, '... after a while';
ok !$dev->expect('C100', 0.3), 'asking twice is answered once';

# gone while it waits
$ask->();
ok eventually(sub { @{ $events->() } == 7 }), 'once more';
$dev->close;
ok eventually(sub { @{ $events->() } == 8 }), 'a vehicle that leaves asks no longer';
is join(', ', @{ $events->() }), 'call, call_ended accepted, call, call_ended refused, call, call_ended no_answer, call, call_ended hung_up', 'what became of each';

$t->done;
