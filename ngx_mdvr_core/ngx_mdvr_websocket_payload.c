/*
 * Frames, made once and shared by reference between sockets.
 */

#include "ngx_mdvr_core/ngx_mdvr_websocket_parts.h"


/* `head` bytes of a frame's header before the pieces */

static ngx_mdvr_ws_payload_t *
ngx_mdvr_ws_payload_copy(const u_char *header, size_t head,
    const ngx_str_t *pieces, ngx_uint_t n, size_t len)
{
    u_char                 *p;
    ngx_uint_t              i;
    ngx_mdvr_ws_payload_t  *payload;

    payload = ngx_alloc(sizeof(ngx_mdvr_ws_payload_t) + head + len,
                        ngx_cycle->log);
    if (payload == NULL) {
        return NULL;
    }

    payload->refs = 1;
    payload->head = 0;
    payload->release = NULL;
    payload->bytes = (u_char *) (payload + 1);
    payload->len = head + len;
    payload->packed = NULL;
    payload->text = 0;
    payload->tried = 0;
    payload->start = (uint8_t) head;

    p = ngx_cpymem(payload->bytes, header, head);

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, pieces[i].data, pieces[i].len);
    }

    return payload;
}


static size_t
ngx_mdvr_ws_payload_len(const ngx_str_t *pieces, ngx_uint_t n)
{
    size_t      len;
    ngx_uint_t  i;

    len = 0;

    for (i = 0; i < n; i++) {
        len += pieces[i].len;
    }

    return len;
}


ngx_mdvr_ws_payload_t *
ngx_mdvr_ws_payload_frame(mdvr_ws_opcode_e opcode, const ngx_str_t *pieces,
    ngx_uint_t n)
{
    size_t                  len, head;
    u_char                  header[MDVR_WS_HEADER_MAX];
    ngx_mdvr_ws_payload_t  *payload;

    len = ngx_mdvr_ws_payload_len(pieces, n);
    head = mdvr_ws_header(header, opcode, true, len, NULL);

    payload = ngx_mdvr_ws_payload_copy(header, head, pieces, n, len);

    if (payload) {
        payload->text = (opcode == MDVR_WS_TEXT);
    }

    return payload;
}


ngx_mdvr_ws_payload_t *
ngx_mdvr_ws_payload_bare(const ngx_str_t *pieces, ngx_uint_t n)
{
    return ngx_mdvr_ws_payload_copy((u_char *) "", 0, pieces, n,
                                    ngx_mdvr_ws_payload_len(pieces, n));
}


ngx_mdvr_ws_payload_t *
ngx_mdvr_ws_payload(ngx_uint_t binary, const ngx_str_t *pieces, ngx_uint_t n)
{
    return ngx_mdvr_ws_payload_frame(binary ? MDVR_WS_BINARY : MDVR_WS_TEXT, pieces,
                             n);
}


ngx_mdvr_ws_payload_t *
ngx_mdvr_ws_payload_borrow(ngx_uint_t binary, const ngx_str_t *bytes,
    void (*release)(void *arg), void *arg)
{
    ngx_mdvr_ws_payload_t  *payload;

    payload = ngx_alloc(sizeof(ngx_mdvr_ws_payload_t), ngx_cycle->log);
    if (payload == NULL) {
        return NULL;
    }

    payload->refs = 1;
    payload->bytes = bytes->data;
    payload->len = bytes->len;
    payload->release = release;
    payload->arg = arg;
    payload->packed = NULL;
    payload->text = 0;                  /* pictures do not get shorter */
    payload->head = mdvr_ws_header(payload->header,
                                   binary ? MDVR_WS_BINARY : MDVR_WS_TEXT,
                                   true, bytes->len, NULL);

    return payload;
}


void
ngx_mdvr_ws_payload_hold(ngx_mdvr_ws_payload_t *payload)
{
    payload->refs++;
}


void
ngx_mdvr_ws_payload_drop(ngx_mdvr_ws_payload_t *payload)
{
    if (--payload->refs) {
        return;
    }

    if (payload->packed) {
        ngx_mdvr_ws_payload_drop(payload->packed);
    }

    if (payload->release) {
        payload->release(payload->arg);
    }

    ngx_free(payload);
}


ngx_mdvr_ws_payload_t *
ngx_mdvr_ws_payload_packed(ngx_mdvr_ws_payload_t *payload, size_t least)
{
    size_t      len;
    ngx_str_t   piece;

    if (!payload->text || payload->len - payload->start < least) {
        return payload;
    }

    if (!payload->tried) {
        payload->tried = 1;

        piece.data = ngx_mdvr_ws_deflate(payload->bytes + payload->start,
                                         payload->len - payload->start, &len);
        piece.len = len;

        if (piece.data) {
            payload->packed = ngx_mdvr_ws_payload_frame(MDVR_WS_TEXT, &piece,
                                                        1);
        }

        if (payload->packed) {
            payload->packed->bytes[0] |= MDVR_WS_RSV1;
            payload->packed->text = 0;
        }
    }

    return payload->packed ? payload->packed : payload;
}


void
ngx_mdvr_ws_text(ngx_mdvr_ws_t *ws, const char *fmt, ...)
{
    u_char                  text[512];
    va_list                 args;
    ngx_str_t               piece;
    ngx_mdvr_ws_payload_t  *payload;

    va_start(args, fmt);
    piece.data = text;
    piece.len = ngx_vslprintf(text, text + sizeof(text), fmt, args) - text;
    va_end(args);

    payload = ngx_mdvr_ws_payload(0, &piece, 1);

    if (payload) {
        (void) ngx_mdvr_ws_send(ws, payload, 0);
        ngx_mdvr_ws_payload_drop(payload);
    }
}
