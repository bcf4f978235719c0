/*
 * WebSocket over an nginx HTTP/1.1 request.
 *
 * The 101 answer and all frames go through one queue of payloads and are
 * written with c->send_chain(), not through the output filters: nothing may
 * compress, buffer or range a stream of frames.  Reading goes through one
 * scratch buffer of the worker; a socket owns memory for a message only while
 * one is incomplete.
 *
 * States: open; closing (a close frame is the last thing in the queue, or
 * was sent; at most 5 s); lingering (a detached socket waits for the peer's
 * end, so that our close frame is not lost in a reset); over.
 *
 * A detached socket has given its request back, with the kilobytes that nginx
 * keeps for one: after the 101 it lives on the bare connection.
 */

#include "ngx_mdvr_core/ngx_mdvr_websocket_parts.h"
#include "ngx_mdvr_core/ngx_mdvr_http.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"



#define NGX_MDVR_WS_SCRATCH   65536
#define NGX_MDVR_WS_TURNS     8         /* reads per event */
#define NGX_MDVR_WS_IOV       64
#define NGX_MDVR_WS_CLOSING   5000      /* ms */
#define NGX_MDVR_WS_LINGER    2000
#define NGX_MDVR_WS_QUEUE     4         /* first size, a power of two */
#define NGX_MDVR_WS_ROUND     3
#define NGX_MDVR_WS_OVERHEAD  32        /* a queued payload counts so much more */


/* the lowest bit of the pointer: droppable */

typedef uintptr_t  ngx_mdvr_ws_item_t;

#define ngx_mdvr_ws_item(p, flags)                                            \
    ((uintptr_t) (p) | ((flags) & NGX_MDVR_WS_DROPPABLE))
#define ngx_mdvr_ws_item_payload(i)                                           \
    ((ngx_mdvr_ws_payload_t *) ((i) & ~(uintptr_t) 1))
#define ngx_mdvr_ws_item_droppable(i)  ((i) & 1)


typedef enum {
    ws_open = 0,
    ws_closing,
    ws_lingering,
    ws_over
} ngx_mdvr_ws_state_e;


struct ngx_mdvr_ws_s {

    /* what a delivery looks at, in one cache line */

    const ngx_mdvr_ws_conf_t     *conf;
    ngx_mdvr_ws_item_t           *queue;     /* a ring; zeros were dropped */
    uint32_t                      size;      /* a power of two */
    uint32_t                      first;
    uint32_t                      count;
    uint32_t                      droppable; /* in the queue */
    size_t                        queued;    /* bytes, overhead included */
    ngx_msec_t                    wrote_at;
    uint32_t                      dropped;
    uint16_t                      code;      /* what `closed` is told */
    uint8_t                       state;     /* ngx_mdvr_ws_state_e */
    unsigned                      gathering:1;   /* is in the list */
    unsigned                      greeted:1; /* the 101 answer is out */
    unsigned                      pinged:1;
    unsigned                      close_sent:1;
    unsigned                      close_seen:1;
    unsigned                      broken:1;  /* nothing more can be read */
    unsigned                      detach:1;
    unsigned                      deflate:1; /* was agreed on */

    ngx_queue_t                   gather;    /* sockets that wait to write */
    ngx_connection_t             *c;
    ngx_http_request_t           *r;         /* NULL once detached */
    const ngx_mdvr_ws_handler_t  *handler;
    void                         *data;
    size_t                        sent;      /* of the first payload */

    u_char                       *message;   /* pieces so far */
    size_t                        length;
    size_t                        capacity;

    ngx_event_t                   timer;

    mdvr_ws_t                     parser;
};


static void ngx_mdvr_ws_cleanup(void *data);
static void ngx_mdvr_ws_read(ngx_http_request_t *r);
static void ngx_mdvr_ws_write(ngx_http_request_t *r);
static ngx_uint_t ngx_mdvr_ws_detach(ngx_mdvr_ws_t *ws);
static void ngx_mdvr_ws_event(ngx_event_t *ev);
static void ngx_mdvr_ws_output(ngx_mdvr_ws_t *ws);
static void ngx_mdvr_ws_receive(ngx_mdvr_ws_t *ws);
static void ngx_mdvr_ws_input(ngx_mdvr_ws_t *ws, u_char *p, size_t len);
static void ngx_mdvr_ws_piece(ngx_mdvr_ws_t *ws, const mdvr_ws_event_t *ev);
static void ngx_mdvr_ws_unpack(ngx_mdvr_ws_t *ws, ngx_uint_t opcode,
    ngx_str_t *packed);
static void ngx_mdvr_ws_control(ngx_mdvr_ws_t *ws, const mdvr_ws_event_t *ev);
static ngx_int_t ngx_mdvr_ws_push(ngx_mdvr_ws_t *ws,
    ngx_mdvr_ws_payload_t *payload, ngx_uint_t flags);
static void ngx_mdvr_ws_wake(ngx_mdvr_ws_t *ws, ngx_uint_t flags);
static void ngx_mdvr_ws_gather_handler(ngx_event_t *ev);
static void ngx_mdvr_ws_say_close(ngx_mdvr_ws_t *ws, ngx_uint_t code,
    const char *reason);
static void ngx_mdvr_ws_timer(ngx_event_t *ev);
static void ngx_mdvr_ws_over(ngx_mdvr_ws_t *ws, ngx_int_t rc);
static void ngx_mdvr_ws_tell(ngx_mdvr_ws_t *ws);
static void ngx_mdvr_ws_behind(ngx_mdvr_ws_t *ws);


static u_char            ngx_mdvr_ws_scratch[NGX_MDVR_WS_SCRATCH];

/*
 * What was written to a short while ago gathers: one timer for all of them.
 * A round of writes may take one part of NGX_MDVR_WS_ROUND of the time: to
 * many sockets rounds are rarer, up to 5 * gather.
 */

static ngx_queue_t       ngx_mdvr_ws_gathered;
static ngx_msec_t        ngx_mdvr_ws_round;
static ngx_event_t       ngx_mdvr_ws_gather_timer;
static ngx_connection_t  ngx_mdvr_ws_gather_dummy;


/* -- the beginning ------------------------------------------------------- */

ngx_int_t
ngx_mdvr_ws_accept(ngx_http_request_t *r, const ngx_mdvr_ws_conf_t *conf,
    const ngx_mdvr_ws_handler_t *handler, void *data, ngx_mdvr_ws_t **out)
{
    int                     one;
    ngx_int_t               rc;
    ngx_uint_t              deflate;
    ngx_mdvr_ws_t          *ws;
    ngx_connection_t       *c;
    ngx_pool_cleanup_t     *cln;
    ngx_mdvr_ws_payload_t  *answer;

    rc = ngx_mdvr_ws_handshake(r, conf, &answer, &deflate);

    if (rc != NGX_OK) {
        return rc;
    }

    c = r->connection;

    ws = ngx_calloc(sizeof(ngx_mdvr_ws_t), c->log);
    cln = ngx_pool_cleanup_add(r->pool, 0);

    if (ws == NULL || cln == NULL) {
        if (ws) {
            ngx_free(ws);
        }

        ngx_mdvr_ws_payload_drop(answer);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ws->c = c;
    ws->r = r;
    ws->detach = conf->detach;
    ws->conf = conf;
    ws->handler = handler;
    ws->data = data;
    ws->code = 1006;

    mdvr_ws_init(&ws->parser, true, conf->max_message);

    ws->deflate = deflate;
    ws->parser.deflate = deflate;

    ws->timer.handler = ngx_mdvr_ws_timer;
    ws->timer.data = ws;
    ws->timer.log = c->log;

    cln->handler = ngx_mdvr_ws_cleanup;
    cln->data = ws;

    rc = ngx_mdvr_ws_push(ws, answer, 0);
    ngx_mdvr_ws_payload_drop(answer);

    if (rc != NGX_OK) {
        ws->handler = NULL;
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (conf->ping) {
        ngx_add_timer(&ws->timer, conf->ping);
    }

    if (c->type == SOCK_STREAM && r->connection->tcp_nodelay
                                  == NGX_TCP_NODELAY_UNSET)
    {
        one = 1;
        (void) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(int));
        c->tcp_nodelay = NGX_TCP_NODELAY_SET;
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    r->main->count++;
    r->keepalive = 0;
    r->header_sent = 1;
    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    r->read_event_handler = ngx_mdvr_ws_read;
    r->write_event_handler = ngx_mdvr_ws_write;

    c->log->action = "talking to a WebSocket client";

    *out = ws;

    /* what the client sent behind its request, and what came since */

    ngx_post_event(c->read, &ngx_posted_events);

    return NGX_DONE;
}


ngx_http_request_t *
ngx_mdvr_ws_request(ngx_mdvr_ws_t *ws)
{
    return ws->r;
}


ngx_connection_t *
ngx_mdvr_ws_connection(ngx_mdvr_ws_t *ws)
{
    return ws->c;
}


/* -- the queue ----------------------------------------------------------- */

static size_t
ngx_mdvr_ws_cost(const ngx_mdvr_ws_payload_t *payload)
{
    return payload->head + payload->len + NGX_MDVR_WS_OVERHEAD;
}


static ngx_int_t
ngx_mdvr_ws_push(ngx_mdvr_ws_t *ws, ngx_mdvr_ws_payload_t *payload,
    ngx_uint_t flags)
{
    uint32_t             i, size;
    ngx_mdvr_ws_item_t  *queue;

    if (ws->count == ws->size) {
        size = ws->size ? ws->size * 2 : NGX_MDVR_WS_QUEUE;

        queue = ngx_alloc(size * sizeof(ngx_mdvr_ws_item_t), ngx_cycle->log);
        if (queue == NULL) {
            return NGX_ERROR;
        }

        for (i = 0; i < ws->count; i++) {
            queue[i] = ws->queue[(ws->first + i) & (ws->size - 1)];
        }

        if (ws->queue) {
            ngx_free(ws->queue);
        }

        ws->queue = queue;
        ws->size = size;
        ws->first = 0;
    }

    ngx_mdvr_ws_payload_hold(payload);

    ws->queue[(ws->first + ws->count) & (ws->size - 1)]
        = ngx_mdvr_ws_item(payload, flags);
    ws->count++;
    ws->queued += ngx_mdvr_ws_cost(payload);
    ws->droppable += (flags & NGX_MDVR_WS_DROPPABLE);

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


static void
ngx_mdvr_ws_forget(ngx_mdvr_ws_t *ws, uint32_t at)
{
    ngx_mdvr_ws_item_t      item;
    ngx_mdvr_ws_payload_t  *payload;

    item = ws->queue[at];
    ws->queue[at] = 0;

    payload = ngx_mdvr_ws_item_payload(item);

    if (payload) {
        ws->queued -= ngx_mdvr_ws_cost(payload);
        ws->droppable -= ngx_mdvr_ws_item_droppable(item);
        ngx_mdvr_ws_payload_drop(payload);
    }
}


static void
ngx_mdvr_ws_shift(ngx_mdvr_ws_t *ws)
{
    ngx_mdvr_ws_forget(ws, ws->first);

    ws->first = (ws->first + 1) & (ws->size - 1);
    ws->count--;
    ws->sent = 0;
    ws->greeted = 1;

    if (ws->count == 0 && ws->size > NGX_MDVR_WS_QUEUE) {
        ngx_free(ws->queue);
        ws->queue = NULL;
        ws->size = 0;
        ws->first = 0;
    }
}


/* Drops the oldest droppable payloads until `need` more bytes fit. */

static void
ngx_mdvr_ws_make_room(ngx_mdvr_ws_t *ws, size_t need)
{
    uint32_t  i, at;

    for (i = (ws->sent ? 1 : 0);
         i < ws->count && ws->droppable
         && ws->queued + need > ws->conf->max_queue;
         i++)
    {
        at = (ws->first + i) & (ws->size - 1);

        if (ngx_mdvr_ws_item_droppable(ws->queue[at])) {
            ngx_mdvr_ws_forget(ws, at);
            ws->dropped++;
            ngx_mdvr_count(ws_dropped_total);
        }
    }
}


ngx_int_t
ngx_mdvr_ws_send(ngx_mdvr_ws_t *ws, ngx_mdvr_ws_payload_t *payload,
    ngx_uint_t flags)
{
    size_t  need;

    if (ws->state != ws_open) {
        return NGX_ERROR;
    }

    if (ws->deflate) {
        payload = ngx_mdvr_ws_payload_packed(payload, ws->conf->deflate_min);
    }

    need = ngx_mdvr_ws_cost(payload);

    if (ws->queued + need > ws->conf->max_queue) {

        ngx_mdvr_ws_make_room(ws, need);

        if (ws->queued + need > ws->conf->max_queue) {

            if (flags & NGX_MDVR_WS_DROPPABLE) {
                ws->dropped++;
                ngx_mdvr_count(ws_dropped_total);
                return NGX_DECLINED;
            }

            return NGX_BUSY;
        }
    }

    ngx_mdvr_count(ws_messages_total);

    return ngx_mdvr_ws_push(ws, payload, flags);
}


ngx_uint_t
ngx_mdvr_ws_dropped(ngx_mdvr_ws_t *ws)
{
    ngx_uint_t  n;

    n = ws->dropped;
    ws->dropped = 0;

    return n;
}


size_t
ngx_mdvr_ws_queued(const ngx_mdvr_ws_t *ws)
{
    return ws->queued;
}


/* -- writing ------------------------------------------------------------- */

static ngx_mdvr_ws_t *
ngx_mdvr_ws_of(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_mdvr_ws_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_mdvr_ws_write(ngx_http_request_t *r)
{
    ngx_mdvr_ws_t  *ws;

    ws = ngx_mdvr_ws_of(r);

    if (ws && !(ws->detach && ngx_mdvr_ws_detach(ws))) {
        ngx_mdvr_ws_output(ws);
    }
}


static void
ngx_mdvr_ws_output(ngx_mdvr_ws_t *ws)
{
    size_t                   skip, n, total;
    uint32_t                 i;
    ngx_buf_t               *b;
    ngx_uint_t               nbuf, was, k;
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

    was = ws->count;
    total = 0;
    ws->wrote_at = was ? ngx_current_msec : ws->wrote_at;

    while (ws->count && wev->ready) {

        /* as much as one writev() takes */

        nbuf = 0;
        skip = ws->sent;

        for (i = 0; i < ws->count && nbuf + 2 <= NGX_MDVR_WS_IOV; i++) {

            payload = ngx_mdvr_ws_item_payload(
                          ws->queue[(ws->first + i) & (ws->size - 1)]);
            if (payload == NULL) {
                continue;
            }

            if (payload->head > skip) {
                b = &bufs[nbuf];
                ngx_memzero(b, sizeof(ngx_buf_t));
                b->pos = payload->header + skip;
                b->last = payload->header + payload->head;
                b->memory = 1;
                start[nbuf] = b->pos;
                chain[nbuf].buf = b;
                chain[nbuf].next = &chain[nbuf + 1];
                nbuf++;
                skip = payload->head;
            }

            if (payload->head + payload->len > skip) {
                b = &bufs[nbuf];
                ngx_memzero(b, sizeof(ngx_buf_t));
                b->pos = payload->bytes + skip - payload->head;
                b->last = payload->bytes + payload->len;
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

        /* what was dropped is shifted with what was written */

        while (ws->count) {
            payload = ngx_mdvr_ws_item_payload(ws->queue[ws->first]);

            if (payload) {
                skip = payload->head + payload->len - ws->sent;

                if (n < skip) {
                    ws->sent += n;
                    break;
                }

                n -= skip;
            }

            ngx_mdvr_ws_shift(ws);
        }

        if (i) {
            break;
        }
    }

    ngx_mdvr_count_n(ws_bytes_total, total);

    if (ws->count == 0 && c->buffered) {

        /* TLS holds a record that the socket did not take */

        if (c->send_chain(c, NULL, 0) == NGX_CHAIN_ERROR) {
            ngx_mdvr_ws_over(ws, NGX_ERROR);
            return;
        }
    }

    if (ws->count || c->buffered) {

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

    if (ws->count || c->buffered) {
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


/* -- reading ------------------------------------------------------------- */

static void
ngx_mdvr_ws_read(ngx_http_request_t *r)
{
    ngx_mdvr_ws_t  *ws;

    ws = ngx_mdvr_ws_of(r);

    if (ws == NULL || (ws->detach && ngx_mdvr_ws_detach(ws))) {
        return;
    }

    ngx_mdvr_ws_behind(ws);
    ngx_mdvr_ws_receive(ws);
}


/* What came behind the request's header. */

static void
ngx_mdvr_ws_behind(ngx_mdvr_ws_t *ws)
{
    size_t      len;
    ngx_buf_t  *b;

    b = ws->r->header_in;
    len = b->last - b->pos;

    if (len) {
        b->pos = b->last;
        ngx_mdvr_ws_input(ws, b->last - len, len);
    }
}


/*
 * Gives the request back.  Its log line is written now; the connection stays
 * marked as destroyed, which keeps nginx from looking for a request on it.
 * Zero: it cannot be done yet.
 */

static ngx_uint_t
ngx_mdvr_ws_detach(ngx_mdvr_ws_t *ws)
{
    ngx_buf_t            *b;
    ngx_connection_t     *c;
    ngx_pool_cleanup_t   *cln;
    ngx_http_request_t   *r;

    r = ws->r;
    c = ws->c;

    if (r->main->count != 1) {
        return 0;
    }

    ngx_mdvr_ws_behind(ws);

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_mdvr_ws_cleanup) {
            cln->handler = NULL;
        }
    }

    ws->detach = 0;
    ws->r = NULL;

    ngx_http_free_request(r, 0);

    b = c->buffer;

    if (b && ngx_pfree(c->pool, b->start) == NGX_OK) {
        b->start = NULL;
        b->pos = NULL;
        b->last = NULL;
        b->end = NULL;
    }

    c->data = ws;
    c->log->action = "talking to a WebSocket client";
    c->read->handler = ngx_mdvr_ws_event;
    c->write->handler = ngx_mdvr_ws_event;

    ngx_post_event(c->read, &ngx_posted_events);
    ngx_post_event(c->write, &ngx_posted_events);

    return 1;
}


static void
ngx_mdvr_ws_event(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    if (ev->write) {
        ngx_mdvr_ws_output(c->data);

    } else {
        ngx_mdvr_ws_receive(c->data);
    }
}


static void
ngx_mdvr_ws_receive(ngx_mdvr_ws_t *ws)
{
    ssize_t            n;
    ngx_uint_t         turns;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = ws->c;
    rev = c->read;

    for (turns = 0; turns < NGX_MDVR_WS_TURNS; turns++) {

        n = c->recv(c, ngx_mdvr_ws_scratch, NGX_MDVR_WS_SCRATCH);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            rev->eof = 1;
            ngx_mdvr_ws_over(ws, n == 0 && ws->close_seen ? NGX_OK
                                                          : NGX_ERROR);
            return;
        }

        if (ws->state == ws_lingering) {
            continue;
        }

        ngx_mdvr_ws_input(ws, ngx_mdvr_ws_scratch, n);
    }

    if (turns == NGX_MDVR_WS_TURNS) {
        ngx_post_event(rev, &ngx_posted_next_events);
        return;
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_mdvr_ws_over(ws, NGX_ERROR);
    }
}


static void
ngx_mdvr_ws_input(ngx_mdvr_ws_t *ws, u_char *p, size_t len)
{
    size_t           used;
    mdvr_rc_t        rc;
    mdvr_ws_event_t  ev;

    ws->pinged = 0;                     /* whatever it is, the peer lives */

    while (!ws->close_seen && !ws->broken) {

        rc = mdvr_ws_parse(&ws->parser, p, len, &used, &ev);

        p += used;
        len -= used;

        switch (rc) {

        case MDVR_OK:
            if (ev.opcode == MDVR_WS_TEXT || ev.opcode == MDVR_WS_BINARY) {
                ngx_mdvr_ws_piece(ws, &ev);

            } else {
                ngx_mdvr_ws_control(ws, &ev);
            }

            continue;

        case MDVR_AGAIN:
            return;

        case MDVR_E_LIMIT:
            ngx_mdvr_refusal("ws_too_long");
            ws->broken = 1;
            ngx_mdvr_ws_close(ws, 1009, "message too long", 1);
            return;

        case MDVR_E_INVALID:
            ngx_mdvr_refusal("ws_utf8");
            ws->broken = 1;
            ngx_mdvr_ws_close(ws, 1007, "not UTF-8", 1);
            return;

        default:
            ngx_mdvr_refusal("ws_protocol");
            ws->broken = 1;
            ngx_mdvr_ws_close(ws, 1002, "protocol error", 1);
            return;
        }
    }

    /* what comes behind a close is read and ignored */
}


/* Adds to what has come of a message; NGX_ERROR: no memory. */

static ngx_int_t
ngx_mdvr_ws_keep(ngx_mdvr_ws_t *ws, const mdvr_str_t *data)
{
    size_t   size;
    u_char  *p;

    if (ws->length + data->len > ws->capacity) {
        size = ngx_max(ws->capacity, 256);

        while (size < ws->length + data->len) {
            size *= 2;
        }

        p = ngx_alloc(size, ngx_cycle->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (ws->message) {
            ngx_memcpy(p, ws->message, ws->length);
            ngx_free(ws->message);
        }

        ws->message = p;
        ws->capacity = size;
    }

    ngx_memcpy(ws->message + ws->length, data->p, data->len);
    ws->length += data->len;

    return NGX_OK;
}


static void
ngx_mdvr_ws_piece(ngx_mdvr_ws_t *ws, const mdvr_ws_event_t *ev)
{
    ngx_str_t  msg;

    if (ws->state != ws_open) {
        return;
    }

    msg.data = (u_char *) ev->data.p;
    msg.len = ev->data.len;

    if (!ev->last || ws->length) {

        if (ngx_mdvr_ws_keep(ws, &ev->data) != NGX_OK) {
            ngx_mdvr_ws_close(ws, 1011, "no memory", 1);
            return;
        }

        msg.data = ws->message;
        msg.len = ws->length;
    }

    if (!ev->last) {
        return;
    }

    if (ev->packed) {
        ngx_mdvr_ws_unpack(ws, ev->opcode, &msg);

    } else {
        ws->handler->message(ws->data, ev->opcode == MDVR_WS_BINARY, &msg);
    }

    ws->length = 0;

    if (ws->message) {
        ngx_free(ws->message);
        ws->message = NULL;
        ws->capacity = 0;
    }
}


static void
ngx_mdvr_ws_unpack(ngx_mdvr_ws_t *ws, ngx_uint_t opcode, ngx_str_t *packed)
{
    ngx_str_t  msg;

    switch (ngx_mdvr_ws_inflate(packed, ws->conf->max_message, &msg)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        ngx_mdvr_refusal("ws_too_long");
        ws->broken = 1;
        ngx_mdvr_ws_close(ws, 1009, "message too long", 1);
        return;

    case NGX_ABORT:
        ngx_mdvr_refusal("ws_deflate");
        ws->broken = 1;
        ngx_mdvr_ws_close(ws, 1007, "not deflated data", 1);
        return;

    default:
        ngx_mdvr_ws_close(ws, 1011, "no memory", 1);
        return;
    }

    if (opcode == MDVR_WS_TEXT && !mdvr_ws_utf8(mdvr_str(msg.data, msg.len)))
    {
        ngx_mdvr_refusal("ws_utf8");
        ws->broken = 1;
        ngx_mdvr_ws_close(ws, 1007, "not UTF-8", 1);

    } else {
        ws->handler->message(ws->data, opcode == MDVR_WS_BINARY, &msg);
    }

    ngx_free(msg.data);
}


static void
ngx_mdvr_ws_control(ngx_mdvr_ws_t *ws, const mdvr_ws_event_t *ev)
{
    unsigned                code;
    ngx_str_t               piece;
    mdvr_rc_t               rc;
    mdvr_str_t              reason;
    ngx_mdvr_ws_payload_t  *pong;

    switch (ev->opcode) {

    case MDVR_WS_PING:
        if (ws->state != ws_open || ws->close_sent) {
            return;
        }

        piece.data = (u_char *) ev->data.p;
        piece.len = ev->data.len;

        pong = ngx_mdvr_ws_payload_frame(MDVR_WS_PONG, &piece, 1);

        if (pong) {

            /* it counts: who floods pings and reads nothing is closed */

            if (ws->queued + ngx_mdvr_ws_cost(pong) > ws->conf->max_queue) {
                ngx_mdvr_ws_close(ws, 1008, "too much unread", 1);

            } else {
                (void) ngx_mdvr_ws_push(ws, pong, 0);
            }

            ngx_mdvr_ws_payload_drop(pong);
        }

        return;

    case MDVR_WS_CLOSE:
        ws->close_seen = 1;

        rc = mdvr_ws_close_read(ev->data, &code, &reason);

        if (rc != MDVR_OK) {
            ngx_mdvr_ws_close(ws, rc == MDVR_E_INVALID ? 1007 : 1002,
                              "malformed close", 1);
            return;
        }

        if (ws->state == ws_open) {
            ngx_mdvr_ws_close(ws, code == 1005 ? 1000 : code, NULL, 1);
            ws->code = (uint16_t) code;
            return;
        }

        if (ws->close_sent && ws->count == 0) {
            ngx_post_event(ws->c->write, &ngx_posted_events);
        }

        return;

    default:                            /* a pong: the peer lives */
        return;
    }
}


/* -- the end ------------------------------------------------------------- */

static void
ngx_mdvr_ws_say_close(ngx_mdvr_ws_t *ws, ngx_uint_t code, const char *reason)
{
    u_char                  status[2];
    ngx_str_t               pieces[2];
    ngx_mdvr_ws_payload_t  *payload;

    ws->close_sent = 1;

    status[0] = (u_char) (code >> 8);
    status[1] = (u_char) code;

    pieces[0].data = status;
    pieces[0].len = 2;
    pieces[1].data = (u_char *) (reason ? reason : "");
    pieces[1].len = ngx_min(ngx_strlen(pieces[1].data), 123);

    payload = ngx_mdvr_ws_payload_frame(MDVR_WS_CLOSE, pieces, 2);

    if (payload) {
        (void) ngx_mdvr_ws_push(ws, payload, 0);
        ngx_mdvr_ws_payload_drop(payload);
    }
}


void
ngx_mdvr_ws_close(ngx_mdvr_ws_t *ws, ngx_uint_t code, const char *reason,
    ngx_uint_t drop)
{
    uint32_t  i;

    if (ws->state != ws_open) {
        return;
    }

    ws->state = ws_closing;
    ws->code = (uint16_t) code;

    if (drop) {
        for (i = (ws->sent || !ws->greeted) ? 1 : 0; i < ws->count; i++) {
            ngx_mdvr_ws_forget(ws, (ws->first + i) & (ws->size - 1));
        }
    }

    ngx_mdvr_ws_say_close(ws, code, reason);

    ngx_add_timer(&ws->timer, NGX_MDVR_WS_CLOSING);
}


static void
ngx_mdvr_ws_timer(ngx_event_t *ev)
{
    ngx_mdvr_ws_t          *ws;
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_mdvr_ws_payload_t  *ping;

    ws = ev->data;
    c = ws->c;

    if (ws->state == ws_closing || ws->state == ws_lingering) {
        r = ws->r;
        ngx_mdvr_ws_over(ws, NGX_ERROR);

        if (r) {
            ngx_http_run_posted_requests(c);
        }

        return;
    }

    if (ws->pinged) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0, "client answers no ping");
        ngx_mdvr_ws_close(ws, 1011, "no pong", 1);
        return;
    }

    ping = ngx_mdvr_ws_payload_frame(MDVR_WS_PING, NULL, 0);

    if (ping) {
        (void) ngx_mdvr_ws_push(ws, ping, 0);
        ngx_mdvr_ws_payload_drop(ping);
        ws->pinged = 1;
    }

    ngx_add_timer(ev, ws->conf->ping);
}


/*
 * Ends the socket, which must not be touched afterwards.  NGX_OK: everything
 * was sent.
 */

static void
ngx_mdvr_ws_over(ngx_mdvr_ws_t *ws, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_pool_cleanup_t  *cln;
    ngx_http_request_t  *r;

    r = ws->r;
    c = ws->c;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (ws->count || c->buffered) {
        rc = NGX_ERROR;
    }

    if (r == NULL && rc == NGX_OK && ws->broken && ws->state != ws_lingering
        && ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == 0)
    {
        /* what it still sends would make our end a reset */

        ws->state = ws_lingering;
        ngx_mdvr_ws_tell(ws);
        ngx_add_timer(&ws->timer, NGX_MDVR_WS_LINGER);
        return;
    }

    if (r) {
        for (cln = r->pool->cleanup; cln; cln = cln->next) {
            if (cln->handler == ngx_mdvr_ws_cleanup) {
                cln->handler = NULL;
            }
        }
    }

    /* at once: the request may linger until the client has closed */

    ngx_mdvr_ws_cleanup(ws);

    if (r == NULL) {
        ngx_http_close_connection(c);
        return;
    }

    ngx_http_finalize_request(r, rc == NGX_OK ? NGX_OK : NGX_ERROR);
}


static void
ngx_mdvr_ws_tell(ngx_mdvr_ws_t *ws)
{
    const ngx_mdvr_ws_handler_t  *handler;

    handler = ws->handler;
    ws->handler = NULL;

    if (handler) {
        handler->closed(ws->data, ws->code);
    }
}


static void
ngx_mdvr_ws_cleanup(void *data)
{
    ngx_mdvr_ws_t *ws = data;

    ws->state = ws_over;

    if (ws->gathering) {
        ngx_queue_remove(&ws->gather);
    }

    if (ws->timer.timer_set) {
        ngx_del_timer(&ws->timer);
    }

    while (ws->count) {
        ngx_mdvr_ws_shift(ws);
    }

    if (ws->queue) {
        ngx_free(ws->queue);
    }

    if (ws->message) {
        ngx_free(ws->message);
    }

    ngx_mdvr_ws_tell(ws);

    ngx_free(ws);
}
