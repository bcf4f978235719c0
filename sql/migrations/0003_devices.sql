-- 0003: recorders, groups, who sees which, nodes and connections.
-- Writers: api (records), stream through functions (state).

set role mdvr_owner;

create table mdvr.device (
    id                   uuid         primary key default mdvr.uuid7(),
    tenant_id            uuid         not null references mdvr.tenant,
    serial               text         not null check (serial ~ '^[[:graph:]]{1,64}$' and serial !~ '[,#$]'),
    name                 text         not null default '' check (length(name) <= 200),
    plate                text         not null default '' check (length(plate) <= 64),
    imei                 text         check (length(imei) between 1 and 64),
    channels             smallint     not null default 4 check (channels between 1 and 64),
    enabled              boolean      not null default true,
    utc_offset_minutes   smallint     check (utc_offset_minutes between -900 and 900),
    text_encoding        text         not null default 'gb18030' check (text_encoding in ('utf-8', 'gb18030', 'utf-16le')),
    bus_layout           boolean      not null default false,
    settings             jsonb        not null default '{}' check (jsonb_typeof(settings) = 'object'),
    created_at           timestamptz  not null default now(),
    deleted_at           timestamptz,
    unique (tenant_id, id)
);

create unique index device_serial on mdvr.device (serial) where deleted_at is null;

comment on table mdvr.device is 'A recorder. Serials are unique over all tenants; a deleted device keeps its history.';
comment on column mdvr.device.utc_offset_minutes is 'Of the device clock; NULL: as detected at registration';
comment on column mdvr.device.bus_layout is 'Location fields 15 to 17 are route, driver, stop (location.md, layout C)';


create table mdvr.device_group (
    id          uuid         primary key default mdvr.uuid7(),
    tenant_id   uuid         not null references mdvr.tenant,
    name        text         not null check (length(name) between 1 and 200),
    created_at  timestamptz  not null default now(),
    unique (tenant_id, id),
    unique (tenant_id, name)
);

comment on table mdvr.device_group is 'A named set of devices of one tenant';


create table mdvr.group_device (
    group_id   uuid  not null,
    device_id  uuid  not null,
    tenant_id  uuid  not null references mdvr.tenant,
    primary key (group_id, device_id),
    foreign key (tenant_id, group_id) references mdvr.device_group (tenant_id, id) on delete cascade,
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
);

create index group_device_device on mdvr.group_device (device_id);

comment on table mdvr.group_device is 'Which device is in which group';


create table mdvr.assignment (
    id         uuid  primary key default mdvr.uuid7(),
    tenant_id  uuid  not null references mdvr.tenant,
    user_id    uuid  not null,
    device_id  uuid,
    group_id   uuid,
    check (num_nonnulls(device_id, group_id) = 1),
    unique (user_id, device_id),
    unique (user_id, group_id),
    foreign key (tenant_id, user_id) references mdvr.user (tenant_id, id) on delete cascade,
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade,
    foreign key (tenant_id, group_id) references mdvr.device_group (tenant_id, id) on delete cascade
);

comment on table mdvr.assignment is 'What a client_user may see: single devices or whole groups';


create table mdvr.node (
    id            text         primary key check (length(id) between 1 and 64),
    boot          uuid         not null,
    started_at    timestamptz  not null default now(),
    heartbeat_at  timestamptz  not null default now()
);

comment on table mdvr.node is 'nginx instances that hold devices. Platform table, no tenant.';


create table mdvr.device_state (
    device_id            uuid         primary key,
    tenant_id            uuid         not null references mdvr.tenant,
    online               boolean      not null default false,
    node                 text         check (length(node) <= 64),
    boot                 uuid,
    address              inet,
    connected_at         timestamptz,
    last_seen_at         timestamptz,
    offline_at           timestamptz,
    offline_reason       text         check (length(offline_reason) <= 200),
    utc_offset_minutes   smallint     check (utc_offset_minutes between -900 and 900),
    registration         jsonb        not null default '{}',
    health               jsonb        not null default '{}',
    health_at            timestamptz,
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
) with (fillfactor = 60);

create index device_state_node on mdvr.device_state (node) where online;

comment on table mdvr.device_state is 'What a device last told about itself and who holds its connection; one row per device that ever registered';
comment on column mdvr.device_state.registration is 'V101 as decoded: firmware, plate, network, storage ...';
comment on column mdvr.device_state.health is 'V142 as decoded: channels, disks, network';


create table mdvr.connection (
    id               uuid         primary key default mdvr.uuid7(),
    tenant_id        uuid         not null references mdvr.tenant,
    device_id        uuid         not null,
    node             text         not null check (length(node) <= 64),
    address          inet,
    connected_at     timestamptz  not null,
    disconnected_at  timestamptz,
    reason           text         check (length(reason) <= 200),
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
);

create index connection_device on mdvr.connection (device_id, connected_at desc);
create index connection_connected on mdvr.connection (connected_at);

comment on table mdvr.connection is 'History of signaling connections, for diagnostics; kept 30 days';


create table mdvr.pending_device (
    serial    text         primary key check (length(serial) between 1 and 64),
    address   inet,
    first_at  timestamptz  not null default now(),
    last_at   timestamptz  not null default now(),
    knocks    integer      not null default 1 check (knocks > 0)
);

create index pending_device_last on mdvr.pending_device (last_at);

comment on table mdvr.pending_device is
    'Serials that knocked and belong to nobody yet; at most 10,000, for 24 h. Platform table, no tenant.';


create table mdvr.position (
    device_id      uuid              primary key,
    tenant_id      uuid              not null references mdvr.tenant,
    recorded_at    timestamptz       not null,
    received_at    timestamptz       not null,
    gps_valid      boolean           not null,
    fix_at         timestamptz,
    lat_deg        double precision  check (lat_deg between -90 and 90),
    lon_deg        double precision  check (lon_deg between -180 and 180),
    satellites     smallint,
    speed_kmh      real,
    course_deg     real,
    acc            boolean,
    mileage_m      bigint,
    fuel_l         real,
    status_hex     text,
    mask_hex       text,
    temp_device_c  real,
    temp_engine_c  real,
    temp_cabin_c   real,
    parking_s      integer,
    rpm            integer,
    obd_speed_kmh  real,
    people         integer,
    trigger        smallint,
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
) with (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

comment on table mdvr.position is
    'Newest position report of each device. No index besides the key, so that updates stay on their page.';
comment on column mdvr.position.recorded_at is 'Device clock, UTC';
comment on column mdvr.position.fix_at is 'When lat_deg and lon_deg were last measured with a valid fix';

reset role;
set role mdvr_definer;

-- The devices that a client_user, or an API key bound to devices, may see.  Used
-- by policies as "device_id in (select mdvr.visible_devices())": run once per
-- query, then a hash lookup per row.

create function mdvr.visible_devices() returns setof uuid
language sql stable security definer rows 100 set search_path = pg_catalog, pg_temp
as $$
    with me as (
        select nullif(current_setting('app.current_tenant_id', true), '')::uuid as tenant_id,
               nullif(current_setting('app.current_user_id', true), '')::uuid as user_id
    )
    select a.device_id
      from me join mdvr.assignment a using (tenant_id, user_id)
     where a.device_id is not null
    union
    select g.device_id
      from me join mdvr.assignment a using (tenant_id, user_id)
              join mdvr.group_device g on g.group_id = a.group_id
    union
    select unnest(k.device_ids)
      from me join mdvr.api_key k on k.id = me.user_id and k.tenant_id = me.tenant_id
     where k.revoked_at is null
$$;

comment on function mdvr.visible_devices() is 'Devices assigned to the transaction''s user, directly or through a group';

reset role;
set role mdvr_owner;

-- The one predicate for one device, for callers that ask without a table.

create function mdvr.can_see_device(p_device_id uuid) returns boolean
language sql stable
as $$
    select current_setting('app.current_role', true) in ('super_admin', 'tenant_admin', 'technician')
           or p_device_id in (select mdvr.visible_devices())
$$;

comment on function mdvr.can_see_device(uuid) is
    'Whether the transaction''s role and user may see that device of its tenant; policies spell out the same';

grant execute on function mdvr.can_see_device(uuid) to mdvr_api, mdvr_worker;

-- A device row is bound by its own id.

alter table mdvr.device enable row level security;
alter table mdvr.device force row level security;
create policy definer_all on mdvr.device to mdvr_definer using (true) with check (true);
create policy tenant_api on mdvr.device to mdvr_api
    using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::uuid)
           and ((select current_setting('app.current_role', true) in ('super_admin', 'tenant_admin', 'technician'))
                or id in (select mdvr.visible_devices())))
    with check (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::uuid)
                and (select current_setting('app.current_role', true) in ('super_admin', 'tenant_admin', 'technician')));
create policy tenant_worker on mdvr.device to mdvr_worker
    using (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::uuid))
    with check (tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::uuid));

call mdvr.protect('mdvr.device_group', 'tenant');
call mdvr.protect('mdvr.group_device', 'device');
call mdvr.protect('mdvr.assignment', 'tenant');
call mdvr.protect('mdvr.node', 'none');
call mdvr.protect('mdvr.device_state', 'device');
call mdvr.protect('mdvr.connection', 'device');
call mdvr.protect('mdvr.pending_device', 'none');
call mdvr.protect('mdvr.position', 'device');

grant select on mdvr.device, mdvr.device_group, mdvr.group_device, mdvr.assignment, mdvr.device_state,
                mdvr.connection, mdvr.position to mdvr_api, mdvr_worker;
grant insert (id, tenant_id, serial, name, plate, imei, channels, enabled, utc_offset_minutes, text_encoding,
              bus_layout, settings) on mdvr.device to mdvr_api;
grant update (serial, name, plate, imei, channels, enabled, utc_offset_minutes, text_encoding, bus_layout,
              settings, deleted_at) on mdvr.device to mdvr_api;
grant insert, update, delete on mdvr.device_group to mdvr_api;
grant insert, delete on mdvr.group_device, mdvr.assignment to mdvr_api;

grant select on mdvr.device, mdvr.device_group, mdvr.group_device, mdvr.assignment to mdvr_definer;
grant select, insert, update on mdvr.node, mdvr.device_state, mdvr.position to mdvr_definer;
grant select, insert, update, delete on mdvr.connection, mdvr.pending_device to mdvr_definer;

reset role;
set role mdvr_definer;
grant execute on function mdvr.visible_devices() to mdvr_owner, mdvr_api, mdvr_worker;

create function mdvr.device_by_serial(p_serial text)
returns table (device_id uuid, tenant_id uuid, utc_offset_minutes smallint, text_encoding text, bus_layout boolean,
               imei text, channels smallint, suspended boolean)
language sql stable security definer rows 1 set search_path = pg_catalog, pg_temp
as $$
    select d.id, d.tenant_id, coalesce(d.utc_offset_minutes, s.utc_offset_minutes), d.text_encoding, d.bus_layout,
           d.imei, d.channels, t.status <> 'active' or not d.enabled
      from mdvr.device d
      join mdvr.tenant t on t.id = d.tenant_id
      left join mdvr.device_state s on s.device_id = d.id
     where d.serial = p_serial and d.deleted_at is null
$$;

comment on function mdvr.device_by_serial(text) is
    'What a device front must know about a serial; no row when nobody owns it. utc_offset_minutes NULL: not known yet';
grant execute on function mdvr.device_by_serial(text) to mdvr_stream, mdvr_api, mdvr_worker;


create function mdvr.knock(p_serial text, p_address text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update mdvr.pending_device
       set last_at = now(), address = p_address::inet, knocks = knocks + 1
     where serial = left(p_serial, 64);

    if found then
        return;
    end if;

    -- Bounded: the table makes room by forgetting whoever was silent longest.

    if (select count(*) from mdvr.pending_device) >= 10000 then
        delete from mdvr.pending_device
         where serial in (select serial from mdvr.pending_device order by last_at limit 100);
    end if;

    insert into mdvr.pending_device (serial, address)
    values (left(p_serial, 64), p_address::inet)
    on conflict (serial) do nothing;
end
$$;

comment on function mdvr.knock(text, text) is 'Remembers a serial that nobody owns, and the address it came from';
grant execute on function mdvr.knock(text, text) to mdvr_stream;


create function mdvr.pending_devices(p_serial text default null)
returns table (serial text, address inet, first_at timestamptz, last_at timestamptz, knocks integer)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p.serial, p.address, p.first_at, p.last_at, p.knocks
      from mdvr.pending_device p
     where p.last_at > now() - interval '24 hours'
       and (p.serial = p_serial
            or p_serial is null and current_setting('app.current_role', true) = 'super_admin')
     order by p.last_at desc
     limit 500
$$;

comment on function mdvr.pending_devices(text) is 'Serials that knocked: one by name, or for a super_admin all of them';
grant execute on function mdvr.pending_devices(text) to mdvr_api;

reset role;
