do $$
begin
    assert has_function_privilege('mdvr_worker', 'mdvr.purge_alarms(integer)', 'execute'), 'purge_alarms';
    assert to_regclass('mdvr.alarm_retained') is not null, 'alarm_retained';
end
$$;
