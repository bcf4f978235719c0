-- 0093: firmware whose row was never made (its name and version were taken, the
-- database went away) leaves an object that nobody knows; the worker asks here.
-- Caller: worker.

set role mdvr_definer;

create or replace function mdvr.objects_unknown(p_tenant_id uuid, p_ids uuid[]) returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select i
      from unnest(p_ids) i
      join mdvr.tenant t on t.id = p_tenant_id and not t.legal_hold
     where not exists (select from mdvr.media m where m.id = i and m.purged_at is null)
       and not exists (select from mdvr.evidence e where e.id = i)
       and not exists (select from mdvr.firmware f where f.id = i)
$$;

comment on function mdvr.objects_unknown(uuid, uuid[]) is
    'Of these ids those that no media item with objects, no evidence package and no firmware has; none of a tenant that is unknown or under legal hold';

reset role;
