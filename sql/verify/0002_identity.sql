do $$
declare
    t text;
begin
    foreach t in array array['mdvr.tenant', 'mdvr.plan', 'mdvr.user', 'mdvr.session', 'mdvr.refresh_token', 'mdvr.api_key', 'mdvr.signing_key', 'mdvr.login_failure', 'mdvr.push_token', 'mdvr.notification_preference', 'mdvr.usage'] loop
        assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = t::regclass), t || ': row security';
        assert obj_description(t::regclass) is not null, t || ': comment';
        assert pg_get_userbyid((select relowner from pg_class where oid = t::regclass)) = 'mdvr_owner', t || ': owner';
    end loop;
end
$$;
