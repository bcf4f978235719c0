/*
 * PostgreSQL from the event loop: one pool of pipelined libpq connections per
 * role and worker.
 *
 * Each call is one pipeline group and one Sync: a select of set_config(...,
 * true) for tenant, user, role and statement_timeout, then the statement; the
 * group is one implicit transaction.  Two calls never share a Sync, so an
 * error or a tenant of one cannot reach another.
 */

#ifndef NGX_MDVR_PG_H
#define NGX_MDVR_PG_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


#define NGX_MDVR_PG_PARAMS  64


typedef struct ngx_mdvr_pg_rows_s  ngx_mdvr_pg_rows_t;


/* data == NULL is SQL null.  Text needs no zero at its end. */

typedef struct {
    const void               *data;
    size_t                    len;
    unsigned                  binary;        /* 1: PostgreSQL's binary form */
} ngx_mdvr_pg_param_t;


typedef struct {
    ngx_mdvr_pg_role_e          role;
    const char                 *sql;         /* static: its address is its name */
    const ngx_mdvr_pg_param_t  *params;      /* copied, NGX_MDVR_PG_PARAMS at most */
    ngx_uint_t                  nparams;
    ngx_str_t                   tenant;      /* app.current_tenant_id, "" if none */
    ngx_str_t                   user_id;     /* app.current_user_id */
    ngx_str_t                   app_role;    /* app.current_role */
    ngx_str_t                   traceparent; /* the call becomes a span below
                                                it; "": none */
    unsigned                    retry:1;     /* idempotent: run it again, within
                                                the deadline, when the connection
                                                was lost under it */
    unsigned                    bulk:1;      /* takes long: keeps to half of the
                                                connections */
    unsigned                    spare:1;     /* may be kept elsewhere: fails as
                                                soon as a worker's first
                                                connections have failed */
} ngx_mdvr_pg_call_t;


/* Why the call failed; `sqlstate` is "" when the server did not say. */

typedef struct {
    ngx_str_t                 sqlstate;
    ngx_str_t                 message;       /* primary message */
    ngx_str_t                 detail;
    ngx_str_t                 constraint;
} ngx_mdvr_pg_error_t;


/*
 * `rows` is valid until the handler returns; NULL when `rc` is not MDVR_OK:
 *
 *   MDVR_E_UNAVAILABLE  no connection, or it was lost; what happened to a
 *                       statement that was already sent is unknown
 *   MDVR_E_TIMEOUT      the deadline passed (57014 too); unknown likewise
 *   MDVR_E_CONFLICT     unique 23505, exclusion 23P01, MD409
 *   MDVR_E_RANGE        check 23514, not null 23502, foreign key 23503,
 *                       malformed value (22xxx), MD422
 *   MDVR_E_NOT_FOUND    MD404
 *   MDVR_E_FORBIDDEN    42501, MD403
 *   MDVR_E_LIMIT        MD429 (quota)
 *   MDVR_E_INTERNAL     anything else; already logged
 *
 * A call that ended in a deadlock (40P01, 40001) has left nothing and is run
 * again within its deadline, five times in all.
 *
 * "MDxxx" are errors our own functions raise, with a public sentence as
 * message (`raise exception '...' using errcode = 'MD409'`).
 */
typedef void (*ngx_mdvr_pg_done_pt)(void *data,
    const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc);


/*
 * Runs one statement.  `done` is called exactly once, from the event loop and
 * never from within this call.  `timeout` is in milliseconds and covers
 * queueing, connecting and the statement.  When `pool` is destroyed first, the
 * call is cancelled and `done` is not called (a statement that was already
 * sent still runs); `pool` may be NULL.  Everything in `call` is copied except
 * the text of `sql`.
 *
 * NGX_OK: accepted.  NGX_BUSY: queue full, answer 503.  NGX_ERROR: no memory,
 * or that role is not configured.
 */
ngx_int_t ngx_mdvr_pg_query(ngx_pool_t *pool, const ngx_mdvr_pg_call_t *call,
    ngx_msec_t timeout, ngx_mdvr_pg_done_pt done, void *data);

ngx_uint_t ngx_mdvr_pg_nrows(const ngx_mdvr_pg_rows_t *rows);
ngx_uint_t ngx_mdvr_pg_ncols(const ngx_mdvr_pg_rows_t *rows);

/* A view into `rows`, zero-terminated; "" for null. */
ngx_str_t ngx_mdvr_pg_value(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    ngx_uint_t col);
ngx_uint_t ngx_mdvr_pg_isnull(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    ngx_uint_t col);

/* NGX_DECLINED when null or not of that type. */
ngx_int_t ngx_mdvr_pg_int(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    ngx_uint_t col, int64_t *value);
ngx_int_t ngx_mdvr_pg_uuid(const ngx_mdvr_pg_rows_t *rows, ngx_uint_t row,
    ngx_uint_t col, ngx_mdvr_uuid_t *value);

/* Rows an insert, update or delete touched. */
ngx_uint_t ngx_mdvr_pg_affected(const ngx_mdvr_pg_rows_t *rows);

/* What the server said, valid only inside a `done` with rows == NULL. */
const ngx_mdvr_pg_error_t *ngx_mdvr_pg_error(void);

/*
 * Whether a connection of that role is established and has answered lately:
 * who stores in bulk asks before it takes the spool instead.
 */
ngx_uint_t ngx_mdvr_pg_up(ngx_mdvr_pg_role_e role);

/*
 * Whether it is up, or this worker's first connection of that role is still
 * being made, for which calls wait: PostgreSQL has not been seen to be away.
 */
ngx_uint_t ngx_mdvr_pg_expected(ngx_mdvr_pg_role_e role);

/* Convenience for the parameter array. */
#define ngx_mdvr_pg_text(s)                                                   \
    (ngx_mdvr_pg_param_t) { (s)->data, (s)->len, 0 }
#define ngx_mdvr_pg_null()                                                    \
    (ngx_mdvr_pg_param_t) { NULL, 0, 0 }
#define ngx_mdvr_pg_bytes(p, n)                                               \
    (ngx_mdvr_pg_param_t) { (p), (n), 1 }


/* for the core module only */

ngx_int_t ngx_mdvr_pg_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf);
void ngx_mdvr_pg_drain(void);
void ngx_mdvr_pg_exit(void);


#endif
