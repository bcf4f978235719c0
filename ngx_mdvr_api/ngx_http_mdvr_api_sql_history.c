
/*
 * Statements of what happened: viewing sessions, commands, alarms, media,
 * events, audit; and of the rules that make things happen.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"


/* --- live video ------------------------------------------------------------------- */

const char  api_sql_video_sessions[] = API_PAGE(
    "select json_build_object('session_id', v.id, 'device_id', v.device_id,"
    "  'user_id', v.user_id, 'kind', v.kind, 'channel', v.channel,"
    "  'stream', v.stream, 'node', v.node,"
    "  'status', case when exists (select from mdvr.media_session m"
    "     where m.device_id = v.device_id and m.channel = v.channel"
    "      and m.stream = v.stream and m.ended_at is null)"
    "    then 'live' else 'starting' end,"
    "  'started_at', mdvr.rfc3339(v.started_at),"
    "  'expires_at', mdvr.rfc3339(v.expires_at)) as item,"
    "  " API_KEY_ID("v.id") " as key"
    " from mdvr.video_session v"
    " where v.ended_at is null and v.expires_at > now()"
    " and ($2::uuid is null or v.id < $2::uuid)"
    " and ($3::uuid is null or v.device_id = $3::uuid)"
    " order by v.id desc");


/* --- commands ------------------------------------------------------------------------ */

#define COMMAND_JSON                                                          \
    "json_build_object('id', c.id, 'device_id', c.device_id,"                 \
    " 'user_id', c.user_id, 'type', c.type, 'keyword', c.keyword,"            \
    " 'params', c.params, 'status', c.status, 'timeout_s', c.timeout_s,"      \
    " 'hold_until', mdvr.rfc3339(c.hold_until),"                              \
    " 'answer', case when c.answered_at is not null then json_build_object("  \
    "   'success', c.success, 'content', c.content,"                          \
    "   'error_code', c.error_code, 'error', c.error, 'reason', c.reason) end,"\
    " 'success', c.success, 'error_code', c.error_code, 'error', c.error,"    \
    " 'reason', c.reason, 'progress', c.progress,"                            \
    " 'transferred_bytes', c.transferred_bytes, 'size_bytes', c.size_bytes,"  \
    " 'request_id', c.request_id,"                                            \
    " 'created_at', mdvr.rfc3339(c.created_at),"                              \
    " 'sent_at', mdvr.rfc3339(c.sent_at),"                                    \
    " 'answered_at', mdvr.rfc3339(c.answered_at))"

const char  api_sql_commands[] = API_PAGE(
    "select " COMMAND_JSON " as item, " API_KEY_ID("c.id") " as key"
    " from mdvr.command c where c.device_id = $3::uuid"
    " and ($2::uuid is null or c.id < $2::uuid)"
    " and ($4::text is null or c.type = $4)"
    " and ($5::text is null or c.status = $5)"
    " order by c.id desc")
    " where exists (select from mdvr.device d"
    "  where d.id = $3::uuid and d.deleted_at is null)";

const char  api_sql_command_get[] =
    "select " COMMAND_JSON "::text from mdvr.command c where c.id = $1::uuid";


/* --- media ----------------------------------------------------------------------------- */

#define FINDINGS_JSON(where)                                                  \
    "(select coalesce(json_agg(json_build_object('kind', f.kind,"             \
    " 'confidence', f.confidence, 'at_s', f.at_s, 'box', f.box,"              \
    " 'model', f.model, 'model_version', f.model_version,"                    \
    " 'picture_url', f.picture_key)"                                          \
    " order by f.at_s, f.kind), '[]'::json)"                                  \
    " from mdvr.finding f where " where ")"

#define MEDIA_JSON                                                            \
    "json_build_object('id', m.id, 'device_id', m.device_id,"                 \
    " 'alarm_id', m.alarm_id, 'channel', m.channel, 'kind', m.kind,"          \
    " 'source', m.source, 'status', m.status,"                                \
    " 'failed_reason', m.failed_reason, 'at', mdvr.rfc3339(m.at),"            \
    " 'duration_s', m.duration_s, 'size_bytes', m.size_bytes,"                \
    " 'sha256', encode(m.sha256, 'hex'), 'width_px', m.width_px,"             \
    " 'height_px', m.height_px, 'codec', m.codec,"                            \
    " 'legal_hold', m.legal_hold,"                                            \
    " 'thumbnail_url', case when m.status = 'ready' then m.thumbnail_key end,"\
    " 'sprite_url', case when m.status = 'ready' then m.sprite_key end,"      \
    " 'sprite', case when m.status = 'ready' then m.sprite end,"              \
    " 'analysis', m.analysis,"                                                \
    " 'findings', " FINDINGS_JSON("f.media_id = m.id") ","                    \
    " 'created_at', mdvr.rfc3339(m.created_at),"                              \
    " 'ready_at', mdvr.rfc3339(m.ready_at))"

/*
 * What is quarantined belongs to no alarm and ends as failed with the reason: it
 * is listed, and neither shown nor given away.
 */

#define MEDIA_SEEN  " m.deleted_at is null"

const char  api_sql_media_list[] = API_PAGE(
    "select " MEDIA_JSON " as item,"
    " mdvr.cursor_make(m.at, m.id::text) as key"
    " from mdvr.media m where" MEDIA_SEEN
    " and ($2::text is null"
    "      or (m.at, m.id) < (mdvr.cursor_time($2), mdvr.cursor_uuid($2)))"
    " and ($3::uuid is null or m.device_id = $3::uuid)"
    " and ($4::uuid is null or m.alarm_id = $4::uuid)"
    " and ($5::text is null or m.status = $5)"
    " and ($6::timestamptz is null or m.at >= $6::timestamptz)"
    " and ($7::timestamptz is null or m.at <= $7::timestamptz)"
    " order by m.at desc, m.id desc");

const char  api_sql_media_get[] =
    "select " MEDIA_JSON "::text from mdvr.media m"
    " where m.id = $1::uuid and" MEDIA_SEEN;

const char  api_sql_media_patch[] =
    "with held as (update mdvr.media m"
    "  set legal_hold = ($6::jsonb ->> 'legal_hold')::boolean"
    "  where m.id = $7::uuid and" MEDIA_SEEN " returning m.id)"
    " select h.id, null, null, null,"
    API_AUDIT("media.hold", "media", "h.id::text", "$6::jsonb")
    " from held h";

const char  api_sql_media_delete[] =
    "with gone as (update mdvr.media m set deleted_at = now()"
    "  where m.id = $6::uuid and" MEDIA_SEEN
    "  and (not m.legal_hold or mdvr.refuse('MD409', 'legal_hold',"
    "       'this item is under legal hold'))"
    "  and (not exists (select from mdvr.alarm a where a.id = m.alarm_id"
    "         and a.legal_hold) or mdvr.refuse('MD409', 'legal_hold',"
    "       'the alarm of this item is under legal hold'))"
    "  and (not exists (select from mdvr.tenant t where t.id = m.tenant_id"
    "         and t.legal_hold) or mdvr.refuse('MD409', 'legal_hold',"
    "       'the tenant is under legal hold'))"
    "  returning m.id, m.device_id, m.sha256)"
    " select '', null, null, null,"
    API_AUDIT("media.delete", "media", "g.id::text",
              "jsonb_build_object('device_id', g.device_id,"
              " 'sha256', encode(g.sha256, 'hex'))")
    " from gone g";

const char  api_sql_download_get[] =
    "select json_build_object('id', d.id, 'download_id', d.id,"
    " 'device_id', d.device_id, 'alarm_id', d.alarm_id, 'path', d.path,"
    " 'status', d.status, 'received_bytes', d.received_bytes,"
    " 'size_bytes', d.size_bytes, 'media_id', d.media_id,"
    " 'failed_reason', d.failed_reason, 'attempts', d.attempts,"
    " 'created_at', mdvr.rfc3339(d.created_at),"
    " 'updated_at', mdvr.rfc3339(d.updated_at))::text"
    " from mdvr.download d where d.id = $1::uuid";


/* --- alarms ------------------------------------------------------------------------------ */

#define ALARM_JSON                                                            \
    "json_build_object('id', a.id, 'device_id', a.device_id,"                 \
    " 'serial', (select d.serial from mdvr.device d where d.id = a.device_id),"\
    " 'code', a.code, 'kind', a.kind, 'severity', a.severity,"                \
    " 'status', a.status, 'uid', a.uid, 'sub_key', a.sub_key,"                \
    " 'at', mdvr.rfc3339(a.started_at),"                                      \
    " 'started_at', mdvr.rfc3339(a.started_at),"                              \
    " 'ended_at', mdvr.rfc3339(a.ended_at), 'end_reason', a.end_reason,"      \
    " 'received_at', mdvr.rfc3339(a.received_at),"                            \
    " 'position', a.position, 'data', a.data,"                                \
    " 'acknowledged_at', mdvr.rfc3339(a.acknowledged_at),"                    \
    " 'acknowledged_by', a.acknowledged_by, 'note', a.acknowledge_note,"      \
    " 'legal_hold', a.legal_hold,"                                            \
    " 'media', (select coalesce(json_agg(" MEDIA_JSON " order by m.at),"      \
    "    '[]'::json) from mdvr.media m where m.alarm_id = a.id and" MEDIA_SEEN\
    "  ),"                                                                    \
    " 'findings', " FINDINGS_JSON("f.media_id in (select m.id"                \
    "    from mdvr.media m where m.alarm_id = a.id and" MEDIA_SEEN ")") ")"

const char  api_sql_alarms[] = API_PAGE(
    "select " ALARM_JSON " as item,"
    " mdvr.cursor_make(a.started_at, a.id::text) as key"
    " from mdvr.alarm a where ($2::text is null or (a.started_at, a.id)"
    "      < (mdvr.cursor_time($2), mdvr.cursor_uuid($2)))"
    " and ($3::uuid is null or a.device_id = $3::uuid)"
    " and ($4::text is null or a.kind = any (string_to_array($4, ',')))"
    " and ($5::text is null or a.code = any (string_to_array($5, ',')))"
    " and ($6::text is null or a.severity = any (string_to_array($6, ',')))"
    " and ($7::text is null or a.status = any (string_to_array($7, ',')))"
    " and ($8::timestamptz is null or a.started_at >= $8::timestamptz)"
    " and ($9::timestamptz is null or a.started_at <= $9::timestamptz)"
    " order by a.started_at desc, a.id desc");

const char  api_sql_alarm_get[] =
    "select " ALARM_JSON "::text from mdvr.alarm a where a.id = $1::uuid";

const char  api_sql_alarm_patch[] =
    "with held as (update mdvr.alarm a"
    "  set legal_hold = ($6::jsonb ->> 'legal_hold')::boolean"
    "  where a.id = $7::uuid returning a.id)"
    " select h.id, null, null, null,"
    API_AUDIT("alarm.hold", "alarm", "h.id::text", "$6::jsonb")
    " from held h";

const char  api_sql_alarm_acknowledge[] =
    "with x as materialized (select * from mdvr.acknowledge_alarm($6::uuid,"
    "   $7::jsonb->>'note'))"
    " select $6::text, null, null, x.message::text,"
    API_AUDIT("alarm.acknowledge", "alarm", "$6::text", "$7::jsonb")
    " from x where x.verdict = 'ok' or (x.verdict = 'conflict'"
    "  and mdvr.refuse('MD409', 'already_acknowledged',"
    "   'this alarm is acknowledged already'))";


/* the bytes in front of the key: SubjectPublicKeyInfo of Ed25519, RFC 8410 */

const char  api_sql_evidence_keys[] =
    "select json_build_object('items', coalesce(json_agg(json_build_object("
    " 'kid', k.kid, 'alg', 'Ed25519',"
    " 'public_key', encode(k.public_key, 'base64'),"
    " 'pem', E'-----BEGIN PUBLIC KEY-----\\n' || encode("
    "   '\\x302a300506032b6570032100'::bytea || k.public_key, 'base64')"
    "   || E'\\n-----END PUBLIC KEY-----\\n',"
    " 'created_at', mdvr.rfc3339(k.created_at)) order by k.created_at desc),"
    " '[]'::json), 'next_cursor', null)::text from mdvr.evidence_keys() k";


/* --- events and audit ----------------------------------------------------------------------- */

const char  api_sql_events[] =
    "with p as materialized (select e.*, row_number() over () as n"
    "  from mdvr.events_after(coalesce($2, $1, '0'),"
    "   case when $3::text is not null then string_to_array($3, ',') end,"
    "   case when $4::uuid is not null then array[$4::uuid] end,"
    "   coalesce($5::int, 50) + 1) e)"
    " select json_build_object('items', coalesce((select json_agg(message"
    "   order by n) from p where n <= coalesce($5::int, 50)), '[]'::json),"
    " 'next_cursor', (select id from p where n = coalesce($5::int, 50)"
    "   and exists (select from p where n > coalesce($5::int, 50))))::text";

const char  api_sql_audit[] = API_PAGE(
    "select json_build_object('id', a.seq, 'at', mdvr.rfc3339(a.at),"
    "  'user_id', a.user_id, 'email', (select u.email from mdvr.user u"
    "    where u.id = a.user_id), 'session_id', a.session_id,"
    "  'address', host(a.address), 'action', a.action,"
    "  'object_type', a.object_type, 'object_id', a.object_id,"
    "  'detail', a.detail, 'request_id', a.request_id,"
    "  'hash', encode(a.hash, 'hex')) as item, to_hex(a.seq) as key"
    " from mdvr.audit a"
    " where ($2::text is null"
    "      or a.seq < ('x' || lpad($2, 16, '0'))::bit(64)::bigint)"
    " and ($3::text is null or a.action = $3 or a.action like $3 || '.%')"
    " and ($4::uuid is null or a.user_id = $4::uuid)"
    " and ($5::timestamptz is null or a.at >= $5::timestamptz)"
    " and ($6::timestamptz is null or a.at <= $6::timestamptz)"
    " order by a.seq desc");


/* --- geofences ------------------------------------------------------------------------------- */

#define GEOFENCE_JSON                                                         \
    "json_build_object('id', g.id, 'name', g.name, 'shape', g.shape,"         \
    " 'geometry', g.geometry, 'radius_m', g.radius_m,"                        \
    " 'dwell_s', g.dwell_s, 'group_ids', coalesce(g.group_ids, '{}'),"        \
    " 'active', g.active, 'created_at', mdvr.rfc3339(g.created_at))"

const char  api_sql_geofences[] = API_PAGE(
    "select " GEOFENCE_JSON " as item, " API_KEY_ID("g.id") " as key"
    " from mdvr.geofence g where ($2::uuid is null or g.id > $2::uuid)"
    " and ($3::text is null or position(lower($3) in lower(g.name)) > 0)"
    " order by g.id");

const char  api_sql_geofence_get[] =
    "select " GEOFENCE_JSON "::text from mdvr.geofence g where g.id = $1::uuid";

const char  api_sql_geofence_post[] =
    "with x as materialized (select mdvr.geofence_write(null, $6::jsonb) as id)"
    " select x.id, null, null, null,"
    API_AUDIT("geofence.create", "geofence", "x.id::text", "$6::jsonb")
    " from x where x.id is not null";

const char  api_sql_geofence_patch[] =
    "with x as materialized (select mdvr.geofence_write($7::uuid, $6::jsonb)"
    "   as id)"
    " select x.id, null, null, null,"
    API_AUDIT("geofence.update", "geofence", "x.id::text", "$6::jsonb")
    " from x where x.id is not null";

const char  api_sql_geofence_delete[] =
    "with gone as (delete from mdvr.geofence g where g.id = $6::uuid"
    "  returning g.id, g.name)"
    " select '', null, null, null,"
    API_AUDIT("geofence.delete", "geofence", "g.id::text",
              "jsonb_build_object('name', g.name)")
    " from gone g";


/* --- webhooks and notifications -------------------------------------------------------------- */

#define WEBHOOK_JSON                                                          \
    "json_build_object('id', w.id, 'url', w.url, 'topics', w.topics,"         \
    "  'active', w.active, 'failures', w.failures,"                           \
    "  'disabled_until', mdvr.rfc3339(w.disabled_until),"                     \
    "  'last_delivery', (select json_build_object('status', d.status,"        \
    "     'attempts', d.attempts, 'last_code', d.last_code,"                  \
    "     'last_error', d.last_error, 'at', mdvr.rfc3339(coalesce("           \
    "     d.delivered_at, d.created_at))) from mdvr.delivery d"               \
    "    where d.webhook_id = w.id order by d.created_at desc limit 1),"      \
    "  'created_at', mdvr.rfc3339(w.created_at))"

const char  api_sql_webhooks[] = API_PAGE(
    "select " WEBHOOK_JSON " as item, " API_KEY_ID("w.id") " as key"
    " from mdvr.webhook w where ($2::uuid is null or w.id > $2::uuid)"
    " order by w.id");

const char  api_sql_webhook_get[] =
    "select " WEBHOOK_JSON "::text from mdvr.webhook w where w.id = $1::uuid";

const char  api_sql_webhook_test[] =
    "select json_build_object('delivery_id', t.id, 'status', 'queued')::text"
    " from mdvr.webhook_test($1::uuid) t(id) where t.id is not null";

const char  api_sql_webhook_delete[] =
    "with gone as (delete from mdvr.webhook w where w.id = $6::uuid"
    "  returning w.id, w.url)"
    " select '', null, null, null,"
    API_AUDIT("webhook.delete", "webhook", "g.id::text",
              "jsonb_build_object('url', g.url)")
    " from gone g";

const char  api_sql_push_post[] =
    "select json_build_object('id', p.id, 'platform', p.platform,"
    " 'app_id', p.app_id, 'created_at', mdvr.rfc3339(p.created_at))::text"
    " from (select $1::jsonb as b) x, mdvr.push_token_take(b->>'platform',"
    "  b->>'token', b->>'app_id') p";

const char  api_sql_push_delete[] =
    "delete from mdvr.push_token p where p.id = $1::uuid returning ''";

#define PREFERENCES_JSON                                                      \
    "json_build_object('push', coalesce(p.push, true),"                       \
    " 'min_severity', coalesce(p.min_severity, 'warning'),"                   \
    " 'muted_kinds', coalesce(p.muted_kinds, '{}'),"                          \
    " 'quiet_from', to_char(p.quiet_from, 'HH24:MI'),"                        \
    " 'quiet_to', to_char(p.quiet_to, 'HH24:MI'),"                            \
    " 'time_zone', coalesce(p.time_zone, 'UTC'))::text"

const char  api_sql_preferences_get[] =
    "select " PREFERENCES_JSON " from (values (1)) one"
    " left join mdvr.notification_preference p on p.user_id = $1::uuid";

const char  api_sql_preferences_put[] =
    "insert into mdvr.notification_preference as p (user_id, tenant_id, push,"
    "  min_severity, muted_kinds, quiet_from, quiet_to, time_zone, updated_at)"
    " select $1::uuid, $2::uuid, coalesce((b->>'push')::boolean, true),"
    "  coalesce(b->>'min_severity', 'warning'),"
    "  array(select jsonb_array_elements_text(coalesce(b->'muted_kinds',"
    "   '[]'))), (b->>'quiet_from')::time, (b->>'quiet_to')::time,"
    "  coalesce(b->>'time_zone', 'UTC'), now() from (select $3::jsonb as b) x"
    " where not b ? 'time_zone' or exists (select from pg_timezone_names z"
    "   where z.name = b->>'time_zone') or mdvr.refuse('MD422',"
    "   'invalid_value', 'unknown time zone')"
    " on conflict (user_id) do update set push = excluded.push,"
    "  min_severity = excluded.min_severity, muted_kinds = excluded.muted_kinds,"
    "  quiet_from = excluded.quiet_from, quiet_to = excluded.quiet_to,"
    "  time_zone = excluded.time_zone, updated_at = now()"
    " returning " PREFERENCES_JSON;


/* --- firmware, diagnostics, trips ---------------------------------------------------------------- */

const char  api_sql_firmware[] = API_PAGE(
    "select json_build_object('id', f.id, 'name', f.name,"
    "  'version', f.version, 'device_type', f.device_type,"
    "  'size_bytes', f.size_bytes, 'md5', encode(f.md5, 'hex'),"
    "  'sha256', encode(f.sha256, 'hex'),"
    "  'created_at', mdvr.rfc3339(f.created_at)) as item,"
    "  " API_KEY_ID("f.id") " as key"
    " from mdvr.firmware f where ($2::uuid is null or f.id > $2::uuid)"
    " order by f.id");

/*
 * What was said lately: $2 are the messages of the wire.  Positions, alarms, commands
 * and their answers are taken from where they are stored, decoded, and registrations
 * too when the wire has nothing.
 */

#define MESSAGES                                                              \
    "(select c.connected_at as at, 'in' as direction, 'V101' as keyword,"     \
    "   json_build_object('address', host(c.address), 'node', c.node) as data"\
    "  from mdvr.connection c where c.device_id = d.id"                       \
    "  and $2::jsonb = '[]'::jsonb"                                           \
    "  order by c.connected_at desc limit 100)"                               \
    " union all (select (w->>'at')::timestamptz, w->>'direction',"            \
    "   w->>'keyword', (w->'data')::json"                                     \
    "  from jsonb_array_elements($2::jsonb) w"                                \
    "  where not exists (select from mdvr.command c where c.device_id = d.id" \
    "   and (w->>'direction' = 'out' and c.keyword = w->>'keyword'"           \
    "     and c.sent_at between (w->>'at')::timestamptz - interval '5 s'"     \
    "     and (w->>'at')::timestamptz + interval '5 s'"                       \
    "    or w->>'keyword' = 'V100' and c.keyword = w->'data'->'fields'->>0"   \
    "     and c.answered_at between (w->>'at')::timestamptz - interval '5 s'" \
    "     and (w->>'at')::timestamptz + interval '5 s')))"                    \
    " union all (select t.received_at, 'in', 'V114', json_build_object("      \
    "   'recorded_at', mdvr.rfc3339(t.recorded_at), 'lat', t.lat_deg,"        \
    "   'lon', t.lon_deg, 'gps_valid', t.gps_valid,"                          \
    "   'speed_kmh', t.speed_kmh, 'status', t.status_hex, 'late', t.late)"    \
    "  from mdvr.telemetry t where t.device_id = d.id"                        \
    "  order by t.recorded_at desc limit 100)"                                \
    " union all (select a.received_at, 'in', a.keyword, json_build_object("   \
    "   'uid', a.uid, 'recorded_at', mdvr.rfc3339(a.at), 'data', a.data)"     \
    "  from mdvr.alarm_message a where a.device_id = d.id"                    \
    "  order by a.received_at desc limit 100)"                                \
    " union all (select c.sent_at, 'out', c.keyword, json_build_object("      \
    "   'type', c.type, 'body', left(c.body, 500))"                           \
    "  from mdvr.command c where c.device_id = d.id and c.sent_at is not null"\
    "  order by c.created_at desc, c.id desc limit 100)"                      \
    " union all (select c.answered_at, 'in', 'V100', json_build_object("      \
    "   'to', c.keyword, 'success', c.success, 'content', left(c.content,"    \
    "   500), 'error_code', c.error_code, 'reason', c.reason)"                \
    "  from mdvr.command c where c.device_id = d.id"                          \
    "  and c.answered_at is not null"                                         \
    "  order by c.created_at desc, c.id desc limit 100)"

const char  api_sql_diagnostics[] =
    "select json_build_object('device_id', d.id, 'online',"
    " coalesce(s.online, false), 'offline_cause',"
    " case when coalesce(s.online, false) then null"
    "      when s.device_id is null then case"
    "       when exists (select from mdvr.pending_devices(d.serial)) then"
    "        'the serial knocked before it was known; waiting for it to"
    " register again' else 'never registered' end"
    "      when not d.enabled then 'the device is disabled here'"
    "      when s.offline_reason like 'server %' then s.offline_reason"
    "      when p.acc is false and p.recorded_at > s.offline_at"
    "       - interval '10 minutes' then 'ignition off'"
    "      when s.offline_reason in ('timeout', 'idle', 'silent') then"
    "       'no network since ' || mdvr.rfc3339(s.offline_at)"
    "      else coalesce(s.offline_reason, 'unknown') end,"
    " 'offline_reason', case when not coalesce(s.online, false)"
    "   then s.offline_reason end,"
    " 'offline_at', mdvr.rfc3339(s.offline_at),"
    " 'last_seen_at', mdvr.rfc3339(s.last_seen_at),"
    " 'registration', coalesce(s.registration, '{}'),"
    " 'health', coalesce(s.health, '{}'),"
    " 'health_at', mdvr.rfc3339(s.health_at),"
    " 'connections', (select coalesce(json_agg(json_build_object("
    "    'node', c.node, 'address', host(c.address),"
    "    'connected_at', mdvr.rfc3339(c.connected_at),"
    "    'disconnected_at', mdvr.rfc3339(c.disconnected_at),"
    "    'reason', c.reason) order by c.connected_at desc), '[]'::json)"
    "   from (select * from mdvr.connection c where c.device_id = d.id"
    "     order by c.connected_at desc limit 50) c),"
    " 'messages', (select coalesce(json_agg(json_build_object("
    "    'at', mdvr.rfc3339(m.at), 'direction', m.direction,"
    "    'keyword', m.keyword, 'data', m.data) order by m.at desc),"
    "    '[]'::json) from (select * from (" MESSAGES ") m"
    "    order by m.at desc limit 100) m),"
    " 'refusals', (select coalesce(json_object_agg(r.reason, r.n), '{}'::json)"
    "   from (select coalesce(c.reason, 'unknown') as reason, count(*) as n"
    "     from mdvr.connection c where c.device_id = d.id"
    "     and c.disconnected_at is not null group by 1) r),"
    " 'contested', (select coalesce(json_agg(json_build_object("
    "    'at', mdvr.rfc3339(c.disconnected_at), 'node', c.node,"
    "    'address', host(c.address), 'reason', c.reason)"
    "    order by c.disconnected_at desc), '[]'::json)"
    "   from (select * from mdvr.connection c where c.device_id = d.id"
    "     and c.reason like 'contested: %'"
    "     order by c.connected_at desc limit 50) c))::text"
    " from mdvr.device d"
    " left join mdvr.device_state s on s.device_id = d.id"
    " left join mdvr.position p on p.device_id = d.id"
    " where d.id = $1::uuid and d.deleted_at is null";

/*
 * A trip is time with the ignition on (or, of devices without that wire, speed
 * above 3 km/h), a stop is time without; what lasted less than a minute joins its
 * neighbours, silence of more than ten minutes ends either.
 */

const char  api_sql_trips[] =
    "with d as (select id from mdvr.device"
    "   where id = $1::uuid and deleted_at is null),"
    " t as (select t.recorded_at, t.lat_deg, t.lon_deg, t.speed_kmh,"
    "   t.mileage_m, coalesce(t.speed_kmh > 3, false) or (coalesce(t.acc, false)"
    "    and coalesce(max(t.speed_kmh) over (order by t.recorded_at"
    "     range between interval '2 minutes' preceding"
    "       and interval '2 minutes' following), 0) > 3) as moving"
    "   from mdvr.telemetry t, d where t.device_id = d.id"
    "   and t.recorded_at >= coalesce($2::timestamptz, now()"
    "     - interval '24 hours')"
    "   and t.recorded_at <= coalesce($3::timestamptz, now())),"
    " e as (select *, case when moving is distinct from lag(moving) over w"
    "     or recorded_at - lag(recorded_at) over w > interval '10 minutes'"
    "    then 1 else 0 end as edge from t window w as (order by recorded_at)),"
    " g as (select *, sum(edge) over (order by recorded_at) as run from e),"
    " r as (select run, bool_or(moving) as moving, min(recorded_at) as a,"
    "   max(recorded_at) as b,"
    "   (array_agg(lat_deg order by recorded_at)"
    "     filter (where lat_deg is not null))[1] as lat1,"
    "   (array_agg(lon_deg order by recorded_at)"
    "     filter (where lon_deg is not null))[1] as lon1,"
    "   (array_agg(lat_deg order by recorded_at desc)"
    "     filter (where lat_deg is not null))[1] as lat2,"
    "   (array_agg(lon_deg order by recorded_at desc)"
    "     filter (where lon_deg is not null))[1] as lon2,"
    "   max(speed_kmh) as vmax, avg(speed_kmh) as vavg,"
    "   max(mileage_m) - min(mileage_m) as far, count(*) as n"
    "  from g group by run)"
    " select json_build_object('items', coalesce(json_agg(json_build_object("
    "   'type', case when r.moving then 'trip' else 'stop' end,"
    "   'started_at', mdvr.rfc3339(r.a), 'ended_at', mdvr.rfc3339(r.b),"
    "   'duration_s', round(extract(epoch from r.b - r.a))::int,"
    "   'distance_m', greatest(r.far, 0),"
    "   'max_speed_kmh', r.vmax, 'mean_speed_kmh', round(r.vavg::numeric, 1),"
    "   'start', json_build_object('lat', r.lat1, 'lon', r.lon1),"
    "   'end', json_build_object('lat', r.lat2, 'lon', r.lon2),"
    "   'positions', r.n) order by r.a desc) filter (where r.n is not null),"
    "   '[]'::json), 'next_cursor', null)::text"
    " from d left join r on r.b - r.a >= interval '1 minute'"
    " group by d.id";
