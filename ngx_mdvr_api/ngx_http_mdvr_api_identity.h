
/*
 * Handlers of /auth and the ones of /users that need a password hash.
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


#endif /* _NGX_HTTP_MDVR_API_IDENTITY_H_INCLUDED_ */
