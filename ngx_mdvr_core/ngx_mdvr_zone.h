/*
 * The root of the shared zone, for the files of ngx_mdvr_core/ only: slots of
 * workers with their mailboxes, and the places of registry and metrics.
 *
 * shpool->mutex guards everything but the metrics; it is held for arithmetic
 * only.
 */

#ifndef NGX_MDVR_ZONE_H
#define NGX_MDVR_ZONE_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


#define NGX_MDVR_MAILBOX  512           /* a power of two */


typedef struct {
    ngx_atomic_t              pid;       /* 0: free */
    ngx_atomic_t              draining;
    ngx_atomic_t              sweeper;   /* pid of who cleans up after it */
    uint32_t                  head;      /* next mail to read */
    uint32_t                  tail;      /* next place to write */
    ngx_mdvr_mail_t          *box;       /* NGX_MDVR_MAILBOX, kept once made */
} ngx_mdvr_slot_t;


typedef struct {
    ngx_mdvr_uuid_t           boot;
    ngx_mdvr_slot_t           slots[NGX_MDVR_SLOTS];
    void                     *registry;
    void                     *metrics;
} ngx_mdvr_sh_t;


typedef struct {
    ngx_mdvr_sh_t            *sh;
    ngx_slab_pool_t          *shpool;
} ngx_mdvr_zone_t;


/* of this process' cycle; NULL without "mdvr_zone" */
extern ngx_mdvr_zone_t  *ngx_mdvr_zone;

/* The registry's part of laying the zone out, and of sweeping a dead slot:
 * NGX_AGAIN while there is more. */
ngx_int_t ngx_mdvr_registry_layout(ngx_mdvr_zone_t *zone);
ngx_int_t ngx_mdvr_registry_sweep(ngx_uint_t slot);
void ngx_mdvr_registry_tick(void);


#endif
