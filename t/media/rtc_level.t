# The level of mdvr-rtc's log: by its settings, by the file that SIGHUP reads again, by SIGUSR2.

use MDVR::Test;
use IO::Socket::UNIX;

plan skip_all => 'mdvr-rtc is not built' unless -x 'build/bin/mdvr-rtc';
my $t = MDVR::Test->new;
my $n = $t->nginx(workers => 1);
my $file = "$t->{dir}/rtc.level";
sub level { open my $fh, '>', $file or die "$file: $!"; print $fh "$_[0]\n"; close $fh; chmod 0644, $file }

# An offer that is none is refused, which is a line of level debug; how many there are after one more.
sub refused {
    my ($pid) = @_;
    my $s = eventually(sub { IO::Socket::UNIX->new(Peer => "$n->{dir}/state/rtc.sock") }) or return 'no socket';
    print $s qq({"op":"offer"}\n);
    my $answer = <$s>;
    return scalar(() = $t->daemon_log($pid) =~ /"level":"DEBUG".*offer refused/g);
}

level('error');
my $rtc = $t->daemon('mdvr-rtc', { MDVR_LOG_LEVEL_RTC => 'debug', MDVR_LOG_LEVEL_FILE => $file });
is refused($rtc), 0, 'the file counts more than the setting';
is $t->daemon_log($rtc), '', '... and at level error nothing is said';
level('debug');
kill HUP => $rtc;
ok eventually(sub { refused($rtc) }), 'SIGHUP reads it again';
level('nonsense');
kill HUP => $rtc;
my $before = refused($rtc);
is refused($rtc), $before + 1, 'another word changes nothing';
kill USR2 => $rtc;
ok eventually(sub { my $had = refused($rtc); refused($rtc) == $had }), 'SIGUSR2 goes on to the next level';
my $had = refused($rtc);
$t->daemon_stop($rtc, 'TERM');

# the next ones write to the same file
$rtc = $t->daemon('mdvr-rtc', { MDVR_LOG_LEVEL_RTC => 'warn', MDVR_LOG_LEVEL => 'debug' });
is refused($rtc), $had, 'its own setting counts more than that of all';
$t->daemon_stop($rtc, 'TERM');
$rtc = $t->daemon('mdvr-rtc', { MDVR_LOG_LEVEL => 'debug' });
is refused($rtc), $had + 1, 'which counts without';
$t->daemon_stop($rtc, 'TERM');

$t->done;
