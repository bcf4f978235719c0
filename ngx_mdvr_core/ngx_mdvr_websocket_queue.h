/*
 * The queue of what one peer is still to be sent: payloads in order, shared by
 * reference, within a limit of bytes; the oldest that may be dropped go first.
 *
 * Positions, lengths and limits are bytes as they leave; each payload counts
 * NGX_MDVR_WS_OVERHEAD more.
 */

#ifndef NGX_MDVR_WEBSOCKET_QUEUE_H
#define NGX_MDVR_WEBSOCKET_QUEUE_H


#include "ngx_mdvr_core/ngx_mdvr_websocket.h"


#define NGX_MDVR_WS_IOV       64        /* pieces of one write, at most */
#define NGX_MDVR_WS_OVERHEAD  32


/* the lowest bit of the pointer: droppable; zeros were dropped */

typedef uintptr_t  ngx_mdvr_ws_item_t;


typedef struct {
    ngx_mdvr_ws_item_t           *ring;
    uint32_t                      size;      /* a power of two */
    uint32_t                      first;
    uint32_t                      count;
    uint32_t                      droppable; /* in the queue */
    size_t                        bytes;     /* queued, overhead included */
    uint32_t                      sent;      /* of the first payload */
    uint32_t                      dropped;   /* since anybody asked */
} ngx_mdvr_ws_queue_t;


/* Adds at the end, with a reference of its own.  NGX_ERROR: no memory. */
ngx_int_t ngx_mdvr_ws_queue_add(ngx_mdvr_ws_queue_t *q,
    ngx_mdvr_ws_payload_t *payload, ngx_uint_t flags);

/*
 * Makes room for a payload within `limit` bytes by dropping, oldest first, what
 * may be dropped behind the first `begun` payloads.  NGX_OK: there is room.
 * NGX_DECLINED: there is none, this one is dropped itself.  NGX_BUSY: there is
 * none for one that must not be dropped.
 */
ngx_int_t ngx_mdvr_ws_queue_room(ngx_mdvr_ws_queue_t *q,
    const ngx_mdvr_ws_payload_t *payload, ngx_uint_t flags, size_t limit,
    uint32_t begun);

/* Throws away all behind the first `begun`. */
void ngx_mdvr_ws_queue_clear(ngx_mdvr_ws_queue_t *q, uint32_t begun);

/* The payload at a place from the front; NULL: it was dropped. */
ngx_mdvr_ws_payload_t *ngx_mdvr_ws_queue_at(const ngx_mdvr_ws_queue_t *q,
    uint32_t i);

/*
 * What is still to be sent of payload `i`, as one or two pieces with `skip`
 * bytes of it left out; returns how many.
 */
ngx_uint_t ngx_mdvr_ws_payload_pieces(ngx_mdvr_ws_payload_t *payload,
    size_t skip, ngx_str_t pieces[2]);

/* `n` more bytes of the queue are written. */
void ngx_mdvr_ws_queue_written(ngx_mdvr_ws_queue_t *q, size_t n);

/* The first one is written, or was dropped. */
void ngx_mdvr_ws_queue_shift(ngx_mdvr_ws_queue_t *q);

void ngx_mdvr_ws_queue_free(ngx_mdvr_ws_queue_t *q);

/* Bytes that a payload counts in a queue. */
size_t ngx_mdvr_ws_payload_cost(const ngx_mdvr_ws_payload_t *payload);

/* `n` pieces one after another and no frame around them; NULL: no memory. */
ngx_mdvr_ws_payload_t *ngx_mdvr_ws_payload_bare(const ngx_str_t *pieces,
    ngx_uint_t n);


#endif
