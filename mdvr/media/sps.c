/*
 * Sequence parameter sets of H.264 (ITU-T H.264 section 7.3.2.1) and H.265
 * (ITU-T H.265 sections 7.3.2.2 and 7.3.3), as far as an MP4 header needs
 * them.  Emulation prevention bytes are skipped while reading bits.
 */

#include <stdio.h>

#include "mdvr/media/nal.h"

#define MDVR_PICTURE_MIN  16
#define MDVR_PICTURE_MAX  8192


typedef struct {
    const uint8_t  *p;
    const uint8_t  *last;
    unsigned        zeros;          /* zero bytes just read */
    unsigned        bit;            /* bits of *p already used */
    bool            end;            /* read past the end; sticky */
} mdvr_bits_t;


static unsigned
mdvr_bits_1(mdvr_bits_t *b)
{
    unsigned  v;

    if (b->bit == 0 && b->p < b->last && b->zeros >= 2 && *b->p == 3) {
        b->p++;                     /* emulation prevention */
        b->zeros = 0;
    }

    if (b->p >= b->last) {
        b->end = true;
        return 0;
    }

    v = *b->p >> (7 - b->bit) & 1;

    if (++b->bit == 8) {
        b->zeros = *b->p == 0 ? b->zeros + 1 : 0;
        b->bit = 0;
        b->p++;
    }

    return v;
}


static uint32_t
mdvr_bits(mdvr_bits_t *b, unsigned n)
{
    uint32_t  v;

    for (v = 0; n > 0; n--) {
        v = v << 1 | mdvr_bits_1(b);
    }

    return v;
}


static void
mdvr_bits_skip(mdvr_bits_t *b, unsigned n)
{
    while (n-- && !b->end) {
        (void) mdvr_bits_1(b);
    }
}


/* Exp-Golomb, unsigned; values of 2^31 and more end the reading */
static uint32_t
mdvr_bits_ue(mdvr_bits_t *b)
{
    unsigned  n;

    for (n = 0; mdvr_bits_1(b) == 0; n++) {
        if (b->end || n == 31) {
            b->end = true;
            return 0;
        }
    }

    return n ? (1U << n) - 1 + mdvr_bits(b, n) : 0;
}


static int32_t
mdvr_bits_se(mdvr_bits_t *b)
{
    uint32_t  v;

    v = mdvr_bits_ue(b);

    return v & 1 ? (int32_t) (v / 2 + 1) : -(int32_t) (v / 2);
}


static void
mdvr_sps_scaling_list(mdvr_bits_t *b, unsigned size)
{
    unsigned  i;
    int32_t   last, next;

    for (i = 0, last = 8, next = 8; i < size && !b->end; i++) {

        if (next != 0) {
            next = (int32_t) (((uint32_t) last
                               + (uint32_t) mdvr_bits_se(b)) & 0xff);
        }

        last = next == 0 ? last : next;
    }
}


static void
mdvr_sps_high(mdvr_bits_t *b, mdvr_sps_t *s, bool *separate)
{
    unsigned  i;

    s->chroma = mdvr_bits_ue(b);

    if (s->chroma == 3) {
        *separate = mdvr_bits_1(b);
    }

    s->depth_luma = 8 + mdvr_bits_ue(b);
    s->depth_chroma = 8 + mdvr_bits_ue(b);

    mdvr_bits_skip(b, 1);           /* qpprime_y_zero_transform_bypass */

    if (!mdvr_bits_1(b)) {
        return;
    }

    for (i = 0; i < (s->chroma == 3 ? 12 : 8); i++) {
        if (mdvr_bits_1(b)) {
            mdvr_sps_scaling_list(b, i < 6 ? 16 : 64);
        }
    }
}


/* the beginning of the VUI, for the sample aspect ratio */
static void
mdvr_sps_aspect(mdvr_bits_t *b, mdvr_sps_t *s)
{
    unsigned  idc, w, h;

    static const uint8_t  sar[17][2] = {
        { 1, 1 }, { 1, 1 }, { 12, 11 }, { 10, 11 }, { 16, 11 }, { 40, 33 },
        { 24, 11 }, { 20, 11 }, { 32, 11 }, { 80, 33 }, { 18, 11 },
        { 15, 11 }, { 64, 33 }, { 160, 99 }, { 4, 3 }, { 3, 2 }, { 2, 1 }
    };

    if (!mdvr_bits_1(b) || !mdvr_bits_1(b)) {
        return;
    }

    idc = mdvr_bits(b, 8);

    if (idc < 17) {
        s->sar_w = sar[idc][0];
        s->sar_h = sar[idc][1];

    } else if (idc == 255) {
        w = mdvr_bits(b, 16);
        h = mdvr_bits(b, 16);

        if (w && h && !b->end) {
            s->sar_w = w;
            s->sar_h = h;
        }
    }
}


static mdvr_rc_t
mdvr_sps_size(mdvr_sps_t *s, uint64_t width, uint64_t height,
    const uint64_t crop[4])
{
    if (crop[0] + crop[1] >= width || crop[2] + crop[3] >= height) {
        return MDVR_E_SYNTAX;
    }

    width -= crop[0] + crop[1];
    height -= crop[2] + crop[3];

    if (width < MDVR_PICTURE_MIN || width > MDVR_PICTURE_MAX
        || height < MDVR_PICTURE_MIN || height > MDVR_PICTURE_MAX)
    {
        return MDVR_E_RANGE;
    }

    s->width = (unsigned) width;
    s->height = (unsigned) height;

    return MDVR_OK;
}


static mdvr_rc_t
mdvr_sps_h264(mdvr_bits_t *b, mdvr_sps_t *s)
{
    bool       separate, frame_only;
    unsigned   i, n, poc, unit_x, unit_y;
    uint64_t   width, height, crop[4];
    mdvr_rc_t  rc;

    s->profile = mdvr_bits(b, 8);
    s->compat = mdvr_bits(b, 8);
    s->level = mdvr_bits(b, 8);
    (void) mdvr_bits_ue(b);         /* seq_parameter_set_id */

    s->chroma = 1;
    s->depth_luma = s->depth_chroma = 8;
    separate = false;

    switch (s->profile) {
    case 100: case 110: case 122: case 244: case 44: case 83: case 86:
    case 118: case 128: case 138: case 139: case 134: case 135:
        mdvr_sps_high(b, s, &separate);
    }

    (void) mdvr_bits_ue(b);         /* log2_max_frame_num_minus4 */
    poc = mdvr_bits_ue(b);

    if (poc == 0) {
        (void) mdvr_bits_ue(b);

    } else if (poc == 1) {
        mdvr_bits_skip(b, 1);
        (void) mdvr_bits_se(b);
        (void) mdvr_bits_se(b);

        n = mdvr_bits_ue(b);

        if (n > 255) {
            return MDVR_E_SYNTAX;
        }

        for (i = 0; i < n; i++) {
            (void) mdvr_bits_se(b);
        }
    }

    (void) mdvr_bits_ue(b);         /* max_num_ref_frames */
    mdvr_bits_skip(b, 1);           /* gaps_in_frame_num_allowed */

    width = 16 * ((uint64_t) mdvr_bits_ue(b) + 1);
    height = 16 * ((uint64_t) mdvr_bits_ue(b) + 1);
    frame_only = mdvr_bits_1(b);

    if (!frame_only) {
        height *= 2;
        mdvr_bits_skip(b, 1);       /* mb_adaptive_frame_field */
    }

    mdvr_bits_skip(b, 1);           /* direct_8x8_inference */

    memset(crop, 0, sizeof(crop));

    if (mdvr_bits_1(b)) {
        unit_x = s->chroma == 1 || s->chroma == 2 ? 2 : 1;
        unit_y = s->chroma == 1 ? 2 : 1;

        if (separate) {
            unit_x = unit_y = 1;
        }

        unit_y *= frame_only ? 1 : 2;

        crop[0] = (uint64_t) mdvr_bits_ue(b) * unit_x;
        crop[1] = (uint64_t) mdvr_bits_ue(b) * unit_x;
        crop[2] = (uint64_t) mdvr_bits_ue(b) * unit_y;
        crop[3] = (uint64_t) mdvr_bits_ue(b) * unit_y;
    }

    if (b->end || s->chroma > 3 || s->depth_luma > 14 || s->depth_chroma > 14)
    {
        return MDVR_E_SYNTAX;
    }

    rc = mdvr_sps_size(s, width, height, crop);

    if (rc != MDVR_OK) {
        return rc;
    }

    mdvr_sps_aspect(b, s);

    snprintf(s->codec_string, sizeof(s->codec_string), "avc1.%02X%02X%02X",
             s->profile, s->compat, s->level);

    return MDVR_OK;
}


static void
mdvr_sps_profile_tier_level(mdvr_bits_t *b, mdvr_sps_t *s, unsigned sub)
{
    bool      profile[8], level[8];
    unsigned  i;

    s->profile_space = mdvr_bits(b, 2);
    s->tier = mdvr_bits_1(b);
    s->profile = mdvr_bits(b, 5);
    s->compat_flags = mdvr_bits(b, 32);

    for (i = 0; i < 6; i++) {
        s->constraints[i] = (uint8_t) mdvr_bits(b, 8);
    }

    s->level = mdvr_bits(b, 8);

    for (i = 0; i < sub; i++) {
        profile[i] = mdvr_bits_1(b);
        level[i] = mdvr_bits_1(b);
    }

    if (sub > 0) {
        mdvr_bits_skip(b, 2 * (8 - sub));
    }

    for (i = 0; i < sub; i++) {

        if (profile[i]) {
            mdvr_bits_skip(b, 88);
        }

        if (level[i]) {
            mdvr_bits_skip(b, 8);
        }
    }
}


static void
mdvr_sps_h265_string(mdvr_sps_t *s)
{
    int       n;
    unsigned  i, last;
    uint32_t  flags, reversed;

    static const char *const  spaces[] = { "", "A", "B", "C" };

    for (i = 0, reversed = 0, flags = s->compat_flags; i < 32; i++) {
        reversed = reversed << 1 | (flags & 1);
        flags >>= 1;
    }

    n = snprintf(s->codec_string, sizeof(s->codec_string), "hvc1.%s%u.%X.%c%u",
                 spaces[s->profile_space], s->profile, (unsigned) reversed,
                 s->tier ? 'H' : 'L', s->level);

    for (last = 6; last > 0 && s->constraints[last - 1] == 0; last--) {
        /* void */
    }

    for (i = 0; i < last && (size_t) n + 4 < sizeof(s->codec_string); i++) {
        n += snprintf(s->codec_string + n,
                      sizeof(s->codec_string) - (size_t) n, ".%X",
                      s->constraints[i]);
    }
}


static mdvr_rc_t
mdvr_sps_h265(mdvr_bits_t *b, mdvr_sps_t *s)
{
    bool       separate;
    unsigned   sub, unit_x, unit_y;
    uint64_t   width, height, crop[4];
    mdvr_rc_t  rc;

    mdvr_bits_skip(b, 8);           /* second byte of the NAL header */
    mdvr_bits_skip(b, 4);           /* sps_video_parameter_set_id */
    sub = mdvr_bits(b, 3);
    s->temporal_layers = sub + 1;
    s->temporal_nested = mdvr_bits_1(b);

    if (sub > 6) {
        return MDVR_E_SYNTAX;
    }

    mdvr_sps_profile_tier_level(b, s, sub);

    (void) mdvr_bits_ue(b);         /* sps_seq_parameter_set_id */
    s->chroma = mdvr_bits_ue(b);
    separate = s->chroma == 3 ? mdvr_bits_1(b) : false;

    width = mdvr_bits_ue(b);
    height = mdvr_bits_ue(b);

    memset(crop, 0, sizeof(crop));

    if (mdvr_bits_1(b)) {           /* conformance window */
        unit_x = (s->chroma == 1 || s->chroma == 2) && !separate ? 2 : 1;
        unit_y = s->chroma == 1 && !separate ? 2 : 1;

        crop[0] = (uint64_t) mdvr_bits_ue(b) * unit_x;
        crop[1] = (uint64_t) mdvr_bits_ue(b) * unit_x;
        crop[2] = (uint64_t) mdvr_bits_ue(b) * unit_y;
        crop[3] = (uint64_t) mdvr_bits_ue(b) * unit_y;
    }

    s->depth_luma = 8 + mdvr_bits_ue(b);
    s->depth_chroma = 8 + mdvr_bits_ue(b);

    if (b->end || s->chroma > 3 || s->depth_luma > 16 || s->depth_chroma > 16)
    {
        return MDVR_E_SYNTAX;
    }

    rc = mdvr_sps_size(s, width, height, crop);

    if (rc != MDVR_OK) {
        return rc;
    }

    mdvr_sps_h265_string(s);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_sps_parse(mdvr_codec_e codec, mdvr_str_t sps, mdvr_sps_t *out)
{
    mdvr_bits_t  b;

    memset(out, 0, sizeof(mdvr_sps_t));

    out->codec = codec;
    out->sar_w = out->sar_h = 1;

    if (sps.len < 4 || mdvr_nal_kind(codec, sps) != MDVR_NAL_SPS) {
        return MDVR_E_SYNTAX;
    }

    memset(&b, 0, sizeof(b));
    b.p = sps.p + 1;
    b.last = sps.p + sps.len;

    return codec == MDVR_CODEC_H265 ? mdvr_sps_h265(&b, out)
                                    : mdvr_sps_h264(&b, out);
}
