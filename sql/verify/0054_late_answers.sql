do $$
declare
    t uuid := mdvr.uuid7();
    d uuid := mdvr.uuid7();
    c uuid := mdvr.uuid7();
    s timestamptz := date_trunc('second', now() - interval '1 hour');
    m json;
begin
    assert has_function_privilege('mdvr_stream',
               'mdvr.command_late(uuid,text,timestamptz,text,text,integer,text,text,text)', 'execute'), 'command_late';

    insert into mdvr.tenant (id, name) values (t, 'verify 0054');
    insert into mdvr.device (id, tenant_id, serial) values (d, t, 'verify-0054');
    insert into mdvr.command (id, tenant_id, device_id, type, keyword, status, created_at, sent_at)
    values (c, t, d, 'device_info', 'C588', 'timeout', s, s + interval '400 milliseconds');

    select message into m from mdvr.command_late(d, 'C588', s - interval '1 minute', 'acknowledged', '1', 1, null, null, null);
    assert m is null, 'another time, another command';
    select message into m from mdvr.command_late(d, 'C723', s, 'acknowledged', '1', 1, null, null, null);
    assert m is null, 'another keyword';
    select message into m from mdvr.command_late(d, 'C588', s, 'acknowledged', '1', 1, null, null, null);
    assert m ->> 'status' = 'acknowledged', 'found';
    select message into m from mdvr.command_late(d, 'C588', s, 'failed', '0', 0, null, null, null);
    assert m is null, 'once';

    raise exception using errcode = 'MD999';
exception
    when sqlstate 'MD999' then null;
end
$$;
