-- 0079: a node is alive when any of its boots is: when a binary upgrade is taken back, the nginx
-- that was there before goes on, and its devices must not be told to be lost.

set role mdvr_definer;

create or replace function mdvr.node_heartbeat(p_node text, p_boot uuid) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update mdvr.node set heartbeat_at = now() where id = p_node
$$;

reset role;
