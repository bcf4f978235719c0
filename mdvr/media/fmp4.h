/*
 * Fragmented MP4 (CMAF): one init segment, then one frame per fragment.
 *
 * Track 1 is video (avc1 or hvc1, time scale 90000), track 2 audio (mp4a,
 * AAC-LC, time scale = sample rate).  A fragment is moof (mfhd, one traf
 * with tfhd, 64-bit tfdt, trun) and mdat, complete in itself.  There are no
 * B-frames in these streams: presentation time = decoding time.
 * Source: ISO/IEC 14496-12, 14496-15, 23000-19.
 */

#ifndef MDVR_MEDIA_FMP4_H
#define MDVR_MEDIA_FMP4_H

#include "mdvr/media/nal.h"

#define MDVR_FMP4_TIMESCALE      90000
#define MDVR_FMP4_INIT_MAX       4096       /* an init segment fits */
#define MDVR_FMP4_VIDEO_TRACK    1
#define MDVR_FMP4_AUDIO_TRACK    2

/* bytes of moof and of the mdat header in front of the sample; the same for
 * every fragment this file writes */
#define MDVR_FMP4_FRAGMENT_HEAD  108

typedef struct {
    mdvr_codec_e  codec;
    mdvr_str_t    vps;              /* H.265 only */
    mdvr_str_t    sps;              /* NAL units, not escaped again */
    mdvr_str_t    pps;
    uint32_t      audio_rate;       /* 0: no audio track */
    unsigned      audio_channels;
    bool          audio_only;       /* no video track; codec is ignored */
} mdvr_fmp4_init_t;

/*
 * Appends ftyp and moov.  `sps_out` may be NULL; else it gets the parsed
 * parameter set (size, codec string).
 * MDVR_E_CODEC, MDVR_E_SYNTAX, MDVR_E_RANGE: as mdvr_sps_parse();
 * MDVR_E_NO_SPACE.
 */
mdvr_rc_t mdvr_fmp4_init(mdvr_buf_t *b, const mdvr_fmp4_init_t *init,
    mdvr_sps_t *sps_out);

typedef struct {
    uint32_t  sequence;             /* mfhd, counts from 1 */
    uint64_t  time_us;              /* of this frame, session's own zero */
    uint32_t  duration_us;          /* to the next frame, estimated */
    bool      key;
} mdvr_fmp4_frame_t;

/* Bytes a fragment of this access unit takes: head + au.sample_size. */
size_t mdvr_fmp4_video_size(const mdvr_au_t *au);

/*
 * Writes one fragment with the access unit `annexb` into `out`, which has
 * mdvr_fmp4_video_size() bytes; `au` from mdvr_au_scan() of the same bytes.
 * Returns the bytes written.  The length-prefixed access unit begins at
 * out + MDVR_FMP4_FRAGMENT_HEAD.
 */
size_t mdvr_fmp4_video(uint8_t *out, const mdvr_fmp4_frame_t *frame,
    mdvr_codec_e codec, const mdvr_au_t *au, mdvr_str_t annexb);

/* One AAC frame (without ADTS) as a fragment of track 2. */
size_t mdvr_fmp4_audio_size(size_t len);
size_t mdvr_fmp4_audio(uint8_t *out, const mdvr_fmp4_frame_t *frame,
    uint32_t audio_rate, mdvr_str_t aac);

/* Microseconds to the video time scale; monotonic, so that durations made
 * from differences leave no gaps. */
static inline uint64_t
mdvr_fmp4_ticks(uint64_t us)
{
    return us / 100 * 9 + us % 100 * 9 / 100;
}

/*
 * Changes the time of a finished fragment (either track): a viewer that
 * joins late may want to begin at zero.  False: not a fragment of ours.
 */
bool mdvr_fmp4_set_time(uint8_t *fragment, size_t len, uint32_t sequence,
    uint64_t ticks);
bool mdvr_fmp4_get_time(const uint8_t *fragment, size_t len,
    uint64_t *ticks);

#endif /* MDVR_MEDIA_FMP4_H */
