do $$
begin
    assert has_function_privilege('mdvr_stream', (select 'mdvr.store_positions'::regproc::oid), 'execute'), 'store_positions';
end
$$;
