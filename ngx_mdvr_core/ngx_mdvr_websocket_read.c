/*
 * What a WebSocket says: bytes to frames, frames to messages, control frames.
 * Reading goes through one scratch buffer of the worker; a socket owns memory
 * for a message only while one is incomplete.
 */

#include "ngx_mdvr_core/ngx_mdvr_websocket_parts.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


#define NGX_MDVR_WS_SCRATCH   65536
#define NGX_MDVR_WS_TURNS     8         /* reads per event */


static void ngx_mdvr_ws_piece(ngx_mdvr_ws_t *ws, const mdvr_ws_event_t *ev);
static void ngx_mdvr_ws_unpack(ngx_mdvr_ws_t *ws, ngx_uint_t opcode,
    ngx_str_t *packed);
static void ngx_mdvr_ws_control(ngx_mdvr_ws_t *ws, const mdvr_ws_event_t *ev);


static u_char            ngx_mdvr_ws_scratch[NGX_MDVR_WS_SCRATCH];


void
ngx_mdvr_ws_receive(ngx_mdvr_ws_t *ws)
{
    ssize_t            n;
    ngx_uint_t         turns;
    ngx_event_t       *rev;
    ngx_connection_t  *c;

    c = ws->c;
    rev = c->read;

    for (turns = 0; turns < NGX_MDVR_WS_TURNS; turns++) {

        n = c->recv(c, ngx_mdvr_ws_scratch, NGX_MDVR_WS_SCRATCH);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            rev->eof = 1;
            ngx_mdvr_ws_over(ws, n == 0 && ws->close_seen ? NGX_OK
                                                          : NGX_ERROR);
            return;
        }

        if (ws->state == ws_lingering) {
            continue;
        }

        ngx_mdvr_ws_input(ws, ngx_mdvr_ws_scratch, n);
    }

    if (turns == NGX_MDVR_WS_TURNS) {
        ngx_post_event(rev, &ngx_posted_next_events);
        return;
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_mdvr_ws_over(ws, NGX_ERROR);
    }
}


void
ngx_mdvr_ws_input(ngx_mdvr_ws_t *ws, u_char *p, size_t len)
{
    size_t           used;
    mdvr_rc_t        rc;
    mdvr_ws_event_t  ev;

    ws->pinged = 0;                     /* whatever it is, the peer lives */

    while (!ws->close_seen && !ws->broken) {

        rc = mdvr_ws_parse(&ws->parser, p, len, &used, &ev);

        p += used;
        len -= used;

        switch (rc) {

        case MDVR_OK:
            if (ev.opcode == MDVR_WS_TEXT || ev.opcode == MDVR_WS_BINARY) {
                ngx_mdvr_ws_piece(ws, &ev);

            } else {
                ngx_mdvr_ws_control(ws, &ev);
            }

            continue;

        case MDVR_AGAIN:
            return;

        case MDVR_E_LIMIT:
            ngx_mdvr_refusal("ws_too_long");
            ws->broken = 1;
            ngx_mdvr_ws_close(ws, 1009, "message too long", 1);
            return;

        case MDVR_E_INVALID:
            ngx_mdvr_refusal("ws_utf8");
            ws->broken = 1;
            ngx_mdvr_ws_close(ws, 1007, "not UTF-8", 1);
            return;

        default:
            ngx_mdvr_refusal("ws_protocol");
            ws->broken = 1;
            ngx_mdvr_ws_close(ws, 1002, "protocol error", 1);
            return;
        }
    }

    /* what comes behind a close is read and ignored */
}


/* Adds to what has come of a message; NGX_ERROR: no memory. */

static ngx_int_t
ngx_mdvr_ws_keep(ngx_mdvr_ws_t *ws, const mdvr_str_t *data)
{
    size_t   size;
    u_char  *p;

    if (ws->length + data->len > ws->capacity) {
        size = ngx_max(ws->capacity, 256);

        while (size < ws->length + data->len) {
            size *= 2;
        }

        p = ngx_alloc(size, ngx_cycle->log);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (ws->message) {
            ngx_memcpy(p, ws->message, ws->length);
            ngx_free(ws->message);
        }

        ws->message = p;
        ws->capacity = size;
    }

    ngx_memcpy(ws->message + ws->length, data->p, data->len);
    ws->length += data->len;

    return NGX_OK;
}


static void
ngx_mdvr_ws_piece(ngx_mdvr_ws_t *ws, const mdvr_ws_event_t *ev)
{
    ngx_str_t  msg;

    if (ws->state != ws_open) {
        return;
    }

    msg.data = (u_char *) ev->data.p;
    msg.len = ev->data.len;

    if (!ev->last || ws->length) {

        if (ngx_mdvr_ws_keep(ws, &ev->data) != NGX_OK) {
            ngx_mdvr_ws_close(ws, 1011, "no memory", 1);
            return;
        }

        msg.data = ws->message;
        msg.len = ws->length;
    }

    if (!ev->last) {
        return;
    }

    if (ev->packed) {
        ngx_mdvr_ws_unpack(ws, ev->opcode, &msg);

    } else {
        ws->handler->message(ws->data, ev->opcode == MDVR_WS_BINARY, &msg);
    }

    ws->length = 0;

    if (ws->message) {
        ngx_free(ws->message);
        ws->message = NULL;
        ws->capacity = 0;
    }
}


static void
ngx_mdvr_ws_unpack(ngx_mdvr_ws_t *ws, ngx_uint_t opcode, ngx_str_t *packed)
{
    ngx_str_t  msg;

    switch (ngx_mdvr_ws_inflate(packed, ws->conf->max_message, &msg)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        ngx_mdvr_refusal("ws_too_long");
        ws->broken = 1;
        ngx_mdvr_ws_close(ws, 1009, "message too long", 1);
        return;

    case NGX_ABORT:
        ngx_mdvr_refusal("ws_deflate");
        ws->broken = 1;
        ngx_mdvr_ws_close(ws, 1007, "not deflated data", 1);
        return;

    default:
        ngx_mdvr_ws_close(ws, 1011, "no memory", 1);
        return;
    }

    if (opcode == MDVR_WS_TEXT && !mdvr_ws_utf8(mdvr_str(msg.data, msg.len)))
    {
        ngx_mdvr_refusal("ws_utf8");
        ws->broken = 1;
        ngx_mdvr_ws_close(ws, 1007, "not UTF-8", 1);

    } else {
        ws->handler->message(ws->data, opcode == MDVR_WS_BINARY, &msg);
    }

    ngx_free(msg.data);
}


static void
ngx_mdvr_ws_control(ngx_mdvr_ws_t *ws, const mdvr_ws_event_t *ev)
{
    unsigned                code;
    ngx_str_t               piece;
    mdvr_rc_t               rc;
    mdvr_str_t              reason;
    ngx_mdvr_ws_payload_t  *pong;

    switch (ev->opcode) {

    case MDVR_WS_PING:
        if (ws->state != ws_open || ws->close_sent) {
            return;
        }

        piece.data = (u_char *) ev->data.p;
        piece.len = ev->data.len;

        pong = ngx_mdvr_ws_payload_frame(MDVR_WS_PONG, &piece, 1);

        if (pong) {

            /* it counts: who floods pings and reads nothing is closed */

            if (ws->queue.bytes + ngx_mdvr_ws_payload_cost(pong) > ws->conf->max_queue) {
                ngx_mdvr_ws_close(ws, 1008, "too much unread", 1);

            } else {
                (void) ngx_mdvr_ws_push(ws, pong, 0);
            }

            ngx_mdvr_ws_payload_drop(pong);
        }

        return;

    case MDVR_WS_CLOSE:
        ws->close_seen = 1;

        rc = mdvr_ws_close_read(ev->data, &code, &reason);

        if (rc != MDVR_OK) {
            ngx_mdvr_ws_close(ws, rc == MDVR_E_INVALID ? 1007 : 1002,
                              "malformed close", 1);
            return;
        }

        if (ws->state == ws_open) {
            ngx_mdvr_ws_close(ws, code == 1005 ? 1000 : code, NULL, 1);
            ws->code = (uint16_t) code;
            return;
        }

        if (ws->close_sent && ws->queue.count == 0) {
            ngx_post_event(ws->c->write, &ngx_posted_events);
        }

        return;

    default:                            /* a pong: the peer lives */
        return;
    }
}
