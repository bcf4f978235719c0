/*
 * Sessions: the slot directory, its states, who watches and who owns, and the
 * sweep that takes back what the dead held.
 *
 *   free --start--> starting --first picture--> live --end--> ending --> free
 *                      ^  \______________end______^            (5 s)
 *                      +---disown, restart----- live
 */

#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "bus/mdvr_bus_layout.h"


static const struct {
    const char  *name;
    const char  *text;
} ends[] = {
#define MDVR_BUS_END_ROW(id, name, text)  { name, text },
    MDVR_BUS_END_LIST(MDVR_BUS_END_ROW)
#undef MDVR_BUS_END_ROW
};


const char *
mdvr_bus_end_name(mdvr_bus_end_e end)
{
    return ends[(unsigned) end < MDVR_BUS_END_MAX ? end : 0].name;
}


const char *
mdvr_bus_end_text(mdvr_bus_end_e end)
{
    return ends[(unsigned) end < MDVR_BUS_END_MAX ? end : 0].text;
}


mdvr_bus_slot_t *
mdvr_bus_slot(const mdvr_bus_t *bus, mdvr_bus_ref_t ref)
{
    mdvr_bus_slot_t  *slot;

    if (ref.generation == 0 || ref.index >= bus->header->streams) {
        return NULL;
    }

    slot = &bus->slots[ref.index];

    if (slot->generation != ref.generation || slot->state == MDVR_BUS_FREE) {
        return NULL;
    }

    return slot;
}


bool
mdvr_bus_move(mdvr_bus_slot_t *slot, mdvr_bus_state_e from,
    mdvr_bus_state_e to)
{
    uint32_t  was = from;

    static const bool  allowed[4][4] = {
        /*               free   starting live   ending */
        /* free     */ { false, true,    false, false },
        /* starting */ { false, false,   true,  true  },
        /* live     */ { false, true,    false, true  },
        /* ending   */ { true,  false,   false, false }
    };

    return allowed[from][to]
           && atomic_compare_exchange_strong(&slot->state, &was, to);
}


static mdvr_bus_ref_t
reference(const mdvr_bus_t *bus, const mdvr_bus_slot_t *slot)
{
    mdvr_bus_ref_t  ref;

    ref.index = (uint32_t) (slot - bus->slots);
    ref.generation = slot->generation;

    return ref;
}


/* --- finding and starting -------------------------------------------------- */

static bool
shared(uint32_t kind)
{
    return kind == MDVR_BUS_KIND_LIVE || kind == MDVR_BUS_KIND_PLAYBACK
           || kind == MDVR_BUS_KIND_H264;
}


static bool
running(const mdvr_bus_slot_t *slot)
{
    return slot->state == MDVR_BUS_STARTING || slot->state == MDVR_BUS_LIVE;
}


static mdvr_bus_slot_t *
find_key(mdvr_bus_t *bus, uint32_t kind, const uint8_t device_id[16],
    uint8_t channel, uint8_t stream)
{
    mdvr_bus_slot_t  *slot = bus->slots, *end = slot + bus->header->streams;

    for ( ; slot < end; slot++) {
        if (running(slot) && slot->kind == kind && slot->channel == channel
            && slot->stream == stream
            && memcmp(slot->device_id, device_id, 16) == 0)
        {
            return slot;
        }
    }

    return NULL;
}


static mdvr_bus_slot_t *
find_session(mdvr_bus_t *bus, const char *session, size_t len)
{
    mdvr_bus_slot_t  *slot = bus->slots, *end = slot + bus->header->streams;

    if (len == 0 || len > MDVR_BUS_SESSION_MAX) {
        return NULL;
    }

    for ( ; slot < end; slot++) {
        if (slot->state != MDVR_BUS_FREE && strlen(slot->session) == len
            && memcmp(slot->session, session, len) == 0)
        {
            return slot;
        }
    }

    return NULL;
}


/* eight digits, as devices know them from their own centre */

static void
new_session_id(mdvr_bus_t *bus, char *id, size_t len)
{
    uint64_t  n;

    do {
        while (getrandom(&n, sizeof(n), 0) != (ssize_t) sizeof(n)) {
            /* interrupted */
        }

        snprintf(id, len, "%u", (unsigned) (10000000 + n % 90000000));

    } while (find_session(bus, id, strlen(id)) != NULL);
}


static mdvr_bus_slot_t *
find_free(mdvr_bus_t *bus)
{
    mdvr_bus_slot_t  *slot = bus->slots, *end = slot + bus->header->streams;
    mdvr_bus_slot_t  *ending = NULL;

    for ( ; slot < end; slot++) {
        if (slot->state == MDVR_BUS_FREE) {
            return slot;
        }

        if (slot->state == MDVR_BUS_ENDING
            && (ending == NULL || slot->ended_ms < ending->ended_ms))
        {
            ending = slot;
        }
    }

    /* none: the session that ended first has lingered long enough */

    if (ending != NULL
        && mdvr_bus_move(ending, MDVR_BUS_ENDING, MDVR_BUS_FREE))
    {
        mdvr_bus_rings_release(bus, (uint32_t) (ending - bus->slots));
        return ending;
    }

    return NULL;
}


mdvr_rc_t
mdvr_bus_start(mdvr_bus_t *bus, const mdvr_bus_start_t *req, int64_t now_ms,
    mdvr_bus_ref_t *ref, bool *created)
{
    size_t            n;
    uint32_t          generation;
    mdvr_bus_slot_t  *slot;

    n = req->serial ? strlen(req->serial) : 0;

    if (n == 0 || n > 20 || req->stream > 1
        || (unsigned) req->kind > MDVR_BUS_KIND_H264
        || (req->note && strlen(req->note) >= MDVR_BUS_NOTE_MAX))
    {
        return MDVR_E_RANGE;
    }

    *created = false;

    mdvr_bus_lock(bus);

    slot = shared(req->kind) ? find_key(bus, req->kind, req->device_id,
                                        req->channel, req->stream)
                             : NULL;
    if (slot != NULL) {
        *ref = reference(bus, slot);
        mdvr_bus_unlock(bus);
        return MDVR_OK;
    }

    slot = find_free(bus);
    if (slot == NULL) {
        mdvr_bus_unlock(bus);
        return MDVR_E_BUSY;
    }

    generation = slot->generation + 1;

    if (generation == 0) {
        generation = 1;
    }

    slot->generation = generation;
    slot->end = MDVR_BUS_END_NONE;
    slot->ticket++;
    slot->owner = 0;
    slot->busy = 0;
    slot->wants = 0;

    slot->kind = req->kind;
    memcpy(slot->tenant_id, req->tenant_id, 16);
    memcpy(slot->device_id, req->device_id, 16);
    snprintf(slot->serial, sizeof(slot->serial), "%s", req->serial);
    slot->channel = req->channel;
    slot->stream = req->stream;
    snprintf(slot->note, sizeof(slot->note), "%s", req->note ? req->note : "");
    new_session_id(bus, slot->session, sizeof(slot->session));

    slot->created_ms = now_ms;
    slot->deadline_ms = req->deadline_ms;
    slot->deadline_end = MDVR_BUS_END_NO_MEDIA;
    slot->restart_ms = 0;
    slot->ended_ms = 0;
    slot->left_ms = 0;
    slot->mic = 0;
    slot->viewers = 0;
    memset(slot->watch, 0, sizeof(slot->watch));
    memset(slot->viewer, 0, sizeof(slot->viewer));
    memset(slot->lease, 0, sizeof(slot->lease));

    for (unsigned i = 0; i < mdvr_bus_words; i++) {
        slot->watched[i] = 0;
    }

    slot->hls_until_ms = 0;
    slot->audio_until_ms = 0;
    slot->aac_until_ms = 0;
    slot->live_ms = 0;
    slot->last_frame_ms = 0;
    slot->frames = 0;
    slot->key_frames = 0;
    slot->bytes = 0;
    slot->dropped = 0;
    slot->discontinuities = 0;
    slot->restarts = 0;

    slot->init_lock = 0;
    slot->init_version = 0;
    slot->init_len = 0;
    slot->av_len = 0;
    slot->timescale = 0;
    slot->width = 0;
    slot->height = 0;
    slot->codec = 0;
    slot->codecs[0] = '\0';

    slot->hls_lock = 0;
    slot->hls.next_msn = 0;
    slot->hls.audio = 0;
    slot->hls.n_segments = 0;
    slot->hls.n_parts = 0;

    mdvr_bus_rings_reset(bus, (uint32_t) (slot - bus->slots));

    (void) mdvr_bus_move(slot, MDVR_BUS_FREE, MDVR_BUS_STARTING);

    *ref = reference(bus, slot);
    *created = true;

    mdvr_bus_unlock(bus);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_bus_find_session(mdvr_bus_t *bus, const char *session, size_t len,
    mdvr_bus_ref_t *ref)
{
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = find_session(bus, session, len);
    if (slot != NULL) {
        *ref = reference(bus, slot);
    }

    mdvr_bus_unlock(bus);

    return slot ? MDVR_OK : MDVR_E_NOT_FOUND;
}


mdvr_rc_t
mdvr_bus_find_key(mdvr_bus_t *bus, mdvr_bus_kind_e kind,
    const uint8_t device_id[16], uint8_t channel, uint8_t stream,
    mdvr_bus_ref_t *ref)
{
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = find_key(bus, kind, device_id, channel, stream);
    if (slot != NULL) {
        *ref = reference(bus, slot);
    }

    mdvr_bus_unlock(bus);

    return slot ? MDVR_OK : MDVR_E_NOT_FOUND;
}


mdvr_rc_t
mdvr_bus_at(mdvr_bus_t *bus, uint32_t index, mdvr_bus_ref_t *ref)
{
    if (index >= bus->header->streams
        || bus->slots[index].state == MDVR_BUS_FREE)
    {
        return MDVR_E_NOT_FOUND;
    }

    *ref = reference(bus, &bus->slots[index]);

    return MDVR_OK;
}


/* --- what is known about one -------------------------------------------------- */

/* Viewers now; *since is when the last one left, 0 while there are some. */

static uint32_t
count_viewers(const mdvr_bus_slot_t *slot, int64_t now_ms, int64_t *since)
{
    int64_t                  left;
    uint32_t                 n;
    const mdvr_bus_lease_t  *lease;

    n = slot->viewers;
    left = slot->left_ms;

    for (unsigned i = 0; i < MDVR_BUS_LEASES; i++) {
        lease = &slot->lease[i];

        if (lease->until_ms > now_ms) {
            n++;

        } else if (lease->asked_ms > left) {
            left = lease->asked_ms;
        }
    }

    *since = n ? 0 : left ? left : slot->created_ms;

    return n;
}


static void
describe(mdvr_bus_t *bus, const mdvr_bus_slot_t *slot, int64_t now_ms,
    mdvr_bus_info_t *info)
{
    memset(info, 0, sizeof(*info));

    info->ref = reference(bus, slot);
    info->kind = slot->kind;
    info->state = slot->state;
    info->end = slot->end;
    memcpy(info->tenant_id, slot->tenant_id, 16);
    memcpy(info->device_id, slot->device_id, 16);
    memcpy(info->serial, slot->serial, sizeof(info->serial));
    memcpy(info->session, slot->session, sizeof(info->session));
    info->channel = slot->channel;
    info->stream = slot->stream;
    info->codec = slot->codec;
    info->connected = slot->owner != 0;
    info->width = slot->width;
    info->height = slot->height;
    memcpy(info->codecs, slot->codecs, sizeof(info->codecs));
    info->codecs[sizeof(info->codecs) - 1] = '\0';
    info->init_version = slot->init_version;
    info->restarts = slot->restarts;
    info->viewers = count_viewers(slot, now_ms, &info->idle_since_ms);
    info->viewed = info->viewers != 0 || info->idle_since_ms != slot->created_ms;
    info->created_ms = slot->created_ms;
    info->deadline_ms = slot->deadline_ms;
    info->live_ms = slot->live_ms;
    info->last_frame_ms = slot->last_frame_ms;
    info->frames = slot->frames;
    info->key_frames = slot->key_frames;
    info->bytes = slot->bytes;
    info->dropped = slot->dropped;
    info->discontinuities = slot->discontinuities;
}


mdvr_rc_t
mdvr_bus_info(mdvr_bus_t *bus, mdvr_bus_ref_t ref, mdvr_bus_info_t *info)
{
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);
    if (slot != NULL) {
        describe(bus, slot, mdvr_bus_clock_ms(), info);
    }

    mdvr_bus_unlock(bus);

    return slot ? MDVR_OK : MDVR_E_NOT_FOUND;
}


mdvr_rc_t
mdvr_bus_note(mdvr_bus_t *bus, mdvr_bus_ref_t ref, char *buf, size_t len)
{
    mdvr_rc_t         rc = MDVR_E_NOT_FOUND;
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);
    if (slot != NULL) {
        rc = strlen(slot->note) < len ? MDVR_OK : MDVR_E_NO_SPACE;
        snprintf(buf, len, "%s", slot->note);
    }

    mdvr_bus_unlock(bus);

    return rc;
}


mdvr_rc_t
mdvr_bus_set_note(mdvr_bus_t *bus, mdvr_bus_ref_t ref, const char *note)
{
    mdvr_rc_t         rc = MDVR_E_NOT_FOUND;
    mdvr_bus_slot_t  *slot;

    if (strlen(note) >= MDVR_BUS_NOTE_MAX) {
        return MDVR_E_NO_SPACE;
    }

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);
    if (slot != NULL) {
        snprintf(slot->note, sizeof(slot->note), "%s", note);
        rc = MDVR_OK;
    }

    mdvr_bus_unlock(bus);

    return rc;
}


/* --- ending -------------------------------------------------------------------- */

/* Under the mutex.  The caller wakes. */

static bool
end_session(mdvr_bus_slot_t *slot, mdvr_bus_end_e why, int64_t now_ms)
{
    uint32_t  none = MDVR_BUS_END_NONE;

    if (!running(slot)) {
        return false;
    }

    /* the reason first: who sees `ending` finds it */

    (void) atomic_compare_exchange_strong(&slot->end, &none, why);
    slot->ended_ms = now_ms;

    return mdvr_bus_move(slot, MDVR_BUS_LIVE, MDVR_BUS_ENDING)
           || mdvr_bus_move(slot, MDVR_BUS_STARTING, MDVR_BUS_ENDING)
           || mdvr_bus_move(slot, MDVR_BUS_LIVE, MDVR_BUS_ENDING);
}


mdvr_rc_t
mdvr_bus_end(mdvr_bus_t *bus, mdvr_bus_ref_t ref, mdvr_bus_end_e why)
{
    bool              ended = false;
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);
    if (slot != NULL) {
        ended = end_session(slot, why, mdvr_bus_clock_ms());
    }

    mdvr_bus_unlock(bus);

    if (!ended) {
        return MDVR_E_NOT_FOUND;
    }

    mdvr_bus_wake(bus, ref.index);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_bus_deadline(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t deadline_ms)
{
    mdvr_rc_t         rc = MDVR_E_NOT_FOUND;
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);
    if (slot != NULL && slot->state == MDVR_BUS_STARTING) {
        slot->deadline_ms = deadline_ms;
        rc = MDVR_OK;
    }

    mdvr_bus_unlock(bus);

    return rc;
}


/* --- owners ----------------------------------------------------------------------- */

mdvr_rc_t
mdvr_bus_own(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t *ticket)
{
    uint32_t          before;
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);

    if (slot == NULL || !running(slot)) {
        mdvr_bus_unlock(bus);
        return MDVR_E_NOT_FOUND;
    }

    before = atomic_exchange(&slot->owner, bus->process + 1);

    *ticket = ++slot->ticket;

    if (*ticket == 0) {                         /* 0 is nobody's */
        *ticket = ++slot->ticket;
    }

    /*
     * The older writer may be in the middle of a record, in another process:
     * it is done within microseconds, or stopped, or dead.
     */

    for (unsigned i = 0; slot->busy && i < 100; i++) {
        struct timespec  t = { 0, 1000 };

        nanosleep(&t, NULL);
    }

    slot->busy = 0;
    slot->restart_ms = 0;

    if (slot->init_lock & 1) {
        slot->init_lock++;
    }

    if (slot->hls_lock & 1) {
        slot->hls_lock++;
    }

    mdvr_bus_unlock(bus);

    if (before != 0 && before - 1 != bus->process) {
        mdvr_bus_wake_process(bus, before - 1, ref.index);
    }

    mdvr_bus_wake(bus, ref.index);              /* who waits for the device */

    return MDVR_OK;
}


void
mdvr_bus_disown(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket,
    int64_t deadline_ms, mdvr_bus_end_e why, int64_t restart_ms)
{
    bool              mine = false;
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);

    if (slot != NULL && slot->ticket == ticket) {
        mine = true;
        slot->ticket++;
        slot->owner = 0;
        slot->deadline_ms = deadline_ms;
        slot->deadline_end = why;
        slot->restart_ms = restart_ms;
        (void) mdvr_bus_move(slot, MDVR_BUS_LIVE, MDVR_BUS_STARTING);
    }

    mdvr_bus_unlock(bus);

    if (mine) {
        mdvr_bus_wake(bus, ref.index);
    }
}


void
mdvr_bus_restart_at(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t at_ms)
{
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);

    if (slot != NULL && slot->state == MDVR_BUS_STARTING && slot->owner == 0) {
        slot->restart_ms = at_ms;
    }

    mdvr_bus_unlock(bus);
}


bool
mdvr_bus_owns(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    return slot != NULL && slot->ticket == ticket && running(slot);
}


unsigned
mdvr_bus_take_wants(mdvr_bus_t *bus, mdvr_bus_ref_t ref)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    return slot && slot->wants ? atomic_exchange(&slot->wants, 0) : 0;
}


bool
mdvr_bus_hls_wanted(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t now_ms)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    return slot != NULL && slot->hls_until_ms > now_ms;
}


bool
mdvr_bus_audio_wanted(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t now_ms)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    return slot != NULL && slot->audio_until_ms > now_ms;
}


mdvr_rc_t
mdvr_bus_progress(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket,
    uint64_t bytes)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (slot == NULL || slot->ticket != ticket || !running(slot)) {
        return MDVR_E_NOT_FOUND;
    }

    slot->bytes = bytes;
    slot->last_frame_ms = mdvr_bus_clock_ms();

    if (slot->live_ms == 0) {
        slot->live_ms = slot->last_frame_ms;
    }

    (void) mdvr_bus_move(slot, MDVR_BUS_STARTING, MDVR_BUS_LIVE);

    mdvr_bus_wake(bus, ref.index);

    return MDVR_OK;
}


void
mdvr_bus_dropped(mdvr_bus_t *bus, mdvr_bus_ref_t ref, unsigned n)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (slot != NULL) {
        slot->dropped += n;
    }
}


void
mdvr_bus_restarted(mdvr_bus_t *bus, mdvr_bus_ref_t ref)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (slot != NULL) {
        slot->restarts++;
    }
}


/* --- watchers and viewers ------------------------------------------------------------ */

static bool
watched(const mdvr_bus_slot_t *slot)
{
    uint64_t  any = 0;

    for (unsigned i = 0; i < mdvr_bus_words; i++) {
        any |= slot->watched[i];
    }

    return any != 0;
}


bool
mdvr_bus_followed(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t now_ms)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    return slot != NULL && (watched(slot) || slot->hls_until_ms > now_ms);
}


static mdvr_rc_t
add(mdvr_bus_t *bus, mdvr_bus_ref_t ref, bool viewer)
{
    bool              first;
    uint32_t          n = bus->process;
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);

    if (slot == NULL || slot->watch[n] == UINT16_MAX) {
        mdvr_bus_unlock(bus);
        return slot ? MDVR_E_BUSY : MDVR_E_NOT_FOUND;
    }

    first = !watched(slot);
    slot->watch[n]++;
    atomic_fetch_or(&slot->watched[n / 64], UINT64_C(1) << (n % 64));

    if (viewer) {
        slot->viewer[n]++;
        slot->viewers++;
    }

    mdvr_bus_unlock(bus);

    if (first && slot->owner) {
        mdvr_bus_wake_process(bus, slot->owner - 1, ref.index);
    }

    return MDVR_OK;
}


static void
del(mdvr_bus_t *bus, mdvr_bus_ref_t ref, bool viewer, int64_t now_ms)
{
    bool              last = false;
    uint32_t          n = bus->process;
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);

    if (slot != NULL && slot->watch[n]) {
        if (--slot->watch[n] == 0) {
            atomic_fetch_and(&slot->watched[n / 64],
                             ~(UINT64_C(1) << (n % 64)));
        }

        if (viewer && slot->viewer[n]) {
            slot->viewer[n]--;
            last = --slot->viewers == 0;
            slot->left_ms = now_ms;
        }
    }

    mdvr_bus_unlock(bus);

    if (last && slot->owner) {
        mdvr_bus_wake_process(bus, slot->owner - 1, ref.index);
    }
}


mdvr_rc_t
mdvr_bus_watch(mdvr_bus_t *bus, mdvr_bus_ref_t ref)
{
    return add(bus, ref, false);
}


void
mdvr_bus_unwatch(mdvr_bus_t *bus, mdvr_bus_ref_t ref)
{
    del(bus, ref, false, 0);
}


mdvr_rc_t
mdvr_bus_viewer_add(mdvr_bus_t *bus, mdvr_bus_ref_t ref)
{
    return add(bus, ref, true);
}


void
mdvr_bus_viewer_del(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t now_ms)
{
    del(bus, ref, true, now_ms);
}


/* More sessions than leases: the one that lapses first is not counted. */

mdvr_rc_t
mdvr_bus_viewer_lease(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint64_t who,
    int64_t now_ms, int64_t until_ms)
{
    mdvr_bus_slot_t   *slot;
    mdvr_bus_lease_t  *lease, *best;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);

    if (slot == NULL) {
        mdvr_bus_unlock(bus);
        return MDVR_E_NOT_FOUND;
    }

    best = &slot->lease[0];

    for (unsigned i = 0; i < MDVR_BUS_LEASES; i++) {
        lease = &slot->lease[i];

        if (lease->who == who && lease->until_ms) {
            best = lease;
            break;
        }

        if (lease->until_ms < best->until_ms) {
            best = lease;
        }
    }

    if (best->who != who && best->asked_ms > slot->left_ms) {
        slot->left_ms = best->asked_ms;
    }

    best->who = who;
    best->asked_ms = now_ms;
    best->until_ms = until_ms;

    mdvr_bus_unlock(bus);

    return MDVR_OK;
}


uint32_t
mdvr_bus_viewers(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t now_ms)
{
    int64_t           since;
    uint32_t          n = 0;
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);
    if (slot != NULL) {
        n = count_viewers(slot, now_ms, &since);
    }

    mdvr_bus_unlock(bus);

    return n;
}


void
mdvr_bus_want(mdvr_bus_t *bus, mdvr_bus_ref_t ref, unsigned want)
{
    uint32_t          owner;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (slot == NULL) {
        return;
    }

    atomic_fetch_or(&slot->wants, want);

    owner = slot->owner;

    if (owner) {
        mdvr_bus_wake_process(bus, owner - 1, ref.index);
    }
}


static void
want_until(mdvr_bus_t *bus, mdvr_bus_ref_t ref, _Atomic int64_t *until,
    int64_t until_ms)
{
    int64_t   before;
    uint32_t  owner;

    before = *until;

    while (before < until_ms
           && !atomic_compare_exchange_weak(until, &before, until_ms))
    {
        /* another one moved it */
    }

    owner = bus->slots[ref.index].owner;

    if (owner && before < mdvr_bus_clock_ms()) {
        mdvr_bus_wake_process(bus, owner - 1, ref.index);
    }
}


void
mdvr_bus_want_hls(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t until_ms)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (slot != NULL) {
        want_until(bus, ref, &slot->hls_until_ms, until_ms);
    }
}


void
mdvr_bus_want_audio(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t until_ms)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (slot != NULL) {
        want_until(bus, ref, &slot->audio_until_ms, until_ms);
    }
}


/* --- the encoder of sound -------------------------------------------------------------- */

bool
mdvr_bus_encoder_claim(mdvr_bus_t *bus)
{
    bool      mine;
    uint32_t  now;

    mdvr_bus_lock(bus);

    now = bus->header->encoder;
    mine = now == 0 || now == bus->process + 1
           || !mdvr_bus_alive(bus, now - 1);

    if (mine) {
        bus->header->encoder = bus->process + 1;
    }

    mdvr_bus_unlock(bus);

    return mine;
}


bool
mdvr_bus_encoder(const mdvr_bus_t *bus)
{
    return bus->header->encoder != 0;
}


void
mdvr_bus_want_aac(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t until_ms)
{
    int64_t           before;
    uint32_t          encoder = bus->header->encoder;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (slot == NULL || encoder == 0) {
        return;
    }

    want_until(bus, ref, &slot->audio_until_ms, until_ms);

    before = slot->aac_until_ms;

    while (before < until_ms
           && !atomic_compare_exchange_weak(&slot->aac_until_ms, &before,
                                            until_ms))
    {
        /* another one moved it */
    }

    if (before < mdvr_bus_clock_ms()) {
        mdvr_bus_wake_process(bus, encoder - 1, ref.index);
    }
}


bool
mdvr_bus_aac_wanted(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t now_ms)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    return slot != NULL && slot->aac_until_ms > now_ms;
}


/* --- taking back --------------------------------------------------------------------- */

void
mdvr_bus_forget_process(mdvr_bus_t *bus, uint32_t n, int64_t now_ms)
{
    uint32_t          encoder = n + 1;
    mdvr_bus_slot_t  *slot = bus->slots, *end = slot + bus->header->streams;

    (void) atomic_compare_exchange_strong(&bus->header->encoder, &encoder, 0);

    encoder = n + 1;
    (void) atomic_compare_exchange_strong(&bus->header->h264, &encoder, 0);

    for ( ; slot < end; slot++) {

        if (slot->state == MDVR_BUS_FREE) {
            continue;
        }

        slot->watch[n] = 0;
        atomic_fetch_and(&slot->watched[n / 64], ~(UINT64_C(1) << (n % 64)));

        if (slot->viewer[n]) {
            slot->viewer[n] = 0;
            slot->left_ms = now_ms;
        }

        slot->viewers = 0;

        for (unsigned i = 0; i < MDVR_BUS_PROCESSES; i++) {
            slot->viewers += slot->viewer[i];
        }

        if (slot->owner == n + 1) {
            slot->ticket++;
            slot->owner = 0;
            slot->busy = 0;
            slot->deadline_ms = now_ms + MDVR_BUS_RETURN_MS;
            slot->deadline_end = MDVR_BUS_END_DISCONNECTED;
            slot->restart_ms = now_ms + MDVR_BUS_RESTART_MS;
            (void) mdvr_bus_move(slot, MDVR_BUS_LIVE, MDVR_BUS_STARTING);
        }
    }
}


/* Segment files on tmpfs; a few dozen at most. */

static void
remove_files(mdvr_bus_t *bus, mdvr_bus_ref_t ref)
{
    int             n;
    DIR            *dir;
    char            path[MDVR_BUS_PATH_MAX + 64];
    struct dirent  *entry;

    n = snprintf(path, sizeof(path), "%s/%u-%u", bus->header->hls_dir,
                 ref.index, ref.generation);

    if (n < 0 || (size_t) n >= sizeof(path)) {
        return;
    }

    dir = opendir(path);
    if (dir == NULL) {
        return;
    }

    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            (void) unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }

    closedir(dir);
    (void) rmdir(path);
}


/* Under the mutex: what is due for a session without a connection. */

static bool
overdue(mdvr_bus_slot_t *slot, int64_t now_ms)
{
    if (slot->state != MDVR_BUS_STARTING || slot->owner != 0) {
        return false;
    }

    if (slot->deadline_ms <= now_ms) {
        return end_session(slot, slot->deadline_end, now_ms);
    }

    if (slot->restart_ms && slot->restart_ms <= now_ms) {
        slot->restart_ms = 0;
        slot->restarts++;
        return true;
    }

    return false;
}


static void
take_back_the_dead(mdvr_bus_t *bus, int64_t now_ms)
{
    mdvr_bus_process_t  *p;

    for (uint32_t i = 0; i < MDVR_BUS_PROCESSES; i++) {
        p = &bus->processes[i];

        if (!p->claimed || mdvr_bus_alive(bus, i)) {
            continue;
        }

        mdvr_bus_lock(bus);

        /* a new one may just be claiming the number: it cleans up itself */

        if (p->claimed && !mdvr_bus_alive(bus, i)) {
            mdvr_bus_forget_process(bus, i, now_ms);
            p->claimed = 0;
            p->generation++;
        }

        mdvr_bus_unlock(bus);
    }
}


void
mdvr_bus_sweep(mdvr_bus_t *bus, int64_t now_ms, mdvr_bus_due_pt due,
    void *data)
{
    bool              report, freed;
    int64_t           swept;
    mdvr_bus_ref_t    ref;
    mdvr_bus_info_t   info;
    mdvr_bus_slot_t  *slot;

    swept = bus->header->swept_ms;

    if ((now_ms - swept < 500 && now_ms >= swept)
        || !atomic_compare_exchange_strong(&bus->header->swept_ms, &swept,
                                           now_ms))
    {
        return;
    }

    take_back_the_dead(bus, now_ms);

    for (uint32_t i = 0; i < bus->header->streams; i++) {
        slot = &bus->slots[i];

        if (slot->state == MDVR_BUS_FREE || slot->state == MDVR_BUS_LIVE) {
            continue;
        }

        report = false;
        freed = false;

        mdvr_bus_lock(bus);

        ref = reference(bus, slot);

        if (overdue(slot, now_ms)) {
            describe(bus, slot, now_ms, &info);
            report = true;

        } else if (slot->state == MDVR_BUS_ENDING
                   && now_ms - slot->ended_ms >= MDVR_BUS_LINGER_MS
                   && mdvr_bus_move(slot, MDVR_BUS_ENDING, MDVR_BUS_FREE))
        {
            mdvr_bus_rings_release(bus, i);
            freed = true;
        }

        mdvr_bus_unlock(bus);

        if (freed) {
            remove_files(bus, ref);
        }

        if (report) {
            mdvr_bus_wake(bus, i);

            if (due) {
                due(data, &info);
            }
        }
    }
}
