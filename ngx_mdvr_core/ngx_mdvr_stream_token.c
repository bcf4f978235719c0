/*
 * Stream tokens: base64url(fields) "." base64url(HMAC-SHA256(fields)).
 *
 *   0  version      1, always 1
 *   1  key          4, the beginning of the key's kid (8 hex digits)
 *   5  issued       4, big-endian unix seconds
 *   9  expires      4
 *  13  channel      1
 *  14  stream       1
 *  15  ids          5 x 16: session, tenant, user, user session, device
 *  95  node         the rest, 1 to 32 bytes
 */

#include "ngx_mdvr_core/ngx_mdvr_auth.h"
#include "ngx_mdvr_core/ngx_mdvr_keys.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>


#define NGX_MDVR_STREAM_FIXED   95
#define NGX_MDVR_STREAM_FIELDS  (NGX_MDVR_STREAM_FIXED + NGX_MDVR_NODE_MAX)
#define NGX_MDVR_STREAM_MAC     32


static u_char *
ngx_mdvr_put32(u_char *p, uint32_t v)
{
    *p++ = (u_char) (v >> 24);
    *p++ = (u_char) (v >> 16);
    *p++ = (u_char) (v >> 8);
    *p++ = (u_char) v;

    return p;
}


static uint32_t
ngx_mdvr_get32(const u_char *p)
{
    return (uint32_t) p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}


static ngx_int_t
ngx_mdvr_stream_mac(const ngx_mdvr_key_t *key, const u_char *fields,
    size_t len, u_char *mac)
{
    unsigned  n;

    n = 0;

    return HMAC(EVP_sha256(), key->secret, sizeof(key->secret), fields, len,
                mac, &n) && n == NGX_MDVR_STREAM_MAC
           ? NGX_OK : NGX_ERROR;
}


static u_char *
ngx_mdvr_base64url(u_char *p, const u_char *src, size_t len)
{
    ngx_str_t  from, to;

    from.data = (u_char *) src;
    from.len = len;
    to.data = p;

    ngx_encode_base64url(&to, &from);

    return p + to.len;
}


/*
 * Whether `text` is how these bytes are written: the last character of a
 * group has bits that decoding ignores, and a token has one spelling only.
 */

static ngx_uint_t
ngx_mdvr_stream_spelled(const ngx_str_t *text, const u_char *bytes,
    size_t len)
{
    u_char  own[ngx_base64_encoded_length(NGX_MDVR_STREAM_FIELDS)], *p;

    p = ngx_mdvr_base64url(own, bytes, len);

    return text->len == (size_t) (p - own)
           && ngx_memcmp(text->data, own, text->len) == 0;
}


ngx_int_t
ngx_mdvr_stream_token_make(ngx_pool_t *pool,
    const ngx_mdvr_stream_token_t *t, ngx_str_t *token)
{
    u_char                 fields[NGX_MDVR_STREAM_FIELDS], *p;
    u_char                 mac[NGX_MDVR_STREAM_MAC];
    ngx_uint_t             i;
    const ngx_mdvr_key_t  *key;

    key = ngx_mdvr_key_current(NGX_MDVR_KEY_STREAM);

    if (key == NULL) {
        return NGX_DECLINED;
    }

    if (t->node.len == 0 || t->node.len > NGX_MDVR_NODE_MAX) {
        return NGX_ERROR;
    }

    p = fields;
    *p++ = 1;

    for (i = 0; i < 4; i++) {
        *p++ = (u_char) ngx_hextoi((u_char *) key->kid + 2 * i, 2);
    }

    p = ngx_mdvr_put32(p, (uint32_t) t->issued_at);
    p = ngx_mdvr_put32(p, (uint32_t) t->expires_at);
    *p++ = t->channel;
    *p++ = t->stream;
    p = ngx_cpymem(p, t->session.b, 16);
    p = ngx_cpymem(p, t->tenant.b, 16);
    p = ngx_cpymem(p, t->user.b, 16);
    p = ngx_cpymem(p, t->user_session.b, 16);
    p = ngx_cpymem(p, t->device.b, 16);
    p = ngx_cpymem(p, t->node.data, t->node.len);

    if (ngx_mdvr_stream_mac(key, fields, p - fields, mac) != NGX_OK) {
        return NGX_ERROR;
    }

    token->data = ngx_pnalloc(pool, ngx_base64_encoded_length(p - fields) + 1
                              + ngx_base64_encoded_length(sizeof(mac)));
    if (token->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_mdvr_base64url(token->data, fields, p - fields);
    *p++ = '.';
    p = ngx_mdvr_base64url(p, mac, sizeof(mac));

    token->len = p - token->data;

    return NGX_OK;
}


mdvr_rc_t
ngx_mdvr_stream_token_check(const ngx_str_t *token,
    ngx_mdvr_stream_token_t *t, u_char *scratch)
{
    u_char                 fields[NGX_MDVR_STREAM_FIELDS + 4], *dot, *p;
    u_char                 mac[NGX_MDVR_STREAM_MAC + 4], kid[9];
    u_char                 own[NGX_MDVR_STREAM_MAC];
    ngx_str_t              part, out;
    const ngx_mdvr_key_t  *key;

    dot = ngx_strlchr(token->data, token->data + token->len, '.');

    if (dot == NULL) {
        return MDVR_E_UNAUTHENTICATED;
    }

    part.data = token->data;
    part.len = dot - token->data;

    if (ngx_base64_decoded_length(part.len) > sizeof(fields)) {
        return MDVR_E_UNAUTHENTICATED;
    }

    out.data = fields;

    if (ngx_decode_base64url(&out, &part) != NGX_OK
        || out.len <= NGX_MDVR_STREAM_FIXED
        || out.len > NGX_MDVR_STREAM_FIELDS || fields[0] != 1
        || !ngx_mdvr_stream_spelled(&part, fields, out.len))
    {
        return MDVR_E_UNAUTHENTICATED;
    }

    part.len = token->data + token->len - dot - 1;
    part.data = dot + 1;

    if (part.len != 43) {
        return MDVR_E_UNAUTHENTICATED;
    }

    p = out.data + out.len;
    out.data = mac;

    if (ngx_decode_base64url(&out, &part) != NGX_OK
        || out.len != NGX_MDVR_STREAM_MAC
        || !ngx_mdvr_stream_spelled(&part, mac, out.len))
    {
        return MDVR_E_UNAUTHENTICATED;
    }

    (void) ngx_hex_dump(kid, fields + 1, 4);

    key = ngx_mdvr_key_find(NGX_MDVR_KEY_STREAM, kid, 8);

    if (key == NULL) {
        ngx_mdvr_keys_load();
        return ngx_mdvr_keys_generation() ? MDVR_E_UNAUTHENTICATED
                                          : MDVR_E_UNAVAILABLE;
    }

    if (ngx_mdvr_stream_mac(key, fields, p - fields, own) != NGX_OK
        || CRYPTO_memcmp(own, mac, sizeof(own)) != 0)
    {
        return MDVR_E_UNAUTHENTICATED;
    }

    t->issued_at = ngx_mdvr_get32(fields + 5);
    t->expires_at = ngx_mdvr_get32(fields + 9);
    t->channel = fields[13];
    t->stream = fields[14];
    ngx_memcpy(t->session.b, fields + 15, 16);
    ngx_memcpy(t->tenant.b, fields + 31, 16);
    ngx_memcpy(t->user.b, fields + 47, 16);
    ngx_memcpy(t->user_session.b, fields + 63, 16);
    ngx_memcpy(t->device.b, fields + 79, 16);

    t->node.data = scratch;
    t->node.len = p - fields - NGX_MDVR_STREAM_FIXED;
    ngx_memcpy(scratch, fields + NGX_MDVR_STREAM_FIXED, t->node.len);

    t->expires_at = ngx_max(t->expires_at, ngx_mdvr_vsession_get(&t->session));

    return ngx_mdvr_stream_token_recheck(t);
}


mdvr_rc_t
ngx_mdvr_stream_token_recheck(const ngx_mdvr_stream_token_t *t)
{
    time_t  now;

    now = ngx_time();

    if (t->expires_at <= now && ngx_mdvr_vsession_get(&t->session) <= now) {
        return MDVR_E_EXPIRED;
    }

    /* the user's session is over, or this viewer's was stopped */

    return ngx_mdvr_is_revoked(&t->user_session, &t->user, &t->tenant,
                               t->issued_at)
           || ngx_mdvr_is_revoked(&t->session, &t->user, &t->tenant,
                                  t->issued_at)
           ? MDVR_E_UNAUTHENTICATED : MDVR_OK;
}
