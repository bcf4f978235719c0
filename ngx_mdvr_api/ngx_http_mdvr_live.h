/*
 * Live video over HTTP: /live/<token>/<name>.
 *
 *   _module.c    directives, the token, which name it is, other nodes
 *   _wait.c      a request that waits for the stream
 *   _hls.c       playlists, init segments, segments and parts
 *   _viewer.c    what stream.mp4 and ws have in common: reading the bus
 *   _mp4.c       stream.mp4, fragments in a chunked answer
 *   _ws.c        ws, fragments in binary messages
 *   _whep.c      whep, the exchange of SDPs with mdvr-rtc
 *   _permit.c    whether a token is good, for caches and nginx-rtmp
 *   _talk.c      ws of a talk, sound both ways
 */

#ifndef NGX_HTTP_MDVR_LIVE_H
#define NGX_HTTP_MDVR_LIVE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_mdvr_core/ngx_mdvr_core.h"
#include "ngx_mdvr_core/ngx_mdvr_auth.h"
#include "ngx_mdvr_core/ngx_mdvr_bus.h"
#include "ngx_mdvr_core/ngx_mdvr_http.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_websocket.h"


typedef struct {
    ngx_msec_t                wait;          /* for a starting stream */
    ngx_msec_t                max_delay;     /* then a slow viewer skips */
    ngx_msec_t                recheck;       /* of the token */
    ngx_msec_t                lease;         /* an HLS viewer without request */
    ngx_msec_t                hls_keep;      /* parts are made, without one */
    size_t                    max_queue;     /* bytes under way to a viewer */
    ngx_uint_t                tiles;         /* streams of one WebSocket */
    ngx_flag_t                audio;
    ngx_flag_t                cdn;           /* names say which stream */
    ngx_msec_t                send_timeout;
} ngx_http_mdvr_live_conf_t;


typedef struct ngx_http_mdvr_live_ctx_s  ngx_http_mdvr_live_ctx_t;

/* called when something happened in the session, and on time-out */
typedef void (*ngx_http_mdvr_live_pt)(ngx_http_mdvr_live_ctx_t *ctx);

struct ngx_http_mdvr_live_ctx_s {
    ngx_http_request_t         *request;
    ngx_http_mdvr_live_conf_t  *conf;
    ngx_mdvr_stream_token_t     token;
    u_char                      node[NGX_MDVR_NODE_MAX];
    ngx_str_t                   name;        /* behind the token */
    mdvr_bus_ref_t              ref;

    /* _wait.c */

    ngx_http_mdvr_live_pt       ready;
    ngx_mdvr_bus_watch_t        watch;
    ngx_event_t                 timer;
    ngx_msec_t                  deadline;
    unsigned                    waiting:1;
    unsigned                    timedout:1;

    void                       *data;        /* of the transport */
};


/* -- _module.c -------------------------------------------------------------- */

/* The session that the token names: MDVR_OK, MDVR_E_NOT_FOUND, ... */
mdvr_rc_t ngx_http_mdvr_live_find(ngx_http_mdvr_live_ctx_t *ctx);

/* "?codec=h264" */
ngx_uint_t ngx_http_mdvr_live_wants_h264(ngx_http_request_t *r);

/*
 * What the worker makes of an H.265 stream in its place; any other stays.
 * MDVR_E_UNAVAILABLE: nothing here does, MDVR_E_BUSY: not one more.
 */
mdvr_rc_t ngx_http_mdvr_live_to_h264(mdvr_bus_ref_t *ref);

/* problem+json for a stream that does not run: its end reason if known */
ngx_int_t ngx_http_mdvr_live_gone(ngx_http_mdvr_live_ctx_t *ctx);

/* -- _permit.c --------------------------------------------------------------- */

#define NGX_HTTP_MDVR_LIVE_ID   24

/*
 * A name for the stream from its start to its end, that no other has: so many
 * hexadecimal digits.  MDVR_E_NOT_FOUND: it is gone.
 */
mdvr_rc_t ngx_http_mdvr_live_id(mdvr_bus_ref_t ref, u_char *text);

ngx_int_t ngx_http_mdvr_live_permit(ngx_http_mdvr_live_ctx_t *ctx);

/* -- _wait.c ------------------------------------------------------------------ */

/*
 * Parks the request: `ready` is called from the event loop whenever something
 * happened in the session, and with ctx->timedout after `ms`.  It ends the
 * waiting by ngx_http_mdvr_live_resume(), which finalizes the request with rc.
 * NGX_DONE is the handler's result.
 */
ngx_int_t ngx_http_mdvr_live_park(ngx_http_mdvr_live_ctx_t *ctx,
    ngx_http_mdvr_live_pt ready, ngx_msec_t ms);
void ngx_http_mdvr_live_resume(ngx_http_mdvr_live_ctx_t *ctx, ngx_int_t rc);

/* -- transports: results of a content handler ----------------------------------- */

ngx_int_t ngx_http_mdvr_live_playlist(ngx_http_mdvr_live_ctx_t *ctx);
ngx_int_t ngx_http_mdvr_live_master(ngx_http_mdvr_live_ctx_t *ctx);
ngx_int_t ngx_http_mdvr_live_file(ngx_http_mdvr_live_ctx_t *ctx);

/*
 * Counts the token's holder as a viewer by HLS for a while and has parts made.
 * NGX_DECLINED: the session is gone.
 */
ngx_int_t ngx_http_mdvr_hls_attach(ngx_http_mdvr_live_ctx_t *ctx);

ngx_int_t ngx_http_mdvr_live_mp4(ngx_http_mdvr_live_ctx_t *ctx);
ngx_int_t ngx_http_mdvr_live_ws(ngx_http_mdvr_live_ctx_t *ctx);
ngx_int_t ngx_http_mdvr_live_whep(ngx_http_mdvr_live_ctx_t *ctx);
ngx_int_t ngx_http_mdvr_talk_ws(ngx_http_mdvr_live_ctx_t *ctx);

/* -- _talk.c: the voice session that the token was made for --------------------- */

mdvr_rc_t ngx_http_mdvr_talk_session(ngx_http_mdvr_live_ctx_t *ctx);


/* -- _viewer.c --------------------------------------------------------------- */

/*
 * A fragment in this worker's memory, shared by all viewers that send it.
 */

typedef struct {
    ngx_uint_t                refs;
    mdvr_bus_rec_t            rec;
    size_t                    len;
    u_char                    data[1];
} ngx_http_mdvr_blob_t;

ngx_http_mdvr_blob_t *ngx_http_mdvr_blob_make(const u_char *p, size_t len);
void ngx_http_mdvr_blob_drop(ngx_http_mdvr_blob_t *blob);


typedef struct ngx_http_mdvr_viewer_s  ngx_http_mdvr_viewer_t;

typedef struct {

    /* bytes under way to the peer */
    size_t    (*queued)(ngx_http_mdvr_viewer_t *v);

    /*
     * Sends an init segment (`init`) or a fragment; takes over a reference.
     * NGX_OK, or NGX_ERROR: the viewer is lost.
     */
    ngx_int_t (*send)(ngx_http_mdvr_viewer_t *v, ngx_http_mdvr_blob_t *blob,
                  ngx_uint_t init);

    /* after a round of sends */
    ngx_int_t (*flush)(ngx_http_mdvr_viewer_t *v);

    /*
     * The stream or the permission is over; `reason` is a public word.  The
     * viewer has been closed and may be freed by this.
     */
    void      (*end)(ngx_http_mdvr_viewer_t *v, ngx_uint_t code,
                  const char *reason);
} ngx_http_mdvr_viewer_pt;

struct ngx_http_mdvr_viewer_s {
    const ngx_http_mdvr_viewer_pt  *transport;
    ngx_http_mdvr_live_conf_t      *conf;
    const ngx_mdvr_stream_token_t  *token;
    ngx_log_t                      *log;
    void                           *data;

    mdvr_bus_ref_t                  ref;
    mdvr_bus_reader_t               reader;
    ngx_mdvr_bus_watch_t            watch;
    ngx_event_t                     timer;
    ngx_msec_t                      opened;
    uint32_t                        init_version;
    uint64_t                        fragments;
    uint64_t                        overruns;        /* counted so far */

    mdvr_bus_reader_t               sound;
    uint64_t                        first_us;        /* of the first frame */
    ngx_msec_t                      settling;

    unsigned                        open:1;
    unsigned                        reading:1;
    unsigned                        pumping:1;
    unsigned                        want_audio:1;    /* set by the caller */
    unsigned                        settled:1;       /* with sound or not */
    unsigned                        audio:1;
};

/* End codes: the WebSocket's; other transports know "over" or "not allowed". */

#define NGX_HTTP_MDVR_LIVE_DONE     1000    /* stopped on purpose */
#define NGX_HTTP_MDVR_LIVE_ENDED    4410    /* the stream ended */
#define NGX_HTTP_MDVR_LIVE_DENIED   4401    /* token expired or revoked */

/*
 * Attaches: counts as a viewer from now on, sends as soon as there is a
 * picture.  transport, conf, token, log, data and ref are set by the caller.
 */
mdvr_rc_t ngx_http_mdvr_viewer_open(ngx_http_mdvr_viewer_t *v);

/* Reads on; to be called when the transport has room again. */
void ngx_http_mdvr_viewer_pump(ngx_http_mdvr_viewer_t *v);

/* Detaches; harmless when done before. */
void ngx_http_mdvr_viewer_close(ngx_http_mdvr_viewer_t *v);


extern ngx_module_t  ngx_http_mdvr_live_module;


#endif
