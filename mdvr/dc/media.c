/*
 * The envelope of the media port.  A length is looked at before any byte of
 * the payload is waited for; what is not plausible is an incident, and after
 * an incident only a header with a known type and a fitting length counts.
 */

#include "mdvr/basics/bytes.h"
#include "mdvr/dc/media.h"
#include "mdvr/dc/register.h"

#define MDVR_LEGACY_HEAD     20     /* mark, length, type, number, time */
#define MDVR_LEGACY_TRAILER  4


bool
mdvr_media_type_known(unsigned type)
{
    switch (type) {
#define MDVR_MEDIA_CASE(name, type, words)  case type:
    MDVR_MEDIA_TYPE_LIST(MDVR_MEDIA_CASE)
#undef MDVR_MEDIA_CASE
        return true;
    default:
        return false;
    }
}


const char *
mdvr_media_type_words(unsigned type)
{
    switch (type) {
#define MDVR_MEDIA_CASE(name, type, words)  case type: return words;
    MDVR_MEDIA_TYPE_LIST(MDVR_MEDIA_CASE)
#undef MDVR_MEDIA_CASE
    default:
        return "unknown";
    }
}


uint32_t
mdvr_media_limit(const mdvr_media_limits_t *limits, unsigned type)
{
    switch (type) {
    case MDVR_MEDIA_IFRAME:
    case MDVR_MEDIA_PFRAME:
    case MDVR_MEDIA_VIDEO_OLD:
        return limits && limits->video ? limits->video
                                       : MDVR_MEDIA_VIDEO_MAX;
    case MDVR_MEDIA_BLOCK:
    case MDVR_MEDIA_SNAPSHOT:
    case MDVR_MEDIA_CONFIG_UP:
    case MDVR_MEDIA_CONFIG_DOWN:
        return limits && limits->block ? limits->block
                                       : MDVR_MEDIA_BLOCK_MAX;
    case MDVR_MEDIA_SEARCH:
        return MDVR_MEDIA_SEARCH_MAX;
    default:
        return MDVR_MEDIA_OTHER_MAX;
    }
}


/* do the bytes from p equal (or continue to be able to equal) `mark`? */
static bool
mdvr_media_begins(const uint8_t *p, const uint8_t *last, const char *mark,
    size_t len)
{
    size_t  have;

    have = (size_t) (last - p);

    return memcmp(p, mark, have < len ? have : len) == 0;
}


mdvr_media_first_e
mdvr_media_first(const uint8_t *p, const uint8_t *last)
{
    size_t  have;

    have = (size_t) (last - p);

    if (mdvr_media_begins(p, last, "@@$$dc", 6)) {
        return have < 6 ? MDVR_MEDIA_FIRST_MORE : MDVR_MEDIA_FIRST_TEXT;
    }

    if (mdvr_media_begins(p, last, "$$dc", 4)) {
        return have < 4 ? MDVR_MEDIA_FIRST_MORE : MDVR_MEDIA_FIRST_LEGACY;
    }

    if (mdvr_media_begins(p, last, "$$$$$$dc", 8)) {
        return have < 8 ? MDVR_MEDIA_FIRST_MORE : MDVR_MEDIA_FIRST_LEGACY;
    }

    if (mdvr_media_begins(p, last, "@@", 2)) {

        if (have < 4) {
            return MDVR_MEDIA_FIRST_MORE;
        }

        if (p[3] >= 0x60 && p[3] <= 0x66) {
            return MDVR_MEDIA_FIRST_BINARY;
        }
    }

    return MDVR_MEDIA_FIRST_JUNK;
}


mdvr_rc_t
mdvr_media_header(const uint8_t *p, const uint8_t *last,
    const mdvr_media_limits_t *limits, unsigned *type, uint32_t *length)
{
    size_t  have;

    have = (size_t) (last - p);

    if ((have > 0 && p[0] != '@') || (have > 1 && p[1] != '@')
        || (have > 3 && (p[3] < 0x60 || p[3] > 0x66)))
    {
        return MDVR_E_SYNTAX;
    }

    if (have < MDVR_MEDIA_HEADER) {
        return MDVR_AGAIN;
    }

    *type = mdvr_le16(p + 2);
    *length = mdvr_le32(p + 4);

    return *length > mdvr_media_limit(limits, *type) ? MDVR_E_LIMIT
                                                     : MDVR_OK;
}


static mdvr_rc_t
mdvr_media_incident(mdvr_media_parser_t *parser)
{
    parser->incidents++;
    parser->scanning = true;
    parser->lost = true;
    parser->skipped = 0;

    return parser->incidents >= MDVR_MEDIA_INCIDENTS ? MDVR_E_SYNTAX
                                                     : MDVR_OK;
}


/* moves *pos to the next plausible header, or to bytes that may become one */
static mdvr_rc_t
mdvr_media_scan(mdvr_media_parser_t *parser, const uint8_t **pos,
    const uint8_t *last)
{
    size_t          n;
    unsigned        type;
    uint32_t        length;
    mdvr_rc_t       rc;
    const uint8_t  *p, *start;

    start = *pos;

    /* the byte at the incident itself is not plausible */

    for (p = start + (parser->skipped == 0); p < last; p++) {

        p = memchr(p, parser->legacy ? '$' : '@', (size_t) (last - p));

        if (p == NULL) {
            p = last;
            break;
        }

        if (parser->legacy) {

            if (mdvr_media_begins(p, last, "$$$$$$dc", 8)) {
                parser->scanning = last - p < 8;
                break;
            }

            continue;
        }

        rc = mdvr_media_header(p, last, &parser->limits, &type, &length);

        if (rc == MDVR_AGAIN) {
            break;
        }

        if (rc == MDVR_OK && mdvr_media_type_known(type)) {
            parser->scanning = false;
            break;
        }
    }

    if (p > last) {
        p = last;
    }

    n = (size_t) (p - start);
    *pos = p;
    parser->skipped += (uint32_t) n;
    parser->skipped_total += n;

    if (parser->skipped > MDVR_MEDIA_SCAN_MAX) {
        return MDVR_E_SYNTAX;
    }

    return parser->scanning ? MDVR_AGAIN : MDVR_OK;
}


static void
mdvr_media_deliver(mdvr_media_parser_t *parser, mdvr_media_msg_t *msg)
{
    msg->resynced = parser->lost;
    msg->legacy = parser->legacy;
    parser->lost = false;
    parser->need = 0;
}


static mdvr_rc_t
mdvr_media_text(mdvr_media_parser_t *parser, const uint8_t **pos,
    const uint8_t *last, size_t mark, mdvr_media_msg_t *msg)
{
    mdvr_rc_t       rc;
    const uint8_t  *p;

    p = *pos + mark;
    rc = mdvr_frame_next(&parser->frame, &p, last, &msg->frame);

    if (rc != MDVR_OK) {
        return rc;
    }

    msg->text = true;
    msg->type = 0;
    msg->payload = msg->frame.content;
    msg->wire = mdvr_str(*pos, (size_t) (p - *pos));

    *pos = p;
    parser->started = true;
    mdvr_media_deliver(parser, msg);

    return MDVR_OK;
}


static mdvr_rc_t
mdvr_media_binary(mdvr_media_parser_t *parser, const uint8_t **pos,
    const uint8_t *last, mdvr_media_msg_t *msg)
{
    unsigned        type;
    uint32_t        length;
    mdvr_rc_t       rc;
    const uint8_t  *p;

    p = *pos;

    if (mdvr_media_begins(p, last, "@@$$dc", 6)) {
        return last - p < 6 ? MDVR_AGAIN
                            : mdvr_media_text(parser, pos, last, 2, msg);
    }

    rc = mdvr_media_header(p, last, &parser->limits, &type, &length);

    if (rc == MDVR_AGAIN) {
        parser->need = MDVR_MEDIA_HEADER;
        return rc;
    }

    if (rc != MDVR_OK) {
        return rc;
    }

    if ((size_t) (last - p) < MDVR_MEDIA_HEADER + (size_t) length) {
        parser->need = MDVR_MEDIA_HEADER + (size_t) length;
        return MDVR_AGAIN;
    }

    msg->text = false;
    msg->type = type;
    msg->payload = mdvr_str(p + MDVR_MEDIA_HEADER, length);
    msg->wire = mdvr_str(p, MDVR_MEDIA_HEADER + (size_t) length);

    *pos = p + MDVR_MEDIA_HEADER + length;
    mdvr_media_deliver(parser, msg);

    return MDVR_OK;
}


static mdvr_rc_t
mdvr_media_legacy(mdvr_media_parser_t *parser, const uint8_t **pos,
    const uint8_t *last, mdvr_media_msg_t *msg)
{
    size_t          have, total;
    unsigned        type;
    uint32_t        length;
    const uint8_t  *p;

    p = *pos;
    have = (size_t) (last - p);

    if (mdvr_media_begins(p, last, "$$dc", 4) && have >= 4) {
        return mdvr_media_text(parser, pos, last, 0, msg);
    }

    if (!mdvr_media_begins(p, last, "$$$$$$dc", 8)) {
        return have < 4 && mdvr_media_begins(p, last, "$$dc", 4)
               ? MDVR_AGAIN : MDVR_E_SYNTAX;
    }

    if (have < MDVR_LEGACY_HEAD) {
        parser->need = MDVR_LEGACY_HEAD;
        return MDVR_AGAIN;
    }

    length = mdvr_le32(p + 8);
    type = mdvr_le16(p + 12);

    if (length < 8
        || length - 8 > mdvr_media_limit(&parser->limits, type))
    {
        return MDVR_E_SYNTAX;
    }

    total = 12 + (size_t) length + MDVR_LEGACY_TRAILER;

    if (have < total) {
        parser->need = total;
        return MDVR_AGAIN;
    }

    if (memcmp(p + total - MDVR_LEGACY_TRAILER, "####", 4) != 0) {
        return MDVR_E_SYNTAX;
    }

    msg->text = false;
    msg->type = type;
    msg->payload = mdvr_str(p + MDVR_LEGACY_HEAD, length - 8);
    msg->wire = mdvr_str(p, total);

    *pos = p + total;
    mdvr_media_deliver(parser, msg);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_media_next(mdvr_media_parser_t *parser, const uint8_t **pos,
    const uint8_t *last, mdvr_media_msg_t *msg)
{
    mdvr_rc_t  rc;

    parser->need = 0;

    if (!parser->started) {

        switch (mdvr_media_first(*pos, last)) {

        case MDVR_MEDIA_FIRST_MORE:
            return MDVR_AGAIN;

        case MDVR_MEDIA_FIRST_TEXT:
            return mdvr_media_text(parser, pos, last, 2, msg);

        case MDVR_MEDIA_FIRST_LEGACY:
            if ((*pos)[2] == '$') {
                return MDVR_E_LEGACY;
            }

            parser->legacy = true;
            return mdvr_media_text(parser, pos, last, 0, msg);

        default:
            return MDVR_E_SYNTAX;
        }
    }

    for ( ;; ) {

        if (*pos == last) {
            return MDVR_AGAIN;
        }

        if (parser->scanning) {
            rc = mdvr_media_scan(parser, pos, last);

            if (rc != MDVR_OK) {
                return rc;
            }
        }

        rc = parser->legacy ? mdvr_media_legacy(parser, pos, last, msg)
                            : mdvr_media_binary(parser, pos, last, msg);

        /* a well-formed header that asks for too much is no accident */

        if (rc == MDVR_OK || rc == MDVR_AGAIN || rc == MDVR_E_LIMIT) {
            return rc;
        }

        rc = mdvr_media_incident(parser);

        if (rc != MDVR_OK) {
            return rc;
        }
    }
}


mdvr_rc_t
mdvr_media_idle(mdvr_media_parser_t *parser, const uint8_t **pos,
    const uint8_t *last, mdvr_media_msg_t *msg)
{
    size_t          mark;
    mdvr_rc_t       rc;
    const uint8_t  *p;

    if (parser->started) {
        return MDVR_AGAIN;
    }

    mark = mdvr_media_first(*pos, last) == MDVR_MEDIA_FIRST_TEXT ? 2 : 0;
    p = *pos + mark;

    if (last - p < 4) {
        return MDVR_AGAIN;
    }

    rc = mdvr_frame_idle(&parser->frame, &p, last, &msg->frame);

    if (rc != MDVR_OK) {
        return rc;
    }

    msg->text = true;
    msg->type = 0;
    msg->payload = msg->frame.content;
    msg->wire = mdvr_str(*pos, (size_t) (p - *pos));

    *pos = p;
    parser->started = true;
    parser->legacy = mark == 0;
    mdvr_media_deliver(parser, msg);

    return MDVR_OK;
}


bool
mdvr_session_together(int a, int b)
{
    int  t;

    if (a > b) {
        t = a;
        a = b;
        b = t;
    }

    if (a == MDVR_SESSION_UPGRADE || b == MDVR_SESSION_UPGRADE) {
        return false;
    }

    /* what is sent to the device as a file shares the file transfer */

    if (b == MDVR_SESSION_PUSH || b == MDVR_SESSION_FETCH) {
        b = MDVR_SESSION_FILE;
    }

    if (a == MDVR_SESSION_PUSH || a == MDVR_SESSION_FETCH) {
        a = MDVR_SESSION_FILE;
    }

    if (a == b) {
        return a != MDVR_SESSION_FILE && a != MDVR_SESSION_AUDIO
               && a != MDVR_SESSION_SNAPSHOT;
    }

    return !((a == MDVR_SESSION_LIVE && b == MDVR_SESSION_FILE)
             || (b == MDVR_SESSION_LIVE && a == MDVR_SESSION_FILE));
}
