
/*
 * argon2id, its PHC strings ("$argon2id$v=19$m=19456,t=3,p=1$salt$hash", base64
 * without padding) and where its working memory comes from.
 *
 * malloc() gives the first such area back to the system and keeps the next ones:
 * its limit for that grows to the size of what was freed.  Each thread of each
 * worker would then hold 19 MiB for good after its second sign-in.  Here an area
 * is mapped for one hash and unmapped after it.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_argon.h"

#include <sys/mman.h>
#include <argon2.h>


#define NGX_HTTP_MDVR_API_ARGON_MEMORY  19456       /* KiB */
#define NGX_HTTP_MDVR_API_ARGON_MOST    262144
#define NGX_HTTP_MDVR_API_ARGON_TIME    3
#define NGX_HTTP_MDVR_API_ARGON_LANES   1
#define NGX_HTTP_MDVR_API_ARGON_HASH    32
#define NGX_HTTP_MDVR_API_ARGON_PART    128         /* salt or hash, bytes */


static int
ngx_http_mdvr_api_argon_map(uint8_t **memory, size_t size)
{
    void  *p;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE,
             MAP_PRIVATE|MAP_ANONYMOUS|MAP_POPULATE, -1, 0);

    if (p == MAP_FAILED) {
        *memory = NULL;
        return ARGON2_MEMORY_ALLOCATION_ERROR;
    }

    *memory = p;

    return ARGON2_OK;
}


/* argon2 has wiped it */

static void
ngx_http_mdvr_api_argon_unmap(uint8_t *memory, size_t size)
{
    (void) munmap(memory, size);
}


static void
ngx_http_mdvr_api_argon_context(argon2_context *c, const char *password,
    size_t len, u_char *out, size_t outlen, u_char *salt, size_t saltlen)
{
    ngx_memzero(c, sizeof(argon2_context));

    c->out = out;
    c->outlen = outlen;
    c->pwd = (uint8_t *) password;
    c->pwdlen = len;
    c->salt = salt;
    c->saltlen = saltlen;
    c->version = ARGON2_VERSION_13;
    c->allocate_cbk = ngx_http_mdvr_api_argon_map;
    c->free_cbk = ngx_http_mdvr_api_argon_unmap;
    c->flags = ARGON2_DEFAULT_FLAGS;
}


static u_char *
ngx_http_mdvr_api_argon_base64(u_char *p, u_char *bytes, size_t len)
{
    ngx_str_t  dst, src;

    src.data = bytes;
    src.len = len;
    dst.data = p;

    ngx_encode_base64(&dst, &src);

    while (dst.len && dst.data[dst.len - 1] == '=') {
        dst.len--;
    }

    return dst.data + dst.len;
}


ngx_uint_t
ngx_http_mdvr_api_argon_make(const char *password, size_t len,
    const u_char salt[NGX_HTTP_MDVR_API_ARGON_SALT],
    char encoded[NGX_HTTP_MDVR_API_ARGON_ENCODED])
{
    u_char          *p, out[NGX_HTTP_MDVR_API_ARGON_HASH];
    argon2_context   c;

    ngx_http_mdvr_api_argon_context(&c, password, len, out, sizeof(out),
                                    (u_char *) salt,
                                    NGX_HTTP_MDVR_API_ARGON_SALT);

    c.m_cost = NGX_HTTP_MDVR_API_ARGON_MEMORY;
    c.t_cost = NGX_HTTP_MDVR_API_ARGON_TIME;
    c.lanes = NGX_HTTP_MDVR_API_ARGON_LANES;
    c.threads = c.lanes;

    if (argon2_ctx(&c, Argon2_id) != ARGON2_OK) {
        return 0;
    }

    p = ngx_sprintf((u_char *) encoded, "$argon2id$v=%d$m=%uD,t=%uD,p=%uD$",
                    ARGON2_VERSION_13, c.m_cost, c.t_cost, c.lanes);
    p = ngx_http_mdvr_api_argon_base64(p, (u_char *) salt,
                                       NGX_HTTP_MDVR_API_ARGON_SALT);
    *p++ = '$';
    p = ngx_http_mdvr_api_argon_base64(p, out, sizeof(out));
    *p = '\0';

    return 1;
}


/* "<name><number><end>"; a number that is too large is 0, which argon2 refuses */

static const char *
ngx_http_mdvr_api_argon_number(const char *p, const char *name, char end,
    uint32_t *n)
{
    size_t  len = ngx_strlen(name);

    if (p == NULL || ngx_strncmp(p, name, len) != 0) {
        return NULL;
    }

    *n = 0;

    for (p += len; *p >= '0' && *p <= '9'; p++) {
        *n = *n <= NGX_HTTP_MDVR_API_ARGON_MOST ? *n * 10 + (*p - '0') : 0;
    }

    return *p == end ? p + 1 : NULL;
}


/* up to the end or a '$', which is left out of `*p` */

static size_t
ngx_http_mdvr_api_argon_part(const char **p,
    u_char out[NGX_HTTP_MDVR_API_ARGON_PART])
{
    ngx_str_t  dst, src;

    src.data = (u_char *) *p;
    src.len = strcspn(*p, "$");
    *p += src.len + (src.data[src.len] == '$');

    dst.data = out;

    if (ngx_base64_decoded_length(src.len) > NGX_HTTP_MDVR_API_ARGON_PART
        || ngx_decode_base64(&dst, &src) != NGX_OK)
    {
        return 0;
    }

    return dst.len;
}


ngx_uint_t
ngx_http_mdvr_api_argon_verify(const char *encoded, const char *password,
    size_t len)
{
    size_t           nsalt, nhash;
    u_char           salt[NGX_HTTP_MDVR_API_ARGON_PART];
    u_char           hash[NGX_HTTP_MDVR_API_ARGON_PART];
    u_char           out[NGX_HTTP_MDVR_API_ARGON_PART];
    uint32_t         version, m, t, lanes;
    const char      *p;
    argon2_context   c;

    p = ngx_http_mdvr_api_argon_number(encoded, "$argon2id$v=", '$',
                                       &version);
    p = ngx_http_mdvr_api_argon_number(p, "m=", ',', &m);
    p = ngx_http_mdvr_api_argon_number(p, "t=", ',', &t);
    p = ngx_http_mdvr_api_argon_number(p, "p=", '$', &lanes);

    if (p == NULL || m > NGX_HTTP_MDVR_API_ARGON_MOST) {
        return 0;
    }

    nsalt = ngx_http_mdvr_api_argon_part(&p, salt);
    nhash = ngx_http_mdvr_api_argon_part(&p, hash);

    if (*p != '\0') {
        return 0;
    }

    ngx_http_mdvr_api_argon_context(&c, password, len, out, nhash, salt,
                                    nsalt);

    c.version = version;
    c.m_cost = m;
    c.t_cost = t;
    c.lanes = lanes;
    c.threads = lanes;

    return argon2id_verify_ctx(&c, (char *) hash) == ARGON2_OK;
}
