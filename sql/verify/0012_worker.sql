do $$
begin
    assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = 'mdvr.schedule'::regclass), 'row security';
    assert has_function_privilege('mdvr_worker', 'mdvr.schedule_claim(text,integer)', 'execute'), 'schedule_claim';
    assert not has_function_privilege('mdvr_api', 'mdvr.schedule_claim(text,integer)', 'execute'), 'not for the api';
end
$$;
