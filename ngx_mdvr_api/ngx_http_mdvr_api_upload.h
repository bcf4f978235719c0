
/*
 * Handlers of uploads: POST /firmware, POST /devices/{id}/files, and of
 * GET /commands/{id}/file, the configuration that a device sent.
 */


#ifndef _NGX_HTTP_MDVR_API_UPLOAD_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_UPLOAD_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


void ngx_http_mdvr_api_firmware_post(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_file_post(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_command_file(ngx_http_mdvr_api_ctx_t *ctx);

/* Removes what killed workers left of uploads more than an hour ago; blocks. */
ngx_int_t ngx_http_mdvr_api_upload_sweep(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_MDVR_API_UPLOAD_H_INCLUDED_ */
