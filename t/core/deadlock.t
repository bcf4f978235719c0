#!/usr/bin/perl

# A statement that PostgreSQL undoes to end a deadlock is run again: an alarm is
# stored and acknowledged all the same, once, without the journal.

use lib 't/lib';
use MDVR::Test;
use MDVR::Session;

my $t = MDVR::Test->new(postgres => { deadlock_timeout => '2s' })->allow(qr/^PostgreSQL: mdvr_stream .* 40P01 /);
my $id = $t->add_device('00007');
my $n = $t->nginx(workers => 1, stream => 'mdvr_alarm_timeout 60s;');
my $dev = $t->device('00007')->register;
ok eventually(sub { ($t->value("select online from mdvr.device_state where device_id = ?", $id) // "") eq "t" }), 'a device';
my $tenant = $t->tenant;

# What the alarm needs last is taken; what it holds by then is asked for.
my $other = MDVR::Session->new($t, 'mdvr_admin');
$other->send("set deadlock_timeout = '60s'; begin; select last_seq from mdvr.event_counter where tenant_id = ? for update", $tenant);
ok defined $other->answer, 'somebody has the event counter';
$dev->alarm('V203', uid => 'BOOT1', no_wait => 1);
ok eventually(sub { $t->value("select count(*) from pg_stat_activity where usename = 'mdvr_stream' and wait_event_type = 'Lock'") }),
    'the alarm waits for it';
$other->send("select pg_advisory_xact_lock(hashtextextended(?, 5571)); commit", $id);
ok defined $other->answer(60), 'who wants what the alarm holds gets it';

ok $dev->expect('C100', 30), 'the alarm is acknowledged';
is $t->value('select count(*) from mdvr.alarm'), 1, 'and stored once';
is $t->value("select count(*) from mdvr.event where topic = 'alarm'"), 1, 'with one event';
is $n->metrics('mdvr_db_repeated_total'), 1, 'it was run again';
is $n->metrics('mdvr_db_errors_total'), 0, 'and did not fail';
like $n->log, qr/\[warn\].* undid "select message, is_new.*once more/, 'the log says so';
is $t->value("select deadlocks from pg_stat_database where datname = 'mdvr'"), 1, 'there was one deadlock';

$t->done;
