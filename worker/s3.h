/*
 * Objects in S3: one bucket, path-style addresses, requests signed by
 * ourselves (mdvr/web/sigv4.h) and sent by libcurl.
 *
 * Files of more than one part are sent in parts; whoever is asked again for
 * the same key and the same file goes on with the parts that are there.
 * Errors of the network and of the server (5xx, 429) are tried again with
 * growing pauses before a call fails.
 */

#ifndef MDVR_WORKER_S3_H
#define MDVR_WORKER_S3_H

#include "worker/storage.h"

/* True when the settings name S3 and are complete; says what is not. */
bool wk_s3_check(const wk_conf_t *conf, char *error, size_t size);

/* As wk_storage_*(); get always makes a copy in conf->tmp. */
bool wk_s3_put(wk_storage_t *s, const char *key, const char *file,
    uint64_t *size_bytes);
bool wk_s3_get(wk_storage_t *s, const char *key, char *path, size_t size);
bool wk_s3_delete(wk_storage_t *s, const char *key);

/* 1: it is there, *size_bytes long; 0: it is not; -1: not known */
int wk_s3_head(wk_storage_t *s, const char *key, uint64_t *size_bytes);

/* As wk_storage_list(). */
bool wk_s3_list(wk_storage_t *s, const char *prefix, const char *after,
    wk_storage_each_pt each, void *data);

/*
 * Ends uploads that were begun more than `older_s` ago and never completed;
 * returns how many, -1 on failure.
 */
int wk_s3_sweep(wk_storage_t *s, int64_t older_s);

#endif /* MDVR_WORKER_S3_H */
