
/*
 * Passwords: argon2id in a thread pool, with a short queue, and the one-time
 * codes of the second factor.
 */


#ifndef _NGX_HTTP_MDVR_API_PASSWORD_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_PASSWORD_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


/*
 * `ok`: the password fits (check), or *hash is the encoded hash (make).
 */
typedef void (*ngx_http_mdvr_api_password_pt)(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_uint_t ok, ngx_str_t *hash);

/*
 * Checks a password against an encoded argon2id hash; with an empty hash the
 * same work is done for nothing and the answer is no, so that an unknown account
 * takes as long as a known one.
 *
 * When the queue is full the request has been answered (503) and `done` is not
 * called.
 */
void ngx_http_mdvr_api_password_check(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_str_t *password, const ngx_str_t *hash,
    ngx_http_mdvr_api_password_pt done);

void ngx_http_mdvr_api_password_make(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_str_t *password, ngx_http_mdvr_api_password_pt done);

/*
 * The rules for a new password.  NULL: acceptable.  Otherwise what is wrong.
 */
const char *ngx_http_mdvr_api_password_weak(const ngx_str_t *password,
    const ngx_str_t *email);

/*
 * RFC 6238, six digits, SHA-1, 30 s, one step of drift either way.  Returns the
 * time step that fits, 0 for none.
 */
uint64_t ngx_http_mdvr_api_otp(const u_char *secret, size_t len,
    const ngx_str_t *code, time_t now);


#endif /* _NGX_HTTP_MDVR_API_PASSWORD_H_INCLUDED_ */
