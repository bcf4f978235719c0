do $$
declare
    t text;
begin
    foreach t in array array['mdvr.device', 'mdvr.device_group', 'mdvr.group_device', 'mdvr.assignment', 'mdvr.node', 'mdvr.device_state', 'mdvr.connection', 'mdvr.pending_device', 'mdvr.position'] loop
        assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = t::regclass), t || ': row security';
        assert obj_description(t::regclass) is not null, t || ': comment';
        assert pg_get_userbyid((select relowner from pg_class where oid = t::regclass)) = 'mdvr_owner', t || ': owner';
    end loop;

    assert has_function_privilege('mdvr_stream', 'mdvr.device_by_serial(text)', 'execute'), 'device_by_serial';
    assert not has_table_privilege('mdvr_stream', 'mdvr.device', 'select'), 'stream reads no table';
end
$$;
