/*
 * A request that waits: for the stream to start, for a part to appear.  It
 * costs its own memory and one watch; it is woken with the others that wait
 * for the same stream.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_live.h"


static void ngx_http_mdvr_live_woken(void *data);
static void ngx_http_mdvr_live_timeout(ngx_event_t *ev);
static void ngx_http_mdvr_live_cleanup(void *data);


ngx_int_t
ngx_http_mdvr_live_park(ngx_http_mdvr_live_ctx_t *ctx,
    ngx_http_mdvr_live_pt ready, ngx_msec_t ms)
{
    mdvr_rc_t            rc;
    ngx_pool_cleanup_t  *cln;
    ngx_http_request_t  *r = ctx->request;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_mdvr_live_cleanup;
    cln->data = ctx;

    rc = ngx_mdvr_bus_watch(&ctx->watch, ctx->ref, NGX_MDVR_BUS_WATCH,
                            ngx_http_mdvr_live_woken, ctx);
    if (rc != MDVR_OK) {
        return ngx_mdvr_http_verdict(r, rc, NULL);
    }

    ctx->ready = ready;
    ctx->waiting = 1;

    ctx->timer.handler = ngx_http_mdvr_live_timeout;
    ctx->timer.data = ctx;
    ctx->timer.log = r->connection->log;

    ngx_add_timer(&ctx->timer, ms);

    r->read_event_handler = ngx_http_test_reading;
    r->main->count++;

    return NGX_DONE;
}


static void
ngx_http_mdvr_live_woken(void *data)
{
    ngx_connection_t          *c;
    ngx_http_mdvr_live_ctx_t  *ctx = data;

    c = ctx->request->connection;

    ctx->ready(ctx);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_live_timeout(ngx_event_t *ev)
{
    ngx_http_mdvr_live_ctx_t  *ctx = ev->data;

    ctx->timedout = 1;

    ngx_http_mdvr_live_woken(ctx);
}


void
ngx_http_mdvr_live_resume(ngx_http_mdvr_live_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_mdvr_live_cleanup(ctx);

    ngx_http_finalize_request(ctx->request, rc);
}


static void
ngx_http_mdvr_live_cleanup(void *data)
{
    ngx_http_mdvr_live_ctx_t  *ctx = data;

    ctx->waiting = 0;
    ngx_mdvr_bus_unwatch(&ctx->watch);

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }
}
