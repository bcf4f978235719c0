/*
 * Registration on the media port: V102, V103, V105..V112.
 *
 * A registration belongs to a session that this node asked for (the API made
 * it on the frame bus before the command went out); it is bound by wire session
 * id, serial, kind, channel and stream.  Everything else is answered 0x6000
 * with result 0 and closed: reason 0x1002 for another device's serial,
 * 0x1001 otherwise.
 *
 * Source: protocol reference, media.md sections 1 to 3.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_media.h"


static void ngx_stream_mdvr_media_woken(void *data);
static ngx_int_t ngx_stream_mdvr_media_again(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg);


static const ngx_stream_mdvr_media_kind_t  *ngx_stream_mdvr_media_kinds[] = {
    &ngx_stream_mdvr_media_live,
    &ngx_stream_mdvr_media_playback,
    &ngx_stream_mdvr_media_reel,
    &ngx_stream_mdvr_media_file,
    &ngx_stream_mdvr_media_snapshot,
    &ngx_stream_mdvr_media_search,
    &ngx_stream_mdvr_media_query,
    &ngx_stream_mdvr_media_upgrade,
    &ngx_stream_mdvr_media_push,
    &ngx_stream_mdvr_media_config,
    &ngx_stream_mdvr_media_config_up,
    &ngx_stream_mdvr_media_talk,
    NULL
};


static mdvr_message_t  ngx_stream_mdvr_media_text;      /* 8 KiB, one at a time */


ngx_int_t
ngx_stream_mdvr_media_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg)
{
    u_char     hex[8];
    ngx_str_t  type;

    if (msg->legacy || m->parser.legacy) {

        /* before 2013; recognised, not spoken */

        return ngx_stream_mdvr_media_refuse(m, "legacy");
    }

    if (msg->text) {
        return ngx_stream_mdvr_media_bind(m, msg);
    }

    if (m->kind == NULL) {
        return ngx_stream_mdvr_media_refuse(m, "unregistered");
    }

    if (!mdvr_media_type_known(msg->type)) {

        /* a newer firmware's, perhaps; not without end */

        ngx_log_error(NGX_LOG_INFO, m->connection->log, 0,
                      "unknown media message 0x%04xd, device: %s", msg->type,
                      m->info->serial);

        if (++m->unknown >= MDVR_MEDIA_INCIDENTS) {
            return ngx_stream_mdvr_media_refuse(m, "media_type");
        }

        return NGX_OK;
    }

    /* what comes in masses is counted by its kind */

    if (msg->type != MDVR_MEDIA_IFRAME && msg->type != MDVR_MEDIA_PFRAME
        && msg->type != MDVR_MEDIA_AUDIO && msg->type != MDVR_MEDIA_BLOCK
        && msg->type != MDVR_MEDIA_SNAPSHOT)
    {
        type.len = ngx_sprintf(hex, "0x%04xd", msg->type) - hex;
        type.data = hex;
        ngx_mdvr_keyed_add(NGX_MDVR_K_media_messages_total, &type, 1);
    }

    return m->kind->message(m, msg);
}


static void
ngx_stream_mdvr_media_woken(void *data)
{
    ngx_stream_mdvr_media_t  *m = data;

    if (m->state == NGX_STREAM_MDVR_MEDIA_BOUND
        && m->kind->wake(m) == NGX_ERROR)
    {
        (void) ngx_stream_mdvr_media_close(m);
        return;
    }

    ngx_stream_mdvr_media_look(m);
}


ngx_int_t
ngx_stream_mdvr_media_bind(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg)
{
    size_t                                n;
    u_char                                text[64];
    mdvr_rc_t                             rc;
    mdvr_buf_t                            b;
    mdvr_bus_t                           *bus;
    ngx_int_t                             opened;
    ngx_str_t                             keyword;
    ngx_uint_t                            i;
    mdvr_bus_ref_t                        ref;
    mdvr_location_t                       location;
    mdvr_media_reg_t                      reg;
    mdvr_message_t                       *message;
    mdvr_bus_info_t                       info;
    const ngx_stream_mdvr_media_kind_t   *kind;

    message = &ngx_stream_mdvr_media_text;

    rc = mdvr_message_parse(msg->frame.content, message);

    if (rc == MDVR_OK) {
        keyword.data = (u_char *) mdvr_keyword_name(message->kw);
        keyword.len = ngx_strlen(keyword.data);

        if (message->kw != MDVR_KW_UNKNOWN) {
            ngx_mdvr_keyed_add(NGX_MDVR_K_messages_total, &keyword, 1);
        }

        rc = mdvr_location_parse(message, false, &location);
    }

    if (rc == MDVR_OK) {
        rc = mdvr_media_reg_parse(message, &location, &reg);
    }

    if (rc != MDVR_OK) {
        ngx_log_error(NGX_LOG_INFO, m->connection->log, 0,
                      "media registration refused: %s", mdvr_rc_words(rc));
        return ngx_stream_mdvr_media_reject(m, "media_registration",
                                            MDVR_MEDIA_NO_CENTER);
    }

    if (m->kind) {
        return ngx_stream_mdvr_media_again(m, &reg);
    }

    if (reg.kind == MDVR_SESSION_FETCH) {

        /* V112 has no session; nothing is offered with V141 */

        return ngx_stream_mdvr_media_reject(m, "file_missing",
                                            MDVR_MEDIA_NO_FILE);
    }

    bus = ngx_mdvr_bus();

    if (bus == NULL
        || mdvr_bus_find_session(bus, (const char *) reg.session_id.p,
                                 reg.session_id.len, &ref) != MDVR_OK
        || mdvr_bus_info(bus, ref, &info) != MDVR_OK)
    {
        ngx_log_error(NGX_LOG_INFO, m->connection->log, 0,
                      "nobody asked for this session, serial: \"%*s\", "
                      "session: \"%*s\"", message->serial.len,
                      message->serial.p, reg.session_id.len,
                      reg.session_id.p);
        return ngx_stream_mdvr_media_reject(m, "unknown_session",
                                            MDVR_MEDIA_NO_CENTER);
    }

    n = ngx_strlen(info.serial);

    if (message->serial.len != n
        || ngx_memcmp(message->serial.p, info.serial, n) != 0)
    {
        return ngx_stream_mdvr_media_reject(m, "session_serial",
                                            MDVR_MEDIA_BAD_SERIAL);
    }

    m->info = ngx_palloc(m->connection->pool, sizeof(mdvr_bus_info_t));
    if (m->info == NULL) {
        return NGX_ERROR;
    }

    *m->info = info;
    m->ref = ref;

    opened = NGX_DECLINED;
    kind = NULL;

    for (i = 0; ngx_stream_mdvr_media_kinds[i] && opened == NGX_DECLINED; i++)
    {
        kind = ngx_stream_mdvr_media_kinds[i];

        if (kind->session != reg.kind || kind->kind != info.kind) {
            continue;
        }

        m->data = ngx_pcalloc(m->connection->pool, kind->size);
        if (m->data == NULL) {
            return NGX_ERROR;
        }

        opened = kind->open(m, &reg);
    }

    if (opened == NGX_DECLINED) {
        return ngx_stream_mdvr_media_reject(m, "session_kind",
                                            MDVR_MEDIA_NO_CENTER);
    }

    if (opened != NGX_OK) {
        return opened;
    }

    if (mdvr_bus_own(bus, ref, &m->ticket) != MDVR_OK) {
        kind->close(m);
        return ngx_stream_mdvr_media_reject(m, "unknown_session",
                                            MDVR_MEDIA_NO_CENTER);
    }

    m->kind = kind;
    m->meter = ngx_mdvr_meter_start(&info);

    (void) ngx_mdvr_bus_watch(&m->watch, ref, NGX_MDVR_BUS_OWNER,
                              ngx_stream_mdvr_media_woken, m);

    ngx_stream_mdvr_media_move(m, NGX_STREAM_MDVR_MEDIA_BOUND, 0);

    ngx_log_error(NGX_LOG_INFO, m->connection->log, 0,
                  "media session %s bound, %s, device: %s, channel: %d, "
                  "stream: %s", info.session, mdvr_session_name(reg.kind),
                  info.serial, (int) info.channel,
                  info.stream ? "sub" : "main");

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_result(&b, 1, 0);

    if (ngx_stream_mdvr_media_send(m, &b) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return kind->write && m->out_len == 0 ? kind->write(m) : NGX_OK;
}


/* The same session registered again on the same connection: answer again. */

static ngx_int_t
ngx_stream_mdvr_media_again(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg)
{
    u_char      text[64];
    size_t      n;
    mdvr_buf_t  b;

    n = ngx_strlen(m->info->session);

    if (reg->kind != m->kind->session || m->kind->write
        || reg->session_id.len != n
        || ngx_memcmp(reg->session_id.p, m->info->session, n) != 0)
    {
        return ngx_stream_mdvr_media_refuse(m, "session_change");
    }

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_result(&b, 1, 0);

    return ngx_stream_mdvr_media_send(m, &b) == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_stream_mdvr_media_reject(ngx_stream_mdvr_media_t *m, const char *why,
    uint32_t reason)
{
    u_char      text[64];
    mdvr_buf_t  b;

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_result(&b, 0, reason);
    (void) ngx_stream_mdvr_media_send(m, &b);

    return ngx_stream_mdvr_media_refuse(m, why);
}
