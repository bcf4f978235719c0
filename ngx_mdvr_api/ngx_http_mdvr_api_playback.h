
/*
 * Recordings of a device, played like live video.
 */


#ifndef _NGX_HTTP_MDVR_API_PLAYBACK_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_PLAYBACK_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


void ngx_http_mdvr_api_playback_start(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_playback_control(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_playback_stop(ngx_http_mdvr_api_ctx_t *ctx);


#endif /* _NGX_HTTP_MDVR_API_PLAYBACK_H_INCLUDED_ */
