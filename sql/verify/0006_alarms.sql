do $$
declare
    t text;
begin
    foreach t in array array['mdvr.alarm', 'mdvr.alarm_message', 'mdvr.alarm_override'] loop
        assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = t::regclass), t || ': row security';
        assert obj_description(t::regclass) is not null, t || ': comment';
        assert pg_get_userbyid((select relowner from pg_class where oid = t::regclass)) = 'mdvr_owner', t || ': owner';
    end loop;

    assert has_function_privilege('mdvr_stream', (select 'mdvr.store_alarm'::regproc::oid), 'execute'), 'store_alarm';
end
$$;
