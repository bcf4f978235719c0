
/*
 * Idempotency-Key: the same request with the same key is carried out once.
 *
 *   mdvr:idem:{<tenant>}:<user>:<key>
 *       "P:<sha256>"                   under way, for a minute at most
 *       "D:<sha256>:<status>:<body>"   the first answer, for 24 h
 *
 * The digest covers method, path, parameters and body (of an uploaded file its
 * length): a key that comes back with another request is refused.  Only answers of success are kept, so that "device
 * offline" can be tried again.  Routes whose answers carry short-lived tokens
 * get the first answer in ctx->replay and make new ones.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"
#include "mdvr/domain/keys.h"


#define NGX_HTTP_MDVR_API_IDEM_PENDING  "60"
#define NGX_HTTP_MDVR_API_IDEM_KEPT     "86400"
#define NGX_HTTP_MDVR_API_IDEM_TIMEOUT  2000
#define NGX_HTTP_MDVR_API_DIGEST        64


static void ngx_http_mdvr_api_idem_claimed(void *data,
    const redisReply *reply, mdvr_rc_t rc);
static void ngx_http_mdvr_api_idem_found(void *data,
    const redisReply *reply, mdvr_rc_t rc);


static void
ngx_http_mdvr_api_idem_away(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_null(&ctx->idem_key);
    ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                              "unavailable",
                              "the store of idempotency keys is away", 2);
}


void
ngx_http_mdvr_api_idem_begin(ngx_http_mdvr_api_ctx_t *ctx)
{
    u_char              *p;
    size_t               len;
    ngx_str_t           *key, text;
    ngx_uint_t           i;
    mdvr_buf_t           b;
    const char          *argv[6];
    size_t               lens[6];
    ngx_http_request_t  *r;

    r = ctx->request;

    key = (ctx->route->flags & API_IDEMPOTENT)
          ? ngx_mdvr_http_find(r, "idempotency-key") : NULL;

    if (key == NULL) {
        ngx_http_mdvr_api_run(ctx);
        return;
    }

    for (i = 0; i < key->len; i++) {
        if (key->data[i] <= ' ' || key->data[i] >= 0x7f) {
            break;
        }
    }

    if (key->len == 0 || key->len > 128 || i < key->len) {
        ngx_http_mdvr_api_invalid_field(ctx, "invalid_value",
                            "Idempotency-Key",
                            "must be 1 to 128 printable characters");
        return;
    }

    len = r->method_name.len + r->uri.len + r->args.len + ctx->text.len
          + NGX_OFF_T_LEN + 4;

    p = ngx_pnalloc(r->pool, len + 512);
    if (p == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    text.data = p;
    p = ngx_sprintf(p, "%V %V", &r->method_name, &r->uri);

    if (ctx->route->flags & API_RAW_BODY) {
        p = ngx_sprintf(p, "?%V %O", &r->args, r->headers_in.content_length_n);
    }

    text.len = ngx_sprintf(p, "\n%V", &ctx->text) - text.data;
    p = text.data;

    ctx->idem_digest = ngx_http_mdvr_api_sha256(r->pool, &text);

    b = mdvr_buf(p + len, 512);
    mdvr_key_idem(&b, mdvr_str(ctx->tenant.data, ctx->tenant.len),
                  mdvr_str(ctx->user.data, ctx->user.len),
                  mdvr_str(key->data, key->len));

    ctx->idem_key.data = p + len;
    ctx->idem_key.len = b.len;

    text.data = ngx_pnalloc(r->pool, NGX_HTTP_MDVR_API_DIGEST + 2);
    if (text.data == NULL) {
        ngx_http_mdvr_api_idem_away(ctx);
        return;
    }

    text.len = ngx_sprintf(text.data, "P:%V", &ctx->idem_digest) - text.data;

    argv[0] = "SET";
    argv[1] = (char *) ctx->idem_key.data;
    argv[2] = (char *) text.data;
    argv[3] = "NX";
    argv[4] = "EX";
    argv[5] = NGX_HTTP_MDVR_API_IDEM_PENDING;

    for (i = 0; i < 6; i++) {
        lens[i] = i == 1 ? ctx->idem_key.len
                : i == 2 ? text.len : ngx_strlen(argv[i]);
    }

    if (ngx_mdvr_redis_command(r->pool, NGX_HTTP_MDVR_API_IDEM_TIMEOUT, 6,
                               argv, lens, ngx_http_mdvr_api_idem_claimed, ctx)
        != NGX_OK)
    {
        ngx_http_mdvr_api_idem_away(ctx);
    }
}


static void
ngx_http_mdvr_api_idem_claimed(void *data, const redisReply *reply,
    mdvr_rc_t rc)
{
    size_t                    lens[2];
    const char               *argv[2];
    ngx_connection_t         *c;
    ngx_http_mdvr_api_ctx_t  *ctx = data;

    c = ctx->request->connection;

    if (rc != MDVR_OK) {
        ngx_http_mdvr_api_idem_away(ctx);

    } else if (reply->type == REDIS_REPLY_STATUS) {
        ngx_http_mdvr_api_run(ctx);

    } else {
        argv[0] = "GET";
        lens[0] = 3;
        argv[1] = (char *) ctx->idem_key.data;
        lens[1] = ctx->idem_key.len;

        if (ngx_mdvr_redis_command(ctx->request->pool,
                                   NGX_HTTP_MDVR_API_IDEM_TIMEOUT, 2, argv,
                                   lens, ngx_http_mdvr_api_idem_found, ctx)
            != NGX_OK)
        {
            ngx_http_mdvr_api_idem_away(ctx);
        }
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_idem_free(void *data)
{
    json_decref(data);
}


static void
ngx_http_mdvr_api_idem_found(void *data, const redisReply *reply,
    mdvr_rc_t rc)
{
    char                     *p, *last;
    ngx_str_t                 body;
    ngx_int_t                 status;
    ngx_connection_t         *c;
    ngx_pool_cleanup_t       *cln;
    ngx_http_mdvr_api_ctx_t  *ctx = data;

    static ngx_str_t  yes = ngx_string("true");

    c = ctx->request->connection;

    ngx_str_null(&ctx->idem_key);           /* not ours: neither kept nor removed */

    if (rc != MDVR_OK) {
        ngx_http_mdvr_api_idem_away(ctx);
        goto done;
    }

    if (reply->type != REDIS_REPLY_STRING
        || reply->len < NGX_HTTP_MDVR_API_DIGEST + 2)
    {
        /* it ended between the two commands: let the client ask again */
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "in_progress",
                                  "the first request is still under way", 1);
        goto done;
    }

    p = reply->str + 2;
    last = reply->str + reply->len;

    if (ngx_memcmp(p, ctx->idem_digest.data, NGX_HTTP_MDVR_API_DIGEST) != 0) {
        ngx_http_mdvr_api_problem(ctx, 422, "idempotency_key_reused",
                          "this key was used with another request before", 0);
        goto done;
    }

    if (reply->str[0] != 'D' || last - p < NGX_HTTP_MDVR_API_DIGEST + 5) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "in_progress",
                                  "the first request is still under way", 1);
        goto done;
    }

    p += NGX_HTTP_MDVR_API_DIGEST + 1;
    status = ngx_atoi((u_char *) p, 3);
    p += 4;

    (void) ngx_mdvr_http_header(ctx->request, "Idempotency-Replayed", &yes);

    if ((ctx->route->flags & API_RAW_BODY)
        && ngx_http_discard_request_body(ctx->request) != NGX_OK)
    {
        ctx->request->keepalive = 0;
    }

    if (ctx->route->flags & API_RENEWED) {

        cln = ngx_pool_cleanup_add(ctx->request->pool, 0);
        ctx->replay = cln ? json_loadb(p, last - p, 0, NULL) : NULL;

        if (ctx->replay == NULL) {
            ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                      "internal", NULL, 0);
            goto done;
        }

        cln->handler = ngx_http_mdvr_api_idem_free;
        cln->data = ctx->replay;

        ngx_http_mdvr_api_run(ctx);
        goto done;
    }

    body.data = (u_char *) p;
    body.len = last - p;

    if (status == NGX_HTTP_NO_CONTENT) {
        ngx_http_mdvr_api_empty(ctx);

    } else {
        ngx_http_mdvr_api_answer(ctx, status, NULL, &body, 1);
    }

done:

    ngx_http_run_posted_requests(c);
}


/* status 0: it failed, the key is free again */

void
ngx_http_mdvr_api_idem_end(ngx_http_mdvr_api_ctx_t *ctx, ngx_uint_t status,
    const ngx_str_t *text)
{
    u_char      *p;
    size_t       lens[5];
    ngx_str_t    key;
    const char  *argv[5];

    key = ctx->idem_key;
    ngx_str_null(&ctx->idem_key);

    argv[1] = (char *) key.data;
    lens[1] = key.len;

    if (status == 0) {
        argv[0] = "DEL";
        lens[0] = 3;
        (void) ngx_mdvr_redis_command(NULL, NGX_HTTP_MDVR_API_IDEM_TIMEOUT, 2,
                                      argv, lens, NULL, NULL);
        return;
    }

    p = ngx_pnalloc(ctx->request->pool,
                    text->len + NGX_HTTP_MDVR_API_DIGEST + 16);
    if (p == NULL) {
        return;
    }

    argv[0] = "SET";
    lens[0] = 3;
    argv[2] = (char *) p;
    lens[2] = ngx_sprintf(p, "D:%V:%03ui:%V", &ctx->idem_digest, status, text)
              - p;
    argv[3] = "EX";
    lens[3] = 2;
    argv[4] = NGX_HTTP_MDVR_API_IDEM_KEPT;
    lens[4] = sizeof(NGX_HTTP_MDVR_API_IDEM_KEPT) - 1;

    (void) ngx_mdvr_redis_command(NULL, NGX_HTTP_MDVR_API_IDEM_TIMEOUT, 5,
                                  argv, lens, NULL, NULL);
}
