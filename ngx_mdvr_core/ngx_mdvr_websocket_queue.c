/*
 * The queue of one peer: see the header.
 */

#include "ngx_mdvr_core/ngx_mdvr_websocket_parts.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


#define NGX_MDVR_WS_QUEUE     4         /* first size, a power of two */

#define ngx_mdvr_ws_item(p, flags)                                            \
    ((uintptr_t) (p) | ((flags) & NGX_MDVR_WS_DROPPABLE))
#define ngx_mdvr_ws_item_payload(i)                                           \
    ((ngx_mdvr_ws_payload_t *) ((i) & ~(uintptr_t) 1))
#define ngx_mdvr_ws_item_droppable(i)  ((i) & 1)


size_t
ngx_mdvr_ws_payload_cost(const ngx_mdvr_ws_payload_t *payload)
{
    return payload->head + payload->len + NGX_MDVR_WS_OVERHEAD;
}


ngx_mdvr_ws_payload_t *
ngx_mdvr_ws_queue_at(const ngx_mdvr_ws_queue_t *q, uint32_t i)
{
    return ngx_mdvr_ws_item_payload(q->ring[(q->first + i) & (q->size - 1)]);
}


ngx_int_t
ngx_mdvr_ws_queue_add(ngx_mdvr_ws_queue_t *q, ngx_mdvr_ws_payload_t *payload,
    ngx_uint_t flags)
{
    uint32_t             i, size;
    ngx_mdvr_ws_item_t  *ring;

    if (q->count == q->size) {
        size = q->size ? q->size * 2 : NGX_MDVR_WS_QUEUE;

        ring = ngx_alloc(size * sizeof(ngx_mdvr_ws_item_t), ngx_cycle->log);
        if (ring == NULL) {
            return NGX_ERROR;
        }

        for (i = 0; i < q->count; i++) {
            ring[i] = q->ring[(q->first + i) & (q->size - 1)];
        }

        if (q->ring) {
            ngx_free(q->ring);
        }

        q->ring = ring;
        q->size = size;
        q->first = 0;
    }

    ngx_mdvr_ws_payload_hold(payload);

    q->ring[(q->first + q->count) & (q->size - 1)]
        = ngx_mdvr_ws_item(payload, flags);
    q->count++;
    q->bytes += ngx_mdvr_ws_payload_cost(payload);
    q->droppable += (flags & NGX_MDVR_WS_DROPPABLE);

    return NGX_OK;
}


static void
ngx_mdvr_ws_queue_forget(ngx_mdvr_ws_queue_t *q, uint32_t at)
{
    ngx_mdvr_ws_item_t      item;
    ngx_mdvr_ws_payload_t  *payload;

    item = q->ring[at];
    q->ring[at] = 0;

    payload = ngx_mdvr_ws_item_payload(item);

    if (payload) {
        q->bytes -= ngx_mdvr_ws_payload_cost(payload);
        q->droppable -= ngx_mdvr_ws_item_droppable(item);
        ngx_mdvr_ws_payload_drop(payload);
    }
}


void
ngx_mdvr_ws_queue_shift(ngx_mdvr_ws_queue_t *q)
{
    ngx_mdvr_ws_queue_forget(q, q->first);

    q->first = (q->first + 1) & (q->size - 1);
    q->count--;
    q->sent = 0;

    if (q->count == 0 && q->size > NGX_MDVR_WS_QUEUE) {
        ngx_mdvr_ws_queue_free(q);
    }
}


void
ngx_mdvr_ws_queue_written(ngx_mdvr_ws_queue_t *q, size_t n)
{
    size_t                  left;
    ngx_mdvr_ws_payload_t  *payload;

    /* what was dropped is shifted with what was written */

    while (q->count) {
        payload = ngx_mdvr_ws_queue_at(q, 0);

        if (payload) {
            left = payload->head + payload->len - q->sent;

            if (n < left) {
                q->sent += n;
                break;
            }

            n -= left;
        }

        ngx_mdvr_ws_queue_shift(q);
    }
}


ngx_uint_t
ngx_mdvr_ws_payload_pieces(ngx_mdvr_ws_payload_t *payload, size_t skip,
    ngx_str_t pieces[2])
{
    ngx_uint_t  n;

    n = 0;

    if (payload->head > skip) {
        pieces[n].data = payload->header + skip;
        pieces[n++].len = payload->head - skip;
        skip = payload->head;
    }

    if (payload->head + payload->len > skip) {
        pieces[n].data = payload->bytes + skip - payload->head;
        pieces[n++].len = payload->head + payload->len - skip;
    }

    return n;
}


ngx_int_t
ngx_mdvr_ws_queue_room(ngx_mdvr_ws_queue_t *q,
    const ngx_mdvr_ws_payload_t *payload, ngx_uint_t flags, size_t limit,
    uint32_t begun)
{
    size_t    need;
    uint32_t  i, at;

    need = ngx_mdvr_ws_payload_cost(payload);

    if (q->bytes + need <= limit) {
        return NGX_OK;
    }

    for (i = begun;
         i < q->count && q->droppable && q->bytes + need > limit;
         i++)
    {
        at = (q->first + i) & (q->size - 1);

        if (ngx_mdvr_ws_item_droppable(q->ring[at])) {
            ngx_mdvr_ws_queue_forget(q, at);
            q->dropped++;
            ngx_mdvr_count(ws_dropped_total);
        }
    }

    if (q->bytes + need <= limit) {
        return NGX_OK;
    }

    if (flags & NGX_MDVR_WS_DROPPABLE) {
        q->dropped++;
        ngx_mdvr_count(ws_dropped_total);
        return NGX_DECLINED;
    }

    return NGX_BUSY;
}


void
ngx_mdvr_ws_queue_clear(ngx_mdvr_ws_queue_t *q, uint32_t begun)
{
    uint32_t  i;

    for (i = begun; i < q->count; i++) {
        ngx_mdvr_ws_queue_forget(q, (q->first + i) & (q->size - 1));
    }
}


void
ngx_mdvr_ws_queue_free(ngx_mdvr_ws_queue_t *q)
{
    while (q->count) {
        ngx_mdvr_ws_queue_forget(q, q->first);
        q->first = (q->first + 1) & (q->size - 1);
        q->count--;
    }

    if (q->ring) {
        ngx_free(q->ring);
        q->ring = NULL;
    }

    q->size = 0;
    q->first = 0;
    q->sent = 0;
}
