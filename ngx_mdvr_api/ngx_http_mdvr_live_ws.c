/*
 * ws: an init segment as one binary message, then each fragment as one; a new
 * init segment when the codec or the picture's size changes.  The reason of
 * the end is in the close frame: code 1000 when the stream was stopped, 4410
 * when it failed, 4401 when the token is no longer good; the word is one of
 * mdvr_bus_end_name(), "token_expired" or "token_revoked".
 *
 * ws?audio=1 adds the sound as AAC, a track of the same init segment: later
 * pictures by the length of its frames.  Without it there is no sound.
 *
 * ws?mux=1 carries many streams, for a wall of tiles.  Each binary message
 * then begins with the stream's number (2 bytes, big-endian), 0 for the
 * stream of the address; the client says in text messages
 *
 *     {"type":"add","stream":3,"token":"..."}      {"type":"remove","stream":3}
 *
 * (with "codec":"h264", or ?codec=h264 for all, H.264 of H.265 cameras)
 * and is told {"type":"added","stream":3} or, now or later,
 * {"type":"ended","stream":3,"code":4410,"reason":"stalled"}; the socket stays
 * open as long as it has a stream, and half a minute longer.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_live.h"

#include <jansson.h>


#define NGX_HTTP_MDVR_WS_IDLE     30000         /* ms without a stream */
#define NGX_HTTP_MDVR_WS_MESSAGE  4096


typedef struct ngx_http_mdvr_live_ws_s  ngx_http_mdvr_live_ws_t;

typedef struct {
    ngx_queue_t                queue;
    ngx_http_mdvr_viewer_t     viewer;
    ngx_http_mdvr_live_ws_t   *live;
    ngx_mdvr_stream_token_t    token;
    u_char                     node[NGX_MDVR_NODE_MAX];
    uint16_t                   number;
} ngx_http_mdvr_tile_t;

struct ngx_http_mdvr_live_ws_s {
    ngx_mdvr_ws_t             *ws;
    ngx_mdvr_ws_conf_t         ws_conf;
    ngx_http_request_t        *request;
    ngx_http_mdvr_live_conf_t *conf;
    ngx_queue_t                tiles;
    ngx_uint_t                 ntiles;
    ngx_event_t                idle;
    unsigned                   mux:1;
    unsigned                   audio:1;
    unsigned                   h264:1;
    unsigned                   closed:1;
};


static mdvr_rc_t ngx_http_mdvr_live_ws_add(ngx_http_mdvr_live_ws_t *live,
    uint16_t number, const ngx_mdvr_stream_token_t *token,
    mdvr_bus_ref_t ref);
static void ngx_http_mdvr_live_ws_free(ngx_http_mdvr_tile_t *tile);
static void ngx_http_mdvr_live_ws_closed(void *data, ngx_uint_t code);
static void ngx_http_mdvr_live_ws_message(void *data, ngx_uint_t binary,
    ngx_str_t *msg);
static void ngx_http_mdvr_live_ws_drained(void *data);
static void ngx_http_mdvr_live_ws_idle(ngx_event_t *ev);
static size_t ngx_http_mdvr_live_ws_queued(ngx_http_mdvr_viewer_t *v);
static ngx_int_t ngx_http_mdvr_live_ws_send(ngx_http_mdvr_viewer_t *v,
    ngx_http_mdvr_blob_t *blob, ngx_uint_t init);
static ngx_int_t ngx_http_mdvr_live_ws_flush(ngx_http_mdvr_viewer_t *v);
static void ngx_http_mdvr_live_ws_end(ngx_http_mdvr_viewer_t *v,
    ngx_uint_t code, const char *reason);
static void ngx_http_mdvr_live_ws_release(void *arg);


static const ngx_http_mdvr_viewer_pt  ngx_http_mdvr_live_ws_transport = {
    ngx_http_mdvr_live_ws_queued,
    ngx_http_mdvr_live_ws_send,
    ngx_http_mdvr_live_ws_flush,
    ngx_http_mdvr_live_ws_end
};

static const ngx_mdvr_ws_handler_t  ngx_http_mdvr_live_ws_handler = {
    ngx_http_mdvr_live_ws_message,
    ngx_http_mdvr_live_ws_closed,
    ngx_http_mdvr_live_ws_drained
};


ngx_int_t
ngx_http_mdvr_live_ws(ngx_http_mdvr_live_ctx_t *ctx)
{
    ngx_int_t                 n;
    ngx_str_t                 value;
    ngx_http_request_t       *r = ctx->request;
    ngx_http_mdvr_live_ws_t  *live;

    live = ngx_pcalloc(r->pool, sizeof(ngx_http_mdvr_live_ws_t));
    if (live == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    live->request = r;
    live->conf = ctx->conf;
    live->mux = ngx_http_arg(r, (u_char *) "mux", 3, &value) == NGX_OK
                && value.len == 1 && value.data[0] == '1';
    live->audio = ctx->conf->audio
                  && ngx_http_arg(r, (u_char *) "audio", 5, &value) == NGX_OK
                  && value.len == 1 && value.data[0] == '1';
    live->h264 = ngx_http_mdvr_live_wants_h264(r);
    ngx_queue_init(&live->tiles);

    /* one frame may be larger than what is allowed to wait behind it */

    live->ws_conf.max_message = NGX_HTTP_MDVR_WS_MESSAGE;
    live->ws_conf.max_queue = ctx->conf->max_queue + 8 * 1024 * 1024;
    live->ws_conf.ping = 30000;
    live->ws_conf.send_timeout = ctx->conf->send_timeout;

    n = ngx_mdvr_ws_accept(r, &live->ws_conf, &ngx_http_mdvr_live_ws_handler,
                           live, &live->ws);

    if (n != NGX_DONE) {
        return ngx_mdvr_ws_refuse(r, n);
    }

    live->idle.handler = ngx_http_mdvr_live_ws_idle;
    live->idle.data = live;
    live->idle.log = r->connection->log;

    if (ngx_http_mdvr_live_ws_add(live, 0, &ctx->token, ctx->ref)
        != MDVR_OK)
    {
        ngx_mdvr_ws_close(live->ws, NGX_HTTP_MDVR_LIVE_ENDED, "stopped", 1);
    }

    return NGX_DONE;
}


/* --- tiles ------------------------------------------------------------------- */

/* The tile may be gone again when this returns: its stream may have ended. */

static mdvr_rc_t
ngx_http_mdvr_live_ws_add(ngx_http_mdvr_live_ws_t *live, uint16_t number,
    const ngx_mdvr_stream_token_t *token, mdvr_bus_ref_t ref)
{
    mdvr_rc_t                rc;
    ngx_http_mdvr_tile_t    *tile;
    ngx_http_mdvr_viewer_t  *v;

    tile = ngx_calloc(sizeof(ngx_http_mdvr_tile_t),
                      live->request->connection->log);
    if (tile == NULL) {
        return MDVR_E_NO_MEMORY;
    }

    tile->live = live;
    tile->number = number;
    tile->token = *token;
    tile->token.node.data = tile->node;
    ngx_memcpy(tile->node, token->node.data, token->node.len);

    v = &tile->viewer;

    v->transport = &ngx_http_mdvr_live_ws_transport;
    v->conf = live->conf;
    v->token = &tile->token;
    v->log = live->request->connection->log;
    v->data = tile;
    v->ref = ref;
    v->want_audio = live->audio;

    rc = ngx_http_mdvr_viewer_open(v);

    if (rc != MDVR_OK) {
        ngx_free(tile);
        return rc;
    }

    ngx_queue_insert_tail(&live->tiles, &tile->queue);
    live->ntiles++;

    if (live->idle.timer_set) {
        ngx_del_timer(&live->idle);
    }

    if (live->mux && number) {
        ngx_mdvr_ws_text(live->ws, "{\"type\":\"added\",\"stream\":%ud}",
                         (ngx_uint_t) number);
    }

    ngx_http_mdvr_viewer_pump(v);

    return MDVR_OK;
}


static void
ngx_http_mdvr_live_ws_free(ngx_http_mdvr_tile_t *tile)
{
    ngx_http_mdvr_live_ws_t  *live = tile->live;

    ngx_http_mdvr_viewer_close(&tile->viewer);
    ngx_queue_remove(&tile->queue);
    live->ntiles--;
    ngx_free(tile);

    if (live->mux && live->ntiles == 0 && !live->closed) {
        ngx_add_timer(&live->idle, NGX_HTTP_MDVR_WS_IDLE);
    }
}


static void
ngx_http_mdvr_live_ws_idle(ngx_event_t *ev)
{
    ngx_http_mdvr_live_ws_t  *live = ev->data;

    ngx_mdvr_ws_close(live->ws, NGX_HTTP_MDVR_LIVE_DONE, "idle", 0);
}


/* --- the client's words ---------------------------------------------------------- */

static void
ngx_http_mdvr_live_ws_refuse(ngx_http_mdvr_live_ws_t *live, ngx_uint_t number,
    ngx_uint_t code, const char *reason)
{
    ngx_mdvr_ws_text(live->ws, "{\"type\":\"ended\",\"stream\":%ui,"
                     "\"code\":%ui,\"reason\":\"%s\"}", number,
                     code, reason);
}


static ngx_http_mdvr_tile_t *
ngx_http_mdvr_live_ws_find(ngx_http_mdvr_live_ws_t *live, ngx_uint_t number)
{
    ngx_queue_t           *q;
    ngx_http_mdvr_tile_t  *tile;

    for (q = ngx_queue_head(&live->tiles);
         q != ngx_queue_sentinel(&live->tiles);
         q = ngx_queue_next(q))
    {
        tile = ngx_queue_data(q, ngx_http_mdvr_tile_t, queue);

        if (tile->number == number) {
            return tile;
        }
    }

    return NULL;
}


static void
ngx_http_mdvr_live_ws_want(ngx_http_mdvr_live_ws_t *live, ngx_uint_t number,
    const char *text, ngx_uint_t h264)
{
    u_char                     node[NGX_MDVR_NODE_MAX];
    mdvr_rc_t                  rc;
    ngx_str_t                  token;
    ngx_mdvr_core_conf_t      *core;
    ngx_http_mdvr_live_ctx_t   ctx;

    token.data = (u_char *) text;
    token.len = ngx_strlen(text);

    ngx_memzero(&ctx, sizeof(ngx_http_mdvr_live_ctx_t));

    rc = ngx_mdvr_stream_token_check(&token, &ctx.token, node);

    if (rc != MDVR_OK) {
        ngx_http_mdvr_live_ws_refuse(live, number, NGX_HTTP_MDVR_LIVE_DENIED,
                                     rc == MDVR_E_EXPIRED ? "token_expired"
                                                          : "token_invalid");
        return;
    }

    core = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    if (ctx.token.node.len != core->node.len
        || ngx_memcmp(ctx.token.node.data, core->node.data, core->node.len)
           != 0)
    {
        /* it has a socket of its own, through its own address */

        ngx_http_mdvr_live_ws_refuse(live, number, NGX_HTTP_MDVR_LIVE_ENDED,
                                     "other_node");
        return;
    }

    if (live->ntiles >= live->conf->tiles) {
        ngx_http_mdvr_live_ws_refuse(live, number, NGX_HTTP_MDVR_LIVE_ENDED,
                                     "too_many");
        return;
    }

    rc = ngx_http_mdvr_live_find(&ctx);

    if (rc == MDVR_OK && h264) {
        rc = ngx_http_mdvr_live_to_h264(&ctx.ref);
    }

    if (rc == MDVR_E_UNAVAILABLE || rc == MDVR_E_BUSY) {
        ngx_http_mdvr_live_ws_refuse(live, number, NGX_HTTP_MDVR_LIVE_ENDED,
                                     rc == MDVR_E_BUSY ? "transcoder_busy"
                                                       : "codec_unsupported");
        return;
    }

    if (rc != MDVR_OK
        || ngx_http_mdvr_live_ws_add(live, (uint16_t) number, &ctx.token,
                                     ctx.ref) != MDVR_OK)
    {
        ngx_http_mdvr_live_ws_refuse(live, number, NGX_HTTP_MDVR_LIVE_ENDED,
                                     "stream_not_running");
    }
}


static void
ngx_http_mdvr_live_ws_message(void *data, ngx_uint_t binary, ngx_str_t *msg)
{
    json_t                   *root, *stream;
    json_int_t                number;
    const char               *type, *token, *codec;
    ngx_http_mdvr_tile_t     *tile;
    ngx_http_mdvr_live_ws_t  *live = data;

    if (!live->mux || binary) {
        return;                 /* a viewer of one stream has nothing to say */
    }

    root = json_loadb((char *) msg->data, msg->len,
                      JSON_REJECT_DUPLICATES, NULL);

    type = json_string_value(json_object_get(root, "type"));
    token = json_string_value(json_object_get(root, "token"));
    codec = json_string_value(json_object_get(root, "codec"));
    stream = json_object_get(root, "stream");
    number = json_integer_value(stream);

    if (type && ngx_strcmp(type, "ping") == 0) {
        ngx_mdvr_ws_text(live->ws, "{\"type\":\"pong\"}");

    } else if (type == NULL || !json_is_integer(stream) || number < 0
               || number > 65535)
    {
        ngx_mdvr_ws_text(live->ws, "{\"type\":\"error\","
                         "\"code\":\"malformed\"}");

    } else {
        tile = ngx_http_mdvr_live_ws_find(live, (ngx_uint_t) number);

        if (ngx_strcmp(type, "remove") == 0) {

            if (tile) {
                ngx_http_mdvr_live_ws_free(tile);
            }

        } else if (ngx_strcmp(type, "add") == 0 && token) {

            if (tile) {                         /* main instead of sub, say */
                ngx_http_mdvr_live_ws_free(tile);
            }

            ngx_http_mdvr_live_ws_want(live, (ngx_uint_t) number, token,
                live->h264 || (codec && ngx_strcmp(codec, "h264") == 0));

        } else {
            ngx_mdvr_ws_text(live->ws, "{\"type\":\"error\","
                             "\"code\":\"malformed\"}");
        }
    }

    json_decref(root);
}


/* --- the viewer's transport --------------------------------------------------------- */

static size_t
ngx_http_mdvr_live_ws_queued(ngx_http_mdvr_viewer_t *v)
{
    ngx_http_mdvr_tile_t  *tile = v->data;

    return ngx_mdvr_ws_queued(tile->live->ws);
}


static ngx_int_t
ngx_http_mdvr_live_ws_send(ngx_http_mdvr_viewer_t *v,
    ngx_http_mdvr_blob_t *blob, ngx_uint_t init)
{
    u_char                  number[2];
    ngx_int_t               rc;
    ngx_str_t               bytes, pieces[2];
    ngx_http_mdvr_tile_t   *tile = v->data;
    ngx_mdvr_ws_payload_t  *payload;

    if (tile->live->mux) {
        number[0] = (u_char) (tile->number >> 8);
        number[1] = (u_char) tile->number;

        pieces[0].data = number;
        pieces[0].len = 2;
        pieces[1].data = blob->data;
        pieces[1].len = blob->len;

        payload = ngx_mdvr_ws_payload(1, pieces, 2);
        ngx_http_mdvr_blob_drop(blob);

        if (payload == NULL) {
            return NGX_ERROR;
        }

    } else {
        bytes.data = blob->data;
        bytes.len = blob->len;

        payload = ngx_mdvr_ws_payload_borrow(1, &bytes,
                                             ngx_http_mdvr_live_ws_release,
                                             blob);
        if (payload == NULL) {
            ngx_http_mdvr_blob_drop(blob);
            return NGX_ERROR;
        }
    }

    rc = ngx_mdvr_ws_send(tile->live->ws, payload, 0);
    ngx_mdvr_ws_payload_drop(payload);

    return rc == NGX_OK ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_mdvr_live_ws_release(void *arg)
{
    ngx_http_mdvr_blob_drop(arg);
}


static ngx_int_t
ngx_http_mdvr_live_ws_flush(ngx_http_mdvr_viewer_t *v)
{
    return NGX_OK;
}


static void
ngx_http_mdvr_live_ws_drained(void *data)
{
    ngx_queue_t              *q, *next;
    ngx_http_mdvr_tile_t     *tile;
    ngx_http_mdvr_live_ws_t  *live = data;

    for (q = ngx_queue_head(&live->tiles);
         q != ngx_queue_sentinel(&live->tiles);
         q = next)
    {
        next = ngx_queue_next(q);
        tile = ngx_queue_data(q, ngx_http_mdvr_tile_t, queue);

        ngx_http_mdvr_viewer_pump(&tile->viewer);
    }
}


static void
ngx_http_mdvr_live_ws_end(ngx_http_mdvr_viewer_t *v, ngx_uint_t code,
    const char *reason)
{
    ngx_http_mdvr_tile_t     *tile = v->data;
    ngx_http_mdvr_live_ws_t  *live = tile->live;

    if (live->mux) {
        ngx_http_mdvr_live_ws_refuse(live, tile->number, code, reason);

    } else {
        ngx_mdvr_ws_close(live->ws, code, reason,
                          code == NGX_HTTP_MDVR_LIVE_DENIED);
    }

    ngx_http_mdvr_live_ws_free(tile);
}


static void
ngx_http_mdvr_live_ws_closed(void *data, ngx_uint_t code)
{
    ngx_queue_t              *q;
    ngx_http_mdvr_live_ws_t  *live = data;

    live->closed = 1;

    while (!ngx_queue_empty(&live->tiles)) {
        q = ngx_queue_head(&live->tiles);
        ngx_http_mdvr_live_ws_free(ngx_queue_data(q, ngx_http_mdvr_tile_t,
                                                  queue));
    }

    if (live->idle.timer_set) {
        ngx_del_timer(&live->idle);
    }
}
