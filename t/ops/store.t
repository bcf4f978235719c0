# The stores of a test: a copy of the migrated template, and Redis.

use v5.30;
use lib 't/lib';
use MDVR::Test;

my $t0 = time;
my $t = MDVR::Test->new;
note sprintf 'stores up in %.2f s', time - $t0;

is $t->value('select count(*) > 5 from mdvr.migration'), 't', 'the template is migrated';
is_deeply [ $t->sql("select ?, ?, null, 'a?b'", "it's", 'back\\slash') ], [ [ "it's", 'back\\slash', '', 'a?b' ] ],
    'values travel unharmed';
is_deeply [ $t->rows('select 1 as a, true as b union select 2, false order by 1') ],
    [ { a => 1, b => JSON::PP::true }, { a => 2, b => JSON::PP::false } ], 'rows come as hashes';
ok !eval { $t->sql('select 1/0'); 1 }, 'an error dies';
like $@, qr/division by zero/, 'with the message of PostgreSQL';
is $t->value('select 7'), 7, 'and the next statement works';

my $id = $t->add_device('00007', channels => 2);
like $id, qr/^[0-9a-f-]{36}$/, 'a device row has an id';
is $t->row('select * from mdvr.device where id = ?', $id)->{serial}, '00007', 'and is there';

is $t->redis('SET', 'k', "a\r\nb"), 'OK', 'Redis answers';
is $t->redis('GET', 'k'), "a\r\nb", 'bulk strings are binary';
is $t->redis('GET', 'none'), undef, 'nil is undef';

$t->store->pg_restart('immediate');
is $t->row('select * from mdvr.device where id = ?', $id)->{channels}, 2, 'PostgreSQL comes back after a crash';
$t->store->redis_restart;
is $t->redis('GET', 'k'), "a\r\nb", 'Redis keeps its data over a restart';

$t->done;
