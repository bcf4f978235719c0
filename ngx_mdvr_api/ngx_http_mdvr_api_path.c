
/*
 * The paths of the table, in parts, and the row that a request means.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_path.h"


#define NGX_HTTP_MDVR_API_BASE      "/api/v1"


ngx_http_mdvr_api_table_t  ngx_http_mdvr_api_table;


static ngx_int_t
ngx_http_mdvr_api_split(ngx_str_t *uri, ngx_http_mdvr_api_path_t *path)
{
    u_char  *p, *last;

    p = uri->data;
    last = p + uri->len;
    path->n = 0;

    while (p < last) {

        if (*p++ != '/' || path->n == NGX_HTTP_MDVR_API_SEGMENTS) {
            return NGX_ERROR;
        }

        path->part[path->n].data = p;

        while (p < last && *p != '/') {
            p++;
        }

        path->part[path->n].len = p - path->part[path->n].data;

        if (path->part[path->n].len == 0) {
            return NGX_ERROR;
        }

        path->n++;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_mdvr_api_fits(ngx_http_mdvr_api_path_t *route,
    ngx_http_mdvr_api_path_t *path)
{
    ngx_uint_t  i;

    if (route->n != path->n) {
        return 0;
    }

    for (i = 0; i < path->n; i++) {
        if (route->part[i].data[0] != '{'
            && (route->part[i].len != path->part[i].len
                || ngx_memcmp(route->part[i].data, path->part[i].data,
                              path->part[i].len) != 0))
        {
            return 0;
        }
    }

    return 1;
}


ngx_int_t
ngx_http_mdvr_api_find(ngx_http_request_t *r, ngx_http_mdvr_api_path_t *path,
    ngx_uint_t *allowed)
{
    ngx_str_t   uri;
    ngx_uint_t  i, method, words;

    *allowed = 0;

    if (r->uri.len < sizeof(NGX_HTTP_MDVR_API_BASE)
        || ngx_memcmp(r->uri.data, NGX_HTTP_MDVR_API_BASE,
                      sizeof(NGX_HTTP_MDVR_API_BASE) - 1) != 0)
    {
        return NGX_DECLINED;
    }

    uri.data = r->uri.data + sizeof(NGX_HTTP_MDVR_API_BASE) - 1;
    uri.len = r->uri.len - (sizeof(NGX_HTTP_MDVR_API_BASE) - 1);

    if (ngx_http_mdvr_api_split(&uri, path) != NGX_OK) {
        return NGX_DECLINED;
    }

    method = r->method == NGX_HTTP_HEAD ? NGX_HTTP_GET : r->method;
    words = 0;

    for (i = 0; i < ngx_http_mdvr_api_table.n; i++) {

        if (!ngx_http_mdvr_api_fits(&ngx_http_mdvr_api_table.paths[i], path)) {
            continue;
        }

        /* "/devices/pending" must not be taken for a device by other methods */

        if (words && ngx_strchr(ngx_http_mdvr_api_routes[i].path, '{')
            && ngx_strcmp(ngx_http_mdvr_api_routes[i].path,
                          ngx_http_mdvr_api_routes[words - 1].path) != 0)
        {
            break;
        }

        words = i + 1;

        if (ngx_http_mdvr_api_routes[i].method == method) {
            return i;
        }

        *allowed |= ngx_http_mdvr_api_routes[i].method;
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_mdvr_api_routes_init(ngx_log_t *log)
{
    u_char                           *p;
    ngx_str_t                         path;
    ngx_uint_t                        i, n;
    const ngx_str_t                  *method;
    ngx_http_mdvr_api_table_t        *t;
    const ngx_http_mdvr_api_route_t  *route;

    t = &ngx_http_mdvr_api_table;

    if (t->n) {
        return NGX_OK;
    }

    for (n = 0; ngx_http_mdvr_api_routes[n].method; n++) { /* void */ }

    t->paths = ngx_calloc(n * sizeof(ngx_http_mdvr_api_path_t), log);
    t->labels = ngx_calloc(n * sizeof(ngx_str_t), log);

    if (t->paths == NULL || t->labels == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        route = &ngx_http_mdvr_api_routes[i];

        path.data = (u_char *) route->path;
        path.len = ngx_strlen(route->path);

        if (ngx_http_mdvr_api_split(&path, &t->paths[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        p = ngx_alloc(path.len + sizeof("DELETE "), log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        t->labels[i].data = p;

        method = ngx_http_mdvr_api_method_name(route->method);
        p = ngx_cpymem(p, method->data, method->len);

        *p++ = ' ';
        p = ngx_cpymem(p, path.data, path.len);

        t->labels[i].len = p - t->labels[i].data;
    }

    t->n = n;

    return NGX_OK;
}
