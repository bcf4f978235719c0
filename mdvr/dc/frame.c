/*
 * Framing by length, with the repairs of framing.md section 3.
 *
 * A message is looked at only from its start; while it is incomplete the
 * work per call is constant (the length is read again, f->scanned remembers
 * how far the repair scan has come), so that a sender of single bytes costs
 * no more than one of whole messages.
 */

#include "mdvr/dc/frame.h"

#define MDVR_FRAME_HEAD  8                  /* "$$dc" and four digits */


static bool
mdvr_frame_blank(uint8_t c)
{
    return c == '\r' || c == '\n' || c == '\0';
}


/* do the bytes from p begin (or continue to be able to begin) "$$dc"? */
static bool
mdvr_frame_mark(const uint8_t *p, const uint8_t *last)
{
    size_t  n;

    n = (size_t) (last - p) < 4 ? (size_t) (last - p) : 4;

    return memcmp(p, "$$dc", n) == 0;
}


/* the next whole "$$dc", or NULL */
static const uint8_t *
mdvr_frame_find(const uint8_t *p, const uint8_t *last)
{
    while (last - p >= 4) {
        p = memchr(p, '$', (size_t) (last - p - 3));

        if (p == NULL) {
            return NULL;
        }

        if (memcmp(p, "$$dc", 4) == 0) {
            return p;
        }

        p++;
    }

    return NULL;
}


static mdvr_rc_t
mdvr_frame_discard(mdvr_frame_t *f, const uint8_t **pos, size_t n)
{
    *pos += n;
    f->scanned = 0;
    f->garbage_total += n;
    f->garbage = n > UINT32_MAX - f->garbage ? UINT32_MAX
                                             : f->garbage + (uint32_t) n;

    return f->garbage > MDVR_FRAME_GARBAGE_MAX ? MDVR_E_LIMIT : MDVR_OK;
}


/* moves *pos to "$$dc" or to bytes that may become it */
static mdvr_rc_t
mdvr_frame_seek(mdvr_frame_t *f, const uint8_t **pos, const uint8_t *last)
{
    mdvr_rc_t       rc;
    const uint8_t  *p, *next;

    for ( ;; ) {

        for (p = *pos; p < last && mdvr_frame_blank(*p); p++) {

            if (++f->blanks > MDVR_FRAME_BLANKS_MAX) {

                if (!f->relaxed) {
                    return MDVR_E_SYNTAX;
                }

                *pos = p;

                rc = mdvr_frame_discard(f, pos, 1);

                if (rc != MDVR_OK) {
                    return rc;
                }
            }
        }

        if (p != *pos) {
            *pos = p;
            f->scanned = 0;
        }

        if (p == last) {
            return MDVR_AGAIN;
        }

        if (mdvr_frame_mark(p, last)) {
            return last - p >= 4 ? MDVR_OK : MDVR_AGAIN;
        }

        if (!f->relaxed) {
            return MDVR_E_SYNTAX;
        }

        next = mdvr_frame_find(p, last);

        if (next == NULL) {
            next = last - p > 3 ? last - 3 : p + 1;
        }

        rc = mdvr_frame_discard(f, pos, (size_t) (next - p));

        if (rc != MDVR_OK) {
            return rc;
        }
    }
}


static mdvr_rc_t
mdvr_frame_take(mdvr_frame_t *f, const uint8_t **pos, size_t length,
    mdvr_repair_e repair, mdvr_frame_msg_t *msg)
{
    const uint8_t  *p = *pos;

    msg->wire = mdvr_str(p, MDVR_FRAME_HEAD + length + 1);
    msg->content = mdvr_str(p + MDVR_FRAME_HEAD, length);
    msg->declared = (unsigned) ((p[4] - '0') * 1000 + (p[5] - '0') * 100
                                + (p[6] - '0') * 10 + (p[7] - '0'));
    msg->repair = repair;
    msg->first_repair = repair != MDVR_REPAIR_NONE
                        && !(f->repairs_seen & (1U << repair));

    f->repairs_seen |= (uint8_t) (1U << repair);
    f->scanned = 0;
    f->garbage = 0;
    f->blanks = 0;
    f->messages++;

    *pos = p + MDVR_FRAME_HEAD + length + 1;

    return MDVR_OK;
}


/*
 * Rule 4c: the '#' in front of the next "$$dc" (blanks between the two do
 * not count), or the '#' that ends the buffer, ends the message.
 *
 * MDVR_OK taken, MDVR_AGAIN not decided yet, MDVR_E_SYNTAX does not hold.
 */
static mdvr_rc_t
mdvr_frame_scan(mdvr_frame_t *f, const uint8_t **pos, const uint8_t *last,
    mdvr_frame_msg_t *msg)
{
    unsigned        blanks;
    const uint8_t  *p, *end, *next;

    p = *pos;

    if (f->scanned < MDVR_FRAME_HEAD) {
        f->scanned = MDVR_FRAME_HEAD;
    }

    next = mdvr_frame_find(p + f->scanned, last);
    end = next ? next : last;

    if (next == NULL) {
        f->scanned = last - p > MDVR_FRAME_MAX ? MDVR_FRAME_MAX
                                               : (uint16_t) (last - p);
        if (f->scanned >= MDVR_FRAME_HEAD + 3) {
            f->scanned -= 3;
        }
    }

    for (blanks = 0;
         blanks < MDVR_FRAME_BLANKS_MAX && end > p + MDVR_FRAME_HEAD
         && mdvr_frame_blank(end[-1]);
         blanks++)
    {
        end--;
    }

    if (end > p + MDVR_FRAME_HEAD && end[-1] == '#'
        && end - p <= MDVR_FRAME_MAX)
    {
        return mdvr_frame_take(f, pos,
                               (size_t) (end - p) - MDVR_FRAME_HEAD - 1,
                               MDVR_REPAIR_SCAN, msg);
    }

    return next || last - p > MDVR_FRAME_MAX ? MDVR_E_SYNTAX : MDVR_AGAIN;
}


/* *pos is at "$$dc" */
static mdvr_rc_t
mdvr_frame_message(mdvr_frame_t *f, const uint8_t **pos, const uint8_t *last,
    mdvr_frame_msg_t *msg)
{
    size_t          have, length, i;
    const uint8_t  *p;

    p = *pos;
    have = (size_t) (last - p);

    for (i = 4, length = 0; i < MDVR_FRAME_HEAD; i++) {

        if (i == have) {
            return MDVR_AGAIN;
        }

        if (p[i] < '0' || p[i] > '9') {
            return MDVR_E_SYNTAX;
        }

        length = length * 10 + (size_t) (p[i] - '0');
    }

    if (have < length + 9) {
        return MDVR_AGAIN;
    }

    if (p[8 + length] == '#') {
        return mdvr_frame_take(f, pos, length, MDVR_REPAIR_NONE, msg);
    }

    if (have < length + 10) {
        return MDVR_AGAIN;                      /* 4a wants one more byte */
    }

    if (p[9 + length] == '#') {
        return mdvr_frame_take(f, pos, length + 1, MDVR_REPAIR_SHORT, msg);
    }

    if (length > 0 && p[7 + length] == '#' && p[8 + length] == '$') {
        return mdvr_frame_take(f, pos, length - 1, MDVR_REPAIR_LONG, msg);
    }

    if (!f->relaxed) {
        return MDVR_E_SYNTAX;
    }

    return mdvr_frame_scan(f, pos, last, msg);
}


mdvr_rc_t
mdvr_frame_next(mdvr_frame_t *f, const uint8_t **pos, const uint8_t *last,
    mdvr_frame_msg_t *msg)
{
    mdvr_rc_t  rc;

    for ( ;; ) {
        rc = mdvr_frame_seek(f, pos, last);

        if (rc != MDVR_OK) {
            return rc;
        }

        rc = mdvr_frame_message(f, pos, last, msg);

        if (rc != MDVR_E_SYNTAX || !f->relaxed) {
            return rc;
        }

        rc = mdvr_frame_discard(f, pos, 4);

        if (rc != MDVR_OK) {
            return rc;
        }
    }
}


mdvr_rc_t
mdvr_frame_idle(mdvr_frame_t *f, const uint8_t **pos, const uint8_t *last,
    mdvr_frame_msg_t *msg)
{
    size_t          have, length, i;
    const uint8_t  *p;

    p = *pos;
    have = (size_t) (last - p);

    if (have <= MDVR_FRAME_HEAD || last[-1] != '#'
        || !mdvr_frame_mark(p, last))
    {
        return MDVR_AGAIN;
    }

    for (i = 4, length = 0; i < MDVR_FRAME_HEAD; i++) {

        if (p[i] < '0' || p[i] > '9') {
            return MDVR_AGAIN;
        }

        length = length * 10 + (size_t) (p[i] - '0');
    }

    if (length > 0 && have == length + 8) {
        return mdvr_frame_take(f, pos, length - 1, MDVR_REPAIR_LONG, msg);
    }

    if (!f->relaxed) {
        return MDVR_AGAIN;
    }

    f->scanned = 0;

    return mdvr_frame_scan(f, pos, last, msg) == MDVR_OK ? MDVR_OK
                                                         : MDVR_AGAIN;
}


mdvr_rc_t
mdvr_frame_stale(mdvr_frame_t *f, const uint8_t **pos, const uint8_t *last)
{
    size_t  n;

    if (!f->relaxed) {
        return MDVR_E_SYNTAX;
    }

    n = last - *pos < 4 ? (size_t) (last - *pos) : 4;

    return mdvr_frame_discard(f, pos, n);
}
