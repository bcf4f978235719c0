do $$
begin
    assert has_function_privilege('mdvr_api', 'mdvr.secrets_to_seal(bytea, text, integer)', 'execute'), 'secrets_to_seal';
end
$$;
