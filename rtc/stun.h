/*
 * STUN binding requests and answers, as far as an ICE-lite agent needs them.
 *
 *   0  type       uint16   0x0001 request, 0x0101 success
 *   2  length     uint16   bytes after the 20-byte header
 *   4  cookie     0x2112A442
 *   8  transaction id, 12 bytes
 *  20  attributes: type uint16, length uint16, value, padding to 4
 *
 * Source: RFC 8489 (STUN), RFC 8445 section 7 (ICE checks).
 */

#ifndef RTC_STUN_H
#define RTC_STUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

typedef struct {
    const uint8_t  *transaction;    /* 12 bytes, inside the datagram */
    mdvr_str_t      local_ufrag;    /* part of USERNAME before ':' */
    size_t          integrity_at;   /* offset of MESSAGE-INTEGRITY */
    bool            use_candidate;
} rtc_stun_t;

/* First byte 0..3 and the magic cookie: a STUN datagram (RFC 7983). */
bool rtc_stun_is(const uint8_t *p, size_t len);

/*
 * Reads a binding request.  The views point into `p`.
 * MDVR_E_SYNTAX: malformed, not a request, or without USERNAME or
 * MESSAGE-INTEGRITY.
 */
mdvr_rc_t rtc_stun_parse(const uint8_t *p, size_t len, rtc_stun_t *out);

/* Whether MESSAGE-INTEGRITY was made with `password`. */
bool rtc_stun_verify(const uint8_t *p, const rtc_stun_t *stun,
    const char *password);

/*
 * Writes the success answer with XOR-MAPPED-ADDRESS of `peer`,
 * MESSAGE-INTEGRITY and FINGERPRINT into `out` (at least 100 bytes).
 * Returns its length.
 */
size_t rtc_stun_answer(const rtc_stun_t *stun, const struct sockaddr *peer,
    const char *password, uint8_t *out);

#endif
