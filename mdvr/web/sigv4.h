/*
 * AWS Signature Version 4: requests to S3 and presigned addresses.
 *
 * Canonical form and key derivation are here; the two hash functions come
 * from the caller, who has OpenSSL.  No clock: the caller gives the time.
 * Source: "Authenticating Requests (AWS Signature Version 4)" of the S3 API
 * reference.
 */

#ifndef MDVR_WEB_SIGV4_H
#define MDVR_WEB_SIGV4_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

#define MDVR_SIGV4_PAIRS    24          /* headers, and query parameters */
#define MDVR_SIGV4_TIME     16          /* "20130524T000000Z" */
#define MDVR_SIGV4_EXPIRES  604800      /* seconds, the most S3 allows */

/* of a body that is not hashed */
#define MDVR_SIGV4_UNSIGNED  MDVR_STR("UNSIGNED-PAYLOAD")

typedef struct {
    /* false: no memory, say */
    bool        (*sha256)(const void *p, size_t len, uint8_t *out);
    bool        (*hmac)(const void *key, size_t key_len, const void *p,
                    size_t len, uint8_t *out);
    mdvr_str_t    access_key;
    mdvr_str_t    secret_key;           /* at most 128 bytes */
    mdvr_str_t    region;               /* "us-east-1" */
    mdvr_str_t    service;              /* "s3" */
} mdvr_sigv4_t;

typedef struct {
    mdvr_str_t    name;                 /* of a header: in lower case */
    mdvr_str_t    value;                /* neither encoded nor padded */
} mdvr_sigv4_pair_t;

typedef struct {
    mdvr_str_t                method;
    mdvr_str_t                path;     /* encoded, as it is sent */
    const mdvr_sigv4_pair_t  *query;    /* in any order */
    unsigned                  nquery;
    const mdvr_sigv4_pair_t  *headers;  /* all that are signed; "host" is */
    unsigned                  nheaders;
    mdvr_str_t                payload;  /* SHA-256 in hex, or _UNSIGNED */
    int64_t                   time;     /* unix seconds */
} mdvr_sigv4_request_t;

/* Percent-encodes all but letters, digits, "-._~" and, in paths, '/'. */
void mdvr_sigv4_encode(mdvr_buf_t *b, mdvr_str_t s, bool path);

/* "20130524T000000Z", the value of x-amz-date */
void mdvr_sigv4_time(mdvr_buf_t *b, int64_t time);

/* The query as it is sent: sorted and encoded, without '?'. */
void mdvr_sigv4_query(mdvr_buf_t *b, const mdvr_sigv4_pair_t *query,
    unsigned n);

/*
 * Appends the value of the Authorization header.  MDVR_OK; MDVR_E_LIMIT:
 * more pairs than MDVR_SIGV4_PAIRS, a request of more than 6 KiB, or `out` is
 * full; MDVR_E_NO_MEMORY: a hash function failed.
 */
mdvr_rc_t mdvr_sigv4_authorization(const mdvr_sigv4_t *s,
    const mdvr_sigv4_request_t *r, mdvr_buf_t *out);

/*
 * Appends the whole query of a presigned address, which is good for
 * `expires_s` seconds (1 to MDVR_SIGV4_EXPIRES) from r->time on.  Results as
 * above.
 */
mdvr_rc_t mdvr_sigv4_presign(const mdvr_sigv4_t *s,
    const mdvr_sigv4_request_t *r, unsigned expires_s, mdvr_buf_t *out);

#endif /* MDVR_WEB_SIGV4_H */
