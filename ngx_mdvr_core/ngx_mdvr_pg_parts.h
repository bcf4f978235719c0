/*
 * What the files of the database calls share and nobody else needs:
 *
 *   ngx_mdvr_pg.c        pools and calls: queued, sent, answered, given up
 *   ngx_mdvr_pg_conn.c   a connection: its beginning, bytes, events and end
 *   ngx_mdvr_pg_rows.c   what an answer holds
 */

#ifndef NGX_MDVR_PG_PARTS_H
#define NGX_MDVR_PG_PARTS_H


#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_pg_rows.h"
#include "ngx_mdvr_core/ngx_mdvr_tie.h"
#include "ngx_mdvr_core/ngx_mdvr_trace.h"

#include <libpq-fe.h>


#define NGX_MDVR_PG_STATEMENTS   512    /* distinct sql texts per role */
#define NGX_MDVR_PG_STALL        2000   /* ms beyond a deadline */


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
    unsigned                  spare:1;
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
    ngx_uint_t                seen;          /* one was ready once */

    const char               *statements[NGX_MDVR_PG_STATEMENTS];
};


extern const char  *ngx_mdvr_pg_names[NGX_MDVR_PG_ROLES];
extern ngx_uint_t   ngx_mdvr_pg_draining;


void ngx_mdvr_pg_connect(ngx_mdvr_pg_conn_t *conn);
void ngx_mdvr_pg_flush(ngx_mdvr_pg_conn_t *conn);
void ngx_mdvr_pg_close(ngx_mdvr_pg_conn_t *conn, ngx_uint_t lost);
void ngx_mdvr_pg_unwatch(ngx_mdvr_pg_conn_t *conn);
void ngx_mdvr_pg_timer(ngx_event_t *ev);
void ngx_mdvr_pg_feed(ngx_mdvr_pg_pool_t *pool);
void ngx_mdvr_pg_spare(ngx_mdvr_pg_pool_t *pool);
void ngx_mdvr_pg_gauges(void);
void ngx_mdvr_pg_fail(ngx_mdvr_pg_req_t *req, mdvr_rc_t rc, PGresult *result);
void ngx_mdvr_pg_finish(ngx_mdvr_pg_req_t *req);
void ngx_mdvr_pg_free(ngx_mdvr_pg_req_t *req);


#endif /* NGX_MDVR_PG_PARTS_H */
