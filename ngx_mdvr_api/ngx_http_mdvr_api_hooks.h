
/*
 * Handlers of /webhooks that look at the address.
 */


#ifndef _NGX_HTTP_MDVR_API_HOOKS_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_HOOKS_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


void ngx_http_mdvr_api_webhook_post(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_webhook_patch(ngx_http_mdvr_api_ctx_t *ctx);

/* directive "mdvr_webhook_allow" */
char *ngx_http_mdvr_api_webhook_allow(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Whether an address belongs to the public internet. */
ngx_uint_t ngx_http_mdvr_api_public_address(const struct sockaddr *sa);


#endif /* _NGX_HTTP_MDVR_API_HOOKS_H_INCLUDED_ */
