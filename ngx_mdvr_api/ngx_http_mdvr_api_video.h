
/*
 * Handlers of live video: start, stop, renew; the answer that players work with.
 */


#ifndef _NGX_HTTP_MDVR_API_VIDEO_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_VIDEO_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"
#include "ngx_mdvr_core/ngx_mdvr_auth.h"


void ngx_http_mdvr_api_video_start(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_video_stop(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_video_renew(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_video_record(ngx_http_mdvr_api_ctx_t *ctx);

/*
 * Session, token and addresses of a stream; `id` and `expires` as texts,
 * `channel` as people count.  NULL: answered with a problem.
 */
json_t *ngx_http_mdvr_api_video_json(ngx_http_mdvr_api_ctx_t *ctx,
    const ngx_mdvr_stream_token_t *fields, const ngx_str_t *id,
    const ngx_str_t *expires, ngx_uint_t channel, ngx_uint_t live);


#endif /* _NGX_HTTP_MDVR_API_VIDEO_H_INCLUDED_ */
