do $$
declare
    t text;
begin
    foreach t in array array['mdvr.media', 'mdvr.finding', 'mdvr.download', 'mdvr.media_session', 'mdvr.video_session'] loop
        assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = t::regclass), t || ': row security';
        assert obj_description(t::regclass) is not null, t || ': comment';
        assert pg_get_userbyid((select relowner from pg_class where oid = t::regclass)) = 'mdvr_owner', t || ': owner';
    end loop;

    assert has_function_privilege('mdvr_stream', (select 'mdvr.store_alarm_file'::regproc::oid), 'execute'), 'store_alarm_file';
end
$$;
