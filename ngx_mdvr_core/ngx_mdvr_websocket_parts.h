/*
 * What the files of the WebSocket share and nobody else needs:
 *
 *   ngx_mdvr_websocket.c            a socket: its beginning, events and end
 *   ngx_mdvr_websocket_write.c      what it is sent, and when
 *   ngx_mdvr_websocket_read.c       what it says
 *   ngx_mdvr_websocket_queue.c      what waits to be sent
 *   ngx_mdvr_websocket_handshake.c  the request and the 101 answer
 *   ngx_mdvr_websocket_payload.c    frames, shared by reference
 *   ngx_mdvr_websocket_deflate.c    permessage-deflate, RFC 7692
 */

#ifndef NGX_MDVR_WEBSOCKET_PARTS_H
#define NGX_MDVR_WEBSOCKET_PARTS_H


#include "ngx_mdvr_core/ngx_mdvr_websocket_queue.h"

#include "mdvr/web/ws.h"


#define NGX_MDVR_WS_WINDOW  12      /* bits of what we deflate with */


struct ngx_mdvr_ws_payload_s {
    ngx_uint_t                refs;
    size_t                    head;          /* bytes before the borrowed ones */
    size_t                    len;           /* of `bytes` */
    u_char                   *bytes;         /* behind the header, or borrowed */
    void                    (*release)(void *arg);
    void                     *arg;
    ngx_mdvr_ws_payload_t    *packed;        /* the same, deflated */
    unsigned                  text:1;        /* may be deflated */
    unsigned                  tried:1;       /* that was tried */
    uint8_t                   start;         /* of its message in `bytes` */
    u_char                    header[MDVR_WS_HEADER_MAX];
};


typedef enum {
    ws_open = 0,
    ws_closing,
    ws_lingering,
    ws_over
} ngx_mdvr_ws_state_e;


struct ngx_mdvr_ws_s {

    /* what a delivery looks at, in one cache line */

    const ngx_mdvr_ws_conf_t     *conf;
    ngx_mdvr_ws_queue_t           queue;
    ngx_msec_t                    wrote_at;
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

    u_char                       *message;   /* pieces so far */
    size_t                        length;
    size_t                        capacity;

    ngx_event_t                   timer;

    mdvr_ws_t                     parser;
};


/* Queues a payload, whatever the limit, and wakes the writer. */
ngx_int_t ngx_mdvr_ws_push(ngx_mdvr_ws_t *ws, ngx_mdvr_ws_payload_t *payload,
    ngx_uint_t flags);

/* Writes what the connection takes; the socket may be over afterwards. */
void ngx_mdvr_ws_output(ngx_mdvr_ws_t *ws);

/* Reads what there is; the socket may be over afterwards. */
void ngx_mdvr_ws_receive(ngx_mdvr_ws_t *ws);
void ngx_mdvr_ws_input(ngx_mdvr_ws_t *ws, u_char *p, size_t len);

/*
 * Ends the socket, which must not be touched afterwards.  NGX_OK: everything
 * was sent.
 */
void ngx_mdvr_ws_over(ngx_mdvr_ws_t *ws, ngx_int_t rc);


/*
 * Reads the handshake: NGX_OK with the 101 answer and whether the peer takes
 * deflated messages, or a status to refuse it with.
 */
ngx_int_t ngx_mdvr_ws_handshake(ngx_http_request_t *r,
    const ngx_mdvr_ws_conf_t *conf, ngx_mdvr_ws_payload_t **answer,
    ngx_uint_t *deflate);

/* A whole frame of `n` pieces; NULL: no memory. */
ngx_mdvr_ws_payload_t *ngx_mdvr_ws_payload_frame(mdvr_ws_opcode_e opcode,
    const ngx_str_t *pieces, ngx_uint_t n);

/*
 * What a peer that takes deflated messages is sent for a payload: made once,
 * kept with it, borrowed; the payload itself when deflating does not pay.
 */
ngx_mdvr_ws_payload_t *ngx_mdvr_ws_payload_packed(
    ngx_mdvr_ws_payload_t *payload, size_t least);

/*
 * Deflates without context into the worker's buffer: NULL when it does not get
 * shorter.  Valid until the next call.
 */
u_char *ngx_mdvr_ws_deflate(const u_char *p, size_t len, size_t *packed);

/*
 * Inflates one message into memory from ngx_alloc().  NGX_OK, NGX_DECLINED (it
 * is longer than `limit`), NGX_ABORT (not deflated data), NGX_ERROR.
 */
ngx_int_t ngx_mdvr_ws_inflate(const ngx_str_t *packed, size_t limit,
    ngx_str_t *msg);


#endif
