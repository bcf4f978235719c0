/*
 * mdvr-worker jobs: what an operator asks and does about queues.
 *
 *   jobs list [QUEUE]     depth of every queue, then what was given up
 *   jobs show ID          one job as it is, wherever it is
 *   jobs requeue ID|all   from the dead-letter list back to its queue
 *   jobs drop ID|all      from the dead-letter list into oblivion
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mdvr/domain/keys.h"
#include "worker/handler.h"

typedef struct {
    wk_redis_t  *redis;
    const char  *verb;
    const char  *id;            /* or "all" */
    unsigned     found;
} wk_jobs_t;


static long long
wk_jobs_count(wk_redis_t *r, const char *format, const char *key)
{
    long long    n;
    redisReply  *reply;

    reply = wk_redis(r, format, key);
    if (reply == NULL) {
        return 0;
    }

    n = reply->type == REDIS_REPLY_ARRAY
        ? (reply->elements ? reply->element[0]->integer : 0)
        : reply->integer;
    freeReplyObject(reply);

    return n;
}


static const char *
wk_jobs_field(redisReply *entry, const char *name)
{
    size_t       i;
    redisReply  *f;

    f = entry->element[1];

    for (i = 0; i + 1 < f->elements; i += 2) {
        if (strcmp(f->element[i]->str, name) == 0) {
            return f->element[i + 1]->str;
        }
    }

    return "";
}


static bool
wk_jobs_is(const char *doc, const char *id)
{
    bool     is;
    json_t  *j;

    j = json_loads(doc, 0, NULL);
    is = j && json_string_value(json_object_get(j, "id"))
         && strcmp(json_string_value(json_object_get(j, "id")), id) == 0;
    json_decref(j);

    return is;
}


/* A document for another life: attempts start from the beginning. */

static char *
wk_jobs_fresh(const char *doc)
{
    char    *text;
    json_t  *j;

    j = json_loads(doc, 0, NULL);
    if (!json_is_object(j)) {
        json_decref(j);
        return NULL;
    }

    json_object_del(j, "attempt");
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);

    return text;
}


static void
wk_jobs_requeue(wk_jobs_t *w, const char *queue, redisReply *e)
{
    char        key[MDVR_KEY_MAX], dead[MDVR_KEY_MAX], *doc;
    redisReply  *reply;

    doc = wk_jobs_fresh(wk_jobs_field(e, "job"));

    if (doc == NULL) {
        fprintf(stderr, "%s is not a document and cannot be requeued\n",
                e->element[0]->str);
        return;
    }

    reply = wk_redis(w->redis, "EVAL %s 2 %s %s %s %s",
                     "if redis.call('XDEL', KEYS[2], ARGV[1]) == 1 then "
                     "redis.call('XADD', KEYS[1], '*', 'job', ARGV[2]) "
                     "return 1 end return 0",
                     wk_queue_key(key, queue, ""),
                     wk_queue_key(dead, queue, ":dead"),
                     e->element[0]->str, doc);
    free(doc);

    if (reply) {
        w->found += reply->integer == 1;
        freeReplyObject(reply);
    }
}


static void
wk_jobs_dead(wk_jobs_t *w, const char *queue)
{
    char         key[MDVR_KEY_MAX];
    size_t       i;
    int64_t      at;
    const char  *doc;
    json_t      *j;
    redisReply  *list, *e, *reply;

    wk_queue_key(key, queue, ":dead");
    list = wk_redis(w->redis, "XRANGE %s - +", key);

    for (i = 0; list && i < list->elements; i++) {
        e = list->element[i];
        doc = wk_jobs_field(e, "job");

        if (strcmp(w->verb, "list") == 0) {
            j = json_loads(doc, 0, NULL);
            at = strtoll(wk_jobs_field(e, "at"), NULL, 10);
            printf("dead %s %s after %lld attempts, %lld s ago: %s: %s\n",
                   queue, json_string_value(json_object_get(j, "id"))
                          ? json_string_value(json_object_get(j, "id"))
                          : e->element[0]->str,
                   (long long) json_integer_value(json_object_get(j,
                                                                  "attempt")),
                   (long long) ((wk_now_ms() - at) / 1000),
                   wk_jobs_field(e, "code"), wk_jobs_field(e, "reason"));
            json_decref(j);
            continue;
        }

        if (strcmp(w->id, "all") != 0 && !wk_jobs_is(doc, w->id)
            && strcmp(e->element[0]->str, w->id) != 0)
        {
            continue;
        }

        if (strcmp(w->verb, "show") == 0) {
            printf("dead %s\n%s\n%s: %s\n", queue, doc,
                   wk_jobs_field(e, "code"), wk_jobs_field(e, "reason"));
            w->found++;

        } else if (strcmp(w->verb, "requeue") == 0) {
            wk_jobs_requeue(w, queue, e);

        } else {
            reply = wk_redis(w->redis, "XDEL %s %s", key, e->element[0]->str);
            if (reply) {
                w->found += reply->integer == 1;
                freeReplyObject(reply);
            }
        }
    }

    if (list) {
        freeReplyObject(list);
    }
}


static void
wk_jobs_show(wk_jobs_t *w, const char *queue)
{
    char         key[MDVR_KEY_MAX];
    size_t       i;
    redisReply  *list;

    list = wk_redis(w->redis, "XRANGE %s - +", wk_queue_key(key, queue, ""));

    for (i = 0; list && i < list->elements; i++) {
        if (wk_jobs_is(wk_jobs_field(list->element[i], "job"), w->id)) {
            printf("queued %s\n%s\n", queue,
                   wk_jobs_field(list->element[i], "job"));
            w->found++;
        }
    }

    if (list) {
        freeReplyObject(list);
    }

    list = wk_redis(w->redis, "ZRANGE %s 0 -1",
                    wk_queue_key(key, queue, ":delayed"));

    for (i = 0; list && i < list->elements; i++) {
        if (wk_jobs_is(list->element[i]->str, w->id)) {
            printf("delayed %s\n%s\n", queue, list->element[i]->str);
            w->found++;
        }
    }

    if (list) {
        freeReplyObject(list);
    }
}


/* Jobs that wait in the lists of their tenants (worker/fair.h). */

static void
wk_jobs_parked(wk_jobs_t *w, const char *queue)
{
    char         key[MDVR_KEY_MAX], turns[16];
    size_t       i, k;
    const char  *doc;
    unsigned     rank;
    redisReply  *tenants, *list;

    for (rank = 0; rank < 2; rank++) {
        snprintf(turns, sizeof(turns), ":turns:%u", rank);
        tenants = wk_redis(w->redis, "ZRANGE %s 0 -1",
                           wk_queue_key(key, queue, turns));

        for (i = 0; tenants && i < tenants->elements; i++) {
            list = wk_redis(w->redis, "LRANGE %s:of:%u:%s 0 -1",
                            wk_queue_key(key, queue, ""), rank,
                            tenants->element[i]->str);

            for (k = 0; list && k < list->elements; k++) {
                doc = strchr(list->element[k]->str, ' ');

                if (doc && wk_jobs_is(doc + 1, w->id)) {
                    printf("queued %s\n%s\n", queue, doc + 1);
                    w->found++;
                }
            }

            if (list) {
                freeReplyObject(list);
            }
        }

        if (tenants) {
            freeReplyObject(tenants);
        }
    }
}


int
wk_jobs(const wk_conf_t *conf, int argc, char **argv)
{
    char         key[MDVR_KEY_MAX];
    bool         list;
    size_t       i;
    long long    total, pending;
    wk_jobs_t    w;
    wk_redis_t   redis;
    redisReply  *queues;

    memset(&w, 0, sizeof(w));
    w.verb = argc > 0 ? argv[0] : "";
    w.id = argc > 1 ? argv[1] : "";
    w.redis = &redis;
    list = strcmp(w.verb, "list") == 0;

    if ((!list || argc > 2)
        && (argc != 2 || (strcmp(w.verb, "show") != 0
                          && strcmp(w.verb, "requeue") != 0
                          && strcmp(w.verb, "drop") != 0)))
    {
        fprintf(stderr, "usage: mdvr-worker jobs list [QUEUE]\n"
                "       mdvr-worker jobs show ID\n"
                "       mdvr-worker jobs requeue ID|all\n"
                "       mdvr-worker jobs drop ID|all\n");
        return 2;
    }

    wk_log_level_set(WK_ERROR);
    wk_redis_init(&redis, conf);
    queues = wk_redis(&redis, "SMEMBERS " MDVR_KEY_JOB_QUEUES);

    if (queues == NULL) {
        fprintf(stderr, "mdvr-worker: redis: %s\n", redis.error);
        return 1;
    }

    for (i = 0; i < queues->elements; i++) {
        const char  *queue = queues->element[i]->str;

        if (list && argc == 2 && strcmp(argv[1], queue) != 0) {
            continue;
        }

        if (list) {
            wk_queue_key(key, queue, "");
            total = wk_jobs_count(&redis, "XLEN %s", key);
            pending = wk_jobs_count(&redis, "XPENDING %s worker", key);
            total += wk_jobs_count(&redis, "ZCARD %s",
                                   wk_queue_key(key, queue, ":parked"));
            printf("queue %s: %lld waiting, %lld running, ", queue,
                   total - pending, pending);
            printf("%lld delayed, ",
                   wk_jobs_count(&redis, "ZCARD %s",
                                 wk_queue_key(key, queue, ":delayed")));
            printf("%lld dead\n",
                   wk_jobs_count(&redis, "XLEN %s",
                                 wk_queue_key(key, queue, ":dead")));
        }

        if (strcmp(w.verb, "show") == 0) {
            wk_jobs_show(&w, queue);
            wk_jobs_parked(&w, queue);
        }

        wk_jobs_dead(&w, queue);
    }

    freeReplyObject(queues);
    wk_redis_close(&redis);

    if (list) {
        return 0;
    }

    if (strcmp(w.verb, "show") != 0) {
        printf("%u jobs\n", w.found);
    }

    return w.found ? 0 : 1;
}
