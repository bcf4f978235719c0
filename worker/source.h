/*
 * What a device recorded, as access units.
 *
 * Files arrive in whatever form the firmware writes (protocol reference,
 * media.md, and measurements):
 *
 *   private   a header of the vendor ("SSY_DVR" within the first 4 KB), then
 *             frames behind headers of 16 bytes: "00dc" I, "01dc" P, "02dc"
 *             audio, "99dc" information; u32 length, u64 microseconds, both
 *             little-endian; each frame padded to 16 bytes
 *   annexb    NAL units behind start codes, with anything in between
 *   length    NAL units behind big-endian lengths
 *   mp4       "ftyp": not read here, see worker/movie.h
 *
 * HiSilicon voice headers (00 01 LL cc) look like start codes: a byte stream
 * of unknown form is read strictly, and what is no plausible NAL unit is
 * dropped.  The stream begins at the first key frame.
 */

#ifndef MDVR_WORKER_SOURCE_H
#define MDVR_WORKER_SOURCE_H

#include "mdvr/media/nal.h"

typedef enum {
    WK_FORM_NONE = 0,
    WK_FORM_PRIVATE,
    WK_FORM_ANNEXB,
    WK_FORM_LENGTH,
    WK_FORM_MP4
} wk_form_e;

typedef struct {
    bool        audio;
    bool        key;
    int64_t     stamp_us;       /* of the file, sanitised; -1: it has none */
    int64_t     raw_us;         /* as it stands there; -1: it has none */
    mdvr_str_t  data;           /* Annex B, or coded audio without header */
} wk_frame_t;

typedef struct {
    mdvr_str_t    file;         /* borrowed, for the whole life */
    wk_form_e     form;
    mdvr_codec_e  codec;
    mdvr_sps_t    sps;
    uint8_t       headers[1024];    /* parameter sets, Annex B */
    size_t        headers_len;
    size_t        start;        /* where reading begins */

    size_t        pos;
    uint8_t      *au;           /* the access unit being put together */
    size_t        au_len, au_cap;
    bool          au_picture, au_key;
    bool          started;      /* a key frame was given out */
    int64_t       stamp_us;     /* last sanitised */
    int64_t       stamp_raw;    /* last as in the file; -1: none yet */
    int64_t       nominal_us;   /* of a frame */

    bool          more;         /* the file goes on behind what is here */
    bool          starved;      /* next() gave nothing for want of that */

    uint64_t      dropped;      /* bytes that were no frame */
} wk_source_t;

const char *wk_form_name(wk_form_e form);

/*
 * Recognises the form and the codec.  MDVR_OK; MDVR_E_CODEC: no picture that
 * anything could decode; MDVR_E_NO_MEMORY.  For WK_FORM_MP4 nothing else is
 * set and next() gives nothing.
 */
mdvr_rc_t wk_source_open(wk_source_t *s, mdvr_str_t file);
void wk_source_close(wk_source_t *s);

/*
 * The next frame, valid until the next call; false at the end, and with `more`
 * (to be set after opening) also when the frame is not here as a whole:
 * `starved`.  Then wk_source_feed() and again.
 */
bool wk_source_next(wk_source_t *s, wk_frame_t *f);

void wk_source_rewind(wk_source_t *s);

/* The same file again, longer, without its first `gone` bytes (read by now). */
void wk_source_feed(wk_source_t *s, mdvr_str_t file, size_t gone);

/* Another place of the same recording: begins at the next key frame. */
void wk_source_seek(wk_source_t *s, mdvr_str_t file);

#endif /* MDVR_WORKER_SOURCE_H */
