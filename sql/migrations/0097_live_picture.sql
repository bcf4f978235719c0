-- 0097: a finding in a live stream names its picture: a media item that comes a
-- moment later.  Caller: worker.

set role mdvr_definer;

create function mdvr.live_finding(p_device_id uuid, p_channel integer, p_kind text, p_confidence real, p_at timestamptz,
    p_box jsonb, p_model text, p_model_version text, p_repeat interval, p_media_id uuid)
returns table (tenant_id uuid, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    d mdvr.device;
begin
    select * into d from mdvr.device x where x.id = p_device_id and x.deleted_at is null;

    if not found then
        return;
    end if;

    insert into mdvr.live_seen as s (device_id, channel, kind, tenant_id, at)
    values (d.id, p_channel, p_kind, d.tenant_id, p_at)
    on conflict (device_id, channel, kind) do update set at = excluded.at
     where s.at <= excluded.at - p_repeat;

    if not found then
        return;
    end if;

    return query
    select d.tenant_id, e.message
      from mdvr.event_append(d.tenant_id, 'device', d.id, json_build_object(
               'device_id', d.id, 'serial', d.serial, 'event', 'finding', 'reason', null, 'at', mdvr.rfc3339(p_at),
               'channel', p_channel, 'kind', p_kind, 'confidence', round(p_confidence::numeric, 3), 'box', p_box,
               'model', p_model, 'model_version', p_model_version, 'media_id', p_media_id)) e;
end
$$;

comment on function mdvr.live_finding(uuid, integer, text, real, timestamptz, jsonb, text, text, interval, uuid) is
    'Something was seen in a live stream: the event to publish, or no row when that kind was told less than p_repeat ago';

-- for workers of before

create or replace function mdvr.live_finding(p_device_id uuid, p_channel integer, p_kind text, p_confidence real, p_at timestamptz,
    p_box jsonb, p_model text, p_model_version text, p_repeat interval)
returns table (tenant_id uuid, message json)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select * from mdvr.live_finding(p_device_id, p_channel, p_kind, p_confidence, p_at, p_box, p_model, p_model_version,
                                    p_repeat, null)
$$;

grant execute on function
    mdvr.live_finding(uuid, integer, text, real, timestamptz, jsonb, text, text, interval, uuid) to mdvr_worker;

reset role;
