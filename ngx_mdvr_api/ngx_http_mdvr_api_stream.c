
/*
 * GET /events/stream: the outbox as Server-Sent Events.
 *
 * A stream is a reader of mdvr.events_after(): it reads a page whenever an event
 * that it wants was published for its tenant (or after a while, when Redis is away), under
 * the caller's row security, so order, completeness and visibility are the
 * database's.  The next page is read when the client has taken the last one: a slow
 * client costs one page of memory and nobody else's time.
 *
 *   id: <event id>      Last-Event-ID (or ?after=) resumes behind it
 *   event: alarm        the topic
 *   data: {...}         the message exactly as on the WebSocket
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_stream.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "mdvr/domain/keys.h"
#include "mdvr/web/peek.h"


#define NGX_HTTP_MDVR_API_TICK       1000       /* ms */
#define NGX_HTTP_MDVR_API_HEARTBEAT  15000
#define NGX_HTTP_MDVR_API_STALLED    60000      /* client takes nothing */
#define NGX_HTTP_MDVR_API_STREAMS    500        /* per user */


typedef struct {
    ngx_http_mdvr_api_ctx_t    *ctx;
    ngx_event_t                 timer;
    ngx_str_t                   channel;
    u_char                      channel_text[MDVR_KEY_MAX];
    ngx_str_t                   last;       /* id of the newest event sent */
    u_char                      last_text[32];
    ngx_str_t                   topics;
    ngx_str_t                   device;
    ngx_msec_t                  sent;       /* last time something was sent */
    ngx_msec_t                  asked;
    unsigned                    subscribed:1;
    unsigned                    counted:1;
    unsigned                    asking:1;
    unsigned                    news:1;
    unsigned                    ready:1;    /* `last` is known */
    unsigned                    closing:1;
} ngx_http_mdvr_api_stream_t;


static void ngx_http_mdvr_api_stream_ask(ngx_http_mdvr_api_stream_t *s);


/* Positions are no events; of the others, what was asked for. */

static ngx_uint_t
ngx_http_mdvr_api_stream_wants(ngx_http_mdvr_api_stream_t *s,
    const ngx_str_t *msg)
{
    size_t      i, n;
    u_char     *p;
    mdvr_str_t  v[2];

    static const char *const  names[] = { "type", "device_id" };

    if (!mdvr_peek(mdvr_str(msg->data, msg->len), names, 2, v)
        || v[0].p == NULL
        || (v[0].len == 9 && ngx_memcmp(v[0].p, "telemetry", 9) == 0))
    {
        return 0;
    }

    if (s->device.len && v[1].p
        && (v[1].len != s->device.len
            || ngx_strncasecmp((u_char *) v[1].p, s->device.data, v[1].len)
               != 0))
    {
        return 0;
    }

    if (s->topics.len == 0) {
        return 1;
    }

    for (p = s->topics.data, n = s->topics.len; n >= v[0].len; p += i + 1) {

        for (i = 0; i < n && p[i] != ','; i++) { /* void */ }

        if (i == v[0].len && ngx_memcmp(p, v[0].p, i) == 0) {
            return 1;
        }

        if (i == n) {
            break;
        }

        n -= i + 1;
    }

    return 0;
}


static void
ngx_http_mdvr_api_stream_news(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg)
{
    ngx_http_mdvr_api_stream_t  *s = data;

    if (msg && !ngx_http_mdvr_api_stream_wants(s, msg)) {
        return;
    }

    s->news = 1;
    ngx_http_mdvr_api_stream_ask(s);
}


static void
ngx_http_mdvr_api_stream_cleanup(void *data)
{
    ngx_http_mdvr_api_stream_t  *s = data;

    if (s->timer.timer_set) {
        ngx_del_timer(&s->timer);
    }

    if (s->subscribed) {
        ngx_mdvr_redis_unsubscribe(&s->channel, ngx_http_mdvr_api_stream_news,
                                   s);
    }

    if (s->counted) {
        ngx_mdvr_user_sub(&s->ctx->principal.user);
    }
}


static void
ngx_http_mdvr_api_stream_end(ngx_http_mdvr_api_stream_t *s)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = s->ctx->request;
    c = r->connection;

    if (s->closing) {
        return;
    }

    s->closing = 1;
    ngx_http_finalize_request(r, ngx_http_send_special(r, NGX_HTTP_LAST));
    ngx_http_run_posted_requests(c);
}


/* NGX_ERROR: the request is gone */

static ngx_int_t
ngx_http_mdvr_api_stream_write(ngx_http_mdvr_api_stream_t *s, u_char *p,
    size_t len)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = s->ctx->request;
    c = r->connection;

    b = ngx_create_temp_buf(r->pool, len);
    if (b == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return NGX_ERROR;
    }

    b->last = ngx_cpymem(b->last, p, len);
    b->flush = 1;

    out.buf = b;
    out.next = NULL;

    rc = ngx_http_output_filter(r, &out);

    if (rc == NGX_ERROR) {
        s->closing = 1;
        ngx_http_finalize_request(r, NGX_ERROR);
        ngx_http_run_posted_requests(c);
        return NGX_ERROR;
    }

    s->sent = ngx_current_msec;

    return NGX_OK;
}


static void
ngx_http_mdvr_api_stream_page(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    u_char                      *buf, *p;
    size_t                       size;
    ngx_str_t                    id, topic, message;
    ngx_uint_t                   i, n;
    ngx_pool_t                  *pool;
    ngx_http_mdvr_api_stream_t  *s = data;

    s->asking = 0;

    if (s->closing) {
        return;
    }

    if (rc != MDVR_OK) {
        if (rc != MDVR_E_UNAVAILABLE && rc != MDVR_E_TIMEOUT) {
            ngx_http_mdvr_api_stream_end(s);
        }

        s->news = 1;                        /* again with the next tick */
        return;
    }

    n = ngx_mdvr_pg_nrows(rows);

    if (!s->ready) {
        id = n ? ngx_mdvr_pg_value(rows, 0, 0)
               : (ngx_str_t) ngx_string("0");
        s->last.len = ngx_min(id.len, sizeof(s->last_text));
        s->last.data = s->last_text;
        ngx_memcpy(s->last_text, id.data, s->last.len);
        s->ready = 1;
        ngx_http_mdvr_api_stream_ask(s);
        return;
    }

    if (n == 0) {
        ngx_http_mdvr_api_stream_ask(s);    /* only if there is news again */
        return;
    }

    size = 0;

    for (i = 0; i < n; i++) {
        size += ngx_mdvr_pg_value(rows, i, 2).len + 128;
    }

    pool = ngx_create_pool(ngx_min(size + 256, 65536), ngx_cycle->log);
    buf = pool ? ngx_palloc(pool, size) : NULL;

    if (buf == NULL) {
        if (pool) {
            ngx_destroy_pool(pool);
        }

        ngx_http_mdvr_api_stream_end(s);
        return;
    }

    p = buf;

    for (i = 0; i < n; i++) {
        id = ngx_mdvr_pg_value(rows, i, 0);
        topic = ngx_mdvr_pg_value(rows, i, 1);
        message = ngx_mdvr_pg_value(rows, i, 2);

        p = ngx_sprintf(p, "id: %V\nevent: %V\ndata: %V\n\n", &id, &topic,
                        &message);
    }

    s->last.len = ngx_min(id.len, sizeof(s->last_text));
    s->last.data = s->last_text;
    ngx_memcpy(s->last_text, id.data, s->last.len);
    s->news = 1;                            /* there may be another page */

    if (ngx_http_mdvr_api_stream_write(s, buf, p - buf) == NGX_OK) {
        ngx_http_mdvr_api_stream_ask(s);
    }

    ngx_destroy_pool(pool);
}


static void
ngx_http_mdvr_api_stream_ask(ngx_http_mdvr_api_stream_t *s)
{
    ngx_http_request_t        *r;
    ngx_mdvr_pg_call_t         call;
    ngx_mdvr_pg_param_t        params[3];
    ngx_http_mdvr_api_ctx_t   *ctx;

    ctx = s->ctx;
    r = ctx->request;

    if (s->asking || s->closing || (s->ready && !s->news)
        || r->buffered || r->connection->buffered)
    {
        return;
    }

    ngx_memzero(&call, sizeof(call));

    call.role = NGX_MDVR_PG_API;
    call.tenant = ctx->tenant;
    call.user_id = ctx->user;
    call.app_role = ctx->role;
    call.params = params;
    call.retry = 1;

    if (s->ready) {
        params[0] = ngx_mdvr_pg_text(&s->last);
        params[1] = ngx_mdvr_pg_text(&s->topics);
        params[2] = ngx_mdvr_pg_text(&s->device);
        call.nparams = 3;
        call.sql = "select id, topic, message::text from mdvr.events_after($1,"
                   " string_to_array($2, ','),"
                   " case when $3::uuid is not null then array[$3::uuid] end,"
                   " 100)";
    } else {
        call.sql = "select mdvr.event_position()";
    }

    s->news = 0;
    s->asked = ngx_current_msec;

    if (ngx_mdvr_pg_query(r->pool, &call, 10000, ngx_http_mdvr_api_stream_page,
                          s)
        == NGX_OK)
    {
        s->asking = 1;

    } else {
        s->news = 1;
    }
}


static void
ngx_http_mdvr_api_stream_tick(ngx_event_t *ev)
{
    mdvr_rc_t                    rc;
    ngx_http_request_t          *r;
    ngx_http_mdvr_api_stream_t  *s = ev->data;

    static u_char  beat[] = ":\n\n";
    static u_char  expired[] = "event: token_expired\ndata: {}\n\n";

    r = s->ctx->request;

    rc = ngx_mdvr_auth_recheck(&s->ctx->principal);

    if (rc != MDVR_OK || ngx_exiting || ngx_terminate) {

        if (rc == MDVR_E_EXPIRED
            && ngx_http_mdvr_api_stream_write(s, expired, sizeof(expired) - 1)
               != NGX_OK)
        {
            return;
        }

        ngx_http_mdvr_api_stream_end(s);
        return;
    }

    if (r->buffered || r->connection->buffered) {

        if (ngx_current_msec - s->sent > NGX_HTTP_MDVR_API_STALLED) {
            s->closing = 1;
            ngx_http_finalize_request(r, NGX_ERROR);
            return;
        }

    } else if (ngx_current_msec - s->sent >= NGX_HTTP_MDVR_API_HEARTBEAT) {

        if (ngx_http_mdvr_api_stream_write(s, beat, sizeof(beat) - 1)
            != NGX_OK)
        {
            return;
        }
    }

    /* what was published while Redis was away is found all the same */

    if (!ngx_mdvr_redis_up()
        || ngx_current_msec - s->asked >= NGX_HTTP_MDVR_API_HEARTBEAT)
    {
        s->news = 1;
    }

    ngx_add_timer(&s->timer, NGX_HTTP_MDVR_API_TICK);
    ngx_http_mdvr_api_stream_ask(s);
}


static void
ngx_http_mdvr_api_stream_writable(ngx_http_request_t *r)
{
    ngx_http_mdvr_api_ctx_t     *ctx;
    ngx_http_mdvr_api_stream_t  *s;

    ctx = ngx_http_get_module_ctx(r, ngx_http_mdvr_api_module);
    s = ctx->data;

    if (s->closing) {
        return;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        s->closing = 1;
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (!r->buffered && !r->connection->buffered) {
        s->sent = ngx_current_msec;
    }

    ngx_http_mdvr_api_stream_ask(s);
}


void
ngx_http_mdvr_api_events_stream(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_str_t                   *after, *topics;
    mdvr_buf_t                   b;
    ngx_http_request_t          *r;
    ngx_pool_cleanup_t          *cln;
    ngx_http_mdvr_api_stream_t  *s;

    static ngx_str_t  no_cache = ngx_string("no-store");
    static ngx_str_t  no_buffer = ngx_string("no");
    static u_char     hello[] = "retry: 2000\n\n";

    r = ctx->request;

    after = ngx_http_mdvr_api_arg(ctx, "after");

    if (after->data == NULL) {
        after = ngx_mdvr_http_find(r, "last-event-id");
    }

    if (after && after->data
        && (after->len == 0 || after->len > 31
            || after->data[0] < '0' || after->data[0] > '9'))
    {
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value", "after",
                                        "is not an event id");
        return;
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_mdvr_api_stream_t));
    if (cln == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    s = cln->data;
    ngx_memzero(s, sizeof(ngx_http_mdvr_api_stream_t));
    s->ctx = ctx;
    cln->handler = ngx_http_mdvr_api_stream_cleanup;

    if (ngx_mdvr_user_add(&ctx->principal.user, NGX_HTTP_MDVR_API_STREAMS)
        == NGX_BUSY)
    {
        ngx_mdvr_refusal("user_sockets");
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                                  "too_many_streams",
                                  "this user has too many open streams", 10);
        return;
    }

    s->counted = 1;
    ctx->data = s;

    if (after && after->data) {
        s->last.data = s->last_text;
        s->last.len = after->len;
        ngx_memcpy(s->last_text, after->data, after->len);
        s->ready = 1;
    }

    topics = ngx_http_mdvr_api_arg(ctx, "topics");
    s->topics = *topics;
    s->device = *ngx_http_mdvr_api_arg(ctx, "device_id");

    b = mdvr_buf(s->channel_text, sizeof(s->channel_text));
    mdvr_channel_event(&b, mdvr_str(ctx->tenant.data, ctx->tenant.len));
    s->channel.data = s->channel_text;
    s->channel.len = b.len;

    if (ngx_mdvr_redis_subscribe(&s->channel, ngx_http_mdvr_api_stream_news, s)
        == NGX_OK)
    {
        s->subscribed = 1;
    }

    r->headers_out.status = NGX_HTTP_OK;
    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_length_n = -1;

    (void) ngx_mdvr_http_header(r, "X-Request-Id",
                                ngx_mdvr_http_request_id(r));
    (void) ngx_mdvr_http_header(r, "Cache-Control", &no_cache);
    (void) ngx_mdvr_http_header(r, "X-Accel-Buffering", &no_buffer);

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        s->closing = 1;
        ngx_http_finalize_request(r, rc);
        return;
    }

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_mdvr_api_stream_writable;

    s->timer.handler = ngx_http_mdvr_api_stream_tick;
    s->timer.data = s;
    s->timer.log = r->connection->log;
    ngx_add_timer(&s->timer, NGX_HTTP_MDVR_API_TICK);

    if (ngx_http_mdvr_api_stream_write(s, hello, sizeof(hello) - 1) != NGX_OK) {
        return;
    }

    s->news = 1;
    ngx_http_mdvr_api_stream_ask(s);
}
