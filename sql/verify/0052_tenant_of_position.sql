do $$
begin
    assert not exists (select from pg_constraint where conrelid = 'mdvr.telemetry'::regclass and contype = 'f'), 'no foreign key';
    assert exists (select from pg_trigger where tgrelid = 'mdvr.tenant'::regclass and tgname = 'tenant_keeps_positions'), 'delete';
    assert exists (select from pg_trigger where tgrelid = 'mdvr.tenant'::regclass and tgname = 'tenant_keeps_its_id'), 'update';
end
$$;
