/*
 * The MP4 boxes this platform needs and no others.  Boxes of the init
 * segment are written into a bounded buffer and their sizes filled in
 * afterwards; a fragment has a fixed head of 108 bytes, written in place.
 */

#include "mdvr/basics/bytes.h"
#include "mdvr/media/fmp4.h"

#define MDVR_SAMPLE_KEY   0x02000000U   /* depends on no other */
#define MDVR_SAMPLE_DELTA 0x01010000U   /* depends on others, not sync */


/* ---- init segment --------------------------------------------------------- */

static void
mdvr_box_16(mdvr_buf_t *b, unsigned v)
{
    uint8_t  p[2];

    mdvr_put_be16(p, (uint16_t) v);
    mdvr_buf_add(b, p, 2);
}


static void
mdvr_box_32(mdvr_buf_t *b, uint32_t v)
{
    uint8_t  p[4];

    mdvr_put_be32(p, v);
    mdvr_buf_add(b, p, 4);
}


static size_t
mdvr_box_open(mdvr_buf_t *b, const char *type)
{
    size_t  at;

    at = b->len;
    mdvr_box_32(b, 0);
    mdvr_buf_add(b, type, 4);

    return at;
}


/* a box with version and flags */
static size_t
mdvr_box_full(mdvr_buf_t *b, const char *type, uint32_t version_flags)
{
    size_t  at;

    at = mdvr_box_open(b, type);
    mdvr_box_32(b, version_flags);

    return at;
}


static void
mdvr_box_close(mdvr_buf_t *b, size_t at)
{
    if (!b->full) {
        mdvr_put_be32(b->p + at, (uint32_t) (b->len - at));
    }
}


static void
mdvr_box_matrix(mdvr_buf_t *b)
{
    static const uint32_t  m[9] = {
        0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000
    };

    unsigned  i;

    for (i = 0; i < 9; i++) {
        mdvr_box_32(b, m[i]);
    }
}


static void
mdvr_box_ftyp(mdvr_buf_t *b)
{
    size_t  at;

    at = mdvr_box_open(b, "ftyp");
    mdvr_buf_add(b, "iso6", 4);
    mdvr_box_32(b, 0);
    mdvr_buf_add(b, "iso6cmfcmp41", 12);
    mdvr_box_close(b, at);
}


static void
mdvr_box_mvhd(mdvr_buf_t *b)
{
    size_t  at;

    at = mdvr_box_full(b, "mvhd", 0);
    mdvr_buf_zero(b, 8);                        /* times */
    mdvr_box_32(b, 1000);
    mdvr_box_32(b, 0);                          /* duration: fragments */
    mdvr_box_32(b, 0x10000);                    /* rate 1.0 */
    mdvr_box_16(b, 0x100);                      /* volume 1.0 */
    mdvr_buf_zero(b, 10);
    mdvr_box_matrix(b);
    mdvr_buf_zero(b, 24);
    mdvr_box_32(b, 3);                          /* next track */
    mdvr_box_close(b, at);
}


static void
mdvr_box_tkhd(mdvr_buf_t *b, uint32_t track, uint32_t width, uint32_t height)
{
    size_t  at;

    at = mdvr_box_full(b, "tkhd", 3);           /* enabled, in movie */
    mdvr_buf_zero(b, 8);
    mdvr_box_32(b, track);
    mdvr_buf_zero(b, 4);
    mdvr_box_32(b, 0);
    mdvr_buf_zero(b, 8);
    mdvr_box_16(b, 0);                          /* layer */
    mdvr_box_16(b, 0);
    mdvr_box_16(b, width ? 0 : 0x100);
    mdvr_box_16(b, 0);
    mdvr_box_matrix(b);
    mdvr_box_32(b, width << 16);
    mdvr_box_32(b, height << 16);
    mdvr_box_close(b, at);
}


static void
mdvr_box_mdhd_hdlr(mdvr_buf_t *b, uint32_t scale, const char *handler)
{
    size_t  at;

    at = mdvr_box_full(b, "mdhd", 0);
    mdvr_buf_zero(b, 8);
    mdvr_box_32(b, scale);
    mdvr_box_32(b, 0);
    mdvr_box_16(b, 0x55c4);                     /* language "und" */
    mdvr_box_16(b, 0);
    mdvr_box_close(b, at);

    at = mdvr_box_full(b, "hdlr", 0);
    mdvr_buf_zero(b, 4);
    mdvr_buf_add(b, handler, 4);
    mdvr_buf_zero(b, 12);
    mdvr_buf_add(b, "MDVR", 5);
    mdvr_box_close(b, at);
}


static void
mdvr_box_dinf(mdvr_buf_t *b)
{
    size_t  dinf, dref, url;

    dinf = mdvr_box_open(b, "dinf");
    dref = mdvr_box_full(b, "dref", 0);
    mdvr_box_32(b, 1);
    url = mdvr_box_full(b, "url ", 1);
    mdvr_box_close(b, url);
    mdvr_box_close(b, dref);
    mdvr_box_close(b, dinf);
}


static void
mdvr_box_empty_tables(mdvr_buf_t *b)
{
    size_t  at;

    at = mdvr_box_full(b, "stts", 0);
    mdvr_box_32(b, 0);
    mdvr_box_close(b, at);

    at = mdvr_box_full(b, "stsc", 0);
    mdvr_box_32(b, 0);
    mdvr_box_close(b, at);

    at = mdvr_box_full(b, "stsz", 0);
    mdvr_box_32(b, 0);
    mdvr_box_32(b, 0);
    mdvr_box_close(b, at);

    at = mdvr_box_full(b, "stco", 0);
    mdvr_box_32(b, 0);
    mdvr_box_close(b, at);
}


static void
mdvr_box_avcc(mdvr_buf_t *b, const mdvr_fmp4_init_t *init,
    const mdvr_sps_t *sps)
{
    size_t  at;

    at = mdvr_box_open(b, "avcC");
    mdvr_buf_chr(b, 1);
    mdvr_buf_chr(b, (uint8_t) sps->profile);
    mdvr_buf_chr(b, (uint8_t) sps->compat);
    mdvr_buf_chr(b, (uint8_t) sps->level);
    mdvr_buf_chr(b, 0xff);                      /* 4-byte lengths */
    mdvr_buf_chr(b, 0xe1);                      /* one SPS */
    mdvr_box_16(b, (unsigned) init->sps.len);
    mdvr_buf_str(b, init->sps);
    mdvr_buf_chr(b, 1);
    mdvr_box_16(b, (unsigned) init->pps.len);
    mdvr_buf_str(b, init->pps);

    if (sps->profile == 100 || sps->profile == 110 || sps->profile == 122
        || sps->profile == 244)
    {
        mdvr_buf_chr(b, (uint8_t) (0xfc | sps->chroma));
        mdvr_buf_chr(b, (uint8_t) (0xf8 | (sps->depth_luma - 8)));
        mdvr_buf_chr(b, (uint8_t) (0xf8 | (sps->depth_chroma - 8)));
        mdvr_buf_chr(b, 0);
    }

    mdvr_box_close(b, at);
}


static void
mdvr_box_hvcc_array(mdvr_buf_t *b, unsigned type, mdvr_str_t nal)
{
    mdvr_buf_chr(b, (uint8_t) (0x80 | type));   /* complete */
    mdvr_box_16(b, 1);
    mdvr_box_16(b, (unsigned) nal.len);
    mdvr_buf_str(b, nal);
}


static void
mdvr_box_hvcc(mdvr_buf_t *b, const mdvr_fmp4_init_t *init,
    const mdvr_sps_t *sps)
{
    size_t  at;

    at = mdvr_box_open(b, "hvcC");
    mdvr_buf_chr(b, 1);
    mdvr_buf_chr(b, (uint8_t) (sps->profile_space << 6 | sps->tier << 5
                               | sps->profile));
    mdvr_box_32(b, sps->compat_flags);
    mdvr_buf_add(b, sps->constraints, 6);
    mdvr_buf_chr(b, (uint8_t) sps->level);
    mdvr_box_16(b, 0xf000);                     /* min spatial segmentation */
    mdvr_buf_chr(b, 0xfc);                      /* parallelism unknown */
    mdvr_buf_chr(b, (uint8_t) (0xfc | sps->chroma));
    mdvr_buf_chr(b, (uint8_t) (0xf8 | (sps->depth_luma - 8)));
    mdvr_buf_chr(b, (uint8_t) (0xf8 | (sps->depth_chroma - 8)));
    mdvr_box_16(b, 0);                          /* average frame rate */
    mdvr_buf_chr(b, (uint8_t) (sps->temporal_layers << 3
                               | sps->temporal_nested << 2 | 3));
    mdvr_buf_chr(b, init->vps.len ? 3 : 2);

    if (init->vps.len) {
        mdvr_box_hvcc_array(b, 32, init->vps);
    }

    mdvr_box_hvcc_array(b, 33, init->sps);
    mdvr_box_hvcc_array(b, 34, init->pps);
    mdvr_box_close(b, at);
}


static void
mdvr_box_video_entry(mdvr_buf_t *b, const mdvr_fmp4_init_t *init,
    const mdvr_sps_t *sps)
{
    bool    hevc;
    size_t  stsd, entry, at;

    hevc = init->codec == MDVR_CODEC_H265;

    stsd = mdvr_box_full(b, "stsd", 0);
    mdvr_box_32(b, 1);
    entry = mdvr_box_open(b, hevc ? "hvc1" : "avc1");
    mdvr_buf_zero(b, 6);
    mdvr_box_16(b, 1);                          /* data reference */
    mdvr_buf_zero(b, 16);
    mdvr_box_16(b, sps->width);
    mdvr_box_16(b, sps->height);
    mdvr_box_32(b, 0x480000);                   /* 72 dpi */
    mdvr_box_32(b, 0x480000);
    mdvr_box_32(b, 0);
    mdvr_box_16(b, 1);
    mdvr_buf_zero(b, 32);                       /* compressor name */
    mdvr_box_16(b, 24);
    mdvr_box_16(b, 0xffff);

    if (hevc) {
        mdvr_box_hvcc(b, init, sps);

    } else {
        mdvr_box_avcc(b, init, sps);
    }

    if (sps->sar_w != sps->sar_h) {
        at = mdvr_box_open(b, "pasp");
        mdvr_box_32(b, sps->sar_w);
        mdvr_box_32(b, sps->sar_h);
        mdvr_box_close(b, at);
    }

    mdvr_box_close(b, entry);
    mdvr_box_close(b, stsd);
}


/* MPEG-4 elementary stream descriptor with an AAC-LC configuration */
static void
mdvr_box_esds(mdvr_buf_t *b, uint32_t rate, unsigned channels)
{
    size_t    at;
    unsigned  i, config;

    static const uint32_t  rates[] = {
        96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000,
        12000, 11025, 8000, 7350
    };

    for (i = 0; i < 12 && rates[i] != rate; i++) { /* void */ }

    config = 2U << 11 | i << 7 | channels << 3;

    at = mdvr_box_full(b, "esds", 0);
    mdvr_buf_add(b, "\x03\x19\x00\x02\x00", 5); /* ES_ID 2 */
    mdvr_buf_add(b, "\x04\x11\x40\x15\x00\x00\x00", 7);
    mdvr_box_32(b, 0);                          /* peak bit rate */
    mdvr_box_32(b, 0);                          /* average */
    mdvr_buf_add(b, "\x05\x02", 2);
    mdvr_box_16(b, config);
    mdvr_buf_add(b, "\x06\x01\x02", 3);
    mdvr_box_close(b, at);
}


static void
mdvr_box_audio_entry(mdvr_buf_t *b, const mdvr_fmp4_init_t *init)
{
    size_t  stsd, entry;

    stsd = mdvr_box_full(b, "stsd", 0);
    mdvr_box_32(b, 1);
    entry = mdvr_box_open(b, "mp4a");
    mdvr_buf_zero(b, 6);
    mdvr_box_16(b, 1);
    mdvr_buf_zero(b, 8);
    mdvr_box_16(b, init->audio_channels);
    mdvr_box_16(b, 16);
    mdvr_buf_zero(b, 4);
    mdvr_box_32(b, init->audio_rate << 16);
    mdvr_box_esds(b, init->audio_rate, init->audio_channels);
    mdvr_box_close(b, entry);
    mdvr_box_close(b, stsd);
}


static void
mdvr_box_video_track(mdvr_buf_t *b, const mdvr_fmp4_init_t *init,
    const mdvr_sps_t *sps)
{
    size_t    trak, mdia, minf, stbl, at;
    uint64_t  width;

    width = (uint64_t) sps->width * sps->sar_w / sps->sar_h;

    trak = mdvr_box_open(b, "trak");
    mdvr_box_tkhd(b, MDVR_FMP4_VIDEO_TRACK,
                  width > 0xffff ? sps->width : (uint32_t) width,
                  sps->height);
    mdia = mdvr_box_open(b, "mdia");
    mdvr_box_mdhd_hdlr(b, MDVR_FMP4_TIMESCALE, "vide");
    minf = mdvr_box_open(b, "minf");

    at = mdvr_box_full(b, "vmhd", 1);
    mdvr_buf_zero(b, 8);
    mdvr_box_close(b, at);

    mdvr_box_dinf(b);
    stbl = mdvr_box_open(b, "stbl");
    mdvr_box_video_entry(b, init, sps);
    mdvr_box_empty_tables(b);
    mdvr_box_close(b, stbl);
    mdvr_box_close(b, minf);
    mdvr_box_close(b, mdia);
    mdvr_box_close(b, trak);
}


static void
mdvr_box_audio_track(mdvr_buf_t *b, const mdvr_fmp4_init_t *init)
{
    size_t  trak, mdia, minf, stbl, at;

    trak = mdvr_box_open(b, "trak");
    mdvr_box_tkhd(b, MDVR_FMP4_AUDIO_TRACK, 0, 0);
    mdia = mdvr_box_open(b, "mdia");
    mdvr_box_mdhd_hdlr(b, init->audio_rate, "soun");
    minf = mdvr_box_open(b, "minf");

    at = mdvr_box_full(b, "smhd", 0);
    mdvr_buf_zero(b, 4);
    mdvr_box_close(b, at);

    mdvr_box_dinf(b);
    stbl = mdvr_box_open(b, "stbl");
    mdvr_box_audio_entry(b, init);
    mdvr_box_empty_tables(b);
    mdvr_box_close(b, stbl);
    mdvr_box_close(b, minf);
    mdvr_box_close(b, mdia);
    mdvr_box_close(b, trak);
}


static void
mdvr_box_trex(mdvr_buf_t *b, uint32_t track)
{
    size_t  at;

    at = mdvr_box_full(b, "trex", 0);
    mdvr_box_32(b, track);
    mdvr_box_32(b, 1);
    mdvr_buf_zero(b, 12);
    mdvr_box_close(b, at);
}


mdvr_rc_t
mdvr_fmp4_init(mdvr_buf_t *b, const mdvr_fmp4_init_t *init,
    mdvr_sps_t *sps_out)
{
    size_t      start, moov, mvex;
    mdvr_rc_t   rc;
    mdvr_sps_t  sps;

    memset(&sps, 0, sizeof(sps));

    if (!init->audio_only) {

        if (init->codec == MDVR_CODEC_NONE) {
            return MDVR_E_CODEC;
        }

        rc = mdvr_sps_parse(init->codec, init->sps, &sps);

        if (rc != MDVR_OK) {
            return rc;
        }

        if (init->pps.len == 0 || init->sps.len > 0xffff
            || init->pps.len > 0xffff || init->vps.len > 0xffff)
        {
            return MDVR_E_SYNTAX;
        }
    }

    if (sps_out) {
        *sps_out = sps;
    }

    start = b->len;

    mdvr_box_ftyp(b);
    moov = mdvr_box_open(b, "moov");
    mdvr_box_mvhd(b);

    if (!init->audio_only) {
        mdvr_box_video_track(b, init, &sps);
    }

    if (init->audio_rate) {
        mdvr_box_audio_track(b, init);
    }

    mvex = mdvr_box_open(b, "mvex");

    if (!init->audio_only) {
        mdvr_box_trex(b, MDVR_FMP4_VIDEO_TRACK);
    }

    if (init->audio_rate) {
        mdvr_box_trex(b, MDVR_FMP4_AUDIO_TRACK);
    }

    mdvr_box_close(b, mvex);
    mdvr_box_close(b, moov);

    if (b->full) {
        b->len = start;
        return MDVR_E_NO_SPACE;
    }

    return MDVR_OK;
}


/* ---- fragments ------------------------------------------------------------- */

/*
 *   0 moof   8 mfhd (sequence at 20)   24 traf   32 tfhd   48 tfdt (time at
 *   60)   68 trun   100 mdat   108 sample
 */
static void
mdvr_fmp4_head(uint8_t *p, uint32_t track, uint32_t sequence, uint64_t ticks,
    uint32_t duration, uint32_t flags, size_t len)
{
    mdvr_put_be32(p, 100);
    memcpy(p + 4, "moof", 4);

    mdvr_put_be32(p + 8, 16);
    memcpy(p + 12, "mfhd", 4);
    mdvr_put_be32(p + 16, 0);
    mdvr_put_be32(p + 20, sequence);

    mdvr_put_be32(p + 24, 76);
    memcpy(p + 28, "traf", 4);

    mdvr_put_be32(p + 32, 16);
    memcpy(p + 36, "tfhd", 4);
    mdvr_put_be32(p + 40, 0x020000);            /* base is moof */
    mdvr_put_be32(p + 44, track);

    mdvr_put_be32(p + 48, 20);
    memcpy(p + 52, "tfdt", 4);
    mdvr_put_be32(p + 56, 0x01000000);          /* 64-bit time */
    mdvr_put_be64(p + 60, ticks);

    mdvr_put_be32(p + 68, 32);
    memcpy(p + 72, "trun", 4);
    mdvr_put_be32(p + 76, 0x000701);    /* offset, duration, size, flags */
    mdvr_put_be32(p + 80, 1);
    mdvr_put_be32(p + 84, MDVR_FMP4_FRAGMENT_HEAD);
    mdvr_put_be32(p + 88, duration);
    mdvr_put_be32(p + 92, (uint32_t) len);
    mdvr_put_be32(p + 96, flags);

    mdvr_put_be32(p + 100, (uint32_t) len + 8);
    memcpy(p + 104, "mdat", 4);
}


size_t
mdvr_fmp4_video_size(const mdvr_au_t *au)
{
    return MDVR_FMP4_FRAGMENT_HEAD + au->sample_size;
}


size_t
mdvr_fmp4_video(uint8_t *out, const mdvr_fmp4_frame_t *frame,
    mdvr_codec_e codec, const mdvr_au_t *au, mdvr_str_t annexb)
{
    uint64_t  ticks, end;

    ticks = mdvr_fmp4_ticks(frame->time_us);
    end = mdvr_fmp4_ticks(frame->time_us + frame->duration_us);

    mdvr_fmp4_head(out, MDVR_FMP4_VIDEO_TRACK, frame->sequence, ticks,
                   (uint32_t) (end - ticks),
                   frame->key ? MDVR_SAMPLE_KEY : MDVR_SAMPLE_DELTA,
                   au->sample_size);

    if (au->nals == 1) {

        /* one slice, as most pictures have: it need not be searched again */

        out += MDVR_FMP4_FRAGMENT_HEAD;
        mdvr_put_be32(out, (uint32_t) au->first.len);
        memcpy(out + 4, au->first.p, au->first.len);

        return MDVR_FMP4_FRAGMENT_HEAD + 4 + au->first.len;
    }

    return MDVR_FMP4_FRAGMENT_HEAD
           + mdvr_au_to_length_prefixed(codec, annexb,
                                        out + MDVR_FMP4_FRAGMENT_HEAD);
}


size_t
mdvr_fmp4_audio_size(size_t len)
{
    return MDVR_FMP4_FRAGMENT_HEAD + len;
}


size_t
mdvr_fmp4_audio(uint8_t *out, const mdvr_fmp4_frame_t *frame,
    uint32_t audio_rate, mdvr_str_t aac)
{
    uint64_t  ticks;

    ticks = frame->time_us / 1000000 * audio_rate
            + (frame->time_us % 1000000 * audio_rate + 500000) / 1000000;

    mdvr_fmp4_head(out, MDVR_FMP4_AUDIO_TRACK, frame->sequence, ticks, 1024,
                   MDVR_SAMPLE_KEY, aac.len);
    memcpy(out + MDVR_FMP4_FRAGMENT_HEAD, aac.p, aac.len);

    return MDVR_FMP4_FRAGMENT_HEAD + aac.len;
}


static bool
mdvr_fmp4_ours(const uint8_t *p, size_t len)
{
    return len >= MDVR_FMP4_FRAGMENT_HEAD && mdvr_be32(p) == 100
           && memcmp(p + 4, "moof", 4) == 0
           && memcmp(p + 52, "tfdt", 4) == 0;
}


bool
mdvr_fmp4_set_time(uint8_t *fragment, size_t len, uint32_t sequence,
    uint64_t ticks)
{
    if (!mdvr_fmp4_ours(fragment, len)) {
        return false;
    }

    mdvr_put_be32(fragment + 20, sequence);
    mdvr_put_be64(fragment + 60, ticks);

    return true;
}


bool
mdvr_fmp4_get_time(const uint8_t *fragment, size_t len, uint64_t *ticks)
{
    if (!mdvr_fmp4_ours(fragment, len)) {
        return false;
    }

    *ticks = mdvr_be64(fragment + 60);

    return true;
}
