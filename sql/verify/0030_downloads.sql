do $$
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.downloads_due(text, integer)', 'execute'), 'downloads_due';
    assert has_function_privilege('mdvr_stream', 'mdvr.download_claim(uuid, text, text)', 'execute'), 'download_claim';
    assert not has_function_privilege('mdvr_api', 'mdvr.download_claim(uuid, text, text)', 'execute'), 'not for the api';
    assert not exists (select from pg_proc p
                        where p.pronamespace = 'mdvr'::regnamespace and has_function_privilege('public', p.oid, 'execute')),
        'no function is public';
end
$$;
