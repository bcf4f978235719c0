/*
 * The job engine: Redis Streams with one consumer group for each queue.
 *
 *   mdvr:job:{queue}           waiting and running jobs, field "job"; many
 *                              that wait are parked beside it (worker/fair.h)
 *   mdvr:job:{queue}:delayed   jobs to be tried again, by due time in ms
 *   mdvr:job:{queue}:dead      given up: fields job, reason, code, at
 *
 * A job that is taken stays pending until it is done, put back or dead; its
 * lease is the pending entry's idle time, renewed by wk_queue_beat().  Whose
 * lease ran out is taken over by any worker.  Each move is one script, so a
 * job is never in two places and never in none.
 */

#ifndef MDVR_WORKER_QUEUE_H
#define MDVR_WORKER_QUEUE_H

#include <jansson.h>

#include "mdvr/domain/job.h"
#include "worker/redis.h"

#define WK_BACKLOG  16

typedef struct {
    mdvr_job_kind_e  kind;
    char             queue[96];
    char             entry[32];     /* id in the stream */
    json_t          *doc;           /* owned; NULL: not JSON */
    unsigned         attempt;       /* this is attempt number ..., from 1 */
    unsigned         lost;          /* workers that died having it */
} wk_job_t;

typedef struct {
    const wk_conf_t  *conf;
    wk_redis_t       *redis;
    bool              ready;        /* groups exist */
    wk_job_t          backlog[WK_BACKLOG];
    unsigned          waiting;      /* in backlog */
} wk_queue_t;

void wk_queue_init(wk_queue_t *q, const wk_conf_t *conf, wk_redis_t *redis);

/*
 * The next job by priority, of the kinds whose bits are set (1 << kind, at
 * least one), and of one kind as worker/fair.h says; waits up to `block_ms`
 * (0: does not wait) when there is none.  False: none, or Redis is away.  The
 * job is the caller's until one of the three ends below, which free its
 * document.
 */
bool wk_queue_take(wk_queue_t *q, wk_job_t *job, unsigned kinds,
    int block_ms);

/* Renews the lease of a running job (and of the backlog with job NULL). */
void wk_queue_beat(wk_queue_t *q, const wk_job_t *job);

/* Takes over what others left; puts at most a few into the backlog. */
void wk_queue_recover(wk_queue_t *q);

/* Moves delayed jobs that are due back to their queues. */
void wk_queue_promote(wk_queue_t *q);

/* The three ends.  False: Redis is away, call again later. */
bool wk_queue_done(wk_queue_t *q, wk_job_t *job);
bool wk_queue_retry(wk_queue_t *q, wk_job_t *job, int64_t delay_ms,
    const char *reason);
bool wk_queue_dead(wk_queue_t *q, wk_job_t *job, const char *code,
    const char *reason);

/* The queue of a kind here; `node` is used by local kinds only. */
void wk_queue_name(char *name, size_t size, mdvr_job_kind_e kind,
    const char *node);

/* The key of a queue, or of what is beside it (":dead"); `key` has
 * MDVR_KEY_MAX bytes and is returned. */
char *wk_queue_key(char *key, const char *queue, const char *suffix);

/* Adds a document; `node` NULL for kinds that are not local. */
bool wk_queue_add(wk_redis_t *r, mdvr_job_kind_e kind, const char *node,
    const char *doc);

/* Counts a finished run for /metrics; `code` NULL: it succeeded. */
void wk_queue_count(wk_queue_t *q, mdvr_job_kind_e kind, int64_t ms,
    const char *code);

/* Counts the length of what a run processed, for the speed factor. */
void wk_queue_media(wk_redis_t *r, mdvr_job_kind_e kind, int64_t ms);

/* Empty when the member is missing or no string. */
const char *wk_job_str(const wk_job_t *job, const char *key);
int64_t wk_job_int(const wk_job_t *job, const char *key);

#endif /* MDVR_WORKER_QUEUE_H */
