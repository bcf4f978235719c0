-- 0008: commands to devices and firmware.  Writers: api; stream reports answers.

set role mdvr_owner;

create table mdvr.command (
    id             uuid         primary key default mdvr.uuid7(),
    tenant_id      uuid         not null references mdvr.tenant,
    device_id      uuid         not null,
    user_id        uuid         references mdvr.user,
    type           text         not null check (type ~ '^[a-z][a-z0-9_]{0,63}$'),
    keyword        text         not null check (keyword ~ '^C[0-9]{1,5}$'),
    params         jsonb        not null default '{}' check (jsonb_typeof(params) = 'object'),
    body           text         not null default '' check (length(body) <= 65536),
    status         text         not null default 'queued'
                   check (status in ('queued', 'sent', 'acknowledged', 'failed', 'timeout')),
    timeout_s      integer      not null default 15 check (timeout_s between 1 and 86400),
    hold_until     timestamptz,
    content        text         check (length(content) <= 65536),
    success        integer,
    error_code     text         check (length(error_code) <= 64),
    error          text         check (length(error) <= 500),
    reason         text         check (length(reason) <= 2000),
    progress       jsonb        not null default '[]' check (jsonb_typeof(progress) = 'array'),
    request_id     text         check (length(request_id) <= 128),
    traceparent    text         check (length(traceparent) <= 256),
    created_at     timestamptz  not null default now(),
    sent_at        timestamptz,
    answered_at    timestamptz,
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
);

create index command_device on mdvr.command (device_id, created_at desc, id desc);
create index command_open on mdvr.command (device_id, created_at) where status in ('queued', 'sent');

comment on table mdvr.command is 'A command to a device and the device''s answers';
comment on column mdvr.command.hold_until is 'Kept for an offline device until then; NULL: not held';
comment on column mdvr.command.progress is 'Every answer, oldest first: {status, success, error_code, at}';


create table mdvr.firmware (
    id           uuid         primary key default mdvr.uuid7(),
    tenant_id    uuid         not null references mdvr.tenant,
    name         text         not null check (name ~ '^[A-Za-z0-9._-]{1,100}$'),
    version      text         not null check (length(version) between 1 and 100),
    device_type  text         check (length(device_type) <= 64),
    size_bytes   bigint       not null check (size_bytes > 0),
    md5          bytea        not null check (octet_length(md5) = 16),
    sha256       bytea        not null check (octet_length(sha256) = 32),
    object_key   text         not null check (length(object_key) between 1 and 512),
    user_id      uuid         references mdvr.user,
    created_at   timestamptz  not null default now(),
    unique (tenant_id, name, version)
);

comment on table mdvr.firmware is 'Firmware files that devices of a tenant may be upgraded to (C152); md5 is what the wire wants';

call mdvr.protect('mdvr.command', 'device');
call mdvr.protect('mdvr.firmware', 'tenant');

grant select on mdvr.command, mdvr.firmware to mdvr_api, mdvr_worker;
grant insert on mdvr.firmware to mdvr_api;
grant select, insert, update on mdvr.command to mdvr_definer;
grant select on mdvr.firmware to mdvr_definer;

reset role;
set role mdvr_definer;

create function mdvr.command_event(p_command_id uuid, out event_id text, out message json)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select e.event_id, e.message
      from mdvr.command c,
           mdvr.event_append(c.tenant_id, 'command', c.device_id, json_build_object(
               'command_id', c.id, 'device_id', c.device_id, 'command', c.type, 'status', c.status,
               'success', c.success, 'error_code', c.error_code, 'error', c.error, 'reason', c.reason,
               'at', mdvr.rfc3339(now()))) e
     where c.id = p_command_id
$$;

comment on function mdvr.command_event(uuid) is 'For other functions: a command changed';


-- For the transaction's tenant and user, who must be able to see the device.

create function mdvr.store_command(p_device_id uuid, p_type text, p_keyword text, p_params jsonb, p_body text,
    p_timeout_s integer, p_hold_s integer, p_request_id text, p_traceparent text,
    out command_id uuid, out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
    person constant uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
begin
    insert into mdvr.command (tenant_id, device_id, user_id, type, keyword, params, body, timeout_s, hold_until,
                              request_id, traceparent)
    select d.tenant_id, d.id, (select u.id from mdvr.user u where u.id = person), p_type, p_keyword,
           coalesce(p_params, '{}'), coalesce(p_body, ''), coalesce(p_timeout_s, 15),
           case when p_hold_s > 0 then now() + make_interval(secs => p_hold_s) end, p_request_id, p_traceparent
      from mdvr.device d
     where d.id = p_device_id and d.tenant_id = tenant and d.deleted_at is null and mdvr.can_see_device(d.id)
    returning id into command_id;

    if command_id is not null then
        perform mdvr.usage_add(tenant, 'commands', 1);
        select e.event_id, e.message into event_id, message from mdvr.command_event(command_id) e;
    end if;
end
$$;

comment on function mdvr.store_command is 'Records a command before it is sent; NULLs when there is no such device for the caller';
grant execute on function mdvr.store_command to mdvr_api;


-- A later answer of a finished command only adds to its progress, except that an
-- answer outruns the timeout that was recorded before it.

create function mdvr.command_update(p_command_id uuid, p_status text, p_content text default null,
    p_success integer default null, p_error_code text default null, p_error text default null,
    p_reason text default null, out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    c mdvr.command;
begin
    select * into c from mdvr.command where id = p_command_id for update;

    if not found
       or c.status = p_status and p_status in ('queued', 'sent', 'timeout')
       or c.status in ('acknowledged', 'failed') and p_status in ('queued', 'sent', 'timeout')
       or c.status = 'timeout' and p_status in ('queued', 'sent')
       or c.status = 'sent' and p_status = 'queued'
    then
        return;
    end if;

    update mdvr.command
       set status = p_status,
           sent_at = case when p_status = 'sent' then now() else coalesce(sent_at, now()) end,
           answered_at = case when p_status in ('acknowledged', 'failed') then now() else answered_at end,
           content = coalesce(left(p_content, 65536), content), success = coalesce(p_success, success),
           error_code = left(p_error_code, 64), error = left(p_error, 500), reason = left(p_reason, 2000),
           progress = case when jsonb_array_length(progress) >= 100 then progress - 0 else progress end
                      || jsonb_build_object('status', p_status, 'success', p_success, 'error_code', p_error_code,
                                            'at', mdvr.rfc3339(clock_timestamp()))
     where id = p_command_id;

    select e.event_id, e.message into event_id, message from mdvr.command_event(p_command_id) e;
end
$$;

comment on function mdvr.command_update is
    'What became of a command: sent, acknowledged, failed or timeout; NULLs when that is no news';
grant execute on function mdvr.command_update to mdvr_stream, mdvr_api, mdvr_worker;


create function mdvr.commands_held(p_device_id uuid)
returns table (command_id uuid, tenant_id uuid, keyword text, body text, timeout_s integer, request_id text,
               traceparent text)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select c.id, c.tenant_id, c.keyword, c.body, c.timeout_s, c.request_id, c.traceparent
      from mdvr.command c
     where c.device_id = p_device_id and c.status = 'queued' and c.hold_until > now()
     order by c.created_at, c.id
     limit 100
$$;

comment on function mdvr.commands_held(uuid) is 'Commands that waited for this device to come online, oldest first';
grant execute on function mdvr.commands_held(uuid) to mdvr_stream;


create function mdvr.commands_expire()
returns table (tenant_id uuid, command_id uuid, event_id text, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    old uuid[];
    c   record;
begin
    with locked as (
        select x.id
          from mdvr.command x
         where x.status in ('queued', 'sent')
           and coalesce(x.hold_until, x.created_at) + make_interval(secs => x.timeout_s + 60) < now()
         limit 500
           for update skip locked
    )
    select array_agg(l.id) into old from locked l;

    for c in
        select x.id, x.tenant_id from mdvr.command x where x.id = any (old) order by x.tenant_id, x.id
    loop
        return query select c.tenant_id, c.id, e.event_id, e.message from mdvr.command_update(c.id, 'timeout') e
                      where e.event_id is not null;
    end loop;
end
$$;

comment on function mdvr.commands_expire() is 'Times out commands that nobody answered or held to the end. One row per event to publish';
grant execute on function mdvr.commands_expire() to mdvr_worker;

reset role;
set role mdvr_owner;
grant execute on function mdvr.uuid7() to mdvr_definer;
reset role;
