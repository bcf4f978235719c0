-- 0059: a transfer that failed stays failed, whichever of the device's two connections
-- is heard first: V100 says "accepted", the media connection "damaged".

set role mdvr_owner;

alter table mdvr.command add column transfer_failed boolean not null default false;

comment on column mdvr.command.transfer_failed is 'The file that goes with it was refused or damaged: an acknowledgement does not help any more';

reset role;
set role mdvr_definer;

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
       or c.transfer_failed and p_status = 'acknowledged'
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


create function mdvr.command_transfer_failed(p_command_id uuid, p_error_code text, p_error text, p_reason text,
    out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update mdvr.command set transfer_failed = true where id = p_command_id;

    select u.event_id, u.message into event_id, message
      from mdvr.command_update(p_command_id, 'failed', null, 0, p_error_code, p_error, p_reason) u;
end
$$;

comment on function mdvr.command_transfer_failed(uuid, text, text, text) is
    'The file of a command did not get through; event to publish, NULL = no news';

revoke execute on function mdvr.command_transfer_failed(uuid, text, text, text) from public;
grant execute on function mdvr.command_transfer_failed(uuid, text, text, text) to mdvr_stream;

reset role;
