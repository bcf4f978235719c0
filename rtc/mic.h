/*
 * The operator's microphone: G.711 in RTP packets to the AUX ring of a talk.
 *
 * Packets of one SSRC in their order; what comes late or twice is dropped, what
 * is missing (up to GAP packets) is silence of the same length, so that what
 * follows keeps its time.
 */

#ifndef RTC_MIC_H
#define RTC_MIC_H

#include "bus/mdvr_bus.h"
#include "mdvr/media/voice.h"
#include "rtc/rtp.h"

typedef struct {
    bool          wanted;           /* set by the owner of this */
    uint8_t       pt;
    bool          pcmu;
    bool          claimed;
    bool          started;
    uint32_t      ticket;
    uint32_t      ssrc;
    uint16_t      seq;              /* of the newest packet */
    size_t        samples;          /* in it */
    uint64_t      packets;
    uint64_t      late;
    uint64_t      missing;
    mdvr_voice_t  voice;
} rtc_mic_t;

/* Takes the microphone; false: this talk has none, or is over. */
bool rtc_mic_open(rtc_mic_t *mic, mdvr_bus_t *bus, mdvr_bus_ref_t ref);

/* One packet, decrypted.  False: somebody else has the microphone now. */
bool rtc_mic_packet(rtc_mic_t *mic, mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    const rtc_rtp_in_t *in);

#endif
