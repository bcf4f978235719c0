-- 0058: files to devices and configuration files from them: how far a transfer is,
-- what people uploaded, what devices sent; media connections as they come and go.

set role mdvr_owner;

alter table mdvr.command
    add column transferred_bytes bigint check (transferred_bytes >= 0),
    add column size_bytes        bigint check (size_bytes >= 0);

comment on column mdvr.command.transferred_bytes is
    'Of the file that goes with the command: bytes given to the device (or taken from it); NULL: no file';

create table mdvr.file (
    id           uuid         primary key default mdvr.uuid7(),
    tenant_id    uuid         not null references mdvr.tenant,
    device_id    uuid         references mdvr.device (id) on delete cascade,
    command_id   uuid         references mdvr.command (id) on delete set null,
    user_id      uuid         references mdvr.user,
    name         text         not null check (length(name) between 1 and 255),
    size_bytes   bigint       not null check (size_bytes > 0),
    md5          bytea        not null check (octet_length(md5) = 16),
    sha256       bytea        not null check (octet_length(sha256) = 32),
    object_key   text         check (length(object_key) between 1 and 512),
    content      bytea        check (octet_length(content) <= 1048576),
    created_at   timestamptz  not null default now(),
    check ((object_key is null) <> (content is null)),
    check ((device_id is null) = (content is null))
);

create index file_tenant on mdvr.file (tenant_id, id desc);
create index file_device on mdvr.file (device_id, id desc) where device_id is not null;

comment on table mdvr.file is
    'Files to be pushed to devices (uploaded, in the object storage) and configuration files of devices (small, kept here)';

call mdvr.protect('mdvr.file', 'tenant');

grant select, insert, delete on mdvr.file to mdvr_api;
grant select, insert on mdvr.file to mdvr_definer;

alter table mdvr.media_session drop constraint media_session_kind_check;
alter table mdvr.media_session add constraint media_session_kind_check
    check (kind in ('live', 'file', 'snapshot', 'talk', 'playback', 'upgrade', 'config', 'push'));

reset role;
set role mdvr_definer;

create function mdvr.command_transfer(p_command_id uuid, p_bytes bigint, p_size bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    update mdvr.command set transferred_bytes = p_bytes, size_bytes = p_size where id = p_command_id
$$;

comment on function mdvr.command_transfer(uuid, bigint, bigint) is 'How far the file of a command has come';

-- A device's configuration file; the tenant is the command's.

create function mdvr.store_device_file(p_command_id uuid, p_name text, p_content bytea, p_md5 bytea, p_sha256 bytea)
returns uuid
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into mdvr.file (tenant_id, device_id, command_id, user_id, name, size_bytes, md5, sha256, content)
    select c.tenant_id, c.device_id, c.id, c.user_id, coalesce(nullif(left(p_name, 255), ''), 'config'),
           octet_length(p_content), p_md5, p_sha256, p_content
      from mdvr.command c
     where c.id = p_command_id
    returning id
$$;

comment on function mdvr.store_device_file(uuid, text, bytea, bytea, bytea) is
    'Keeps the configuration file that a device sent for a command (C521)';

-- A node has started: connections that its earlier boots held are gone.

create or replace function mdvr.node_started(p_node text, p_boot uuid)
returns table (tenant_id uuid, event_id text, message json)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    insert into mdvr.node as n (id, boot) values (p_node, p_boot)
    on conflict (id) do update set boot = excluded.boot, started_at = now(), heartbeat_at = now()
     where n.boot <> excluded.boot;

    update mdvr.media_session m
       set ended_at = now(), end_reason = 'server restart'
     where m.node = p_node and m.ended_at is null
       and m.started_at < (select n.started_at from mdvr.node n where n.id = p_node);

    return query select * from mdvr.devices_lost(p_node, p_boot, 'server restart');
end
$$;

-- What keeps a device from another transfer: an upgrade cannot be interrupted.

create function mdvr.device_upgrading(p_device_id uuid) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select exists (select from mdvr.command c
                    where c.device_id = p_device_id and c.type = 'upgrade' and c.status = 'sent' and c.success is not null
                      and c.created_at > now() - interval '2 hours')
$$;

comment on function mdvr.device_upgrading(uuid) is
    'Whether the device said that it is ready for an upgrade and not yet how that went';

revoke execute on function mdvr.command_transfer(uuid, bigint, bigint),
    mdvr.store_device_file(uuid, text, bytea, bytea, bytea), mdvr.device_upgrading(uuid) from public;
grant execute on function mdvr.command_transfer(uuid, bigint, bigint),
    mdvr.store_device_file(uuid, text, bytea, bytea, bytea) to mdvr_stream;
grant execute on function mdvr.device_upgrading(uuid) to mdvr_api;

reset role;
