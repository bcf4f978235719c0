/*
 * What the parts of the simulator share: the options, the counters, a device
 * and its media sessions.
 */

#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "mdvr/dc/media.h"
#include "mdvr/dc/message.h"
#include "mdvr/dc/register.h"
#include "mdvr/dc/write.h"
#include "sim/clip.h"
#include "sim/conn.h"
#include "sim/track.h"

typedef enum { SIM_FIX_VALID, SIM_FIX_VOID, SIM_FIX_NONE, SIM_FIX_ZERO }
    sim_fix_e;
typedef enum { SIM_V101_FULL, SIM_V101_EXTRA, SIM_V101_SHORT } sim_v101_e;
typedef enum { SIM_ANSWER_OK, SIM_ANSWER_FAIL, SIM_ANSWER_NONE }
    sim_answer_e;
typedef enum { SIM_MEDIA_OK, SIM_MEDIA_NEVER, SIM_MEDIA_MID,
               SIM_MEDIA_GARBAGE } sim_media_fail_e;

typedef struct {
    /* where and who */
    char      host[64];
    unsigned  signal_port;
    char      media_host[64];       /* empty: as the command says */
    unsigned  media_port;
    unsigned  devices;
    char      serial[24];           /* of a single device */
    char      serial_format[24];
    unsigned  first;
    char      plate[64];            /* may contain %s: the serial */
    char      imei[32];
    char      firmware[64];
    unsigned  channels;
    uint64_t  seed;

    /* pace */
    double    connect_rate;         /* connections per second */
    double    interval_s;           /* between positions */
    double    rate;                 /* positions per second, all devices */
    unsigned  batch;                /* positions per write with `rate` */
    double    heartbeat_s;
    double    duration_s;           /* 0: until told to stop */
    double    retry_s;              /* after a refusal or a loss */
    double    silence_s;            /* without a byte of the server */

    /* film and sound */
    char      clip_dir[256];
    char      codec[8];             /* "h264", "h265" */
    int       audio_type;
    unsigned  audio_padding;
    bool      audio_header;
    double    talk_hz;              /* what the intercom says, 0: silence */
    unsigned  talk_type;            /* 0x6411 or 0x6402 */
    char      talk_record[256];     /* file for what it hears */
    double    hang_up_s;            /* 0x6404 after so long, 0: never */

    /* drive */
    char      track[256];
    bool      origin_set;
    double    origin_lat, origin_lon;
    double    speed;                /* factor on the drive */

    /* alarms and files */
    double    alarm_every_s;
    char      alarm_kinds[256];     /* "V201,V211", empty: a mixture */
    bool      ignition_events;
    unsigned  recording_s;          /* length of one recorded file */
    double    upload_kbps;          /* kilobytes per second, 0 = no limit */
    bool      exclusive;
    double    call_every_s;         /* V130 */
    bool      v141;

    /* switches of flows.md section 15 */
    mdvr_loc_layout_e  layout;
    unsigned           bus_fields;
    sim_fix_e          fix;
    sim_v101_e         v101;
    bool               hex_numbers;
    bool               alarm_counter;       /* a counter of its own */
    bool               alarm_connection;    /* a connection of its own */
    bool               data_first;          /* do not wait for 0x6000 */
    bool               answer_late;         /* V100 after the connection */
    sim_media_fail_e   media_fail;
    double             media_fail_s;
    bool               eof_size;            /* end of file: offset = size */
    mdvr_plate_e       v103_plate;
    unsigned           snapshot_type;       /* 0x6201 or 0x6102 */
    double             stamp_jump_s;        /* 0: never */
    int                clock_minutes;       /* offset of the device clock */
    int64_t            clock_error_s;       /* and how wrong it is */
    sim_tcp_e          tcp;
    bool               tcp_batch;           /* several messages at once */
    mdvr_text_e        text;
    sim_answer_e       answer;
    char               answer_code[16];
    char               answer_reason[96];
    bool               stop_on_reject;

    /* reports */
    char      stats_json[256];
    double    report_s;             /* a line every so many seconds */
    char      control[256];         /* FIFO with orders */
} sim_options_t;

extern sim_options_t       sim_options;
extern sim_track_t         sim_track;
extern struct sockaddr_in  sim_server;

/* counters; X(name): written to the statistics under this name */
#define SIM_COUNTERS(X)                                                   \
    X(connects) X(connect_failures) X(disconnects) X(registrations)       \
    X(rejections) X(no_answer) X(positions_sent) X(heartbeats_sent)       \
    X(heartbeats_answered) X(not_registered) X(commands) X(answers)       \
    X(alarms_sent) X(alarm_repeats) X(alarms_acknowledged)                \
    X(alarms_given_up) X(media_sessions) X(media_refused) X(media_failed) \
    X(frames_sent) X(frames_lost) X(key_requests) X(audio_frames_sent)    \
    X(audio_frames_received) X(reports_received) X(media_bytes)           \
    X(files_sent) X(files_received) X(file_bytes_received)                \
    X(snapshots_sent) X(searches) X(bytes_sent) X(garbage)

typedef struct {
#define SIM_COUNTER(name)  uint64_t name;
    SIM_COUNTERS(SIM_COUNTER)
#undef SIM_COUNTER
} sim_stats_t;

extern sim_stats_t  sim_stats;

/* one observation of the time between V101 and its answer */
void sim_stats_registered(uint64_t us);
void sim_stats_write(const char *path);
void sim_stats_line(void);

typedef struct sim_device_s   sim_device_t;
typedef struct sim_session_s  sim_session_t;

/* an alarm on its way: repeated until it is acknowledged */
typedef struct sim_alarm_s {
    struct sim_alarm_s  *next;
    sim_device_t        *device;
    char                 keyword[8];
    char                 uid[24];
    char                 number[12];
    uint8_t             *body;
    size_t               len;
    unsigned             tries;
    sim_timer_t          timer;
} sim_alarm_t;

/* an alarm that has started and will end */
typedef struct sim_raised_s {
    struct sim_raised_s  *next;
    sim_device_t         *device;
    char                  keyword[8];
    char                  data[128];
    bool                  file;     /* announce one when it ends */
    int64_t               start_s;
    unsigned              channel;  /* 1-based */
    sim_timer_t           timer;
} sim_raised_t;

typedef enum {
    SIM_IDLE = 0,                   /* waiting to connect */
    SIM_CONNECTING,
    SIM_REGISTERING,                /* V101 sent */
    SIM_ONLINE,
    SIM_STOPPED                     /* refused, does not come again */
} sim_state_e;

struct sim_device_s {
    unsigned       index;
    char           serial[MDVR_SERIAL_MAX + 1];
    char           plate[64];
    uint64_t       random;
    sim_state_e    state;

    sim_conn_t     conn;
    mdvr_frame_t   frame;
    sim_conn_t     alarm_conn;
    mdvr_frame_t   alarm_frame;

    unsigned       number;
    unsigned       alarm_number;
    unsigned       power_ons, connections;
    int64_t        boot_us;         /* wall clock of stamp zero */
    uint64_t       v101_us;

    sim_timer_t    life;            /* connect, register, silence */
    sim_timer_t    position;
    sim_timer_t    heartbeat;
    sim_timer_t    alarm_timer;
    sim_timer_t    call_timer;
    sim_timer_t    upgrade_timer;
    uint64_t       moved_us;        /* when the drive was moved last */
    uint64_t       sent_us;         /* last V114 or V109 */

    sim_drive_t    drive;
    bool           ignition;        /* as last reported */
    unsigned       inputs;          /* digital inputs that are active */
    bool           late;            /* mark positions as late uploads */

    bool           by_time, by_distance;
    double         interval_s, distance_m, sent_m;

    sim_alarm_t   *alarms;
    sim_raised_t  *raised;
    sim_session_t *sessions;

    uint16_t       motion[8][9];
    uint8_t        motion_on[8], motion_level[8];
    int            picture[5];
    uint8_t        params[1024];    /* C517 */
    size_t         params_len;
    char           version[32];
    char           fetch_id[32];    /* V141 in progress */
    int            fetch_type;

    uint8_t       *held;            /* --tcp batch */
    size_t         held_len;
    unsigned       held_count;
};

extern sim_device_t  *sim_devices;

/* ---- device.c ---------------------------------------------------------------- */

void sim_device_init(sim_device_t *d, unsigned index);
void sim_device_connect(sim_device_t *d);
void sim_device_lose(sim_device_t *d, bool reset, double again_s);
sim_device_t *sim_device_find(mdvr_str_t serial);

/* the device's own clock, Unix seconds as it believes, and its zone */
int64_t sim_device_time(const sim_device_t *d);

/* "YYMMDD hhmmss" of that clock into 14 bytes */
mdvr_str_t sim_device_stamp(const sim_device_t *d, char out[14]);

/* lets the drive catch up and fills the location group */
void sim_device_location(sim_device_t *d, mdvr_loc_out_t *l);

/* a message on the signaling connection; `number` NULL: the next one */
void sim_device_send(sim_device_t *d, const char *number, const char *keyword,
    const mdvr_buf_t *body);

/* sends one V114 now; several in one write in load mode */
/* asks for a call, or ends it (V130) */
void sim_device_call(sim_device_t *d, bool start);
void sim_device_position(sim_device_t *d, int trigger);
void sim_device_positions(sim_device_t *d, unsigned n);
void sim_device_rearm(sim_device_t *d);

/* ---- command.c --------------------------------------------------------------- */

void sim_command(sim_device_t *d, const mdvr_message_t *m);

/* V100 with `content` to a command of that number and time */
void sim_answer(sim_device_t *d, mdvr_str_t number, mdvr_str_t keyword,
    mdvr_str_t time, const char *content);

/* ---- alarm.c ----------------------------------------------------------------- */

void sim_alarm_start_timer(sim_device_t *d);
void sim_alarm_raise(sim_device_t *d, const char *keyword, const char *data,
    double lasts_s, bool file);
void sim_alarm_end(sim_device_t *d, const char *keyword);
void sim_alarm_file(sim_device_t *d, unsigned channel, int64_t start_s,
    unsigned duration_s, bool picture);
void sim_alarm_fetched(sim_device_t *d, int result);
void sim_alarm_acknowledged(sim_device_t *d, mdvr_str_t keyword,
    mdvr_str_t uid);
void sim_alarm_resend(sim_device_t *d);
void sim_alarm_conn_init(sim_device_t *d);
extern const char *const  sim_alarm_mixture[];

#endif /* SIM_SIM_H */
