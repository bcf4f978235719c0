/*
 * stream.mp4: init segment and fragments as one endless answer, chunked under
 * HTTP/1.1.  The answer begins when there is a picture; until then an error
 * can still be told.  Its time line begins at 0, so that a plain <video>
 * element starts at its beginning; fragment numbers begin at 1.  It has the
 * sound as AAC when there is an encoder; ?audio=0 leaves it out.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_live.h"

#include "mdvr/media/fmp4.h"


#define NGX_HTTP_MDVR_MP4_BATCH  64         /* fragments under way */


typedef struct {
    ngx_http_mdvr_viewer_t    viewer;
    ngx_http_mdvr_live_ctx_t *ctx;

    ngx_chain_t              *out;          /* of this round */
    ngx_chain_t             **last;
    ngx_chain_t              *free;
    ngx_chain_t              *busy;
    size_t                    queued;

    ngx_uint_t                n;            /* blobs under way */
    ngx_http_mdvr_blob_t     *blob[NGX_HTTP_MDVR_MP4_BATCH];
    u_char                    head[NGX_HTTP_MDVR_MP4_BATCH]
                                  [MDVR_FMP4_FRAGMENT_HEAD];

    uint64_t                  zero_us;
    uint32_t                  sequence;
    unsigned                  started:1;
    unsigned                  ended:1;
} ngx_http_mdvr_mp4_t;


static void ngx_http_mdvr_mp4_ready(ngx_http_mdvr_live_ctx_t *ctx);
static ngx_int_t ngx_http_mdvr_mp4_start(ngx_http_mdvr_live_ctx_t *ctx);
static void ngx_http_mdvr_mp4_write(ngx_http_request_t *r);
static size_t ngx_http_mdvr_mp4_queued(ngx_http_mdvr_viewer_t *v);
static ngx_int_t ngx_http_mdvr_mp4_send(ngx_http_mdvr_viewer_t *v,
    ngx_http_mdvr_blob_t *blob, ngx_uint_t init);
static ngx_int_t ngx_http_mdvr_mp4_flush(ngx_http_mdvr_viewer_t *v);
static void ngx_http_mdvr_mp4_end(ngx_http_mdvr_viewer_t *v, ngx_uint_t code,
    const char *reason);
static void ngx_http_mdvr_mp4_cleanup(void *data);


static const ngx_http_mdvr_viewer_pt  ngx_http_mdvr_mp4_transport = {
    ngx_http_mdvr_mp4_queued,
    ngx_http_mdvr_mp4_send,
    ngx_http_mdvr_mp4_flush,
    ngx_http_mdvr_mp4_end
};


/* --- before the first picture ------------------------------------------------- */

ngx_int_t
ngx_http_mdvr_live_mp4(ngx_http_mdvr_live_ctx_t *ctx)
{
    mdvr_rc_t                rc;
    ngx_int_t                n;
    ngx_str_t                value;
    mdvr_bus_info_t          info;
    ngx_pool_cleanup_t      *cln;
    ngx_http_request_t      *r = ctx->request;
    ngx_http_mdvr_mp4_t     *mp4;
    ngx_http_mdvr_viewer_t  *v;

    rc = mdvr_bus_info(ngx_mdvr_bus(), ctx->ref, &info);
    if (rc != MDVR_OK) {
        return ngx_http_mdvr_live_gone(ctx);
    }

    mp4 = ngx_pcalloc(r->pool, sizeof(ngx_http_mdvr_mp4_t));
    if (mp4 == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    mp4->ctx = ctx;
    mp4->last = &mp4->out;
    ctx->data = mp4;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_mdvr_mp4_cleanup;
    cln->data = mp4;

    v = &mp4->viewer;

    v->transport = &ngx_http_mdvr_mp4_transport;
    v->conf = ctx->conf;
    v->token = &ctx->token;
    v->log = r->connection->log;
    v->data = mp4;
    v->ref = ctx->ref;
    v->want_audio = ctx->conf->audio
                    && !(ngx_http_arg(r, (u_char *) "audio", 5, &value)
                         == NGX_OK && value.len == 1 && value.data[0] == '0');

    /* it counts as a viewer while it waits, too */

    rc = ngx_http_mdvr_viewer_open(v);
    if (rc != MDVR_OK) {
        return ngx_http_mdvr_live_gone(ctx);
    }

    if (info.init_version) {
        n = ngx_http_mdvr_mp4_start(ctx);

        if (n != NGX_DONE) {
            return n;
        }

        r->main->count++;
        ngx_http_mdvr_viewer_pump(v);

        return NGX_DONE;
    }

    return ngx_http_mdvr_live_park(ctx, ngx_http_mdvr_mp4_ready,
                                   ctx->conf->wait);
}


static void
ngx_http_mdvr_mp4_ready(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_int_t             n;
    mdvr_bus_info_t       info;
    ngx_http_mdvr_mp4_t  *mp4 = ctx->data;

    if (mdvr_bus_info(ngx_mdvr_bus(), ctx->ref, &info) != MDVR_OK
        || info.state == MDVR_BUS_ENDING)
    {
        ngx_http_mdvr_live_resume(ctx, ngx_http_mdvr_live_gone(ctx));
        return;
    }

    if (info.init_version == 0) {
        if (ctx->timedout) {
            n = ngx_mdvr_http_problem(ctx->request,
                                      NGX_HTTP_SERVICE_UNAVAILABLE,
                                      "stream_starting",
                                      "no picture has come yet");
            ngx_http_mdvr_live_resume(ctx, n);
        }

        return;
    }

    ctx->waiting = 0;
    ngx_mdvr_bus_unwatch(&ctx->watch);

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    n = ngx_http_mdvr_mp4_start(ctx);

    if (n != NGX_DONE) {
        ngx_http_finalize_request(ctx->request, n);
        return;
    }

    ngx_http_mdvr_viewer_pump(&mp4->viewer);
}


static ngx_int_t
ngx_http_mdvr_mp4_start(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_int_t             rc;
    ngx_str_t             value;
    ngx_http_request_t   *r = ctx->request;
    ngx_http_mdvr_mp4_t  *mp4 = ctx->data;

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_set(&r->headers_out.content_type, "video/mp4");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);

    ngx_str_set(&value, "no-store");

    if (ngx_mdvr_http_header(r, "Cache-Control", &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_set(&value, "no");              /* a proxy must not collect it */

    if (ngx_mdvr_http_header(r, "X-Accel-Buffering", &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    mp4->started = 1;

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_mdvr_mp4_write;

    return NGX_DONE;
}


/* --- sending ---------------------------------------------------------------------- */

static size_t
ngx_http_mdvr_mp4_queued(ngx_http_mdvr_viewer_t *v)
{
    ngx_http_mdvr_mp4_t  *mp4 = v->data;

    /* one round is under way at a time; then the next is made */

    if (!mp4->started || mp4->busy || mp4->n + 2 > NGX_HTTP_MDVR_MP4_BATCH) {
        return (size_t) -1;
    }

    return mp4->queued;
}


static ngx_int_t
ngx_http_mdvr_mp4_add(ngx_http_mdvr_mp4_t *mp4, u_char *p, size_t len)
{
    ngx_buf_t           *b;
    ngx_chain_t         *cl;
    ngx_http_request_t  *r = mp4->ctx->request;

    cl = ngx_chain_get_free_buf(r->pool, &mp4->free);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    b = cl->buf;
    ngx_memzero(b, sizeof(ngx_buf_t));
    b->tag = (ngx_buf_tag_t) &ngx_http_mdvr_live_module;
    b->memory = 1;
    b->start = p;
    b->pos = p;
    b->last = p + len;
    b->end = b->last;

    *mp4->last = cl;
    mp4->last = &cl->next;
    mp4->queued += len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_mdvr_mp4_send(ngx_http_mdvr_viewer_t *v, ngx_http_mdvr_blob_t *blob,
    ngx_uint_t init)
{
    u_char               *head;
    uint64_t              us, ticks;
    ngx_http_mdvr_mp4_t  *mp4 = v->data;

    mp4->blob[mp4->n] = blob;
    head = mp4->head[mp4->n++];

    if (init) {
        return ngx_http_mdvr_mp4_add(mp4, blob->data, blob->len);
    }

    if (mp4->sequence == 0) {
        mp4->zero_us = blob->rec.pts_us;
    }

    us = blob->rec.pts_us - mp4->zero_us;
    ticks = blob->rec.codec == MDVR_BUS_AAC
            ? us * MDVR_BUS_AAC_RATE / 1000000 : mdvr_fmp4_ticks(us);

    ngx_memcpy(head, blob->data, MDVR_FMP4_FRAGMENT_HEAD);
    (void) mdvr_fmp4_set_time(head, MDVR_FMP4_FRAGMENT_HEAD, ++mp4->sequence,
                              ticks);

    if (ngx_http_mdvr_mp4_add(mp4, head, MDVR_FMP4_FRAGMENT_HEAD) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_mdvr_mp4_add(mp4, blob->data + MDVR_FMP4_FRAGMENT_HEAD,
                                 blob->len - MDVR_FMP4_FRAGMENT_HEAD);
}


/* Writes `out` and what is busy; gives the blobs back when all is out. */

static ngx_int_t
ngx_http_mdvr_mp4_output(ngx_http_mdvr_mp4_t *mp4)
{
    ngx_int_t                  rc;
    ngx_chain_t               *cl;
    ngx_event_t               *wev;
    ngx_http_request_t        *r = mp4->ctx->request;
    ngx_http_core_loc_conf_t  *clcf;

    for (cl = mp4->out; cl; cl = cl->next) {
        if (cl->next == NULL) {
            cl->buf->flush = 1;
        }
    }

    rc = ngx_http_output_filter(r, mp4->out);

    ngx_chain_update_chains(r->pool, &mp4->free, &mp4->busy, &mp4->out,
                            (ngx_buf_tag_t) &ngx_http_mdvr_live_module);
    mp4->last = &mp4->out;

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (mp4->busy == NULL) {
        mp4->queued = 0;

        while (mp4->n) {
            ngx_http_mdvr_blob_drop(mp4->blob[--mp4->n]);
        }
    }

    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (mp4->busy) {
        if (!wev->timer_set) {
            ngx_add_timer(wev, mp4->viewer.conf->send_timeout);
        }

    } else if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_mdvr_mp4_flush(ngx_http_mdvr_viewer_t *v)
{
    return ngx_http_mdvr_mp4_output(v->data);
}


static void
ngx_http_mdvr_mp4_write(ngx_http_request_t *r)
{
    ngx_event_t               *wev = r->connection->write;
    ngx_http_mdvr_mp4_t       *mp4;
    ngx_http_mdvr_live_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_mdvr_live_module);
    mp4 = ctx->data;

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, NGX_ETIMEDOUT,
                      "viewer takes nothing");
        r->connection->timedout = 1;
        ngx_http_mdvr_viewer_close(&mp4->viewer);
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (mp4->busy == NULL && mp4->out == NULL) {
        if (ngx_handle_write_event(wev, 0) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
        }

        return;
    }

    if (ngx_http_mdvr_mp4_output(mp4) != NGX_OK) {
        ngx_http_mdvr_viewer_close(&mp4->viewer);
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (mp4->busy == NULL) {

        if (mp4->ended) {
            ngx_http_finalize_request(r, ngx_http_send_special(r,
                                                               NGX_HTTP_LAST));
            return;
        }

        ngx_http_mdvr_viewer_pump(&mp4->viewer);
    }
}


/* --- the end -------------------------------------------------------------------------- */

static void
ngx_http_mdvr_mp4_end(ngx_http_mdvr_viewer_t *v, ngx_uint_t code,
    const char *reason)
{
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_http_mdvr_mp4_t  *mp4 = v->data;

    r = mp4->ctx->request;
    c = r->connection;

    if (!mp4->started) {

        /* still parked: as before a stream that is not there */

        if (code == NGX_HTTP_MDVR_LIVE_DENIED) {
            ngx_http_mdvr_live_resume(mp4->ctx,
                ngx_mdvr_http_problem(r, NGX_HTTP_UNAUTHORIZED, reason, NULL));
        } else {
            ngx_http_mdvr_live_resume(mp4->ctx,
                                      ngx_http_mdvr_live_gone(mp4->ctx));
        }

        ngx_http_run_posted_requests(c);
        return;
    }

    if (code == NGX_HTTP_MDVR_LIVE_DENIED || c->error) {
        ngx_http_finalize_request(r, NGX_ERROR);

    } else if (mp4->busy) {
        mp4->ended = 1;                         /* when that is out */
        return;

    } else {
        ngx_http_finalize_request(r, ngx_http_send_special(r, NGX_HTTP_LAST));
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_mp4_cleanup(void *data)
{
    ngx_http_mdvr_mp4_t  *mp4 = data;

    ngx_http_mdvr_viewer_close(&mp4->viewer);

    while (mp4->n) {
        ngx_http_mdvr_blob_drop(mp4->blob[--mp4->n]);
    }
}
