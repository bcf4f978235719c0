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

#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_trace.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_pg_rows.h"
#include "ngx_mdvr_core/ngx_mdvr_tie.h"

#include <libpq-fe.h>


#define NGX_MDVR_PG_DEPTH        8      /* groups under way per connection */
#define NGX_MDVR_PG_WAITING      4096   /* calls waiting per role */
#define NGX_MDVR_PG_STATEMENTS   512    /* distinct sql texts per role */
#define NGX_MDVR_PG_FREE         256    /* call structures kept */

#define NGX_MDVR_PG_UNDONE       5      /* runs of a call in deadlocks */

#define NGX_MDVR_PG_STALL        2000   /* ms beyond a deadline */
#define NGX_MDVR_PG_CONNECT      5000   /* ms to connect */
#define NGX_MDVR_PG_BACKOFF_MIN  100
#define NGX_MDVR_PG_BACKOFF_MAX  5000


typedef enum {
    pg_idle = 0,            /* no PGconn; backing off or drained */
    pg_connecting,          /* PQconnectPoll() */
    pg_ready                /* pipeline mode, groups may be under way */
} ngx_mdvr_pg_state_e;


typedef struct ngx_mdvr_pg_pool_s  ngx_mdvr_pg_pool_t;


typedef struct {
    ngx_mdvr_pg_state_e       state;
    ngx_mdvr_pg_pool_t       *pool;
    PGconn                   *pg;
    ngx_connection_t         *c;
    ngx_queue_t               fifo;          /* calls, oldest first */
    ngx_uint_t                inflight;
    ngx_uint_t                bulk;          /* of them long ones */
    ngx_event_t               timer;         /* connecting, backoff, stall */
    ngx_msec_t                backoff;
    unsigned                  doomed:1;      /* takes no more calls */
    unsigned                  broken:1;      /* to be closed when unwound */
    u_char                    prepared[NGX_MDVR_PG_STATEMENTS / 8];
} ngx_mdvr_pg_conn_t;


typedef struct {
    ngx_mdvr_tie_t            tie;
    ngx_queue_t               queue;         /* waiting, fifo, or free */
    ngx_event_t               timer;
    ngx_mdvr_pg_pool_t       *pool;
    ngx_mdvr_pg_conn_t       *conn;          /* NULL: waiting */
    ngx_mdvr_pg_done_pt       done;          /* NULL: nobody waits */
    void                     *data;

    const char               *sql;
    ngx_uint_t                statement;
    u_char                   *copy;          /* parameters */
    ngx_uint_t                nparams;
    ngx_uint_t                nparse;        /* Parse messages in the group */
    ngx_uint_t                nscope;        /* of these, that of "s0": 0, 1 */
    ngx_uint_t                results;       /* good ones so far */

    ngx_msec_t                start;
    ngx_msec_t                timeout;

    ngx_mdvr_span_t           span;

    PGresult                 *result;        /* the last, or the first error */
    unsigned                  failed:1;
    unsigned                  retry:1;
    unsigned                  bulk:1;
    unsigned                  again:1;       /* was sent anew once */
    ngx_uint_t                undone;        /* times undone by the server */
} ngx_mdvr_pg_req_t;


struct ngx_mdvr_pg_pool_s {
    ngx_mdvr_pg_role_e        role;
    ngx_mdvr_pg_conf_t       *conf;
    ngx_mdvr_pg_conn_t       *conns;
    ngx_queue_t               waiting;
    ngx_uint_t                nwaiting;
    ngx_uint_t                ninflight;
    ngx_uint_t                nready;

    const char               *statements[NGX_MDVR_PG_STATEMENTS];
};


static ngx_int_t ngx_mdvr_pg_copy(ngx_mdvr_pg_req_t *req,
    const ngx_mdvr_pg_call_t *call);
static ngx_mdvr_pg_conn_t *ngx_mdvr_pg_pick(ngx_mdvr_pg_pool_t *pool,
    ngx_uint_t bulk);
static ngx_int_t ngx_mdvr_pg_send(ngx_mdvr_pg_conn_t *conn,
    ngx_mdvr_pg_req_t *req);
static void ngx_mdvr_pg_feed(ngx_mdvr_pg_pool_t *pool);
static void ngx_mdvr_pg_fail(ngx_mdvr_pg_req_t *req, mdvr_rc_t rc,
    PGresult *result);
static void ngx_mdvr_pg_finish(ngx_mdvr_pg_req_t *req);
static void ngx_mdvr_pg_answer(ngx_mdvr_pg_req_t *req,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);
static void ngx_mdvr_pg_span(ngx_mdvr_pg_req_t *req, mdvr_rc_t rc);
static void ngx_mdvr_pg_free(ngx_mdvr_pg_req_t *req);
static void ngx_mdvr_pg_gone(ngx_mdvr_tie_t *tie);
static void ngx_mdvr_pg_deadline(ngx_event_t *ev);
static void ngx_mdvr_pg_connect(ngx_mdvr_pg_conn_t *conn);
static void ngx_mdvr_pg_poll(ngx_mdvr_pg_conn_t *conn);
static void ngx_mdvr_pg_ready(ngx_mdvr_pg_conn_t *conn);
static void ngx_mdvr_pg_flush(ngx_mdvr_pg_conn_t *conn);
static void ngx_mdvr_pg_read(ngx_mdvr_pg_conn_t *conn);
static void ngx_mdvr_pg_close(ngx_mdvr_pg_conn_t *conn, ngx_uint_t lost);
static ngx_int_t ngx_mdvr_pg_watch(ngx_mdvr_pg_conn_t *conn,
    ngx_uint_t events);
static void ngx_mdvr_pg_unwatch(ngx_mdvr_pg_conn_t *conn);
static void ngx_mdvr_pg_event(ngx_event_t *ev);
static void ngx_mdvr_pg_timer(ngx_event_t *ev);
static void ngx_mdvr_pg_gauges(void);


static const char  ngx_mdvr_pg_scope[] =
    "select set_config('app.current_tenant_id', $1, true),"
    " set_config('app.current_user_id', $2, true),"
    " set_config('app.current_role', $3, true),"
    " set_config('statement_timeout', $4, true)";

static const char *ngx_mdvr_pg_names[NGX_MDVR_PG_ROLES] = { "stream", "api" };

static ngx_mdvr_pg_pool_t   ngx_mdvr_pg_pools[NGX_MDVR_PG_ROLES];
static ngx_queue_t          ngx_mdvr_pg_unused;
static ngx_uint_t           ngx_mdvr_pg_nunused;
static ngx_uint_t           ngx_mdvr_pg_draining;
static ngx_mdvr_pg_error_t  ngx_mdvr_pg_last;


#define NGX_MDVR_PG_READ   1
#define NGX_MDVR_PG_WRITE  2

#define ngx_mdvr_pg_has(set, n)    ((set)[(n) / 8] & (1 << ((n) % 8)))
#define ngx_mdvr_pg_put(set, n)    (set)[(n) / 8] |= (u_char) (1 << ((n) % 8))
#define ngx_mdvr_pg_cut(set, n)    (set)[(n) / 8] &= (u_char) ~(1 << ((n) % 8))


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

static void
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


static void
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


static void
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

static void
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


static void
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


/* -- connections --------------------------------------------------------- */

static void
ngx_mdvr_pg_notice(void *data, const PGresult *result)
{
    char  *message;

    message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0, "PostgreSQL says: \"%s\"",
                  message ? message : "");
}


static void
ngx_mdvr_pg_connect(ngx_mdvr_pg_conn_t *conn)
{
    const char  *keys[4], *values[4];

    keys[0] = "dbname";
    values[0] = (char *) conn->pool->conf->conninfo.data;
    keys[1] = "client_encoding";
    values[1] = "UTF8";
    keys[2] = "fallback_application_name";
    values[2] = conn->pool->role == NGX_MDVR_PG_API ? "mdvr api"
                                                    : "mdvr stream";
    keys[3] = NULL;
    values[3] = NULL;

    conn->broken = 0;
    conn->doomed = 0;
    ngx_memzero(conn->prepared, sizeof(conn->prepared));

    conn->state = pg_connecting;
    conn->pg = PQconnectStartParams(keys, values, 1);

    if (conn->pg == NULL || PQstatus(conn->pg) == CONNECTION_BAD) {
        ngx_mdvr_pg_close(conn, 1);
        return;
    }

    PQsetNoticeReceiver(conn->pg, ngx_mdvr_pg_notice, NULL);

    if (ngx_mdvr_pg_watch(conn, NGX_MDVR_PG_WRITE) != NGX_OK) {
        ngx_mdvr_pg_close(conn, 1);
        return;
    }

    ngx_add_timer(&conn->timer, NGX_MDVR_PG_CONNECT);
}


static void
ngx_mdvr_pg_poll(ngx_mdvr_pg_conn_t *conn)
{
    ngx_uint_t  events;

    /* the descriptor may be another one after this call */

    ngx_mdvr_pg_unwatch(conn);

    switch (PQconnectPoll(conn->pg)) {

    case PGRES_POLLING_OK:
        ngx_mdvr_pg_ready(conn);
        return;

    case PGRES_POLLING_READING:
        events = NGX_MDVR_PG_READ;
        break;

    case PGRES_POLLING_WRITING:
        events = NGX_MDVR_PG_WRITE;
        break;

    default:
        ngx_mdvr_pg_close(conn, 1);
        return;
    }

    if (ngx_mdvr_pg_watch(conn, events) != NGX_OK) {
        ngx_mdvr_pg_close(conn, 1);
    }
}


static void
ngx_mdvr_pg_ready(ngx_mdvr_pg_conn_t *conn)
{
    if (PQsetnonblocking(conn->pg, 1) != 0
        || PQenterPipelineMode(conn->pg) != 1
        || ngx_mdvr_pg_watch(conn, NGX_MDVR_PG_READ) != NGX_OK)
    {
        ngx_mdvr_pg_close(conn, 1);
        return;
    }

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    if (conn->backoff) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "PostgreSQL (%s) is back",
                      ngx_mdvr_pg_names[conn->pool->role]);
    }

    conn->state = pg_ready;
    conn->backoff = 0;
    conn->pool->nready++;

    ngx_mdvr_count(db_connects_total);

    ngx_mdvr_pg_feed(conn->pool);
}


static void
ngx_mdvr_pg_flush(ngx_mdvr_pg_conn_t *conn)
{
    int           rc;
    ngx_event_t  *wev;

    rc = PQflush(conn->pg);

    wev = conn->c->write;

    if (rc < 0) {

        /* whatever the server said before it left is read first */

        conn->broken = 1;
        ngx_post_event(&conn->timer, &ngx_posted_events);
        return;
    }

    if (rc == 1 && !wev->active) {
        (void) ngx_add_event(wev, NGX_WRITE_EVENT, NGX_LEVEL_EVENT);

    } else if (rc == 0 && wev->active) {
        (void) ngx_del_event(wev, NGX_WRITE_EVENT, 0);
    }
}


static void
ngx_mdvr_pg_read(ngx_mdvr_pg_conn_t *conn)
{
    PGresult           *result;
    ngx_uint_t          ends;
    ngx_queue_t        *q;
    ngx_mdvr_pg_req_t  *req;

    ends = 0;

    if (!PQconsumeInput(conn->pg)) {
        conn->broken = 1;
    }

    while (!ngx_queue_empty(&conn->fifo) && !PQisBusy(conn->pg)) {

        q = ngx_queue_head(&conn->fifo);
        req = ngx_queue_data(q, ngx_mdvr_pg_req_t, queue);

        result = PQgetResult(conn->pg);

        if (result == NULL) {           /* end of one statement's results */

            if (PQstatus(conn->pg) == CONNECTION_BAD || ++ends > 2) {
                conn->broken = 1;       /* there is never more than one */
                break;
            }

            continue;
        }

        ends = 0;

        switch (PQresultStatus(result)) {

        case PGRES_PIPELINE_SYNC:
            PQclear(result);
            ngx_mdvr_pg_finish(req);
            break;

        case PGRES_TUPLES_OK:
        case PGRES_COMMAND_OK:
        case PGRES_EMPTY_QUERY:
            if (req->failed) {
                PQclear(result);
                break;
            }

            if (req->result) {
                PQclear(req->result);
            }

            req->result = result;
            req->results++;
            break;

        case PGRES_PIPELINE_ABORTED:
            PQclear(result);
            break;

        default:
            if (req->failed) {
                PQclear(result);
                break;
            }

            if (req->result) {
                PQclear(req->result);
            }

            req->result = result;
            req->failed = 1;

            if (PQstatus(conn->pg) == CONNECTION_BAD) {
                conn->broken = 1;
            }
        }

        if (conn->broken) {
            break;
        }
    }

    if (PQstatus(conn->pg) == CONNECTION_BAD) {
        conn->broken = 1;
    }

    if (conn->broken) {
        ngx_mdvr_pg_close(conn, 1);
        return;
    }

    if (conn->inflight == 0) {

        if (conn->timer.timer_set) {
            ngx_del_timer(&conn->timer);
        }

        if (conn->doomed) {
            ngx_mdvr_pg_close(conn, 0);
            return;
        }

        if (ngx_mdvr_pg_draining && ngx_queue_empty(&conn->pool->waiting)) {
            ngx_mdvr_pg_close(conn, 0);
            return;
        }
    }

    ngx_mdvr_pg_feed(conn->pool);
}


/*
 * Lets the connection go.  What was under way on it failed, or waits for
 * another connection when it may be repeated.
 */

static void
ngx_mdvr_pg_close(ngx_mdvr_pg_conn_t *conn, ngx_uint_t lost)
{
    ngx_msec_t           wait;
    ngx_queue_t          fifo, *q, *prev;
    ngx_mdvr_pg_req_t   *req;
    ngx_mdvr_pg_pool_t  *pool;

    pool = conn->pool;

    if (lost) {
        ngx_log_error((conn->backoff ? NGX_LOG_INFO : NGX_LOG_ERR),
                      ngx_cycle->log, 0, "PostgreSQL (%s) is away: %s",
                      ngx_mdvr_pg_names[pool->role],
                      conn->pg ? ngx_mdvr_pg_words(PQerrorMessage(conn->pg))
                               : "no memory");
    }

    if (conn->state == pg_ready) {
        pool->nready--;
    }

    ngx_mdvr_pg_unwatch(conn);

    if (conn->pg) {
        PQfinish(conn->pg);
        conn->pg = NULL;
    }

    if (conn->timer.timer_set) {
        ngx_del_timer(&conn->timer);
    }

    if (conn->timer.posted) {
        ngx_delete_posted_event(&conn->timer);
    }

    conn->state = pg_idle;
    conn->broken = 0;
    conn->doomed = 0;

    ngx_queue_init(&fifo);

    if (!ngx_queue_empty(&conn->fifo)) {
        ngx_queue_add(&fifo, &conn->fifo);
        ngx_queue_init(&conn->fifo);
    }

    pool->ninflight -= conn->inflight;
    conn->inflight = 0;
    conn->bulk = 0;

    if (lost) {
        if (conn->backoff == 0) {
            conn->backoff = NGX_MDVR_PG_BACKOFF_MIN;

        } else {
            conn->backoff = ngx_min(conn->backoff * 2,
                                    NGX_MDVR_PG_BACKOFF_MAX);
        }

        wait = conn->backoff / 2 + ngx_random() % (conn->backoff / 2 + 1);
        ngx_add_timer(&conn->timer, wait);

    } else if (!ngx_mdvr_pg_draining) {
        ngx_add_timer(&conn->timer, 1);
    }

    /* the oldest comes first again */

    for (q = ngx_queue_last(&fifo); q != ngx_queue_sentinel(&fifo); q = prev) {
        prev = ngx_queue_prev(q);
        req = ngx_queue_data(q, ngx_mdvr_pg_req_t, queue);

        if (req->retry && req->done) {
            if (req->result) {
                PQclear(req->result);
                req->result = NULL;
            }

            req->failed = 0;
            req->conn = NULL;
            ngx_queue_remove(q);
            ngx_queue_insert_head(&pool->waiting, q);
            pool->nwaiting++;
        }
    }

    while (!ngx_queue_empty(&fifo)) {
        q = ngx_queue_head(&fifo);
        ngx_queue_remove(q);
        req = ngx_queue_data(q, ngx_mdvr_pg_req_t, queue);

        if (req->done) {
            ngx_mdvr_pg_fail(req, MDVR_E_UNAVAILABLE,
                             req->failed ? req->result : NULL);
        }

        ngx_mdvr_pg_free(req);
    }

    ngx_mdvr_pg_gauges();
}


static ngx_int_t
ngx_mdvr_pg_watch(ngx_mdvr_pg_conn_t *conn, ngx_uint_t events)
{
    ngx_connection_t  *c;

    c = conn->c;

    if (c == NULL) {
        c = ngx_get_connection(PQsocket(conn->pg), ngx_cycle->log);
        if (c == NULL) {
            return NGX_ERROR;
        }

        c->data = conn;
        c->log = ngx_cycle->log;
        c->read->log = ngx_cycle->log;
        c->write->log = ngx_cycle->log;
        c->read->handler = ngx_mdvr_pg_event;
        c->write->handler = ngx_mdvr_pg_event;

        conn->c = c;
    }

    if ((events & NGX_MDVR_PG_READ) && !c->read->active
        && ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if ((events & NGX_MDVR_PG_WRITE) && !c->write->active
        && ngx_add_event(c->write, NGX_WRITE_EVENT, NGX_LEVEL_EVENT) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_mdvr_pg_unwatch(ngx_mdvr_pg_conn_t *conn)
{
    ngx_uint_t         flags;
    ngx_connection_t  *c;

    c = conn->c;
    conn->c = NULL;

    if (c == NULL) {
        return;
    }

    /* libpq closes a broken socket by itself, and with it the registration */
    flags = PQsocket(conn->pg) == c->fd ? 0 : NGX_CLOSE_EVENT;

    if (c->read->active) {
        (void) ngx_del_event(c->read, NGX_READ_EVENT, flags);
    }

    if (c->write->active) {
        (void) ngx_del_event(c->write, NGX_WRITE_EVENT, flags);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    c->fd = (ngx_socket_t) -1;
    ngx_free_connection(c);
}


static void
ngx_mdvr_pg_event(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_mdvr_pg_conn_t  *conn;

    c = ev->data;
    conn = c->data;

    if (conn == NULL || conn->c != c) {
        return;
    }

    switch (conn->state) {

    case pg_connecting:
        ngx_mdvr_pg_poll(conn);
        break;

    case pg_ready:
        if (ev->write) {
            ngx_mdvr_pg_flush(conn);
            break;
        }

        ngx_mdvr_pg_read(conn);
        break;

    case pg_idle:
        break;
    }
}


/* One timer and one posted event, by state. */

static void
ngx_mdvr_pg_timer(ngx_event_t *ev)
{
    ngx_queue_t         *q;
    ngx_mdvr_pg_req_t   *req;
    ngx_mdvr_pg_conn_t  *conn;

    conn = ev->data;

    switch (conn->state) {

    case pg_idle:
        if (!ngx_mdvr_pg_draining || !ngx_queue_empty(&conn->pool->waiting)) {
            ngx_mdvr_pg_connect(conn);
        }

        break;

    case pg_connecting:
        ngx_log_error(NGX_LOG_ERR, ev->log, NGX_ETIMEDOUT,
                      "connecting to PostgreSQL (%s)",
                      ngx_mdvr_pg_names[conn->pool->role]);
        ngx_mdvr_pg_close(conn, 1);
        break;

    case pg_ready:
        if (conn->broken) {
            ngx_mdvr_pg_read(conn);
            break;
        }

        if (ngx_queue_empty(&conn->fifo)) {
            break;
        }

        q = ngx_queue_head(&conn->fifo);
        req = ngx_queue_data(q, ngx_mdvr_pg_req_t, queue);

        if ((ngx_msec_int_t) (ngx_current_msec - req->start - req->timeout
                              - NGX_MDVR_PG_STALL) < 0)
        {
            /* the one that was late has been answered meanwhile */

            if (req->done == NULL) {
                ngx_add_timer(ev, NGX_MDVR_PG_STALL);
            }

            break;
        }

        ngx_log_error(NGX_LOG_ERR, ev->log, 0,
                      "PostgreSQL (%s) does not answer \"%s\", "
                      "connection given up",
                      ngx_mdvr_pg_names[conn->pool->role], req->sql);

        ngx_mdvr_pg_close(conn, 1);
        break;
    }
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
