
/*
 * The second factor: prepared with POST, in use when PUT has proved that the
 * phone has it.  The secret is sealed before the database sees it.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_identity.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_password.h"
#include "ngx_mdvr_core/ngx_mdvr_seal.h"
#include "mdvr/domain/keys.h"

#include <openssl/rand.h>


/* bytes of the address that the phone shows beside the code */
#define NGX_HTTP_MDVR_API_TOTP_LABEL  254


typedef struct {
    ngx_http_mdvr_api_ctx_t          *ctx;
    ngx_http_mdvr_api_totp_spent_pt   done;
    char                              key[128];
} ngx_http_mdvr_api_totp_spend_t;


static void ngx_http_mdvr_api_totp_enable(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t fresh);


char *
ngx_http_mdvr_api_totp_name(char *name, const ngx_str_t *user)
{
    u_char  *p, *last;

    last = (u_char *) name + NGX_HTTP_MDVR_API_TOTP_NAME - 1;
    p = ngx_slprintf((u_char *) name, last, "totp/%V", user);
    *p = '\0';

    return name;
}


static void
ngx_http_mdvr_api_totp_spent(void *data, const redisReply *reply, mdvr_rc_t rc)
{
    ngx_connection_t                *c;
    ngx_http_mdvr_api_totp_spend_t  *spend = data;

    c = spend->ctx->request->connection;

    spend->done(spend->ctx,
                rc != MDVR_OK || reply->type != REDIS_REPLY_NIL);

    ngx_http_run_posted_requests(c);
}


void
ngx_http_mdvr_api_totp_spend(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_str_t *user, uint64_t step, ngx_http_mdvr_api_totp_spent_pt done)
{
    size_t                           lens[6];
    ngx_uint_t                       i;
    mdvr_buf_t                       b;
    const char                      *argv[6];
    ngx_http_mdvr_api_totp_spend_t  *spend;

    spend = ngx_palloc(ctx->request->pool,
                       sizeof(ngx_http_mdvr_api_totp_spend_t));

    if (spend == NULL || !ngx_mdvr_redis_up()) {
        done(ctx, 1);
        return;
    }

    spend->ctx = ctx;
    spend->done = done;

    b = mdvr_buf(spend->key, sizeof(spend->key));
    mdvr_key_rate(&b, mdvr_cstr("otp"), mdvr_str(user->data, user->len));
    mdvr_buf_chr(&b, ':');
    mdvr_buf_u64(&b, step);

    argv[0] = "SET";
    argv[1] = spend->key;
    argv[2] = "1";
    argv[3] = "NX";
    argv[4] = "EX";
    argv[5] = "120";

    for (i = 0; i < 6; i++) {
        lens[i] = i == 1 ? b.len : ngx_strlen(argv[i]);
    }

    if (ngx_mdvr_redis_command(ctx->request->pool, 1000, 6, argv, lens,
                               ngx_http_mdvr_api_totp_spent, spend)
        != NGX_OK)
    {
        done(ctx, 1);
    }
}


/* prepares a secret; it counts when PUT has proved that the phone has it */

static void
ngx_http_mdvr_api_totp_prepared(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    static const char  digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

    char        text[33], uri[1024];
    u_char     *secret = ctx->data;
    u_char      label[3 * NGX_HTTP_MDVR_API_TOTP_LABEL + 1];
    ngx_str_t   email;
    ngx_uint_t  i, bit, v;

    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_CONFLICT, "already_enabled",
                                  "the second factor is already in use", 0);
        return;
    }

    for (i = 0; i < 32; i++) {
        bit = i * 5;
        v = (secret[bit / 8] << 8) | (bit / 8 + 1 < 20 ? secret[bit / 8 + 1]
                                                       : 0);
        text[i] = digits[(v >> (11 - bit % 8)) & 31];
    }

    text[32] = '\0';

    email = ngx_mdvr_pg_value(rows, 0, 0);
    email.len = ngx_min(email.len, NGX_HTTP_MDVR_API_TOTP_LABEL);

    *(u_char *) ngx_escape_uri(label, email.data, email.len,
                               NGX_ESCAPE_URI_COMPONENT) = '\0';

    snprintf(uri, sizeof(uri),
             "otpauth://totp/MDVR:%s?secret=%s&issuer=MDVR", label, text);

    ngx_http_mdvr_api_json(ctx, NGX_HTTP_OK,
                           json_pack("{s:s, s:s}", "secret", text,
                                     "otpauth_url", uri));
}


void
ngx_http_mdvr_api_totp_post(ngx_http_mdvr_api_ctx_t *ctx)
{
    char        name[NGX_HTTP_MDVR_API_TOTP_NAME];
    ngx_str_t   secret, person, hex;

    secret.len = 20;
    secret.data = ngx_pnalloc(ctx->request->pool, secret.len);
    ngx_str_null(&hex);

    if (secret.data && RAND_bytes(secret.data, secret.len) == 1) {
        person = ngx_http_mdvr_api_uuid_text(ctx->request->pool,
                                             &ctx->principal.user);
        hex = ngx_mdvr_seal_hex(ctx->request->pool,
                                ngx_http_mdvr_api_totp_name(name, &person),
                                &secret);
    }

    if (hex.len == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ctx->data = secret.data;

    ngx_http_mdvr_api_query(ctx,
        "select u.email from mdvr.user u,"
        " lateral (select mdvr.totp_set(decode($2, 'hex'), false)) t"
        " where u.id = $1::uuid and u.totp_enabled_at is null",
        "$person,@0", &hex, ngx_http_mdvr_api_totp_prepared);
}


static void
ngx_http_mdvr_api_totp_found(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    char        name[NGX_HTTP_MDVR_API_TOTP_NAME];
    size_t      n;
    u_char      secret[MDVR_SEAL_MAX];
    uint64_t    step;
    ngx_str_t   hex, otp, person;

    hex = ngx_mdvr_pg_nrows(rows) ? ngx_mdvr_pg_value(rows, 0, 0)
                                  : (ngx_str_t) ngx_null_string;

    person = ngx_http_mdvr_api_uuid_text(ctx->request->pool,
                                         &ctx->principal.user);
    n = ngx_mdvr_unseal_hex(ngx_http_mdvr_api_totp_name(name, &person), &hex,
                            secret);

    otp = ngx_http_mdvr_api_str(ctx, "otp");

    step = n ? ngx_http_mdvr_api_otp(secret, n, &otp, ngx_time()) : 0;

    if (step == 0) {
        ngx_http_mdvr_api_totp_enable(ctx, 0);
        return;
    }

    ngx_http_mdvr_api_totp_spend(ctx, &person, step,
                                 ngx_http_mdvr_api_totp_enable);
}


static void
ngx_http_mdvr_api_totp_enable(ngx_http_mdvr_api_ctx_t *ctx, ngx_uint_t fresh)
{
    if (!fresh) {
        ngx_http_mdvr_api_invalid_field(ctx, "wrong_code", "otp",
                                        "is not the current code");
        return;
    }

    ngx_http_mdvr_api_query(ctx,
        "with t as materialized (select mdvr.totp_set(null, true) as done)"
        " select mdvr.audit_append($1::uuid, $2::uuid, $3::uuid, $4,"
        "  'auth.totp_enabled', 'user', $2::text, '{}', $5) from t where done",
        "$home,$person,$session,$address,$request", NULL,
        ngx_http_mdvr_api_written);
}


void
ngx_http_mdvr_api_totp_put(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_query(ctx,
                            "select encode(mdvr.totp_secret(), 'hex')",
                            NULL, NULL, ngx_http_mdvr_api_totp_found);
}
