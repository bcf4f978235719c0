-- 0030: many connections begin and end at once (a node restarts, a network
-- comes back): their records in one transaction.  Caller: stream.

set role mdvr_definer;

-- p_records: [{"online": true, "device": uuid, "at": connected_at, "address":,
-- "v101": {}}, {"online": false, "device":, "at":, "reason":}, ...] in the order
-- in which it happened.  Rows are locked before the first event takes its number,
-- tenant by tenant, device by device: two such calls never wait for each other
-- in a circle.

create function mdvr.record_devices(p_node text, p_boot uuid, p_records jsonb)
returns table (tenant_id uuid, device_id uuid, message json, held boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    r record;
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

    for r in
        select d.tenant_id, x.*
          from rows from (jsonb_to_recordset(p_records)
               as (online boolean, device uuid, at timestamptz, address text, v101 jsonb, reason text))
               with ordinality as x (online, device, at, address, v101, reason, n)
          join mdvr.device d on d.id = x.device
         order by d.tenant_id, x.device, x.n
    loop
        tenant_id := r.tenant_id;
        device_id := r.device;
        held := false;

        if r.online then
            select e.message into message
              from mdvr.register_device(r.device, p_node, p_boot, r.address, r.at, nullif(r.v101, 'null')) e;
            held := exists (select
                              from mdvr.command c
                             where c.device_id = r.device and c.status = 'queued' and c.hold_until > now());
        else
            select e.message into message
              from mdvr.device_offline(r.device, p_node, r.at, r.reason) e;
        end if;

        return next;
    end loop;
end
$$;

comment on function mdvr.record_devices(text, uuid, jsonb) is
    'register_device and device_offline for many connections at once; held: commands wait for that device';
grant execute on function mdvr.record_devices(text, uuid, jsonb) to mdvr_stream;

reset role;
