-- 0076: the check that takes the place of the key of positions waits for batches
-- under way.  A batch that had read its device before that was deleted, and
-- waited for the row of its latest position, or stored late reports only (which
-- move no position), was not seen: its rows stayed without a tenant.

set role mdvr_definer;

create or replace function mdvr.tenant_keeps_positions() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    -- Every statement of a batch takes its snapshot after its own lock on the
    -- table: who saw the device is waited for, who comes later does not see it.

    lock table mdvr.telemetry in share row exclusive mode;

    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception 'a tenant goes in a transaction that is read committed' using errcode = '25001';
    end if;

    if exists (select from mdvr.telemetry t where t.tenant_id = old.id) then
        raise exception 'tenant % has positions', old.id using errcode = '23503';
    end if;

    return case when tg_op = 'DELETE' then old else new end;
end
$$;

comment on function mdvr.tenant_keeps_positions() is
    'Trigger: a tenant with positions stays, and keeps its id; waits for batches under way';

reset role;
