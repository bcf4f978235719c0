do $$
begin
    assert has_function_privilege('mdvr_worker',
        'mdvr.live_finding(uuid, integer, text, real, timestamptz, jsonb, text, text, interval, uuid)', 'execute'), 'live_finding';
    assert (select count(*) = 2 from pg_proc where pronamespace = 'mdvr'::regnamespace and proname = 'live_finding'),
        'live_finding, with and without a picture';
end
$$;
