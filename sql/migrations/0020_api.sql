-- 0020: what the REST API needs beside plain statements: refusals with a public
-- code, cursors, quotas, and writes that touch several tables at once.

set role mdvr_owner;

create function mdvr.refuse(p_state text, p_code text, p_message text) returns boolean
language plpgsql
as $$
begin
    raise exception '%', p_message using errcode = p_state, detail = p_code;
end
$$;

comment on function mdvr.refuse(text, text, text) is
    'Fails with MD409, MD403 ...: the message is a public sentence, the detail the public code';


-- Cursors of lists that are ordered by a time: 16 hex digits of microseconds since
-- 1970, then the tie-breaker in hex.

create function mdvr.cursor_make(p_at timestamptz, p_rest text) returns text
language sql immutable parallel safe
as $$
    select lpad(to_hex((extract(epoch from p_at) * 1000000)::bigint), 16, '0') || replace(p_rest, '-', '')
$$;

create function mdvr.cursor_time(p_cursor text) returns timestamptz
language sql immutable parallel safe
as $$
    select timestamptz 'epoch' + ('x' || substr(p_cursor, 1, 16))::bit(64)::bigint * interval '1 microsecond'
     where length(p_cursor) >= 16
$$;

create function mdvr.cursor_uuid(p_cursor text) returns uuid
language sql immutable parallel safe
as $$
    select substr(p_cursor, 17)::uuid
$$;

comment on function mdvr.cursor_make(timestamptz, text) is 'Where a page ended: time and tie-breaker';
comment on function mdvr.cursor_time(text) is 'Time of a cursor; 22P02 when it is malformed';
comment on function mdvr.cursor_uuid(text) is 'Tie-breaker of a cursor as a UUID; 22P02 when it is malformed';

grant execute on function mdvr.refuse(text, text, text), mdvr.cursor_make(timestamptz, text),
    mdvr.cursor_time(text), mdvr.cursor_uuid(text) to mdvr_api, mdvr_definer;


-- The groups of a device, as the API shows them.

create function mdvr.device_groups(p_device_id uuid) returns json
language sql stable
as $$
    select coalesce(json_agg(g.group_id order by g.group_id), '[]'::json)
      from mdvr.group_device g
     where g.device_id = p_device_id
$$;

comment on function mdvr.device_groups(uuid) is 'Ids of a device''s groups, a JSON array';


-- The settings that have columns of their own, merged into the free ones.

create function mdvr.device_settings(d mdvr.device) returns jsonb
language sql stable
as $$
    select d.settings || jsonb_strip_nulls(jsonb_build_object(
               'utc_offset_minutes', d.utc_offset_minutes,
               'text_encoding', d.text_encoding,
               'bus_layout', d.bus_layout))
$$;

comment on function mdvr.device_settings(mdvr.device) is 'Settings of a device as the API shows them';


-- The last position in short: what a list or a map needs.

create function mdvr.position_json(p mdvr.position) returns json
language sql stable
as $$
    select case when p.device_id is not null then json_build_object(
               'at', mdvr.rfc3339(p.recorded_at), 'lat', p.lat_deg, 'lon', p.lon_deg, 'gps_valid', p.gps_valid,
               'speed_kmh', p.speed_kmh, 'course_deg', p.course_deg, 'acc', p.acc) end
$$;

comment on function mdvr.position_json(mdvr.position) is 'The newest position of a device in short';
grant execute on function mdvr.device_groups(uuid), mdvr.device_settings(mdvr.device),
    mdvr.position_json(mdvr.position) to mdvr_api;


-- Puts the members of p_body that are present into the row; the caller has checked
-- names and types.

create function mdvr.device_write(p_device_id uuid, p_body jsonb) returns uuid
language plpgsql
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
    made   uuid := p_device_id;
    s      jsonb := p_body -> 'settings';
    free   jsonb := s - array['utc_offset_minutes', 'text_encoding', 'bus_layout'];
begin
    if p_device_id is null then
        perform mdvr.quota_devices();

        insert into mdvr.device (id, tenant_id, serial, name, plate, imei, channels, enabled, utc_offset_minutes,
                                 text_encoding, bus_layout, settings)
        values (mdvr.uuid7(), tenant, p_body ->> 'serial', coalesce(p_body ->> 'name', ''),
                coalesce(p_body ->> 'plate', ''), p_body ->> 'imei', coalesce((p_body ->> 'channels')::smallint, 4),
                coalesce((p_body ->> 'enabled')::boolean, true), (s ->> 'utc_offset_minutes')::smallint,
                coalesce(s ->> 'text_encoding', 'gb18030'), coalesce((s ->> 'bus_layout')::boolean, false),
                coalesce(free, '{}'))
        returning id into made;

        perform mdvr.pending_claimed(p_body ->> 'serial');
    else
        update mdvr.device d
           set serial = coalesce(p_body ->> 'serial', d.serial),
               name = coalesce(p_body ->> 'name', d.name),
               plate = coalesce(p_body ->> 'plate', d.plate),
               imei = case when p_body ? 'imei' then p_body ->> 'imei' else d.imei end,
               channels = coalesce((p_body ->> 'channels')::smallint, d.channels),
               enabled = coalesce((p_body ->> 'enabled')::boolean, d.enabled),
               utc_offset_minutes = case when s ? 'utc_offset_minutes' then (s ->> 'utc_offset_minutes')::smallint
                                         else d.utc_offset_minutes end,
               text_encoding = coalesce(s ->> 'text_encoding', d.text_encoding),
               bus_layout = coalesce((s ->> 'bus_layout')::boolean, d.bus_layout),
               settings = coalesce(free, d.settings)
         where d.id = p_device_id and d.deleted_at is null;

        if not found then
            return null;
        end if;
    end if;

    if p_body ? 'group_ids' then
        delete from mdvr.group_device g
         where g.device_id = made
           and g.group_id not in (select value::uuid from jsonb_array_elements_text(p_body -> 'group_ids'));

        insert into mdvr.group_device (group_id, device_id, tenant_id)
        select distinct value::uuid, made, tenant from jsonb_array_elements_text(p_body -> 'group_ids')
        on conflict do nothing;
    end if;

    return made;
end
$$;

comment on function mdvr.device_write(uuid, jsonb) is
    'Creates (NULL) or changes a device and its groups; NULL when there is no such device';
grant execute on function mdvr.device_write(uuid, jsonb) to mdvr_api;


-- Assignments of a client_user: exactly these devices and groups.

create function mdvr.assign(p_user_id uuid, p_body jsonb) returns boolean
language plpgsql
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
begin
    if not exists (select from mdvr.user u where u.id = p_user_id and u.deleted_at is null) then
        return null;
    end if;

    delete from mdvr.assignment a
     where a.user_id = p_user_id
       and (p_body ? 'device_ids' and a.device_id is not null
            and a.device_id not in (select value::uuid from jsonb_array_elements_text(p_body -> 'device_ids'))
            or p_body ? 'group_ids' and a.group_id is not null
            and a.group_id not in (select value::uuid from jsonb_array_elements_text(p_body -> 'group_ids')));

    insert into mdvr.assignment (id, tenant_id, user_id, device_id)
    select mdvr.uuid7(), tenant, p_user_id, value::uuid
      from (select distinct value from jsonb_array_elements_text(coalesce(p_body -> 'device_ids', '[]'))) v
    on conflict do nothing;

    insert into mdvr.assignment (id, tenant_id, user_id, group_id)
    select mdvr.uuid7(), tenant, p_user_id, value::uuid
      from (select distinct value from jsonb_array_elements_text(coalesce(p_body -> 'group_ids', '[]'))) v
    on conflict do nothing;

    return true;
end
$$;

comment on function mdvr.assign(uuid, jsonb) is
    'Assigns exactly these device_ids and group_ids to a user, each list only if it is given; NULL: no such user';
grant execute on function mdvr.assign(uuid, jsonb) to mdvr_api;

reset role;
set role mdvr_definer;

-- Quotas: the plan's row is locked, so that two requests cannot both take the
-- last place.

create function mdvr.quota_devices() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
    most   integer;
begin
    select p.max_devices into most from mdvr.plan p where p.tenant_id = tenant for update;

    if most <= (select count(*) from mdvr.device d where d.tenant_id = tenant and d.deleted_at is null) then
        raise exception 'the plan allows % devices', most using errcode = 'MD409', detail = 'quota_exceeded';
    end if;
end
$$;

create function mdvr.quota_users() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
    most   integer;
begin
    select p.max_users into most from mdvr.plan p where p.tenant_id = tenant for update;

    if most <= (select count(*) from mdvr.user u where u.tenant_id = tenant and u.deleted_at is null) then
        raise exception 'the plan allows % users', most using errcode = 'MD409', detail = 'quota_exceeded';
    end if;
end
$$;

comment on function mdvr.quota_devices() is 'Fails with MD409 when the transaction''s tenant has all the devices of its plan';
comment on function mdvr.quota_users() is 'Fails with MD409 when the transaction''s tenant has all the users of its plan';


-- live_s of this month, in minutes, against the plan.

create function mdvr.quota_live() returns void
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
    most   bigint;
begin
    select p.max_live_minutes into most from mdvr.plan p where p.tenant_id = tenant;

    if most * 60 <= (select coalesce(sum(u.amount), 0)
                       from mdvr.usage u
                      where u.tenant_id = tenant and u.metric = 'live_s'
                        and u.day >= date_trunc('month', now() at time zone 'UTC')::date)
    then
        raise exception 'the plan allows % live minutes a month', most
              using errcode = 'MD409', detail = 'quota_exceeded';
    end if;
end
$$;

comment on function mdvr.quota_live() is 'Fails with MD409 when the transaction''s tenant has used its live minutes of this month';

create function mdvr.pending_claimed(p_serial text) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    delete from mdvr.pending_device where serial = p_serial
$$;

comment on function mdvr.pending_claimed(text) is 'A serial has an owner now and is no longer pending';

grant execute on function mdvr.quota_devices(), mdvr.quota_users(), mdvr.quota_live(),
    mdvr.pending_claimed(text) to mdvr_api, mdvr_owner;


-- Sign-in: the limit is the caller's configuration.

create function mdvr.login_failed(p_email text, p_limit integer) returns timestamptz
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into mdvr.login_failure as f (account, failures, locked_until)
    values (left(lower(p_email), 254), 1,
            case when p_limit <= 1 then now() + interval '15 minutes' end)
    on conflict (account) do update set
        failures = case when f.first_at < now() - interval '15 minutes' then 1 else f.failures + 1 end,
        first_at = case when f.first_at < now() - interval '15 minutes' then now() else f.first_at end,
        locked_until = case when f.first_at >= now() - interval '15 minutes' and f.failures + 1 >= p_limit
                            then f.first_at + interval '15 minutes' end
    returning locked_until
$$;

comment on function mdvr.login_failed(text, integer) is
    'Counts a failed sign-in; returns until when the account is locked after p_limit of them in 15 minutes, or NULL';
grant execute on function mdvr.login_failed(text, integer) to mdvr_api;

reset role;
