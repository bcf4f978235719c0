
/*
 * Handlers of live video: start, stop, renew.
 */


#ifndef _NGX_HTTP_MDVR_API_VIDEO_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_VIDEO_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


void ngx_http_mdvr_api_video_start(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_video_stop(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_video_renew(ngx_http_mdvr_api_ctx_t *ctx);


#endif /* _NGX_HTTP_MDVR_API_VIDEO_H_INCLUDED_ */
