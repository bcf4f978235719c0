/* Job kinds and documents: one table, one writer. */

#include "mdvr/domain/job.h"
#include "mdvr/basics/json.h"


static const mdvr_job_info_t  mdvr_jobs[] = {
#define MDVR_JOB_INFO(e, name, local, attempts, wall)                     \
    { name, local, attempts, wall },
    MDVR_JOB_LIST(MDVR_JOB_INFO)
#undef MDVR_JOB_INFO
};


const mdvr_job_info_t *
mdvr_job_info(mdvr_job_kind_e kind)
{
    return &mdvr_jobs[kind];
}


mdvr_job_kind_e
mdvr_job_kind(mdvr_str_t name)
{
    unsigned  i;

    for (i = 0; i < MDVR_JOB_KINDS; i++) {
        if (mdvr_str_eqc(name, mdvr_jobs[i].name)) {
            break;
        }
    }

    return (mdvr_job_kind_e) i;
}


void
mdvr_job_queue(mdvr_buf_t *b, mdvr_job_kind_e kind, mdvr_str_t node)
{
    mdvr_buf_cstr(b, mdvr_jobs[kind].name);

    if (mdvr_jobs[kind].local) {
        mdvr_buf_chr(b, '@');
        mdvr_buf_str(b, node);
    }
}


static void
mdvr_job_str(mdvr_json_t *j, const char *key, mdvr_str_t value)
{
    if (value.len) {
        mdvr_json_str(j, key, value);
    }
}


static void
mdvr_job_u64(mdvr_json_t *j, const char *key, uint64_t value)
{
    if (value) {
        mdvr_json_u64(j, key, value);
    }
}


void
mdvr_job_write(mdvr_buf_t *b, mdvr_job_kind_e kind, const mdvr_job_t *job,
    int64_t now_ms)
{
    mdvr_json_t  j;

    mdvr_json_init(&j, b);
    mdvr_json_object(&j, NULL);
    mdvr_json_str(&j, "id", job->id);
    mdvr_json_cstr(&j, "kind", mdvr_jobs[kind].name);
    mdvr_json_i64(&j, "enqueued_ms", now_ms);
    mdvr_job_str(&j, "tenant_id", job->tenant_id);
    mdvr_job_str(&j, "device_id", job->device_id);
    mdvr_job_str(&j, "serial", job->serial);
    mdvr_job_str(&j, "media_id", job->media_id);
    mdvr_job_str(&j, "alarm_id", job->alarm_id);
    mdvr_job_str(&j, "download_id", job->download_id);
    mdvr_job_str(&j, "file", job->file);
    mdvr_job_str(&j, "key", job->key);

    if (job->media_kind) {
        mdvr_json_cstr(&j, "media_kind", job->media_kind);
    }

    if (job->source) {
        mdvr_json_cstr(&j, "source", job->source);
    }

    mdvr_job_str(&j, "source_path", job->source_path);
    mdvr_job_u64(&j, "channel", job->channel);

    if (job->at_ms) {
        mdvr_json_i64(&j, "at_ms", job->at_ms);
    }

    mdvr_job_u64(&j, "duration_s", job->duration_s);
    mdvr_job_u64(&j, "audio_type", job->audio_type);
    mdvr_job_str(&j, "request_id", job->request_id);
    mdvr_job_str(&j, "traceparent", job->traceparent);
    mdvr_json_object_end(&j);
}
