-- 0064: an alarm that arrives after its file.  A recorder's V201 may wait in its
-- memory while the V232 of its file is through: when the alarm comes, what was
-- announced, fetched or stored in its time and belongs to none becomes its own.
-- Items that are there already are attached by the worker, which tells so.
-- Callers: worker; the trigger works for whoever stores alarms.

set role mdvr_owner;

create table mdvr.media_late (
    media_id   uuid         primary key,
    tenant_id  uuid         not null references mdvr.tenant,
    alarm_id   uuid         not null,
    at         timestamptz  not null default now(),
    foreign key (tenant_id, media_id) references mdvr.media (tenant_id, id) on delete cascade,
    foreign key (tenant_id, alarm_id) references mdvr.alarm (tenant_id, id) on delete cascade
);

comment on table mdvr.media_late is 'Media items whose alarm came after them; a row lives until the worker has attached it';
call mdvr.protect('mdvr.media_late', 'tenant');
grant select, insert, update, delete on mdvr.media_late to mdvr_definer;

create index media_alone on mdvr.media (device_id, at)
    where alarm_id is null and source = 'alarm_file' and quarantined is null and deleted_at is null;
create index download_alone on mdvr.download (device_id, file_at) where alarm_id is null and origin = 'alarm';

reset role;
set role mdvr_definer;

create function mdvr.alarm_late() returns trigger
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
       and m.at > new.started_at - early and m.data::text like '%' || to_json(mine.path)::text || '%';

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

comment on function mdvr.alarm_late() is 'Trigger: files that arrived before their alarm are found again';
grant execute on function mdvr.alarm_late() to mdvr_owner;

create function mdvr.media_attach(p_limit integer) returns table (tenant_id uuid, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    l record;
begin
    for l in
        select x.media_id, x.tenant_id, x.alarm_id, a.started_at
          from mdvr.media_late x
          join mdvr.alarm a on a.id = x.alarm_id
         order by x.at, x.media_id
         limit p_limit
           for update of x skip locked
    loop
        update mdvr.media m set alarm_id = l.alarm_id, updated_at = now()
         where m.id = l.media_id and m.alarm_id is null and m.quarantined is null and m.deleted_at is null;

        if found then
            perform mdvr.audit_append(l.tenant_id, null, null, null, 'media.attach', 'media', l.media_id::text,
                                      jsonb_build_object('alarm_id', l.alarm_id), null);
            return query select l.tenant_id, e.message from mdvr.media_event(l.media_id) e
                          where exists (select from mdvr.media m where m.id = l.media_id and m.status = 'ready');
        end if;

        delete from mdvr.media_late where media_id = l.media_id;
    end loop;
end
$$;

comment on function mdvr.media_attach(integer) is
    'Attaches items to alarms that came after them; one row per event to publish';
grant execute on function mdvr.media_attach(integer) to mdvr_worker;

reset role;
set role mdvr_owner;

create trigger alarm_late after insert on mdvr.alarm for each row execute function mdvr.alarm_late();

reset role;
