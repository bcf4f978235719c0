/*
 * Who is asking: access tokens, stream tokens, API keys.
 *
 * Access token: JWT, HS256 only (any other "alg" is refused before a key is
 * looked at), "kid" names a row of mdvr.signing_keys().  Claims:
 *
 *   sub  user id        sid  session id      tid  tenant id (absent: none)
 *   role name           scope  names, one space apart
 *   iss  "mdvr"         iat, exp  unix seconds
 *
 * Stream token: base64url(fields) "." base64url(HMAC-SHA256), see
 * ngx_mdvr_stream_token_t.  It has signing keys of its own, so that neither
 * kind can be taken for the other.
 */

#ifndef NGX_MDVR_AUTH_H
#define NGX_MDVR_AUTH_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"

#include "mdvr/domain/scope.h"


typedef struct {
    ngx_mdvr_uuid_t           user;
    ngx_mdvr_uuid_t           session;       /* the key's id for an API key */
    ngx_mdvr_uuid_t           tenant;        /* nil: super admin, no tenant */
    mdvr_role_e               role;
    uint32_t                  scopes;        /* bits of mdvr/domain/scope.h */
    time_t                    issued_at;
    time_t                    expires_at;
    unsigned                  has_tenant:1;
    unsigned                  api_key:1;
} ngx_mdvr_principal_t;


typedef struct {
    ngx_mdvr_uuid_t           session;       /* viewer session */
    ngx_mdvr_uuid_t           tenant;
    ngx_mdvr_uuid_t           user;
    ngx_mdvr_uuid_t           user_session;
    ngx_mdvr_uuid_t           device;
    uint8_t                   channel;       /* 1... as at the API */
    uint8_t                   stream;        /* 0 main, 1 sub */
    time_t                    issued_at;
    time_t                    expires_at;
    ngx_str_t                 node;          /* where the media arrives */
} ngx_mdvr_stream_token_t;


/*
 * Checks an access token: form, alg, signature, issuer, times, revocation.
 * MDVR_OK, MDVR_E_EXPIRED, MDVR_E_UNAUTHENTICATED (forged, malformed or revoked), or
 * MDVR_AGAIN: its "kid" is not known here (ngx_mdvr_auth_bearer() then waits
 * for the keys).  Costs no round trip.
 */
mdvr_rc_t ngx_mdvr_auth_token(const ngx_str_t *token,
    ngx_mdvr_principal_t *principal);

/*
 * Any kind of bearer (access token or API key "mdvr_..."), asynchronously.
 *
 * NGX_OK: *principal filled, `done` is not called.  NGX_DECLINED: refused, *rc
 * says why, `done` is not called.  NGX_AGAIN: `done` will be called once unless
 * `pool` is destroyed first.  NGX_BUSY, NGX_ERROR as ngx_mdvr_pg_query().
 */
typedef void (*ngx_mdvr_auth_pt)(void *data,
    const ngx_mdvr_principal_t *principal, mdvr_rc_t rc);

ngx_int_t ngx_mdvr_auth_bearer(ngx_pool_t *pool, const ngx_str_t *token,
    ngx_mdvr_principal_t *principal, mdvr_rc_t *rc, ngx_mdvr_auth_pt done,
    void *data);

/* Whether the principal has been revoked or has expired since: MDVR_OK,
 * MDVR_E_EXPIRED, MDVR_E_UNAUTHENTICATED. */
mdvr_rc_t ngx_mdvr_auth_recheck(const ngx_mdvr_principal_t *principal);

/*
 * Makes an access token of the principal with the current signing key, from
 * `pool`.  NGX_DECLINED: no key is loaded yet (answer 503).
 */
ngx_int_t ngx_mdvr_auth_issue(ngx_pool_t *pool,
    const ngx_mdvr_principal_t *principal, ngx_str_t *token);

/* Makes a stream token from `pool`; returns as ngx_mdvr_auth_issue(). */
ngx_int_t ngx_mdvr_stream_token_make(ngx_pool_t *pool,
    const ngx_mdvr_stream_token_t *fields, ngx_str_t *token);

/*
 * Checks a stream token: MAC, expiry (a renewal known on this node counts),
 * revocation of its user, user session, tenant and itself.  MDVR_OK, MDVR_E_EXPIRED,
 * MDVR_E_UNAUTHENTICATED.  `fields->node` is a view into `scratch`, of at least
 * NGX_MDVR_NODE_MAX bytes; expires_at is the renewed one.
 */
mdvr_rc_t ngx_mdvr_stream_token_check(const ngx_str_t *token,
    ngx_mdvr_stream_token_t *fields, u_char *scratch);

/* The same for fields checked before, for streams that last. */
mdvr_rc_t ngx_mdvr_stream_token_recheck(const ngx_mdvr_stream_token_t *fields);

/*
 * Renews a viewer session everywhere: this node's zone, `mdvr:vsession:{id}`
 * and "video_renewed" on mdvr:ctl.
 */
void ngx_mdvr_stream_token_renew(const ngx_mdvr_uuid_t *session,
    time_t expires_at);

/*
 * Revokes on this node and, through mdvr:ctl, on all others.  The caller has
 * made it true in PostgreSQL before (nodes without Redis read it there every
 * 2 s).
 */
void ngx_mdvr_auth_revoke_session(const ngx_mdvr_uuid_t *session,
    time_t until);
void ngx_mdvr_auth_revoke_user(const ngx_mdvr_uuid_t *user,
    time_t issued_before, time_t until);

/* for the core module only */

ngx_int_t ngx_mdvr_auth_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf);
ngx_int_t ngx_mdvr_control_init(ngx_cycle_t *cycle,
    ngx_mdvr_core_conf_t *conf);


#endif
