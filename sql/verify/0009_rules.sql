do $$
declare
    t text;
begin
    foreach t in array array['mdvr.geofence', 'mdvr.geofence_event', 'mdvr.webhook', 'mdvr.delivery'] loop
        assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = t::regclass), t || ': row security';
        assert obj_description(t::regclass) is not null, t || ': comment';
        assert pg_get_userbyid((select relowner from pg_class where oid = t::regclass)) = 'mdvr_owner', t || ': owner';
    end loop;
end
$$;
