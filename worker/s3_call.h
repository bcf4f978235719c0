/* Requests to S3, for worker/s3*.c only: worker/s3.c sends and signs them. */

#ifndef MDVR_WORKER_S3_CALL_H
#define MDVR_WORKER_S3_CALL_H

#include "mdvr/web/sigv4.h"
#include "worker/s3.h"

#define WK_S3_ETAG  80

typedef struct {
    /* the request */
    const char          *method;
    const char          *key;           /* "": the bucket */
    mdvr_sigv4_pair_t    query[6];
    unsigned             nquery;
    mdvr_sigv4_pair_t    headers[6];    /* beside host and x-amz-* of all */
    unsigned             nheaders;
    const char          *body;          /* or a piece of a file: */
    int                  fd;            /* -1: none */
    uint64_t             offset;
    uint64_t             length;        /* of either */
    int                  out;           /* -1: keep the answer in `text` */

    /* the answer */
    long                 status;
    char                 etag[WK_S3_ETAG];
    uint64_t             size;          /* Content-Length */
    char                *text;          /* terminated, freed by the caller */
    size_t               text_len;

    uint64_t             sent;
    bool                 write_failed;
} wk_s3_call_t;

void wk_s3_begin(wk_s3_call_t *c, const char *method, const char *key);

/* Adds a parameter; both texts must live until the call. */
void wk_s3_arg(wk_s3_call_t *c, const char *name, const char *value);

/* Sends it, again after failures that pass; true on 2xx. */
bool wk_s3_call(wk_storage_t *s, wk_s3_call_t *c);

/*
 * The text of the next <name> at or behind *p and before `end` (NULL: the end
 * of the text), without quotes; *p moves behind it.
 */
bool wk_s3_xml(const char **p, const char *end, const char *name, char *out,
    size_t size);

/* Ends an upload in parts that will not be completed. */
bool wk_s3_upload_abort(wk_storage_t *s, const char *key, const char *id);

#endif /* MDVR_WORKER_S3_CALL_H */
