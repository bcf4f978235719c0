do $$
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.devices_by_serial(text[])', 'execute'), 'devices_by_serial';
    assert not exists (select from mdvr.devices_by_serial(array['no such serial', null])), 'nobody';
end
$$;
