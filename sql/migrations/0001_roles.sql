-- 0001: roles, the schema, and the tools that later migrations use.
--
-- mdvr_owner     nologin   owns the schema and every table
-- mdvr_definer   nologin   owns the security definer functions; has policies of its own
-- mdvr_stream    login     device fronts: functions only, no table
-- mdvr_api       login     REST, WebSocket: tables of one tenant, identity functions
-- mdvr_worker    login     background work: tables of one tenant, schedule functions
--
-- Login roles get their passwords from whoever starts the platform.  Settings of
-- a transaction: app.current_tenant_id, app.current_user_id, app.current_role.

do $$
declare
    r text;
begin
    foreach r in array array['mdvr_owner', 'mdvr_definer'] loop
        if not exists (select from pg_roles where rolname = r) then
            execute format('create role %I nologin', r);
        end if;
    end loop;

    foreach r in array array['mdvr_stream', 'mdvr_api', 'mdvr_worker'] loop
        if not exists (select from pg_roles where rolname = r) then
            execute format('create role %I login', r);
        end if;
    end loop;

    foreach r in array array['mdvr_owner', 'mdvr_definer'] loop
        if not pg_has_role(current_user, r, 'member') then
            execute format('grant %I to %I', r, current_user);
        end if;
    end loop;
end
$$;

create schema mdvr authorization mdvr_owner;
comment on schema mdvr is 'MDVR platform: fleets, recorders, positions, alarms, video evidence';

grant usage on schema mdvr to mdvr_definer, mdvr_stream, mdvr_api, mdvr_worker;
grant create on schema mdvr to mdvr_definer;

alter default privileges for role mdvr_owner revoke execute on functions from public;
alter default privileges for role mdvr_definer revoke execute on functions from public;

set role mdvr_owner;

create table mdvr.migration (
    name        text         primary key,
    checksum    text         not null check (checksum ~ '^[0-9a-f]{64}$'),
    applied_at  timestamptz  not null default now()
);

comment on table mdvr.migration is
    'Migrations that were applied, with the SHA-256 of their files. Platform table, no tenant.';

alter table mdvr.migration enable row level security;
alter table mdvr.migration force row level security;
create policy owner_all on mdvr.migration to mdvr_owner using (true) with check (true);


-- UUID version 7 (RFC 9562): 48 bits of unix milliseconds, then random bits.

create function mdvr.uuid7() returns uuid
language sql volatile parallel safe
as $$
    select encode(set_bit(set_bit(overlay(
               uuid_send(gen_random_uuid())
               placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
               from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$;

comment on function mdvr.uuid7() is 'A new UUID version 7: sorts by the millisecond it was made in';
grant execute on function mdvr.uuid7() to mdvr_definer, mdvr_api, mdvr_worker;


-- Times as every JSON document of the platform shows them.

create function mdvr.rfc3339(t timestamptz) returns text
language sql immutable parallel safe
as $$
    select to_char(t at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
$$;

comment on function mdvr.rfc3339(timestamptz) is 'RFC 3339, UTC, milliseconds';
grant execute on function mdvr.rfc3339(timestamptz) to mdvr_definer, mdvr_api, mdvr_worker, mdvr_stream;


-- Row security of one table, the same everywhere.
--
--   tenant   rows of the transaction's tenant
--   device   and, unless the role is staff, of a device that the user may see
--   user     and of the transaction's user
--   none     platform table without tenant: functions only
--
-- An unset tenant, user or role compares with NULL and sees nothing.  The
-- sub-selects make PostgreSQL read each setting once per query, not per row.

create procedure mdvr.protect(tab regclass, bound text)
language plpgsql
as $$
declare
    tenant constant text :=
        $q$tenant_id = (select nullif(current_setting('app.current_tenant_id', true), '')::uuid)$q$;
    device constant text :=
        $q$((select current_setting('app.current_role', true) in ('super_admin', 'tenant_admin', 'technician'))
            or device_id in (select mdvr.visible_devices()))$q$;
    person constant text :=
        $q$user_id = (select nullif(current_setting('app.current_user_id', true), '')::uuid)$q$;
    api text;
begin
    execute format('alter table %s enable row level security', tab);
    execute format('alter table %s force row level security', tab);
    execute format('create policy definer_all on %s to mdvr_definer using (true) with check (true)', tab);

    if bound = 'none' then
        return;
    end if;

    api := case bound
           when 'tenant' then tenant
           when 'device' then tenant || ' and ' || device
           when 'user'   then tenant || ' and ' || person
           end;

    if api is null then
        raise 'unknown binding %', bound;
    end if;

    execute format('create policy tenant_api on %s to mdvr_api using (%s) with check (%s)', tab, api, api);
    execute format('create policy tenant_worker on %s to mdvr_worker using (%s) with check (%s)',
                   tab, tenant, tenant);
end
$$;

comment on procedure mdvr.protect(regclass, text) is
    'Used by migrations only: forces row security and makes the standard policies';
revoke execute on procedure mdvr.protect(regclass, text) from public;

reset role;
