/*
 * The location-and-status group that nearly every device message carries.
 *
 *   L1 fix+satellites  L2..L4 longitude d,m,s  L5..L7 latitude d,m,s
 *   L8 speed  L9 course  L10 status  L11 mask  L12..L14 temperatures
 *   L15 mileage  L16 fuel  L17 parking time  L18 bus group  L19 people
 *
 * Seconds are 1e-7 arc-seconds and the sign is on the degrees, as text: "-0"
 * is a place.  Course is degrees * 10000 in the current layout.  An all-zero
 * mask means "no mask".  In V114 of the current layout L19 is missing.
 * Source: protocol reference, location.md (captured).
 */

#ifndef MDVR_DC_LOCATION_H
#define MDVR_DC_LOCATION_H

#include "mdvr/basics/json.h"
#include "mdvr/dc/message.h"

typedef enum {
    MDVR_LOC_NONE = 0,          /* the message carries no group */
    MDVR_LOC_CURRENT,           /* A: L18 contains '|' */
    MDVR_LOC_DOCUMENTED,        /* B: 19 tokens, 2017 firmware */
    MDVR_LOC_MINUTES            /* C: as B, seconds are 1e-4 arc-minutes */
} mdvr_loc_layout_e;

/*
 * Status bits by name: X(name, byte 1..8, bit 0..7).  `name` is also the
 * member name in the JSON object.
 */
#define MDVR_STATUS_FLAG_LIST(X)                                          \
    X(stationary,  5, 0)                                                  \
    X(overspeed,   5, 1)                                                  \
    X(late,        5, 2)        /* upload of buffered data */             \
    X(low_speed,   5, 3)                                                  \
    X(gps_present, 7, 0)                                                  \
    X(acc,         8, 1)        /* never gated on its "valid" bit */      \
    X(left_turn,   8, 2)                                                  \
    X(right_turn,  8, 3)                                                  \
    X(brake,       8, 4)                                                  \
    X(forward,     8, 5)                                                  \
    X(reverse,     8, 6)

typedef enum {
#define MDVR_STATUS_ENUM(name, byte, bit)  MDVR_STATUS_##name,
    MDVR_STATUS_FLAG_LIST(MDVR_STATUS_ENUM)
#undef MDVR_STATUS_ENUM
    MDVR_STATUS_FLAG_COUNT
} mdvr_status_flag_e;

typedef enum {
    MDVR_STATUS_RECORDING = 0,  /* channels 1..8 */
    MDVR_STATUS_VIDEO_LOSS,     /* channels 1..8 */
    MDVR_STATUS_INPUTS,         /* digital inputs 1..16 */
    MDVR_STATUS_OUTPUTS,        /* digital outputs 1..4 */
    MDVR_STATUS_SET_COUNT
} mdvr_status_set_e;

/* The 64 bits; byte 1 of the wire is the most significant byte. */
typedef struct {
    uint64_t  bits;             /* status AND known */
    uint64_t  known;            /* ~0 when no mask was supplied */
    bool      present;          /* L10 was 16 hexadecimal digits */
} mdvr_status_t;

typedef struct {
    mdvr_loc_layout_e  layout;
    unsigned    ntokens;        /* 18 or 19 tokens of the group itself */
    unsigned    next;           /* body index of the message's own fields */

    bool        gps_valid;      /* 'A' */
    int         satellites;     /* -1 unknown */
    bool        has_position;
    double      lat_deg;        /* rounded to 7 decimals; 0 without position */
    double      lon_deg;

    double      speed_kmh;      /* the doubles from here: NaN = unknown */
    double      course_deg;     /* 0 <= course < 360 */
    double      temp_device_c;
    double      temp_engine_c;
    double      temp_cabin_c;
    double      fuel_l;
    double      obd_speed_kmh;
    int64_t     mileage_m;      /* the integers from here: -1 = unknown */
    int64_t     parking_s;
    int64_t     rpm;
    int64_t     people;
    int         stop_flag;      /* layouts B and C */
    unsigned    bus_fields;     /* elements of the '|' group, 0 = none */

    mdvr_status_t  status;
    mdvr_str_t  status_hex;     /* L10 and L11 as they arrived */
    mdvr_str_t  mask_hex;
    mdvr_str_t  route;          /* only with `bus_layout`: L15..L17 */
    mdvr_str_t  driver;
    mdvr_str_t  next_stop;
} mdvr_location_t;

/*
 * Reads the group at the start of the body.  `bus_layout` is the device
 * setting that gives L15..L17 of layouts B and C the meaning route, driver,
 * stop.
 *
 * MDVR_OK        loc->layout says what was found; without a group it is
 *                MDVR_LOC_NONE, everything is unknown and next is 0
 * MDVR_E_SYNTAX  begins like a group but is too short: drop the message
 *
 * loc->next is the index of the first body token behind the group; in V114
 * that of the drive flag.  It may equal nbody.
 */
mdvr_rc_t mdvr_location_parse(const mdvr_message_t *m, bool bus_layout,
    mdvr_location_t *loc);

/* The same over bare tokens; `v114` says which rule ends the group. */
mdvr_rc_t mdvr_location_tokens(const mdvr_str_t *tok, unsigned n, bool v114,
    bool bus_layout, mdvr_location_t *loc);

/*
 * Degrees, minutes, 1e-7 arc-seconds to degrees, rounded to 7 decimals.
 * MDVR_E_RANGE unless deg <= max_deg, min < 60, sec_e7 < 600000000 and the
 * result is within +-max_deg.
 */
mdvr_rc_t mdvr_dms_to_deg(unsigned deg, unsigned min, uint64_t sec_e7,
    bool negative, unsigned max_deg, double *out);

/* V114 drive flag 0..3, -1 unknown; its word in telemetry messages:
 * "realtime", "interval", "request", "video", NULL when unknown. */
int mdvr_location_trigger(const mdvr_message_t *m,
    const mdvr_location_t *loc);
const char *mdvr_trigger_name(int trigger);

/* L10 and L11 as stored text; not 16 hexadecimal digits: nothing is known */
void mdvr_status_read(mdvr_str_t status, mdvr_str_t mask, mdvr_status_t *st);

/* 1 set, 0 not set, -1 unknown (masked out or no status at all) */
int mdvr_status_flag(const mdvr_status_t *st, mdvr_status_flag_e flag);

/* Bit n = number n + 1.  *known (may be NULL) has the same bits. */
uint32_t mdvr_status_set(const mdvr_status_t *st, mdvr_status_set_e set,
    uint32_t *known);

/* disk 1 or 2: 0 absent, 1 present, 2 powered off, 3 undefined, -1 unknown;
 * in words "absent", "present", "off", NULL */
int mdvr_status_disk(const mdvr_status_t *st, unsigned disk);
const char *mdvr_disk_name(int state);

/* 0 no_sim, 1 weak, 2 poor, 3 fair, 4 good, 5 excellent, 6 no_modem, 7 off,
 * -1 unknown */
int mdvr_status_network(const mdvr_status_t *st);
const char *mdvr_network_name(int state);

/*
 * The status object of telemetry messages:
 * {"recording":[1,2],"video_loss":[],"inputs":[2],"outputs":[],
 *  "stationary":true,...,"disk1":"present","disk2":null,"network":"good"}
 * Unknown values and sets are null.  `key` as for mdvr_json_object().
 */
void mdvr_status_json(mdvr_json_t *j, const char *key,
    const mdvr_status_t *st);

/*
 * Members of a position, in order, inside an object the caller opened:
 * "lat","lon","gps_valid","satellites","speed_kmh","course_deg","acc",
 * "mileage_m","fuel_l","status".
 */
void mdvr_location_json(mdvr_json_t *j, const mdvr_location_t *loc);

#endif /* MDVR_DC_LOCATION_H */
