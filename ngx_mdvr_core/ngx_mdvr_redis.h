/*
 * Redis from the event loop: one connection for commands and one for
 * subscriptions per worker, both reconnected with a backoff.
 *
 * Redis is never what holds the truth: when it is away commands fail at once,
 * publications are counted as lost, and subscribers are told that they may
 * have missed something.
 */

#ifndef NGX_MDVR_REDIS_H
#define NGX_MDVR_REDIS_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"

#include <hiredis/hiredis.h>


/*
 * `reply` is valid until the handler returns; NULL when `rc` is not MDVR_OK.
 * An error reply of the server is MDVR_E_INTERNAL with reply->str.
 */
typedef void (*ngx_mdvr_redis_done_pt)(void *data, const redisReply *reply,
    mdvr_rc_t rc);

/*
 * One message of a channel, borrowed.  `msg` is NULL once after each time the
 * subscription took effect (the first time too): what was published before,
 * or while the connection was away, may be missing.
 */
typedef void (*ngx_mdvr_redis_message_pt)(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg);


/*
 * Sends one command.  `lens` may be NULL when all `argv` are zero-terminated.
 * `done` is called exactly once from the event loop, never from within this
 * call; it may be NULL.  `timeout` is in milliseconds.  When `pool` is
 * destroyed first `done` is not called; `pool` may be NULL.
 *
 * MDVR_E_UNAVAILABLE at once (through `done`) while Redis is away or the
 * output is over its limit, MDVR_E_TIMEOUT when the deadline passed.
 *
 * NGX_OK: `done` will be called.  NGX_ERROR: no memory or not configured.
 */
ngx_int_t ngx_mdvr_redis_command(ngx_pool_t *pool, ngx_msec_t timeout,
    ngx_int_t argc, const char **argv, const size_t *lens,
    ngx_mdvr_redis_done_pt done, void *data);

enum {
    NGX_MDVR_REDIS_DROPPABLE = 1     /* telemetry: gives way first */
};

/*
 * PUBLISH without an answer.  NGX_OK: handed to the connection.
 * NGX_DECLINED: Redis is away or the output is over its limit (droppable
 * messages have a quarter of it); counted, the message is lost.
 */
ngx_int_t ngx_mdvr_redis_publish(const ngx_str_t *channel,
    const ngx_str_t *msg, ngx_uint_t flags);

/*
 * Adds a handler to a channel; the first one subscribes, the last one removed
 * unsubscribes.  (channel, handler, data) names the registration.  A handler
 * may add and remove registrations.  Lasts until removed; works from
 * init_process on, whether or not Redis is there yet.
 */
ngx_int_t ngx_mdvr_redis_subscribe(const ngx_str_t *channel,
    ngx_mdvr_redis_message_pt handler, void *data);
void ngx_mdvr_redis_unsubscribe(const ngx_str_t *channel,
    ngx_mdvr_redis_message_pt handler, void *data);

/* Whether both connections are established. */
ngx_uint_t ngx_mdvr_redis_up(void);


/* for the core module only */

char *ngx_mdvr_redis_conf(ngx_conf_t *cf, ngx_mdvr_core_conf_t *conf);
ngx_int_t ngx_mdvr_redis_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf);
void ngx_mdvr_redis_exit(void);


#endif
