/*
 * What the files of the WebSocket share and nobody else needs:
 *
 *   ngx_mdvr_websocket.c            a socket: its queue, writing, reading, end
 *   ngx_mdvr_websocket_handshake.c  the request and the 101 answer
 *   ngx_mdvr_websocket_payload.c    frames, shared by reference
 *   ngx_mdvr_websocket_deflate.c    permessage-deflate, RFC 7692
 */

#ifndef NGX_MDVR_WEBSOCKET_PARTS_H
#define NGX_MDVR_WEBSOCKET_PARTS_H


#include "ngx_mdvr_core/ngx_mdvr_websocket.h"

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
