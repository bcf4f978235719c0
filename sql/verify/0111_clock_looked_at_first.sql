do $$
begin
    assert (select count(*) = 1 and bool_and(prosrc ~ 'if exists \(select' and prosrc ~ 't.clock_at = r.clock_at' and proacl::text ~ 'mdvr_stream')
              from pg_proc where pronamespace = 'mdvr'::regnamespace and proname = 'store_positions'), 'store_positions';
end
$$;
