/*
 * How the segment looks inside.  For the files of bus/ only.
 *
 *   0                     header            one page
 *   processes_offset      processes         MDVR_BUS_PROCESSES entries
 *   slots_offset          slots             `streams` entries
 *   rings_offset          per slot: MEDIA ring, AUX ring; sparse
 *
 * Bytes beyond the end of the file carry kernel locks (F_OFD_SETLK):
 * MDVR_BUS_LOCK_CREATE while somebody creates the segment, and
 * MDVR_BUS_LOCK_PROCESS + n as long as process n lives.
 *
 * What is plain is written under the mutex, or by the slot's one writer under
 * a sequence counter; everything else is atomic.  Sequentially consistent
 * throughout: a wake-up that must not be missed is worth more than a few
 * nanoseconds.
 */

#ifndef MDVR_BUS_LAYOUT_H
#define MDVR_BUS_LAYOUT_H

#include <stdatomic.h>
#include <pthread.h>

#include "bus/mdvr_bus.h"


#define MDVR_BUS_MAGIC          UINT64_C(0x315355425256444d)    /* MDVRBUS1 */
#define MDVR_BUS_LAYOUT         5       /* change it with this file */

#define MDVR_BUS_LOCK_CREATE    (INT64_C(1) << 60)
#define MDVR_BUS_LOCK_PROCESS   (MDVR_BUS_LOCK_CREATE + 1)

#define MDVR_BUS_PATH_MAX       512
#define MDVR_BUS_LEASES         64
#define MDVR_BUS_KEYS           16      /* key frames remembered per ring */
#define MDVR_BUS_NO_KEY         UINT64_MAX
#define MDVR_BUS_F_PAD          0x8000  /* rest of the ring before it wraps */

#define mdvr_bus_words          (MDVR_BUS_PROCESSES / 64)


typedef struct {
    uint64_t                 magic;
    uint32_t                 layout;
    uint32_t                 streams;
    uint64_t                 ring_size;
    uint64_t                 aux_size;
    uint64_t                 processes_offset;
    uint64_t                 slots_offset;
    uint64_t                 rings_offset;
    uint64_t                 total;
    pthread_mutex_t          mutex;
    char                     wake_dir[MDVR_BUS_PATH_MAX];
    char                     hls_dir[MDVR_BUS_PATH_MAX];
    _Atomic int64_t          swept_ms;
    _Atomic uint32_t         encoder;       /* process + 1 */
    _Atomic uint32_t         h264;          /* process + 1 */
    _Atomic uint32_t         h264_max;
} mdvr_bus_header_t;


typedef struct {
    _Atomic uint32_t         generation;    /* +1 per claim; FIFO is newer */
    _Atomic uint32_t         claimed;
    _Atomic uint32_t         pending;
    int32_t                  pid;           /* for people */
    char                     what[16];
    _Atomic uint64_t         dirty[MDVR_BUS_DIRTY_WORDS];
} mdvr_bus_process_t;


typedef struct {
    _Atomic uint64_t         reserved;      /* never goes back */
    _Atomic uint64_t         head;          /* end of the newest record */
    _Atomic uint64_t         key;           /* newest key frame, or NO_KEY */
    _Atomic uint64_t         last;          /* newest record */
    _Atomic uint64_t         keys[MDVR_BUS_KEYS];
    uint32_t                 next_key;      /* writer's */
    uint32_t                 pad;
    uint64_t                 seq;
    uint64_t                 start;         /* writer's open reservation */
    uint64_t                 room;
} mdvr_bus_ring_t;


typedef struct {
    uint64_t                 who;
    int64_t                  asked_ms;
    int64_t                  until_ms;
} mdvr_bus_lease_t;


typedef struct {
    _Atomic uint32_t         generation;
    _Atomic uint32_t         state;
    _Atomic uint32_t         end;
    _Atomic uint32_t         ticket;        /* +1 per owner */
    _Atomic uint32_t         owner;         /* process + 1, 0: nobody */
    _Atomic uint32_t         busy;          /* owner writes a record */
    _Atomic uint32_t         wants;

    /* the key: fixed from `starting` to `free` */

    uint32_t                 kind;
    uint8_t                  tenant_id[16];
    uint8_t                  device_id[16];
    char                     serial[24];
    char                     session[MDVR_BUS_SESSION_MAX + 1];
    uint8_t                  channel;
    uint8_t                  stream;
    char                     note[MDVR_BUS_NOTE_MAX];

    /* under the mutex */

    int64_t                  created_ms;
    int64_t                  deadline_ms;
    int64_t                  restart_ms;    /* 0: none is due */
    uint32_t                 deadline_end;  /* why, when it passes */
    int64_t                  ended_ms;
    int64_t                  left_ms;       /* a viewer left, 0: none did */
    uint32_t                 mic;           /* ticket of the microphone */
    uint32_t                 viewers;       /* sum of viewer[] */
    uint16_t                 watch[MDVR_BUS_PROCESSES];
    uint16_t                 viewer[MDVR_BUS_PROCESSES];
    mdvr_bus_lease_t         lease[MDVR_BUS_LEASES];

    /* anybody */

    _Atomic uint64_t         watched[mdvr_bus_words];   /* bit: watch[] > 0 */
    _Atomic int64_t          hls_until_ms;
    _Atomic int64_t          audio_until_ms;
    _Atomic int64_t          aac_until_ms;

    /* the owner's */

    _Atomic int64_t          live_ms;
    _Atomic int64_t          last_frame_ms;
    _Atomic uint64_t         frames;
    _Atomic uint64_t         key_frames;
    _Atomic uint64_t         bytes;
    _Atomic uint64_t         dropped;
    _Atomic uint64_t         discontinuities;
    _Atomic uint32_t         restarts;

    mdvr_bus_ring_t          ring[2];

    _Atomic uint32_t         init_lock;     /* odd: being written */
    uint32_t                 init_version;
    uint32_t                 init_len;
    uint32_t                 timescale;
    uint16_t                 width;
    uint16_t                 height;
    uint8_t                  codec;
    char                     codecs[64];
    uint8_t                  init[MDVR_BUS_INIT_MAX];
    uint32_t                 av_len;
    uint8_t                  av[MDVR_BUS_INIT_MAX];

    _Atomic uint32_t         hls_lock;
    mdvr_bus_hls_t           hls;
} mdvr_bus_slot_t;


struct mdvr_bus_s {
    int                      fd;            /* segment: locks, punching */
    int                      fifo;
    uint32_t                 process;
    mdvr_bus_header_t       *header;
    mdvr_bus_process_t      *processes;
    mdvr_bus_slot_t         *slots;
    uint8_t                 *rings;

    struct {
        int                  fd;            /* others' FIFOs, opened lazily */
        uint32_t             generation;
    } peer[MDVR_BUS_PROCESSES];
};


static inline bool
mdvr_bus_running(const mdvr_bus_slot_t *slot)
{
    return slot->state == MDVR_BUS_STARTING || slot->state == MDVR_BUS_LIVE;
}


void mdvr_bus_lock(mdvr_bus_t *bus);
void mdvr_bus_unlock(mdvr_bus_t *bus);

/* One process, or all that watch the slot and its owner. */
void mdvr_bus_wake_process(mdvr_bus_t *bus, uint32_t process, uint32_t slot);
void mdvr_bus_wake(mdvr_bus_t *bus, uint32_t index);

/* NULL when the slot is free or another session's by now. */
mdvr_bus_slot_t *mdvr_bus_slot(const mdvr_bus_t *bus, mdvr_bus_ref_t ref);

/* Whether process n holds its lock; true for this process. */
bool mdvr_bus_alive(const mdvr_bus_t *bus, uint32_t process);

/* Under the mutex: takes back what process n held in all slots. */
void mdvr_bus_forget_process(mdvr_bus_t *bus, uint32_t process,
    int64_t now_ms);

/* The door of slot states, under the mutex (rings: starting -> live only). */
bool mdvr_bus_move(mdvr_bus_slot_t *slot, mdvr_bus_state_e from,
    mdvr_bus_state_e to);

mdvr_bus_ref_t mdvr_bus_reference(const mdvr_bus_t *bus,
    const mdvr_bus_slot_t *slot);

/* Under the mutex: what is known about a session. */
void mdvr_bus_describe(mdvr_bus_t *bus, const mdvr_bus_slot_t *slot,
    int64_t now_ms, mdvr_bus_info_t *info);

/* Under the mutex; false when it is not running.  The caller wakes. */
bool mdvr_bus_end_slot(mdvr_bus_slot_t *slot, mdvr_bus_end_e why,
    int64_t now_ms);

/* Viewers now; *since is when the last one left, 0 while there are some. */
uint32_t mdvr_bus_count_viewers(const mdvr_bus_slot_t *slot, int64_t now_ms,
    int64_t *since);

/* Under the mutex, when a slot is given to a session / becomes free. */
void mdvr_bus_rings_reset(mdvr_bus_t *bus, uint32_t index);
void mdvr_bus_rings_release(mdvr_bus_t *bus, uint32_t index);

uint8_t *mdvr_bus_ring_data(const mdvr_bus_t *bus, uint32_t index,
    unsigned ring, uint64_t *size);

#endif
