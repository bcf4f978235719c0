/*
 * Walking Annex B and turning it into length-prefixed units and back.  One
 * search for start codes serves everything.
 */

#include "mdvr/basics/bytes.h"
#include "mdvr/media/nal.h"


const char *
mdvr_codec_name(mdvr_codec_e codec)
{
    static const char *const  names[] = { "none", "h264", "h265" };

    return names[(unsigned) codec <= MDVR_CODEC_H265 ? codec : 0];
}


/* the next 00 00 01, or `last` */
static const uint8_t *
mdvr_nal_start(const uint8_t *p, const uint8_t *last)
{
    const uint8_t  *one;

    if (last - p < 3) {
        return last;
    }

    /* coded pictures hold a byte 1 as rarely as any other: memchr() is fast */

    for (p += 2; p < last; p = one + 1) {
        one = memchr(p, 1, (size_t) (last - p));

        if (one == NULL) {
            break;
        }

        if (one[-1] == 0 && one[-2] == 0) {
            return one - 2;
        }
    }

    return last;
}


bool
mdvr_nal_next(const uint8_t **pos, const uint8_t *last, mdvr_str_t *nal)
{
    const uint8_t  *p, *end, *next;

    p = *pos;

    for ( ;; ) {
        p = mdvr_nal_start(p, last);

        if (p == last) {
            *pos = last;
            return false;
        }

        p += 3;
        next = mdvr_nal_start(p, last);

        for (end = next; end > p && end[-1] == 0; end--) { /* void */ }

        if (end > p) {
            break;
        }

        p = next;
    }

    *nal = mdvr_str(p, (size_t) (end - p));
    *pos = next;

    return true;
}


mdvr_codec_e
mdvr_codec_detect(mdvr_str_t annexb)
{
    bool            hevc;
    mdvr_str_t      nal;
    const uint8_t  *pos, *last;

    pos = annexb.p;
    last = annexb.p + annexb.len;
    hevc = false;

    while (mdvr_nal_next(&pos, last, &nal)) {

        if (nal.len < 2) {
            continue;
        }

        if ((nal.p[0] & 0x9f) == 0x07) {

            switch (nal.p[1]) {
            case 66: case 77: case 88: case 100: case 110: case 122: case 244:
                return MDVR_CODEC_H264;
            }
        }

        if (nal.p[1] == 0x01 && (nal.p[0] == 0x40 || nal.p[0] == 0x42)) {
            hevc = true;
        }
    }

    return hevc ? MDVR_CODEC_H265 : MDVR_CODEC_NONE;
}


unsigned
mdvr_nal_type(mdvr_codec_e codec, mdvr_str_t nal)
{
    if (nal.len == 0) {
        return 0;
    }

    return codec == MDVR_CODEC_H265 ? nal.p[0] >> 1 & 0x3f
                                    : nal.p[0] & 0x1f;
}


int
mdvr_nal_kind(mdvr_codec_e codec, mdvr_str_t nal)
{
    unsigned  type;

    type = mdvr_nal_type(codec, nal);

    if (codec == MDVR_CODEC_H265) {

        if (type <= 9) {
            return MDVR_NAL_SLICE;
        }

        if (type >= 16 && type <= 21) {
            return MDVR_NAL_KEY;
        }

        switch (type) {
        case 32: return MDVR_NAL_VPS;
        case 33: return MDVR_NAL_SPS;
        case 34: return MDVR_NAL_PPS;
        case 35: return MDVR_NAL_AUD;
        case 36: case 37: case 38: return MDVR_NAL_FILLER;
        default: return MDVR_NAL_OTHER;
        }
    }

    switch (type) {
    case 1: case 2: case 3: case 4: return MDVR_NAL_SLICE;
    case 5: return MDVR_NAL_KEY;
    case 7: return MDVR_NAL_SPS;
    case 8: return MDVR_NAL_PPS;
    case 9: return MDVR_NAL_AUD;
    case 10: case 11: case 12: return MDVR_NAL_FILLER;
    default: return MDVR_NAL_OTHER;
    }
}


/* can this unit only stand in front of a picture that has not begun? */
static bool
mdvr_nal_opens(mdvr_codec_e codec, mdvr_str_t nal, int kind)
{
    size_t  header;

    switch (kind) {

    case MDVR_NAL_SLICE:
    case MDVR_NAL_KEY:
        header = codec == MDVR_CODEC_H265 ? 2 : 1;
        return nal.len > header && (nal.p[header] & 0x80);

    case MDVR_NAL_VPS:
    case MDVR_NAL_SPS:
    case MDVR_NAL_PPS:
    case MDVR_NAL_AUD:
        return true;

    case MDVR_NAL_OTHER:
        return mdvr_nal_type(codec, nal)
               == (codec == MDVR_CODEC_H265 ? 39U : 6U);

    default:
        return false;
    }
}


bool
mdvr_au_next(mdvr_codec_e codec, const uint8_t **pos, const uint8_t *last,
    mdvr_str_t *au)
{
    int             kind;
    bool            picture;
    mdvr_str_t      nal;
    const uint8_t  *p, *start, *mark;

    p = *pos;
    start = NULL;
    picture = false;

    while (mdvr_nal_next(&p, last, &nal)) {
        kind = mdvr_nal_kind(codec, nal);
        mark = nal.p - 3;

        if (mark > *pos && mark[-1] == 0) {
            mark--;
        }

        if (start == NULL) {
            start = mark;

        } else if (picture && mdvr_nal_opens(codec, nal, kind)) {
            *au = mdvr_str(start, (size_t) (mark - start));
            *pos = mark;
            return true;
        }

        picture = picture || kind == MDVR_NAL_SLICE || kind == MDVR_NAL_KEY;
    }

    *pos = last;

    if (start == NULL) {
        return false;
    }

    *au = mdvr_str(start, (size_t) (last - start));

    return true;
}


void
mdvr_au_scan(mdvr_codec_e codec, mdvr_str_t annexb, mdvr_au_t *au)
{
    int             kind;
    mdvr_str_t      nal;
    const uint8_t  *pos, *last;

    memset(au, 0, sizeof(mdvr_au_t));

    pos = annexb.p;
    last = annexb.p + annexb.len;

    while (mdvr_nal_next(&pos, last, &nal)) {
        kind = mdvr_nal_kind(codec, nal);

        switch (kind) {

        case MDVR_NAL_AUD:
        case MDVR_NAL_FILLER:
            continue;

        case MDVR_NAL_KEY:
            au->key = true;
            au->picture = true;
            break;

        case MDVR_NAL_SLICE:
            au->picture = true;
            break;

        case MDVR_NAL_VPS:
            if (au->vps.len == 0) {
                au->vps = nal;
            }

            break;

        case MDVR_NAL_SPS:
            if (au->sps.len == 0) {
                au->sps = nal;
            }

            break;

        case MDVR_NAL_PPS:
            if (au->pps.len == 0) {
                au->pps = nal;
            }

            break;
        }

        if (au->nals++ == 0) {
            au->first = nal;
        }

        au->sample_size += 4 + nal.len;
    }
}


size_t
mdvr_au_to_length_prefixed(mdvr_codec_e codec, mdvr_str_t annexb,
    uint8_t *out)
{
    int             kind;
    uint8_t        *p;
    mdvr_str_t      nal;
    const uint8_t  *pos, *last;

    p = out;
    pos = annexb.p;
    last = annexb.p + annexb.len;

    while (mdvr_nal_next(&pos, last, &nal)) {
        kind = mdvr_nal_kind(codec, nal);

        if (kind == MDVR_NAL_AUD || kind == MDVR_NAL_FILLER) {
            continue;
        }

        mdvr_put_be32(p, (uint32_t) nal.len);
        memcpy(p + 4, nal.p, nal.len);
        p += 4 + nal.len;
    }

    return (size_t) (p - out);
}


size_t
mdvr_au_to_annexb(mdvr_str_t in, uint8_t *out)
{
    size_t  i, len;

    for (i = 0; i < in.len; i += len) {

        if (in.len - i < 4) {
            return 0;
        }

        len = mdvr_be32(in.p + i);

        if (len > in.len - i - 4) {
            return 0;
        }

        if (out != in.p) {
            memcpy(out + i + 4, in.p + i + 4, len);
        }

        mdvr_put_be32(out + i, 1);
        len += 4;
    }

    return in.len;
}
