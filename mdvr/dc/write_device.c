/*
 * Messages of a device, as the simulator sends them: the location group in
 * its three layouts, registration, position, answers, alarms, media
 * registrations.
 */

#include <math.h>

#include "mdvr/dc/write.h"


/*
 * Degrees as ",deg,min,sec" in the units of the layout, rounded to what the
 * satellite receiver of a real device tells: 0.00001 arc-minutes (captured),
 * in layout C 0.0001.
 */
static void
mdvr_tok_coordinate(mdvr_buf_t *b, double deg, mdvr_loc_layout_e layout)
{
    bool      negative;
    uint64_t  units, sec, grain;

    negative = deg < 0;
    grain = layout == MDVR_LOC_MINUTES ? 60000 : 6000;
    units = (uint64_t) ((negative ? -deg : deg) * 36e9 / (double) grain + 0.5)
            * grain;
    sec = units % 600000000;                /* within the minute */

    mdvr_buf_chr(b, ',');

    if (negative) {
        mdvr_buf_chr(b, '-');

    } else if (layout != MDVR_LOC_CURRENT) {
        mdvr_buf_chr(b, '+');
    }

    mdvr_buf_u64(b, units / 36000000000ULL);
    mdvr_tok_i64(b, (int64_t) (units / 600000000 % 60));
    mdvr_tok_i64(b, (int64_t) (layout == MDVR_LOC_MINUTES ? sec / 60000
                                                          : sec));
}


static void
mdvr_tok_known(mdvr_buf_t *b, int64_t v)
{
    if (v < 0) {
        mdvr_tok_empty(b);

    } else {
        mdvr_tok_i64(b, v);
    }
}


void
mdvr_body_location(mdvr_buf_t *b, const mdvr_loc_out_t *l, bool v114)
{
    bool      current;
    unsigned  i;

    current = l->layout == MDVR_LOC_CURRENT;

    mdvr_buf_chr(b, ',');
    mdvr_buf_chr(b, l->gps_valid ? 'A' : 'V');

    if (current) {
        mdvr_buf_u64w(b, (uint64_t) (l->satellites < 0 ? 0 : l->satellites),
                      4);
    }

    if (l->has_position) {
        mdvr_tok_coordinate(b, l->lon_deg, l->layout);
        mdvr_tok_coordinate(b, l->lat_deg, l->layout);

    } else {
        mdvr_buf_cstr(b, ",-0,0,0,-0,0,0");
    }

    mdvr_tok_dec(b, l->speed_kmh, current ? 2 : 0);

    if (current) {
        mdvr_tok_i64(b, (int64_t) (l->course_deg * 10000 + 0.5));

    } else {
        mdvr_tok_i64(b, (int64_t) (l->course_deg + 0.5) % 360);
    }

    mdvr_buf_chr(b, ',');
    mdvr_buf_hex(b, l->status, 16, true);
    mdvr_buf_chr(b, ',');
    mdvr_buf_hex(b, l->mask, 16, true);
    mdvr_tok_dec(b, l->temp_device_c, 2);
    mdvr_tok_dec(b, l->temp_engine_c, 2);
    mdvr_tok_dec(b, l->temp_cabin_c, 2);
    mdvr_tok_known(b, l->mileage_m);

    if (current) {
        mdvr_tok_dec(b, l->fuel_l, 2);

    } else {
        mdvr_tok_i64(b, isnan(l->fuel_l) ? -1
                                         : (int64_t) (l->fuel_l * 100 + 0.5));
    }

    mdvr_tok_known(b, l->parking_s);

    if (!current) {
        mdvr_tok_i64(b, l->parking_s > 0 ? 0 : 1);
        mdvr_tok_known(b, l->people);
        return;
    }

    mdvr_tok_i64(b, l->rpm < 0 ? 0 : l->rpm);
    mdvr_buf_chr(b, '|');
    mdvr_buf_dec(b, l->obd_speed_kmh, 2);

    for (i = 2; i < l->bus_fields; i++) {
        mdvr_buf_cstr(b, i == 9 ? "|0.00" : "|0");
    }

    if (!v114 || l->people >= 0) {
        mdvr_tok_known(b, l->people);
    }
}


void
mdvr_body_v101(mdvr_buf_t *b, const mdvr_loc_out_t *l, const mdvr_v101_t *r,
    unsigned fields, bool extra, mdvr_text_e encoding)
{
    mdvr_body_location(b, l, false);

    mdvr_tok_str(b, r->protocol);
    mdvr_tok_str(b, r->device_type);
    mdvr_tok_str(b, r->login_address);
    mdvr_tok_str(b, r->login_port);
    mdvr_tok_known(b, r->power_on_count);
    mdvr_tok_known(b, r->connect_count);
    mdvr_tok_text(b, r->plate, encoding);

    if (fields <= 7) {
        return;
    }

    mdvr_tok_known(b, r->network);
    mdvr_tok_text(b, r->network_name, encoding);
    mdvr_tok_known(b, r->audio_type);
    mdvr_tok_known(b, r->storage_type);
    mdvr_tok_str(b, r->manufacturer);
    mdvr_tok_str(b, r->manufacturer_type);
    mdvr_tok_str(b, r->imei);
    mdvr_tok_text(b, r->firmware, encoding);
    mdvr_tok_text(b, r->network_library, encoding);
    mdvr_buf_cstr(b, extra ? ",,0,1,0," : ",");
}


void
mdvr_body_v114(mdvr_buf_t *b, const mdvr_loc_out_t *l, int trigger)
{
    mdvr_body_location(b, l, true);
    mdvr_tok_i64(b, trigger);
}


void
mdvr_body_v100(mdvr_buf_t *b, const mdvr_loc_out_t *l, mdvr_str_t keyword,
    mdvr_str_t time, int mode, mdvr_str_t content)
{
    mdvr_body_location(b, l, false);
    mdvr_tok_str(b, keyword);
    mdvr_tok_str(b, time);
    mdvr_tok_i64(b, mode);
    mdvr_buf_chr(b, ',');
    mdvr_buf_str(b, content);
}


void
mdvr_body_alarm(mdvr_buf_t *b, const mdvr_loc_out_t *l, mdvr_str_t time,
    mdvr_str_t uid, int snapshot, mdvr_str_t snapshot_path, int recording,
    mdvr_str_t recording_path, bool has_data, mdvr_str_t data)
{
    mdvr_body_location(b, l, false);
    mdvr_tok_str(b, time);
    mdvr_tok_str(b, uid);
    mdvr_tok_known(b, snapshot);
    mdvr_tok_str(b, snapshot_path);
    mdvr_tok_known(b, recording);
    mdvr_tok_str(b, recording_path);

    if (has_data) {
        mdvr_buf_chr(b, ',');
        mdvr_buf_str(b, data);
    }
}


void
mdvr_body_v130(mdvr_buf_t *b, const mdvr_loc_out_t *l, mdvr_str_t session_id,
    bool start)
{
    if (l) {
        mdvr_body_location(b, l, false);
    }

    mdvr_tok_str(b, session_id);
    mdvr_tok_i64(b, start);
    mdvr_tok_empty(b);
}


void
mdvr_body_v141(mdvr_buf_t *b, const mdvr_loc_out_t *l)
{
    mdvr_body_location(b, l, false);
}


void
mdvr_body_v298(mdvr_buf_t *b, const mdvr_loc_out_t *l, mdvr_str_t time,
    mdvr_str_t uid, int channel, int type, mdvr_str_t number)
{
    mdvr_body_location(b, l, false);
    mdvr_tok_str(b, time);
    mdvr_tok_str(b, uid);
    mdvr_tok_i64(b, channel);
    mdvr_tok_i64(b, type);
    mdvr_tok_str(b, number);
}


void
mdvr_body_v299(mdvr_buf_t *b, const mdvr_loc_out_t *l, int type,
    mdvr_str_t number)
{
    mdvr_body_location(b, l, false);
    mdvr_tok_i64(b, type);
    mdvr_tok_str(b, number);
}


void
mdvr_body_v600(mdvr_buf_t *b, const mdvr_loc_out_t *l, unsigned number,
    mdvr_str_t raw)
{
    mdvr_body_location(b, l, false);
    mdvr_tok_i64(b, number);
    mdvr_tok_i64(b, 0);
    mdvr_tok_i64(b, (int64_t) raw.len * 2);
    mdvr_buf_chr(b, ',');
    mdvr_buf_hexs(b, raw);
}


static void
mdvr_body_v105(mdvr_buf_t *b, const mdvr_media_reg_t *r)
{
    mdvr_tok_str(b, r->command);
    mdvr_tok_known(b, r->audio_channels);
    mdvr_tok_known(b, r->sample_rate);
    mdvr_tok_known(b, r->bits);
    mdvr_tok_known(b, r->format);
    mdvr_tok_known(b, r->frame_length);
    mdvr_tok_known(b, r->source);
    mdvr_tok_known(b, r->channel);
}


void
mdvr_body_media_reg(mdvr_buf_t *b, const mdvr_loc_out_t *l,
    const mdvr_media_reg_t *r, mdvr_plate_e plate, mdvr_text_e encoding)
{
    mdvr_body_location(b, l, false);

    mdvr_tok_str(b, r->protocol);
    mdvr_tok_str(b, r->device_type);
    mdvr_tok_str(b, r->server_address);
    mdvr_tok_str(b, r->server_port);
    mdvr_tok_str(b, r->session_id);

    switch (r->kind) {

    case MDVR_SESSION_LIVE:
        mdvr_tok_str(b, r->command);
        mdvr_tok_i64(b, r->channel);
        mdvr_tok_i64(b, r->stream);
        break;

    case MDVR_SESSION_FILE:
        mdvr_tok_i64(b, r->size);
        mdvr_tok_str(b, r->file_name);

        if (plate == MDVR_PLATE_NONE) {
            return;
        }

        if (plate == MDVR_PLATE_BAR) {
            mdvr_buf_chr(b, '|');
            mdvr_text_encode(b, r->plate, encoding, false);
            return;
        }

        break;

    case MDVR_SESSION_AUDIO:
        mdvr_body_v105(b, r);
        break;

    case MDVR_SESSION_UPGRADE:
        mdvr_tok_str(b, r->file_name);
        mdvr_tok_known(b, r->offset);
        break;

    case MDVR_SESSION_SNAPSHOT:
        mdvr_tok_i64(b, r->channel);
        mdvr_tok_i64(b, r->size);
        mdvr_tok_i64(b, r->format);
        break;

    case MDVR_SESSION_CONFIG:
        mdvr_tok_str(b, r->command);
        mdvr_tok_i64(b, r->direction);
        mdvr_tok_known(b, r->offset);
        mdvr_tok_known(b, r->size);
        mdvr_tok_str(b, r->file_name);
        mdvr_tok_str(b, r->md5);
        break;

    case MDVR_SESSION_FETCH:
        mdvr_tok_empty(b);
        mdvr_tok_known(b, r->offset);
        mdvr_tok_text(b, r->plate, encoding);
        mdvr_tok_str(b, r->file_name);
        return;

    default:
        break;
    }

    mdvr_tok_text(b, r->plate, encoding);
}
