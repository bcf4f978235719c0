/*
 * RFC 6455 over an nginx HTTP/1.1 request: handshake, frames, fragmentation,
 * control frames, close codes, UTF-8 check and limits.  The codec is
 * mdvr/web/ws.h; this file moves the bytes.
 *
 * A payload is framed once and shared by reference between sockets.  What is
 * sent in one turn of the event loop leaves a socket in one write.
 */

#ifndef NGX_MDVR_WEBSOCKET_H
#define NGX_MDVR_WEBSOCKET_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mdvr_core/ngx_mdvr_core.h"


typedef struct ngx_mdvr_ws_s          ngx_mdvr_ws_t;
typedef struct ngx_mdvr_ws_payload_s  ngx_mdvr_ws_payload_t;


typedef struct {
    /* a whole message, borrowed; text is valid UTF-8 */
    void      (*message)(void *data, ngx_uint_t binary, ngx_str_t *msg);

    /*
     * The socket is over, exactly once, whoever ended it; `code` is what the
     * peer sent or what we closed with, 1006 when the connection was lost.
     * The socket must not be used after; `data` may live in r->pool unless
     * the socket is detached.
     */
    void      (*closed)(void *data, ngx_uint_t code);

    /* everything queued has been written; NULL when not wanted */
    void      (*drained)(void *data);
} ngx_mdvr_ws_handler_t;


typedef struct {
    size_t                    max_message;   /* bytes from the peer, else 1009 */
    size_t                    max_queue;     /* bytes queued to the peer */
    ngx_msec_t                gather;        /* ms between two writes at least,
                                                when there is much to say */
    ngx_msec_t                ping;          /* every so often, 0: never */
    ngx_msec_t                send_timeout;  /* peer takes nothing: closed */
    ngx_str_t                 protocol;      /* Sec-WebSocket-Protocol offered
                                                by us, "" none */
    ngx_flag_t                deflate;       /* agree to RFC 7692 */
    size_t                    deflate_min;   /* bytes of a message that pays */
    ngx_flag_t                detach;        /* give the request back after the
                                                handshake: `data` must not
                                                live in r->pool */
} ngx_mdvr_ws_conf_t;


/*
 * Answers the handshake and takes the request over.
 *
 * NGX_DONE: *ws is the socket, the handler returns NGX_DONE.  Anything else: a
 * status (400, 405, 426) for ngx_mdvr_ws_refuse(); nothing was sent.
 * `handler` and `conf` must outlive the socket.  A peer that does not answer
 * a ping within the next interval is closed with 1011.
 */
ngx_int_t ngx_mdvr_ws_accept(ngx_http_request_t *r,
    const ngx_mdvr_ws_conf_t *conf, const ngx_mdvr_ws_handler_t *handler,
    void *data, ngx_mdvr_ws_t **ws);

/*
 * What the handler returns when ngx_mdvr_ws_accept() gave `status`: the problem
 * has been sent, or `status` itself when it is none of those above.
 */
ngx_int_t ngx_mdvr_ws_refuse(ngx_http_request_t *r, ngx_int_t status);

/*
 * Makes a frame of `n` pieces (copied), one reference held by the caller.
 * NULL: no memory.
 */
ngx_mdvr_ws_payload_t *ngx_mdvr_ws_payload(ngx_uint_t binary,
    const ngx_str_t *pieces, ngx_uint_t n);

/*
 * A frame around bytes that somebody else owns: `release(arg)` is called when
 * the last reference has gone.
 */
ngx_mdvr_ws_payload_t *ngx_mdvr_ws_payload_borrow(ngx_uint_t binary,
    const ngx_str_t *bytes, void (*release)(void *arg), void *arg);

void ngx_mdvr_ws_payload_hold(ngx_mdvr_ws_payload_t *payload);
void ngx_mdvr_ws_payload_drop(ngx_mdvr_ws_payload_t *payload);

enum {
    NGX_MDVR_WS_DROPPABLE = 1,  /* may be dropped for what comes later */
    NGX_MDVR_WS_GATHER = 2      /* may wait a little for what comes later */
};

/*
 * Queues a payload; the socket takes its own reference.  When the queue would
 * exceed max_queue the oldest droppable payloads go first (counted, see
 * ngx_mdvr_ws_dropped()).
 *
 * NGX_OK: queued.  NGX_DECLINED: dropped, it was droppable and there was no
 * room.  NGX_BUSY: no room for one that must not be dropped: close the socket.
 * NGX_ERROR: the socket is closing, or no memory.
 */
ngx_int_t ngx_mdvr_ws_send(ngx_mdvr_ws_t *ws, ngx_mdvr_ws_payload_t *payload,
    ngx_uint_t flags);

/* Sends one text, by ngx_vslprintf(), of at most 512 bytes, if it can. */
void ngx_mdvr_ws_text(ngx_mdvr_ws_t *ws, const char *fmt, ...);

/* Payloads dropped since the last call. */
ngx_uint_t ngx_mdvr_ws_dropped(ngx_mdvr_ws_t *ws);

/* Bytes queued and not yet taken by the kernel. */
size_t ngx_mdvr_ws_queued(const ngx_mdvr_ws_t *ws);

/*
 * Sends what is queued (within 5 s), then a close frame, and waits up to 5 s
 * for the peer's.  `closed` comes later, never from within this call.  With
 * `drop` what is queued and not begun is thrown away first.
 */
void ngx_mdvr_ws_close(ngx_mdvr_ws_t *ws, ngx_uint_t code, const char *reason,
    ngx_uint_t drop);

/* NULL once detached. */
ngx_http_request_t *ngx_mdvr_ws_request(ngx_mdvr_ws_t *ws);

/* Its pool lives until the socket is over. */
ngx_connection_t *ngx_mdvr_ws_connection(ngx_mdvr_ws_t *ws);


#endif
