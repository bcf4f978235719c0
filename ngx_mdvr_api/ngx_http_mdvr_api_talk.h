
/*
 * Handlers of talk and listening.
 */


#ifndef _NGX_HTTP_MDVR_API_TALK_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_TALK_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


void ngx_http_mdvr_api_talk_start(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_talk_stop(ngx_http_mdvr_api_ctx_t *ctx);


#endif /* _NGX_HTTP_MDVR_API_TALK_H_INCLUDED_ */
