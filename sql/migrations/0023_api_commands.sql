-- 0023: commands whose body is bytes, and answers that report progress.

set role mdvr_definer;

-- A body is kept as text when it is text, else as "\x" and hex digits.

create function mdvr.command_body_text(p_body bytea) returns text
language plpgsql immutable
as $$
begin
    if position('\x00'::bytea in p_body) = 0 and substr(p_body, 1, 2) is distinct from '\x5c78'::bytea then
        return convert_from(p_body, 'UTF8');
    end if;

    return '\x' || encode(p_body, 'hex');

exception when character_not_in_repertoire then
    return '\x' || encode(p_body, 'hex');
end
$$;

create function mdvr.command_body_bytes(p_body text) returns bytea
language sql immutable
as $$
    select case when p_body like '\\x%' then decode(substr(p_body, 3), 'hex') else convert_to(p_body, 'UTF8') end
$$;

comment on function mdvr.command_body_text(bytea) is 'How a command''s body is kept: text, or "\x" and hex when it is not UTF-8';
comment on function mdvr.command_body_bytes(text) is 'The bytes of a kept body';
grant execute on function mdvr.command_body_bytes(text) to mdvr_stream, mdvr_api;


create function mdvr.store_command(p_id uuid, p_device_id uuid, p_type text, p_keyword text, p_params jsonb,
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
        select e.event_id, e.message into event_id, message from mdvr.command_event(command_id) e;
    end if;
end
$$;

comment on function mdvr.store_command(uuid, uuid, text, text, jsonb, bytea, integer, integer, text, text) is
    'Records a command under an id of the caller before it is sent; NULLs when there is no such device for the caller';
grant execute on function mdvr.store_command(uuid, uuid, text, text, jsonb, bytea, integer, integer, text, text) to mdvr_api;


-- Progress: "sent" again with an answer of the device is news.

create or replace function mdvr.command_update(p_command_id uuid, p_status text, p_content text default null,
    p_success integer default null, p_error_code text default null, p_error text default null,
    p_reason text default null, out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    c mdvr.command;
begin
    select * into c from mdvr.command where id = p_command_id for update;

    if not found
       or c.status = p_status and p_status in ('queued', 'timeout')
       or c.status = p_status and p_status = 'sent' and p_success is null
       or c.status in ('acknowledged', 'failed') and p_status in ('queued', 'sent', 'timeout')
       or c.status = 'timeout' and p_status in ('queued', 'sent')
       or c.status = 'sent' and p_status = 'queued'
    then
        return;
    end if;

    update mdvr.command
       set status = p_status,
           sent_at = coalesce(sent_at, now()),
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

reset role;
