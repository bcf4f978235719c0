#include <string.h>

#include "mdvr/dc/media.h"
#include "mdvr/media/g711.h"
#include "mdvr/media/voice.h"


mdvr_rc_t
mdvr_voice_init(mdvr_voice_t *v, unsigned type)
{
    if (type > MDVR_VOICE_ULAW || mdvr_audio_type((int) type) == NULL) {
        return MDVR_E_UNSUPPORTED;
    }

    memset(v, 0, sizeof(*v));
    v->type = type;

    (void) mdvr_g726_init(&v->g726, type);          /* or it is another */

    return MDVR_OK;
}


size_t
mdvr_voice_decode(mdvr_voice_t *v, unsigned type, mdvr_str_t in, int16_t *pcm,
    size_t max)
{
    size_t  n;

    if (type == 0) {
        type = 1;
    }

    if (v->type != type && mdvr_voice_init(v, type) != MDVR_OK) {
        return 0;
    }

    n = in.len < max ? in.len : max;

    switch (type) {

    case MDVR_VOICE_IMA:
        return mdvr_ima_decode(in, pcm, max);

    case MDVR_VOICE_ALAW:
        for (size_t i = 0; i < n; i++) {
            pcm[i] = mdvr_alaw_decode(in.p[i]);
        }

        return n;

    case MDVR_VOICE_ULAW:
        for (size_t i = 0; i < n; i++) {
            pcm[i] = mdvr_ulaw_decode(in.p[i]);
        }

        return n;

    default:
        return mdvr_g726_decode(&v->g726, in, pcm, max);
    }
}


size_t
mdvr_voice_encode(mdvr_voice_t *v, const int16_t *pcm, size_t n, uint8_t *out)
{
    switch (v->type) {

    case 0:
        return 0;

    case MDVR_VOICE_IMA:
        return mdvr_ima_encode(&v->ima, pcm, n, out);

    case MDVR_VOICE_ALAW:
        for (size_t i = 0; i < n; i++) {
            out[i] = mdvr_alaw_encode(pcm[i]);
        }

        return n;

    case MDVR_VOICE_ULAW:
        for (size_t i = 0; i < n; i++) {
            out[i] = mdvr_ulaw_encode(pcm[i]);
        }

        return n;

    default:
        return mdvr_g726_encode(&v->g726, pcm, n, out);
    }
}


size_t
mdvr_voice_samples(unsigned type, size_t bytes)
{
    const mdvr_audio_type_t  *t;

    t = type <= MDVR_VOICE_ULAW ? mdvr_audio_type((int) type) : NULL;

    if (t == NULL) {
        return 0;
    }

    if (type == MDVR_VOICE_IMA) {
        return bytes > 4 ? 2 * (bytes - 4) : 0;
    }

    return bytes * 8 / t->bits;
}
