/*
 * Redis for the worker: synchronous, one connection, reconnected on use.
 *
 * A command that finds Redis away returns NULL and costs at most the connect
 * time-out; for the next half second others return NULL at once.
 */

#ifndef MDVR_WORKER_REDIS_H
#define MDVR_WORKER_REDIS_H

#include <hiredis/hiredis.h>

#include "worker/worker.h"

typedef struct {
    const wk_conf_t  *conf;
    redisContext     *c;
    int64_t           not_before;   /* wk_clock_ms() of the next try */
    bool              up;           /* as last logged */
    char              error[200];   /* of the last NULL */
} wk_redis_t;

void wk_redis_init(wk_redis_t *r, const wk_conf_t *conf);
void wk_redis_close(wk_redis_t *r);

/*
 * printf-like as redisCommand: %s and %b arguments are safe with any bytes.
 * The reply is the caller's (freeReplyObject).  NULL: Redis is away, is
 * loading, or answered with an error; r->error says which.
 */
redisReply *wk_redis(wk_redis_t *r, const char *format, ...);
redisReply *wk_redis_argv(wk_redis_t *r, int argc, const char **argv);

/* Publishes one message; false when it did not reach Redis. */
bool wk_redis_publish(wk_redis_t *r, const char *tenant_id,
    const char *message);

#endif /* MDVR_WORKER_REDIS_H */
