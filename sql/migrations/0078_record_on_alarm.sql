-- 0078: a live stream is recorded when its device raises an alarm, if the tenant's
-- settings say `record_on_alarm`.  The file is made by the server, so no message of
-- the alarm names it; it belongs to the alarm all the same.
-- Callers: stream (record_on_alarm), worker (evidence_match).

set role mdvr_definer;

create function mdvr.record_on_alarm(p_device_id uuid, p_phase text, p_at timestamptz) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p_phase <> 'end' and p_at between now() - interval '1 minute' and now() + interval '1 minute'
           and exists (select
                         from mdvr.device d
                         join mdvr.tenant t on t.id = d.tenant_id and t.status = 'active'
                        where d.id = p_device_id and d.deleted_at is null
                          and t.settings ->> 'record_on_alarm' = 'on')
$$;

comment on function mdvr.record_on_alarm(uuid, text, timestamptz) is
    'Whether what is live of the device is to be recorded because of such an alarm: one that begins now';
grant execute on function mdvr.record_on_alarm(uuid, text, timestamptz) to mdvr_stream;


-- as in 0040, and what the server itself has recorded

create or replace function mdvr.evidence_match(p_device_id uuid, p_alarm_id uuid, p_download_id uuid, p_source text,
    p_path text, p_at timestamptz, p_duration_s real, out alarm_id uuid, out quarantined text)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    a      mdvr.alarm;
    d      mdvr.download;
    first  timestamptz;
    last   timestamptz;
begin
    select * into d from mdvr.download x where x.id = p_download_id;

    first := coalesce(d.file_at, p_at) - interval '2 seconds';
    last := coalesce(d.file_at, p_at) + make_interval(secs => coalesce(d.duration_s, p_duration_s, 0) + 2);

    if p_alarm_id is null then
        if p_source = 'alarm_file' then
            select x.id into alarm_id
              from mdvr.alarm x
             where x.device_id = p_device_id and x.started_at between first and last
             order by x.started_at desc
             limit 1;
        end if;

        if d.id is not null and (d.device_id <> p_device_id or d.path <> p_path) and alarm_id is not null then
            quarantined := 'the file is not the one that was asked for: ' || left(d.path, 100);
            alarm_id := null;
        end if;

        return;
    end if;

    select * into a from mdvr.alarm x where x.id = p_alarm_id;

    quarantined := case
        when a.id is null then 'claims an alarm that does not exist'
        when a.device_id <> p_device_id then 'claims an alarm of another device'
        when p_source = 'recording' and p_download_id is null then null
        when p_download_id is not null and d.id is null then 'claims a download that does not exist'
        when d.device_id <> p_device_id then 'claims a download of another device'
        when d.id is not null and d.alarm_id is distinct from p_alarm_id then 'claims another alarm than its download'
        when d.path <> p_path then 'the file has another name than the announced one: ' || left(d.path, 100)
        when d.id is null and p_path is distinct from a.recording_path and p_path is distinct from a.snapshot_path
            then 'no message of the alarm names this file'
        when a.started_at not between first and last then 'the alarm did not begin while the file was recorded'
    end;

    if quarantined is null then
        alarm_id := p_alarm_id;
    end if;
end
$$;

reset role;
