/*
 * A talk or a listening session on the frame bus (MDVR_BUS_KIND_TALK): what its
 * note says, the command that starts and stops it, and its end.
 *
 * The note is JSON:
 *
 *   session_id  the row of mdvr.video_session, whose token admits the operator
 *   listen      true: sound comes from the device only (C551)
 *   channel     of the camera whose microphone is meant, from 1; absent: the
 *               intercom
 *   half        true: half duplex, the device is not heard while the operator
 *               speaks
 */

#ifndef NGX_MDVR_TALK_H
#define NGX_MDVR_TALK_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"
#include "mdvr/basics/str.h"


typedef struct {
    ngx_mdvr_uuid_t           session;
    ngx_uint_t                channel;
    unsigned                  known:1;       /* it has a session */
    unsigned                  listen:1;
    unsigned                  half:1;
} ngx_mdvr_talk_note_t;


/* MDVR_E_NOT_FOUND: the session is gone.  What is not said is zero. */
mdvr_rc_t ngx_mdvr_talk_note(mdvr_bus_ref_t ref, ngx_mdvr_talk_note_t *note);

/*
 * The audio session of a device that runs on this node, a talk or not: devices
 * have one at a time.  MDVR_E_NOT_FOUND.
 */
mdvr_rc_t ngx_mdvr_talk_find(const u_char device[16], mdvr_bus_info_t *info);

/* "C550" or "C551" and its body, without a leading comma. */
void ngx_mdvr_talk_command(const mdvr_bus_info_t *info, ngx_uint_t start,
    ngx_str_t *keyword, mdvr_buf_t *body);

/*
 * Sends it without waiting for the answer; a stop is not sent when the device
 * ended the session itself or has a newer one.
 */
void ngx_mdvr_talk_send(const mdvr_bus_info_t *info, ngx_uint_t start);

/* The row of the session ends, too. */
void ngx_mdvr_talk_over(const mdvr_bus_info_t *info, mdvr_bus_end_e why);


#endif
