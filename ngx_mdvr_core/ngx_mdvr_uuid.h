/*
 * UUIDs: 16 bytes in memory, 36 characters of lower case hex as text.
 * Version 7 (RFC 9562, 5.7): 48 bits of unix milliseconds, then random; a
 * counter keeps those of one worker in order within a millisecond.
 */

#ifndef NGX_MDVR_UUID_H
#define NGX_MDVR_UUID_H


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_MDVR_UUID_LEN   36


typedef struct {
    u_char  b[16];
} ngx_mdvr_uuid_t;


/* A new version 7 UUID of the current time. */
void ngx_mdvr_uuid_make(ngx_mdvr_uuid_t *uuid);

/*
 * Reads the 36 character form, either case, any version.  NGX_ERROR when
 * `text` is anything else; `uuid` is then untouched.
 */
ngx_int_t ngx_mdvr_uuid_parse(const ngx_str_t *text, ngx_mdvr_uuid_t *uuid);

/* Writes 36 characters, no zero; returns the position after them. */
u_char *ngx_mdvr_uuid_print(u_char *p, const ngx_mdvr_uuid_t *uuid);

#define ngx_mdvr_uuid_equal(u1, u2)  (ngx_memcmp((u1)->b, (u2)->b, 16) == 0)

/* Whether all bytes are zero: "none" in our structures. */
ngx_uint_t ngx_mdvr_uuid_is_nil(const ngx_mdvr_uuid_t *uuid);


#endif
