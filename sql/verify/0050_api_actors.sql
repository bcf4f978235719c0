do $$
begin
    assert exists (select from pg_constraint where conname = 'alarm_acknowledged'), 'constraint';
end
$$;
