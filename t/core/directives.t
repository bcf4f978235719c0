#!/usr/bin/perl

# The main-context directives refuse what they do not understand in a sentence
# that quotes the user.

use lib 't/lib';
use MDVR::Test;

my $t = MDVR::Test->new;

# a line of the configuration, what replaces it, what nginx says
my @cases = (
    [qr/mdvr_node a \S+;/,      'mdvr_node;',                     qr/invalid number of arguments in "mdvr_node"/],
    [qr/mdvr_node a \S+;/,      'mdvr_node A;',                   qr/invalid node id "A": only a-z, 0-9 and "-"/],
    [qr/mdvr_node a \S+;/,      'mdvr_node ' . 'x' x 33 . ';',    qr/invalid node id "x+": it must have 1 to 32 characters/],
    [qr/mdvr_node a \S+;/,      'mdvr_node a ftp://x;',           qr{invalid node URL "ftp://x": it must begin with http://}],
    [qr/mdvr_node a \S+;/,      '',                               qr/"mdvr_zone" needs "mdvr_node"/],
    [qr/mdvr_node a \S+;/,      'mdvr_node a; mdvr_node b;',      qr/"mdvr_node" directive is duplicate/],
    [qr/mdvr_zone 16m;/,        'mdvr_zone 1k;',                  qr/invalid size "1k": a zone must have at least 4m/],
    [qr/mdvr_zone 16m;/,        'mdvr_zone some;',                qr/invalid size "some"/],
    [qr/mdvr_zone 16m;/,        '',                               qr/needs? "mdvr_zone"/],
    [qr/mdvr_postgres api/,     'mdvr_postgres web',              qr/invalid parameter "web" in "mdvr_postgres": it must be "stream" or "api"/],
    [qr/mdvr_postgres api/,     'mdvr_postgres stream',           qr/"mdvr_postgres" directive is duplicate/],
    [qr/pool=2 prepare=on;/,    'pool=0;',                        qr/invalid parameter "pool=0" in "mdvr_postgres": pool must be between 1 and 64/],
    [qr/pool=2 prepare=on;/,    'prepare=perhaps;',               qr/invalid parameter "prepare=perhaps" in "mdvr_postgres"/],
    [qr/mdvr_redis unix:\S+/,   'mdvr_redis http://127.0.0.1',    qr/invalid address in "mdvr_redis": it must be unix:<path> or redis:/],
    [qr/mdvr_redis unix:\S+/,   'mdvr_redis redis://example.test:6379', qr/invalid address in "mdvr_redis"/],
    [qr/mdvr_redis unix:\S+/,   'mdvr_redis redis://127.0.0.1/99', qr/invalid address in "mdvr_redis"/],
    [qr/password_file=\S+;/,    'password_file=/nonexistent;',    qr/open\(\) "\/nonexistent" failed/],
    [qr/password_file=\S+;/,    'secret=x;',                      qr/invalid parameter "secret=x" in "mdvr_redis"/],
    [qr/mdvr_bus \S+/,          'mdvr_bus a/b',                   qr/invalid bus name "a\/b"/],
    [qr/streams=64/,            'streams=0',                      qr/invalid parameter "streams=0" in "mdvr_bus": streams must be between 1 and 65536/],
    [qr/ring=4m/,               'ring=1k',                        qr/invalid parameter "ring=1k" in "mdvr_bus": ring must be between 256k and 256m/],
    [qr/mdvr_media_port \d+;/,  'mdvr_media_port 70000;',         qr/invalid port "70000": it must be between 1 and 65535/],
);

my $node = $t->nginx(stopped => 1);
for my $case (@cases) {
    my ($from, $to, $want) = @$case;
    $node->write_conf(conf => sub { my ($c) = @_; $c =~ s/$from/$to/ or die "no $from"; $c });
    $node->check;
    like $node->{check}, $want, $to || "without $from";
}
$node->write_conf(conf => sub { $_[0] });
ok $node->check, 'the configuration as it was is good';
$node->write_conf(conf => sub { my ($c) = @_; $c =~ s{mdvr_redis unix:(\S+)}{mdvr_redis unix:$1?db=3}; $c });
ok $node->check, 'a database of Redis may be named';

$t->done;
