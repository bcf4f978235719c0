
/*
 * Presigned addresses of objects in S3.  The worker stores and reads with
 * requests of its own; here only addresses are made, which needs no network.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_s3.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "mdvr/web/sigv4.h"


#define NGX_HTTP_MDVR_API_S3_SECRET  128

/* an address is the same for so long: browsers cache by it */
#define NGX_HTTP_MDVR_API_S3_STEP    300


static bool
ngx_http_mdvr_api_s3_sha256(const void *p, size_t len, uint8_t *out)
{
    return EVP_Digest(p, len, out, NULL, EVP_sha256(), NULL) == 1;
}


static bool
ngx_http_mdvr_api_s3_hmac(const void *key, size_t key_len, const void *p,
    size_t len, uint8_t *out)
{
    return HMAC(EVP_sha256(), key, (int) key_len, p, len, out, NULL) != NULL;
}


ngx_str_t
ngx_http_mdvr_api_s3_url(ngx_pool_t *pool, const ngx_http_mdvr_api_s3_t *s3,
    const ngx_str_t *key, time_t expires_at)
{
    u_char                path[1024];
    ngx_str_t             url;
    mdvr_buf_t            b, out;
    mdvr_sigv4_t          sig;
    mdvr_sigv4_pair_t     host;
    mdvr_sigv4_request_t  r;

    ngx_str_null(&url);

    sig.sha256 = ngx_http_mdvr_api_s3_sha256;
    sig.hmac = ngx_http_mdvr_api_s3_hmac;
    sig.access_key = mdvr_str(s3->access_key.data, s3->access_key.len);
    sig.secret_key = mdvr_str(s3->secret_key.data, s3->secret_key.len);
    sig.region = mdvr_str(s3->region.data, s3->region.len);
    sig.service = MDVR_STR("s3");

    b = mdvr_buf(path, sizeof(path));
    mdvr_buf_chr(&b, '/');
    mdvr_sigv4_encode(&b, mdvr_str(s3->bucket.data, s3->bucket.len), true);
    mdvr_buf_chr(&b, '/');
    mdvr_sigv4_encode(&b, mdvr_str(s3->prefix.data, s3->prefix.len), true);
    mdvr_sigv4_encode(&b, mdvr_str(key->data, key->len), true);

    url.data = ngx_pnalloc(pool, NGX_HTTP_MDVR_API_S3_URL);
    if (b.full || url.data == NULL) {
        url.data = NULL;
        return url;
    }

    host.name = MDVR_STR("host");
    host.value = mdvr_str(s3->host.data, s3->host.len);

    ngx_memzero(&r, sizeof(mdvr_sigv4_request_t));
    r.method = MDVR_STR("GET");
    r.path = mdvr_buf_view(&b);
    r.headers = &host;
    r.nheaders = 1;
    r.payload = MDVR_SIGV4_UNSIGNED;
    r.time = ngx_time() / NGX_HTTP_MDVR_API_S3_STEP
             * NGX_HTTP_MDVR_API_S3_STEP;

    out = mdvr_buf(url.data, NGX_HTTP_MDVR_API_S3_URL);
    mdvr_buf_add(&out, s3->endpoint.data, s3->endpoint.len);
    mdvr_buf_str(&out, mdvr_buf_view(&b));
    mdvr_buf_chr(&out, '?');

    if (expires_at <= r.time
        || mdvr_sigv4_presign(&sig, &r, (unsigned) (expires_at - r.time),
                              &out) != MDVR_OK)
    {
        url.data = NULL;
        return url;
    }

    url.len = out.len;

    return url;
}


/* The first line of a file. */

static ngx_int_t
ngx_http_mdvr_api_s3_read(ngx_conf_t *cf, ngx_str_t *file, ngx_str_t *line)
{
    u_char    buf[NGX_HTTP_MDVR_API_S3_SECRET + 2], *p;
    ssize_t   n;
    ngx_fd_t  fd;

    if (ngx_conf_full_name(cf->cycle, file, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(file->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", file);
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));
    ngx_close_file(fd);

    for (p = buf; n > 0 && p < buf + n && *p != LF && *p != CR; p++) {
        /* void */
    }

    if (n <= 0 || p == buf || p - buf > NGX_HTTP_MDVR_API_S3_SECRET) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" has no key of 1 to %d bytes", file,
                           NGX_HTTP_MDVR_API_S3_SECRET);
        return NGX_ERROR;
    }

    line->len = p - buf;
    line->data = ngx_pnalloc(cf->pool, line->len);
    if (line->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(line->data, buf, line->len);

    return NGX_OK;
}


char *
ngx_http_mdvr_api_s3(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    u_char                   *colon;
    ngx_str_t                *value, s;
    ngx_uint_t                i;
    ngx_http_mdvr_api_s3_t   *s3, **slot;

    slot = (ngx_http_mdvr_api_s3_t **) (p + cmd->offset);

    if (*slot != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    s3 = ngx_pcalloc(cf->pool, sizeof(ngx_http_mdvr_api_s3_t));
    if (s3 == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;
    s3->endpoint = value[1];
    s3->bucket = value[2];
    ngx_str_set(&s3->region, "us-east-1");

    while (s3->endpoint.len
           && s3->endpoint.data[s3->endpoint.len - 1] == '/')
    {
        s3->endpoint.len--;
    }

    colon = ngx_strlchr(s3->endpoint.data,
                        s3->endpoint.data + s3->endpoint.len, ':');

    if (colon == NULL
        || (ngx_strncmp(s3->endpoint.data, "https://", 8) != 0
            && ngx_strncmp(s3->endpoint.data, "http://", 7) != 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid address \"%V\" in \"%V\": it must begin "
                           "with https:// or http://", &value[1],
                           &cmd->name);
        return NGX_CONF_ERROR;
    }

    s3->host.data = colon + 3;
    s3->host.len = s3->endpoint.data + s3->endpoint.len - s3->host.data;

    for (i = 3; i < cf->args->nelts; i++) {
        s = value[i];

        if (ngx_strncmp(s.data, "region=", 7) == 0) {
            s3->region.data = s.data + 7;
            s3->region.len = s.len - 7;

        } else if (ngx_strncmp(s.data, "prefix=", 7) == 0) {
            s3->prefix.data = s.data + 7;
            s3->prefix.len = s.len - 7;

        } else if (ngx_strncmp(s.data, "access_key_file=", 16) == 0) {
            s.data += 16;
            s.len -= 16;

            if (ngx_http_mdvr_api_s3_read(cf, &s, &s3->access_key)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

        } else if (ngx_strncmp(s.data, "secret_key_file=", 16) == 0) {
            s.data += 16;
            s.len -= 16;

            if (ngx_http_mdvr_api_s3_read(cf, &s, &s3->secret_key)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown parameter \"%V\" in \"%V\"", &s,
                               &cmd->name);
            return NGX_CONF_ERROR;
        }
    }

    if (s3->prefix.len && s3->prefix.data[s3->prefix.len - 1] != '/') {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid prefix \"%V\" in \"%V\": it must end "
                           "with a slash", &s3->prefix, &cmd->name);
        return NGX_CONF_ERROR;
    }

    if (s3->access_key.len == 0 || s3->secret_key.len == 0) {
        return "needs access_key_file= and secret_key_file=";
    }

    *slot = s3;

    return NGX_CONF_OK;
}
