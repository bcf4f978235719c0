# The house rules: who may include whom, what the pure library may call, how
# things are named, how a file looks.  The table of the house is in
# docs/architecture.md.

use v5.30;
use warnings;
use Test::More;
use File::Find;

my (%text, @c);
for my $dir (grep { -d } qw(mdvr bus seal ngx_mdvr_core ngx_mdvr_stream ngx_mdvr_api ngx_mdvr_ws worker rtc sim ops)) {
    find({ no_chdir => 1, wanted => sub {
        return unless -f && /\.(?:c|h|cc)$/;
        open my $fh, '<:raw', $_ or die "$_: $!";
        local $/;
        $text{$_} = <$fh>;
        push @c, $_;
    } }, $dir);
}
@c = sort @c;
plan skip_all => 'no sources yet' unless @c;

sub clean { my ($bad, $title) = @_; ok !@$bad, $title or diag join "\n", @{$bad}[0 .. ($#$bad > 30 ? 30 : $#$bad)] }

# ------------------------------------------------------------------- includes
# place => what it may include of ours; of the rest, what it must not

my $foreign = qr{^(?:ngx_|nginx|libpq|hiredis|jwt|jansson|argon2|openssl|curl|libav|opencv|srtp)};
my %may = (
    'mdvr/basics'     => [ qr{^mdvr/basics/}, $foreign ],
    'mdvr/dc'         => [ qr{^mdvr/(?:basics|dc)/}, $foreign ],
    'mdvr/media'      => [ qr{^mdvr/(?:basics|dc|media)/}, $foreign ],
    'mdvr/web'        => [ qr{^mdvr/(?:basics|web)/}, $foreign ],
    'mdvr/domain'     => [ qr{^mdvr/}, $foreign ],
    'bus'             => [ qr{^(?:mdvr|bus)/}, $foreign ],
    'seal'            => [ qr{^seal/}, qr{^(?:ngx_|nginx|libpq|hiredis|jwt|jansson|argon2|curl|libav|opencv|srtp)} ],
    'ngx_mdvr_core'   => [ qr{^(?:mdvr|bus|seal|ngx_mdvr_core)/}, qr{^(?:libav|opencv|srtp|curl)} ],
    'ngx_mdvr_stream' => [ qr{^(?:mdvr|bus|seal|ngx_mdvr_core|ngx_mdvr_stream)/}, qr{^(?:libav|opencv|srtp|curl)} ],
    'ngx_mdvr_api'    => [ qr{^(?:mdvr|bus|seal|ngx_mdvr_core|ngx_mdvr_api)/}, qr{^(?:libav|opencv|srtp|curl)} ],
    'ngx_mdvr_ws'     => [ qr{^(?:mdvr|bus|seal|ngx_mdvr_core|ngx_mdvr_ws)/}, qr{^(?:libav|opencv|srtp|curl)} ],
    'worker'          => [ qr{^(?:mdvr|bus|seal|worker)/}, qr{^ngx_} ],
    'rtc'             => [ qr{^(?:mdvr|bus|rtc)/}, qr{^(?:ngx_|libav|opencv)} ],
    'sim'             => [ qr{^(?:mdvr|sim)/}, qr{^(?:ngx_|libpq|hiredis|libav|opencv)} ],
    'ops'             => [ qr{^(?:mdvr/basics|bus)/}, qr{^ngx_} ],
);
my $ours = qr{^(?:mdvr|bus|seal|worker|rtc|sim|ops|ngx_mdvr_\w+)/};

my @bad;
for my $file (@c) {
    my ($place) = grep { index($file, "$_/") == 0 } sort { length $b <=> length $a } keys %may;
    if (!$place) { push @bad, "$file: an unknown place"; next }
    my ($allowed, $forbidden) = @{ $may{$place} };
    while ($text{$file} =~ /^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)/mg) {
        my ($q, $name) = ($1, $2);
        push @bad, "$file: \"$name\" is not written from the root"
            if $q eq '"' && $name !~ $ours;
        push @bad, "$file: may not include $name"
            if $name =~ $ours ? $name !~ $allowed : $name =~ $forbidden;
    }
}
clean(\@bad, 'each place includes only what it may');

# ---------------------------------------------------------------- the library

SKIP: {
    skip 'libmdvr.a is not built', 3 unless -f 'build/libmdvr.a';
    my (@names, @calls);
    my %defined;
    for (`nm -A build/libmdvr.a 2>/dev/null`) {
        my ($where, $kind, $name) = /^\S+?:(\S+?):[0-9a-f ]* ([A-Za-z]) (\S+)/ or next;
        $defined{$name} = 1 if $kind =~ /[TDBRCVW]/;
        push @names, "$where $name" if $kind =~ /[TDBRCVW]/ && $name !~ /^mdvr_/;
    }
    for (`nm -A -u build/libmdvr.a 2>/dev/null`) {
        my ($where, $name) = /^\S+?:(\S+?):\s+U (\S+)/ or next;
        next if $defined{$name} || $name =~ /^_GLOBAL_OFFSET|^__stack_chk/;
        next if $name =~ /^(?:mem(?:cpy|move|set|cmp|chr|mem|rchr)|str(?:len|cmp|ncmp|chr|rchr|nlen|spn|cspn|pbrk|str)
            |v?snprintf|__v?snprintf_chk|__mem\w+_chk|__str\w+_chk|qsort|bsearch|abs|labs
            |is(?:nan|inf)|__isnan|floor|ceil|round|l?lround|trunc|fabs|fmod|sqrt|modf|pow|sin|cos|atan2?|asin|gmtime_r|timegm)$/x;
        push @calls, "$where calls $name";
    }
    clean(\@names, 'every external symbol of mdvr/ starts with mdvr_');
    clean(\@calls, 'mdvr/ calls nothing but libc without memory, clock, files or sockets');
    my @bus = map { /^\S+?:(\S+?):[0-9a-f ]* [TDBR] (\S+)/ && $2 !~ /^mdvr_bus/ ? "$1 $2" : () }
        -f 'build/libmdvr_bus.a' ? `nm -A build/libmdvr_bus.a 2>/dev/null` : ();
    clean(\@bus, 'every external symbol of bus/ starts with mdvr_bus');
}

# ---------------------------------------------------------------------- names

@bad = ();
my %object;
for my $file (grep { m{^(?:mdvr|bus|ngx_mdvr_)} && /\.c$/ } @c) {
    my ($dir, $name) = $file =~ m{([^/]+)/([^/]+)\.c$};
    push @bad, "$file and $object{qq{$dir/$name}} give the same object" if $object{"$dir/$name"};
    $object{"$dir/$name"} = $file;
}
clean(\@bad, 'no two sources of the module share folder and file name');

clean([ map { my $f = $_; map { "$f: $_" } $text{$f} =~ /"(mdvr:[a-z]+:?[^"]*)"/g }
    grep { m{^(?:bus|ngx_|worker|rtc|sim)} } @c ], 'names of Redis keys are made in mdvr/domain/keys.c only');

@bad = ();
for my $file (grep { /^ngx_/ && /\.c$/ } @c) {
    my $code = $text{$file} =~ s{/\*.*?\*/}{}gsr;
    $code =~ s/^\w+\(void \*data, ngx_log_t \*log\)\n\{.*?^\}//gsm;     # handlers of the thread pool may wait
    push @bad, "$file: $1" while $code =~ /\b(PQexec\w*|PQconnectdb\w*|PQgetResultWait|redisCommand\w*|redisConnect(?!ion)\w*|getaddrinfo|gethostbyname|usleep|sleep|system|popen)\s*\(/g;
}
clean(\@bad, 'nothing in the glue blocks: no synchronous libpq, hiredis, resolver, sleep');

# ------------------------------------------------------------------ appearance

my (@head, @long, @words, @tabs);
for my $file (@c) {
    my $t = $text{$file};
    my $header = $text{ $file =~ s/\.cc?$/.h/r } // '';
    push @head, $file unless grep { m{\A\s*(?:/\*|//)} } $t, $header;
    my $lines = () = $t =~ /\n/g;
    push @long, "$file: $lines lines" if $lines > 1500 && $file !~ m{_table\.c$};
    push @words, "$file: $1" while $t =~ /\b(TODO|FIXME|XXX|HACK)\b/g;
    push @tabs, $file if $t =~ /\t|[ \t]+$|\r/m;
}
clean(\@head, 'every file, or its header, opens by saying what it knows');
clean(\@long, 'no file but a table is longer than 1500 lines');
clean(\@words, 'nothing is left for later');
clean(\@tabs, 'no tabs, no blanks at line ends');

done_testing;
