/*
 * Taking back: what dead processes held, sessions whose time has run out, and
 * the slots and files of those that have ended.
 */

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "bus/mdvr_bus_layout.h"


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
        return mdvr_bus_end_slot(slot, slot->deadline_end, now_ms);
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

        ref = mdvr_bus_reference(bus, slot);

        if (overdue(slot, now_ms)) {
            mdvr_bus_describe(bus, slot, now_ms, &info);
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
