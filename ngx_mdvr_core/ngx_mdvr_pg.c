/*
 * PostgreSQL from the event loop.
 *
 * A call waits in its role's queue or is in the FIFO of one connection; there
 * it stays until its Sync came back, even when nobody wants the answer any
 * more (libpq answers strictly in order).  A group on the wire is
 *
 *   [Parse set_config] [Parse sql]   first use on that connection
 *   select set_config(...)           tenant, user, role, statement_timeout
 *   sql
 *   Sync
 *
 * libpq does not promise to read until EAGAIN, so events are level-triggered;
 * nginx must never close libpq's descriptor (ngx_mdvr_pg_unwatch()).
 *
 * A connection that answers nothing for 2 s beyond a call's deadline is given
 * up: the server's own statement_timeout would have ended that statement.
 */

#include "ngx_mdvr_core/ngx_mdvr_pg_parts.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


#define NGX_MDVR_PG_DEPTH        8      /* groups under way per connection */
#define NGX_MDVR_PG_WAITING      4096   /* calls waiting per role */
#define NGX_MDVR_PG_FREE         256    /* call structures kept */
#define NGX_MDVR_PG_UNDONE       5      /* runs of a call in deadlocks */

#define ngx_mdvr_pg_has(set, n)    ((set)[(n) / 8] & (1 << ((n) % 8)))
#define ngx_mdvr_pg_put(set, n)    (set)[(n) / 8] |= (u_char) (1 << ((n) % 8))
#define ngx_mdvr_pg_cut(set, n)    (set)[(n) / 8] &= (u_char) ~(1 << ((n) % 8))


static ngx_int_t ngx_mdvr_pg_copy(ngx_mdvr_pg_req_t *req,
    const ngx_mdvr_pg_call_t *call);
static ngx_mdvr_pg_conn_t *ngx_mdvr_pg_pick(ngx_mdvr_pg_pool_t *pool,
    ngx_uint_t bulk);
static ngx_int_t ngx_mdvr_pg_send(ngx_mdvr_pg_conn_t *conn,
    ngx_mdvr_pg_req_t *req);
static void ngx_mdvr_pg_answer(ngx_mdvr_pg_req_t *req,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);
static void ngx_mdvr_pg_gone(ngx_mdvr_tie_t *tie);
static void ngx_mdvr_pg_deadline(ngx_event_t *ev);


static const char  ngx_mdvr_pg_scope[] =
    "select set_config('app.current_tenant_id', $1, true),"
    " set_config('app.current_user_id', $2, true),"
    " set_config('app.current_role', $3, true),"
    " set_config('statement_timeout', $4, true)";

const char  *ngx_mdvr_pg_names[NGX_MDVR_PG_ROLES] = { "stream", "api" };
ngx_uint_t   ngx_mdvr_pg_draining;

static ngx_mdvr_pg_pool_t   ngx_mdvr_pg_pools[NGX_MDVR_PG_ROLES];
static ngx_queue_t          ngx_mdvr_pg_unused;
static ngx_uint_t           ngx_mdvr_pg_nunused;
static ngx_mdvr_pg_error_t  ngx_mdvr_pg_last;


ngx_int_t
ngx_mdvr_pg_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf)
{
    ngx_uint_t           i, n;
    ngx_mdvr_pg_conn_t  *conn;
    ngx_mdvr_pg_pool_t  *pool;

    ngx_queue_init(&ngx_mdvr_pg_unused);

    for (i = 0; i < NGX_MDVR_PG_ROLES; i++) {
        pool = &ngx_mdvr_pg_pools[i];

        pool->role = i;
        pool->conf = &conf->pg[i];
        ngx_queue_init(&pool->waiting);

        if (pool->conf->conninfo.len == 0) {
            continue;
        }

        pool->conns = ngx_pcalloc(cycle->pool, pool->conf->pool
                                               * sizeof(ngx_mdvr_pg_conn_t));
        if (pool->conns == NULL) {
            return NGX_ERROR;
        }

        for (n = 0; n < pool->conf->pool; n++) {
            conn = &pool->conns[n];

            conn->pool = pool;
            conn->timer.handler = ngx_mdvr_pg_timer;
            conn->timer.data = conn;
            conn->timer.log = cycle->log;
            conn->timer.cancelable = 1;
            ngx_queue_init(&conn->fifo);

            ngx_mdvr_pg_connect(conn);
        }
    }

    return NGX_OK;
}


/*
 * The connections of a draining worker close as they become idle; a call
 * that comes later connects again, for itself.
 */

void
ngx_mdvr_pg_drain(void)
{
    ngx_uint_t           i, n;
    ngx_mdvr_pg_conn_t  *conn;
    ngx_mdvr_pg_pool_t  *pool;

    ngx_mdvr_pg_draining = 1;

    for (i = 0; i < NGX_MDVR_PG_ROLES; i++) {
        pool = &ngx_mdvr_pg_pools[i];

        for (n = 0; pool->conns && n < pool->conf->pool; n++) {
            conn = &pool->conns[n];

            if (conn->state == pg_ready && conn->inflight == 0) {
                ngx_mdvr_pg_close(conn, 0);
            }
        }
    }
}


void
ngx_mdvr_pg_exit(void)
{
    ngx_uint_t           i, n;
    ngx_mdvr_pg_conn_t  *conn;
    ngx_mdvr_pg_pool_t  *pool;

    for (i = 0; i < NGX_MDVR_PG_ROLES; i++) {
        pool = &ngx_mdvr_pg_pools[i];

        for (n = 0; pool->conns && n < pool->conf->pool; n++) {
            conn = &pool->conns[n];

            if (conn->pg) {
                ngx_mdvr_pg_unwatch(conn);
                PQfinish(conn->pg);
                conn->pg = NULL;
            }
        }
    }
}


ngx_int_t
ngx_mdvr_pg_query(ngx_pool_t *cpool, const ngx_mdvr_pg_call_t *call,
    ngx_msec_t timeout, ngx_mdvr_pg_done_pt done, void *data)
{
    ngx_uint_t           h, i;
    ngx_queue_t         *q;
    ngx_mdvr_pg_req_t   *req;
    ngx_mdvr_pg_conn_t  *conn;
    ngx_mdvr_pg_pool_t  *pool;

    if (call->role >= NGX_MDVR_PG_ROLES || call->nparams > NGX_MDVR_PG_PARAMS) {
        return NGX_ERROR;
    }

    pool = &ngx_mdvr_pg_pools[call->role];

    if (pool->conns == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "\"mdvr_postgres %s\" is not configured",
                      ngx_mdvr_pg_names[call->role]);
        return NGX_ERROR;
    }

    if (pool->nwaiting >= NGX_MDVR_PG_WAITING) {
        ngx_mdvr_count(db_refused_total);
        return NGX_BUSY;
    }

    if (ngx_queue_empty(&ngx_mdvr_pg_unused)) {
        req = ngx_alloc(sizeof(ngx_mdvr_pg_req_t), ngx_cycle->log);
        if (req == NULL) {
            return NGX_ERROR;
        }

    } else {
        q = ngx_queue_head(&ngx_mdvr_pg_unused);
        ngx_queue_remove(q);
        ngx_mdvr_pg_nunused--;
        req = ngx_queue_data(q, ngx_mdvr_pg_req_t, queue);
    }

    ngx_memzero(req, sizeof(ngx_mdvr_pg_req_t));

    req->pool = pool;
    req->done = done;
    req->data = data;
    req->sql = call->sql;
    req->statement = NGX_MDVR_PG_STATEMENTS;
    req->retry = call->retry;
    req->bulk = call->bulk;
    req->spare = call->spare;
    req->start = ngx_current_msec;
    req->timeout = ngx_max(timeout, 1);

    if (call->traceparent.len) {
        ngx_mdvr_span_child(&req->span, &call->traceparent);
    }

    if (pool->conf->prepare) {

        /* slot 0 is the scope; the address of a text is its name */

        h = ((uintptr_t) call->sql >> 3) * 2654435761u;

        for (i = 0; i < 32; i++) {
            h = (h + 1) % NGX_MDVR_PG_STATEMENTS;

            if (h == 0) {
                continue;
            }

            if (pool->statements[h] == NULL) {
                pool->statements[h] = call->sql;
            }

            if (pool->statements[h] == call->sql) {
                req->statement = h;
                break;
            }
        }
    }

    if (ngx_mdvr_pg_copy(req, call) != NGX_OK
        || ngx_mdvr_tie(cpool, &req->tie, ngx_mdvr_pg_gone) != NGX_OK)
    {
        ngx_mdvr_pg_free(req);
        return NGX_ERROR;
    }

    req->timer.handler = ngx_mdvr_pg_deadline;
    req->timer.data = req;
    req->timer.log = ngx_cycle->log;

    ngx_mdvr_count(db_calls_total);
    ngx_add_timer(&req->timer, req->timeout);

    conn = ngx_queue_empty(&pool->waiting) ? ngx_mdvr_pg_pick(pool, req->bulk)
                                           : NULL;

    if (conn == NULL || ngx_mdvr_pg_send(conn, req) != NGX_OK) {
        ngx_queue_insert_tail(&pool->waiting, &req->queue);
        pool->nwaiting++;
    }

    ngx_mdvr_pg_gauges();

    return NGX_OK;
}


/*
 * Lays tenant, user, role and parameters out in one block:
 * the array of parameters first, then the bytes, each followed by a zero.
 */

static ngx_int_t
ngx_mdvr_pg_copy(ngx_mdvr_pg_req_t *req, const ngx_mdvr_pg_call_t *call)
{
    size_t                size;
    u_char               *p;
    ngx_uint_t            i;
    ngx_mdvr_pg_param_t  *param, src[3];

    src[0] = ngx_mdvr_pg_text(&call->tenant);
    src[1] = ngx_mdvr_pg_text(&call->user_id);
    src[2] = ngx_mdvr_pg_text(&call->app_role);

    size = (call->nparams + 3) * (sizeof(ngx_mdvr_pg_param_t) + 1)
           + src[0].len + src[1].len + src[2].len;

    for (i = 0; i < call->nparams; i++) {
        size += call->params[i].len;
    }

    req->copy = ngx_alloc(size, ngx_cycle->log);
    if (req->copy == NULL) {
        return NGX_ERROR;
    }

    param = (ngx_mdvr_pg_param_t *) req->copy;
    p = req->copy + (call->nparams + 3) * sizeof(ngx_mdvr_pg_param_t);

    for (i = 0; i < call->nparams + 3; i++) {
        param[i] = i < 3 ? src[i] : call->params[i - 3];

        if (param[i].data || i < 3) {
            param[i].data = p;
            p = ngx_cpymem(p, (i < 3 ? src[i] : call->params[i - 3]).data,
                           param[i].len);
            *p++ = '\0';
        }
    }

    req->nparams = call->nparams;

    return NGX_OK;
}


/*
 * Long calls share half of the connections that are up, one at least: short
 * ones find another where nothing long is before them, and batches that run
 * side by side only wait for each other.
 */

static ngx_mdvr_pg_conn_t *
ngx_mdvr_pg_pick(ngx_mdvr_pg_pool_t *pool, ngx_uint_t bulk)
{
    ngx_uint_t           i, left, load, least;
    ngx_mdvr_pg_conn_t  *conn, *best;

    best = NULL;
    least = (ngx_uint_t) -1;
    left = bulk ? (pool->nready + 1) / 2 : pool->nready;

    for (i = 0; i < pool->conf->pool && left; i++) {
        conn = &pool->conns[i];

        if (conn->state != pg_ready || conn->doomed || conn->broken) {
            continue;
        }

        left--;
        load = conn->inflight + conn->bulk * NGX_MDVR_PG_DEPTH;

        if (conn->inflight < NGX_MDVR_PG_DEPTH && load < least) {
            best = conn;
            least = load;
        }
    }

    if (best == NULL && ngx_mdvr_pg_draining && pool->nready == 0) {
        conn = &pool->conns[0];

        if (conn->state == pg_idle && !conn->timer.timer_set) {
            ngx_mdvr_pg_connect(conn);
        }
    }

    return best;
}


/*
 * Hands a group to libpq.  NGX_ERROR: nothing of the group is executed for
 * want of its Sync, and the connection will be closed.
 */

static ngx_int_t
ngx_mdvr_pg_send(ngx_mdvr_pg_conn_t *conn, ngx_mdvr_pg_req_t *req)
{
    int                         ok, lens[NGX_MDVR_PG_PARAMS];
    int                         formats[NGX_MDVR_PG_PARAMS];
    char                        name[16], ms[NGX_INT_T_LEN + 1];
    const char                 *values[NGX_MDVR_PG_PARAMS], *scope[4];
    ngx_uint_t                  i, n;
    ngx_msec_int_t              left;
    const ngx_mdvr_pg_param_t  *param;

    param = (ngx_mdvr_pg_param_t *) req->copy;
    n = req->nparams;

    for (i = 0; i < n; i++) {
        values[i] = param[i + 3].data;
        lens[i] = (int) param[i + 3].len;
        formats[i] = param[i + 3].binary;
    }

    left = (ngx_msec_int_t) (req->start + req->timeout - ngx_current_msec);
    *ngx_sprintf((u_char *) ms, "%M", (ngx_msec_t) ngx_max(left, 1)) = '\0';

    for (i = 0; i < 3; i++) {
        scope[i] = param[i].data;
    }

    scope[3] = ms;

    req->nparse = 0;
    req->nscope = 0;
    req->results = 0;
    req->failed = 0;

    if (req->statement < NGX_MDVR_PG_STATEMENTS) {
        ok = 1;

        if (!ngx_mdvr_pg_has(conn->prepared, 0)) {
            ok = PQsendPrepare(conn->pg, "s0", ngx_mdvr_pg_scope, 4, NULL);
            ngx_mdvr_pg_put(conn->prepared, 0);
            req->nparse++;
            req->nscope = 1;
        }

        *ngx_sprintf((u_char *) name, "s%ui", req->statement) = '\0';

        if (ok && !ngx_mdvr_pg_has(conn->prepared, req->statement)) {
            ok = PQsendPrepare(conn->pg, name, req->sql, 0, NULL);
            ngx_mdvr_pg_put(conn->prepared, req->statement);
            req->nparse++;
        }

        ok = ok && PQsendQueryPrepared(conn->pg, "s0", 4, scope, NULL, NULL,
                                       0)
             && PQsendQueryPrepared(conn->pg, name, n, values, lens, formats,
                                    0);

    } else {
        ok = PQsendQueryParams(conn->pg, ngx_mdvr_pg_scope, 4, NULL, scope,
                               NULL, NULL, 0)
             && PQsendQueryParams(conn->pg, req->sql, n, NULL, values, lens,
                                  formats, 0);
    }

    if (!ok || !PQpipelineSync(conn->pg)) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "sending to PostgreSQL (%s) failed: %s",
                      ngx_mdvr_pg_names[conn->pool->role],
                      ngx_mdvr_pg_words(PQerrorMessage(conn->pg)));

        conn->broken = 1;
        ngx_post_event(&conn->timer, &ngx_posted_events);

        return NGX_ERROR;
    }

    req->conn = conn;
    ngx_queue_insert_tail(&conn->fifo, &req->queue);
    conn->inflight++;
    conn->bulk += req->bulk;
    conn->pool->ninflight++;

    ngx_mdvr_pg_flush(conn);

    return NGX_OK;
}


/*
 * Gives waiting calls to connections that have room; a long one that finds none
 * does not keep the short ones behind it.
 */

void
ngx_mdvr_pg_feed(ngx_mdvr_pg_pool_t *pool)
{
    ngx_uint_t           full;
    ngx_queue_t         *q, *next;
    ngx_mdvr_pg_req_t   *req;
    ngx_mdvr_pg_conn_t  *conn;

    full = 0;

    for (q = ngx_queue_head(&pool->waiting);
         q != ngx_queue_sentinel(&pool->waiting);
         q = next)
    {
        next = ngx_queue_next(q);
        req = ngx_queue_data(q, ngx_mdvr_pg_req_t, queue);

        if (req->bulk && full) {
            continue;
        }

        conn = ngx_mdvr_pg_pick(pool, req->bulk);

        if (conn == NULL) {
            if (!req->bulk) {
                break;
            }

            full = 1;
            continue;
        }

        ngx_queue_remove(q);
        pool->nwaiting--;

        if (ngx_mdvr_pg_send(conn, req) != NGX_OK) {
            ngx_queue_insert_tail(next, q);     /* where it was */
            pool->nwaiting++;
            next = q;
        }
    }

    ngx_mdvr_pg_gauges();
}


/*
 * The first connections have failed: calls that need not wait for PostgreSQL
 * are given up.  Each may end others, so the search begins anew.
 */

void
ngx_mdvr_pg_spare(ngx_mdvr_pg_pool_t *pool)
{
    ngx_queue_t        *q;
    ngx_mdvr_pg_req_t  *req;

    if (pool->seen || ngx_mdvr_pg_expected(pool->role)) {
        return;
    }

    q = ngx_queue_head(&pool->waiting);

    while (q != ngx_queue_sentinel(&pool->waiting)) {
        req = ngx_queue_data(q, ngx_mdvr_pg_req_t, queue);

        if (!req->spare) {
            q = ngx_queue_next(q);
            continue;
        }

        ngx_queue_remove(q);
        pool->nwaiting--;

        ngx_mdvr_pg_fail(req, MDVR_E_UNAVAILABLE, NULL);
        ngx_mdvr_pg_free(req);

        q = ngx_queue_head(&pool->waiting);
    }
}


void
ngx_mdvr_pg_gauges(void)
{
    ngx_uint_t  i, waiting, inflight, ready;

    waiting = 0;
    inflight = 0;
    ready = 0;

    for (i = 0; i < NGX_MDVR_PG_ROLES; i++) {
        waiting += ngx_mdvr_pg_pools[i].nwaiting;
        inflight += ngx_mdvr_pg_pools[i].ninflight;
        ready += ngx_mdvr_pg_pools[i].nready;
    }

    ngx_mdvr_gauge(db_pool_waiting, waiting);
    ngx_mdvr_gauge(db_pool_in_use, inflight);
    ngx_mdvr_gauge(db_connections, ready);
}


/* -- the end of a call --------------------------------------------------- */


void
ngx_mdvr_pg_fail(ngx_mdvr_pg_req_t *req, mdvr_rc_t rc, PGresult *result)
{
    ngx_mdvr_pg_error_t  *e;

    e = &ngx_mdvr_pg_last;
    ngx_memzero(e, sizeof(ngx_mdvr_pg_error_t));

    if (result) {
        rc = ngx_mdvr_pg_verdict(result, e, rc);

        if (rc == MDVR_E_INTERNAL) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "PostgreSQL (%s) answered %V \"%V\" to \"%s\"",
                          ngx_mdvr_pg_names[req->pool->role], &e->sqlstate,
                          &e->message, req->sql);
        }

    } else {
        ngx_str_null(&e->sqlstate);
        ngx_str_set(&e->message, "");
    }

    ngx_mdvr_count(db_errors_total);

    ngx_mdvr_pg_answer(req, NULL, rc);

    ngx_memzero(e, sizeof(ngx_mdvr_pg_error_t));
}


/* The text of a statement is ours and has no value of anybody in it. */

static void
ngx_mdvr_pg_span(ngx_mdvr_pg_req_t *req, mdvr_rc_t rc)
{
    mdvr_span_attr_t  attrs[] = {
        { "db.system", MDVR_STR("postgresql"), 0 },
        { "db.user", mdvr_cstr(ngx_mdvr_pg_names[req->pool->role]), 0 },
        { "db.statement", mdvr_cstr(req->sql), 0 }
    };

    ngx_mdvr_span_end(&req->span, MDVR_SPAN_CLIENT, MDVR_STR("postgresql"),
                      rc == MDVR_OK ? NULL : mdvr_rc_name(rc), attrs, 3);
}


/* Calls the requester, once, if there still is one. */

static void
ngx_mdvr_pg_answer(ngx_mdvr_pg_req_t *req, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc)
{
    ngx_mdvr_pg_done_pt  done;

    if (req->timer.timer_set) {
        ngx_del_timer(&req->timer);
    }

    ngx_mdvr_untie(&req->tie);

    done = req->done;
    req->done = NULL;

    if (req->span.open) {
        ngx_mdvr_pg_span(req, rc);
    }

    if (done) {
        ngx_mdvr_observe(db_call_seconds, ngx_current_msec - req->start);
        done(req->data, rows, rc);
    }
}


/* To the head of the queue; the deadline stays as it is. */

static void
ngx_mdvr_pg_repeat(ngx_mdvr_pg_req_t *req)
{
    req->conn = NULL;
    PQclear(req->result);
    req->result = NULL;

    ngx_queue_insert_head(&req->pool->waiting, &req->queue);
    req->pool->nwaiting++;
}


/* The Sync of the oldest call came back. */

void
ngx_mdvr_pg_finish(ngx_mdvr_pg_req_t *req)
{
    ngx_str_t            state;
    ngx_uint_t           unknown, stale, exists;
    ngx_mdvr_pg_conn_t  *conn;
    ngx_mdvr_pg_rows_t   rows;

    conn = req->conn;

    ngx_queue_remove(&req->queue);
    conn->inflight--;
    conn->bulk -= req->bulk;
    conn->pool->ninflight--;

    if (!req->failed) {
        rows.result = req->result;
        ngx_mdvr_pg_answer(req, &rows, MDVR_OK);
        ngx_mdvr_pg_free(req);
        return;
    }

    if (req->statement < NGX_MDVR_PG_STATEMENTS) {
        ngx_mdvr_pg_field(req->result, PG_DIAG_SQLSTATE, &state);

        unknown = (ngx_strcmp(state.data, "26000") == 0);
        stale = (ngx_strcmp(state.data, "0A000") == 0);

        /*
         * Parse messages are answered in order, and what was parsed stays
         * although the group failed: only the one that failed, unless it was
         * there already, and those after it are not prepared.
         */

        exists = (ngx_strcmp(state.data, "42P05") == 0);

        if (unknown || req->results + exists < req->nscope) {
            ngx_mdvr_pg_cut(conn->prepared, 0);
        }

        if (unknown || req->results + exists < req->nparse) {
            ngx_mdvr_pg_cut(conn->prepared, req->statement);
        }

        if (stale) {
            conn->doomed = 1;           /* its plans are of an older schema */
        }

        if ((unknown || stale || exists)
            && req->done && !req->again)
        {
            /* it has not run: what it names was not there, or is in the way */

            req->again = 1;
            ngx_mdvr_pg_repeat(req);
            return;
        }
    }

    if (req->done && ngx_mdvr_pg_undone(req->result)
        && ++req->undone < NGX_MDVR_PG_UNDONE)
    {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "PostgreSQL (%s) undid \"%s\" for another transaction, "
                      "once more", ngx_mdvr_pg_names[req->pool->role],
                      req->sql);

        ngx_mdvr_count(db_repeated_total);
        ngx_mdvr_pg_repeat(req);
        return;
    }

    ngx_mdvr_pg_fail(req, MDVR_E_INTERNAL, req->result);
    ngx_mdvr_pg_free(req);
}


void
ngx_mdvr_pg_free(ngx_mdvr_pg_req_t *req)
{
    if (req->timer.timer_set) {
        ngx_del_timer(&req->timer);
    }

    if (req->copy) {
        ngx_free(req->copy);
    }

    if (req->result) {
        PQclear(req->result);
    }

    if (ngx_mdvr_pg_nunused < NGX_MDVR_PG_FREE) {
        ngx_queue_insert_head(&ngx_mdvr_pg_unused, &req->queue);
        ngx_mdvr_pg_nunused++;

    } else {
        ngx_free(req);
    }
}


/* The requester's pool is destroyed: what was sent comes back to nobody. */

static void
ngx_mdvr_pg_gone(ngx_mdvr_tie_t *tie)
{
    ngx_mdvr_pg_req_t   *req;
    ngx_mdvr_pg_pool_t  *pool;

    req = (ngx_mdvr_pg_req_t *)
              ((u_char *) tie - offsetof(ngx_mdvr_pg_req_t, tie));

    req->done = NULL;
    pool = req->pool;

    if (req->conn == NULL) {
        ngx_queue_remove(&req->queue);
        pool->nwaiting--;
        ngx_mdvr_pg_free(req);
        ngx_mdvr_pg_gauges();
    }
}


static void
ngx_mdvr_pg_deadline(ngx_event_t *ev)
{
    ngx_mdvr_pg_req_t   *req;
    ngx_mdvr_pg_conn_t  *conn;

    req = ev->data;
    conn = req->conn;

    ngx_mdvr_count(db_timeouts_total);

    if (conn == NULL) {
        ngx_queue_remove(&req->queue);
        req->pool->nwaiting--;
        ngx_mdvr_pg_fail(req, req->pool->nready ? MDVR_E_TIMEOUT
                                                : MDVR_E_UNAVAILABLE, NULL);
        ngx_mdvr_pg_free(req);
        ngx_mdvr_pg_gauges();
        return;
    }

    if (!conn->timer.timer_set && conn->state == pg_ready) {
        ngx_add_timer(&conn->timer, NGX_MDVR_PG_STALL);
    }

    ngx_mdvr_pg_fail(req, MDVR_E_TIMEOUT, NULL);
}


/* -- state ---------------------------------------------------------------- */

const ngx_mdvr_pg_error_t *
ngx_mdvr_pg_error(void)
{
    return &ngx_mdvr_pg_last;
}


ngx_uint_t
ngx_mdvr_pg_up(ngx_mdvr_pg_role_e role)
{
    ngx_uint_t           i;
    ngx_mdvr_pg_conn_t  *conn;
    ngx_mdvr_pg_pool_t  *pool;

    pool = &ngx_mdvr_pg_pools[role];

    for (i = 0; pool->conns && i < pool->conf->pool; i++) {
        conn = &pool->conns[i];

        /* a timer on a ready one: it owes an answer */

        if (conn->state == pg_ready && !conn->broken
            && !conn->timer.timer_set)
        {
            return 1;
        }
    }

    return pool->conns && ngx_mdvr_pg_draining;
}


ngx_uint_t
ngx_mdvr_pg_expected(ngx_mdvr_pg_role_e role)
{
    ngx_uint_t           i;
    ngx_mdvr_pg_conn_t  *conn;
    ngx_mdvr_pg_pool_t  *pool;

    pool = &ngx_mdvr_pg_pools[role];

    for (i = 0; pool->conns && !pool->seen && i < pool->conf->pool; i++) {
        conn = &pool->conns[i];

        if (conn->state == pg_connecting && conn->backoff == 0) {
            return 1;
        }
    }

    return ngx_mdvr_pg_up(role);
}
