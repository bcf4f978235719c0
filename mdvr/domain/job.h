/*
 * Jobs of the worker: which kinds there are, which queue each waits in, and
 * the document that describes one.
 *
 * A document is one JSON object; it says everything that the job needs, so
 * that it can be repeated anywhere and at any time: every kind is idempotent
 * under its id.  Delivery is at least once.
 */

#ifndef MDVR_DOMAIN_JOB_H
#define MDVR_DOMAIN_JOB_H

#include "mdvr/basics/str.h"

#define MDVR_JOB_MAX  8192              /* bytes of a document */

/*
 * X(enum, name, local, attempts, wall_s): local jobs wait in "<name>@<node>";
 * after so many attempts, or never when it says so itself, a job goes to the
 * dead-letter list; wall_s ends one that hangs.  In order of priority.
 */
#define MDVR_JOB_LIST(X)                                                  \
    X(NOTIFY,     "notify",     0, 400,   900)                            \
    X(FIRMWARE,   "firmware",   1,   5,   900)                            \
    X(INGEST,     "ingest",     1,  20,   900)                            \
    X(EVIDENCE,   "evidence",   0,   3,   600)                            \
    X(TRANSCODE,  "transcode",  0,   5,  1800)                            \
    X(ANALYSE,    "analyse",    0,   3,   600)

typedef enum {
#define MDVR_JOB_ENUM(e, name, local, attempts, wall)  MDVR_JOB_##e,
    MDVR_JOB_LIST(MDVR_JOB_ENUM)
#undef MDVR_JOB_ENUM
    MDVR_JOB_KINDS
} mdvr_job_kind_e;

typedef struct {
    const char  *name;
    bool         local;
    unsigned     attempts;
    unsigned     wall_s;
} mdvr_job_info_t;

const mdvr_job_info_t *mdvr_job_info(mdvr_job_kind_e kind);

/* The kind of that name; MDVR_JOB_KINDS when there is none. */
mdvr_job_kind_e mdvr_job_kind(mdvr_str_t name);

/* Name of the queue; `node` is used by local kinds only. */
void mdvr_job_queue(mdvr_buf_t *b, mdvr_job_kind_e kind, mdvr_str_t node);

/*
 * A file of a device, for the kinds that have one.  Empty views and zeros are left out of
 * the document.
 */
typedef struct {
    mdvr_str_t   id;            /* UUID of the job */
    mdvr_str_t   tenant_id;
    mdvr_str_t   device_id;
    mdvr_str_t   serial;
    mdvr_str_t   media_id;      /* empty: `id` becomes the media id */
    mdvr_str_t   alarm_id;
    mdvr_str_t   download_id;
    mdvr_str_t   file;          /* ingest: absolute path of the staged file */
    mdvr_str_t   key;           /* firmware: of the object */
    const char  *media_kind;    /* "mp4" or "jpeg" */
    const char  *source;        /* as mdvr.media.source: "alarm_file",
                                   "snapshot", "download", "recording";
                                   firmware: "upload", or NULL: fetch it */
    mdvr_str_t   source_path;   /* path on the device */
    unsigned     channel;       /* from 1; 0 not known */
    int64_t      at_ms;         /* unix time of the first picture */
    uint32_t     duration_s;    /* as announced; 0 not known */
    unsigned     audio_type;    /* V101 field 10; 0 not known */
    mdvr_str_t   request_id;
    mdvr_str_t   traceparent;
} mdvr_job_t;

/* Writes the document; look at b->full. */
void mdvr_job_write(mdvr_buf_t *b, mdvr_job_kind_e kind,
    const mdvr_job_t *job, int64_t now_ms);

#endif /* MDVR_DOMAIN_JOB_H */
