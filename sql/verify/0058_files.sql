do $$
begin
    assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = 'mdvr.file'::regclass), 'file: row security';
    assert obj_description('mdvr.file'::regclass) is not null, 'file: comment';
    assert has_function_privilege('mdvr_stream', 'mdvr.command_transfer(uuid, bigint, bigint)', 'execute'), 'command_transfer';
    assert has_function_privilege('mdvr_stream', 'mdvr.store_device_file(uuid, text, bytea, bytea, bytea)', 'execute'),
        'store_device_file';
    assert has_function_privilege('mdvr_api', 'mdvr.device_upgrading(uuid)', 'execute'), 'device_upgrading';
    assert not exists (select from pg_proc p
                        where p.pronamespace = 'mdvr'::regnamespace and has_function_privilege('public', p.oid, 'execute')),
        'no function is public';
end
$$;
