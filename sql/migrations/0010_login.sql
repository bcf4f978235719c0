-- 0010: identity and platform functions, audit.  What must happen before a tenant
-- is known, or across tenants, is here and nowhere else.

set role mdvr_owner;

create table mdvr.audit (
    tenant_id    uuid         not null references mdvr.tenant,
    seq          bigint       not null check (seq > 0),
    at           timestamptz  not null,
    user_id      uuid         references mdvr.user,
    session_id   uuid,
    address      inet,
    action       text         not null check (action ~ '^[a-z][a-z0-9_.]{0,63}$'),
    object_type  text         check (length(object_type) <= 64),
    object_id    text         check (length(object_id) <= 200),
    detail       jsonb        not null default '{}' check (jsonb_typeof(detail) = 'object'),
    request_id   text         check (length(request_id) <= 128),
    prev_hash    bytea        not null check (octet_length(prev_hash) = 32),
    hash         bytea        not null check (octet_length(hash) = 32),
    primary key (tenant_id, seq)
);

create index audit_at on mdvr.audit (tenant_id, at desc);

comment on table mdvr.audit is
    'Who did what, when and from where: append-only, each row carries the hash of the row before it in its tenant';
comment on column mdvr.audit.hash is 'SHA-256 over prev_hash and the row as mdvr.audit_text shows it';


create table mdvr.audit_head (
    tenant_id  uuid    primary key references mdvr.tenant,
    seq        bigint  not null,
    hash       bytea   not null
);

comment on table mdvr.audit_head is 'Newest link of each tenant''s audit chain';

call mdvr.protect('mdvr.audit', 'tenant');
call mdvr.protect('mdvr.audit_head', 'tenant');
grant select on mdvr.audit to mdvr_api, mdvr_worker;
grant select, insert on mdvr.audit to mdvr_definer;
grant select, insert, update on mdvr.audit_head to mdvr_definer;

create function mdvr.refuse_change() returns trigger
language plpgsql
as $$
begin
    raise exception '% is append-only', tg_table_name using errcode = '42501';
end
$$;

comment on function mdvr.refuse_change() is 'Trigger of append-only tables; holds for the owner too';
create trigger append_only before update or delete or truncate on mdvr.audit
    for each statement execute function mdvr.refuse_change();

create function mdvr.audit_text(a mdvr.audit) returns text
language sql immutable
as $$
    select json_build_array(a.tenant_id, a.seq, extract(epoch from a.at), a.user_id, a.session_id, a.address, a.action,
                            a.object_type, a.object_id, a.detail, a.request_id)::text
$$;

comment on function mdvr.audit_text(mdvr.audit) is 'The bytes (UTF-8) of an audit row that its hash covers';
grant execute on function mdvr.audit_text(mdvr.audit) to mdvr_definer, mdvr_api, mdvr_worker;

reset role;
set role mdvr_definer;

create function mdvr.audit_append(p_tenant_id uuid, p_user_id uuid, p_session_id uuid, p_address text, p_action text,
    p_object_type text, p_object_id text, p_detail jsonb, p_request_id text)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    a mdvr.audit;
begin
    insert into mdvr.audit_head (tenant_id, seq, hash) values (p_tenant_id, 0, decode(repeat('00', 32), 'hex'))
    on conflict (tenant_id) do nothing;

    select h.seq + 1, h.hash into a.seq, a.prev_hash
      from mdvr.audit_head h
     where h.tenant_id = p_tenant_id
       for update;

    a.tenant_id := p_tenant_id;
    a.at := clock_timestamp();
    a.user_id := (select u.id from mdvr.user u where u.id = p_user_id);
    a.session_id := p_session_id;
    a.address := p_address::inet;
    a.action := p_action;
    a.object_type := left(p_object_type, 64);
    a.object_id := left(p_object_id, 200);
    a.detail := coalesce(p_detail, '{}');
    a.request_id := left(p_request_id, 128);
    a.hash := sha256(a.prev_hash || convert_to(mdvr.audit_text(a), 'UTF8'));

    insert into mdvr.audit select a.*;
    update mdvr.audit_head set seq = a.seq, hash = a.hash where tenant_id = p_tenant_id;

    return a.seq;
end
$$;

comment on function mdvr.audit_append is 'Adds a link to a tenant''s audit chain; take it last in a transaction';
grant execute on function mdvr.audit_append to mdvr_api, mdvr_stream, mdvr_worker;


create function mdvr.audit_verify(p_tenant_id uuid) returns bigint
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    a    mdvr.audit;
    prev bytea := decode(repeat('00', 32), 'hex');
    n    bigint := 0;
    head mdvr.audit_head;
begin
    for a in select * from mdvr.audit where tenant_id = p_tenant_id order by seq loop
        n := n + 1;

        if a.seq <> n or a.prev_hash <> prev
           or a.hash <> sha256(a.prev_hash || convert_to(mdvr.audit_text(a), 'UTF8'))
        then
            return n;
        end if;

        prev := a.hash;
    end loop;

    select * into head from mdvr.audit_head where tenant_id = p_tenant_id;

    if coalesce(head.seq, 0) <> n or n > 0 and head.hash <> prev then
        return n + 1;
    end if;

    return 0;
end
$$;

comment on function mdvr.audit_verify(uuid) is 'Number of the first audit row that is missing or was changed, 0 when the chain is whole';
grant execute on function mdvr.audit_verify(uuid) to mdvr_api, mdvr_worker;


-- Sign-in.  Always one row, so that known and unknown accounts cost the same;
-- user_id is NULL when there is nobody, locked_until is in the future while the
-- account is locked (5 failures within 15 minutes).

create function mdvr.login_lookup(p_email text)
returns table (user_id uuid, tenant_id uuid, tenant_active boolean, email text, name text, role text,
               extra_scopes text[], password_hash text, active boolean, totp_secret bytea, locked_until timestamptz)
language sql stable security definer rows 1 set search_path = pg_catalog, pg_temp
as $$
    select u.id, u.tenant_id, t.status = 'active', u.email, u.name, u.role, u.extra_scopes, u.password_hash, u.active,
           case when u.totp_enabled_at is not null then u.totp_secret end,
           (select f.locked_until from mdvr.login_failure f
             where f.account = left(lower(p_email), 254) and f.locked_until > now())
      from (values (1)) one
      left join mdvr.user u on lower(u.email) = lower(p_email) and u.deleted_at is null
      left join mdvr.tenant t on t.id = u.tenant_id
$$;

comment on function mdvr.login_lookup(text) is 'What a sign-in is checked against';


create function mdvr.login_failed(p_email text) returns timestamptz
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into mdvr.login_failure as f (account, failures)
    values (left(lower(p_email), 254), 1)
    on conflict (account) do update set
        failures = case when f.first_at < now() - interval '15 minutes' then 1 else f.failures + 1 end,
        first_at = case when f.first_at < now() - interval '15 minutes' then now() else f.first_at end,
        locked_until = case when f.first_at >= now() - interval '15 minutes' and f.failures + 1 >= 5
                            then f.first_at + interval '15 minutes' end
    returning locked_until
$$;

comment on function mdvr.login_failed(text) is
    'Counts a failed sign-in; returns until when the account is locked, or NULL';


create function mdvr.login_failures_forget() returns bigint
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    with gone as (
        delete from mdvr.login_failure where first_at < now() - interval '1 hour' returning 1
    )
    select count(*) from gone
$$;

comment on function mdvr.login_failures_forget() is 'Deletes old failure counters';


create function mdvr.session_create(p_user_id uuid, p_refresh_hash bytea, p_address text, p_user_agent text,
    p_refresh_ttl_s integer)
returns table (session_id uuid, expires_at timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    u mdvr.user;
begin
    update mdvr.user x
       set last_login_at = now()
      from mdvr.tenant t
     where x.id = p_user_id and x.active and x.deleted_at is null and t.id = x.tenant_id and t.status = 'active'
    returning x.* into u;

    if not found then
        return;
    end if;

    delete from mdvr.login_failure where account = lower(u.email);

    expires_at := now() + make_interval(secs => p_refresh_ttl_s);

    insert into mdvr.session (tenant_id, user_id, address, user_agent, expires_at)
    values (u.tenant_id, u.id, p_address::inet, left(p_user_agent, 512), session_create.expires_at)
    returning id into session_id;

    insert into mdvr.refresh_token (hash, tenant_id, session_id, expires_at)
    values (p_refresh_hash, u.tenant_id, session_create.session_id, session_create.expires_at);

    return next;
end
$$;

comment on function mdvr.session_create is
    'The password was right: a new session; no row when user or tenant is not active. p_refresh_hash is the SHA-256 of the refresh token';


create function mdvr.session_end(p_session_id uuid, p_reason text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update mdvr.session
       set revoked_at = clock_timestamp(), revoke_reason = left(p_reason, 64)
     where id = p_session_id and revoked_at is null;

    return found;
end
$$;

comment on function mdvr.session_end(uuid, text) is 'For other functions: revokes a session of any tenant';


-- verdict: ok; unknown; reused (the whole family was revoked); expired; revoked;
-- inactive (user disabled or tenant suspended).  Only ok made a new token.

create function mdvr.session_refresh(p_hash bytea, p_new_hash bytea, p_address text, p_refresh_ttl_s integer)
returns table (verdict text, session_id uuid, tenant_id uuid, user_id uuid, email text, name text, role text,
               extra_scopes text[])
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    r mdvr.refresh_token;
    s mdvr.session;
    u mdvr.user;
begin
    select * into r from mdvr.refresh_token t where t.hash = p_hash for update;

    if not found then
        verdict := 'unknown';
        return next;
        return;
    end if;

    select * into s from mdvr.session x where x.id = r.session_id for update;
    select * into u from mdvr.user x where x.id = s.user_id;

    session_id := s.id;
    tenant_id := s.tenant_id;
    user_id := u.id;
    email := u.email;
    name := u.name;
    role := u.role;
    extra_scopes := u.extra_scopes;

    if r.used_at is not null then
        perform mdvr.session_end(s.id, 'refresh token reused');
        verdict := 'reused';

    elsif s.revoked_at is not null then
        verdict := 'revoked';

    elsif r.expires_at <= now() or s.expires_at <= now() then
        verdict := 'expired';

    elsif not u.active or u.deleted_at is not null
          or not exists (select from mdvr.tenant t where t.id = u.tenant_id and t.status = 'active')
    then
        verdict := 'inactive';

    else
        update mdvr.refresh_token t set used_at = now() where t.hash = p_hash;

        insert into mdvr.refresh_token (hash, tenant_id, session_id, expires_at)
        values (p_new_hash, s.tenant_id, s.id, now() + make_interval(secs => p_refresh_ttl_s));

        update mdvr.session x
           set last_used_at = now(), address = coalesce(p_address::inet, x.address),
               expires_at = now() + make_interval(secs => p_refresh_ttl_s)
         where x.id = s.id;

        verdict := 'ok';
    end if;

    return next;
end
$$;

comment on function mdvr.session_refresh is 'Exchanges a refresh token, once each; reuse of a spent one revokes the family';


create function mdvr.session_revoke(p_session_id uuid, p_reason text) returns boolean
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    select mdvr.session_end(s.id, p_reason)
      from mdvr.session s
     where s.id = p_session_id
       and s.user_id = nullif(current_setting('app.current_user_id', true), '')::uuid
$$;

comment on function mdvr.session_revoke(uuid, text) is
    'Ends a session of the transaction''s user; NULL when it has none of that id, false when it had ended';


create function mdvr.revoked_since(p_since timestamptz)
returns table (session_id uuid, user_id uuid, tenant_id uuid, revoked_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select s.id, s.user_id, s.tenant_id, s.revoked_at
      from mdvr.session s
     where s.revoked_at >= p_since
     order by s.revoked_at
$$;

comment on function mdvr.revoked_since(timestamptz) is
    'Sessions that ended early; ask again with some overlap, and for an access token''s lifetime at start';


-- Whoever is disabled, deleted, demoted or suspended loses its sessions at once.

create function mdvr.user_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    s uuid;
begin
    if new.active and new.deleted_at is null and new.role = old.role and new.extra_scopes = old.extra_scopes then
        return null;
    end if;

    for s in select id from mdvr.session where user_id = new.id and revoked_at is null loop
        perform mdvr.session_end(s, 'permissions changed');
    end loop;

    return null;
end
$$;

create function mdvr.tenant_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    s uuid;
begin
    if new.status = 'active' then
        return null;
    end if;

    for s in
        select x.id from mdvr.session x join mdvr.user u on u.id = x.user_id
         where u.tenant_id = new.id and x.revoked_at is null
    loop
        perform mdvr.session_end(s, 'tenant suspended');
    end loop;

    return null;
end
$$;

grant execute on function mdvr.user_changed(), mdvr.tenant_changed() to mdvr_owner;


create function mdvr.password_lookup(p_user_id uuid) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select u.password_hash
      from mdvr.user u
     where u.id = p_user_id
       and u.id = nullif(current_setting('app.current_user_id', true), '')::uuid
$$;

comment on function mdvr.password_lookup(uuid) is 'The transaction''s user''s own password hash, to check it before a change';


create function mdvr.password_set(p_user_id uuid, p_password_hash text, p_keep_session_id uuid) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    s uuid;
begin
    update mdvr.user
       set password_hash = p_password_hash, password_changed_at = now()
     where id = p_user_id and deleted_at is null
       and (id = nullif(current_setting('app.current_user_id', true), '')::uuid
            or tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid
               and current_setting('app.current_role', true) in ('super_admin', 'tenant_admin')
               and (role <> 'super_admin' or current_setting('app.current_role', true) = 'super_admin'));

    if not found then
        return false;
    end if;

    for s in
        select id from mdvr.session
         where user_id = p_user_id and revoked_at is null and id is distinct from p_keep_session_id
    loop
        perform mdvr.session_end(s, 'password changed');
    end loop;

    return true;
end
$$;

comment on function mdvr.password_set(uuid, text, uuid) is
    'Sets one''s own password, or as an administrator another''s in the tenant; every other session ends';


create function mdvr.totp_set(p_secret bytea, p_enable boolean) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    update mdvr.user
       set totp_secret = case when p_secret is null and p_enable then totp_secret else p_secret end,
           totp_enabled_at = case when p_enable then now() end
     where id = nullif(current_setting('app.current_user_id', true), '')::uuid;

    return found;
end
$$;

comment on function mdvr.totp_set(bytea, boolean) is
    'Second factor of the transaction''s user: (secret, false) prepares, (NULL, true) enables, (NULL, false) removes';

create function mdvr.totp_secret() returns bytea
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select u.totp_secret from mdvr.user u where u.id = nullif(current_setting('app.current_user_id', true), '')::uuid
$$;

comment on function mdvr.totp_secret() is 'The transaction''s user''s own second factor, enabled or not';


create function mdvr.api_key_lookup(p_hash bytea)
returns table (api_key_id uuid, tenant_id uuid, user_id uuid, role text, scopes text[], device_ids uuid[],
               expires_at timestamptz)
language plpgsql security definer rows 1 set search_path = pg_catalog, pg_temp
as $$
declare
    k mdvr.api_key;
begin
    select x.* into k
      from mdvr.api_key x
      join mdvr.user u on u.id = x.user_id and u.active and u.deleted_at is null
      join mdvr.tenant t on t.id = x.tenant_id and t.status = 'active'
     where x.hash = p_hash and x.revoked_at is null and (x.expires_at is null or x.expires_at > now());

    if not found then
        return;
    end if;

    if k.last_used_at is null or k.last_used_at < now() - interval '1 minute' then
        update mdvr.api_key x set last_used_at = now() where x.id = k.id;
    end if;

    return query
    select k.id, k.tenant_id, k.user_id, case when k.device_ids is null then 'technician' else 'client_user' end,
           k.scopes, k.device_ids, k.expires_at;
end
$$;

comment on function mdvr.api_key_lookup(bytea) is
    'Who an API key (its SHA-256) stands for; with device_ids set app.current_user_id to api_key_id and the role to client_user';


-- Keys.

create function mdvr.signing_keys()
returns table (kid text, purpose text, secret bytea, created_at timestamptz, expires_at timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select k.kid, k.purpose, k.secret, k.created_at, k.expires_at
      from mdvr.signing_key k
     where k.expires_at is null or k.expires_at > now()
     order by k.purpose, k.created_at desc
$$;

comment on function mdvr.signing_keys() is 'Keys that verify; the first of each purpose, newest first, also signs';


create function mdvr.new_secret() returns bytea
language sql volatile
as $$
    select sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
$$;

comment on function mdvr.new_secret() is '32 bytes from the server''s strong random source';


create function mdvr.ensure_signing_key(p_purpose text default 'access') returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    k text;
begin
    perform pg_advisory_xact_lock(5571089);

    select x.kid into k
      from mdvr.signing_key x
     where x.purpose = p_purpose and x.expires_at is null
     order by x.created_at desc
     limit 1;

    if not found then
        insert into mdvr.signing_key (kid, purpose, secret)
        values (encode(substr(mdvr.new_secret(), 1, 8), 'hex'), p_purpose, mdvr.new_secret())
        returning kid into k;
    end if;

    return k;
end
$$;

comment on function mdvr.ensure_signing_key(text) is 'Makes the first key of a purpose (access, stream, url, evidence); returns the signing kid';


create function mdvr.rotate_signing_key(p_purpose text, p_keep interval) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(5571089);

    update mdvr.signing_key
       set retired_at = now(), expires_at = now() + p_keep
     where purpose = p_purpose and expires_at is null;

    return mdvr.ensure_signing_key(p_purpose);
end
$$;

comment on function mdvr.rotate_signing_key(text, interval) is
    'A new key signs; older ones verify for p_keep longer (more than a token lives)';

grant execute on function mdvr.login_lookup(text), mdvr.login_failed(text),
    mdvr.session_create(uuid, bytea, text, text, integer), mdvr.session_refresh(bytea, bytea, text, integer),
    mdvr.session_revoke(uuid, text), mdvr.revoked_since(timestamptz), mdvr.password_lookup(uuid),
    mdvr.password_set(uuid, text, uuid), mdvr.totp_set(bytea, boolean), mdvr.totp_secret(),
    mdvr.api_key_lookup(bytea), mdvr.signing_keys(), mdvr.ensure_signing_key(text) to mdvr_api;
grant execute on function mdvr.signing_keys(), mdvr.revoked_since(timestamptz) to mdvr_stream;
grant execute on function mdvr.login_failures_forget(), mdvr.rotate_signing_key(text, interval), mdvr.signing_keys(),
    mdvr.ensure_signing_key(text) to mdvr_worker;


-- The platform's own routes.  The caller's role is checked here as well, so that
-- a mistake in a route does not open them.

create function mdvr.require_super_admin() returns void
language plpgsql stable
as $$
begin
    if current_setting('app.current_role', true) is distinct from 'super_admin' then
        raise exception 'super_admin only' using errcode = '42501';
    end if;
end
$$;

comment on function mdvr.require_super_admin() is 'For other functions: 42501 unless app.current_role is super_admin';


create function mdvr.tenant_list(p_after uuid, p_limit integer)
returns setof mdvr.tenant
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform mdvr.require_super_admin();
    return query select * from mdvr.tenant t
                  where p_after is null or t.id > p_after
                  order by t.id
                  limit least(p_limit, 501);
end
$$;

comment on function mdvr.tenant_list(uuid, integer) is 'Tenants in order of their ids, after one';


create function mdvr.tenant_get(p_tenant_id uuid) returns setof mdvr.tenant
language plpgsql stable security definer rows 1 set search_path = pg_catalog, pg_temp
as $$
begin
    perform mdvr.require_super_admin();
    return query select * from mdvr.tenant t where t.id = p_tenant_id;
end
$$;

comment on function mdvr.tenant_get(uuid) is 'One tenant, whatever its state';


create function mdvr.tenant_make(p_name text) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    made uuid;
begin
    insert into mdvr.tenant (name) values (p_name) returning id into made;
    insert into mdvr.plan (tenant_id) values (made);
    insert into mdvr.event_counter (tenant_id) values (made);
    return made;
end
$$;

comment on function mdvr.tenant_make(text) is 'For other functions: a tenant with its plan';


create function mdvr.tenant_create(p_name text) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform mdvr.require_super_admin();
    return mdvr.tenant_make(p_name);
end
$$;

comment on function mdvr.tenant_create(text) is 'A new tenant; its users and settings follow with app.current_tenant_id set to it';


create function mdvr.tenant_set_status(p_tenant_id uuid, p_status text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform mdvr.require_super_admin();

    update mdvr.tenant
       set status = p_status,
           suspended_at = case when p_status = 'active' then null else coalesce(suspended_at, now()) end,
           deleted_at = case when p_status = 'deleted' then coalesce(deleted_at, now()) end
     where id = p_tenant_id;

    return found;
end
$$;

comment on function mdvr.tenant_set_status(uuid, text) is 'active, suspended or deleted; sessions of a tenant that is not active end';


create function mdvr.plan_set(p_tenant_id uuid, p_name text, p_max_devices integer, p_max_users integer,
    p_max_storage_bytes bigint, p_max_live_minutes bigint, p_max_ai_minutes bigint)
returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform mdvr.require_super_admin();

    update mdvr.plan
       set name = p_name, max_devices = p_max_devices, max_users = p_max_users,
           max_storage_bytes = p_max_storage_bytes, max_live_minutes = p_max_live_minutes,
           max_ai_minutes = p_max_ai_minutes, updated_at = now()
     where tenant_id = p_tenant_id;

    return found;
end
$$;

comment on function mdvr.plan_set is 'What a tenant may use; NULL means no limit';

grant execute on function mdvr.tenant_list(uuid, integer), mdvr.tenant_get(uuid), mdvr.tenant_create(text),
    mdvr.tenant_set_status(uuid, text),
    mdvr.plan_set(uuid, text, integer, integer, bigint, bigint, bigint) to mdvr_api;


create function mdvr.bootstrap_admin(p_email text, p_password_hash text, p_tenant_name text,
    out tenant_id uuid, out user_id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(5571090);

    if exists (select from mdvr.user u where u.role = 'super_admin' and u.deleted_at is null) then
        return;
    end if;

    tenant_id := mdvr.tenant_make(p_tenant_name);

    insert into mdvr.user (tenant_id, email, name, role, password_hash)
    values (bootstrap_admin.tenant_id, p_email, 'Administrator', 'super_admin', p_password_hash)
    returning id into user_id;

    perform mdvr.ensure_signing_key(p) from unnest(array['access', 'stream', 'url', 'evidence']) p;
end
$$;

comment on function mdvr.bootstrap_admin(text, text, text) is
    'First start: a tenant, its super_admin and the signing keys; NULLs when there is a super_admin. Only for the user who migrates';
grant execute on function mdvr.bootstrap_admin(text, text, text) to mdvr_owner;

reset role;
set role mdvr_owner;

create trigger user_changed after update of active, deleted_at, role, extra_scopes on mdvr.user
    for each row execute function mdvr.user_changed();
create trigger tenant_changed after update of status on mdvr.tenant
    for each row execute function mdvr.tenant_changed();

grant execute on function mdvr.uuid7() to mdvr_definer;

reset role;
