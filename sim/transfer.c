/*
 * Files from the device (V103, V107, V109 pull), lists (V108, V110), and
 * files to the device (V106, V109 push, V111, V112).
 * Source: protocol reference, media.md sections 6 and 8.
 */

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "mdvr/dc/time.h"
#include "sim/session.h"

#define SIM_BLOCK       4096
#define SIM_AHEAD       (256 * 1024)        /* bytes waiting for the socket */
#define SIM_FILE_MAX    (256ULL << 20)      /* to the device */
#define SIM_PACE_US     20000

static uint8_t  sim_transfer_out[2 * SIM_BLOCK];


mdvr_str_t
sim_transfer_config(sim_device_t *d, char *out, size_t size)
{
    int  n;

    n = snprintf(out, size,
                 "[device]\nserial=%s\nplate=%s\nversion=%s\n"
                 "[cameras]\ncount=%u\n[report]\ninterval=%.0f\n",
                 d->serial, d->plate, d->version, sim_options.channels,
                 d->interval_s);

    return mdvr_str(out, (size_t) n);
}


/* lines of a log as C704 asks for them */
static mdvr_str_t
sim_transfer_log(sim_device_t *d)
{
    char       *p;
    mdvr_buf_t  b;

    p = sim_alloc(4096);
    b = mdvr_buf(p, 4096);
    mdvr_time_write_rfc3339(&b, sim_wall_us() / 1000);
    mdvr_buf_fmt(&b, " power on %u\n", d->power_ons);
    mdvr_time_write_rfc3339(&b, sim_wall_us() / 1000);
    mdvr_buf_fmt(&b, " connection %u\n", d->connections);

    return mdvr_buf_view(&b);
}


/* ---- search ------------------------------------------------------------------------ */

/* one recording of `recording_s` seconds after the other, all day long */
static void
sim_search_records(sim_session_t *s)
{
    int                  t[6];
    char                 path[128];
    unsigned             ch, k, step;
    int64_t              at, now;
    mdvr_buf_t           b;
    sim_device_t        *d = s->device;
    sim_recording_t      f;
    mdvr_media_record_t  r;

    step = sim_options.recording_s;
    now = sim_device_time(d) + sim_options.clock_minutes * 60;

    for (at = s->begin_s - (s->begin_s % step + step) % step;
         at <= s->end_s && at + step <= now;
         at += step)
    {
        if (at < s->begin_s) {
            continue;
        }

        for (ch = 1; ch <= sim_options.channels; ch++) {

            memset(&r, 0, sizeof(r));
            r.file_type = at / step % 6 == 0;       /* every sixth: alarm */

            if ((s->channel != 98 && s->channel != (int) ch - 1)
                || (s->type == 1 && r.file_type) || s->type > 3
                || (s->type == 2 && !r.file_type))
            {
                continue;
            }

            sim_file_name(path, sizeof(path), false, ch, at, step);

            if (!sim_file_open(&f, sim_options.clip_dir, sim_options.codec,
                               mdvr_cstr(d->serial), mdvr_cstr(path),
                               sim_options.channels, now))
            {
                continue;
            }

            mdvr_time_civil(at, t);
            t[0] -= 2000;

            for (k = 0; k < 6; k++) {
                r.start[k] = (uint8_t) t[k];
            }

            r.duration_s = step;
            r.size = (uint32_t) f.size;
            r.channel = (uint8_t) (ch - 1);
            r.name = mdvr_cstr(path);

            b = mdvr_buf(sim_transfer_out, sizeof(sim_transfer_out));
            mdvr_media_write_record(&b, &r);
            sim_session_write(s, &b);
        }
    }

    memset(&r, 0, sizeof(r));
    r.last = true;
    b = mdvr_buf(sim_transfer_out, sizeof(sim_transfer_out));
    mdvr_media_write_record(&b, &r);
    sim_session_write(s, &b);
    sim_stats.searches++;
}


static void
sim_query_answer(sim_session_t *s)
{
    mdvr_buf_t  b;

    b = mdvr_buf(sim_transfer_out, sizeof(sim_transfer_out));
    mdvr_media_write(&b, MDVR_MEDIA_QUERY,
                     mdvr_str(s->data, (size_t) s->file.size));
    mdvr_media_write_empty(&b, MDVR_MEDIA_END);
    sim_session_write(s, &b);
}


/* ---- from the device ------------------------------------------------------------------ */

bool
sim_transfer_prepare(sim_session_t *s)
{
    char           config[1024];
    mdvr_str_t     data;
    sim_device_t  *d = s->device;

    switch (s->kind) {

    case MDVR_SESSION_FILE:
        if (!sim_file_open(&s->file, sim_options.clip_dir, sim_options.codec,
                           mdvr_cstr(d->serial), mdvr_cstr(s->path),
                           sim_options.channels,
                           sim_device_time(d) + sim_options.clock_minutes
                                                * 60))
        {
            return false;
        }

        break;

    case MDVR_SESSION_SNAPSHOT:
        s->file.picture = true;
        s->file.bytes = sim_clip_picture(sim_options.clip_dir,
                                         mdvr_cstr(d->serial),
                                         (unsigned) s->channel + 1);
        s->file.size = s->file.bytes.len;

        if (s->file.size == 0) {
            return false;
        }

        break;

    case MDVR_SESSION_CONFIG:
        if (s->to_device) {
            break;
        }

        data = sim_transfer_config(d, config, sizeof(config));
        s->data = sim_alloc(data.len);
        memcpy(s->data, data.p, data.len);
        s->file.picture = true;
        s->file.bytes = mdvr_str(s->data, data.len);
        s->file.size = data.len;
        break;

    case MDVR_SESSION_QUERY:
        data = sim_transfer_log(d);
        s->data = (uint8_t *) data.p;
        s->file.size = data.len;
        break;

    default:
        break;
    }

    if (s->file.size) {

        if (s->offset > s->file.size) {
            return false;
        }

        if (s->end == 0 || s->end > s->file.size) {
            s->end = s->file.size;
        }
    }

    return s->size <= SIM_FILE_MAX;
}


void
sim_transfer_registration(sim_session_t *s, mdvr_media_reg_t *r)
{
    switch (s->kind) {

    case MDVR_SESSION_FILE:
        r->size = (int64_t) (s->end > s->offset ? s->end - s->offset : 0);
        break;

    case MDVR_SESSION_SNAPSHOT:
        r->size = (int64_t) s->file.size;
        r->format = 2;
        break;

    case MDVR_SESSION_UPGRADE:
    case MDVR_SESSION_FETCH:
        r->offset = (int64_t) s->received_len;
        break;

    case MDVR_SESSION_CONFIG:
        if (s->to_device) {
            r->offset = (int64_t) s->received_len;
            r->file_name = r->md5 = mdvr_str("", 0);

        } else {
            r->size = (int64_t) s->file.size;
            r->file_name = MDVR_STR("device.cfg");
            sim_md5(s->file.bytes, s->md5);
            r->md5 = mdvr_cstr(s->md5);
        }

        break;

    default:
        break;
    }
}


static unsigned
sim_transfer_type(const sim_session_t *s)
{
    switch (s->kind) {
    case MDVR_SESSION_SNAPSHOT:
        return sim_options.snapshot_type;
    case MDVR_SESSION_CONFIG:
        return MDVR_MEDIA_CONFIG_UP;
    default:
        return MDVR_MEDIA_BLOCK;
    }
}


static void
sim_transfer_end(sim_session_t *s)
{
    s->state = SIM_SESSION_ENDING;
    sim_timer_set(&s->timer, 10000000);     /* for 0x6105 */
}


static void
sim_transfer_late(void *data)
{
    sim_session_t  *s = data;

    if (s->state == SIM_SESSION_ENDING) {
        sim_session_free(s);
        return;
    }

    s->budget += sim_options.upload_kbps * 1000 * SIM_PACE_US / 1e6;
    sim_transfer_run(s);
}


/* blocks as long as the socket takes them and the rate allows */
static void
sim_transfer_blocks(sim_session_t *s)
{
    size_t      n;
    uint8_t     block[SIM_BLOCK];
    mdvr_buf_t  b;

    while (s->offset < s->end) {

        if (sim_conn_backlog(&s->conn) > SIM_AHEAD) {
            return;                         /* on_drained goes on */
        }

        if (sim_options.upload_kbps > 0) {

            if (s->budget < SIM_BLOCK) {

                if (s->timer.place == 0) {
                    s->timer.fire = sim_transfer_late;
                    sim_timer_set(&s->timer, SIM_PACE_US);
                }

                return;
            }

            s->budget -= SIM_BLOCK;
        }

        n = s->end - s->offset < SIM_BLOCK ? (size_t) (s->end - s->offset)
                                           : SIM_BLOCK;
        n = sim_file_read(&s->file, s->offset, block, n);

        b = mdvr_buf(sim_transfer_out, sizeof(sim_transfer_out));
        mdvr_media_write_block(&b, sim_transfer_type(s),
                               (uint32_t) s->offset, mdvr_str(block, n));
        sim_session_write(s, &b);
        s->offset += n;
    }

    b = mdvr_buf(sim_transfer_out, sizeof(sim_transfer_out));
    mdvr_media_write_block(&b, sim_transfer_type(s),
                           sim_options.eof_size ? (uint32_t) s->file.size
                                                : 0,
                           mdvr_str("", 0));
    sim_session_write(s, &b);

    if (s->kind == MDVR_SESSION_SNAPSHOT) {
        sim_stats.snapshots_sent++;
    }

    s->timer.fire = sim_transfer_late;
    sim_transfer_end(s);
}


void
sim_transfer_run(sim_session_t *s)
{
    switch (s->kind) {

    case MDVR_SESSION_FILE:
    case MDVR_SESSION_SNAPSHOT:
        sim_transfer_blocks(s);
        break;

    case MDVR_SESSION_CONFIG:
        if (!s->to_device) {
            sim_transfer_blocks(s);
        }

        break;

    case MDVR_SESSION_SEARCH:
        s->timer.fire = sim_transfer_late;
        sim_search_records(s);
        sim_transfer_end(s);
        break;

    case MDVR_SESSION_QUERY:
        s->timer.fire = sim_transfer_late;
        sim_query_answer(s);
        sim_transfer_end(s);
        break;

    default:
        break;                              /* the server sends */
    }
}


/* ---- to the device ---------------------------------------------------------------------- */

static void
sim_transfer_progress(sim_session_t *s, const char *content)
{
    sim_answer(s->device, mdvr_cstr(s->number), mdvr_cstr(s->command),
               mdvr_cstr(s->time), content);
}


static void
sim_upgrade_done(void *data)
{
    sim_device_t  *d = data;

    sim_session_end_all(d);
    d->power_ons++;
    d->boot_us = sim_wall_us();
    sim_device_lose(d, false, 2);
}


/* everything has arrived: checked, told, put to use */
static void
sim_transfer_received(sim_session_t *s)
{
    bool           good;
    char           sum[33];
    mdvr_buf_t     b;
    sim_device_t  *d = s->device;

    sim_md5(mdvr_str(s->received, (size_t) s->received_len), sum);
    good = (s->size == 0 || s->received_len == s->size)
           && (s->md5[0] == '\0' || strcasecmp(sum, s->md5) == 0);

    sim_stats.files_received += good;
    sim_log(true, "%s: %s of %llu bytes is %s", d->serial,
            mdvr_session_name(s->kind), (unsigned long long) s->received_len,
            good ? "good" : "damaged");

    if (s->kind != MDVR_SESSION_CONFIG) {
        b = mdvr_buf(sim_transfer_out, sizeof(sim_transfer_out));
        mdvr_media_write_checksum(&b, good, good ? 0 : 13);
        sim_session_write(s, &b);
    }

    s->timer.fire = sim_transfer_late;
    sim_transfer_end(s);

    switch (s->kind) {

    case MDVR_SESSION_UPGRADE:
        if (!good) {
            sim_transfer_progress(s, "2,13,package damaged");
            break;
        }

        sim_transfer_progress(s, "3,,");
        sim_transfer_progress(s, "4,,");
        snprintf(d->version, sizeof(d->version), "%s", s->version);
        d->upgrade_timer.fire = sim_upgrade_done;
        d->upgrade_timer.data = d;
        sim_timer_set(&d->upgrade_timer, 1000000);
        break;

    case MDVR_SESSION_CONFIG:
    case MDVR_SESSION_PUSH:
        sim_transfer_progress(s, good ? "3,," : "2,13,file damaged");

        if (good) {
            sim_transfer_progress(s, "4,,");
        }

        break;

    case MDVR_SESSION_FETCH:
        sim_alarm_fetched(d, good ? 0 : 13);
        break;

    default:
        break;
    }
}


static void
sim_transfer_take(sim_session_t *s, const mdvr_media_block_t *block)
{
    uint64_t  end;

    if (block->data.len == 0) {
        sim_transfer_received(s);
        return;
    }

    end = (uint64_t) block->offset + block->data.len;

    if (end > SIM_FILE_MAX) {
        return;
    }

    if (end > s->received_len) {
        s->received = sim_realloc(s->received, (size_t) end);

        if (block->offset > s->received_len) {
            memset(s->received + s->received_len, 0,
                   (size_t) (block->offset - s->received_len));
        }

        s->received_len = end;
    }

    memcpy(s->received + block->offset, block->data.p, block->data.len);
    sim_stats.file_bytes_received += block->data.len;
}


void
sim_transfer_message(sim_session_t *s, const mdvr_media_msg_t *msg)
{
    mdvr_media_block_t       block;
    mdvr_media_reposition_t  r;

    switch (msg->type) {

    case MDVR_MEDIA_REPOSITION:
        if (s->kind == MDVR_SESSION_FILE
            && s->state == SIM_SESSION_RUNNING
            && mdvr_media_read_reposition(msg->payload, &r) == MDVR_OK)
        {
            s->offset = r.kind == 0x6002 && s->file.duration_s
                        ? s->file.size * r.start / s->file.duration_s
                          / SIM_BLOCK * SIM_BLOCK
                        : r.start;
            s->end = r.kind == 0x6001 && r.end && r.end < s->file.size
                     ? r.end : s->file.size;
            s->offset = s->offset > s->end ? s->end : s->offset;
            sim_transfer_run(s);
        }

        break;

    case MDVR_MEDIA_BLOCK:
    case MDVR_MEDIA_CONFIG_DOWN:
        if (s->state != SIM_SESSION_ENDING && s->file.size == 0
            && mdvr_media_read_block(msg->payload, &block) == MDVR_OK)
        {
            sim_transfer_take(s, &block);
        }

        break;

    default:
        break;
    }
}
