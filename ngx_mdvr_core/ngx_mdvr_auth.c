/*
 * Access tokens, API keys, and who waits for keys to be loaded.
 *
 * libjwt verifies.  Before it sees a key the token's header is read without
 * one: anything but HS256 with a kid of ours ends there.  Headers and whole
 * tokens that passed are remembered, a verified token costs a comparison.
 */

#include "ngx_mdvr_core/ngx_mdvr_auth.h"
#include "ngx_mdvr_core/ngx_mdvr_keys.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_registry.h"
#include "ngx_mdvr_core/ngx_mdvr_tie.h"

#include <jwt.h>
#include <openssl/sha.h>


#define NGX_MDVR_TOKEN_MAX     2048
#define NGX_MDVR_HEADER_MAX    192
#define NGX_MDVR_HEADERS       8
#define NGX_MDVR_TOKENS        1024     /* remembered, a power of two */
#define NGX_MDVR_API_KEYS      256
#define NGX_MDVR_API_KEY_TTL   3        /* s */
#define NGX_MDVR_API_KEY_MAX   128
#define NGX_MDVR_AUTH_TIMEOUT  5000     /* ms */
#define NGX_MDVR_CLOCK_SKEW    30       /* s another node may be ahead */


typedef struct {
    ngx_uint_t                generation;
    size_t                    len;
    u_char                    text[NGX_MDVR_HEADER_MAX];
    u_char                    kid[17];
} ngx_mdvr_header_t;


typedef struct {
    ngx_uint_t                generation;
    ngx_mdvr_principal_t      principal;
    size_t                    len;
    u_char                    text[1];
} ngx_mdvr_token_t;


typedef struct {
    u_char                    hash[32];
    time_t                    until;
    ngx_mdvr_principal_t      principal;
} ngx_mdvr_api_key_t;


/* a bearer that waits for keys or for its row */

typedef struct {
    ngx_mdvr_tie_t            tie;
    ngx_queue_t               queue;
    ngx_event_t               timer;
    ngx_mdvr_auth_pt          done;
    void                     *data;
    u_char                    hash[32];
    size_t                    len;
    u_char                    text[1];
} ngx_mdvr_bearer_t;


static mdvr_rc_t ngx_mdvr_auth_verify(const ngx_str_t *token,
    const u_char *kid, ngx_mdvr_principal_t *principal);
static ngx_int_t ngx_mdvr_auth_key(ngx_pool_t *pool, const ngx_str_t *token,
    ngx_mdvr_principal_t *principal, ngx_mdvr_auth_pt done, void *data);
static void ngx_mdvr_auth_key_row(void *data, const ngx_mdvr_pg_rows_t *rows,
    mdvr_rc_t rc);
static void ngx_mdvr_auth_loaded(ngx_uint_t loaded);
static void ngx_mdvr_auth_late(ngx_event_t *ev);
static void ngx_mdvr_auth_gone(ngx_mdvr_tie_t *tie);


static ngx_mdvr_header_t   ngx_mdvr_headers[NGX_MDVR_HEADERS];
static ngx_mdvr_token_t   *ngx_mdvr_tokens[NGX_MDVR_TOKENS];
static ngx_mdvr_api_key_t  ngx_mdvr_api_keys[NGX_MDVR_API_KEYS];
static ngx_queue_t         ngx_mdvr_auth_waiting;


ngx_int_t
ngx_mdvr_auth_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf)
{
    ngx_queue_init(&ngx_mdvr_auth_waiting);
    ngx_mdvr_keys_handler(ngx_mdvr_auth_loaded);

    if (ngx_mdvr_keys_init(cycle, conf) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_mdvr_control_init(cycle, conf);
}


/* -- access tokens ------------------------------------------------------- */

mdvr_rc_t
ngx_mdvr_auth_recheck(const ngx_mdvr_principal_t *principal)
{
    if (principal->expires_at <= ngx_time()) {
        return MDVR_E_EXPIRED;
    }

    return ngx_mdvr_is_revoked(&principal->session, &principal->user,
                               &principal->tenant, principal->issued_at)
           ? MDVR_E_UNAUTHENTICATED : MDVR_OK;
}


/*
 * The kid of a header (the token's first part, still encoded) that names
 * HS256, or NULL.
 */

static const u_char *
ngx_mdvr_auth_header(const ngx_str_t *token, size_t len)
{
    jwt_t                *jwt;
    char                  text[NGX_MDVR_TOKEN_MAX + 1];
    const char           *kid, *alg;
    ngx_uint_t            i;
    ngx_mdvr_header_t    *h;
    static ngx_uint_t     next;

    if (len == 0 || len > NGX_MDVR_HEADER_MAX) {
        return NULL;
    }

    for (i = 0; i < NGX_MDVR_HEADERS; i++) {
        h = &ngx_mdvr_headers[i];

        if (h->len == len && ngx_memcmp(h->text, token->data, len) == 0) {
            return h->kid;
        }
    }

    *ngx_cpymem(text, token->data, token->len) = '\0';

    jwt = NULL;

    if (jwt_decode(&jwt, text, NULL, 0) != 0) {
        return NULL;
    }

    /* without a key jwt_get_alg() says "none" whatever the header says */

    alg = jwt_get_header(jwt, "alg");
    kid = jwt_get_header(jwt, "kid");

    if (alg == NULL || ngx_strcmp(alg, "HS256") != 0 || kid == NULL
        || ngx_strlen(kid) != 16)
    {
        jwt_free(jwt);
        return NULL;
    }

    h = &ngx_mdvr_headers[next++ % NGX_MDVR_HEADERS];
    h->len = len;
    ngx_memcpy(h->text, token->data, len);
    ngx_memcpy(h->kid, kid, 17);

    jwt_free(jwt);

    return h->kid;
}


mdvr_rc_t
ngx_mdvr_auth_token(const ngx_str_t *token, ngx_mdvr_principal_t *principal)
{
    u_char             *dot;
    uint32_t            hash;
    mdvr_rc_t           rc;
    const u_char       *kid;
    ngx_mdvr_token_t   *known, **place;

    if (token->len < 32 || token->len > NGX_MDVR_TOKEN_MAX) {
        return MDVR_E_UNAUTHENTICATED;
    }

    hash = ngx_murmur_hash2(token->data + token->len - 16, 16);
    place = &ngx_mdvr_tokens[hash % NGX_MDVR_TOKENS];
    known = *place;

    if (known && known->len == token->len
        && known->generation == ngx_mdvr_keys_generation()
        && ngx_memcmp(known->text, token->data, token->len) == 0)
    {
        *principal = known->principal;
        return ngx_mdvr_auth_recheck(principal);
    }

    dot = ngx_strlchr(token->data, token->data + token->len, '.');
    if (dot == NULL) {
        return MDVR_E_UNAUTHENTICATED;
    }

    kid = ngx_mdvr_auth_header(token, dot - token->data);
    if (kid == NULL) {
        return MDVR_E_UNAUTHENTICATED;
    }

    rc = ngx_mdvr_auth_verify(token, kid, principal);
    if (rc != MDVR_OK) {
        return rc;
    }

    if (known) {
        ngx_free(known);
    }

    known = ngx_alloc(sizeof(ngx_mdvr_token_t) + token->len, ngx_cycle->log);
    *place = known;

    if (known) {
        known->generation = ngx_mdvr_keys_generation();
        known->principal = *principal;
        known->len = token->len;
        ngx_memcpy(known->text, token->data, token->len);
    }

    return ngx_mdvr_auth_recheck(principal);
}


static ngx_int_t
ngx_mdvr_auth_uuid(jwt_t *jwt, const char *claim, ngx_mdvr_uuid_t *uuid)
{
    ngx_str_t  s;

    s.data = (u_char *) jwt_get_grant(jwt, claim);

    if (s.data == NULL) {
        return NGX_DECLINED;
    }

    s.len = ngx_strlen(s.data);

    return ngx_mdvr_uuid_parse(&s, uuid);
}


static mdvr_rc_t
ngx_mdvr_auth_verify(const ngx_str_t *token, const u_char *kid,
    ngx_mdvr_principal_t *principal)
{
    jwt_t                 *jwt;
    char                   text[NGX_MDVR_TOKEN_MAX + 1];
    mdvr_rc_t              rc;
    ngx_int_t              tenant;
    const char            *iss, *scope, *role;
    const ngx_mdvr_key_t  *key;

    key = ngx_mdvr_key_find(NGX_MDVR_KEY_ACCESS, kid, 16);

    if (key == NULL) {
        return MDVR_AGAIN;
    }

    *ngx_cpymem(text, token->data, token->len) = '\0';

    jwt = NULL;

    if (jwt_decode(&jwt, text, key->secret, sizeof(key->secret)) != 0) {
        return MDVR_E_UNAUTHENTICATED;
    }

    rc = MDVR_E_UNAUTHENTICATED;

    if (jwt_get_alg(jwt) != JWT_ALG_HS256) {
        goto done;
    }

    ngx_memzero(principal, sizeof(ngx_mdvr_principal_t));

    iss = jwt_get_grant(jwt, "iss");
    role = jwt_get_grant(jwt, "role");
    scope = jwt_get_grant(jwt, "scope");
    tenant = ngx_mdvr_auth_uuid(jwt, "tid", &principal->tenant);

    if (iss == NULL || ngx_strcmp(iss, "mdvr") != 0 || role == NULL
        || scope == NULL || tenant == NGX_ERROR
        || ngx_mdvr_auth_uuid(jwt, "sub", &principal->user) != NGX_OK
        || ngx_mdvr_auth_uuid(jwt, "sid", &principal->session) != NGX_OK)
    {
        goto done;
    }

    principal->has_tenant = (tenant == NGX_OK);
    principal->role = mdvr_role_find(mdvr_cstr(role));
    principal->issued_at = jwt_get_grant_int(jwt, "iat");
    principal->expires_at = jwt_get_grant_int(jwt, "exp");

    (void) mdvr_scopes_parse(mdvr_cstr(scope), &principal->scopes);

    if (principal->role == MDVR_ROLE_NONE || principal->issued_at <= 0
        || principal->issued_at > ngx_time() + NGX_MDVR_CLOCK_SKEW
        || (!principal->has_tenant
            && principal->role != MDVR_ROLE_SUPER_ADMIN))
    {
        goto done;
    }

    rc = MDVR_OK;

done:

    jwt_free(jwt);

    return rc;
}


ngx_int_t
ngx_mdvr_auth_issue(ngx_pool_t *pool, const ngx_mdvr_principal_t *principal,
    ngx_str_t *token)
{
    char                  *encoded, scopes[256];
    jwt_t                 *jwt;
    u_char                 user[37], session[37], tenant[37];
    ngx_int_t              rc;
    mdvr_buf_t             b;
    const ngx_mdvr_key_t  *key;

    key = ngx_mdvr_key_current(NGX_MDVR_KEY_ACCESS);

    if (key == NULL) {
        return NGX_DECLINED;
    }

    if (jwt_new(&jwt) != 0) {
        return NGX_ERROR;
    }

    *ngx_mdvr_uuid_print(user, &principal->user) = '\0';
    *ngx_mdvr_uuid_print(session, &principal->session) = '\0';
    *ngx_mdvr_uuid_print(tenant, &principal->tenant) = '\0';

    b = mdvr_buf(scopes, sizeof(scopes) - 1);
    mdvr_scopes_write(&b, principal->scopes);
    scopes[b.len] = '\0';

    rc = NGX_ERROR;

    if (jwt_set_alg(jwt, JWT_ALG_HS256, key->secret, sizeof(key->secret)) == 0
        && jwt_add_header(jwt, "kid", (char *) key->kid) == 0
        && jwt_add_grant(jwt, "iss", "mdvr") == 0
        && jwt_add_grant(jwt, "sub", (char *) user) == 0
        && jwt_add_grant(jwt, "sid", (char *) session) == 0
        && (!principal->has_tenant
            || jwt_add_grant(jwt, "tid", (char *) tenant) == 0)
        && jwt_add_grant(jwt, "role", mdvr_role_name(principal->role)) == 0
        && jwt_add_grant(jwt, "scope", scopes) == 0
        && jwt_add_grant_int(jwt, "iat", principal->issued_at) == 0
        && jwt_add_grant_int(jwt, "exp", principal->expires_at) == 0)
    {
        encoded = jwt_encode_str(jwt);

        if (encoded) {
            token->len = ngx_strlen(encoded);
            token->data = ngx_pnalloc(pool, token->len);

            if (token->data) {
                ngx_memcpy(token->data, encoded, token->len);
                rc = NGX_OK;
            }

            free(encoded);
        }
    }

    jwt_free(jwt);

    return rc;
}


/* -- any bearer ---------------------------------------------------------- */

ngx_int_t
ngx_mdvr_auth_bearer(ngx_pool_t *pool, const ngx_str_t *token,
    ngx_mdvr_principal_t *principal, mdvr_rc_t *rc, ngx_mdvr_auth_pt done,
    void *data)
{
    ngx_mdvr_bearer_t  *bearer;

    *rc = MDVR_E_UNAUTHENTICATED;

    if (token->len > 5 && ngx_strncmp(token->data, "mdvr_", 5) == 0) {

        if (token->len > NGX_MDVR_API_KEY_MAX) {
            return NGX_DECLINED;
        }

        return ngx_mdvr_auth_key(pool, token, principal, done, data);
    }

    *rc = ngx_mdvr_auth_token(token, principal);

    if (*rc == MDVR_OK) {
        return NGX_OK;
    }

    if (*rc != MDVR_AGAIN) {
        return NGX_DECLINED;
    }

    bearer = ngx_calloc(sizeof(ngx_mdvr_bearer_t) + token->len,
                        ngx_cycle->log);
    if (bearer == NULL) {
        return NGX_ERROR;
    }

    if (ngx_mdvr_tie(pool, &bearer->tie, ngx_mdvr_auth_gone) != NGX_OK) {
        ngx_free(bearer);
        return NGX_ERROR;
    }

    bearer->done = done;
    bearer->data = data;
    bearer->len = token->len;
    ngx_memcpy(bearer->text, token->data, token->len);

    bearer->timer.handler = ngx_mdvr_auth_late;
    bearer->timer.data = bearer;
    bearer->timer.log = ngx_cycle->log;
    ngx_add_timer(&bearer->timer, NGX_MDVR_AUTH_TIMEOUT);

    ngx_queue_insert_tail(&ngx_mdvr_auth_waiting, &bearer->queue);

    ngx_mdvr_keys_load();

    return NGX_AGAIN;
}


static void
ngx_mdvr_auth_drop(ngx_mdvr_bearer_t *bearer)
{
    ngx_mdvr_untie(&bearer->tie);
    ngx_queue_remove(&bearer->queue);

    if (bearer->timer.timer_set) {
        ngx_del_timer(&bearer->timer);
    }

    ngx_free(bearer);
}


static void
ngx_mdvr_auth_loaded(ngx_uint_t loaded)
{
    void                  *data;
    mdvr_rc_t              rc;
    ngx_str_t              token;
    ngx_queue_t            list, *q;
    ngx_mdvr_auth_pt       done;
    ngx_mdvr_bearer_t     *bearer;
    ngx_mdvr_principal_t   principal;

    if (!loaded || ngx_queue_empty(&ngx_mdvr_auth_waiting)) {
        return;                         /* it is tried again until the timer */
    }

    ngx_queue_init(&list);
    ngx_queue_add(&list, &ngx_mdvr_auth_waiting);
    ngx_queue_init(&ngx_mdvr_auth_waiting);

    while (!ngx_queue_empty(&list)) {
        q = ngx_queue_head(&list);
        bearer = ngx_queue_data(q, ngx_mdvr_bearer_t, queue);

        token.data = bearer->text;
        token.len = bearer->len;

        rc = ngx_mdvr_auth_token(&token, &principal);

        if (rc == MDVR_AGAIN) {
            rc = MDVR_E_UNAUTHENTICATED;        /* nobody has such a key */
        }

        done = bearer->done;
        data = bearer->data;

        ngx_mdvr_auth_drop(bearer);

        done(data, rc == MDVR_OK ? &principal : NULL, rc);
    }
}


static void
ngx_mdvr_auth_late(ngx_event_t *ev)
{
    void               *data;
    ngx_mdvr_auth_pt    done;
    ngx_mdvr_bearer_t  *bearer;

    bearer = ev->data;
    done = bearer->done;
    data = bearer->data;

    ngx_mdvr_auth_drop(bearer);

    done(data, NULL, MDVR_E_UNAVAILABLE);
}


static void
ngx_mdvr_auth_gone(ngx_mdvr_tie_t *tie)
{
    ngx_mdvr_auth_drop((ngx_mdvr_bearer_t *)
                       ((u_char *) tie - offsetof(ngx_mdvr_bearer_t, tie)));
}


/* -- API keys ------------------------------------------------------------ */

static ngx_int_t
ngx_mdvr_auth_key(ngx_pool_t *pool, const ngx_str_t *token,
    ngx_mdvr_principal_t *principal, ngx_mdvr_auth_pt done, void *data)
{
    u_char                hash[32];
    ngx_int_t             rc;
    ngx_mdvr_api_key_t   *known;
    ngx_mdvr_bearer_t    *bearer;
    ngx_mdvr_pg_call_t    call;
    ngx_mdvr_pg_param_t   param;

    SHA256(token->data, token->len, hash);

    known = &ngx_mdvr_api_keys[hash[0] % NGX_MDVR_API_KEYS];

    if (known->until > ngx_time() && ngx_memcmp(known->hash, hash, 32) == 0) {
        *principal = known->principal;
        return NGX_OK;
    }

    bearer = pool ? ngx_pcalloc(pool, sizeof(ngx_mdvr_bearer_t))
                  : ngx_calloc(sizeof(ngx_mdvr_bearer_t), ngx_cycle->log);
    if (bearer == NULL) {
        return NGX_ERROR;
    }

    bearer->done = done;
    bearer->data = data;
    bearer->len = (pool == NULL);
    ngx_memcpy(bearer->hash, hash, 32);

    ngx_memzero(&call, sizeof(ngx_mdvr_pg_call_t));
    param = ngx_mdvr_pg_bytes(hash, 32);

    call.role = NGX_MDVR_PG_API;
    call.sql = "select api_key_id, tenant_id, user_id, role,"
               " array_to_string(scopes, ' '), (device_ids is not null)::int,"
               " coalesce(extract(epoch from expires_at)::bigint, 0)"
               " from mdvr.api_key_lookup($1)";
    call.params = &param;
    call.nparams = 1;
    call.retry = 1;

    rc = ngx_mdvr_pg_query(pool, &call, NGX_MDVR_AUTH_TIMEOUT,
                           ngx_mdvr_auth_key_row, bearer);
    if (rc != NGX_OK) {
        if (pool == NULL) {
            ngx_free(bearer);
        }

        return rc;
    }

    return NGX_AGAIN;
}


static void
ngx_mdvr_auth_key_row(void *data, const ngx_mdvr_pg_rows_t *rows, mdvr_rc_t rc)
{
    ngx_mdvr_bearer_t *bearer = data;

    int64_t                confined, expires;
    ngx_str_t              role, scopes;
    ngx_mdvr_auth_pt       done;
    ngx_mdvr_api_key_t    *known;
    ngx_mdvr_principal_t   p;

    ngx_memzero(&p, sizeof(ngx_mdvr_principal_t));

    if (rc == MDVR_OK) {
        rc = MDVR_E_UNAUTHENTICATED;

        if (ngx_mdvr_pg_nrows(rows) == 1
            && ngx_mdvr_pg_uuid(rows, 0, 0, &p.session) == NGX_OK
            && ngx_mdvr_pg_uuid(rows, 0, 1, &p.tenant) == NGX_OK
            && ngx_mdvr_pg_uuid(rows, 0, 2, &p.user) == NGX_OK
            && ngx_mdvr_pg_int(rows, 0, 5, &confined) == NGX_OK
            && ngx_mdvr_pg_int(rows, 0, 6, &expires) == NGX_OK)
        {
            role = ngx_mdvr_pg_value(rows, 0, 3);
            scopes = ngx_mdvr_pg_value(rows, 0, 4);

            p.role = mdvr_role_find(mdvr_str(role.data, role.len));
            (void) mdvr_scopes_parse(mdvr_str(scopes.data, scopes.len),
                                     &p.scopes);
            p.issued_at = ngx_time();
            p.expires_at = expires ? expires : ngx_time() + 86400;
            p.has_tenant = 1;
            p.api_key = 1;

            if (confined) {
                p.user = p.session;     /* its devices hang on its own id */
            }

            rc = MDVR_OK;

            known = &ngx_mdvr_api_keys[bearer->hash[0] % NGX_MDVR_API_KEYS];
            ngx_memcpy(known->hash, bearer->hash, 32);
            known->principal = p;
            known->until = ngx_time() + NGX_MDVR_API_KEY_TTL;
        }
    }

    done = bearer->done;
    data = bearer->data;

    if (bearer->len) {
        ngx_free(bearer);
    }

    done(data, rc == MDVR_OK ? &p : NULL, rc);
}
