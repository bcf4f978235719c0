-- 0031: rules over positions: geofences (enter, exit, dwell), a speed limit and
-- idling.  Evaluated by the stream front outside the ingest transaction, on the
-- latest position of each device; late uploads are history and raise nothing.
--
-- Limits are settings of the device, or of its tenant: speed_limit_kmh,
-- idle_limit_s (ignition on and not moving).

set role mdvr_owner;

create table mdvr.rule_state (
    device_id     uuid         primary key,
    tenant_id     uuid         not null references mdvr.tenant,
    seen_at       timestamptz  not null,                      -- received_at of the position looked at
    speeding_at   timestamptz,
    idle_since    timestamptz,
    idle_told     boolean      not null default false,
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
) with (fillfactor = 50);

comment on table mdvr.rule_state is 'What the rules know about a device: one row per device of a tenant with rules';
comment on column mdvr.rule_state.speeding_at is 'Since when it is over its limit; NULL: it is not';


create table mdvr.geofence_state (
    device_id    uuid         not null,
    geofence_id  uuid         not null,
    tenant_id    uuid         not null references mdvr.tenant,
    entered_at   timestamptz  not null,
    dwelled      boolean      not null default false,
    primary key (device_id, geofence_id),
    foreign key (tenant_id, geofence_id) references mdvr.geofence (tenant_id, id) on delete cascade,
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
);

create index geofence_state_fence on mdvr.geofence_state (geofence_id);
comment on table mdvr.geofence_state is 'Which device is inside which geofence, and since when';


create table mdvr.rule_alarm (
    id           uuid         primary key default mdvr.uuid7(),
    tenant_id    uuid         not null references mdvr.tenant,
    device_id    uuid         not null,
    code         text         not null,
    phase        text         not null check (phase in ('start', 'end', 'event')),
    kind         text         not null,
    sub_key      text         not null,
    at           timestamptz  not null,
    received_at  timestamptz  not null,
    position     jsonb        not null,
    data         jsonb        not null,
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
);

create index rule_alarm_device on mdvr.rule_alarm (device_id, id);
comment on table mdvr.rule_alarm is 'Alarms that rules have found and that are not stored yet: one transaction per device stores them';

call mdvr.protect('mdvr.rule_state', 'none');
call mdvr.protect('mdvr.geofence_state', 'none');
call mdvr.protect('mdvr.rule_alarm', 'none');

grant select, insert, update, delete on mdvr.rule_state, mdvr.geofence_state, mdvr.rule_alarm to mdvr_definer;
grant select on mdvr.geofence to mdvr_definer;
grant insert on mdvr.geofence_event to mdvr_definer;

create index device_rules on mdvr.device (tenant_id)
    where settings ?| array['speed_limit_kmh', 'idle_limit_s'];


-- A ring of GeoJSON as PostgreSQL's polygon, x = longitude.

create function mdvr.geofence_ring(p_ring jsonb) returns polygon
language sql immutable strict parallel safe
as $$
    select ('(' || string_agg('(' || (c ->> 0)::float8 || ',' || (c ->> 1)::float8 || ')', ',' order by n) || ')')::polygon
      from jsonb_array_elements(p_ring) with ordinality as x (c, n)
$$;

comment on function mdvr.geofence_ring(jsonb) is 'A ring of a GeoJSON polygon in the plane of longitude and latitude';


create function mdvr.geofence_contains(g mdvr.geofence, p_lat float8, p_lon float8) returns boolean
language sql immutable parallel safe
as $$
    select p_lat between g.min_lat_deg and g.max_lat_deg
           and p_lon between g.min_lon_deg and g.max_lon_deg
           and case g.shape
               when 'circle' then
                   2 * 6371008.8 * asin(least(1, sqrt(
                       sin(radians(p_lat - (g.geometry -> 'coordinates' ->> 1)::float8) / 2) ^ 2
                       + cos(radians(p_lat)) * cos(radians((g.geometry -> 'coordinates' ->> 1)::float8))
                         * sin(radians(p_lon - (g.geometry -> 'coordinates' ->> 0)::float8) / 2) ^ 2))) <= g.radius_m
               else
                   mdvr.geofence_ring(g.geometry -> 'coordinates' -> 0) @> point(p_lon, p_lat)
                   and not exists (select
                                     from jsonb_array_elements(g.geometry -> 'coordinates') with ordinality as h (ring, n)
                                    where n > 1 and mdvr.geofence_ring(ring) @> point(p_lon, p_lat))
               end
$$;

comment on function mdvr.geofence_contains(mdvr.geofence, float8, float8) is
    'Whether a place lies inside; circles on the sphere, polygons in the plane of the coordinates';
grant execute on function mdvr.geofence_ring(jsonb), mdvr.geofence_contains(mdvr.geofence, float8, float8) to mdvr_definer;

reset role;
set role mdvr_definer;

create function mdvr.rules_number(p_settings jsonb, p_name text) returns float8
language sql immutable
as $$
    select case when jsonb_typeof(p_settings -> p_name) = 'number' then nullif((p_settings ->> p_name)::float8, 0) end
$$;

comment on function mdvr.rules_number(jsonb, text) is 'A limit in settings; NULL when it is absent, zero or no number';


-- Looks at positions that changed since it last did, at most p_limit; one caller
-- at a time in the whole installation.  Returns how many alarms wait to be stored.

create function mdvr.rules_evaluate(p_limit integer default 2000) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    p       record;
    f       record;
    limit_s float8;
    limit_v float8;
    inside  uuid[];
    here    jsonb;
    idle_at timestamptz;
    told    boolean;
    fast_at timestamptz;
begin
    if not pg_try_advisory_xact_lock(5571031) then
        return 0;
    end if;

    for p in
        with ruled as materialized (
            select tenant_id from mdvr.geofence where active
            union
            select id from mdvr.tenant where settings ?| array['speed_limit_kmh', 'idle_limit_s']
            union
            select tenant_id from mdvr.device
             where settings ?| array['speed_limit_kmh', 'idle_limit_s']
        )
        select x.*, s.speeding_at, s.idle_since, s.idle_told,
               mdvr.rules_number(case when d.settings ? 'speed_limit_kmh' then d.settings else t.settings end,
                                 'speed_limit_kmh') as speed_limit,
               mdvr.rules_number(case when d.settings ? 'idle_limit_s' then d.settings else t.settings end,
                                 'idle_limit_s') as idle_limit
          from ruled r
          join mdvr.position x on x.tenant_id = r.tenant_id
          join mdvr.device d on d.id = x.device_id and d.deleted_at is null
          join mdvr.tenant t on t.id = x.tenant_id and t.status = 'active'
          left join mdvr.rule_state s on s.device_id = x.device_id
         where s.seen_at is null or x.received_at > s.seen_at
         order by x.received_at
         limit p_limit
    loop
        here := jsonb_build_object('lat', p.lat_deg, 'lon', p.lon_deg, 'gps_valid', p.gps_valid,
                                   'speed_kmh', p.speed_kmh, 'course_deg', p.course_deg);

        if p.gps_valid and p.lat_deg is not null then

            select coalesce(array_agg(g.id), '{}') into inside
              from mdvr.geofence g
             where g.tenant_id = p.tenant_id and g.active
               and p.lat_deg between g.min_lat_deg and g.max_lat_deg
               and p.lon_deg between g.min_lon_deg and g.max_lon_deg
               and (g.group_ids is null
                    or exists (select from mdvr.group_device m
                                where m.device_id = p.device_id and m.group_id = any (g.group_ids)))
               and mdvr.geofence_contains(g, p.lat_deg, p.lon_deg);

            for f in
                with gone as (
                    delete from mdvr.geofence_state s
                     where s.device_id = p.device_id and s.geofence_id <> all (inside)
                    returning s.geofence_id
                ),
                come as (
                    insert into mdvr.geofence_state (device_id, geofence_id, tenant_id, entered_at)
                    select p.device_id, i, p.tenant_id, p.recorded_at from unnest(inside) i
                    on conflict do nothing
                    returning geofence_id
                ),
                stayed as (
                    update mdvr.geofence_state s
                       set dwelled = true
                      from mdvr.geofence g
                     where s.device_id = p.device_id and s.geofence_id = any (inside) and g.id = s.geofence_id
                       and not s.dwelled and s.entered_at + make_interval(secs => g.dwell_s) <= p.recorded_at
                    returning s.geofence_id
                )
                select x.kind, g.id, g.name
                  from (select 'exit' as kind, geofence_id from gone
                        union all select 'enter', geofence_id from come
                        union all select 'dwell', geofence_id from stayed) x
                  join mdvr.geofence g on g.id = x.geofence_id
            loop
                insert into mdvr.geofence_event (tenant_id, geofence_id, device_id, kind, at, lat_deg, lon_deg)
                values (p.tenant_id, f.id, p.device_id, f.kind, p.recorded_at, p.lat_deg, p.lon_deg)
                on conflict do nothing;

                insert into mdvr.rule_alarm (tenant_id, device_id, code, phase, kind, sub_key, at, received_at, position, data)
                values (p.tenant_id, p.device_id, 'V212', 'event', 'geofence', f.id::text, p.recorded_at, p.received_at, here,
                        jsonb_build_object('source', 'server', 'transition', f.kind, 'geofence_id', f.id, 'name', f.name));
            end loop;
        end if;

        fast_at := p.speeding_at;

        if p.speed_limit is not null and p.speed_kmh > p.speed_limit and fast_at is null then
            fast_at := p.recorded_at;

            insert into mdvr.rule_alarm (tenant_id, device_id, code, phase, kind, sub_key, at, received_at, position, data)
            values (p.tenant_id, p.device_id, 'V211', 'start', 'overspeed', 'server', p.recorded_at, p.received_at, here,
                    jsonb_build_object('source', 'server', 'speed_kmh', p.speed_kmh, 'upper_kmh', p.speed_limit));

        elsif fast_at is not null and (p.speed_limit is null or p.speed_kmh <= p.speed_limit) then
            fast_at := null;

            insert into mdvr.rule_alarm (tenant_id, device_id, code, phase, kind, sub_key, at, received_at, position, data)
            values (p.tenant_id, p.device_id, 'V211', 'end', 'overspeed', 'server', p.recorded_at, p.received_at, here,
                    jsonb_build_object('source', 'server', 'speed_kmh', p.speed_kmh, 'upper_kmh', p.speed_limit));
        end if;

        idle_at := case when p.acc and p.speed_kmh < 3 then coalesce(p.idle_since, p.recorded_at) end;
        told := coalesce(p.idle_told, false);

        if told and (idle_at is null or p.idle_limit is null) then
            told := false;

            insert into mdvr.rule_alarm (tenant_id, device_id, code, phase, kind, sub_key, at, received_at, position, data)
            values (p.tenant_id, p.device_id, 'V216', 'end', 'idle', 'server', p.recorded_at, p.received_at, here,
                    jsonb_build_object('source', 'server',
                                       'duration_s', round(extract(epoch from p.recorded_at - p.idle_since))));

        elsif not told and idle_at + make_interval(secs => p.idle_limit) <= p.recorded_at then
            told := true;

            insert into mdvr.rule_alarm (tenant_id, device_id, code, phase, kind, sub_key, at, received_at, position, data)
            values (p.tenant_id, p.device_id, 'V216', 'start', 'idle', 'server', p.recorded_at, p.received_at, here,
                    jsonb_build_object('source', 'server', 'limit_s', p.idle_limit, 'since', mdvr.rfc3339(idle_at)));
        end if;

        insert into mdvr.rule_state as s (device_id, tenant_id, seen_at, speeding_at, idle_since, idle_told)
        values (p.device_id, p.tenant_id, p.received_at, fast_at, idle_at, told)
        on conflict (device_id) do update
           set seen_at = excluded.seen_at, speeding_at = excluded.speeding_at, idle_since = excluded.idle_since,
               idle_told = excluded.idle_told;
    end loop;

    return (select count(*) from (select from mdvr.rule_alarm limit 1000) x);
end
$$;

comment on function mdvr.rules_evaluate(integer) is
    'Geofences, speed and idling over the positions that changed; returns how many alarms wait for rules_store';


-- Stores the alarms of one device: whoever stores alarms locks the device first
-- and takes the event number last.

create function mdvr.rules_store()
returns table (tenant_id uuid, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    r      mdvr.rule_alarm;
    device uuid;
begin
    select x.device_id into device from mdvr.rule_alarm x order by x.id limit 1;

    if device is null then
        return;
    end if;

    perform pg_advisory_xact_lock(hashtextextended(device::text, 5571));

    for r in delete from mdvr.rule_alarm x where x.device_id = device returning x.* loop
        tenant_id := r.tenant_id;

        for message in
            select a.message
              from mdvr.store_alarm(r.device_id, case when r.phase = 'end' then 'V' || (substr(r.code, 2)::integer + 50)
                                                      else r.code end,
                       r.code, r.phase, r.kind, case when r.kind = 'overspeed' then 'warning' else 'info' end, r.sub_key,
                       'server_' || replace(r.id::text, '-', ''), r.at, r.received_at, r.position, r.data, null, null) a
        loop
            return next;
        end loop;
    end loop;

    if tenant_id is null then
        return;
    end if;

    message := null;                                -- there may be more
    return next;
end
$$;

comment on function mdvr.rules_store() is
    'Stores the waiting alarms of one device; rows: messages to publish, the last one NULL. No row: nothing waits';
grant execute on function mdvr.rules_evaluate(integer), mdvr.rules_store() to mdvr_stream;

reset role;
