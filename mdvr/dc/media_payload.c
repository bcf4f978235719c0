/*
 * Payloads of the media port, read and written.  All integers are
 * little-endian.  Source: protocol reference, media.md.
 */

#include "mdvr/basics/bytes.h"
#include "mdvr/dc/media.h"

#define MDVR_OLD_IFRAME  0x63643030         /* "00dc" */
#define MDVR_OLD_PFRAME  0x63643130         /* "01dc" */
#define MDVR_OLD_AUDIO   0x63643230         /* "02dc" */
#define MDVR_RECORD      272


/* ---- readers ------------------------------------------------------------- */

mdvr_rc_t
mdvr_media_read_result(mdvr_str_t p, mdvr_media_result_t *out)
{
    if (p.len < 4) {
        return MDVR_E_SYNTAX;
    }

    out->result = mdvr_le32(p.p);
    out->reason = 0;

    if (p.len >= 8) {
        out->reason = mdvr_le32(p.p + 4);

    } else if (p.len >= 6) {
        out->reason = mdvr_le16(p.p + 4);
    }

    return MDVR_OK;
}


/* 0x6001: frame type, length, stamp, data */
static mdvr_rc_t
mdvr_media_read_old(mdvr_str_t p, uint32_t *kind, uint64_t *stamp_us,
    mdvr_str_t *data)
{
    uint32_t  len;

    if (p.len < 16) {
        return MDVR_E_SYNTAX;
    }

    *kind = mdvr_le32(p.p);
    len = mdvr_le32(p.p + 4);
    *stamp_us = mdvr_le64(p.p + 8);

    if (len > p.len - 16) {
        return MDVR_E_SYNTAX;
    }

    *data = mdvr_str(p.p + 16, len);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_media_read_video(unsigned type, mdvr_str_t p, mdvr_media_video_t *out)
{
    uint32_t   kind;
    mdvr_rc_t  rc;

    if (type == MDVR_MEDIA_VIDEO_OLD) {
        rc = mdvr_media_read_old(p, &kind, &out->stamp_us, &out->data);

        if (rc != MDVR_OK) {
            return rc;
        }

        out->key = kind == MDVR_OLD_IFRAME;

        return kind == MDVR_OLD_IFRAME || kind == MDVR_OLD_PFRAME
               ? MDVR_OK : MDVR_E_UNSUPPORTED;
    }

    if (type != MDVR_MEDIA_IFRAME && type != MDVR_MEDIA_PFRAME) {
        return MDVR_E_UNSUPPORTED;
    }

    if (p.len < 8) {
        return MDVR_E_SYNTAX;
    }

    out->stamp_us = mdvr_le64(p.p);
    out->data = mdvr_str(p.p + 8, p.len - 8);
    out->key = type == MDVR_MEDIA_IFRAME;

    return MDVR_OK;
}


/* `p` begins with the voice header or is bare audio */
static void
mdvr_media_voice(mdvr_str_t p, mdvr_media_audio_t *out)
{
    size_t  len;

    out->data = p;
    out->voice_header = false;
    out->padding = 0;

    if (p.len < 4 || p.p[0] != 0 || p.p[1] != 1) {
        return;
    }

    len = 2 * (size_t) p.p[2];

    if (len > p.len - 4) {
        return;
    }

    out->voice_header = true;
    out->data = mdvr_str(p.p + 4, len);
    out->padding = p.len - 4 - len;
}


mdvr_rc_t
mdvr_media_read_audio(unsigned type, mdvr_str_t p, mdvr_media_audio_t *out)
{
    uint32_t    kind, len;
    mdvr_rc_t   rc;
    mdvr_str_t  data;

    switch (type) {

    case MDVR_MEDIA_AUDIO:
    case MDVR_MEDIA_TALK:
        if (p.len < 8) {
            return MDVR_E_SYNTAX;
        }

        out->stamp_us = mdvr_le64(p.p);
        mdvr_media_voice(mdvr_str(p.p + 8, p.len - 8), out);
        return MDVR_OK;

    case MDVR_MEDIA_TALK_OLD:
        if (p.len < 12) {
            return MDVR_E_SYNTAX;
        }

        len = mdvr_le32(p.p);

        if (len > p.len - 12) {
            return MDVR_E_SYNTAX;
        }

        out->stamp_us = mdvr_le64(p.p + 4);
        mdvr_media_voice(mdvr_str(p.p + 12, len), out);
        return MDVR_OK;

    case MDVR_MEDIA_VIDEO_OLD:
        rc = mdvr_media_read_old(p, &kind, &out->stamp_us, &data);

        if (rc != MDVR_OK) {
            return rc;
        }

        if (kind != MDVR_OLD_AUDIO) {
            return MDVR_E_UNSUPPORTED;
        }

        mdvr_media_voice(data, out);
        return MDVR_OK;

    default:
        return MDVR_E_UNSUPPORTED;
    }
}


mdvr_rc_t
mdvr_media_read_switch(mdvr_str_t p, uint32_t *on)
{
    if (p.len < 4) {
        return MDVR_E_SYNTAX;
    }

    *on = mdvr_le32(p.p);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_media_read_params(mdvr_str_t p, mdvr_media_params_t *out)
{
    size_t    i;
    uint32_t  rate;

    static const uint32_t  rates[] = {
        8000, 11025, 16000, 22050, 32000, 44100, 48000
    };

    memset(out, 0, sizeof(mdvr_media_params_t));

    if (p.len >= 12) {
        out->audio_type = mdvr_le32(p.p + 8);
    }

    if (p.len >= 28) {
        out->channels = mdvr_le32(p.p + 16);
        out->bits = mdvr_le32(p.p + 24);
        rate = mdvr_le32(p.p + 20);

        for (i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
            if (rate == rates[i]) {
                out->sample_rate = rate;
            }
        }
    }

    return MDVR_OK;                 /* any length is accepted */
}


mdvr_rc_t
mdvr_media_read_report(mdvr_str_t p, mdvr_media_report_t *out)
{
    if (p.len < 24) {
        return MDVR_E_SYNTAX;
    }

    out->start_s = mdvr_le32(p.p);
    out->start_us = mdvr_le64(p.p + 4);
    out->end_s = mdvr_le32(p.p + 12);
    out->end_us = mdvr_le64(p.p + 16);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_media_read_block(mdvr_str_t p, mdvr_media_block_t *out)
{
    if (p.len < 8 || mdvr_le32(p.p + 4) != p.len - 8) {
        return MDVR_E_SYNTAX;
    }

    out->offset = mdvr_le32(p.p);
    out->data = mdvr_str(p.p + 8, p.len - 8);

    return MDVR_OK;
}


unsigned
mdvr_media_record_count(mdvr_str_t p)
{
    return (unsigned) (p.len / MDVR_RECORD);
}


mdvr_rc_t
mdvr_media_read_record(mdvr_str_t p, unsigned i, mdvr_media_record_t *out)
{
    size_t          k;
    const uint8_t  *r, *zero;

    if (i >= mdvr_media_record_count(p)) {
        return MDVR_E_SYNTAX;
    }

    r = p.p + (size_t) i * MDVR_RECORD;

    memcpy(out->start, r, 6);
    out->duration_s = mdvr_le32(r + 6);
    out->size = mdvr_le32(r + 10);
    out->file_type = r[14];
    out->channel = r[15];

    zero = memchr(r + 16, 0, 256);
    out->name = mdvr_str(r + 16, zero ? (size_t) (zero - r - 16) : 256);

    for (k = 0; k < MDVR_RECORD && r[k] == 0; k++) { /* void */ }

    out->last = k == MDVR_RECORD;

    return MDVR_OK;
}


mdvr_rc_t
mdvr_media_read_reposition(mdvr_str_t p, mdvr_media_reposition_t *out)
{
    if (p.len < 12) {
        return MDVR_E_SYNTAX;
    }

    out->kind = mdvr_le32(p.p);
    out->start = mdvr_le32(p.p + 4);
    out->end = mdvr_le32(p.p + 8);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_media_read_talk(mdvr_str_t p, mdvr_media_talk_t *out)
{
    if (p.len < 10) {
        return MDVR_E_SYNTAX;
    }

    out->audio_type = mdvr_le32(p.p + 4);

    if (out->audio_type > 255) {
        out->audio_type = mdvr_le16(p.p + 4);
    }

    out->frame_length = mdvr_le16(p.p + 8);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_media_read_checksum(mdvr_str_t p, uint16_t *result, uint16_t *error)
{
    if (p.len < 2) {
        return MDVR_E_SYNTAX;
    }

    *result = mdvr_le16(p.p);
    *error = p.len >= 4 ? mdvr_le16(p.p + 2) : 0;

    return MDVR_OK;
}


mdvr_rc_t
mdvr_media_read_video_switch(mdvr_str_t p, mdvr_media_switch_t *out)
{
    if (p.len < 12) {
        return MDVR_E_SYNTAX;
    }

    out->start = mdvr_le32(p.p);
    out->channel = mdvr_le32(p.p + 4);
    out->stream = mdvr_le32(p.p + 8);

    return MDVR_OK;
}


/* ---- writers ------------------------------------------------------------- */

void
mdvr_media_write_header(mdvr_buf_t *b, unsigned type, uint32_t length)
{
    uint8_t  h[MDVR_MEDIA_HEADER];

    h[0] = '@';
    h[1] = '@';
    mdvr_put_le16(h + 2, (uint16_t) type);
    mdvr_put_le32(h + 4, length);

    mdvr_buf_add(b, h, sizeof(h));
}


void
mdvr_media_write(mdvr_buf_t *b, unsigned type, mdvr_str_t payload)
{
    mdvr_media_write_header(b, type, (uint32_t) payload.len);
    mdvr_buf_str(b, payload);
}


void
mdvr_media_write_empty(mdvr_buf_t *b, unsigned type)
{
    mdvr_media_write_header(b, type, 0);
}


static void
mdvr_media_write_words(mdvr_buf_t *b, unsigned type, const uint32_t *w,
    unsigned n)
{
    uint8_t   p[32];
    unsigned  i;

    for (i = 0; i < n; i++) {
        mdvr_put_le32(p + 4 * i, w[i]);
    }

    mdvr_media_write(b, type, mdvr_str(p, 4 * (size_t) n));
}


void
mdvr_media_write_result(mdvr_buf_t *b, uint32_t result, uint32_t reason)
{
    uint32_t  w[] = { result, reason };

    mdvr_media_write_words(b, MDVR_MEDIA_RESULT, w, 2);
}


void
mdvr_media_write_legacy_result(mdvr_buf_t *b, uint16_t number,
    uint32_t second_of_day, uint32_t result, uint32_t reason)
{
    uint8_t  p[32];

    memcpy(p, "$$$$$$dc", 8);
    mdvr_put_le32(p + 8, 16);
    mdvr_put_le16(p + 12, MDVR_MEDIA_RESULT);
    mdvr_put_le16(p + 14, number);
    mdvr_put_le32(p + 16, second_of_day);
    mdvr_put_le32(p + 20, result);
    mdvr_put_le32(p + 24, reason);
    memcpy(p + 28, "####", 4);

    mdvr_buf_add(b, p, sizeof(p));
}


void
mdvr_media_write_audio_switch(mdvr_buf_t *b, bool on)
{
    uint32_t  w[] = { on };

    mdvr_media_write_words(b, MDVR_MEDIA_AUDIO_SWITCH, w, 1);
}


void
mdvr_media_write_report(mdvr_buf_t *b, unsigned type, uint64_t start_us,
    uint64_t end_us)
{
    uint8_t  p[24];

    memset(p, 0, sizeof(p));
    mdvr_put_le64(p + 4, start_us);
    mdvr_put_le64(p + 16, end_us);

    mdvr_media_write(b, type, mdvr_str(p, sizeof(p)));
}


void
mdvr_media_write_reposition(mdvr_buf_t *b, uint32_t kind, uint32_t start,
    uint32_t end)
{
    uint32_t  w[] = { kind, start, end };

    mdvr_media_write_words(b, MDVR_MEDIA_REPOSITION, w, 3);
}


void
mdvr_media_write_file_report(mdvr_buf_t *b)
{
    uint32_t  w[] = { 0 };

    mdvr_media_write_words(b, MDVR_MEDIA_FILE_REPORT, w, 1);
}


void
mdvr_media_write_talk(mdvr_buf_t *b, uint32_t audio_type,
    uint16_t frame_length)
{
    uint8_t  p[512];

    memset(p, 0, sizeof(p));
    mdvr_put_le32(p, 0x60000001);
    mdvr_put_le32(p + 4, audio_type);
    mdvr_put_le16(p + 8, frame_length);

    mdvr_media_write(b, MDVR_MEDIA_TALK_PARAMS, mdvr_str(p, sizeof(p)));
}


void
mdvr_media_write_checksum(mdvr_buf_t *b, uint16_t result, uint16_t error)
{
    uint32_t  w[] = { result | (uint32_t) error << 16 };

    mdvr_media_write_words(b, MDVR_MEDIA_CHECKSUM, w, 1);
}


void
mdvr_media_write_video_switch(mdvr_buf_t *b, bool start, uint32_t channel,
    uint32_t stream)
{
    uint32_t  w[] = { start, channel, stream };

    mdvr_media_write_words(b, MDVR_MEDIA_VIDEO_SWITCH, w, 3);
}


void
mdvr_media_write_video_answer(mdvr_buf_t *b, uint32_t result,
    uint16_t reason)
{
    uint8_t  p[6];

    mdvr_put_le32(p, result);
    mdvr_put_le16(p + 4, reason);

    mdvr_media_write(b, MDVR_MEDIA_VIDEO_ANSWER, mdvr_str(p, sizeof(p)));
}


void
mdvr_media_write_params(mdvr_buf_t *b, uint32_t audio_type,
    uint32_t sample_rate, uint32_t bits)
{
    uint8_t  p[512];

    memset(p, 0, sizeof(p));
    mdvr_put_le32(p, 0x40000001);
    mdvr_put_le32(p + 8, audio_type);
    mdvr_put_le32(p + 12, 2);
    mdvr_put_le32(p + 16, 1);
    mdvr_put_le32(p + 20, sample_rate);
    mdvr_put_le32(p + 24, bits);
    mdvr_put_le32(p + 96, 307200);
    mdvr_put_le32(p + 100, 2);

    mdvr_media_write(b, MDVR_MEDIA_PARAMETERS, mdvr_str(p, sizeof(p)));
}


void
mdvr_media_write_video(mdvr_buf_t *b, bool key, uint64_t stamp_us,
    mdvr_str_t annexb)
{
    uint8_t  p[8];

    mdvr_media_write_header(b, key ? MDVR_MEDIA_IFRAME : MDVR_MEDIA_PFRAME,
                            (uint32_t) annexb.len + 8);
    mdvr_put_le64(p, stamp_us);
    mdvr_buf_add(b, p, sizeof(p));
    mdvr_buf_str(b, annexb);
}


void
mdvr_media_write_audio(mdvr_buf_t *b, unsigned type, uint64_t stamp_us,
    mdvr_str_t coded, bool voice_header, size_t padding)
{
    size_t   len;
    uint8_t  p[12], h[4];

    len = coded.len + padding + (voice_header ? 4 : 0);

    if (type == MDVR_MEDIA_TALK_OLD) {
        mdvr_put_le32(p, (uint32_t) len);
        mdvr_put_le64(p + 4, stamp_us);
        mdvr_media_write_header(b, type, (uint32_t) len + 12);
        mdvr_buf_add(b, p, 12);

    } else {
        mdvr_put_le64(p, stamp_us);
        mdvr_media_write_header(b, type, (uint32_t) len + 8);
        mdvr_buf_add(b, p, 8);
    }

    if (voice_header) {
        h[0] = 0;
        h[1] = 1;
        h[2] = (uint8_t) (coded.len / 2);
        h[3] = 0;
        mdvr_buf_add(b, h, 4);
    }

    mdvr_buf_str(b, coded);
    mdvr_buf_zero(b, padding);
}


void
mdvr_media_write_block(mdvr_buf_t *b, unsigned type, uint32_t offset,
    mdvr_str_t data)
{
    uint8_t  p[8];

    mdvr_media_write_header(b, type, (uint32_t) data.len + 8);
    mdvr_put_le32(p, offset);
    mdvr_put_le32(p + 4, (uint32_t) data.len);
    mdvr_buf_add(b, p, sizeof(p));
    mdvr_buf_str(b, data);
}


void
mdvr_media_write_record(mdvr_buf_t *b, const mdvr_media_record_t *r)
{
    uint8_t  p[MDVR_RECORD];

    memset(p, 0, sizeof(p));

    if (!r->last) {
        memcpy(p, r->start, 6);
        mdvr_put_le32(p + 6, r->duration_s);
        mdvr_put_le32(p + 10, r->size);
        p[14] = r->file_type;
        p[15] = r->channel;
        memcpy(p + 16, r->name.p, r->name.len < 255 ? r->name.len : 255);
    }

    mdvr_media_write(b, MDVR_MEDIA_SEARCH, mdvr_str(p, sizeof(p)));
}


/* ---- audio types ---------------------------------------------------------- */

const mdvr_audio_type_t *
mdvr_audio_type(int type)
{
    static const mdvr_audio_type_t  types[] = {
        {  1, "g726le-40", "g726le",       5, 200 },
        {  2, "adpcm",     "adpcm_ima_wav", 4, 164 },
        {  3, "g726-40",   "g726",         5, 200 },
        {  4, "g726-32",   "g726",         4, 160 },
        {  5, "g726-24",   "g726",         3, 120 },
        {  6, "g726-16",   "g726",         2,  80 },
        {  7, "g726le-32", "g726le",       4, 160 },
        {  8, "g726le-24", "g726le",       3, 120 },
        {  9, "g726le-16", "g726le",       2,  80 },
        { 10, "g711-alaw", "pcm_alaw",     8, 320 },
        { 11, "g711-ulaw", "pcm_mulaw",    8, 320 },
    };

    return type >= 1 && type <= 11 ? &types[type - 1] : NULL;
}
