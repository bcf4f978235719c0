/*
 * The media front (port 6602): one connection per media session.
 *
 *   _module.c   directives, limits, the connection from accept to close
 *   _read.c     bytes to messages; memory only while a message is incomplete
 *   _bind.c     registration, the pending session it belongs to
 *   _live.c     live video: frames to the frame bus, viewers to the device
 *   _hls.c      parts and segments on tmpfs while somebody asks for HLS
 *   _file.c     files and pictures from the device
 *   _search.c   lists and query data from the device
 *   _push.c     files to the device: firmware, configuration, others
 *   _config.c   the device's configuration file
 *   _talk.c     voice, both ways
 *   _reel.c     recordings that are played while they come
 */

#ifndef NGX_STREAM_MDVR_MEDIA_H
#define NGX_STREAM_MDVR_MEDIA_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_stream.h>

#include "ngx_mdvr_core/ngx_mdvr_core.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_transfer.h"

#include "mdvr/basics/bytes.h"
#include "mdvr/dc/media.h"
#include "mdvr/dc/register.h"


#define NGX_STREAM_MDVR_MEDIA_OUT  640      /* bytes waiting for the device */


typedef struct ngx_stream_mdvr_media_s       ngx_stream_mdvr_media_t;
typedef struct ngx_stream_mdvr_media_kind_s  ngx_stream_mdvr_media_kind_t;


typedef struct {
    ngx_msec_t                     register_timeout;
    ngx_msec_t                     live_timeout;     /* silence */
    ngx_msec_t                     file_timeout;
    ngx_msec_t                     stall;            /* nothing delivered */
    ngx_msec_t                     idle_stop;        /* after the last viewer */
    ngx_msec_t                     unseen_stop;      /* no viewer ever came */
    ngx_msec_t                     close_wait;       /* after the stop command */
    ngx_msec_t                     comeback;         /* device may return */
    ngx_msec_t                     report;           /* 0x6403 */
    ngx_msec_t                     talk_timeout;     /* silence of a talk */
    ngx_msec_t                     talk_idle;        /* nobody talks */
    ngx_msec_t                     hls_part;
    ngx_msec_t                     hls_segment;      /* shortest */
    ngx_msec_t                     drain;            /* after a reload */
    size_t                         max_frame;
    off_t                          max_file;
    ngx_uint_t                     per_address;      /* sockets */
    ngx_uint_t                     unregistered;     /* of those */
} ngx_stream_mdvr_media_conf_t;


/*
 * `open` sees what the device says in its registration and declines what it
 * did not ask for (another kind of the same session is tried then).
 *
 * All handlers may close the connection's way out: NGX_OK to go on, NGX_DONE
 * when the connection was moved to `stopping` or `lingering`, NGX_ERROR to
 * close at once, already counted and logged.
 */

struct ngx_stream_mdvr_media_kind_s {
    mdvr_session_e                 session;
    mdvr_bus_kind_e                kind;
    size_t                         size;             /* of the kind's data */
    ngx_int_t                    (*open)(ngx_stream_mdvr_media_t *m,
                                       const mdvr_media_reg_t *reg);
    ngx_int_t                    (*message)(ngx_stream_mdvr_media_t *m,
                                       const mdvr_media_msg_t *msg);
    ngx_int_t                    (*wake)(ngx_stream_mdvr_media_t *m);
    ngx_int_t                    (*tick)(ngx_stream_mdvr_media_t *m);
    void                         (*close)(ngx_stream_mdvr_media_t *m);

    /* the socket takes more and nothing else waits for it; may be NULL */
    ngx_int_t                    (*write)(ngx_stream_mdvr_media_t *m);
};


typedef enum {
    NGX_STREAM_MDVR_MEDIA_NEW = 0,      /* connected, no registration yet */
    NGX_STREAM_MDVR_MEDIA_BOUND,        /* a session's data flows */
    NGX_STREAM_MDVR_MEDIA_STOPPING,     /* over; the device should close */
    NGX_STREAM_MDVR_MEDIA_LINGERING     /* we have sent our end, discard */
} ngx_stream_mdvr_media_state_e;


struct ngx_stream_mdvr_media_s {
    ngx_stream_session_t          *session;
    ngx_connection_t              *connection;
    ngx_stream_mdvr_media_conf_t  *conf;
    ngx_stream_mdvr_media_state_e  state;

    const ngx_stream_mdvr_media_kind_t  *kind;
    void                          *data;             /* the kind's own */

    mdvr_media_parser_t            parser;
    u_char                        *buf;              /* incomplete message */
    size_t                         len;
    size_t                         cap;
    int                            mark;             /* SO_RCVLOWAT */

    size_t                         out_len;

    /* the session, while bound */

    mdvr_bus_ref_t                 ref;
    uint32_t                       ticket;
    mdvr_bus_info_t               *info;             /* as of the binding */
    ngx_mdvr_bus_watch_t           watch;
    ngx_mdvr_meter_t              *meter;
    mdvr_bus_ref_t                 reel;             /* of a player: what it
                                                        plays now */

    ngx_event_t                    tick;
    ngx_msec_t                     deadline;         /* of this state */
    ngx_msec_t                     heard;            /* last byte */
    ngx_msec_t                     lost_since;       /* no message since, or 0 */
    uint64_t                       bytes;
    uint64_t                       counted_bytes;
    size_t                         gulp;             /* bytes of 250 ms, or 0 */
    ngx_uint_t                     unknown;          /* messages of no type */

    unsigned                       counted:1;        /* address */
    unsigned                       counted_new:1;    /* as unregistered */
    unsigned                       eof:1;
    unsigned                       held:1;           /* read nothing now */

    u_char                         out[NGX_STREAM_MDVR_MEDIA_OUT];
};


/* -- _module.c ------------------------------------------------------------ */

/* The door of connection states.  `wait` is the new state's deadline, ms. */
void ngx_stream_mdvr_media_move(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_state_e state, ngx_msec_t wait);

/*
 * NGX_DONE: the connection and `m` are gone.  NGX_AGAIN: it lingers, so that
 * what we sent last reaches the device.
 */
ngx_int_t ngx_stream_mdvr_media_close(ngx_stream_mdvr_media_t *m);

/* Counts by reason, logs at info; returns NGX_ERROR. */
ngx_int_t ngx_stream_mdvr_media_refuse(ngx_stream_mdvr_media_t *m,
    const char *reason);

/*
 * Sends small messages.  What the socket does not take waits, at most
 * NGX_STREAM_MDVR_MEDIA_OUT bytes; NGX_BUSY when that is full (nothing of the
 * message was taken then).
 */
ngx_int_t ngx_stream_mdvr_media_send(ngx_stream_mdvr_media_t *m,
    const mdvr_buf_t *b);

/* -- _read.c --------------------------------------------------------------- */

void ngx_stream_mdvr_media_read(ngx_event_t *rev);
void ngx_stream_mdvr_media_free(ngx_stream_mdvr_media_t *m);

/*
 * Has what the kernel has collected read soon, when it is let collect; called
 * once a second and when something happened in the session.
 */
void ngx_stream_mdvr_media_look(ngx_stream_mdvr_media_t *m);

/* called by _read.c for each message; NGX_OK, NGX_DONE, NGX_ERROR */
ngx_int_t ngx_stream_mdvr_media_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg);

/* -- _bind.c --------------------------------------------------------------- */

ngx_int_t ngx_stream_mdvr_media_bind(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg);

/* 0x6000 with result 0 and this reason, then as _refuse(). */
ngx_int_t ngx_stream_mdvr_media_reject(ngx_stream_mdvr_media_t *m,
    const char *why, uint32_t reason);

/* -- kinds ------------------------------------------------------------------ */

extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_live;
extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_playback;
extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_reel;
extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_file;
extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_snapshot;
extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_search;
extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_query;
extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_upgrade;
extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_push;
extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_config;
extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_config_up;
extern const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_talk;

/* -- _reel.c ---------------------------------------------------------------- */

/* 0x6103 on the connection of a player; NGX_OK or NGX_ERROR. */
ngx_int_t ngx_stream_mdvr_media_reel_wish(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg);

/* -- _hls.c ----------------------------------------------------------------- */

typedef struct ngx_stream_mdvr_media_hls_s  ngx_stream_mdvr_media_hls_t;

/* After each record of the MEDIA ring, and once a second with `rec` NULL. */
void ngx_stream_mdvr_media_hls(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t **hls, const mdvr_bus_rec_t *rec,
    const uint8_t *fragment);
void ngx_stream_mdvr_media_hls_close(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t **hls);


extern ngx_module_t  ngx_stream_mdvr_media_module;


#endif
