/*
 * G.726 ADPCM at 40, 32, 24 and 16 kbit/s, both packings of its code words.
 *
 * The codec of the device's sound is its "audio type" (protocol reference,
 * media.md section 5):
 *
 *   1  40 kbit/s, first code word in the least significant bits (captured)
 *   7, 8, 9  32, 24, 16 kbit/s, the same packing
 *   3, 4, 5, 6  40, 32, 24, 16 kbit/s, first code word in the most
 *      significant bits ("media" packing)
 *
 * Source of the algorithm and of every table: ITU-T G.726.
 */

#ifndef MDVR_MEDIA_G726_H
#define MDVR_MEDIA_G726_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

typedef struct {
    uint8_t   bits;             /* of a code word, 2..5 */
    bool      msb_first;
    /* names as in the recommendation */
    int32_t   yl;               /* slow scale factor */
    int32_t   yu;               /* fast scale factor */
    int32_t   dms, dml;         /* short and long term averages of F(I) */
    int32_t   ap;               /* speed control */
    int32_t   a[2], b[6];       /* predictor coefficients */
    int32_t   dq[6], sr[2];     /* past values, in the short float form */
    int32_t   pk[2];            /* signs */
    bool      td;               /* tone detected */
} mdvr_g726_t;

/* MDVR_E_UNSUPPORTED: `audio_type` is not a G.726 type. */
mdvr_rc_t mdvr_g726_init(mdvr_g726_t *g, unsigned audio_type);

/*
 * Decodes whole code words (a rest of fewer bits is padding) into 16-bit
 * samples at 8 kHz.  Returns the number of samples, at most `max`.
 */
size_t mdvr_g726_decode(mdvr_g726_t *g, mdvr_str_t in, int16_t *out,
    size_t max);

/*
 * Encodes `n` samples.  `out` has room for (n * bits + 7) / 8 bytes; returns
 * that number.
 */
size_t mdvr_g726_encode(mdvr_g726_t *g, const int16_t *in, size_t n,
    uint8_t *out);

#endif /* MDVR_MEDIA_G726_H */
