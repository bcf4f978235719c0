/*
 * Sessions that show an H.265 session as H.264: who makes them, and which one it
 * is.  The note of such a session says what it is made of: "<slot> <generation>".
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bus/mdvr_bus_layout.h"

#define H264_START_MS  10000            /* until there is a picture */


bool
mdvr_bus_h264_claim(mdvr_bus_t *bus, unsigned max)
{
    bool      mine;
    uint32_t  now;

    mdvr_bus_lock(bus);

    now = bus->header->h264;
    mine = now == 0 || now == bus->process + 1
           || !mdvr_bus_alive(bus, now - 1);

    if (mine) {
        bus->header->h264 = bus->process + 1;
        bus->header->h264_max = max;
    }

    mdvr_bus_unlock(bus);

    return mine;
}


static unsigned
h264_running(mdvr_bus_t *bus)
{
    unsigned         n = 0;
    mdvr_bus_ref_t   ref;
    mdvr_bus_slot_t  *slot;

    for (uint32_t i = 0; i < bus->header->streams; i++) {

        if (mdvr_bus_at(bus, i, &ref) != MDVR_OK
            || (slot = mdvr_bus_slot(bus, ref)) == NULL)
        {
            continue;
        }

        n += slot->kind == MDVR_BUS_KIND_H264
             && (slot->state == MDVR_BUS_STARTING
                 || slot->state == MDVR_BUS_LIVE);
    }

    return n;
}


mdvr_rc_t
mdvr_bus_h264(mdvr_bus_t *bus, mdvr_bus_ref_t source, int64_t now_ms,
    mdvr_bus_ref_t *ref)
{
    bool              created;
    char              note[32];
    mdvr_rc_t         rc;
    uint32_t          process = bus->header->h264;
    mdvr_bus_info_t   info;
    mdvr_bus_start_t  start;

    if (mdvr_bus_info(bus, source, &info) != MDVR_OK
        || info.state == MDVR_BUS_ENDING)
    {
        return MDVR_E_NOT_FOUND;
    }

    if (mdvr_bus_find_key(bus, MDVR_BUS_KIND_H264, info.device_id,
                          info.channel, info.stream, ref)
        == MDVR_OK)
    {
        return MDVR_OK;
    }

    if (process == 0) {
        return MDVR_E_UNAVAILABLE;
    }

    if (h264_running(bus) >= bus->header->h264_max) {
        return MDVR_E_BUSY;
    }

    snprintf(note, sizeof(note), "%" PRIu32 " %" PRIu32, source.index,
             source.generation);

    memset(&start, 0, sizeof(start));
    start.kind = MDVR_BUS_KIND_H264;
    memcpy(start.tenant_id, info.tenant_id, 16);
    memcpy(start.device_id, info.device_id, 16);
    start.serial = info.serial;
    start.channel = info.channel;
    start.stream = info.stream;
    start.deadline_ms = now_ms + H264_START_MS;
    start.note = note;

    rc = mdvr_bus_start(bus, &start, now_ms, ref, &created);

    if (rc == MDVR_OK && created) {
        mdvr_bus_wake_process(bus, process - 1, ref->index);
    }

    return rc;
}


bool
mdvr_bus_h264_source(mdvr_bus_t *bus, mdvr_bus_ref_t ref,
    mdvr_bus_ref_t *source)
{
    char  note[MDVR_BUS_NOTE_MAX];

    return mdvr_bus_note(bus, ref, note, sizeof(note)) == MDVR_OK
           && sscanf(note, "%" SCNu32 " %" SCNu32, &source->index,
                     &source->generation)
              == 2;
}
