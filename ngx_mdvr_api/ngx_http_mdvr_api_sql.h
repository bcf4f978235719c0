
/*
 * The statements of the routes.  The address of a text is the name of its
 * prepared statement.
 *
 * A statement gives one row:
 *
 *   1  the answer, JSON text; null or no row: 404
 *   2  where the next page begins, for exports; null: nowhere
 *   3  a document for mdvr:ctl, null: none
 *   4  an event message of the tenant to publish, null: none
 *
 * further columns only make something happen (audit).  Who writes audit rows has
 * "$tenant,$user,$session,$address,$request" as its first five parameters.
 */


#ifndef _NGX_HTTP_MDVR_API_SQL_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_SQL_H_INCLUDED_


#define API_WHO  "$tenant,$user,$session,$address,$request"

/* detail of 409 device_busy while mdvr.device_upgrading() */
#define API_UPGRADING  "a firmware upgrade runs, which cannot be interrupted"

/* one audit row of the acting user */
#define API_AUDIT(action, type, id, detail)                                   \
    " mdvr.audit_append($1::uuid, $2::uuid, $3::uuid, $4, '" action "',"      \
    " '" type "', " id ", " detail ", $5)"

/*
 * A page of a list: `q` gives item (json) and key (text) in order, one row more
 * than $1, the limit.  $2 is the cursor.
 */
#define API_LIMIT  " limit coalesce($1::int, 50) + 1"

#define API_PAGE(q)                                                           \
    "with p as materialized"                                                  \
    " (select q.*, row_number() over () as n from (" q API_LIMIT ") q)"       \
    " select json_build_object('items',"                                      \
    "  coalesce((select json_agg(item order by n) from p"                     \
    "            where n <= coalesce($1::int, 50)), '[]'::json),"             \
    "  'next_cursor', (select key from p where n = coalesce($1::int, 50)"     \
    "    and exists (select from p where n > coalesce($1::int, 50))))::text"

#define API_KEY_ID(x)  "replace(" x "::text, '-', '')"


extern const char  api_sql_me[];
extern const char  api_sql_sessions[];
extern const char  api_sql_totp_delete[];

extern const char  api_sql_tenants[];
extern const char  api_sql_tenant_get[];
extern const char  api_sql_tenant_post[];
extern const char  api_sql_tenant_patch[];
extern const char  api_sql_tenant_delete[];
extern const char  api_sql_plan_get[];
extern const char  api_sql_plan_put[];
extern const char  api_sql_usage[];

extern const char  api_sql_users[];
extern const char  api_sql_user_get[];
extern const char  api_sql_user_delete[];
extern const char  api_sql_user_devices[];

extern const char  api_sql_keys[];
extern const char  api_sql_key_delete[];

extern const char  api_sql_devices[];
extern const char  api_sql_device_get[];
extern const char  api_sql_device_post[];
extern const char  api_sql_device_patch[];
extern const char  api_sql_device_delete[];
extern const char  api_sql_pending[];

extern const char  api_sql_groups[];
extern const char  api_sql_group_get[];
extern const char  api_sql_group_post[];
extern const char  api_sql_group_patch[];
extern const char  api_sql_group_delete[];

extern const char  api_sql_video_sessions[];

extern const char  api_sql_commands[];
extern const char  api_sql_command_get[];

extern const char  api_sql_alarms[];
extern const char  api_sql_alarm_get[];
extern const char  api_sql_alarm_acknowledge[];
extern const char  api_sql_alarm_patch[];
extern const char  api_sql_evidence_keys[];

extern const char  api_sql_media_list[];
extern const char  api_sql_media_get[];
extern const char  api_sql_media_patch[];
extern const char  api_sql_media_delete[];
extern const char  api_sql_download_get[];

extern const char  api_sql_events[];
extern const char  api_sql_audit[];

extern const char  api_sql_geofences[];
extern const char  api_sql_geofence_get[];
extern const char  api_sql_geofence_post[];
extern const char  api_sql_geofence_patch[];
extern const char  api_sql_geofence_delete[];

extern const char  api_sql_webhooks[];
extern const char  api_sql_webhook_get[];
extern const char  api_sql_webhook_test[];
extern const char  api_sql_webhook_delete[];

extern const char  api_sql_push_post[];
extern const char  api_sql_push_delete[];
extern const char  api_sql_preferences_get[];
extern const char  api_sql_preferences_put[];

extern const char  api_sql_firmware[];
extern const char  api_sql_diagnostics[];
extern const char  api_sql_trips[];


#endif /* _NGX_HTTP_MDVR_API_SQL_H_INCLUDED_ */
