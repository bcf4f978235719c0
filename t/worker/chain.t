# From a recorder's alarm to a phone: movie with thumbnail, findings, objects in
# S3, event, and a push before and after.  How long it takes is measured by
# t/bench/alarm_chain.

use v5.30;
use lib 't/lib';
use MDVR::Test;
use MDVR::Chain;

plan skip_all => MDVR::Chain::missing() if MDVR::Chain::missing();
my $chain = MDVR::Chain->new(5);
my $seen = $chain->run;
ok $seen->{ok}{$_}, $_ for sort keys %{ $seen->{ok} };
cmp_ok $seen->{told}, '<=', $seen->{push}, 'the alarm is told before its video';
diag join ', ', map { sprintf '%s %.2f s', $_, $seen->{$_} } qw(told last event push findings);
$chain->done;
