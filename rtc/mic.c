#include "rtc/mic.h"

#include <string.h>

enum {
    GAP = 5,
    RESTART = 1000              /* so far from what was expected: a new begin */
};


bool
rtc_mic_open(rtc_mic_t *mic, mdvr_bus_t *bus, mdvr_bus_ref_t ref)
{
    mic->claimed = mic->wanted
                   && mdvr_bus_mic_claim(bus, ref, &mic->ticket) == MDVR_OK;
    mic->started = false;

    (void) mdvr_voice_init(&mic->voice, mic->pcmu ? MDVR_VOICE_ULAW
                                                  : MDVR_VOICE_ALAW);
    return mic->claimed;
}


bool
rtc_mic_packet(rtc_mic_t *mic, mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    const rtc_rtp_in_t *in)
{
    int       ahead;
    size_t    n;
    int16_t   pcm[MDVR_BUS_MIC_MAX];

    if (!mic->claimed || in->pt != mic->pt) {
        return true;            /* comfort noise, telephone events */
    }

    ahead = (int16_t) (in->seq - mic->seq);

    if (!mic->started || in->ssrc != mic->ssrc || ahead > RESTART
        || ahead < -RESTART)
    {
        mic->started = true;
        mic->ssrc = in->ssrc;
        ahead = 1;
    }

    if (ahead <= 0) {
        mic->late++;
        return true;
    }

    if (ahead > 1 && ahead <= GAP + 1 && mic->samples) {
        memset(pcm, 0, sizeof(pcm));
        mic->missing += (unsigned) ahead - 1;

        for (int i = 1; i < ahead; i++) {
            (void) mdvr_bus_mic_put(bus, ref, mic->ticket, pcm, mic->samples);
        }
    }

    mic->seq = in->seq;
    mic->packets++;

    n = mdvr_voice_decode(&mic->voice, mic->voice.type, in->payload, pcm,
                          MDVR_BUS_MIC_MAX);
    mic->samples = n;

    if (n && mdvr_bus_mic_put(bus, ref, mic->ticket, pcm, n)
             == MDVR_E_NOT_FOUND)
    {
        mic->claimed = false;
    }

    return mic->claimed;
}
