/*
 * What every part of mdvr-worker shares: its settings, its log, its clock.
 *
 * The worker is one supervising process that only talks to Redis, and one
 * short-lived child for each job (worker/pool.h).  A child opens its own
 * connections; nothing is shared but the settings, which are read once.
 */

#ifndef MDVR_WORKER_H
#define MDVR_WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "seal/mdvr_seal.h"

typedef struct {
    char         node[65];          /* MDVR_NODE */
    char         name[96];          /* "<node>-<pid>": the consumer */
    const char  *pg;                /* MDVR_PG_CONNINFO, for libpq */
    const char  *redis;             /* MDVR_REDIS: unix:/path, redis://h:p */
    char        *redis_password;    /* from MDVR_REDIS_PASSWORD_FILE */
    const char  *state_dir;         /* MDVR_STATE_DIR, may be NULL */
    const char  *storage;           /* MDVR_STORAGE: file:/path or s3: */
    const char  *s3_endpoint;       /* MDVR_S3_ENDPOINT, without last '/' */
    const char  *s3_region;         /* MDVR_S3_REGION */
    const char  *s3_bucket;         /* MDVR_S3_BUCKET */
    const char  *s3_prefix;         /* MDVR_S3_PREFIX: "" or "name/" */
    char        *s3_access_key;     /* from MDVR_S3_ACCESS_KEY_FILE */
    char        *s3_secret_key;     /* from MDVR_S3_SECRET_KEY_FILE */
    const char  *s3_encryption;     /* MDVR_S3_ENCRYPTION, or NULL */
    const char  *s3_kms_key;        /* MDVR_S3_KMS_KEY, or NULL */
    uint64_t     s3_part;           /* MDVR_S3_PART_MB, in bytes */
    const char  *tmp;               /* MDVR_TMP */
    mdvr_seal_ring_t  seal;         /* from MDVR_SECRET_KEY_FILE */
    const char  *ai;                /* MDVR_AI: all, none, or names */
    unsigned     ai_frames;         /* MDVR_AI_FRAMES of a clip */
    const char  *ai_driver;         /* MDVR_AI_DRIVER_CHANNELS, "" */
    const char  *ai_cascades;       /* MDVR_AI_CASCADES: OpenCV's */
    const char  *ai_model;          /* MDVR_AI_MODEL: ONNX, or NULL */
    const char  *ai_labels;         /* MDVR_AI_LABELS, or NULL */
    const char  *ai_layout;         /* MDVR_AI_LAYOUT */
    const char  *ai_size;           /* MDVR_AI_SIZE: "640x384" */
    unsigned     ai_threshold;      /* MDVR_AI_THRESHOLD, per cent */
    unsigned     slots;             /* MDVR_WORKER_JOBS: jobs at a time */
    unsigned     lease_ms;          /* MDVR_WORKER_LEASE_MS */
    unsigned     retry_ms;          /* MDVR_WORKER_RETRY_MS: first delay */
    uint64_t     memory;            /* MDVR_WORKER_JOB_MEMORY, bytes */
    uint64_t     spare;             /* MDVR_WORKER_SPARE_MB, bytes: below that
                                       only one job at a time */
    unsigned     tick_ms;           /* MDVR_WORKER_TICK_MS: schedule */
    unsigned     orphan_s;          /* MDVR_WORKER_ORPHAN_S: unfinished objects */
} wk_conf_t;

/* Fills *conf from the environment; false after saying what is wrong. */
bool wk_conf_read(wk_conf_t *conf);

typedef enum { WK_ERROR = 0, WK_WARN, WK_INFO, WK_DEBUG } wk_level_e;

/*
 * The level of this program and of the children it forks: MDVR_LOG_LEVEL_FILE,
 * else MDVR_LOG_LEVEL_WORKER, else MDVR_LOG_LEVEL; SIGHUP reads the file again,
 * SIGUSR2 moves on to the next level.  False after saying what is wrong.
 */
bool wk_log_init(void);
void wk_log_level_set(wk_level_e level);
wk_level_e wk_log_level(void);

/*
 * One JSON object a line on stdout: time, level, msg, and the members set by
 * wk_log_with() for this process (the job that a child works on).  Then pairs
 * of key and value, ended by NULL; a NULL value is left out.
 */
void wk_log(wk_level_e level, const char *msg, ...)
    __attribute__((sentinel));
void wk_log_with(const char *key, const char *value);

/* Unix time and a clock that never jumps, in milliseconds. */
int64_t wk_now_ms(void);
int64_t wk_clock_ms(void);

/* A UUID version 7 in text; `out` has 37 bytes. */
void wk_uuid(char *out);

/* The unix milliseconds inside a UUID version 7, 0 for anything else. */
int64_t wk_uuid_ms(const char *uuid);

/* 8-4-4-4-12 lower-case or upper-case hexadecimal digits. */
bool wk_is_uuid(const char *s);

#endif /* MDVR_WORKER_H */
