/*
 * ws: an init segment as one binary message, then each fragment as one; a new
 * init segment when the codec or the picture's size changes.  The reason of
 * the end is in the close frame: code 1000 when the stream was stopped, 4410
 * when it failed, 4401 when the token is no longer good; the word is one of
 * mdvr_bus_end_name(), "token_expired" or "token_revoked".
 */


#include "ngx_mdvr_api/ngx_http_mdvr_live.h"


typedef struct {
    ngx_http_mdvr_viewer_t    viewer;
    ngx_mdvr_ws_t            *ws;
} ngx_http_mdvr_live_ws_t;


static void ngx_http_mdvr_live_ws_closed(void *data, ngx_uint_t code);
static void ngx_http_mdvr_live_ws_message(void *data, ngx_uint_t binary,
    ngx_str_t *msg);
static void ngx_http_mdvr_live_ws_drained(void *data);
static size_t ngx_http_mdvr_live_ws_queued(ngx_http_mdvr_viewer_t *v);
static ngx_int_t ngx_http_mdvr_live_ws_send(ngx_http_mdvr_viewer_t *v,
    ngx_http_mdvr_blob_t *blob, ngx_uint_t init);
static ngx_int_t ngx_http_mdvr_live_ws_flush(ngx_http_mdvr_viewer_t *v);
static void ngx_http_mdvr_live_ws_end(ngx_http_mdvr_viewer_t *v,
    ngx_uint_t code, const char *reason);
static void ngx_http_mdvr_live_ws_release(void *arg);


static const ngx_http_mdvr_viewer_pt  ngx_http_mdvr_live_ws_transport = {
    ngx_http_mdvr_live_ws_queued,
    ngx_http_mdvr_live_ws_send,
    ngx_http_mdvr_live_ws_flush,
    ngx_http_mdvr_live_ws_end
};

static const ngx_mdvr_ws_handler_t  ngx_http_mdvr_live_ws_handler = {
    ngx_http_mdvr_live_ws_message,
    ngx_http_mdvr_live_ws_closed,
    ngx_http_mdvr_live_ws_drained
};


ngx_int_t
ngx_http_mdvr_live_ws(ngx_http_mdvr_live_ctx_t *ctx)
{
    mdvr_rc_t                 rc;
    ngx_int_t                 n;
    ngx_mdvr_ws_conf_t       *conf;
    ngx_http_request_t       *r = ctx->request;
    ngx_http_mdvr_viewer_t   *v;
    ngx_http_mdvr_live_ws_t  *live;

    live = ngx_pcalloc(r->pool, sizeof(ngx_http_mdvr_live_ws_t));
    conf = ngx_pcalloc(r->pool, sizeof(ngx_mdvr_ws_conf_t));

    if (live == NULL || conf == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* one frame may be larger than what is allowed to wait behind it */

    conf->max_message = 4096;
    conf->max_queue = ctx->conf->max_queue + 8 * 1024 * 1024;
    conf->ping = 30000;
    conf->send_timeout = ctx->conf->send_timeout;

    n = ngx_mdvr_ws_accept(r, conf, &ngx_http_mdvr_live_ws_handler, live,
                           &live->ws);

    if (n != NGX_DONE) {
        return n;
    }

    v = &live->viewer;

    v->transport = &ngx_http_mdvr_live_ws_transport;
    v->conf = ctx->conf;
    v->token = &ctx->token;
    v->log = r->connection->log;
    v->data = live;
    v->ref = ctx->ref;

    rc = ngx_http_mdvr_viewer_open(v);

    if (rc != MDVR_OK) {
        ngx_mdvr_ws_close(live->ws, NGX_HTTP_MDVR_LIVE_ENDED, "stopped", 1);
        return NGX_DONE;
    }

    ngx_http_mdvr_viewer_pump(v);

    return NGX_DONE;
}


static size_t
ngx_http_mdvr_live_ws_queued(ngx_http_mdvr_viewer_t *v)
{
    ngx_http_mdvr_live_ws_t  *live = v->data;

    return ngx_mdvr_ws_queued(live->ws);
}


static ngx_int_t
ngx_http_mdvr_live_ws_send(ngx_http_mdvr_viewer_t *v,
    ngx_http_mdvr_blob_t *blob, ngx_uint_t init)
{
    ngx_int_t                 rc;
    ngx_str_t                 bytes;
    ngx_mdvr_ws_payload_t    *payload;
    ngx_http_mdvr_live_ws_t  *live = v->data;

    bytes.data = blob->data;
    bytes.len = blob->len;

    payload = ngx_mdvr_ws_payload_borrow(1, &bytes,
                                         ngx_http_mdvr_live_ws_release, blob);
    if (payload == NULL) {
        ngx_http_mdvr_blob_drop(blob);
        return NGX_ERROR;
    }

    rc = ngx_mdvr_ws_send(live->ws, payload, 0);
    ngx_mdvr_ws_payload_drop(payload);

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_mdvr_live_ws_release(void *arg)
{
    ngx_http_mdvr_blob_drop(arg);
}


static ngx_int_t
ngx_http_mdvr_live_ws_flush(ngx_http_mdvr_viewer_t *v)
{
    return NGX_OK;
}


static void
ngx_http_mdvr_live_ws_drained(void *data)
{
    ngx_http_mdvr_live_ws_t  *live = data;

    ngx_http_mdvr_viewer_pump(&live->viewer);
}


static void
ngx_http_mdvr_live_ws_end(ngx_http_mdvr_viewer_t *v, ngx_uint_t code,
    const char *reason)
{
    ngx_http_mdvr_live_ws_t  *live = v->data;

    ngx_mdvr_ws_close(live->ws, code, reason,
                      code == NGX_HTTP_MDVR_LIVE_DENIED);
}


static void
ngx_http_mdvr_live_ws_closed(void *data, ngx_uint_t code)
{
    ngx_http_mdvr_live_ws_t  *live = data;

    ngx_http_mdvr_viewer_close(&live->viewer);
}


static void
ngx_http_mdvr_live_ws_message(void *data, ngx_uint_t binary, ngx_str_t *msg)
{
    /* a viewer of one stream has nothing to say */
}
