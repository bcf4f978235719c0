
/*
 * How a stream begins or does not, by the device's answer.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_api_begin.h"


ngx_int_t
ngx_http_mdvr_api_begin_answer(ngx_pool_t *pool,
    const ngx_mdvr_answer_t *answer, ngx_http_mdvr_api_begin_t *why)
{
    u_char  *p;

    if (answer == NULL) {
        why->end = MDVR_BUS_END_FAILED;
        why->status = NGX_HTTP_SERVICE_UNAVAILABLE;
        why->code = "unavailable";
        why->detail = "the way to the device is away";
        return NGX_DECLINED;
    }

    switch (answer->status) {

    case NGX_MDVR_ANSWER_ACKNOWLEDGED:
        return NGX_OK;

    case NGX_MDVR_ANSWER_OFFLINE:
        why->end = MDVR_BUS_END_OFFLINE;
        why->status = NGX_HTTP_CONFLICT;
        why->code = "device_offline";
        why->detail = "the device is not connected";
        break;

    case NGX_MDVR_ANSWER_TIMEOUT:
        why->end = MDVR_BUS_END_NO_MEDIA;
        why->status = NGX_HTTP_GATEWAY_TIME_OUT;
        why->code = "device_timeout";
        why->detail = "the device did not answer in time";
        break;

    default:
        why->end = MDVR_BUS_END_REFUSED;
        why->status = NGX_HTTP_CONFLICT;
        why->code = "device_refused";
        why->detail = "the device refused";

        p = ngx_pnalloc(pool, 512);
        if (p) {
            *ngx_snprintf(p, 511, "the device refused%s%V%s%V",
                          answer->error.len ? ": " : "", &answer->error,
                          answer->reason.len ? ": " : "", &answer->reason)
                = '\0';
            why->detail = (char *) p;
        }
    }

    return NGX_DECLINED;
}


ngx_str_t
ngx_http_mdvr_api_time_text(ngx_pool_t *pool, time_t t)
{
    ngx_str_t  s;

    s.data = ngx_pnalloc(pool, NGX_MDVR_RFC3339_LEN + 1);
    s.len = s.data ? (size_t) (ngx_mdvr_rfc3339(s.data, (int64_t) t * 1000)
                               - s.data) : 0;

    return s;
}
