do $$
begin
    assert (select count(*) from pg_trigger where tgname = 'quota_storage') = 2, 'triggers';
end
$$;
