-- 0052: beginnings and ends of many connections in a few statements instead of
-- ten per device: a fleet that comes back must not keep the processors from the
-- devices that still wait for their answer.

set role mdvr_definer;

-- A device that occurs more than once is taken in rounds, its first record in
-- the first.  Rows are locked as before: states by tenant and device, then the
-- tenants' event counters in order.

create or replace function mdvr.record_devices(p_node text, p_boot uuid, p_records jsonb)
returns table (tenant_id uuid, device_id uuid, message json, held boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    nth    integer := 0;
    rounds integer;
begin
    insert into mdvr.device_state (device_id, tenant_id)
    select distinct d.id, d.tenant_id
      from jsonb_to_recordset(p_records) as x (device uuid)
      join mdvr.device d on d.id = x.device
     where not exists (select from mdvr.device_state s where s.device_id = d.id)
     order by 2, 1
    on conflict do nothing;

    perform 1
       from mdvr.device_state s
      where s.device_id in (select x.device from jsonb_to_recordset(p_records) as x (device uuid))
      order by s.tenant_id, s.device_id
        for update;

    select coalesce(max(x.times), 0) into rounds
      from (select count(*) as times from jsonb_to_recordset(p_records) as r (device uuid) group by r.device) x;

    while nth < rounds loop
        nth := nth + 1;

        return query
        with record as materialized (
            select d.tenant_id, d.id as device_id, d.serial, x.online, x.at, x.address::inet as address,
                   nullif(x.v101, 'null') as v101, left(x.reason, 200) as reason,
                   s.online as was_online, s.connected_at as was_at,
                   case when not x.online then s.online and s.node = p_node and s.connected_at = x.at
                        when s.connected_at > x.at then false       -- a newer connection was faster
                        else not (coalesce(s.online, false) and s.connected_at = x.at and s.node = p_node)
                   end as changes,
                   x.online and s.online and s.connected_at = x.at and s.node = p_node as again
              from (select r.*, row_number() over (partition by r.device order by r.n) as round
                      from rows from (jsonb_to_recordset(p_records)
                           as (online boolean, device uuid, at timestamptz, address text, v101 jsonb, reason text))
                           with ordinality as r (online, device, at, address, v101, reason, n)) x
              join mdvr.device d on d.id = x.device
              join mdvr.device_state s on s.device_id = d.id
             where x.round = nth
             order by d.tenant_id, d.id
        ),
        repeated as (
            update mdvr.device_state s                              -- V101 again on the same connection
               set registration = coalesce(r.v101, s.registration), last_seen_at = now(),
                   utc_offset_minutes = coalesce((r.v101 ->> 'utc_offset_minutes')::smallint, s.utc_offset_minutes)
              from record r
             where r.again and s.device_id = r.device_id
        ),
        begun as (
            update mdvr.device_state s
               set online = true, node = p_node, boot = p_boot, address = r.address, connected_at = r.at,
                   last_seen_at = greatest(s.last_seen_at, r.at), offline_at = null, offline_reason = null,
                   registration = coalesce(r.v101, s.registration),
                   utc_offset_minutes = coalesce((r.v101 ->> 'utc_offset_minutes')::smallint, s.utc_offset_minutes)
              from record r
             where r.changes and r.online and s.device_id = r.device_id
        ),
        ended as (
            update mdvr.device_state s
               set online = false, offline_at = now(), offline_reason = r.reason, last_seen_at = now()
              from record r
             where r.changes and not r.online and s.device_id = r.device_id
        ),
        closed as (
            update mdvr.connection c
               set disconnected_at = case when r.online then r.at else now() end,
                   reason = case when r.online then 'replaced' else r.reason end
              from record r
             where r.changes and r.was_online and c.device_id = r.device_id and c.connected_at = r.was_at
                   and c.disconnected_at is null
        ),
        opened as (
            insert into mdvr.connection (tenant_id, device_id, node, address, connected_at)
            select r.tenant_id, r.device_id, p_node, r.address, r.at
              from record r
             where r.changes and r.online
        ),
        counter as materialized (
            insert into mdvr.event_counter as c (tenant_id, last_seq)
            select r.tenant_id, count(*)
              from record r
             where r.changes
             group by r.tenant_id
             order by r.tenant_id
            on conflict (tenant_id) do update set last_seq = c.last_seq + excluded.last_seq
            returning tenant_id, last_seq
        ),
        told as (
            insert into mdvr.event (tenant_id, seq, topic, device_id, message)
            select e.tenant_id, e.seq, 'device', e.device_id,
                   ('{"type":"device","id":"' || e.seq || '","tenant_id":"' || e.tenant_id || '",'
                    || substr(json_build_object(
                           'device_id', e.device_id, 'serial', e.serial,
                           'event', case when e.online then 'online' else 'offline' end,
                           'reason', case when not e.online then e.reason
                                          when e.was_online then 'reconnected'
                                          else 'registered' end,
                           'at', mdvr.rfc3339(now()))::text, 2))::json
              from (select r.*, c.last_seq + 1 - row_number() over (partition by r.tenant_id order by r.device_id desc) as seq
                      from record r
                      join counter c on c.tenant_id = r.tenant_id
                     where r.changes) e
            returning event.device_id, event.message, event.seq
        )
        select r.tenant_id, r.device_id, t.message,
               r.online and exists (select from mdvr.command c
                                     where c.device_id = r.device_id and c.status = 'queued' and c.hold_until > now())
          from record r
          left join told t on t.device_id = r.device_id
         order by r.tenant_id, t.seq;
    end loop;
end
$$;

comment on function mdvr.record_devices(text, uuid, jsonb) is
    'Begins and ends of connections, as register_device and device_offline; held: commands wait for that device';

reset role;
