/*
 * Where other nodes are: each node keeps its address in `mdvr:node:<id>`
 * (EX 60), which the chief refreshes; a worker remembers what it asked for.
 */

#ifndef NGX_MDVR_PEER_H
#define NGX_MDVR_PEER_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


typedef void (*ngx_mdvr_peer_pt)(void *data, const ngx_str_t *url);

/*
 * The address of a node, without a trailing slash.
 *
 * NGX_OK: *url is set, valid for the worker's life.  NGX_AGAIN: `done` is
 * called once unless `pool` is destroyed first, with the address, borrowed, or
 * with NULL when there is no such node or Redis is away.  NGX_ERROR: the name
 * is none, or no memory.
 */
ngx_int_t ngx_mdvr_peer_find(ngx_pool_t *pool, const ngx_str_t *node,
    ngx_str_t *url, ngx_mdvr_peer_pt done, void *data);

/* Says where this node is; called by the chief every few seconds. */
void ngx_mdvr_peer_announce(ngx_mdvr_core_conf_t *conf);


#endif
