# The console through a night's events, in Chromium.
# alone

use v5.30;
use FindBin;
use lib "$FindBin::Bin/../lib";
use MDVR::Test;
use MDVR::Browser;

my $missing = MDVR::Browser::missing();
plan skip_all => $missing if $missing;

my $t = MDVR::Test->new;
my $node = $t->nginx(workers => 2);
$t->add_device('00007', plate => '34 MDV 007', name => 'Night bus');
$t->add_device('00265', plate => '35 HEV 265', name => 'New camera');
$t->add_device('00077', tenant => 'B');

my %vehicle;
my $admin = $t->{store}->first_admin;

MDVR::Browser->script('operator.mjs', {
    url => $node->url, email => $admin->{email}, password => $admin->{password}, tenant => 'A', other_tenant => 'B',
},
    vehicle => sub {
        my ($serial, $codec) = @_;
        $vehicle{$serial} = MDVR::Browser->vehicle($t, $serial, codec => $codec, returns => 1);
    },
    leave => sub { (delete $vehicle{ $_[0] })->stop },
    alarm => sub { $vehicle{ $_[0] }->alarm('V201') },
    restart => sub { $node->restart },
);

$_->stop for values %vehicle;
$t->done;
