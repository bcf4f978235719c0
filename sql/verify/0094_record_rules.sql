do $$
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.rules_store()', 'execute'), 'rules_store';
    assert pg_get_function_result('mdvr.rules_store()'::regprocedure)
           = 'TABLE(tenant_id uuid, message json, record_device uuid, record_alarm uuid)', 'it names what is to be recorded';
    assert not exists (select from pg_proc p
                        where p.pronamespace = 'mdvr'::regnamespace and has_function_privilege('public', p.oid, 'execute')),
        'no function is public';
end
$$;
