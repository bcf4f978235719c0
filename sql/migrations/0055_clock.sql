-- 0055: whether the zone of a device's clock was set by somebody or only
-- detected, and what is detected while it is connected.

set role mdvr_definer;

-- as 0051, with offset_set: a zone that was detected gives way to a newer look
-- at the clock, one that was set does not

drop function mdvr.devices_by_serial(text[]);

create function mdvr.devices_by_serial(p_serials text[])
returns table (n integer, device_id uuid, tenant_id uuid, utc_offset_minutes smallint, text_encoding text,
               bus_layout boolean, imei text, channels smallint, suspended boolean, offset_set boolean)
language plpgsql stable security definer rows 100 set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
as $$
begin
    return query
    select x.n::integer, d.id, d.tenant_id, coalesce(d.utc_offset_minutes, s.utc_offset_minutes), d.text_encoding,
           d.bus_layout, d.imei, d.channels, t.status <> 'active' or not d.enabled, d.utc_offset_minutes is not null
      from unnest(p_serials) with ordinality as x (serial, n)
      join mdvr.device d on d.serial = x.serial and d.deleted_at is null
      join mdvr.tenant t on t.id = d.tenant_id
      left join mdvr.device_state s on s.device_id = d.id;
end
$$;

comment on function mdvr.devices_by_serial(text[]) is
    'device_by_serial for many: n is the place in the array, from 1; no row for a serial that nobody owns; offset_set: the zone is a setting, not detected';
grant execute on function mdvr.devices_by_serial(text[]) to mdvr_stream;


create function mdvr.device_clock(p_device_id uuid, p_utc_offset_minutes smallint) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update mdvr.device_state
       set utc_offset_minutes = p_utc_offset_minutes
     where device_id = p_device_id and utc_offset_minutes is distinct from p_utc_offset_minutes
$$;

comment on function mdvr.device_clock(uuid, smallint) is 'The zone of a device''s clock, as a heartbeat shows it';
grant execute on function mdvr.device_clock(uuid, smallint) to mdvr_stream;

reset role;
