/*
 * Answers, problems, request ids and bearers for the HTTP modules.
 *
 * The request's own data hangs on a pool cleanup, not only on the module
 * context: an internal redirect (error_page) forgets contexts, and the id of
 * a request must not change under it.
 */

#include "ngx_mdvr_core/ngx_mdvr_http.h"
#include "ngx_mdvr_core/ngx_mdvr_rc.h"
#include "ngx_mdvr_core/ngx_mdvr_trace.h"
#include "ngx_mdvr_core/ngx_mdvr_uuid.h"

#include "mdvr/basics/json.h"


#define NGX_MDVR_REQUEST_ID_MAX   64
#define NGX_MDVR_TRACEPARENT_MAX  256


typedef struct {
    ngx_str_t                  request_id;
    ngx_mdvr_principal_t       principal;
    mdvr_rc_t                  rc;
    unsigned                   asked:1;      /* rc and principal are valid */
    void                     (*done)(ngx_http_request_t *r);
    u_char                     text[NGX_MDVR_REQUEST_ID_MAX];
    ngx_mdvr_span_t            span;
    ngx_str_t                  traceparent;  /* that of `span` */
    u_char                     trace[MDVR_TRACEPARENT_LEN];
} ngx_mdvr_http_ctx_t;


/* `detail`: what a problem says that nobody has said more about */

static const struct {
    ngx_uint_t    status;
    const char   *title;
    const char   *detail;
} ngx_mdvr_http_titles[] = {
    { 400, "Bad Request",
      "the request is not well-formed" },
    { 401, "Unauthorized",
      "sign in: a valid access token is required" },
    { 403, "Forbidden",
      "the signed-in user may not do this" },
    { 404, "Not Found",
      "there is nothing at this address, or not for this user" },
    { 405, "Method Not Allowed",
      "this address does not know the method" },
    { 406, "Not Acceptable",
      "nothing of what is accepted can be given" },
    { 408, "Request Timeout",
      "the request did not arrive in time" },
    { 409, "Conflict",
      "the state of things is in the way" },
    { 410, "Gone",
      "this is gone for good" },
    { 411, "Length Required",
      "the request needs a Content-Length" },
    { 413, "Content Too Large",
      "the body is larger than is allowed here" },
    { 414, "URI Too Long",
      "the address is too long" },
    { 415, "Unsupported Media Type",
      "the body is of a type that is not taken here" },
    { 416, "Range Not Satisfiable",
      "the range lies outside of the file" },
    { 422, "Unprocessable Content",
      "the request is not acceptable as it is" },
    { 426, "Upgrade Required",
      "the protocol has to be changed first" },
    { 429, "Too Many Requests",
      "too much at once: try again later" },
    { 431, "Request Header Fields Too Large",
      "the request's headers are too large" },
    { 500, "Internal Server Error",
      "the server failed; the request_id finds it in the logs" },
    { 501, "Not Implemented",
      "the server does not know how to do this" },
    { 502, "Bad Gateway",
      "another node or service answered nonsense" },
    { 503, "Service Unavailable",
      "not possible at the moment: try again later" },
    { 504, "Gateway Timeout",
      "another node or service did not answer in time" },
};


static void
ngx_mdvr_http_cleanup(void *data)
{
    ngx_mdvr_http_ctx_t *ctx = data;

    ngx_explicit_memzero(&ctx->principal, sizeof(ngx_mdvr_principal_t));
}


static ngx_mdvr_http_ctx_t *
ngx_mdvr_http_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t   *cln;
    ngx_mdvr_http_ctx_t  *ctx;

    r = r->main;

    ctx = ngx_http_get_module_ctx(r, ngx_http_mdvr_core_module);

    if (ctx) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_mdvr_http_cleanup) {
            ctx = cln->data;
            ngx_http_set_ctx(r, ctx, ngx_http_mdvr_core_module);
            return ctx;
        }
    }

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_mdvr_http_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_mdvr_http_ctx_t));

    cln->handler = ngx_mdvr_http_cleanup;
    ngx_http_set_ctx(r, ctx, ngx_http_mdvr_core_module);

    return ctx;
}


ngx_str_t *
ngx_mdvr_http_find(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);
    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].hash && h[i].key.len == len
            && ngx_strncmp(h[i].lowcase_key, name, len) == 0)
        {
            return &h[i].value;
        }
    }
}


ngx_str_t *
ngx_mdvr_http_request_id(ngx_http_request_t *r)
{
    u_char                c;
    size_t                i;
    ngx_str_t            *sent;
    ngx_mdvr_uuid_t       uuid;
    ngx_mdvr_http_ctx_t  *ctx;
    static ngx_str_t      none = ngx_string("");

    ctx = ngx_mdvr_http_ctx(r);

    if (ctx == NULL) {
        return &none;
    }

    if (ctx->request_id.len) {
        return &ctx->request_id;
    }

    ctx->request_id.data = ctx->text;

    sent = ngx_mdvr_http_find(r->main, "x-request-id");

    if (sent && sent->len && sent->len <= NGX_MDVR_REQUEST_ID_MAX) {

        for (i = 0; i < sent->len; i++) {
            c = sent->data[i];

            if ((c < '0' || c > '9') && (c < 'a' || c > 'z')
                && (c < 'A' || c > 'Z') && c != '.' && c != '_' && c != '-')
            {
                break;
            }
        }

        if (i == sent->len) {
            ngx_memcpy(ctx->text, sent->data, sent->len);
            ctx->request_id.len = sent->len;
            return &ctx->request_id;
        }
    }

    ngx_mdvr_uuid_make(&uuid);
    ctx->request_id.len = ngx_mdvr_uuid_print(ctx->text, &uuid) - ctx->text;

    return &ctx->request_id;
}


/* The caller's, when it is one. */

static ngx_str_t
ngx_mdvr_http_trace_sent(ngx_http_request_t *r)
{
    ngx_str_t     *s;
    mdvr_trace_t   t;

    s = ngx_mdvr_http_find(r->main, "traceparent");

    if (s == NULL || s->len > NGX_MDVR_TRACEPARENT_MAX
        || !mdvr_trace_read(&t, mdvr_str(s->data, s->len)))
    {
        return (ngx_str_t) ngx_string("");
    }

    return *s;
}


void
ngx_mdvr_http_span_begin(ngx_http_request_t *r)
{
    ngx_str_t             sent;
    ngx_mdvr_http_ctx_t  *ctx;

    if (!ngx_mdvr_trace_on()) {
        return;
    }

    ctx = ngx_mdvr_http_ctx(r);

    if (ctx && ctx->traceparent.len == 0) {
        sent = ngx_mdvr_http_trace_sent(r);
        ngx_mdvr_span_begin(&ctx->span, &sent);
        ctx->traceparent = ngx_mdvr_span_parent(&ctx->span, ctx->trace);
    }
}


ngx_str_t
ngx_mdvr_http_traceparent(ngx_http_request_t *r)
{
    ngx_mdvr_http_ctx_t  *ctx;

    if (!ngx_mdvr_trace_on()) {
        return ngx_mdvr_http_trace_sent(r);
    }

    ngx_mdvr_http_span_begin(r);

    ctx = ngx_mdvr_http_ctx(r);

    return ctx ? ctx->traceparent : (ngx_str_t) ngx_string("");
}


ngx_str_t
ngx_mdvr_http_trace_key(ngx_http_request_t *r, u_char *buf)
{
    ngx_str_t             of;
    ngx_mdvr_http_ctx_t  *ctx;

    ctx = ngx_mdvr_http_ctx(r);
    of = ctx && ctx->traceparent.len ? ctx->traceparent
                                     : ngx_mdvr_http_trace_sent(r);

    return ngx_mdvr_trace_key(&of, buf);
}


ngx_str_t
ngx_mdvr_http_tenant(ngx_http_request_t *r, u_char *buf)
{
    ngx_str_t             tenant;
    ngx_mdvr_http_ctx_t  *ctx;

    ctx = ngx_mdvr_http_ctx(r);

    tenant.data = buf;
    tenant.len = 0;

    if (ctx && ctx->asked && ctx->rc == MDVR_OK && ctx->principal.has_tenant) {
        tenant.len = ngx_mdvr_uuid_print(buf, &ctx->principal.tenant) - buf;
    }

    return tenant;
}


void
ngx_mdvr_http_span_end(ngx_http_request_t *r, const ngx_str_t *route,
    ngx_uint_t status)
{
    u_char                text[NGX_MDVR_UUID_LEN];
    mdvr_str_t            tenant;
    ngx_mdvr_http_ctx_t  *ctx;

    ctx = ngx_mdvr_http_ctx(r);

    if (ctx == NULL || !ctx->span.open) {
        return;
    }

    tenant = mdvr_str(text, 0);

    if (ctx->asked && ctx->rc == MDVR_OK) {
        (void) ngx_mdvr_uuid_print(text, &ctx->principal.tenant);
        tenant.len = NGX_MDVR_UUID_LEN;
    }

    mdvr_span_attr_t  attrs[] = {
        { "http.request.method", ngx_mdvr_view(&r->method_name), 0 },
        { "http.route", ngx_mdvr_view(route), 0 },
        { "http.response.status_code", { NULL, 0 }, (int64_t) status },
        { "mdvr.request_id", ngx_mdvr_view(ngx_mdvr_http_request_id(r)), 0 },
        { "mdvr.tenant_id", tenant, 0 }
    };

    ngx_mdvr_span_end(&ctx->span, MDVR_SPAN_SERVER, ngx_mdvr_view(route),
                      status >= 500 ? "server error" : NULL, attrs, 5);
}


/* -- answers ------------------------------------------------------------- */

ngx_int_t
ngx_mdvr_http_header(ngx_http_request_t *r, const char *name,
    const ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    return NGX_OK;
}


static ngx_uint_t
ngx_mdvr_http_has(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    len = ngx_strlen(name);

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].hash && h[i].key.len == len
                && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


ngx_int_t
ngx_mdvr_http_send(ngx_http_request_t *r, ngx_uint_t status, const char *type,
    const ngx_str_t *body, ngx_uint_t copy)
{
    ngx_int_t         rc;
    ngx_buf_t        *b;
    ngx_chain_t       out;

    static ngx_str_t  no_store = ngx_string("no-store");
    static ngx_str_t  sniff = ngx_string("nosniff");

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = status;
    r->headers_out.content_length_n = status == NGX_HTTP_NO_CONTENT
                                      ? -1 : (off_t) body->len;

    if (type) {
        r->headers_out.content_type.data = (u_char *) type;
        r->headers_out.content_type.len = ngx_strlen(type);
        r->headers_out.content_type_len = r->headers_out.content_type.len;
        r->headers_out.content_type_lowcase = NULL;
    }

    if (ngx_mdvr_http_header(r, "X-Request-Id", ngx_mdvr_http_request_id(r))
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ngx_mdvr_http_has(r, "Cache-Control")
        && ngx_mdvr_http_header(r, "Cache-Control", &no_store) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ngx_mdvr_http_has(r, "X-Content-Type-Options")
        && ngx_mdvr_http_header(r, "X-Content-Type-Options", &sniff) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b = NULL;

    if (body->len) {
        b = copy ? ngx_create_temp_buf(r->pool, body->len)
                 : ngx_calloc_buf(r->pool);
        if (b == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (copy) {
            b->last = ngx_cpymem(b->last, body->data, body->len);

        } else {
            b->pos = body->data;
            b->last = body->data + body->len;
            b->memory = 1;
        }

        b->last_buf = (r == r->main);
        b->last_in_chain = 1;

    } else {
        r->header_only = 1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_mdvr_http_json(ngx_http_request_t *r, ngx_uint_t status,
    const ngx_str_t *body, ngx_uint_t copy)
{
    return ngx_mdvr_http_send(r, status, "application/json", body, copy);
}


ngx_int_t
ngx_mdvr_http_problem(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *detail)
{
    return ngx_mdvr_http_problem_fields(r, status, code, detail, NULL, 0);
}


ngx_int_t
ngx_mdvr_http_verdict(ngx_http_request_t *r, mdvr_rc_t rc, const char *detail)
{
    const ngx_mdvr_rc_map_t  *map;

    map = ngx_mdvr_rc(rc);

    return ngx_mdvr_http_problem(r, map->status, (char *) map->code.data,
                                 detail);
}


ngx_int_t
ngx_mdvr_http_problem_fields(ngx_http_request_t *r, ngx_uint_t status,
    const char *code, const char *detail, const ngx_mdvr_http_error_t *errors,
    ngx_uint_t nerrors)
{
    size_t            size;
    u_char           *p;
    ngx_str_t         body, *id;
    mdvr_buf_t        b, type;
    mdvr_json_t       j;
    u_char            text[128];
    ngx_uint_t        i;
    const char       *title;

    static ngx_str_t  one = ngx_string("1");
    static ngx_str_t  bearer = ngx_string("Bearer realm=\"mdvr\"");
    static ngx_str_t  invalid = ngx_string("Bearer realm=\"mdvr\", "
                                           "error=\"invalid_token\"");

    title = "Error";

    for (i = 0;
         i < sizeof(ngx_mdvr_http_titles) / sizeof(ngx_mdvr_http_titles[0]);
         i++)
    {
        if (ngx_mdvr_http_titles[i].status == status) {
            title = ngx_mdvr_http_titles[i].title;

            if (detail == NULL || *detail == '\0') {
                detail = ngx_mdvr_http_titles[i].detail;
            }

            break;
        }
    }

    id = ngx_mdvr_http_request_id(r);

    size = 512 + (detail ? 6 * ngx_strlen(detail) : 0);

    for (i = 0; i < nerrors; i++) {
        size += 64 + 6 * (errors[i].field.len + errors[i].message.len);
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    type = mdvr_buf(text, sizeof(text));
    mdvr_buf_cstr(&type, "urn:mdvr:problem:");
    mdvr_buf_cstr(&type, code);

    b = mdvr_buf(p, size);
    mdvr_json_init(&j, &b);

    mdvr_json_object(&j, NULL);
    mdvr_json_str(&j, "type", mdvr_buf_view(&type));
    mdvr_json_cstr(&j, "title", title);
    mdvr_json_u64(&j, "status", status);
    mdvr_json_cstr(&j, "code", code);

    if (detail && *detail) {
        mdvr_json_cstr(&j, "detail", detail);
    }

    mdvr_json_str(&j, "request_id", mdvr_str(id->data, id->len));

    if (nerrors) {
        mdvr_json_array(&j, "errors");

        for (i = 0; i < nerrors; i++) {
            mdvr_json_object(&j, NULL);
            mdvr_json_str(&j, "field", mdvr_str(errors[i].field.data,
                                                errors[i].field.len));
            mdvr_json_str(&j, "message", mdvr_str(errors[i].message.data,
                                                  errors[i].message.len));
            mdvr_json_object_end(&j);
        }

        mdvr_json_array_end(&j);
    }

    mdvr_json_object_end(&j);

    if (b.full) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if ((status == 429 || status == 503)
        && !ngx_mdvr_http_has(r, "Retry-After")
        && ngx_mdvr_http_header(r, "Retry-After", &one) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (status == 401
        && ngx_mdvr_http_header(r, "WWW-Authenticate",
                                r->headers_in.authorization ? &invalid
                                                            : &bearer)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body.data = p;
    body.len = b.len;

    return ngx_mdvr_http_send(r, status, "application/problem+json", &body, 0);
}


/* -- who asks ------------------------------------------------------------ */

ngx_int_t
ngx_mdvr_http_bearer(ngx_http_request_t *r, ngx_str_t *token)
{
    ngx_str_t  *value;

    if (r->headers_in.authorization == NULL) {
        return NGX_DECLINED;
    }

    value = &r->headers_in.authorization->value;

    if (value->len < 8
        || ngx_strncasecmp(value->data, (u_char *) "Bearer ", 7) != 0)
    {
        return NGX_DECLINED;
    }

    token->data = value->data + 7;
    token->len = value->len - 7;

    while (token->len && token->data[0] == ' ') {
        token->data++;
        token->len--;
    }

    return token->len ? NGX_OK : NGX_DECLINED;
}


static void
ngx_mdvr_http_known(void *data, const ngx_mdvr_principal_t *principal,
    mdvr_rc_t rc)
{
    ngx_http_request_t *r = data;

    ngx_connection_t     *c;
    ngx_mdvr_http_ctx_t  *ctx;

    c = r->connection;
    ctx = ngx_mdvr_http_ctx(r);

    ctx->asked = 1;
    ctx->rc = rc;

    if (principal) {
        ctx->principal = *principal;
    }

    ctx->done(r);

    ngx_http_run_posted_requests(c);
}


ngx_int_t
ngx_mdvr_auth_request(ngx_http_request_t *r, uint32_t scopes,
    const ngx_mdvr_principal_t **principal,
    void (*done)(ngx_http_request_t *r))
{
    ngx_int_t             rc;
    ngx_str_t             token;
    ngx_mdvr_http_ctx_t  *ctx;

    ctx = ngx_mdvr_http_ctx(r);
    *principal = NULL;

    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ctx->asked) {

        if (ngx_mdvr_http_bearer(r, &token) != NGX_OK) {
            return ngx_mdvr_http_verdict(r, MDVR_E_UNAUTHENTICATED, NULL);
        }

        ctx->done = done;

        rc = ngx_mdvr_auth_bearer(r->pool, &token, &ctx->principal, &ctx->rc,
                                  ngx_mdvr_http_known, r);

        switch (rc) {

        case NGX_AGAIN:
            r->main->count++;
            return NGX_AGAIN;

        case NGX_OK:
            ctx->rc = MDVR_OK;
            break;

        case NGX_DECLINED:
            break;

        case NGX_BUSY:
            ctx->rc = MDVR_E_BUSY;
            break;

        default:
            ctx->rc = MDVR_E_UNAVAILABLE;
        }

        ctx->asked = 1;
    }

    if (ctx->rc != MDVR_OK) {
        return ngx_mdvr_http_verdict(r, ctx->rc, NULL);
    }

    if ((ctx->principal.scopes & scopes) != scopes) {
        return ngx_mdvr_http_verdict(r, MDVR_E_FORBIDDEN, NULL);
    }

    *principal = &ctx->principal;

    return NGX_OK;
}
