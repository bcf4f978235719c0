-- 0006: alarms: start and end paired, repetitions recognised, each message stored
-- once.  Writer: stream through store_alarm; api acknowledges.
--
-- Rules: protocol reference, alarms.md, sections 1, 6 and 9.

set role mdvr_owner;

create table mdvr.alarm (
    id                uuid              primary key default mdvr.uuid7(),
    tenant_id         uuid              not null references mdvr.tenant,
    device_id         uuid              not null,
    code              text              not null check (code ~ '^V[0-9]{1,5}$'),
    kind              text              not null check (kind ~ '^[a-z][a-z0-9_]{0,63}$'),
    severity          text              not null check (severity in ('info', 'warning', 'critical')),
    status            text              not null default 'open'
                      check (status in ('open', 'ended', 'acknowledged', 'closed')),
    sub_key           text              not null default '' check (length(sub_key) <= 64),
    uid               text              not null check (length(uid) between 1 and 64),
    end_uid           text              check (length(end_uid) between 1 and 64),
    started_at        timestamptz       not null,                    -- device clock, UTC
    ended_at          timestamptz       check (ended_at >= started_at),
    end_reason        text              check (end_reason in ('device', 'instant', 'unpaired', 'superseded', 'released', 'expired')),
    received_at       timestamptz       not null default now(),      -- server clock
    lat_deg           double precision  check (lat_deg between -90 and 90),
    lon_deg           double precision  check (lon_deg between -180 and 180),
    position          jsonb             not null default '{}',
    data              jsonb             not null default '{}',
    snapshot_path     text              check (length(snapshot_path) <= 1024),
    recording_path    text              check (length(recording_path) <= 1024),
    acknowledged_at   timestamptz,
    acknowledged_by   uuid              references mdvr.user,
    acknowledge_note  text              check (length(acknowledge_note) <= 2000),
    unique (tenant_id, id),
    check ((ended_at is null) = (end_reason is null)),
    check ((acknowledged_at is null) = (acknowledged_by is null)),
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id)
);

create index alarm_tenant on mdvr.alarm (tenant_id, started_at desc, id desc);
create index alarm_device on mdvr.alarm (device_id, started_at desc);
create index alarm_open on mdvr.alarm (device_id, code, sub_key) where ended_at is null;

comment on table mdvr.alarm is 'One alarm from start to end; an event without end has both at once';
comment on column mdvr.alarm.code is 'Keyword of the start message';
comment on column mdvr.alarm.sub_key is 'What tells concurrent alarms of one code apart: input, channel set, door set, disk';


create table mdvr.alarm_message (
    device_id    uuid         not null,
    keyword      text         not null check (keyword ~ '^V[0-9]{1,5}$'),
    uid          text         not null check (length(uid) between 1 and 64),
    tenant_id    uuid         not null references mdvr.tenant,
    alarm_id     uuid,
    at           timestamptz  not null,
    received_at  timestamptz  not null default now(),
    data         jsonb        not null default '{}',
    primary key (device_id, keyword, uid),
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade,
    foreign key (tenant_id, alarm_id) references mdvr.alarm (tenant_id, id) on delete cascade
);

create index alarm_message_alarm on mdvr.alarm_message (alarm_id);

comment on table mdvr.alarm_message is
    'Every message with a UID that was acknowledged to a device; the key is what makes a repetition one';


create table mdvr.alarm_override (
    tenant_id  uuid     not null references mdvr.tenant,
    code       text     not null check (code ~ '^V[0-9]{1,5}$'),
    severity   text     check (severity in ('info', 'warning', 'critical')),
    notify     boolean  not null default true,
    primary key (tenant_id, code)
);

comment on table mdvr.alarm_override is 'A tenant''s own severity and notification for an alarm code';

call mdvr.protect('mdvr.alarm', 'device');
call mdvr.protect('mdvr.alarm_message', 'device');
call mdvr.protect('mdvr.alarm_override', 'tenant');

grant select on mdvr.alarm, mdvr.alarm_message, mdvr.alarm_override to mdvr_api, mdvr_worker;
grant insert, update, delete on mdvr.alarm_override to mdvr_api;
grant select, insert, update, delete on mdvr.alarm, mdvr.alarm_message to mdvr_definer;
grant select on mdvr.alarm_override to mdvr_definer;

reset role;
set role mdvr_definer;

create function mdvr.alarm_event(p_alarm_id uuid, p_phase text, p_uid text, p_at timestamptz,
    out event_id text, out message json)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select e.event_id, e.message
      from mdvr.alarm a
      join mdvr.device d on d.id = a.device_id,
           mdvr.event_append(a.tenant_id, 'alarm', a.device_id, json_build_object(
               'alarm_id', a.id, 'device_id', a.device_id, 'serial', d.serial, 'code', a.code, 'kind', a.kind,
               'phase', p_phase, 'uid', p_uid, 'at', mdvr.rfc3339(p_at), 'severity', a.severity,
               'status', a.status, 'started_at', mdvr.rfc3339(a.started_at), 'ended_at', mdvr.rfc3339(a.ended_at),
               'position', a.position, 'data', a.data)) e
     where a.id = p_alarm_id
$$;

comment on function mdvr.alarm_event(uuid, text, text, timestamptz) is 'For other functions: an alarm changed';


create function mdvr.alarm_end(p_alarm_id uuid, p_at timestamptz, p_reason text, p_uid text,
    out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    a mdvr.alarm;
begin
    update mdvr.alarm
       set ended_at = greatest(p_at, started_at), end_reason = p_reason, end_uid = p_uid,
           status = case when status <> 'open' then status
                         when p_reason in ('superseded', 'expired') then 'closed'
                         else 'ended' end
     where id = p_alarm_id and ended_at is null
    returning * into a;

    if found then
        select e.event_id, e.message into event_id, message
          from mdvr.alarm_event(a.id, 'end', coalesce(p_uid, a.uid), a.ended_at) e;
    end if;
end
$$;

comment on function mdvr.alarm_end(uuid, timestamptz, text, text) is 'For other functions: ends an open alarm, once';


-- One alarm message.
--
--   p_keyword   as received (V251); p_code its start keyword (V201)
--   p_phase     'start', 'end', or 'event' for what has no end (V214, V231)
--   p_position  members of api.md's position: lat, lon, gps_valid, speed_kmh ...
--   p_data      the keyword's own fields
--
-- The first row is the message's own alarm; is_new is false for a repetition,
-- which has no event.  Further rows are alarms that it closed.  Rows are in the
-- order of their events; publish every message that is not NULL in that order.

create function mdvr.store_alarm(
    p_device_id uuid, p_keyword text, p_code text, p_phase text, p_kind text, p_severity text, p_sub_key text,
    p_uid text, p_at timestamptz, p_received_at timestamptz, p_position jsonb, p_data jsonb,
    p_snapshot_path text, p_recording_path text)
returns table (alarm_id uuid, is_new boolean, event_id text, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    owner   uuid;
    sub     constant text := left(coalesce(p_sub_key, ''), 64);
    at      constant timestamptz := case when p_at between now() - interval '90 days' and now() + interval '1 day'
                                         then p_at else coalesce(p_received_at, now()) end;
    lat     constant float8 := (p_position ->> 'lat')::float8;
    lon     constant float8 := (p_position ->> 'lon')::float8;
    other   mdvr.alarm;
    level   text;
    made    uuid;
    phase   text := p_phase;
    closed  record;
    ends    timestamptz;
    why     text;
begin
    select d.tenant_id into owner from mdvr.device d where d.id = p_device_id;

    if owner is null then
        raise exception 'unknown device' using errcode = '02000';
    end if;

    -- Alarms of one device are taken one after the other.
    perform pg_advisory_xact_lock(hashtextextended(p_device_id::text, 5571));

    select m.alarm_id into made
      from mdvr.alarm_message m
     where m.device_id = p_device_id and m.keyword = p_keyword and m.uid = p_uid;

    if found then
        return query select made, false, null::text, null::json;
        return;
    end if;

    if p_phase = 'end' then
        select * into other
          from mdvr.alarm a
         where a.device_id = p_device_id and a.code = p_code and a.sub_key = sub and a.ended_at is null
           and a.started_at <= at
         order by a.started_at desc
         limit 1
           for update;

        if found then
            insert into mdvr.alarm_message (tenant_id, device_id, keyword, uid, alarm_id, at, received_at, data)
            values (owner, p_device_id, p_keyword, p_uid, other.id, at, coalesce(p_received_at, now()),
                    coalesce(p_data, '{}'));

            return query select other.id, true, e.event_id, e.message
                           from mdvr.alarm_end(other.id, at, 'device', p_uid) e;
            return;
        end if;

        ends := at;
        why := 'unpaired';

    elsif p_phase = 'event' then
        ends := at;
        why := 'instant';

    elsif p_phase = 'start' then
        select * into other
          from mdvr.alarm a
         where a.device_id = p_device_id and a.code = p_code and a.sub_key = sub and a.ended_at is null
         order by a.started_at desc
         limit 1
           for update;

        if found and other.started_at > at then     -- a late upload: the open one is newer
            ends := other.started_at;
            why := 'superseded';
            other := null;
        end if;

    else
        raise exception 'unknown phase' using errcode = '22023';
    end if;

    select o.severity into level from mdvr.alarm_override o where o.tenant_id = owner and o.code = p_code;

    insert into mdvr.alarm (tenant_id, device_id, code, kind, severity, status, sub_key, uid, started_at, ended_at,
                            end_reason, received_at, lat_deg, lon_deg, position, data, snapshot_path, recording_path)
    values (owner, p_device_id, p_code, p_kind, coalesce(level, p_severity),
            case when why = 'superseded' then 'closed' when ends is not null then 'ended' else 'open' end,
            sub, p_uid, at, ends, why, coalesce(p_received_at, now()),
            case when lat between -90 and 90 and lon between -180 and 180 then lat end,
            case when lat between -90 and 90 and lon between -180 and 180 then lon end,
            coalesce(p_position, '{}'), coalesce(p_data, '{}'),
            nullif(left(p_snapshot_path, 1024), ''), nullif(left(p_recording_path, 1024), ''))
    returning id into made;

    insert into mdvr.alarm_message (tenant_id, device_id, keyword, uid, alarm_id, at, received_at, data)
    values (owner, p_device_id, p_keyword, p_uid, made, at, coalesce(p_received_at, now()), coalesce(p_data, '{}'));

    if phase = 'event' then
        phase := 'start';
    end if;

    return query select made, true, e.event_id, e.message from mdvr.alarm_event(made, phase, p_uid, at) e;

    if other.id is not null then
        return query select other.id, false, e.event_id, e.message
                       from mdvr.alarm_end(other.id, at, 'superseded', null) e;
    end if;
end
$$;

comment on function mdvr.store_alarm is
    'Stores one alarm message once, pairs start and end; rows: alarm, whether new, event id, message to publish';
grant execute on function mdvr.store_alarm to mdvr_stream;


create function mdvr.release_alarms(p_device_id uuid, p_code text, p_sub_key text, p_at timestamptz)
returns table (alarm_id uuid, event_id text, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    a record;
begin
    perform pg_advisory_xact_lock(hashtextextended(p_device_id::text, 5571));

    -- Alarm rows first, the event counter afterwards: the order of every writer.
    perform from mdvr.alarm where device_id = p_device_id and ended_at is null order by id for update;

    for a in
        select id
          from mdvr.alarm
         where device_id = p_device_id and ended_at is null
           and (p_code is null or code = p_code)
           and (p_sub_key is null or sub_key = p_sub_key)
         order by started_at
    loop
        return query select a.id, e.event_id, e.message from mdvr.alarm_end(a.id, p_at, 'released', null) e;
    end loop;
end
$$;

comment on function mdvr.release_alarms(uuid, text, text, timestamptz) is
    'V299: the device released its open alarms of a code (NULL: all) and sub-key (NULL: any)';
grant execute on function mdvr.release_alarms(uuid, text, text, timestamptz) to mdvr_stream;


create function mdvr.expire_alarms(p_age interval default interval '24 hours', p_limit integer default 500)
returns table (tenant_id uuid, alarm_id uuid, event_id text, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    old uuid[];
    a   record;
begin
    -- Alarm rows first, the event counters afterwards: the order of every writer.
    with locked as (
        select x.id
          from mdvr.alarm x
         where x.ended_at is null and x.started_at < now() - p_age and x.received_at < now() - p_age
         limit p_limit
           for update skip locked
    )
    select array_agg(l.id) into old from locked l;

    for a in
        select x.id, x.tenant_id, x.started_at
          from mdvr.alarm x
         where x.id = any (old)
         order by x.tenant_id, x.started_at
    loop
        return query select a.tenant_id, a.id, e.event_id, e.message
                       from mdvr.alarm_end(a.id, a.started_at + p_age, 'expired', null) e
                      where e.event_id is not null;
    end loop;
end
$$;

comment on function mdvr.expire_alarms(interval, integer) is 'Closes alarms that never ended. One row per event to publish';
grant execute on function mdvr.expire_alarms(interval, integer) to mdvr_worker;


-- Acts for the transaction's tenant and user; verdict: ok, unknown or conflict.

create function mdvr.acknowledge_alarm(p_alarm_id uuid, p_note text,
    out verdict text, out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
    person constant uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
    a mdvr.alarm;
begin
    select * into a from mdvr.alarm where id = p_alarm_id and tenant_id = tenant for update;

    if not found or mdvr.can_see_device(a.device_id) is not true then
        verdict := 'unknown';
        return;
    end if;

    if a.acknowledged_at is not null then
        verdict := 'conflict';
        return;
    end if;

    update mdvr.alarm
       set status = 'acknowledged', acknowledged_at = now(), acknowledge_note = p_note,
           acknowledged_by = person
     where id = p_alarm_id;

    verdict := 'ok';
    select e.event_id, e.message into event_id, message
      from mdvr.alarm_event(p_alarm_id, 'acknowledged', a.uid, now()) e;
end
$$;

comment on function mdvr.acknowledge_alarm(uuid, text) is 'A user acknowledges an alarm; the device is not told';
grant execute on function mdvr.acknowledge_alarm(uuid, text) to mdvr_api;

reset role;
set role mdvr_owner;
grant execute on function mdvr.can_see_device(uuid) to mdvr_definer;
reset role;
