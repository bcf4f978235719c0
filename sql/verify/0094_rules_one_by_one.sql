do $$
begin
    assert pg_get_functiondef('mdvr.rules_store()'::regprocedure) ~ 'x.id = first', 'one at a time';
    assert has_function_privilege('mdvr_stream', 'mdvr.rules_store()', 'execute'), 'rules_store';
end
$$;
