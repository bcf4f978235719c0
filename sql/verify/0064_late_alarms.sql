do $$
begin
    assert has_function_privilege('mdvr_worker', 'mdvr.media_attach(integer)', 'execute'), 'media_attach';
    assert exists (select from pg_trigger where tgname = 'alarm_late' and tgrelid = 'mdvr.alarm'::regclass), 'the trigger';
    assert (select relrowsecurity and relforcerowsecurity from pg_class where oid = 'mdvr.media_late'::regclass), 'row security';
end
$$;
