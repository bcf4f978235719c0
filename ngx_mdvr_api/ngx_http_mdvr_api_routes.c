
/*
 * The table of the API: what there is, who may, what goes in and what comes out.
 *
 * Rows with words in a place stand before those with an id in it.  A row without a
 * handler is its statement.  GET /openapi.json is made from this table.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_command.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_evidence.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_files.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_hooks.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_identity.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_playback.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_recordings.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_schemas.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_stream.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_talk.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_telemetry.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_upload.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_video.h"


#define GET     NGX_HTTP_GET
#define POST    NGX_HTTP_POST
#define PUT     NGX_HTTP_PUT
#define PATCH   NGX_HTTP_PATCH
#define DELETE  NGX_HTTP_DELETE


const ngx_http_mdvr_api_field_t  ngx_http_mdvr_api_query_fields[] = {

#define Q(n, t, lo, hi, w, d)  { n, MDVR_API_##t, 0, lo, hi, w, NULL, d },

    Q("limit",     INT,    1, 500, NULL, "items of a page, 50 by default")
    Q("cursor",    HEX,    1, 128, NULL, "next_cursor of the page before")
    Q("q",         STRING, 0, 200, NULL, "part of a name, serial or plate")
    Q("group_id",  UUID,   0, 0, NULL, NULL)
    Q("device_id", UUID,   0, 0, NULL, NULL)
    Q("alarm_id",  UUID,   0, 0, NULL, NULL)
    Q("user_id",   UUID,   0, 0, NULL, NULL)
    Q("online",    BOOL,   0, 0, NULL, NULL)
    Q("bbox",      BBOX,   0, 0, NULL, "min_lon,min_lat,max_lon,max_lat")
    Q("from",      TIME,   0, 0, NULL, NULL)
    Q("to",        TIME,   0, 0, NULL, NULL)
    Q("every_s",   INT,    1, 86400, NULL, "one position of every so many s")
    Q("serial",    WORD,   1, 64, NULL, NULL)
    Q("role",      ENUM,   0, 0,
      "super_admin|tenant_admin|technician|client_user", NULL)
    Q("kind",      WORDS,  1, 500, NULL, "one, or several with commas")
    Q("code",      WORDS,  1, 500, NULL, "one, or several with commas")
    Q("severity",  WORDS,  1, 100, NULL, "one, or several with commas")
    Q("status",    WORDS,  1, 100, NULL, NULL)
    Q("type",      WORDS,  1, 100, NULL, NULL)
    Q("topics",    WORDS,  1, 100, NULL, "one, or several with commas")
    Q("after",     WORD,   1, 64, NULL, "id of an event message")
    Q("action",    WORD,   1, 64, NULL, NULL)
    Q("variant",   ENUM,   0, 0, "playback|original|thumbnail|sprite", NULL)
    Q("channel",   INT,    0, 64, NULL, NULL)
    Q("name",      WORD,   1, 100, NULL, NULL)
    Q("version",   WORD,   1, 100, NULL, NULL)
    Q("device_type", WORD, 1, 64, NULL, NULL)

#undef Q

    { NULL, 0, 0, 0, 0, NULL, NULL, NULL }
};


const ngx_http_mdvr_api_route_t  ngx_http_mdvr_api_routes[] = {

    /* --- sign-in and one's own account */

    { POST, "/auth/login", API_PUBLIC, 0, "Sign in",
      .body = &api_login, .answer = &api_tokens,
      .handler = ngx_http_mdvr_api_login },

    { POST, "/auth/refresh", API_PUBLIC, 0,
      "New tokens for a refresh token, once",
      .body = &api_refresh, .answer = &api_tokens,
      .handler = ngx_http_mdvr_api_refresh },

    { POST, "/auth/logout", API_ANY, API_ACCOUNT|API_NO_KEY|API_BODY_OPT,
      "End this session",
      .body = &api_empty, .handler = ngx_http_mdvr_api_logout },

    { GET, "/auth/me", API_ANY, API_ACCOUNT, "Who one is",
      .answer = &api_me, .sql = api_sql_me, .params = "$person,$scopes" },

    { PUT, "/auth/password", API_ANY, API_ACCOUNT|API_NO_KEY,
      "Change one's password; other sessions end",
      .body = &api_password, .handler = ngx_http_mdvr_api_password_put },

    { GET, "/auth/sessions", API_ANY, API_ACCOUNT|API_NO_KEY|API_LIST,
      "One's own sessions", .query = "limit,cursor",
      .answer = &api_session, .sql = api_sql_sessions,
      .params = "?limit,?cursor,$session,$person" },

    { DELETE, "/auth/sessions/{id}", API_ANY, API_ACCOUNT|API_NO_KEY,
      "End one of one's own sessions",
      .handler = ngx_http_mdvr_api_session_delete },

    { POST, "/auth/totp", API_ANY, API_ACCOUNT|API_NO_KEY|API_BODY_OPT,
      "Prepare a second factor",
      .body = &api_empty, .answer = &api_totp,
      .handler = ngx_http_mdvr_api_totp_post },

    { PUT, "/auth/totp", API_ANY, API_ACCOUNT|API_NO_KEY,
      "Switch the second factor on with its first code",
      .body = &api_totp_code, .handler = ngx_http_mdvr_api_totp_put },

    { DELETE, "/auth/totp", API_ANY, API_ACCOUNT|API_NO_KEY,
      "Switch the second factor off",
      .sql = api_sql_totp_delete,
      .params = "$home,$person,$session,$address,$request" },

    /* --- the platform */

    { GET, "/tenants", API_PLATFORM, API_LIST, "All tenants",
      .query = "limit,cursor,q", .answer = &api_tenant,
      .sql = api_sql_tenants, .params = "?limit,?cursor,?q" },

    { POST, "/tenants", API_PLATFORM, API_CREATED|API_IDEMPOTENT,
      "A new tenant",
      .body = &api_tenant_new, .answer = &api_tenant,
      .sql = api_sql_tenant_post,
      .params = "$body,$user,$session,$address,$request",
      .then = api_sql_tenant_get },

    { GET, "/tenants/{id}", API_PLATFORM, API_AS_TENANT, "One tenant",
      .answer = &api_tenant, .sql = api_sql_tenant_get, .params = "id" },

    { PATCH, "/tenants/{id}", API_PLATFORM, API_AS_TENANT,
      "Change name, settings, quotas; suspend and resume",
      .body = &api_tenant_change, .answer = &api_tenant,
      .sql = api_sql_tenant_patch, .params = API_WHO ",$body,id",
      .then = api_sql_tenant_get },

    { DELETE, "/tenants/{id}", API_PLATFORM, API_AS_TENANT,
      "Suspend a tenant; delete it when it is suspended",
      .sql = api_sql_tenant_delete, .params = API_WHO ",id" },

    { GET, "/tenants/{id}/plan", MDVR_SCOPE_BILLING_MANAGE, API_OWN_TENANT,
      "What a tenant may use",
      .answer = &api_plan, .sql = api_sql_plan_get, .params = "id" },

    { PUT, "/tenants/{id}/plan", API_PLATFORM, API_AS_TENANT,
      "Set what a tenant may use; null is no limit",
      .body = &api_plan_change, .answer = &api_plan,
      .sql = api_sql_plan_put, .params = API_WHO ",$body,id" },

    { GET, "/usage", MDVR_SCOPE_BILLING_MANAGE, 0,
      "What was used, this month or from-to", .query = "from,to",
      .answer = &api_usage, .sql = api_sql_usage,
      .params = "$tenant,?from,?to" },

    /* --- people and keys */

    { GET, "/users", MDVR_SCOPE_USER_MANAGE, API_LIST, "Users of the tenant",
      .query = "limit,cursor,q,role", .answer = &api_user,
      .sql = api_sql_users, .params = "?limit,?cursor,?q,?role" },

    { POST, "/users", MDVR_SCOPE_USER_MANAGE, API_CREATED|API_IDEMPOTENT,
      "A new user",
      .body = &api_user_new, .answer = &api_user,
      .handler = ngx_http_mdvr_api_user_post, .then = api_sql_user_get },

    { GET, "/users/{id}", MDVR_SCOPE_USER_MANAGE, 0, "One user",
      .answer = &api_user, .sql = api_sql_user_get, .params = "id" },

    { PATCH, "/users/{id}", MDVR_SCOPE_USER_MANAGE, 0, "Change a user",
      .body = &api_user_change, .answer = &api_user,
      .handler = ngx_http_mdvr_api_user_patch, .then = api_sql_user_get },

    { DELETE, "/users/{id}", MDVR_SCOPE_USER_MANAGE, 0, "Delete a user",
      .sql = api_sql_user_delete, .params = API_WHO ",id,$role" },

    { PUT, "/users/{id}/devices", MDVR_SCOPE_USER_MANAGE, 0,
      "What a client_user may see: devices and groups",
      .body = &api_assignment, .answer = &api_user,
      .sql = api_sql_user_devices, .params = API_WHO ",$body,id",
      .then = api_sql_user_get },

    { GET, "/api-keys", MDVR_SCOPE_USER_MANAGE, API_LIST, "API keys",
      .query = "limit,cursor", .answer = &api_key,
      .sql = api_sql_keys, .params = "?limit,?cursor" },

    { POST, "/api-keys", MDVR_SCOPE_USER_MANAGE, API_CREATED|API_NO_KEY,
      "A new API key, shown once",
      .body = &api_key_new, .answer = &api_key_made,
      .handler = ngx_http_mdvr_api_key_post },

    { DELETE, "/api-keys/{id}", MDVR_SCOPE_USER_MANAGE, 0, "Revoke an API key",
      .sql = api_sql_key_delete, .params = API_WHO ",id" },

    /* --- devices */

    { GET, "/devices", MDVR_SCOPE_DEVICE_READ, API_LIST,
      "The devices one may see", .query = "limit,cursor,q,group_id,online,bbox",
      .answer = &api_device, .sql = api_sql_devices,
      .params = "?limit,?cursor,?q,?group_id,?online,?bbox" },

    { POST, "/devices", MDVR_SCOPE_DEVICE_WRITE, API_CREATED|API_IDEMPOTENT,
      "A new device",
      .body = &api_device_new, .answer = &api_device,
      .sql = api_sql_device_post, .params = API_WHO ",$body",
      .then = api_sql_device_get },

    { GET, "/devices/pending", MDVR_SCOPE_DEVICE_WRITE, API_LIST,
      "Serials that knocked and belong to nobody", .query = "serial",
      .answer = &api_pending, .sql = api_sql_pending,
      .params = "?serial,$role" },

    { GET, "/devices/{id}", MDVR_SCOPE_DEVICE_READ, 0, "One device",
      .answer = &api_device, .sql = api_sql_device_get, .params = "id" },

    { PATCH, "/devices/{id}", MDVR_SCOPE_DEVICE_WRITE, 0, "Change a device",
      .body = &api_device_change, .answer = &api_device,
      .sql = api_sql_device_patch, .params = API_WHO ",$body,id",
      .then = api_sql_device_get },

    { DELETE, "/devices/{id}", MDVR_SCOPE_DEVICE_WRITE, 0,
      "Delete a device; its history stays",
      .sql = api_sql_device_delete, .params = API_WHO ",id" },

    { GET, "/devices/{id}/status", MDVR_SCOPE_DEVICE_READ, 0,
      "Connection, health, channels, last position",
      .answer = &api_device_status,
      .handler = ngx_http_mdvr_api_device_status },

    { GET, "/devices/{id}/diagnostics", MDVR_SCOPE_DEVICE_CONTROL, 0,
      "Connections, messages, refusals, why it is offline",
      .answer = &api_diagnostics,
      .handler = ngx_http_mdvr_api_diagnostics },

    { GET, "/devices/{id}/telemetry", MDVR_SCOPE_DEVICE_READ, API_LIST,
      "Positions, newest first; also as GeoJSON, GPX, CSV",
      .query = "limit,cursor,from,to,every_s", .answer = &api_telemetry,
      .handler = ngx_http_mdvr_api_telemetry,
      .exports = ngx_http_mdvr_api_telemetry_exports },

    { GET, "/devices/{id}/trips", MDVR_SCOPE_DEVICE_READ, API_LIST,
      "Trips and stops, the last 24 h or from-to", .query = "from,to",
      .answer = &api_trip, .sql = api_sql_trips, .params = "id,?from,?to" },

    { GET, "/groups", MDVR_SCOPE_DEVICE_READ, API_LIST, "Groups of devices",
      .query = "limit,cursor,q", .answer = &api_group,
      .sql = api_sql_groups, .params = "?limit,?cursor,?q" },

    { POST, "/groups", MDVR_SCOPE_DEVICE_WRITE, API_CREATED|API_IDEMPOTENT,
      "A new group",
      .body = &api_group_new, .answer = &api_group,
      .sql = api_sql_group_post, .params = API_WHO ",$body",
      .then = api_sql_group_get },

    { GET, "/groups/{id}", MDVR_SCOPE_DEVICE_READ, 0, "One group",
      .answer = &api_group, .sql = api_sql_group_get, .params = "id" },

    { PATCH, "/groups/{id}", MDVR_SCOPE_DEVICE_WRITE, 0, "Change a group",
      .body = &api_group_change, .answer = &api_group,
      .sql = api_sql_group_patch, .params = API_WHO ",$body,id",
      .then = api_sql_group_get },

    { DELETE, "/groups/{id}", MDVR_SCOPE_DEVICE_WRITE, 0, "Delete a group",
      .sql = api_sql_group_delete, .params = API_WHO ",id" },

    /* --- commands */

    { POST, "/devices/{id}/commands", MDVR_SCOPE_DEVICE_CONTROL,
      API_IDEMPOTENT|API_ACCEPTED, "Send a command to a device",
      .body = &api_command_new, .answer = &api_command_queued,
      .handler = ngx_http_mdvr_api_command_post,
      .examples = ngx_http_mdvr_api_command_examples },

    { GET, "/devices/{id}/commands", MDVR_SCOPE_DEVICE_CONTROL, API_LIST,
      "Commands of a device, newest first", .query = "limit,cursor,type,status",
      .answer = &api_command, .sql = api_sql_commands,
      .params = "?limit,?cursor,id,?type,?status" },

    { GET, "/commands/{id}", MDVR_SCOPE_DEVICE_CONTROL, 0,
      "What became of a command",
      .answer = &api_command, .sql = api_sql_command_get, .params = "id" },

    { GET, "/commands/{id}/file", MDVR_SCOPE_DEVICE_CONTROL, 0,
      "The configuration file that the device sent for a command",
      .media = "application/octet-stream",
      .handler = ngx_http_mdvr_api_command_file },

    { POST, "/devices/{id}/files", MDVR_SCOPE_DEVICE_CONTROL,
      API_RAW_BODY|API_ACCEPTED|API_IDEMPOTENT,
      "A file to the device: the body is the file, of kind picture,"
      " stop_announcement, other or config",
      .query = "name,kind", .answer = &api_command_queued,
      .handler = ngx_http_mdvr_api_file_post },

    { POST, "/devices/{id}/snapshot", MDVR_SCOPE_VIDEO_WATCH,
      API_IDEMPOTENT|API_ACCEPTED, "Take a picture",
      .body = &api_snapshot, .answer = &api_command_queued,
      .handler = ngx_http_mdvr_api_snapshot },

    { GET, "/devices/{id}/recordings", MDVR_SCOPE_VIDEO_WATCH,
      API_LIST|API_CUT,
      "What the device has recorded, the last 24 h or from-to; asks the device",
      .query = "from,to,channel,type", .answer = &api_recording,
      .handler = ngx_http_mdvr_api_recordings },

    { GET, "/devices/{id}/recordings/calendar", MDVR_SCOPE_VIDEO_WATCH, 0,
      "The same as spans of time, by days of the device's clock and channels",
      .query = "from,to,channel,type", .answer = &api_calendar,
      .handler = ngx_http_mdvr_api_recordings_calendar },

    { POST, "/devices/{id}/recordings/download", MDVR_SCOPE_VIDEO_DOWNLOAD,
      API_IDEMPOTENT|API_ACCEPTED, "Fetch a recording from the device",
      .body = &api_download_new, .answer = &api_download_queued,
      .handler = ngx_http_mdvr_api_download },

    { POST, "/devices/{id}/upgrade", MDVR_SCOPE_DEVICE_CONTROL,
      API_IDEMPOTENT|API_ACCEPTED, "Upgrade the firmware of a device",
      .body = &api_upgrade, .answer = &api_command_queued,
      .handler = ngx_http_mdvr_api_upgrade },

    { GET, "/firmware", MDVR_SCOPE_DEVICE_CONTROL, API_LIST,
      "Firmware of the tenant", .query = "limit,cursor",
      .answer = &api_firmware, .sql = api_sql_firmware,
      .params = "?limit,?cursor" },

    { POST, "/firmware", MDVR_SCOPE_DEVICE_CONTROL,
      API_RAW_BODY|API_CREATED|API_IDEMPOTENT,
      "Upload firmware: the body is the file, name and version are parameters",
      .query = "name,version,device_type", .answer = &api_firmware,
      .handler = ngx_http_mdvr_api_firmware_post },

    /* --- live video */

    { POST, "/devices/{id}/video/start", MDVR_SCOPE_VIDEO_WATCH,
      API_IDEMPOTENT|API_RENEWED, "Watch a camera",
      .body = &api_video_start, .answer = &api_video,
      .handler = ngx_http_mdvr_api_video_start },

    { POST, "/devices/{id}/video/stop", MDVR_SCOPE_VIDEO_WATCH, 0,
      "Watch no longer",
      .body = &api_video_stop, .handler = ngx_http_mdvr_api_video_stop },

    { GET, "/video/sessions", MDVR_SCOPE_VIDEO_WATCH, API_LIST,
      "Who watches what", .query = "limit,cursor,device_id",
      .answer = &api_video_session, .sql = api_sql_video_sessions,
      .params = "?limit,?cursor,?device_id" },

    { POST, "/video/sessions/{id}/renew", MDVR_SCOPE_VIDEO_WATCH, API_BODY_OPT,
      "Keep the addresses of a session valid",
      .body = &api_empty, .answer = &api_renewed,
      .handler = ngx_http_mdvr_api_video_renew },

    { POST, "/devices/{id}/talk/start", MDVR_SCOPE_DEVICE_CONTROL,
      API_IDEMPOTENT|API_RENEWED|API_BODY_OPT,
      "Talk to the vehicle, or listen to it",
      .body = &api_talk, .answer = &api_talk_answer,
      .handler = ngx_http_mdvr_api_talk_start },

    { POST, "/devices/{id}/talk/stop", MDVR_SCOPE_DEVICE_CONTROL,
      API_BODY_OPT, "Hang up",
      .body = &api_talk_stop, .handler = ngx_http_mdvr_api_talk_stop },

    { POST, "/devices/{id}/video/record", MDVR_SCOPE_VIDEO_DOWNLOAD,
      API_IDEMPOTENT|API_ACCEPTED, "Record a camera that is being watched",
      .body = &api_record_new, .answer = &api_record_begun,
      .handler = ngx_http_mdvr_api_video_record },

    { POST, "/devices/{id}/playback/start", MDVR_SCOPE_VIDEO_WATCH,
      API_IDEMPOTENT|API_RENEWED, "Watch a recording of the device",
      .body = &api_playback_new, .answer = &api_playback,
      .handler = ngx_http_mdvr_api_playback_start },

    { POST, "/devices/{id}/playback/control", MDVR_SCOPE_VIDEO_WATCH, 0,
      "Pause, go on, another position or speed (above 2: key frames only)",
      .body = &api_playback_control, .answer = &api_playback_changed,
      .handler = ngx_http_mdvr_api_playback_control },

    { POST, "/devices/{id}/playback/stop", MDVR_SCOPE_VIDEO_WATCH,
      API_BODY_OPT, "Watch the recording no longer",
      .body = &api_playback_stop,
      .handler = ngx_http_mdvr_api_playback_stop },

    /* --- alarms */

    { GET, "/alarms", MDVR_SCOPE_ALARM_READ, API_LIST|API_SIGN_URLS,
      "Alarms, newest first",
      .query = "limit,cursor,device_id,kind,code,severity,status,from,to",
      .answer = &api_alarm, .sql = api_sql_alarms,
      .params = "?limit,?cursor,?device_id,?kind,?code,?severity,?status,"
                "?from,?to" },

    { GET, "/alarms/{id}", MDVR_SCOPE_ALARM_READ, API_SIGN_URLS,
      "One alarm with its media and findings",
      .answer = &api_alarm, .sql = api_sql_alarm_get, .params = "id" },

    { PATCH, "/alarms/{id}", MDVR_SCOPE_USER_MANAGE, API_SIGN_URLS,
      "Put an alarm with its media under legal hold, or end that",
      .body = &api_legal_hold, .answer = &api_alarm,
      .sql = api_sql_alarm_patch, .params = API_WHO ",$body,id",
      .then = api_sql_alarm_get },

    { GET, "/alarms/{id}/evidence", MDVR_SCOPE_VIDEO_DOWNLOAD, 0,
      "All that is known of an alarm as one signed package",
      .media = "application/zip", .handler = ngx_http_mdvr_api_evidence },

    { GET, "/evidence/keys", MDVR_SCOPE_ALARM_READ, API_LIST,
      "Public keys that verify evidence packages, newest first",
      .answer = &api_evidence_key, .sql = api_sql_evidence_keys },

    { POST, "/alarms/{id}/acknowledge", MDVR_SCOPE_ALARM_ACKNOWLEDGE,
      API_BODY_OPT|API_SIGN_URLS, "Acknowledge an alarm",
      .body = &api_acknowledge, .answer = &api_alarm,
      .sql = api_sql_alarm_acknowledge, .params = API_WHO ",id,$body",
      .then = api_sql_alarm_get },

    { GET, "/downloads/{id}", MDVR_SCOPE_VIDEO_DOWNLOAD, 0,
      "How far a download is",
      .answer = &api_download, .sql = api_sql_download_get, .params = "id" },

    { GET, "/media", MDVR_SCOPE_VIDEO_WATCH, API_LIST|API_SIGN_URLS,
      "Stored recordings and pictures, newest first",
      .query = "limit,cursor,device_id,alarm_id,status,from,to",
      .answer = &api_media, .sql = api_sql_media_list,
      .params = "?limit,?cursor,?device_id,?alarm_id,?status,?from,?to" },

    { GET, "/media/{id}", MDVR_SCOPE_VIDEO_WATCH, API_SIGN_URLS,
      "One recording or picture",
      .answer = &api_media, .sql = api_sql_media_get, .params = "id" },

    { GET, "/media/{id}/url", MDVR_SCOPE_VIDEO_DOWNLOAD, 0,
      "An address of the file that expires", .query = "variant",
      .answer = &api_media_url, .handler = ngx_http_mdvr_api_media_url },

    { GET, "/media/{id}/hls/index.m3u8", MDVR_SCOPE_VIDEO_WATCH, 0,
      "The recording as HLS: its playlist, or a redirect to it",
      .media = "application/vnd.apple.mpegurl",
      .handler = ngx_http_mdvr_api_media_hls },

    { PATCH, "/media/{id}", MDVR_SCOPE_USER_MANAGE, API_SIGN_URLS,
      "Put a media item under legal hold, or end that",
      .body = &api_legal_hold, .answer = &api_media,
      .sql = api_sql_media_patch, .params = API_WHO ",$body,id",
      .then = api_sql_media_get },

    { DELETE, "/media/{id}", MDVR_SCOPE_VIDEO_DOWNLOAD, 0,
      "Delete a media item",
      .sql = api_sql_media_delete, .params = API_WHO ",id" },

    /* --- rules and notifications */

    { GET, "/geofences", MDVR_SCOPE_DEVICE_READ, API_LIST, "Geofences",
      .query = "limit,cursor,q", .answer = &api_geofence,
      .sql = api_sql_geofences, .params = "?limit,?cursor,?q" },

    { POST, "/geofences", MDVR_SCOPE_DEVICE_WRITE, API_CREATED|API_IDEMPOTENT,
      "A new geofence",
      .body = &api_geofence_new, .answer = &api_geofence,
      .sql = api_sql_geofence_post, .params = API_WHO ",$body",
      .then = api_sql_geofence_get },

    { GET, "/geofences/{id}", MDVR_SCOPE_DEVICE_READ, 0, "One geofence",
      .answer = &api_geofence, .sql = api_sql_geofence_get, .params = "id" },

    { PATCH, "/geofences/{id}", MDVR_SCOPE_DEVICE_WRITE, 0,
      "Change a geofence",
      .body = &api_geofence_change, .answer = &api_geofence,
      .sql = api_sql_geofence_patch, .params = API_WHO ",$body,id",
      .then = api_sql_geofence_get },

    { DELETE, "/geofences/{id}", MDVR_SCOPE_DEVICE_WRITE, 0,
      "Delete a geofence",
      .sql = api_sql_geofence_delete, .params = API_WHO ",id" },

    { GET, "/webhooks", MDVR_SCOPE_USER_MANAGE, API_LIST, "Webhooks",
      .query = "limit,cursor", .answer = &api_webhook,
      .sql = api_sql_webhooks, .params = "?limit,?cursor" },

    { POST, "/webhooks", MDVR_SCOPE_USER_MANAGE, API_CREATED,
      "A new webhook; its secret is shown once",
      .body = &api_webhook_new, .answer = &api_webhook_made,
      .handler = ngx_http_mdvr_api_webhook_post },

    { PATCH, "/webhooks/{id}", MDVR_SCOPE_USER_MANAGE, 0, "Change a webhook",
      .body = &api_webhook_change, .answer = &api_webhook,
      .handler = ngx_http_mdvr_api_webhook_patch,
      .then = api_sql_webhook_get },

    { POST, "/webhooks/{id}/test", MDVR_SCOPE_USER_MANAGE,
      API_BODY_OPT|API_ACCEPTED|API_IDEMPOTENT, "Send a test event to a webhook",
      .body = &api_empty, .answer = &api_webhook_test,
      .sql = api_sql_webhook_test, .params = "id" },

    { DELETE, "/webhooks/{id}", MDVR_SCOPE_USER_MANAGE, 0, "Delete a webhook",
      .sql = api_sql_webhook_delete, .params = API_WHO ",id" },

    { POST, "/push-tokens", API_ANY, API_ACCOUNT|API_NO_KEY|API_CREATED,
      "Register a phone for notifications",
      .body = &api_push_new, .answer = &api_push,
      .sql = api_sql_push_post, .params = "$body" },

    { DELETE, "/push-tokens/{id}", API_ANY, API_ACCOUNT|API_NO_KEY,
      "Forget a phone",
      .sql = api_sql_push_delete, .params = "id" },

    { GET, "/notification-preferences", API_ANY, API_ACCOUNT|API_NO_KEY,
      "What one wants to be told",
      .answer = &api_preferences, .sql = api_sql_preferences_get,
      .params = "$person" },

    { PUT, "/notification-preferences", API_ANY, API_ACCOUNT|API_NO_KEY,
      "Set what one wants to be told",
      .body = &api_preferences, .answer = &api_preferences,
      .sql = api_sql_preferences_put, .params = "$person,$home,$body" },

    /* --- what happened */

    { GET, "/events", MDVR_SCOPE_ALARM_READ, API_LIST,
      "Events after one, oldest first",
      .query = "after,cursor,topics,device_id,limit",
      .answer = &api_event, .sql = api_sql_events,
      .params = "?after,?cursor,?topics,?device_id,?limit" },

    { GET, "/events/stream", MDVR_SCOPE_ALARM_READ, 0,
      "The same as Server-Sent Events, from now on or after one",
      .query = "after,topics,device_id", .media = "text/event-stream",
      .handler = ngx_http_mdvr_api_events_stream },

    { GET, "/audit", MDVR_SCOPE_USER_MANAGE, API_LIST,
      "Who did what, newest first",
      .query = "limit,cursor,action,user_id,from,to",
      .answer = &api_audit, .sql = api_sql_audit,
      .params = "?limit,?cursor,?action,?user_id,?from,?to" },

    /* --- this document */

    { GET, "/openapi.json", API_PUBLIC, 0, "This document",
      .media = "application/json", .handler = ngx_http_mdvr_api_openapi },

    { GET, "/docs", API_PUBLIC, 0, "This document, readable",
      .media = "text/html", .handler = ngx_http_mdvr_api_docs },

    { .method = 0 }
};
