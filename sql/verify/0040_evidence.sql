do $$
begin
    assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = 'mdvr.evidence'::regclass), 'row security';
    assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = 'mdvr.evidence_key'::regclass), 'row security';
    assert has_function_privilege('mdvr_worker', 'mdvr.evidence_match(uuid, uuid, uuid, text, text, timestamptz, real)', 'execute'),
        'evidence_match';
    assert has_function_privilege('mdvr_worker', 'mdvr.evidence_expire(interval, integer)', 'execute'), 'evidence_expire';
    assert has_function_privilege('mdvr_api', 'mdvr.evidence_keys()', 'execute'), 'evidence_keys';
    assert not has_function_privilege('mdvr_api', 'mdvr.evidence_key_put(text, bytea)', 'execute'), 'keys come from the worker';
    assert not has_table_privilege('mdvr_api', 'mdvr.evidence', 'update'), 'the api only asks';
end
$$;
