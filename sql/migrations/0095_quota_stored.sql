-- 0095: whoever has the server record is held to the plan's storage as whoever has a
-- device's recording fetched (0068).
-- Caller: api.

set role mdvr_definer;

create function mdvr.quota_stored() returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
    most   bigint;
begin
    select p.max_storage_bytes into most from mdvr.plan p where p.tenant_id = tenant;

    if most <= (select coalesce(sum(m.stored_bytes), 0)
                  from mdvr.media m
                 where m.tenant_id = tenant and m.deleted_at is null)
    then
        raise exception 'the plan allows % bytes of storage', most using errcode = 'MD409', detail = 'quota_exceeded';
    end if;
end
$$;

comment on function mdvr.quota_stored() is 'Fails with MD409 when the transaction''s tenant has stored what its plan allows';

revoke execute on function mdvr.quota_stored() from public;
grant execute on function mdvr.quota_stored() to mdvr_api;

reset role;
