/*
 * The one table that translates a verdict of the libraries and clients at the
 * edge: how loud to log it, which HTTP status and which public code it is.
 */

#ifndef NGX_MDVR_RC_H
#define NGX_MDVR_RC_H


#include <ngx_config.h>
#include <ngx_core.h>

#include "mdvr/basics/rc.h"


typedef struct {
    mdvr_rc_t   rc;
    ngx_uint_t  level;       /* NGX_LOG_* */
    ngx_uint_t  status;      /* HTTP */
    ngx_str_t   code;        /* problem+json "code" */
} ngx_mdvr_rc_map_t;


/* Never NULL: what is not in the table is an internal error (alert, 500). */
const ngx_mdvr_rc_map_t *ngx_mdvr_rc(mdvr_rc_t rc);


#endif
