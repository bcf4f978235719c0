#include "rtc/stun.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum {
    STUN_HEADER = 20,
    STUN_USERNAME = 0x0006,
    STUN_INTEGRITY = 0x0008,
    STUN_XOR_MAPPED = 0x0020,
    STUN_USE_CANDIDATE = 0x0025,
    STUN_FINGERPRINT = 0x8028
};

static const uint8_t  stun_cookie[4] = { 0x21, 0x12, 0xa4, 0x42 };


static unsigned
get16(const uint8_t *p)
{
    return (unsigned) p[0] << 8 | p[1];
}


static void
put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t) (v >> 8);
    p[1] = (uint8_t) v;
}


bool
rtc_stun_is(const uint8_t *p, size_t len)
{
    return len >= STUN_HEADER && p[0] < 4
           && memcmp(p + 4, stun_cookie, 4) == 0;
}


mdvr_rc_t
rtc_stun_parse(const uint8_t *p, size_t len, rtc_stun_t *out)
{
    size_t      at, n;
    unsigned    type;
    ptrdiff_t   colon;
    mdvr_str_t  user;

    memset(out, 0, sizeof(*out));

    if (!rtc_stun_is(p, len) || get16(p) != 0x0001
        || (size_t) get16(p + 2) + STUN_HEADER != len)
    {
        return MDVR_E_SYNTAX;
    }

    out->transaction = p + 8;

    for (at = STUN_HEADER; at + 4 <= len; at += 4 + ((n + 3) & ~(size_t) 3)) {
        type = get16(p + at);
        n = get16(p + at + 2);

        if (n > len - at - 4) {
            return MDVR_E_SYNTAX;
        }

        if (out->integrity_at) {
            continue;           /* only FINGERPRINT counts after it */
        }

        switch (type) {

        case STUN_USERNAME:
            user = mdvr_str(p + at + 4, n);
            colon = mdvr_str_chr(user, ':');

            if (colon <= 0) {
                return MDVR_E_SYNTAX;
            }

            out->local_ufrag = mdvr_str(user.p, (size_t) colon);
            break;

        case STUN_USE_CANDIDATE:
            out->use_candidate = true;
            break;

        case STUN_INTEGRITY:
            if (n != 20) {
                return MDVR_E_SYNTAX;
            }

            out->integrity_at = at;
            break;
        }
    }

    return out->local_ufrag.len && out->integrity_at ? MDVR_OK
                                                     : MDVR_E_SYNTAX;
}


/*
 * The HMAC covers everything before the attribute, with the header's length
 * as if the attribute were the last one (RFC 8489 section 14.5).
 */
static void
stun_hmac(const uint8_t *p, size_t at, const char *password, uint8_t mac[20])
{
    size_t    mac_len;
    uint8_t   head[4];
    EVP_MAC      *hmac;
    EVP_MAC_CTX  *ctx;
    OSSL_PARAM    params[2];

    memcpy(head, p, 4);
    put16(head + 2, (unsigned) (at + 24 - STUN_HEADER));

    memset(mac, 0, 20);
    hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    ctx = EVP_MAC_CTX_new(hmac);
    params[0] = OSSL_PARAM_construct_utf8_string("digest", (char *) "SHA1", 0);
    params[1] = OSSL_PARAM_construct_end();

    if (ctx != NULL
        && EVP_MAC_init(ctx, (const unsigned char *) password,
                        strlen(password), params)
        && EVP_MAC_update(ctx, head, 4)
        && EVP_MAC_update(ctx, p + 4, at - 4))
    {
        EVP_MAC_final(ctx, mac, &mac_len, 20);
    }

    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(hmac);
}


bool
rtc_stun_verify(const uint8_t *p, const rtc_stun_t *stun,
    const char *password)
{
    uint8_t  mac[20];
    uint8_t  diff;

    stun_hmac(p, stun->integrity_at, password, mac);

    diff = 0;
    for (int i = 0; i < 20; i++) {
        diff |= (uint8_t) (mac[i] ^ p[stun->integrity_at + 4 + (size_t) i]);
    }

    return diff == 0;
}


static uint32_t
stun_crc32(const uint8_t *p, size_t len)
{
    uint32_t  crc = 0xffffffff;

    while (len--) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }

    return ~crc;
}


size_t
rtc_stun_answer(const rtc_stun_t *stun, const struct sockaddr *peer,
    const char *password, uint8_t *out)
{
    size_t                      at, n;
    uint32_t                    crc;
    const uint8_t              *addr;
    unsigned                    port;
    const struct sockaddr_in   *sin;
    const struct sockaddr_in6  *sin6;

    put16(out, 0x0101);
    memcpy(out + 4, stun_cookie, 4);
    memcpy(out + 8, stun->transaction, 12);
    at = STUN_HEADER;

    if (peer->sa_family == AF_INET6) {
        sin6 = (const struct sockaddr_in6 *) peer;
        addr = sin6->sin6_addr.s6_addr;
        port = ntohs(sin6->sin6_port);
        n = 16;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            addr += 12;
            n = 4;
        }

    } else {
        sin = (const struct sockaddr_in *) peer;
        addr = (const uint8_t *) &sin->sin_addr;
        port = ntohs(sin->sin_port);
        n = 4;
    }

    put16(out + at, STUN_XOR_MAPPED);
    put16(out + at + 2, (unsigned) (4 + n));
    out[at + 4] = 0;
    out[at + 5] = n == 4 ? 1 : 2;
    put16(out + at + 6, port ^ 0x2112);

    for (size_t i = 0; i < n; i++) {
        out[at + 8 + i] = addr[i] ^ out[4 + i];
    }

    at += 8 + n;

    put16(out + at, STUN_INTEGRITY);
    put16(out + at + 2, 20);
    put16(out + 2, (unsigned) (at + 24 - STUN_HEADER));
    stun_hmac(out, at, password, out + at + 4);
    at += 24;

    put16(out + 2, (unsigned) (at + 8 - STUN_HEADER));
    crc = stun_crc32(out, at) ^ 0x5354554e;
    put16(out + at, STUN_FINGERPRINT);
    put16(out + at + 2, 4);
    put16(out + at + 4, crc >> 16);
    put16(out + at + 6, crc & 0xffff);

    return at + 8;
}
