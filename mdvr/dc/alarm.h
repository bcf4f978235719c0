/*
 * Alarm messages: V201..V222, V231, V251..V271, V304, V305, V232, V234, and
 * the odd ones V298, V299.
 *
 *   location group, alarm time, UID, snapshot 0/1, snapshot path,
 *   recording 0/1, recording path, data of the keyword...
 *
 * The UID is opaque and identifies this message, not the alarm: the end has a
 * UID of its own.  Pairing goes by keyword pair and sub-key
 * (domain/alarm_kind.h).  The trigger location may be missing, as empty
 * tokens.  Source: protocol reference, alarms.md.
 */

#ifndef MDVR_DC_ALARM_H
#define MDVR_DC_ALARM_H

#include "mdvr/dc/location.h"

typedef struct {
    mdvr_keyword_e  kw;             /* MDVR_KW_UNKNOWN: a newer V2xx */
    mdvr_str_t      code;           /* keyword as it arrived */
    mdvr_str_t      time;           /* alarm time, "YYMMDD hhmmss" */
    mdvr_str_t      uid;            /* 1..64 bytes, opaque */
    int             snapshot;       /* 0, 1, -1 unknown */
    mdvr_str_t      snapshot_path;
    int             recording;
    mdvr_str_t      recording_path;

    const mdvr_str_t  *data;        /* fields 7... */
    unsigned        ndata;
    mdvr_str_t      raw;            /* fields 7... with their commas */
} mdvr_alarm_t;

/*
 * `loc` as parsed from the same message (its layout may be NONE).
 * MDVR_E_ABSENT  no alarm time and UID where they belong
 * MDVR_E_LIMIT   UID longer than 64 bytes
 * MDVR_E_SYNTAX  UID contains unprintable bytes
 */
mdvr_rc_t mdvr_alarm_parse(const mdvr_message_t *m,
    const mdvr_location_t *loc, mdvr_alarm_t *a);

/* Data field `i` (0 = field 7 of the message), empty when missing. */
mdvr_str_t mdvr_alarm_data(const mdvr_alarm_t *a, unsigned i);

/*
 * Members of the alarm's data by name inside an object the caller opened:
 * V211 {"speed_kmh":130.8,"lower_kmh":0,"upper_kmh":100,"duration_s":5},
 * V204 {"channels":[2,4]}, ...; for keywords without a table {"fields":[...]}.
 */
void mdvr_alarm_json(mdvr_json_t *j, const mdvr_alarm_t *a);

/* "000A" = bits of channels 2 and 4; bit n = channel n + 1. */
bool mdvr_channel_set(mdvr_str_t s, uint32_t *out);

/* V232: an alarm file is ready to be fetched */
typedef struct {
    int         media;              /* 1 picture, 2 video */
    mdvr_str_t  path;
    int64_t     size;               /* bytes */
    int         record_type;        /* 1 normal, 2 alarm, -1 */
    mdvr_str_t  start;              /* mdvr_time_parse_file() */
    int64_t     duration_s;         /* -1 unknown */
    int         channel;            /* 0-based, -1 unknown */
} mdvr_v232_t;

/* MDVR_E_ABSENT: no path.  MDVR_E_LIMIT: path longer than 1024 bytes. */
mdvr_rc_t mdvr_v232_parse(const mdvr_alarm_t *a, mdvr_v232_t *f);

/* V234: the device has fetched a file (or not) */
typedef struct {
    mdvr_str_t  file_id;
    int         file_type;          /* 1 picture, 2 firmware */
    int         result;             /* 0 success, else error table */
} mdvr_v234_t;

mdvr_rc_t mdvr_v234_parse(const mdvr_alarm_t *a, mdvr_v234_t *f);

/* V298: asks permission to send alarm video.  V299: released an alarm. */
typedef struct {
    mdvr_str_t  time;               /* V298 only */
    mdvr_str_t  uid;                /* V298 only */
    int         channel;            /* V298 only, -1 */
    int         type;               /* 1..13; V299: 0 = all */
    mdvr_str_t  number;             /* custom alarm number */
} mdvr_alarm_permit_t;

mdvr_rc_t mdvr_alarm_permit_parse(const mdvr_message_t *m,
    const mdvr_location_t *loc, mdvr_alarm_permit_t *p);

/* V130: asks for a call or ends it */
typedef struct {
    mdvr_str_t  session_id;         /* may be empty */
    int         start;              /* 1 start, 0 stop */
} mdvr_v130_t;

mdvr_rc_t mdvr_v130_parse(const mdvr_message_t *m,
    const mdvr_location_t *loc, mdvr_v130_t *v);

/* V600: transparent data; `hex` is left as it is */
typedef struct {
    mdvr_str_t  number;
    mdvr_str_t  type;
    mdvr_str_t  hex;
} mdvr_v600_t;

mdvr_rc_t mdvr_v600_parse(const mdvr_message_t *m,
    const mdvr_location_t *loc, mdvr_v600_t *v);

#endif /* MDVR_DC_ALARM_H */
