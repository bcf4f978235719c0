/*
 * Annex B byte streams of H.264 and H.265: walking, recognising, and the few
 * fields of parameter sets that an MP4 header needs.
 *
 * Start codes have 3 or 4 bytes; zeros in front of a start code belong to
 * neither side.  No field on the wire names the codec: it is told from the
 * NAL units of the first I-frame (protocol reference, media.md section 4).
 */

#ifndef MDVR_MEDIA_NAL_H
#define MDVR_MEDIA_NAL_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

typedef enum {
    MDVR_CODEC_NONE = 0,
    MDVR_CODEC_H264,
    MDVR_CODEC_H265
} mdvr_codec_e;

const char *mdvr_codec_name(mdvr_codec_e codec);        /* "h264", "h265" */

/*
 * Walks NAL units: start with *pos = first byte.  True and *nal (without
 * start code and trailing zeros, never empty) until none is left.  Bytes
 * before the first start code are skipped.
 */
bool mdvr_nal_next(const uint8_t **pos, const uint8_t *last,
    mdvr_str_t *nal);

/* By the rule of media.md; MDVR_CODEC_NONE: neither. */
mdvr_codec_e mdvr_codec_detect(mdvr_str_t annexb);

/* NAL unit type: 5 bits of H.264, 6 bits of H.265. */
unsigned mdvr_nal_type(mdvr_codec_e codec, mdvr_str_t nal);

enum {
    MDVR_NAL_SLICE = 0,         /* coded picture data, not a random access */
    MDVR_NAL_KEY,               /* IDR; H.265: IRAP (BLA, IDR, CRA) */
    MDVR_NAL_VPS,
    MDVR_NAL_SPS,
    MDVR_NAL_PPS,
    MDVR_NAL_AUD,               /* access unit delimiter */
    MDVR_NAL_FILLER,            /* also end of sequence, end of stream */
    MDVR_NAL_OTHER              /* SEI and the rest */
};

int mdvr_nal_kind(mdvr_codec_e codec, mdvr_str_t nal);

/*
 * Walks the access units of a whole stream: *au includes its start codes.
 * The last one ends at `last`.  False when none is left.
 */
bool mdvr_au_next(mdvr_codec_e codec, const uint8_t **pos,
    const uint8_t *last, mdvr_str_t *au);

/* What one look over an access unit tells. */
typedef struct {
    bool        key;            /* contains an IDR/IRAP picture */
    bool        picture;        /* contains any slice */
    mdvr_str_t  vps;            /* first of each kind, empty if none */
    mdvr_str_t  sps;
    mdvr_str_t  pps;
    mdvr_str_t  first;          /* unit that is kept */
    unsigned    nals;           /* without AUD and filler */
    size_t      sample_size;    /* bytes of the length-prefixed form */
} mdvr_au_t;

void mdvr_au_scan(mdvr_codec_e codec, mdvr_str_t annexb, mdvr_au_t *au);

/*
 * Writes `annexb` as 4-byte length-prefixed NAL units, without AUD and
 * filler, into `out`, which has au.sample_size bytes.  Returns the bytes
 * written.
 */
size_t mdvr_au_to_length_prefixed(mdvr_codec_e codec, mdvr_str_t annexb,
    uint8_t *out);

/* The same backwards: start codes for 4-byte lengths.  `out` has as many
 * bytes as `in`; `in` == `out` is allowed.  0 when a length is wrong. */
size_t mdvr_au_to_annexb(mdvr_str_t in, uint8_t *out);

typedef struct {
    mdvr_codec_e  codec;
    unsigned      width;            /* after cropping */
    unsigned      height;
    unsigned      profile;          /* profile_idc / general_profile_idc */
    unsigned      compat;           /* H.264 constraint flags byte */
    unsigned      level;            /* level_idc */
    unsigned      chroma;           /* chroma_format_idc 0..3 */
    unsigned      depth_luma;       /* bits */
    unsigned      depth_chroma;
    unsigned      sar_w, sar_h;     /* sample aspect, 1:1 if not given */
    /* H.265 only */
    unsigned      profile_space;
    unsigned      tier;
    uint32_t      compat_flags;     /* general_profile_compatibility_flags */
    uint8_t       constraints[6];   /* general constraint indicator bytes */
    unsigned      temporal_layers;
    bool          temporal_nested;
    char          codec_string[40]; /* "avc1.42C014", "hvc1.1.6.L93.B0" */
} mdvr_sps_t;

/*
 * `sps` is the NAL unit including its header byte(s).
 * MDVR_E_SYNTAX: ends early or contains impossible values.
 * MDVR_E_RANGE: picture smaller than 16 or larger than 8192 on one side.
 */
mdvr_rc_t mdvr_sps_parse(mdvr_codec_e codec, mdvr_str_t sps,
    mdvr_sps_t *out);

#endif /* MDVR_MEDIA_NAL_H */
