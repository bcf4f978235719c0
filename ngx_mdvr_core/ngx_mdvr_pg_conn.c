/*
 * A connection to PostgreSQL: libpq's state machine on the event loop, in
 * pipeline mode, and what becomes of the calls when it breaks.
 */

#include "ngx_mdvr_core/ngx_mdvr_pg_parts.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


#define NGX_MDVR_PG_CONNECT      5000   /* ms to connect */
#define NGX_MDVR_PG_BACKOFF_MIN  100
#define NGX_MDVR_PG_BACKOFF_MAX  5000

#define NGX_MDVR_PG_READ   1
#define NGX_MDVR_PG_WRITE  2


static void ngx_mdvr_pg_ready(ngx_mdvr_pg_conn_t *conn);
static ngx_int_t ngx_mdvr_pg_watch(ngx_mdvr_pg_conn_t *conn,
    ngx_uint_t events);
static void ngx_mdvr_pg_event(ngx_event_t *ev);


static void
ngx_mdvr_pg_notice(void *data, const PGresult *result)
{
    char  *message;

    message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0, "PostgreSQL says: \"%s\"",
                  message ? message : "");
}


void
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
    conn->pool->seen = 1;

    ngx_mdvr_count(db_connects_total);

    ngx_mdvr_pg_feed(conn->pool);
}


void
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

void
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

    if (lost) {
        ngx_mdvr_pg_spare(pool);
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


void
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

void
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
