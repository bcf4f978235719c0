#include "rtc/rtp.h"

enum {
    NAL_SPS = 7,
    NAL_PPS = 8,
    NAL_AUD = 9,
    NAL_FILLER = 12,
    NAL_STAP_A = 24,
    NAL_FU_A = 28,

    RTCP_SR = 200,
    RTCP_SDES = 202,
    RTCP_BYE = 203,
    RTCP_RTPFB = 205,
    RTCP_PSFB = 206
};


static void
put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t) (v >> 8);
    p[1] = (uint8_t) v;
}


static void
put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}


static uint32_t
get32(const uint8_t *p)
{
    return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16
           | (uint32_t) p[2] << 8 | p[3];
}


/* `packet` holds the payload behind the header's place already */

static mdvr_rc_t
rtp_send(rtc_rtp_t *rtp, uint8_t *packet, size_t payload, bool marker,
    rtc_rtp_pt send, void *data)
{
    uint16_t  seq = rtp->seq++;

    packet[0] = 0x80;
    packet[1] = (uint8_t) (rtp->pt | (marker ? 0x80 : 0));
    put16(packet + 2, seq);
    put32(packet + 4, rtp->timestamp);
    put32(packet + 8, rtp->ssrc);

    rtp->packets++;
    rtp->octets += (uint32_t) payload;

    return send(data, packet, RTC_RTP_HEADER + payload, seq);
}


/* The next NAL unit worth sending; false at the end.  *rc tells why. */

static bool
rtp_next_nal(mdvr_str_t *rest, mdvr_str_t *nal, mdvr_rc_t *rc)
{
    unsigned  type;
    uint32_t  len;

    while (rest->len) {

        if (rest->len < 4 || (len = get32(rest->p)) > rest->len - 4) {
            *rc = MDVR_E_SYNTAX;
            return false;
        }

        *nal = mdvr_str(rest->p + 4, len);
        rest->p += 4 + len;
        rest->len -= 4 + len;

        if (len == 0) {
            continue;
        }

        type = nal->p[0] & 0x1f;

        if (type != NAL_AUD && type != NAL_FILLER) {
            return true;
        }
    }

    *rc = MDVR_OK;
    return false;
}


static mdvr_rc_t
rtp_fragments(rtc_rtp_t *rtp, mdvr_str_t nal, bool last, rtc_rtp_pt send,
    void *data)
{
    size_t     at, n;
    uint8_t    packet[RTC_PACKET_MAX];
    mdvr_rc_t  rc;

    for (at = 1; at < nal.len; at += n) {
        n = nal.len - at;

        if (n > RTC_MTU - RTC_RTP_HEADER - 2) {
            n = RTC_MTU - RTC_RTP_HEADER - 2;
        }

        packet[RTC_RTP_HEADER] = (uint8_t) ((nal.p[0] & 0xe0) | NAL_FU_A);
        packet[RTC_RTP_HEADER + 1] =
            (uint8_t) ((nal.p[0] & 0x1f) | (at == 1 ? 0x80 : 0)
                       | (at + n == nal.len ? 0x40 : 0));
        memcpy(packet + RTC_RTP_HEADER + 2, nal.p + at, n);

        rc = rtp_send(rtp, packet, n + 2, last && at + n == nal.len, send,
                      data);
        if (rc != MDVR_OK) {
            return rc;
        }
    }

    return MDVR_OK;
}


mdvr_rc_t
rtc_rtp_h264(rtc_rtp_t *rtp, mdvr_str_t au, rtc_rtp_pt send, void *data)
{
    bool        more;
    size_t      stap;
    uint8_t     packet[RTC_PACKET_MAX];
    unsigned    type;
    mdvr_rc_t   rc, end;
    mdvr_str_t  nal, next;

    end = MDVR_OK;

    if (!rtp_next_nal(&au, &nal, &end)) {
        return end;
    }

    stap = 0;

    do {
        more = rtp_next_nal(&au, &next, &end);
        type = nal.p[0] & 0x1f;

        if ((type == NAL_SPS || type == NAL_PPS) && more
            && RTC_RTP_HEADER + 1 + stap + 2 + nal.len <= RTC_MTU)
        {
            packet[RTC_RTP_HEADER] = 0x60 | NAL_STAP_A;
            put16(packet + RTC_RTP_HEADER + 1 + stap, (unsigned) nal.len);
            memcpy(packet + RTC_RTP_HEADER + 3 + stap, nal.p, nal.len);
            stap += 2 + nal.len;

        } else {
            if (stap) {
                rc = rtp_send(rtp, packet, stap + 1, false, send, data);
                if (rc != MDVR_OK) {
                    return rc;
                }

                stap = 0;
            }

            if (RTC_RTP_HEADER + nal.len <= RTC_MTU) {
                memcpy(packet + RTC_RTP_HEADER, nal.p, nal.len);
                rc = rtp_send(rtp, packet, nal.len, !more, send, data);

            } else {
                rc = rtp_fragments(rtp, nal, !more, send, data);
            }

            if (rc != MDVR_OK) {
                return rc;
            }
        }

        nal = next;

    } while (more);

    return end;
}


mdvr_rc_t
rtc_rtp_audio(rtc_rtp_t *rtp, mdvr_str_t payload, bool marker,
    rtc_rtp_pt send, void *data)
{
    uint8_t  packet[RTC_PACKET_MAX];

    if (payload.len > RTC_MTU - RTC_RTP_HEADER) {
        return MDVR_E_LIMIT;
    }

    memcpy(packet + RTC_RTP_HEADER, payload.p, payload.len);
    return rtp_send(rtp, packet, payload.len, marker, send, data);
}


mdvr_rc_t
rtc_rtp_parse(const uint8_t *p, size_t len, rtc_rtp_in_t *in)
{
    size_t  head;

    if (len < RTC_RTP_HEADER || p[0] >> 6 != 2) {
        return MDVR_E_SYNTAX;
    }

    head = RTC_RTP_HEADER + 4 * (size_t) (p[0] & 15);       /* CSRCs */

    if (p[0] & 0x10) {                                      /* extension */
        if (len < head + 4) {
            return MDVR_E_SYNTAX;
        }

        head += 4 + 4 * ((size_t) p[head + 2] << 8 | p[head + 3]);
    }

    if (len < head) {
        return MDVR_E_SYNTAX;
    }

    if (p[0] & 0x20) {                                      /* padding */
        if (len == head || p[len - 1] == 0 || p[len - 1] > len - head) {
            return MDVR_E_SYNTAX;
        }

        len -= p[len - 1];
    }

    in->pt = p[1] & 0x7f;
    in->marker = p[1] & 0x80;
    in->seq = (uint16_t) (p[2] << 8 | p[3]);
    in->timestamp = get32(p + 4);
    in->ssrc = get32(p + 8);
    in->payload = mdvr_str(p + head, len - head);

    return MDVR_OK;
}


size_t
rtc_rtcp_report(const rtc_rtp_t *rtp, uint64_t unix_us, uint32_t timestamp,
    uint8_t out[64])
{
    uint64_t  sec = unix_us / 1000000;

    memset(out, 0, 64);

    out[0] = 0x80;
    out[1] = RTCP_SR;
    put16(out + 2, 6);
    put32(out + 4, rtp->ssrc);
    put32(out + 8, (uint32_t) (sec + 2208988800u));         /* 1900 epoch */
    put32(out + 12, (uint32_t) (((unix_us % 1000000) << 32) / 1000000));
    put32(out + 16, timestamp);
    put32(out + 20, rtp->packets);
    put32(out + 24, rtp->octets);

    out[28] = 0x81;
    out[29] = RTCP_SDES;
    put16(out + 30, 3);
    put32(out + 32, rtp->ssrc);
    out[36] = 1;                                            /* CNAME */
    out[37] = 4;
    memcpy(out + 38, "mdvr", 4);

    return 44;
}


void
rtc_rtcp_parse(const uint8_t *p, size_t len, const rtc_rtcp_events_t *events)
{
    size_t    n;
    uint16_t  seq, mask;
    uint32_t  ssrc;

    while (len >= 8 && p[0] >> 6 == 2) {
        n = 4 * ((size_t) p[2] << 8 | p[3]) + 4;

        if (n > len) {
            return;
        }

        if (n >= 12 && p[1] == RTCP_RTPFB && (p[0] & 0x1f) == 1) {
            ssrc = get32(p + 8);

            for (size_t at = 12; at + 4 <= n; at += 4) {
                seq = (uint16_t) (p[at] << 8 | p[at + 1]);
                mask = (uint16_t) (p[at + 2] << 8 | p[at + 3]);
                events->nack(events->data, ssrc, seq);

                for (unsigned i = 0; i < 16; i++) {
                    if (mask >> i & 1) {
                        events->nack(events->data, ssrc,
                                     (uint16_t) (seq + i + 1));
                    }
                }
            }

        } else if (n >= 12 && p[1] == RTCP_PSFB
                   && ((p[0] & 0x1f) == 1 || (p[0] & 0x1f) == 4))
        {
            events->pli(events->data, get32(p + 8));

        } else if (p[1] == RTCP_BYE) {
            events->bye(events->data);
        }

        p += n;
        len -= n;
    }
}
