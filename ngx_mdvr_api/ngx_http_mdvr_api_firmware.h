
/*
 * A node's copy of a firmware file, when the objects are in S3.
 */


#ifndef _NGX_HTTP_MDVR_API_FIRMWARE_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_FIRMWARE_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


/* "<state dir>/firmware/<id><suffix>", zero-terminated; NULL: no memory */
char *ngx_http_mdvr_api_firmware_path(ngx_pool_t *pool, const ngx_str_t *id,
    const char *suffix);

/*
 * Has the worker store the upload "<id>.new" under `key`, or fetch the object
 * for "<id>.bin" unless it is there, and calls `done` once when the copy is
 * there, perhaps from within this call.  Otherwise it finishes the request with
 * 503.
 */
void ngx_http_mdvr_api_firmware_here(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_str_t *id, const ngx_str_t *key, ngx_uint_t upload,
    void (*done)(ngx_http_mdvr_api_ctx_t *ctx, void *data), void *data);


#endif /* _NGX_HTTP_MDVR_API_FIRMWARE_H_INCLUDED_ */
