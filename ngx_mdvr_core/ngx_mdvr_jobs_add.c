/*
 * How a job gets into its queue: the stream mdvr:job:{<queue>}, one entry a
 * job, whose field "job" is the document.
 */

#include "ngx_mdvr_core/ngx_mdvr_jobs.h"

#include "mdvr/domain/keys.h"


ngx_int_t
ngx_mdvr_jobs_add(ngx_pool_t *pool, ngx_msec_t timeout, mdvr_str_t queue,
    mdvr_str_t document, ngx_mdvr_redis_done_pt done, void *data)
{
    u_char       key[MDVR_KEY_MAX];
    size_t       lens[5];
    mdvr_buf_t   b;
    const char  *argv[5];

    b = mdvr_buf(key, sizeof(key));
    mdvr_key_job(&b, queue, "");

    if (b.full) {
        return NGX_ERROR;
    }

    argv[0] = "XADD";
    lens[0] = 4;
    argv[1] = (char *) key;
    lens[1] = b.len;
    argv[2] = "*";
    lens[2] = 1;
    argv[3] = "job";
    lens[3] = 3;
    argv[4] = (char *) document.p;
    lens[4] = document.len;

    return ngx_mdvr_redis_command(pool, timeout, 5, argv, lens, done, data);
}


void
ngx_mdvr_jobs_enter(ngx_msec_t timeout, mdvr_str_t queue)
{
    size_t       lens[3];
    const char  *argv[3];

    argv[0] = "SADD";
    lens[0] = 4;
    argv[1] = MDVR_KEY_JOB_QUEUES;
    lens[1] = sizeof(MDVR_KEY_JOB_QUEUES) - 1;
    argv[2] = (char *) queue.p;
    lens[2] = queue.len;

    (void) ngx_mdvr_redis_command(NULL, timeout, 3, argv, lens, NULL, NULL);
}
