/*
 * Device text to UTF-8 and back.  The encoding is guessed once for a whole
 * text, never in the middle of it.
 */

#include "mdvr/dc/text.h"
#include "mdvr/dc/text_table.h"

#define MDVR_REPLACEMENT  0xfffd


uint32_t
mdvr_utf8_next(const uint8_t **pos, const uint8_t *last)
{
    size_t          n, i;
    uint32_t        c, min;
    const uint8_t  *p;

    p = *pos;
    *pos = p + 1;

    if (p[0] < 0x80) {
        return p[0];
    }

    if ((p[0] & 0xe0) == 0xc0) {
        n = 2;
        min = 0x80;

    } else if ((p[0] & 0xf0) == 0xe0) {
        n = 3;
        min = 0x800;

    } else if ((p[0] & 0xf8) == 0xf0) {
        n = 4;
        min = 0x10000;

    } else {
        return MDVR_REPLACEMENT;
    }

    if ((size_t) (last - p) < n) {
        return MDVR_REPLACEMENT;
    }

    c = p[0] & (0x7fU >> n);

    for (i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return MDVR_REPLACEMENT;
        }

        c = c << 6 | (p[i] & 0x3f);
    }

    if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return MDVR_REPLACEMENT;
    }

    *pos = p + n;

    return c;
}


bool
mdvr_utf8_valid(mdvr_str_t s)
{
    uint32_t        c;
    const uint8_t  *p, *start, *last;

    p = s.p;
    last = s.p + s.len;

    while (p < last) {

        if (*p < 0x80) {
            p++;
            continue;
        }

        start = p;
        c = mdvr_utf8_next(&p, last);

        if (c == MDVR_REPLACEMENT && p - start == 1) {
            return false;
        }
    }

    return true;
}


static size_t
mdvr_utf8_bytes(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t) c;
        return 1;
    }

    if (c < 0x800) {
        out[0] = (uint8_t) (0xc0 | c >> 6);
        out[1] = (uint8_t) (0x80 | (c & 0x3f));
        return 2;
    }

    if (c < 0x10000) {
        out[0] = (uint8_t) (0xe0 | c >> 12);
        out[1] = (uint8_t) (0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t) (0x80 | (c & 0x3f));
        return 3;
    }

    out[0] = (uint8_t) (0xf0 | c >> 18);
    out[1] = (uint8_t) (0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t) (0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t) (0x80 | (c & 0x3f));

    return 4;
}


void
mdvr_utf8_put(mdvr_buf_t *b, uint32_t c)
{
    uint8_t  tmp[4];

    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        c = MDVR_REPLACEMENT;
    }

    mdvr_buf_add(b, tmp, mdvr_utf8_bytes(c, tmp));
}


mdvr_text_e
mdvr_text_detect(mdvr_str_t s)
{
    size_t  i;

    if (s.len >= 2 && s.len % 2 == 0) {

        for (i = 1; i < s.len && s.p[i] == 0 && s.p[i - 1] != 0; i += 2) {
            /* void */
        }

        if (i > s.len) {
            return MDVR_TEXT_UTF16LE;
        }
    }

    return mdvr_utf8_valid(s) ? MDVR_TEXT_UTF8 : MDVR_TEXT_GB18030;
}


static uint32_t
mdvr_gb_linear(uint32_t linear)
{
    int                   lo, hi, mid;
    const mdvr_gb_run_t  *run;

    if (linear >= 189000) {
        linear -= 189000;
        return linear <= 0xfffff ? 0x10000 + linear : MDVR_REPLACEMENT;
    }

    lo = 0;
    hi = MDVR_GB_FOUR - 1;

    while (lo <= hi) {
        mid = (lo + hi) / 2;
        run = &mdvr_gb_four[mid];

        if (linear < run->linear) {
            hi = mid - 1;

        } else if (linear >= (uint32_t) run->linear + run->length) {
            lo = mid + 1;

        } else {
            return run->code + (linear - run->linear);
        }
    }

    return MDVR_REPLACEMENT;
}


static uint32_t
mdvr_gb_next(const uint8_t **pos, const uint8_t *last)
{
    size_t          i;
    uint32_t        c;
    const uint8_t  *p;

    p = *pos;
    *pos = p + 1;

    if (p[0] < 0x80) {
        return p[0];
    }

    if (p[0] == 0x80 || p[0] == 0xff || last - p < 2) {
        return MDVR_REPLACEMENT;
    }

    if (p[1] >= 0x40 && p[1] != 0x7f && p[1] != 0xff) {
        *pos = p + 2;
        i = (size_t) (p[0] - 0x81) * 190
            + (size_t) (p[1] - (p[1] < 0x7f ? 0x40 : 0x41));
        c = mdvr_gb_two[i];

        return c ? c : MDVR_REPLACEMENT;
    }

    if (p[1] >= '0' && p[1] <= '9' && last - p >= 4
        && p[2] >= 0x81 && p[2] <= 0xfe && p[3] >= '0' && p[3] <= '9')
    {
        *pos = p + 4;

        return mdvr_gb_linear((((uint32_t) (p[0] - 0x81) * 10
                                + (uint32_t) (p[1] - '0')) * 126
                               + (uint32_t) (p[2] - 0x81)) * 10
                              + (uint32_t) (p[3] - '0'));
    }

    return MDVR_REPLACEMENT;
}


static uint32_t
mdvr_utf16_next(const uint8_t **pos, const uint8_t *last)
{
    uint32_t        c, d;
    const uint8_t  *p;

    p = *pos;

    if (last - p < 2) {
        *pos = last;
        return MDVR_REPLACEMENT;
    }

    *pos = p + 2;
    c = p[0] | (uint32_t) p[1] << 8;

    if (c < 0xd800 || c > 0xdfff) {
        return c;
    }

    if (c < 0xdc00 && last - p >= 4) {
        d = p[2] | (uint32_t) p[3] << 8;

        if (d >= 0xdc00 && d <= 0xdfff) {
            *pos = p + 4;
            return 0x10000 + ((c - 0xd800) << 10) + (d - 0xdc00);
        }
    }

    return MDVR_REPLACEMENT;
}


mdvr_text_e
mdvr_text_decode(mdvr_buf_t *out, mdvr_str_t in, size_t max)
{
    size_t          n, used;
    uint8_t         tmp[4];
    uint32_t        c;
    mdvr_text_e     encoding;
    const uint8_t  *p, *last;

    encoding = mdvr_text_detect(in);
    p = in.p;
    last = in.p + in.len;
    used = 0;

    while (p < last) {

        switch (encoding) {
        case MDVR_TEXT_UTF8:
            c = mdvr_utf8_next(&p, last);
            break;
        case MDVR_TEXT_UTF16LE:
            c = mdvr_utf16_next(&p, last);
            break;
        default:
            c = mdvr_gb_next(&p, last);
        }

        if (c < 0x20 || (c >= 0x7f && c < 0xa0)) {
            continue;
        }

        n = mdvr_utf8_bytes(c, tmp);

        if (used + n > max) {
            break;
        }

        used += n;
        mdvr_buf_add(out, tmp, n);
    }

    return encoding;
}


/* the GB18030 bytes of a character above 0x7f; 0: none */
static size_t
mdvr_gb_bytes(uint32_t c, uint8_t out[4])
{
    int                   lo, hi, mid;
    size_t                i, k;
    uint32_t              linear, hit;
    const mdvr_gb_run_t  *run;

    if (c < 0x10000) {

        /* blocks of 70 compare without a branch: the compiler makes vector
         * code of it, and 23940 = 70 * 342 */

        for (i = 0; i < MDVR_GB_TWO; i += 70) {

            for (k = 0, hit = 0; k < 70; k++) {
                hit |= mdvr_gb_two[i + k] == c;
            }

            if (hit) {
                for (k = i; mdvr_gb_two[k] != c; k++) { /* void */ }

                out[0] = (uint8_t) (0x81 + k / 190);
                k %= 190;
                out[1] = (uint8_t) (k < 63 ? 0x40 + k : 0x41 + k);
                return 2;
            }
        }

        lo = 0;
        hi = MDVR_GB_FOUR - 1;
        linear = UINT32_MAX;

        /* the code points of the runs ascend, too */

        while (lo <= hi && linear == UINT32_MAX) {
            mid = (lo + hi) / 2;
            run = &mdvr_gb_four[mid];

            if (c < run->code) {
                hi = mid - 1;

            } else if (c >= (uint32_t) run->code + run->length) {
                lo = mid + 1;

            } else {
                linear = run->linear + (c - run->code);
            }
        }

        if (linear == UINT32_MAX) {
            return 0;
        }

    } else {
        linear = 189000 + (c - 0x10000);
    }

    out[3] = (uint8_t) ('0' + linear % 10);
    linear /= 10;
    out[2] = (uint8_t) (0x81 + linear % 126);
    linear /= 126;
    out[1] = (uint8_t) ('0' + linear % 10);
    out[0] = (uint8_t) (0x81 + linear / 10);

    return 4;
}


void
mdvr_text_encode(mdvr_buf_t *out, mdvr_str_t utf8, mdvr_text_e encoding,
    bool verbatim)
{
    size_t          n;
    uint8_t         tmp[4];
    uint32_t        c;
    const uint8_t  *p, *start, *last;

    p = utf8.p;
    last = utf8.p + utf8.len;

    while (p < last) {
        start = p;
        c = mdvr_utf8_next(&p, last);

        if (c == MDVR_REPLACEMENT && p - start == 1) {
            c = '?';
        }

        if (!verbatim && (c < 0x20 || c == 0x7f || c == ',' || c == '#')) {
            c = ' ';
        }

        if (encoding == MDVR_TEXT_UTF16LE) {

            if (c > 0xffff) {
                c = '?';
            }

            tmp[0] = (uint8_t) c;
            tmp[1] = (uint8_t) (c >> 8);
            n = 2;

        } else if (c < 0x80) {
            tmp[0] = (uint8_t) c;
            n = 1;

        } else if (encoding == MDVR_TEXT_UTF8) {
            n = mdvr_utf8_bytes(c, tmp);

        } else {
            n = mdvr_gb_bytes(c, tmp);

            if (n == 0) {
                tmp[0] = '?';
                n = 1;
            }
        }

        mdvr_buf_add(out, tmp, n);
    }
}


static const char *const mdvr_text_names[] = {
    [MDVR_TEXT_UTF8] = "utf-8",
    [MDVR_TEXT_GB18030] = "gb18030",
    [MDVR_TEXT_UTF16LE] = "utf-16le",
};


const char *
mdvr_text_name(mdvr_text_e encoding)
{
    return mdvr_text_names[encoding <= MDVR_TEXT_UTF16LE
                           ? encoding : MDVR_TEXT_GB18030];
}


mdvr_text_e
mdvr_text_find(mdvr_str_t name)
{
    if (mdvr_str_eqc(name, "utf-8") || mdvr_str_eqc(name, "utf8")) {
        return MDVR_TEXT_UTF8;
    }

    if (mdvr_str_eqc(name, "utf-16le")) {
        return MDVR_TEXT_UTF16LE;
    }

    return MDVR_TEXT_GB18030;
}
