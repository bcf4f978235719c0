# From a device's alarm to a phone and a webhook, through the API: what people
# register there is what is used.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Push;

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $t = MDVR::Test->new;
my $n = $t->nginx(api => 'mdvr_webhook_allow 127.0.0.0/8;');
my $p = MDVR::Push->new($t);
my $dev = $t->add_device('00007');
my $api = $t->admin;

is $api->post('/push-tokens', { platform => 'fcm', token => 'phone-of-the-admin' })->{status}, 201, 'a phone is registered';
my $r = $api->post('/webhooks', { url => $p->hook_url('/api'), topics => ['alarm'], secret => $p->secret });
is $r->{status}, 201, 'and a webhook' or diag $r->{body};
my $hook = $r->{json}{id};
$t->daemon('mdvr-worker', { $p->env, MDVR_WEBHOOK_ALLOW => '127.0.0.0/8', MDVR_NOTIFY_REPEAT_S => 0 });

is $api->post("/webhooks/$hook/test")->{status}, 202, 'it is tested';
ok eventually(sub { $p->got('hook') == 1 }, 10), 'and hears of it';
ok eventually(sub { ($api->get('/webhooks')->{json}{items}[0]{last_delivery}{status} // '') eq 'delivered' }, 5), 'which the API shows';

my $d = $t->device('00007');
$d->register;
my $began = time;
$d->alarm("V201");
ok eventually(sub { $p->got('fcm') == 1 }, 10), 'an alarm of the device reaches the phone';
my ($push) = $p->got('fcm');
cmp_ok $push->{at} - $began, '<', MDVR::Test::patience(1.5), sprintf 'at once (%.2f s)', $push->{at} - $began;
ok eventually(sub { $p->got('hook') == 2 }, 5), 'and the webhook';
my $alarm = $push->{message}{data}{alarm_id};
is json_of(($p->got('hook'))[1]{body} =~ s/\P{ASCII}//gr)->{alarm_id}, $alarm, 'with the same alarm';
is $api->get("/alarms/$alarm")->{json}{id}, $alarm, 'which the API has';
$t->done;
