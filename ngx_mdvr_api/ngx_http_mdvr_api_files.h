
/*
 * Stored objects: signed addresses, and the location that serves them.
 */


#ifndef _NGX_HTTP_MDVR_API_FILES_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_FILES_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


/*
 * An address of a stored file, from the request's pool: presigned by S3's rules
 * when `mdvr_s3` is set, else "/files/<mark>/<key>".  data == NULL when it cannot
 * be signed.
 */
ngx_str_t ngx_http_mdvr_api_file_url(ngx_http_request_t *r,
    const ngx_str_t *key, time_t expires_at);

/*
 * Puts signed addresses in the place of object keys: everywhere in the text
 * where PostgreSQL's json_build_object() wrote a member whose name ends with
 * "_url": thumbnails, sprites, pictures of findings.
 */
ngx_int_t ngx_http_mdvr_api_sign_urls(ngx_http_mdvr_api_ctx_t *ctx,
    ngx_str_t *text);

void ngx_http_mdvr_api_media_url(ngx_http_mdvr_api_ctx_t *ctx);
void ngx_http_mdvr_api_media_hls(ngx_http_mdvr_api_ctx_t *ctx);

/* directive "mdvr_files" */
char *ngx_http_mdvr_api_files(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _NGX_HTTP_MDVR_API_FILES_H_INCLUDED_ */
