-- 0022: writes of geofences and push tokens.

set role mdvr_owner;

-- GeoJSON Polygon, or Point with a radius; the bounding box is what the worker
-- looks for first.

create function mdvr.geofence_write(p_id uuid, p_body jsonb) returns uuid
language plpgsql
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
    g      mdvr.geofence;
    kind   text;
    n      integer;
    lat    float8;
    r      float8;
begin
    if p_id is not null then
        select * into g from mdvr.geofence where id = p_id;

        if not found then
            return null;
        end if;
    else
        g.id := mdvr.uuid7();
        g.tenant_id := tenant;
        g.active := true;
        g.created_at := now();
    end if;

    g.name := coalesce(p_body ->> 'name', g.name);
    g.geometry := coalesce(p_body -> 'geometry', g.geometry);
    g.radius_m := case when p_body ? 'radius_m' then (p_body ->> 'radius_m')::float8
                       else coalesce((p_body -> 'geometry' ->> 'radius_m')::float8, g.radius_m) end;
    g.dwell_s := case when p_body ? 'dwell_s' then (p_body ->> 'dwell_s')::integer else g.dwell_s end;
    g.active := coalesce((p_body ->> 'active')::boolean, g.active);

    if p_body ? 'group_ids' then
        select array_agg(value::uuid) into g.group_ids from jsonb_array_elements_text(p_body -> 'group_ids');

        if exists (select from unnest(g.group_ids) x where x not in (select id from mdvr.device_group)) then
            perform mdvr.refuse('MD422', 'unknown_group', 'group_ids names a group that does not exist');
        end if;
    end if;

    kind := g.geometry ->> 'type';

    if kind in ('Point', 'Circle') then
        g.shape := 'circle';
        r := g.radius_m;

        if jsonb_typeof(g.geometry -> 'coordinates') is distinct from 'array'
           or jsonb_array_length(g.geometry -> 'coordinates') < 2 or r is null
        then
            perform mdvr.refuse('MD422', 'invalid_geometry', 'a circle needs coordinates [lon, lat] and radius_m');
        end if;

        lat := (g.geometry -> 'coordinates' ->> 1)::float8;
        g.geometry := jsonb_build_object('type', 'Point', 'coordinates',
                          jsonb_build_array((g.geometry -> 'coordinates' ->> 0)::float8, lat));
        g.min_lat_deg := greatest(lat - r / 111320, -90);
        g.max_lat_deg := least(lat + r / 111320, 90);
        g.min_lon_deg := greatest((g.geometry -> 'coordinates' ->> 0)::float8
                                  - r / (111320 * greatest(cos(radians(lat)), 0.01)), -180);
        g.max_lon_deg := least((g.geometry -> 'coordinates' ->> 0)::float8
                               + r / (111320 * greatest(cos(radians(lat)), 0.01)), 180);

    elsif kind = 'Polygon' then
        g.shape := 'polygon';
        g.radius_m := null;

        if jsonb_typeof(g.geometry -> 'coordinates') is distinct from 'array'
           or jsonb_typeof(g.geometry -> 'coordinates' -> 0) is distinct from 'array'
        then
            perform mdvr.refuse('MD422', 'invalid_geometry', 'a polygon needs rings of [lon, lat]');
        end if;

        select count(*), min((c ->> 1)::float8), max((c ->> 1)::float8), min((c ->> 0)::float8), max((c ->> 0)::float8)
          into n, g.min_lat_deg, g.max_lat_deg, g.min_lon_deg, g.max_lon_deg
          from jsonb_array_elements(g.geometry -> 'coordinates' -> 0) c;

        if n < 4 or n > 1000 or g.geometry -> 'coordinates' -> 0 -> 0 <> g.geometry -> 'coordinates' -> 0 -> (n - 1) then
            perform mdvr.refuse('MD422', 'invalid_geometry', 'a ring has 4 to 1000 positions and is closed');
        end if;

    else
        perform mdvr.refuse('MD422', 'invalid_geometry', 'geometry must be a GeoJSON Polygon, or a Point with radius_m');
    end if;

    if p_id is null then
        insert into mdvr.geofence select g.*;
    else
        update mdvr.geofence x
           set name = g.name, shape = g.shape, geometry = g.geometry, radius_m = g.radius_m,
               min_lat_deg = g.min_lat_deg, max_lat_deg = g.max_lat_deg, min_lon_deg = g.min_lon_deg,
               max_lon_deg = g.max_lon_deg, dwell_s = g.dwell_s, group_ids = g.group_ids, active = g.active
         where x.id = p_id;
    end if;

    return g.id;
end
$$;

comment on function mdvr.geofence_write(uuid, jsonb) is
    'Creates (NULL) or changes a geofence; NULL when there is no such one, MD422 when its shape is none';
grant execute on function mdvr.geofence_write(uuid, jsonb) to mdvr_api;

reset role;
set role mdvr_definer;

-- A phone belongs to whoever signed in on it last.

create function mdvr.push_token_take(p_platform text, p_token text, p_app_id text) returns setof mdvr.push_token
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into mdvr.push_token as p (tenant_id, user_id, platform, token, app_id)
    select u.tenant_id, u.id, p_platform, p_token, p_app_id
      from mdvr.user u
     where u.id = nullif(current_setting('app.current_user_id', true), '')::uuid
       and u.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid
    on conflict (tenant_id, platform, token)
    do update set user_id = excluded.user_id, app_id = excluded.app_id
    returning p.*
$$;

comment on function mdvr.push_token_take(text, text, text) is 'Registers a phone for the transaction''s user';
grant execute on function mdvr.push_token_take(text, text, text) to mdvr_api;

reset role;
set role mdvr_owner;
grant insert, update on mdvr.push_token to mdvr_definer;
reset role;
