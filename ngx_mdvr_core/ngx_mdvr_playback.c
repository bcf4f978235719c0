/* See ngx_mdvr_playback.h. */


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_mdvr_core/ngx_mdvr_playback.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "mdvr/domain/keys.h"


static ngx_int_t
ngx_mdvr_playback_find(const ngx_str_t *session, mdvr_bus_info_t *info,
    json_t **note)
{
    char             text[MDVR_BUS_NOTE_MAX];
    uint32_t         i;
    mdvr_bus_t      *bus = ngx_mdvr_bus();
    const char      *id;
    mdvr_bus_ref_t   ref;

    for (i = 0; bus && i < mdvr_bus_streams(bus); i++) {

        if (mdvr_bus_at(bus, i, &ref) != MDVR_OK
            || mdvr_bus_info(bus, ref, info) != MDVR_OK
            || info->kind != MDVR_BUS_KIND_PLAYBACK
            || info->state == MDVR_BUS_ENDING
            || mdvr_bus_note(bus, ref, text, sizeof(text)) != MDVR_OK)
        {
            continue;
        }

        *note = json_loads(text, 0, NULL);
        id = json_string_value(json_object_get(*note, "session_id"));

        if (id && ngx_strlen(id) == session->len
            && ngx_memcmp(id, session->data, session->len) == 0)
        {
            return NGX_OK;
        }

        json_decref(*note);
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_mdvr_playback_apply(const ngx_str_t *session, json_t *set)
{
    char             *text;
    json_t           *note, *value;
    mdvr_bus_info_t   info;

    if (ngx_mdvr_playback_find(session, &info, &note) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (json_is_true(json_object_get(set, "stop"))) {
        json_decref(note);
        (void) ngx_mdvr_bus_end(info.ref, MDVR_BUS_END_STOPPED,
                                ngx_cycle->log);
        return NGX_OK;
    }

    value = json_object_get(set, "paused");

    if (value) {
        json_object_set(note, "paused", value);
    }

    value = json_object_get(set, "speed");

    if (value) {
        json_object_set(note, "speed", value);
    }

    value = json_object_get(set, "position_s");

    if (value) {
        json_object_set(note, "position_s", value);
        json_object_set_new(note, "seek",
            json_integer(json_integer_value(json_object_get(note, "seek"))
                         + 1));
    }

    text = json_dumps(note, JSON_COMPACT);
    json_decref(note);

    if (text) {
        (void) mdvr_bus_set_note(ngx_mdvr_bus(), info.ref, text);
        free(text);
    }

    return NGX_OK;
}


void
ngx_mdvr_playback_set(const ngx_str_t *session, json_t *set)
{
    char       *text;
    json_t     *doc;
    ngx_str_t   msg;

    static ngx_str_t  channel = ngx_string(MDVR_CHANNEL_CTL);

    if (ngx_mdvr_playback_apply(session, set) == NGX_OK) {
        return;
    }

    doc = json_pack("{s:s, s:o, s:O}", "op", "playback", "id",
                    json_stringn((char *) session->data, session->len),
                    "set", set);
    text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    json_decref(doc);

    if (text) {
        msg.data = (u_char *) text;
        msg.len = ngx_strlen(text);
        (void) ngx_mdvr_redis_publish(&channel, &msg, 0);
        free(text);
    }
}


ngx_uint_t
ngx_mdvr_playback_end(const uint8_t device_id[16], mdvr_bus_end_e why)
{
    uint32_t          i;
    ngx_uint_t        n;
    mdvr_bus_t       *bus = ngx_mdvr_bus();
    mdvr_bus_ref_t    ref;
    mdvr_bus_info_t   info;

    n = 0;

    for (i = 0; bus && i < mdvr_bus_streams(bus); i++) {
        if (mdvr_bus_at(bus, i, &ref) == MDVR_OK
            && mdvr_bus_info(bus, ref, &info) == MDVR_OK
            && info.kind == MDVR_BUS_KIND_PLAYBACK
            && info.state != MDVR_BUS_ENDING
            && ngx_memcmp(info.device_id, device_id, 16) == 0)
        {
            n += ngx_mdvr_bus_end(ref, why, ngx_cycle->log) == MDVR_OK;
        }
    }

    return n;
}


void
ngx_mdvr_playback_over(const char *text, const char *reason)
{
    json_t               *note;
    ngx_str_t             id, why;
    ngx_mdvr_pg_call_t    call;
    ngx_mdvr_pg_param_t   params[2];

    note = json_loads(text, 0, NULL);
    id.data = (u_char *) json_string_value(json_object_get(note,
                                                           "session_id"));

    if (id.data) {
        id.len = ngx_strlen(id.data);
        why.data = (u_char *) reason;
        why.len = ngx_strlen(reason);

        params[0] = ngx_mdvr_pg_text(&id);
        params[1] = ngx_mdvr_pg_text(&why);

        ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
        call.role = NGX_MDVR_PG_STREAM;
        call.sql = "select mdvr.video_session_end($1::uuid, $2, 0)";
        call.params = params;
        call.nparams = 2;

        (void) ngx_mdvr_pg_query(NULL, &call, 20000, NULL, NULL);
    }

    json_decref(note);
}
