/*
 * DTLS 1.2 server on datagrams that somebody else carries, and the SRTP keys
 * that come out of it.
 *
 * Source: RFC 6347 (DTLS), 5763/5764 (DTLS-SRTP), 8122 (fingerprint).
 * No cookie exchange: datagrams are taken only from an address that passed
 * an ICE check.
 */

#ifndef RTC_DTLS_H
#define RTC_DTLS_H

#include <openssl/ssl.h>
#include <srtp2/srtp.h>

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

enum {
    RTC_FINGERPRINT_TEXT = 32 * 3
};

typedef struct {
    SSL_CTX  *ssl;
    char      fingerprint[RTC_FINGERPRINT_TEXT];    /* of our certificate */
} rtc_dtls_ctx_t;

typedef struct {
    SSL            *ssl;
    const uint8_t  *in;             /* one datagram, during a call */
    size_t          in_len;
    void          (*send)(void *data, const uint8_t *p, size_t len);
    void           *data;
    uint8_t         expected[32];   /* the peer's fingerprint */
    bool            up;
    srtp_t          tx;
    srtp_t          rx;
} rtc_dtls_t;

/* A fresh P-256 key and certificate.  MDVR_E_INTERNAL with OpenSSL's queue. */
mdvr_rc_t rtc_dtls_ctx_init(rtc_dtls_ctx_t *ctx);

mdvr_rc_t rtc_dtls_open(rtc_dtls_ctx_t *ctx, rtc_dtls_t *dtls);
void rtc_dtls_close(rtc_dtls_t *dtls);

/*
 * Feeds one datagram, or none (`p` NULL) when a retransmission timer ran out.
 * MDVR_OK: up, keys are set.  MDVR_AGAIN.  MDVR_E_CLOSED: the peer said
 * goodbye.  MDVR_E_FORBIDDEN: its certificate is not the one of its SDP.
 * MDVR_E_SYNTAX: the handshake failed.
 */
mdvr_rc_t rtc_dtls_feed(rtc_dtls_t *dtls, const uint8_t *p, size_t len);

/* Milliseconds until a retransmission is due, -1: none. */
int rtc_dtls_timeout(rtc_dtls_t *dtls);

#endif
