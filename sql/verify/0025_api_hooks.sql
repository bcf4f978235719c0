do $$
begin
    assert has_function_privilege('mdvr_api', 'mdvr.webhook_test(uuid)', 'execute'), 'webhook_test';
end
$$;
