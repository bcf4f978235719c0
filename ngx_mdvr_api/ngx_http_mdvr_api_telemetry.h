
/*
 * Handlers of GET /devices/{id}/telemetry and GET /devices/{id}/status.
 */


#ifndef _NGX_HTTP_MDVR_API_TELEMETRY_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_TELEMETRY_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


/* what else a history can be asked for as */
extern const char *const  ngx_http_mdvr_api_telemetry_exports[];

void ngx_http_mdvr_api_telemetry(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_device_status(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_diagnostics(ngx_http_mdvr_api_ctx_t *ctx);


#endif /* _NGX_HTTP_MDVR_API_TELEMETRY_H_INCLUDED_ */
