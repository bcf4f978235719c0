do $$
begin
    assert has_function_privilege('mdvr_worker', 'mdvr.media_expire(integer)', 'execute'), 'media_expire';
    assert has_function_privilege('mdvr_worker', 'mdvr.objects_unknown(uuid, uuid[])', 'execute'), 'objects_unknown';
    assert not has_function_privilege('mdvr_api', 'mdvr.media_purged(uuid, integer)', 'execute'), 'the api purges nothing';
    assert has_column_privilege('mdvr_api', 'mdvr.alarm', 'legal_hold', 'update'), 'alarms can be held';
    assert not has_column_privilege('mdvr_api', 'mdvr.alarm', 'status', 'update'), 'and nothing else';
end
$$;
