do $$
begin
    assert has_function_privilege('mdvr_api', 'mdvr.quota_stored()', 'execute'), 'quota_stored';
    assert not exists (select from pg_proc p
                        where p.pronamespace = 'mdvr'::regnamespace and has_function_privilege('public', p.oid, 'execute')),
        'no function is public';
end
$$;
