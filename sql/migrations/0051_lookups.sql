-- 0051: what a device front must know about many serials at once: thousands of
-- devices that come back together cost one query for all that arrived meanwhile.

set role mdvr_definer;

create function mdvr.devices_by_serial(p_serials text[])
returns table (n integer, device_id uuid, tenant_id uuid, utc_offset_minutes smallint, text_encoding text,
               bus_layout boolean, imei text, channels smallint, suspended boolean)
language plpgsql stable security definer rows 100 set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
    return query
    select x.n::integer, d.id, d.tenant_id, coalesce(d.utc_offset_minutes, s.utc_offset_minutes), d.text_encoding,
           d.bus_layout, d.imei, d.channels, t.status <> 'active' or not d.enabled
      from unnest(p_serials) with ordinality as x (serial, n)
      join mdvr.device d on d.serial = x.serial and d.deleted_at is null
      join mdvr.tenant t on t.id = d.tenant_id
      left join mdvr.device_state s on s.device_id = d.id;
end
$$;

comment on function mdvr.devices_by_serial(text[]) is
    'device_by_serial for many: n is the place in the array, from 1; no row for a serial that nobody owns';
grant execute on function mdvr.devices_by_serial(text[]) to mdvr_stream;

reset role;
