/*
 * A viewer: one PeerConnection of a browser, fed from one session of the
 * frame bus.
 *
 *   NEW       answer sent, waiting for an ICE check        15 s
 *   CHECKED   address known, DTLS handshake under way      15 s
 *   UP        keys set, frames flow; ends when no check or report came for
 *             30 s (RFC 7675 consent), on goodbye, when the session ends or
 *             when the control connection closes
 *
 * Packets are encrypted once into a history, which is the send queue, too:
 * what lies between `sent` and `head` waits for the pacer, what lies before
 * `sent` answers NACKs.
 */

#ifndef RTC_PEER_H
#define RTC_PEER_H

#include <sys/socket.h>

#include "bus/mdvr_bus.h"
#include "rtc/dtls.h"
#include "rtc/rtp.h"
#include "rtc/sdp.h"
#include "rtc/stun.h"

enum {
    RTC_HISTORY = 1024,             /* packets; divides 65536 */
    RTC_UFRAG = 8,
    RTC_PWD = 24
};

typedef enum {
    RTC_PEER_NEW = 0,
    RTC_PEER_CHECKED,
    RTC_PEER_UP,
    RTC_PEER_OVER
} rtc_peer_state_e;

typedef struct rtc_peer_s  rtc_peer_t;
typedef struct rtc_path_s  rtc_path_t;

/* Where datagrams go: the UDP socket or an ICE-TCP connection. */
struct rtc_path_s {
    void  (*send)(rtc_path_t *path, const struct sockaddr *to, socklen_t len,
                  const uint8_t *p, size_t n);
};

typedef struct {
    mdvr_bus_t      *bus;
    rtc_dtls_ctx_t   dtls;
    const char      *candidates;
    /* counters, for the metrics line of the control socket */
    uint64_t         sent_packets;
    uint64_t         sent_bytes;
    uint64_t         nacks;
    uint64_t         plis;
    uint64_t         skips;
    uint64_t         speech;        /* packets of microphones */
    uint64_t         bad_datagrams;
} rtc_world_t;

/*
 * Makes a viewer of `ref` from a parsed offer; `answer` gets our SDP.  A talk
 * takes the offer's line of sound alone, and its microphone.  MDVR_E_ABSENT: the
 * offer has no line for what the session carries.
 * MDVR_E_UNSUPPORTED: the session's codec is not H.264, and nobody makes H.264
 * of it; MDVR_E_BUSY: as many as may be are being made.  MDVR_E_NOT_FOUND:
 * there is no such session.  MDVR_E_NO_MEMORY, MDVR_E_NO_SPACE.
 */
mdvr_rc_t rtc_peer_new(rtc_world_t *world, mdvr_bus_ref_t ref,
    rtc_offer_t *offer, mdvr_buf_t *answer, int64_t now_ms,
    rtc_peer_t **peer);
void rtc_peer_free(rtc_peer_t *peer, int64_t now_ms);

const char *rtc_peer_ufrag(const rtc_peer_t *peer);
rtc_peer_state_e rtc_peer_state(const rtc_peer_t *peer);
uint32_t rtc_peer_slot(const rtc_peer_t *peer);

/* why it is over: a name of the bus's list or one of our own */
const char *rtc_peer_reason(const rtc_peer_t *peer);

bool rtc_peer_is_from(const rtc_peer_t *peer, const rtc_path_t *path,
    const struct sockaddr *from, socklen_t len);

/* An ICE check that names this viewer. */
void rtc_peer_check(rtc_peer_t *peer, rtc_path_t *path,
    const struct sockaddr *from, socklen_t from_len, const uint8_t *p,
    const rtc_stun_t *stun, int64_t now_ms);

/* DTLS, SRTP or SRTCP from an address for which is_from() holds. */
void rtc_peer_datagram(rtc_peer_t *peer, uint8_t *p, size_t len,
    int64_t now_ms);

/* The path is gone (ICE-TCP connection closed). */
void rtc_peer_lost(rtc_peer_t *peer, const rtc_path_t *path);

/* Moves frames from the bus to the wire; true: more is waiting its turn. */
bool rtc_peer_pump(rtc_peer_t *peer, int64_t now_ms);

/* Timers; about every 100 ms. */
void rtc_peer_tick(rtc_peer_t *peer, int64_t now_ms);

#endif
