
/*
 * Handlers of what lies on the device: the list of recordings, downloads.
 */


#ifndef _NGX_HTTP_MDVR_API_RECORDINGS_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_RECORDINGS_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


#define NGX_HTTP_MDVR_API_DAY  86400            /* s */


void ngx_http_mdvr_api_recordings(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_recordings_calendar(ngx_http_mdvr_api_ctx_t *ctx);

/*
 * `items` as GET /devices/{id}/recordings lists them, by days of a clock that
 * is `offset_minutes` ahead of UTC.  The caller's; NULL: no memory.
 */
json_t *ngx_http_mdvr_api_calendar(ngx_pool_t *pool, const json_t *items,
    int offset_minutes);
void ngx_http_mdvr_api_download(ngx_http_mdvr_api_ctx_t *ctx);


#endif /* _NGX_HTTP_MDVR_API_RECORDINGS_H_INCLUDED_ */
