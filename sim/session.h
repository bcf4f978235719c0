/*
 * Media sessions of a device: one connection, one kind of data.
 * Source: protocol reference, media.md, flows.md sections 4 to 13.
 */

#ifndef SIM_SESSION_H
#define SIM_SESSION_H

#include "mdvr/media/voice.h"
#include "sim/files.h"
#include "sim/sim.h"

/* what a command asks for; members a kind does not use are zero */
typedef struct {
    mdvr_str_t  session_id;
    mdvr_str_t  host;               /* of the media server */
    mdvr_str_t  port;
    mdvr_str_t  command;            /* "C508", ... */
    mdvr_str_t  number, time;       /* h1 and h5 of the command */
    int         channel;            /* 0-based */
    int         stream;
    int         source;             /* audio */
    mdvr_str_t  path;
    uint64_t    start, end;         /* bytes of a file; end 0: all */
    uint64_t    size;
    mdvr_str_t  md5;
    mdvr_str_t  version;
    int64_t     begin_s, end_s;     /* of a search, device clock */
    int         type;
    bool        to_device;          /* configuration file */
    const char *answer;             /* V100 content, sent when data flows */
} sim_request_t;

typedef enum {
    SIM_SESSION_CONNECTING = 0,
    SIM_SESSION_WAITING,            /* registered, 0x6000 not here yet */
    SIM_SESSION_RUNNING,
    SIM_SESSION_ENDING              /* everything sent, waiting for 0x6105 */
} sim_session_state_e;

struct sim_session_s {
    sim_session_t        *next;
    sim_device_t         *device;
    mdvr_session_e        kind;
    sim_session_state_e   state;
    sim_conn_t            conn;
    mdvr_media_parser_t   parser;
    sim_timer_t           timer;    /* of the state; pace */
    sim_timer_t           trouble;  /* --media-fail */

    char                  session_id[MDVR_SESSION_ID_MAX + 1];
    char                  host[64];
    char                  port[8];
    char                  command[8];
    char                  number[12];
    char                  time[16];
    char                  answer[16];
    int                   channel, stream, source;
    char                  path[MDVR_TEXT_PATH_MAX + 1];

    /* live video, talk */
    const sim_clip_t     *clip;
    uint64_t              next_frame;   /* counted since 1970 */
    bool                  key_only;     /* nothing sent yet, or frames lost */
    bool                  audio;
    mdvr_str_t            sound;
    mdvr_voice_t          ear;          /* decoder of the operator's voice */
    uint64_t              sound_at;
    int64_t               started_us;
    bool                  jumped;

    /* files from the device */
    sim_recording_t       file;
    uint8_t              *data;         /* configuration, list, log */
    uint64_t              offset, end;
    double                budget;

    /* files to the device */
    uint8_t              *received;
    uint64_t              received_len, size;
    char                  md5[33];
    char                  version[32];
    bool                  to_device;

    int64_t               begin_s, end_s;
    int                   type;
};

/* False: cannot be opened (no film, no such file, no address). */
bool sim_session_open(sim_device_t *d, mdvr_session_e kind,
    const sim_request_t *r);

/* Ends sessions of a kind; channel and stream -1: any.  Returns how many. */
unsigned sim_session_end(sim_device_t *d, mdvr_session_e kind, int channel,
    int stream);
void sim_session_end_all(sim_device_t *d);
unsigned sim_session_count(const sim_device_t *d, mdvr_session_e kind);

/* closes and frees one */
void sim_session_free(sim_session_t *s);

/* bytes to the server, counted */
void sim_session_write(sim_session_t *s, const mdvr_buf_t *b);

/* the stamp of a time, in microseconds since this device booted */
uint64_t sim_stamp(sim_session_t *s, int64_t wall_us);

/* ---- voice.c -------------------------------------------------------------------- */

/* what a camera's microphone hears, coded; empty: unknown coding */
mdvr_str_t sim_sound_camera(void);

/* sends the session's next frame of sound as a message of `type` */
void sim_sound_frame(sim_session_t *s, unsigned type, uint64_t stamp);

void sim_voice_start(sim_session_t *s);
void sim_voice_heard(sim_session_t *s, const mdvr_media_audio_t *a);

/* ---- transfer.c: the kinds that move files ------------------------------------- */

bool sim_transfer_prepare(sim_session_t *s);
void sim_transfer_registration(sim_session_t *s, mdvr_media_reg_t *r);
void sim_transfer_run(sim_session_t *s);
void sim_transfer_message(sim_session_t *s, const mdvr_media_msg_t *msg);

/* the device's configuration file, as C521 pulls it */
mdvr_str_t sim_transfer_config(sim_device_t *d, char *out, size_t size);

#endif /* SIM_SESSION_H */
