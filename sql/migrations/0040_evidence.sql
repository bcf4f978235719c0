-- 0040: which alarm a fetched file belongs to, decided when it has arrived, and
-- evidence packages.  Callers: worker, api.

set role mdvr_owner;

create table mdvr.evidence (
    id             uuid         primary key default mdvr.uuid7(),
    tenant_id      uuid         not null references mdvr.tenant,
    device_id      uuid         not null,
    alarm_id       uuid         not null,
    status         text         not null default 'queued'
                   check (status in ('queued', 'making', 'ready', 'failed')),
    failed_reason  text         check (length(failed_reason) <= 500),
    object_key     text         check (length(object_key) <= 512),
    size_bytes     bigint       check (size_bytes >= 0),
    sha256         bytea        check (octet_length(sha256) = 32),
    kid            text         check (length(kid) <= 64),
    created_at     timestamptz  not null default now(),
    ready_at       timestamptz,
    check (status <> 'ready' or (object_key is not null and sha256 is not null and kid is not null)),
    check (status <> 'failed' or failed_reason is not null),
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id),
    foreign key (tenant_id, alarm_id) references mdvr.alarm (tenant_id, id) on delete cascade
);

create index audit_object on mdvr.audit (tenant_id, object_id);
create index evidence_alarm on mdvr.evidence (alarm_id, created_at desc);
create index evidence_age on mdvr.evidence (created_at);

comment on table mdvr.evidence is 'A signed package of all that is known of an alarm, as it was when somebody asked; kept a day';
call mdvr.protect('mdvr.evidence', 'device');
grant select, insert on mdvr.evidence to mdvr_api;
grant select, update, delete on mdvr.evidence to mdvr_worker;
grant select, delete on mdvr.evidence to mdvr_definer;


create table mdvr.evidence_key (
    kid         text         primary key check (length(kid) <= 64),
    public_key  bytea        not null check (octet_length(public_key) = 32),
    created_at  timestamptz  not null default now()
);

comment on table mdvr.evidence_key is
    'Ed25519 public keys that ever signed a package; kept when the secret is gone. Platform table, no tenant.';
call mdvr.protect('mdvr.evidence_key', 'none');
grant select, insert on mdvr.evidence_key to mdvr_definer;

reset role;
set role mdvr_definer;

-- Rule: protocol reference, alarms.md, section 6.  A file that claims an alarm
-- must agree with it in device, name and time; one that claims none belongs to
-- the device's newest alarm that began while it was recorded.

create function mdvr.evidence_match(p_device_id uuid, p_alarm_id uuid, p_download_id uuid, p_source text, p_path text,
    p_at timestamptz, p_duration_s real, out alarm_id uuid, out quarantined text)
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

comment on function mdvr.evidence_match is
    'Alarm of a file that has arrived, or NULL; quarantined says why it was not attached to the alarm it claims';
grant execute on function mdvr.evidence_match to mdvr_worker;


create function mdvr.evidence_key_put(p_kid text, p_public_key bytea) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into mdvr.evidence_key (kid, public_key) values (p_kid, p_public_key) on conflict do nothing
$$;

comment on function mdvr.evidence_key_put(text, bytea) is 'The worker, before it signs with a key';
grant execute on function mdvr.evidence_key_put(text, bytea) to mdvr_worker;


create function mdvr.evidence_keys() returns table (kid text, public_key bytea, created_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select k.kid, k.public_key, k.created_at from mdvr.evidence_key k order by k.created_at desc
$$;

comment on function mdvr.evidence_keys() is 'Public keys that verify evidence packages, newest first';
grant execute on function mdvr.evidence_keys() to mdvr_api, mdvr_worker;


-- Objects of packages nobody needs any more; the rows go at once, the caller
-- removes the objects.

create function mdvr.evidence_expire(p_age interval, p_limit integer)
returns table (object_key text)
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    delete from mdvr.evidence e
     where e.id in (select x.id from mdvr.evidence x where x.created_at < now() - p_age
                     order by x.created_at limit p_limit)
    returning e.object_key
$$;

comment on function mdvr.evidence_expire(interval, integer) is 'Removes old packages; returns the keys of their objects';
grant execute on function mdvr.evidence_expire(interval, integer) to mdvr_worker;

reset role;
