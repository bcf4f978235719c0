
#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include <jansson.h>

#include "ngx_mdvr_core/ngx_mdvr_talk.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "mdvr/dc/write.h"


#define NGX_MDVR_TALK_COMMAND   15000       /* ms for the device's answer */


mdvr_rc_t
ngx_mdvr_talk_note(mdvr_bus_ref_t ref, ngx_mdvr_talk_note_t *note)
{
    char         text[MDVR_BUS_NOTE_MAX];
    json_t      *doc;
    mdvr_rc_t    rc;
    ngx_str_t    id;
    mdvr_bus_t  *bus = ngx_mdvr_bus();

    ngx_memzero(note, sizeof(ngx_mdvr_talk_note_t));

    if (bus == NULL) {
        return MDVR_E_UNAVAILABLE;
    }

    rc = mdvr_bus_note(bus, ref, text, sizeof(text));
    if (rc != MDVR_OK) {
        return rc;
    }

    doc = json_loads(text, JSON_REJECT_DUPLICATES, NULL);

    id.data = (u_char *) json_string_value(json_object_get(doc,
                                                           "session_id"));
    id.len = id.data ? ngx_strlen(id.data) : 0;

    note->known = id.data && ngx_mdvr_uuid_parse(&id, &note->session) == NGX_OK;
    note->listen = json_is_true(json_object_get(doc, "listen"));
    note->half = json_is_true(json_object_get(doc, "half"));
    note->channel = (ngx_uint_t) json_integer_value(json_object_get(doc,
                                                                "channel"));
    json_decref(doc);

    return MDVR_OK;
}


mdvr_rc_t
ngx_mdvr_talk_find(const u_char device[16], mdvr_bus_info_t *info)
{
    uint32_t         i;
    mdvr_bus_t      *bus = ngx_mdvr_bus();
    mdvr_bus_ref_t   ref;

    for (i = 0; bus && i < mdvr_bus_streams(bus); i++) {

        if (mdvr_bus_at(bus, i, &ref) == MDVR_OK
            && mdvr_bus_info(bus, ref, info) == MDVR_OK
            && info->kind == MDVR_BUS_KIND_TALK
            && (info->state == MDVR_BUS_STARTING
                || info->state == MDVR_BUS_LIVE)
            && ngx_memcmp(info->device_id, device, 16) == 0)
        {
            return MDVR_OK;
        }
    }

    return MDVR_E_NOT_FOUND;
}


void
ngx_mdvr_talk_command(const mdvr_bus_info_t *info, ngx_uint_t start,
    ngx_str_t *keyword, mdvr_buf_t *body)
{
    int                    channel;
    mdvr_str_t             session;
    mdvr_endpoint_t        media;
    ngx_mdvr_core_conf_t  *conf;
    ngx_mdvr_talk_note_t   note;

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);
    session = mdvr_cstr(info->session);

    ngx_memzero(&media, sizeof(mdvr_endpoint_t));

    if (start) {
        media.address = mdvr_str(conf->public_host.data,
                                 conf->public_host.len);
        media.port = (unsigned) conf->media_port;
    }

    (void) ngx_mdvr_talk_note(info->ref, &note);

    channel = (int) (note.known ? note.channel : info->channel) - 1;

    if (note.listen) {
        ngx_str_set(keyword, "C551");
        mdvr_body_c551(body, session, start, channel, channel < 0 ? 2 : 1,
                       media);

    } else {
        ngx_str_set(keyword, "C550");
        mdvr_body_c550(body, session, start, -1, 2, media);
    }
}


void
ngx_mdvr_talk_send(const mdvr_bus_info_t *info, ngx_uint_t start)
{
    u_char              text[512];
    mdvr_buf_t          body;
    ngx_mdvr_command_t  command;

    if (!start) {
        switch (info->end) {

        case MDVR_BUS_END_REPLACED:
        case MDVR_BUS_END_HUNG_UP:
        case MDVR_BUS_END_REFUSED:
        case MDVR_BUS_END_OFFLINE:
        case MDVR_BUS_END_DISCONNECTED:
            return;

        default:
            break;
        }
    }

    ngx_memzero(&command, sizeof(ngx_mdvr_command_t));

    body = mdvr_buf(text, sizeof(text));
    ngx_mdvr_talk_command(info, start, &command.keyword, &body);

    if (body.full || body.len == 0) {
        return;
    }

    command.serial.data = (u_char *) info->serial;
    command.serial.len = ngx_strlen(info->serial);
    command.body.data = text + (text[0] == ',');
    command.body.len = body.len - (text[0] == ',');
    command.timeout = NGX_MDVR_TALK_COMMAND;

    (void) ngx_mdvr_command_send(NULL, &command, NULL, NULL);
}


void
ngx_mdvr_talk_over(const mdvr_bus_info_t *info, mdvr_bus_end_e why)
{
    u_char                 id[NGX_MDVR_UUID_LEN], bytes[NGX_INT64_LEN];
    ngx_str_t              text;
    ngx_mdvr_pg_call_t     call;
    ngx_mdvr_pg_param_t    params[3];
    ngx_mdvr_talk_note_t   note;

    static const char      sql[] =
        "select mdvr.video_session_end($1::uuid, $2, $3::bigint)";

    if (ngx_mdvr_talk_note(info->ref, &note) != MDVR_OK || !note.known) {
        return;
    }

    text.data = id;
    text.len = ngx_mdvr_uuid_print(id, &note.session) - id;
    params[0] = ngx_mdvr_pg_text(&text);

    text.data = (u_char *) mdvr_bus_end_name(why);
    text.len = ngx_strlen(text.data);
    params[1] = ngx_mdvr_pg_text(&text);

    text.data = bytes;
    text.len = ngx_sprintf(bytes, "%uL", info->bytes) - bytes;
    params[2] = ngx_mdvr_pg_text(&text);

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    call.role = NGX_MDVR_PG_STREAM;
    call.sql = sql;
    call.params = params;
    call.nparams = 3;
    call.retry = 1;

    /* lost while PostgreSQL is away: the row ends with its token */

    (void) ngx_mdvr_pg_query(NULL, &call, 30000, NULL, NULL);
}
