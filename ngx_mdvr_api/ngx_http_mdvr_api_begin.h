
/*
 * What the beginnings of video and of talk have in common: a command goes to
 * the device, and its answer begins the stream or says why there is none.
 */


#ifndef _NGX_HTTP_MDVR_API_BEGIN_H_INCLUDED_
#define _NGX_HTTP_MDVR_API_BEGIN_H_INCLUDED_


#include "ngx_mdvr_api/ngx_http_mdvr_api.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"


/* why there is no stream: for the session on the bus, and as a problem */

typedef struct {
    mdvr_bus_end_e    end;
    ngx_uint_t        status;
    const char       *code;
    const char       *detail;
} ngx_http_mdvr_api_begin_t;


/*
 * NGX_OK: the device has begun.  NGX_DECLINED: it has not, `why` says so, its
 * texts lie in `pool`.  `answer` is not NGX_MDVR_ANSWER_SENT; NULL when the
 * way to the device is away.
 */
ngx_int_t ngx_http_mdvr_api_begin_answer(ngx_pool_t *pool,
    const ngx_mdvr_answer_t *answer, ngx_http_mdvr_api_begin_t *why);

/* A time as text for a statement; data is NULL when there is no memory. */
ngx_str_t ngx_http_mdvr_api_time_text(ngx_pool_t *pool, time_t t);


#endif /* _NGX_HTTP_MDVR_API_BEGIN_H_INCLUDED_ */
