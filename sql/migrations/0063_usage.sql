-- 0063: analysis within the minutes of a plan; transcoding is metered, too.
-- Caller: worker.

set role mdvr_owner;

alter table mdvr.usage drop constraint usage_metric_check;
alter table mdvr.usage add constraint usage_metric_check
    check (metric in ('devices', 'users', 'live_s', 'bytes_in', 'bytes_out', 'storage_bytes', 'ai_s', 'transcode_s',
                      'positions', 'alarms', 'commands'));

reset role;
set role mdvr_definer;

create function mdvr.ai_left_s(p_tenant_id uuid) returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p.max_ai_minutes * 60
           - coalesce((select sum(u.amount) from mdvr.usage u
                        where u.tenant_id = p.tenant_id and u.metric = 'ai_s'
                          and u.day >= date_trunc('month', now() at time zone 'UTC')::date), 0)::bigint
      from mdvr.plan p
     where p.tenant_id = p_tenant_id
$$;

comment on function mdvr.ai_left_s(uuid) is 'Seconds of analysis that a tenant''s plan leaves this month; NULL: no limit';
grant execute on function mdvr.ai_left_s(uuid) to mdvr_worker;

reset role;
