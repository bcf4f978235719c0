/*
 * What the rows of ngx_mdvr_pg.h are inside, and what an error says: for the PostgreSQL client only.
 */

#ifndef NGX_MDVR_PG_ROWS_H
#define NGX_MDVR_PG_ROWS_H


#include "ngx_mdvr_core/ngx_mdvr_pg.h"

#include <libpq-fe.h>


struct ngx_mdvr_pg_rows_s {
    PGresult                 *result;
};


/* A field of an error (PG_DIAG_*), valid as long as the result; "" if none. */
void ngx_mdvr_pg_field(const PGresult *result, int code, ngx_str_t *field);

/* A deadlock, or a serialization failure: nothing of the call is left. */
ngx_uint_t ngx_mdvr_pg_undone(const PGresult *result);

/* Fills `e` with views into `result`; `rc` when the table has no better one. */
mdvr_rc_t ngx_mdvr_pg_verdict(const PGresult *result, ngx_mdvr_pg_error_t *e,
    mdvr_rc_t rc);


/*
 * What libpq says, which has lines and tabs, as one line of a log: valid until
 * the next call.
 */
const char *ngx_mdvr_pg_words(const char *text);


#endif
