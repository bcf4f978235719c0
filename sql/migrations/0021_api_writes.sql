-- 0021: writes of the platform's own routes, and of groups.

set role mdvr_owner;

create function mdvr.group_write(p_group_id uuid, p_body jsonb) returns uuid
language plpgsql
as $$
declare
    tenant constant uuid := nullif(current_setting('app.current_tenant_id', true), '')::uuid;
    made   uuid := p_group_id;
begin
    if p_group_id is null then
        insert into mdvr.device_group (id, tenant_id, name) values (mdvr.uuid7(), tenant, p_body ->> 'name')
        returning id into made;
    else
        update mdvr.device_group g set name = coalesce(p_body ->> 'name', g.name) where g.id = p_group_id;

        if not found then
            return null;
        end if;
    end if;

    if p_body ? 'device_ids' then
        delete from mdvr.group_device g
         where g.group_id = made
           and g.device_id not in (select value::uuid from jsonb_array_elements_text(p_body -> 'device_ids'));

        insert into mdvr.group_device (group_id, device_id, tenant_id)
        select distinct made, value::uuid, tenant from jsonb_array_elements_text(p_body -> 'device_ids')
        on conflict do nothing;
    end if;

    return made;
end
$$;

comment on function mdvr.group_write(uuid, jsonb) is
    'Creates (NULL) or changes a group and its devices; NULL when there is no such group';
grant execute on function mdvr.group_write(uuid, jsonb) to mdvr_api;

reset role;
set role mdvr_definer;

create function mdvr.plan_json(p_tenant_id uuid) returns json
language sql volatile security definer set search_path = pg_catalog, pg_temp
as $$
    select json_build_object('name', p.name, 'max_devices', p.max_devices, 'max_users', p.max_users,
                             'max_storage_bytes', p.max_storage_bytes, 'max_live_minutes', p.max_live_minutes,
                             'max_ai_minutes', p.max_ai_minutes)
      from mdvr.plan p
     where p.tenant_id = p_tenant_id
       and (p_tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid
            or current_setting('app.current_role', true) = 'super_admin')
$$;

comment on function mdvr.plan_json(uuid) is 'Plan of one''s own tenant, or for a super_admin of any';


-- Settings may stand at the top or inside "settings"; what has no column of its
-- own is kept as it is.

create function mdvr.tenant_write(p_tenant_id uuid, p_body jsonb) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    made uuid := p_tenant_id;
    b    constant jsonb := coalesce(p_body -> 'settings', '{}') || (p_body - 'settings');
    q    constant jsonb := b -> 'quotas';
    own  constant text[] := array['name', 'retention_days', 'time_zone', 'legal_hold', 'alarm_download',
                                  'alarm_download_min', 'quotas', 'suspended', 'status'];
begin
    perform mdvr.require_super_admin();

    if b ? 'time_zone' and not exists (select from pg_timezone_names z where z.name = b ->> 'time_zone') then
        raise exception 'unknown time zone' using errcode = 'MD422', detail = 'invalid_value';
    end if;

    if p_tenant_id is null then
        made := mdvr.tenant_make(b ->> 'name');
    end if;

    update mdvr.tenant t
       set name = coalesce(b ->> 'name', t.name),
           retention_days = coalesce((b ->> 'retention_days')::integer, t.retention_days),
           time_zone = coalesce(b ->> 'time_zone', t.time_zone),
           legal_hold = coalesce((b ->> 'legal_hold')::boolean, t.legal_hold),
           alarm_download = coalesce(b ->> 'alarm_download', t.alarm_download),
           alarm_download_min = coalesce(b ->> 'alarm_download_min', t.alarm_download_min),
           settings = case when p_body ? 'settings' then (p_body -> 'settings') - own else t.settings end
     where t.id = made and t.status <> 'deleted';

    if not found then
        return null;
    end if;

    if b ? 'suspended' or b ->> 'status' in ('active', 'suspended') then
        perform mdvr.tenant_set_status(made,
            case when coalesce((b ->> 'suspended')::boolean, b ->> 'status' = 'suspended')
                 then 'suspended' else 'active' end);
    end if;

    if q is not null then
        update mdvr.plan p
           set name = coalesce(q ->> 'name', p.name),
               max_devices = case when q ? 'max_devices' then (q ->> 'max_devices')::integer else p.max_devices end,
               max_users = case when q ? 'max_users' then (q ->> 'max_users')::integer else p.max_users end,
               max_storage_bytes = case when q ? 'max_storage_bytes' then (q ->> 'max_storage_bytes')::bigint
                                        else p.max_storage_bytes end,
               max_live_minutes = case when q ? 'max_live_minutes' then (q ->> 'max_live_minutes')::bigint
                                       else p.max_live_minutes end,
               max_ai_minutes = case when q ? 'max_ai_minutes' then (q ->> 'max_ai_minutes')::bigint
                                     else p.max_ai_minutes end,
               updated_at = now()
         where p.tenant_id = made;
    end if;

    return made;
end
$$;

comment on function mdvr.tenant_write(uuid, jsonb) is
    'super_admin: creates (NULL) or changes a tenant with its settings and quotas; NULL when there is no such tenant';
grant execute on function mdvr.plan_json(uuid), mdvr.tenant_write(uuid, jsonb) to mdvr_api;

reset role;
