/*
 * Playback sessions: what is wanted of the player of one (worker/playback.c),
 * wherever it is.
 */

#ifndef NGX_MDVR_PLAYBACK_H
#define NGX_MDVR_PLAYBACK_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"

#include <jansson.h>


/* `channel` of a PLAYBACK session on the bus and in tokens: never a camera's. */
#define NGX_MDVR_PLAYBACK_CHANNEL(n)  (128 + (n))


/*
 * Changes the session with this id (of mdvr.video_session): "paused" (bool),
 * "speed" (number), "position_s" (number: go there), "stop" (true).  A session of
 * another node is changed there, through mdvr:ctl.
 */
void ngx_mdvr_playback_set(const ngx_str_t *session, json_t *set);

/* The same on this node only; NGX_DECLINED: it is not here. */
ngx_int_t ngx_mdvr_playback_apply(const ngx_str_t *session, json_t *set);

/* Ends what is played of a device on this node; how many. */
ngx_uint_t ngx_mdvr_playback_end(const uint8_t device_id[16],
    mdvr_bus_end_e why);

/*
 * A PLAYBACK session is over: its viewer's row is closed.  `note` is the
 * session's.
 */
void ngx_mdvr_playback_over(const char *note, const char *reason);


#endif
