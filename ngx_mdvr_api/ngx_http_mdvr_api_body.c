
/*
 * The body of a request: collected, parsed, checked against the route's schema.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


static ngx_int_t
ngx_http_mdvr_api_collect(ngx_http_request_t *r, ngx_str_t *text)
{
    u_char       *p;
    size_t        len;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    ngx_str_null(text);

    if (r->request_body == NULL) {
        return NGX_OK;
    }

    len = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        len += ngx_buf_size(cl->buf);
    }

    if (len > NGX_HTTP_MDVR_API_BODY_MAX) {
        return NGX_DECLINED;
    }

    cl = r->request_body->bufs;

    if (cl && cl->next == NULL && ngx_buf_in_memory(cl->buf)) {
        text->data = cl->buf->pos;
        text->len = len;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, len + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    text->len = len;

    for ( /* void */ ; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, b->last - b->pos);

        } else if (b->in_file) {
            /* what nginx has just written: at most 1 MiB, in the page cache */
            n = ngx_read_file(b->file, p, b->file_last - b->file_pos,
                              b->file_pos);
            if (n != b->file_last - b->file_pos) {
                return NGX_ERROR;
            }

            p += n;
        }
    }

    return NGX_OK;
}


static void
ngx_http_mdvr_api_free_json(void *data)
{
    json_decref(data);
}


static ngx_uint_t
ngx_http_mdvr_api_is_json(ngx_http_request_t *r)
{
    size_t      len;
    ngx_str_t  *type, *coding;

    static const char  json[] = "application/json";

    coding = ngx_mdvr_http_find(r, "content-encoding");

    if (r->headers_in.content_type == NULL
        || (coding && (coding->len != sizeof("identity") - 1
                       || ngx_strncasecmp(coding->data, (u_char *) "identity",
                                          coding->len))))
    {
        return 0;
    }

    type = &r->headers_in.content_type->value;
    len = sizeof(json) - 1;

    return type->len >= len
           && ngx_strncasecmp(type->data, (u_char *) json, len) == 0
           && (type->len == len || type->data[len] == ';'
               || type->data[len] == ' ');
}


void
ngx_http_mdvr_api_body(ngx_http_request_t *r)
{
    char                             *dump;
    ngx_str_t                         text;
    ngx_int_t                         rc;
    const char                       *code, *detail;
    ngx_pool_cleanup_t               *cln;
    ngx_http_mdvr_api_ctx_t          *ctx;
    ngx_http_mdvr_api_errors_t        errors;
    const ngx_http_mdvr_api_route_t  *route;

    ctx = ngx_http_get_module_ctx(r, ngx_http_mdvr_api_module);
    route = ctx->route;

    rc = ngx_http_mdvr_api_collect(r, &text);

    if (rc == NGX_DECLINED) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_REQUEST_ENTITY_TOO_LARGE,
                                  "too_large", "the body exceeds 1 MiB", 0);
        return;
    }

    if (rc != NGX_OK) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    if (text.len == 0) {

        if (route->body == NULL || (route->flags & API_BODY_OPT)) {
            ngx_http_mdvr_api_idem_begin(ctx);
            return;
        }

        ngx_http_mdvr_api_problem(ctx, 400, "malformed_json",
                                  "a JSON body is required", 0);
        return;
    }

    if (route->body == NULL) {

        if (r->method == NGX_HTTP_GET || r->method == NGX_HTTP_HEAD) {
            ngx_http_mdvr_api_idem_begin(ctx);
            return;
        }
    }

    if (!ngx_http_mdvr_api_is_json(r)) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                  "unsupported_media_type",
                                  "the body must be application/json,"
                                  " not compressed", 0);
        return;
    }

    ctx->body = ngx_http_mdvr_api_parse((char *) text.data, text.len, &code,
                                        &detail);
    if (ctx->body == NULL) {
        ngx_http_mdvr_api_problem(ctx,
                                  code[0] == 'm' ? 400
                                                 : 422,
                                  code, detail, 0);
        return;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        json_decref(ctx->body);
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    cln->handler = ngx_http_mdvr_api_free_json;
    cln->data = ctx->body;

    ngx_memzero(&errors, sizeof(errors));

    if (route->body) {
        (void) ngx_http_mdvr_api_check(route->body, ctx->body, "", &errors);

    } else if (!json_is_object(ctx->body) || json_object_size(ctx->body)) {
        ngx_http_mdvr_api_error(&errors, "unknown_field", "", "",
                                "this request takes no fields");
    }

    if (errors.list) {
        ngx_http_mdvr_api_invalid(ctx, &errors);
        return;
    }

    dump = json_dumps(ctx->body, JSON_COMPACT);
    if (dump == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ctx->text = ngx_http_mdvr_api_dup(r->pool, dump, ngx_strlen(dump));
    free(dump);

    ngx_http_mdvr_api_idem_begin(ctx);
}
