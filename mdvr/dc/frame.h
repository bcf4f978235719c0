/*
 * Text framing: "$$dc" + four decimal digits + content + '#'.
 *
 * The length counts the bytes between the digits and the final '#', the
 * leading comma included: the whole message is length + 9 bytes.  Framing
 * goes by length, never by searching for '#'; wrong lengths are repaired by
 * the rules of the protocol reference, framing.md section 3.
 *
 * The parser owns no memory.  The caller keeps the bytes from *pos on until
 * they are consumed, so that a message is a view into the caller's buffer.
 * When messages arrive whole nothing has to be kept between two reads; at
 * most MDVR_FRAME_MAX + 2 bytes ever have to be.
 */

#ifndef MDVR_DC_FRAME_H
#define MDVR_DC_FRAME_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

#define MDVR_FRAME_MAX            10008     /* "$$dc" + 4 + 9999 + '#' */
#define MDVR_FRAME_GARBAGE_MAX    65536     /* bytes without a message */
#define MDVR_FRAME_BLANKS_MAX     64        /* CR, LF, NUL before V101 */
#define MDVR_FRAME_IDLE_MS        5000      /* then mdvr_frame_idle() */
#define MDVR_FRAME_STALE_MS       30000     /* then mdvr_frame_stale() */

typedef enum {
    MDVR_REPAIR_NONE = 0,
    MDVR_REPAIR_SHORT,          /* 4a: sender did not count the comma */
    MDVR_REPAIR_LONG,           /* 4b: sender counted the '#' */
    MDVR_REPAIR_SCAN            /* 4c: '#' in front of the next "$$dc" */
} mdvr_repair_e;

/*
 * All zeros is a valid start: strict, nothing seen.  Set `relaxed` once the
 * peer has proved to be a device (valid V101, media registration, alarm of a
 * known serial).
 */
typedef struct {
    bool      relaxed;
    uint8_t   repairs_seen;     /* bit per mdvr_repair_e, for "once" logs */
    uint16_t  scanned;          /* of the message at *pos: searched so far */
    uint32_t  garbage;          /* discarded since the last message */
    uint32_t  blanks;           /* CR, LF, NUL since the last message */
    uint64_t  garbage_total;
    uint64_t  messages;
} mdvr_frame_t;

typedef struct {
    mdvr_str_t     wire;        /* "$$dc" ... '#' */
    mdvr_str_t     content;     /* between digits and '#', comma included */
    unsigned       declared;    /* the four digits */
    mdvr_repair_e  repair;
    bool           first_repair;    /* first of its kind here: log it */
} mdvr_frame_msg_t;

/*
 * Takes the next message from [*pos, last) and moves *pos past what is
 * consumed.  Call again until the result is not MDVR_OK.
 *
 * MDVR_OK        *msg is a message; its views point into the buffer
 * MDVR_AGAIN     keep [*pos, last) and call again when more has been added
 * MDVR_E_SYNTAX  strict mode only: these bytes cannot be a frame; close
 * MDVR_E_LIMIT   more than 64 KiB of garbage without a message; close
 *
 * Bytes that were kept must be presented again, with the new ones behind
 * them.  f->scanned belongs to the byte at *pos: whoever moves *pos by hand
 * sets it to zero.
 */
mdvr_rc_t mdvr_frame_next(mdvr_frame_t *f, const uint8_t **pos,
    const uint8_t *last, mdvr_frame_msg_t *msg);

/*
 * To be called when [*pos, last) is not empty and the peer has been silent
 * for MDVR_FRAME_IDLE_MS: an incomplete message that ends with '#' is taken
 * as it is (4b at the end of the buffer; 4c when relaxed).
 * MDVR_OK: *msg is a message.  MDVR_AGAIN: nothing to be done yet.
 */
mdvr_rc_t mdvr_frame_idle(mdvr_frame_t *f, const uint8_t **pos,
    const uint8_t *last, mdvr_frame_msg_t *msg);

/*
 * To be called when the same message has been incomplete for
 * MDVR_FRAME_STALE_MS: gives its start up, so that mdvr_frame_next() finds
 * what is behind it.  MDVR_OK: call mdvr_frame_next().  MDVR_E_SYNTAX:
 * strict mode; close.  MDVR_E_LIMIT as above.
 */
mdvr_rc_t mdvr_frame_stale(mdvr_frame_t *f, const uint8_t **pos,
    const uint8_t *last);

#endif /* MDVR_DC_FRAME_H */
