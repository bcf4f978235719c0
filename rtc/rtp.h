/*
 * RTP packets of one video access unit, and the RTCP that goes with a stream.
 *
 * Source: RFC 3550 (RTP, RTCP), 6184 (H.264), 4585 (NACK, PLI), 5761 (mux).
 */

#ifndef RTC_RTP_H
#define RTC_RTP_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

enum {
    RTC_RTP_HEADER = 12,
    RTC_MTU = 1200,             /* RTP bytes before SRTP's 10-byte tag */
    RTC_PACKET_MAX = RTC_MTU + 32
};

typedef struct {
    uint32_t  ssrc;
    uint32_t  timestamp;        /* of the packets to come */
    uint16_t  seq;              /* of the next packet */
    uint8_t   pt;
    uint32_t  packets;          /* sent since the start, for reports */
    uint32_t  octets;
} rtc_rtp_t;

/*
 * `packet` has room for RTC_PACKET_MAX bytes and is borrowed during the
 * call.  Returning anything but MDVR_OK stops.
 */
typedef mdvr_rc_t (*rtc_rtp_pt)(void *data, uint8_t *packet, size_t len,
    uint16_t seq);

/*
 * Cuts an access unit of 4-byte length-prefixed H.264 NAL units.  Delimiters
 * and filler are left out; parameter sets travel together (STAP-A), larger
 * units in fragments (FU-A); the marker is on the last packet.
 * MDVR_E_SYNTAX: a length points past the end.
 */
mdvr_rc_t rtc_rtp_h264(rtc_rtp_t *rtp, mdvr_str_t au, rtc_rtp_pt send,
    void *data);

/* One packet of sound; `marker` after silence. */
mdvr_rc_t rtc_rtp_audio(rtc_rtp_t *rtp, mdvr_str_t payload, bool marker,
    rtc_rtp_pt send, void *data);

/* A packet of a browser, decrypted; the payload is a view. */
typedef struct {
    uint8_t     pt;
    bool        marker;
    uint16_t    seq;
    uint32_t    timestamp;
    uint32_t    ssrc;
    mdvr_str_t  payload;
} rtc_rtp_in_t;

/* MDVR_E_SYNTAX: a length points past the end, or another version. */
mdvr_rc_t rtc_rtp_parse(const uint8_t *p, size_t len, rtc_rtp_in_t *in);

/* Sender report and CNAME.  `unix_us` and rtp->timestamp are one instant. */
size_t rtc_rtcp_report(const rtc_rtp_t *rtp, uint64_t unix_us,
    uint32_t timestamp, uint8_t out[64]);

/* What a receiver asks for. */
typedef struct {
    void    (*nack)(void *data, uint32_t ssrc, uint16_t seq);
    void    (*pli)(void *data, uint32_t ssrc);
    void    (*bye)(void *data);
    void     *data;
} rtc_rtcp_events_t;

/* Reads a compound or reduced-size packet; stops at what it cannot read. */
void rtc_rtcp_parse(const uint8_t *p, size_t len,
    const rtc_rtcp_events_t *events);

#endif
