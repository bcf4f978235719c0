do $$
begin
    assert has_function_privilege('mdvr_worker', 'mdvr.notify_plan(text[],interval,interval,integer)', 'execute'), 'notify_plan';
    assert has_function_privilege('mdvr_worker', 'mdvr.notify_due(interval,integer)', 'execute'), 'notify_due';
    assert not has_function_privilege('mdvr_api', 'mdvr.notify_due(interval,integer)', 'execute'), 'not for the api';
    assert not has_table_privilege('mdvr_worker', 'mdvr.notify_cursor', 'select'), 'the cursor is nobody''s';
end
$$;
