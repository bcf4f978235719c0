do $$
declare
    t text;
begin
    foreach t in array array['mdvr.telemetry'] loop
        assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = t::regclass), t || ': row security';
        assert obj_description(t::regclass) is not null, t || ': comment';
        assert pg_get_userbyid((select relowner from pg_class where oid = t::regclass)) = 'mdvr_owner', t || ': owner';
    end loop;

    assert (select count(*) >= 7 from pg_inherits where inhparent = 'mdvr.telemetry'::regclass), 'partitions';
    assert to_regclass('mdvr.telemetry_' || to_char(now() at time zone 'UTC' + interval '2 months', 'YYYYMM')) is not null,
        'two months ahead';
    assert has_function_privilege('mdvr_stream', (select 'mdvr.store_positions'::regproc::oid), 'execute'), 'store_positions';
end
$$;
