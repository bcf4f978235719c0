/*
 * Event streams: the push module serves them, the API has the route.
 */

#ifndef NGX_MDVR_PUSH_H
#define NGX_MDVR_PUSH_H


#include "ngx_mdvr_core/ngx_mdvr_auth.h"
#include "ngx_mdvr_core/ngx_mdvr_http.h"


typedef struct {
    const ngx_mdvr_principal_t  *principal;
    ngx_mdvr_uuid_t              tenant;     /* whose messages */
    ngx_str_t                    key;        /* an API key, else "" */
    ngx_str_t                    topics;     /* with commas; "": all events */
    ngx_str_t                    devices;    /* with commas; "": all */
    ngx_str_t                    after;      /* id to resume behind, or "" */
} ngx_mdvr_push_stream_t;


/*
 * Takes a request of HTTP/1.x or HTTP/2 over as text/event-stream until its
 * client leaves, its token ends or is revoked, or it is too slow.
 *
 * NGX_OK: taken over, the request's count is the stream's.  Otherwise nothing
 * was sent: NGX_BUSY (this user or address has too many streams and sockets),
 * NGX_DECLINED (a topic that the principal has no scope for), NGX_ABORT (no such
 * topic), NGX_ERROR.
 */
ngx_int_t ngx_mdvr_push_stream(ngx_http_request_t *r,
    const ngx_mdvr_push_stream_t *stream);

/* For the push module, once in each worker. */
typedef ngx_int_t (*ngx_mdvr_push_stream_pt)(ngx_http_request_t *r,
    const ngx_mdvr_push_stream_t *stream);

void ngx_mdvr_push_server(ngx_mdvr_push_stream_pt server);


#endif
