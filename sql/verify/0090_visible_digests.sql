do $$
declare
    a text;
begin
    assert has_function_privilege('mdvr_api', 'mdvr.visible_digests(uuid[], uuid[])', 'execute'), 'visible_digests';
    assert has_function_privilege('mdvr_api', 'mdvr.visible_now()', 'execute'), 'visible_now';
    select string_agg(n || ' ' || digest, ',') into a
      from mdvr.visible_digests(array[gen_random_uuid(), gen_random_uuid()], array[gen_random_uuid(), gen_random_uuid()]);
    assert a = '1 0:0,2 0:0', 'who sees nothing has the digest of nothing';
end
$$;
