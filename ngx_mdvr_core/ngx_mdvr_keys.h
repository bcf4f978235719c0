/*
 * Signing keys of this worker, loaded from mdvr.signing_keys().  For the
 * files of ngx_mdvr_core/ only.
 */

#ifndef NGX_MDVR_KEYS_H
#define NGX_MDVR_KEYS_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


typedef enum {
    NGX_MDVR_KEY_ACCESS = 0,
    NGX_MDVR_KEY_STREAM,
    NGX_MDVR_KEY_URL,
    NGX_MDVR_KEY_PURPOSES
} ngx_mdvr_key_purpose_e;


typedef struct {
    ngx_mdvr_key_purpose_e    purpose;
    u_char                    kid[17];       /* 16 hex digits, zero */
    u_char                    secret[32];
    time_t                    expires_at;    /* 0: never */
} ngx_mdvr_key_t;


ngx_int_t ngx_mdvr_keys_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf);

/* The key that signs; NULL while none is loaded. */
const ngx_mdvr_key_t *ngx_mdvr_key_current(ngx_mdvr_key_purpose_e purpose);

/* By the first `n` characters of its kid. */
const ngx_mdvr_key_t *ngx_mdvr_key_find(ngx_mdvr_key_purpose_e purpose,
    const u_char *kid, size_t n);

/* Reads them again, at most once a second. */
void ngx_mdvr_keys_load(void);

/* Counts successful loads; what is cached of an older one is void. */
ngx_uint_t ngx_mdvr_keys_generation(void);

/* Called after each attempt to load. */
void ngx_mdvr_keys_handler(void (*handler)(ngx_uint_t loaded));


#endif
