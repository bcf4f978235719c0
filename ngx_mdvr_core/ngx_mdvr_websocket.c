/*
 * WebSocket over an nginx HTTP/1.1 request: a socket from its beginning to its
 * end.
 *
 * The 101 answer and all frames go through one queue of payloads and are
 * written with c->send_chain(), not through the output filters: nothing may
 * compress, buffer or range a stream of frames.
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


#define NGX_MDVR_WS_CLOSING   5000      /* ms */
#define NGX_MDVR_WS_LINGER    2000


static void ngx_mdvr_ws_cleanup(void *data);
static void ngx_mdvr_ws_read(ngx_http_request_t *r);
static void ngx_mdvr_ws_write(ngx_http_request_t *r);
static ngx_uint_t ngx_mdvr_ws_detach(ngx_mdvr_ws_t *ws);
static void ngx_mdvr_ws_event(ngx_event_t *ev);
static void ngx_mdvr_ws_timer(ngx_event_t *ev);
static void ngx_mdvr_ws_tell(ngx_mdvr_ws_t *ws);
static void ngx_mdvr_ws_behind(ngx_mdvr_ws_t *ws);


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


/* -- events of the request, then of the connection ----------------------- */

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
    if (ws->state != ws_open) {
        return;
    }

    ws->state = ws_closing;
    ws->code = (uint16_t) code;

    if (drop) {
        ngx_mdvr_ws_queue_clear(&ws->queue,
                                (ws->queue.sent || !ws->greeted) ? 1 : 0);
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

void
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

    if (ws->queue.count || c->buffered) {
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

    ngx_mdvr_ws_queue_free(&ws->queue);

    if (ws->message) {
        ngx_free(ws->message);
    }

    ngx_mdvr_ws_tell(ws);

    ngx_free(ws);
}
