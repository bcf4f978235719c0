-- 0062: how stored objects end.  Rows are marked first (by a user, or when a
-- tenant's retention is over), then the worker removes the objects, then it says
-- so: whoever dies in between leaves work, not garbage.  A legal hold on the
-- item, its alarm or its tenant stops the first two.  Callers: worker, api.

set role mdvr_owner;

alter table mdvr.alarm add column legal_hold boolean not null default false;
alter table mdvr.media
    add column purged_at      timestamptz,
    add column finding_bytes  bigint not null default 0 check (finding_bytes >= 0),
    add column hls_playlist   text   check (length(hls_playlist) <= 1000000),
    add column sprite         jsonb  check (jsonb_typeof(sprite) = 'object'),
    add column analysis       text   check (analysis in ('queued', 'done', 'failed', 'quota', 'off'));

comment on column mdvr.alarm.legal_hold is 'Neither the alarm''s media nor their objects are removed while this is set';
comment on column mdvr.media.purged_at is 'When the objects of a deleted item were removed; the row stays for 30 days';
comment on column mdvr.media.finding_bytes is 'Of stored_bytes: pictures of findings';
comment on column mdvr.media.sprite is 'Timeline in one picture: columns, rows, width, height, every_s, count';
comment on column mdvr.media.analysis is 'What became of the analysis; quota: the plan''s minutes of the month are used up';

create index media_doomed on mdvr.media (deleted_at) where deleted_at is not null and purged_at is null;
create index media_retained on mdvr.media (tenant_id, created_at) where deleted_at is null;
create index media_purged on mdvr.media (purged_at) where purged_at is not null;
grant update (legal_hold) on mdvr.alarm to mdvr_api;

reset role;
set role mdvr_definer;

create function mdvr.media_held(p_tenant_id uuid, p_alarm_id uuid, p_hold boolean) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p_hold
           or coalesce((select t.legal_hold from mdvr.tenant t where t.id = p_tenant_id), false)
           or coalesce((select a.legal_hold from mdvr.alarm a where a.id = p_alarm_id), false)
$$;

comment on function mdvr.media_held(uuid, uuid, boolean) is 'Is a media item under legal hold, itself or through its alarm or tenant?';
grant execute on function mdvr.media_held(uuid, uuid, boolean) to mdvr_api, mdvr_worker;


-- Age counts from the arrival: a device's clock decides nothing here.

create function mdvr.media_expire(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    t record;
    m record;
    n integer := 0;
begin
    for t in
        select x.id, x.retention_days from mdvr.tenant x where not x.legal_hold order by x.id
    loop
        for m in
            select x.id
              from mdvr.media x
             where x.tenant_id = t.id and x.deleted_at is null
               and x.created_at < now() - make_interval(days => t.retention_days)
               and not x.legal_hold
               and not exists (select from mdvr.alarm a where a.id = x.alarm_id and a.legal_hold)
             order by x.created_at
             limit p_limit - n
               for update skip locked
        loop
            update mdvr.media set deleted_at = now(), updated_at = now() where id = m.id;
            n := n + 1;

            perform mdvr.audit_append(t.id, null, null, null, 'media.expire', 'media', x.id::text,
                        jsonb_build_object('device_id', x.device_id, 'sha256', encode(x.sha256, 'hex'),
                                           'retention_days', t.retention_days), null)
               from mdvr.media x
              where x.id = m.id;
        end loop;

        exit when n >= p_limit;
    end loop;

    return n;
end
$$;

comment on function mdvr.media_expire(integer) is
    'Marks media items beyond their tenant''s retention as deleted, at most p_limit; returns how many';


create function mdvr.media_doomed(p_limit integer) returns table (tenant_id uuid, media_id uuid)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select m.tenant_id, m.id
      from mdvr.media m
     where m.deleted_at is not null and m.purged_at is null
       and not mdvr.media_held(m.tenant_id, m.alarm_id, m.legal_hold)
     order by m.deleted_at
     limit p_limit
$$;

comment on function mdvr.media_doomed(integer) is 'Deleted media items whose objects are still there';


create function mdvr.media_purged(p_media_id uuid, p_objects integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    owner uuid;
begin
    update mdvr.media
       set purged_at = now(), stored_bytes = 0, finding_bytes = 0, hls_playlist = null
     where id = p_media_id and deleted_at is not null and purged_at is null
    returning tenant_id into owner;

    if not found then
        return false;
    end if;

    delete from mdvr.finding where media_id = p_media_id;

    perform mdvr.audit_append(owner, null, null, null, 'media.purge', 'media', p_media_id::text,
                              jsonb_build_object('objects', p_objects), null);
    return true;
end
$$;

comment on function mdvr.media_purged(uuid, integer) is 'The objects of a deleted media item are gone; false: that was known';


create function mdvr.media_forget(p_limit integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    old uuid[];
begin
    select array_agg(x.id) into old
      from (select m.id from mdvr.media m
             where m.purged_at < now() - interval '30 days'
               and not mdvr.media_held(m.tenant_id, m.alarm_id, m.legal_hold)
             order by m.purged_at limit p_limit) x;

    if old is null then
        return 0;
    end if;

    update mdvr.download set media_id = null where media_id = any (old);
    delete from mdvr.media where id = any (old);

    return cardinality(old);
end
$$;

comment on function mdvr.media_forget(integer) is 'Removes rows of media items whose objects went 30 days ago';


-- Folders in the storage whose item nobody knows.  A tenant that is not known here
-- may be somebody else's: its objects are left alone, so that a wrong database
-- never costs a file.

create function mdvr.objects_unknown(p_tenant_id uuid, p_ids uuid[]) returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select i
      from unnest(p_ids) i
      join mdvr.tenant t on t.id = p_tenant_id and not t.legal_hold
     where not exists (select from mdvr.media m where m.id = i and m.purged_at is null)
       and not exists (select from mdvr.evidence e where e.id = i)
$$;

comment on function mdvr.objects_unknown(uuid, uuid[]) is
    'Of these ids those that no media item with objects and no evidence package has; none of a tenant that is unknown or under legal hold';

grant execute on function mdvr.media_expire(integer), mdvr.media_doomed(integer), mdvr.media_purged(uuid, integer),
    mdvr.media_forget(integer), mdvr.objects_unknown(uuid, uuid[]) to mdvr_worker;

reset role;
