do $$
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.device_call(uuid, text, text)', 'execute'), 'grant';
end
$$;
