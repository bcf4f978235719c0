/*
 * One pool cleanup that holds the list of a pool's ties.
 */

#include "ngx_mdvr_core/ngx_mdvr_tie.h"


static void
ngx_mdvr_tie_cleanup(void *data)
{
    ngx_queue_t     *ties = data;

    ngx_queue_t     *q;
    ngx_mdvr_tie_t  *tie;

    while (!ngx_queue_empty(ties)) {
        q = ngx_queue_head(ties);
        tie = ngx_queue_data(q, ngx_mdvr_tie_t, queue);

        ngx_mdvr_untie(tie);
        tie->gone(tie);
    }
}


ngx_int_t
ngx_mdvr_tie(ngx_pool_t *pool, ngx_mdvr_tie_t *tie,
    void (*gone)(ngx_mdvr_tie_t *tie))
{
    ngx_queue_t         *ties;
    ngx_pool_cleanup_t  *cln;

    tie->gone = gone;
    tie->queue.next = NULL;

    if (pool == NULL) {
        return NGX_OK;
    }

    for (cln = pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_mdvr_tie_cleanup) {
            ngx_queue_insert_tail((ngx_queue_t *) cln->data, &tie->queue);
            return NGX_OK;
        }
    }

    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_queue_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    ties = cln->data;
    ngx_queue_init(ties);
    ngx_queue_insert_tail(ties, &tie->queue);

    cln->handler = ngx_mdvr_tie_cleanup;

    return NGX_OK;
}


void
ngx_mdvr_untie(ngx_mdvr_tie_t *tie)
{
    if (tie->queue.next) {
        ngx_queue_remove(&tie->queue);
        tie->queue.next = NULL;
    }
}
