/*
 * IMA ADPCM.  Source: IMA, "Recommended Practices for Enhancing
 * Digital Audio Compatibility in Multimedia Systems", 3.0, 1992.
 */

#include "mdvr/media/adpcm.h"

static const int16_t  mdvr_ima_step[89] = {
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41,
    45, 50, 55, 60, 66, 73, 80, 88, 97, 107, 118, 130, 143, 157, 173, 190,
    209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796,
    876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499,
    2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845,
    8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385,
    24623, 27086, 29794, 32767
};

static const int8_t  mdvr_ima_index[8] = { -1, -1, -1, -1, 2, 4, 6, 8 };


static int16_t
mdvr_ima_nibble(int *value, int *index, unsigned code)
{
    int  step = mdvr_ima_step[*index], diff = step >> 3;

    if (code & 4) {
        diff += step;
    }

    if (code & 2) {
        diff += step >> 1;
    }

    if (code & 1) {
        diff += step >> 2;
    }

    *value += code & 8 ? -diff : diff;
    *value = *value > 32767 ? 32767 : *value < -32768 ? -32768 : *value;

    *index += mdvr_ima_index[code & 7];
    *index = *index < 0 ? 0 : *index > 88 ? 88 : *index;

    return (int16_t) *value;
}


size_t
mdvr_ima_decode(mdvr_str_t in, int16_t *out, size_t max)
{
    int     value = 0, index = 0;
    size_t  i = 0, n = 0;

    if (in.len >= 4 && in.p[2] <= 88 && in.p[3] == 0) {
        value = (int16_t) (in.p[0] | in.p[1] << 8);
        index = in.p[2];
        i = 4;
    }

    for ( ; i < in.len && n + 2 <= max; i++) {
        out[n++] = mdvr_ima_nibble(&value, &index, in.p[i] & 15);
        out[n++] = mdvr_ima_nibble(&value, &index, in.p[i] >> 4);
    }

    return n;
}


/* the code whose decoding comes nearest to the sample */

static unsigned
mdvr_ima_code(const mdvr_ima_t *ima, int sample)
{
    int       step = mdvr_ima_step[ima->index], diff = sample - ima->value;
    unsigned  code = 0;

    if (diff < 0) {
        code = 8;
        diff = -diff;
    }

    for (unsigned bit = 4; bit; bit >>= 1) {

        if (diff >= step) {
            code |= bit;
            diff -= step;
        }

        step >>= 1;
    }

    return code;
}


size_t
mdvr_ima_encode(mdvr_ima_t *ima, const int16_t *in, size_t n, uint8_t *out)
{
    size_t    at = 4;
    unsigned  code;

    out[0] = (uint8_t) ima->value;
    out[1] = (uint8_t) ((unsigned) ima->value >> 8);
    out[2] = (uint8_t) ima->index;
    out[3] = 0;

    for (size_t i = 0; i < n; i++) {
        code = mdvr_ima_code(ima, in[i]);
        (void) mdvr_ima_nibble(&ima->value, &ima->index, code);

        if (i % 2 == 0) {
            out[at] = (uint8_t) code;

        } else {
            out[at++] |= (uint8_t) (code << 4);
        }
    }

    return at + n % 2;
}
