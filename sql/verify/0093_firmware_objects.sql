do $$
begin
    assert has_function_privilege('mdvr_worker', 'mdvr.objects_unknown(uuid, uuid[])', 'execute'), 'objects_unknown';
    assert pg_get_functiondef('mdvr.objects_unknown(uuid, uuid[])'::regprocedure) like '%mdvr.firmware%',
        'firmware is no orphan';
    assert not exists (select from pg_proc p
                        where p.pronamespace = 'mdvr'::regnamespace and has_function_privilege('public', p.oid, 'execute')),
        'no function is public';
end
$$;
