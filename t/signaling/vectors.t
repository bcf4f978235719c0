# Every captured and modelled signaling message, sent to a running server by
# the device that sent it: answered and stored as the reference says.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my %vector = map { chomp; split /\t/, $_, 2 } do {
    open my $fh, '<:raw', 't/vectors/signaling.txt' or die $!;
    <$fh>;
};
my $expected = json_of(slurp('t/vectors/signaling.expected.json'));
my @locations = @{ json_of(slurp('t/vectors/location.json'))->{vectors} };

my $t = MDVR::Test->new;
my %id = map { $_ => $t->add_device($_) } do { my %s; grep { !$s{$_}++ } map { $_->{serial} } values %$expected };
my $n = $t->nginx(ready => 0);

# what must come back: keyword of the answer, and its content
my %answer = (
    V101 => [ C100 => '1,1,' ], V109 => [ C501 => '' ], V141 => [ C100 => '0,0,0,,,0,,0,,' ],
    'model.V130' => [ C100 => '0' ], 'model.V130.noloc' => [ C100 => '2' ], V600 => [ C100 => '1,0,12345' ],
);

my $count = 0;
for my $tag (sort keys %vector) {
    my $bytes = $vector{$tag};
    my $e = $expected->{$tag};
    next if $bytes =~ /^\@\@/ || $e->{keyword} !~ /^V/ || $tag eq 'model.V102.old';
    $count++;
    my $dev = $t->device($e->{serial});
    $dev->register unless $e->{keyword} eq 'V101' || $e->{keyword} =~ /^V2/;

    my $cut = 1 + $count * 7 % (length($bytes) - 1);        # in two segments
    $dev->send_raw(substr $bytes, 0, $cut);
    sleep 0.002;
    $dev->send_raw(substr $bytes, $cut);

    my $want = $answer{$tag} // $answer{ $e->{keyword} };
    $want = [ C100 => $e->{body}[1] ] if $e->{keyword} =~ /^V2/;
    if ($want) {
        my $got = $dev->expect($want->[0]);
        if ($want->[0] eq 'C100') {
            is_deeply [ $got->{number}, $got->{body}[0], $got->{body}[1], $got->{body}[2], join ',', @{ $got->{body} }[3 .. $#{ $got->{body} }] ],
                [ $e->{number}, $e->{keyword}, $e->{time}, 0, $want->[1] ], "$tag is answered";
        } else {
            ok $got, "$tag is answered";
        }
    }
    if ($e->{keyword} eq 'V114') {
        ok eventually(sub { $t->value('select count(*) from mdvr.telemetry where device_id = ?', $id{ $e->{serial} }) }),
            "$tag is stored";
        my $row = $t->row('select * from mdvr.telemetry where device_id = ? order by received_at desc', $id{ $e->{serial} });
        my ($loc) = grep { index($bytes, $_->{group}) > 0 } @locations;
        if ($loc) {
            my $x = $loc->{expect};
            for my $pair ([ lat => 'lat_deg' ], [ lon => 'lon_deg' ], map { [ $_ => $_ ] }
                qw(speed_kmh course_deg fuel_l mileage_m satellites parking_s rpm temp_device_c)) {
                my ($key, $col) = @$pair;
                my ($a, $b) = ($row->{$col}, $x->{$key});
                my $same = !defined $a && !defined $b || defined $a && defined $b && abs($a - $b) < 1e-3;
                $same &&= abs($a - $b) < 2e-7 if $key =~ /^l/ && defined $a;
                ok $same, "$tag: $col" or diag explain [ $a, $b ];
            }
        }
        $t->sql('delete from mdvr.telemetry');
    }
    $dev->close;
}
cmp_ok $count, '>=', 20, "$count messages were sent";
is $t->value("select count(*) from mdvr.alarm where uid = 'A4362779F6557409'"), 1, 'the captured alarm is stored';
is $t->value("select path from mdvr.download where size_bytes = 1310720"),
    '/mnt/sd0/2021-03-05/ch01-101750-101810.h264', 'the announced file is queued for download';
cmp_ok $t->value("select data->>'speed_kmh' from mdvr.alarm where code = 'V211'"), '==', 130.8, 'alarm data has names';

# ---------------------------------------------------------- streams of the reference

for (do { open my $fh, '<', 't/vectors/stream.hex' or die $!; <$fh> }) {
    chomp;
    my ($name, $hex, $keywords, $remark) = split /\t/;
    my $dev = $t->device('MDVR_0042')->register;
    $dev->send_raw(pack 'H*', $hex);
    my $want = () = $keywords =~ /V109/g;
    my $got = 0;
    $got++ while $got < $want && $dev->expect('C501', 12);
    is $got, $want, "$name: heartbeats answered ($remark)" if $want;
    ok $dev->answered('V101', 20, 8), "$name: registration answered" if $keywords =~ /V101/;
    if ($name ne 'stream.truncated') {
        ok $dev->v109(timeout => 8), "$name: the next message is understood";
    }
    $dev->close;
}

$t->done;
