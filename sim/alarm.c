/*
 * Alarms of a device: raised by a timer, by the drive or by an order; sent
 * again until they are acknowledged; ended with a UID of their own; and
 * followed by the announcement of a file.
 * Source: protocol reference, alarms.md section 1.
 */

#include <stdio.h>
#include <stdlib.h>

#include "mdvr/dc/time.h"
#include "mdvr/domain/alarm_kind.h"
#include "sim/files.h"
#include "sim/sim.h"

#define SIM_REPEAT_US  10000000ULL
#define SIM_LATE_US    600000000ULL
#define SIM_BEFORE_S   3                    /* recorded before the alarm */

/* what a fleet reports on an ordinary day */
const char *const  sim_alarm_mixture[] = {
    "V201", "V211", "V201", "V204", "V217", "V211", "V203", "V209", "V219",
    "V201", "V205", "V206", "V202", NULL
};

static uint8_t  sim_alarm_out[MDVR_FRAME_MAX];


static void
sim_alarm_forget(sim_alarm_t *a)
{
    sim_alarm_t  **p;

    for (p = &a->device->alarms; *p; p = &(*p)->next) {
        if (*p == a) {
            *p = a->next;
            break;
        }
    }

    sim_timer_stop(&a->timer);
    free(a->body);
    free(a);
}


/* the connection alarms use, opened when it is not the main one; NULL: not
 * now */
static sim_conn_t *
sim_alarm_connection(sim_device_t *d)
{
    if (!sim_options.alarm_connection) {
        return d->state == SIM_ONLINE ? &d->conn : NULL;
    }

    if (d->alarm_conn.open) {
        return &d->alarm_conn;
    }

    d->alarm_conn.tcp = sim_options.tcp;
    memset(&d->alarm_frame, 0, sizeof(d->alarm_frame));
    d->alarm_frame.relaxed = true;

    return sim_conn_open(&d->alarm_conn, &sim_server) ? &d->alarm_conn : NULL;
}


static void
sim_alarm_send(sim_alarm_t *a)
{
    mdvr_buf_t     out;
    mdvr_head_t    head;
    sim_conn_t    *c;

    c = sim_alarm_connection(a->device);

    if (c == NULL) {
        return;                     /* sent after the next registration */
    }

    head = (mdvr_head_t) {
        mdvr_cstr(a->number), mdvr_cstr(a->keyword),
        mdvr_cstr(a->device->serial), mdvr_str("", 0),
        sim_device_time(a->device), sim_options.clock_minutes
    };
    out = mdvr_buf(sim_alarm_out, sizeof(sim_alarm_out));

    if (mdvr_write_message(&out, &head, mdvr_str(a->body, a->len))
        != MDVR_OK)
    {
        return;
    }

    sim_stats.bytes_sent += out.len;

    if (a->tries++) {
        sim_stats.alarm_repeats++;

    } else {
        sim_stats.alarms_sent++;
    }

    sim_conn_write(c, out.p, out.len);
}


static void
sim_alarm_unanswered(void *data)
{
    sim_alarm_t  *a = data;

    if (a->tries > 4) {
        sim_stats.alarms_given_up++;
        sim_alarm_forget(a);
        return;
    }

    sim_alarm_send(a);

    /* three repetitions, then once more after ten minutes */

    sim_timer_set(&a->timer, a->tries == 4 ? SIM_LATE_US : SIM_REPEAT_US);
}


void
sim_alarm_resend(sim_device_t *d)
{
    sim_alarm_t  *a;

    for (a = d->alarms; a; a = a->next) {
        if (a->tries == 0) {
            sim_alarm_send(a);
        }
    }
}


void
sim_alarm_acknowledged(sim_device_t *d, mdvr_str_t keyword, mdvr_str_t uid)
{
    sim_alarm_t  *a;

    for (a = d->alarms; a; a = a->next) {

        if (mdvr_str_eqc(keyword, a->keyword) && mdvr_str_eqc(uid, a->uid)) {
            sim_stats.alarms_acknowledged++;
            sim_alarm_forget(a);
            return;
        }
    }
}


/* any message of the alarm form */
static void
sim_alarm_message(sim_device_t *d, const char *keyword, const char *data,
    int snapshot, const char *picture)
{
    char            stamp[14];
    uint8_t         mem[4096];
    unsigned       *counter;
    mdvr_buf_t      body;
    mdvr_str_t      time;
    sim_alarm_t    *a;
    mdvr_loc_out_t  l;

    a = sim_alloc(sizeof(sim_alarm_t));
    a->device = d;
    snprintf(a->keyword, sizeof(a->keyword), "%.7s", keyword);

    /* like the captured ones: a millisecond counter and something more */

    snprintf(a->uid, sizeof(a->uid), "%08X%08X",
             (unsigned) (sim_now_us() / 1000),
             (unsigned) sim_random(&d->random));

    counter = sim_options.alarm_counter ? &d->alarm_number : &d->number;
    *counter = *counter % 65535 + 1;
    snprintf(a->number, sizeof(a->number),
             sim_options.hex_numbers ? "%x" : "%u", *counter);

    sim_device_location(d, &l);
    time = sim_device_stamp(d, stamp);
    body = mdvr_buf(mem, sizeof(mem));
    mdvr_body_alarm(&body, &l, time, mdvr_cstr(a->uid), snapshot,
                    mdvr_cstr(picture), 0, mdvr_str("", 0), data != NULL,
                    mdvr_cstr(data));

    a->len = body.len;
    a->body = sim_alloc(body.len);
    memcpy(a->body, body.p, body.len);
    a->timer.fire = sim_alarm_unanswered;
    a->timer.data = a;
    a->next = d->alarms;
    d->alarms = a;

    sim_log(true, "%s: %s %s", d->serial, keyword, data ? data : "");
    sim_alarm_send(a);
    sim_timer_set(&a->timer, SIM_REPEAT_US);
}


/* data fields for a start keyword, as an ordinary device would fill them */
static void
sim_alarm_data(sim_device_t *d, const char *keyword, char *out, size_t size,
    unsigned *channel)
{
    unsigned  n;

    n = (unsigned) (sim_random(&d->random) % sim_options.channels);
    *channel = n + 1;
    out[0] = '\0';

    switch (atoi(keyword + 1)) {
    case 201:
        snprintf(out, size, "%u,0,", n + 1);
        d->inputs |= 1U << n;
        break;
    case 202:
        snprintf(out, size, "1,driver button");
        break;
    case 204: case 205: case 217:
        snprintf(out, size, "%04X", 1U << n);
        break;
    case 206: case 213:
        snprintf(out, size, "1,%02X,12", 1U << n % 3);
        break;
    case 209:
        snprintf(out, size, "0,81.00,0.00,80.00");
        break;
    case 210:
        snprintf(out, size, "0,FFFFFF0A,disk not recognised");
        break;
    case 211:
        snprintf(out, size, "%.2f,0.00,100.00,5",
                 105 + 40 * sim_uniform(&d->random));
        break;
    case 212:
        snprintf(out, size, "0,1,8.500000,47.400000,8.600000,47.300000,1,1");
        break;
    case 216:
        snprintf(out, size, "95,90");
        break;
    case 219:
        snprintf(out, size, "2");
        break;
    case 221:
        snprintf(out, size, "0,1,7150");
        break;
    case 304: case 305:
        snprintf(out, size, "4050,1270");
        break;
    }
}


void
sim_alarm_file(sim_device_t *d, unsigned channel, int64_t start_s,
    unsigned duration_s, bool picture)
{
    int              f[6];
    char             path[128], data[256];
    sim_recording_t  r;

    /* names and times are in the zone of the device */

    start_s += sim_options.clock_minutes * 60;
    sim_file_name(path, sizeof(path), picture, channel, start_s, duration_s);

    if (!sim_file_open(&r, sim_options.clip_dir, sim_options.codec,
                       mdvr_cstr(d->serial), mdvr_cstr(path),
                       sim_options.channels,
                       start_s + (int64_t) duration_s))
    {
        return;
    }

    mdvr_time_civil(start_s, f);
    snprintf(data, sizeof(data),
             "%d,%s,%llu,2,%04d-%02d-%02d %02d%02d%02d,%u,%u,0,1,0,3,",
             picture ? 1 : 2, path, (unsigned long long) r.size, f[0], f[1],
             f[2], f[3], f[4], f[5], picture ? 0 : duration_s, channel - 1);
    sim_alarm_message(d, "V232", data, 0, "");
}


static void
sim_alarm_finish(sim_raised_t *r)
{
    char           end[16];
    int64_t        now;
    sim_device_t  *d;
    sim_raised_t **p;

    d = r->device;

    for (p = &d->raised; *p; p = &(*p)->next) {
        if (*p == r) {
            *p = r->next;
            break;
        }
    }

    sim_timer_stop(&r->timer);
    snprintf(end, sizeof(end), "V%d", atoi(r->keyword + 1) + 50);

    if (atoi(r->keyword + 1) == 201) {
        d->inputs = 0;
    }

    sim_alarm_message(d, end, r->data[0] ? r->data : NULL, 0, "");

    if (r->file) {
        now = sim_device_time(d);
        sim_alarm_file(d, r->channel, r->start_s - SIM_BEFORE_S,
                       (unsigned) (now - r->start_s) + SIM_BEFORE_S, false);
    }

    free(r);
}


static void
sim_alarm_over(void *data)
{
    sim_alarm_finish(data);
}


void
sim_alarm_raise(sim_device_t *d, const char *keyword, const char *data,
    double lasts_s, bool file)
{
    char                      own[128], picture[128];
    unsigned                  channel;
    sim_raised_t             *r;
    mdvr_phase_e              phase;
    const mdvr_alarm_kind_t  *kind;

    kind = mdvr_alarm_kind(mdvr_cstr(keyword), &phase);
    channel = 1;
    picture[0] = '\0';

    if (data == NULL) {
        sim_alarm_data(d, keyword, own, sizeof(own), &channel);
        data = own;
    }

    if (strcmp(keyword, "V202") == 0) {
        sim_file_name(picture, sizeof(picture), true, channel,
                      sim_device_time(d) + sim_options.clock_minutes * 60, 0);
    }

    sim_alarm_message(d, keyword, data[0] ? data : NULL, picture[0] ? 1 : 0,
                      picture);

    if (kind == NULL || kind->end == NULL || phase != MDVR_PHASE_START
        || lasts_s <= 0)
    {
        return;
    }

    r = sim_alloc(sizeof(sim_raised_t));
    r->device = d;
    r->file = file;
    r->channel = channel;
    r->start_s = sim_device_time(d);
    snprintf(r->keyword, sizeof(r->keyword), "%.7s", keyword);
    snprintf(r->data, sizeof(r->data), "%.127s", data);
    r->timer.fire = sim_alarm_over;
    r->timer.data = r;
    r->next = d->raised;
    d->raised = r;
    sim_timer_set(&r->timer, (uint64_t) (lasts_s * 1e6));
}


void
sim_alarm_end(sim_device_t *d, const char *keyword)
{
    sim_raised_t  *r;

    for (r = d->raised; r; r = r->next) {
        if (strcmp(r->keyword, keyword) == 0) {
            sim_alarm_finish(r);
            return;
        }
    }
}


void
sim_alarm_fetched(sim_device_t *d, int result)
{
    char  data[64];

    snprintf(data, sizeof(data), "%.31s,%d,%d", d->fetch_id, d->fetch_type,
             result);
    sim_alarm_message(d, "V234", data, 0, "");
}


/* ---- the timer -------------------------------------------------------------------- */

/* one of --alarm-kinds, or of the mixture */
static void
sim_alarm_choose(sim_device_t *d, char out[8])
{
    unsigned     n, i;
    const char  *p, *kinds;

    kinds = sim_options.alarm_kinds;

    if (kinds[0] == '\0') {
        for (n = 0; sim_alarm_mixture[n]; n++) { /* void */ }

        snprintf(out, 8, "%s", sim_alarm_mixture[sim_random(&d->random) % n]);
        return;
    }

    for (n = 1, p = kinds; (p = strchr(p, ',')) != NULL; p++, n++) {
        /* void */
    }

    for (i = (unsigned) (sim_random(&d->random) % n), p = kinds; i; i--) {
        p = strchr(p, ',') + 1;
    }

    snprintf(out, 8, "%.*s", (int) strcspn(p, ","), p);
}


static void
sim_alarm_due(void *data)
{
    char           keyword[8];
    sim_device_t  *d = data;

    sim_alarm_choose(d, keyword);
    sim_alarm_raise(d, keyword, NULL, 5 + 10 * sim_uniform(&d->random), true);
    sim_alarm_start_timer(d);
}


void
sim_alarm_start_timer(sim_device_t *d)
{
    if (sim_options.alarm_every_s <= 0) {
        return;
    }

    d->alarm_timer.fire = sim_alarm_due;
    d->alarm_timer.data = d;
    sim_timer_set(&d->alarm_timer,
                  (uint64_t) (sim_options.alarm_every_s * 1e6
                              * (0.5 + sim_uniform(&d->random))));
}


/* ---- a connection of its own -------------------------------------------------------- */

static void
sim_alarm_connected(sim_conn_t *c)
{
    (void) c;                       /* what was written is flushed */
}


static bool
sim_alarm_received(sim_conn_t *c, const uint8_t **pos, const uint8_t *last)
{
    mdvr_rc_t              rc;
    sim_device_t          *d = c->owner;
    mdvr_frame_msg_t       msg;
    static mdvr_message_t  m;

    while ((rc = mdvr_frame_next(&d->alarm_frame, pos, last, &msg))
           == MDVR_OK)
    {
        if (mdvr_message_parse(msg.content, &m) != MDVR_OK) {
            sim_stats.garbage++;
            continue;
        }

        if (m.kw == MDVR_KW_C100) {
            sim_alarm_acknowledged(d, mdvr_message_token(&m, 0),
                                   mdvr_message_token(&m, 3));

        } else if (m.kw == MDVR_KW_C500) {
            sim_stats.not_registered++;
        }
    }

    return rc == MDVR_AGAIN;
}


static void
sim_alarm_closed(sim_conn_t *c, const char *why)
{
    sim_device_t  *d = c->owner;

    sim_log(true, "%s: alarm connection %s", d->serial, why);
}


void
sim_alarm_conn_init(sim_device_t *d)
{
    d->alarm_conn.owner = d;
    d->alarm_conn.on_connected = sim_alarm_connected;
    d->alarm_conn.on_data = sim_alarm_received;
    d->alarm_conn.on_closed = sim_alarm_closed;
}
