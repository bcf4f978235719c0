do $$
begin
    assert pg_get_functiondef('mdvr.tenant_keeps_positions()'::regprocedure) ~ 'lock table mdvr.telemetry', 'waits for batches';
end
$$;
