/*
 * The route of a device between nodes, `mdvr:route:{<serial>}` in Redis: who
 * holds its connection, for those who have something to tell it.
 */

#ifndef NGX_MDVR_ROUTE_H
#define NGX_MDVR_ROUTE_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


/*
 * Route of a registered device.  claim: after V101; a previous holder on
 * another node is told to close.  refresh: every 120 s or so; when another
 * node holds the device meanwhile, NGX_MDVR_MAIL_CLOSE comes for this
 * connection.  release: when the connection ends, removes it only if it is
 * still ours.  All return at once; while Redis is away they do nothing, the
 * next refresh repairs it.
 */
void ngx_mdvr_route_claim(const ngx_str_t *serial, uint64_t connection);
void ngx_mdvr_route_refresh(const ngx_str_t *serial, uint64_t connection);
void ngx_mdvr_route_release(const ngx_str_t *serial, uint64_t connection);


/* for the core module only */

void ngx_mdvr_route_init(ngx_mdvr_core_conf_t *conf);

/* The slot as it stands in names and routes: this instance's, by boot id. */
uint32_t ngx_mdvr_route_slot(ngx_uint_t slot);


#endif
