/*
 * Registrations: V101 on the signaling port, V102..V112 on the media port.
 *
 * Parsed by count: a missing field is an empty view (or "unknown"), extra
 * fields are ignored.  The examples of the documents omit fields; the rules
 * that tell the forms apart are those of the protocol reference, media.md
 * section 2.  Views point into the message.
 */

#ifndef MDVR_DC_REGISTER_H
#define MDVR_DC_REGISTER_H

#include "mdvr/dc/location.h"

typedef struct {
    mdvr_str_t  protocol;           /* "V1.0.0.1" */
    mdvr_str_t  device_type;        /* "4108" */
    mdvr_str_t  login_address;
    mdvr_str_t  login_port;
    int64_t     power_on_count;     /* integers: -1 unknown */
    int64_t     connect_count;
    mdvr_str_t  plate;
    int         network;            /* 0 3G, 1 WIFI, 2 wired, 3 4G */
    mdvr_str_t  network_name;
    int         audio_type;         /* mdvr_audio table of dc/media.h */
    int         storage_type;       /* 1 SD card, 2 hard disk, 3 SSD */
    mdvr_str_t  manufacturer;
    mdvr_str_t  manufacturer_type;
    mdvr_str_t  imei;
    mdvr_str_t  firmware;
    mdvr_str_t  network_library;
    mdvr_str_t  extra;              /* fields 17 and on, with their commas */
    unsigned    channels_hint;      /* from the device type, 0 unknown */
} mdvr_v101_t;

/* MDVR_E_ABSENT: no protocol version or device type (answer cause 1). */
mdvr_rc_t mdvr_v101_parse(const mdvr_message_t *m,
    const mdvr_location_t *loc, mdvr_v101_t *r);

/* Members "protocol","device_type",...,"network":"4g",... with texts decoded
 * to UTF-8 and cut to MDVR_TEXT_MAX, inside an object the caller opened. */
void mdvr_v101_json(mdvr_json_t *j, const mdvr_v101_t *r);

const char *mdvr_network_type_name(int network);        /* or NULL */
const char *mdvr_storage_type_name(int storage);        /* or NULL */

/* what a media connection carries */
typedef enum {
    MDVR_SESSION_NONE = 0,
    MDVR_SESSION_LIVE,          /* V102 */
    MDVR_SESSION_FILE,          /* V103: file from the device */
    MDVR_SESSION_AUDIO,         /* V105: talk, listen */
    MDVR_SESSION_UPGRADE,       /* V106: firmware to the device */
    MDVR_SESSION_SNAPSHOT,      /* V107 */
    MDVR_SESSION_SEARCH,        /* V108 */
    MDVR_SESSION_CONFIG,        /* V109, both directions */
    MDVR_SESSION_QUERY,         /* V110 */
    MDVR_SESSION_PUSH,          /* V111: C706 */
    MDVR_SESSION_FETCH,         /* V112: after V141 */
    MDVR_SESSION_COUNT
} mdvr_session_e;

const char *mdvr_session_name(mdvr_session_e kind);     /* "live", ... */
mdvr_session_e mdvr_session_of(mdvr_keyword_e kw);

/* Fields a keyword does not have are empty views or -1. */
typedef struct {
    mdvr_session_e  kind;
    mdvr_str_t  protocol;
    mdvr_str_t  device_type;
    mdvr_str_t  server_address;
    mdvr_str_t  server_port;
    mdvr_str_t  session_id;         /* 1..64 printable bytes (not V112) */
    mdvr_str_t  command;            /* "C508", "C550", "V298", ... */
    int         channel;            /* 0-based as on the wire, 99 = split */
    int         stream;             /* 0 main, 1 sub */
    mdvr_str_t  plate;
    mdvr_str_t  file_name;
    int64_t     size;               /* V103, V107, V109 */
    int64_t     offset;             /* V106, V109, V112 */
    int         format;             /* V105 code, V107: 1 BMP 2 JPEG 3 GIF */
    int         audio_channels;     /* V105 */
    int         sample_rate;
    int         bits;
    int         frame_length;
    int         source;             /* 1 camera microphone, 2 intercom */
    int         direction;          /* V109: 0 to device, 1 from device */
    mdvr_str_t  md5;                /* V109 */
} mdvr_media_reg_t;

/*
 * `loc` as parsed from the same message.
 * MDVR_E_UNSUPPORTED  the keyword is no media registration
 * MDVR_E_ABSENT       no session id, or one that breaks its rule
 * MDVR_E_RANGE        channel, stream or size that is not a number
 */
mdvr_rc_t mdvr_media_reg_parse(const mdvr_message_t *m,
    const mdvr_location_t *loc, mdvr_media_reg_t *r);

#endif /* MDVR_DC_REGISTER_H */
