do $$
begin
    assert (select count(*) = 2 from pg_roles
             where rolname in ('mdvr_owner', 'mdvr_definer') and not rolcanlogin and not rolsuper and not rolbypassrls),
        'owner and definer';
    assert (select count(*) = 3 from pg_roles
             where rolname in ('mdvr_stream', 'mdvr_api', 'mdvr_worker') and rolcanlogin
                   and not rolsuper and not rolbypassrls and not rolcreaterole),
        'login roles';
    assert not has_schema_privilege('mdvr_api', 'mdvr', 'create'), 'api may not create';
    assert not has_table_privilege('mdvr_api', 'mdvr.migration', 'select'), 'migration is private';
    assert (select mdvr.uuid7()::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]'), 'uuid7';
    assert mdvr.rfc3339('2026-01-31 09:15:30.25+01') = '2026-01-31T08:15:30.250Z', 'rfc3339';
end
$$;
