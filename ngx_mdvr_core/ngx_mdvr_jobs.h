/*
 * Numbers of the worker's jobs, read from Redis for /metrics: queues are
 * streams, what finished is counted in the hash mdvr:jobstats
 * (docs/internals.md).
 */

#ifndef NGX_MDVR_JOBS_H
#define NGX_MDVR_JOBS_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


/*
 * Collects the numbers as Prometheus text.  `done` is called exactly once,
 * perhaps from within this call, unless `pool` is destroyed first; the text
 * lies in `pool`.  While Redis is away all numbers are zero.
 *
 * NGX_OK, or NGX_ERROR: no memory, `done` is not called.
 */
typedef void (*ngx_mdvr_jobs_pt)(void *data, const ngx_str_t *text);

ngx_int_t ngx_mdvr_jobs_text(ngx_pool_t *pool, ngx_mdvr_jobs_pt done,
    void *data);


#endif
