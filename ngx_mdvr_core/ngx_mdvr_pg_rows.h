/*
 * What the rows of ngx_mdvr_pg.h are inside: for the PostgreSQL client only.
 */

#ifndef NGX_MDVR_PG_ROWS_H
#define NGX_MDVR_PG_ROWS_H


#include "ngx_mdvr_core/ngx_mdvr_pg.h"

#include <libpq-fe.h>


struct ngx_mdvr_pg_rows_s {
    PGresult                 *result;
};


#endif
