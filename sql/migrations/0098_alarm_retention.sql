-- 0098: alarms end with their tenant's retention, as positions and media do: those
-- that have ended, that no media item and no unfinished download names, and that are
-- under no legal hold.  Age counts from the arrival.  Caller: worker.

set role mdvr_owner;

create index alarm_retained on mdvr.alarm (tenant_id, received_at);
create index download_alarm on mdvr.download (alarm_id) where alarm_id is not null;

reset role;
set role mdvr_definer;

create function mdvr.purge_alarms(p_limit integer) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t record;
    old uuid[];
begin
    for t in
        select id, now() - make_interval(days => retention_days) as horizon
          from mdvr.tenant
         where not legal_hold
         order by id
    loop
        select array_agg(x.id) into old
          from (select a.id
                  from mdvr.alarm a
                 where a.tenant_id = t.id and a.received_at < t.horizon and a.ended_at is not null and not a.legal_hold
                   and not exists (select from mdvr.media m where m.alarm_id = a.id)
                   and not exists (select from mdvr.download d where d.alarm_id = a.id and d.status not in ('complete', 'failed'))
                 order by a.received_at
                 limit p_limit
                   for update skip locked) x;

        continue when old is null;

        delete from mdvr.download d where d.alarm_id = any (old);
        delete from mdvr.alarm a where a.id = any (old);

        perform mdvr.audit_append(t.id, null, null, null, 'alarm.expire', 'tenant', t.id::text,
                                  jsonb_build_object('alarms', cardinality(old)), null);

        return cardinality(old);                    -- one tenant a call: short transactions
    end loop;

    return 0;
end
$$;

comment on function mdvr.purge_alarms(integer) is
    'Deletes alarms beyond a tenant''s retention, at most p_limit; returns how many, 0 when all is done';

grant execute on function mdvr.purge_alarms(integer) to mdvr_worker;

reset role;
