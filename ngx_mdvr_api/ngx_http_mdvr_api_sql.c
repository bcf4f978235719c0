
/*
 * Statements of people and things: accounts, tenants, users, keys, devices,
 * groups.  What happened to them is in ngx_http_mdvr_api_sql_history.c.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"


/* --- one's own account ---------------------------------------------------------- */

const char  api_sql_me[] =
    "select json_build_object('id', u.id, 'tenant_id', u.tenant_id,"
    " 'email', u.email, 'name', u.name, 'role', u.role,"
    " 'scopes', string_to_array(coalesce($2, ''), ' '),"
    " 'extra_scopes', u.extra_scopes,"
    " 'totp_enabled', u.totp_enabled_at is not null,"
    " 'last_login_at', mdvr.rfc3339(u.last_login_at),"
    " 'created_at', mdvr.rfc3339(u.created_at))::text"
    " from mdvr.user u where u.id = $1::uuid and u.deleted_at is null";

const char  api_sql_sessions[] = API_PAGE(
    "select json_build_object('id', s.id, 'current', s.id = $3::uuid,"
    "  'address', host(s.address), 'user_agent', s.user_agent,"
    "  'created_at', mdvr.rfc3339(s.created_at),"
    "  'last_used_at', mdvr.rfc3339(s.last_used_at),"
    "  'expires_at', mdvr.rfc3339(s.expires_at)) as item,"
    "  " API_KEY_ID("s.id") " as key"
    " from mdvr.session s"
    " where s.user_id = $4::uuid and s.revoked_at is null"
    "  and s.expires_at > now() and ($2::uuid is null or s.id < $2::uuid)"
    " order by s.id desc");

const char  api_sql_totp_delete[] =
    "with t as materialized (select mdvr.totp_set(null, false) as done)"
    " select '', null, null, null,"
    API_AUDIT("auth.totp_disabled", "user", "$2::text", "'{}'")
    " from t where done";


/* --- tenants ------------------------------------------------------------------- */

#define TENANT_JSON                                                           \
    "json_build_object('id', t.id, 'name', t.name, 'status', t.status,"       \
    " 'retention_days', t.retention_days, 'time_zone', t.time_zone,"          \
    " 'settings', t.settings || jsonb_build_object("                          \
    "   'retention_days', t.retention_days, 'time_zone', t.time_zone,"        \
    "   'legal_hold', t.legal_hold, 'alarm_download', t.alarm_download,"      \
    "   'alarm_download_min', t.alarm_download_min),"                         \
    " 'quotas', mdvr.plan_json(t.id),"                                        \
    " 'created_at', mdvr.rfc3339(t.created_at),"                              \
    " 'suspended_at', mdvr.rfc3339(t.suspended_at))"

const char  api_sql_tenants[] = API_PAGE(
    "select " TENANT_JSON " as item, " API_KEY_ID("t.id") " as key"
    " from mdvr.tenant_list($2::uuid, 501) t"
    " where t.status <> 'deleted'"
    " and ($3::text is null or position(lower($3) in lower(t.name)) > 0)"
    " order by t.id");

const char  api_sql_tenant_get[] =
    "select " TENANT_JSON "::text from mdvr.tenant_get($1::uuid) t"
    " where t.status <> 'deleted'";

const char  api_sql_tenant_post[] =
    "with x as materialized (select mdvr.tenant_write(null, $1::jsonb) as id)"
    " select x.id, null, null, null,"
    " mdvr.audit_append(x.id, $2::uuid, $3::uuid, $4, 'tenant.create',"
    "  'tenant', x.id::text, $1::jsonb, $5)"
    " from x";

const char  api_sql_tenant_patch[] =
    "with x as materialized (select mdvr.tenant_write($7::uuid, $6::jsonb) as id)"
    " select x.id, null,"
    " json_build_object('op', 'tenant_changed', 'id', x.id)::text, null,"
    API_AUDIT("tenant.update", "tenant", "x.id::text", "$6::jsonb")
    " from x where x.id is not null";

const char  api_sql_tenant_delete[] =
    "with t as materialized (select * from mdvr.tenant_get($6::uuid)"
    "   where status <> 'deleted'),"
    " s as materialized (select mdvr.tenant_set_status(t.id,"
    "   case when t.status = 'active' then 'suspended' else 'deleted' end)"
    "   as done from t)"
    " select '', null,"
    " json_build_object('op', 'tenant_changed', 'id', t.id)::text, null,"
    " mdvr.audit_append($1::uuid, $2::uuid, $3::uuid, $4,"
    "  case when t.status = 'active' then 'tenant.suspend'"
    "       else 'tenant.delete' end, 'tenant', t.id::text, '{}', $5)"
    " from t, s where s.done";

const char  api_sql_plan_get[] =
    "select (coalesce(mdvr.plan_json(t.id)::jsonb, jsonb_build_object("
    "   'name', 'none', 'max_devices', null, 'max_users', null,"
    "   'max_storage_bytes', null, 'max_live_minutes', null,"
    "   'max_ai_minutes', null)) || jsonb_build_object("
    " 'tenant_id', t.id))::text from mdvr.tenant t"
    " where t.id = $1::uuid and t.status <> 'deleted'";

const char  api_sql_plan_put[] =
    "with b as (select $6::jsonb as b), s as materialized (select mdvr.plan_set("
    "  $7::uuid, coalesce(b->>'name', 'standard'), (b->>'max_devices')::int,"
    "  (b->>'max_users')::int, (b->>'max_storage_bytes')::bigint,"
    "  (b->>'max_live_minutes')::bigint, (b->>'max_ai_minutes')::bigint)"
    "  as done from b)"
    " select (mdvr.plan_json($7::uuid)::jsonb || jsonb_build_object("
    "  'tenant_id', $7::uuid))::text, null, null, null,"
    API_AUDIT("plan.update", "tenant", "$7::text", "b")
    " from s, b where done";

const char  api_sql_usage[] =
    "select json_build_object("
    " 'tenant_id', $1::uuid, 'from', f.a, 'to', f.b, 'plan',"
    "  mdvr.plan_json($1::uuid),"
    " 'devices', (select count(*) from mdvr.device where deleted_at is null),"
    " 'users', (select count(*) from mdvr.user where deleted_at is null),"
    " 'live_minutes', ceil(coalesce(sum(amount) filter"
    "   (where metric = 'live_s'), 0) / 60.0)::bigint,"
    " 'bytes_in', coalesce(sum(amount) filter (where metric = 'bytes_in'), 0)"
    "   ::bigint,"
    " 'bytes_out', coalesce(sum(amount) filter (where metric = 'bytes_out'), 0)"
    "   ::bigint,"
    " 'storage_bytes', (select coalesce(sum(stored_bytes), 0)::bigint"
    "   from mdvr.media where deleted_at is null),"
    " 'ai_minutes', ceil(coalesce(sum(amount) filter"
    "   (where metric = 'ai_s'), 0) / 60.0)::bigint,"
    " 'transcode_minutes', ceil(coalesce(sum(amount) filter"
    "   (where metric = 'transcode_s'), 0) / 60.0)::bigint,"
    " 'commands', coalesce(sum(amount) filter (where metric = 'commands'), 0)"
    "   ::bigint,"
    " 'alarms', coalesce(sum(amount) filter (where metric = 'alarms'), 0)"
    "   ::bigint,"
    " 'days', coalesce((select json_agg(d order by d->>'day') from"
    "   (select json_build_object('day', day, 'metric', metric, 'amount',"
    "     amount) as d from mdvr.usage"
    "    where day between f.a and f.b) x), '[]'::json))::text"
    " from (select coalesce(($2::timestamptz at time zone 'UTC')::date,"
    "   date_trunc('month', now() at time zone 'UTC')::date) as a,"
    "  coalesce(($3::timestamptz at time zone 'UTC')::date,"
    "   (now() at time zone 'UTC')::date) as b) f"
    " left join mdvr.usage u on u.day between f.a and f.b"
    " group by f.a, f.b";


/* --- users and keys ----------------------------------------------------------------- */

#define USER_JSON                                                             \
    "json_build_object('id', u.id, 'tenant_id', u.tenant_id,"                 \
    " 'email', u.email, 'name', u.name, 'role', u.role,"                      \
    " 'extra_scopes', u.extra_scopes, 'active', u.active,"                    \
    " 'totp_enabled', u.totp_enabled_at is not null,"                         \
    " 'last_login_at', mdvr.rfc3339(u.last_login_at),"                        \
    " 'created_at', mdvr.rfc3339(u.created_at),"                              \
    " 'device_ids', (select coalesce(json_agg(a.device_id), '[]'::json)"      \
    "   from mdvr.assignment a"                                               \
    "   where a.user_id = u.id and a.device_id is not null),"                 \
    " 'group_ids', (select coalesce(json_agg(a.group_id), '[]'::json)"        \
    "   from mdvr.assignment a"                                               \
    "   where a.user_id = u.id and a.group_id is not null))"

const char  api_sql_users[] = API_PAGE(
    "select " USER_JSON " as item, " API_KEY_ID("u.id") " as key"
    " from mdvr.user u where u.deleted_at is null"
    " and ($2::uuid is null or u.id > $2::uuid)"
    " and ($3::text is null or position(lower($3)"
    "      in lower(u.email || ' ' || u.name)) > 0)"
    " and ($4::text is null or u.role = $4)"
    " order by u.id");

const char  api_sql_user_get[] =
    "select " USER_JSON "::text from mdvr.user u"
    " where u.id = $1::uuid and u.deleted_at is null";

const char  api_sql_user_delete[] =
    "with gone as (update mdvr.user u set deleted_at = now(), active = false"
    "  where u.id = $6::uuid and u.deleted_at is null"
    "  and (u.id <> $2::uuid or mdvr.refuse('MD409', 'own_account',"
    "       'one cannot delete oneself'))"
    "  and (u.role not in ('super_admin', 'tenant_admin')"
    "       or $7 = 'super_admin' or u.role = $7"
    "       or mdvr.refuse('MD403', 'forbidden',"
    "          'only an administrator deletes administrators'))"
    "  returning u.id, u.email)"
    " select '', null, null, null,"
    API_AUDIT("user.delete", "user", "g.id::text",
              "jsonb_build_object('email', g.email)")
    " from gone g";

const char  api_sql_user_devices[] =
    "with a as materialized (select mdvr.assign($7::uuid, $6::jsonb) as done)"
    " select $7::text, null, null, null,"
    API_AUDIT("user.assign", "user", "$7::text", "$6::jsonb")
    " from a where done";

const char  api_sql_keys[] = API_PAGE(
    "select json_build_object('id', k.id, 'name', k.name, 'scopes', k.scopes,"
    "  'device_ids', k.device_ids, 'user_id', k.user_id,"
    "  'expires_at', mdvr.rfc3339(k.expires_at),"
    "  'last_used_at', mdvr.rfc3339(k.last_used_at),"
    "  'created_at', mdvr.rfc3339(k.created_at)) as item,"
    "  " API_KEY_ID("k.id") " as key"
    " from mdvr.api_key k where k.revoked_at is null"
    " and ($2::uuid is null or k.id > $2::uuid) order by k.id");

const char  api_sql_key_delete[] =
    "with gone as (update mdvr.api_key k set revoked_at = now()"
    "  where k.id = $6::uuid and k.revoked_at is null returning k.id, k.name)"
    " select '', null,"
    " json_build_object('op', 'revoke_session', 'id', g.id, 'until',"
    "  extract(epoch from now())::bigint + 86400)::text, null,"
    API_AUDIT("api_key.delete", "api_key", "g.id::text",
              "jsonb_build_object('name', g.name)")
    " from gone g";


/* --- devices ------------------------------------------------------------------------- */

#define DEVICE_JSON                                                           \
    "json_build_object('id', d.id, 'serial', d.serial, 'name', d.name,"       \
    " 'plate', d.plate, 'imei', d.imei, 'channels', d.channels,"              \
    " 'enabled', d.enabled, 'group_ids', (select coalesce("                   \
    "   json_agg(g.group_id), '[]'::json) from mdvr.group_device g"           \
    "   where g.device_id = d.id),"                                           \
    " 'settings', mdvr.device_settings(d),"                                   \
    " 'online', coalesce(s.online, false),"                                   \
    " 'connected_at', mdvr.rfc3339(case when s.online then s.connected_at end),"\
    " 'last_seen_at', mdvr.rfc3339(greatest(s.last_seen_at, p.received_at)),"  \
    " 'offline_reason', case when not s.online then s.offline_reason end,"    \
    " 'firmware', s.registration->>'firmware',"                               \
    " 'position', mdvr.position_json(p),"                                     \
    " 'created_at', mdvr.rfc3339(d.created_at))"

#define DEVICE_FROM                                                           \
    " from mdvr.device d"                                                     \
    " left join mdvr.device_state s on s.device_id = d.id"                    \
    " left join mdvr.position p on p.device_id = d.id"

const char  api_sql_devices[] = API_PAGE(
    "select " DEVICE_JSON " as item, " API_KEY_ID("d.id") " as key"
    DEVICE_FROM
    " where d.deleted_at is null and ($2::uuid is null or d.id > $2::uuid)"
    " and ($3::text is null or position(lower($3) in lower(d.serial || ' '"
    "      || d.name || ' ' || d.plate)) > 0)"
    " and ($4::uuid is null or exists (select from mdvr.group_device g"
    "      where g.group_id = $4::uuid and g.device_id = d.id))"
    " and ($5::boolean is null or coalesce(s.online, false) = $5::boolean)"
    " and ($6::text is null or ("
    "      p.lon_deg between (string_to_array($6, ','))[1]::float8"
    "                    and (string_to_array($6, ','))[3]::float8"
    "      and p.lat_deg between (string_to_array($6, ','))[2]::float8"
    "                    and (string_to_array($6, ','))[4]::float8))"
    " order by d.id");

const char  api_sql_device_get[] =
    "select " DEVICE_JSON "::text" DEVICE_FROM
    " where d.id = $1::uuid and d.deleted_at is null";

/* what was written is read by the route's second statement */

const char  api_sql_device_post[] =
    "with x as materialized (select mdvr.device_write(null, $6::jsonb) as id)"
    " select x.id, null, json_build_object('op', 'device_changed', 'id', x.id,"
    "  'serial', $6::jsonb->>'serial')::text, null,"
    API_AUDIT("device.create", "device", "x.id::text", "$6::jsonb")
    " from x where x.id is not null";

const char  api_sql_device_patch[] =
    "with x as materialized (select mdvr.device_write($7::uuid, $6::jsonb) as id)"
    " select x.id, null, json_build_object('op', 'device_changed', 'id', x.id,"
    "  'serial', (select d.serial from mdvr.device d where d.id = x.id))::text,"
    " null,"
    API_AUDIT("device.update", "device", "x.id::text", "$6::jsonb")
    " from x where x.id is not null";

const char  api_sql_device_delete[] =
    "with gone as (update mdvr.device d set deleted_at = now()"
    "  where d.id = $6::uuid and d.deleted_at is null"
    "  returning d.id, d.serial)"
    " select '', null, json_build_object('op', 'device_changed', 'id', g.id,"
    "  'serial', g.serial)::text, null,"
    API_AUDIT("device.delete", "device", "g.id::text",
              "jsonb_build_object('serial', g.serial)")
    " from gone g";

const char  api_sql_pending[] =
    "select json_build_object('items', coalesce((select json_agg("
    "  json_build_object('serial', p.serial, 'address', host(p.address),"
    "   'first_at', mdvr.rfc3339(p.first_at), 'at', mdvr.rfc3339(p.last_at),"
    "   'knocks', p.knocks) order by p.last_at desc)"
    "  from mdvr.pending_devices($1) p"
    "  where $2 = 'super_admin' or $1 is not null), '[]'::json),"
    " 'next_cursor', null)::text";


/* --- groups --------------------------------------------------------------------------- */

#define GROUP_JSON                                                            \
    "json_build_object('id', g.id, 'name', g.name,"                           \
    " 'device_ids', (select coalesce(json_agg(x.device_id), '[]'::json)"      \
    "   from mdvr.group_device x where x.group_id = g.id),"                   \
    " 'created_at', mdvr.rfc3339(g.created_at))"

/* a client_user knows the groups of what it sees */

#define GROUP_SEEN                                                            \
    " (current_setting('app.current_role', true) <> 'client_user'"            \
    "  or exists (select from mdvr.group_device x where x.group_id = g.id))"

const char  api_sql_groups[] = API_PAGE(
    "select " GROUP_JSON " as item, " API_KEY_ID("g.id") " as key"
    " from mdvr.device_group g"
    " where ($2::uuid is null or g.id > $2::uuid)"
    " and ($3::text is null or position(lower($3) in lower(g.name)) > 0)"
    " and" GROUP_SEEN " order by g.id");

const char  api_sql_group_get[] =
    "select " GROUP_JSON "::text from mdvr.device_group g"
    " where g.id = $1::uuid and" GROUP_SEEN;

const char  api_sql_group_post[] =
    "with x as materialized (select mdvr.group_write(null, $6::jsonb) as id)"
    " select x.id, null, null, null,"
    API_AUDIT("group.create", "group", "x.id::text", "$6::jsonb")
    " from x where x.id is not null";

const char  api_sql_group_patch[] =
    "with x as materialized (select mdvr.group_write($7::uuid, $6::jsonb) as id)"
    " select x.id, null, null, null,"
    API_AUDIT("group.update", "group", "x.id::text", "$6::jsonb")
    " from x where x.id is not null";

const char  api_sql_group_delete[] =
    "with gone as (delete from mdvr.device_group g where g.id = $6::uuid"
    "  returning g.id, g.name)"
    " select '', null, null, null,"
    API_AUDIT("group.delete", "group", "g.id::text",
              "jsonb_build_object('name', g.name)")
    " from gone g";
