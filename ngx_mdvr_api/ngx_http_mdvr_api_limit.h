
/*
 * Rate limits: a bucket per user for everything, a window per address and per
 * account for logins.  Both live in a shared zone of the node; the windows are
 * counted in Redis too, so that an attacker cannot spread over nodes.
 */


#ifndef _NGX_HTTP_MDVR_API_LIMIT_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_LIMIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


ngx_int_t ngx_http_mdvr_api_limit_init(ngx_conf_t *cf, size_t size);

/*
 * Takes one token of `who`'s bucket, which gets `rate` of them per second and
 * holds `burst` more.  0: go on.  Otherwise the seconds to wait (1 at least).
 * `rate` 0 switches the limit off.  A bucket that was pushed out of a full zone
 * begins anew: the limit errs on the side of the user.
 */
ngx_uint_t ngx_http_mdvr_api_limit_bucket(ngx_str_t *who, ngx_uint_t rate,
    ngx_uint_t burst);

/*
 * Counts `add` (0 to look only) in `who`'s window of `window` seconds.  Returns
 * the count; *left gets the seconds until the window ends.
 */
ngx_uint_t ngx_http_mdvr_api_limit_window(ngx_str_t *who, time_t window,
    ngx_uint_t add, time_t *left);

void ngx_http_mdvr_api_limit_forget(ngx_str_t *who);


#endif /* _NGX_HTTP_MDVR_API_LIMIT_H_INCLUDED_ */
