/* The job engine on Redis Streams. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mdvr/domain/keys.h"
#include "worker/fair.h"
#include "worker/queue.h"

#define WK_GROUP      "worker"
#define WK_DEAD_MAX   "10000"

static const char  wk_lua_done[] =
    "local n = redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) "
    "redis.call('XDEL', KEYS[1], ARGV[2]) "
    "return n";

static const char  wk_lua_retry[] =
    "local n = redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) "
    "if n == 1 then redis.call('ZADD', KEYS[2], ARGV[3], ARGV[4]) end "
    "redis.call('XDEL', KEYS[1], ARGV[2]) "
    "return n";

static const char  wk_lua_dead[] =
    "local n = redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) "
    "if n == 1 then redis.call('XADD', KEYS[2], 'MAXLEN', '~', " WK_DEAD_MAX
    ", '*', 'job', ARGV[3], 'code', ARGV[4], 'reason', ARGV[5], "
    "'at', ARGV[6]) end "
    "redis.call('XDEL', KEYS[1], ARGV[2]) "
    "return n";

static const char  wk_lua_promote[] =
    "local t = redis.call('TIME') "
    "local now = t[1] * 1000 + math.floor(t[2] / 1000) "
    "local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, "
    "'LIMIT', 0, 50) "
    "for _, job in ipairs(due) do "
    "redis.call('XADD', KEYS[2], '*', 'job', job) "
    "redis.call('ZREM', KEYS[1], job) end "
    "return #due";


char *
wk_queue_key(char *key, const char *queue, const char *suffix)
{
    mdvr_buf_t  b;

    b = mdvr_buf(key, MDVR_KEY_MAX - 1);
    mdvr_key_job(&b, mdvr_cstr(queue), suffix);
    key[b.len] = '\0';

    return key;
}


void
wk_queue_name(char *name, size_t size, mdvr_job_kind_e kind,
    const char *node)
{
    mdvr_buf_t  b;

    b = mdvr_buf(name, size - 1);
    mdvr_job_queue(&b, kind, mdvr_cstr(node));
    name[b.len] = '\0';
}


void
wk_queue_init(wk_queue_t *q, const wk_conf_t *conf, wk_redis_t *redis)
{
    memset(q, 0, sizeof(*q));
    q->conf = conf;
    q->redis = redis;
}


/* The groups exist after this; again after Redis lost its data. */

static bool
wk_queue_prepare(wk_queue_t *q)
{
    char         key[MDVR_KEY_MAX], name[96];
    unsigned     i;
    redisReply  *reply;

    if (q->ready) {
        return true;
    }

    for (i = 0; i < MDVR_JOB_KINDS; i++) {
        wk_queue_name(name, sizeof(name), i, q->conf->node);

        reply = wk_redis(q->redis, "XGROUP CREATE %s " WK_GROUP
                         " 0 MKSTREAM", wk_queue_key(key, name, ""));

        if (reply == NULL && strncmp(q->redis->error, "BUSYGROUP", 9) != 0) {
            return false;
        }

        if (reply) {
            freeReplyObject(reply);
        }

        reply = wk_redis(q->redis, "SADD " MDVR_KEY_JOB_QUEUES " %s", name);
        if (reply == NULL) {
            return false;
        }

        freeReplyObject(reply);
    }

    q->ready = true;

    return true;
}


static void
wk_queue_lost(wk_queue_t *q)
{
    if (strncmp(q->redis->error, "NOGROUP", 7) == 0 || !q->redis->up) {
        q->ready = false;
    }
}


/* Turns "[id, [field, value, ...]]" into a job; false: an empty entry. */

static bool
wk_queue_entry(wk_queue_t *q, mdvr_job_kind_e kind, redisReply *e,
    wk_job_t *job)
{
    size_t       i;
    redisReply  *f;

    if (e->type != REDIS_REPLY_ARRAY || e->elements != 2
        || e->element[1]->type != REDIS_REPLY_ARRAY)
    {
        return false;
    }

    memset(job, 0, sizeof(*job));
    job->kind = kind;
    wk_queue_name(job->queue, sizeof(job->queue), kind, q->conf->node);
    snprintf(job->entry, sizeof(job->entry), "%s", e->element[0]->str);

    f = e->element[1];

    for (i = 0; i + 1 < f->elements; i += 2) {
        if (strcmp(f->element[i]->str, "job") == 0) {
            job->doc = json_loadb(f->element[i + 1]->str,
                                  (size_t) f->element[i + 1]->len,
                                  JSON_REJECT_DUPLICATES, NULL);
        }
    }

    if (job->doc && !json_is_object(job->doc)) {
        json_decref(job->doc);
        job->doc = NULL;
    }

    job->attempt = (unsigned) wk_job_int(job, "attempt") + 1;

    return true;
}


static void
wk_queue_push(wk_queue_t *q, const wk_job_t *job)
{
    if (q->waiting < WK_BACKLOG) {
        q->backlog[q->waiting++] = *job;
        return;
    }

    json_decref(job->doc);              /* stays pending: found again later */
}


/* The most urgent of the backlog that may run. */

static bool
wk_queue_pop(wk_queue_t *q, wk_job_t *job, unsigned kinds)
{
    unsigned  i, best;

    best = q->waiting;

    for (i = 0; i < q->waiting; i++) {
        if (kinds & 1u << q->backlog[i].kind
            && (best == q->waiting
                || q->backlog[i].kind < q->backlog[best].kind))
        {
            best = i;
        }
    }

    if (best == q->waiting) {
        return false;
    }

    *job = q->backlog[best];
    q->backlog[best] = q->backlog[--q->waiting];

    return true;
}


/* 1: there is one, 0: there is none, -1: Redis is away */

static int
wk_queue_next(wk_queue_t *q, mdvr_job_kind_e kind, wk_job_t *job)
{
    int          rc;
    char         name[96];
    redisReply  *reply;

    wk_queue_name(name, sizeof(name), kind, q->conf->node);
    reply = wk_fair_next(q->redis, name, WK_GROUP, q->conf->name);

    if (reply == NULL) {
        wk_queue_lost(q);
        return -1;
    }

    rc = wk_queue_entry(q, kind, reply, job);
    freeReplyObject(reply);

    return rc;
}


/*
 * Waits for the first job of any of these kinds and puts it, and what came at
 * the same moment, into the backlog.
 */

static void
wk_queue_wait(wk_queue_t *q, unsigned kinds, int block_ms)
{
    int           argc;
    char          keys[MDVR_JOB_KINDS][MDVR_KEY_MAX], name[96], wait[16];
    size_t        n;
    unsigned      i;
    wk_job_t      got;
    const char   *argv[9 + 2 * MDVR_JOB_KINDS] = {
        "XREADGROUP", "GROUP", WK_GROUP, q->conf->name, "COUNT", "1", "BLOCK",
        wait, "STREAMS" };
    redisReply   *reply, *stream;

    snprintf(wait, sizeof(wait), "%d", block_ms);
    argc = 9;

    for (i = 0; i < MDVR_JOB_KINDS; i++) {
        wk_queue_name(name, sizeof(name), i, q->conf->node);
        wk_queue_key(keys[i], name, "");

        if (kinds & 1u << i) {
            argv[argc++] = keys[i];
        }
    }

    for (i = 0; i < MDVR_JOB_KINDS; i++) {
        if (kinds & 1u << i) {
            argv[argc++] = ">";
        }
    }

    reply = wk_redis_argv(q->redis, argc, argv);

    if (reply == NULL) {
        wk_queue_lost(q);
        return;
    }

    for (n = 0; reply->type == REDIS_REPLY_ARRAY && n < reply->elements; n++)
    {
        stream = reply->element[n];

        for (i = 0; i < MDVR_JOB_KINDS; i++) {
            if (strcmp(stream->element[0]->str, keys[i]) == 0
                && stream->element[1]->elements
                && wk_queue_entry(q, i, stream->element[1]->element[0], &got))
            {
                wk_queue_push(q, &got);
            }
        }
    }

    freeReplyObject(reply);
}


bool
wk_queue_take(wk_queue_t *q, wk_job_t *job, unsigned kinds, int block_ms)
{
    int       rc;
    unsigned  k;

    if (wk_queue_pop(q, job, kinds)) {
        return true;
    }

    if (!wk_queue_prepare(q)) {
        return false;
    }

    for (k = 0; k < MDVR_JOB_KINDS; k++) {
        if (kinds & 1u << k) {
            rc = wk_queue_next(q, k, job);

            if (rc) {
                return rc > 0;
            }
        }
    }

    if (block_ms) {
        wk_queue_wait(q, kinds, block_ms);
    }

    return wk_queue_pop(q, job, kinds);
}


void
wk_queue_beat(wk_queue_t *q, const wk_job_t *job)
{
    char         key[MDVR_KEY_MAX];
    unsigned     i;
    redisReply  *reply;

    if (job == NULL) {
        for (i = 0; i < q->waiting; i++) {
            wk_queue_beat(q, &q->backlog[i]);
        }
        return;
    }

    reply = wk_redis(q->redis, "XCLAIM %s " WK_GROUP " %s 0 %s JUSTID",
                     wk_queue_key(key, job->queue, ""), q->conf->name,
                     job->entry);

    if (reply) {
        freeReplyObject(reply);
    }
}


/* How often an entry was handed out, 1 when Redis does not say. */

static unsigned
wk_queue_deliveries(wk_queue_t *q, const char *key, const char *entry)
{
    unsigned     n;
    redisReply  *reply;

    n = 1;
    reply = wk_redis(q->redis, "XPENDING %s " WK_GROUP " %s %s 1", key, entry,
                     entry);

    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1
        && reply->element[0]->elements == 4)
    {
        n = (unsigned) reply->element[0]->element[3]->integer;
    }

    if (reply) {
        freeReplyObject(reply);
    }

    return n;
}


/* Consumers of processes that are gone and left nothing. */

static void
wk_queue_forget(wk_queue_t *q, const char *key)
{
    size_t        i, k;
    long long     pending, idle;
    const char   *name;
    redisReply   *reply, *c;

    reply = wk_redis(q->redis, "XINFO CONSUMERS %s " WK_GROUP, key);

    if (reply == NULL) {
        return;
    }

    for (i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++) {
        c = reply->element[i];
        name = NULL;
        pending = 1;
        idle = 0;

        for (k = 0; k + 1 < c->elements; k += 2) {
            if (strcmp(c->element[k]->str, "name") == 0) {
                name = c->element[k + 1]->str;

            } else if (strcmp(c->element[k]->str, "pending") == 0) {
                pending = c->element[k + 1]->integer;

            } else if (strcmp(c->element[k]->str, "idle") == 0) {
                idle = c->element[k + 1]->integer;
            }
        }

        if (name && pending == 0 && idle > 3600 * 1000
            && strcmp(name, q->conf->name) != 0)
        {
            redisReply  *gone;

            gone = wk_redis(q->redis, "XGROUP DELCONSUMER %s " WK_GROUP " %s",
                            key, name);
            if (gone) {
                freeReplyObject(gone);
            }
        }
    }

    freeReplyObject(reply);
}


void
wk_queue_recover(wk_queue_t *q)
{
    char         key[MDVR_KEY_MAX], name[96];
    size_t       i;
    unsigned     k, n;
    wk_job_t     job;
    redisReply  *reply;

    if (!wk_queue_prepare(q)) {
        return;
    }

    for (k = 0; k < MDVR_JOB_KINDS; k++) {
        wk_queue_name(name, sizeof(name), k, q->conf->node);
        wk_queue_key(key, name, "");
        wk_queue_forget(q, key);

        if (q->waiting >= WK_BACKLOG / 4) {
            return;
        }

        reply = wk_redis(q->redis, "XAUTOCLAIM %s " WK_GROUP
                         " %s %u 0-0 COUNT 2", key, q->conf->name,
                         q->conf->lease_ms);

        if (reply == NULL) {
            wk_queue_lost(q);
            return;
        }

        if (reply->type == REDIS_REPLY_ARRAY && reply->elements >= 2) {
            for (i = 0; i < reply->element[1]->elements; i++) {
                if (!wk_queue_entry(q, k, reply->element[1]->element[i], &job))
                {
                    continue;
                }

                n = wk_queue_deliveries(q, key, job.entry);
                job.lost = n > 1 ? n - 1 : 0;

                wk_log(WK_WARN, "job taken over from a lost worker", "queue",
                       name, "job", wk_job_str(&job, "id"), NULL);
                wk_queue_push(q, &job);
            }
        }

        freeReplyObject(reply);
    }
}


void
wk_queue_promote(wk_queue_t *q)
{
    char         key[MDVR_KEY_MAX], delayed[MDVR_KEY_MAX], name[96];
    unsigned     k;
    redisReply  *reply;

    if (!wk_queue_prepare(q)) {
        return;
    }

    for (k = 0; k < MDVR_JOB_KINDS; k++) {
        wk_queue_name(name, sizeof(name), k, q->conf->node);

        reply = wk_redis(q->redis, "EVAL %s 2 %s %s", wk_lua_promote,
                         wk_queue_key(delayed, name, ":delayed"),
                         wk_queue_key(key, name, ""));

        if (reply == NULL) {
            wk_queue_lost(q);
            return;
        }

        freeReplyObject(reply);
    }
}


static bool
wk_queue_end(wk_job_t *job, redisReply *reply)
{
    if (reply == NULL) {
        return false;
    }

    freeReplyObject(reply);
    json_decref(job->doc);
    job->doc = NULL;

    return true;
}


bool
wk_queue_done(wk_queue_t *q, wk_job_t *job)
{
    char  key[MDVR_KEY_MAX];

    return wk_queue_end(job, wk_redis(q->redis, "EVAL %s 1 %s " WK_GROUP " %s",
                                      wk_lua_done,
                                      wk_queue_key(key, job->queue, ""),
                                      job->entry));
}


static char *
wk_queue_dump(wk_job_t *job, const char *reason)
{
    if (job->doc == NULL) {
        return strdup("null");
    }

    json_object_set_new(job->doc, "attempt",
                        json_integer((json_int_t) job->attempt));
    json_object_set_new(job->doc, "last_error", json_string(reason));

    return json_dumps(job->doc, JSON_COMPACT);
}


bool
wk_queue_retry(wk_queue_t *q, wk_job_t *job, int64_t delay_ms,
    const char *reason)
{
    bool   ok;
    char   key[MDVR_KEY_MAX], delayed[MDVR_KEY_MAX], due[32], *doc;

    doc = wk_queue_dump(job, reason);
    if (doc == NULL) {
        return false;
    }

    snprintf(due, sizeof(due), "%lld", (long long) (wk_now_ms() + delay_ms));

    ok = wk_queue_end(job, wk_redis(q->redis, "EVAL %s 2 %s %s " WK_GROUP
                                    " %s %s %s", wk_lua_retry,
                                    wk_queue_key(key, job->queue, ""),
                                    wk_queue_key(delayed, job->queue,
                                                 ":delayed"),
                                    job->entry, due, doc));
    free(doc);

    return ok;
}


bool
wk_queue_dead(wk_queue_t *q, wk_job_t *job, const char *code,
    const char *reason)
{
    bool   ok;
    char   key[MDVR_KEY_MAX], dead[MDVR_KEY_MAX], at[32], *doc;

    doc = wk_queue_dump(job, reason);
    if (doc == NULL) {
        return false;
    }

    snprintf(at, sizeof(at), "%lld", (long long) wk_now_ms());

    ok = wk_queue_end(job, wk_redis(q->redis, "EVAL %s 2 %s %s " WK_GROUP
                                    " %s %s %s %s %s", wk_lua_dead,
                                    wk_queue_key(key, job->queue, ""),
                                    wk_queue_key(dead, job->queue, ":dead"),
                                    job->entry, doc, code, reason, at));
    free(doc);

    return ok;
}


bool
wk_queue_add(wk_redis_t *r, mdvr_job_kind_e kind, const char *node,
    const char *doc)
{
    char         key[MDVR_KEY_MAX], name[96];
    redisReply  *reply;

    wk_queue_name(name, sizeof(name), kind, node);

    reply = wk_redis(r, "XADD %s * job %s", wk_queue_key(key, name, ""), doc);
    if (reply == NULL) {
        return false;
    }

    freeReplyObject(reply);

    return true;
}


void
wk_queue_media(wk_redis_t *r, mdvr_job_kind_e kind, int64_t ms)
{
    redisReply  *reply;

    reply = wk_redis(r, "HINCRBY " MDVR_KEY_JOB_STATS " %s:media_ms %lld",
                     mdvr_job_info(kind)->name, (long long) ms);
    if (reply) {
        freeReplyObject(reply);
    }
}


void
wk_queue_count(wk_queue_t *q, mdvr_job_kind_e kind, int64_t ms,
    const char *code)
{
    char               field[96];
    size_t             i;
    const char        *name;
    redisReply        *reply;
    static const int   le[] = { 100, 500, 1000, 2000, 5000, 10000, 30000,
                                60000, 300000 };

    name = mdvr_job_info(kind)->name;

    if (code) {
        snprintf(field, sizeof(field), "%s:failed:%s", name, code);
        reply = wk_redis(q->redis, "HINCRBY " MDVR_KEY_JOB_STATS " %s 1",
                         field);
        if (reply) {
            freeReplyObject(reply);
        }
    }

    for (i = 0; i < sizeof(le) / sizeof(le[0]); i++) {
        if (ms <= le[i]) {
            break;
        }
    }

    if (i < sizeof(le) / sizeof(le[0])) {
        snprintf(field, sizeof(field), "%s:le:%d", name, le[i]);

    } else {
        snprintf(field, sizeof(field), "%s:le:inf", name);
    }

    reply = wk_redis(q->redis, "HINCRBY " MDVR_KEY_JOB_STATS " %s 1", field);
    if (reply) {
        freeReplyObject(reply);
    }

    snprintf(field, sizeof(field), "%s:sum_ms", name);
    reply = wk_redis(q->redis, "HINCRBY " MDVR_KEY_JOB_STATS " %s %lld",
                     field, (long long) ms);
    if (reply) {
        freeReplyObject(reply);
    }
}


const char *
wk_job_str(const wk_job_t *job, const char *key)
{
    const char  *s;

    s = json_string_value(json_object_get(job->doc, key));

    return s ? s : "";
}


int64_t
wk_job_int(const wk_job_t *job, const char *key)
{
    return (int64_t) json_integer_value(json_object_get(job->doc, key));
}
