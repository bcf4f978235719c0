/* PostgreSQL for a child of the worker. */

#include <stdio.h>
#include <string.h>

#include "worker/db.h"
#include "worker/trace.h"

#define WK_DB_TRIES  5          /* of what ended in a deadlock */


void
wk_db_init(wk_db_t *db, const wk_conf_t *conf)
{
    memset(db, 0, sizeof(*db));
    db->conf = conf;
}


void
wk_db_close(wk_db_t *db)
{
    if (db->c) {
        PQfinish(db->c);
        db->c = NULL;
    }
}


static void
wk_db_failed(wk_db_t *db, const char *why)
{
    size_t  n;

    n = strcspn(why, "\n");
    snprintf(db->error, sizeof(db->error), "%.*s", (int) n, why);
}


static void
wk_db_ignore(void *data, const PGresult *res)
{
}


/*
 * A host that went away without a word is noticed: what the settings say of it
 * goes before, as the last of two equal words counts.
 */

static bool
wk_db_connect(wk_db_t *db)
{
    const char  *names[] = { "connect_timeout", "keepalives_idle",
                             "tcp_user_timeout", "dbname", NULL };
    const char  *values[] = { "10", "30", "60000", db->conf->pg, NULL };

    if (db->c && PQstatus(db->c) == CONNECTION_OK) {
        return true;
    }

    wk_db_close(db);
    db->c = PQconnectdbParams(names, values, 1);

    if (PQstatus(db->c) != CONNECTION_OK) {
        wk_db_failed(db, PQerrorMessage(db->c));
        wk_db_close(db);
        return false;
    }

    PQsetNoticeReceiver(db->c, wk_db_ignore, NULL);

    return true;
}


/* Whether the server undid it for the sake of another transaction. */

static bool
wk_db_undone(const PGresult *res)
{
    const char  *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    return state && (strcmp(state, "40P01") == 0 || strcmp(state, "40001") == 0);
}


PGresult *
wk_db(wk_db_t *db, const char *sql, int n, const char *const *values)
{
    int         tries;
    bool        alone;
    PGresult   *res;
    wk_span_t   span;

    if (!wk_db_connect(db)) {
        return NULL;
    }

    wk_trace_begin(&span, MDVR_SPAN_CLIENT, "postgresql");
    wk_trace_text(&span, "db.system", "postgresql");
    wk_trace_text(&span, "db.statement", sql);

    alone = PQtransactionStatus(db->c) == PQTRANS_IDLE;
    tries = 0;
    res = NULL;

    do {
        PQclear(res);
        res = PQexecParams(db->c, sql, n, NULL, values, NULL, NULL, 0);
    } while (alone && wk_db_undone(res) && ++tries < WK_DB_TRIES);

    if (PQresultStatus(res) == PGRES_TUPLES_OK
        || PQresultStatus(res) == PGRES_COMMAND_OK)
    {
        wk_trace_end(&span, NULL);
        return res;
    }

    wk_db_failed(db, PQresultErrorMessage(res));
    wk_trace_end(&span, PQresultErrorField(res, PG_DIAG_SQLSTATE)
                        ? PQresultErrorField(res, PG_DIAG_SQLSTATE)
                        : "connection lost");
    PQclear(res);
    wk_db_rollback(db);

    return NULL;
}


bool
wk_db_begin(wk_db_t *db, const char *tenant_id)
{
    PGresult  *res;

    res = wk_db(db, "begin", 0, NULL);
    if (res == NULL) {
        return false;
    }

    PQclear(res);

    if (tenant_id == NULL) {
        return true;
    }

    res = wk_db(db, "select set_config('app.current_tenant_id', $1, true)", 1,
                &tenant_id);
    if (res == NULL) {
        return false;
    }

    PQclear(res);

    return true;
}


bool
wk_db_commit(wk_db_t *db)
{
    bool       ok;
    PGresult  *res;

    res = wk_db(db, "commit", 0, NULL);
    if (res == NULL) {
        return false;
    }

    /* a transaction that had failed answers ROLLBACK */
    ok = strcmp(PQcmdStatus(res), "COMMIT") == 0;
    PQclear(res);

    return ok;
}


void
wk_db_rollback(wk_db_t *db)
{
    if (db->c == NULL) {
        return;
    }

    if (PQtransactionStatus(db->c) == PQTRANS_INERROR
        || PQtransactionStatus(db->c) == PQTRANS_INTRANS)
    {
        PQclear(PQexec(db->c, "rollback"));
    }

    if (PQstatus(db->c) != CONNECTION_OK) {
        wk_db_close(db);
    }
}


const char *
wk_db_get(const PGresult *res, int row, int column)
{
    return PQgetisnull(res, row, column) ? NULL : PQgetvalue(res, row, column);
}
