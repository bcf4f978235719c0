do $$
begin
    assert has_function_privilege('mdvr_api', 'mdvr.geofence_write(uuid, jsonb)', 'execute'), 'geofence_write';
    assert has_function_privilege('mdvr_api', 'mdvr.push_token_take(text, text, text)', 'execute'), 'push_token_take';
end
$$;
