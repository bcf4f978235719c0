do $$
declare
    t text;
    g mdvr.geofence;
begin
    foreach t in array array['mdvr.rule_state', 'mdvr.geofence_state', 'mdvr.rule_alarm'] loop
        assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = t::regclass), t || ': row security';
        assert obj_description(t::regclass) is not null, t || ': comment';
    end loop;

    g.shape := 'polygon';
    g.geometry := '{"type":"Polygon","coordinates":[[[8,47],[9,47],[9,48],[8,48],[8,47]],[[8.4,47.4],[8.6,47.4],[8.6,47.6],[8.4,47.6],[8.4,47.4]]]}';
    g.min_lat_deg := 47; g.max_lat_deg := 48; g.min_lon_deg := 8; g.max_lon_deg := 9;
    assert mdvr.geofence_contains(g, 47.2, 8.2), 'inside';
    assert not mdvr.geofence_contains(g, 47.5, 8.5), 'in the hole';
    assert not mdvr.geofence_contains(g, 48.5, 8.5), 'outside';

    g.shape := 'circle'; g.radius_m := 1000;
    g.geometry := '{"type":"Point","coordinates":[8.5,47.5]}';
    assert mdvr.geofence_contains(g, 47.508, 8.5), '890 m away';
    assert not mdvr.geofence_contains(g, 47.51, 8.5), '1,112 m away';

    assert has_function_privilege('mdvr_stream', 'mdvr.rules_evaluate(integer)', 'execute'), 'rules_evaluate';
end
$$;
