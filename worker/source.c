/* What a device recorded, as access units. */

#include <stdlib.h>
#include <string.h>

#include "mdvr/basics/bytes.h"
#include "worker/source.h"

#define WK_HUNT           (1U << 16)    /* where private frames may begin */
#define WK_PRIVATE        16            /* bytes of a private header */
#define WK_FRAME_MAX      (8U << 20)
#define WK_PPS_MAX        64
#define WK_STEP_MAX_US    5000000
#define WK_NOMINAL_US     40000
#define WK_LENGTH_AHEAD   (1U << 20)    /* no unit in a stream is longer */


const char *
wk_form_name(wk_form_e form)
{
    static const char  *names[] = { "none", "private", "annexb", "length",
                                    "mp4" };

    return names[form];
}


/* ---- private frames ---------------------------------------------------- */

static size_t
wk_align(size_t n)
{
    return (n + 15) & ~(size_t) 15;
}


/* Bytes of the frame with its header; 0: here is none.  `exact` frames are
 * not padded. */

static size_t
wk_private_at(wk_source_t *s, size_t pos, bool *padded)
{
    size_t           len, end;
    const uint8_t   *p, *q;

    if (s->file.len < WK_PRIVATE || pos > s->file.len - WK_PRIVATE) {
        s->starved = s->more;
        return 0;
    }

    p = s->file.p + pos;

    if (p[2] != 'd' || p[3] != 'c'
        || !((p[0] == '0' && p[1] >= '0' && p[1] <= '2')
             || (p[0] == '9' && p[1] == '9')))
    {
        return 0;
    }

    len = mdvr_le32(p + 4);

    if (len == 0 || len > WK_FRAME_MAX) {
        return 0;
    }

    if (len > s->file.len - pos - WK_PRIVATE) {
        s->starved = s->more;
        return 0;
    }

    /* is there another one where it should be? */

    for (*padded = true; ; *padded = false) {
        end = pos + WK_PRIVATE + len;
        end = *padded ? wk_align(end) : end;

        if (end + 4 > s->file.len) {
            s->starved = s->more;
            return s->more ? 0 : len + WK_PRIVATE;
        }

        q = s->file.p + end;

        if (q[2] == 'd' && q[3] == 'c') {
            return end - pos;
        }

        if (!*padded) {
            return len + WK_PRIVATE;    /* the last before a padded tail */
        }
    }
}


static bool
wk_private_open(wk_source_t *s)
{
    bool     padded;
    size_t   pos, at, n, hits, last;

    last = s->file.len < WK_HUNT ? s->file.len : WK_HUNT;

    for (pos = 0; pos + WK_PRIVATE <= last; pos++) {
        if (s->file.p[pos + 2] != 'd' || s->file.p[pos + 3] != 'c') {
            continue;
        }

        for (hits = 0, at = pos; hits < 3; hits++, at += n) {
            n = wk_private_at(s, at, &padded);
            if (n == 0) {
                break;
            }
        }

        if (hits == 3) {
            s->start = pos;
            return true;
        }
    }

    return false;
}


static int64_t
wk_stamp(wk_source_t *s, int64_t raw)
{
    int64_t  step;

    if (s->stamp_raw < 0) {
        s->stamp_us = 0;

    } else {
        step = raw - s->stamp_raw;

        if (step <= 0 || step > WK_STEP_MAX_US) {
            step = s->nominal_us;
        }

        s->stamp_us += step;
    }

    s->stamp_raw = raw;

    return s->stamp_us;
}


static bool
wk_private_next(wk_source_t *s, wk_frame_t *f)
{
    bool             padded;
    size_t           n, len;
    int64_t          raw;
    mdvr_au_t        au;
    const uint8_t   *p;

    while (s->pos + WK_PRIVATE <= s->file.len) {
        n = wk_private_at(s, s->pos, &padded);

        if (s->starved) {
            return false;
        }

        if (n == 0) {
            s->pos++;
            s->dropped++;
            continue;
        }

        p = s->file.p + s->pos;
        len = mdvr_le32(p + 4);
        raw = (int64_t) (mdvr_le32(p + 8)
                         | (uint64_t) (mdvr_le32(p + 12) & 0x7fffffff) << 32);
        s->pos += n;

        f->data = mdvr_str(p + WK_PRIVATE, len);

        if (p[0] == '9') {
            continue;
        }

        if (p[1] == '2') {
            /* sound follows the picture's clock; its own steps are smaller */
            if (!s->started) {
                continue;
            }

            p = f->data.p;

            if (len > 4 && p[0] == 0 && p[1] == 1
                && (size_t) p[2] * 2 <= len - 4)
            {
                f->data = mdvr_str(p + 4, (size_t) p[2] * 2);
            }

            f->audio = true;
            f->key = true;
            f->stamp_us = s->stamp_us;
            f->raw_us = raw;
            return true;
        }

        mdvr_au_scan(s->codec, f->data, &au);

        if (!au.picture || (!s->started && !au.key)) {
            s->dropped += n;
            continue;
        }

        s->started = true;
        f->audio = false;
        f->key = au.key;
        f->stamp_us = wk_stamp(s, raw);
        f->raw_us = raw;
        return true;
    }

    s->starved = s->more;

    return false;
}


/* ---- NAL units of uncertain origin ------------------------------------- */

enum { wk_nal_bad = 0, wk_nal_head, wk_nal_slice, wk_nal_first, wk_nal_tail };

/* What a NAL unit is to an access unit; strict, because sound and garbage
 * look like NAL units. */

static int
wk_nal_judge(mdvr_codec_e codec, mdvr_str_t nal)
{
    int         kind;
    unsigned    type;
    mdvr_sps_t  sps;

    if (nal.len < 2 || (nal.p[0] & 0x80)) {
        return wk_nal_bad;
    }

    type = mdvr_nal_type(codec, nal);
    kind = mdvr_nal_kind(codec, nal);

    switch (kind) {

    case MDVR_NAL_SPS:
        return nal.len < 512 && mdvr_sps_parse(codec, nal, &sps) == MDVR_OK
               ? wk_nal_head : wk_nal_bad;

    case MDVR_NAL_VPS:
        return nal.len < 512 ? wk_nal_head : wk_nal_bad;

    case MDVR_NAL_PPS:
        return nal.len < WK_PPS_MAX ? wk_nal_head : wk_nal_bad;

    case MDVR_NAL_AUD:
        return nal.len < 8 ? wk_nal_head : wk_nal_bad;

    case MDVR_NAL_SLICE:
    case MDVR_NAL_KEY:
        if (codec == MDVR_CODEC_H264) {
            if (type != 1 && type != 5) {
                return wk_nal_bad;
            }

            if (type == 5 && (nal.p[0] & 0x60) == 0) {
                return wk_nal_bad;      /* an IDR that nothing refers to */
            }

            return nal.p[1] & 0x80 ? wk_nal_first : wk_nal_slice;
        }

        if (type > 21 || nal.len < 3 || (nal.p[1] & 7) == 0) {
            return wk_nal_bad;
        }

        return nal.p[2] & 0x80 ? wk_nal_first : wk_nal_slice;

    case MDVR_NAL_OTHER:
        if (codec == MDVR_CODEC_H264) {
            return type == 6 ? wk_nal_head : wk_nal_bad;
        }

        return type == 39 ? wk_nal_head
               : type == 40 ? wk_nal_tail : wk_nal_bad;

    default:
        return wk_nal_bad;
    }
}


/* Big-endian lengths: the unit at *pos, or the next place where three units
 * in a row make sense. */

static bool
wk_length_at(const wk_source_t *s, size_t pos, mdvr_str_t *nal)
{
    uint32_t         len;
    const uint8_t   *p;

    if (s->file.len < 5 || pos > s->file.len - 5) {
        return false;
    }

    p = s->file.p + pos;
    len = (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8
          | p[3];

    if (len < 2 || len > WK_FRAME_MAX || len > s->file.len - pos - 4) {
        return false;
    }

    *nal = mdvr_str(p + 4, len);

    return true;
}


static bool
wk_length_open(wk_source_t *s)
{
    int           i;
    size_t        pos, at, last;
    mdvr_str_t    nal;
    mdvr_codec_e  codec;
    mdvr_sps_t    sps;

    last = s->file.len < WK_HUNT ? s->file.len : WK_HUNT;

    for (codec = MDVR_CODEC_H264; codec <= MDVR_CODEC_H265; codec++) {
        for (pos = 0; pos < last; pos++) {
            for (at = pos, i = 0; i < 3 && wk_length_at(s, at, &nal); i++) {
                if (wk_nal_judge(codec, nal) == wk_nal_bad
                    || (i == 0 && codec == MDVR_CODEC_H264
                        && mdvr_sps_parse(codec, nal, &sps) != MDVR_OK)
                    || (i == 0 && codec == MDVR_CODEC_H265
                        && mdvr_nal_kind(codec, nal) != MDVR_NAL_VPS))
                {
                    break;
                }

                at += 4 + nal.len;
            }

            if (i == 3) {
                s->codec = codec;
                s->start = pos;
                return true;
            }
        }
    }

    return false;
}


/* The next NAL unit of either form; false at the end. */

static bool
wk_nal_read(wk_source_t *s, mdvr_str_t *nal)
{
    const uint8_t  *pos;

    if (s->form == WK_FORM_ANNEXB) {
        pos = s->file.p + s->pos;

        if (!mdvr_nal_next(&pos, s->file.p + s->file.len, nal)
            || (s->more && pos >= s->file.p + s->file.len))
        {
            s->starved = s->more;       /* its end is not here */
            return false;
        }

        s->pos = (size_t) (pos - s->file.p);
        return true;
    }

    while (s->pos + 5 <= s->file.len) {
        if (wk_length_at(s, s->pos, nal)) {
            s->pos += 4 + nal->len;
            return true;
        }

        if (s->more && s->file.len - s->pos < WK_LENGTH_AHEAD) {
            break;                      /* it may be longer than what is here */
        }

        s->pos++;
        s->dropped++;
    }

    s->starved = s->more;

    return false;
}


static bool
wk_au_add(wk_source_t *s, mdvr_str_t nal)
{
    size_t    need, cap;
    uint8_t  *p;

    need = s->au_len + nal.len + 4;

    if (need > WK_FRAME_MAX) {
        s->dropped += nal.len;
        return true;
    }

    if (need > s->au_cap) {
        cap = need * 2;
        p = realloc(s->au, cap);

        if (p == NULL) {
            return false;
        }

        s->au = p;
        s->au_cap = cap;
    }

    memcpy(s->au + s->au_len, "\0\0\0\1", 4);
    memcpy(s->au + s->au_len + 4, nal.p, nal.len);
    s->au_len = need;

    return true;
}


static bool
wk_nal_next_frame(wk_source_t *s, wk_frame_t *f)
{
    int         judged;
    size_t      before, begin;
    mdvr_au_t   au;
    mdvr_str_t  nal;

    begin = s->pos;
    s->au_len = 0;
    s->au_picture = false;

    for ( ;; ) {
        before = s->pos;

        if (!wk_nal_read(s, &nal)) {
            if (s->starved) {
                s->pos = begin;
                return false;
            }

            break;
        }

        judged = wk_nal_judge(s->codec, nal);

        if (judged == wk_nal_bad) {
            s->dropped += nal.len;
            continue;
        }

        if (s->au_picture
            && (judged == wk_nal_head || judged == wk_nal_first))
        {
            s->pos = before;            /* belongs to the next one */
            break;
        }

        if (judged == wk_nal_slice && !s->au_picture) {
            s->dropped += nal.len;      /* its first slice was lost */
            continue;
        }

        if (!wk_au_add(s, nal)) {
            return false;
        }

        if (judged == wk_nal_first || judged == wk_nal_slice) {
            s->au_picture = true;
        }
    }

    if (!s->au_picture) {
        return false;
    }

    f->audio = false;
    f->stamp_us = -1;
    f->raw_us = -1;
    f->data = mdvr_str(s->au, s->au_len);
    mdvr_au_scan(s->codec, f->data, &au);
    f->key = au.key;

    return true;
}


/* ---- both -------------------------------------------------------------- */

bool
wk_source_next(wk_source_t *s, wk_frame_t *f)
{
    s->starved = false;

    if (s->form == WK_FORM_PRIVATE) {
        return wk_private_next(s, f);
    }

    if (s->form != WK_FORM_ANNEXB && s->form != WK_FORM_LENGTH) {
        return false;
    }

    while (wk_nal_next_frame(s, f)) {
        if (f->key || s->started) {
            s->started = true;
            return true;
        }

        s->dropped += f->data.len;
    }

    return false;
}


void
wk_source_rewind(wk_source_t *s)
{
    s->pos = s->start;
    s->started = false;
    s->stamp_raw = -1;
    s->stamp_us = 0;
    s->dropped = 0;
}


void
wk_source_feed(wk_source_t *s, mdvr_str_t file, size_t gone)
{
    s->file = file;
    s->pos -= gone;
}


void
wk_source_seek(wk_source_t *s, mdvr_str_t file)
{
    s->file = file;
    s->start = 0;
    wk_source_rewind(s);
}


static void
wk_source_header(wk_source_t *s, mdvr_str_t nal)
{
    if (nal.len && nal.len + 4 <= sizeof(s->headers) - s->headers_len) {
        memcpy(s->headers + s->headers_len, "\0\0\0\1", 4);
        memcpy(s->headers + s->headers_len + 4, nal.p, nal.len);
        s->headers_len += nal.len + 4;
    }
}


/* The first key frame with parameter sets decides what the stream is. */

static bool
wk_source_begin(wk_source_t *s)
{
    mdvr_au_t   au;
    wk_frame_t  f;

    wk_source_rewind(s);

    while (wk_source_next(s, &f)) {
        if (f.audio || !f.key) {
            continue;
        }

        mdvr_au_scan(s->codec, f.data, &au);

        if (au.sps.len && au.pps.len
            && mdvr_sps_parse(s->codec, au.sps, &s->sps) == MDVR_OK)
        {
            s->headers_len = 0;
            wk_source_header(s, au.vps);
            wk_source_header(s, au.sps);
            wk_source_header(s, au.pps);
            wk_source_rewind(s);
            return true;
        }
    }

    return false;
}


static bool
wk_private_codec(wk_source_t *s)
{
    bool     padded;
    size_t   pos, n;

    for (pos = s->start; pos + WK_PRIVATE <= s->file.len; pos += n ? n : 1) {
        n = wk_private_at(s, pos, &padded);

        if (n && s->file.p[pos + 1] == '0') {
            s->codec = mdvr_codec_detect(
                mdvr_str(s->file.p + pos + WK_PRIVATE,
                         mdvr_le32(s->file.p + pos + 4)));

            if (s->codec != MDVR_CODEC_NONE) {
                return true;
            }
        }
    }

    return false;
}


mdvr_rc_t
wk_source_open(wk_source_t *s, mdvr_str_t file)
{
    memset(s, 0, sizeof(*s));
    s->file = file;
    s->nominal_us = WK_NOMINAL_US;

    if (file.len >= 12 && memcmp(file.p + 4, "ftyp", 4) == 0) {
        s->form = WK_FORM_MP4;
        return MDVR_OK;
    }

    if (wk_private_open(s)) {
        s->form = WK_FORM_PRIVATE;

        if (wk_private_codec(s) && wk_source_begin(s)) {
            return MDVR_OK;
        }
    }

    s->form = WK_FORM_ANNEXB;
    s->start = 0;

    for (s->codec = MDVR_CODEC_H264; s->codec <= MDVR_CODEC_H265; s->codec++) {
        if (wk_source_begin(s)) {
            return MDVR_OK;
        }
    }

    s->form = WK_FORM_LENGTH;

    if (wk_length_open(s) && wk_source_begin(s)) {
        return MDVR_OK;
    }

    s->form = WK_FORM_NONE;
    s->codec = MDVR_CODEC_NONE;

    return MDVR_E_CODEC;
}


void
wk_source_close(wk_source_t *s)
{
    free(s->au);
    s->au = NULL;
}
