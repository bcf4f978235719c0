# The reference pages tell what the code does: every directive with its real
# default, every metric, and no link that leads nowhere.

use v5.30;
use warnings;
use utf8;
use Test::More;

sub slurp { open my $fh, '<:utf8', $_[0] or return ''; local $/; scalar <$fh> // '' }
sub same { my ($bad, $title) = @_; ok !@$bad, $title or diag join "\n", @$bad }

my @sources = glob 'ngx_mdvr_*/*.c';
plan skip_all => 'no module yet' unless @sources;
my %code = map { $_ => slurp($_) =~ s{/\*.*?\*/}{}gsr } @sources, glob('ngx_mdvr_*/*.h'), glob('mdvr/*/*.h');

# ----------------------------------------------------------------- directives

my (%known, %macro);
for (values %code) { $macro{$1} = $2 while /^#define\s+(\w+)\s+(\(?[\dU<>* ()]+)\s*$/mg }

# "4 * 1024 * 1024", "(off_t) 1 << 20", NAME: a number; undef: not one
sub number {
    my ($text) = @_;
    $text =~ s/\((?:size_t|off_t|time_t|ngx_\w+_t)\)//g;
    $text =~ s/\b([A-Z]\w+)\b/$macro{$1} \/\/ 'x'/ge;
    $text =~ s/(\d)[UL]+/$1/g;
    return $text =~ /^[\d\s*+()<-]+$/ ? eval $text : undef;
}

for my $file (sort keys %code) {
    my $text = $code{$file};
    my %default;
    while ($text =~ /ngx_conf_(?:merge|init)_(?:(\w+?)_)?value\(\s*\w+->([\w.]+)\s*,(?:\s*\w+->[\w.]+\s*,)?\s*([^;]+?)\)\s*;/g) {
        $default{$2} = [ $1 // '', $3 ];
    }
    while ($text =~ /\{\s*ngx_string\("(mdvr_\w+)"\),\s*([A-Z0-9_|\s]+),\s*(\w+),\s*([^}]*)\}/g) {
        my ($name, $context, $setter, $rest) = ($1, $2, $3, $4);
        my %d = (file => $file, setter => $setter);
        my @where;
        push @where, 'main' if $context =~ /NGX_DIRECT_CONF/;
        push @where, 'http' if $context =~ /HTTP_MAIN/;
        push @where, 'stream' if $context =~ /STREAM_MAIN/;
        push @where, 'server' if $context =~ /SRV_CONF/;
        push @where, 'location' if $context =~ /LOC_CONF/;
        $d{context} = join ', ', @where;
        my ($field) = $rest =~ /offsetof\(\s*\w+\s*,\s*([\w.]+)/;
        $d{default} = $default{$field} if $field;
        $known{$name} = \%d;
    }
}

my %page;
my $text = slurp('docs/directives.md');
while ($text =~ /^### (mdvr_\w+)\n(.*?)(?=^##|\z)/msg) {
    my ($name, $body) = ($1, $2);
    my ($syntax, $default, $context) = $body =~ /^Syntax: `(.*?)` · Default: (.*?) · Context: (.*)$/m;
    $page{$name} = { syntax => $syntax // '', default => ($default // '') =~ s/`//gr, context => $context // '', body => $body };
}

same([ grep { !$page{$_} } sort keys %known ], 'every directive is in docs/directives.md');
same([ grep { !$known{$_} } sort keys %page ], 'every directive of docs/directives.md is in the code');
same([ grep { $page{$_} && $page{$_}{syntax} !~ /^\Q$_\E[ ;]/ } sort keys %known ], 'each has a line of syntax, default and context');
same([ map { $page{$_} && $page{$_}{context} ne $known{$_}{context} ? "$_: $page{$_}{context}, code: $known{$_}{context}" : () }
    sort keys %known ], 'the contexts are those of the code');

my %factor = (time => { ms => 1, s => 1000, m => 60e3, h => 3600e3, d => 86400e3 },
    size => { '' => 1, k => 1024, m => 2**20, g => 2**30 });
my @wrong;
for my $name (sort grep { $page{$_} && $known{$_}{default} } keys %known) {
    my ($kind, $expr) = @{ $known{$name}{default} };
    my $doc = $page{$name}{default};
    my $want = number($expr) // next;
    my $setter = $known{$name}{setter};
    my $got;
    if ($setter =~ /flag/) {
        $got = $doc eq 'on' ? 1 : $doc eq 'off' ? 0 : undef;
    } elsif ($setter =~ /msec|sec_slot/ && $doc =~ /^(\d+)(ms|s|m|h|d)$/) {
        $got = $1 * $factor{time}{$2};
        $want *= 1000 if $setter !~ /msec/;
    } elsif ($setter =~ /size|off_slot/ && $doc =~ /^(\d+)([kmg]?)$/) {
        $got = $1 * $factor{size}{$2};
    } elsif ($doc =~ /^(\d+)/) {
        $got = $1;
    }
    push @wrong, "$name: the page says $doc, the code $expr" unless defined $got && $got == $want;
}
same(\@wrong, 'the defaults are those of the code');

# -------------------------------------------------------------------- metrics

my (%metric, %line);
my $add = sub {
    my ($name, $kind, $label, $help) = @_;
    $metric{$name} = $kind;
    $line{$name} = "| `$name" . ($label ? "{$label}" : '') . "` | $kind | $help |";
};
for my $file (sort keys %code) {
    my $t = $code{$file};
    $add->("mdvr_$2", lc $1, '', $3) while $t =~ /\bM\(\s*(COUNTER|GAUGE)\s*,\s*(\w+)\s*,\s*"([^"]*)"/g;
    $add->("mdvr_$1", 'counter', $2, $3) while $t =~ /\bK\(\s*(\w+)\s*,\s*"([^"]*)"\s*,\s*"([^"]*)"/g;
    $add->("mdvr_$1", 'histogram', '', $2) while $t =~ /\bH\(\s*(\w+)\s*,\s*"([^"]*)"/g;
    $add->($1, $3, '', $2) while $t =~ /_page_head\(\s*&?\w+\s*,\s*"(mdvr_\w+)"\s*,\s*"([^"]*)"\s*,\s*"(\w+)"/g;
}
my %listed;
my $metrics = slurp('docs/metrics.md');
$listed{$1} = $2 while $metrics =~ /^\| `(mdvr_\w+)(?:\{[^}]*\})?` \| (\w+) \|/mg;
same([ map { $listed{$_} ? () : $line{$_} } sort keys %metric ], 'every metric of the code is in docs/metrics.md');
same([ map { $metric{$_} ne ($listed{$_} // $metric{$_}) ? "$_ is a $metric{$_}" : () } sort keys %metric ], 'with its kind');

# ---------------------------------------------------------------------- links

my @dead;
for my $file ('README.md', glob('docs/*.md'), glob('docs/*/*.md')) {
    my $t = slurp($file) =~ s/^```.*?^```//gmsr;
    my ($dir) = $file =~ m{^(.*/)?};
    $dir //= '';
    while ($t =~ /\]\(([^)\s]+)\)/g) {
        my $to = $1;
        next if $to =~ m{^(?:https?:|mailto:|#)};
        $to =~ s/#.*//;
        push @dead, "$file: $to" unless -e "$dir$to";
    }
}
same(\@dead, 'every link of the documents leads somewhere');

my $index = slurp('docs/README.md');
my @index = grep { $_ ne 'docs/README.md' && index($index, '(' . substr($_, 5) . ')') < 0 } glob 'docs/*.md';
same(\@index, 'every page is in docs/README.md');

my @told;
for my $file (grep { -f } split /\n/, `git ls-files 2>/dev/null`) {
    next if $file =~ /\.(?:png|jpg|h264|h265|hex|woff2?)$/ || $file =~ m{^t/docs\.t$|^t/fuzz/.*\.seeds/};
    push @told, "$file: $1" if slurp($file) =~ m{((?<![\w.*])/(?:work|home|root)/\w+/|\bregistry\.[a-z]+\.(?:org|com)\b)}i;
}
same(\@told, 'nothing tells where it was made');

done_testing;
