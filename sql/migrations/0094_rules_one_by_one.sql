-- 0094: rules_store() keeps the order of locks (0081): one alarm at a time, since the one after
-- it locks rows again when the event counter is taken.

set role mdvr_definer;

create or replace function mdvr.rules_store()
returns table (tenant_id uuid, message json, record_device uuid, record_alarm uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    r      mdvr.rule_alarm;
    a      record;
    wanted boolean;
    device uuid;
    first  uuid;
begin
    select x.id, x.device_id into first, device from mdvr.rule_alarm x order by x.id limit 1;

    if device is null then
        return;
    end if;

    perform pg_advisory_xact_lock(hashtextextended(device::text, 5571));

    delete from mdvr.rule_alarm x where x.id = first returning x.* into r;

    if found then
        tenant_id := r.tenant_id;
        wanted := mdvr.record_on_alarm(r.device_id, r.phase, r.at);

        for a in
            select s.alarm_id, s.is_new, s.message
              from mdvr.store_alarm(r.device_id, case when r.phase = 'end' then 'V' || (substr(r.code, 2)::integer + 50)
                                                      else r.code end,
                       r.code, r.phase, r.kind, case when r.kind = 'overspeed' then 'warning' else 'info' end, r.sub_key,
                       'server_' || replace(r.id::text, '-', ''), r.at, r.received_at, r.position, r.data, null, null) s
        loop
            message := a.message;
            record_device := null;
            record_alarm := null;

            if a.is_new and wanted then                 -- once, however many messages there are
                record_device := r.device_id;
                record_alarm := a.alarm_id;
                wanted := false;
            end if;

            return next;
        end loop;
    end if;

    message := null;                                -- there may be more
    record_device := null;
    record_alarm := null;
    return next;
end
$$;

comment on function mdvr.rules_store() is
    'Stores the first of the waiting alarms; rows: messages to publish and the alarm to be recorded, the last one NULL. No row: nothing waits';

reset role;
