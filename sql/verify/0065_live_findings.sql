do $$
begin
    assert has_function_privilege('mdvr_worker', 'mdvr.live_watch(uuid)', 'execute'), 'live_watch';
    assert mdvr.live_watch('00000000-0000-0000-0000-000000000000') is null, 'nobody is watched';
    assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = 'mdvr.live_seen'::regclass), 'row security';
end
$$;
