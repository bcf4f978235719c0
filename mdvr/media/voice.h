/*
 * Sound in the coding of a device: any audio type of the protocol reference,
 * media.md section 5, to and from 16-bit samples at 8 kHz, mono.
 *
 * Types: 1 and 3..9 G.726, 2 IMA ADPCM, 10 A-law, 11 mu-law.
 */

#ifndef MDVR_MEDIA_VOICE_H
#define MDVR_MEDIA_VOICE_H

#include "mdvr/basics/rc.h"
#include "mdvr/media/adpcm.h"
#include "mdvr/media/g726.h"

enum {
    MDVR_VOICE_RATE = 8000,
    MDVR_VOICE_FRAME = 320,         /* samples of a usual frame, 40 ms */

    MDVR_VOICE_IMA = 2,
    MDVR_VOICE_ALAW = 10,
    MDVR_VOICE_ULAW = 11
};

/* One direction of one stream; zeros: nothing is known yet. */

typedef struct {
    unsigned     type;
    mdvr_g726_t  g726;
    mdvr_ima_t   ima;
} mdvr_voice_t;

/* MDVR_E_UNSUPPORTED: no such type; the voice is left as it was. */
mdvr_rc_t mdvr_voice_init(mdvr_voice_t *v, unsigned type);

/*
 * Decodes one frame; a new `type` starts anew, 0 counts as 1 (what devices
 * that do not say it were seen to send).  Returns the number of samples, at
 * most `max`; 0 for a type that nobody knows.
 */
size_t mdvr_voice_decode(mdvr_voice_t *v, unsigned type, mdvr_str_t in,
    int16_t *pcm, size_t max);

/* Encodes `n` samples; `out` has room for 4 + n bytes.  Returns the bytes. */
size_t mdvr_voice_encode(mdvr_voice_t *v, const int16_t *pcm, size_t n,
    uint8_t *out);

/* Samples in `bytes` of a type, 0 when it is not known. */
size_t mdvr_voice_samples(unsigned type, size_t bytes);

#endif /* MDVR_MEDIA_VOICE_H */
