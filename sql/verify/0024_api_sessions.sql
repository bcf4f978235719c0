do $$
begin
    assert to_regclass('mdvr.video_session_session') is not null, 'index';
end
$$;
