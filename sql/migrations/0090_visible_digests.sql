-- 0090: whether what restricted users see has changed, for many of them at once:
-- the push module asks every few seconds, one statement for all of its clients.
-- Caller: api.

set role mdvr_definer;

-- the same union as in mdvr.visible_devices()

create function mdvr.visible_digests(p_tenant_ids uuid[], p_user_ids uuid[])
returns table (n bigint, digest text)
language sql stable security definer rows 100 set search_path = pg_catalog, pg_temp
as $$
    select u.n,
           (select count(*) || ':' || coalesce(bit_xor(uuid_hash_extended(d.device_id, 0)), 0)
              from (select a.device_id
                      from mdvr.assignment a
                     where a.tenant_id = u.tenant_id and a.user_id = u.user_id and a.device_id is not null
                    union
                    select g.device_id
                      from mdvr.assignment a
                      join mdvr.group_device g on g.group_id = a.group_id
                     where a.tenant_id = u.tenant_id and a.user_id = u.user_id
                    union
                    select unnest(k.device_ids)
                      from mdvr.api_key k
                     where k.id = u.user_id and k.tenant_id = u.tenant_id and k.revoked_at is null) d)
      from unnest(p_tenant_ids, p_user_ids) with ordinality as u (tenant_id, user_id, n)
$$;

comment on function mdvr.visible_digests(uuid[], uuid[]) is
    'For each user or API key, by its place in the arrays: how many devices it sees, and their hash';
grant execute on function mdvr.visible_digests(uuid[], uuid[]) to mdvr_api;


create function mdvr.visible_now()
returns table (device_id uuid, digest text)
language sql stable rows 100
as $$
    with v as materialized (select d from mdvr.visible_devices() d)
    select v.d, (select count(*) || ':' || coalesce(bit_xor(uuid_hash_extended(w.d, 0)), 0) from v w)
      from v
     order by v.d
$$;

comment on function mdvr.visible_now() is 'mdvr.visible_devices() with the digest of all of them, as mdvr.visible_digests() has it';
grant execute on function mdvr.visible_now() to mdvr_api;

reset role;
