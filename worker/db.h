/*
 * PostgreSQL for a child of the worker: synchronous, one connection.
 *
 * Everything happens in transactions that begin with the tenant's setting, so
 * that row security applies and pgbouncer's transaction pooling is enough.
 */

#ifndef MDVR_WORKER_DB_H
#define MDVR_WORKER_DB_H

#include <libpq-fe.h>

#include "worker/worker.h"

typedef struct {
    const wk_conf_t  *conf;
    PGconn           *c;
    char              error[300];   /* of the last failure, one line */
} wk_db_t;

void wk_db_init(wk_db_t *db, const wk_conf_t *conf);
void wk_db_close(wk_db_t *db);

/* Connects when needed; `tenant_id` NULL: a transaction without tenant. */
bool wk_db_begin(wk_db_t *db, const char *tenant_id);
bool wk_db_commit(wk_db_t *db);
void wk_db_rollback(wk_db_t *db);

/*
 * One statement with text parameters ($1 ...), NULL for SQL's null.  The
 * result is the caller's (PQclear); NULL on failure, which db->error tells
 * and which has rolled the transaction back.  What is a transaction by itself
 * is run again after a deadlock; who began one tries all of it again.
 */
PGresult *wk_db(wk_db_t *db, const char *sql, int n,
    const char *const *values);

/* Field of a row, NULL for SQL's null. */
const char *wk_db_get(const PGresult *res, int row, int column);

#endif /* MDVR_WORKER_DB_H */
