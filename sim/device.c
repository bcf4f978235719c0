/*
 * The signaling side of a device: connect, V101, positions and heartbeats,
 * what the center says, and coming back after a loss.
 * Source: protocol reference, flows.md sections 1 to 3 and 14.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "mdvr/dc/time.h"
#include "sim/session.h"

#define SIM_S  1000000ULL

static uint8_t         sim_out[2 * MDVR_FRAME_MAX], sim_body[MDVR_FRAME_MAX];
static mdvr_message_t  sim_message;


/* ---- clock and place ----------------------------------------------------------- */

int64_t
sim_device_time(const sim_device_t *d)
{
    (void) d;

    return sim_wall_us() / 1000000 + sim_options.clock_error_s;
}


mdvr_str_t
sim_device_stamp(const sim_device_t *d, char out[14])
{
    mdvr_buf_t  b;

    b = mdvr_buf(out, 13);
    mdvr_time_write(&b, sim_device_time(d), sim_options.clock_minutes);
    out[13] = '\0';

    return mdvr_buf_view(&b);
}


static uint64_t
sim_device_status(const sim_device_t *d)
{
    uint64_t  s;

    s = mdvr_status_set_bits(MDVR_STATUS_RECORDING,
                             d->drive.ignition
                             ? (1U << sim_options.channels) - 1 : 0)
        | mdvr_status_set_bits(MDVR_STATUS_INPUTS, d->inputs)
        | mdvr_status_flag_bit(MDVR_STATUS_gps_present)
        | mdvr_status_disk_bits(1, 1)
        | mdvr_status_network_bits(4)
        | 0x81;                         /* ACC and GPS states are known */

    if (d->drive.ignition) {
        s |= mdvr_status_flag_bit(MDVR_STATUS_acc);
    }

    if (d->drive.speed_kmh > 0) {
        s |= mdvr_status_flag_bit(MDVR_STATUS_forward);

        if (d->drive.turn_deg > 25) {
            s |= mdvr_status_flag_bit(MDVR_STATUS_right_turn);

        } else if (d->drive.turn_deg < -25) {
            s |= mdvr_status_flag_bit(MDVR_STATUS_left_turn);
        }

    } else {
        s |= mdvr_status_flag_bit(MDVR_STATUS_stationary);
    }

    if (d->drive.braking) {
        s |= mdvr_status_flag_bit(MDVR_STATUS_brake);
    }

    if (d->late) {
        s |= mdvr_status_flag_bit(MDVR_STATUS_late);
    }

    return s;
}


void
sim_device_location(sim_device_t *d, mdvr_loc_out_t *l)
{
    uint64_t  now;

    now = sim_now_us();
    sim_drive_move(&d->drive, (double) (now - d->moved_us) / 1e6
                              * sim_options.speed);
    d->moved_us = now;

    memset(l, 0, sizeof(mdvr_loc_out_t));
    l->layout = sim_options.layout;
    l->bus_fields = sim_options.bus_fields;
    l->gps_valid = true;
    l->has_position = true;
    l->satellites = 9 + (int) (d->index % 4);
    l->lat_deg = d->drive.lat;
    l->lon_deg = d->drive.lon;
    l->speed_kmh = d->drive.speed_kmh;
    l->course_deg = d->drive.course_deg;
    l->status = sim_device_status(d);
    l->temp_device_c = 38.5 + (double) (d->index % 7);
    l->temp_cabin_c = 22.25;
    l->mileage_m = (int64_t) d->drive.mileage_m;
    l->fuel_l = d->drive.fuel_l;
    l->parking_s = (int64_t) d->drive.parked_s;
    l->rpm = d->drive.ignition ? 780 + (int64_t) (d->drive.speed_kmh * 22)
                               : 0;
    l->obd_speed_kmh = floor(d->drive.speed_kmh);
    l->people = -1;

    switch (sim_options.fix) {

    case SIM_FIX_VALID:
        break;

    case SIM_FIX_VOID:
        l->gps_valid = false;
        l->satellites = 0;
        break;

    case SIM_FIX_NONE:
        l->gps_valid = false;
        l->has_position = false;
        l->satellites = 0;
        l->speed_kmh = l->course_deg = 0;
        break;

    case SIM_FIX_ZERO:
        l->satellites = 0;
        break;
    }
}


/* ---- sending -------------------------------------------------------------------- */

static void
sim_device_write(sim_device_t *d, const void *p, size_t len, bool hold)
{
    sim_stats.bytes_sent += len;

    if (!sim_options.tcp_batch) {
        sim_conn_write(&d->conn, p, len);
        return;
    }

    d->held = sim_realloc(d->held, d->held_len + len);
    memcpy(d->held + d->held_len, p, len);
    d->held_len += len;
    d->held_count++;

    if (hold && d->held_count < 3) {
        return;
    }

    sim_conn_write(&d->conn, d->held, d->held_len);
    d->held_len = 0;
    d->held_count = 0;
}


static mdvr_head_t
sim_device_head(sim_device_t *d, const char *keyword, const char *number)
{
    return (mdvr_head_t) {
        mdvr_cstr(number), mdvr_cstr(keyword), mdvr_cstr(d->serial),
        mdvr_str("", 0), sim_device_time(d), sim_options.clock_minutes
    };
}


static void
sim_device_number(char out[12], unsigned *counter)
{
    *counter = *counter % 65535 + 1;
    snprintf(out, 12, sim_options.hex_numbers ? "%x" : "%u", *counter);
}


void
sim_device_send(sim_device_t *d, const char *number, const char *keyword,
    const mdvr_buf_t *body)
{
    char         own[12];
    mdvr_buf_t   out;
    mdvr_head_t  head;

    if (number == NULL) {
        sim_device_number(own, &d->number);
        number = own;
    }

    head = sim_device_head(d, keyword, number);
    out = mdvr_buf(sim_out, sizeof(sim_out));

    if (mdvr_write_message(&out, &head, body ? mdvr_buf_view(body)
                                             : mdvr_str("", 0)) != MDVR_OK)
    {
        sim_log(false, "%s: a %s does not fit", d->serial, keyword);
        return;
    }

    sim_device_write(d, out.p, out.len,
                     strcmp(keyword, "V114") == 0
                     || strcmp(keyword, "V109") == 0);
}


void
sim_device_position(sim_device_t *d, int trigger)
{
    mdvr_buf_t      body;
    mdvr_loc_out_t  l;

    sim_device_location(d, &l);
    body = mdvr_buf(sim_body, sizeof(sim_body));
    mdvr_body_v114(&body, &l, trigger);
    sim_device_send(d, NULL, "V114", &body);

    d->sent_us = sim_now_us();
    d->sent_m = d->drive.mileage_m;
    sim_stats.positions_sent++;
}


/* several in one write, each a second further on its way */
void
sim_device_positions(sim_device_t *d, unsigned n)
{
    char            number[12];
    mdvr_buf_t      body, out;
    mdvr_head_t     head;
    mdvr_loc_out_t  l;
    static uint8_t  batch[256 * 1024];

    out = mdvr_buf(batch, sizeof(batch));

    while (n-- && batch + sizeof(batch) - out.p - out.len > 1024) {
        sim_drive_move(&d->drive, 1);
        d->moved_us = sim_now_us();
        sim_device_location(d, &l);

        body = mdvr_buf(sim_body, sizeof(sim_body));
        mdvr_body_v114(&body, &l, 1);
        sim_device_number(number, &d->number);
        head = sim_device_head(d, "V114", number);
        (void) mdvr_write_message(&out, &head, mdvr_buf_view(&body));
        sim_stats.positions_sent++;
    }

    d->sent_us = sim_now_us();
    sim_stats.bytes_sent += out.len;
    sim_conn_write(&d->conn, out.p, out.len);
}


static void
sim_device_v101(sim_device_t *d)
{
    char            type[16];
    mdvr_buf_t      body;
    mdvr_v101_t     r;
    mdvr_loc_out_t  l;

    memset(&r, 0, sizeof(r));
    snprintf(type, sizeof(type), "%u", 0x1000 + (sim_options.channels > 8
             ? 12 : sim_options.channels > 4 ? 8 : 4));

    r.protocol = MDVR_STR("V1.0.0.1");
    r.device_type = mdvr_cstr(type);
    r.login_port = MDVR_STR("0");
    r.power_on_count = d->power_ons;
    r.connect_count = d->connections;
    r.plate = mdvr_cstr(d->plate);
    r.network = 3;
    r.audio_type = sim_options.audio_type;
    r.storage_type = 1;
    r.manufacturer = MDVR_STR("2");
    r.manufacturer_type = MDVR_STR("101");
    r.imei = mdvr_cstr(sim_options.imei[0] ? sim_options.imei : d->serial);
    r.firmware = mdvr_cstr(d->version);
    r.network_library = MDVR_STR("V6.1.50 20190301");

    sim_device_location(d, &l);
    body = mdvr_buf(sim_body, sizeof(sim_body));
    mdvr_body_v101(&body, &l, &r,
                   sim_options.v101 == SIM_V101_SHORT ? 7 : 16,
                   sim_options.v101 == SIM_V101_EXTRA, sim_options.text);

    d->v101_us = sim_now_exact_us();
    sim_device_send(d, NULL, "V101", &body);
}


/* ---- timers ----------------------------------------------------------------------- */

void
sim_device_rearm(sim_device_t *d)
{
    double  s;

    if (d->state != SIM_ONLINE || sim_options.rate > 0
        || (!d->by_time && !d->by_distance))
    {
        sim_timer_stop(&d->position);
        return;
    }

    s = d->by_time ? d->interval_s : 1;

    if (d->by_distance && s > 1) {
        s = 1;
    }

    sim_timer_set(&d->position, (uint64_t) (s * 1e6));
}


/* V214 and V215 when the drive has turned the key */
static void
sim_device_key(sim_device_t *d)
{
    if (d->drive.ignition == d->ignition) {
        return;
    }

    d->ignition = d->drive.ignition;

    if (sim_options.ignition_events) {
        sim_alarm_raise(d, d->ignition ? "V214" : "V215", NULL, 0, false);
    }
}


static void
sim_device_on_position(void *data)
{
    bool           due;
    sim_device_t  *d = data;
    mdvr_loc_out_t  l;

    sim_device_location(d, &l);
    sim_device_key(d);

    due = d->by_time && sim_now_us() - d->sent_us + 20000
                        >= (uint64_t) (d->interval_s * 1e6);

    if (d->by_distance && d->drive.mileage_m - d->sent_m >= d->distance_m) {
        due = true;
    }

    if (due) {
        sim_device_position(d, 1);
    }

    sim_device_rearm(d);
}


static void
sim_device_on_heartbeat(void *data)
{
    uint64_t       now;
    sim_device_t  *d = data;

    now = sim_now_us();

    if (now - d->conn.last_read_us > (uint64_t) (sim_options.silence_s * 1e6))
    {
        sim_log(true, "%s: nothing from the server for %.0f s", d->serial,
                sim_options.silence_s);
        sim_device_lose(d, false, 1);
        return;
    }

    /* a position in this period replaces the heartbeat */

    if (now - d->sent_us >= (uint64_t) (sim_options.heartbeat_s * 1e6)
                            - 20000)
    {
        sim_device_send(d, NULL, "V109", NULL);
        d->sent_us = now;
        sim_stats.heartbeats_sent++;
    }

    sim_timer_set(&d->heartbeat, (uint64_t) (sim_options.heartbeat_s * 1e6));
}


void
sim_device_call(sim_device_t *d, bool start)
{
    char            id[16];
    mdvr_buf_t      body;
    mdvr_loc_out_t  l;

    snprintf(id, sizeof(id), "%u",
             (unsigned) (sim_random(&d->random) % 90000000 + 10000000));
    sim_device_location(d, &l);
    body = mdvr_buf(sim_body, sizeof(sim_body));
    mdvr_body_v130(&body, &l, mdvr_cstr(id), start);
    sim_device_send(d, NULL, "V130", &body);
}


static void
sim_device_on_call(void *data)
{
    sim_device_t  *d = data;

    sim_device_call(d, true);

    sim_timer_set(&d->call_timer,
                  (uint64_t) (sim_options.call_every_s * 1e6));
}


static void
sim_device_on_life(void *data)
{
    sim_device_t  *d = data;

    switch (d->state) {

    case SIM_IDLE:
        sim_device_connect(d);
        break;

    case SIM_CONNECTING:
        sim_stats.connect_failures++;
        sim_device_lose(d, false, sim_options.retry_s);
        break;

    case SIM_REGISTERING:
        sim_stats.no_answer++;
        sim_log(true, "%s: V101 was not answered", d->serial);
        sim_device_lose(d, false, sim_options.retry_s);
        break;

    default:
        break;
    }
}


/* ---- the connection ----------------------------------------------------------------- */

void
sim_device_lose(sim_device_t *d, bool reset, double again_s)
{
    if (d->state == SIM_ONLINE) {
        sim_stats.disconnects++;
    }

    sim_conn_close(&d->conn, reset);
    sim_conn_close(&d->alarm_conn, reset);
    sim_timer_stop(&d->position);
    sim_timer_stop(&d->heartbeat);
    sim_timer_stop(&d->alarm_timer);
    sim_timer_stop(&d->call_timer);
    d->held_len = 0;
    d->held_count = 0;

    if (again_s < 0) {
        d->state = SIM_STOPPED;
        sim_timer_stop(&d->life);
        return;
    }

    d->state = SIM_IDLE;
    sim_timer_set(&d->life, (uint64_t) (again_s * 1e6
                            * (0.5 + sim_uniform(&d->random))));
}


static void
sim_device_connected(sim_conn_t *c)
{
    sim_device_t  *d = c->owner;

    d->state = SIM_REGISTERING;
    memset(&d->frame, 0, sizeof(d->frame));
    d->frame.relaxed = true;
    d->connections++;
    sim_stats.connects++;

    if (d->connections == 1) {
        d->moved_us = sim_now_us();         /* the drive begins here */
    }

    sim_timer_set(&d->life, 10 * SIM_S);
    sim_device_v101(d);
}


static void
sim_device_closed(sim_conn_t *c, const char *why)
{
    double         again_s;
    sim_device_t  *d = c->owner;

    again_s = sim_options.retry_s / 6;

    if (d->state == SIM_CONNECTING) {
        sim_stats.connect_failures++;
    }

    sim_log(true, "%s: signaling %s", d->serial, why);
    sim_device_lose(d, false, again_s);
}


static void
sim_device_registered(sim_device_t *d)
{
    uint64_t    phase_us;
    mdvr_buf_t  body;

    if (d->state == SIM_ONLINE) {
        return;                             /* answer to a V101 after C500 */
    }

    sim_stats_registered(sim_now_exact_us() - d->v101_us);
    sim_stats.registrations++;
    d->state = SIM_ONLINE;
    d->ignition = d->drive.ignition;
    sim_timer_stop(&d->life);
    sim_log(true, "%s: registered", d->serial);

    if (sim_options.v141) {
        mdvr_loc_out_t  l;

        sim_device_location(d, &l);
        body = mdvr_buf(sim_body, sizeof(sim_body));
        mdvr_body_v141(&body, &l);
        sim_device_send(d, NULL, "V141", &body);
    }

    /* many devices spread over the period, a single one begins at once */

    if (sim_options.rate <= 0 && d->by_time) {
        phase_us = sim_options.devices > 16
                   ? (uint64_t) (sim_uniform(&d->random) * d->interval_s
                                 * 1e6)
                   : 0;
        sim_timer_set(&d->position, phase_us);
        d->sent_us = 0;

    } else {
        d->sent_us = sim_now_us();
        sim_device_rearm(d);
    }

    sim_timer_set(&d->heartbeat, (uint64_t) (sim_options.heartbeat_s * 1e6
                                 * (0.9 + 0.1 * sim_uniform(&d->random))));
    sim_alarm_start_timer(d);

    if (sim_options.call_every_s > 0) {
        sim_timer_set(&d->call_timer,
                      (uint64_t) (sim_options.call_every_s * 1e6));
    }

    sim_alarm_resend(d);
}


/* V101: result, cause; both forms of "accepted" count */
static void
sim_device_v101_answer(sim_device_t *d, const mdvr_message_t *m)
{
    mdvr_str_t  result, cause;

    result = mdvr_message_token(m, 3);
    cause = mdvr_message_token(m, 4);

    if (mdvr_str_eqc(result, "1")
        && (cause.len == 0 || mdvr_str_eqc(cause, "0")
            || mdvr_str_eqc(cause, "1")))
    {
        sim_device_registered(d);
        return;
    }

    sim_stats.rejections++;
    sim_log(false, "%s: refused, cause %.*s", d->serial, (int) cause.len,
            (const char *) cause.p);
    sim_device_lose(d, false, sim_options.stop_on_reject ? -1
                                                : sim_options.retry_s);
}


/* V141: a file waits; V112 fetches it */
static void
sim_device_v141_answer(sim_device_t *d, const mdvr_message_t *m)
{
    sim_request_t  r;

    if (!mdvr_str_eqc(mdvr_message_token(m, 3), "1")) {
        return;
    }

    mdvr_str_copy(d->fetch_id, sizeof(d->fetch_id), mdvr_message_token(m, 5));
    d->fetch_type = mdvr_str_eqc(mdvr_message_token(m, 4), "2") ? 2 : 1;

    memset(&r, 0, sizeof(r));
    r.channel = r.stream = -1;
    r.session_id = mdvr_cstr(d->fetch_id);
    r.path = mdvr_message_token(m, 6);
    r.host = mdvr_message_token(m, 7);
    r.port = mdvr_message_token(m, 8);
    r.md5 = mdvr_message_token(m, 9);
    r.command = MDVR_STR("V141");

    (void) sim_session_open(d, MDVR_SESSION_FETCH, &r);
}


static void
sim_device_c100(sim_device_t *d, const mdvr_message_t *m)
{
    mdvr_str_t  source;

    source = mdvr_message_token(m, 0);

    if (mdvr_str_eqc(source, "V101")) {
        sim_device_v101_answer(d, m);

    } else if (mdvr_str_eqc(source, "V141")) {
        sim_device_v141_answer(d, m);

    } else if (mdvr_keyword_is_alarm(source)) {
        sim_alarm_acknowledged(d, source, mdvr_message_token(m, 3));
    }
}


static bool
sim_device_data(sim_conn_t *c, const uint8_t **pos, const uint8_t *last)
{
    mdvr_rc_t         rc;
    sim_device_t     *d = c->owner;
    mdvr_frame_msg_t  msg;

    while ((rc = mdvr_frame_next(&d->frame, pos, last, &msg)) == MDVR_OK) {

        if (mdvr_message_parse(msg.content, &sim_message) != MDVR_OK) {
            sim_stats.garbage++;
            continue;
        }

        switch (sim_message.kw) {

        case MDVR_KW_C100:
            sim_device_c100(d, &sim_message);
            break;

        case MDVR_KW_C501:
            sim_stats.heartbeats_answered++;
            break;

        case MDVR_KW_C500:
            sim_stats.not_registered++;
            sim_device_v101(d);
            break;

        default:
            sim_command(d, &sim_message);
        }

        if (!c->open) {
            return true;
        }
    }

    return rc == MDVR_AGAIN;
}


void
sim_device_connect(sim_device_t *d)
{
    d->state = SIM_CONNECTING;
    d->conn.tcp = sim_options.tcp;

    if (!sim_conn_open(&d->conn, &sim_server)) {
        sim_stats.connect_failures++;
        d->state = SIM_IDLE;
        sim_timer_set(&d->life, (uint64_t) (sim_options.retry_s * 1e6));
        return;
    }

    sim_timer_set(&d->life, 10 * SIM_S);
}


void
sim_device_init(sim_device_t *d, unsigned index)
{
    unsigned  i, n;
    uint64_t  seed;

    d->index = index;
    n = sim_options.first + index;

    if (sim_options.serial_format[0]) {
        snprintf(d->serial, sizeof(d->serial), sim_options.serial_format, n);

    } else {
        snprintf(d->serial, sizeof(d->serial), "%.20s", sim_options.serial);
    }

    snprintf(d->plate, sizeof(d->plate), sim_options.plate, d->serial);
    snprintf(d->version, sizeof(d->version), "%.31s", sim_options.firmware);

    /* the serial, not the place in the list, makes the device what it is */

    for (i = 0, seed = sim_options.seed; d->serial[i]; i++) {
        seed = (seed ^ (uint8_t) d->serial[i]) * 0x100000001b3;
    }

    d->random = seed;
    d->power_ons = 1;
    d->boot_us = sim_wall_us() - 60000000
                 - (int64_t) (sim_random(&d->random) % 3600000000ULL);
    d->number = (unsigned) (sim_random(&d->random) % 100);
    sim_drive_start(&d->drive, &sim_track, sim_random(&d->random));

    /* the first hundred share a city, the others have more room */

    if (index >= 100 || sim_options.devices > 200) {
        d->drive.shift_lat = (sim_uniform(&d->random) - 0.5) * 0.4;
        d->drive.shift_lon = (sim_uniform(&d->random) - 0.5) * 0.6;
    }

    d->moved_us = sim_now_us();
    d->by_time = sim_options.interval_s > 0;
    d->interval_s = sim_options.interval_s;
    d->distance_m = 500;

    for (i = 0; i < 5; i++) {
        d->picture[i] = i == 2 || i == 3 ? 0 : 128;
    }

    d->conn.owner = d;
    d->conn.on_connected = sim_device_connected;
    d->conn.on_data = sim_device_data;
    d->conn.on_closed = sim_device_closed;
    sim_alarm_conn_init(d);

    d->life.fire = sim_device_on_life;
    d->position.fire = sim_device_on_position;
    d->heartbeat.fire = sim_device_on_heartbeat;
    d->call_timer.fire = sim_device_on_call;
    d->life.data = d->position.data = d->heartbeat.data
        = d->call_timer.data = d;
}


sim_device_t *
sim_device_find(mdvr_str_t serial)
{
    unsigned  i;

    for (i = 0; i < sim_options.devices; i++) {
        if (mdvr_str_eqc(serial, sim_devices[i].serial)) {
            return &sim_devices[i];
        }
    }

    return NULL;
}
