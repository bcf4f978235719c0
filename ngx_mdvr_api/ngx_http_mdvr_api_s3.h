
/*
 * Presigned addresses of objects in S3.
 */


#ifndef _NGX_HTTP_MDVR_API_S3_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_S3_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* no address is longer */
#define NGX_HTTP_MDVR_API_S3_URL  2048


typedef struct ngx_http_mdvr_api_s3_s {
    ngx_str_t  endpoint;                /* "https://host", as clients reach it */
    ngx_str_t  host;                    /* with the port, as it is signed */
    ngx_str_t  bucket;
    ngx_str_t  prefix;                  /* empty, or ends with a slash */
    ngx_str_t  region;
    ngx_str_t  access_key;
    ngx_str_t  secret_key;
} ngx_http_mdvr_api_s3_t;


/* data == NULL when there is no memory, or the key is too long */
ngx_str_t ngx_http_mdvr_api_s3_url(ngx_pool_t *pool,
    const ngx_http_mdvr_api_s3_t *s3, const ngx_str_t *key, time_t expires_at);

/* directive "mdvr_s3"; the slot is a ngx_http_mdvr_api_s3_t * */
char *ngx_http_mdvr_api_s3(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _NGX_HTTP_MDVR_API_S3_H_INCLUDED_ */
