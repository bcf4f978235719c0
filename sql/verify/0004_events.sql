do $$
declare
    t text;
begin
    foreach t in array array['mdvr.event_counter', 'mdvr.event'] loop
        assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = t::regclass), t || ': row security';
        assert obj_description(t::regclass) is not null, t || ': comment';
        assert pg_get_userbyid((select relowner from pg_class where oid = t::regclass)) = 'mdvr_owner', t || ': owner';
    end loop;

    assert has_function_privilege('mdvr_stream', 'mdvr.register_device(uuid,text,uuid,text,timestamptz,jsonb)', 'execute'),
        'register_device';
    assert not has_table_privilege('mdvr_api', 'mdvr.event', 'insert'), 'api appends no event';
end
$$;
