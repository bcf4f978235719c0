/*
 * Addresses that carry their own permission: a mark is the expiry and an
 * HMAC-SHA256 over it and the text (an object's key, or a folder with its
 * slash, which permits everything below).
 *
 *   <kid, 8 hex digits>-<expiry, unix s in hex>-<mac, base64url>
 */

#ifndef NGX_MDVR_URL_H
#define NGX_MDVR_URL_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


#define NGX_MDVR_URL_MARK_MAX  80


/* The mark, from `pool`.  NGX_DECLINED: no key is loaded yet (answer 503). */
ngx_int_t ngx_mdvr_url_sign(ngx_pool_t *pool, const ngx_str_t *text,
    time_t expires_at, ngx_str_t *mark);

/*
 * Whether the mark permits the key: it was made for the key itself or for a
 * folder that it is in.  MDVR_OK, MDVR_E_EXPIRED, MDVR_E_UNAUTHENTICATED.
 */
mdvr_rc_t ngx_mdvr_url_check(const ngx_str_t *mark, const ngx_str_t *key);


#endif
