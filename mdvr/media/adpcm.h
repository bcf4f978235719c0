/*
 * IMA/DVI ADPCM, 4 bits a sample: audio type 2 (protocol reference, media.md
 * section 5).
 *
 * A frame begins with its state, as in the "DVI4" frames of the HiSilicon
 * codecs and of WAV: predictor (int16, little-endian), step index (0..88), one
 * byte reserved; then two samples a byte, the lower half first.  No capture has
 * such a frame; where the state is not plausible the frame is taken to have
 * none.
 */

#ifndef MDVR_MEDIA_ADPCM_H
#define MDVR_MEDIA_ADPCM_H

#include "mdvr/basics/str.h"

/* Decodes one frame; returns the number of samples, at most `max`. */
size_t mdvr_ima_decode(mdvr_str_t in, int16_t *out, size_t max);

typedef struct {
    int  value;                 /* predictor */
    int  index;                 /* of the step */
} mdvr_ima_t;

/*
 * Encodes one frame of `n` samples, its state in front; zeros are a fresh
 * encoder.  `out` has room for 4 + (n + 1) / 2 bytes; returns that number.
 */
size_t mdvr_ima_encode(mdvr_ima_t *ima, const int16_t *in, size_t n,
    uint8_t *out);

#endif /* MDVR_MEDIA_ADPCM_H */
