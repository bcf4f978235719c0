/*
 * What is said to a WebSocket: all of one turn of the event loop leaves in one
 * write, and what may gather waits a little for more.
 */

#include "ngx_mdvr_core/ngx_mdvr_websocket_parts.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


#define NGX_MDVR_WS_ROUND     3


static void ngx_mdvr_ws_wake(ngx_mdvr_ws_t *ws, ngx_uint_t flags);
static void ngx_mdvr_ws_gather_handler(ngx_event_t *ev);


/*
 * What was written to a short while ago gathers: one timer for all of them.
 * A round of writes may take one part of NGX_MDVR_WS_ROUND of the time: to
 * many sockets rounds are rarer, up to 5 * gather.
 */

static ngx_queue_t       ngx_mdvr_ws_gathered;
static ngx_msec_t        ngx_mdvr_ws_round;
static ngx_event_t       ngx_mdvr_ws_gather_timer;
static ngx_connection_t  ngx_mdvr_ws_gather_dummy;


ngx_int_t
ngx_mdvr_ws_push(ngx_mdvr_ws_t *ws, ngx_mdvr_ws_payload_t *payload,
    ngx_uint_t flags)
{
    if (ngx_mdvr_ws_queue_add(&ws->queue, payload, flags) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_mdvr_ws_wake(ws, flags);

    return NGX_OK;
}


/*
 * All that comes in this turn leaves in one write; so does what may gather and
 * comes soon after the last write.
 */

static void
ngx_mdvr_ws_wake(ngx_mdvr_ws_t *ws, ngx_uint_t flags)
{
    ngx_msec_t    wait;
    ngx_event_t  *wev;

    if (ws->gathering && (flags & NGX_MDVR_WS_GATHER)) {
        return;
    }

    wait = ws->conf->gather;

    if (wait) {
        wait = ngx_max(wait, ngx_mdvr_ws_round);
    }

    if (!(flags & NGX_MDVR_WS_GATHER) || ws->state != ws_open
        || ngx_current_msec - ws->wrote_at >= wait)
    {
        wev = ws->c->write;

        if (wev->ready) {
            ngx_post_event(wev, &ngx_posted_events);
        }

        return;
    }

    if (ngx_mdvr_ws_gather_timer.handler == NULL) {
        ngx_queue_init(&ngx_mdvr_ws_gathered);
        ngx_mdvr_ws_gather_dummy.fd = (ngx_socket_t) -1;
        ngx_mdvr_ws_gather_timer.handler = ngx_mdvr_ws_gather_handler;
        ngx_mdvr_ws_gather_timer.data = &ngx_mdvr_ws_gather_dummy;
        ngx_mdvr_ws_gather_timer.log = ngx_cycle->log;
    }

    ngx_queue_insert_tail(&ngx_mdvr_ws_gathered, &ws->gather);
    ws->gathering = 1;

    if (!ngx_mdvr_ws_gather_timer.timer_set) {
        ngx_add_timer(&ngx_mdvr_ws_gather_timer, wait);
    }
}


/* CPU time of this process, microseconds */

static ngx_msec_t
ngx_mdvr_ws_spent(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


static void
ngx_mdvr_ws_gather_handler(ngx_event_t *ev)
{
    ngx_msec_t           start, most;
    ngx_queue_t          round, *q;
    ngx_mdvr_ws_t       *ws;
    ngx_http_request_t  *r;
    ngx_connection_t    *c;

    if (ngx_queue_empty(&ngx_mdvr_ws_gathered)) {
        return;
    }

    /* what is said meanwhile, in answer to a write, is for the next one */

    ngx_queue_init(&round);
    ngx_queue_add(&round, &ngx_mdvr_ws_gathered);
    ngx_queue_init(&ngx_mdvr_ws_gathered);

    start = ngx_mdvr_ws_spent();
    most = 0;

    while (!ngx_queue_empty(&round)) {
        q = ngx_queue_head(&round);
        ws = ngx_queue_data(q, ngx_mdvr_ws_t, gather);

        ngx_queue_remove(q);
        ws->gathering = 0;
        most = ngx_max(most, 5 * ws->conf->gather);

        c = ws->c;
        r = ws->r;
        ngx_mdvr_ws_output(ws);

        if (r) {
            ngx_http_run_posted_requests(c);
        }
    }

    ngx_mdvr_ws_round = ngx_min(most, NGX_MDVR_WS_ROUND
                                      * (ngx_mdvr_ws_spent() - start) / 1000);
}


ngx_int_t
ngx_mdvr_ws_send(ngx_mdvr_ws_t *ws, ngx_mdvr_ws_payload_t *payload,
    ngx_uint_t flags)
{
    ngx_int_t  rc;

    if (ws->state != ws_open) {
        return NGX_ERROR;
    }

    if (ws->deflate) {
        payload = ngx_mdvr_ws_payload_packed(payload, ws->conf->deflate_min);
    }

    rc = ngx_mdvr_ws_queue_room(&ws->queue, payload, flags,
                                ws->conf->max_queue, ws->queue.sent ? 1 : 0);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_mdvr_count(ws_messages_total);

    return ngx_mdvr_ws_push(ws, payload, flags);
}


ngx_uint_t
ngx_mdvr_ws_dropped(ngx_mdvr_ws_t *ws)
{
    ngx_uint_t  n;

    n = ws->queue.dropped;
    ws->queue.dropped = 0;

    return n;
}


size_t
ngx_mdvr_ws_queued(const ngx_mdvr_ws_t *ws)
{
    return ws->queue.bytes;
}


void
ngx_mdvr_ws_output(ngx_mdvr_ws_t *ws)
{
    size_t                   skip, n, total;
    uint32_t                 i, before;
    ngx_buf_t               *b;
    ngx_str_t                pieces[2];
    ngx_uint_t               nbuf, was, k, m;
    ngx_event_t             *wev;
    ngx_chain_t             *left;
    ngx_connection_t        *c;
    ngx_mdvr_ws_payload_t   *payload;
    static u_char           *start[NGX_MDVR_WS_IOV];
    static ngx_buf_t         bufs[NGX_MDVR_WS_IOV];
    static ngx_chain_t       chain[NGX_MDVR_WS_IOV];

    c = ws->c;
    wev = c->write;

    if (wev->timedout) {
        wev->timedout = 0;
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client takes nothing");
        ngx_mdvr_ws_over(ws, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (ws->gathering) {
        ngx_queue_remove(&ws->gather);
        ws->gathering = 0;
    }

    was = ws->queue.count;
    total = 0;
    ws->wrote_at = was ? ngx_current_msec : ws->wrote_at;

    while (ws->queue.count && wev->ready) {

        /* as much as one writev() takes */

        nbuf = 0;
        skip = ws->queue.sent;

        for (i = 0; i < ws->queue.count && nbuf + 2 <= NGX_MDVR_WS_IOV; i++) {

            payload = ngx_mdvr_ws_queue_at(&ws->queue, i);

            if (payload == NULL) {
                continue;
            }

            m = ngx_mdvr_ws_payload_pieces(payload, skip, pieces);

            for (k = 0; k < m; k++) {
                b = &bufs[nbuf];
                ngx_memzero(b, sizeof(ngx_buf_t));
                b->pos = pieces[k].data;
                b->last = b->pos + pieces[k].len;
                b->memory = 1;
                start[nbuf] = b->pos;
                chain[nbuf].buf = b;
                chain[nbuf].next = &chain[nbuf + 1];
                nbuf++;
            }

            skip = 0;
        }

        if (nbuf) {
            chain[nbuf - 1].next = NULL;
            bufs[nbuf - 1].flush = 1;       /* TLS: into one record */

            left = c->send_chain(c, chain, 0);

            if (left == NGX_CHAIN_ERROR) {
                ngx_mdvr_ws_over(ws, NGX_ERROR);
                return;
            }
        }

        /* TLS takes bytes without sending them: c->sent does not tell */

        for (n = 0, k = 0; k < nbuf; k++) {
            n += bufs[k].pos - start[k];
        }

        total += n;
        i = (nbuf && n == 0);

        before = ws->queue.count;
        ngx_mdvr_ws_queue_written(&ws->queue, n);

        if (ws->queue.count < before) {
            ws->greeted = 1;
        }

        if (i) {
            break;
        }
    }

    ngx_mdvr_count_n(ws_bytes_total, total);

    if (ws->queue.count == 0 && c->buffered) {

        /* TLS holds a record that the socket did not take */

        if (c->send_chain(c, NULL, 0) == NGX_CHAIN_ERROR) {
            ngx_mdvr_ws_over(ws, NGX_ERROR);
            return;
        }
    }

    if (ws->queue.count || c->buffered) {

        if (!wev->timer_set || total) {
            ngx_add_timer(wev, ws->conf->send_timeout);
        }

    } else if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    if (ngx_handle_write_event(wev, 0) != NGX_OK) {
        ngx_mdvr_ws_over(ws, NGX_ERROR);
        return;
    }

    if (ws->queue.count || c->buffered) {
        return;
    }

    if (ws->state == ws_closing) {
        if (ws->close_seen || ws->broken) {
            ngx_mdvr_ws_over(ws, NGX_OK);
        }

        return;
    }

    if (was && ws->handler->drained) {
        ws->handler->drained(ws->data);
    }
}
