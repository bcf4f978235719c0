-- 0009: geofences, webhooks and deliveries.  Writers: api; worker for results.

set role mdvr_owner;

create table mdvr.geofence (
    id          uuid              primary key default mdvr.uuid7(),
    tenant_id   uuid              not null references mdvr.tenant,
    name        text              not null check (length(name) between 1 and 200),
    shape       text              not null check (shape in ('polygon', 'circle')),
    geometry    jsonb             not null check (jsonb_typeof(geometry) = 'object'),
    radius_m    double precision  check (radius_m between 1 and 1000000),
    min_lat_deg double precision  not null check (min_lat_deg between -90 and 90),
    max_lat_deg double precision  not null check (max_lat_deg between -90 and 90),
    min_lon_deg double precision  not null check (min_lon_deg between -180 and 180),
    max_lon_deg double precision  not null check (max_lon_deg between -180 and 180),
    dwell_s     integer           check (dwell_s between 1 and 604800),
    group_ids   uuid[],
    active      boolean           not null default true,
    created_at  timestamptz       not null default now(),
    unique (tenant_id, id),
    check ((shape = 'circle') = (radius_m is not null)),
    check (min_lat_deg <= max_lat_deg)
);

comment on table mdvr.geofence is 'An area that vehicles enter, leave or stay in; geometry is GeoJSON, WGS 84';
comment on column mdvr.geofence.group_ids is 'Device groups it applies to; NULL: all devices of the tenant';


create table mdvr.geofence_event (
    id           uuid              primary key default mdvr.uuid7(),
    tenant_id    uuid              not null references mdvr.tenant,
    geofence_id  uuid              not null,
    device_id    uuid              not null,
    kind         text              not null check (kind in ('enter', 'exit', 'dwell')),
    at           timestamptz       not null,
    lat_deg      double precision  check (lat_deg between -90 and 90),
    lon_deg      double precision  check (lon_deg between -180 and 180),
    created_at   timestamptz       not null default now(),
    unique (geofence_id, device_id, kind, at),
    foreign key (tenant_id, geofence_id) references mdvr.geofence (tenant_id, id) on delete cascade,
    foreign key (tenant_id, device_id) references mdvr.device (tenant_id, id) on delete cascade
);

create index geofence_event_tenant on mdvr.geofence_event (tenant_id, at desc);
create index geofence_event_device on mdvr.geofence_event (device_id, at desc);

comment on table mdvr.geofence_event is 'A device entered, left or stayed in a geofence';


create table mdvr.webhook (
    id              uuid         primary key default mdvr.uuid7(),
    tenant_id       uuid         not null references mdvr.tenant,
    url             text         not null check (url ~ '^https?://[^[:space:]]+$' and length(url) <= 2000),
    secret          bytea        not null check (octet_length(secret) between 24 and 64),
    topics          text[]       not null check (topics <@ array['alarm', 'device', 'media', 'command'] and cardinality(topics) > 0),
    active          boolean      not null default true,
    failures        integer      not null default 0 check (failures >= 0),
    disabled_until  timestamptz,
    created_at      timestamptz  not null default now(),
    unique (tenant_id, id)
);

comment on table mdvr.webhook is 'Where events are posted to, signed with HMAC-SHA256 under secret';


create table mdvr.delivery (
    id             uuid         primary key default mdvr.uuid7(),
    tenant_id      uuid         not null references mdvr.tenant,
    webhook_id     uuid,
    push_token_id  uuid         references mdvr.push_token on delete set null,
    event_seq      bigint,
    purpose        text         not null check (length(purpose) between 1 and 64),
    dedupe_key     text         not null check (length(dedupe_key) between 1 and 200),
    status         text         not null default 'queued' check (status in ('queued', 'delivered', 'failed')),
    attempts       integer      not null default 0 check (attempts >= 0),
    next_at        timestamptz  not null default now(),
    last_code      integer,
    last_error     text         check (length(last_error) <= 500),
    created_at     timestamptz  not null default now(),
    delivered_at   timestamptz,
    unique (tenant_id, dedupe_key),
    foreign key (tenant_id, webhook_id) references mdvr.webhook (tenant_id, id) on delete cascade
);

create index delivery_due on mdvr.delivery (next_at) where status = 'queued';
create index delivery_webhook on mdvr.delivery (webhook_id, created_at desc);

comment on table mdvr.delivery is 'One notification to one receiver; dedupe_key makes a repeated job harmless';

call mdvr.protect('mdvr.geofence', 'tenant');
call mdvr.protect('mdvr.geofence_event', 'device');
call mdvr.protect('mdvr.webhook', 'tenant');
call mdvr.protect('mdvr.delivery', 'tenant');

grant select, insert, update, delete on mdvr.geofence to mdvr_api;
grant select on mdvr.geofence to mdvr_worker;
grant select on mdvr.geofence_event to mdvr_api, mdvr_worker;
grant insert on mdvr.geofence_event to mdvr_worker;
grant select (id, tenant_id, url, topics, active, failures, disabled_until, created_at) on mdvr.webhook to mdvr_api;
grant insert (id, tenant_id, url, secret, topics, active), update (url, secret, topics, active), delete
    on mdvr.webhook to mdvr_api;
grant select on mdvr.webhook to mdvr_worker;
grant update (failures, disabled_until) on mdvr.webhook to mdvr_worker;
grant select on mdvr.delivery to mdvr_api;
grant select, insert, update on mdvr.delivery to mdvr_worker;
grant select, delete on mdvr.geofence_event, mdvr.delivery to mdvr_definer;

reset role;
