/*
 * JSON out of pieces.  Bytes that are not UTF-8 are replaced here, at the
 * last door, so that no caller can make a document that a reader refuses.
 */

#include <math.h>

#include "mdvr/basics/json.h"


void
mdvr_json_init(mdvr_json_t *j, mdvr_buf_t *buf)
{
    j->buf = buf;
    j->used = 0;
    j->level = 0;
}


static void
mdvr_json_member(mdvr_json_t *j, const char *key)
{
    uint64_t  bit;

    bit = 1ULL << (j->level & 63);

    if (j->used & bit) {
        mdvr_buf_chr(j->buf, ',');
    }

    j->used |= bit;

    if (key) {
        mdvr_buf_chr(j->buf, '"');
        mdvr_buf_cstr(j->buf, key);
        mdvr_buf_add(j->buf, "\":", 2);
    }
}


static void
mdvr_json_open(mdvr_json_t *j, const char *key, uint8_t bracket)
{
    mdvr_json_member(j, key);
    mdvr_buf_chr(j->buf, bracket);
    j->level++;
    j->used &= ~(1ULL << (j->level & 63));
}


void
mdvr_json_object(mdvr_json_t *j, const char *key)
{
    mdvr_json_open(j, key, '{');
}


void
mdvr_json_object_end(mdvr_json_t *j)
{
    j->level--;
    mdvr_buf_chr(j->buf, '}');
}


void
mdvr_json_array(mdvr_json_t *j, const char *key)
{
    mdvr_json_open(j, key, '[');
}


void
mdvr_json_array_end(mdvr_json_t *j)
{
    j->level--;
    mdvr_buf_chr(j->buf, ']');
}


/* bytes of the UTF-8 character at p, 0 when it is broken */
static size_t
mdvr_json_utf8(const uint8_t *p, const uint8_t *last)
{
    size_t    n, i;
    uint32_t  c;

    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        n = 2;

    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        n = 3;

    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        n = 4;

    } else {
        return 0;
    }

    if ((size_t) (last - p) < n) {
        return 0;
    }

    c = p[0] & (0x7f >> n);

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = c << 6 | (p[i] & 0x3f);
    }

    if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c <= 0xdfff)))
        || (n == 4 && (c < 0x10000 || c > 0x10ffff)))
    {
        return 0;
    }

    return n;
}


void
mdvr_json_escape(mdvr_buf_t *b, mdvr_str_t s)
{
    size_t          n;
    const uint8_t  *p, *last, *run;

    p = s.p;
    last = s.p + s.len;

    for (run = p; p < last; /* void */) {

        if (*p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\') {
            p++;
            continue;
        }

        if (*p >= 0x80 && (n = mdvr_json_utf8(p, last)) != 0) {
            p += n;
            continue;
        }

        mdvr_buf_add(b, run, (size_t) (p - run));

        switch (*p) {
        case '"':
            mdvr_buf_add(b, "\\\"", 2);
            break;
        case '\\':
            mdvr_buf_add(b, "\\\\", 2);
            break;
        case '\n':
            mdvr_buf_add(b, "\\n", 2);
            break;
        case '\r':
            mdvr_buf_add(b, "\\r", 2);
            break;
        case '\t':
            mdvr_buf_add(b, "\\t", 2);
            break;
        default:
            if (*p >= 0x80) {
                mdvr_buf_add(b, "\xef\xbf\xbd", 3);

            } else {
                mdvr_buf_add(b, "\\u00", 4);
                mdvr_buf_hex(b, *p, 2, false);
            }
        }

        run = ++p;
    }

    mdvr_buf_add(b, run, (size_t) (p - run));
}


void
mdvr_json_str(mdvr_json_t *j, const char *key, mdvr_str_t value)
{
    mdvr_json_member(j, key);
    mdvr_buf_chr(j->buf, '"');

    if (value.len) {
        mdvr_json_escape(j->buf, value);
    }

    mdvr_buf_chr(j->buf, '"');
}


void
mdvr_json_cstr(mdvr_json_t *j, const char *key, const char *value)
{
    if (value == NULL) {
        mdvr_json_null(j, key);
        return;
    }

    mdvr_json_str(j, key, mdvr_cstr(value));
}


void
mdvr_json_i64(mdvr_json_t *j, const char *key, int64_t value)
{
    mdvr_json_member(j, key);
    mdvr_buf_i64(j->buf, value);
}


void
mdvr_json_u64(mdvr_json_t *j, const char *key, uint64_t value)
{
    mdvr_json_member(j, key);
    mdvr_buf_u64(j->buf, value);
}


void
mdvr_json_bool(mdvr_json_t *j, const char *key, bool value)
{
    mdvr_json_member(j, key);
    mdvr_buf_cstr(j->buf, value ? "true" : "false");
}


void
mdvr_json_null(mdvr_json_t *j, const char *key)
{
    mdvr_json_member(j, key);
    mdvr_buf_add(j->buf, "null", 4);
}


void
mdvr_json_dec(mdvr_json_t *j, const char *key, double value, unsigned places)
{
    if (!isfinite(value)) {
        mdvr_json_null(j, key);
        return;
    }

    mdvr_json_member(j, key);
    mdvr_buf_dec(j->buf, value, places);
}


void
mdvr_json_raw(mdvr_json_t *j, const char *key, mdvr_str_t value)
{
    mdvr_json_member(j, key);
    mdvr_buf_str(j->buf, value);
}
