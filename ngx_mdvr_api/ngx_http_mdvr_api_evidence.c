
/*
 * The evidence package of an alarm.  The worker makes it (worker/evidence.c); the
 * request waits for its row without holding anything, then nginx serves the file.
 * A package that is still right is served again: what is asked for twice, or
 * resumed with a range, is the same file.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_evidence.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_files.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_core/ngx_mdvr_jobs.h"
#include "mdvr/basics/json.h"
#include "mdvr/domain/job.h"


#define NGX_HTTP_MDVR_API_EVIDENCE_POLL  100      /* ms, grows to a second */
#define NGX_HTTP_MDVR_API_EVIDENCE_TAKEN 5000     /* by a worker */
#define NGX_HTTP_MDVR_API_EVIDENCE_WAIT  45000


typedef struct {
    ngx_http_mdvr_api_ctx_t  *ctx;
    ngx_event_t               timer;
    ngx_msec_t                since;
    ngx_msec_t                pause;
    ngx_str_t                 id;               /* of the package */
    ngx_str_t                 device;
} ngx_http_mdvr_api_evidence_t;


static void ngx_http_mdvr_api_evidence_asked(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static ngx_int_t ngx_http_mdvr_api_evidence_order(
    ngx_http_mdvr_api_evidence_t *e);
static void ngx_http_mdvr_api_evidence_ordered(void *data,
    const redisReply *reply, mdvr_rc_t rc);
static void ngx_http_mdvr_api_evidence_timer(ngx_event_t *ev);
static void ngx_http_mdvr_api_evidence_seen(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_evidence_serve(ngx_http_mdvr_api_evidence_t *e,
    const ngx_str_t *key);


static void
ngx_http_mdvr_api_evidence_cleanup(void *data)
{
    ngx_http_mdvr_api_evidence_t  *e = data;

    if (e->timer.timer_set) {
        ngx_del_timer(&e->timer);
    }
}


void
ngx_http_mdvr_api_evidence(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_pool_cleanup_t            *cln;
    ngx_http_mdvr_api_evidence_t  *e;

    cln = ngx_pool_cleanup_add(ctx->request->pool,
                               sizeof(ngx_http_mdvr_api_evidence_t));
    if (cln == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    e = cln->data;
    ngx_memzero(e, sizeof(ngx_http_mdvr_api_evidence_t));
    cln->handler = ngx_http_mdvr_api_evidence_cleanup;

    e->ctx = ctx;
    e->timer.data = e;
    e->timer.handler = ngx_http_mdvr_api_evidence_timer;
    e->timer.log = ctx->request->connection->log;
    e->since = ngx_current_msec;
    e->pause = NGX_HTTP_MDVR_API_EVIDENCE_POLL;
    ctx->data = e;

    /* the audit row comes first: the package contains it */

    ngx_http_mdvr_api_query(ctx,
        "with a as (select a.* from mdvr.alarm a where a.id = $6::uuid),"
        " old as (select e.id from mdvr.evidence e, a"
        "  where e.alarm_id = a.id and e.status <> 'failed'"
        "  and e.created_at > now() - case e.status when 'ready'"
        "   then interval '5 minutes' else interval '10 minutes' end"
        "  and coalesce(a.acknowledged_at, '-infinity') < e.created_at"
        "  and not exists (select from mdvr.media m where m.alarm_id = a.id"
        "   and greatest(m.updated_at, m.deleted_at) > e.created_at)"
        "  order by e.created_at desc limit 1),"
        " made as (insert into mdvr.evidence (tenant_id, device_id, alarm_id)"
        "  select a.tenant_id, a.device_id, a.id from a"
        "  where not exists (select from old) returning id)"
        " select coalesce((select id from old), (select id from made)),"
        "  exists (select from made), a.device_id,"
        API_AUDIT("alarm.evidence", "alarm", "a.id::text", "'{}'")
        " from a",
        API_WHO ",id", NULL, ngx_http_mdvr_api_evidence_asked);
}


static void
ngx_http_mdvr_api_evidence_asked(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_str_t                      id, made, device;
    ngx_http_mdvr_api_evidence_t  *e = ctx->data;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    id = ngx_mdvr_pg_value(rows, 0, 0);
    made = ngx_mdvr_pg_value(rows, 0, 1);
    device = ngx_mdvr_pg_value(rows, 0, 2);

    e->id = ngx_http_mdvr_api_dup(ctx->request->pool, (char *) id.data,
                                  id.len);
    e->device = ngx_http_mdvr_api_dup(ctx->request->pool,
                                      (char *) device.data, device.len);

    if (e->id.data == NULL || e->device.data == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    if (made.len == 0 || made.data[0] != 't') {
        ngx_add_timer(&e->timer, 1);
        return;
    }

    if (ngx_http_mdvr_api_evidence_order(e) != NGX_OK) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable", NULL, 2);
    }
}


static ngx_int_t
ngx_http_mdvr_api_evidence_order(ngx_http_mdvr_api_evidence_t *e)
{
    u_char                   *text;
    mdvr_buf_t                b;
    mdvr_job_t                job;
    mdvr_str_t                queue;
    ngx_http_mdvr_api_ctx_t  *ctx;

    ctx = e->ctx;
    queue = mdvr_cstr(mdvr_job_info(MDVR_JOB_EVIDENCE)->name);

    text = ngx_pnalloc(ctx->request->pool, MDVR_JOB_MAX);
    if (text == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&job, sizeof(mdvr_job_t));
    job.id = mdvr_str(e->id.data, e->id.len);
    job.tenant_id = mdvr_str(ctx->tenant.data, ctx->tenant.len);
    job.device_id = mdvr_str(e->device.data, e->device.len);
    job.alarm_id = mdvr_str(ctx->ids[0].data, ctx->ids[0].len);

    b = mdvr_buf(text, MDVR_JOB_MAX);
    mdvr_job_write(&b, MDVR_JOB_EVIDENCE, &job, ngx_mdvr_now_ms());

    if (b.full
        || ngx_mdvr_jobs_add(ctx->request->pool, 3000, queue,
                             mdvr_buf_view(&b),
                             ngx_http_mdvr_api_evidence_ordered, e)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_mdvr_jobs_enter(3000, queue);

    return NGX_OK;
}


static void
ngx_http_mdvr_api_evidence_ordered(void *data,
    const redisReply *reply, mdvr_rc_t rc)
{
    ngx_connection_t              *c;
    ngx_http_mdvr_api_evidence_t  *e = data;

    if (rc == MDVR_OK) {
        ngx_add_timer(&e->timer, e->pause);
        return;
    }

    c = e->ctx->request->connection;
    ngx_http_mdvr_api_problem(e->ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                              "unavailable", "the job queue is away", 2);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_evidence_timer(ngx_event_t *ev)
{
    ngx_str_t                      bind[1];
    ngx_connection_t              *c;
    ngx_http_mdvr_api_evidence_t  *e = ev->data;

    c = e->ctx->request->connection;
    bind[0] = e->id;

    ngx_http_mdvr_api_query(e->ctx,
        "select status, object_key, failed_reason from mdvr.evidence"
        " where id = $1::uuid",
        "@0", bind, ngx_http_mdvr_api_evidence_seen);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_evidence_seen(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    char                          *reason;
    ngx_str_t                      status, key, text;
    ngx_http_mdvr_api_evidence_t  *e = ctx->data;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    status = ngx_mdvr_pg_value(rows, 0, 0);

    if (status.len == 5) {                      /* ready */
        key = ngx_mdvr_pg_value(rows, 0, 1);
        ngx_http_mdvr_api_evidence_serve(e, &key);
        return;
    }

    if (status.data[0] == 'f') {
        text = ngx_mdvr_pg_value(rows, 0, 2);
        reason = (char *) ngx_http_mdvr_api_dup(ctx->request->pool,
                                                (char *) text.data,
                                                text.len).data;
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "evidence_failed",
                                  reason, 0);
        return;
    }

    if (ngx_current_msec - e->since
        >= (status.data[0] == 'q' ? NGX_HTTP_MDVR_API_EVIDENCE_TAKEN
                                  : NGX_HTTP_MDVR_API_EVIDENCE_WAIT))
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable",
                                  "the package is not ready yet", 5);
        return;
    }

    ngx_add_timer(&e->timer, e->pause);
    e->pause = ngx_min(e->pause * 3 / 2, 1000);
}


/* "/files/" serves it, as every stored object */

static void
ngx_http_mdvr_api_evidence_serve(ngx_http_mdvr_api_evidence_t *e,
    const ngx_str_t *key)
{
    ngx_str_t            uri, name;
    ngx_http_request_t  *r;

    r = e->ctx->request;

    uri = ngx_http_mdvr_api_file_url(r, key, ngx_time() + 60);

    if (uri.data == NULL) {
        ngx_http_mdvr_api_problem(e->ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable", "no signing key yet", 1);
        return;
    }

    if (uri.data[0] != '/') {                   /* in S3 */
        if (ngx_mdvr_http_header(r, "Location", &uri) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        ngx_str_null(&name);
        ngx_http_mdvr_api_answer(e->ctx, NGX_HTTP_TEMPORARY_REDIRECT,
                                 "application/zip", &name, 0);
        return;
    }

    name.data = ngx_pnalloc(r->pool, sizeof("attachment; filename=\""
                                            "evidence-.zip\"")
                                     + e->ctx->ids[0].len);
    if (name.data == NULL) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    name.len = ngx_sprintf(name.data, "attachment; filename=\"evidence-%V.zip\"",
                           &e->ctx->ids[0])
               - name.data;

    if (ngx_mdvr_http_header(r, "Content-Disposition", &name) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_str_set(&r->headers_out.content_type, "application/zip");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    (void) ngx_http_internal_redirect(r, &uri, NULL);
    ngx_http_finalize_request(r, NGX_DONE);
}
