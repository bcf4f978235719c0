-- 0111: repetitions of reports whose clock is not believed (0082) are looked for only
-- in batches that have such a report: as a part of the statement that stores, the search
-- made each call set up a plan over all partitions, a fifth of the cost of a position.

set role mdvr_definer;

create or replace function mdvr.store_positions(
    p_device_id uuid[], p_recorded_at timestamptz[], p_received_at timestamptz[], p_gps_valid bool[],
    p_lat_deg float8[], p_lon_deg float8[], p_satellites int2[], p_speed_kmh real[], p_course_deg real[],
    p_acc bool[], p_mileage_m bigint[], p_fuel_l real[], p_status_hex text[], p_mask_hex text[],
    p_temp_device_c real[], p_temp_engine_c real[], p_temp_cabin_c real[], p_parking_s int[], p_rpm int[],
    p_obd_speed_kmh real[], p_people int[], p_trigger int2[], p_late bool[], p_body_digest bytea[])
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
as $$
declare
    digests bytea[] := p_body_digest;
    total   integer := 0;
    stored  integer;
    moving  integer;
    moved   integer;
begin
    if exists (select
                 from unnest(p_recorded_at, p_received_at) as r (at, received)
                where r.at <> mdvr.believed_at(r.at, r.received)) then
        select array_agg(case when r.clock_at is null
                                   or not exists (select from mdvr.telemetry t
                                                   where t.device_id = r.device_id and t.body_digest = r.digest
                                                     and t.recorded_at between r.recorded_at - interval '10 minutes' and r.recorded_at
                                                     and t.clock_at = r.clock_at)
                              then r.digest end order by r.ord)
          into digests
          from (select x.device_id, x.digest, x.ord, mdvr.believed_at(x.at, x.received) as recorded_at,
                       nullif(x.at, mdvr.believed_at(x.at, x.received)) as clock_at
                  from unnest(p_device_id, p_recorded_at, p_received_at, p_body_digest)
                       with ordinality as x (device_id, at, received, digest, ord)) r;
    end if;

    loop
        begin
            with report as materialized (
                select d.tenant_id, r.device_id, mdvr.believed_at(r.at, r.received) as recorded_at,
                       coalesce(r.received, now()) as received_at,
                       nullif(r.at, mdvr.believed_at(r.at, r.received)) as clock_at,
                       coalesce(r.gps_valid, false) and coalesce(r.lat between -90 and 90, false)
                           and coalesce(r.lon between -180 and 180, false) as gps_valid,
                       case when r.lat between -90 and 90 and r.lon between -180 and 180 then r.lat end as lat_deg,
                       case when r.lat between -90 and 90 and r.lon between -180 and 180 then r.lon end as lon_deg,
                       case when r.satellites >= 0 then r.satellites end as satellites,
                       case when r.speed between 0 and 1000 then r.speed end as speed_kmh,
                       case when r.course between 0 and 360 then r.course end as course_deg,
                       r.acc,
                       case when r.mileage >= 0 then r.mileage end as mileage_m,
                       case when r.fuel between 0 and 1e6 then r.fuel end as fuel_l,
                       left(r.status_hex, 32) as status_hex, left(r.mask_hex, 32) as mask_hex,
                       r.temp_device as temp_device_c, r.temp_engine as temp_engine_c, r.temp_cabin as temp_cabin_c,
                       case when r.parking >= 0 then r.parking end as parking_s,
                       case when r.rpm >= 0 then r.rpm end as rpm,
                       case when r.obd_speed between 0 and 1000 then r.obd_speed end as obd_speed_kmh,
                       case when r.people >= 0 then r.people end as people,
                       r.trigger, coalesce(r.late, false) as late, r.digest as body_digest
                  from unnest(p_device_id, p_recorded_at, p_received_at, p_gps_valid, p_lat_deg, p_lon_deg,
                              p_satellites, p_speed_kmh, p_course_deg, p_acc, p_mileage_m, p_fuel_l, p_status_hex,
                              p_mask_hex, p_temp_device_c, p_temp_engine_c, p_temp_cabin_c, p_parking_s, p_rpm,
                              p_obd_speed_kmh, p_people, p_trigger, p_late, digests)
                       as r (device_id, at, received, gps_valid, lat, lon, satellites, speed, course, acc, mileage,
                             fuel, status_hex, mask_hex, temp_device, temp_engine, temp_cabin, parking, rpm,
                             obd_speed, people, trigger, late, digest)
                  join mdvr.device d on d.id = r.device_id
                 order by r.device_id, 3 desc, r.digest
            ),
            kept as (
                insert into mdvr.telemetry (tenant_id, device_id, recorded_at, received_at, clock_at, gps_valid,
                       lat_deg, lon_deg, satellites, speed_kmh, course_deg, acc, mileage_m, fuel_l, status_hex,
                       mask_hex, temp_device_c, temp_engine_c, temp_cabin_c, parking_s, rpm, obd_speed_kmh, people,
                       trigger, late, body_digest)
                select tenant_id, device_id, recorded_at, received_at, clock_at, gps_valid, lat_deg, lon_deg,
                       satellites, speed_kmh, course_deg, acc, mileage_m, fuel_l, status_hex, mask_hex,
                       temp_device_c, temp_engine_c, temp_cabin_c, parking_s, rpm, obd_speed_kmh, people, trigger,
                       late, body_digest
                  from report
                 where body_digest is not null
                returning 1
            ),
            newest as materialized (
                select distinct on (device_id) *
                  from report
                 where not late
                 order by device_id, recorded_at desc
            ),
            changed as (
                update mdvr.position p
                   set recorded_at = n.recorded_at, received_at = n.received_at, gps_valid = n.gps_valid,
                       fix_at = case when n.gps_valid then n.recorded_at else p.fix_at end,
                       lat_deg = coalesce(n.lat_deg, p.lat_deg), lon_deg = coalesce(n.lon_deg, p.lon_deg),
                       satellites = n.satellites, speed_kmh = n.speed_kmh, course_deg = n.course_deg, acc = n.acc,
                       mileage_m = coalesce(n.mileage_m, p.mileage_m), fuel_l = coalesce(n.fuel_l, p.fuel_l),
                       status_hex = n.status_hex, mask_hex = n.mask_hex, temp_device_c = n.temp_device_c,
                       temp_engine_c = n.temp_engine_c, temp_cabin_c = n.temp_cabin_c, parking_s = n.parking_s,
                       rpm = n.rpm, obd_speed_kmh = n.obd_speed_kmh, people = n.people,
                       trigger = coalesce(n.trigger, p.trigger)
                  from newest n
                 where p.device_id = n.device_id
                   and (n.recorded_at > p.recorded_at
                        or p.recorded_at > p.received_at + interval '5 minutes')      -- its clock had been ahead
                returning 1
            )
            select (select count(*) from kept), (select count(*) from newest), (select count(*) from changed)
              into stored, moving, moved;

            total := total + stored;
            exit when moved >= moving;

            -- Older than what is known, or the first report of a device: that one
            -- gets a row to move, and the batch runs again for the positions only.
            -- Devices are joined for those alone: nearly always there are none.
            insert into mdvr.position (device_id, tenant_id, recorded_at, received_at, gps_valid)
            select distinct d.id, d.tenant_id, '-infinity'::timestamptz, now(), false
              from (select r.device_id
                      from unnest(p_device_id, p_late) as r (device_id, late)
                     where not coalesce(r.late, false)
                       and not exists (select from mdvr.position p where p.device_id = r.device_id)
                    offset 0) x
              join mdvr.device d on d.id = x.device_id
             order by d.id
            on conflict (device_id) do nothing;

            exit when not found;
            digests := null;

        exception when unique_violation then
            -- In another transaction, or earlier, or twice in this batch.
            select array_agg(case when x.nth = 1 and not exists (
                                      select from mdvr.telemetry t
                                       where t.device_id = x.device_id and t.recorded_at = x.at
                                         and t.body_digest = x.digest)
                                  then x.digest end order by x.ord)
              into digests
              from (select r.device_id, mdvr.believed_at(r.at, r.received) as at, r.digest, r.ord,
                           row_number() over (partition by r.device_id, mdvr.believed_at(r.at, r.received), r.digest
                                              order by r.ord) as nth
                      from unnest(p_device_id, p_recorded_at, p_received_at, digests)
                           with ordinality as r (device_id, at, received, digest, ord)) x;
        end;
    end loop;

    return total;
end
$$;

reset role;
