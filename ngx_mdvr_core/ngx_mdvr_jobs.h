/*
 * The worker's jobs, as nginx sees them (docs/internals.md): how one is given
 * to a queue, and their numbers for /metrics.  Queues are streams in Redis,
 * what finished is counted in the hash mdvr:jobstats.
 */

#ifndef NGX_MDVR_JOBS_H
#define NGX_MDVR_JOBS_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"


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


/*
 * Gives a document (mdvr_job_write()) to a queue (mdvr_job_queue()); both are
 * copied.  `pool`, `timeout` in ms, `done` and `data` are those of
 * ngx_mdvr_redis_command(): while Redis is away the job is lost, and `done`
 * hears of it.
 *
 * NGX_OK, or NGX_ERROR: no memory, or too long a name; `done` is not called.
 */
ngx_int_t ngx_mdvr_jobs_add(ngx_pool_t *pool, ngx_msec_t timeout,
    mdvr_str_t queue, mdvr_str_t document, ngx_mdvr_redis_done_pt done,
    void *data);

/* Enters the queue among those that ever held a job, without an answer. */
void ngx_mdvr_jobs_enter(ngx_msec_t timeout, mdvr_str_t queue);


#endif
