do $$
declare
    t  uuid := mdvr.uuid7();
    d  uuid := mdvr.uuid7();
    at timestamptz := date_trunc('milliseconds', now());
    m  json;
begin
    assert has_function_privilege('mdvr_stream', 'mdvr.device_contested(uuid,text,timestamptz,text,text,integer)', 'execute'),
           'device_contested';

    insert into mdvr.tenant (id, name) values (t, 'verify 0053');
    insert into mdvr.device (id, tenant_id, serial) values (d, t, 'verify-0053');
    perform mdvr.register_device(d, 'a', mdvr.uuid7(), '10.0.0.1', at, '{}');

    select message into m from mdvr.device_contested(d, 'a', at, '10.0.0.1', '10.0.0.1', 1);
    assert m is null, 'the same address is nothing';

    select message into m from mdvr.device_contested(d, 'a', at, '10.0.0.1', '10.0.0.2', 1);
    assert m ->> 'event' = 'contested', 'another one is an event';
    assert (select reason like 'contested: 10.0.0.2 %' and disconnected_at is not null
              from mdvr.connection where device_id = d and connected_at = at), 'the history says so';
    assert exists (select from mdvr.audit where tenant_id = t and action = 'device.contested'), 'audited';

    select message into m from mdvr.device_contested(d, 'a', at - interval '1 s', '10.0.0.2', '10.0.0.1', 1);
    assert m is null, 'once in ten minutes';

    raise exception using errcode = 'MD999';
exception
    when sqlstate 'MD999' then null;
end
$$;
