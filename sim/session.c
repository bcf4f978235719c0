/*
 * Life of a media connection and live video.  Voice is in voice.c, files are
 * in transfer.c.
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mdvr/basics/bytes.h"
#include "sim/session.h"

#define SIM_S            1000000ULL
#define SIM_BACKLOG_MAX  (4U << 20)         /* then frames are lost */

static uint8_t  sim_media_out[8192];

static void sim_live_start(sim_session_t *s);


void
sim_session_write(sim_session_t *s, const mdvr_buf_t *b)
{
    sim_stats.media_bytes += b->len;
    sim_conn_write(&s->conn, b->p, b->len);
}


void
sim_session_free(sim_session_t *s)
{
    sim_session_t  **p;

    for (p = &s->device->sessions; *p; p = &(*p)->next) {
        if (*p == s) {
            *p = s->next;
            break;
        }
    }

    sim_conn_close(&s->conn, false);
    sim_timer_stop(&s->timer);
    sim_timer_stop(&s->trouble);
    free(s->data);
    free(s->received);
    s->data = s->received = NULL;
    sim_free_later(s);
}


unsigned
sim_session_end(sim_device_t *d, mdvr_session_e kind, int channel, int stream)
{
    unsigned        n;
    sim_session_t  *s, *next;

    for (s = d->sessions, n = 0; s; s = next) {
        next = s->next;

        if (s->kind == kind && (channel < 0 || s->channel == channel)
            && (stream < 0 || s->stream == stream))
        {
            sim_session_free(s);
            n++;
        }
    }

    return n;
}


void
sim_session_end_all(sim_device_t *d)
{
    while (d->sessions) {
        sim_session_free(d->sessions);
    }
}


unsigned
sim_session_count(const sim_device_t *d, mdvr_session_e kind)
{
    unsigned              n;
    const sim_session_t  *s;

    for (s = d->sessions, n = 0; s; s = s->next) {
        n += s->kind == kind;
    }

    return n;
}


/* ---- beginning ------------------------------------------------------------------ */

static void
sim_session_run(sim_session_t *s)
{
    if (s->state == SIM_SESSION_RUNNING) {
        return;
    }

    s->state = SIM_SESSION_RUNNING;
    sim_timer_stop(&s->timer);
    sim_stats.media_sessions++;

    if (sim_options.media_fail == SIM_MEDIA_MID
        || sim_options.media_fail == SIM_MEDIA_GARBAGE)
    {
        sim_timer_set(&s->trouble,
                      (uint64_t) (sim_options.media_fail_s * 1e6));
    }

    switch (s->kind) {

    case MDVR_SESSION_LIVE:
        sim_live_start(s);
        break;

    case MDVR_SESSION_AUDIO:
        sim_voice_start(s);
        break;

    default:
        sim_transfer_run(s);
    }

    if (s->answer[0]) {
        sim_answer(s->device, mdvr_cstr(s->number), mdvr_cstr(s->command),
                   mdvr_cstr(s->time), s->answer);
    }
}


static void
sim_session_register(sim_session_t *s)
{
    uint8_t           mem[4096], out_mem[4096];
    mdvr_buf_t        body, out;
    mdvr_head_t       head;
    sim_device_t     *d = s->device;
    mdvr_loc_out_t    l;
    mdvr_media_reg_t  r;

    char  keyword[8];

    static const char  numbers[MDVR_SESSION_COUNT][5] = {
        "", "V102", "V103", "V105", "V106", "V107", "V108", "V109", "V110",
        "V111", "V112"
    };

    memset(&r, 0, sizeof(r));
    r.kind = s->kind;
    r.protocol = MDVR_STR("V0.0.0.1");
    r.device_type = MDVR_STR("4108");
    r.server_address = mdvr_cstr(s->host);
    r.server_port = mdvr_cstr(s->port);
    r.session_id = mdvr_cstr(s->session_id);
    r.command = mdvr_cstr(s->command);
    r.channel = s->channel;
    r.stream = s->stream;
    r.plate = mdvr_cstr(d->plate);
    r.file_name = mdvr_cstr(s->path);
    r.size = r.offset = -1;
    r.direction = s->to_device ? 0 : 1;

    if (s->kind == MDVR_SESSION_AUDIO) {
        r.audio_channels = 1;
        r.sample_rate = 8000;
        r.bits = 16;
        r.format = sim_options.audio_type >= 10 ? 2 : 4;
        r.frame_length = (int) mdvr_audio_type(sim_options.audio_type)
                                   ->frame_bytes;
        r.source = s->source;

    } else if (s->kind != MDVR_SESSION_LIVE) {
        sim_transfer_registration(s, &r);
    }

    sim_device_location(d, &l);
    body = mdvr_buf(mem, sizeof(mem));
    mdvr_body_media_reg(&body, &l, &r, sim_options.v103_plate,
                        sim_options.text);

    snprintf(keyword, sizeof(keyword), "%s", numbers[s->kind]);
    head = (mdvr_head_t) {
        MDVR_STR("1"), mdvr_cstr(keyword), mdvr_cstr(d->serial),
        mdvr_str("", 0), sim_device_time(d), sim_options.clock_minutes
    };
    out = mdvr_buf(out_mem, sizeof(out_mem));

    if (mdvr_write_media_message(&out, &head, mdvr_buf_view(&body))
        == MDVR_OK)
    {
        sim_session_write(s, &out);
    }
}


static void
sim_session_connected(sim_conn_t *c)
{
    sim_session_t  *s = c->owner;

    s->state = SIM_SESSION_WAITING;
    sim_timer_set(&s->timer, 10 * SIM_S);
    sim_session_register(s);

    if (sim_options.data_first) {
        sim_session_run(s);
    }
}


static void
sim_session_closed(sim_conn_t *c, const char *why)
{
    sim_session_t  *s = c->owner;

    sim_log(true, "%s: %s %s: %s", s->device->serial,
            mdvr_session_name(s->kind), s->session_id, why);

    if (s->state == SIM_SESSION_CONNECTING
        || s->state == SIM_SESSION_WAITING)
    {
        sim_stats.media_failed++;
    }

    sim_session_free(s);
}


/* no connection, no 0x6000 or no 0x6105 in time */
static void
sim_session_timeout(void *data)
{
    sim_session_t  *s = data;

    if (s->state != SIM_SESSION_ENDING) {
        sim_stats.media_failed++;
    }

    sim_session_free(s);
}


static void
sim_session_trouble(void *data)
{
    size_t          i, n;
    uint8_t         junk[256];
    mdvr_buf_t      b;
    sim_session_t  *s = data;

    if (sim_options.media_fail == SIM_MEDIA_MID) {
        sim_log(true, "%s: breaks %s", s->device->serial,
                mdvr_session_name(s->kind));
        sim_session_free(s);
        return;
    }

    n = 5 + sim_random(&s->device->random) % 200;

    for (i = 0; i < n; i++) {
        junk[i] = (uint8_t) sim_random(&s->device->random);
    }

    b = mdvr_buf(junk, sizeof(junk));
    b.len = n;
    sim_session_write(s, &b);
    sim_timer_set(&s->trouble, (uint64_t) (sim_options.media_fail_s * 1e6));
}


/* ---- what the server says --------------------------------------------------------- */

static bool
sim_session_result(sim_session_t *s, mdvr_str_t payload)
{
    mdvr_media_result_t  r;

    if (mdvr_media_read_result(payload, &r) != MDVR_OK || r.result != 1) {
        sim_stats.media_refused++;
        sim_log(true, "%s: %s refused, reason 0x%x", s->device->serial,
                mdvr_session_name(s->kind), (unsigned) r.reason);

        if (s->kind == MDVR_SESSION_FETCH) {
            sim_alarm_fetched(s->device, 16);
        }

        sim_session_free(s);
        return false;
    }

    sim_session_run(s);

    return true;
}


/* false: the session is gone */
static bool
sim_session_message(sim_session_t *s, const mdvr_media_msg_t *msg)
{
    uint32_t            on;
    mdvr_media_audio_t  a;

    switch (msg->type) {

    case MDVR_MEDIA_RESULT:
        return s->state == SIM_SESSION_WAITING
               || s->state == SIM_SESSION_RUNNING
               ? sim_session_result(s, msg->payload) : true;

    case MDVR_MEDIA_KEY_REQUEST:

        /* the film has a key frame every 0.4 or 1 s: it comes soon */

        sim_stats.key_requests++;
        return true;

    case MDVR_MEDIA_AUDIO_SWITCH:
        if (mdvr_media_read_switch(msg->payload, &on) == MDVR_OK) {
            s->audio = on != 0;
        }

        return true;

    case MDVR_MEDIA_REPORT:
    case MDVR_MEDIA_REPORT_VIDEO:
        sim_stats.reports_received++;
        return true;

    case MDVR_MEDIA_TALK:
    case MDVR_MEDIA_TALK_OLD:
        if (mdvr_media_read_audio(msg->type, msg->payload, &a) == MDVR_OK) {
            sim_voice_heard(s, &a);
        }

        return true;

    case MDVR_MEDIA_END:
        if (s->kind == MDVR_SESSION_FILE
            || s->kind == MDVR_SESSION_SNAPSHOT)
        {
            sim_stats.files_sent += s->state == SIM_SESSION_ENDING;
        }

        sim_session_free(s);
        return false;

    default:
        if (s->kind != MDVR_SESSION_LIVE && s->kind != MDVR_SESSION_AUDIO) {
            sim_transfer_message(s, msg);
        }

        return true;
    }
}


static bool
sim_session_data(sim_conn_t *c, const uint8_t **pos, const uint8_t *last)
{
    mdvr_rc_t         rc;
    sim_session_t    *s = c->owner;
    mdvr_media_msg_t  msg;

    while ((rc = mdvr_media_next(&s->parser, pos, last, &msg)) == MDVR_OK) {

        if (msg.text) {
            sim_stats.garbage++;
            continue;
        }

        if (!sim_session_message(s, &msg)) {
            return true;
        }
    }

    return rc == MDVR_AGAIN;
}


static void
sim_session_drained(sim_conn_t *c)
{
    sim_session_t  *s = c->owner;

    if (s->state == SIM_SESSION_RUNNING && s->kind != MDVR_SESSION_LIVE
        && s->kind != MDVR_SESSION_AUDIO)
    {
        sim_transfer_run(s);
    }
}


bool
sim_session_open(sim_device_t *d, mdvr_session_e kind, const sim_request_t *r)
{
    char                host[64];
    uint32_t            port;
    sim_session_t      *s, *other, *next;
    struct sockaddr_in  to;

    port = sim_options.media_port;
    mdvr_str_copy(host, sizeof(host), r->host);

    if (port == 0 && !mdvr_str_u32(r->port, &port)) {
        port = 6602;
    }

    if (sim_options.media_host[0]) {
        snprintf(host, sizeof(host), "%s", sim_options.media_host);
    }

    if (!sim_address(host[0] ? host : sim_options.host, port, &to)) {
        return false;
    }

    s = sim_alloc(sizeof(sim_session_t));
    s->device = d;
    s->kind = kind;
    s->channel = r->channel;
    s->stream = r->stream;
    s->source = r->source;
    s->offset = r->start;
    s->end = r->end;
    s->size = r->size;
    s->begin_s = r->begin_s;
    s->end_s = r->end_s;
    s->type = r->type;
    s->to_device = r->to_device;
    snprintf(s->host, sizeof(s->host), "%s", host);
    snprintf(s->port, sizeof(s->port), "%u", (unsigned) port);
    mdvr_str_copy(s->session_id, sizeof(s->session_id), r->session_id);
    mdvr_str_copy(s->command, sizeof(s->command), r->command);
    mdvr_str_copy(s->number, sizeof(s->number), r->number);
    mdvr_str_copy(s->time, sizeof(s->time), r->time);
    mdvr_str_copy(s->path, sizeof(s->path), r->path);
    mdvr_str_copy(s->md5, sizeof(s->md5), r->md5);
    mdvr_str_copy(s->version, sizeof(s->version), r->version);

    snprintf(s->answer, sizeof(s->answer), "%s", r->answer ? r->answer : "");

    s->conn.owner = s;
    s->conn.tcp = sim_options.tcp == SIM_TCP_BYTES ? SIM_TCP_WHOLE
                                                   : sim_options.tcp;
    s->conn.on_connected = sim_session_connected;
    s->conn.on_data = sim_session_data;
    s->conn.on_drained = sim_session_drained;
    s->conn.on_closed = sim_session_closed;
    s->parser.started = true;               /* the server sends no text */
    s->timer.fire = sim_session_timeout;
    s->trouble.fire = sim_session_trouble;
    s->timer.data = s->trouble.data = s;

    if (kind == MDVR_SESSION_LIVE) {
        s->clip = sim_clip_find(sim_options.clip_dir, mdvr_cstr(d->serial),
                                (unsigned) s->channel + 1,
                                s->stream == 0 ? "main" : "sub",
                                sim_options.codec);

        if (s->clip == NULL) {
            free(s);
            return false;
        }

    } else if (kind != MDVR_SESSION_AUDIO && !sim_transfer_prepare(s)) {
        free(s->data);
        free(s);
        return false;
    }

    /* a new request ends what it cannot run together with */

    for (other = d->sessions; other && sim_options.exclusive; other = next) {
        next = other->next;

        if (!mdvr_session_together(other->kind, kind)) {
            sim_log(true, "%s: %s ends %s", d->serial,
                    mdvr_session_name(kind), mdvr_session_name(other->kind));
            sim_session_free(other);
        }
    }

    s->next = d->sessions;
    d->sessions = s;

    if (sim_options.media_fail == SIM_MEDIA_NEVER) {
        sim_session_free(s);
        return true;
    }

    if (!sim_conn_open(&s->conn, &to)) {
        sim_stats.media_failed++;
        sim_session_free(s);
        return true;                        /* nobody hears of it */
    }

    sim_timer_set(&s->timer, 10 * SIM_S);

    return true;
}


/* ---- live video --------------------------------------------------------------------- */

/* microseconds since this device booted, as the stamps count */
uint64_t
sim_stamp(sim_session_t *s, int64_t wall_us)
{
    int64_t  stamp;

    stamp = wall_us - s->device->boot_us;

    if (sim_options.stamp_jump_s > 0
        && wall_us - s->started_us > (int64_t) (sim_options.stamp_jump_s
                                                * 1e6))
    {
        s->jumped = true;
        stamp -= 30 * (int64_t) SIM_S;
    }

    return stamp > 0 ? (uint64_t) stamp : 0;
}


static void
sim_live_frame(sim_session_t *s)
{
    uint8_t             head[16];
    uint64_t            stamp;
    mdvr_buf_t          b;
    const sim_frame_t  *f;

    f = &s->clip->frame[s->next_frame % s->clip->frames];

    if (s->key_only && !f->key) {
        return;
    }

    if (sim_conn_backlog(&s->conn) > SIM_BACKLOG_MAX) {
        sim_stats.frames_lost++;
        s->key_only = true;
        return;
    }

    s->key_only = false;
    stamp = sim_stamp(s, (int64_t) (s->next_frame * SIM_FRAME_US));

    b = mdvr_buf(head, sizeof(head));
    mdvr_media_write_header(&b, f->key ? MDVR_MEDIA_IFRAME
                                       : MDVR_MEDIA_PFRAME, f->size + 8);
    mdvr_put_le64(head + 8, stamp);
    sim_conn_write2(&s->conn, head, 16, s->clip->bytes + f->offset, f->size);

    sim_stats.media_bytes += f->size + 16;
    sim_stats.frames_sent++;

    if (s->audio) {
        sim_sound_frame(s, MDVR_MEDIA_AUDIO, stamp);
    }
}


static void
sim_live_pace(void *data)
{
    int64_t         now;
    uint64_t        due;
    sim_session_t  *s = data;

    now = sim_wall_us();
    due = (uint64_t) now / SIM_FRAME_US;

    /* the machine slept: the camera did not wait */

    if (due > s->next_frame + 2 * SIM_FPS) {
        sim_stats.frames_lost += due - s->next_frame;
        s->next_frame = due;
        s->key_only = true;
    }

    for (/* void */; s->next_frame <= due; s->next_frame++) {
        sim_live_frame(s);
    }

    sim_timer_set(&s->timer,
                  s->next_frame * SIM_FRAME_US - (uint64_t) now);
}


static void
sim_live_start(sim_session_t *s)
{
    mdvr_buf_t  b;

    b = mdvr_buf(sim_media_out, sizeof(sim_media_out));
    mdvr_media_write_params(&b, (uint32_t) sim_options.audio_type, 8000, 16);
    sim_session_write(s, &b);

    s->sound = sim_sound_camera();
    s->started_us = sim_wall_us();
    s->next_frame = (uint64_t) s->started_us / SIM_FRAME_US;
    s->key_only = true;
    s->timer.fire = sim_live_pace;
    sim_live_pace(s);
}
