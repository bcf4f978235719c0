
/*
 * Handlers of what lies on the device: the list of recordings, downloads.
 */


#ifndef _NGX_HTTP_MDVR_API_RECORDINGS_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_RECORDINGS_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


void ngx_http_mdvr_api_recordings(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_download(ngx_http_mdvr_api_ctx_t *ctx);


#endif /* _NGX_HTTP_MDVR_API_RECORDINGS_H_INCLUDED_ */
