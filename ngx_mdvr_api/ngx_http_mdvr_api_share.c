
/*
 * Buckets of users, shared between nodes.
 *
 * No request waits for it: each node counts for itself, and the first request after
 * an exchange has its worker make the next one, some hundred ms later.  That adds
 * what was taken here to the buckets in Redis, all of them in one script, and
 * brings back what all nodes took together.  Redis's own clock empties the buckets.
 *
 * While Redis is away each node goes by its own count; what was to be added is lost
 * then, in the user's favour.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_limit.h"
#include "mdvr/domain/keys.h"


#define NGX_HTTP_MDVR_API_SHARE_TIMEOUT  1000   /* ms */
#define NGX_HTTP_MDVR_API_SHARE_KEY      48


typedef struct {
    ngx_uint_t                   n;
    ngx_http_mdvr_api_share_t    shares[NGX_HTTP_MDVR_API_SHARES];
} ngx_http_mdvr_api_exchange_t;


static void ngx_http_mdvr_api_share(ngx_event_t *ev);
static void ngx_http_mdvr_api_share_done(void *data, const redisReply *reply,
    mdvr_rc_t rc);


static ngx_event_t  ngx_http_mdvr_api_share_event;


void
ngx_http_mdvr_api_share_in(ngx_msec_t ms)
{
    ngx_event_t              *ev;
    static ngx_connection_t   dummy;    /* nginx logs its descriptor */

    ev = &ngx_http_mdvr_api_share_event;

    if (ev->handler == NULL) {
        dummy.fd = (ngx_socket_t) -1;
        ev->handler = ngx_http_mdvr_api_share;
        ev->data = &dummy;
        ev->log = ngx_cycle->log;
        ev->cancelable = 1;
    }

    if (!ev->timer_set) {
        ngx_add_timer(ev, ms);
    }
}


static void
ngx_http_mdvr_api_share(ngx_event_t *ev)
{
    u_char                        *p;
    size_t                         lens[2 * NGX_HTTP_MDVR_API_SHARES * 2];
    ngx_int_t                      argc;
    ngx_uint_t                     i;
    mdvr_buf_t                     b;
    const char                    *argv[2 * NGX_HTTP_MDVR_API_SHARES * 2];
    ngx_http_mdvr_api_exchange_t  *x;

    u_char  keys[NGX_HTTP_MDVR_API_SHARES][NGX_HTTP_MDVR_API_SHARE_KEY];
    u_char  numbers[NGX_HTTP_MDVR_API_SHARES][2][NGX_INT32_LEN + 1];
    u_char  count[NGX_INT32_LEN + 1], who[17];

    static const char  script[] =
        "local t=redis.call('TIME') "
        "local now=t[1]*1000+math.floor(t[2]/1000) "
        "local out={} "
        "for i,key in ipairs(KEYS) do "
        "local took,rate=tonumber(ARGV[2*i-1]),tonumber(ARGV[2*i]) "
        "local used,at=0,now "
        "local v=redis.call('GET',key) "
        "if v then used,at=string.match(v,'^(%d+) (%d+)$') end "
        "used=math.max(0,tonumber(used)-math.max(0,now-tonumber(at))*rate)"
        "+took "
        "redis.call('SET',key,string.format('%d %d',used,now),"
        "'PX',math.floor(used/rate)+1000) "
        "out[i]=math.floor(used) end "
        "return out";

    x = ngx_alloc(sizeof(ngx_http_mdvr_api_exchange_t), ev->log);

    if (x == NULL) {
        return;                         /* the next request tries again */
    }

    x->n = ngx_http_mdvr_api_limit_taken(x->shares);

    if (x->n == 0 || !ngx_mdvr_redis_up()) {
        ngx_free(x);
        return;
    }

    *ngx_sprintf(count, "%ui", x->n) = '\0';

    argv[0] = "EVAL";
    argv[1] = script;
    argv[2] = (char *) count;
    lens[0] = 4;
    lens[1] = sizeof(script) - 1;
    lens[2] = ngx_strlen(count);
    argc = 3;

    for (i = 0; i < x->n; i++) {
        p = ngx_sprintf(who, "%08xD%08xD", x->shares[i].hash,
                        x->shares[i].name);

        b = mdvr_buf(keys[i], NGX_HTTP_MDVR_API_SHARE_KEY);
        mdvr_key_rate(&b, mdvr_cstr("user"), mdvr_str(who, p - who));

        argv[argc] = (char *) keys[i];
        lens[argc++] = b.len;
    }

    for (i = 0; i < x->n; i++) {
        p = numbers[i][0];
        argv[argc] = (char *) p;
        lens[argc++] = ngx_sprintf(p, "%uD", x->shares[i].tokens) - p;

        p = numbers[i][1];
        argv[argc] = (char *) p;
        lens[argc++] = ngx_sprintf(p, "%uD", x->shares[i].rate) - p;
    }

    if (ngx_mdvr_redis_command(NULL, NGX_HTTP_MDVR_API_SHARE_TIMEOUT, argc,
                               argv, lens, ngx_http_mdvr_api_share_done, x)
        != NGX_OK)
    {
        ngx_free(x);
    }
}


static void
ngx_http_mdvr_api_share_done(void *data, const redisReply *reply,
    mdvr_rc_t rc)
{
    ngx_http_mdvr_api_exchange_t *x = data;

    ngx_uint_t  i;

    if (rc == MDVR_OK && reply->type == REDIS_REPLY_ARRAY
        && reply->elements == x->n)
    {
        for (i = 0; i < x->n; i++) {
            x->shares[i].tokens = (uint32_t)
                ngx_min(ngx_max(reply->element[i]->integer, 0), 2000000000);
        }

        ngx_http_mdvr_api_limit_shared(x->shares, x->n);
    }

    ngx_free(x);
}
