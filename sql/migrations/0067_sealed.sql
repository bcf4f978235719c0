-- 0067: secrets may be sealed by a key that the database does not have (36 bytes
-- longer, they begin with "MDS1"), and access that is void though no session ended.

set role mdvr_owner;

alter table mdvr.signing_key drop constraint signing_key_secret_check;
alter table mdvr.signing_key add constraint signing_key_secret_check check (octet_length(secret) in (32, 68));
alter table mdvr.webhook drop constraint webhook_secret_check;
alter table mdvr.webhook add constraint webhook_secret_check check (octet_length(secret) between 24 and 100);
alter table mdvr.user drop constraint user_totp_secret_check;
alter table mdvr.user add constraint user_totp_secret_check check (octet_length(totp_secret) between 10 and 164);

comment on column mdvr.signing_key.secret is 'HMAC-SHA256 key; for evidence the Ed25519 seed; sealed when there is a key file';
comment on column mdvr.webhook.secret is 'Key of the signatures; sealed when there is a key file';
comment on column mdvr.user.totp_secret is 'Second factor; sealed when there is a key file';

grant select, update on mdvr.webhook to mdvr_definer;

reset role;
set role mdvr_definer;

create function mdvr.secrets_to_seal(p_head bytea, p_limit integer)
returns table (name text, secret bytea)
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select x.name, x.secret
      from (select 'signing_key/' || k.kid, k.secret from mdvr.signing_key k
            union all
            select 'webhook/' || w.id, w.secret from mdvr.webhook w
            union all
            select 'totp/' || u.id, u.totp_secret from mdvr.user u where u.totp_secret is not null) x (name, secret)
     where substr(x.secret, 1, 8) <> p_head
     limit p_limit
$$;

comment on function mdvr.secrets_to_seal(bytea, integer) is
    'Secrets that are not sealed by the key whose head (magic and key id) is given';

create function mdvr.secret_sealed(p_name text, p_old bytea, p_new bytea) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    kind constant text := split_part(p_name, '/', 1);
    key  constant text := split_part(p_name, '/', 2);
begin
    if substr(p_new, 1, 4) <> convert_to('MDS1', 'UTF8') then
        return false;
    end if;

    case kind
        when 'signing_key' then
            update mdvr.signing_key set secret = p_new where kid = key and secret = p_old;
        when 'webhook' then
            update mdvr.webhook set secret = p_new where id = key::uuid and secret = p_old;
        when 'totp' then
            update mdvr.user set totp_secret = p_new where id = key::uuid and totp_secret = p_old;
        else
            return false;
    end case;

    return found;
end
$$;

comment on function mdvr.secret_sealed(text, bytea, bytea) is
    'Puts the sealed form of a secret in place of what it was; false: it has changed meanwhile';

-- A user's sessions end when its rights change.  What has no session of a user:
-- API keys of somebody who is gone or suspended, and viewers of a device that is
-- not theirs any more.

create function mdvr.void_access() returns setof uuid
language sql stable security definer rows 10 set search_path = pg_catalog, pg_temp
as $$
    select k.id
      from mdvr.api_key k
      join mdvr.user u on u.id = k.user_id
      join mdvr.tenant t on t.id = k.tenant_id
     where k.last_used_at > now() - interval '25 hours'
       and (k.revoked_at is not null or k.expires_at <= now() or not u.active or u.deleted_at is not null
            or t.status <> 'active')
    union all
    select v.id
      from mdvr.video_session v
      join mdvr.device d on d.id = v.device_id
      left join mdvr.user u on u.id = v.user_id
      left join mdvr.api_key k on k.id = v.session_id
     where v.ended_at is null and v.expires_at > now()
       and (d.deleted_at is not null
            or k.device_ids is not null and not v.device_id = any (k.device_ids)
            or k.id is null and u.role = 'client_user'
               and not exists (select from mdvr.assignment a
                                where a.user_id = u.id and a.device_id = v.device_id)
               and not exists (select from mdvr.assignment a join mdvr.group_device g on g.group_id = a.group_id
                                where a.user_id = u.id and g.device_id = v.device_id))
$$;

comment on function mdvr.void_access() is
    'API keys and viewers'' sessions that are void now though nobody ended them; asked every other second';

grant execute on function mdvr.secrets_to_seal(bytea, integer), mdvr.secret_sealed(text, bytea, bytea),
    mdvr.void_access() to mdvr_api;
grant execute on function mdvr.void_access() to mdvr_stream;

reset role;
