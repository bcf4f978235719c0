/*
 * See ngx_mdvr_record.h.
 *
 * The file is an init segment and the fragments behind it as viewers get them,
 * with decode times that begin at 0: an MP4 that the worker reads like any
 * other.  It ends where the picture's parameters change.
 *
 * A recording listens like a viewer does: the sound is asked for, and comes as AAC
 * from the encoder beside nginx, somewhat later than the picture.  Whether there
 * is a track of it is settled before the first byte.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_mdvr_core/ngx_mdvr_record.h"
#include "ngx_mdvr_core/ngx_mdvr_jobs.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"
#include "mdvr/domain/job.h"
#include "mdvr/media/fmp4.h"


#define NGX_MDVR_RECORD_TICK   500          /* ms */
#define NGX_MDVR_RECORD_LISTEN 15000        /* ms: sound is asked for so far */
#define NGX_MDVR_RECORD_SETTLE 2000         /* ms for its first */
#define NGX_MDVR_RECORD_DRAIN  2000         /* ms for its last */
#define NGX_MDVR_RECORD_FRAME  (4 * 1024 * 1024)


typedef struct {
    ngx_mdvr_bus_watch_t   watch;
    ngx_event_t            timer;
    mdvr_bus_ref_t         ref;
    mdvr_bus_info_t        info;
    mdvr_bus_reader_t      reader;
    mdvr_bus_reader_t      sound;
    ngx_fd_t               fd;
    u_char                 id[NGX_MDVR_UUID_LEN + 1];
    u_char                 alarm_id[NGX_MDVR_UUID_LEN + 1];     /* or empty */
    u_char                 request_id[65];
    u_char                 path[NGX_MAX_PATH];      /* without suffix */
    int64_t                at_ms;                   /* of the first picture */
    uint64_t               from_us;
    uint64_t               last_us;
    uint64_t               frames;
    uint32_t               sequence;                /* of fragments */
    uint32_t               init_version;
    ngx_msec_t             began;
    ngx_msec_t             until;
    unsigned               settled:1;               /* with sound or not */
    unsigned               audio:1;
    unsigned               closing:1;               /* no more pictures */
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
    u_char                 queue[128];
    mdvr_buf_t             q;
    ngx_mdvr_core_conf_t  *conf;

    conf = ngx_mdvr_core_conf((ngx_cycle_t *) ngx_cycle);

    q = mdvr_buf(queue, sizeof(queue));
    mdvr_job_queue(&q, MDVR_JOB_INGEST, mdvr_str(conf->node.data,
                                                 conf->node.len));

    /* lost when Redis is away: the worker looks at .job files, too */

    (void) ngx_mdvr_jobs_add(NULL, 5000, mdvr_buf_view(&q),
                             mdvr_str(text, len), NULL, NULL);
    ngx_mdvr_jobs_enter(5000, mdvr_buf_view(&q));
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

static ngx_int_t
ngx_mdvr_record_write(ngx_mdvr_recording_t *r, const u_char *p, size_t len)
{
    if (write(r->fd, p, len) == (ssize_t) len) {
        return NGX_OK;
    }

    r->failed = 1;

    return NGX_ERROR;
}


/*
 * The init segment, with a track of sound or without, once that is known.
 * NGX_AGAIN: the sound may still come.
 */

static ngx_int_t
ngx_mdvr_record_settle(ngx_mdvr_recording_t *r, const mdvr_bus_rec_t *rec)
{
    size_t       len;
    uint8_t      init[MDVR_BUS_INIT_MAX];
    uint64_t     end;
    mdvr_rc_t    rc;
    mdvr_bus_t  *bus = ngx_mdvr_bus();

    if (mdvr_bus_encoder(bus)) {

        if (mdvr_bus_aac_end(bus, r->ref, &end) && end > rec->pts_us
            && mdvr_bus_reader_init(bus, r->ref, MDVR_BUS_RING_AUX, false,
                                    &r->sound) == MDVR_OK)
        {
            (void) mdvr_bus_reader_back(bus, &r->sound,
                                        end - rec->pts_us + 2000000);
            r->audio = 1;

        } else if (ngx_current_msec - r->began < NGX_MDVR_RECORD_SETTLE) {
            return NGX_AGAIN;
        }
    }

    rc = r->audio ? mdvr_bus_get_init_av(bus, r->ref, init, sizeof(init), &len,
                                         &r->init_version)
                  : mdvr_bus_get_init(bus, r->ref, init, sizeof(init), &len,
                                      &r->init_version);
    r->settled = 1;

    return rc == MDVR_OK ? ngx_mdvr_record_write(r, init, len) : NGX_ERROR;
}


/* Sound from the first picture on, as far as `until_us`. */

static ngx_int_t
ngx_mdvr_record_sound(ngx_mdvr_recording_t *r, uint64_t until_us)
{
    u_char          *p = ngx_mdvr_record_buf;
    mdvr_bus_t      *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t   rec;
    const uint8_t   *payload;

    while (r->audio
           && mdvr_bus_peek(bus, &r->sound, &rec, &payload) == MDVR_OK
           && rec.pts_us <= until_us)
    {
        if (mdvr_bus_read(bus, &r->sound, &rec, p, NGX_MDVR_RECORD_FRAME)
            != MDVR_OK)
        {
            break;
        }

        if (rec.codec != MDVR_BUS_AAC || rec.pts_us < r->from_us
            || !mdvr_fmp4_set_time(p, rec.len, ++r->sequence,
                                   (rec.pts_us - r->from_us)
                                   * MDVR_BUS_AAC_RATE / 1000000))
        {
            continue;
        }

        if (ngx_mdvr_record_write(r, p, rec.len) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * All pictures that have come.  NGX_OK, or NGX_DONE: there is nothing more to be
 * had for this file; NGX_ERROR.
 */

static ngx_int_t
ngx_mdvr_record_pictures(ngx_mdvr_recording_t *r)
{
    u_char          *p = ngx_mdvr_record_buf;
    mdvr_rc_t        rc;
    ngx_int_t        n;
    mdvr_bus_t      *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t   rec;
    const uint8_t   *payload;

    for ( ;; ) {
        rc = bus ? mdvr_bus_peek(bus, &r->reader, &rec, &payload)
                 : MDVR_E_NOT_FOUND;

        if (rc == MDVR_OK && !r->settled) {
            n = ngx_mdvr_record_settle(r, &rec);

            if (n != NGX_OK) {
                return n == NGX_AGAIN ? NGX_OK : NGX_ERROR;
            }
        }

        if (rc == MDVR_OK) {
            rc = mdvr_bus_read(bus, &r->reader, &rec, p,
                               NGX_MDVR_RECORD_FRAME);
        }

        if (rc != MDVR_OK) {
            return rc == MDVR_AGAIN ? NGX_OK : NGX_DONE;
        }

        if (rec.flags & MDVR_BUS_F_AUDIO) {
            continue;
        }

        if (rec.init_version != r->init_version) {

            if (r->frames) {
                return NGX_DONE;
            }

            continue;
        }

        if (r->frames == 0) {
            r->from_us = rec.pts_us;
            r->at_ms = (int64_t) (rec.received_us / 1000);
        }

        (void) mdvr_fmp4_set_time(p, rec.len, ++r->sequence,
                                  mdvr_fmp4_ticks(rec.pts_us - r->from_us));

        if (ngx_mdvr_record_write(r, p, rec.len) != NGX_OK) {
            return NGX_ERROR;
        }

        r->frames++;
        r->last_us = rec.pts_us + rec.dur_us;

        if (ngx_mdvr_record_sound(r, rec.pts_us) != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


static void
ngx_mdvr_record_read(ngx_mdvr_recording_t *r)
{
    uint64_t     end;
    ngx_int_t    n;
    mdvr_bus_t  *bus = ngx_mdvr_bus();

    n = r->closing ? NGX_OK : ngx_mdvr_record_pictures(r);

    if (n != NGX_OK || bus == NULL
        || mdvr_bus_info(bus, r->ref, &r->info) != MDVR_OK
        || r->info.state == MDVR_BUS_ENDING)
    {
        if (bus) {
            (void) ngx_mdvr_record_sound(r, r->last_us);
        }

        ngx_mdvr_record_end(r);
        return;
    }

    if (!r->closing
        && (ngx_msec_int_t) (ngx_current_msec - r->until) >= 0)
    {
        r->closing = 1;
        r->until = ngx_current_msec + NGX_MDVR_RECORD_DRAIN;
    }

    if (r->closing
        && (ngx_mdvr_record_sound(r, r->last_us) != NGX_OK || !r->audio
            || (mdvr_bus_aac_end(bus, r->ref, &end) && end >= r->last_us)
            || (ngx_msec_int_t) (ngx_current_msec - r->until) >= 0))
    {
        ngx_mdvr_record_end(r);
        return;
    }

    if (!r->timer.timer_set) {
        mdvr_bus_want_aac(bus, r->ref, mdvr_bus_clock_ms()
                                       + NGX_MDVR_RECORD_LISTEN);
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
    u_char                 dir[NGX_MAX_PATH], part[NGX_MAX_PATH + 16];
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
    r->began = ngx_current_msec;
    r->until = ngx_current_msec + record->duration_s * 1000;
    r->timer.handler = ngx_mdvr_record_tick;
    r->timer.data = r;
    r->timer.log = ngx_cycle->log;

    if (bus == NULL
        || mdvr_bus_info(bus, r->ref, &r->info) != MDVR_OK
        || r->info.state != MDVR_BUS_LIVE
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
