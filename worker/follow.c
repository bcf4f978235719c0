/*
 * From events to deliveries to jobs.
 *
 * Each worker has one child that follows the outbox.  mdvr.notify_plan() turns
 * what is new there into deliveries, in one transaction with the cursor that
 * moves past it and under an advisory lock: events are neither lost nor seen
 * twice, whoever dies.  mdvr.notify_due() then hands out deliveries that are
 * due; their jobs are added before its transaction ends, so that dying here
 * makes a job twice rather than never.  A job that Redis lost is made again
 * when its delivery is due again.
 *
 * Published events wake it; without them, and for test deliveries, it looks
 * every second.
 */

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/notify.h"

#define WK_FOLLOW_POLL_MS   1000
#define WK_FOLLOW_LIFE_MS   900000          /* then a fresh process */
#define WK_FOLLOW_EVENTS    "500"
#define WK_FOLLOW_DUE       50              /* deliveries in one job */


/* Sends the deliveries of one row of notify_due() on their way. */

static bool
wk_follow_job(wk_redis_t *redis, const char *tenant, const char *endpoint,
    const char *deliveries)
{
    bool     ok;
    char     id[37], *text;
    json_t  *doc;

    wk_uuid(id);
    doc = json_pack("{s:s,s:s,s:I,s:s,s:s,s:o}", "id", id, "kind", "notify",
                    "enqueued_ms", (json_int_t) wk_now_ms(), "tenant_id",
                    tenant, "endpoint", endpoint, "deliveries",
                    json_loads(deliveries, 0, NULL));
    text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    json_decref(doc);

    ok = text && wk_queue_add(redis, MDVR_JOB_NOTIFY, NULL, text);
    free(text);

    return ok;
}


/* How many deliveries were handed out, below 0: it did not work. */

static int
wk_follow_due(wk_db_t *db, wk_redis_t *redis)
{
    int          i, n;
    bool         ok;
    char         limit[16];
    PGresult    *res;
    const char  *v[1] = { limit };

    snprintf(limit, sizeof(limit), "%d", WK_FOLLOW_DUE);

    if (!wk_db_begin(db, NULL)) {
        return -1;
    }

    res = wk_db(db, "select tenant_id, endpoint, deliveries "
                "from mdvr.notify_due('" WK_NOTIFY_LEASE "', $1::integer)", 1,
                v);

    if (res == NULL) {
        return -1;
    }

    ok = true;
    n = PQntuples(res);

    for (i = 0; ok && i < n; i++) {
        ok = wk_follow_job(redis, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1),
                           PQgetvalue(res, i, 2));
    }

    PQclear(res);

    if (!ok) {
        wk_db_rollback(db);             /* they stay due */
        snprintf(db->error, sizeof(db->error), "redis: %s", redis->error);
        return -1;
    }

    return wk_db_commit(db) ? n : -1;
}


/* How many events it went past, 0 also when another is at it. */

static int
wk_follow_plan(wk_db_t *db)
{
    int                       n;
    char                      repeat[16], age[16];
    PGresult                 *res;
    const char               *v[4];
    const wk_notify_conf_t   *conf = wk_notify_conf();

    snprintf(repeat, sizeof(repeat), "%u", conf->repeat_s);
    snprintf(age, sizeof(age), "%d", WK_NOTIFY_PUSH_S);
    v[0] = conf->platforms;
    v[1] = repeat;
    v[2] = age;
    v[3] = WK_FOLLOW_EVENTS;

    if (!wk_db_begin(db, NULL)) {
        return -1;
    }

    res = wk_db(db, "select mdvr.notify_plan($1::text[], "
                "make_interval(secs => $2::integer), "
                "make_interval(secs => $3::integer), $4::integer)", 4, v);

    if (res == NULL) {
        return -1;
    }

    n = atoi(PQgetvalue(res, 0, 0));
    PQclear(res);

    return wk_db_commit(db) ? n : -1;
}


/*
 * Waits for a published event other than a telemetry message, at most a
 * second; `sub` is a subscribed connection or none.
 */

static void
wk_follow_wait(wk_redis_t *sub)
{
    bool           woken;
    int64_t        end, left;
    redisReply    *reply;
    struct pollfd  pfd;

    if (sub->c == NULL) {
        reply = wk_redis(sub, "PSUBSCRIBE mdvr:event:*");

        if (reply == NULL) {
            usleep(WK_FOLLOW_POLL_MS * 1000);
            return;
        }

        freeReplyObject(reply);
    }

    woken = false;
    end = wk_clock_ms() + WK_FOLLOW_POLL_MS;

    while (!woken && (left = end - wk_clock_ms()) > 0) {
        pfd.fd = sub->c->fd;
        pfd.events = POLLIN;

        if (poll(&pfd, 1, (int) left) <= 0) {
            continue;
        }

        if (redisBufferRead(sub->c) != REDIS_OK) {
            wk_redis_close(sub);
            return;
        }

        for ( ;; ) {
            reply = NULL;

            if (redisGetReplyFromReader(sub->c, (void **) &reply) != REDIS_OK) {
                wk_redis_close(sub);
                return;
            }

            if (reply == NULL) {
                break;
            }

            if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 4
                && reply->element[3]->type == REDIS_REPLY_STRING
                && strncmp(reply->element[3]->str, "{\"type\":\"telemetry\"",
                           19) != 0)
            {
                woken = true;
            }

            freeReplyObject(reply);
        }
    }
}


void
wk_follow(void *data, wk_result_t *res)
{
    int         n;
    bool        failed;
    int64_t     end;
    wk_db_t     db;
    wk_redis_t  redis, sub;

    wk_db_init(&db, data);
    wk_redis_init(&redis, data);
    wk_redis_init(&sub, data);
    wk_result(res, WK_DONE, "", "%s", "");
    failed = false;

    for (end = wk_clock_ms() + WK_FOLLOW_LIFE_MS; wk_clock_ms() < end; ) {

        do {
            n = wk_follow_plan(&db);
        } while (n >= atoi(WK_FOLLOW_EVENTS));

        while (n >= 0) {
            n = wk_follow_due(&db, &redis);

            if (n == 0) {
                break;
            }
        }

        if (n < 0 && !failed) {
            wk_log(WK_WARN, "cannot plan notifications", "reason", db.error,
                   NULL);
        }

        failed = n < 0;
        wk_follow_wait(&sub);
    }

    wk_db_close(&db);
    wk_redis_close(&redis);
    wk_redis_close(&sub);
}
