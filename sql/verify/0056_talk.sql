do $$
begin
    assert has_function_privilege('mdvr_api', 'mdvr.talk_claim(uuid, text, timestamptz, uuid, boolean)', 'execute'), 'grant';
    assert exists (select from pg_indexes where indexname = 'video_session_talk'), 'index';
end
$$;
