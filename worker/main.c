/*
 * mdvr-worker: takes jobs from Redis and runs each in a child.
 *
 *   mdvr-worker                    until SIGTERM; finishes what it has begun
 *   mdvr-worker jobs list|show|requeue|drop ...
 *   mdvr-worker sound              the encoder of the frame bus (sound.c)
 *   mdvr-worker watch              analysers on live streams (watch.c)
 *   mdvr-worker traces             spans to the collector (otlp.c)
 *   mdvr-worker analyse FILE...    what the analysers find in files
 *   mdvr-worker evidence-key       public keys of evidence packages
 *
 * The supervisor never touches a file of a device, PostgreSQL or libav: it
 * keeps leases alive, sees children end, and decides between done, later and
 * never.  Three more children, one of each at a time, do the scheduled work,
 * remove objects whose time is over, and turn events into notifications.
 */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/h264.h"
#include "worker/handler.h"
#include "worker/notify.h"
#include "worker/restream.h"
#include "worker/sound.h"
#include "worker/watch.h"
#include "worker/trace.h"

#define WK_STOP_MS      20000           /* for running jobs after SIGTERM */
#define WK_SWEEP_MS     30000
#define WK_FOLLOW_MS    1000            /* between two deaths of it */
#define WK_LIGHT        4               /* notify jobs at a time, beside the
                                           others: they only wait */
#define WK_BUSY_MS      50              /* pause while children run */
#define WK_IDLE_MS      500             /* BLOCK while none does */
#define WK_RETRY_MAX    600000
#define WK_LOST_MAX     25              /* a worker's death is rarely the
                                           fault of its job: a bad one kills
                                           its child only */

typedef struct {
    wk_child_t        child;
    wk_job_t          job;
    bool              ended;            /* the queue must still be told */
    bool              burying;          /* give_up() runs */
    wk_span_t         span;
    wk_result_t       res;
} wk_slot_t;

typedef struct {
    const wk_conf_t  *conf;
    wk_redis_t        redis;
    wk_queue_t        queue;
    wk_slot_t         slots[64 + WK_LIGHT];
    wk_child_t        schedule;
    wk_child_t        lifecycle;
    wk_child_t        follow;
    int64_t           next_beat, next_recover, next_promote, next_sweep,
                      next_tick, next_life, next_follow;
    uint64_t          lost;             /* spans, not counted yet */
} wk_main_t;

typedef struct {
    const wk_conf_t  *conf;
    const wk_job_t   *job;
    const wk_span_t  *span;
    const char       *bury;             /* reason, or NULL: run */
} wk_start_t;

static volatile sig_atomic_t  wk_stop;

const wk_handler_t  wk_handlers[MDVR_JOB_KINDS] = {
    [MDVR_JOB_NOTIFY] =    { wk_notify,    wk_notify_give_up },
    [MDVR_JOB_FIRMWARE] =  { wk_firmware,  wk_firmware_give_up },
    [MDVR_JOB_INGEST] =    { wk_ingest,    wk_media_give_up },
    [MDVR_JOB_EVIDENCE] =  { wk_evidence,  wk_evidence_give_up },
    [MDVR_JOB_TRANSCODE] = { wk_transcode, wk_media_give_up },
    [MDVR_JOB_ANALYSE] =   { wk_analyse,   wk_analyse_give_up },
};


static void
wk_on_signal(int signo)
{
    wk_stop = 1;
}


/* The keys of a job in each line of the log from here on; NULL: of none. */

static void
wk_log_job(const wk_job_t *job)
{
    unsigned  i;

    static const struct {
        const char  *key;
        const char  *member;
    } keys[] = {
        { "job", "id" }, { "request_id", "request_id" },
        { "tenant_id", "tenant_id" }, { "device", "serial" },
        { "device_id", "device_id" }, { "alarm_id", "alarm_id" }
    };

    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        wk_log_with(keys[i].key, job ? wk_job_str(job, keys[i].member) : "");
    }

    wk_log_with("kind", job ? mdvr_job_info(job->kind)->name : "");
    wk_trace_log(job ? wk_job_str(job, "traceparent") : "",
                 job ? wk_job_str(job, "alarm_id") : "");
}


/* In the child: connections of its own, then the handler. */

static void
wk_run(void *data, wk_result_t *res)
{
    wk_task_t           t;
    const wk_start_t   *start = data;

    memset(&t, 0, sizeof(t));
    t.conf = start->conf;
    t.job = start->job;
    t.res = res;

    wk_log_job(t.job);
    wk_trace_enter(start->span);
    wk_log(WK_DEBUG, "job begins", NULL);

    wk_db_init(&t.db, t.conf);
    wk_redis_init(&t.redis, t.conf);
    wk_storage_init(&t.storage, t.conf);

    if (start->bury) {
        wk_handlers[t.job->kind].give_up(&t, start->bury);
        wk_result(res, WK_DONE, "", "%s", "");

    } else {
        wk_handlers[t.job->kind].run(&t);
    }

    wk_db_close(&t.db);
    wk_redis_close(&t.redis);
}


static void
wk_start(wk_main_t *m, wk_slot_t *slot, const char *bury)
{
    wk_start_t  start = { m->conf, &slot->job, &slot->span, bury };

    slot->burying = bury != NULL;

    if (bury == NULL) {
        wk_trace_job(&slot->span, slot->job.doc);
    }

    if (!wk_child_start(&slot->child, m->conf,
                        bury ? 60 : mdvr_job_info(slot->job.kind)->wall_s,
                        wk_run, &start))
    {
        slot->ended = true;
        wk_result(&slot->res, WK_RETRY, "process", "no process to be had");
    }
}


/* The pause before the next attempt: doubling, with jitter, bounded. */

static int64_t
wk_pause(const wk_conf_t *conf, unsigned attempt)
{
    int64_t   ms;
    unsigned  i;

    ms = conf->retry_ms;

    for (i = 1; i < attempt && ms < WK_RETRY_MAX; i++) {
        ms *= 2;
    }

    if (ms > WK_RETRY_MAX) {
        ms = WK_RETRY_MAX;
    }

    return ms / 2 + random() % (ms + 1);
}


/* Tells the queue what became of a job; false: Redis is away, later. */

static bool
wk_settle_one(wk_main_t *m, wk_slot_t *slot)
{
    bool                    ok;
    char                    attempt[16];
    const mdvr_job_info_t  *info;

    info = mdvr_job_info(slot->job.kind);
    snprintf(attempt, sizeof(attempt), "%u", slot->job.attempt);

    if (slot->res.verdict == WK_DONE) {
        ok = wk_queue_done(&m->queue, &slot->job);

        if (ok) {
            wk_log(WK_INFO, "job done", "attempt", attempt, NULL);
        }

        return ok;
    }

    if (slot->res.verdict == WK_RETRY && slot->job.attempt < info->attempts) {
        ok = wk_queue_retry(&m->queue, &slot->job,
                            wk_pause(m->conf, slot->job.attempt),
                            slot->res.reason);
        if (ok) {
            wk_log(WK_WARN, "job failed, will be tried again", "attempt",
                   attempt, "code", slot->res.code, "reason",
                   slot->res.reason, NULL);
        }

        return ok;
    }

    ok = wk_queue_dead(&m->queue, &slot->job, slot->res.code,
                       slot->res.reason);
    if (ok) {
        wk_log(WK_ERROR, "job given up", "attempt", attempt, "code",
               slot->res.code, "reason", slot->res.reason, NULL);
    }

    return ok;
}


static bool
wk_settle(wk_main_t *m, wk_slot_t *slot)
{
    bool  ok;

    wk_log_job(&slot->job);
    ok = wk_settle_one(m, slot);
    wk_log_job(NULL);

    return ok;
}


static void
wk_end_span(wk_slot_t *slot)
{
    wk_span_t  *s = &slot->span;

    s->span.name = mdvr_cstr(mdvr_job_info(slot->job.kind)->name);
    wk_trace_text(s, "mdvr.job", wk_job_str(&slot->job, "id"));
    wk_trace_text(s, "mdvr.tenant_id", wk_job_str(&slot->job, "tenant_id"));
    wk_trace_text(s, "mdvr.serial", wk_job_str(&slot->job, "serial"));
    wk_trace_text(s, "mdvr.media_id", wk_job_str(&slot->job, "media_id"));
    wk_trace_number(s, "mdvr.attempt", slot->job.attempt);
    wk_trace_end(s, slot->res.verdict == WK_DONE ? NULL : slot->res.reason);
}


static void
wk_reap(wk_main_t *m)
{
    unsigned      i;
    wk_slot_t    *slot;
    wk_result_t   res;

    for (i = 0; i < m->conf->slots + WK_LIGHT; i++) {
        slot = &m->slots[i];

        if (slot->child.pid && wk_child_poll(&slot->child, &res)) {
            slot->ended = true;

            if (slot->burying) {
                slot->burying = false;  /* slot->res is why it is buried */

            } else {
                slot->res = res;
                wk_end_span(slot);
                wk_queue_count(&m->queue, slot->job.kind,
                               wk_clock_ms() - slot->child.started_ms,
                               res.verdict == WK_DONE ? NULL : res.code);

                if (res.verdict == WK_GIVE_UP
                    || (res.verdict == WK_RETRY
                        && slot->job.attempt
                           >= mdvr_job_info(slot->job.kind)->attempts))
                {
                    slot->ended = false;
                    wk_start(m, slot, slot->res.reason);
                }
            }
        }

        if (slot->ended && wk_settle(m, slot)) {
            memset(slot, 0, sizeof(*slot));
        }
    }

    if (m->schedule.pid && wk_child_poll(&m->schedule, &res)
        && res.verdict != WK_DONE)
    {
        wk_log(WK_WARN, "scheduled work failed", "code", res.code, "reason",
               res.reason, NULL);
    }

    if (m->lifecycle.pid && wk_child_poll(&m->lifecycle, &res)
        && res.verdict != WK_DONE)
    {
        wk_log(WK_WARN, "objects were not removed", "code", res.code,
               "reason", res.reason, NULL);
    }

    if (m->follow.pid && wk_child_poll(&m->follow, &res)
        && res.verdict != WK_DONE)
    {
        wk_log(WK_WARN, "notifications are planned anew", "code", res.code,
               "reason", res.reason, NULL);
    }
}


/* Does the machine have less memory to give than it should keep? */

static bool
wk_memory_short(const wk_conf_t *conf)
{
    char                 line[128];
    FILE                *f;
    unsigned long long   kb;

    kb = ~0ULL;
    f = fopen("/proc/meminfo", "re");

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "MemAvailable: %llu kB", &kb) == 1) {
            break;
        }
    }

    if (f) {
        fclose(f);
    }

    return kb < conf->spare >> 10;
}


/* Kinds of which one more may run now, as bits. */

static unsigned
wk_room(wk_main_t *m)
{
    unsigned  i, light, heavy, kinds;

    light = 0;
    heavy = 0;

    for (i = 0; i < m->conf->slots + WK_LIGHT; i++) {
        if (m->slots[i].child.pid || m->slots[i].ended) {
            if (m->slots[i].job.kind == MDVR_JOB_NOTIFY) {
                light++;

            } else {
                heavy++;
            }
        }
    }

    kinds = light < WK_LIGHT ? 1u << MDVR_JOB_NOTIFY : 0;

    if (heavy < m->conf->slots && (heavy == 0 || !wk_memory_short(m->conf))) {
        kinds |= ((1u << MDVR_JOB_KINDS) - 1) & ~(1u << MDVR_JOB_NOTIFY);
    }

    return kinds;
}


static void
wk_fill(wk_main_t *m, bool idle)
{
    unsigned    i, kinds;
    wk_job_t    job;
    wk_slot_t  *slot;

    for (i = 0; i < m->conf->slots + WK_LIGHT; i++) {
        slot = &m->slots[i];

        if (slot->child.pid || slot->ended) {
            continue;
        }

        kinds = wk_room(m);

        if (kinds == 0
            || !wk_queue_take(&m->queue, &job, kinds, idle ? WK_IDLE_MS : 0))
        {
            return;
        }

        idle = false;
        slot->job = job;

        if (job.doc == NULL) {
            slot->ended = true;
            wk_result(&slot->res, WK_GIVE_UP, "document",
                      "the job is not a JSON object");

        } else if (job.lost >= WK_LOST_MAX) {
            wk_result(&slot->res, WK_GIVE_UP, "crash",
                      "its worker was lost %u times", job.lost);
            wk_start(m, slot, slot->res.reason);

        } else {
            wk_start(m, slot, NULL);
        }
    }
}


static bool
wk_due(int64_t *next, int64_t now, int64_t every)
{
    if (now < *next) {
        return false;
    }

    *next = now + every;

    return true;
}


static void
wk_chores(wk_main_t *m)
{
    int64_t   now;
    unsigned  i;

    now = wk_clock_ms();

    if (wk_due(&m->next_beat, now, m->conf->lease_ms / 3)) {
        for (i = 0; i < m->conf->slots + WK_LIGHT; i++) {
            if (m->slots[i].child.pid || m->slots[i].ended) {
                wk_queue_beat(&m->queue, &m->slots[i].job);
            }
        }

        wk_queue_beat(&m->queue, NULL);
        m->lost += wk_trace_lost();

        if (m->lost && wk_trace_count(&m->redis, m->lost)) {
            m->lost = 0;
        }
    }

    if (wk_stop) {
        return;
    }

    if (wk_due(&m->next_recover, now, m->conf->lease_ms / 3)) {
        wk_queue_recover(&m->queue);
    }

    if (wk_due(&m->next_promote, now, 250)) {
        wk_queue_promote(&m->queue);
    }

    if (wk_due(&m->next_sweep, now, WK_SWEEP_MS)) {
        wk_ingest_sweep(m->conf, &m->redis, WK_SWEEP_MS / 1000);
        wk_firmware_sweep(m->conf);
    }

    if (m->schedule.pid == 0 && wk_due(&m->next_tick, now, m->conf->tick_ms))
    {
        wk_child_start(&m->schedule, m->conf, 300, wk_schedule,
                       (void *) m->conf);
    }

    if (m->lifecycle.pid == 0 && wk_due(&m->next_life, now, m->conf->tick_ms))
    {
        wk_child_start(&m->lifecycle, m->conf, 900, wk_lifecycle,
                       (void *) m->conf);
    }

    if (m->follow.pid == 0 && wk_due(&m->next_follow, now, WK_FOLLOW_MS)) {
        wk_child_start(&m->follow, m->conf, 1200, wk_follow,
                       (void *) m->conf);
    }
}


static unsigned
wk_running(wk_main_t *m)
{
    unsigned  i, n;

    for (i = 0, n = 0; i < m->conf->slots + WK_LIGHT; i++) {
        n += m->slots[i].child.pid || m->slots[i].ended;
    }

    return n;
}


static int
wk_main(const wk_conf_t *conf)
{
    int64_t           stop_at;
    unsigned          i, running;
    static wk_main_t  m;
    struct sigaction  sa;

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = wk_on_signal;
    sa.sa_flags = SA_RESTART;
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);

    m.conf = conf;
    wk_redis_init(&m.redis, conf);
    wk_queue_init(&m.queue, conf, &m.redis);
    srandom((unsigned) (wk_now_ms() ^ getpid()));

    wk_log(WK_INFO, "worker started", "worker", conf->name, NULL);
    stop_at = 0;

    for ( ;; ) {
        wk_reap(&m);
        wk_chores(&m);
        running = wk_running(&m);

        if (wk_stop) {
            if (stop_at == 0) {
                stop_at = wk_clock_ms() + WK_STOP_MS;
                wk_log(WK_INFO, "worker stops when its jobs are done", NULL);
            }

            if (running == 0 || wk_clock_ms() > stop_at) {
                break;
            }

            usleep(WK_BUSY_MS * 1000);
            continue;
        }

        wk_fill(&m, running == 0);

        if (running || m.schedule.pid || !m.redis.up) {
            usleep(WK_BUSY_MS * 1000);
        }
    }

    /* what is not finished is taken over by another when its lease ends */

    for (i = 0; i < conf->slots + WK_LIGHT; i++) {
        wk_child_kill(&m.slots[i].child);
    }

    wk_child_kill(&m.schedule);
    wk_child_kill(&m.lifecycle);
    wk_child_kill(&m.follow);
    wk_redis_close(&m.redis);
    wk_log(WK_INFO, "worker stopped", NULL);

    return 0;
}


int
main(int argc, char **argv)
{
    wk_conf_t  conf;

    if (!wk_log_init()) {
        return 2;
    }

    if (argc == 2 && strcmp(argv[1], "sound") == 0) {
        return wk_sound_main();
    }

    if (argc == 2 && strcmp(argv[1], "h264") == 0) {
        return wk_h264_main();
    }

    if (argc == 4 && strcmp(argv[1], "restream") == 0) {
        return wk_restream_main(argv[2], argv[3]);
    }

    if (argc == 2 && strcmp(argv[1], "traces") == 0) {
        return wk_otlp_main();
    }

    if (!wk_conf_read(&conf) || !wk_trace_init()) {
        return 2;
    }

    if (argc > 1 && strcmp(argv[1], "jobs") == 0) {
        return wk_jobs(&conf, argc - 2, argv + 2);
    }

    if (argc > 2 && strcmp(argv[1], "analyse") == 0) {
        return wk_analyse_files(&conf, argc - 2, argv + 2);
    }

    if (argc == 2 && strcmp(argv[1], "watch") == 0) {
        return wk_watch_main(&conf);
    }

    if (argc == 2 && strcmp(argv[1], "evidence-key") == 0) {
        return wk_evidence_keys(&conf);
    }

    if (argc > 1) {
        fprintf(stderr, "usage: mdvr-worker [sound | h264 | restream FROM TO | "
                        "traces | watch | evidence-key | "
                        "jobs list|show|requeue|drop | analyse FILE...]\n");
        return 2;
    }

    if (!wk_notify_conf_read()) {
        return 2;
    }

    return wk_main(&conf);
}
