-- 0005: positions, one partition per month.  Writer: stream, through
-- store_positions only.  Readers: api, worker.
--
-- There is no DEFAULT partition (one row with a wild clock would make the next
-- ATTACH fail); store_positions moves such rows to the server's time.  Nobody has
-- a grant on a partition: it would bypass the parent's policies.

set role mdvr_owner;

create table mdvr.telemetry (
    tenant_id      uuid              not null references mdvr.tenant,
    device_id      uuid              not null,
    recorded_at    timestamptz       not null,                       -- device clock, UTC
    received_at    timestamptz       not null,                       -- server clock
    clock_at       timestamptz,                                      -- device clock when it was not believed
    lat_deg        double precision  check (lat_deg between -90 and 90),
    lon_deg        double precision  check (lon_deg between -180 and 180),
    mileage_m      bigint            check (mileage_m >= 0),
    speed_kmh      real              check (speed_kmh between 0 and 1000),
    course_deg     real              check (course_deg between 0 and 360),
    fuel_l         real              check (fuel_l >= 0),
    temp_device_c  real,
    temp_engine_c  real,
    temp_cabin_c   real,
    obd_speed_kmh  real              check (obd_speed_kmh between 0 and 1000),
    parking_s      integer           check (parking_s >= 0),
    rpm            integer           check (rpm >= 0),
    people         integer           check (people >= 0),
    cell           integer           generated always as
        (floor((lat_deg + 90) * 100)::integer * 36000 + floor((lon_deg + 180) * 100)::integer) stored,
    satellites     smallint          check (satellites >= 0),
    trigger        smallint,
    gps_valid      boolean           not null,
    acc            boolean,
    late           boolean           not null default false,
    status_hex     text              check (length(status_hex) <= 32),
    mask_hex       text              check (length(mask_hex) <= 32),
    body_digest    bytea             not null check (octet_length(body_digest) between 8 and 32),
    primary key (device_id, recorded_at, body_digest)
) partition by range (recorded_at);

create index telemetry_tenant on mdvr.telemetry (tenant_id, recorded_at);
create index telemetry_cell on mdvr.telemetry (cell, recorded_at) where cell is not null;

comment on table mdvr.telemetry is
    'Position reports (V114), partitioned by month. device_id is checked by store_positions, which takes tenant_id from the device.';
comment on column mdvr.telemetry.cell is
    'Square of 0.01 degree: floor((lat + 90) * 100) * 36000 + floor((lon + 180) * 100); location indexes under row security must be integers';
comment on column mdvr.telemetry.body_digest is 'First bytes of a digest of the report: two reports in one second are two rows';
comment on column mdvr.telemetry.late is 'Buffered by the device and sent later';

call mdvr.protect('mdvr.telemetry', 'device');
grant select on mdvr.telemetry to mdvr_api, mdvr_worker;
grant select, insert, delete on mdvr.telemetry to mdvr_definer;


-- Months from the oldest that store_positions accepts to p_ahead months from now.
-- LIKE and ATTACH lock the parent less than CREATE ... PARTITION OF does.

create function mdvr.ensure_partitions(p_ahead integer default 3) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    month timestamp := date_trunc('month', now() at time zone 'UTC' - interval '4 months');
    last  timestamp := date_trunc('month', now() at time zone 'UTC') + make_interval(months => greatest(p_ahead, 2));
    part  text;
    made  integer := 0;
begin
    perform pg_advisory_xact_lock(5571088);

    while month <= last loop
        part := 'telemetry_' || to_char(month, 'YYYYMM');

        if to_regclass('mdvr.' || part) is null then
            execute format('create table mdvr.%I (like mdvr.telemetry including defaults including constraints including generated)', part);
            execute format('alter table mdvr.%I enable row level security', part);
            execute format('alter table mdvr.%I force row level security', part);
            execute format('alter table mdvr.telemetry attach partition mdvr.%I for values from (%L) to (%L)',
                           part, month at time zone 'UTC', (month + interval '1 month') at time zone 'UTC');
            execute format('comment on table mdvr.%I is %L', part, 'Position reports of ' || to_char(month, 'YYYY-MM') || ', UTC');
            made := made + 1;
        end if;

        month := month + interval '1 month';
    end loop;

    return made;
end
$$;

comment on function mdvr.ensure_partitions(integer) is
    'Makes missing telemetry partitions, at least two months ahead; returns how many';
grant execute on function mdvr.ensure_partitions(integer) to mdvr_worker, mdvr_definer;


-- Whole months beyond the longest retention of all tenants go at once; a tenant
-- with less is cleared row by row, p_limit rows per call.

create function mdvr.drop_partitions() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    keep    timestamptz;
    p       record;
    dropped integer := 0;
begin
    select mdvr.retention_horizon() into keep;
    perform pg_advisory_xact_lock(5571088);

    for p in
        select c.relname, to_date(right(c.relname, 6), 'YYYYMM') as month
          from pg_inherits i join pg_class c on c.oid = i.inhrelid
         where i.inhparent = 'mdvr.telemetry'::regclass
         order by 1
    loop
        if (p.month + interval '1 month')::timestamp at time zone 'UTC' < keep
           and p.month < date_trunc('month', now() at time zone 'UTC' - interval '4 months')
        then
            execute format('drop table mdvr.%I', p.relname);
            dropped := dropped + 1;
        end if;
    end loop;

    return dropped;
end
$$;

comment on function mdvr.drop_partitions() is 'Drops months that no tenant keeps any more; returns how many';
grant execute on function mdvr.drop_partitions() to mdvr_worker;

select mdvr.ensure_partitions();

reset role;
set role mdvr_definer;

create function mdvr.retention_horizon() returns timestamptz
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select case when bool_or(t.legal_hold) then '-infinity'::timestamptz
                else now() - make_interval(days => coalesce(max(t.retention_days), 90)) end
      from mdvr.tenant t
     where t.status <> 'deleted'
$$;

comment on function mdvr.retention_horizon() is 'Before this time no tenant keeps positions';
grant execute on function mdvr.retention_horizon() to mdvr_owner;


create function mdvr.purge_positions(p_limit integer default 50000) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t record;
    n bigint;
begin
    for t in
        select id, now() - make_interval(days => retention_days) as horizon
          from mdvr.tenant
         where not legal_hold
    loop
        with old as (
            select device_id, recorded_at, body_digest
              from mdvr.telemetry
             where tenant_id = t.id and recorded_at < t.horizon
             limit p_limit
        )
        delete from mdvr.telemetry x
         using old
         where x.device_id = old.device_id and x.recorded_at = old.recorded_at and x.body_digest = old.body_digest
           and x.recorded_at < t.horizon;

        get diagnostics n = row_count;

        if n > 0 then
            return n;                               -- one tenant a call: short transactions
        end if;
    end loop;

    return 0;
end
$$;

comment on function mdvr.purge_positions(integer) is
    'Deletes positions beyond a tenant''s retention, at most p_limit; returns how many, 0 when all is done';
grant execute on function mdvr.purge_positions(integer) to mdvr_worker;


-- Device clocks are believed within [now - 90 days, now + 1 day].

create function mdvr.believed_at(at timestamptz, received timestamptz) returns timestamptz
language sql stable parallel safe
as $$
    select case when at between now() - interval '90 days' and now() + interval '1 day' then at
                when received between now() - interval '90 days' and now() + interval '1 day' then received
                else now() end
$$;

comment on function mdvr.believed_at(timestamptz, timestamptz) is
    'The device''s time, else the server''s time of receipt, else now';


-- One batch of position reports, of any devices and tenants.
--
-- Arrays of equal length, one element per report.  A NULL digest makes no
-- telemetry row and only moves the latest position (positions inside other
-- messages).  Reports of unknown devices are skipped.  A device time that is not
-- believed is replaced by received_at and kept in clock_at; measurements outside
-- their range become NULL.
--
-- Reports are unique nearly always, so a plain INSERT is tried first (ON CONFLICT
-- costs a second index probe and a second log record per row); after a conflict
-- the digests of what is stored already become NULL and the batch runs again.
-- Rows are taken in device order, by nested loops, so that two batches that move
-- the same positions wait for each other instead of deadlocking.

create function mdvr.store_positions(
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
                 order by r.device_id, 3 desc
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
            insert into mdvr.position (device_id, tenant_id, recorded_at, received_at, gps_valid)
            select distinct d.id, d.tenant_id, '-infinity'::timestamptz, now(), false
              from unnest(p_device_id, p_late) as r (device_id, late)
              join mdvr.device d on d.id = r.device_id
             where not coalesce(r.late, false)
               and not exists (select from mdvr.position p where p.device_id = r.device_id)
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

comment on function mdvr.store_positions is
    'Stores a batch of position reports once each and moves the latest positions; returns how many rows are new';
grant execute on function mdvr.store_positions to mdvr_stream;

reset role;
