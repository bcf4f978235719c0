-- 0035: who is told of what.  The worker follows the outbox (0004): each event
-- becomes deliveries in one transaction with the cursor that moves past it, so
-- that none is lost and none is planned twice.

set role mdvr_owner;

create table mdvr.notify_cursor (
    tenant_id  uuid    primary key references mdvr.tenant,
    seq        bigint  not null check (seq >= 0)
) with (fillfactor = 20);

comment on table mdvr.notify_cursor is 'Number of the last event of each tenant whose deliveries are planned';
call mdvr.protect('mdvr.notify_cursor', 'tenant');
grant select, insert, update on mdvr.notify_cursor to mdvr_definer;


create table mdvr.alarm_push (
    device_id  uuid         not null,
    code       text         not null,
    sub_key    text         not null,
    tenant_id  uuid         not null references mdvr.tenant,
    at         timestamptz  not null,
    primary key (device_id, code, sub_key),
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
) with (fillfactor = 50);

comment on table mdvr.alarm_push is 'When people were last told of an alarm of that kind; repetitions wait';
call mdvr.protect('mdvr.alarm_push', 'tenant');
grant select, insert, update on mdvr.alarm_push to mdvr_definer;


create table mdvr.alarm_repeat (
    alarm_id   uuid         primary key,
    tenant_id  uuid         not null references mdvr.tenant,
    at         timestamptz  not null default now(),
    foreign key (tenant_id, alarm_id) references mdvr.alarm (tenant_id, id) on delete cascade
);

create index alarm_repeat_at on mdvr.alarm_repeat (at);

comment on table mdvr.alarm_repeat is 'Alarms that nobody was told of because one like them had just been; nor are people told of their videos';
call mdvr.protect('mdvr.alarm_repeat', 'tenant');
grant select, insert, delete on mdvr.alarm_repeat to mdvr_definer;

-- What happened before there were notifications is not told now.

insert into mdvr.notify_cursor (tenant_id, seq) select tenant_id, last_seq from mdvr.event_counter;

grant update on mdvr.delivery to mdvr_definer;

reset role;
set role mdvr_definer;

create function mdvr.local_time(p_at timestamptz, p_zone text) returns time
language plpgsql stable set search_path = pg_catalog, pg_temp
as $$
begin
    return (p_at at time zone p_zone)::time;
exception when invalid_parameter_value then
    return (p_at at time zone 'UTC')::time;
end
$$;

comment on function mdvr.local_time(timestamptz, text) is 'Time of day there; UTC for a zone that is no longer known';


-- Phones of the people who may see the device and want to know, now.

create function mdvr.push_receivers(p_tenant_id uuid, p_device_id uuid, p_kind text, p_severity text, p_platforms text[])
returns setof uuid
language sql stable security definer rows 20 set search_path = pg_catalog, pg_temp
as $$
    select t.id
      from mdvr.user u
      join mdvr.push_token t on t.user_id = u.id and t.tenant_id = u.tenant_id
      left join mdvr.notification_preference p on p.user_id = u.id
     where u.tenant_id = p_tenant_id and u.active and u.deleted_at is null
       and t.platform = any (p_platforms)
       and coalesce(p.push, true)
       and array_position(array['info', 'warning', 'critical'], p_severity)
           >= array_position(array['info', 'warning', 'critical'], coalesce(p.min_severity, 'warning'))
       and not p_kind = any (coalesce(p.muted_kinds, '{}'))
       and (p.quiet_from is null
            or not case when p.quiet_from <= p.quiet_to
                   then mdvr.local_time(now(), p.time_zone) >= p.quiet_from
                        and mdvr.local_time(now(), p.time_zone) < p.quiet_to
                   else mdvr.local_time(now(), p.time_zone) >= p.quiet_from
                        or mdvr.local_time(now(), p.time_zone) < p.quiet_to
                   end)
       and (u.role <> 'client_user'
            or exists (select from mdvr.assignment a
                        where a.tenant_id = u.tenant_id and a.user_id = u.id and a.device_id = p_device_id)
            or exists (select from mdvr.assignment a
                         join mdvr.group_device g on g.group_id = a.group_id
                        where a.tenant_id = u.tenant_id and a.user_id = u.id and g.device_id = p_device_id))
$$;

comment on function mdvr.push_receivers(uuid, uuid, text, text, text[]) is
    'Phones to be told of an alarm of that device: rights, preferences and quiet hours of their owners';


-- Deliveries of events that nobody looked at yet.
--
--   p_platforms  push services that are configured
--   p_repeat     an alarm of one device, code and sub-key is told once in that time
--   p_age        what is older when it is seen is not pushed any more
--
-- Returns how many events it went past, NULL when another worker is at it.

create function mdvr.notify_plan(p_platforms text[], p_repeat interval, p_age interval, p_limit integer)
returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t      record;
    e      record;
    a      mdvr.alarm;
    n      integer := 0;
    tell   text;
    upto   bigint;
begin
    if not pg_try_advisory_xact_lock(5571, hashtext('notify')) then
        return null;
    end if;

    for t in
        select c.tenant_id, coalesce(k.seq, 0) as seq, o.status
          from mdvr.event_counter c
          join mdvr.tenant o on o.id = c.tenant_id
          left join mdvr.notify_cursor k on k.tenant_id = c.tenant_id
         where c.last_seq > coalesce(k.seq, 0)
         order by c.tenant_id
    loop
        upto := t.seq;

        for e in
            select x.seq, x.topic, x.device_id, x.created_at, x.message
              from mdvr.event x
             where x.tenant_id = t.tenant_id and x.seq > t.seq
             order by x.seq
             limit p_limit
        loop
            upto := e.seq;
            n := n + 1;

            continue when t.status <> 'active';

            insert into mdvr.delivery (tenant_id, webhook_id, event_seq, purpose, dedupe_key)
            select t.tenant_id, w.id, e.seq, 'event', 'hook:' || w.id || ':' || e.seq
              from mdvr.webhook w
             where w.tenant_id = t.tenant_id and w.active and e.topic = any (w.topics) and w.created_at <= e.created_at
            on conflict (tenant_id, dedupe_key) do nothing;

            tell := case when e.topic = 'alarm' and e.message ->> 'phase' = 'start' then 'alarm'
                         when e.topic = 'media' and e.message ->> 'status' = 'ready'
                              and e.message ->> 'kind' = 'mp4' then 'video' end;

            continue when tell is null or cardinality(p_platforms) = 0 or e.created_at < now() - p_age;

            select * into a
              from mdvr.alarm x
             where x.tenant_id = t.tenant_id and x.id = (e.message ->> 'alarm_id')::uuid;

            continue when not found or exists (select from mdvr.alarm_override o
                                                where o.tenant_id = t.tenant_id and o.code = a.code and not o.notify);

            if tell = 'alarm' then
                -- What a device kept and sends late is history, nobody's phone rings.
                continue when a.started_at < now() - interval '1 day';

                insert into mdvr.alarm_push as p (device_id, code, sub_key, tenant_id, at)
                values (a.device_id, a.code, a.sub_key, t.tenant_id, e.created_at)
                on conflict (device_id, code, sub_key) do update set at = excluded.at
                 where p.at <= excluded.at - p_repeat;

                if not found then
                    insert into mdvr.alarm_repeat (alarm_id, tenant_id) values (a.id, t.tenant_id)
                    on conflict do nothing;
                    continue;
                end if;

            elsif exists (select from mdvr.alarm_repeat r where r.alarm_id = a.id) then
                continue;
            end if;

            insert into mdvr.delivery (tenant_id, push_token_id, event_seq, purpose, dedupe_key)
            select t.tenant_id, r.id, e.seq, tell, tell || ':' || a.id || ':' || r.id
              from mdvr.push_receivers(t.tenant_id, a.device_id, a.kind, a.severity, p_platforms) r (id)
            on conflict (tenant_id, dedupe_key) do nothing;
        end loop;

        insert into mdvr.notify_cursor as k (tenant_id, seq) values (t.tenant_id, upto)
        on conflict (tenant_id) do update set seq = excluded.seq;
    end loop;

    delete from mdvr.alarm_repeat
     where alarm_id in (select r.alarm_id from mdvr.alarm_repeat r where r.at < now() - interval '8 days' limit 100);

    return n;
end
$$;

comment on function mdvr.notify_plan(text[], interval, interval, integer) is
    'Makes the deliveries of new events; how many events, NULL when another worker is at it';


-- Deliveries that are due become the caller's: they are due again, should their
-- job be lost, after p_lease.

create function mdvr.notify_due(p_lease interval, p_limit integer)
returns table (tenant_id uuid, endpoint text, deliveries text)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with due as (
        select d.id
          from mdvr.delivery d
         where d.status = 'queued' and d.next_at <= now()
         order by d.next_at
         limit p_limit
           for update skip locked
    ), taken as (
        update mdvr.delivery d
           set next_at = now() + p_lease
          from due
         where d.id = due.id
        returning d.id, d.tenant_id, d.webhook_id, d.push_token_id
    )
    select t.tenant_id, coalesce(t.webhook_id::text, p.platform, 'gone'), json_agg(t.id order by t.id)::text
      from taken t
      left join mdvr.push_token p on p.id = t.push_token_id
     group by 1, 2
$$;

comment on function mdvr.notify_due(interval, integer) is
    'Deliveries to be made now, by tenant and endpoint: a webhook''s id, fcm, apns, or gone; deliveries is a JSON array';

grant execute on function mdvr.notify_plan(text[], interval, interval, integer), mdvr.notify_due(interval, integer)
    to mdvr_worker;

reset role;
