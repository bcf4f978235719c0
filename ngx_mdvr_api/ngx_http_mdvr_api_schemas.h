
/*
 * Requests and answers of the routes, by name.  What a client sends is closed
 * (unknown members are refused), what it receives may grow.
 */


#ifndef _NGX_HTTP_MDVR_API_SCHEMAS_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_SCHEMAS_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api_schema.h"


#define API_SCHEMAS(X)                                                        \
    X(login) X(tokens) X(refresh) X(password) X(totp) X(totp_code)            \
    X(me) X(session)                                                          \
    X(tenant) X(tenant_new) X(tenant_change) X(plan) X(plan_change) X(usage)  \
    X(user) X(user_new) X(user_change) X(assignment) X(empty)                 \
    X(key) X(key_new) X(key_made)                                             \
    X(device) X(device_new) X(device_change) X(device_status) X(pending)      \
    X(diagnostics) X(position) X(telemetry) X(trip)                                       \
    X(group) X(group_new) X(group_change)                                     \
    X(video_start) X(video_stop) X(video) X(video_session) X(renewed)         \
    X(command_new) X(command_queued) X(command)                               \
    X(alarm) X(acknowledge) X(legal_hold) X(media) X(media_url) X(download)                 \
    X(event) X(audit) X(evidence_key)                                         \
    X(geofence) X(geofence_new) X(geofence_change)                            \
    X(webhook) X(webhook_new) X(webhook_change) X(webhook_made) X(webhook_test)               \
    X(push_new) X(push) X(preferences) X(firmware) X(snapshot)                \
    X(download_new) X(download_queued) X(recording) X(calendar)               \
    X(calendar_span) X(calendar_channel) X(calendar_day)                      \
    X(playback_new) X(playback) X(playback_control) X(playback_changed)         \
    X(playback_stop) X(record_new) X(record_begun) X(talk) X(talk_stop) X(talk_answer) X(upgrade)

#define API_SCHEMA_EXTERN(name)                                               \
    extern const ngx_http_mdvr_api_schema_t  api_##name;

API_SCHEMAS(API_SCHEMA_EXTERN)

#undef API_SCHEMA_EXTERN


#endif /* _NGX_HTTP_MDVR_API_SCHEMAS_H_INCLUDED_ */
