do $$
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.node_heartbeat(text, uuid)', 'execute'), 'node_heartbeat';
    assert pg_get_functiondef('mdvr.node_heartbeat(text, uuid)'::regprocedure) !~ 'boot = ', 'node_heartbeat: any boot';
end
$$;
