
/*
 * Firmware with objects in S3.  Only the worker speaks with S3, and a device gets
 * its file from a disk: this node's worker is given a job "firmware" (see
 * worker/firmware.c), and the request waits until the file is there.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_firmware.h"
#include "ngx_mdvr_core/ngx_mdvr_jobs.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"
#include "mdvr/domain/job.h"

#include <utime.h>


#define NGX_HTTP_MDVR_API_FIRMWARE_LOOK  100        /* ms */
#define NGX_HTTP_MDVR_API_FIRMWARE_WAIT  60000      /* ms */


typedef struct {
    ngx_http_mdvr_api_ctx_t   *ctx;
    ngx_event_t                timer;
    ngx_msec_t                 since;
    char                      *bin;
    char                      *upload;              /* NULL: to be fetched */
    void                     (*done)(ngx_http_mdvr_api_ctx_t *ctx, void *data);
    void                      *data;
} ngx_http_mdvr_api_firmware_t;


char *
ngx_http_mdvr_api_firmware_path(ngx_pool_t *pool, const ngx_str_t *id,
    const char *suffix)
{
    u_char                *p;
    ngx_mdvr_core_conf_t  *core;

    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    p = ngx_pnalloc(pool, core->state_dir.len + id->len + ngx_strlen(suffix)
                          + sizeof("/firmware/"));
    if (p) {
        *ngx_sprintf(p, "%V/firmware/%V%s", &core->state_dir, id, suffix)
            = '\0';
    }

    return (char *) p;
}


static void
ngx_http_mdvr_api_firmware_cleanup(void *data)
{
    ngx_http_mdvr_api_firmware_t  *f = data;

    if (f->timer.timer_set) {
        ngx_del_timer(&f->timer);
    }

    if (f->upload) {
        (void) unlink(f->upload);           /* nobody waits for it any more */
    }
}


static void
ngx_http_mdvr_api_firmware_away(ngx_http_mdvr_api_firmware_t *f)
{
    ngx_http_mdvr_api_problem(f->ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                              "storage_away",
                              f->upload ? "the file could not be stored"
                                        : "the file could not be fetched", 10);
}


static void
ngx_http_mdvr_api_firmware_look(ngx_event_t *ev)
{
    ngx_connection_t              *c;
    ngx_http_mdvr_api_firmware_t  *f = ev->data;

    c = f->ctx->request->connection;

    if (utime(f->bin, NULL) == 0) {
        f->done(f->ctx, f->data);

    } else if ((f->upload && access(f->upload, F_OK) == -1
                && access(f->bin, F_OK) == -1)
               || ngx_current_msec - f->since
                  >= NGX_HTTP_MDVR_API_FIRMWARE_WAIT)
    {
        ngx_http_mdvr_api_firmware_away(f);

    } else {
        ngx_add_timer(&f->timer, NGX_HTTP_MDVR_API_FIRMWARE_LOOK);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_firmware_ordered(void *data, const redisReply *reply,
    mdvr_rc_t rc)
{
    ngx_connection_t              *c;
    ngx_http_mdvr_api_firmware_t  *f = data;

    if (rc == MDVR_OK) {
        ngx_add_timer(&f->timer, NGX_HTTP_MDVR_API_FIRMWARE_LOOK);
        return;
    }

    c = f->ctx->request->connection;
    ngx_http_mdvr_api_firmware_away(f);
    ngx_http_run_posted_requests(c);
}


static ngx_int_t
ngx_http_mdvr_api_firmware_order(ngx_http_mdvr_api_firmware_t *f,
    const ngx_str_t *id, const ngx_str_t *key)
{
    u_char                    queue[128], text[1024];
    mdvr_job_t                job;
    mdvr_buf_t                q, b;
    ngx_http_mdvr_api_ctx_t  *ctx = f->ctx;
    ngx_mdvr_core_conf_t     *core;

    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    ngx_memzero(&job, sizeof(mdvr_job_t));
    job.id = mdvr_str(id->data, id->len);
    job.tenant_id = mdvr_str(ctx->tenant.data, ctx->tenant.len);
    job.key = mdvr_str(key->data, key->len);
    job.source = f->upload ? "upload" : NULL;

    b = mdvr_buf(text, sizeof(text));
    mdvr_job_write(&b, MDVR_JOB_FIRMWARE, &job, ngx_mdvr_now_ms());

    q = mdvr_buf(queue, sizeof(queue));
    mdvr_job_queue(&q, MDVR_JOB_FIRMWARE, mdvr_str(core->node.data,
                                                   core->node.len));

    if (b.full || q.full) {
        return NGX_ERROR;
    }

    return ngx_mdvr_jobs_add(ctx->request->pool, 3000, mdvr_buf_view(&q),
                             mdvr_buf_view(&b),
                             ngx_http_mdvr_api_firmware_ordered, f);
}


void
ngx_http_mdvr_api_firmware_here(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_str_t *id, const ngx_str_t *key, ngx_uint_t upload,
    void (*done)(ngx_http_mdvr_api_ctx_t *ctx, void *data), void *data)
{
    ngx_pool_t                    *pool;
    ngx_pool_cleanup_t            *cln;
    ngx_http_mdvr_api_firmware_t  *f;

    pool = ctx->request->pool;
    cln = ngx_pool_cleanup_add(pool, sizeof(ngx_http_mdvr_api_firmware_t));

    if (cln == NULL) {
        goto failed;
    }

    f = cln->data;
    ngx_memzero(f, sizeof(ngx_http_mdvr_api_firmware_t));

    f->ctx = ctx;
    f->done = done;
    f->data = data;
    f->since = ngx_current_msec;
    f->timer.handler = ngx_http_mdvr_api_firmware_look;
    f->timer.data = f;
    f->timer.log = ctx->request->connection->log;
    f->bin = ngx_http_mdvr_api_firmware_path(pool, id, ".bin");
    f->upload = upload ? ngx_http_mdvr_api_firmware_path(pool, id, ".new")
                       : NULL;

    cln->handler = ngx_http_mdvr_api_firmware_cleanup;

    if (f->bin == NULL || (upload && f->upload == NULL)) {
        goto failed;
    }

    if (utime(f->bin, NULL) == 0) {         /* in use: it stays */
        done(ctx, data);
        return;
    }

    if (ngx_http_mdvr_api_firmware_order(f, id, key) != NGX_OK) {
        ngx_http_mdvr_api_firmware_away(f);
    }

    return;

failed:

    ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR, "internal",
                              NULL, 0);
}
