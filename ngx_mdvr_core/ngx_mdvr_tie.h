/*
 * Ties work in progress to the pool of whoever asked for it: when the pool is
 * destroyed first, `gone` is called and the work goes on without a requester.
 *
 * A pool has one cleanup for all its ties, however many come and go: a
 * connection that asks for something every few seconds does not grow.
 */

#ifndef NGX_MDVR_TIE_H
#define NGX_MDVR_TIE_H


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct ngx_mdvr_tie_s  ngx_mdvr_tie_t;

struct ngx_mdvr_tie_s {
    ngx_queue_t    queue;
    void         (*gone)(ngx_mdvr_tie_t *tie);
};


/*
 * Ties; with `pool` NULL nothing is tied and ngx_mdvr_untie() is still
 * allowed.  The tie belongs to the caller and must stay where it is until it
 * is untied or `gone` was called.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_mdvr_tie(ngx_pool_t *pool, ngx_mdvr_tie_t *tie,
    void (*gone)(ngx_mdvr_tie_t *tie));
void ngx_mdvr_untie(ngx_mdvr_tie_t *tie);


#endif
