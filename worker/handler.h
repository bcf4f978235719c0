/*
 * What a kind of job does.  Handlers run in a child of their own
 * (worker/pool.h) and may be run again at any time: each is idempotent.
 */

#ifndef MDVR_WORKER_HANDLER_H
#define MDVR_WORKER_HANDLER_H

#include "worker/db.h"
#include "worker/pool.h"
#include "worker/queue.h"
#include "worker/storage.h"

typedef struct {
    const wk_conf_t  *conf;
    const wk_job_t   *job;
    wk_db_t           db;
    wk_redis_t        redis;
    wk_storage_t      storage;
    wk_result_t      *res;
} wk_task_t;

typedef struct {
    wk_verdict_e  (*run)(wk_task_t *t);

    /* in a child, too, when the job is about to be dead-lettered */
    void          (*give_up)(wk_task_t *t, const char *reason);
} wk_handler_t;

extern const wk_handler_t  wk_handlers[MDVR_JOB_KINDS];

wk_verdict_e wk_ingest(wk_task_t *t);
wk_verdict_e wk_firmware(wk_task_t *t);
void wk_firmware_give_up(wk_task_t *t, const char *reason);
wk_verdict_e wk_transcode(wk_task_t *t);
wk_verdict_e wk_analyse(wk_task_t *t);
void wk_analyse_give_up(wk_task_t *t, const char *reason);
wk_verdict_e wk_notify(wk_task_t *t);
void wk_notify_give_up(wk_task_t *t, const char *reason);
wk_verdict_e wk_evidence(wk_task_t *t);
void wk_evidence_give_up(wk_task_t *t, const char *reason);
void wk_media_give_up(wk_task_t *t, const char *reason);

/* The media id of a job: its media_id, or its own id. */
const char *wk_media_id(const wk_job_t *job);

/*
 * "<tenant>/<yyyy>/<mm>/<dd>/<media id>/<name>": the date is the one inside
 * the media id, so that a repeated job makes the same key.
 */
void wk_media_key(char *key, size_t size, const char *tenant_id,
    const char *media_id, const char *name);

/* SHA-256 of a file in hexadecimal (65 bytes) and its size. */
bool wk_sha256(const char *path, char *hex, uint64_t *size_bytes);

/* Puts documents of staged files back into the queue (worker/ingest.c). */
void wk_ingest_sweep(const wk_conf_t *conf, wk_redis_t *redis,
    unsigned older_s);

/* Removes copies of firmware that nobody used for long (worker/firmware.c). */
void wk_firmware_sweep(const wk_conf_t *conf);

/* One look at everything that is due (worker/schedule.c); for a child. */
void wk_schedule(void *data, wk_result_t *res);

/* How stored objects end (worker/lifecycle.c); for a child. */
void wk_lifecycle(void *data, wk_result_t *res);

/* Turns events into notify jobs until it is old (worker/follow.c). */
void wk_follow(void *data, wk_result_t *res);

/* mdvr-worker analyse [-v] FILE... (worker/analyse.c) */
int wk_analyse_files(const wk_conf_t *conf, int argc, char **argv);

/* Removes old packages; false: db->error or storage->error says why. */
bool wk_evidence_expire(wk_db_t *db, wk_storage_t *storage);

/* mdvr-worker evidence-key: the public keys, as PEM */
int wk_evidence_keys(const wk_conf_t *conf);

/* mdvr-worker jobs ... (worker/jobs.c); the exit status */
int wk_jobs(const wk_conf_t *conf, int argc, char **argv);

#endif /* MDVR_WORKER_HANDLER_H */
