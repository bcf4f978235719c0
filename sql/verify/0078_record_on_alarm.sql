do $$
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.record_on_alarm(uuid, text, timestamptz)', 'execute'),
        'record_on_alarm';
    assert has_function_privilege('mdvr_worker',
        'mdvr.evidence_match(uuid, uuid, uuid, text, text, timestamptz, real)', 'execute'), 'evidence_match';
    assert not exists (select from pg_proc p
                        where p.pronamespace = 'mdvr'::regnamespace and has_function_privilege('public', p.oid, 'execute')),
        'no function is public';
end
$$;
