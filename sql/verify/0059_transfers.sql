do $$
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.command_transfer_failed(uuid, text, text, text)', 'execute'),
        'command_transfer_failed';
    assert not has_function_privilege('mdvr_api', 'mdvr.command_transfer_failed(uuid, text, text, text)', 'execute'), 'not for the api';
    assert has_function_privilege('mdvr_api', 'mdvr.command_update(uuid, text, text, integer, text, text, text)', 'execute'),
        'command_update';
end
$$;
