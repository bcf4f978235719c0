/*
 * The SDP of a WHEP exchange: what a browser offers, what we answer.
 *
 * One transport for everything (BUNDLE, rtcp-mux), we are ICE-lite and the
 * DTLS server.  The first video line with H.264 in packetization mode 1 and
 * the first audio line with G.711 are accepted; every other line is refused
 * with port 0, in its place.
 *
 * Source: RFC 8866 (SDP), 8829 (JSEP), 9143 (BUNDLE), 6184 (H.264), 9725
 * (WHIP, whose exchange WHEP mirrors).
 */

#ifndef RTC_SDP_H
#define RTC_SDP_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

enum {
    RTC_SDP_MEDIA_MAX = 8
};

typedef enum {
    RTC_MEDIA_OTHER = 0,
    RTC_MEDIA_VIDEO,
    RTC_MEDIA_AUDIO
} rtc_media_e;

typedef struct {
    rtc_media_e  kind;
    mdvr_str_t   name;          /* "video", "audio", "application" */
    mdvr_str_t   proto;
    mdvr_str_t   mid;
    int          pt;            /* H.264 or PCMA/PCMU to use, -1: none */
    bool         pcmu;
    bool         sends;         /* the browser wants to send, too */
    bool         receives;
    mdvr_str_t   fmtp;          /* of `pt`, echoed */
    bool         accepted;
} rtc_sdp_media_t;

typedef struct {
    rtc_sdp_media_t  media[RTC_SDP_MEDIA_MAX];
    unsigned         n_media;
    mdvr_str_t       ufrag;
    mdvr_str_t       pwd;
    uint8_t          fingerprint[32];   /* SHA-256 of its certificate */
    int              video;             /* index of the accepted line or -1 */
    int              audio;
    bool             mic;               /* its sound is wanted: set by who may */
} rtc_offer_t;

/*
 * Views point into `sdp`.  MDVR_E_SYNTAX: not an SDP, or without ICE
 * credentials or a sha-256 fingerprint.  MDVR_E_UNSUPPORTED: neither a line with
 * H.264 nor one with G.711.
 */
mdvr_rc_t rtc_sdp_parse(mdvr_str_t sdp, rtc_offer_t *offer);

typedef struct {
    const char  *ufrag;
    const char  *pwd;
    const char  *fingerprint;       /* "AB:CD:..." */
    const char  *candidates;        /* complete a=candidate lines */
    uint32_t     ssrc_video;
    uint32_t     ssrc_audio;        /* 0: there is no sound to send */
    bool         mic;               /* sound is taken, too */
    uint64_t     session;
} rtc_answer_t;

/* MDVR_E_NO_SPACE when `out` is full. */
mdvr_rc_t rtc_sdp_answer(const rtc_offer_t *offer, const rtc_answer_t *answer,
    mdvr_buf_t *out);

#endif
