do $$
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.device_refused(uuid,text,text,text)', 'execute'), 'device_refused';
    perform mdvr.device_refused(mdvr.uuid7(), 'none', '127.0.0.1', 'nobody');
end
$$;
