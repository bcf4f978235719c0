do $$
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.devices_by_serial(text[])', 'execute'), 'devices_by_serial';
    assert has_function_privilege('mdvr_stream', 'mdvr.device_clock(uuid,smallint)', 'execute'), 'device_clock';
    perform offset_set from mdvr.devices_by_serial('{nobody}');
    perform mdvr.device_clock(mdvr.uuid7(), 60::smallint);
end
$$;
