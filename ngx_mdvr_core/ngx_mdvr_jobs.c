/*
 * Fields of mdvr:jobstats, all counters:
 *
 *   <kind>:le:<ms>|inf      runs that took so long, not cumulative
 *   <kind>:sum_ms           time of all runs
 *   <kind>:failed:<reason>  runs that failed
 *   <kind>:media_ms         length of what was processed (transcode)
 *   spans:dropped           spans that the worker's processes lost
 *
 * A queue is a kind, or "<kind>@<node>".  An entry leaves its stream when the
 * job is done, so the length is what waits and what runs, beside what the worker
 * has parked (worker/fair.h); an id begins with the millisecond it was added in.
 */

#include "ngx_mdvr_core/ngx_mdvr_jobs.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"

#include "mdvr/domain/job.h"
#include "mdvr/domain/keys.h"


#define NGX_MDVR_JOBS_TIMEOUT  1000     /* ms */
#define NGX_MDVR_JOBS_QUEUES   64
#define NGX_MDVR_JOBS_REASONS  32
#define NGX_MDVR_JOBS_TEXT     32768


static const ngx_uint_t  ngx_mdvr_jobs_le[] = {
    100, 500, 1000, 2000, 5000, 10000, 30000, 60000, 300000
};

#define NGX_MDVR_JOBS_LE                                                      \
    (sizeof(ngx_mdvr_jobs_le) / sizeof(ngx_mdvr_jobs_le[0]))


typedef struct {
    int64_t                   depth;
    int64_t                   delayed;
    int64_t                   dead;
    int64_t                   age_ms;
    int64_t                   bucket[NGX_MDVR_JOBS_LE + 1];
    int64_t                   sum_ms;
    int64_t                   media_ms;
} ngx_mdvr_jobs_kind_t;


typedef struct {
    ngx_uint_t                kind;
    ngx_str_t                 reason;
    int64_t                   count;
} ngx_mdvr_jobs_failed_t;


typedef struct {
    ngx_pool_t               *pool;
    ngx_mdvr_jobs_pt          done;
    void                     *data;
    ngx_uint_t                left;          /* answers still to come */
    ngx_mdvr_jobs_kind_t      kinds[MDVR_JOB_KINDS];
    ngx_mdvr_jobs_failed_t    failed[NGX_MDVR_JOBS_REASONS];
    ngx_uint_t                nfailed;
    int64_t                   spans_dropped;
} ngx_mdvr_jobs_t;


typedef struct {
    ngx_mdvr_jobs_t          *jobs;
    ngx_uint_t                kind;
    ngx_uint_t                what;          /* index of the command */
} ngx_mdvr_jobs_ask_t;


static void ngx_mdvr_jobs_stats(void *data, const redisReply *reply,
    mdvr_rc_t rc);
static void ngx_mdvr_jobs_queues(void *data, const redisReply *reply,
    mdvr_rc_t rc);
static void ngx_mdvr_jobs_number(void *data, const redisReply *reply,
    mdvr_rc_t rc);
static void ngx_mdvr_jobs_end(ngx_mdvr_jobs_t *jobs);


ngx_int_t
ngx_mdvr_jobs_text(ngx_pool_t *pool, ngx_mdvr_jobs_pt done, void *data)
{
    const char       *argv[2];
    ngx_mdvr_jobs_t  *jobs;

    jobs = ngx_pcalloc(pool, sizeof(ngx_mdvr_jobs_t));
    if (jobs == NULL) {
        return NGX_ERROR;
    }

    jobs->pool = pool;
    jobs->done = done;
    jobs->data = data;
    jobs->left = 1;

    argv[0] = "HGETALL";
    argv[1] = MDVR_KEY_JOB_STATS;

    if (ngx_mdvr_redis_up()
        && ngx_mdvr_redis_command(pool, NGX_MDVR_JOBS_TIMEOUT, 2, argv, NULL,
                                  ngx_mdvr_jobs_stats, jobs)
           == NGX_OK)
    {
        jobs->left++;
    }

    argv[0] = "SMEMBERS";
    argv[1] = MDVR_KEY_JOB_QUEUES;

    if (ngx_mdvr_redis_up()
        && ngx_mdvr_redis_command(pool, NGX_MDVR_JOBS_TIMEOUT, 2, argv, NULL,
                                  ngx_mdvr_jobs_queues, jobs)
           == NGX_OK)
    {
        jobs->left++;
    }

    ngx_mdvr_jobs_end(jobs);

    return NGX_OK;
}


static int64_t
ngx_mdvr_jobs_int(const redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER) {
        return reply->integer;
    }

    return reply->type == REDIS_REPLY_STRING ? strtoll(reply->str, NULL, 10)
                                             : 0;
}


/* "<kind>:<rest>" */

static void
ngx_mdvr_jobs_field(ngx_mdvr_jobs_t *jobs, u_char *p, size_t len,
    int64_t value)
{
    u_char                  *colon, *rest;
    size_t                   n;
    ngx_int_t                ms;
    ngx_uint_t               i, kind;
    ngx_mdvr_jobs_kind_t    *k;
    ngx_mdvr_jobs_failed_t  *f;

    if (len == 13 && ngx_strncmp(p, "spans:dropped", 13) == 0) {
        jobs->spans_dropped = value;
        return;
    }

    colon = ngx_strlchr(p, p + len, ':');

    if (colon == NULL) {
        return;
    }

    kind = mdvr_job_kind(mdvr_str(p, colon - p));

    if (kind == MDVR_JOB_KINDS) {
        return;
    }

    k = &jobs->kinds[kind];
    rest = colon + 1;
    n = p + len - rest;

    if (n == 6 && ngx_strncmp(rest, "sum_ms", 6) == 0) {
        k->sum_ms = value;

    } else if (n == 8 && ngx_strncmp(rest, "media_ms", 8) == 0) {
        k->media_ms = value;

    } else if (n > 3 && ngx_strncmp(rest, "le:", 3) == 0) {
        ms = ngx_atoi(rest + 3, n - 3);

        for (i = 0; i < NGX_MDVR_JOBS_LE; i++) {
            if (ms != NGX_ERROR && (ngx_uint_t) ms <= ngx_mdvr_jobs_le[i]) {
                break;
            }
        }

        k->bucket[i] += value;

    } else if (n > 7 && n < 40 && ngx_strncmp(rest, "failed:", 7) == 0
               && jobs->nfailed < NGX_MDVR_JOBS_REASONS)
    {
        f = &jobs->failed[jobs->nfailed];
        f->kind = kind;
        f->count = value;
        f->reason.len = n - 7;
        f->reason.data = ngx_pnalloc(jobs->pool, n - 7);
        if (f->reason.data == NULL) {
            return;
        }

        for (i = 0; i < n - 7; i++) {
            f->reason.data[i] = rest[7 + i] < 0x20 || rest[7 + i] > 0x7e
                                || rest[7 + i] == '"' || rest[7 + i] == '\\'
                                ? '_' : rest[7 + i];
        }

        jobs->nfailed++;
    }
}


static void
ngx_mdvr_jobs_stats(void *data, const redisReply *reply, mdvr_rc_t rc)
{
    ngx_mdvr_jobs_t *jobs = data;

    size_t  i;

    if (rc == MDVR_OK && reply->type == REDIS_REPLY_ARRAY) {
        for (i = 0; i + 1 < reply->elements; i += 2) {
            ngx_mdvr_jobs_field(jobs, (u_char *) reply->element[i]->str,
                                reply->element[i]->len,
                                ngx_mdvr_jobs_int(reply->element[i + 1]));
        }
    }

    ngx_mdvr_jobs_end(jobs);
}


static void
ngx_mdvr_jobs_queues(void *data, const redisReply *reply, mdvr_rc_t rc)
{
    ngx_mdvr_jobs_t *jobs = data;

    size_t                i, n, argc;
    u_char                key[160], *at;
    mdvr_buf_t            b;
    ngx_uint_t            kind, what;
    mdvr_str_t            queue;
    const char           *argv[6];
    ngx_mdvr_jobs_ask_t  *ask;

    static const char    *suffix[] = { "", ":delayed", ":dead", "", ":parked",
                                 ":parked" };
    static const char    *verb[] = { "XLEN", "ZCARD", "XLEN", "XRANGE", "ZCARD",
                               "ZRANGE" };

    if (rc != MDVR_OK || reply->type != REDIS_REPLY_ARRAY) {
        ngx_mdvr_jobs_end(jobs);
        return;
    }

    n = ngx_min(reply->elements, NGX_MDVR_JOBS_QUEUES);

    for (i = 0; i < n; i++) {
        queue = mdvr_str(reply->element[i]->str, reply->element[i]->len);

        at = ngx_strlchr((u_char *) queue.p, (u_char *) queue.p + queue.len,
                         '@');
        kind = mdvr_job_kind(mdvr_str(queue.p, at ? (size_t) (at - queue.p)
                                                  : queue.len));
        if (kind == MDVR_JOB_KINDS) {
            continue;
        }

        for (what = 0; what < 6; what++) {
            ask = ngx_palloc(jobs->pool, sizeof(ngx_mdvr_jobs_ask_t));
            if (ask == NULL) {
                break;
            }

            ask->jobs = jobs;
            ask->kind = kind;
            ask->what = what;

            b = mdvr_buf(key, sizeof(key) - 1);
            mdvr_key_job(&b, queue, suffix[what]);

            if (b.full) {
                continue;
            }

            key[b.len] = '\0';

            argv[0] = verb[what];
            argv[1] = (char *) key;
            argc = 2;

            if (what == 3) {
                argv[2] = "-";
                argv[3] = "+";
                argv[4] = "COUNT";
                argv[5] = "1";
                argc = 6;

            } else if (what == 5) {
                argv[2] = "0";
                argv[3] = "0";
                argc = 4;
            }

            if (ngx_mdvr_redis_command(jobs->pool, NGX_MDVR_JOBS_TIMEOUT, argc,
                                       argv, NULL, ngx_mdvr_jobs_number, ask)
                == NGX_OK)
            {
                jobs->left++;
            }
        }
    }

    ngx_mdvr_jobs_end(jobs);
}


static void
ngx_mdvr_jobs_number(void *data, const redisReply *reply, mdvr_rc_t rc)
{
    ngx_mdvr_jobs_ask_t *ask = data;

    int64_t                age;
    const redisReply      *id;
    ngx_mdvr_jobs_kind_t  *k;

    k = &ask->jobs->kinds[ask->kind];

    if (rc == MDVR_OK) {

        switch (ask->what) {

        case 0:
        case 4:
            k->depth += ngx_mdvr_jobs_int(reply);
            break;

        case 1:
            k->delayed += ngx_mdvr_jobs_int(reply);
            break;

        case 2:
            k->dead += ngx_mdvr_jobs_int(reply);
            break;

        default:
            id = NULL;

            if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1) {
                id = reply->element[0];         /* an id, or entry and id */

                if (id->type == REDIS_REPLY_ARRAY && id->elements == 2) {
                    id = id->element[0];
                }
            }

            if (id && id->type == REDIS_REPLY_STRING) {
                age = ngx_mdvr_now_ms() - ngx_mdvr_jobs_int(id);
                k->age_ms = ngx_max(k->age_ms, age);
            }
        }
    }

    ngx_mdvr_jobs_end(ask->jobs);
}


static u_char *
ngx_mdvr_jobs_head(u_char *p, u_char *last, const char *name,
    const char *help, const char *type)
{
    return ngx_slprintf(p, last, "# HELP %s %s\n# TYPE %s %s\n", name, help,
                        name, type);
}


/* One answer has come; after the last one the page is written. */

static void
ngx_mdvr_jobs_end(ngx_mdvr_jobs_t *jobs)
{
    u_char                  *p, *last;
    int64_t                  count, speed;
    ngx_str_t                text;
    ngx_uint_t               i, n, any;
    const char              *name;
    ngx_mdvr_jobs_kind_t    *k;

    static const struct {
        const char  *name;
        const char  *help;
        size_t       offset;
    } gauges[] = {
        { "mdvr_job_queue_depth", "Jobs that wait or run",
          offsetof(ngx_mdvr_jobs_kind_t, depth) },
        { "mdvr_job_delayed", "Jobs that wait for another attempt",
          offsetof(ngx_mdvr_jobs_kind_t, delayed) },
        { "mdvr_job_dead", "Jobs that were given up",
          offsetof(ngx_mdvr_jobs_kind_t, dead) },
    };

    if (--jobs->left) {
        return;
    }

    p = ngx_pnalloc(jobs->pool, NGX_MDVR_JOBS_TEXT);
    if (p == NULL) {
        ngx_str_null(&text);
        jobs->done(jobs->data, &text);
        return;
    }

    text.data = p;
    last = p + NGX_MDVR_JOBS_TEXT;

    for (n = 0; n < sizeof(gauges) / sizeof(gauges[0]); n++) {
        p = ngx_mdvr_jobs_head(p, last, gauges[n].name, gauges[n].help,
                               "gauge");

        for (i = 0; i < MDVR_JOB_KINDS; i++) {
            p = ngx_slprintf(p, last, "%s{kind=\"%s\"} %L\n", gauges[n].name,
                             mdvr_job_info(i)->name,
                             *(int64_t *) ((u_char *) &jobs->kinds[i]
                                           + gauges[n].offset));
        }
    }

    p = ngx_mdvr_jobs_head(p, last, "mdvr_worker_trace_spans_dropped_total",
                           "Spans that the worker's processes lost, or the "
                           "collector refused", "counter");
    p = ngx_slprintf(p, last, "mdvr_worker_trace_spans_dropped_total %L\n",
                     jobs->spans_dropped);

    p = ngx_mdvr_jobs_head(p, last, "mdvr_job_queue_age_seconds",
                           "Age of the oldest job that waits or runs",
                           "gauge");

    for (i = 0; i < MDVR_JOB_KINDS; i++) {
        k = &jobs->kinds[i];
        p = ngx_slprintf(p, last, "mdvr_job_queue_age_seconds{kind=\"%s\"} "
                         "%L.%03L\n", mdvr_job_info(i)->name,
                         k->age_ms / 1000, k->age_ms % 1000);
    }

    p = ngx_mdvr_jobs_head(p, last, "mdvr_job_seconds",
                           "Time of finished runs by kind", "histogram");

    for (i = 0; i < MDVR_JOB_KINDS; i++) {
        k = &jobs->kinds[i];
        name = mdvr_job_info(i)->name;
        count = 0;

        for (n = 0; n < NGX_MDVR_JOBS_LE; n++) {
            count += k->bucket[n];
            p = ngx_slprintf(p, last, "mdvr_job_seconds_bucket{kind=\"%s\","
                             "le=\"%ui.%ui\"} %L\n", name,
                             ngx_mdvr_jobs_le[n] / 1000,
                             ngx_mdvr_jobs_le[n] % 1000 / 100, count);
        }

        count += k->bucket[n];

        p = ngx_slprintf(p, last, "mdvr_job_seconds_bucket{kind=\"%s\","
                         "le=\"+Inf\"} %L\n"
                         "mdvr_job_seconds_sum{kind=\"%s\"} %L.%03L\n"
                         "mdvr_job_seconds_count{kind=\"%s\"} %L\n",
                         name, count, name, k->sum_ms / 1000,
                         k->sum_ms % 1000, name, count);
    }

    p = ngx_mdvr_jobs_head(p, last, "mdvr_job_failures_total",
                           "Runs that failed by kind and reason", "counter");

    for (i = 0; i < MDVR_JOB_KINDS; i++) {
        name = mdvr_job_info(i)->name;
        any = 0;

        for (n = 0; n < jobs->nfailed; n++) {
            if (jobs->failed[n].kind == i) {
                p = ngx_slprintf(p, last, "mdvr_job_failures_total{kind=\"%s\""
                                 ",reason=\"%V\"} %L\n", name,
                                 &jobs->failed[n].reason,
                                 jobs->failed[n].count);
                any = 1;
            }
        }

        if (!any) {
            p = ngx_slprintf(p, last, "mdvr_job_failures_total{kind=\"%s\","
                             "reason=\"other\"} 0\n", name);
        }
    }

    k = &jobs->kinds[MDVR_JOB_TRANSCODE];
    speed = k->sum_ms ? k->media_ms * 1000 / k->sum_ms : 0;

    p = ngx_mdvr_jobs_head(p, last, "mdvr_transcode_speed_factor",
                           "Seconds of media transcoded per second of work",
                           "gauge");
    p = ngx_slprintf(p, last, "mdvr_transcode_speed_factor %L.%03L\n",
                     speed / 1000, speed % 1000);

    text.len = p - text.data;

    jobs->done(jobs->data, &text);
}
