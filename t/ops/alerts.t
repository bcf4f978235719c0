# Alert rules, dashboard and runbook agree with each other and with the
# metrics that exist; promtool checks and runs the rules.

use v5.30;
use warnings;
use Test::More;
use JSON::PP;

sub slurp { open my $fh, '<', $_[0] or return ''; local $/; scalar <$fh> // '' }
sub same { my ($bad, $title) = @_; ok !@$bad, $title or diag join "\n", @$bad }

for my $cmd ('check rules conf/prometheus/mdvr.rules.yml', 'test rules conf/prometheus/mdvr.rules.test.yml',
    'check config --syntax-only conf/prometheus/prometheus.yml')
{
    my $out = `promtool $cmd 2>&1`;
    is $?, 0, "promtool $cmd" or diag $out;
}

my $rules = slurp('conf/prometheus/mdvr.rules.yml');
my @alerts = $rules =~ /^ +- alert: (\w+)/mg;
cmp_ok scalar @alerts, '>', 20, 'alerts';
same([ grep { !-s "docs/runbook/$_.md" } @alerts ], 'each alert has its page');
my %known = map { $_ => 1 } @alerts;
same([ grep { !/README/ && !$known{ s{.*/|\.md$}{}gr } } glob 'docs/runbook/*.md' ], 'each page has its alert');
my $index = slurp('docs/runbook/README.md');
same([ grep { index($index, "($_.md)") < 0 } @alerts ], 'the index has them all');

# the expression is on the page as it is in the rule
my @other;
while ($rules =~ /- alert: (\w+)\n +expr: >-\n +(.+)\n/g) {
    push @other, $1 if index(slurp("docs/runbook/$1.md"), "    $2\n") < 0;
}
same(\@other, 'and says what it watches');

my %metric;
my $listed = slurp("docs/metrics.md");
while ($listed =~ /^\| `(mdvr_\w+)(?:\{([^}]*)\})?` \| (\w+) \|/mg) {
    $metric{$1} = 1;
    @metric{ map { "$1$_" } qw(_bucket _sum _count) } = (1) x 3 if $3 eq 'histogram';
}
my $board = decode_json(slurp('conf/grafana/mdvr.json'));
my @expr = map { $_->{expr} } map { @{ $_->{targets} // [] } } @{ $board->{panels} };
cmp_ok scalar @expr, '>', 30, 'queries of the dashboard';
my %used = map { $_ => 1 } map { /\b(mdvr_[a-z_]+[a-z])\b/g } $rules =~ s/^ +(?:summary|description|runbook|name):.*$//gmr, @expr;
delete $used{mdvr_readyz};
same([ grep { !$metric{$_} } sort keys %used ], 'every metric that is asked for exists');
my %id;
same([ grep { $id{$_}++ } map { $_->{id} } @{ $board->{panels} } ], 'panels have ids of their own');
done_testing;
