-- 0110: a download that the server could not write, because its disk is full, waits
-- without using up one of the five attempts that the device has.
-- Caller: the stream front, with the status "held".

set role mdvr_definer;

create or replace function mdvr.download_update(p_download_id uuid, p_status text, p_received_bytes bigint, p_size_bytes bigint,
    p_staged_path text, p_failed_reason text)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    d      mdvr.download;
    tries  integer;
    after  interval;
    becomes text := p_status;
begin
    select * into d from mdvr.download where id = p_download_id for update;

    if not found or d.status in ('complete', 'failed') then
        return coalesce(d.status, 'unknown');
    end if;

    tries := case when p_received_bytes > d.received_bytes then 0
                  when p_status = 'queued' then d.attempts + 1
                  else d.attempts end;

    if p_status = 'held' then
        -- the server's fault: once a minute, for a week
        becomes := case when d.created_at < now() - interval '7 days' then 'failed' else 'queued' end;
        after := interval '1 minute';
    elsif p_status = 'queued' then
        becomes := case when tries >= 5 then 'failed' else 'queued' end;
        after := make_interval(secs => 2 ^ least(tries, 6));
    end if;

    update mdvr.download
       set status = becomes,
           failed_reason = case when becomes = 'failed'
                                then coalesce(p_failed_reason,
                                              case when p_status = 'queued' then 'five attempts without progress' else 'failed' end)
                           end,
           attempts = tries,
           received_bytes = greatest(received_bytes, coalesce(p_received_bytes, 0)),
           size_bytes = coalesce(p_size_bytes, size_bytes),
           staged_path = coalesce(p_staged_path, staged_path),
           next_at = coalesce(now() + after, next_at),
           updated_at = now()
     where id = p_download_id
    returning status into d.status;

    return d.status;
end
$$;

comment on function mdvr.download_update(uuid, text, bigint, bigint, text, text) is
    'Progress of a download: running, complete, failed, queued again after an interruption, or held by the server''s own trouble; returns the state it is in now';

reset role;
