
/*
 * The tables behind requests and answers, in the order of the route table.
 *
 * Columns: name, kind, flags, least, most, words, inner object, remark.  Numbers of
 * texts are lengths in bytes.  Limits repeat those of the tables in sql/, so that a
 * person learns all that is wrong at once; the database holds in any case.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_schemas.h"


#define REQ   MDVR_API_REQ
#define NUL   MDVR_API_NULL
#define LIST  MDVR_API_LIST

#define F_STR(n, fl, lo, hi)      { n, MDVR_API_STRING, fl, lo, hi, NULL, NULL, NULL }
#define F_TEXT(n, fl, lo, hi)     { n, MDVR_API_TEXT, fl, lo, hi, NULL, NULL, NULL }
#define F_SECRET(n, fl, lo, hi)   { n, MDVR_API_SECRET, fl, lo, hi, NULL, NULL, NULL }
#define F_WORD(n, fl, lo, hi)     { n, MDVR_API_WORD, fl, lo, hi, NULL, NULL, NULL }
#define F_UUID(n, fl)             { n, MDVR_API_UUID, fl, 0, 0, NULL, NULL, NULL }
#define F_TIME(n, fl)             { n, MDVR_API_TIME, fl, 0, 0, NULL, NULL, NULL }
#define F_EMAIL(n, fl)            { n, MDVR_API_EMAIL, fl, 0, 0, NULL, NULL, NULL }
#define F_HEX(n, fl, lo, hi)      { n, MDVR_API_HEX, fl, lo, hi, NULL, NULL, NULL }
#define F_URL(n, fl)              { n, MDVR_API_URL, fl, 1, 2000, NULL, NULL, NULL }
#define F_ENUM(n, fl, w)          { n, MDVR_API_ENUM, fl, 0, 0, w, NULL, NULL }
#define F_INT(n, fl, lo, hi)      { n, MDVR_API_INT, fl, lo, hi, NULL, NULL, NULL }
#define F_NUM(n, fl, lo, hi)      { n, MDVR_API_NUMBER, fl, lo, hi, NULL, NULL, NULL }
#define F_BOOL(n, fl)             { n, MDVR_API_BOOL, fl, 0, 0, NULL, NULL, NULL }
#define F_OBJ(n, fl, o)           { n, MDVR_API_OBJECT, fl, 0, 0, NULL, o, NULL }
#define F_ANY(n, fl)              { n, MDVR_API_ANY, fl, 0, 0, NULL, NULL, NULL }
#define F_END                     { NULL, 0, 0, 0, 0, NULL, NULL, NULL }

#define SCHEMA(id, title, example, ...)                                       \
    static const ngx_http_mdvr_api_field_t  api_##id##_fields[] = {           \
        __VA_ARGS__, F_END                                                    \
    };                                                                        \
    const ngx_http_mdvr_api_schema_t  api_##id = {                            \
        title, api_##id##_fields, example                                     \
    };

#define ROLES     "super_admin|tenant_admin|technician|client_user"
#define SCOPES    "device:read|device:write|device:control|video:watch|"      \
                  "video:download|alarm:read|alarm:acknowledge|user:manage|"  \
                  "billing:manage"
#define SEVERITY  "info|warning|critical"
#define BIG       9007199254740991.0


const ngx_http_mdvr_api_schema_t  api_empty = {
    "Empty", (const ngx_http_mdvr_api_field_t[]) { F_END }, "{}"
};


/* --- /auth ---------------------------------------------------------------------- */

SCHEMA(login, "Login",
    "{\"email\":\"anna@example.com\",\"password\":\"correct horse battery\"}",
    F_STR("email", REQ, 1, 254),
    F_SECRET("password", REQ, 1, 1024),
    F_STR("otp", 0, 6, 6))

SCHEMA(me, "Me", NULL,
    F_UUID("id", REQ),
    F_UUID("tenant_id", REQ|NUL),
    F_STR("email", REQ, 0, 0),
    F_STR("name", REQ, 0, 0),
    F_ENUM("role", REQ, ROLES),
    F_ENUM("scopes", REQ|LIST, SCOPES),
    F_ENUM("extra_scopes", REQ|LIST, SCOPES),
    F_BOOL("totp_enabled", 0),
    F_TIME("last_login_at", NUL),
    F_TIME("created_at", 0))

SCHEMA(tokens, "Tokens", NULL,
    F_STR("access_token", REQ, 0, 0),
    F_ENUM("token_type", REQ, "Bearer"),
    F_INT("expires_in", REQ, 0, 0),
    F_STR("refresh_token", REQ, 0, 0),
    F_INT("refresh_expires_in", 0, 0, 0),
    F_OBJ("user", REQ, &api_me))

SCHEMA(refresh, "Refresh",
    "{\"refresh_token\":\"AZ3k0u5wYq9bLhT7rXc2AZ3k0u5wYq9bLhT7rXc2abc\"}",
    F_SECRET("refresh_token", REQ, 1, 512))

SCHEMA(password, "PasswordChange",
    "{\"current_password\":\"correct horse battery\","
    "\"new_password\":\"a better horse battery\"}",
    F_SECRET("current_password", REQ, 1, 1024),
    F_SECRET("new_password", REQ, 0, 1024))

SCHEMA(totp, "TotpSecret", NULL,
    F_STR("secret", REQ, 0, 0),
    F_STR("otpauth_url", REQ, 0, 0))

SCHEMA(totp_code, "TotpCode", "{\"otp\":\"123456\"}",
    F_STR("otp", REQ, 6, 6))

SCHEMA(session, "Session", NULL,
    F_UUID("id", REQ),
    F_BOOL("current", REQ),
    F_STR("address", REQ|NUL, 0, 0),
    F_STR("user_agent", REQ|NUL, 0, 0),
    F_TIME("created_at", REQ),
    F_TIME("last_used_at", REQ),
    F_TIME("expires_at", REQ))


/* --- /tenants ---------------------------------------------------------------------- */

#define QUOTAS(fl)                                                            \
    F_INT("max_devices", fl, 0, 2147483647.0),                                \
    F_INT("max_users", fl, 0, 2147483647.0),                                  \
    F_INT("max_storage_bytes", fl, 0, BIG),                                   \
    F_INT("max_live_minutes", fl, 0, BIG),                                    \
    F_INT("max_ai_minutes", fl, 0, BIG)

SCHEMA(plan, "Plan", NULL,
    F_STR("name", REQ, 1, 100),
    QUOTAS(REQ|NUL),
    F_UUID("tenant_id", 0))

SCHEMA(plan_change, "PlanChange",
    "{\"name\":\"fleet 100\",\"max_devices\":100}",
    F_STR("name", 0, 1, 100),
    QUOTAS(NUL))

#define TENANT_SETTINGS(fl)                                                   \
    F_INT("retention_days", fl, 1, 3650),                                     \
    F_STR("time_zone", fl, 1, 64),                                            \
    F_OBJ("quotas", 0, &api_plan_change)

SCHEMA(tenant, "Tenant", NULL,
    F_UUID("id", REQ),
    F_STR("name", REQ, 0, 0),
    F_ENUM("status", REQ, "active|suspended|deleted"),
    F_INT("retention_days", REQ, 0, 0),
    F_STR("time_zone", REQ, 0, 0),
    F_OBJ("settings", REQ, NULL),
    F_OBJ("quotas", REQ|NUL, &api_plan),
    F_TIME("created_at", REQ),
    F_TIME("suspended_at", REQ|NUL))

static const ngx_http_mdvr_api_field_t  api_tenant_settings_fields[] = {
    TENANT_SETTINGS(0),
    F_BOOL("legal_hold", 0),
    F_ENUM("alarm_download", 0, "always|severity|never"),
    F_ENUM("alarm_download_min", 0, SEVERITY),
    F_BOOL("suspended", 0),
    F_NUM("speed_limit_kmh", 0, 0, 500),
    F_INT("idle_limit_s", 0, 0, 86400),
    F_BOOL("ai_live", 0),
    F_ENUM("record_on_alarm", 0, "off|on"),
    F_END
};

static const ngx_http_mdvr_api_schema_t  api_tenant_settings = {
    "TenantSettings", api_tenant_settings_fields, NULL
};

SCHEMA(tenant_new, "TenantNew",
    "{\"name\":\"Blue Line Buses\",\"settings\":{\"retention_days\":90,"
    "\"time_zone\":\"Europe/Berlin\"}}",
    F_STR("name", REQ, 1, 200),
    TENANT_SETTINGS(0),
    F_OBJ("settings", 0, &api_tenant_settings))

SCHEMA(tenant_change, "TenantChange", "{\"name\":\"North Buses Ltd\"}",
    F_STR("name", 0, 1, 200),
    TENANT_SETTINGS(0),
    F_BOOL("suspended", 0),
    F_ENUM("status", 0, "active|suspended"),
    F_OBJ("settings", 0, &api_tenant_settings))

SCHEMA(usage, "Usage", NULL,
    F_UUID("tenant_id", REQ),
    F_STR("from", REQ, 0, 0),
    F_STR("to", REQ, 0, 0),
    F_OBJ("plan", REQ|NUL, &api_plan),
    F_INT("devices", REQ, 0, 0),
    F_INT("users", REQ, 0, 0),
    F_INT("live_minutes", REQ, 0, 0),
    F_INT("bytes_in", REQ, 0, 0),
    F_INT("bytes_out", REQ, 0, 0),
    F_INT("storage_bytes", REQ, 0, 0),
    F_INT("ai_minutes", REQ, 0, 0),
    F_INT("transcode_minutes", REQ, 0, 0),
    F_INT("commands", REQ, 0, 0),
    F_INT("alarms", REQ, 0, 0),
    F_OBJ("days", REQ|LIST, NULL))


/* --- /users, /api-keys --------------------------------------------------------------- */

SCHEMA(user, "User", NULL,
    F_UUID("id", REQ),
    F_UUID("tenant_id", REQ),
    F_STR("email", REQ, 0, 0),
    F_STR("name", REQ, 0, 0),
    F_ENUM("role", REQ, ROLES),
    F_ENUM("extra_scopes", REQ|LIST, SCOPES),
    F_BOOL("active", REQ),
    F_BOOL("totp_enabled", REQ),
    F_TIME("last_login_at", REQ|NUL),
    F_TIME("created_at", REQ),
    F_UUID("device_ids", REQ|LIST),
    F_UUID("group_ids", REQ|LIST))

SCHEMA(user_new, "UserNew",
    "{\"email\":\"ben@example.com\",\"name\":\"Ben\",\"role\":\"technician\","
    "\"password\":\"correct horse battery\"}",
    F_EMAIL("email", REQ),
    F_STR("name", 0, 0, 200),
    F_ENUM("role", REQ, ROLES),
    F_SECRET("password", REQ, 0, 1024),
    F_ENUM("extra_scopes", LIST, SCOPES),
    F_BOOL("active", 0))

SCHEMA(user_change, "UserChange", "{\"active\":false}",
    F_EMAIL("email", 0),
    F_STR("name", 0, 0, 200),
    F_ENUM("role", 0, ROLES),
    F_SECRET("password", 0, 0, 1024),
    F_ENUM("extra_scopes", LIST, SCOPES),
    F_BOOL("active", 0))

SCHEMA(assignment, "Assignment", "{\"device_ids\":[],\"group_ids\":[]}",
    F_UUID("device_ids", LIST),
    F_UUID("group_ids", LIST))

SCHEMA(key, "ApiKey", NULL,
    F_UUID("id", REQ),
    F_STR("name", REQ, 0, 0),
    F_ENUM("scopes", REQ|LIST, SCOPES),
    F_UUID("device_ids", REQ|NUL|LIST),
    F_UUID("user_id", REQ),
    F_TIME("expires_at", REQ|NUL),
    F_TIME("last_used_at", REQ|NUL),
    F_TIME("created_at", REQ))

SCHEMA(key_new, "ApiKeyNew",
    "{\"name\":\"ERP\",\"scopes\":[\"device:read\"]}",
    F_STR("name", REQ, 1, 100),
    F_ENUM("scopes", REQ|LIST, SCOPES),
    F_UUID("device_ids", NUL|LIST),
    F_TIME("expires_at", NUL))

SCHEMA(key_made, "ApiKeyMade", NULL,
    F_UUID("id", REQ),
    F_STR("key", REQ, 0, 0),
    F_STR("name", REQ, 0, 0),
    F_ENUM("scopes", REQ|LIST, SCOPES),
    F_UUID("device_ids", REQ|NUL|LIST),
    F_UUID("user_id", REQ),
    F_TIME("expires_at", REQ|NUL),
    F_TIME("last_used_at", REQ|NUL),
    F_TIME("created_at", REQ))


/* --- /devices --------------------------------------------------------------------------- */

SCHEMA(position_short, NULL, NULL,
    F_TIME("at", REQ),
    F_NUM("lat", REQ|NUL, -90, 90),
    F_NUM("lon", REQ|NUL, -180, 180),
    F_BOOL("gps_valid", REQ),
    F_NUM("speed_kmh", REQ|NUL, 0, 0),
    F_NUM("course_deg", REQ|NUL, 0, 0),
    F_BOOL("acc", REQ|NUL))

SCHEMA(device, "Device", NULL,
    F_UUID("id", REQ),
    F_STR("serial", REQ, 0, 0),
    F_STR("name", REQ, 0, 0),
    F_STR("plate", REQ, 0, 0),
    F_STR("imei", REQ|NUL, 0, 0),
    F_INT("channels", REQ, 1, 64),
    F_BOOL("enabled", REQ),
    F_UUID("group_ids", REQ|LIST),
    F_OBJ("settings", REQ, NULL),
    F_BOOL("online", REQ),
    F_TIME("connected_at", REQ|NUL),
    F_TIME("last_seen_at", REQ|NUL),
    F_STR("offline_reason", REQ|NUL, 0, 0),
    F_STR("firmware", REQ|NUL, 0, 0),
    F_OBJ("position", REQ|NUL, &api_position_short),
    F_TIME("created_at", REQ))

#define DEVICE_FIELDS(req)                                                    \
    { "serial", MDVR_API_WORD, req, 1, 31, NULL, NULL,                        \
      "as the recorder sends it" },                                           \
    F_STR("name", 0, 0, 200),                                                 \
    F_STR("plate", 0, 0, 64),                                                 \
    { "imei", MDVR_API_WORD, NUL, 1, 15, NULL, NULL,                          \
      "when set it must match at registration" },                             \
    F_INT("channels", 0, 1, 64),                                              \
    F_BOOL("enabled", 0),                                                     \
    F_UUID("group_ids", LIST),                                                \
    { "settings", MDVR_API_OBJECT, 0, 0, 0, NULL, NULL,                       \
      "free members; utc_offset_minutes, text_encoding (utf-8, gb18030, "     \
      "utf-16le) and bus_layout are known to the device fronts" }

SCHEMA(device_new, "DeviceNew",
    "{\"serial\":\"00007\",\"name\":\"Bus 7\",\"plate\":\"B-LB 7\","
    "\"channels\":4,\"group_ids\":[],\"settings\":{}}",
    DEVICE_FIELDS(REQ))

SCHEMA(device_change, "DeviceChange", "{\"name\":\"Bus 7\"}",
    DEVICE_FIELDS(0))

#define POSITION_FIELDS                                                       \
    F_TIME("at", REQ),                                                        \
    F_TIME("received_at", REQ),                                               \
    F_NUM("lat", REQ|NUL, -90, 90),                                           \
    F_NUM("lon", REQ|NUL, -180, 180),                                         \
    F_BOOL("gps_valid", REQ),                                                 \
    F_INT("satellites", REQ|NUL, 0, 0),                                       \
    F_NUM("speed_kmh", REQ|NUL, 0, 0),                                        \
    F_NUM("course_deg", REQ|NUL, 0, 0),                                       \
    F_BOOL("acc", REQ|NUL),                                                   \
    F_INT("mileage_m", REQ|NUL, 0, 0),                                        \
    F_NUM("fuel_l", REQ|NUL, 0, 0),                                           \
    F_NUM("temp_device_c", REQ|NUL, 0, 0),                                    \
    F_NUM("temp_engine_c", REQ|NUL, 0, 0),                                    \
    F_NUM("temp_cabin_c", REQ|NUL, 0, 0),                                     \
    F_INT("parking_s", REQ|NUL, 0, 0),                                        \
    F_INT("rpm", REQ|NUL, 0, 0),                                              \
    F_NUM("obd_speed_kmh", REQ|NUL, 0, 0),                                    \
    F_INT("people", REQ|NUL, 0, 0),                                           \
    F_OBJ("status", REQ|NUL, NULL),                                           \
    F_STR("trigger", REQ|NUL, 0, 0)

SCHEMA(position, "Position", NULL,
    POSITION_FIELDS)

SCHEMA(telemetry, "Telemetry", NULL,
    F_UUID("device_id", REQ),
    F_STR("serial", REQ, 0, 0),
    F_BOOL("late", 0),
    POSITION_FIELDS)

SCHEMA(disk, NULL, NULL,
    F_INT("disk", REQ, 0, 0),
    F_STR("state", REQ|NUL, 0, 0))

SCHEMA(channel, NULL, NULL,
    F_INT("channel", REQ, 1, 64),
    F_BOOL("recording", REQ|NUL),
    F_BOOL("video_loss", REQ|NUL),
    F_STR("streams", LIST, 0, 0))

SCHEMA(network, NULL, NULL,
    F_STR("type", REQ|NUL, 0, 0),
    F_STR("name", REQ|NUL, 0, 0),
    F_STR("signal", REQ|NUL, 0, 0))

SCHEMA(device_status, "DeviceStatus", NULL,
    F_UUID("device_id", REQ),
    F_STR("serial", REQ, 0, 0),
    F_BOOL("online", REQ),
    F_STR("node", REQ|NUL, 0, 0),
    F_STR("address", REQ|NUL, 0, 0),
    F_TIME("connected_at", REQ|NUL),
    F_TIME("last_seen_at", REQ|NUL),
    F_TIME("offline_at", REQ|NUL),
    F_STR("offline_reason", REQ|NUL, 0, 0),
    F_STR("firmware", REQ|NUL, 0, 0),
    F_STR("device_type", REQ|NUL, 0, 0),
    F_INT("utc_offset_minutes", REQ|NUL, 0, 0),
    F_INT("utc_offset_detected", REQ|NUL, 0, 0),
    F_OBJ("network", REQ, &api_network),
    F_OBJ("disks", REQ|LIST, &api_disk),
    F_OBJ("channels", REQ|LIST, &api_channel),
    F_OBJ("registration", REQ, NULL),
    F_OBJ("health", REQ, NULL),
    F_OBJ("position", REQ|NUL, &api_position))

SCHEMA(pending, "PendingDevice", NULL,
    F_STR("serial", REQ, 0, 0),
    F_STR("address", REQ|NUL, 0, 0),
    F_TIME("first_at", REQ),
    F_TIME("at", REQ),
    F_INT("knocks", REQ, 0, 0))

SCHEMA(diagnostics, "Diagnostics", NULL,
    F_UUID("device_id", REQ),
    F_BOOL("online", REQ),
    F_STR("offline_cause", REQ|NUL, 0, 0),
    F_STR("offline_reason", REQ|NUL, 0, 0),
    F_TIME("offline_at", REQ|NUL),
    F_TIME("last_seen_at", REQ|NUL),
    F_OBJ("registration", REQ, NULL),
    F_OBJ("health", REQ, NULL),
    F_TIME("health_at", REQ|NUL),
    F_OBJ("connections", REQ|LIST, NULL),
    F_OBJ("messages", REQ|LIST, NULL),
    F_OBJ("refusals", REQ, NULL),
    F_OBJ("contested", REQ|LIST, NULL))

SCHEMA(trip, "Trip", NULL,
    F_ENUM("type", REQ, "trip|stop"),
    F_TIME("started_at", REQ),
    F_TIME("ended_at", REQ),
    F_INT("duration_s", REQ, 0, 0),
    F_INT("distance_m", REQ|NUL, 0, 0),
    F_NUM("max_speed_kmh", REQ|NUL, 0, 0),
    F_NUM("mean_speed_kmh", REQ|NUL, 0, 0),
    F_OBJ("start", REQ, NULL),
    F_OBJ("end", REQ, NULL),
    F_INT("positions", REQ, 0, 0))

SCHEMA(group, "Group", NULL,
    F_UUID("id", REQ),
    F_STR("name", REQ, 0, 0),
    F_UUID("device_ids", REQ|LIST),
    F_TIME("created_at", REQ))

SCHEMA(group_new, "GroupNew", "{\"name\":\"Night buses\",\"device_ids\":[]}",
    F_STR("name", REQ, 1, 200),
    F_UUID("device_ids", LIST))

SCHEMA(group_change, "GroupChange", "{\"name\":\"Night buses\"}",
    F_STR("name", 0, 1, 200),
    F_UUID("device_ids", LIST))


/* --- live video --------------------------------------------------------------------------- */

SCHEMA(video_start, "VideoStart", "{\"channel\":1,\"stream\":\"sub\"}",
    F_INT("channel", REQ, 1, 64),
    F_ENUM("stream", 0, "main|sub"),
    F_BOOL("force", 0))

SCHEMA(video_stop, "VideoStop", "{\"channel\":1,\"stream\":\"sub\"}",
    F_INT("channel", REQ, 1, 64),
    F_ENUM("stream", 0, "main|sub"))

SCHEMA(video_urls, NULL, NULL,
    F_STR("hls", REQ, 0, 0),
    F_STR("fmp4", REQ, 0, 0),
    F_STR("ws", REQ, 0, 0),
    F_STR("whep", REQ, 0, 0))

/* the answer that players work with; the token is also in each URL */

SCHEMA(video, "Video", NULL,
    F_UUID("session_id", REQ),
    F_UUID("device_id", REQ),
    F_INT("channel", REQ, 1, 64),
    F_ENUM("stream", REQ, "main|sub"),
    F_ENUM("status", REQ, "starting|live"),
    F_STR("token", REQ, 0, 0),
    F_TIME("expires_at", REQ),
    F_OBJ("urls", REQ, &api_video_urls))

SCHEMA(video_session, "VideoSession", NULL,
    F_UUID("session_id", REQ),
    F_UUID("device_id", REQ),
    F_UUID("user_id", REQ|NUL),
    F_ENUM("kind", REQ, "live|playback|talk"),
    F_INT("channel", REQ, 0, 64),
    F_ENUM("stream", REQ, "main|sub"),
    F_STR("node", REQ, 0, 0),
    F_ENUM("status", REQ, "starting|live"),
    F_TIME("started_at", REQ),
    F_TIME("expires_at", REQ))

SCHEMA(renewed, "VideoRenewed", NULL,
    F_UUID("session_id", REQ),
    F_TIME("expires_at", REQ))


/* --- commands ----------------------------------------------------------------------------- */

SCHEMA(command_new, "CommandNew", NULL,
    F_WORD("type", REQ, 1, 64),
    F_OBJ("params", 0, NULL),
    F_INT("timeout_s", 0, 1, 3600),
    { "hold_s", MDVR_API_INT, 0, 1, 604800, NULL, NULL,
      "keeps the command while the device is offline" },
    { "confirm", MDVR_API_STRING, 0, 1, 200, NULL, NULL,
      "plate or serial; required for fuel and power cut" },
    F_BOOL("force", 0))

SCHEMA(command_queued, "CommandQueued", NULL,
    F_UUID("id", REQ),
    F_ENUM("status", REQ, "queued"))

SCHEMA(command_answer, NULL, NULL,
    F_INT("success", REQ|NUL, 0, 0),
    F_STR("content", REQ|NUL, 0, 0),
    F_STR("error_code", REQ|NUL, 0, 0),
    F_STR("error", REQ|NUL, 0, 0),
    F_STR("reason", REQ|NUL, 0, 0))

SCHEMA(command, "Command", NULL,
    F_UUID("id", REQ),
    F_UUID("device_id", REQ),
    F_UUID("user_id", REQ|NUL),
    F_STR("type", REQ, 0, 0),
    F_STR("keyword", REQ, 0, 0),
    F_OBJ("params", REQ, NULL),
    F_ENUM("status", REQ, "queued|sent|acknowledged|failed|timeout"),
    F_INT("timeout_s", REQ, 0, 0),
    F_TIME("hold_until", REQ|NUL),
    F_OBJ("answer", REQ|NUL, &api_command_answer),
    F_INT("success", REQ|NUL, 0, 0),
    F_STR("error_code", REQ|NUL, 0, 0),
    F_STR("error", REQ|NUL, 0, 0),
    F_STR("reason", REQ|NUL, 0, 0),
    F_OBJ("progress", REQ|LIST, NULL),
    F_INT("transferred_bytes", REQ|NUL, 0, 0),
    F_INT("size_bytes", REQ|NUL, 0, 0),
    F_STR("request_id", REQ|NUL, 0, 0),
    F_TIME("created_at", REQ),
    F_TIME("sent_at", REQ|NUL),
    F_TIME("answered_at", REQ|NUL))

SCHEMA(upgrade, "Upgrade",
    "{\"firmware_id\":\"0190b6c2-7c1a-7d3e-9f42-5b6a7c8d9e0f\"}",
    F_UUID("firmware_id", REQ),
    F_INT("timeout_s", 0, 1, 3600))


/* --- alarms, media -------------------------------------------------------------------------- */

SCHEMA(finding, "Finding", NULL,
    F_STR("kind", REQ, 0, 0),
    F_NUM("confidence", REQ, 0, 1),
    F_NUM("at_s", REQ|NUL, 0, 0),
    F_ANY("box", REQ|NUL),
    F_STR("model", REQ, 0, 0),
    F_STR("model_version", REQ, 0, 0),
    F_STR("picture_url", REQ|NUL, 0, 0))

SCHEMA(sprite, "Sprite", NULL,
    F_INT("columns", REQ, 1, BIG),
    F_INT("rows", REQ, 1, BIG),
    F_INT("width", REQ, 1, BIG),
    F_INT("height", REQ, 1, BIG),
    F_NUM("every_s", REQ, 0, 0),
    F_INT("count", REQ, 1, BIG))

SCHEMA(media, "Media", NULL,
    F_UUID("id", REQ),
    F_UUID("device_id", REQ),
    F_UUID("alarm_id", REQ|NUL),
    F_INT("channel", REQ|NUL, 1, 64),
    F_ENUM("kind", REQ, "mp4|jpeg"),
    F_STR("source", REQ, 0, 0),
    F_ENUM("status", REQ, "receiving|processing|ready|failed"),
    F_STR("failed_reason", REQ|NUL, 0, 0),
    F_TIME("at", REQ),
    F_NUM("duration_s", REQ|NUL, 0, 0),
    F_INT("size_bytes", REQ|NUL, 0, 0),
    F_STR("sha256", REQ|NUL, 0, 0),
    F_INT("width_px", REQ|NUL, 0, 0),
    F_INT("height_px", REQ|NUL, 0, 0),
    F_STR("codec", REQ|NUL, 0, 0),
    F_BOOL("legal_hold", REQ),
    F_STR("thumbnail_url", REQ|NUL, 0, 0),
    F_STR("sprite_url", REQ|NUL, 0, 0),
    F_OBJ("sprite", REQ|NUL, &api_sprite),
    F_ENUM("analysis", REQ|NUL, "queued|done|failed|quota|off"),
    F_OBJ("findings", REQ|LIST, &api_finding),
    F_TIME("created_at", REQ),
    F_TIME("ready_at", REQ|NUL))

SCHEMA(media_url, "MediaUrl", NULL,
    F_STR("url", REQ, 0, 0),
    F_TIME("expires_at", REQ))

SCHEMA(download, "Download", NULL,
    F_UUID("id", REQ),
    F_UUID("download_id", REQ),
    F_UUID("device_id", REQ),
    F_UUID("alarm_id", REQ|NUL),
    F_STR("path", REQ, 0, 0),
    F_ENUM("status", REQ, "queued|running|complete|failed"),
    F_INT("received_bytes", REQ, 0, 0),
    F_INT("size_bytes", REQ|NUL, 0, 0),
    F_UUID("media_id", REQ|NUL),
    F_STR("failed_reason", REQ|NUL, 0, 0),
    F_INT("attempts", REQ, 0, 0),
    F_TIME("created_at", REQ),
    F_TIME("updated_at", REQ))

SCHEMA(alarm, "Alarm", NULL,
    F_UUID("id", REQ),
    F_UUID("device_id", REQ),
    F_STR("serial", REQ|NUL, 0, 0),
    F_STR("code", REQ, 0, 0),
    F_STR("kind", REQ, 0, 0),
    F_ENUM("severity", REQ, SEVERITY),
    F_ENUM("status", REQ, "open|ended|acknowledged|closed"),
    F_STR("uid", REQ, 0, 0),
    F_STR("sub_key", REQ, 0, 0),
    F_TIME("at", REQ),
    F_TIME("started_at", REQ),
    F_TIME("ended_at", REQ|NUL),
    F_STR("end_reason", REQ|NUL, 0, 0),
    F_TIME("received_at", REQ),
    F_OBJ("position", REQ, NULL),
    F_OBJ("data", REQ, NULL),
    F_TIME("acknowledged_at", REQ|NUL),
    F_UUID("acknowledged_by", REQ|NUL),
    F_STR("note", REQ|NUL, 0, 0),
    F_BOOL("legal_hold", REQ),
    F_OBJ("media", REQ|LIST, &api_media),
    F_OBJ("findings", REQ|LIST, &api_finding))

SCHEMA(evidence_key, "EvidenceKey", NULL,
    F_STR("kid", REQ, 0, 0),
    F_ENUM("alg", REQ, "Ed25519"),
    F_STR("public_key", REQ, 0, 0),
    F_STR("pem", REQ, 0, 0),
    F_TIME("created_at", REQ))

SCHEMA(acknowledge, "Acknowledge", "{\"note\":\"driver was called\"}",
    F_TEXT("note", NUL, 0, 2000))

SCHEMA(legal_hold, "LegalHold", "{\"legal_hold\":true}",
    F_BOOL("legal_hold", REQ))

SCHEMA(snapshot, "SnapshotNew", "{\"channel\":1}",
    F_INT("channel", REQ, 1, 64))

SCHEMA(download_new, "DownloadNew",
    "{\"path\":\"/mnt/sd0/2021-03-05/ch02-081502-081530.h264\"}",
    F_STR("path", REQ, 1, 1024),
    F_INT("from_byte", 0, 0, 4294967295.0),
    F_INT("to_byte", 0, 0, 4294967295.0),
    F_INT("from_s", 0, 0, 4294967295.0),
    F_INT("to_s", 0, 0, 4294967295.0),
    F_BOOL("force", 0))

SCHEMA(download_queued, "DownloadQueued", NULL,
    F_UUID("download_id", REQ),
    F_ENUM("status", REQ, "queued|running|complete|failed"))

SCHEMA(recording, "Recording", NULL,
    F_STR("path", REQ, 0, 0),
    F_INT("channel", REQ|NUL, 0, 64),
    F_STR("type", REQ|NUL, 0, 0),
    F_TIME("from", REQ|NUL),
    F_TIME("to", REQ|NUL),
    F_INT("duration_s", REQ, 0, 0),
    F_INT("size_bytes", REQ|NUL, 0, 0))

SCHEMA(calendar_span, "CalendarSpan", NULL,
    F_TIME("from", REQ),
    F_TIME("to", REQ),
    F_ENUM("type", REQ, "normal|alarm"))

SCHEMA(calendar_channel, "CalendarChannel", NULL,
    F_INT("channel", REQ|NUL, 0, 64),
    F_INT("normal_s", REQ, 0, 0),
    F_INT("alarm_s", REQ, 0, 0),
    F_OBJ("spans", REQ|LIST, &api_calendar_span))

SCHEMA(calendar_day, "CalendarDay", NULL,
    F_STR("date", REQ, 10, 10),
    F_OBJ("channels", REQ|LIST, &api_calendar_channel))

SCHEMA(calendar, "RecordingCalendar", NULL,
    F_INT("utc_offset_minutes", REQ, -840, 840),
    F_OBJ("days", REQ|LIST, &api_calendar_day),
    F_BOOL("truncated", REQ))

SCHEMA(record_new, "RecordNew",
    "{\"channel\":1,\"stream\":\"sub\",\"duration_s\":30,\"preroll_s\":5}",
    F_INT("channel", REQ, 1, 64),
    F_ENUM("stream", 0, "main|sub"),
    F_INT("duration_s", REQ, 1, 3600),
    F_INT("preroll_s", 0, 0, 10))

SCHEMA(record_begun, "RecordBegun", NULL,
    F_UUID("media_id", REQ),
    F_ENUM("status", REQ, "receiving"))

SCHEMA(playback_new, "PlaybackNew",
    "{\"path\":\"/mnt/sd0/2021-03-05/ch02-081502-081530.h264\"}",
    F_STR("path", REQ, 1, 1024),
    F_INT("channel", 0, 1, 64),
    F_NUM("duration_s", 0, 0, 86400),
    F_NUM("position_s", 0, 0, 86400),
    F_NUM("speed", 0, 0.125, 16),
    F_BOOL("force", 0))

SCHEMA(playback, "Playback", NULL,
    F_UUID("session_id", REQ),
    F_UUID("device_id", REQ),
    F_INT("channel", REQ, 1, 64),
    F_ENUM("stream", REQ, "main|sub"),
    F_ENUM("status", REQ, "starting|live"),
    F_STR("token", REQ, 0, 0),
    F_TIME("expires_at", REQ),
    F_OBJ("urls", REQ, &api_video_urls),
    F_STR("path", REQ, 0, 0),
    F_NUM("duration_s", REQ|NUL, 0, 0),
    F_NUM("position_s", REQ, 0, 0),
    F_NUM("speed", REQ, 0, 0))

SCHEMA(playback_changed, "PlaybackChanged", NULL,
    F_UUID("session_id", REQ),
    F_STR("action", REQ, 0, 0),
    F_BOOL("paused", 0),
    F_NUM("position_s", 0, 0, 0),
    F_NUM("speed", 0, 0, 0))

SCHEMA(playback_stop, "PlaybackStop", "{}",
    F_UUID("session_id", 0))

SCHEMA(playback_control, "PlaybackControl", "{\"action\":\"pause\"}",
    F_UUID("session_id", 0),
    F_ENUM("action", REQ, "pause|resume|seek|speed"),
    F_NUM("position_s", 0, 0, 604800),
    F_NUM("speed", 0, 0.125, 16))

/* "listen": sound from the device only, of a camera's microphone or the intercom's */

SCHEMA(talk, "Talk", "{\"mode\":\"talk\",\"duplex\":\"full\"}",
    F_ENUM("mode", 0, "talk|listen"),
    F_ENUM("duplex", 0, "full|half"),
    F_INT("channel", 0, 1, 64),
    F_BOOL("force", 0))

SCHEMA(talk_stop, "TalkStop", "{\"force\":false}",
    F_BOOL("force", 0))

SCHEMA(talk_urls, NULL, NULL,
    F_STR("ws", REQ, 0, 0),
    F_STR("whep", REQ, 0, 0))

SCHEMA(talk_answer, "TalkSession", NULL,
    F_UUID("session_id", REQ),
    F_UUID("device_id", REQ),
    F_ENUM("mode", REQ, "talk|listen"),
    F_ENUM("duplex", REQ, "full|half"),
    F_ENUM("status", REQ, "starting|live"),
    F_STR("token", REQ, 0, 0),
    F_TIME("expires_at", REQ),
    F_OBJ("urls", REQ, &api_talk_urls))


/* --- events, audit, rules --------------------------------------------------------------------- */

/* as on the WebSocket; which members there are depends on the type */

SCHEMA(event, "Event", NULL,
    F_ENUM("type", REQ, "alarm|device|media|command"),
    F_STR("id", REQ, 0, 0),
    F_UUID("tenant_id", REQ),
    F_UUID("device_id", REQ),
    F_STR("serial", 0, 0, 0),
    F_TIME("at", NUL),
    F_STR("event", 0, 0, 0),
    F_STR("reason", NUL, 0, 0),
    F_UUID("alarm_id", NUL),
    F_STR("code", 0, 0, 0),
    F_STR("kind", 0, 0, 0),
    F_ENUM("phase", 0, "start|end|acknowledged"),
    F_STR("uid", 0, 0, 0),
    F_ENUM("severity", 0, SEVERITY),
    F_STR("status", 0, 0, 0),
    F_TIME("started_at", 0),
    F_TIME("ended_at", NUL),
    F_OBJ("position", NUL, NULL),
    F_OBJ("data", NUL, NULL),
    F_UUID("media_id", 0),
    F_INT("channel", NUL, 0, 64),
    F_STR("failed_reason", NUL, 0, 0),
    F_UUID("command_id", 0),
    F_STR("command", 0, 0, 0),
    F_INT("success", NUL, 0, 0),
    F_STR("error_code", NUL, 0, 0),
    F_STR("error", NUL, 0, 0),
    F_NUM("confidence", 0, 0, 1),
    F_ANY("box", NUL),
    F_STR("model", 0, 0, 0),
    F_STR("model_version", 0, 0, 0))

SCHEMA(audit, "AuditRow", NULL,
    F_INT("id", REQ, 0, 0),
    F_TIME("at", REQ),
    F_UUID("user_id", REQ|NUL),
    F_STR("email", REQ|NUL, 0, 0),
    F_UUID("session_id", REQ|NUL),
    F_STR("address", REQ|NUL, 0, 0),
    F_STR("action", REQ, 0, 0),
    F_STR("object_type", REQ|NUL, 0, 0),
    F_STR("object_id", REQ|NUL, 0, 0),
    F_OBJ("detail", REQ, NULL),
    F_STR("request_id", REQ|NUL, 0, 0),
    F_STR("hash", REQ, 0, 0))

SCHEMA(geofence, "Geofence", NULL,
    F_UUID("id", REQ),
    F_STR("name", REQ, 0, 0),
    F_ENUM("shape", REQ, "polygon|circle"),
    F_OBJ("geometry", REQ, NULL),
    F_NUM("radius_m", REQ|NUL, 0, 0),
    F_INT("dwell_s", REQ|NUL, 0, 0),
    F_UUID("group_ids", REQ|LIST),
    F_BOOL("active", REQ),
    F_TIME("created_at", REQ))

#define GEOFENCE_FIELDS(req)                                                  \
    F_STR("name", req, 1, 200),                                               \
    { "geometry", MDVR_API_OBJECT, req, 0, 0, NULL, NULL,                     \
      "GeoJSON Polygon, or Point with radius_m" },                            \
    F_NUM("radius_m", NUL, 1, 1000000),                                       \
    F_INT("dwell_s", NUL, 1, 604800),                                         \
    F_UUID("group_ids", LIST),                                                \
    F_BOOL("active", 0)

SCHEMA(geofence_new, "GeofenceNew",
    "{\"name\":\"Depot\",\"geometry\":{\"type\":\"Point\","
    "\"coordinates\":[114.06,22.67]},\"radius_m\":250}",
    GEOFENCE_FIELDS(REQ))

SCHEMA(geofence_change, "GeofenceChange", "{\"active\":false}",
    GEOFENCE_FIELDS(0))

#define TOPICS  "alarm|device|media|command"

SCHEMA(webhook, "Webhook", NULL,
    F_UUID("id", REQ),
    F_STR("url", REQ, 0, 0),
    F_ENUM("topics", REQ|LIST, TOPICS),
    F_BOOL("active", REQ),
    F_INT("failures", REQ, 0, 0),
    F_TIME("disabled_until", REQ|NUL),
    F_OBJ("last_delivery", NUL, NULL),
    F_TIME("created_at", REQ))

SCHEMA(webhook_new, "WebhookNew",
    "{\"url\":\"https://example.com/hook\",\"topics\":[\"alarm\"]}",
    F_URL("url", REQ),
    F_ENUM("topics", LIST, TOPICS),
    F_SECRET("secret", 0, 24, 64),
    F_BOOL("active", 0))

SCHEMA(webhook_change, "WebhookChange", "{\"active\":false}",
    F_URL("url", 0),
    F_ENUM("topics", LIST, TOPICS),
    F_SECRET("secret", 0, 24, 64),
    F_BOOL("active", 0))

SCHEMA(webhook_made, "WebhookMade", NULL,
    F_UUID("id", REQ),
    F_STR("url", REQ, 0, 0),
    F_ENUM("topics", REQ|LIST, TOPICS),
    F_BOOL("active", REQ),
    F_STR("secret", REQ, 0, 0),
    F_TIME("created_at", REQ))

SCHEMA(webhook_test, "WebhookTest", NULL,
    F_UUID("delivery_id", REQ),
    F_ENUM("status", REQ, "queued"))

SCHEMA(push_new, "PushTokenNew",
    "{\"platform\":\"fcm\",\"token\":\"c9Vq7...\"}",
    F_ENUM("platform", REQ, "fcm|apns"),
    F_STR("token", REQ, 8, 4096),
    F_STR("app_id", NUL, 1, 200))

SCHEMA(push, "PushToken", NULL,
    F_UUID("id", REQ),
    F_ENUM("platform", REQ, "fcm|apns"),
    F_STR("app_id", REQ|NUL, 0, 0),
    F_TIME("created_at", REQ))

SCHEMA(preferences, "NotificationPreferences",
    "{\"push\":true,\"min_severity\":\"warning\",\"quiet_from\":\"22:00\","
    "\"quiet_to\":\"06:00\",\"time_zone\":\"Europe/Berlin\"}",
    F_BOOL("push", 0),
    F_ENUM("min_severity", 0, SEVERITY),
    F_STR("muted_kinds", LIST, 1, 64),
    { "quiet_from", MDVR_API_STRING, NUL, 5, 5, NULL, NULL, "HH:MM" },
    { "quiet_to", MDVR_API_STRING, NUL, 5, 5, NULL, NULL, "HH:MM" },
    F_STR("time_zone", 0, 1, 64))

SCHEMA(firmware, "Firmware", NULL,
    F_UUID("id", REQ),
    F_STR("name", REQ, 0, 0),
    F_STR("version", REQ, 0, 0),
    F_STR("device_type", REQ|NUL, 0, 0),
    F_INT("size_bytes", REQ, 0, 0),
    F_STR("md5", REQ, 0, 0),
    F_STR("sha256", REQ, 0, 0),
    F_TIME("created_at", REQ))
