-- 0107: secrets that are not sealed are named in order, after one that is named: a
-- hundred that no key opens would otherwise hide all the others.  Caller: api.

set role mdvr_definer;

create function mdvr.secrets_to_seal(p_head bytea, p_after text, p_limit integer)
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
       and x.name collate "C" > p_after
     order by x.name collate "C"
     limit p_limit
$$;

comment on function mdvr.secrets_to_seal(bytea, text, integer) is
    'Secrets that are not sealed by the key whose head (magic and key id) is given, in the order of their names from after p_after on';

revoke all on function mdvr.secrets_to_seal(bytea, text, integer) from public;
grant execute on function mdvr.secrets_to_seal(bytea, text, integer) to mdvr_api;

reset role;
