/*
 * Writers of text messages: every C message of the server, every V message
 * of a device.
 *
 * A message is made in two steps, because command bodies travel between
 * processes without a header: a *body* is the tokens behind the header, each
 * preceded by its comma (C501 has an empty body), and mdvr_write_message()
 * puts header, length and '#' around it.
 *
 * Tokens never contain ',' or '#' (they become spaces), except where a
 * length field protects them (C151, C517) or the last field takes the rest
 * of the message (C702 file names).  Texts are UTF-8 on this side and are
 * written in `encoding`.  All functions append; the caller looks at b->full.
 * Source: protocol reference, signaling.md, alarms.md, media.md.
 */

#ifndef MDVR_DC_WRITE_H
#define MDVR_DC_WRITE_H

#include "mdvr/dc/location.h"
#include "mdvr/dc/register.h"
#include "mdvr/dc/text.h"

typedef struct {
    mdvr_str_t  number;             /* h1; answers repeat the request's */
    mdvr_str_t  keyword;
    mdvr_str_t  serial;
    mdvr_str_t  workstation;        /* normally empty */
    int64_t     unix_s;             /* h5, written in the device's zone */
    int         offset_minutes;
} mdvr_head_t;

/*
 * "$$dc" + length + header + body + '#'.  `body` with or without a leading
 * comma; empty = no body.  MDVR_E_LIMIT when the content would exceed 9999
 * bytes, MDVR_E_NO_SPACE when the buffer is too small; nothing is written
 * then.
 */
mdvr_rc_t mdvr_write_message(mdvr_buf_t *b, const mdvr_head_t *h,
    mdvr_str_t body);

/* the same with "@@" in front: first message of a media connection */
mdvr_rc_t mdvr_write_media_message(mdvr_buf_t *b, const mdvr_head_t *h,
    mdvr_str_t body);

/* Pieces of a body; each writes its comma first. */
void mdvr_tok_str(mdvr_buf_t *b, mdvr_str_t s);         /* plain bytes */
void mdvr_tok_cstr(mdvr_buf_t *b, const char *s);       /* NULL = empty */
void mdvr_tok_i64(mdvr_buf_t *b, int64_t v);
void mdvr_tok_dec(mdvr_buf_t *b, double v, unsigned places);
void mdvr_tok_text(mdvr_buf_t *b, mdvr_str_t utf8, mdvr_text_e encoding);
void mdvr_tok_empty(mdvr_buf_t *b);

/* ---- C: answers to device messages ------------------------------------ */

/*
 * C100: source keyword, source time (copied byte for byte), mode 0, then
 * `content`, which may contain commas and is copied as it is.
 */
void mdvr_body_c100(mdvr_buf_t *b, mdvr_str_t keyword, mdvr_str_t time,
    mdvr_str_t content);

/* Content for V101: cause 0 = accepted ("1,1,"), else "0,<cause>,". */
#define MDVR_CAUSE_MALFORMED       1
#define MDVR_CAUSE_UNKNOWN_SERIAL  2
#define MDVR_CAUSE_ADDRESS         3
#define MDVR_CAUSE_PROTOCOL        4
#define MDVR_CAUSE_DEVICE_TYPE     5
void mdvr_content_v101(mdvr_buf_t *b, int cause);

/* Content for V141 with nothing waiting: the literal ten fields. */
void mdvr_content_v141_none(mdvr_buf_t *b);

typedef struct {
    int         file_type;          /* 1 picture, 2 firmware */
    mdvr_str_t  file_id;
    mdvr_str_t  path;
    mdvr_str_t  address;
    unsigned    port;
    mdvr_str_t  md5;
    mdvr_str_t  parameters;         /* may contain commas */
} mdvr_fetch_t;

void mdvr_content_v141(mdvr_buf_t *b, const mdvr_fetch_t *f);

/* ---- C: commands ------------------------------------------------------- */

typedef struct {
    mdvr_str_t  address;            /* may be empty: device's own setting */
    unsigned    port;               /* 0 with an empty address: stopping */
} mdvr_endpoint_t;

typedef struct {                    /* C152, C520, C706 */
    mdvr_str_t  session_id;
    uint64_t    size;
    mdvr_str_t  md5;
    mdvr_endpoint_t  media;
    mdvr_str_t  name;
} mdvr_push_t;

void mdvr_body_c150(mdvr_buf_t *b, int action, mdvr_str_t user_md5,
    mdvr_str_t password_md5);
void mdvr_body_c151(mdvr_buf_t *b, mdvr_str_t utf8, mdvr_text_e encoding);
void mdvr_body_c152(mdvr_buf_t *b, const mdvr_push_t *p,
    mdvr_str_t device_type, mdvr_str_t version);

/* mode 0, 1, 2; distance in metres and interval in seconds, 0 = not by it;
 * MDVR_E_RANGE: outside 50..655350 m, 5..65535 s, or mode 1 without both */
mdvr_rc_t mdvr_body_c505(mdvr_buf_t *b, int mode, uint32_t distance_m,
    uint32_t interval_s);

/* channel 0..15, 98, 99, -1 (stop only); stream 0 main, 1 sub */
void mdvr_body_c508_start(mdvr_buf_t *b, mdvr_str_t session_id, int channel,
    int stream, mdvr_endpoint_t media);
void mdvr_body_c508_stop(mdvr_buf_t *b, mdvr_str_t session_id, int channel,
    int stream);

void mdvr_body_c510(mdvr_buf_t *b, mdvr_str_t session_id, int channel,
    mdvr_endpoint_t media);
void mdvr_body_c511(mdvr_buf_t *b, int channel, const uint16_t rows[9],
    bool enable, int sensitivity);
void mdvr_body_c512(mdvr_buf_t *b, int channel);
void mdvr_body_c517(mdvr_buf_t *b, int64_t type, mdvr_str_t raw);
void mdvr_body_c520(mdvr_buf_t *b, const mdvr_push_t *p);
void mdvr_body_c521(mdvr_buf_t *b, mdvr_str_t session_id,
    mdvr_endpoint_t media);

/* talk: channel -1 (empty), source 2; listen: see the reference */
void mdvr_body_c550(mdvr_buf_t *b, mdvr_str_t session_id, bool start,
    int channel, int source, mdvr_endpoint_t media);
void mdvr_body_c551(mdvr_buf_t *b, mdvr_str_t session_id, bool start,
    int channel, int source, mdvr_endpoint_t media);

void mdvr_body_c600(mdvr_buf_t *b, unsigned number, mdvr_str_t raw);

/* begin and end on the same day in the device's zone; MDVR_E_RANGE if not */
mdvr_rc_t mdvr_body_c701(mdvr_buf_t *b, mdvr_str_t session_id,
    int64_t begin_s, int64_t end_s, int offset_minutes, int type,
    int channel, mdvr_endpoint_t media);

/* flag 0 whole file, 1 bytes, 2 seconds, 3 after V232 */
void mdvr_body_c702(mdvr_buf_t *b, mdvr_str_t session_id, int flag,
    uint32_t start, uint32_t end, mdvr_endpoint_t media, mdvr_str_t path);

void mdvr_body_c704(mdvr_buf_t *b, mdvr_str_t session_id,
    mdvr_endpoint_t media, int64_t begin_s, int64_t end_s,
    int offset_minutes, int level);
void mdvr_body_c706(mdvr_buf_t *b, const mdvr_push_t *p, int file_type,
    mdvr_str_t parameters);
void mdvr_body_c722(mdvr_buf_t *b, int channel, int exposure,
    int brightness, int contrast, int hue, int saturation);
void mdvr_body_c723(mdvr_buf_t *b, int channel);

/* speed and parameter -1 = empty */
void mdvr_body_c1111(mdvr_buf_t *b, int channel, int action, int speed,
    int parameter);
void mdvr_body_c7212(mdvr_buf_t *b, mdvr_str_t address, unsigned port,
    int transport);
/* C500, C501, C588, C589 have no body. */

/* ---- V: what a device says --------------------------------------------- */

typedef struct {
    mdvr_loc_layout_e  layout;      /* CURRENT, DOCUMENTED or MINUTES */
    unsigned    bus_fields;         /* 9 or 12 (CURRENT) */
    bool        gps_valid;
    int         satellites;
    bool        has_position;       /* false: "-0,0,0" twice */
    double      lat_deg;
    double      lon_deg;
    double      speed_kmh;
    double      course_deg;
    uint64_t    status;
    uint64_t    mask;               /* 0 as all devices send it */
    double      temp_device_c;
    double      temp_engine_c;
    double      temp_cabin_c;
    int64_t     mileage_m;
    double      fuel_l;
    int64_t     parking_s;
    int64_t     rpm;
    double      obd_speed_kmh;
    int         people;             /* -1 = empty */
} mdvr_loc_out_t;

/* The group; in V114 of the current layout without the people token (unless
 * it is known), otherwise with it. */
void mdvr_body_location(mdvr_buf_t *b, const mdvr_loc_out_t *l, bool v114);

/* The bit of a named flag, and a channel/input/output set, in `status`. */
uint64_t mdvr_status_flag_bit(mdvr_status_flag_e flag);
uint64_t mdvr_status_set_bits(mdvr_status_set_e set, uint32_t numbers);
uint64_t mdvr_status_disk_bits(unsigned disk, unsigned state);
uint64_t mdvr_status_network_bits(unsigned state);

/* Texts of `r` are UTF-8.  fields: 16, or 7 as the 2017 firmware sends;
 * extra: the four tokens of the 2020 firmware. */
void mdvr_body_v101(mdvr_buf_t *b, const mdvr_loc_out_t *l,
    const mdvr_v101_t *r, unsigned fields, bool extra,
    mdvr_text_e encoding);

void mdvr_body_v114(mdvr_buf_t *b, const mdvr_loc_out_t *l, int trigger);

/* `content` is copied as it is and may contain commas. */
void mdvr_body_v100(mdvr_buf_t *b, const mdvr_loc_out_t *l,
    mdvr_str_t keyword, mdvr_str_t time, int mode, mdvr_str_t content);

/* Any alarm with the common body; `data` = fields 7... with commas between,
 * copied as it is; `has_data` tells "no data" from "one empty field". */
void mdvr_body_alarm(mdvr_buf_t *b, const mdvr_loc_out_t *l, mdvr_str_t time,
    mdvr_str_t uid, int snapshot, mdvr_str_t snapshot_path, int recording,
    mdvr_str_t recording_path, bool has_data, mdvr_str_t data);

void mdvr_body_v130(mdvr_buf_t *b, const mdvr_loc_out_t *l,
    mdvr_str_t session_id, bool start);             /* l NULL: no group */
void mdvr_body_v141(mdvr_buf_t *b, const mdvr_loc_out_t *l);
void mdvr_body_v298(mdvr_buf_t *b, const mdvr_loc_out_t *l, mdvr_str_t time,
    mdvr_str_t uid, int channel, int type, mdvr_str_t number);
void mdvr_body_v299(mdvr_buf_t *b, const mdvr_loc_out_t *l, int type,
    mdvr_str_t number);
void mdvr_body_v600(mdvr_buf_t *b, const mdvr_loc_out_t *l, unsigned number,
    mdvr_str_t raw);

typedef enum {
    MDVR_PLATE_COMMA = 0,           /* V103: as captured */
    MDVR_PLATE_BAR,                 /* as documented */
    MDVR_PLATE_NONE
} mdvr_plate_e;

/* The media registration that fits r->kind; `r` as the parser fills it. */
void mdvr_body_media_reg(mdvr_buf_t *b, const mdvr_loc_out_t *l,
    const mdvr_media_reg_t *r, mdvr_plate_e plate, mdvr_text_e encoding);

#endif /* MDVR_DC_WRITE_H */
