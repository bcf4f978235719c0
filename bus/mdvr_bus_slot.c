/*
 * Sessions: the slot directory, its states, what is known about one, its end.
 *
 *   free --start--> starting --first picture--> live --end--> ending --> free
 *                      ^  \______________end______^            (5 s)
 *                      +---disown, restart----- live
 */

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

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


mdvr_bus_ref_t
mdvr_bus_reference(const mdvr_bus_t *bus, const mdvr_bus_slot_t *slot)
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


static mdvr_bus_slot_t *
find_key(mdvr_bus_t *bus, uint32_t kind, const uint8_t device_id[16],
    uint8_t channel, uint8_t stream)
{
    mdvr_bus_slot_t  *slot = bus->slots, *end = slot + bus->header->streams;

    for ( ; slot < end; slot++) {
        if (mdvr_bus_running(slot) && slot->kind == kind
            && slot->channel == channel && slot->stream == stream
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
        *ref = mdvr_bus_reference(bus, slot);
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

    *ref = mdvr_bus_reference(bus, slot);
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
        *ref = mdvr_bus_reference(bus, slot);
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
        *ref = mdvr_bus_reference(bus, slot);
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

    *ref = mdvr_bus_reference(bus, &bus->slots[index]);

    return MDVR_OK;
}


/* --- what is known about one -------------------------------------------------- */

void
mdvr_bus_describe(mdvr_bus_t *bus, const mdvr_bus_slot_t *slot, int64_t now_ms,
    mdvr_bus_info_t *info)
{
    memset(info, 0, sizeof(*info));

    info->ref = mdvr_bus_reference(bus, slot);
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
    info->viewers = mdvr_bus_count_viewers(slot, now_ms, &info->idle_since_ms);
    info->viewed = info->viewers != 0
                   || info->idle_since_ms != slot->created_ms;
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
        mdvr_bus_describe(bus, slot, mdvr_bus_clock_ms(), info);
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

bool
mdvr_bus_end_slot(mdvr_bus_slot_t *slot, mdvr_bus_end_e why, int64_t now_ms)
{
    uint32_t  none = MDVR_BUS_END_NONE;

    if (!mdvr_bus_running(slot)) {
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
        ended = mdvr_bus_end_slot(slot, why, mdvr_bus_clock_ms());
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
