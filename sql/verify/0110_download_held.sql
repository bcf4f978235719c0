do $$
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.download_update(uuid, text, bigint, bigint, text, text)', 'execute'),
        'download_update';
    assert not exists (select from pg_proc p
                        where p.pronamespace = 'mdvr'::regnamespace and has_function_privilege('public', p.oid, 'execute')),
        'no function is public';
    assert (select prosrc like '%held%' from pg_proc
             where oid = 'mdvr.download_update(uuid, text, bigint, bigint, text, text)'::regprocedure), 'held';
end
$$;
