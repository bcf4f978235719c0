/*
 * WebSocket frames: parser, header writer, masking, UTF-8.
 */

#include "mdvr/web/ws.h"

enum {
    sw_first = 0,       /* FIN, RSV, opcode */
    sw_second,          /* MASK, short length */
    sw_length,          /* 2 or 8 bytes */
    sw_mask,            /* 4 bytes */
    sw_payload
};

void
mdvr_ws_init(mdvr_ws_t *ws, bool server, uint64_t limit)
{
    memset(ws, 0, sizeof(*ws));

    ws->server = server;
    ws->limit = limit;
}

/*
 * One step of UTF-8 (Unicode, table 3-7): the first byte fixes how many
 * follow and the bounds of the second, which exclude overlong forms,
 * surrogates and what lies beyond U+10FFFF.
 */

static bool
utf8_step(uint8_t *need, uint8_t *low, uint8_t *high, const uint8_t *p,
    size_t len)
{
    uint8_t        c;
    const uint8_t  *last = p + len;

    for (; p < last; p++) {
        c = *p;

        if (*need) {
            if (c < *low || c > *high) {
                return false;
            }

            *low = 0x80;
            *high = 0xbf;
            (*need)--;
            continue;
        }

        if (c < 0x80) {
            continue;
        }

        *low = 0x80;
        *high = 0xbf;

        if (c >= 0xc2 && c <= 0xdf) {
            *need = 1;

        } else if (c >= 0xe0 && c <= 0xef) {
            *need = 2;

            if (c == 0xe0) {
                *low = 0xa0;

            } else if (c == 0xed) {
                *high = 0x9f;
            }

        } else if (c >= 0xf0 && c <= 0xf4) {
            *need = 3;

            if (c == 0xf0) {
                *low = 0x90;

            } else if (c == 0xf4) {
                *high = 0x8f;
            }

        } else {
            return false;
        }
    }

    return true;
}

bool
mdvr_ws_utf8(mdvr_str_t s)
{
    uint8_t  need = 0, low = 0, high = 0;

    return utf8_step(&need, &low, &high, s.p, s.len) && need == 0;
}

void
mdvr_ws_mask(uint8_t *p, size_t len, const uint8_t mask[4], uint64_t offset)
{
    size_t    i;
    uint8_t   m[4];
    uint32_t  word, key;

    for (i = 0; i < 4; i++) {
        m[i] = mask[(offset + i) & 3];
    }

    memcpy(&key, m, 4);

    for (i = 0; i + 4 <= len; i += 4) {
        memcpy(&word, p + i, 4);
        word ^= key;
        memcpy(p + i, &word, 4);
    }

    for (; i < len; i++) {
        p[i] ^= m[i & 3];
    }
}

size_t
mdvr_ws_header(uint8_t *p, mdvr_ws_opcode_e opcode, bool fin, uint64_t len,
    const uint8_t mask[4])
{
    int       i;
    uint8_t  *start = p;

    *p++ = (uint8_t) ((fin ? 0x80 : 0) | opcode);

    if (len < 126) {
        *p++ = (uint8_t) len;

    } else if (len < 65536) {
        *p++ = 126;
        *p++ = (uint8_t) (len >> 8);
        *p++ = (uint8_t) len;

    } else {
        *p++ = 127;

        for (i = 56; i >= 0; i -= 8) {
            *p++ = (uint8_t) (len >> i);
        }
    }

    if (mask) {
        start[1] |= 0x80;
        memcpy(p, mask, 4);
        p += 4;
    }

    return (size_t) (p - start);
}

/* What the first byte allows, given where the message stands. */

static mdvr_rc_t
first_byte(mdvr_ws_t *ws, uint8_t c)
{
    if ((c & 0x30)
        || ((c & MDVR_WS_RSV1)
            && (!ws->deflate || (c & 0x0f) == MDVR_WS_CONTINUATION
                || (c & 0x0f) >= MDVR_WS_CLOSE)))
    {
        return MDVR_E_SYNTAX;               /* not what was agreed on */
    }

    ws->fin = c >> 7;
    ws->opcode = c & 0x0f;

    switch (ws->opcode) {

    case MDVR_WS_CONTINUATION:
        return ws->within ? MDVR_OK : MDVR_E_SYNTAX;

    case MDVR_WS_TEXT:
    case MDVR_WS_BINARY:
        if (ws->within) {
            return MDVR_E_SYNTAX;
        }

        ws->within = ws->opcode;
        ws->packed = (c & MDVR_WS_RSV1) != 0;
        ws->message = 0;
        ws->utf8_need = 0;
        return MDVR_OK;

    case MDVR_WS_CLOSE:
    case MDVR_WS_PING:
    case MDVR_WS_PONG:
        return ws->fin ? MDVR_OK : MDVR_E_SYNTAX;

    default:
        return MDVR_E_SYNTAX;
    }
}

/* The length is complete: mask or payload comes next. */

static mdvr_rc_t
length_known(mdvr_ws_t *ws)
{
    if (ws->opcode < MDVR_WS_CLOSE && ws->length > ws->limit - ws->message) {
        return MDVR_E_LIMIT;
    }

    ws->seen = 0;
    ws->need = 4;
    ws->state = ws->server ? sw_mask : sw_payload;

    return MDVR_OK;
}

/*
 * Takes payload: true when there is an event, that is for any piece of data
 * and for the end of a control frame.
 */

static mdvr_rc_t
payload(mdvr_ws_t *ws, uint8_t *p, size_t len, size_t *used,
    mdvr_ws_event_t *ev)
{
    bool    end;
    size_t  n;

    n = ws->length - ws->seen < len ? (size_t) (ws->length - ws->seen) : len;

    if (ws->server) {
        mdvr_ws_mask(p, n, ws->mask, ws->seen);
    }

    end = ws->seen + n == ws->length;
    *used = n;

    if (ws->opcode >= MDVR_WS_CLOSE) {
        memcpy(ws->control + ws->seen, p, n);
        ws->seen += n;

        if (!end) {
            return MDVR_AGAIN;
        }

        ws->state = sw_first;
        ev->opcode = (mdvr_ws_opcode_e) ws->opcode;
        ev->data = mdvr_str(ws->control, (size_t) ws->length);
        ev->last = true;
        ev->packed = false;
        return MDVR_OK;
    }

    ws->seen += n;
    ws->message += n;

    if (ws->within == MDVR_WS_TEXT && !ws->packed
        && (!utf8_step(&ws->utf8_need, &ws->utf8_low, &ws->utf8_high, p, n)
            || (end && ws->fin && ws->utf8_need)))
    {
        return MDVR_E_INVALID;
    }

    ev->opcode = (mdvr_ws_opcode_e) ws->within;
    ev->data = mdvr_str(p, n);
    ev->last = end && ws->fin;
    ev->packed = ws->packed;

    if (end) {
        ws->state = sw_first;

        if (ws->fin) {
            ws->within = 0;
        }
    }

    return n || ev->last ? MDVR_OK : MDVR_AGAIN;
}

mdvr_rc_t
mdvr_ws_parse(mdvr_ws_t *ws, uint8_t *p, size_t len, size_t *used,
    mdvr_ws_event_t *ev)
{
    size_t     i, n;
    uint8_t    c;
    mdvr_rc_t  rc;

    for (i = 0; i < len || (ws->state == sw_payload && ws->length == 0); ) {

        if (ws->state == sw_payload) {
            rc = payload(ws, p + i, len - i, &n, ev);
            i += n;

            if (rc != MDVR_AGAIN) {
                *used = i;
                return rc;
            }

            continue;
        }

        c = p[i++];
        rc = MDVR_OK;

        switch (ws->state) {

        case sw_first:
            rc = first_byte(ws, c);
            ws->state = sw_second;
            break;

        case sw_second:
            if (!!(c & 0x80) != !!ws->server) {
                rc = MDVR_E_SYNTAX;
                break;
            }

            c &= 0x7f;

            if (ws->opcode >= MDVR_WS_CLOSE && c > MDVR_WS_CONTROL_MAX) {
                rc = MDVR_E_SYNTAX;
                break;
            }

            if (c < 126) {
                ws->length = c;
                rc = length_known(ws);
                break;
            }

            ws->length = 0;
            ws->need = c == 126 ? 2 : 8;
            ws->seen = ws->need;            /* which form it is */
            ws->state = sw_length;
            break;

        case sw_length:
            ws->length = ws->length << 8 | c;

            if (--ws->need) {
                break;
            }

            if (ws->length < (ws->seen == 2 ? 126 : 65536)
                || ws->length >> 63)
            {
                rc = MDVR_E_SYNTAX;
                break;
            }

            rc = length_known(ws);
            break;

        case sw_mask:
            ws->mask[4 - ws->need] = c;

            if (--ws->need == 0) {
                ws->state = sw_payload;
            }

            break;
        }

        if (rc != MDVR_OK) {
            *used = i;
            return rc;
        }
    }

    *used = i;

    return MDVR_AGAIN;
}

mdvr_rc_t
mdvr_ws_close_read(mdvr_str_t data, unsigned *code, mdvr_str_t *reason)
{
    unsigned  n;

    *code = 1005;
    *reason = mdvr_str(NULL, 0);

    if (data.len == 0) {
        return MDVR_OK;
    }

    if (data.len == 1) {
        return MDVR_E_SYNTAX;
    }

    n = (unsigned) data.p[0] << 8 | data.p[1];

    /* 1004 to 1006 and 1015 never travel (RFC 6455, 7.4; IANA registry) */

    if (n < 1000 || (n > 1003 && n < 1007) || (n > 1014 && n < 3000)
        || n > 4999)
    {
        return MDVR_E_SYNTAX;
    }

    *reason = mdvr_str(data.p + 2, data.len - 2);

    if (!mdvr_ws_utf8(*reason)) {
        return MDVR_E_INVALID;
    }

    *code = n;

    return MDVR_OK;
}
