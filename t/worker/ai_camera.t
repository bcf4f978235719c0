# The camera analyser on a labelled set: clips of photographs, decoded, spoilt
# in every way it knows, encoded and decoded again.  Precision and recall of
# each kind must reach 0.95.  Two photographs here, all four in t/long.

use v5.30;
use warnings;
use lib 't/lib';
use Test::More;
use JSON::PP;
use MDVR::Scenes;
use File::Temp qw(tempdir);

plan skip_all => 'mdvr-worker is not built' unless -x 'build/bin/mdvr-worker';
my $dir = tempdir(CLEANUP => 1);
local @ENV{qw(MDVR_PG_CONNINFO MDVR_REDIS MDVR_STORAGE MDVR_AI)} = ('none', 'unix:/none', 'file:/none', 'camera');

my (%label, $n);
sub clip { my ($kind) = @_; my $f = sprintf "$dir/%03d.mp4", ++$n; $label{$f} = $kind; return $f }

my %defect = MDVR::Scenes::defects();
my @photos = $ENV{MDVR_LONG} ? qw(face coffee chelsea rocket) : qw(chelsea rocket);
for my $photo (@photos) {
    my $clean = MDVR::Scenes::film($photo, clip(''));
    MDVR::Scenes::film($photo, clip(''), move => 0, pass => 0, noise => 6);          # parked, at night
    MDVR::Scenes::film($photo, clip(''), move => 3, noise => 10) if $photo ne 'rocket';
    MDVR::Scenes::spoil($clean, 'eq=brightness=-0.2:contrast=0.8', clip('')) if $photo ne 'rocket';
    MDVR::Scenes::film($photo, clip('camera_moved'), turn => $_) for 70, 130;
    for my $kind (sort keys %defect) {
        MDVR::Scenes::spoil($clean, $_, clip($kind)) for @{ $defect{$kind} };
    }
}
note scalar(keys %label), ' clips';

my (%hit, %missed, %false);
open my $run, '-|', 'build/bin/mdvr-worker', 'analyse', sort keys %label or die $!;
while (my $line = <$run>) {
    my $r = decode_json($line);
    my $want = $label{ $r->{file} };
    my %got = map { $_->{kind} => 1 } grep { $_->{kind} =~ /^camera_/ } @{ $r->{findings} // [] };
    fail "$r->{file}: $r->{error}" if $r->{error};
    if ($want ne '') { $got{$want} ? $hit{$want}++ : $missed{$want}++; }
    $false{$_}++ for grep { $_ ne $want } keys %got;
    my $says = join ' ', sort keys %got;
    diag "$r->{file}: is '$want', found '$says'" if $says ne $want;
    unlink $r->{file} if $says eq $want;
}
close $run;
is $?, 0, 'every clip was looked at';
for my $kind (sort 'camera_moved', keys %defect) {
    my ($h, $m, $f) = map { $_ // 0 } $hit{$kind}, $missed{$kind}, $false{$kind};
    my $precision = $h + $f ? $h / ($h + $f) : 0;
    my $recall = $h + $m ? $h / ($h + $m) : 0;
    cmp_ok $precision, '>=', 0.95, sprintf '%s: precision %.2f of %d', $kind, $precision, $h + $f;
    cmp_ok $recall, '>=', 0.95, sprintf '%s: recall %.2f of %d', $kind, $recall, $h + $m;
}
done_testing;
