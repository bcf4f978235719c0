
/*
 * Handler of POST /firmware.
 */


#ifndef _NGX_HTTP_MDVR_API_UPLOAD_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_UPLOAD_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


void ngx_http_mdvr_api_firmware_post(ngx_http_mdvr_api_ctx_t *ctx);


#endif /* _NGX_HTTP_MDVR_API_UPLOAD_H_INCLUDED_ */
