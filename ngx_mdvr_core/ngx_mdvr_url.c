/*
 * Signed addresses, see ngx_mdvr_url.h.
 */

#include "ngx_mdvr_core/ngx_mdvr_url.h"
#include "ngx_mdvr_core/ngx_mdvr_keys.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>


#define NGX_MDVR_URL_KID  8


static void
ngx_mdvr_url_mac(const ngx_mdvr_key_t *key, time_t expires_at,
    const u_char *text, size_t len, u_char mac[32])
{
    size_t        n;
    u_char        buf[32];
    unsigned int  size;
    HMAC_CTX     *hmac;

    n = ngx_sprintf(buf, "%xT\n", expires_at) - buf;
    size = 32;

    hmac = HMAC_CTX_new();

    if (hmac == NULL
        || !HMAC_Init_ex(hmac, key->secret, sizeof(key->secret), EVP_sha256(),
                         NULL)
        || !HMAC_Update(hmac, buf, n)
        || !HMAC_Update(hmac, text, len)
        || !HMAC_Final(hmac, mac, &size))
    {
        ngx_memzero(mac, 32);
    }

    HMAC_CTX_free(hmac);
}


ngx_int_t
ngx_mdvr_url_sign(ngx_pool_t *pool, const ngx_str_t *text, time_t expires_at,
    ngx_str_t *mark)
{
    u_char                *p, mac[32];
    ngx_str_t              src, dst;
    const ngx_mdvr_key_t  *key;

    key = ngx_mdvr_key_current(NGX_MDVR_KEY_URL);

    if (key == NULL) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(pool, NGX_MDVR_URL_MARK_MAX);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_mdvr_url_mac(key, expires_at, text->data, text->len, mac);

    mark->data = p;

    p = ngx_cpymem(p, key->kid, NGX_MDVR_URL_KID);
    p = ngx_sprintf(p, "-%xT-", expires_at);

    src.data = mac;
    src.len = sizeof(mac);
    dst.data = p;
    ngx_encode_base64url(&dst, &src);

    mark->len = p + dst.len - mark->data;

    return NGX_OK;
}


mdvr_rc_t
ngx_mdvr_url_check(const ngx_str_t *mark, const ngx_str_t *key)
{
    u_char                *p, *last, mac[32], given[48];
    size_t                 len;
    time_t                 expires_at;
    ngx_str_t              src, dst;
    const ngx_mdvr_key_t  *k;

    last = mark->data + mark->len;

    if (mark->len > NGX_MDVR_URL_MARK_MAX
        || mark->len < NGX_MDVR_URL_KID + 4
        || mark->data[NGX_MDVR_URL_KID] != '-')
    {
        return MDVR_E_UNAUTHENTICATED;
    }

    p = ngx_strlchr(mark->data + NGX_MDVR_URL_KID + 1, last, '-');

    if (p == NULL || last - p - 1 != 43) {
        return MDVR_E_UNAUTHENTICATED;
    }

    expires_at = ngx_hextoi(mark->data + NGX_MDVR_URL_KID + 1,
                            p - mark->data - NGX_MDVR_URL_KID - 1);

    src.data = p + 1;
    src.len = 43;
    dst.data = given;

    k = ngx_mdvr_key_find(NGX_MDVR_KEY_URL, mark->data, NGX_MDVR_URL_KID);

    if (k == NULL || expires_at == (time_t) NGX_ERROR
        || ngx_decode_base64url(&dst, &src) != NGX_OK || dst.len != 32)
    {
        return MDVR_E_UNAUTHENTICATED;
    }

    for (len = key->len; len; len--) {

        if (len < key->len && key->data[len - 1] != '/') {
            continue;
        }

        ngx_mdvr_url_mac(k, expires_at, key->data, len, mac);

        if (CRYPTO_memcmp(mac, given, sizeof(mac)) == 0) {
            return expires_at > ngx_time() ? MDVR_OK : MDVR_E_EXPIRED;
        }
    }

    return MDVR_E_UNAUTHENTICATED;
}
