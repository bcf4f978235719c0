-- 0080: a path is looked for as it is: as a pattern, "_" of a file's name met any letter, and an
-- announcement could be counted as that of another file.

set role mdvr_definer;

create or replace function mdvr.alarm_late() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    early constant interval := interval '2 seconds';
begin
    -- the rule of 0007 and 0040: the alarm began while the file was recorded

    with mine as (
        update mdvr.download d
           set alarm_id = new.id, updated_at = now()
         where d.device_id = new.device_id and d.origin = 'alarm' and d.alarm_id is null
           and d.file_at between new.started_at - interval '1 day' and new.started_at + early
           and new.started_at <= d.file_at + make_interval(secs => coalesce(d.duration_s, 0)) + early
        returning d.path
    )
    update mdvr.alarm_message m
       set alarm_id = new.id
      from mine
     where m.device_id = new.device_id and m.keyword = 'V232' and m.alarm_id is null
       and m.at > new.started_at - early and position(to_json(mine.path)::text in m.data::text) > 0;

    insert into mdvr.media_late as l (media_id, tenant_id, alarm_id)
    select m.id, m.tenant_id, new.id
      from mdvr.media m
      left join mdvr.download d on d.media_id = m.id
     where m.device_id = new.device_id and m.alarm_id is null and m.source = 'alarm_file'
       and m.quarantined is null and m.deleted_at is null
       and m.at between new.started_at - interval '1 day' and new.started_at + early
       and new.started_at between coalesce(d.file_at, m.at) - early
               and coalesce(d.file_at, m.at) + make_interval(secs => coalesce(d.duration_s, m.duration_s, 0)) + early
        on conflict (media_id) do update set alarm_id = excluded.alarm_id, at = now()
         where new.started_at > (select a.started_at from mdvr.alarm a where a.id = l.alarm_id);

    return null;
end
$$;

reset role;
