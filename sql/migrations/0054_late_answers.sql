-- 0054: answers of devices to commands that nobody waits for any more, because
-- the connection they were sent on is gone, or for too long.  Writer: stream.

set role mdvr_definer;

-- The answer repeats keyword and time of the command.  p_sent_at has whole
-- seconds of the clock that stamped the command.

create function mdvr.command_late(p_device_id uuid, p_keyword text, p_sent_at timestamptz, p_status text,
    p_content text, p_success integer, p_error_code text, p_error text, p_reason text,
    out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    found_id uuid;
begin
    select c.id into found_id
      from mdvr.command c
     where c.device_id = p_device_id and c.keyword = p_keyword and c.created_at > now() - interval '7 days'
           and (c.status in ('sent', 'timeout') or c.status = 'failed' and c.success is null)
           and c.sent_at between p_sent_at - interval '2 seconds' and p_sent_at + interval '5 seconds'
     order by abs(extract(epoch from c.sent_at - p_sent_at))
     limit 1;

    if found_id is not null then
        select u.event_id, u.message into event_id, message
          from mdvr.command_update(found_id, p_status, p_content, p_success, p_error_code, p_error, p_reason) u;
    end if;
end
$$;

comment on function mdvr.command_late(uuid, text, timestamptz, text, text, integer, text, text, text) is
    'An answer whose command is not under way any more: recorded where it belongs; NULLs when there is no such command';
grant execute on function mdvr.command_late(uuid, text, timestamptz, text, text, integer, text, text, text) to mdvr_stream;

reset role;
