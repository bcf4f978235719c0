/*
 * The table from verdicts to log level, HTTP status and public code.
 */

#include "ngx_mdvr_core/ngx_mdvr_rc.h"


static const ngx_mdvr_rc_map_t  ngx_mdvr_rc_map[] = {
    /* verdict                log level       HTTP  public code */
    { MDVR_OK,                NGX_LOG_DEBUG,  200,  ngx_string("ok") },
    { MDVR_E_SYNTAX,          NGX_LOG_INFO,   400,  ngx_string("malformed") },
    { MDVR_E_RANGE,           NGX_LOG_INFO,   422,  ngx_string("out_of_range") },
    { MDVR_E_LIMIT,           NGX_LOG_INFO,   429,  ngx_string("limit_exceeded") },
    { MDVR_E_NO_SPACE,        NGX_LOG_ERR,    500,  ngx_string("internal") },
    { MDVR_E_SERIAL,          NGX_LOG_INFO,   422,  ngx_string("serial_malformed") },
    { MDVR_E_ABSENT,          NGX_LOG_INFO,   422,  ngx_string("missing_field") },
    { MDVR_E_UNSUPPORTED,     NGX_LOG_INFO,   422,  ngx_string("unsupported") },
    { MDVR_E_CODEC,           NGX_LOG_INFO,   422,  ngx_string("codec_unknown") },
    { MDVR_E_LEGACY,          NGX_LOG_INFO,   422,  ngx_string("unsupported") },
    { MDVR_E_UNKNOWN_DEVICE,  NGX_LOG_INFO,   404,  ngx_string("not_found") },
    { MDVR_E_UNKNOWN_SESSION, NGX_LOG_INFO,   404,  ngx_string("not_found") },
    { MDVR_E_OFFLINE,         NGX_LOG_INFO,   409,  ngx_string("device_offline") },
    { MDVR_E_REFUSED,         NGX_LOG_INFO,   409,  ngx_string("device_refused") },
    { MDVR_E_TIMEOUT,         NGX_LOG_ERR,    503,  ngx_string("timeout") },
    { MDVR_E_CLOSED,          NGX_LOG_INFO,   503,  ngx_string("unavailable") },
    { MDVR_E_UNAVAILABLE,     NGX_LOG_ERR,    503,  ngx_string("unavailable") },
    { MDVR_E_BUSY,            NGX_LOG_WARN,   503,  ngx_string("busy") },
    { MDVR_E_CONFLICT,        NGX_LOG_INFO,   409,  ngx_string("conflict") },
    { MDVR_E_NOT_FOUND,       NGX_LOG_INFO,   404,  ngx_string("not_found") },
    { MDVR_E_UNAUTHENTICATED, NGX_LOG_INFO,   401,  ngx_string("unauthenticated") },
    { MDVR_E_FORBIDDEN,       NGX_LOG_INFO,   403,  ngx_string("forbidden") },
    { MDVR_E_EXPIRED,         NGX_LOG_INFO,   401,  ngx_string("token_expired") },
    { MDVR_E_INVALID,         NGX_LOG_INFO,   422,  ngx_string("invalid") },
    { MDVR_E_NO_MEMORY,       NGX_LOG_ERR,    503,  ngx_string("busy") },
    { MDVR_E_INTERNAL,        NGX_LOG_ALERT,  500,  ngx_string("internal") },
};


const ngx_mdvr_rc_map_t *
ngx_mdvr_rc(mdvr_rc_t rc)
{
    ngx_uint_t  i;

    for (i = 0; i < sizeof(ngx_mdvr_rc_map) / sizeof(ngx_mdvr_rc_map[0]); i++) {
        if (ngx_mdvr_rc_map[i].rc == rc) {
            return &ngx_mdvr_rc_map[i];
        }
    }

    return &ngx_mdvr_rc_map[i - 1];
}
