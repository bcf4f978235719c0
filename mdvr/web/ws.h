/*
 * WebSocket frames, RFC 6455, section 5.
 *
 *   0  FIN 1 bit, RSV 3 bits (RSV1: deflated, else 0), opcode 4 bits
 *   1  MASK 1 bit, length 7 bits: 0..125, or 126: two more bytes, or 127:
 *      eight more, big-endian, always the shortest form
 *   .  mask, 4 bytes, if MASK: clients mask, servers do not
 *   .  payload
 *
 * The parser is incremental: it may be fed any split of the stream, unmasks in
 * the caller's buffer, hands out views into it, and keeps only a control
 * frame's payload (125 bytes).  Text is checked to be UTF-8 as it passes,
 * over fragments too, unless it is deflated.
 */

#ifndef MDVR_WEB_WS_H
#define MDVR_WEB_WS_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

#define MDVR_WS_CONTROL_MAX  125
#define MDVR_WS_HEADER_MAX   14
#define MDVR_WS_RSV1         0x40   /* of the first byte: a deflated message */

typedef enum {
    MDVR_WS_CONTINUATION = 0,
    MDVR_WS_TEXT = 1,
    MDVR_WS_BINARY = 2,
    MDVR_WS_CLOSE = 8,
    MDVR_WS_PING = 9,
    MDVR_WS_PONG = 10
} mdvr_ws_opcode_e;

/* zeros, then mdvr_ws_init() */
typedef struct {
    uint64_t  length;           /* of the current frame's payload */
    uint64_t  seen;             /* of it */
    uint64_t  message;          /* bytes of the current message so far */
    uint64_t  limit;
    uint8_t   state;
    uint8_t   need;             /* length bytes still to come */
    uint8_t   fin;
    uint8_t   opcode;
    uint8_t   within;           /* opcode of an unfinished message, or 0 */
    uint8_t   deflate;          /* set after init: RSV1 was agreed on */
    uint8_t   packed;           /* the current message has it */
    uint8_t   server;
    uint8_t   utf8_need;
    uint8_t   utf8_low;         /* bounds of the next byte */
    uint8_t   utf8_high;
    uint8_t   mask[4];
    uint8_t   control[MDVR_WS_CONTROL_MAX];
} mdvr_ws_t;

typedef struct {
    mdvr_ws_opcode_e  opcode;   /* TEXT, BINARY, CLOSE, PING or PONG */
    mdvr_str_t        data;     /* a piece of a message, or a whole control
                                   payload (until the next call) */
    bool              last;     /* the message, or the control frame, ends */
    bool              packed;   /* the message is deflated (RFC 7692) */
} mdvr_ws_event_t;

/*
 * `server`: the peer is a client and has to mask; else it must not.  `limit`
 * is the largest message in bytes.
 */
void mdvr_ws_init(mdvr_ws_t *ws, bool server, uint64_t limit);

/*
 * Reads from p[0..len), which it changes in place; *used tells how much.
 *
 * MDVR_OK: *ev is filled, call again with the rest.  MDVR_AGAIN: everything
 * was used and there is nothing to say yet.  An empty last piece is possible.
 * MDVR_E_SYNTAX (close with 1002), MDVR_E_INVALID (1007, not UTF-8),
 * MDVR_E_LIMIT (1009): the stream is over, do not call again.
 */
mdvr_rc_t mdvr_ws_parse(mdvr_ws_t *ws, uint8_t *p, size_t len, size_t *used,
    mdvr_ws_event_t *ev);

/*
 * Reads a close frame's payload: empty (1005, "no status"), or a code that may
 * appear on the wire and a UTF-8 reason.  MDVR_E_SYNTAX, MDVR_E_INVALID.
 */
mdvr_rc_t mdvr_ws_close_read(mdvr_str_t payload, unsigned *code,
    mdvr_str_t *reason);

/*
 * Writes a frame header for `len` bytes of payload, MDVR_WS_HEADER_MAX bytes
 * at most; returns its length.  `mask` NULL: not masked.
 */
size_t mdvr_ws_header(uint8_t *p, mdvr_ws_opcode_e opcode, bool fin,
    uint64_t len, const uint8_t mask[4]);

/* Masks or unmasks in place; `offset` is the position within the payload. */
void mdvr_ws_mask(uint8_t *p, size_t len, const uint8_t mask[4],
    uint64_t offset);

/* Whether the bytes are UTF-8 (no surrogates, no overlong forms). */
bool mdvr_ws_utf8(mdvr_str_t s);

#endif /* MDVR_WEB_WS_H */
