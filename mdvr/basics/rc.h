/*
 * Verdicts of the library: one list, from which the enum and the words come.
 *
 * MDVR_AGAIN is not an error: it is how a healthy stream says "more, please".
 * The translation to log level, HTTP status and public code is done once, in
 * ngx_mdvr_core/ngx_mdvr_rc.h.
 */

#ifndef MDVR_BASICS_RC_H
#define MDVR_BASICS_RC_H

#define MDVR_RC_LIST(X)                                                   \
    X(SYNTAX,          "bytes do not follow the grammar")                 \
    X(RANGE,           "value outside its allowed range")                 \
    X(LIMIT,           "a limit was exceeded")                            \
    X(NO_SPACE,        "output buffer too small")                         \
    X(SERIAL,          "serial number malformed")                         \
    X(ABSENT,          "a required field is missing")                     \
    X(UNSUPPORTED,     "not supported")                                   \
    X(CODEC,           "codec not recognised")                            \
    X(LEGACY,          "legacy media form")                               \
    X(UNKNOWN_DEVICE,  "device is not known")                             \
    X(UNKNOWN_SESSION, "media session is not known")                      \
    X(OFFLINE,         "device is offline")                               \
    X(REFUSED,         "device refused")                                  \
    X(TIMEOUT,         "deadline passed")                                 \
    X(CLOSED,          "connection closed")                               \
    X(UNAVAILABLE,     "a needed service is away")                        \
    X(BUSY,            "too much work in hand")                           \
    X(CONFLICT,        "conflicts with the present state")                \
    X(NOT_FOUND,       "does not exist")                                  \
    X(UNAUTHENTICATED, "credentials missing or not valid")                \
    X(FORBIDDEN,       "not permitted")                                   \
    X(EXPIRED,         "no longer valid")                                 \
    X(INVALID,         "value is not acceptable")                         \
    X(NO_MEMORY,       "out of memory")                                   \
    X(INTERNAL,        "internal error")

typedef enum {
    MDVR_OK = 0,
    MDVR_AGAIN,                     /* more input or another call needed */
#define MDVR_RC_ENUM(name, words)  MDVR_E_##name,
    MDVR_RC_LIST(MDVR_RC_ENUM)
#undef MDVR_RC_ENUM
    MDVR_RC_COUNT
} mdvr_rc_t;

/* "ok", "again", "syntax", ...: lower case, usable as a metric label. */
const char *mdvr_rc_name(mdvr_rc_t rc);

/* The sentence of the list above; never NULL. */
const char *mdvr_rc_words(mdvr_rc_t rc);

#endif /* MDVR_BASICS_RC_H */
