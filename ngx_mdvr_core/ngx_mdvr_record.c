/*
 * See ngx_mdvr_record.h.
 *
 * The file is an init segment and the fragments behind it as viewers get them,
 * with decode times that begin at 0: an MP4 that the worker reads like any
 * other.  It ends where the picture's parameters change.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_mdvr_core/ngx_mdvr_record.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"
#include "mdvr/basics/bytes.h"
#include "mdvr/domain/job.h"
#include "mdvr/domain/keys.h"


#define NGX_MDVR_RECORD_TICK   500          /* ms */
#define NGX_MDVR_RECORD_FRAME  (4 * 1024 * 1024)


typedef struct {
    ngx_mdvr_bus_watch_t   watch;
    ngx_event_t            timer;
    mdvr_bus_ref_t         ref;
    mdvr_bus_info_t        info;
    mdvr_bus_reader_t      reader;
    ngx_fd_t               fd;
    u_char                 id[NGX_MDVR_UUID_LEN + 1];
    u_char                 alarm_id[NGX_MDVR_UUID_LEN + 1];     /* or empty */
    u_char                 request_id[65];
    u_char                 path[NGX_MAX_PATH];      /* without suffix */
    int64_t                at_ms;                   /* of the first picture */
    uint64_t               ticks;                   /* its decode time */
    uint64_t               from_us;
    uint64_t               last_us;
    uint64_t               frames;
    uint32_t               init_version;
    ngx_msec_t             until;
    unsigned               failed:1;
} ngx_mdvr_recording_t;


static ngx_uint_t  ngx_mdvr_recordings;
static u_char     *ngx_mdvr_record_buf;


/* --- the end ---------------------------------------------------------------- */

static ngx_int_t
ngx_mdvr_record_document(ngx_mdvr_recording_t *r, u_char *text, size_t *len)
{
    u_char                 tenant[NGX_MDVR_UUID_LEN];
    u_char                 device[NGX_MDVR_UUID_LEN];
    u_char                 file[NGX_MAX_PATH];
    mdvr_job_t             job;
    mdvr_buf_t             b;
    ngx_mdvr_uuid_t        uuid;

    ngx_memcpy(uuid.b, r->info.tenant_id, 16);
    (void) ngx_mdvr_uuid_print(tenant, &uuid);
    ngx_memcpy(uuid.b, r->info.device_id, 16);
    (void) ngx_mdvr_uuid_print(device, &uuid);

    ngx_memzero(&job, sizeof(mdvr_job_t));
    job.id = mdvr_str(r->id, NGX_MDVR_UUID_LEN);
    job.tenant_id = mdvr_str(tenant, sizeof(tenant));
    job.device_id = mdvr_str(device, sizeof(device));
    job.serial = mdvr_cstr(r->info.serial);
    job.alarm_id = mdvr_cstr((char *) r->alarm_id);
    job.file = mdvr_str(file, ngx_sprintf(file, "%s.bin", r->path) - file);
    job.media_kind = "mp4";
    job.source = "recording";
    job.channel = r->info.channel;
    job.at_ms = r->at_ms;
    job.duration_s = (uint32_t) ((r->last_us - r->from_us + 500000)
                                 / 1000000);
    job.request_id = mdvr_cstr((char *) r->request_id);

    b = mdvr_buf(text, MDVR_JOB_MAX);
    mdvr_job_write(&b, MDVR_JOB_INGEST, &job, ngx_mdvr_now_ms());
    *len = b.len;

    return b.full ? NGX_ERROR : NGX_OK;
}


static void
ngx_mdvr_record_announce(const u_char *text, size_t len)
{
    char                   key[MDVR_KEY_MAX], queue[128];
    size_t                 lens[5];
    mdvr_buf_t             b, q;
    ngx_uint_t             i;
    const char            *argv[5];
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    q = mdvr_buf(queue, sizeof(queue));
    mdvr_job_queue(&q, MDVR_JOB_INGEST, mdvr_str(conf->node.data,
                                                 conf->node.len));
    b = mdvr_buf(key, sizeof(key));
    mdvr_key_job(&b, mdvr_str(queue, q.len), "");

    argv[0] = "XADD";
    argv[1] = key;
    argv[2] = "*";
    argv[3] = "job";
    argv[4] = (const char *) text;

    for (i = 0; i < 5; i++) {
        lens[i] = i == 1 ? b.len : i == 4 ? len : ngx_strlen(argv[i]);
    }

    /* lost when Redis is away: the worker looks at .job files, too */

    (void) ngx_mdvr_redis_command(NULL, 5000, 5, argv, lens, NULL, NULL);

    argv[0] = "SADD";
    argv[1] = MDVR_KEY_JOB_QUEUES;
    argv[2] = queue;
    lens[0] = 4;
    lens[1] = ngx_strlen(argv[1]);
    lens[2] = q.len;

    (void) ngx_mdvr_redis_command(NULL, 5000, 3, argv, lens, NULL, NULL);
}


static ngx_int_t
ngx_mdvr_record_file(const u_char *path, const u_char *text, size_t len)
{
    ssize_t   n;
    u_char    from[NGX_MAX_PATH + 16], to[NGX_MAX_PATH + 16];
    ngx_fd_t  fd;

    *ngx_sprintf(from, "%s.part", path) = '\0';
    *ngx_sprintf(to, "%s.bin", path) = '\0';

    if (ngx_rename_file(from, to) == NGX_FILE_ERROR) {
        return NGX_ERROR;
    }

    *ngx_sprintf(from, "%s.job.part", path) = '\0';
    *ngx_sprintf(to, "%s.job", path) = '\0';

    fd = open((char *) from, O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0660);
    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    n = write(fd, text, len);
    (void) ngx_close_file(fd);

    return n == (ssize_t) len && ngx_rename_file(from, to) != NGX_FILE_ERROR
           ? NGX_OK : NGX_ERROR;
}


static void
ngx_mdvr_record_end(ngx_mdvr_recording_t *r)
{
    size_t  len;
    u_char  text[MDVR_JOB_MAX], part[NGX_MAX_PATH + 16];

    ngx_mdvr_bus_unwatch(&r->watch);

    if (r->timer.timer_set) {
        ngx_del_timer(&r->timer);
    }

    (void) ngx_close_file(r->fd);

    if (r->failed || r->frames == 0
        || ngx_mdvr_record_document(r, text, &len) != NGX_OK
        || ngx_mdvr_record_file(r->path, text, len) != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                      "recording %s failed, device: %s, frames: %uL", r->id,
                      r->info.serial, r->frames);
        *ngx_sprintf(part, "%s.part", r->path) = '\0';
        (void) ngx_delete_file(part);

    } else {
        ngx_mdvr_record_announce(text, len);
    }

    ngx_mdvr_recordings--;
    ngx_free(r);
}


/* --- frames ------------------------------------------------------------------- */

/* The decode time stands in the box "tfdt", version 1, of the fragment's head. */

static void
ngx_mdvr_record_time(ngx_mdvr_recording_t *r, u_char *p, size_t head)
{
    size_t    i;
    uint64_t  t;

    for (i = 4; i + 16 <= head; i++) {
        if (ngx_memcmp(p + i, "tfdt\1", 5) == 0) {
            t = (uint64_t) mdvr_be32(p + i + 8) << 32 | mdvr_be32(p + i + 12);

            if (r->frames == 0) {
                r->ticks = t;
            }

            t -= r->ticks;
            mdvr_put_be32(p + i + 8, (uint32_t) (t >> 32));
            mdvr_put_be32(p + i + 12, (uint32_t) t);
            return;
        }
    }
}


static void
ngx_mdvr_record_read(ngx_mdvr_recording_t *r)
{
    mdvr_rc_t        rc;
    mdvr_bus_t      *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t   rec;

    for ( ;; ) {
        rc = bus ? mdvr_bus_read(bus, &r->reader, &rec, ngx_mdvr_record_buf,
                                 NGX_MDVR_RECORD_FRAME)
                 : MDVR_E_NOT_FOUND;

        if (rc == MDVR_AGAIN) {
            break;
        }

        if (rc != MDVR_OK) {
            ngx_mdvr_record_end(r);
            return;
        }

        if (rec.flags & MDVR_BUS_F_AUDIO) {
            continue;
        }

        if (rec.init_version != r->init_version) {

            if (r->frames) {
                ngx_mdvr_record_end(r);
                return;
            }

            continue;
        }

        ngx_mdvr_record_time(r, ngx_mdvr_record_buf, rec.hdr_len);

        if (r->frames == 0) {
            r->from_us = rec.pts_us;
            r->at_ms = (int64_t) (rec.received_us / 1000);
        }

        if (write(r->fd, ngx_mdvr_record_buf, rec.len) != (ssize_t) rec.len) {
            r->failed = 1;
            ngx_mdvr_record_end(r);
            return;
        }

        r->frames++;
        r->last_us = rec.pts_us + rec.dur_us;
    }

    if ((ngx_msec_int_t) (ngx_current_msec - r->until) >= 0
        || mdvr_bus_info(bus, r->ref, &r->info) != MDVR_OK
        || r->info.state == MDVR_BUS_ENDING)
    {
        ngx_mdvr_record_end(r);
        return;
    }

    if (!r->timer.timer_set) {
        ngx_add_timer(&r->timer, NGX_MDVR_RECORD_TICK);
    }
}


static void
ngx_mdvr_record_woken(void *data)
{
    ngx_mdvr_record_read(data);
}


static void
ngx_mdvr_record_tick(ngx_event_t *ev)
{
    ngx_mdvr_record_read(ev->data);
}


ngx_int_t
ngx_mdvr_record_start(const ngx_mdvr_record_t *record)
{
    size_t                 len;
    u_char                 dir[NGX_MAX_PATH], part[NGX_MAX_PATH + 16];
    uint8_t                init[MDVR_BUS_INIT_MAX];
    mdvr_bus_t            *bus = ngx_mdvr_bus();
    ngx_uint_t             alarm;
    ngx_mdvr_core_conf_t  *conf;
    ngx_mdvr_recording_t  *r;

    alarm = !ngx_mdvr_uuid_is_nil(&record->alarm_id);

    if (ngx_mdvr_recordings >= (alarm ? NGX_MDVR_RECORD_ALARMS
                                      : NGX_MDVR_RECORD_MOST))
    {
        return NGX_BUSY;
    }

    if (ngx_mdvr_record_buf == NULL) {
        ngx_mdvr_record_buf = ngx_alloc(NGX_MDVR_RECORD_FRAME, ngx_cycle->log);
    }

    if (ngx_mdvr_record_buf == NULL) {
        return NGX_ERROR;
    }

    r = ngx_calloc(sizeof(ngx_mdvr_recording_t), ngx_cycle->log);

    if (r == NULL) {
        return NGX_ERROR;
    }

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    r->ref = record->ref;
    *ngx_mdvr_uuid_print(r->id, &record->media_id) = '\0';

    if (alarm) {
        *ngx_mdvr_uuid_print(r->alarm_id, &record->alarm_id) = '\0';
    }

    *ngx_snprintf(r->request_id, sizeof(r->request_id) - 1, "%V",
                  &record->request_id) = '\0';
    r->until = ngx_current_msec + record->duration_s * 1000;
    r->timer.handler = ngx_mdvr_record_tick;
    r->timer.data = r;
    r->timer.log = ngx_cycle->log;

    if (bus == NULL
        || mdvr_bus_info(bus, r->ref, &r->info) != MDVR_OK
        || r->info.state != MDVR_BUS_LIVE
        || mdvr_bus_get_init(bus, r->ref, init, sizeof(init), &len,
                             &r->init_version) != MDVR_OK
        || mdvr_bus_reader_init(bus, r->ref, MDVR_BUS_RING_MEDIA, false,
                                &r->reader) != MDVR_OK)
    {
        ngx_free(r);
        return NGX_DECLINED;
    }

    if (record->preroll_s) {
        (void) mdvr_bus_reader_back(bus, &r->reader,
                                    record->preroll_s * 1000000);
    }

    *ngx_snprintf(dir, sizeof(dir) - 1, "%V/staged", &conf->state_dir)
        = '\0';
    (void) ngx_create_dir(dir, 0770);

    *ngx_snprintf(r->path, sizeof(r->path) - 1, "%s/%s", dir, r->id) = '\0';
    *ngx_sprintf(part, "%s.part", r->path) = '\0';

    r->fd = open((char *) part, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0660);

    if (r->fd == NGX_INVALID_FILE
        || write(r->fd, init, len) != (ssize_t) len
        || ngx_mdvr_bus_watch(&r->watch, r->ref, NGX_MDVR_BUS_VIEWER,
                              ngx_mdvr_record_woken, r) != MDVR_OK)
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                      "cannot record to \"%s\"", part);

        if (r->fd != NGX_INVALID_FILE) {
            (void) ngx_close_file(r->fd);
            (void) ngx_delete_file(part);
        }

        ngx_free(r);
        return NGX_ERROR;
    }

    ngx_mdvr_recordings++;
    ngx_add_timer(&r->timer, 1);

    return NGX_OK;
}
