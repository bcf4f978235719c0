-- 0050: who acts without being a user of the tenant: a super_admin of another one
-- acknowledges alarms, an API key watches.

set role mdvr_owner;

do $$
declare
    c text;
begin
    select conname into c
      from pg_constraint
     where conrelid = 'mdvr.alarm'::regclass and contype = 'c'
       and pg_get_constraintdef(oid) like '%acknowledged_at IS NULL%acknowledged_by IS NULL%';

    execute format('alter table mdvr.alarm drop constraint %I', c);
end
$$;

alter table mdvr.alarm add constraint alarm_acknowledged
    check (acknowledged_by is null or acknowledged_at is not null);

comment on column mdvr.alarm.acknowledged_by is
    'NULL with acknowledged_at set: somebody of the platform, named in the audit';

reset role;
set role mdvr_definer;

create or replace function mdvr.acknowledge_alarm(p_alarm_id uuid, p_note text,
    out verdict text, out event_id text, out message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
    person constant uuid := nullif(current_setting('app.current_user_id', true), '')::uuid;
    a mdvr.alarm;
begin
    select * into a from mdvr.alarm where id = p_alarm_id and tenant_id = tenant for update;

    if not found or mdvr.can_see_device(a.device_id) is not true then
        verdict := 'unknown';
        return;
    end if;

    if a.acknowledged_at is not null then
        verdict := 'conflict';
        return;
    end if;

    update mdvr.alarm
       set status = 'acknowledged', acknowledged_at = now(), acknowledge_note = p_note,
           acknowledged_by = (select u.id from mdvr.user u where u.id = person and u.tenant_id = tenant)
     where id = p_alarm_id;

    verdict := 'ok';
    select e.event_id, e.message into event_id, message
      from mdvr.alarm_event(p_alarm_id, 'acknowledged', a.uid, now()) e;
end
$$;

create or replace function mdvr.video_session_renew(p_id uuid, p_expires_at timestamptz) returns boolean
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update mdvr.video_session
       set expires_at = greatest(expires_at, p_expires_at)
     where id = p_id and ended_at is null
       and tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid
       and nullif(current_setting('app.current_user_id', true), '')::uuid in (user_id, session_id)
       and mdvr.can_see_device(device_id)
    returning true
$$;

reset role;
