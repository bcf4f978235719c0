
/*
 * Handler of GET /alarms/{id}/evidence.
 */


#ifndef _NGX_HTTP_MDVR_API_EVIDENCE_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_EVIDENCE_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


void ngx_http_mdvr_api_evidence(ngx_http_mdvr_api_ctx_t *ctx);


#endif /* _NGX_HTTP_MDVR_API_EVIDENCE_H_INCLUDED_ */
