do $$
begin
    assert has_function_privilege('mdvr_worker', 'mdvr.ai_left_s(uuid)', 'execute'), 'ai_left_s';
    assert mdvr.ai_left_s('00000000-0000-0000-0000-000000000000') is null, 'no plan, no limit';
end
$$;
