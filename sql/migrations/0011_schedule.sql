-- 0011: what the worker runs on a schedule, for all tenants.  Each call is short
-- and may be repeated; the worker holds an advisory lock so that one of many runs.

set role mdvr_definer;

create function mdvr.purge_history(p_limit integer default 20000) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    n     bigint;
    total bigint := 0;
begin
    delete from mdvr.event e
     using (select x.tenant_id, x.seq from mdvr.event x where x.created_at < now() - interval '8 days' limit p_limit) old
     where e.tenant_id = old.tenant_id and e.seq = old.seq;
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.connection
     where id in (select id from mdvr.connection
                   where connected_at < now() - interval '30 days' and disconnected_at is not null limit p_limit);
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.media_session
     where id in (select id from mdvr.media_session where started_at < now() - interval '30 days' limit p_limit);
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.session
     where id in (select id from mdvr.session where expires_at < now() - interval '30 days' limit p_limit);
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.refresh_token
     where hash in (select hash from mdvr.refresh_token where expires_at < now() - interval '1 day' limit p_limit);
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.pending_device where last_at < now() - interval '24 hours';
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.delivery
     where id in (select id from mdvr.delivery where created_at < now() - interval '30 days' limit p_limit);
    get diagnostics n = row_count;

    return total + n;
end
$$;

comment on function mdvr.purge_history(integer) is
    'Deletes events after 8 days, connections, sessions and deliveries after 30; returns how many';


create function mdvr.tenants() returns table (tenant_id uuid, status text, retention_days integer, legal_hold boolean)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select t.id, t.status, t.retention_days, t.legal_hold from mdvr.tenant t order by t.id
$$;

comment on function mdvr.tenants() is 'Every tenant, for work that goes through all of them one by one';


-- Before a device's media files can be processed the worker must know whose they are.

create function mdvr.device_owner(p_device_id uuid) returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select d.tenant_id from mdvr.device d where d.id = p_device_id
$$;

comment on function mdvr.device_owner(uuid) is 'The tenant of a device';


create function mdvr.usage_snapshot() returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into mdvr.usage as u (tenant_id, day, metric, amount)
    select t.id, (now() at time zone 'UTC')::date, m.metric,
           case m.metric
           when 'devices' then (select count(*) from mdvr.device d where d.tenant_id = t.id and d.deleted_at is null)
           when 'users' then (select count(*) from mdvr.user x where x.tenant_id = t.id and x.deleted_at is null)
           else (select coalesce(sum(x.stored_bytes), 0) from mdvr.media x
                  where x.tenant_id = t.id and x.deleted_at is null)
           end
      from mdvr.tenant t, (values ('devices'), ('users'), ('storage_bytes')) m (metric)
    on conflict (tenant_id, day, metric) do update set amount = greatest(u.amount, excluded.amount)
$$;

comment on function mdvr.usage_snapshot() is 'Records today''s highest number of devices and users and bytes stored, per tenant';

grant execute on function mdvr.purge_history(integer), mdvr.tenants(), mdvr.device_owner(uuid), mdvr.usage_snapshot()
    to mdvr_worker;

reset role;
