/*
 * Lists and query data from the device: search results (V108, 0x6101) and
 * transparent data (V110, 0x6106).
 *
 * Each record goes as it came into the MEDIA ring of the session, where
 * whoever asked reads it (a 0x6101 record has 272 bytes); the session then
 * ends: `complete` after the last record, `stalled` when the device stopped
 * before it, and what had come is there all the same.
 *
 * Source: protocol reference, media.md section 6.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_media.h"


#define NGX_STREAM_MDVR_SEARCH_RECORD   272
#define NGX_STREAM_MDVR_SEARCH_SILENCE  20000       /* ms */


typedef struct {
    uint32_t                   records;
    unsigned                   done:1;
} ngx_stream_mdvr_search_t;


static ngx_int_t ngx_stream_mdvr_search_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg);
static ngx_int_t ngx_stream_mdvr_search_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg);
static ngx_int_t ngx_stream_mdvr_query_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg);
static ngx_int_t ngx_stream_mdvr_search_wake(ngx_stream_mdvr_media_t *m);
static ngx_int_t ngx_stream_mdvr_search_tick(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_search_close(ngx_stream_mdvr_media_t *m);


const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_search = {
    MDVR_SESSION_SEARCH,
    MDVR_BUS_KIND_SEARCH,
    sizeof(ngx_stream_mdvr_search_t),
    ngx_stream_mdvr_search_open,
    ngx_stream_mdvr_search_message,
    ngx_stream_mdvr_search_wake,
    ngx_stream_mdvr_search_tick,
    ngx_stream_mdvr_search_close,
    NULL
};


const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_query = {
    MDVR_SESSION_QUERY,
    MDVR_BUS_KIND_TRANSPARENT,
    sizeof(ngx_stream_mdvr_search_t),
    ngx_stream_mdvr_search_open,
    ngx_stream_mdvr_query_message,
    ngx_stream_mdvr_search_wake,
    ngx_stream_mdvr_search_tick,
    ngx_stream_mdvr_search_close,
    NULL
};


static ngx_int_t
ngx_stream_mdvr_search_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg)
{
    return m->info->state == MDVR_BUS_ENDING ? NGX_DECLINED : NGX_OK;
}


static void
ngx_stream_mdvr_search_keep(ngx_stream_mdvr_media_t *m, const uint8_t *p,
    size_t len)
{
    mdvr_bus_rec_t             rec;
    ngx_stream_mdvr_search_t  *search = m->data;

    ngx_memzero(&rec, sizeof(mdvr_bus_rec_t));
    rec.len = (uint32_t) len;

    if (mdvr_bus_put(ngx_mdvr_bus(), m->ref, m->ticket, MDVR_BUS_RING_MEDIA,
                     &rec, p)
        == MDVR_OK)
    {
        search->records++;
    }
}


static ngx_int_t
ngx_stream_mdvr_search_end(ngx_stream_mdvr_media_t *m, mdvr_bus_end_e why)
{
    u_char                     text[32];
    mdvr_buf_t                 b;
    ngx_stream_mdvr_search_t  *search = m->data;

    search->done = 1;

    (void) ngx_mdvr_bus_end(m->ref, why, m->connection->log);

    b = mdvr_buf(text, sizeof(text));

    if (m->kind->session == MDVR_SESSION_QUERY) {
        mdvr_media_write_file_report(&b);       /* as documented for 0x6106 */
    } else {
        mdvr_media_write_empty(&b, MDVR_MEDIA_END);
    }

    (void) ngx_stream_mdvr_media_send(m, &b);

    ngx_stream_mdvr_media_move(m, NGX_STREAM_MDVR_MEDIA_STOPPING,
                               m->conf->close_wait);

    return NGX_DONE;
}


static ngx_int_t
ngx_stream_mdvr_search_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg)
{
    unsigned             i, n;
    mdvr_media_record_t  record;

    switch (msg->type) {

    case MDVR_MEDIA_SEARCH:

        n = mdvr_media_record_count(msg->payload);

        if (n == 0) {
            return ngx_stream_mdvr_media_refuse(m, "media_payload");
        }

        for (i = 0; i < n; i++) {
            if (mdvr_media_read_record(msg->payload, i, &record) != MDVR_OK) {
                return ngx_stream_mdvr_media_refuse(m, "media_payload");
            }

            if (record.last) {
                return ngx_stream_mdvr_search_end(m, MDVR_BUS_END_COMPLETE);
            }

            ngx_stream_mdvr_search_keep(m, msg->payload.p
                                        + i * NGX_STREAM_MDVR_SEARCH_RECORD,
                                        NGX_STREAM_MDVR_SEARCH_RECORD);
        }

        return NGX_OK;

    case MDVR_MEDIA_END:
        return ngx_stream_mdvr_search_end(m, MDVR_BUS_END_COMPLETE);

    case MDVR_MEDIA_HEARTBEAT:
        return NGX_OK;

    default:
        return ngx_stream_mdvr_media_refuse(m, "media_type");
    }
}


static ngx_int_t
ngx_stream_mdvr_query_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg)
{
    switch (msg->type) {

    case MDVR_MEDIA_QUERY:
        ngx_stream_mdvr_search_keep(m, msg->payload.p, msg->payload.len);
        return NGX_OK;

    case MDVR_MEDIA_END:
        return ngx_stream_mdvr_search_end(m, MDVR_BUS_END_COMPLETE);

    case MDVR_MEDIA_HEARTBEAT:
        return NGX_OK;

    default:
        return ngx_stream_mdvr_media_refuse(m, "media_type");
    }
}


static ngx_int_t
ngx_stream_mdvr_search_wake(ngx_stream_mdvr_media_t *m)
{
    return mdvr_bus_owns(ngx_mdvr_bus(), m->ref, m->ticket) ? NGX_OK
                                                            : NGX_ERROR;
}


static ngx_int_t
ngx_stream_mdvr_search_tick(ngx_stream_mdvr_media_t *m)
{
    if (ngx_stream_mdvr_search_wake(m) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_current_msec - m->heard >= NGX_STREAM_MDVR_SEARCH_SILENCE) {
        return ngx_stream_mdvr_search_end(m, MDVR_BUS_END_STALLED);
    }

    return NGX_OK;
}


static void
ngx_stream_mdvr_search_close(ngx_stream_mdvr_media_t *m)
{
    ngx_stream_mdvr_search_t  *search = m->data;

    if (!search->done) {
        (void) ngx_mdvr_bus_end(m->ref, MDVR_BUS_END_DISCONNECTED,
                                m->connection->log);
    }
}
