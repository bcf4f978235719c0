/*
 * Secrets of the database, sealed and opened with the keys of
 * "mdvr_secret_key" (seal/mdvr_seal.h).
 */

#ifndef NGX_MDVR_SEAL_H
#define NGX_MDVR_SEAL_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


/*
 * The sealed form of a secret for the row `name`, zero-terminated ("totp/<id>",
 * "webhook/<id>", "signing_key/<kid>"), in hexadecimal, from the pool.
 * len == 0: failed.
 */
ngx_str_t ngx_mdvr_seal_hex(ngx_pool_t *pool, const char *name,
    const ngx_str_t *secret);

/*
 * Opens a secret that the database gave in hexadecimal.  `out` has
 * MDVR_SEAL_MAX bytes.  The length, 0: it does not open, which is logged.
 */
size_t ngx_mdvr_unseal_hex(const char *name, const ngx_str_t *hex,
    u_char *out);

/*
 * Has this node's chief seal what is not sealed with the first key: what SQL
 * made, and everything after a new first key.
 */
void ngx_mdvr_seal_all(void);


/* for the core module only */

char *ngx_mdvr_seal_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *data);

/* Whether a password is a well-known example, or too short to be one. */
ngx_uint_t ngx_mdvr_is_example(const ngx_str_t *word);


#endif
