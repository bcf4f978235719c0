/*
 * Object storage.  Keys are made by the server: lower-case words, digits,
 * '-', '.', and '/' between; an object appears under its key when it is
 * complete, and replaces what was there.
 *
 * file:/path is a directory on this node's disk (or one that all nodes
 * mount): written as <key>.<random>.part, synced, renamed.  s3: is a bucket
 * (worker/s3.h).
 */

#ifndef MDVR_WORKER_STORAGE_H
#define MDVR_WORKER_STORAGE_H

#include "worker/worker.h"

typedef struct {
    const wk_conf_t  *conf;
    char              error[300];   /* why the last call failed */
    void             *curl;         /* s3: a connection, kept */
} wk_storage_t;

/* One object, last written at `at` (unix s); false: enough. */
typedef bool (*wk_storage_each_pt)(void *data, const char *key, int64_t at);

void wk_storage_init(wk_storage_t *s, const wk_conf_t *conf);

/* Stores a local file; size_bytes (may be NULL) is what was stored. */
bool wk_storage_put(wk_storage_t *s, const char *key, const char *file,
    uint64_t *size_bytes);

/*
 * Makes an object readable as a local file: `path` (of `size` bytes) is
 * either the object itself, which must not be changed, or a copy in
 * conf->tmp, then *copied is true and the caller unlinks it.
 */
bool wk_storage_get(wk_storage_t *s, const char *key, char *path, size_t size,
    bool *copied);

/* Missing objects are no failure. */
bool wk_storage_delete(wk_storage_t *s, const char *key);

/*
 * Calls `each` for every object whose key begins with `prefix` and is greater
 * than `after` ("": all of them), in order of keys.  False on failure.
 */
bool wk_storage_list(wk_storage_t *s, const char *prefix, const char *after,
    wk_storage_each_pt each, void *data);

/*
 * Removes every object below `folder`, which ends with '/'.  Returns how many
 * there were, -1 on failure.
 */
int wk_storage_remove(wk_storage_t *s, const char *folder);

/*
 * Removes what was begun and never completed, more than `older_s` ago.
 * Returns how many, -1 on failure.
 */
int wk_storage_sweep(wk_storage_t *s, int64_t older_s);

#endif /* MDVR_WORKER_STORAGE_H */
