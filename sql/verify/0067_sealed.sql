do $$
begin
    assert has_function_privilege('mdvr_api', 'mdvr.secret_sealed(text, bytea, bytea)', 'execute'), 'api seals';
    assert not has_function_privilege('mdvr_worker', 'mdvr.secret_sealed(text, bytea, bytea)', 'execute'), 'worker does not';
    assert has_function_privilege('mdvr_stream', 'mdvr.void_access()', 'execute'), 'stream asks';
    assert (select count(*) from pg_constraint where conname in ('signing_key_secret_check', 'webhook_secret_check',
        'user_totp_secret_check')) = 3, 'lengths';
    perform mdvr.void_access();
end
$$;
