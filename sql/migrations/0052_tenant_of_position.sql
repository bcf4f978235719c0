-- 0052: positions have no foreign key to their tenant any more; a check at both
-- ends takes its place (docs/decisions/0002-positions-without-foreign-key.md).
--
-- The key was checked row by row, each time with a lock on the tenant's row that
-- all batches share: a quarter of what storing a position cost.

set role mdvr_owner;

alter table mdvr.telemetry drop constraint telemetry_tenant_id_fkey;

comment on table mdvr.telemetry is
    'Position reports (V114), partitioned by month. Only store_positions writes; it takes tenant_id from the device''s row, whose foreign key vouches for it; tenant_keeps_positions guards the other end.';

reset role;
set role mdvr_definer;

create function mdvr.tenant_keeps_positions() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if exists (select from mdvr.telemetry t where t.tenant_id = old.id) then
        raise exception 'tenant % has positions', old.id using errcode = '23503';
    end if;

    return case when tg_op = 'DELETE' then old else new end;
end
$$;

grant execute on function mdvr.tenant_keeps_positions() to mdvr_owner;

reset role;
set role mdvr_owner;

create trigger tenant_keeps_positions
    before delete on mdvr.tenant
    for each row execute function mdvr.tenant_keeps_positions();

create trigger tenant_keeps_its_id
    before update of id on mdvr.tenant
    for each row when (old.id <> new.id) execute function mdvr.tenant_keeps_positions();

reset role;
