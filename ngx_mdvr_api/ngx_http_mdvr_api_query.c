
/*
 * The query string: every parameter is one of the table, one that the route takes,
 * given once, and well-formed.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


static ngx_uint_t
ngx_http_mdvr_api_listed(const char *list, const char *name)
{
    size_t       len;
    const char  *p;

    if (list == NULL) {
        return 0;
    }

    len = ngx_strlen(name);

    for (p = list; *p; p++) {
        if (ngx_strncmp(p, name, len) == 0 && (p[len] == ',' || !p[len])) {
            return 1;
        }

        p = strchr(p, ',');
        if (p == NULL) {
            break;
        }
    }

    return 0;
}


static void
ngx_http_mdvr_api_decode(ngx_http_request_t *r, u_char *p, size_t len,
    ngx_str_t *out)
{
    u_char  *dst, *src, *c;

    out->data = ngx_pnalloc(r->pool, len + 1);
    if (out->data == NULL) {
        out->len = 0;
        return;
    }

    ngx_memcpy(out->data, p, len);

    for (c = out->data; c < out->data + len; c++) {
        if (*c == '+') {
            *c = ' ';
        }
    }

    dst = out->data;
    src = out->data;
    ngx_unescape_uri(&dst, &src, len, 0);

    out->len = dst - out->data;
    out->data[out->len] = '\0';
}


/* NGX_ERROR: answered */

ngx_int_t
ngx_http_mdvr_api_args(ngx_http_mdvr_api_ctx_t *ctx)
{
    u_char                           *p, *last, *end, *eq;
    ngx_str_t                         name, value;
    ngx_uint_t                        i;
    const char                       *wrong, *code;
    ngx_http_request_t               *r;
    ngx_http_mdvr_api_errors_t        errors;
    const ngx_http_mdvr_api_field_t  *f;

    r = ctx->request;
    ngx_memzero(&errors, sizeof(errors));

    p = r->args.data;
    last = p + r->args.len;

    for ( /* void */ ; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');
        if (end == NULL) {
            end = last;
        }

        if (end == p) {
            continue;
        }

        eq = ngx_strlchr(p, end, '=');
        if (eq == NULL) {
            eq = end;
        }

        ngx_http_mdvr_api_decode(r, p, eq - p, &name);
        ngx_http_mdvr_api_decode(r, eq < end ? eq + 1 : end,
                                 eq < end ? end - eq - 1 : 0, &value);

        if (name.data == NULL || value.data == NULL) {
            ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                      "internal", NULL, 0);
            return NGX_ERROR;
        }

        f = ngx_http_mdvr_api_query_fields;

        for (i = 0; f[i].name; i++) {
            if (ngx_strcmp(f[i].name, name.data) == 0
                && ngx_strlen(f[i].name) == name.len)
            {
                break;
            }
        }

        if (f[i].name == NULL
            || !ngx_http_mdvr_api_listed(ctx->route->query, f[i].name))
        {
            ngx_http_mdvr_api_error(&errors, "unknown_parameter", "",
                                    (char *) name.data,
                                    "is not a known parameter");
            continue;
        }

        if (ctx->args[i].data) {
            ngx_http_mdvr_api_error(&errors, "duplicate_parameter", "",
                                    f[i].name, "is given twice");
            continue;
        }

        wrong = ngx_http_mdvr_api_check_text(&f[i], (char *) value.data,
                                             value.len, &code);
        if (wrong) {
            ngx_http_mdvr_api_error(&errors, code, "", f[i].name, wrong);
            continue;
        }

        ctx->args[i] = value;
    }

    if (errors.list) {
        ngx_http_mdvr_api_invalid(ctx, &errors);
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_str_t *
ngx_http_mdvr_api_arg(ngx_http_mdvr_api_ctx_t *ctx, const char *name)
{
    ngx_uint_t  i;

    static ngx_str_t  absent = ngx_null_string;

    for (i = 0; ngx_http_mdvr_api_query_fields[i].name; i++) {
        if (ngx_strcmp(ngx_http_mdvr_api_query_fields[i].name, name) == 0) {
            return &ctx->args[i];
        }
    }

    return &absent;
}
