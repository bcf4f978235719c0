-- 0053: a serial that registers from another address while its device was
-- sending: a stolen serial, or two devices with one number.  Writer: stream.

set role mdvr_definer;

-- Called by the node whose connection was replaced; p_other NULL: the new one
-- is on another node, whose record names its address.  The history keeps every
-- case as the end of the replaced connection; event and audit row come once in
-- ten minutes, since two such devices throw each other out all day long.

create function mdvr.device_contested(p_device_id uuid, p_node text, p_connected_at timestamptz, p_address text,
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

    select e.event_id, e.message into event_id, message from mdvr.device_event(p_device_id, 'contested', why) e;

    perform mdvr.audit_append(owner, null, null, other, 'device.contested', 'device', p_device_id::text,
                              jsonb_build_object('address', other, 'replaced_address', p_address, 'node', p_node,
                                                 'silent_s', p_silent_s), null);
end
$$;

comment on function mdvr.device_contested(uuid, text, timestamptz, text, text, integer) is
    'A connection that was sending was replaced by one from another address; NULLs when that is no news';
grant execute on function mdvr.device_contested(uuid, text, timestamptz, text, text, integer) to mdvr_stream;

reset role;
