/*
 * The frame bus: media sessions of one instance and the frames in them, shared
 * by every process that carries media (nginx workers, mdvr-rtc, mdvr-worker).
 *
 * One named segment, <dir>/mdvr-<name>, holds
 *
 *   header      magic, geometry, a robust mutex for the slot directory
 *   processes   who is attached: pid, a pending flag, one bit per slot that
 *               has news for it; its wake-up FIFO is <wake dir>/<number>
 *   slots       one per media session: key, state, init segment, HLS table
 *   rings       two per slot: MEDIA (written by whoever owns the session's
 *               connection) and AUX (written by the audio encoder, or for
 *               talk by whoever has the browser's microphone)
 *
 * Rules that everything here keeps:
 *
 *   - A slot is the session.  Its state moves through one function:
 *     free -> starting -> live -> ending -> free, and live -> starting when
 *     the device's connection broke or the stream is being restarted.
 *   - A ring has one writer, which waits for nobody.  A reader that was
 *     overrun skips to the newest key frame.
 *   - What a dead process held (slots, viewers, its number) is taken back by
 *     mdvr_bus_sweep(): each process keeps a kernel lock (F_OFD_SETLK) on one
 *     byte of the segment, which the kernel drops with the process.  That is
 *     right across pid reuse and across pid namespaces.
 *   - Wake-ups: docs/decisions/0001-wake-fifo.md.
 *
 * Times named now_ms are CLOCK_MONOTONIC milliseconds (ngx_current_msec has
 * the same base); *_us of records: see mdvr_bus_rec_t.
 *
 * An attachment belongs to one thread; a process may have several.
 *
 * Return codes are mdvr_rc_t; functions without a comment on errors cannot
 * fail.  The only allocation is mdvr_bus_t itself.
 */

#ifndef MDVR_BUS_H
#define MDVR_BUS_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <sys/types.h>

#include "mdvr/basics/rc.h"


#define MDVR_BUS_PROCESSES      128
#define MDVR_BUS_STREAMS_MAX    1024
#define MDVR_BUS_SESSION_MAX    64      /* wire session id, framing.md 9 */
#define MDVR_BUS_INIT_MAX       4096
#define MDVR_BUS_NOTE_MAX       2048
#define MDVR_BUS_DIRTY_WORDS    (MDVR_BUS_STREAMS_MAX / 64)


typedef struct mdvr_bus_s  mdvr_bus_t;      /* one process's attachment */


/* A slot at a time: stays harmless when the slot was given to another. */

typedef struct {
    uint32_t    index;
    uint32_t    generation;                 /* 0: refers to nothing */
} mdvr_bus_ref_t;


typedef enum {
    MDVR_BUS_FREE = 0,
    MDVR_BUS_STARTING,      /* asked for, no picture yet (again)       */
    MDVR_BUS_LIVE,          /* the ring has a key frame and a writer   */
    MDVR_BUS_ENDING         /* over; readers still learn the reason    */
} mdvr_bus_state_e;


/* what a session carries; decides which registration may bind to it */

typedef enum {
    MDVR_BUS_KIND_LIVE = 0,     /* V102, C508  */
    MDVR_BUS_KIND_PLAYBACK,     /* fed by the worker; viewers as for LIVE */
    MDVR_BUS_KIND_FILE,         /* V103, C702  */
    MDVR_BUS_KIND_TALK,         /* V105, C550, C551 */
    MDVR_BUS_KIND_UPGRADE,      /* V106, C152  */
    MDVR_BUS_KIND_SNAPSHOT,     /* V107, C510  */
    MDVR_BUS_KIND_SEARCH,       /* V108, C701  */
    MDVR_BUS_KIND_CONFIG,       /* V109, C520, C521 */
    MDVR_BUS_KIND_TRANSPARENT,  /* V110 */
    MDVR_BUS_KIND_PUSH,         /* V111, C706  */
    MDVR_BUS_KIND_FETCH,        /* V112, V141  */
    MDVR_BUS_KIND_H264          /* an H.265 session's pictures as H.264, made by
                                   the worker; viewers as for LIVE */
} mdvr_bus_kind_e;


/*
 * Why a session ended.  The name is public: it is the WebSocket close reason
 * and the `reason` of events; the text is for people.
 */

#define MDVR_BUS_END_LIST(X)                                                  \
    X(NONE,         "none",           "not ended")                           \
    X(STOPPED,      "stopped",        "stopped by request")                  \
    X(NO_VIEWERS,   "no_viewers",     "the last viewer left")                \
    X(OFFLINE,      "device_offline", "the device is not connected")         \
    X(REFUSED,      "device_refused", "the device refused the command")      \
    X(NO_MEDIA,     "no_media",       "the device did not open a media "      \
                                      "connection in time")                  \
    X(STALLED,      "stalled",        "the device delivers nothing")         \
    X(DISCONNECTED, "disconnected",   "the device closed the connection "     \
                                      "and did not come back")               \
    X(MALFORMED,    "malformed",      "the device sent malformed media")     \
    X(UNSUPPORTED,  "unsupported",    "the device sends a codec or format "   \
                                      "that is not supported")               \
    X(HUNG_UP,      "hung_up",        "the person in the vehicle hung up")    \
    X(REPLACED,     "replaced",       "another session took its place")      \
    X(COMPLETE,     "complete",       "everything was delivered")            \
    X(FAILED,       "failed",         "could not be carried out")            \
    X(SHUTDOWN,     "shutdown",       "the server is shutting down")

typedef enum {
#define MDVR_BUS_END_ENUM(id, name, text)  MDVR_BUS_END_##id,
    MDVR_BUS_END_LIST(MDVR_BUS_END_ENUM)
#undef MDVR_BUS_END_ENUM
    MDVR_BUS_END_MAX
} mdvr_bus_end_e;

const char *mdvr_bus_end_name(mdvr_bus_end_e end);
const char *mdvr_bus_end_text(mdvr_bus_end_e end);


/* --- the segment and this process ------------------------------------- */

typedef struct {
    const char  *dir;           /* "/dev/shm" */
    const char  *name;          /* instance name, [A-Za-z0-9_-]{1,48} */
    const char  *wake_dir;      /* absolute, under the state directory */
    uint32_t     streams;       /* slots, 1..MDVR_BUS_STREAMS_MAX */
    size_t       ring_size;     /* MEDIA ring, 64 KiB..1 GiB, rounded up to a
                                   page; AUX is 1/16 of it, at least 64 KiB */
    uid_t        uid;           /* owner of the files when run as root, or -1 */
    gid_t        gid;
} mdvr_bus_conf_t;

/*
 * Makes the segment, <dir>/mdvr-<name>.hls/ and the wake directory, or finds
 * them.  nginx's master calls it before it forks (init_module), so the files
 * belong to the worker user although the master is root.  An existing
 * segment of other geometry is replaced when nobody is attached to it, and
 * kept as it is otherwise (then MDVR_OK, with a sentence in `err`).
 *
 * MDVR_E_UNAVAILABLE with a sentence in `err` (errno is kept).
 */
mdvr_rc_t mdvr_bus_create(const mdvr_bus_conf_t *conf, char *err, size_t len);

/*
 * Attaches this process: maps the segment, claims a process number, makes
 * the FIFO.  To be called in the process that will use it, never before a
 * fork.  `what` is a short name for people ("nginx", "rtc", "worker").
 */
mdvr_rc_t mdvr_bus_attach(mdvr_bus_t **bus, const char *dir, const char *name,
    const char *what, char *err, size_t len);

/* Gives back the number, viewers and slots; closes the FIFO; unmaps. */
void mdvr_bus_detach(mdvr_bus_t *bus);

/* Poll this for reading; level or edge triggered, both are right. */
int mdvr_bus_fd(const mdvr_bus_t *bus);

/*
 * To be called when mdvr_bus_fd() is readable, before looking at any ring:
 * empties the FIFO and moves the slots with news into `dirty` (bit i of word
 * i/64), for which this process has a watch or is the owner.  Returns the
 * number of such slots.
 */
unsigned mdvr_bus_woken(mdvr_bus_t *bus, uint64_t dirty[MDVR_BUS_DIRTY_WORDS]);

uint32_t mdvr_bus_streams(const mdvr_bus_t *bus);
uint32_t mdvr_bus_process(const mdvr_bus_t *bus);       /* own number */
const char *mdvr_bus_hls_dir(const mdvr_bus_t *bus);
int64_t mdvr_bus_clock_ms(void);


/* --- sessions ----------------------------------------------------------- */

typedef struct {
    mdvr_bus_kind_e   kind;
    uint8_t           tenant_id[16];
    uint8_t           device_id[16];
    const char       *serial;               /* 1..20 bytes, as on the wire */
    uint8_t           channel;              /* from 1, as in the API; the wire
                                               has channel - 1.  0: none */
    uint8_t           stream;               /* 0 main, 1 sub */
    int64_t           deadline_ms;          /* the session ends with NO_MEDIA
                                               unless media came by then */
    const char       *note;                 /* what the creator needs later,
                                               at most MDVR_BUS_NOTE_MAX - 1
                                               bytes, or NULL */
} mdvr_bus_start_t;

/* a copy: may be kept, is not kept up to date */

typedef struct {
    mdvr_bus_ref_t    ref;
    mdvr_bus_kind_e   kind;
    mdvr_bus_state_e  state;
    mdvr_bus_end_e    end;
    uint8_t           tenant_id[16];
    uint8_t           device_id[16];
    char              serial[24];
    char              session[MDVR_BUS_SESSION_MAX + 1];  /* wire session id */
    uint8_t           channel;
    uint8_t           stream;
    uint8_t           codec;                /* mdvr/media/nal.h; 0 unknown */
    bool              connected;            /* a media connection is bound */
    uint16_t          width;
    uint16_t          height;
    char              codecs[64];           /* RFC 6381, "avc1.42c014" */
    uint32_t          init_version;         /* 0: no init segment yet */
    uint32_t          restarts;
    uint32_t          viewers;
    int64_t           created_ms;
    int64_t           deadline_ms;
    int64_t           live_ms;              /* first picture, 0: none yet */
    int64_t           last_frame_ms;
    bool              viewed;               /* had a viewer at some time */
    int64_t           idle_since_ms;        /* when the last viewer left, or
                                               the session was made; 0: there
                                               are viewers */
    uint64_t          frames;
    uint64_t          key_frames;
    uint64_t          bytes;
    uint64_t          dropped;              /* frames not put into the ring */
    uint64_t          discontinuities;
} mdvr_bus_info_t;

/*
 * Finds the running (starting or live) session of a kind, device, channel
 * and stream, or makes one: `starting`, with an unpredictable wire session id
 * of eight digits.  *created tells which; only its creator sends C508.
 * Sessions of the kinds other than LIVE and PLAYBACK are never shared.
 *
 * MDVR_E_BUSY when every slot is taken.  MDVR_E_RANGE when `req` is not as
 * described above.
 */
mdvr_rc_t mdvr_bus_start(mdvr_bus_t *bus, const mdvr_bus_start_t *req,
    int64_t now_ms, mdvr_bus_ref_t *ref, bool *created);

/* MDVR_E_NOT_FOUND unless a session that is not yet free matches. */
mdvr_rc_t mdvr_bus_find_session(mdvr_bus_t *bus, const char *session,
    size_t len, mdvr_bus_ref_t *ref);
mdvr_rc_t mdvr_bus_find_key(mdvr_bus_t *bus, mdvr_bus_kind_e kind,
    const uint8_t device_id[16], uint8_t channel, uint8_t stream,
    mdvr_bus_ref_t *ref);

/* The session in slot `index`, for lists and metrics; NOT_FOUND if free. */
mdvr_rc_t mdvr_bus_at(mdvr_bus_t *bus, uint32_t index, mdvr_bus_ref_t *ref);

/* A consistent copy.  MDVR_E_NOT_FOUND when `ref` is gone. */
mdvr_rc_t mdvr_bus_info(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    mdvr_bus_info_t *info);

/* The creator's note, 0-terminated. */
mdvr_rc_t mdvr_bus_note(mdvr_bus_t *bus, mdvr_bus_ref_t ref, char *buf,
    size_t len);

/* Replaces it.  MDVR_E_NO_SPACE: longer than MDVR_BUS_NOTE_MAX - 1. */
mdvr_rc_t mdvr_bus_set_note(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    const char *note);

/*
 * Ends a session for a reason; everybody concerned is woken; the first reason
 * stays.  The owner of its media connection then closes that.  Does not
 * send C508 0: the media front does when it is the owner, otherwise the
 * caller.  MDVR_E_NOT_FOUND when it is gone or was ending already.
 */
mdvr_rc_t mdvr_bus_end(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    mdvr_bus_end_e why);

/* Moves the deadline of a starting session, e.g. after the device's V100. */
mdvr_rc_t mdvr_bus_deadline(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    int64_t deadline_ms);

/*
 * Housekeeping, to be called about once a second by each process; costs a
 * glance at each slot and does nothing when another process is at it.
 * Passed deadlines end their sessions; ended sessions become free after
 * MDVR_BUS_LINGER_MS and their ring's pages go back to the system; numbers,
 * viewers and connections of dead processes are taken back.
 *
 * `due` is called (outside the mutex) for each session without an owner that
 * this call ended (info->state is ENDING: send the device its stop command),
 * or that lost its connection and should be started again (STARTING: send it
 * its start command; info->restarts counts it).  Each is reported once, to
 * whoever sweeps: a process that cannot talk to devices does not.
 */
#define MDVR_BUS_LINGER_MS  5000
#define MDVR_BUS_RESTART_MS 5000    /* after an owner died */
#define MDVR_BUS_RETURN_MS  30000   /* a device may come back */

typedef void (*mdvr_bus_due_pt)(void *data, const mdvr_bus_info_t *info);

void mdvr_bus_sweep(mdvr_bus_t *bus, int64_t now_ms, mdvr_bus_due_pt due,
    void *data);


/* --- the writing side ------------------------------------------------------ */

enum {
    MDVR_BUS_RING_MEDIA = 0,
    MDVR_BUS_RING_AUX
};

#define MDVR_BUS_F_KEY          0x0001  /* decodable without predecessors */
#define MDVR_BUS_F_DISCONT      0x0002  /* first after a jump of the device's
                                           clock, a loss or a restart */
#define MDVR_BUS_F_AUDIO        0x0004
#define MDVR_BUS_F_INIT         0x0008  /* init segment is a new one */

/*
 * One access unit.  The payload is a complete one-frame fragment (moof and
 * mdat); from hdr_len on it is the access unit, NAL units with 4-byte
 * lengths.  Audio of the device has no fragment: hdr_len is 0 and `codec` is
 * the audio type of media.md 5.
 */
typedef struct {
    uint32_t    size;           /* whole record, multiple of 8 */
    uint32_t    len;            /* payload bytes */
    uint32_t    hdr_len;
    uint16_t    flags;
    uint8_t     codec;
    uint8_t     ring;
    uint32_t    init_version;   /* the init segment that goes with it */
    uint32_t    dur_us;         /* as written in the fragment */
    uint64_t    seq;            /* +1 per record of a ring */
    uint64_t    pts_us;         /* session's own time line: starts at 0, never
                                   jumps back, device's differences */
    uint64_t    device_us;      /* the device's stamp */
    uint64_t    received_us;    /* unix time of the frame's last byte */
} mdvr_bus_rec_t;

/*
 * Makes this process the owner of the media connection of a session.  A
 * living owner is replaced (its next mdvr_bus_put() says NOT_FOUND): a device
 * that re-registers is right.  `ticket` goes into every later call.
 */
mdvr_rc_t mdvr_bus_own(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t *ticket);

/*
 * The connection is gone.  The session is `starting` again and waits for
 * another one until deadline_ms, then it ends with `why`.  When the device has
 * not come back by restart_ms (0: never), the sweep reports it once.
 */
void mdvr_bus_disown(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket,
    int64_t deadline_ms, mdvr_bus_end_e why, int64_t restart_ms);

/*
 * What the sweep reported could not be done: it reports it once more at at_ms,
 * unless there is an owner by then, or the session is over.
 */
void mdvr_bus_restart_at(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t at_ms);

/* Whether the ticket is still good and the session not over. */
bool mdvr_bus_owns(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket);

/*
 * Reserves a record with room for `len` payload bytes, to be filled in place
 * at once and then committed (rec->len may be shorter) or cancelled, without
 * going back to the event loop.  `size`, `seq` and `ring` of `rec` are set by
 * the bus.  A commit makes it visible, counts it and wakes whoever watches.
 * The first key frame makes a LIVE or PLAYBACK session `live`, the first
 * record one of any other kind.
 *
 * MDVR_E_NO_SPACE: more than 3/4 of the ring.  MDVR_E_NOT_FOUND: the session
 * is over or this writer was replaced (AUX: ticket 0, not checked).
 */
mdvr_rc_t mdvr_bus_reserve(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    uint32_t ticket, unsigned ring, size_t len, uint8_t **payload);
mdvr_rc_t mdvr_bus_commit(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    unsigned ring, mdvr_bus_rec_t *rec);
void mdvr_bus_cancel(mdvr_bus_t *bus, mdvr_bus_ref_t ref, unsigned ring);

/* reserve, copy, commit */
mdvr_rc_t mdvr_bus_put(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket,
    unsigned ring, mdvr_bus_rec_t *rec, const uint8_t *payload);

/*
 * A new init segment; to be followed by a record with F_INIT.  *version is
 * what its records carry.  Set by the owner only.
 */
typedef struct {
    const uint8_t  *data;
    size_t          len;            /* at most MDVR_BUS_INIT_MAX */
    uint8_t         codec;
    uint16_t        width;
    uint16_t        height;
    const char     *codecs;
    uint32_t        timescale;
    const uint8_t  *av;             /* the same with a track of sound */
    size_t          av_len;         /* 0: none */
} mdvr_bus_init_t;

mdvr_rc_t mdvr_bus_set_init(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    uint32_t ticket, const mdvr_bus_init_t *init, uint32_t *version);

/*
 * What goes past the ring (files): `bytes` so far, shown by mdvr_bus_info();
 * the session is `live` from the first call on.  Watchers are woken.
 */
mdvr_rc_t mdvr_bus_progress(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    uint32_t ticket, uint64_t bytes);

/*
 * Whether somebody waits for what comes: watches, or has HLS parts made.  The
 * owner may let more come together otherwise; the first watch wakes it.
 */
bool mdvr_bus_followed(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t now_ms);

/* adds to the session's counter of frames that were not put into the ring */
void mdvr_bus_dropped(mdvr_bus_t *bus, mdvr_bus_ref_t ref, unsigned n);
void mdvr_bus_restarted(mdvr_bus_t *bus, mdvr_bus_ref_t ref);

/*
 * What viewers asked the owner for since the last call: KEY, an I-frame.  The
 * sound and HLS parts are wanted up to a time.
 */
#define MDVR_BUS_WANT_KEY       0x01

unsigned mdvr_bus_take_wants(mdvr_bus_t *bus, mdvr_bus_ref_t ref);
bool mdvr_bus_hls_wanted(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t now_ms);
bool mdvr_bus_audio_wanted(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    int64_t now_ms);


/* --- the reading side ------------------------------------------------------- */

/*
 * A watch makes mdvr_bus_woken() report the slot in this process; watches
 * count.  A viewer is a watch that keeps the stream running; analysis and
 * statistics only watch.
 */
mdvr_rc_t mdvr_bus_watch(mdvr_bus_t *bus, mdvr_bus_ref_t ref);
void mdvr_bus_unwatch(mdvr_bus_t *bus, mdvr_bus_ref_t ref);
mdvr_rc_t mdvr_bus_viewer_add(mdvr_bus_t *bus, mdvr_bus_ref_t ref);
void mdvr_bus_viewer_del(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t now_ms);

/*
 * A viewer without a connection (HLS): stays until `until_ms` and counts as
 * having left at its last request; `who` is any hash of its session.
 */
mdvr_rc_t mdvr_bus_viewer_lease(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    uint64_t who, int64_t now_ms, int64_t until_ms);

uint32_t mdvr_bus_viewers(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    int64_t now_ms);

/* Asks the owner; `want` bits as above.  The owner limits the rate. */
void mdvr_bus_want(mdvr_bus_t *bus, mdvr_bus_ref_t ref, unsigned want);
void mdvr_bus_want_hls(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t until_ms);
void mdvr_bus_want_audio(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    int64_t until_ms);

/* The current init segment.  MDVR_AGAIN: there is none yet. */
mdvr_rc_t mdvr_bus_get_init(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    uint8_t *buf, size_t cap, size_t *len, uint32_t *version);
mdvr_rc_t mdvr_bus_get_init_av(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    uint8_t *buf, size_t cap, size_t *len, uint32_t *version);


/* --- H.265 as H.264 ------------------------------------------------------- */

/*
 * One process makes H.264 of H.265 for who cannot show that: a session of kind
 * H264 beside the one it is made of, with the same device, channel and stream, the
 * same time line and the device's sound.  It runs while it has viewers.
 */

/* Become that process, for at most `max` at a time; false: a living one exists. */
bool mdvr_bus_h264_claim(mdvr_bus_t *bus, unsigned max);

/*
 * The H264 session of a LIVE or PLAYBACK session; made when there is none.
 * MDVR_E_UNAVAILABLE: nobody would fill it.  MDVR_E_BUSY: as many as may be run.
 * MDVR_E_NOT_FOUND: `source` is gone or ending.
 */
mdvr_rc_t mdvr_bus_h264(mdvr_bus_t *bus, mdvr_bus_ref_t source,
    int64_t now_ms, mdvr_bus_ref_t *ref);

/* What it is made of, from its note. */
bool mdvr_bus_h264_source(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    mdvr_bus_ref_t *source);


/* --- sound as AAC ------------------------------------------------------------ */

/*
 * One process encodes the sound of the sessions for which AAC is wanted: AAC-LC,
 * 16 kHz, mono, frames of 1024, each a fragment of track 2 in the AUX ring
 * on the time line of the MEDIA ring.  It goes on in step with the picture even
 * when the device is silent, so that a player of both never waits.  About
 * once a second a record has F_KEY, for mdvr_bus_reader_back().
 */
#define MDVR_BUS_AAC_RATE   16000
#define MDVR_BUS_AAC_FRAME  1024
#define MDVR_BUS_AAC        200         /* `codec` of such a record */

/* Become the encoder; false: a living one exists.  mdvr_bus_woken() then also
 * reports sessions for which AAC has just been asked. */
bool mdvr_bus_encoder_claim(mdvr_bus_t *bus);

/* Whether there is one. */
bool mdvr_bus_encoder(const mdvr_bus_t *bus);

/* Asks for it (and for the device's sound) up to a time. */
void mdvr_bus_want_aac(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t until_ms);
bool mdvr_bus_aac_wanted(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t now_ms);

/* Up to where (pts) there is AAC; false: there is none. */
bool mdvr_bus_aac_end(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint64_t *end_us);


/* --- the microphone of a talk --------------------------------------------------- */

/*
 * The AUX ring of a TALK session carries what the operator says: records of
 * 16-bit samples, little-endian, 8 kHz, mono, at most MDVR_BUS_MIC_MAX of them.
 * One has the microphone at a time, the newest; there are few records, so that
 * each is written under the mutex.
 */
#define MDVR_BUS_PCM        201         /* `codec` of such a record */
#define MDVR_BUS_MIC_MAX    1600        /* samples */

/* `ticket` goes into every put.  MDVR_E_NOT_FOUND: no TALK that runs. */
mdvr_rc_t mdvr_bus_mic_claim(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    uint32_t *ticket);

/*
 * MDVR_E_NOT_FOUND: the talk is over, or another has the microphone.
 * MDVR_E_RANGE: no samples, or too many.
 */
mdvr_rc_t mdvr_bus_mic_put(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    uint32_t ticket, const int16_t *pcm, size_t samples);

typedef struct {
    mdvr_bus_ref_t  ref;
    uint8_t         ring;
    bool            need_key;       /* skip until a key frame (MEDIA) */
    uint64_t        pos;            /* next record */
    uint64_t        overruns;       /* times this reader was too slow */
    uint64_t        skipped;        /* records it thereby did not see */
    uint64_t        seq;            /* of the next record, if in order */
} mdvr_bus_reader_t;

/*
 * Starts at the newest key frame (MEDIA; when the ring has none: at the next
 * one to come) or at the newest record (AUX).  `live_edge`: only what comes.
 */
mdvr_rc_t mdvr_bus_reader_init(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    unsigned ring, bool live_edge, mdvr_bus_reader_t *reader);

/*
 * Moves a fresh reader back to the oldest key frame that is still there and
 * at most `us` older than the newest record: pre-roll.  False: none is.
 */
bool mdvr_bus_reader_back(mdvr_bus_t *bus, mdvr_bus_reader_t *reader,
    uint64_t us);

/*
 * Looks at the next record without taking it.  *payload points into the
 * ring and may be overwritten at any time: copy, then mdvr_bus_take().
 *
 * MDVR_AGAIN: nothing new.  MDVR_E_NOT_FOUND: the slot is another's now.
 * An overrun is repaired here (MDVR_OK with the newest key frame, `overruns`
 * counted, or MDVR_AGAIN until there is one).
 */
mdvr_rc_t mdvr_bus_peek(mdvr_bus_t *bus, mdvr_bus_reader_t *reader,
    mdvr_bus_rec_t *rec, const uint8_t **payload);

/*
 * Takes the record that peek showed.  MDVR_E_CONFLICT: it was overwritten
 * while it was being copied; throw the copy away and peek again.
 */
mdvr_rc_t mdvr_bus_take(mdvr_bus_t *bus, mdvr_bus_reader_t *reader,
    const mdvr_bus_rec_t *rec);

/* peek, copy, take; MDVR_E_NO_SPACE with rec->len when `cap` is too small */
mdvr_rc_t mdvr_bus_read(mdvr_bus_t *bus, mdvr_bus_reader_t *reader,
    mdvr_bus_rec_t *rec, uint8_t *buf, size_t cap);

/* Jumps to the newest key frame if that lies ahead; false: it does not. */
bool mdvr_bus_skip(mdvr_bus_t *bus, mdvr_bus_reader_t *reader);

/* Bytes between the reader and the newest record. */
uint64_t mdvr_bus_lag(mdvr_bus_t *bus, const mdvr_bus_reader_t *reader);


/* --- HLS: the table of parts and segments ----------------------------------- */

#define MDVR_BUS_HLS_SEGMENTS   16
#define MDVR_BUS_HLS_PARTS      512

typedef struct {
    uint32_t    msn;
    uint16_t    part;           /* number within the segment */
    uint16_t    independent;    /* starts with a key frame */
    uint32_t    offset;         /* in the segment's file */
    uint32_t    size;
    uint32_t    dur_us;
    uint32_t    reserved;
} mdvr_bus_part_t;

typedef struct {
    uint32_t    msn;
    uint32_t    init_version;
    uint16_t    parts;
    uint8_t     closed;         /* no more parts */
    uint8_t     discont;        /* a discontinuity lies before it */
    uint32_t    discont_seq;    /* discontinuities up to its beginning */
    uint32_t    size;
    uint32_t    dur_us;
    uint64_t    pts_us;
    uint64_t    received_us;    /* unix time of its first frame */
} mdvr_bus_segment_t;

typedef struct {
    uint32_t            next_msn;   /* of the next segment to be opened */
    uint32_t            audio;      /* the newest segment has sound */
    uint32_t            part_us;    /* part target */
    uint32_t            segment_us; /* longest segment so far, at least 1 s */
    uint32_t            n_segments; /* in order, oldest first */
    uint32_t            n_parts;
    mdvr_bus_segment_t  segment[MDVR_BUS_HLS_SEGMENTS];
    mdvr_bus_part_t     part[MDVR_BUS_HLS_PARTS];
} mdvr_bus_hls_t;

/*
 * The files are <hls dir>/<slot>-<generation>/seg-<msn>.m4s and
 * init-<version>.mp4 there; a part is a range of its segment's file.
 */

/* Replaces the table (owner) and wakes; copies the table (anybody). */
mdvr_rc_t mdvr_bus_hls_set(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    uint32_t ticket, const mdvr_bus_hls_t *hls);
mdvr_rc_t mdvr_bus_hls_get(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    mdvr_bus_hls_t *hls);

#endif
