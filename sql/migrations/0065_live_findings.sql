-- 0065: what analysers see in live streams.  It becomes an event of the device,
-- once in a while for each kind and channel.  Off unless the device's or the
-- tenant's settings say `ai_live`.  Caller: worker.

set role mdvr_owner;

create table mdvr.live_seen (
    device_id  uuid         not null,
    channel    smallint     not null check (channel between 1 and 64),
    kind       text         not null check (length(kind) between 1 and 64),
    tenant_id  uuid         not null references mdvr.tenant,
    at         timestamptz  not null,
    primary key (device_id, channel, kind),
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
) with (fillfactor = 50);

comment on table mdvr.live_seen is 'When a kind of finding in a live stream was last told; repetitions wait';
call mdvr.protect('mdvr.live_seen', 'tenant');
grant select, insert, update on mdvr.live_seen to mdvr_definer;

reset role;
set role mdvr_definer;

create function mdvr.live_watch(p_device_id uuid) returns uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select d.tenant_id
      from mdvr.device d
      join mdvr.tenant t on t.id = d.tenant_id and t.status = 'active'
     where d.id = p_device_id and d.deleted_at is null
       and coalesce(d.settings ->> 'ai_live', t.settings ->> 'ai_live') = 'true'
       and coalesce(mdvr.ai_left_s(d.tenant_id) > 0, true)
$$;

comment on function mdvr.live_watch(uuid) is
    'The tenant of a device whose live streams are to be analysed, while the plan has minutes left; NULL: they are not';


create function mdvr.live_finding(p_device_id uuid, p_channel integer, p_kind text, p_confidence real, p_at timestamptz,
    p_box jsonb, p_model text, p_model_version text, p_repeat interval)
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
               'model', p_model, 'model_version', p_model_version)) e;
end
$$;

comment on function mdvr.live_finding is
    'Something was seen in a live stream: the event to publish, or no row when that kind was told less than p_repeat ago';

grant execute on function mdvr.live_watch(uuid), mdvr.live_finding to mdvr_worker;

reset role;
