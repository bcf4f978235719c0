/*
 * Scheduled work: what has to happen every so often, once however many
 * workers there are.
 *
 * A task is one statement.  mdvr.schedule_claim() says, under an advisory
 * lock of the transaction, whether it is due, and notes the time in the same
 * transaction that does the work: a task that fails is due again.  Tasks that
 * return (tenant_id, event_id, message) are published after the commit.
 */

#include <stdio.h>
#include <string.h>

#include "worker/handler.h"

typedef struct {
    const char  *name;
    const char  *every_s;
    const char  *sql;
    bool         events;                /* rows end with tenant, message */
    bool         until_zero;            /* repeat while it returns a count */
} wk_task_row_t;

static const wk_task_row_t  wk_tasks[] = {
    { "nodes",       "10",    "select tenant_id, message "
                              "from mdvr.nodes_expire('45 seconds')",
      true, false },
    { "commands",    "10",    "select tenant_id, message "
                              "from mdvr.commands_expire()", true, false },
    { "attach",      "2",     "select tenant_id, message "
                              "from mdvr.media_attach(200)", true, false },
    { "viewers",     "30",    "select mdvr.video_sessions_expire()",
      false, false },
    { "alarms",      "60",    "select tenant_id, message "
                              "from mdvr.expire_alarms()", true, false },
    { "positions",   "300",   "select mdvr.purge_positions(20000)",
      false, true },
    { "old_alarms",  "300",   "select mdvr.purge_alarms(1000)", false, true },
    { "usage",       "600",   "select mdvr.usage_snapshot()", false, false },
    { "history",     "900",   "select mdvr.purge_history(20000)",
      false, true },
    { "partitions",  "3600",  "select mdvr.ensure_partitions()",
      false, false },
    { "months",      "3600",  "select mdvr.drop_partitions()", false, false },
    { "failures",    "3600",  "select mdvr.login_failures_forget()",
      false, false },
};


static bool
wk_schedule_task(wk_db_t *db, wk_redis_t *redis, const wk_task_row_t *task)
{
    int          i;
    bool         again;
    PGresult    *res;
    const char  *claim[2] = { task->name, task->every_s };
    const char  *tenant, *message;

    if (!wk_db_begin(db, NULL)) {
        return false;
    }

    res = wk_db(db, "select mdvr.schedule_claim($1, $2::integer)", 2, claim);
    if (res == NULL) {
        return false;
    }

    again = strcmp(PQgetvalue(res, 0, 0), "t") == 0;
    PQclear(res);

    if (!again) {
        return wk_db_commit(db);
    }

    res = wk_db(db, task->sql, 0, NULL);
    if (res == NULL || !wk_db_commit(db)) {
        PQclear(res);
        return false;
    }

    for (i = 0; task->events && i < PQntuples(res); i++) {
        tenant = wk_db_get(res, i, 0);
        message = wk_db_get(res, i, 1);

        if (tenant && message) {
            wk_redis_publish(redis, tenant, message);
        }
    }

    /* short transactions, one after the other, the lock free in between */

    while (task->until_zero && strcmp(PQgetvalue(res, 0, 0), "0") != 0) {
        PQclear(res);

        if (!wk_db_begin(db, NULL)) {
            return false;
        }

        res = wk_db(db, task->sql, 0, NULL);
        if (res == NULL || !wk_db_commit(db)) {
            PQclear(res);
            return false;
        }
    }

    PQclear(res);

    return true;
}


void
wk_schedule(void *data, wk_result_t *res)
{
    size_t       i;
    wk_db_t      db;
    wk_redis_t   redis;

    wk_db_init(&db, data);
    wk_redis_init(&redis, data);
    wk_result(res, WK_DONE, "", "%s", "");

    for (i = 0; i < sizeof(wk_tasks) / sizeof(wk_tasks[0]); i++) {
        if (!wk_schedule_task(&db, &redis, &wk_tasks[i])) {
            wk_result(res, WK_RETRY, "database", "%s: %s", wk_tasks[i].name,
                      db.error);

            if (db.c == NULL) {
                break;                  /* PostgreSQL is away */
            }
        }
    }

    wk_db_close(&db);
    wk_redis_close(&redis);
}
