
/*
 * Handler of GET /events/stream.
 */


#ifndef _NGX_HTTP_MDVR_API_STREAM_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_STREAM_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


void ngx_http_mdvr_api_events_stream(ngx_http_mdvr_api_ctx_t *ctx);


#endif /* _NGX_HTTP_MDVR_API_STREAM_H_INCLUDED_ */
