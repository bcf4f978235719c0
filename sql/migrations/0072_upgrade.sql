-- 0072: a binary upgrade: the new nginx takes the node's name while workers of the
-- old one still hold their devices, which must not be told to be offline.

set role mdvr_definer;

create function mdvr.node_upgraded(p_node text, p_boot uuid) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into mdvr.node as n (id, boot) values (p_node, p_boot)
    on conflict (id) do update set boot = excluded.boot, started_at = now(), heartbeat_at = now()
     where n.boot <> excluded.boot
$$;

comment on function mdvr.node_upgraded(text, uuid) is
    'A new boot of a node whose earlier one still drains; node_started() follows when it cannot hold anything any more';

revoke execute on function mdvr.node_upgraded(text, uuid) from public;
grant execute on function mdvr.node_upgraded(text, uuid) to mdvr_stream;

reset role;
