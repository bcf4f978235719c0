
/*
 * The methods of a path, OPTIONS, and other origins: only those that the operator
 * listed are answered; cookies are never used.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


static const struct {
    ngx_uint_t   method;
    ngx_str_t    name;
} ngx_http_mdvr_api_methods[] = {
    { NGX_HTTP_GET,     ngx_string("GET") },
    { NGX_HTTP_POST,    ngx_string("POST") },
    { NGX_HTTP_PUT,     ngx_string("PUT") },
    { NGX_HTTP_PATCH,   ngx_string("PATCH") },
    { NGX_HTTP_DELETE,  ngx_string("DELETE") }
};

#define NGX_HTTP_MDVR_API_METHODS                                             \
    (sizeof(ngx_http_mdvr_api_methods) / sizeof(ngx_http_mdvr_api_methods[0]))


const ngx_str_t *
ngx_http_mdvr_api_method_name(ngx_uint_t method)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_MDVR_API_METHODS; i++) {
        if (ngx_http_mdvr_api_methods[i].method == method) {
            return &ngx_http_mdvr_api_methods[i].name;
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_mdvr_api_allow(ngx_http_request_t *r, ngx_uint_t allowed)
{
    u_char      *p;
    ngx_str_t    value;
    ngx_uint_t   i;

    value.data = ngx_pnalloc(r->pool, 64);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    p = value.data;

    for (i = 0; i < NGX_HTTP_MDVR_API_METHODS; i++) {
        if (allowed & ngx_http_mdvr_api_methods[i].method) {
            if (p != value.data) {
                *p++ = ',';
                *p++ = ' ';
            }

            p = ngx_cpymem(p, ngx_http_mdvr_api_methods[i].name.data,
                           ngx_http_mdvr_api_methods[i].name.len);
        }
    }

    if (allowed & NGX_HTTP_GET) {
        p = ngx_cpymem(p, ", HEAD", 6);
    }

    p = ngx_cpymem(p, ", OPTIONS", 9);

    value.len = p - value.data;

    return ngx_mdvr_http_header(r, "Allow", &value);
}


ngx_int_t
ngx_http_mdvr_api_options(ngx_http_request_t *r, ngx_uint_t allowed)
{
    ngx_str_t  empty = ngx_null_string;

    if (ngx_http_discard_request_body(r) != NGX_OK
        || ngx_http_mdvr_api_allow(r, allowed) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_mdvr_http_send(r, NGX_HTTP_NO_CONTENT, NULL, &empty, 0);
}


ngx_int_t
ngx_http_mdvr_api_cors(ngx_http_request_t *r)
{
    ngx_str_t                      *origin, *allowed;
    ngx_uint_t                      i, n;
    ngx_http_mdvr_api_loc_conf_t   *conf;

    static const struct {
        const char  *name;
        ngx_str_t    value;
    } headers[] = {
        { "Vary", ngx_string("Origin") },
        { "Access-Control-Allow-Methods",
          ngx_string("GET, POST, PUT, PATCH, DELETE") },
        { "Access-Control-Allow-Headers",
          ngx_string("Authorization, Content-Type, Idempotency-Key, "
                     "X-Request-Id, X-Tenant-Id, traceparent") },
        { "Access-Control-Expose-Headers",
          ngx_string("X-Request-Id, Retry-After, Link") },
        { "Access-Control-Max-Age", ngx_string("600") }
    };

    conf = ngx_http_get_module_loc_conf(r, ngx_http_mdvr_api_module);

    if (conf->cors == NULL) {
        return NGX_OK;
    }

    origin = ngx_mdvr_http_find(r, "origin");

    if (origin == NULL) {
        return NGX_OK;
    }

    allowed = conf->cors->elts;

    for (i = 0; i < conf->cors->nelts; i++) {

        if (allowed[i].len == origin->len
            && ngx_strncmp(allowed[i].data, origin->data, origin->len) == 0)
        {
            if (ngx_mdvr_http_header(r, "Access-Control-Allow-Origin", origin)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            for (n = 0; n < sizeof(headers) / sizeof(headers[0]); n++) {
                if (ngx_mdvr_http_header(r, headers[n].name,
                                         &headers[n].value)
                    != NGX_OK)
                {
                    return NGX_ERROR;
                }
            }

            return NGX_OK;
        }
    }

    return NGX_OK;
}
