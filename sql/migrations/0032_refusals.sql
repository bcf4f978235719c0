-- 0032: registrations of a known device that were refused, for diagnostics.
-- Writer: stream.

set role mdvr_definer;

-- One row per reason and hour: a refused device comes back every 30 s.

create function mdvr.device_refused(p_device_id uuid, p_node text, p_address text, p_reason text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    why constant text := left('refused: ' || p_reason, 200);
begin
    update mdvr.connection
       set disconnected_at = now(), address = p_address::inet, node = p_node
     where device_id = p_device_id and reason = why and connected_at > now() - interval '1 hour';

    if not found then
        insert into mdvr.connection (tenant_id, device_id, node, address, connected_at, disconnected_at, reason)
        select d.tenant_id, d.id, p_node, p_address::inet, now(), now(), why from mdvr.device d where d.id = p_device_id;
    end if;
end
$$;

comment on function mdvr.device_refused(uuid, text, text, text) is 'A registration of this device was refused; kept as a connection that did not last';
grant execute on function mdvr.device_refused(uuid, text, text, text) to mdvr_stream;

reset role;
