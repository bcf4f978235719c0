/*
 * Which row of the table a request means: its path in parts, compared with
 * the paths of all rows.
 */

#ifndef NGX_HTTP_MDVR_API_PATH_H
#define NGX_HTTP_MDVR_API_PATH_H


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"


#define NGX_HTTP_MDVR_API_SEGMENTS  8


typedef struct {
    ngx_uint_t      n;
    ngx_str_t       part[NGX_HTTP_MDVR_API_SEGMENTS];
} ngx_http_mdvr_api_path_t;


typedef struct {
    ngx_uint_t                   n;
    ngx_http_mdvr_api_path_t    *paths;
    ngx_str_t                   *labels;    /* "GET /devices/{id}" */
} ngx_http_mdvr_api_table_t;


extern ngx_http_mdvr_api_table_t  ngx_http_mdvr_api_table;


/* Of no configuration: made once, for as long as the process lives. */
ngx_int_t ngx_http_mdvr_api_routes_init(ngx_log_t *log);

/*
 * The row of a request.  NGX_DECLINED: none; *allowed has the methods that the
 * path would have.  Rows with words ("/devices/pending") stand before those
 * with ids in the table.
 */
ngx_int_t ngx_http_mdvr_api_find(ngx_http_request_t *r,
    ngx_http_mdvr_api_path_t *path, ngx_uint_t *allowed);


#endif /* NGX_HTTP_MDVR_API_PATH_H */
