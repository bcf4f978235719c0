-- 0004: the outbox.  Alarm, device, media and command events are written in the
-- transaction that made them true.
--
-- Each tenant counts its events 1, 2, 3 ... without gaps: the counter's row lock
-- is held until commit, so numbers become visible in order and a reader that saw
-- n has nothing to expect below n, however late another transaction commits.  A
-- live reader that receives n + 2 after n knows that one is missing and asks.
-- Take the number as late as possible in a transaction.

set role mdvr_owner;

create table mdvr.event_counter (
    tenant_id  uuid    primary key references mdvr.tenant,
    last_seq   bigint  not null default 0
) with (fillfactor = 20);

comment on table mdvr.event_counter is 'Number of the newest event of each tenant';
call mdvr.protect('mdvr.event_counter', 'tenant');
grant select on mdvr.event_counter to mdvr_api, mdvr_worker;
grant select, insert, update on mdvr.event_counter to mdvr_definer;


create table mdvr.event (
    tenant_id   uuid         not null references mdvr.tenant,
    seq         bigint       not null check (seq > 0),
    topic       text         not null check (topic in ('alarm', 'device', 'media', 'command')),
    device_id   uuid         not null,
    created_at  timestamptz  not null default now(),
    message     json         not null,
    primary key (tenant_id, seq),
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
);

create index event_created on mdvr.event using brin (created_at) with (pages_per_range = 16);

comment on table mdvr.event is 'Outbox: every event message exactly as clients receive it; kept at least 7 days';
comment on column mdvr.event.message is 'The WebSocket message with its id, byte for byte as published';
call mdvr.protect('mdvr.event', 'device');
grant select on mdvr.event to mdvr_api, mdvr_worker;
grant select, insert, delete on mdvr.event to mdvr_definer;

reset role;
set role mdvr_definer;

create function mdvr.event_append(p_tenant_id uuid, p_topic text, p_device_id uuid, p_body json,
    out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    n bigint;
begin
    insert into mdvr.event_counter as c (tenant_id, last_seq)
    values (p_tenant_id, 1)
    on conflict (tenant_id) do update set last_seq = c.last_seq + 1
    returning last_seq into n;

    event_id := n::text;
    message := ('{"type":"' || p_topic || '","id":"' || event_id || '","tenant_id":"' || p_tenant_id
                || '",' || substr(ltrim(p_body::text), 2))::json;

    insert into mdvr.event (tenant_id, seq, topic, device_id, message)
    values (p_tenant_id, n, p_topic, p_device_id, message);
end
$$;

comment on function mdvr.event_append(uuid, text, uuid, json) is
    'For other functions: numbers and stores one event; p_body is an object with at least one member';
grant execute on function mdvr.event_append(uuid, text, uuid, json) to mdvr_worker;

reset role;
set role mdvr_owner;

-- An id is "<seq>" or "<seq>-<anything>" (a telemetry message carries the number
-- of the event before it), or "t<unix ms>" for events since shortly before then.

create function mdvr.event_seq(p_after text) returns bigint
language plpgsql stable
as $$
begin
    if p_after ~ '^[0-9]{1,18}(-|$)' then
        return split_part(p_after, '-', 1)::bigint;
    end if;

    if p_after ~ '^t[0-9]{1,15}(-|$)' then
        return coalesce((select max(e.seq)
                           from mdvr.event e
                          where e.created_at < to_timestamp((substring(p_after from '^t([0-9]+)')::numeric - 10000) / 1000)), 0);
    end if;

    raise exception 'unknown event id' using errcode = '22023';
end
$$;

comment on function mdvr.event_seq(text) is 'The number that an event id stands for; 22023 when it is none';


create function mdvr.events_after(p_after text, p_topics text[] default null, p_device_ids uuid[] default null,
    p_limit integer default 500)
returns table (id text, topic text, device_id uuid, message json)
language sql stable rows 100
as $$
    select e.seq::text, e.topic, e.device_id, e.message
      from mdvr.event e
     where e.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid
       and e.seq > mdvr.event_seq(p_after)
       and (p_topics is null or e.topic = any (p_topics))
       and (p_device_ids is null or e.device_id = any (p_device_ids))
     order by e.seq
     limit least(p_limit, 5000)
$$;

comment on function mdvr.events_after(text, text[], uuid[], integer) is
    'Events of the transaction''s tenant after an id, oldest first, under row security';


create function mdvr.event_position() returns text
language sql stable
as $$
    select coalesce((select c.last_seq
                       from mdvr.event_counter c
                      where c.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid), 0)::text
$$;

comment on function mdvr.event_position() is 'Id of the newest event of the transaction''s tenant, "0" before the first';

grant execute on function mdvr.event_seq(text), mdvr.events_after(text, text[], uuid[], integer), mdvr.event_position()
    to mdvr_api, mdvr_worker;

reset role;
set role mdvr_definer;

create function mdvr.device_event(p_device_id uuid, p_event text, p_reason text,
    out event_id text, out message json)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select e.event_id, e.message
      from mdvr.device d,
           mdvr.event_append(d.tenant_id, 'device', d.id, json_build_object(
               'device_id', d.id, 'serial', d.serial, 'event', p_event, 'reason', p_reason,
               'at', mdvr.rfc3339(now()))) e
     where d.id = p_device_id
$$;

comment on function mdvr.device_event(uuid, text, text) is 'For other functions: a device went online or offline';


create function mdvr.register_device(p_device_id uuid, p_node text, p_boot uuid, p_address text,
    p_connected_at timestamptz, p_v101 jsonb, out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    owner uuid;
    old   mdvr.device_state;
begin
    select tenant_id into owner from mdvr.device where id = p_device_id;

    if owner is null then
        return;
    end if;

    insert into mdvr.device_state (device_id, tenant_id) values (p_device_id, owner)
    on conflict (device_id) do nothing;

    select * into old from mdvr.device_state where device_id = p_device_id for update;

    if old.connected_at > p_connected_at then
        return;                                     -- a newer connection was faster
    end if;

    if old.online and old.connected_at = p_connected_at and old.node = p_node then
        update mdvr.device_state                    -- V101 again on the same connection
           set registration = coalesce(p_v101, registration), last_seen_at = now(),
               utc_offset_minutes = coalesce((p_v101 ->> 'utc_offset_minutes')::smallint, utc_offset_minutes)
         where device_id = p_device_id;
        return;
    end if;

    if old.online then
        update mdvr.connection
           set disconnected_at = p_connected_at, reason = 'replaced'
         where device_id = p_device_id and connected_at = old.connected_at and disconnected_at is null;
    end if;

    update mdvr.device_state
       set online = true, node = p_node, boot = p_boot, address = p_address::inet, connected_at = p_connected_at,
           last_seen_at = greatest(last_seen_at, p_connected_at), offline_at = null, offline_reason = null,
           registration = coalesce(p_v101, registration),
           utc_offset_minutes = coalesce((p_v101 ->> 'utc_offset_minutes')::smallint, utc_offset_minutes)
     where device_id = p_device_id;

    insert into mdvr.connection (tenant_id, device_id, node, address, connected_at)
    values (owner, p_device_id, p_node, p_address::inet, p_connected_at);

    select e.event_id, e.message into event_id, message
      from mdvr.device_event(p_device_id, 'online', case when old.online then 'reconnected' else 'registered' end) e;
end
$$;

comment on function mdvr.register_device(uuid, text, uuid, text, timestamptz, jsonb) is
    'V101 was accepted: the device is online here. NULLs when a newer connection was recorded before, or this one already';


create function mdvr.device_offline(p_device_id uuid, p_node text, p_connected_at timestamptz, p_reason text,
    out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update mdvr.device_state
       set online = false, offline_at = now(), offline_reason = left(p_reason, 200), last_seen_at = now()
     where device_id = p_device_id and node = p_node and connected_at = p_connected_at and online;

    if found then
        update mdvr.connection
           set disconnected_at = now(), reason = left(p_reason, 200)
         where device_id = p_device_id and connected_at = p_connected_at and node = p_node
               and disconnected_at is null;

        select e.event_id, e.message into event_id, message
          from mdvr.device_event(p_device_id, 'offline', left(p_reason, 200)) e;
    end if;
end
$$;

comment on function mdvr.device_offline(uuid, text, timestamptz, text) is
    'A signaling connection ended; NULLs when it was not the device''s current one';


create function mdvr.devices_lost(p_node text, p_boot uuid, p_reason text)
returns table (tenant_id uuid, event_id text, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    s record;
begin
    -- All device rows first, then tenant by tenant the event counters: the order
    -- in which every writer locks.

    perform from mdvr.device_state d
      where d.node = p_node and d.online and (p_boot is null or d.boot is distinct from p_boot)
      order by d.device_id
        for update;

    for s in
        select d.device_id, d.tenant_id, d.connected_at
          from mdvr.device_state d
         where d.node = p_node and d.online and (p_boot is null or d.boot is distinct from p_boot)
         order by d.tenant_id, d.device_id
    loop
        tenant_id := s.tenant_id;

        select e.event_id, e.message into event_id, message
          from mdvr.device_offline(s.device_id, p_node, s.connected_at, p_reason) e;

        if event_id is not null then
            return next;
        end if;
    end loop;
end
$$;

comment on function mdvr.devices_lost(text, uuid, text) is
    'For other functions: everything that a node, or earlier boots of it, held is offline';


create function mdvr.node_started(p_node text, p_boot uuid)
returns table (tenant_id uuid, event_id text, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into mdvr.node as n (id, boot) values (p_node, p_boot)
    on conflict (id) do update set boot = excluded.boot, started_at = now(), heartbeat_at = now()
     where n.boot <> excluded.boot;

    return query select * from mdvr.devices_lost(p_node, p_boot, 'server restart');
end
$$;

comment on function mdvr.node_started(text, uuid) is
    'A node runs with a new boot id; what its earlier boots held is offline. One row per event to publish';


create function mdvr.node_heartbeat(p_node text, p_boot uuid) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update mdvr.node set heartbeat_at = now() where id = p_node and boot = p_boot
$$;

comment on function mdvr.node_heartbeat(text, uuid) is 'A node is alive; call it every 10 s or so';


create function mdvr.nodes_expire(p_silent interval)
returns table (tenant_id uuid, event_id text, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    n text;
begin
    for n in select id from mdvr.node where heartbeat_at < now() - p_silent order by id loop
        return query select * from mdvr.devices_lost(n, null, 'server lost');
    end loop;
end
$$;

comment on function mdvr.nodes_expire(interval) is 'Devices held by nodes that went silent are offline. One row per event to publish';


create function mdvr.device_health(p_device_id uuid, p_health jsonb) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update mdvr.device_state
       set health = p_health, health_at = now(), last_seen_at = now()
     where device_id = p_device_id
$$;

comment on function mdvr.device_health(uuid, jsonb) is 'V142 as decoded';

grant execute on function mdvr.register_device(uuid, text, uuid, text, timestamptz, jsonb),
    mdvr.device_offline(uuid, text, timestamptz, text), mdvr.node_started(text, uuid),
    mdvr.node_heartbeat(text, uuid), mdvr.device_health(uuid, jsonb) to mdvr_stream;
grant execute on function mdvr.nodes_expire(interval) to mdvr_worker, mdvr_stream;

reset role;
