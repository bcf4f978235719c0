-- 0007: stored media and what was found in it, downloads from devices, live
-- sessions.  Writers: stream and worker, viewers' sessions by the api.

set role mdvr_owner;

create table mdvr.media (
    id              uuid         primary key default mdvr.uuid7(),
    tenant_id       uuid         not null references mdvr.tenant,
    device_id       uuid         not null,
    alarm_id        uuid,
    channel         smallint     check (channel between 1 and 64),
    kind            text         not null check (kind in ('mp4', 'jpeg')),
    source          text         not null check (source in ('alarm_file', 'snapshot', 'download', 'recording', 'upload')),
    source_path     text         check (length(source_path) <= 1024),
    status          text         not null default 'receiving'
                    check (status in ('receiving', 'processing', 'ready', 'failed')),
    failed_reason   text         check (length(failed_reason) <= 500),
    at              timestamptz  not null,                           -- first picture, device clock, UTC
    duration_s      real         check (duration_s >= 0),
    size_bytes      bigint       check (size_bytes >= 0),
    sha256          bytea        check (octet_length(sha256) = 32),
    original_key    text         check (length(original_key) <= 512),
    playback_key    text         check (length(playback_key) <= 512),
    thumbnail_key   text         check (length(thumbnail_key) <= 512),
    sprite_key      text         check (length(sprite_key) <= 512),
    hls_key         text         check (length(hls_key) <= 512),
    stored_bytes    bigint       not null default 0 check (stored_bytes >= 0),
    width_px        integer      check (width_px > 0),
    height_px       integer      check (height_px > 0),
    codec           text         check (length(codec) <= 64),
    quarantined     text         check (length(quarantined) <= 200),
    legal_hold      boolean      not null default false,
    created_at      timestamptz  not null default now(),
    ready_at        timestamptz,
    deleted_at      timestamptz,
    unique (tenant_id, id),
    check (status <> 'ready' or (sha256 is not null and size_bytes is not null and original_key is not null)),
    check (status <> 'failed' or failed_reason is not null),
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id),
    foreign key (tenant_id, alarm_id) references mdvr.alarm (tenant_id, id)
);

create index media_tenant on mdvr.media (tenant_id, at desc, id desc);
create index media_device on mdvr.media (device_id, at desc);
create index media_alarm on mdvr.media (alarm_id) where alarm_id is not null;
create index media_unfinished on mdvr.media (created_at) where status in ('receiving', 'processing');

comment on table mdvr.media is 'One file of a device, from its announcement to the stored objects';
comment on column mdvr.media.sha256 is 'Of the original as it arrived';
comment on column mdvr.media.quarantined is 'Why it was not attached to the alarm it claims; NULL when nothing is wrong';


create table mdvr.finding (
    id             uuid         primary key default mdvr.uuid7(),
    tenant_id      uuid         not null references mdvr.tenant,
    device_id      uuid         not null,
    media_id       uuid         not null,
    kind           text         not null check (kind ~ '^[a-z][a-z0-9_ .-]{0,63}$'),
    confidence     real         not null check (confidence between 0 and 1),
    at_s           real         check (at_s >= 0),
    box            jsonb        check (jsonb_typeof(box) = 'array'),
    picture_key    text         check (length(picture_key) <= 512),
    model          text         not null check (length(model) between 1 and 100),
    model_version  text         not null check (length(model_version) between 1 and 100),
    created_at     timestamptz  not null default now(),
    unique (media_id, kind, at_s, model),
    foreign key (tenant_id, media_id) references mdvr.media (tenant_id, id) on delete cascade,
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id)
);

comment on table mdvr.finding is 'What an analyser saw in a media item; box is [x, y, width, height] in parts of the picture';


create table mdvr.download (
    id              uuid         primary key default mdvr.uuid7(),
    tenant_id       uuid         not null references mdvr.tenant,
    device_id       uuid         not null,
    alarm_id        uuid,
    media_id        uuid,
    user_id         uuid         references mdvr.user,
    origin          text         not null check (origin in ('alarm', 'user', 'playback', 'snapshot')),
    path            text         not null check (length(path) between 1 and 1024),
    media_kind      text         not null default 'mp4' check (media_kind in ('mp4', 'jpeg')),
    channel         smallint     check (channel between 1 and 64),
    file_at         timestamptz,
    duration_s      real         check (duration_s >= 0),
    size_bytes      bigint       check (size_bytes >= 0),
    from_byte       bigint       check (from_byte >= 0),
    to_byte         bigint       check (to_byte >= from_byte),
    from_s          integer      check (from_s >= 0),
    to_s            integer      check (to_s >= from_s),
    force           boolean      not null default false,
    status          text         not null default 'queued' check (status in ('queued', 'running', 'complete', 'failed')),
    failed_reason   text         check (length(failed_reason) <= 500),
    received_bytes  bigint       not null default 0 check (received_bytes >= 0),
    attempts        integer      not null default 0 check (attempts >= 0),
    next_at         timestamptz  not null default now(),
    wire_session    text         check (length(wire_session) <= 64),
    node            text         check (length(node) <= 64),
    staged_path     text         check (length(staged_path) <= 1024),
    request_id      text         check (length(request_id) <= 128),
    traceparent     text         check (length(traceparent) <= 256),
    created_at      timestamptz  not null default now(),
    updated_at      timestamptz  not null default now(),
    check (status <> 'failed' or failed_reason is not null),
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id),
    foreign key (tenant_id, alarm_id) references mdvr.alarm (tenant_id, id),
    foreign key (tenant_id, media_id) references mdvr.media (tenant_id, id)
);

create index download_device on mdvr.download (device_id, created_at desc);
create index download_waiting on mdvr.download (device_id, next_at) where status in ('queued', 'running');
create unique index download_alarm_file on mdvr.download (device_id, path, size_bytes) where origin = 'alarm';

comment on table mdvr.download is 'A file to fetch from a device (C702), by whom and how far it came';
comment on column mdvr.download.attempts is 'In a row without progress';


create table mdvr.media_session (
    id              uuid         primary key default mdvr.uuid7(),
    tenant_id       uuid         not null references mdvr.tenant,
    device_id       uuid         not null,
    kind            text         not null check (kind in ('live', 'file', 'snapshot', 'talk', 'playback')),
    channel         smallint     check (channel between 1 and 64),
    stream          text         check (stream in ('main', 'sub')),
    node            text         not null check (length(node) <= 64),
    wire_session    text         check (length(wire_session) <= 64),
    started_at      timestamptz  not null default now(),
    first_media_at  timestamptz,
    ended_at        timestamptz,
    end_reason      text         check (length(end_reason) <= 200),
    bytes_in        bigint       not null default 0 check (bytes_in >= 0),
    frames          bigint       not null default 0 check (frames >= 0),
    gaps            bigint       not null default 0 check (gaps >= 0),
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
);

create index media_session_device on mdvr.media_session (device_id, started_at desc);
create index media_session_open on mdvr.media_session (node) where ended_at is null;

comment on table mdvr.media_session is 'A media connection of a device, for diagnostics and metering; kept 30 days';


create table mdvr.video_session (
    id          uuid         primary key default mdvr.uuid7(),
    tenant_id   uuid         not null references mdvr.tenant,
    device_id   uuid         not null,
    user_id     uuid         references mdvr.user,
    session_id  uuid,
    kind        text         not null default 'live' check (kind in ('live', 'playback', 'talk')),
    channel     smallint     not null check (channel between 1 and 64),
    stream      text         not null check (stream in ('main', 'sub')),
    node        text         not null check (length(node) <= 64),
    started_at  timestamptz  not null default now(),
    expires_at  timestamptz  not null,
    ended_at    timestamptz,
    end_reason  text         check (length(end_reason) <= 200),
    live_s      bigint       not null default 0 check (live_s >= 0),
    bytes_out   bigint       not null default 0 check (bytes_out >= 0),
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
);

create index video_session_tenant on mdvr.video_session (tenant_id, started_at desc);
create index video_session_open on mdvr.video_session (expires_at) where ended_at is null;

comment on table mdvr.video_session is 'One viewer of one channel: what a stream token was issued for';

call mdvr.protect('mdvr.media', 'device');
call mdvr.protect('mdvr.finding', 'device');
call mdvr.protect('mdvr.download', 'device');
call mdvr.protect('mdvr.media_session', 'device');
call mdvr.protect('mdvr.video_session', 'device');

grant select on mdvr.media, mdvr.finding, mdvr.download, mdvr.media_session, mdvr.video_session
    to mdvr_api, mdvr_worker;
grant insert on mdvr.download, mdvr.video_session to mdvr_api;
grant update (deleted_at, legal_hold) on mdvr.media to mdvr_api;
grant insert, update on mdvr.media, mdvr.download to mdvr_worker;
grant insert, delete on mdvr.finding to mdvr_worker;
grant select, insert, update, delete on mdvr.media, mdvr.finding, mdvr.download, mdvr.media_session, mdvr.video_session
    to mdvr_definer;

reset role;
set role mdvr_definer;

-- V232.  Attaches the file to its alarm by the rule of alarms.md section 6 and,
-- when the tenant's policy wants it, queues the download.

create function mdvr.store_alarm_file(
    p_device_id uuid, p_uid text, p_at timestamptz, p_received_at timestamptz, p_media_kind text, p_path text,
    p_size_bytes bigint, p_file_at timestamptz, p_duration_s integer, p_channel integer, p_data jsonb,
    out alarm_id uuid, out is_new boolean, out download_id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    owner mdvr.tenant;
    level text;
begin
    select t.* into owner from mdvr.tenant t join mdvr.device d on d.tenant_id = t.id where d.id = p_device_id;

    if not found then
        raise exception 'unknown device' using errcode = '02000';
    end if;

    perform pg_advisory_xact_lock(hashtextextended(p_device_id::text, 5571));

    select m.alarm_id into alarm_id
      from mdvr.alarm_message m
     where m.device_id = p_device_id and m.keyword = 'V232' and m.uid = p_uid;

    if found then
        is_new := false;
        return;
    end if;

    select a.id, a.severity into alarm_id, level
      from mdvr.alarm a
     where a.device_id = p_device_id
       and a.started_at between p_file_at - interval '2 seconds'
                            and p_file_at + make_interval(secs => coalesce(p_duration_s, 0) + 2)
     order by a.started_at desc
     limit 1;

    is_new := true;

    insert into mdvr.alarm_message (tenant_id, device_id, keyword, uid, alarm_id, at, received_at, data)
    values (owner.id, p_device_id, 'V232', p_uid, store_alarm_file.alarm_id, p_at, coalesce(p_received_at, now()),
            coalesce(p_data, '{}'));

    if owner.alarm_download = 'never'
       or owner.alarm_download = 'severity'
          and array_position(array['info', 'warning', 'critical'], coalesce(level, 'info'))
              < array_position(array['info', 'warning', 'critical'], owner.alarm_download_min)
    then
        return;
    end if;

    insert into mdvr.download (tenant_id, device_id, alarm_id, origin, path, media_kind, channel, file_at, duration_s,
                               size_bytes)
    values (owner.id, p_device_id, store_alarm_file.alarm_id, 'alarm', p_path, p_media_kind,
            case when p_channel between 1 and 64 then p_channel end, p_file_at, p_duration_s, p_size_bytes)
    on conflict (device_id, path, size_bytes) where origin = 'alarm' do nothing
    returning id into download_id;
end
$$;

comment on function mdvr.store_alarm_file is
    'V232, once per UID: alarm it belongs to (or NULL), whether new, download to start (or NULL); p_channel counts from 1';
grant execute on function mdvr.store_alarm_file to mdvr_stream;


-- Downloads.  One at a time per device; the stream front takes the next one when
-- the device is online and free.

create function mdvr.download_next(p_device_id uuid, p_node text, p_wire_session text)
returns table (download_id uuid, tenant_id uuid, path text, from_byte bigint, to_byte bigint, from_s integer,
               to_s integer, received_bytes bigint, size_bytes bigint, staged_path text, media_kind text,
               channel smallint, alarm_id uuid, force boolean, request_id text, traceparent text)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    return query
    update mdvr.download x
       set status = 'running', node = p_node, wire_session = p_wire_session, updated_at = now()
     where x.id = (select w.id
                     from mdvr.download w
                    where w.device_id = p_device_id and w.status = 'queued' and w.next_at <= now()
                      and not exists (select from mdvr.download r
                                       where r.device_id = p_device_id and r.status = 'running'
                                         and r.updated_at > now() - interval '5 minutes')
                    order by w.origin <> 'user', w.created_at
                    limit 1
                      for update skip locked)
    returning x.id, x.tenant_id, x.path, x.from_byte, x.to_byte, x.from_s, x.to_s, x.received_bytes, x.size_bytes,
              x.staged_path, x.media_kind, x.channel, x.alarm_id, x.force, x.request_id, x.traceparent;
end
$$;

comment on function mdvr.download_next(uuid, text, text) is 'Claims the device''s next queued download, if none is running';


create function mdvr.download_update(p_download_id uuid, p_status text, p_received_bytes bigint, p_size_bytes bigint,
    p_staged_path text, p_failed_reason text)
returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    d mdvr.download;
    tries integer;
begin
    select * into d from mdvr.download where id = p_download_id for update;

    if not found or d.status in ('complete', 'failed') then
        return coalesce(d.status, 'unknown');
    end if;

    tries := case when p_received_bytes > d.received_bytes then 0
                  when p_status = 'queued' then d.attempts + 1
                  else d.attempts end;

    update mdvr.download
       set status = case when p_status = 'queued' and tries >= 5 then 'failed' else p_status end,
           failed_reason = case when p_status = 'queued' and tries >= 5
                                then coalesce(p_failed_reason, 'five attempts without progress')
                                when p_status = 'failed' then coalesce(p_failed_reason, 'failed') end,
           attempts = tries,
           received_bytes = greatest(received_bytes, coalesce(p_received_bytes, 0)),
           size_bytes = coalesce(p_size_bytes, size_bytes),
           staged_path = coalesce(p_staged_path, staged_path),
           next_at = case when p_status = 'queued' then now() + make_interval(secs => 2 ^ least(tries, 6)) else next_at end,
           updated_at = now()
     where id = p_download_id
    returning status into d.status;

    return d.status;
end
$$;

comment on function mdvr.download_update(uuid, text, bigint, bigint, text, text) is
    'Progress of a download: running, complete, failed, or queued again after an interruption; returns the state it is in now';
grant execute on function mdvr.download_next(uuid, text, text) to mdvr_stream, mdvr_worker;
grant execute on function mdvr.download_update(uuid, text, bigint, bigint, text, text)
    to mdvr_stream, mdvr_api, mdvr_worker;


-- Media items.

create function mdvr.media_create(p_device_id uuid, p_alarm_id uuid, p_download_id uuid, p_channel integer,
    p_kind text, p_source text, p_source_path text, p_at timestamptz, p_size_bytes bigint, p_sha256 bytea)
returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    made uuid;
begin
    insert into mdvr.media (tenant_id, device_id, alarm_id, channel, kind, source, source_path, at, size_bytes, sha256)
    select d.tenant_id, d.id, p_alarm_id, case when p_channel between 1 and 64 then p_channel end, p_kind, p_source,
           left(p_source_path, 1024), p_at, p_size_bytes, p_sha256
      from mdvr.device d
     where d.id = p_device_id
    returning id into made;

    update mdvr.download set media_id = made, updated_at = now() where id = p_download_id;

    return made;
end
$$;

comment on function mdvr.media_create is 'A file begins to arrive or has been staged; returns the media id';
grant execute on function mdvr.media_create to mdvr_stream, mdvr_worker;


create function mdvr.media_event(p_media_id uuid, out event_id text, out message json)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select e.event_id, e.message
      from mdvr.media m,
           mdvr.event_append(m.tenant_id, 'media', m.device_id, json_build_object(
               'media_id', m.id, 'device_id', m.device_id, 'alarm_id', m.alarm_id, 'channel', m.channel,
               'kind', m.kind, 'status', m.status, 'failed_reason', m.failed_reason, 'at', mdvr.rfc3339(m.at))) e
     where m.id = p_media_id
$$;

comment on function mdvr.media_event(uuid) is 'For the worker, in the transaction that changed a media item: its event';
grant execute on function mdvr.media_event(uuid) to mdvr_worker;


-- Connections of devices to the media port.

create function mdvr.media_session_start(p_device_id uuid, p_kind text, p_channel integer, p_stream text, p_node text,
    p_wire_session text)
returns uuid
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into mdvr.media_session (tenant_id, device_id, kind, channel, stream, node, wire_session)
    select d.tenant_id, d.id, p_kind, case when p_channel between 1 and 64 then p_channel end, p_stream, p_node, p_wire_session
      from mdvr.device d
     where d.id = p_device_id
    returning id
$$;

comment on function mdvr.media_session_start is 'A device opened a media connection; channels count from 1';

create function mdvr.media_session_end(p_id uuid, p_reason text, p_first_media_at timestamptz, p_bytes_in bigint,
    p_frames bigint, p_gaps bigint)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    owner uuid;
begin
    update mdvr.media_session
       set ended_at = now(), end_reason = left(p_reason, 200), first_media_at = p_first_media_at,
           bytes_in = greatest(p_bytes_in, 0), frames = greatest(p_frames, 0), gaps = greatest(p_gaps, 0)
     where id = p_id and ended_at is null
    returning tenant_id into owner;

    if found and p_bytes_in > 0 then
        perform mdvr.usage_add(owner, 'bytes_in', p_bytes_in);
    end if;
end
$$;

comment on function mdvr.media_session_end is 'A media connection ended; its bytes are metered';
grant execute on function mdvr.media_session_start, mdvr.media_session_end to mdvr_stream;


-- Viewers.  Start runs under the caller's row security; the ends are reported by
-- whichever process carried the bytes, for sessions of any tenant.

create function mdvr.video_session_renew(p_id uuid, p_expires_at timestamptz) returns boolean
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update mdvr.video_session
       set expires_at = greatest(expires_at, p_expires_at)
     where id = p_id and ended_at is null
       and tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid
       and user_id is not distinct from nullif(current_setting('app.current_user_id', true), '')::uuid
       and mdvr.can_see_device(device_id)
    returning true
$$;

comment on function mdvr.video_session_renew(uuid, timestamptz) is
    'A viewer keeps watching; NULL when the session is not the caller''s or has ended';


create function mdvr.video_session_end(p_id uuid, p_reason text, p_bytes_out bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    v mdvr.video_session;
begin
    update mdvr.video_session
       set ended_at = now(), end_reason = left(p_reason, 200),
           live_s = greatest(extract(epoch from now() - started_at), 0)::bigint,
           bytes_out = bytes_out + greatest(coalesce(p_bytes_out, 0), 0)
     where id = p_id and ended_at is null
    returning * into v;

    if not found then
        return false;
    end if;

    if v.live_s > 0 then
        perform mdvr.usage_add(v.tenant_id, 'live_s', v.live_s);
    end if;

    if v.bytes_out > 0 then
        perform mdvr.usage_add(v.tenant_id, 'bytes_out', v.bytes_out);
    end if;

    return true;
end
$$;

comment on function mdvr.video_session_end(uuid, text, bigint) is 'A viewer left; time and bytes are metered once';


create function mdvr.video_sessions_expire() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    n integer;
begin
    select count(*) into n
      from (select id from mdvr.video_session where ended_at is null and expires_at < now() - interval '1 minute'
             order by tenant_id, id limit 1000) v
     where mdvr.video_session_end(v.id, 'expired', 0);

    return n;
end
$$;

comment on function mdvr.video_sessions_expire() is 'Ends viewer sessions whose token ran out; returns how many';

grant execute on function mdvr.video_session_renew(uuid, timestamptz) to mdvr_api;
grant execute on function mdvr.video_session_end(uuid, text, bigint) to mdvr_api, mdvr_stream, mdvr_worker;
grant execute on function mdvr.video_sessions_expire() to mdvr_worker;

reset role;
set role mdvr_owner;

create function mdvr.video_session_start(p_device_id uuid, p_channel integer, p_stream text, p_node text,
    p_expires_at timestamptz, p_session_id uuid default null, p_kind text default 'live')
returns uuid
language sql
as $$
    insert into mdvr.video_session (tenant_id, device_id, user_id, session_id, kind, channel, stream, node, expires_at)
    values (nullif(current_setting('app.current_tenant_id', true), '')::uuid, p_device_id,
            (select u.id from mdvr.user u
              where u.id = nullif(current_setting('app.current_user_id', true), '')::uuid),
            p_session_id, p_kind, p_channel, p_stream, p_node, p_expires_at)
    returning id
$$;

comment on function mdvr.video_session_start is
    'A viewer starts watching, under the caller''s row security; fails with 42501 for a device it may not see';
grant execute on function mdvr.video_session_start to mdvr_api;

reset role;
