do $$
begin
    assert has_function_privilege('mdvr_api', 'mdvr.tenant_write(uuid, jsonb)', 'execute'), 'tenant_write';
    assert not has_function_privilege('mdvr_worker', 'mdvr.tenant_write(uuid, jsonb)', 'execute'), 'the api only';
end
$$;
