/*
 * Server-Sent Events: what an event stream is instead of a WebSocket.
 *
 * Payloads are shared by reference as those of sockets are, wait in the same
 * queue under the same rules, and go through the output filters, so that HTTP/1.1,
 * HTTP/2 and TLS are nginx's.  What the filters were given stays at the front
 * of the queue until they have sent all of it; then they are given more.
 */

#include "ngx_mdvr_ws/ngx_mdvr_ws.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"

#include "mdvr/web/peek.h"


#define NGX_MDVR_SSE_CLOSING  5000      /* ms */
#define NGX_MDVR_SSE_GIVE     32768     /* bytes for the filters at once */


struct ngx_mdvr_sse_s {
    const ngx_mdvr_ws_conf_t     *conf;
    ngx_mdvr_ws_queue_t           queue;
    ngx_msec_t                    wrote_at;
    uint32_t                      given;     /* payloads with the filters */
    unsigned                      closing:1;
    unsigned                      over:1;    /* the client knows */
    ngx_uint_t                    code;      /* that it is told */

    ngx_http_request_t           *r;
    ngx_mdvr_client_t            *client;
    off_t                         sent;      /* by the connection, last seen */
    ngx_chain_t                  *free;
    ngx_chain_t                  *busy;
    ngx_event_t                   timer;     /* of life, then of the end */
    ngx_event_t                   gather;
};


static void ngx_mdvr_sse_cleanup(void *data);
static void ngx_mdvr_sse_write(ngx_http_request_t *r);
static void ngx_mdvr_sse_timer(ngx_event_t *ev);
static void ngx_mdvr_sse_gathered(ngx_event_t *ev);
static void ngx_mdvr_sse_over(ngx_mdvr_sse_t *sse, ngx_int_t rc);
static ngx_int_t ngx_mdvr_sse_push(ngx_mdvr_sse_t *sse,
    ngx_mdvr_ws_payload_t *payload, ngx_uint_t flags);
static ngx_int_t ngx_mdvr_sse_text(ngx_mdvr_sse_t *sse, const u_char *p,
    size_t len);


ngx_mdvr_sse_t *
ngx_mdvr_sse_open(ngx_http_request_t *r, const ngx_mdvr_ws_conf_t *conf,
    ngx_mdvr_client_t *client)
{
    ngx_mdvr_sse_t      *sse;
    ngx_pool_cleanup_t  *cln;

    static const u_char  hello[] = "retry: 2000\n\n";

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_mdvr_sse_t));
    if (cln == NULL) {
        return NULL;
    }

    sse = cln->data;
    ngx_memzero(sse, sizeof(ngx_mdvr_sse_t));

    sse->conf = conf;
    sse->r = r;
    sse->client = client;
    sse->code = 1006;

    sse->timer.handler = ngx_mdvr_sse_timer;
    sse->timer.data = sse;
    sse->timer.log = r->connection->log;

    sse->gather.handler = ngx_mdvr_sse_gathered;
    sse->gather.data = sse;
    sse->gather.log = r->connection->log;

    cln->handler = ngx_mdvr_sse_cleanup;

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_mdvr_sse_write;

    if (conf->ping) {
        ngx_add_timer(&sse->timer, conf->ping);
    }

    (void) ngx_mdvr_sse_text(sse, hello, sizeof(hello) - 1);

    return sse;
}


static ngx_mdvr_sse_t *
ngx_mdvr_sse_of(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_mdvr_sse_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


/* -- payloads ------------------------------------------------------------ */

ngx_mdvr_ws_payload_t *
ngx_mdvr_sse_payload(const ngx_str_t *text)
{
    ngx_str_t    pieces[8];
    ngx_uint_t   n;
    mdvr_str_t   v[2];

    static const char *const  names[] = { "type", "id" };

    if (!mdvr_peek(mdvr_str(text->data, text->len), names, 2, v)) {
        v[0].p = NULL;
        v[1].p = NULL;
    }

    n = 0;

    /* a position is no event: who resumes does so behind the last event */

    if (v[1].p && v[0].p
        && !(v[0].len == 9 && ngx_memcmp(v[0].p, "telemetry", 9) == 0))
    {
        ngx_str_set(&pieces[n], "id: ");
        n++;
        pieces[n].data = (u_char *) v[1].p;
        pieces[n++].len = v[1].len;
        ngx_str_set(&pieces[n], "\n");
        n++;
    }

    if (v[0].p) {
        ngx_str_set(&pieces[n], "event: ");
        n++;

        /* "error" is what browsers call a lost connection */

        if (v[0].len == 5 && ngx_memcmp(v[0].p, "error", 5) == 0) {
            ngx_str_set(&pieces[n], "problem");
            n++;

        } else {
            pieces[n].data = (u_char *) v[0].p;
            pieces[n++].len = v[0].len;
        }
    }

    /* JSON of one line: that is what the database and the fronts write */

    ngx_str_set(&pieces[n], "\ndata: ");

    if (v[0].p == NULL) {
        pieces[n].data++;
        pieces[n].len--;
    }

    n++;
    pieces[n++] = *text;
    ngx_str_set(&pieces[n], "\n\n");
    n++;

    return ngx_mdvr_ws_payload_bare(pieces, n);
}


static ngx_int_t
ngx_mdvr_sse_text(ngx_mdvr_sse_t *sse, const u_char *p, size_t len)
{
    ngx_int_t               rc;
    ngx_str_t               text;
    ngx_mdvr_ws_payload_t  *payload;

    text.data = (u_char *) p;
    text.len = len;

    payload = ngx_mdvr_ws_payload_bare(&text, 1);
    if (payload == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_mdvr_sse_push(sse, payload, 0);
    ngx_mdvr_ws_payload_drop(payload);

    return rc;
}


ngx_int_t
ngx_mdvr_sse_begin(ngx_mdvr_sse_t *sse, int64_t seq)
{
    u_char  text[64], *p;

    if (seq <= 0) {
        return NGX_OK;
    }

    /* no event for the page, but the id that it comes back with */

    p = ngx_sprintf(text, "id: %L\n\n", seq);

    return ngx_mdvr_sse_text(sse, text, p - text);
}


/* -- sending ------------------------------------------------------------- */

static void
ngx_mdvr_sse_wake(ngx_mdvr_sse_t *sse, ngx_uint_t flags)
{
    ngx_event_t  *wev;

    if ((flags & NGX_MDVR_WS_GATHER) && !sse->closing
        && ngx_current_msec - sse->wrote_at < sse->conf->gather)
    {
        if (!sse->gather.timer_set) {
            ngx_add_timer(&sse->gather, sse->conf->gather);
        }

        return;
    }

    wev = sse->r->connection->write;

    if (wev->ready) {
        ngx_post_event(wev, &ngx_posted_events);
    }
}


static void
ngx_mdvr_sse_gathered(ngx_event_t *ev)
{
    ngx_mdvr_sse_t *sse = ev->data;

    ngx_mdvr_sse_wake(sse, 0);
}


static ngx_int_t
ngx_mdvr_sse_push(ngx_mdvr_sse_t *sse, ngx_mdvr_ws_payload_t *payload,
    ngx_uint_t flags)
{
    if (ngx_mdvr_ws_queue_add(&sse->queue, payload, flags) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_mdvr_sse_wake(sse, flags);

    return NGX_OK;
}


ngx_int_t
ngx_mdvr_sse_send(ngx_mdvr_sse_t *sse, ngx_mdvr_ws_payload_t *payload,
    ngx_uint_t flags)
{
    ngx_int_t  rc;

    if (sse->closing || sse->over) {
        return NGX_ERROR;
    }

    rc = ngx_mdvr_ws_queue_room(&sse->queue, payload, flags,
                                sse->conf->max_queue, sse->given);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_mdvr_count(ws_messages_total);

    return ngx_mdvr_sse_push(sse, payload, flags);
}


ngx_uint_t
ngx_mdvr_sse_dropped(ngx_mdvr_sse_t *sse)
{
    ngx_uint_t  n;

    n = sse->queue.dropped;
    sse->queue.dropped = 0;

    return n;
}


size_t
ngx_mdvr_sse_queued(const ngx_mdvr_sse_t *sse)
{
    return sse->queue.bytes;
}


/* -- writing ------------------------------------------------------------- */

/* Gives the filters what comes next; NGX_ERROR, or as they answer. */

static ngx_int_t
ngx_mdvr_sse_give(ngx_mdvr_sse_t *sse)
{
    size_t                   size;
    ngx_int_t                rc;
    ngx_str_t                pieces[2];
    ngx_uint_t               k, n;
    ngx_chain_t             *out, *cl, **ll;
    ngx_http_request_t      *r;
    ngx_mdvr_ws_payload_t   *payload;

    r = sse->r;
    out = NULL;
    cl = NULL;
    ll = &out;
    size = 0;

    while (sse->given < sse->queue.count && size < NGX_MDVR_SSE_GIVE) {

        payload = ngx_mdvr_ws_queue_at(&sse->queue, sse->given++);
        if (payload == NULL) {
            continue;
        }

        n = ngx_mdvr_ws_payload_pieces(payload, 0, pieces);

        for (k = 0; k < n; k++) {
            cl = ngx_chain_get_free_buf(r->pool, &sse->free);
            if (cl == NULL) {
                return NGX_ERROR;
            }

            ngx_memzero(cl->buf, sizeof(ngx_buf_t));
            cl->buf->tag = (ngx_buf_tag_t) &ngx_mdvr_sse_open;
            cl->buf->memory = 1;
            cl->buf->start = pieces[k].data;
            cl->buf->pos = pieces[k].data;
            cl->buf->last = pieces[k].data + pieces[k].len;
            cl->buf->end = cl->buf->last;

            size += pieces[k].len;
            *ll = cl;
            ll = &cl->next;
        }
    }

    if (out == NULL) {
        return NGX_OK;
    }

    *ll = NULL;
    cl->buf->flush = 1;

    ngx_mdvr_count_n(ws_bytes_total, size);

    rc = ngx_http_output_filter(r, out);

    ngx_chain_update_chains(r->pool, &sse->free, &sse->busy, &out,
                            (ngx_buf_tag_t) &ngx_mdvr_sse_open);

    return rc;
}


static void
ngx_mdvr_sse_write(ngx_http_request_t *r)
{
    ngx_uint_t         was;
    ngx_event_t       *wev;
    ngx_mdvr_sse_t    *sse;
    ngx_connection_t  *c;

    sse = ngx_mdvr_sse_of(r);

    if (sse == NULL || sse->over) {
        return;
    }

    c = r->connection;
    wev = c->write;

    if (wev->timedout) {
        wev->timedout = 0;
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client takes nothing");
        ngx_mdvr_sse_over(sse, NGX_ERROR);
        return;
    }

    if (sse->gather.timer_set) {
        ngx_del_timer(&sse->gather);
    }

    was = sse->queue.count;

    for ( ;; ) {

        if ((r->buffered || c->buffered)
            && ngx_http_output_filter(r, NULL) == NGX_ERROR)
        {
            ngx_mdvr_sse_over(sse, NGX_ERROR);
            return;
        }

        if (r->buffered || c->buffered) {
            break;
        }

        for ( /* void */ ; sse->given; sse->given--) {
            ngx_mdvr_ws_queue_shift(&sse->queue);
        }

        if (sse->queue.count == 0) {
            break;
        }

        sse->wrote_at = ngx_current_msec;

        if (ngx_mdvr_sse_give(sse) == NGX_ERROR) {
            ngx_mdvr_sse_over(sse, NGX_ERROR);
            return;
        }
    }

    if (r->buffered || c->buffered) {

        if (!wev->delayed && (!wev->timer_set || c->sent != sse->sent)) {
            sse->sent = c->sent;
            ngx_add_timer(wev, sse->conf->send_timeout);
        }

        if (ngx_handle_write_event(wev, 0) != NGX_OK) {
            ngx_mdvr_sse_over(sse, NGX_ERROR);
        }

        return;
    }

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    if (sse->closing) {
        ngx_mdvr_sse_over(sse, NGX_OK);
        return;
    }

    if (was) {
        ngx_mdvr_client_drained(sse->client);
    }
}


/* -- the end ------------------------------------------------------------- */

void
ngx_mdvr_sse_close(ngx_mdvr_sse_t *sse, ngx_uint_t code, const char *reason,
    ngx_uint_t drop)
{
    u_char  text[256], *p;

    if (sse->closing || sse->over) {
        return;
    }

    sse->closing = 1;
    sse->code = code;

    if (drop) {
        ngx_mdvr_ws_queue_clear(&sse->queue, sse->given);
    }

    p = ngx_snprintf(text, sizeof(text), "event: close\ndata: {\"type\":"
                     "\"close\",\"code\":%ui,\"reason\":\"%s\"}\n\n", code,
                     reason);

    (void) ngx_mdvr_sse_text(sse, text, p - text);

    ngx_add_timer(&sse->timer, NGX_MDVR_SSE_CLOSING);
}


static void
ngx_mdvr_sse_timer(ngx_event_t *ev)
{
    ngx_mdvr_sse_t      *sse;
    ngx_connection_t    *c;

    sse = ev->data;
    c = sse->r->connection;

    if (sse->closing) {
        ngx_mdvr_sse_over(sse, NGX_ERROR);
        ngx_http_run_posted_requests(c);
        return;
    }

    if (sse->queue.count == 0) {
        (void) ngx_mdvr_sse_text(sse, (u_char *) ":\n\n", 3);
    }

    ngx_add_timer(ev, sse->conf->ping);
}


static void
ngx_mdvr_sse_tell(ngx_mdvr_sse_t *sse)
{
    ngx_connection_t  *c;

    if (sse->over) {
        return;
    }

    sse->over = 1;
    c = sse->r->connection;

    if (sse->timer.timer_set) {
        ngx_del_timer(&sse->timer);
    }

    if (sse->gather.timer_set) {
        ngx_del_timer(&sse->gather);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    ngx_mdvr_client_closed(sse->client, sse->code);
}


/* Ends the request; NGX_OK: in order, all was sent. */

static void
ngx_mdvr_sse_over(ngx_mdvr_sse_t *sse, ngx_int_t rc)
{
    ngx_http_request_t  *r;

    r = sse->r;

    ngx_mdvr_sse_tell(sse);

    ngx_http_finalize_request(r, rc == NGX_OK
                                 ? ngx_http_send_special(r, NGX_HTTP_LAST)
                                 : NGX_ERROR);
}


/* With the request's pool: nobody reads from the payloads any more. */

static void
ngx_mdvr_sse_cleanup(void *data)
{
    ngx_mdvr_sse_t *sse = data;

    ngx_mdvr_sse_tell(sse);
    ngx_mdvr_ws_queue_free(&sse->queue);
}
