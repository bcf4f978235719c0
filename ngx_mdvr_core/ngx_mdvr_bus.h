/*
 * The frame bus in an nginx worker: one attachment, its wake-ups on the event
 * loop, the sweep, and what a node says about its streams in Redis.
 */

#ifndef NGX_MDVR_BUS_H
#define NGX_MDVR_BUS_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"

#include "bus/mdvr_bus.h"


/*
 * This worker's attachment.  NULL in the master, without "mdvr_bus" and when
 * attaching failed (it is tried again every second).
 */
mdvr_bus_t *ngx_mdvr_bus(void);


typedef enum {
    NGX_MDVR_BUS_WATCH = 0,     /* only looks on */
    NGX_MDVR_BUS_VIEWER,        /* keeps the stream running */
    NGX_MDVR_BUS_OWNER          /* has called mdvr_bus_own() */
} ngx_mdvr_bus_mode_e;

/*
 * Called from the event loop after anything happened in the session: a
 * record, a new state, a wish, parts.  It may be called without need.  It may
 * add and remove watches, its own included.
 */
typedef void (*ngx_mdvr_bus_pt)(void *data);

/* zeros: not watching.  Must stay where it is while it watches. */

typedef struct {
    ngx_queue_t           queue;
    mdvr_bus_ref_t        ref;
    ngx_mdvr_bus_mode_e   mode;
    ngx_mdvr_bus_pt       handler;
    void                 *data;
    unsigned              active:1;
} ngx_mdvr_bus_watch_t;

/*
 * MDVR_OK; MDVR_E_NOT_FOUND: the session is gone; MDVR_E_UNAVAILABLE: no
 * bus.  Remove it before the memory of `watch` goes.
 */
mdvr_rc_t ngx_mdvr_bus_watch(ngx_mdvr_bus_watch_t *watch, mdvr_bus_ref_t ref,
    ngx_mdvr_bus_mode_e mode, ngx_mdvr_bus_pt handler, void *data);
void ngx_mdvr_bus_unwatch(ngx_mdvr_bus_watch_t *watch);

/*
 * Tells the device to start (again) or to stop a LIVE or TALK session: C508,
 * C550 or C551 by way of ngx_mdvr_command_send(), without waiting for the
 * answer.  For other kinds nothing is sent.
 */
void ngx_mdvr_bus_start_device(const mdvr_bus_info_t *info);
void ngx_mdvr_bus_stop_device(const mdvr_bus_info_t *info);

/* Ends a session, counts it by its reason and logs it at info. */
mdvr_rc_t ngx_mdvr_bus_end(mdvr_bus_ref_t ref, mdvr_bus_end_e why,
    ngx_log_t *log);


#define NGX_MDVR_BUS_LIVE_NOTE  32

/*
 * The note of a live session: the type of sound that the device announced when
 * it registered (1 to 11: table of mdvr/dc/media.h; 12 to 99: none of it), 0
 * when it did not.  `buf` has NGX_MDVR_BUS_LIVE_NOTE bytes and is returned.
 */
const char *ngx_mdvr_bus_live_note(char *buf, ngx_uint_t audio);
ngx_uint_t ngx_mdvr_bus_live_audio(mdvr_bus_ref_t ref);



extern ngx_module_t  ngx_mdvr_bus_module;


#endif
