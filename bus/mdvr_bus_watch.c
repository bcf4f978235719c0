/*
 * Who looks at a session: watchers are woken by what happens in it, viewers
 * are counted too, leases stand for viewers without a connection.  What they
 * want is asked of the owner, sound of the encoder.
 */

#include "bus/mdvr_bus_layout.h"


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
mdvr_bus_count_viewers(const mdvr_bus_slot_t *slot, int64_t now_ms,
    int64_t *since)
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


uint32_t
mdvr_bus_viewers(mdvr_bus_t *bus, mdvr_bus_ref_t ref, int64_t now_ms)
{
    int64_t           since;
    uint32_t          n = 0;
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);
    if (slot != NULL) {
        n = mdvr_bus_count_viewers(slot, now_ms, &since);
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
