/*
 * Small things of the zone, 64 bytes each, found by kind and 16 byte id:
 * counters of connections per address and user, revocations, renewals of
 * viewer sessions.  For the files of ngx_mdvr_core/ only.
 */

#ifndef NGX_MDVR_ITEMS_H
#define NGX_MDVR_ITEMS_H


#include "ngx_mdvr_core/ngx_mdvr_registry.h"
#include "ngx_mdvr_core/ngx_mdvr_zone.h"


typedef struct {
    ngx_rbtree_t              counters;
    ngx_rbtree_node_t         counters_end;
    ngx_rbtree_t              marks;         /* what expires */
    ngx_rbtree_node_t         marks_end;
    ngx_atomic_t              nrevoked;      /* marks that are revocations */
    ngx_atomic_t              revocations;   /* ever made */
} ngx_mdvr_items_t;


void ngx_mdvr_items_layout(ngx_mdvr_items_t *items);
void ngx_mdvr_items_attach(ngx_mdvr_items_t *items);

/* Removes the counters of a dead slot. */
void ngx_mdvr_items_sweep(ngx_uint_t slot);

/* Removes marks whose time has passed. */
void ngx_mdvr_items_expire(void);

/* Makes room in the zone; how many cache entries went.  Mutex held. */
ngx_uint_t ngx_mdvr_registry_evict_locked(ngx_uint_t n);


#endif
