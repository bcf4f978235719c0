-- 0057: a person in a vehicle asks for a call (V130). Writer: stream.

set role mdvr_definer;

create function mdvr.device_call(p_device_id uuid, p_event text, p_reason text, out event_id text, out message json)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select e.event_id, e.message
      from mdvr.device_event(p_device_id, p_event, p_reason) e
     where p_event in ('call', 'call_ended')
$$;

comment on function mdvr.device_call(uuid, text, text) is 'Somebody in the vehicle asks for a call, or how that ended; an event and nothing else';
grant execute on function mdvr.device_call(uuid, text, text) to mdvr_stream;

reset role;
