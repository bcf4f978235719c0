do $$
begin
    assert has_function_privilege('mdvr_worker', 'mdvr.purge_history(integer)', 'execute'), 'purge_history';
    assert not has_function_privilege('mdvr_api', 'mdvr.purge_history(integer)', 'execute'), 'not for the api';
    assert not exists (select from pg_proc p
                        where p.pronamespace = 'mdvr'::regnamespace and has_function_privilege('public', p.oid, 'execute')),
        'no function is public';
end
$$;
