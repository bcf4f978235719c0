do $$
declare
    t text;
begin
    foreach t in array array['mdvr.audit', 'mdvr.audit_head'] loop
        assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = t::regclass), t || ': row security';
        assert obj_description(t::regclass) is not null, t || ': comment';
        assert pg_get_userbyid((select relowner from pg_class where oid = t::regclass)) = 'mdvr_owner', t || ': owner';
    end loop;

    assert not has_table_privilege('mdvr_definer', 'mdvr.audit', 'update'), 'nobody updates audit';
    assert not has_column_privilege('mdvr_api', 'mdvr.user', 'password_hash', 'select'), 'password hashes are private';
    assert has_function_privilege('mdvr_api', 'mdvr.login_lookup(text)', 'execute'), 'login_lookup';
    assert not has_function_privilege('mdvr_api', 'mdvr.bootstrap_admin(text,text,text)', 'execute'), 'bootstrap_admin';
end
$$;
