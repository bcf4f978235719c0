do $$
begin
    assert pg_get_functiondef('mdvr.alarm_late()'::regprocedure) !~* ' like ', 'alarm_late: no pattern';
    assert (select prosecdef from pg_proc where oid = 'mdvr.alarm_late()'::regprocedure), 'alarm_late: definer';
end
$$;
