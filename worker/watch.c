/*
 * mdvr-worker watch: what analysers see in live streams of devices whose
 * settings want that.
 *
 * One process per node, beside nginx.  It keeps no stream alive and no viewer
 * waiting: every few seconds it copies the newest key frame of a stream that is
 * live anyway, and when it has a few of them the analysers look at them as at a
 * clip.  What they find is an event of the device, once in a while for each
 * kind and channel (sql/migrations/0097_live_picture.sql); its picture is staged
 * and becomes a media item like a snapshot.
 *
 * The cost has a bound: so many streams at a time, one picture of each per
 * interval; what is above that is not looked at.
 */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/mdvr_bus.h"
#include "mdvr/domain/job.h"
#include "worker/analyser.h"
#include "worker/handler.h"
#include "worker/node.h"
#include "worker/watch.h"

#define WATCH_WINDOW     6              /* pictures looked at together */
#define WATCH_ROUND_MS   250
#define WATCH_ASK_MS     30000          /* settings are asked for again */
#define WATCH_FRAME_MAX  (4 << 20)
#define WATCH_INIT_MAX   (64 << 10)

typedef struct {
    mdvr_bus_ref_t   ref;
    char             device[37];
    char             tenant[37];        /* "": not wanted */
    unsigned         channel;
    int64_t          ask_ms, next_ms;
    int64_t          began_ms;          /* of the window, unix time */
    uint64_t         seq;               /* of the last picture */
    wk_samples_t     window;
} watch_t;


static const wk_conf_t  *watch_conf;
static mdvr_bus_t       *watch_bus;
static wk_db_t           watch_db;
static wk_redis_t        watch_redis;
static watch_t           watches[MDVR_BUS_STREAMS_MAX];
static unsigned          watch_every_s, watch_streams, watch_repeat_s;


static unsigned
watch_number(const char *name, unsigned otherwise)
{
    long         n;
    char        *end;
    const char  *text = getenv(name);

    n = text && *text ? strtol(text, &end, 10) : 0;

    return n > 0 && n < 1000000 && *end == '\0' ? (unsigned) n : otherwise;
}


static void
watch_uuid(char *out, const uint8_t *id)
{
    unsigned  i;

    for (i = 0; i < 16; i++) {
        out += sprintf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10
                                      ? "-" : "", id[i]);
    }
}


static void
watch_forget(watch_t *w)
{
    wk_samples_free(&w->window);
    memset(w, 0, sizeof(*w));
}


/* Whose streams are wanted is asked for now and then. */

static void
watch_ask(watch_t *w)
{
    PGresult    *res;
    const char  *v[1] = { w->device }, *tenant;

    w->tenant[0] = '\0';

    if (!wk_db_begin(&watch_db, NULL)) {
        return;
    }

    res = wk_db(&watch_db, "select mdvr.live_watch($1)", 1, v);

    if (res == NULL) {
        return;
    }

    tenant = PQntuples(res) ? wk_db_get(res, 0, 0) : NULL;

    if (tenant) {
        snprintf(w->tenant, sizeof(w->tenant), "%s", tenant);
    }

    PQclear(res);
    wk_db_commit(&watch_db);
}


/*
 * The newest key frame as a movie of one picture in memory; a file descriptor,
 * or -1 when there is none that is new.
 */

static int
watch_frame(watch_t *w)
{
    int                     fd;
    size_t                  len;
    uint32_t                version;
    mdvr_bus_rec_t          rec;
    mdvr_bus_reader_t       reader;
    static uint8_t          init[WATCH_INIT_MAX];
    static uint8_t          frame[WATCH_FRAME_MAX];

    if (mdvr_bus_reader_init(watch_bus, w->ref, MDVR_BUS_RING_MEDIA, false,
                             &reader) != MDVR_OK
        || mdvr_bus_read(watch_bus, &reader, &rec, frame, sizeof(frame))
           != MDVR_OK
        || !(rec.flags & MDVR_BUS_F_KEY) || rec.seq == w->seq
        || mdvr_bus_get_init(watch_bus, w->ref, init, sizeof(init), &len,
                             &version) != MDVR_OK
        || version != rec.init_version)
    {
        return -1;
    }

    w->seq = rec.seq;
    fd = memfd_create("mdvr-watch", MFD_CLOEXEC);

    if (fd >= 0
        && (write(fd, init, len) != (ssize_t) len
            || write(fd, frame, rec.len) != (ssize_t) rec.len))
    {
        close(fd);
        fd = -1;
    }

    return fd;
}


/* What is in the file outlives a crash of the machine. */

static bool
watch_sync(const char *path)
{
    int   fd;
    bool  ok;

    fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return false;
    }

    ok = fsync(fd) == 0;
    close(fd);

    return ok;
}


/*
 * The picture of a finding, staged under its media id: "<id>.part".  False:
 * there is none, and the finding is told without.
 */

static bool
watch_picture_make(const watch_t *w, const wk_finding_t *f, const char *media)
{
    int   n;
    char  path[PATH_MAX];

    if (watch_conf->state_dir == NULL) {
        return false;
    }

    snprintf(path, sizeof(path), "%s/staged", watch_conf->state_dir);
    (void) mkdir(path, 0700);

    n = snprintf(path, sizeof(path), "%s/staged/%s.part",
                 watch_conf->state_dir, media);

    if (n < 0 || (size_t) n >= sizeof(path)) {
        return false;
    }

    if (wk_sample_write(&w->window, f->sample, path) && watch_sync(path)) {
        return true;
    }

    unlink(path);

    return false;
}


/* It was told: the picture is a job now.  Or it was not: the picture goes. */

static void
watch_picture_end(const watch_t *w, const char *media, int64_t at_ms,
    bool told)
{
    FILE        *f;
    bool         ok;
    char         part[PATH_MAX], bin[PATH_MAX], side[PATH_MAX], job[PATH_MAX],
                 doc[MDVR_JOB_MAX + 1];
    mdvr_buf_t   b;
    mdvr_job_t   j;
    const char  *dir = watch_conf->state_dir;

    if (snprintf(part, sizeof(part), "%s/staged/%s.part", dir, media)
        >= (int) sizeof(part) - 8)
    {
        return;
    }

    if (!told) {
        unlink(part);
        return;
    }

    snprintf(bin, sizeof(bin), "%s/staged/%s.bin", dir, media);
    snprintf(side, sizeof(side), "%s/staged/%s.job.part", dir, media);
    snprintf(job, sizeof(job), "%s/staged/%s.job", dir, media);

    memset(&j, 0, sizeof(j));
    j.id = mdvr_cstr(media);
    j.tenant_id = mdvr_cstr(w->tenant);
    j.device_id = mdvr_cstr(w->device);
    j.file = mdvr_cstr(bin);
    j.media_kind = "jpeg";
    j.source = "snapshot";
    j.channel = w->channel;
    j.at_ms = at_ms;

    b = mdvr_buf(doc, sizeof(doc) - 1);
    mdvr_job_write(&b, MDVR_JOB_INGEST, &j, wk_now_ms());
    doc[b.len] = '\0';

    f = b.full ? NULL : fopen(side, "we");
    ok = f && fputs(doc, f) >= 0;
    ok = f && fclose(f) == 0 && ok;

    if (!ok || !watch_sync(side) || rename(part, bin) != 0
        || rename(side, job) != 0)
    {
        wk_log(WK_WARN, "a live picture is lost", "reason", strerror(errno),
               NULL);
        unlink(part);
        unlink(bin);
        unlink(side);
        return;
    }

    /* lost when Redis is away: the worker looks at .job files, too */
    wk_queue_add(&watch_redis, MDVR_JOB_INGEST, watch_conf->node, doc);
}


/* True when it was told: not each finding is (0065_live_findings.sql). */

static bool
watch_tell(watch_t *w, const wk_finding_t *f, int64_t at_ms,
    const char *media)
{
    bool         told;
    char         channel[8], confidence[24], at[32], box[120], repeat[16];
    PGresult    *res;
    const char  *message;
    const char  *v[10] = { w->device, channel, f->kind, confidence, at,
                           f->boxed ? box : NULL, f->model, f->version,
                           repeat, media };

    snprintf(channel, sizeof(channel), "%u", w->channel);
    snprintf(confidence, sizeof(confidence), "%.3f", f->confidence);
    snprintf(at, sizeof(at), "%.3f", (double) at_ms / 1000);
    snprintf(box, sizeof(box), "[%.4f, %.4f, %.4f, %.4f]", f->box[0],
             f->box[1], f->box[2], f->box[3]);
    snprintf(repeat, sizeof(repeat), "%u", watch_repeat_s);

    if (!wk_db_begin(&watch_db, NULL)) {
        return false;
    }

    res = wk_db(&watch_db, "select message from mdvr.live_finding($1, "
                "$2::integer, $3, $4::real, to_timestamp($5::float8), "
                "$6::jsonb, $7, $8, make_interval(secs => $9::integer), $10)",
                10, v);
    if (res == NULL) {
        wk_log(WK_WARN, "cannot tell what was seen", "reason",
               watch_db.error, NULL);
        return false;
    }

    told = wk_db_commit(&watch_db) && PQntuples(res)
           && (message = wk_db_get(res, 0, 0)) != NULL;

    if (told) {
        wk_redis_publish(&watch_redis, w->tenant, message);
        wk_log(WK_INFO, "seen in a live stream", "device_id", w->device,
               "kind", f->kind, NULL);
    }

    PQclear(res);

    return told;
}


static void
watch_found(watch_t *w, const wk_finding_t *f)
{
    bool     picture, told;
    char     media[37];
    int64_t  at_ms;

    at_ms = w->began_ms + (int64_t) llround(f->at_s * 1000);
    wk_uuid(media);
    picture = watch_picture_make(w, f, media);
    told = watch_tell(w, f, at_ms, picture ? media : NULL);

    if (picture) {
        watch_picture_end(w, media, at_ms, told);
    }
}


/* The window is full: the analysers look at it, and it begins anew. */

static void
watch_look(watch_t *w)
{
    char               usage[24];
    unsigned           i;
    PGresult          *res;
    const char        *v[2] = { w->tenant, usage };
    static wk_look_t   look;

    memset(&look, 0, sizeof(look));
    look.conf = watch_conf;
    look.samples = &w->window;
    look.channel = w->channel;

    if (!wk_look(&look)) {
        wk_log(WK_WARN, "an analyser failed", "reason", look.error, NULL);
    }

    for (i = 0; i < look.n; i++) {
        watch_found(w, &look.found[i]);
    }

    snprintf(usage, sizeof(usage), "%.0f", ceil(w->window.duration_s));

    if (wk_db_begin(&watch_db, NULL)) {
        res = wk_db(&watch_db, "select mdvr.usage_add($1, 'ai_s', "
                    "$2::bigint)", 2, v);
        if (res) {
            PQclear(res);
            wk_db_commit(&watch_db);
        }
    }

    wk_samples_free(&w->window);
}


static void
watch_picture(watch_t *w, int fd)
{
    char           path[40], error[200];
    int64_t        now;
    wk_sample_t   *to;
    wk_samples_t   one;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

    if (!wk_samples_read(&one, path, 1, error, sizeof(error))) {
        wk_log(WK_DEBUG, "a live picture cannot be decoded", "reason", error,
               NULL);
        return;
    }

    now = wk_now_ms();

    if (w->window.list
        && (w->window.w != one.w || w->window.h != one.h))
    {
        wk_samples_free(&w->window);    /* the device changed its picture */
    }

    if (w->window.list == NULL) {
        w->window.list = calloc(WATCH_WINDOW, sizeof(*w->window.list));

        if (w->window.list == NULL) {
            wk_samples_free(&one);
            return;
        }

        w->window.w = one.w;
        w->window.h = one.h;
        w->began_ms = now;
    }

    to = &w->window.list[w->window.n++];
    *to = one.list[0];
    to->at_s = (double) (now - w->began_ms) / 1000;
    w->window.duration_s = to->at_s;
    one.n = 0;                          /* its picture is ours now */
    wk_samples_free(&one);

    if (w->window.n == WATCH_WINDOW) {
        watch_look(w);
    }
}


static void
watch_round(void)
{
    int                fd;
    int64_t            now;
    uint32_t           i;
    unsigned           n;
    watch_t           *w;
    mdvr_bus_ref_t     ref;
    mdvr_bus_info_t    info;

    n = 0;

    for (i = 0; i < mdvr_bus_streams(watch_bus) && !wk_node_stop; i++) {
        w = &watches[i];
        now = wk_clock_ms();

        if (mdvr_bus_at(watch_bus, i, &ref) != MDVR_OK
            || mdvr_bus_info(watch_bus, ref, &info) != MDVR_OK
            || info.kind != MDVR_BUS_KIND_LIVE || info.channel == 0
            || info.state != MDVR_BUS_LIVE)
        {
            if (w->ref.generation) {
                watch_forget(w);
            }
            continue;
        }

        if (w->ref.generation != ref.generation) {
            watch_forget(w);
            w->ref = ref;
            w->channel = info.channel;
            watch_uuid(w->device, info.device_id);
        }

        if (now >= w->ask_ms) {
            w->ask_ms = now + WATCH_ASK_MS;
            watch_ask(w);
        }

        if (w->tenant[0] == '\0' || ++n > watch_streams || now < w->next_ms) {
            continue;
        }

        fd = watch_frame(w);

        if (fd >= 0) {
            w->next_ms = now + (int64_t) watch_every_s * 1000;
            watch_picture(w, fd);
            close(fd);
        }
    }
}


int
wk_watch_main(const wk_conf_t *conf)
{
    uint32_t          i;

    if (!wk_node_begin("watch")) {
        return 2;
    }

    if (nice(10) == -1) {
        errno = 0;                      /* a wish only */
    }

    watch_conf = conf;
    watch_every_s = watch_number("MDVR_AI_LIVE_S", 2);
    watch_streams = watch_number("MDVR_AI_LIVE_STREAMS", 8);
    watch_repeat_s = watch_number("MDVR_AI_LIVE_REPEAT_S", 300);
    wk_db_init(&watch_db, conf);
    wk_redis_init(&watch_redis, conf);

    wk_log(WK_INFO, "watching live streams", NULL);

    while (!wk_node_stop) {
        if (!wk_node_attach(&watch_bus, "watch")) {
            continue;
        }

        wk_node_wait(watch_bus, WATCH_ROUND_MS);
        watch_round();
    }

    for (i = 0; i < MDVR_BUS_STREAMS_MAX; i++) {
        watch_forget(&watches[i]);
    }

    if (watch_bus) {
        mdvr_bus_detach(watch_bus);
    }

    wk_db_close(&watch_db);
    wk_redis_close(&watch_redis);

    return 0;
}
