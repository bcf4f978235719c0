/*
 * The media port: one text registration, then binary messages both ways.
 *
 *   0  "@@"      2 bytes
 *   2  type      uint16, little-endian      0x6011 I-frame, 0x6012 P-frame...
 *   4  length    uint32, little-endian      bytes that follow
 *   8  payload
 *
 * "@@" followed by "$$dc" is text.  A connection that begins with "$$dc"
 * without "@@" speaks the legacy form: "$$$$$$dc", length, type, number, time
 * of day, payload, "####".  The parser owns no memory: the caller keeps the
 * bytes from *pos on until the message is whole.
 * Source: protocol reference, framing.md sections 6 to 9, media.md.
 */

#ifndef MDVR_DC_MEDIA_H
#define MDVR_DC_MEDIA_H

#include "mdvr/dc/frame.h"

#define MDVR_MEDIA_HEADER        8
#define MDVR_MEDIA_VIDEO_MAX     (4U << 20)
#define MDVR_MEDIA_BLOCK_MAX     ((1U << 20) + 8)
#define MDVR_MEDIA_SEARCH_MAX    (272 * 64)
#define MDVR_MEDIA_OTHER_MAX     65536
#define MDVR_MEDIA_INCIDENTS     3           /* then close */
#define MDVR_MEDIA_SCAN_MAX      (1U << 20)  /* bytes searched per incident */

/* X(name, type, words) */
#define MDVR_MEDIA_TYPE_LIST(X)                                           \
    X(RESULT,        0x6000, "registration result")                       \
    X(VIDEO_OLD,     0x6001, "live video, old layout")                    \
    X(KEY_REQUEST,   0x6002, "I-frame request")                           \
    X(REPORT_VIDEO,  0x6003, "receive report, documented type")           \
    X(AUDIO_SWITCH,  0x6004, "audio on/off")                              \
    X(HEARTBEAT,     0x6005, "heartbeat")                                 \
    X(IFRAME,        0x6011, "I-frame")                                   \
    X(PFRAME,        0x6012, "P-frame")                                   \
    X(AUDIO,         0x6013, "audio frame")                               \
    X(INFO,          0x6014, "information frame")                         \
    X(PARAMETERS,    0x6015, "stream parameters")                         \
    X(SEARCH,        0x6101, "search result")                             \
    X(BLOCK,         0x6102, "file data block")                           \
    X(REPOSITION,    0x6103, "download control")                          \
    X(FILE_REPORT,   0x6104, "file receive report")                       \
    X(END,           0x6105, "end of session")                            \
    X(QUERY,         0x6106, "transparent query data")                    \
    X(SNAPSHOT,      0x6201, "snapshot data")                             \
    X(CONFIG_UP,     0x6301, "configuration file from the device")        \
    X(CONFIG_DOWN,   0x6302, "configuration file to the device")          \
    X(TALK_PARAMS,   0x6401, "audio parameters")                          \
    X(TALK_OLD,      0x6402, "audio data, old layout")                    \
    X(REPORT,        0x6403, "receive report")                            \
    X(HANG_UP,       0x6404, "hang-up")                                   \
    X(TALK,          0x6411, "audio data")                                \
    X(CHECKSUM,      0x6501, "checksum result")                           \
    X(VIDEO_SWITCH,  0x6601, "start/stop video")                          \
    X(VIDEO_ANSWER,  0x6602, "answer to start/stop video")

enum {
#define MDVR_MEDIA_ENUM(name, type, words)  MDVR_MEDIA_##name = type,
    MDVR_MEDIA_TYPE_LIST(MDVR_MEDIA_ENUM)
#undef MDVR_MEDIA_ENUM
};

const char *mdvr_media_type_words(unsigned type);       /* "unknown" */
bool mdvr_media_type_known(unsigned type);

/* how a media connection begins */
typedef enum {
    MDVR_MEDIA_FIRST_MORE = 0,      /* too few bytes to tell */
    MDVR_MEDIA_FIRST_TEXT,          /* "@@$$dc": registration */
    MDVR_MEDIA_FIRST_LEGACY,        /* "$$dc" or "$$$$$$dc" */
    MDVR_MEDIA_FIRST_BINARY,        /* "@@" + type: no registration */
    MDVR_MEDIA_FIRST_JUNK
} mdvr_media_first_e;

mdvr_media_first_e mdvr_media_first(const uint8_t *p, const uint8_t *last);

typedef struct {
    uint32_t  video;                /* 0x6011, 0x6012, 0x6001 */
    uint32_t  block;                /* 0x6102, 0x6201, 0x6301, 0x6302 */
} mdvr_media_limits_t;              /* zeros: the defaults above */

/* All zeros is a valid start. */
typedef struct {
    mdvr_media_limits_t  limits;
    bool          legacy;           /* set by the first text without "@@" */
    bool          started;          /* the registration has been seen */
    bool          scanning;         /* looking for the next header */
    bool          lost;             /* bytes were lost since the last one */
    unsigned      incidents;
    uint32_t      skipped;          /* bytes in this incident */
    uint64_t      skipped_total;
    mdvr_frame_t  frame;            /* of the text messages */
    size_t        need;             /* after MDVR_AGAIN: bytes from *pos on
                                       that make the message whole, or 0 */
} mdvr_media_parser_t;

typedef struct {
    bool        text;               /* frame is set, the rest is not */
    mdvr_frame_msg_t  frame;        /* content for mdvr_message_parse() */
    unsigned    type;
    mdvr_str_t  payload;
    mdvr_str_t  wire;               /* header and payload as they arrived */
    bool        resynced;           /* bytes were lost in front of this one:
                                       drop until the next I-frame, ask for
                                       it with 0x6002 */
    bool        legacy;             /* arrived in the legacy envelope */
} mdvr_media_msg_t;

/*
 * Takes the next message from [*pos, last).
 *
 * MDVR_OK        *msg is a message; views point into the buffer
 * MDVR_AGAIN     keep [*pos, last); when parser->need is not 0, that many
 *                bytes from *pos on are needed (at most limit + 8)
 * MDVR_E_SYNTAX  first bytes are no registration, third incident, or nothing
 *                plausible within 1 MiB: close
 * MDVR_E_LEGACY  begins with a legacy binary message: close
 *
 * MDVR_E_LIMIT   a length above the limit of its type (framing.md section 9):
 *                close
 */
mdvr_rc_t mdvr_media_next(mdvr_media_parser_t *parser, const uint8_t **pos,
    const uint8_t *last, mdvr_media_msg_t *msg);

/*
 * To be called when [*pos, last) is not empty and the peer has been silent
 * for MDVR_FRAME_IDLE_MS: a registration whose length counts the '#' is
 * complete although one byte seems to be missing.  As mdvr_frame_idle().
 */
mdvr_rc_t mdvr_media_idle(mdvr_media_parser_t *parser, const uint8_t **pos,
    const uint8_t *last, mdvr_media_msg_t *msg);

/* The limit for a type's payload. */
uint32_t mdvr_media_limit(const mdvr_media_limits_t *limits, unsigned type);

/*
 * Header alone: for callers that receive big payloads in their final place.
 * MDVR_OK, MDVR_AGAIN (fewer than 8 bytes), MDVR_E_SYNTAX (not plausible),
 * MDVR_E_LIMIT (known type, length too large).
 */
mdvr_rc_t mdvr_media_header(const uint8_t *p, const uint8_t *last,
    const mdvr_media_limits_t *limits, unsigned *type, uint32_t *length);

/* ---- payload readers: MDVR_E_SYNTAX when too short --------------------- */

/* reasons of 0x6000 */
#define MDVR_MEDIA_NO_CENTER     0x1001
#define MDVR_MEDIA_BAD_SERIAL    0x1002
#define MDVR_MEDIA_NO_FILE       0x1003
#define MDVR_MEDIA_BUSY          0x1004

typedef struct {
    uint32_t  result;               /* 1 success */
    uint32_t  reason;
} mdvr_media_result_t;              /* 0x6000, 0x6602 */

typedef struct {
    uint64_t    stamp_us;
    mdvr_str_t  data;               /* Annex B access unit */
    bool        key;                /* by message type; trust the NAL units */
} mdvr_media_video_t;               /* 0x6011, 0x6012, 0x6001 */

typedef struct {
    uint64_t    stamp_us;
    mdvr_str_t  data;               /* coded audio without header, padding */
    bool        voice_header;       /* 00 01 LL 00 was there */
    size_t      padding;
} mdvr_media_audio_t;               /* 0x6013, 0x6411, 0x6402, 0x6001 */

typedef struct {
    uint32_t  audio_type;           /* 0 unknown */
    uint32_t  sample_rate;          /* 0 unless plausible */
    uint32_t  channels;
    uint32_t  bits;
} mdvr_media_params_t;              /* 0x6015 */

typedef struct {
    uint32_t  start_s;
    uint64_t  start_us;
    uint32_t  end_s;
    uint64_t  end_us;
} mdvr_media_report_t;              /* 0x6403, 0x6003 */

typedef struct {
    uint32_t    offset;
    mdvr_str_t  data;               /* empty: end of file */
} mdvr_media_block_t;               /* 0x6102, 0x6201, 0x6301, 0x6302 */

typedef struct {
    uint8_t     start[6];           /* mdvr_time_parse_bcd6() */
    uint32_t    duration_s;
    uint32_t    size;
    uint8_t     file_type;          /* 0 normal, 1 alarm */
    uint8_t     channel;            /* 0-based */
    mdvr_str_t  name;               /* without the zero padding */
    bool        last;               /* 272 zero bytes: end of the list */
} mdvr_media_record_t;              /* 0x6101 */

typedef struct {
    uint32_t  kind;                 /* 0x6001 bytes, 0x6002 seconds */
    uint32_t  start;
    uint32_t  end;
} mdvr_media_reposition_t;          /* 0x6103 */

typedef struct {
    uint32_t  audio_type;
    uint32_t  frame_length;
} mdvr_media_talk_t;                /* 0x6401 */

typedef struct {
    uint32_t  start;
    uint32_t  channel;
    uint32_t  stream;
} mdvr_media_switch_t;              /* 0x6601 */

mdvr_rc_t mdvr_media_read_result(mdvr_str_t p, mdvr_media_result_t *out);
mdvr_rc_t mdvr_media_read_video(unsigned type, mdvr_str_t p,
    mdvr_media_video_t *out);
/* 0x6001 whose inner type is audio: MDVR_E_UNSUPPORTED from read_video() */
mdvr_rc_t mdvr_media_read_audio(unsigned type, mdvr_str_t p,
    mdvr_media_audio_t *out);
mdvr_rc_t mdvr_media_read_switch(mdvr_str_t p, uint32_t *on);    /* 0x6004 */
mdvr_rc_t mdvr_media_read_params(mdvr_str_t p, mdvr_media_params_t *out);
mdvr_rc_t mdvr_media_read_report(mdvr_str_t p, mdvr_media_report_t *out);
mdvr_rc_t mdvr_media_read_block(mdvr_str_t p, mdvr_media_block_t *out);
unsigned mdvr_media_record_count(mdvr_str_t p);
mdvr_rc_t mdvr_media_read_record(mdvr_str_t p, unsigned i,
    mdvr_media_record_t *out);
mdvr_rc_t mdvr_media_read_reposition(mdvr_str_t p,
    mdvr_media_reposition_t *out);
mdvr_rc_t mdvr_media_read_talk(mdvr_str_t p, mdvr_media_talk_t *out);
mdvr_rc_t mdvr_media_read_checksum(mdvr_str_t p, uint16_t *result,
    uint16_t *error);                                           /* 0x6501 */
mdvr_rc_t mdvr_media_read_video_switch(mdvr_str_t p,
    mdvr_media_switch_t *out);

/* ---- writers: whole messages, appended --------------------------------- */

void mdvr_media_write(mdvr_buf_t *b, unsigned type, mdvr_str_t payload);
void mdvr_media_write_header(mdvr_buf_t *b, unsigned type, uint32_t length);
void mdvr_media_write_result(mdvr_buf_t *b, uint32_t result,
    uint32_t reason);
void mdvr_media_write_legacy_result(mdvr_buf_t *b, uint16_t number,
    uint32_t second_of_day, uint32_t result, uint32_t reason);
void mdvr_media_write_empty(mdvr_buf_t *b, unsigned type);
                    /* 0x6002, 0x6005, 0x6105, 0x6404 */
void mdvr_media_write_audio_switch(mdvr_buf_t *b, bool on);
void mdvr_media_write_report(mdvr_buf_t *b, unsigned type, uint64_t start_us,
    uint64_t end_us);
void mdvr_media_write_reposition(mdvr_buf_t *b, uint32_t kind,
    uint32_t start, uint32_t end);
void mdvr_media_write_file_report(mdvr_buf_t *b);
void mdvr_media_write_talk(mdvr_buf_t *b, uint32_t audio_type,
    uint16_t frame_length);
void mdvr_media_write_checksum(mdvr_buf_t *b, uint16_t result,
    uint16_t error);
void mdvr_media_write_video_switch(mdvr_buf_t *b, bool start,
    uint32_t channel, uint32_t stream);
void mdvr_media_write_video_answer(mdvr_buf_t *b, uint32_t result,
    uint16_t reason);
void mdvr_media_write_params(mdvr_buf_t *b, uint32_t audio_type,
    uint32_t sample_rate, uint32_t bits);
void mdvr_media_write_video(mdvr_buf_t *b, bool key, uint64_t stamp_us,
    mdvr_str_t annexb);
/* `type` 0x6013, 0x6411 or 0x6402; `padding` zero bytes behind the data */
void mdvr_media_write_audio(mdvr_buf_t *b, unsigned type, uint64_t stamp_us,
    mdvr_str_t coded, bool voice_header, size_t padding);
/* an empty `data` ends the file */
void mdvr_media_write_block(mdvr_buf_t *b, unsigned type, uint32_t offset,
    mdvr_str_t data);
void mdvr_media_write_record(mdvr_buf_t *b, const mdvr_media_record_t *r);

/* ---- audio types (V101 field 10, 0x6015, 0x6401) ------------------------ */

typedef struct {
    int          type;              /* 1..11 */
    const char  *name;              /* "g726le-40" */
    const char  *codec;             /* libavcodec decoder: "g726le" */
    unsigned     bits;              /* per sample */
    unsigned     frame_bytes;       /* per 320 samples */
} mdvr_audio_type_t;

/* NULL for types that are in no table: drop the audio, keep the video */
const mdvr_audio_type_t *mdvr_audio_type(int type);

/* May these two kinds (mdvr_session_e) of one device run together?  False
 * means that the newer one ends the older (media.md section 9). */
bool mdvr_session_together(int a, int b);

#endif /* MDVR_DC_MEDIA_H */
