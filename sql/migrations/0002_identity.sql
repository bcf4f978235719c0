-- 0002: tenants, users, sessions and keys.  Writer: api.  Secrets only through functions.

set role mdvr_owner;

create table mdvr.tenant (
    id                 uuid         primary key default mdvr.uuid7(),
    name               text         not null check (length(name) between 1 and 200),
    status             text         not null default 'active' check (status in ('active', 'suspended', 'deleted')),
    time_zone          text         not null default 'UTC' check (length(time_zone) between 1 and 64),
    retention_days     integer      not null default 90 check (retention_days between 1 and 3650),
    legal_hold         boolean      not null default false,
    alarm_download     text         not null default 'always' check (alarm_download in ('always', 'severity', 'never')),
    alarm_download_min text         not null default 'warning' check (alarm_download_min in ('info', 'warning', 'critical')),
    settings           jsonb        not null default '{}' check (jsonb_typeof(settings) = 'object'),
    created_at         timestamptz  not null default now(),
    suspended_at       timestamptz,
    deleted_at         timestamptz
);

comment on table mdvr.tenant is 'A customer. Everything else belongs to exactly one.';
comment on column mdvr.tenant.legal_hold is 'Retention deletes nothing while this is set';

-- The tenant's own row is bound by its id, so its policies are written out.

alter table mdvr.tenant enable row level security;
alter table mdvr.tenant force row level security;
create policy definer_all on mdvr.tenant to mdvr_definer using (true) with check (true);
create policy tenant_own on mdvr.tenant to mdvr_api, mdvr_worker
    using (id = (select nullif(current_setting('app.current_tenant_id', true), '')::uuid))
    with check (id = (select nullif(current_setting('app.current_tenant_id', true), '')::uuid));

grant select on mdvr.tenant to mdvr_api, mdvr_worker;
grant update (name, time_zone, retention_days, legal_hold, alarm_download, alarm_download_min, settings)
    on mdvr.tenant to mdvr_api;
grant select, insert, update on mdvr.tenant to mdvr_definer;


create table mdvr.plan (
    tenant_id           uuid         primary key references mdvr.tenant,
    name                text         not null default 'standard' check (length(name) between 1 and 100),
    max_devices         integer      check (max_devices >= 0),
    max_users           integer      check (max_users >= 0),
    max_storage_bytes   bigint       check (max_storage_bytes >= 0),
    max_live_minutes    bigint       check (max_live_minutes >= 0),
    max_ai_minutes      bigint       check (max_ai_minutes >= 0),
    updated_at          timestamptz  not null default now()
);

comment on table mdvr.plan is 'What a tenant may use; NULL means no limit. Minutes are per calendar month, UTC.';
call mdvr.protect('mdvr.plan', 'tenant');
grant select on mdvr.plan to mdvr_api, mdvr_worker;
grant select, insert, update on mdvr.plan to mdvr_definer;


create table mdvr.user (
    id                   uuid         primary key default mdvr.uuid7(),
    tenant_id            uuid         not null references mdvr.tenant,
    email                text         not null check (email ~ '^[^@\s]+@[^@\s]+$' and length(email) <= 254),
    name                 text         not null default '' check (length(name) <= 200),
    role                 text         not null
                         check (role in ('super_admin', 'tenant_admin', 'technician', 'client_user')),
    extra_scopes         text[]       not null default '{}' check (cardinality(extra_scopes) <= 16),
    active               boolean      not null default true,
    password_hash        text         not null check (password_hash like '$argon2id$%' and length(password_hash) <= 512),
    password_changed_at  timestamptz  not null default now(),
    totp_secret          bytea        check (octet_length(totp_secret) between 10 and 128),
    totp_enabled_at      timestamptz,
    last_login_at        timestamptz,
    created_at           timestamptz  not null default now(),
    deleted_at           timestamptz,
    unique (tenant_id, id)
);

create unique index user_email on mdvr.user (lower(email)) where deleted_at is null;
create index user_tenant on mdvr.user (tenant_id, id);

comment on table mdvr.user is 'A person who signs in. E-mail addresses are unique over all tenants.';
comment on column mdvr.user.password_hash is 'Encoded argon2id; no role reads it except through login_lookup';
call mdvr.protect('mdvr.user', 'tenant');

create policy no_escalation on mdvr.user as restrictive to mdvr_api
    using (true)
    with check (role <> 'super_admin' or (select current_setting('app.current_role', true) = 'super_admin'));

grant select (id, tenant_id, email, name, role, extra_scopes, active, password_changed_at, totp_enabled_at,
              last_login_at, created_at, deleted_at) on mdvr.user to mdvr_api, mdvr_worker;
grant insert (id, tenant_id, email, name, role, extra_scopes, active, password_hash) on mdvr.user to mdvr_api;
grant update (email, name, role, extra_scopes, active, deleted_at) on mdvr.user to mdvr_api;
grant select, insert, update on mdvr.user to mdvr_definer;


create table mdvr.session (
    id             uuid         primary key default mdvr.uuid7(),
    tenant_id      uuid         not null references mdvr.tenant,
    user_id        uuid         not null,
    address        inet,
    user_agent     text         check (length(user_agent) <= 512),
    created_at     timestamptz  not null default now(),
    last_used_at   timestamptz  not null default now(),
    expires_at     timestamptz  not null,
    revoked_at     timestamptz,
    revoke_reason  text         check (length(revoke_reason) <= 64),
    unique (tenant_id, id),
    foreign key (tenant_id, user_id) references mdvr.user (tenant_id, id)
);

create index session_by_user on mdvr.session (user_id) where revoked_at is null;
create index session_by_revocation on mdvr.session (revoked_at) where revoked_at is not null;

comment on table mdvr.session is 'One sign-in: the family of refresh tokens that descends from it';
call mdvr.protect('mdvr.session', 'user');
grant select on mdvr.session to mdvr_api, mdvr_worker;
grant select, insert, update, delete on mdvr.session to mdvr_definer;


create table mdvr.refresh_token (
    hash        bytea        primary key check (octet_length(hash) = 32),
    tenant_id   uuid         not null references mdvr.tenant,
    session_id  uuid         not null,
    created_at  timestamptz  not null default now(),
    expires_at  timestamptz  not null,
    used_at     timestamptz,
    foreign key (tenant_id, session_id) references mdvr.session (tenant_id, id) on delete cascade
);

create index refresh_token_session on mdvr.refresh_token (session_id);

comment on table mdvr.refresh_token is 'SHA-256 of each refresh token ever handed out in a session; functions only';
call mdvr.protect('mdvr.refresh_token', 'tenant');
grant select, insert, update, delete on mdvr.refresh_token to mdvr_definer;


create table mdvr.api_key (
    id            uuid         primary key default mdvr.uuid7(),
    tenant_id     uuid         not null references mdvr.tenant,
    user_id       uuid         not null,
    name          text         not null check (length(name) between 1 and 100),
    hash          bytea        not null unique check (octet_length(hash) = 32),
    scopes        text[]       not null check (cardinality(scopes) between 1 and 32),
    device_ids    uuid[]       check (cardinality(device_ids) between 1 and 1000),
    created_at    timestamptz  not null default now(),
    expires_at    timestamptz,
    last_used_at  timestamptz,
    revoked_at    timestamptz,
    foreign key (tenant_id, user_id) references mdvr.user (tenant_id, id)
);

create index api_key_tenant on mdvr.api_key (tenant_id, id);

comment on table mdvr.api_key is
    'Keys of integrations. One with device_ids acts with app.current_role = client_user and its own id as user.';
comment on column mdvr.api_key.hash is 'SHA-256 of the key, which is shown once and kept nowhere';
call mdvr.protect('mdvr.api_key', 'tenant');
grant select (id, tenant_id, user_id, name, scopes, device_ids, created_at, expires_at, last_used_at, revoked_at)
    on mdvr.api_key to mdvr_api;
grant insert (id, tenant_id, user_id, name, hash, scopes, device_ids, expires_at) on mdvr.api_key to mdvr_api;
grant update (revoked_at) on mdvr.api_key to mdvr_api;
grant select, update on mdvr.api_key to mdvr_definer;


create table mdvr.signing_key (
    kid         text         primary key check (kid ~ '^[0-9a-f]{16}$'),
    purpose     text         not null check (purpose in ('access', 'stream', 'evidence', 'url')),
    secret      bytea        not null check (octet_length(secret) = 32),
    created_at  timestamptz  not null default now(),
    retired_at  timestamptz,
    expires_at  timestamptz
);

create index signing_key_purpose on mdvr.signing_key (purpose, created_at desc);

comment on table mdvr.signing_key is
    'Secrets behind tokens, signed addresses and evidence; the newest of a purpose signs, the others verify. Platform table, no tenant.';
comment on column mdvr.signing_key.secret is 'HMAC-SHA256 key; for evidence the Ed25519 seed';
call mdvr.protect('mdvr.signing_key', 'none');
grant select, insert, update on mdvr.signing_key to mdvr_definer;


create table mdvr.login_failure (
    account       text         primary key check (length(account) <= 254),
    failures      integer      not null default 0 check (failures >= 0),
    first_at      timestamptz  not null default now(),
    locked_until  timestamptz
);

create index login_failure_first on mdvr.login_failure (first_at);

comment on table mdvr.login_failure is
    'Failed sign-ins per e-mail address, known or not, so that both answer alike. Platform table, no tenant.';
call mdvr.protect('mdvr.login_failure', 'none');
grant select, insert, update, delete on mdvr.login_failure to mdvr_definer;


create table mdvr.push_token (
    id          uuid         primary key default mdvr.uuid7(),
    tenant_id   uuid         not null references mdvr.tenant,
    user_id     uuid         not null,
    platform    text         not null check (platform in ('fcm', 'apns')),
    token       text         not null check (length(token) between 8 and 4096),
    app_id      text         check (length(app_id) <= 200),
    created_at  timestamptz  not null default now(),
    unique (tenant_id, platform, token),
    foreign key (tenant_id, user_id) references mdvr.user (tenant_id, id)
);

create index push_token_user on mdvr.push_token (user_id);

comment on table mdvr.push_token is 'Phones that receive a user''s notifications';
call mdvr.protect('mdvr.push_token', 'user');
grant select, insert, delete on mdvr.push_token to mdvr_api;
grant update (app_id) on mdvr.push_token to mdvr_api;
grant select, delete on mdvr.push_token to mdvr_worker;
grant select, delete on mdvr.push_token to mdvr_definer;


create table mdvr.notification_preference (
    user_id       uuid         primary key,
    tenant_id     uuid         not null references mdvr.tenant,
    push          boolean      not null default true,
    min_severity  text         not null default 'warning' check (min_severity in ('info', 'warning', 'critical')),
    muted_kinds   text[]       not null default '{}' check (cardinality(muted_kinds) <= 100),
    quiet_from    time,
    quiet_to      time,
    time_zone     text         not null default 'UTC' check (length(time_zone) between 1 and 64),
    updated_at    timestamptz  not null default now(),
    check ((quiet_from is null) = (quiet_to is null)),
    foreign key (tenant_id, user_id) references mdvr.user (tenant_id, id)
);

comment on table mdvr.notification_preference is 'What a user wants to be told, and when not; no row means the defaults';
call mdvr.protect('mdvr.notification_preference', 'user');
grant select, insert, update on mdvr.notification_preference to mdvr_api;
grant select on mdvr.notification_preference to mdvr_worker;
grant select on mdvr.notification_preference to mdvr_definer;


create table mdvr.usage (
    tenant_id  uuid    not null references mdvr.tenant,
    day        date    not null,
    metric     text    not null check (metric in ('devices', 'users', 'live_s', 'bytes_in', 'bytes_out',
                                                  'storage_bytes', 'ai_s', 'positions', 'alarms', 'commands')),
    amount     bigint  not null default 0,
    primary key (tenant_id, day, metric)
);

comment on table mdvr.usage is 'Metered use per tenant and day (UTC); unit in the metric''s name, counts without one';
call mdvr.protect('mdvr.usage', 'tenant');
grant select on mdvr.usage to mdvr_api, mdvr_worker;
grant select, insert, update on mdvr.usage to mdvr_definer;

reset role;
set role mdvr_definer;

create function mdvr.usage_add(p_tenant_id uuid, p_metric text, p_amount bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into mdvr.usage as u (tenant_id, day, metric, amount)
    values (p_tenant_id, (now() at time zone 'UTC')::date, p_metric, p_amount)
    on conflict (tenant_id, day, metric) do update set amount = u.amount + excluded.amount
$$;

comment on function mdvr.usage_add(uuid, text, bigint) is 'Adds to today''s meter of a tenant';
grant execute on function mdvr.usage_add(uuid, text, bigint) to mdvr_stream, mdvr_api, mdvr_worker;

reset role;
