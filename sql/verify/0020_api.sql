do $$
begin
    assert has_function_privilege('mdvr_api', 'mdvr.device_write(uuid, jsonb)', 'execute'), 'device_write';
    assert not has_function_privilege('mdvr_stream', 'mdvr.device_write(uuid, jsonb)', 'execute'), 'not for devices';
    assert mdvr.cursor_time(mdvr.cursor_make('2026-01-31 08:15:30.250001Z', '00ff')) = '2026-01-31 08:15:30.250001Z',
           'a cursor keeps microseconds';
    assert mdvr.cursor_uuid(mdvr.cursor_make(now(), '0190b6c2-0000-7000-8000-00000000000a'))
           = '0190b6c2-0000-7000-8000-00000000000a', 'a cursor keeps the id';
end
$$;
