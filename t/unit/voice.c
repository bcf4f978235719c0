/*
 * Every audio type there and back: a tone comes out as loud as it went in,
 * and near enough to be understood.
 */

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "mdvr/dc/media.h"
#include "mdvr/media/voice.h"
#include "t/unit/lib/tap.h"

enum { FRAMES = 50 };


/* signal to noise of a 440 Hz tone after encoding and decoding, dB */

static double
there_and_back(unsigned type)
{
    size_t         n;
    double         signal = 0, noise = 0;
    int16_t        in[MDVR_VOICE_FRAME], out[2 * MDVR_VOICE_FRAME];
    uint8_t        coded[MDVR_VOICE_FRAME + 4];
    mdvr_voice_t   there, back;

    memset(&back, 0, sizeof(back));

    if (mdvr_voice_init(&there, type) != MDVR_OK) {
        return -1;
    }

    for (int f = 0; f < FRAMES; f++) {
        for (int i = 0; i < MDVR_VOICE_FRAME; i++) {
            in[i] = (int16_t) (8000 * sin(2 * 3.14159265358979 * 440
                                          * (f * MDVR_VOICE_FRAME + i)
                                          / MDVR_VOICE_RATE));
        }

        n = mdvr_voice_encode(&there, in, MDVR_VOICE_FRAME, coded);

        if (n != mdvr_audio_type((int) type)->frame_bytes
            || mdvr_voice_samples(type, n) != MDVR_VOICE_FRAME
            || mdvr_voice_decode(&back, type, mdvr_str(coded, n), out,
                                 2 * MDVR_VOICE_FRAME) != MDVR_VOICE_FRAME)
        {
            return -2;
        }

        for (int i = 0; f > 2 && i < MDVR_VOICE_FRAME; i++) {
            signal += (double) in[i] * in[i];
            noise += (double) (in[i] - out[i]) * (in[i] - out[i]);
        }
    }

    return 10 * log10(signal / (noise + 1));
}


int
main(void)
{
    char          title[64];
    double        db;
    int16_t       pcm[64];
    uint8_t       coded[64];
    mdvr_voice_t  v;

    /* what the recommendations reach with a tone, 16 kbit/s being the worst */

    static const double  least[12] = {
        0, 25, 20, 25, 20, 12, 5, 20, 12, 5, 33, 33
    };

    for (unsigned type = 1; type <= 11; type++) {
        db = there_and_back(type);
        snprintf(title, sizeof(title), "%s: %.1f dB",
                 mdvr_audio_type((int) type)->name, db);
        tap_ok(db > least[type], "%s", title);
    }

    memset(&v, 0, sizeof(v));
    tap_ok(mdvr_voice_init(&v, 12) == MDVR_E_UNSUPPORTED
           && mdvr_voice_init(&v, 0) == MDVR_E_UNSUPPORTED
           && mdvr_voice_init(&v, UINT32_MAX) == MDVR_E_UNSUPPORTED,
           "types of no table are refused");
    tap_ok(mdvr_voice_decode(&v, 77, mdvr_str("abcd", 4), pcm, 64) == 0,
           "and are silent");
    tap_ok(mdvr_voice_encode(&v, pcm, 64, coded) == 0,
           "nothing is encoded for nobody");
    tap_ok(mdvr_voice_decode(&v, 0, mdvr_str("abcde", 5), pcm, 64) == 8
           && v.type == 1, "what does not say its type is G.726 at 40 kbit/s");
    tap_ok(mdvr_voice_samples(2, 3) == 0 && mdvr_voice_samples(99, 80) == 0,
           "no samples where none can be");

    return tap_end();
}
