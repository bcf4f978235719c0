/*
 * Between the API, which has the route of event streams, and the push module,
 * which serves them.
 */

#include "ngx_mdvr_core/ngx_mdvr_push.h"


static ngx_mdvr_push_stream_pt  ngx_mdvr_push_served;


void
ngx_mdvr_push_server(ngx_mdvr_push_stream_pt server)
{
    ngx_mdvr_push_served = server;
}


ngx_int_t
ngx_mdvr_push_stream(ngx_http_request_t *r,
    const ngx_mdvr_push_stream_t *stream)
{
    return ngx_mdvr_push_served ? ngx_mdvr_push_served(r, stream) : NGX_ERROR;
}
