
/*
 * Whether the storage of media is there.
 */


#ifndef _NGX_HTTP_MDVR_API_STORAGE_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_STORAGE_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


/* The location whose storage /readyz looks at, once its configuration is in use. */
void ngx_http_mdvr_api_storage_set(const ngx_http_mdvr_api_loc_conf_t *conf);

ngx_int_t ngx_http_mdvr_api_storage_init(ngx_cycle_t *cycle);


#endif /* _NGX_HTTP_MDVR_API_STORAGE_H_INCLUDED_ */
