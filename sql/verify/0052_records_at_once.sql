do $$
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.record_devices(text,uuid,jsonb)', 'execute'), 'record_devices';
    assert not has_function_privilege('mdvr_api', 'mdvr.record_devices(text,uuid,jsonb)', 'execute'), 'not for the API';
    assert not exists (select from mdvr.record_devices('none', mdvr.uuid7(), '[]')), 'nothing in, nothing out';
end
$$;
