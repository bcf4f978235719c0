
/*
 * argon2id with working memory that goes back to the system at once.
 */


#ifndef _NGX_HTTP_MDVR_API_ARGON_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_ARGON_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_MDVR_API_ARGON_SALT     16          /* bytes */
#define NGX_HTTP_MDVR_API_ARGON_ENCODED  512


/*
 * Both block for some 50 ms and belong into a thread.
 *
 * make: m = 19 MiB, t = 3, p = 1; writes a terminated PHC string to encoded[].
 * verify: `encoded` is a terminated PHC string of at most 256 MiB; one that is
 * malformed fits nothing.  1: done, or the password fits; else 0.
 */
ngx_uint_t ngx_http_mdvr_api_argon_make(const char *password, size_t len,
    const u_char salt[NGX_HTTP_MDVR_API_ARGON_SALT],
    char encoded[NGX_HTTP_MDVR_API_ARGON_ENCODED]);
ngx_uint_t ngx_http_mdvr_api_argon_verify(const char *encoded,
    const char *password, size_t len);


#endif /* _NGX_HTTP_MDVR_API_ARGON_H_INCLUDED_ */
