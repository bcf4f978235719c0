/*
 * ws of a talk: sound both ways in binary messages, each a piece of 8 kHz mono
 * in the coding of the address, ?coding=pcm (16 bits, little-endian, the
 * default), alaw or ulaw; what happens is said in text messages:
 *
 *   {"type":"talk","state":"starting","mode":"talk","duplex":"full",
 *    "coding":"pcm","rate":8000}
 *   {"type":"talk","state":"live"}           the device is there (again)
 *   {"type":"talk","state":"starting"}       its line broke, it may come back
 *
 * The end is in the close frame, as with live video.  The client's sound is
 * taken at twice the pace of a clock at most; of the device's what a client
 * does not take in time is dropped from the old end.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_live.h"
#include "ngx_mdvr_core/ngx_mdvr_talk.h"

#include "mdvr/media/voice.h"


#define NGX_HTTP_MDVR_TALK_MESSAGE  4096
#define NGX_HTTP_MDVR_TALK_QUEUE    16384       /* bytes: a second as PCM */
#define NGX_HTTP_MDVR_TALK_SAMPLES  1600        /* of a frame, both ways */
#define NGX_HTTP_MDVR_TALK_BUDGET   16000       /* samples in one burst */
#define NGX_HTTP_MDVR_TALK_PACE     16          /* samples a millisecond */


typedef struct {
    ngx_mdvr_ws_t             *ws;
    ngx_mdvr_ws_conf_t         ws_conf;
    ngx_http_request_t        *request;
    ngx_http_mdvr_live_conf_t *conf;
    ngx_mdvr_stream_token_t    token;
    u_char                     node[NGX_MDVR_NODE_MAX];

    mdvr_bus_ref_t             ref;
    ngx_mdvr_bus_watch_t       watch;
    mdvr_bus_reader_t          reader;
    uint32_t                   mic;
    mdvr_bus_state_e           state;        /* as last told */
    ngx_event_t                timer;

    unsigned                   coding;       /* a type of voice.h, 0: PCM */
    mdvr_voice_t               device;
    mdvr_voice_t               in;
    mdvr_voice_t               out;

    ngx_int_t                  budget;
    ngx_msec_t                 refilled;

    unsigned                   reading:1;
    unsigned                   speaks:1;     /* has the microphone */
    unsigned                   over:1;
    unsigned                   flooded:1;    /* counted once */
} ngx_http_mdvr_talk_t;


static void ngx_http_mdvr_talk_message(void *data, ngx_uint_t binary,
    ngx_str_t *msg);
static void ngx_http_mdvr_talk_closed(void *data, ngx_uint_t code);
static void ngx_http_mdvr_talk_woken(void *data);
static void ngx_http_mdvr_talk_tick(ngx_event_t *ev);


static const ngx_mdvr_ws_handler_t  ngx_http_mdvr_talk_handler = {
    ngx_http_mdvr_talk_message,
    ngx_http_mdvr_talk_closed,
    NULL
};


mdvr_rc_t
ngx_http_mdvr_talk_session(ngx_http_mdvr_live_ctx_t *ctx)
{
    mdvr_rc_t              rc;
    mdvr_bus_t            *bus = ngx_mdvr_bus();
    ngx_mdvr_talk_note_t   note;

    if (bus == NULL) {
        return MDVR_E_UNAVAILABLE;
    }

    rc = mdvr_bus_find_key(bus, MDVR_BUS_KIND_TALK, ctx->token.device.b, 0, 0,
                           &ctx->ref);

    if (rc == MDVR_OK) {
        rc = ngx_mdvr_talk_note(ctx->ref, &note);
    }

    if (rc == MDVR_OK
        && ngx_memcmp(note.session.b, ctx->token.session.b, 16) != 0)
    {
        rc = MDVR_E_NOT_FOUND;                  /* another one's talk */
    }

    return rc;
}


static ngx_int_t
ngx_http_mdvr_talk_coding(ngx_http_request_t *r, unsigned *coding)
{
    ngx_str_t  value;

    *coding = 0;

    if (ngx_http_arg(r, (u_char *) "coding", 6, &value) != NGX_OK
        || (value.len == 3 && ngx_memcmp(value.data, "pcm", 3) == 0))
    {
        return NGX_OK;
    }

    if (value.len == 4 && ngx_memcmp(value.data, "alaw", 4) == 0) {
        *coding = MDVR_VOICE_ALAW;
        return NGX_OK;
    }

    if (value.len == 4 && ngx_memcmp(value.data, "ulaw", 4) == 0) {
        *coding = MDVR_VOICE_ULAW;
        return NGX_OK;
    }

    return NGX_ERROR;
}


static const char *
ngx_http_mdvr_talk_coding_name(unsigned coding)
{
    return coding == 0 ? "pcm" : coding == MDVR_VOICE_ALAW ? "alaw" : "ulaw";
}


ngx_int_t
ngx_http_mdvr_talk_ws(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_int_t               n;
    unsigned                coding;
    ngx_http_request_t     *r = ctx->request;
    ngx_http_mdvr_talk_t   *talk;
    ngx_mdvr_talk_note_t    note;

    if (ctx->name.len != 2 || ngx_memcmp(ctx->name.data, "ws", 2) != 0) {
        return ngx_mdvr_http_problem(r, NGX_HTTP_NOT_FOUND, "not_found",
                                     "a talk has ws and whep");
    }

    if (ngx_http_mdvr_talk_coding(r, &coding) != NGX_OK) {
        return ngx_mdvr_http_problem(r, NGX_HTTP_BAD_REQUEST, "invalid_value",
                                     "coding is pcm, alaw or ulaw");
    }

    talk = ngx_pcalloc(r->pool, sizeof(ngx_http_mdvr_talk_t));

    if (talk == NULL || ngx_mdvr_talk_note(ctx->ref, &note) != MDVR_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    talk->request = r;
    talk->conf = ctx->conf;
    talk->ref = ctx->ref;
    talk->token = ctx->token;
    talk->token.node.data = talk->node;
    ngx_memcpy(talk->node, ctx->token.node.data, ctx->token.node.len);
    talk->coding = coding;
    talk->budget = NGX_HTTP_MDVR_TALK_BUDGET;
    talk->refilled = ngx_current_msec;
    talk->state = MDVR_BUS_STARTING;

    if (coding) {
        (void) mdvr_voice_init(&talk->in, coding);
        (void) mdvr_voice_init(&talk->out, coding);
    }

    talk->ws_conf.max_message = NGX_HTTP_MDVR_TALK_MESSAGE;
    talk->ws_conf.max_queue = NGX_HTTP_MDVR_TALK_QUEUE;
    talk->ws_conf.ping = 10000;
    talk->ws_conf.send_timeout = ctx->conf->send_timeout;

    n = ngx_mdvr_ws_accept(r, &talk->ws_conf, &ngx_http_mdvr_talk_handler,
                           talk, &talk->ws);

    if (n != NGX_DONE) {
        return ngx_mdvr_ws_refuse(r, n);
    }

    if (ngx_mdvr_bus_watch(&talk->watch, talk->ref, NGX_MDVR_BUS_VIEWER,
                           ngx_http_mdvr_talk_woken, talk)
        != MDVR_OK)
    {
        talk->over = 1;
        ngx_mdvr_ws_close(talk->ws, NGX_HTTP_MDVR_LIVE_ENDED, "stopped", 1);
        return NGX_DONE;
    }

    talk->speaks = !note.listen
                   && mdvr_bus_mic_claim(ngx_mdvr_bus(), talk->ref,
                                         &talk->mic) == MDVR_OK;

    talk->timer.handler = ngx_http_mdvr_talk_tick;
    talk->timer.data = talk;
    talk->timer.log = r->connection->log;
    ngx_add_timer(&talk->timer, talk->conf->recheck);

    ngx_mdvr_ws_text(talk->ws, "{\"type\":\"talk\",\"state\":\"starting\","
                     "\"mode\":\"%s\",\"duplex\":\"%s\","
                     "\"coding\":\"%s\",\"rate\":8000}",
                     note.listen ? "listen" : "talk",
                     note.half ? "half" : "full",
                     ngx_http_mdvr_talk_coding_name(coding));

    ngx_http_mdvr_talk_woken(talk);

    return NGX_DONE;
}


/* `code` as with live video */

static void
ngx_http_mdvr_talk_end(ngx_http_mdvr_talk_t *talk, ngx_uint_t code,
    const char *reason)
{
    if (talk->over) {
        return;
    }

    talk->over = 1;
    ngx_mdvr_bus_unwatch(&talk->watch);
    ngx_mdvr_ws_close(talk->ws, code, reason,
                      code == NGX_HTTP_MDVR_LIVE_DENIED);
}


/* --- the client's sound -------------------------------------------------------------- */

static void
ngx_http_mdvr_talk_message(void *data, ngx_uint_t binary, ngx_str_t *msg)
{
    size_t                 n;
    int16_t                pcm[NGX_HTTP_MDVR_TALK_SAMPLES];
    ngx_http_mdvr_talk_t  *talk = data;

    if (talk->over || !talk->speaks || !binary) {
        return;
    }

    if (talk->coding) {
        n = mdvr_voice_decode(&talk->in, talk->coding,
                              mdvr_str(msg->data, msg->len), pcm,
                              NGX_HTTP_MDVR_TALK_SAMPLES);

    } else {
        n = ngx_min(msg->len / 2, NGX_HTTP_MDVR_TALK_SAMPLES);
        ngx_memcpy(pcm, msg->data, n * 2);      /* little-endian, as we are */
    }

    talk->budget += (ngx_int_t) (ngx_current_msec - talk->refilled)
                    * NGX_HTTP_MDVR_TALK_PACE;
    talk->budget = ngx_min(talk->budget, NGX_HTTP_MDVR_TALK_BUDGET);
    talk->refilled = ngx_current_msec;

    if (n == 0 || (ngx_int_t) n > talk->budget) {

        if (n && !talk->flooded) {
            talk->flooded = 1;
            ngx_mdvr_refusal("talk_flood");
        }

        return;
    }

    talk->budget -= (ngx_int_t) n;

    if (mdvr_bus_mic_put(ngx_mdvr_bus(), talk->ref, talk->mic, pcm, n)
        == MDVR_E_NOT_FOUND)
    {
        talk->speaks = 0;                       /* a newer one has it */
    }
}


/* --- the device's sound ---------------------------------------------------------------- */

static ngx_int_t
ngx_http_mdvr_talk_send(ngx_http_mdvr_talk_t *talk, const int16_t *pcm,
    size_t n)
{
    u_char                  coded[NGX_HTTP_MDVR_TALK_SAMPLES + 4];
    ngx_int_t               rc;
    ngx_str_t               piece;
    ngx_mdvr_ws_payload_t  *payload;

    if (talk->coding) {
        piece.data = coded;
        piece.len = mdvr_voice_encode(&talk->out, pcm, n, coded);

    } else {
        piece.data = (u_char *) pcm;
        piece.len = n * sizeof(int16_t);
    }

    payload = ngx_mdvr_ws_payload(1, &piece, 1);

    if (payload == NULL) {
        return NGX_ERROR;
    }

    ngx_mdvr_count_by(media_bytes_total, &(ngx_str_t) ngx_string("out"),
                      piece.len);

    rc = ngx_mdvr_ws_send(talk->ws, payload, NGX_MDVR_WS_DROPPABLE);
    ngx_mdvr_ws_payload_drop(payload);

    return rc;
}


static void
ngx_http_mdvr_talk_state(ngx_http_mdvr_talk_t *talk, mdvr_bus_state_e state)
{
    if (state == talk->state) {
        return;
    }

    talk->state = state;
    ngx_mdvr_ws_text(talk->ws, "{\"type\":\"talk\",\"state\":\"%s\"}",
                     state == MDVR_BUS_LIVE ? "live" : "starting");
}


static void
ngx_http_mdvr_talk_woken(void *data)
{
    size_t                 n;
    uint8_t                copy[NGX_HTTP_MDVR_TALK_MESSAGE];
    int16_t                pcm[NGX_HTTP_MDVR_TALK_SAMPLES];
    mdvr_rc_t              rc;
    ngx_uint_t             code;
    mdvr_bus_t            *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t         rec;
    mdvr_bus_info_t        info;
    const uint8_t         *payload;
    ngx_http_mdvr_talk_t  *talk = data;

    if (talk->over) {
        return;
    }

    if (!talk->reading
        && mdvr_bus_reader_init(bus, talk->ref, MDVR_BUS_RING_MEDIA, false,
                                &talk->reader)
           == MDVR_OK)
    {
        talk->reading = 1;
    }

    if (mdvr_bus_info(bus, talk->ref, &info) != MDVR_OK) {
        ngx_http_mdvr_talk_end(talk, NGX_HTTP_MDVR_LIVE_ENDED, "stopped");
        return;
    }

    if (info.state != MDVR_BUS_ENDING) {
        ngx_http_mdvr_talk_state(talk, info.state);
    }

    while (talk->reading) {
        rc = mdvr_bus_peek(bus, &talk->reader, &rec, &payload);

        if (rc != MDVR_OK) {
            break;
        }

        if (rec.len > sizeof(copy)) {
            (void) mdvr_bus_take(bus, &talk->reader, &rec);
            continue;
        }

        ngx_memcpy(copy, payload, rec.len);

        if (mdvr_bus_take(bus, &talk->reader, &rec) != MDVR_OK) {
            continue;
        }

        n = mdvr_voice_decode(&talk->device, rec.codec,
                              mdvr_str(copy, rec.len), pcm,
                              NGX_HTTP_MDVR_TALK_SAMPLES);

        if (n && ngx_http_mdvr_talk_send(talk, pcm, n) == NGX_ERROR) {
            ngx_http_mdvr_talk_end(talk, NGX_HTTP_MDVR_LIVE_ENDED, "failed");
            return;
        }
    }

    if (info.state == MDVR_BUS_ENDING) {
        code = info.end == MDVR_BUS_END_STOPPED
               || info.end == MDVR_BUS_END_HUNG_UP
               || info.end == MDVR_BUS_END_NO_VIEWERS
               ? NGX_HTTP_MDVR_LIVE_DONE : NGX_HTTP_MDVR_LIVE_ENDED;

        ngx_http_mdvr_talk_end(talk, code, mdvr_bus_end_name(info.end));
    }
}


static void
ngx_http_mdvr_talk_tick(ngx_event_t *ev)
{
    mdvr_rc_t              rc;
    ngx_http_mdvr_talk_t  *talk = ev->data;

    rc = ngx_mdvr_stream_token_recheck(&talk->token);

    if (rc != MDVR_OK) {
        ngx_http_mdvr_talk_end(talk, NGX_HTTP_MDVR_LIVE_DENIED,
                               rc == MDVR_E_EXPIRED ? "token_expired"
                                                    : "token_revoked");
        return;
    }

    ngx_add_timer(ev, talk->conf->recheck);
    ngx_http_mdvr_talk_woken(talk);
}


static void
ngx_http_mdvr_talk_closed(void *data, ngx_uint_t code)
{
    ngx_http_mdvr_talk_t  *talk = data;

    talk->over = 1;
    ngx_mdvr_bus_unwatch(&talk->watch);

    if (talk->timer.timer_set) {
        ngx_del_timer(&talk->timer);
    }
}
