
/*
 * Rate limits: a bucket per user for everything, a window per address and per
 * account for logins.  Both live in a shared zone of the node, and are counted in
 * Redis too, so that nobody gains by spreading over nodes: windows with each
 * attempt, buckets every few hundred ms, so that no request waits for Redis.
 */


#ifndef _NGX_HTTP_MDVR_API_LIMIT_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_LIMIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


ngx_int_t ngx_http_mdvr_api_limit_init(ngx_conf_t *cf, size_t size);

/* A configuration is read: nothing is known of its zone. */
void ngx_http_mdvr_api_limit_anew(void);

/* The configuration is in use, and with it the zone that it named last. */
void ngx_http_mdvr_api_limit_use(void);

/*
 * Takes one token of `who`'s bucket, which gets `rate` of them per second and
 * holds `burst` more.  0: go on.  Otherwise the seconds to wait (1 at least).
 * `rate` 0 switches the limit off.  `share` is how many ms pass until other nodes
 * know of it, 0: never.  A bucket that was pushed out of a full zone begins anew:
 * the limit errs on the side of the user.
 */
ngx_uint_t ngx_http_mdvr_api_limit_bucket(ngx_str_t *who, ngx_uint_t rate,
    ngx_uint_t burst, ngx_msec_t share);

/*
 * Counts `add` (0 to look only) in `who`'s window of `window` seconds.  Returns
 * the count; *left gets the seconds until the window ends.
 */
ngx_uint_t ngx_http_mdvr_api_limit_window(ngx_str_t *who, time_t window,
    ngx_uint_t add, time_t *left);

void ngx_http_mdvr_api_limit_forget(ngx_str_t *who);


/* what one exchange carries at most; who does not fit in waits for the next */
#define NGX_HTTP_MDVR_API_SHARES  256


typedef struct {
    uint32_t    cell;
    uint32_t    name;
    uint32_t    hash;
    uint32_t    rate;       /* tokens per second */
    uint32_t    tokens;     /* * 1000: out what was taken here, in what by all */
} ngx_http_mdvr_api_share_t;


/* What was taken since the last call; the array has room for all of them. */
ngx_uint_t ngx_http_mdvr_api_limit_taken(ngx_http_mdvr_api_share_t *shares);

/* Sets the buckets to what all nodes took, and this one since. */
void ngx_http_mdvr_api_limit_shared(const ngx_http_mdvr_api_share_t *shares,
    ngx_uint_t n);

/* This worker exchanges with Redis in so many ms (ngx_http_mdvr_api_share.c). */
void ngx_http_mdvr_api_share_in(ngx_msec_t ms);


#endif /* _NGX_HTTP_MDVR_API_LIMIT_H_INCLUDED_ */
