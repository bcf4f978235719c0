-- 0030: which node fetches which file next.  Caller: stream.

set role mdvr_definer;

-- Devices at this node that have a download waiting, the oldest first.  One
-- that was left behind (its node died) waits again.

create function mdvr.downloads_due(p_node text, p_limit integer)
returns table (device_id uuid, tenant_id uuid, serial text, origin text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update mdvr.download d
       set status = 'queued', next_at = now(), updated_at = now()
     where d.status = 'running' and d.updated_at < now() - interval '2 minutes';

    return query
    select distinct on (w.created_at, w.device_id) w.device_id, w.tenant_id, d.serial, w.origin
      from (select distinct on (x.device_id) x.device_id, x.tenant_id, x.origin, x.created_at
              from mdvr.download x
             where x.status = 'queued' and x.next_at <= now()
               and not exists (select from mdvr.download r where r.device_id = x.device_id and r.status = 'running')
             order by x.device_id, x.origin <> 'user', x.created_at) w
      join mdvr.device_state s on s.device_id = w.device_id and s.online and s.node = p_node
      join mdvr.device d on d.id = w.device_id and d.deleted_at is null
     order by w.created_at, w.device_id
     limit least(greatest(p_limit, 1), 100);
end
$$;

comment on function mdvr.downloads_due(text, integer) is
    'Devices online at this node whose next download may start; puts back what a dead node left running';


-- The device's next download as one document, or NULL.

create function mdvr.download_claim(p_device_id uuid, p_node text, p_wire_session text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    made uuid;
    doc  text;
begin
    select n.download_id into made from mdvr.download_next(p_device_id, p_node, p_wire_session) n;

    if made is null then
        return null;
    end if;

    select json_strip_nulls(json_build_object(
               'download_id', d.id, 'tenant_id', d.tenant_id, 'device_id', d.device_id, 'serial', v.serial,
               'path', d.path, 'from_byte', d.from_byte, 'to_byte', d.to_byte, 'from_s', d.from_s, 'to_s', d.to_s,
               'media_kind', d.media_kind, 'channel', d.channel, 'alarm_id', d.alarm_id, 'origin', d.origin,
               'at_ms', (extract(epoch from d.file_at) * 1000)::bigint, 'duration_s', d.duration_s::bigint,
               'audio_type', case when s.registration->>'audio_type' ~ '^[0-9]{1,3}$'
                                  then (s.registration->>'audio_type')::integer end,
               'force', d.force, 'request_id', d.request_id, 'traceparent', d.traceparent))::text
      into doc
      from mdvr.download d
      join mdvr.device v on v.id = d.device_id
      left join mdvr.device_state s on s.device_id = d.device_id
     where d.id = made;

    return doc;
end
$$;

comment on function mdvr.download_claim(uuid, text, text) is 'download_next() as a JSON document for the media session';

grant execute on function mdvr.downloads_due(text, integer) to mdvr_stream;
grant execute on function mdvr.download_claim(uuid, text, text) to mdvr_stream;

reset role;
