
/*
 * Sign-in, refresh, sign-out and passwords.
 *
 * A sign-in passes, in this order: attempts of the address (zone and Redis), the
 * account's lock, argon2id (of a hash that nobody has when the account is not
 * known), the state of user and tenant, the one-time code.  Every refusal before
 * the code is the same 401 after the same work.
 *
 * A refresh token is 32 random bytes; PostgreSQL keeps its SHA-256, exchanges it
 * once, and ends the whole session when a spent one comes back.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_identity.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_limit.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_password.h"
#include "ngx_mdvr_api/ngx_http_mdvr_api_sql.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_seal.h"
#include "mdvr/domain/keys.h"

#include <openssl/rand.h>


#define NGX_HTTP_MDVR_API_LOGIN_WINDOW  60


typedef struct {
    ngx_str_t                       email;
    ngx_str_t                       user;
    ngx_str_t                       tenant;
    ngx_str_t                       name;
    ngx_str_t                       role;
    ngx_str_t                       extra;       /* one space apart */
    ngx_str_t                       hash;
    ngx_str_t                       otp_secret;  /* raw */
    ngx_uint_t                      usable;      /* user and tenant active */
    ngx_str_t                       refresh;
    ngx_str_t                       refresh_digest;
    ngx_str_t                       session;
} ngx_http_mdvr_api_login_t;


static void ngx_http_mdvr_api_login_counted(void *data,
    const redisReply *reply, mdvr_rc_t rc);
static void ngx_http_mdvr_api_login_lookup(ngx_http_mdvr_api_ctx_t *ctx);
static void ngx_http_mdvr_api_login_found(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_login_checked(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t ok, ngx_str_t *hash);
static void ngx_http_mdvr_api_login_otp_spent(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t fresh);
static void ngx_http_mdvr_api_login_session(ngx_http_mdvr_api_ctx_t *ctx);
static void ngx_http_mdvr_api_login_fail(ngx_http_mdvr_api_ctx_t *ctx);
static void ngx_http_mdvr_api_login_failed(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_login_done(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);
static void ngx_http_mdvr_api_tokens(ngx_http_mdvr_api_ctx_t *ctx);
static void ngx_http_mdvr_api_password_checked(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t ok, ngx_str_t *hash);


ngx_str_t
ngx_http_mdvr_api_secret(ngx_pool_t *pool, const char *prefix)
{
    size_t     len;
    u_char     raw[32];
    ngx_str_t  src, dst, out;

    ngx_str_null(&out);

    len = ngx_strlen(prefix);
    src.data = raw;
    src.len = sizeof(raw);

    out.data = ngx_pnalloc(pool, len + ngx_base64_encoded_length(sizeof(raw))
                                 + 1);
    if (out.data == NULL || RAND_bytes(raw, sizeof(raw)) != 1) {
        ngx_str_null(&out);
        return out;
    }

    ngx_memcpy(out.data, prefix, len);
    dst.data = out.data + len;
    ngx_encode_base64url(&dst, &src);
    out.len = len + dst.len;
    out.data[out.len] = '\0';

    return out;
}


static ngx_str_t
ngx_http_mdvr_api_copy(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows, ngx_uint_t col)
{
    ngx_str_t  s;

    s = ngx_mdvr_pg_value(rows, 0, col);

    return ngx_http_mdvr_api_dup(ctx->request->pool, (char *) s.data, s.len);
}


static ngx_str_t
ngx_http_mdvr_api_number(ngx_pool_t *pool, int64_t n)
{
    ngx_str_t  s;

    s.data = ngx_pnalloc(pool, NGX_INT64_LEN + 1);
    s.len = s.data ? (size_t) (ngx_sprintf(s.data, "%L", n) - s.data) : 0;

    return s;
}


/* --- sign-in ------------------------------------------------------------------ */

void
ngx_http_mdvr_api_login(ngx_http_mdvr_api_ctx_t *ctx)
{
    time_t                          left;
    u_char                         *key;
    size_t                          lens[5];
    ngx_str_t                       who, address;
    mdvr_buf_t                      b;
    const char                     *argv[5];
    ngx_uint_t                      n;
    ngx_http_mdvr_api_login_t      *login;
    ngx_http_mdvr_api_loc_conf_t   *conf;

    static const char  script[] =
        "local n=redis.call('INCR',KEYS[1]) "
        "if n==1 then redis.call('EXPIRE',KEYS[1],ARGV[1]) end "
        "return {n,redis.call('TTL',KEYS[1])}";

    conf = ngx_http_mdvr_api_conf(ctx);

    login = ngx_pcalloc(ctx->request->pool, sizeof(ngx_http_mdvr_api_login_t));
    key = ngx_pnalloc(ctx->request->pool, 256);

    if (login == NULL || key == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ctx->data = login;
    login->email = ngx_http_mdvr_api_str(ctx, "email");

    if (conf->login_rate == 0) {
        ngx_http_mdvr_api_login_lookup(ctx);
        return;
    }

    address = ngx_http_mdvr_api_address(ctx);

    who.data = key;
    who.len = ngx_snprintf(key, 128, "login %V", &address) - key;

    n = ngx_http_mdvr_api_limit_window(&who, NGX_HTTP_MDVR_API_LOGIN_WINDOW,
                                       1, &left);

    if (n > conf->login_rate) {
        ngx_mdvr_refusal("login_rate");
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                                  "rate_limited",
                                  "too many sign-ins from this address", left);
        return;
    }

    if (!ngx_mdvr_redis_up()) {
        ngx_http_mdvr_api_login_lookup(ctx);
        return;
    }

    b = mdvr_buf(key, 256);
    mdvr_key_rate(&b, mdvr_cstr("login"), mdvr_str(address.data, address.len));

    argv[0] = "EVAL";
    argv[1] = script;
    argv[2] = "1";
    argv[3] = (char *) key;
    argv[4] = "60";

    for (n = 0; n < 5; n++) {
        lens[n] = n == 3 ? b.len : ngx_strlen(argv[n]);
    }

    if (ngx_mdvr_redis_command(ctx->request->pool, 1000, 5, argv, lens,
                               ngx_http_mdvr_api_login_counted, ctx)
        != NGX_OK)
    {
        ngx_http_mdvr_api_login_lookup(ctx);
    }
}


static void
ngx_http_mdvr_api_login_counted(void *data, const redisReply *reply,
    mdvr_rc_t rc)
{
    ngx_connection_t               *c;
    ngx_http_mdvr_api_ctx_t        *ctx = data;
    ngx_http_mdvr_api_loc_conf_t   *conf;

    c = ctx->request->connection;
    conf = ngx_http_mdvr_api_conf(ctx);

    if (rc == MDVR_OK && reply->type == REDIS_REPLY_ARRAY
        && reply->elements == 2
        && reply->element[0]->integer > (long long) conf->login_rate)
    {
        ngx_mdvr_refusal("login_rate");
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                                  "rate_limited",
                                  "too many sign-ins from this address",
                                  ngx_max(reply->element[1]->integer, 1));

    } else {
        ngx_http_mdvr_api_login_lookup(ctx);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_mdvr_api_login_lookup(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_login_t  *login = ctx->data;

    ngx_http_mdvr_api_query(ctx,
        "select user_id, tenant_id, name, role,"
        " array_to_string(extra_scopes, ' '), password_hash,"
        " coalesce(active and tenant_active, false)::int,"
        " encode(totp_secret, 'hex'),"
        " ceil(extract(epoch from locked_until - now()))::int"
        " from mdvr.login_lookup($1)",
        "@0", &login->email, ngx_http_mdvr_api_login_found);
}


static void
ngx_http_mdvr_api_locked(ngx_http_mdvr_api_ctx_t *ctx, int64_t seconds)
{
    ngx_mdvr_refusal("login_locked");
    ngx_http_mdvr_api_problem(ctx, NGX_HTTP_TOO_MANY_REQUESTS,
                              "account_locked",
                              "too many failed sign-ins for this account",
                              ngx_max(seconds, 1));
}


static void
ngx_http_mdvr_api_login_found(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    int64_t                     usable, locked;
    char                        name[NGX_HTTP_MDVR_API_TOTP_NAME];
    ngx_str_t                   hex, password;
    ngx_http_mdvr_api_login_t  *login = ctx->data;

    if (ngx_mdvr_pg_int(rows, 0, 8, &locked) == NGX_OK) {
        ngx_http_mdvr_api_locked(ctx, locked);
        return;
    }

    login->user = ngx_http_mdvr_api_copy(ctx, rows, 0);
    login->tenant = ngx_http_mdvr_api_copy(ctx, rows, 1);
    login->name = ngx_http_mdvr_api_copy(ctx, rows, 2);
    login->role = ngx_http_mdvr_api_copy(ctx, rows, 3);
    login->extra = ngx_http_mdvr_api_copy(ctx, rows, 4);
    login->hash = ngx_http_mdvr_api_copy(ctx, rows, 5);

    login->usable = ngx_mdvr_pg_int(rows, 0, 6, &usable) == NGX_OK && usable;

    hex = ngx_mdvr_pg_value(rows, 0, 7);

    if (hex.len) {
        login->otp_secret.data = ngx_pnalloc(ctx->request->pool,
                                             MDVR_SEAL_MAX);
        if (login->otp_secret.data) {
            login->otp_secret.len = ngx_mdvr_unseal_hex(
                          ngx_http_mdvr_api_totp_name(name, &login->user),
                          &hex, login->otp_secret.data);
        }

        /* who has a second factor does not get in without it */

        if (login->otp_secret.len == 0) {
            ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                      "unavailable",
                                      "the second factor cannot be checked",
                                      30);
            return;
        }
    }

    password = ngx_http_mdvr_api_str(ctx, "password");

    ngx_http_mdvr_api_password_check(ctx, &password, &login->hash,
                                     ngx_http_mdvr_api_login_checked);
}


static void
ngx_http_mdvr_api_login_checked(ngx_http_mdvr_api_ctx_t *ctx, ngx_uint_t ok,
    ngx_str_t *hash)
{
    uint64_t                    step;
    ngx_str_t                   otp;
    ngx_http_mdvr_api_login_t  *login = ctx->data;

    if (!ok || login->user.len == 0 || !login->usable) {
        ngx_http_mdvr_api_login_fail(ctx);
        return;
    }

    if (login->otp_secret.len == 0) {
        ngx_http_mdvr_api_login_session(ctx);
        return;
    }

    otp = ngx_http_mdvr_api_str(ctx, "otp");

    if (otp.len == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_UNAUTHORIZED, "otp_required",
                                  "a one-time code is required", 0);
        return;
    }

    step = ngx_http_mdvr_api_otp(login->otp_secret.data,
                                 login->otp_secret.len, &otp, ngx_time());
    if (step == 0) {
        ngx_http_mdvr_api_login_fail(ctx);
        return;
    }

    ngx_http_mdvr_api_totp_spend(ctx, &login->user, step,
                                 ngx_http_mdvr_api_login_otp_spent);
}


static void
ngx_http_mdvr_api_login_otp_spent(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t fresh)
{
    if (fresh) {
        ngx_http_mdvr_api_login_session(ctx);

    } else {
        ngx_http_mdvr_api_login_fail(ctx);
    }
}


static void
ngx_http_mdvr_api_login_fail(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t                       bind[4];
    ngx_http_mdvr_api_login_t      *login = ctx->data;
    ngx_http_mdvr_api_loc_conf_t   *conf;

    conf = ngx_http_mdvr_api_conf(ctx);

    bind[0] = login->email;
    bind[1] = ngx_http_mdvr_api_number(ctx->request->pool,
                                       conf->login_failures
                                       ? (int64_t) conf->login_failures
                                       : 1000000000);
    bind[2] = login->user;
    bind[3] = login->tenant;

    ngx_http_mdvr_api_query(ctx,
        "with f as materialized (select mdvr.login_failed($1, $2::int))"
        " select case when $3 <> '' then"
        "  mdvr.audit_append(nullif($4, '')::uuid, nullif($3, '')::uuid, null,"
        "   $5, 'auth.login_failed', 'user', $3, '{}', $6) end from f",
        "@0,@1,@2,@3,$address,$request", bind, ngx_http_mdvr_api_login_failed);
}


static void
ngx_http_mdvr_api_login_failed(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_mdvr_refusal("login");
    ngx_http_mdvr_api_problem(ctx, NGX_HTTP_UNAUTHORIZED,
                              "invalid_credentials",
                              "email address or password is wrong", 0);
}


static void
ngx_http_mdvr_api_login_session(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t                       bind[4];
    ngx_pool_t                     *pool;
    ngx_http_mdvr_api_login_t      *login = ctx->data;
    ngx_http_mdvr_api_loc_conf_t   *conf;

    conf = ngx_http_mdvr_api_conf(ctx);
    pool = ctx->request->pool;

    login->refresh = ngx_http_mdvr_api_secret(pool, "");
    login->refresh_digest = ngx_http_mdvr_api_sha256(pool, &login->refresh);

    if (login->refresh.len == 0 || login->refresh_digest.len == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    bind[0] = login->user;
    bind[1] = login->refresh_digest;
    bind[2] = ngx_http_mdvr_api_number(pool, conf->refresh_ttl);
    bind[3] = login->tenant;

    ngx_http_mdvr_api_query(ctx,
        "with s as materialized (select * from mdvr.session_create($1::uuid,"
        "  decode($2, 'hex'), $5, $6, $3::int))"
        " select session_id, mdvr.audit_append($4::uuid, $1::uuid, session_id,"
        "  $5, 'auth.login', 'user', $1::text, '{}', $7) from s",
        "@0,@1,@2,@3,$address,$agent,$request", bind,
        ngx_http_mdvr_api_login_done);
}


static void
ngx_http_mdvr_api_login_done(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_http_mdvr_api_login_t  *login = ctx->data;

    if (ngx_mdvr_pg_nrows(rows) == 0) {     /* disabled a moment ago */
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_UNAUTHORIZED,
                                  "invalid_credentials",
                                  "email address or password is wrong", 0);
        return;
    }

    login->session = ngx_http_mdvr_api_copy(ctx, rows, 0);

    ngx_http_mdvr_api_tokens(ctx);
}


static json_t *
ngx_http_mdvr_api_scope_list(uint32_t scopes)
{
    json_t    *list;
    uint32_t   bit;

    list = json_array();

    for (bit = 1; bit & MDVR_SCOPE_ALL; bit <<= 1) {
        if (scopes & bit) {
            json_array_append_new(list, json_string(mdvr_scope_name(bit)));
        }
    }

    return list;
}


json_t *
ngx_http_mdvr_api_text(const ngx_str_t *s)
{
    return json_stringn((char *) s->data, s->len);
}


/* the pair of tokens and the user, from ctx->data */

static void
ngx_http_mdvr_api_tokens(ngx_http_mdvr_api_ctx_t *ctx)
{
    json_t                         *user;
    uint32_t                        extra;
    ngx_int_t                       rc;
    ngx_str_t                       token;
    ngx_mdvr_principal_t            p;
    ngx_http_mdvr_api_login_t      *login = ctx->data;
    ngx_http_mdvr_api_loc_conf_t   *conf;

    conf = ngx_http_mdvr_api_conf(ctx);

    ngx_memzero(&p, sizeof(p));

    if (ngx_mdvr_uuid_parse(&login->user, &p.user) != NGX_OK
        || ngx_mdvr_uuid_parse(&login->session, &p.session) != NGX_OK
        || ngx_mdvr_uuid_parse(&login->tenant, &p.tenant) != NGX_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    extra = 0;
    (void) mdvr_scopes_parse(mdvr_str(login->extra.data, login->extra.len),
                             &extra);

    p.has_tenant = 1;
    p.role = mdvr_role_find(mdvr_str(login->role.data, login->role.len));
    p.scopes = mdvr_role_scopes(p.role) | extra;
    p.issued_at = ngx_time();
    p.expires_at = p.issued_at + conf->access_ttl;

    rc = ngx_mdvr_auth_issue(ctx->request->pool, &p, &token);

    if (rc != NGX_OK) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "unavailable", "no signing key yet", 1);
        return;
    }

    user = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                     "id", ngx_http_mdvr_api_text(&login->user),
                     "tenant_id", ngx_http_mdvr_api_text(&login->tenant),
                     "email", ngx_http_mdvr_api_text(&login->email),
                     "name", ngx_http_mdvr_api_text(&login->name),
                     "role", ngx_http_mdvr_api_text(&login->role),
                     "scopes", ngx_http_mdvr_api_scope_list(p.scopes),
                     "extra_scopes", ngx_http_mdvr_api_scope_list(extra));

    ngx_http_mdvr_api_json(ctx, NGX_HTTP_OK,
        json_pack("{s:o, s:s, s:I, s:o, s:I, s:o}",
                  "access_token", ngx_http_mdvr_api_text(&token),
                  "token_type", "Bearer",
                  "expires_in", (json_int_t) conf->access_ttl,
                  "refresh_token", ngx_http_mdvr_api_text(&login->refresh),
                  "refresh_expires_in", (json_int_t) conf->refresh_ttl,
                  "user", user));
}


/* --- refresh and sign-out --------------------------------------------------------- */

static void
ngx_http_mdvr_api_refreshed(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_str_t                   verdict;
    ngx_mdvr_uuid_t             session;
    ngx_http_mdvr_api_login_t  *login = ctx->data;

    verdict = ngx_mdvr_pg_value(rows, 0, 0);

    if (verdict.len == 2 && ngx_memcmp(verdict.data, "ok", 2) == 0) {
        login->session = ngx_http_mdvr_api_copy(ctx, rows, 1);
        login->tenant = ngx_http_mdvr_api_copy(ctx, rows, 2);
        login->user = ngx_http_mdvr_api_copy(ctx, rows, 3);
        login->email = ngx_http_mdvr_api_copy(ctx, rows, 4);
        login->name = ngx_http_mdvr_api_copy(ctx, rows, 5);
        login->role = ngx_http_mdvr_api_copy(ctx, rows, 6);
        login->extra = ngx_http_mdvr_api_copy(ctx, rows, 7);

        ngx_http_mdvr_api_tokens(ctx);
        return;
    }

    if (verdict.len == 6 && ngx_memcmp(verdict.data, "reused", 6) == 0
        && ngx_mdvr_pg_uuid(rows, 0, 1, &session) == NGX_OK)
    {
        ngx_mdvr_refusal("refresh_reused");
        ngx_mdvr_auth_revoke_session(&session, ngx_time()
                             + ngx_http_mdvr_api_conf(ctx)->access_ttl + 60);
    }

    ngx_http_mdvr_api_problem(ctx, NGX_HTTP_UNAUTHORIZED, "invalid_token",
                              "the refresh token is not valid", 0);
}


void
ngx_http_mdvr_api_refresh(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_str_t                       spent, bind[3];
    ngx_pool_t                     *pool;
    ngx_http_mdvr_api_login_t      *login;

    pool = ctx->request->pool;

    login = ngx_pcalloc(pool, sizeof(ngx_http_mdvr_api_login_t));
    if (login == NULL) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ctx->data = login;

    spent = ngx_http_mdvr_api_str(ctx, "refresh_token");
    login->refresh = ngx_http_mdvr_api_secret(pool, "");

    bind[0] = ngx_http_mdvr_api_sha256(pool, &spent);
    bind[1] = ngx_http_mdvr_api_sha256(pool, &login->refresh);
    bind[2] = ngx_http_mdvr_api_number(pool,
                                  ngx_http_mdvr_api_conf(ctx)->refresh_ttl);

    if (login->refresh.len == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_http_mdvr_api_query(ctx,
        "with r as materialized (select * from mdvr.session_refresh("
        "  decode($1, 'hex'), decode($2, 'hex'), $4, $3::int))"
        " select verdict, session_id, tenant_id, user_id, email, name, role,"
        "  array_to_string(extra_scopes, ' '),"
        "  case when verdict = 'reused' then mdvr.audit_append(tenant_id,"
        "   user_id, session_id, $4, 'auth.refresh_reused', 'session',"
        "   session_id::text, '{}', $5) end"
        " from r",
        "@0,@1,@2,$address,$request", bind, ngx_http_mdvr_api_refreshed);
}


static void
ngx_http_mdvr_api_ended(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_mdvr_uuid_t  session;

    if (ngx_mdvr_pg_nrows(rows) == 0
        || ngx_mdvr_pg_uuid(rows, 0, 0, &session) != NGX_OK)
    {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    ngx_mdvr_auth_revoke_session(&session, ngx_time()
                             + ngx_http_mdvr_api_conf(ctx)->access_ttl + 60);
    ngx_http_mdvr_api_empty(ctx);
}


void
ngx_http_mdvr_api_logout(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_query(ctx,
        "with r as materialized (select mdvr.session_revoke($3::uuid,"
        "  'signed out') as ended)"
        " select $3::uuid, mdvr.audit_append($1::uuid, $2::uuid, $3::uuid, $4,"
        "  'auth.logout', 'session', $3::text, '{}', $5) from r",
        "$home,$person,$session,$address,$request", NULL,
        ngx_http_mdvr_api_ended);
}


void
ngx_http_mdvr_api_session_delete(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_query(ctx,
        "with r as materialized (select mdvr.session_revoke($6::uuid,"
        "  'revoked by the user') as ended)"
        " select $6::uuid, mdvr.audit_append($1::uuid, $2::uuid, $3::uuid, $4,"
        "  'auth.session_revoked', 'session', $6::text, '{}', $5)"
        " from r where ended",
        "$home,$person,$session,$address,$request,id", NULL,
        ngx_http_mdvr_api_ended);
}


/* --- passwords ---------------------------------------------------------------------- */

void
ngx_http_mdvr_api_written(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    if (ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_NOT_FOUND, "not_found", NULL,
                                  0);
        return;
    }

    ngx_http_mdvr_api_empty(ctx);
}


static void
ngx_http_mdvr_api_password_hashed(ngx_http_mdvr_api_ctx_t *ctx, ngx_uint_t ok,
    ngx_str_t *hash)
{
    if (!ok) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "internal", NULL, 0);
        return;
    }

    ngx_http_mdvr_api_query(ctx,
        "with s as materialized (select mdvr.password_set($2::uuid, $6,"
        "  $3::uuid) as done)"
        " select mdvr.audit_append($1::uuid, $2::uuid, $3::uuid, $4,"
        "  'auth.password', 'user', $2::text, '{}', $5) from s where done",
        "$home,$person,$session,$address,$request,@0", hash,
        ngx_http_mdvr_api_written);
}


static void
ngx_http_mdvr_api_password_wrong(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_http_mdvr_api_problem(ctx, NGX_HTTP_FORBIDDEN, "wrong_password",
                              "the current password is wrong", 0);
}


static void
ngx_http_mdvr_api_password_checked(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t ok, ngx_str_t *hash)
{
    ngx_str_t                       password, bind[2];
    ngx_http_mdvr_api_login_t      *login = ctx->data;
    ngx_http_mdvr_api_loc_conf_t   *conf;

    if (!ok) {
        conf = ngx_http_mdvr_api_conf(ctx);
        bind[0] = login->email;
        bind[1] = ngx_http_mdvr_api_number(ctx->request->pool,
                                           conf->login_failures
                                           ? (int64_t) conf->login_failures
                                           : 1000000000);

        ngx_http_mdvr_api_query(ctx, "select mdvr.login_failed($1, $2::int)",
                                "@0,@1", bind,
                                ngx_http_mdvr_api_password_wrong);
        return;
    }

    password = ngx_http_mdvr_api_str(ctx, "new_password");

    ngx_http_mdvr_api_password_make(ctx, &password,
                                    ngx_http_mdvr_api_password_hashed);
}


static void
ngx_http_mdvr_api_password_found(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows)
{
    int64_t                     locked;
    ngx_str_t                   password;
    const char                 *weak;
    ngx_http_mdvr_api_login_t  *login;

    login = ngx_pcalloc(ctx->request->pool, sizeof(ngx_http_mdvr_api_login_t));

    if (login == NULL || ngx_mdvr_pg_nrows(rows) == 0) {
        ngx_http_mdvr_api_problem(ctx, NGX_HTTP_UNAUTHORIZED, "invalid_token",
                                  NULL, 0);
        return;
    }

    ctx->data = login;

    /* a stolen access token is no way to try passwords */

    if (ngx_mdvr_pg_int(rows, 0, 2, &locked) == NGX_OK) {
        ngx_http_mdvr_api_locked(ctx, locked);
        return;
    }

    login->hash = ngx_http_mdvr_api_copy(ctx, rows, 0);
    login->email = ngx_http_mdvr_api_copy(ctx, rows, 1);

    password = ngx_http_mdvr_api_str(ctx, "new_password");

    weak = ngx_http_mdvr_api_password_weak(&password, &login->email);
    if (weak) {
        ngx_http_mdvr_api_invalid_field(ctx, "weak_password", "new_password",
                                        weak);
        return;
    }

    password = ngx_http_mdvr_api_str(ctx, "current_password");

    ngx_http_mdvr_api_password_check(ctx, &password, &login->hash,
                                     ngx_http_mdvr_api_password_checked);
}


void
ngx_http_mdvr_api_password_put(ngx_http_mdvr_api_ctx_t *ctx)
{
    ngx_http_mdvr_api_query(ctx,
        "select mdvr.password_lookup(u.id), u.email,"
        " ceil(extract(epoch from l.locked_until - now()))::int"
        " from mdvr.user u, lateral (select locked_until"
        "  from mdvr.login_lookup(u.email)) l"
        " where u.id = $1::uuid and u.deleted_at is null",
        "$person", NULL, ngx_http_mdvr_api_password_found);
}
