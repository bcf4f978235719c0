/* Everything that mdvr-rtc reads from strangers: STUN, SDP, RTP, RTCP. */

#include "rtc/rtp.h"
#include "rtc/sdp.h"
#include "rtc/stun.h"


static void
nack(void *data, uint32_t ssrc, uint16_t seq)
{
    (void) data;
    (void) ssrc;
    (void) seq;
}


static void
pli(void *data, uint32_t ssrc)
{
    (void) data;
    (void) ssrc;
}


static void
bye(void *data)
{
    (void) data;
}


static mdvr_rc_t
packet(void *data, uint8_t *p, size_t len, uint16_t seq)
{
    (void) data;
    (void) p;
    (void) seq;

    return len <= RTC_MTU ? MDVR_OK : MDVR_E_INTERNAL;
}


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t len)
{
    char               out[8192];
    rtc_rtp_t          rtp = { 0 };
    mdvr_buf_t         buf = mdvr_buf(out, sizeof(out));
    rtc_stun_t         stun;
    rtc_offer_t        offer;
    rtc_rtp_in_t       in;
    rtc_rtcp_events_t  events = { nack, pli, bye, NULL };
    rtc_answer_t       answer = { .ufrag = "u", .pwd = "p",
                                  .fingerprint = "f", .candidates = "",
                                  .ssrc_video = 1, .ssrc_audio = 2 };

    if (len == 0) {
        return 0;
    }

    switch (p[0] & 7) {

    case 0:
        if (rtc_stun_parse(p + 1, len - 1, &stun) == MDVR_OK) {
            (void) rtc_stun_verify(p + 1, &stun, "password");
        }
        break;

    case 1:
        if (rtc_sdp_parse(mdvr_str(p + 1, len - 1), &offer) == MDVR_OK) {
            (void) rtc_sdp_answer(&offer, &answer, &buf);
        }
        break;

    case 2:
        rtc_rtcp_parse(p + 1, len - 1, &events);
        break;

    case 4:
        if (rtc_rtp_parse(p + 1, len - 1, &in) == MDVR_OK
            && (in.payload.p < p + 1
                || in.payload.p + in.payload.len > p + len))
        {
            __builtin_trap();
        }

        break;

    default:
        (void) rtc_rtp_h264(&rtp, mdvr_str(p + 1, len - 1), packet, NULL);
    }

    return 0;
}
