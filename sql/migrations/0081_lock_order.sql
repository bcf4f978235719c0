-- 0081: one order of locks for every transaction (docs/internals.md, "The order of
-- locks"): the event counter of a tenant last, its audit chain before that,
-- several rows of a table by id.  What broke it ended in deadlocks: begins of
-- connections against contested ones, a lost node against begins, the end of
-- sessions against that of viewers, alarms of rules against acknowledgements.

set role mdvr_definer;

-- The audit chain is taken before the event counter by who writes to both.

create function mdvr.audit_lock(p_tenant_id uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into mdvr.audit_head (tenant_id, seq, hash) values (p_tenant_id, 0, decode(repeat('00', 32), 'hex'))
    on conflict (tenant_id) do nothing;

    perform from mdvr.audit_head h where h.tenant_id = p_tenant_id for update;
end
$$;

comment on function mdvr.audit_lock(uuid) is
    'Takes the place in the audit chain that audit_append() of the same transaction will use';
revoke execute on function mdvr.audit_lock(uuid) from public;


-- Connections.

-- A device that occurs more than once is taken in rounds, its first record in
-- the first.  States by device, connections, then the tenants' event counters in
-- order: a change that nobody reads would run after them, so its rows are counted.

create or replace function mdvr.record_devices(p_node text, p_boot uuid, p_records jsonb)
returns table (tenant_id uuid, device_id uuid, message json, held boolean)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_hashjoin = off set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    nth    integer := 0;
    rounds integer;
begin
    insert into mdvr.device_state (device_id, tenant_id)
    select distinct d.id, d.tenant_id
      from jsonb_to_recordset(p_records) as x (device uuid)
      join mdvr.device d on d.id = x.device
     where not exists (select from mdvr.device_state s where s.device_id = d.id)
     order by 1
    on conflict do nothing;

    perform 1
       from mdvr.device_state s
      where s.device_id in (select x.device from jsonb_to_recordset(p_records) as x (device uuid))
      order by s.device_id
        for update;

    select coalesce(max(x.times), 0) into rounds
      from (select count(*) as times from jsonb_to_recordset(p_records) as r (device uuid) group by r.device) x;

    if rounds > 1 then                              -- no round locks what one before it should have
        perform 1
           from mdvr.connection c
           join mdvr.device_state s on s.device_id = c.device_id and s.connected_at = c.connected_at
          where s.device_id in (select x.device from jsonb_to_recordset(p_records) as x (device uuid))
            and c.disconnected_at is null
          order by c.device_id, c.id
            for update of c;

        insert into mdvr.event_counter (tenant_id, last_seq)
        select distinct d.tenant_id, 0
          from jsonb_to_recordset(p_records) as x (device uuid)
          join mdvr.device d on d.id = x.device
         order by 1
        on conflict do nothing;

        perform 1
           from mdvr.event_counter c
          where c.tenant_id in (select d.tenant_id
                                  from jsonb_to_recordset(p_records) as x (device uuid)
                                  join mdvr.device d on d.id = x.device)
          order by c.tenant_id
            for update;
    end if;

    while nth < rounds loop
        nth := nth + 1;

        return query
        with record as materialized (
            select d.tenant_id, d.id as device_id, d.serial, x.online, x.at, x.address::inet as address,
                   nullif(x.v101, 'null') as v101, left(x.reason, 200) as reason,
                   s.online as was_online, s.connected_at as was_at,
                   case when not x.online then s.online and s.node = p_node and s.connected_at = x.at
                        when s.connected_at > x.at then false       -- a newer connection was faster
                        else not (coalesce(s.online, false) and s.connected_at = x.at and s.node = p_node)
                   end as changes,
                   x.online and s.online and s.connected_at = x.at and s.node = p_node as again
              from (select r.*, row_number() over (partition by r.device order by r.n) as round
                      from rows from (jsonb_to_recordset(p_records)
                           as (online boolean, device uuid, at timestamptz, address text, v101 jsonb, reason text))
                           with ordinality as r (online, device, at, address, v101, reason, n)) x
              join mdvr.device d on d.id = x.device
              join mdvr.device_state s on s.device_id = d.id
             where x.round = nth
             order by d.tenant_id, d.id
        ),
        repeated as (
            update mdvr.device_state s                              -- V101 again on the same connection
               set registration = coalesce(r.v101, s.registration), last_seen_at = now(),
                   utc_offset_minutes = coalesce((r.v101 ->> 'utc_offset_minutes')::smallint, s.utc_offset_minutes)
              from record r
             where r.again and s.device_id = r.device_id
            returning 1
        ),
        begun as (
            update mdvr.device_state s
               set online = true, node = p_node, boot = p_boot, address = r.address, connected_at = r.at,
                   last_seen_at = greatest(s.last_seen_at, r.at), offline_at = null, offline_reason = null,
                   registration = coalesce(r.v101, s.registration),
                   utc_offset_minutes = coalesce((r.v101 ->> 'utc_offset_minutes')::smallint, s.utc_offset_minutes)
              from record r
             where r.changes and r.online and s.device_id = r.device_id
            returning 1
        ),
        ended as (
            update mdvr.device_state s
               set online = false, offline_at = now(), offline_reason = r.reason, last_seen_at = now()
              from record r
             where r.changes and not r.online and s.device_id = r.device_id
            returning 1
        ),
        closed as (
            update mdvr.connection c
               set disconnected_at = case when r.online then r.at else now() end,
                   reason = case when r.online then 'replaced' else r.reason end
              from record r
             where r.changes and r.was_online and c.device_id = r.device_id and c.connected_at = r.was_at
                   and c.disconnected_at is null
            returning 1
        ),
        opened as (
            insert into mdvr.connection (tenant_id, device_id, node, address, connected_at)
            select r.tenant_id, r.device_id, p_node, r.address, r.at
              from record r
             where r.changes and r.online
            returning 1
        ),
        counter as materialized (                                   -- last: who reads nothing of a change runs before it
            insert into mdvr.event_counter as c (tenant_id, last_seq)
            select r.tenant_id, count(*)
              from record r
             where r.changes
                   and (select count(*) from repeated) + (select count(*) from begun) + (select count(*) from ended)
                       + (select count(*) from closed) + (select count(*) from opened) >= 0
             group by r.tenant_id
             order by r.tenant_id
            on conflict (tenant_id) do update set last_seq = c.last_seq + excluded.last_seq
            returning tenant_id, last_seq
        ),
        told as (
            insert into mdvr.event (tenant_id, seq, topic, device_id, message)
            select e.tenant_id, e.seq, 'device', e.device_id,
                   ('{"type":"device","id":"' || e.seq || '","tenant_id":"' || e.tenant_id || '",'
                    || substr(json_build_object(
                           'device_id', e.device_id, 'serial', e.serial,
                           'event', case when e.online then 'online' else 'offline' end,
                           'reason', case when not e.online then e.reason
                                          when e.was_online then 'reconnected'
                                          else 'registered' end,
                           'at', mdvr.rfc3339(now()))::text, 2))::json
              from (select r.*, c.last_seq + 1 - row_number() over (partition by r.tenant_id order by r.device_id desc) as seq
                      from record r
                      join counter c on c.tenant_id = r.tenant_id
                     where r.changes) e
            returning event.device_id, event.message, event.seq
        )
        select r.tenant_id, r.device_id, t.message,
               r.online and exists (select from mdvr.command c
                                     where c.device_id = r.device_id and c.status = 'queued' and c.hold_until > now())
          from record r
          left join told t on t.device_id = r.device_id
         order by r.tenant_id, t.seq;
    end loop;
end
$$;

create or replace function mdvr.device_contested(p_device_id uuid, p_node text, p_connected_at timestamptz, p_address text,
    p_other text, p_silent_s integer, out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    owner  uuid;
    other  text := p_other;
    recent boolean;
    why    text;
begin
    select tenant_id into owner from mdvr.device where id = p_device_id;

    if other is null then
        select host(s.address) into other from mdvr.device_state s where s.device_id = p_device_id and s.node <> p_node;
    end if;

    if owner is null or other is null or other::inet = p_address::inet then
        return;
    end if;

    recent := exists (select
                        from mdvr.connection c
                       where c.device_id = p_device_id and c.connected_at > now() - interval '1 day'
                             and c.disconnected_at > now() - interval '10 minutes' and c.reason like 'contested: %');

    why := format('contested: %s registered while %s was sending', other, p_address);

    update mdvr.connection
       set disconnected_at = coalesce(disconnected_at, now()), reason = why
     where device_id = p_device_id and connected_at = p_connected_at and node = p_node;

    if not found then
        insert into mdvr.connection (tenant_id, device_id, node, address, connected_at, disconnected_at, reason)
        values (owner, p_device_id, p_node, p_address::inet, p_connected_at, now(), why);
    end if;

    if recent then
        return;
    end if;

    perform mdvr.audit_append(owner, null, null, other, 'device.contested', 'device', p_device_id::text,
                              jsonb_build_object('address', other, 'replaced_address', p_address, 'node', p_node,
                                                 'silent_s', p_silent_s), null);

    select e.event_id, e.message into event_id, message from mdvr.device_event(p_device_id, 'contested', why) e;
end
$$;

-- Connections are ended before the first event of any of them.

create function mdvr.devices_lost(p_nodes text[], p_boot uuid, p_reason text)
returns table (tenant_id uuid, event_id text, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    lost uuid[];
    s    record;
begin
    select array_agg(x.device_id) into lost
      from (select d.device_id
              from mdvr.device_state d
             where d.node = any (p_nodes) and d.online and (p_boot is null or d.boot is distinct from p_boot)
             order by d.device_id
               for update) x;

    if lost is null then
        return;
    end if;

    update mdvr.connection c
       set disconnected_at = now(), reason = left(p_reason, 200)
      from mdvr.device_state d
     where d.device_id = any (lost) and c.device_id = d.device_id and c.connected_at = d.connected_at
           and c.node = d.node and c.disconnected_at is null;

    update mdvr.device_state d
       set online = false, offline_at = now(), offline_reason = left(p_reason, 200), last_seen_at = now()
     where d.device_id = any (lost);

    for s in
        select d.device_id, d.tenant_id from mdvr.device_state d where d.device_id = any (lost)
         order by d.tenant_id, d.device_id
    loop
        tenant_id := s.tenant_id;

        select e.event_id, e.message into event_id, message
          from mdvr.device_event(s.device_id, 'offline', left(p_reason, 200)) e;

        return next;
    end loop;
end
$$;

comment on function mdvr.devices_lost(text[], uuid, text) is
    'What these nodes held is offline; with a boot: what an earlier one of the node held';
revoke execute on function mdvr.devices_lost(text[], uuid, text) from public;

create or replace function mdvr.devices_lost(p_node text, p_boot uuid, p_reason text)
returns table (tenant_id uuid, event_id text, message json)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select * from mdvr.devices_lost(array[p_node], p_boot, p_reason)
$$;

create or replace function mdvr.nodes_expire(p_silent interval)
returns table (tenant_id uuid, event_id text, message json)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select *
      from mdvr.devices_lost((select array_agg(n.id) from mdvr.node n where n.heartbeat_at < now() - p_silent),
                             null, 'server lost')
$$;


-- Alarms.

create or replace function mdvr.acknowledge_alarm(p_alarm_id uuid, p_note text,
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
           acknowledged_by = (select u.id from mdvr.user u where u.id = person and u.tenant_id = tenant)
     where id = p_alarm_id;

    perform mdvr.audit_lock(tenant);                -- the caller writes to the chain after this
    verdict := 'ok';
    select e.event_id, e.message into event_id, message
      from mdvr.alarm_event(p_alarm_id, 'acknowledged', a.uid, now()) e;
end
$$;

-- One at a time: the alarm after it locks rows again.

create or replace function mdvr.rules_store()
returns table (tenant_id uuid, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    r      mdvr.rule_alarm;
    first  uuid;
    device uuid;
begin
    select x.id, x.device_id into first, device from mdvr.rule_alarm x order by x.id limit 1;

    if device is null then
        return;
    end if;

    perform pg_advisory_xact_lock(hashtextextended(device::text, 5571));

    delete from mdvr.rule_alarm x where x.id = first returning x.* into r;

    if found then
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
    end if;

    message := null;                                -- there may be more
    return next;
end
$$;

create or replace function mdvr.media_attach(p_limit integer) returns table (tenant_id uuid, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    late uuid[];
    done uuid[];
    m    record;
begin
    select array_agg(y.media_id) into late
      from (select x.media_id from mdvr.media_late x order by x.at, x.media_id limit p_limit for update skip locked) y;

    if late is null then
        return;
    end if;

    perform from mdvr.media x where x.id = any (late) order by x.id for no key update;

    with attached as (
        update mdvr.media x
           set alarm_id = l.alarm_id, updated_at = now()
          from mdvr.media_late l
         where l.media_id = any (late) and x.id = l.media_id
               and x.alarm_id is null and x.quarantined is null and x.deleted_at is null
        returning x.id
    )
    select array_agg(a.id) into done from attached a;

    delete from mdvr.media_late l where l.media_id = any (late);

    for m in select x.id, x.tenant_id, x.alarm_id from mdvr.media x where x.id = any (done) order by x.tenant_id, x.id loop
        perform mdvr.audit_append(m.tenant_id, null, null, null, 'media.attach', 'media', m.id::text,
                                  jsonb_build_object('alarm_id', m.alarm_id), null);
    end loop;

    return query
    select x.tenant_id, e.message
      from (select y.tenant_id, y.id from mdvr.media y where y.id = any (done) and y.status = 'ready'
             order by y.tenant_id, y.id) x,
           mdvr.media_event(x.id) e;
end
$$;


-- Commands.

create or replace function mdvr.store_command(p_id uuid, p_device_id uuid, p_type text, p_keyword text, p_params jsonb,
    p_body bytea, p_timeout_s integer, p_hold_s integer, p_request_id text, p_traceparent text,
    out command_id uuid, out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
    person constant uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
begin
    insert into mdvr.command (id, tenant_id, device_id, user_id, type, keyword, params, body, timeout_s, hold_until,
                              request_id, traceparent)
    select p_id, d.tenant_id, d.id, (select u.id from mdvr.user u where u.id = person), p_type, p_keyword,
           coalesce(p_params, '{}'), mdvr.command_body_text(coalesce(p_body, '')), coalesce(p_timeout_s, 15),
           case when p_hold_s > 0 then now() + make_interval(secs => p_hold_s) end, p_request_id, p_traceparent
      from mdvr.device d
     where d.id = p_device_id and d.tenant_id = tenant and d.deleted_at is null and mdvr.can_see_device(d.id)
    returning id into command_id;

    if command_id is not null then
        perform mdvr.usage_add(tenant, 'commands', 1);
        perform mdvr.audit_lock(tenant);            -- the caller writes to the chain after this
        select e.event_id, e.message into event_id, message from mdvr.command_event(command_id) e;
    end if;
end
$$;


-- Sessions, and the viewers' sessions below them: all rows before the counters of
-- usage.  A user changes after the sessions ended, not at the end of a statement that has
-- written to the audit chain by then.

create function mdvr.sessions_end(p_ids uuid[], p_reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform from mdvr.session s where s.id = any (p_ids) order by s.id for no key update;

    perform from mdvr.video_session v
      where v.session_id = any (p_ids) and v.ended_at is null
      order by v.id
        for no key update;

    perform mdvr.session_end(s, p_reason) from unnest(p_ids) s;
end
$$;

comment on function mdvr.sessions_end(uuid[], text) is 'session_end() of several';
revoke execute on function mdvr.sessions_end(uuid[], text) from public;

create or replace function mdvr.session_end(p_session_id uuid, p_reason text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    ended boolean;
    v     uuid;
begin
    update mdvr.session
       set revoked_at = clock_timestamp(), revoke_reason = left(p_reason, 64)
     where id = p_session_id and revoked_at is null;

    ended := found;

    perform from mdvr.video_session x
      where x.session_id = p_session_id and x.ended_at is null
      order by x.id
        for no key update;

    for v in select x.id from mdvr.video_session x where x.session_id = p_session_id and x.ended_at is null loop
        perform mdvr.video_session_end(v, p_reason, 0);
    end loop;

    return ended;
end
$$;

create or replace function mdvr.password_set(p_user_id uuid, p_password_hash text, p_keep_session_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update mdvr.user
       set password_hash = p_password_hash, password_changed_at = now()
     where id = p_user_id and deleted_at is null
       and (id = nullif(current_setting('app.current_user_id', true), '')::uuid
            or tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid
               and current_setting('app.current_role', true) in ('super_admin', 'tenant_admin')
               and (role <> 'super_admin' or current_setting('app.current_role', true) = 'super_admin'));

    if not found then
        return false;
    end if;

    perform mdvr.sessions_end(array(select id from mdvr.session
                                     where user_id = p_user_id and revoked_at is null
                                           and id is distinct from p_keep_session_id), 'password changed');

    return true;
end
$$;

create or replace function mdvr.user_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if new.active and new.deleted_at is null and new.role = old.role and new.extra_scopes = old.extra_scopes then
        return new;
    end if;

    perform mdvr.sessions_end(array(select id from mdvr.session where user_id = new.id and revoked_at is null),
                              'permissions changed');
    return new;
end
$$;

create or replace function mdvr.tenant_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if new.status = 'active' then
        return null;
    end if;

    perform mdvr.sessions_end(array(select x.id from mdvr.session x join mdvr.user u on u.id = x.user_id
                                     where u.tenant_id = new.id and x.revoked_at is null), 'tenant suspended');

    return null;
end
$$;

create or replace function mdvr.session_refresh(p_hash bytea, p_new_hash bytea, p_address text, p_refresh_ttl_s integer)
returns table (verdict text, session_id uuid, tenant_id uuid, user_id uuid, email text, name text, role text,
               extra_scopes text[])
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    r mdvr.refresh_token;
    s mdvr.session;
    u mdvr.user;
begin
    select * into r from mdvr.refresh_token t where t.hash = p_hash for update;

    if not found then
        verdict := 'unknown';
        return next;
        return;
    end if;

    select * into s from mdvr.session x where x.id = r.session_id for no key update;
    select * into u from mdvr.user x where x.id = s.user_id;

    session_id := s.id;
    tenant_id := s.tenant_id;
    user_id := u.id;
    email := u.email;
    name := u.name;
    role := u.role;
    extra_scopes := u.extra_scopes;

    if r.used_at is not null then
        perform mdvr.session_end(s.id, 'refresh token reused');
        verdict := 'reused';

    elsif s.revoked_at is not null then
        verdict := 'revoked';

    elsif r.expires_at <= now() or s.expires_at <= now() then
        verdict := 'expired';

    elsif not u.active or u.deleted_at is not null
          or not exists (select from mdvr.tenant t where t.id = u.tenant_id and t.status = 'active')
    then
        verdict := 'inactive';

    else
        update mdvr.refresh_token t set used_at = now() where t.hash = p_hash;

        insert into mdvr.refresh_token (hash, tenant_id, session_id, expires_at)
        values (p_new_hash, s.tenant_id, s.id, now() + make_interval(secs => p_refresh_ttl_s));

        update mdvr.session x
           set last_used_at = now(), address = coalesce(p_address::inet, x.address),
               expires_at = now() + make_interval(secs => p_refresh_ttl_s)
         where x.id = s.id;

        verdict := 'ok';
    end if;

    return next;
end
$$;


-- Many rows at a time: in order, or without those that somebody has.

create or replace function mdvr.knock(p_serial text, p_address text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update mdvr.pending_device
       set last_at = now(), address = p_address::inet, knocks = knocks + 1
     where serial = left(p_serial, 64);

    if found then
        return;
    end if;

    -- Bounded: the table makes room by forgetting whoever was silent longest.

    if (select count(*) from mdvr.pending_device) >= 10000 then
        delete from mdvr.pending_device
         where serial in (select serial from mdvr.pending_device order by last_at limit 100
                            for update skip locked);
    end if;

    insert into mdvr.pending_device (serial, address)
    values (left(p_serial, 64), p_address::inet)
    on conflict (serial) do nothing;
end
$$;

create or replace function mdvr.purge_history(p_limit integer default 20000) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    n     bigint;
    total bigint := 0;
begin
    delete from mdvr.event e
     using (select x.tenant_id, x.seq from mdvr.event x where x.created_at < now() - interval '8 days' limit p_limit) old
     where e.tenant_id = old.tenant_id and e.seq = old.seq;
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.connection
     where id in (select id from mdvr.connection
                   where connected_at < now() - interval '30 days' and disconnected_at is not null limit p_limit);
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.media_session
     where id in (select id from mdvr.media_session where started_at < now() - interval '30 days' limit p_limit);
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.refresh_token
     where hash in (select hash from mdvr.refresh_token where expires_at < now() - interval '1 day' limit p_limit
                       for update skip locked);
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.session
     where id in (select id from mdvr.session where expires_at < now() - interval '30 days' limit p_limit);
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.pending_device
     where serial in (select serial from mdvr.pending_device where last_at < now() - interval '24 hours'
                         for update skip locked);
    get diagnostics n = row_count;
    total := total + n;

    delete from mdvr.delivery
     where id in (select id from mdvr.delivery where created_at < now() - interval '30 days' limit p_limit);
    get diagnostics n = row_count;

    return total + n;
end
$$;

create or replace function mdvr.media_forget(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    old uuid[];
begin
    select array_agg(x.id) into old
      from (select m.id from mdvr.media m
             where m.purged_at < now() - interval '30 days'
               and not mdvr.media_held(m.tenant_id, m.alarm_id, m.legal_hold)
             order by m.purged_at limit p_limit
               for update skip locked) x;

    if old is null then
        return 0;
    end if;

    update mdvr.download set media_id = null where media_id = any (old);
    delete from mdvr.media where id = any (old);

    return cardinality(old);
end
$$;

create or replace function mdvr.downloads_due(p_node text, p_limit integer)
returns table (device_id uuid, tenant_id uuid, serial text, origin text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update mdvr.download d
       set status = 'queued', next_at = now(), updated_at = now()
     where d.id in (select x.id from mdvr.download x
                     where x.status = 'running' and x.updated_at < now() - interval '2 minutes'
                     order by x.id
                       for update skip locked);

    return query
    select distinct on (w.created_at, w.device_id) w.device_id, w.tenant_id, d.serial, w.origin
      from (select distinct on (x.device_id) x.device_id, x.tenant_id, x.origin, x.created_at
              from mdvr.download x
             where x.status = 'queued' and x.next_at <= now()
               and not exists (select from mdvr.download r where r.device_id = x.device_id and r.status = 'running')
             order by x.device_id, x.origin <> 'user', x.created_at) w
      join mdvr.device_state s on s.device_id = w.device_id and s.online and s.node = p_node
      join mdvr.device d on d.id = w.device_id and d.deleted_at is null
     order by w.created_at, w.device_id
     limit least(greatest(p_limit, 1), 100);
end
$$;

create or replace function mdvr.usage_snapshot() returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into mdvr.usage as u (tenant_id, day, metric, amount)
    select t.id, (now() at time zone 'UTC')::date, m.metric,
           case m.metric
           when 'devices' then (select count(*) from mdvr.device d where d.tenant_id = t.id and d.deleted_at is null)
           when 'users' then (select count(*) from mdvr.user x where x.tenant_id = t.id and x.deleted_at is null)
           else (select coalesce(sum(x.stored_bytes), 0) from mdvr.media x
                  where x.tenant_id = t.id and x.deleted_at is null)
           end
      from mdvr.tenant t, (values ('devices'), ('users'), ('storage_bytes')) m (metric)
     order by t.id, m.metric
    on conflict (tenant_id, day, metric) do update set amount = greatest(u.amount, excluded.amount)
$$;


-- What a deleted row takes along goes before the audit chain is written to, and not at
-- the end of the statement; fences wait for the rules that look at them.

create function mdvr.group_goes() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    delete from mdvr.group_device g where g.group_id = old.id;
    delete from mdvr.assignment a where a.group_id = old.id;
    return old;
end
$$;

comment on function mdvr.group_goes() is 'Trigger: a deleted group has no devices and no users';

create function mdvr.geofence_goes() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(5571031);         -- rules_evaluate()
    return null;
end
$$;

comment on function mdvr.geofence_goes() is 'Trigger: a fence is not deleted while rules are evaluated';
revoke execute on function mdvr.group_goes(), mdvr.geofence_goes() from public;
grant execute on function mdvr.group_goes(), mdvr.geofence_goes() to mdvr_owner;

set role mdvr_owner;

create or replace function mdvr.talk_claim(p_device_id uuid, p_node text, p_expires_at timestamptz, p_session_id uuid, p_force boolean,
    out verdict text, out id uuid, out holder text, out since timestamptz, out node text)
language plpgsql
as $$
declare
    v mdvr.video_session;
begin
    perform from mdvr.device d where d.id = p_device_id for no key update;

    select x.* into v from mdvr.video_session x
     where x.device_id = p_device_id and x.kind = 'talk' and x.ended_at is null;

    if found and v.expires_at <= now() then
        perform mdvr.video_session_end(v.id, 'expired', 0);

    elsif found and not p_force then
        select coalesce(nullif(u.name, ''), u.email::text) into holder from mdvr.user u where u.id = v.user_id;
        holder := coalesce(holder, 'an API key');
        id := v.id;
        since := v.started_at;
        node := v.node;
        verdict := case when v.session_id = p_session_id then 'own' else 'busy' end;
        return;

    elsif found then
        perform mdvr.video_session_end(v.id, 'replaced', 0);
        holder := v.id::text;
    end if;

    id := mdvr.video_session_start(p_device_id, 0, 'main', p_node, p_expires_at, p_session_id, 'talk');
    verdict := 'new';
    node := p_node;
end
$$;

create or replace function mdvr.assign(p_user_id uuid, p_body jsonb) returns boolean
language plpgsql
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
begin
    perform from mdvr.user u where u.id = p_user_id and u.deleted_at is null for no key update;

    if not found then
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

grant select, delete on mdvr.group_device, mdvr.assignment to mdvr_definer;

drop trigger user_changed on mdvr.user;
create trigger user_changed before update of active, deleted_at, role, extra_scopes on mdvr.user
    for each row execute function mdvr.user_changed();
create trigger group_goes before delete on mdvr.device_group for each row execute function mdvr.group_goes();
create trigger geofence_goes before delete on mdvr.geofence for each statement execute function mdvr.geofence_goes();

reset role;
