/*
 * The owner of a session: the process whose connection the device sends to.
 * A ticket names one spell of owning; who holds an older one writes no more.
 */

#include <time.h>

#include "bus/mdvr_bus_layout.h"


mdvr_rc_t
mdvr_bus_own(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t *ticket)
{
    uint32_t          before;
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);

    if (slot == NULL || !mdvr_bus_running(slot)) {
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

    return slot != NULL && slot->ticket == ticket && mdvr_bus_running(slot);
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

    if (slot == NULL || slot->ticket != ticket || !mdvr_bus_running(slot)) {
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
