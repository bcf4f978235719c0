do $$
declare
    t    uuid := mdvr.uuid7();
    a    uuid := mdvr.uuid7();
    b    uuid := mdvr.uuid7();
    boot uuid := mdvr.uuid7();
    at   timestamptz := date_trunc('milliseconds', now());
    n    bigint;
begin
    assert (select pg_get_functiondef('mdvr.record_devices(text,uuid,jsonb)'::regprocedure)) ~ 'select count\(\*\) from closed',
           'record_devices: the event counter comes after the changes';
    assert (select tgtype & 2 from pg_trigger where tgname = 'user_changed') = 2, 'user_changed: before the row changes';

    insert into mdvr.tenant (id, name) values (t, 'verify 0081');
    insert into mdvr.device (id, tenant_id, serial) values (a, t, 'verify-0081a'), (b, t, 'verify-0081b');

    perform mdvr.record_devices('verify-0081', boot, jsonb_build_array(
        jsonb_build_object('online', true, 'device', b, 'at', at, 'address', '10.0.0.1'),
        jsonb_build_object('online', true, 'device', a, 'at', at, 'address', '10.0.0.1'),
        jsonb_build_object('online', false, 'device', a, 'at', at, 'reason', 'gone'),
        jsonb_build_object('online', true, 'device', a, 'at', at + interval '1 s', 'address', '10.0.0.1')));
    assert (select last_seq from mdvr.event_counter where tenant_id = t) = 4, 'four events';

    select count(message) into n from mdvr.devices_lost(array['verify-0081', 'nobody'], null, 'verify');
    assert n = 2, 'both are lost';
    assert not exists (select from mdvr.connection where tenant_id = t and disconnected_at is null), 'and closed';

    raise exception using errcode = 'MD999';
exception
    when sqlstate 'MD999' then null;
end
$$;
