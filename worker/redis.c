/* Redis for the worker. */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mdvr/domain/keys.h"
#include "worker/redis.h"

#define WK_REDIS_CONNECT_S  3
#define WK_REDIS_TIMEOUT_S  15          /* longer than any BLOCK */
#define WK_REDIS_PAUSE_MS   500


void
wk_redis_init(wk_redis_t *r, const wk_conf_t *conf)
{
    memset(r, 0, sizeof(*r));
    r->conf = conf;
    r->up = true;
}


void
wk_redis_close(wk_redis_t *r)
{
    if (r->c) {
        redisFree(r->c);
        r->c = NULL;
    }
}


static bool
wk_redis_failed(wk_redis_t *r, const char *why)
{
    snprintf(r->error, sizeof(r->error), "%s", why);

    if (r->up) {
        wk_log(WK_ERROR, "redis is away", "error", r->error, NULL);
        r->up = false;
    }

    wk_redis_close(r);
    r->not_before = wk_clock_ms() + WK_REDIS_PAUSE_MS;

    return false;
}


static bool
wk_redis_connect(wk_redis_t *r)
{
    char             host[256];
    int              port;
    redisReply      *reply;
    const char      *at;
    struct timeval   wait = { WK_REDIS_CONNECT_S, 0 };

    if (r->c) {
        return true;
    }

    if (wk_clock_ms() < r->not_before) {
        return false;
    }

    at = r->conf->redis;

    if (strncmp(at, "unix:", 5) == 0) {
        r->c = redisConnectUnixWithTimeout(at + 5, wait);

    } else {
        if (strncmp(at, "redis://", 8) == 0) {
            at += 8;

        } else if (strncmp(at, "tcp:", 4) == 0) {
            at += 4;
        }

        port = 6379;

        if (sscanf(at, "%255[^:]:%d", host, &port) < 1) {
            return wk_redis_failed(r, "MDVR_REDIS is no address");
        }

        r->c = redisConnectWithTimeout(host, port, wait);
    }

    if (r->c == NULL || r->c->err) {
        return wk_redis_failed(r, r->c ? r->c->errstr : "no memory");
    }

    wait.tv_sec = WK_REDIS_TIMEOUT_S;
    redisSetTimeout(r->c, wait);

    if (r->conf->redis_password) {
        reply = redisCommand(r->c, "AUTH %s", r->conf->redis_password);

        if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
            wk_redis_failed(r, reply ? reply->str : r->c->errstr);
            if (reply) {
                freeReplyObject(reply);
            }
            return false;
        }

        freeReplyObject(reply);
    }

    if (!r->up) {
        wk_log(WK_INFO, "redis is back", NULL);
        r->up = true;
    }

    return true;
}


static redisReply *
wk_redis_reply(wk_redis_t *r, redisReply *reply)
{
    if (reply == NULL) {
        wk_redis_failed(r, r->c->errstr);
        return NULL;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        if (strncmp(reply->str, "LOADING", 7) == 0
            || strncmp(reply->str, "READONLY", 8) == 0
            || strncmp(reply->str, "MASTERDOWN", 10) == 0)
        {
            wk_redis_failed(r, reply->str);

        } else {
            snprintf(r->error, sizeof(r->error), "%s", reply->str);
        }

        freeReplyObject(reply);
        return NULL;
    }

    return reply;
}


redisReply *
wk_redis(wk_redis_t *r, const char *format, ...)
{
    va_list      args;
    redisReply  *reply;

    if (!wk_redis_connect(r)) {
        return NULL;
    }

    va_start(args, format);
    reply = redisvCommand(r->c, format, args);
    va_end(args);

    return wk_redis_reply(r, reply);
}


redisReply *
wk_redis_argv(wk_redis_t *r, int argc, const char **argv)
{
    if (!wk_redis_connect(r)) {
        return NULL;
    }

    return wk_redis_reply(r, redisCommandArgv(r->c, argc, argv, NULL));
}


bool
wk_redis_publish(wk_redis_t *r, const char *tenant_id, const char *message)
{
    char         name[MDVR_KEY_MAX];
    mdvr_buf_t   b;
    redisReply  *reply;

    b = mdvr_buf(name, sizeof(name));
    mdvr_channel_event(&b, mdvr_cstr(tenant_id));

    reply = wk_redis(r, "PUBLISH %b %s", b.p, b.len, message);
    if (reply == NULL) {
        return false;
    }

    freeReplyObject(reply);
    return true;
}
