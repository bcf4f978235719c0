
/*
 * Handlers of /auth (identity.c, totp.c), and those of /users and /api-keys that
 * need a hash (users.c).
 */


#ifndef _NGX_HTTP_MDVR_API_IDENTITY_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_IDENTITY_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


void ngx_http_mdvr_api_login(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_refresh(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_logout(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_session_delete(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_password_put(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_totp_post(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_totp_put(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_user_post(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_user_patch(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_key_post(ngx_http_mdvr_api_ctx_t *ctx);

/* 32 random bytes as base64url text from the pool; len 0: no randomness */
ngx_str_t ngx_http_mdvr_api_secret(ngx_pool_t *pool, const char *prefix);

/* a statement that answers nothing: 204, or 404 when it found no row */
void ngx_http_mdvr_api_written(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_pg_rows_t *rows);

json_t *ngx_http_mdvr_api_text(const ngx_str_t *s);

/* the name that a user's second factor is sealed for, zero-terminated */
#define NGX_HTTP_MDVR_API_TOTP_NAME  (sizeof("totp/") + NGX_MDVR_UUID_LEN)
char *ngx_http_mdvr_api_totp_name(char *name, const ngx_str_t *user);

/*
 * A code is good once, on all nodes, whatever it was for: done() hears whether
 * the code of this step (RFC 6238) was fresh.  Without Redis every code is.
 */
typedef void (*ngx_http_mdvr_api_totp_spent_pt)(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t fresh);
void ngx_http_mdvr_api_totp_spend(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_str_t *user, uint64_t step,
    ngx_http_mdvr_api_totp_spent_pt done);


#endif /* _NGX_HTTP_MDVR_API_IDENTITY_H_INCLUDED_ */
