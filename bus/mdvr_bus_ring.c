/*
 * Rings: one writer that waits for nobody, readers that look after themselves.
 *
 * Positions count bytes since the session began; modulo the size they are
 * places.  A record is never split: when it does not fit before the end of the
 * ring, the rest is skipped (a PAD record, or less than a record's header).
 *
 *   writer: busy, ticket good?, reserved = end of the new record, copy, head
 *   reader: head, copy, is the record's begin still within `reserved` - size?
 *
 * Because `reserved` moves before the first byte is touched, a copy that passes
 * the test was not touched by the writer while it was made.
 */

#include <string.h>
#include <time.h>

#include "bus/mdvr_bus_layout.h"

#include <fcntl.h>


#define MDVR_BUS_HEADER  sizeof(mdvr_bus_rec_t)

_Static_assert(sizeof(mdvr_bus_rec_t) % 8 == 0, "records stay aligned");


uint8_t *
mdvr_bus_ring_data(const mdvr_bus_t *bus, uint32_t index, unsigned ring,
    uint64_t *size)
{
    uint8_t                  *p;
    const mdvr_bus_header_t  *h = bus->header;

    p = bus->rings + (h->ring_size + h->aux_size) * index;

    if (ring == MDVR_BUS_RING_MEDIA) {
        *size = h->ring_size;
        return p;
    }

    *size = h->aux_size;
    return p + h->ring_size;
}


void
mdvr_bus_rings_reset(mdvr_bus_t *bus, uint32_t index)
{
    mdvr_bus_ring_t  *ring = bus->slots[index].ring;

    for (unsigned i = 0; i < 2; i++) {
        ring[i].reserved = 0;
        ring[i].head = 0;
        ring[i].key = MDVR_BUS_NO_KEY;
        ring[i].last = MDVR_BUS_NO_KEY;
        ring[i].next_key = 0;
        ring[i].seq = 0;

        for (unsigned k = 0; k < MDVR_BUS_KEYS; k++) {
            ring[i].keys[k] = MDVR_BUS_NO_KEY;
        }

        ring[i].start = 0;
        ring[i].room = 0;
    }
}


void
mdvr_bus_rings_release(mdvr_bus_t *bus, uint32_t index)
{
    uint64_t                  size, both;
    const mdvr_bus_header_t  *h = bus->header;

    both = h->ring_size + h->aux_size;
    size = h->rings_offset + both * index;

    (void) fallocate(bus->fd, FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE,
                     (off_t) size, (off_t) both);
}


/* --- writing ---------------------------------------------------------------- */

static bool
may_write(const mdvr_bus_slot_t *slot, uint32_t ticket, unsigned ring)
{
    uint32_t  state = slot->state;

    return (state == MDVR_BUS_STARTING || state == MDVR_BUS_LIVE)
           && (ring == MDVR_BUS_RING_AUX || slot->ticket == ticket);
}


mdvr_rc_t
mdvr_bus_reserve(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket,
    unsigned ring, size_t len, uint8_t **payload)
{
    uint8_t          *data;
    uint64_t          size, pos, rest, room;
    mdvr_bus_rec_t    pad;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);
    mdvr_bus_ring_t  *r;

    if (slot == NULL) {
        return MDVR_E_NOT_FOUND;
    }

    data = mdvr_bus_ring_data(bus, ref.index, ring, &size);

    if (len > size / 4 * 3) {
        return MDVR_E_NO_SPACE;
    }

    if (!may_write(slot, ticket, ring)) {
        return MDVR_E_NOT_FOUND;
    }

    if (ring == MDVR_BUS_RING_MEDIA) {

        /* pairs with mdvr_bus_own(): one of the two sees the other */

        slot->busy = 1;

        if (!may_write(slot, ticket, ring)) {
            slot->busy = 0;
            return MDVR_E_NOT_FOUND;
        }
    }

    r = &slot->ring[ring];
    pos = r->head;
    room = (MDVR_BUS_HEADER + len + 7) & ~UINT64_C(7);
    rest = size - pos % size;

    r->start = room > rest ? pos + rest : pos;
    r->room = room;

    if (r->start + room > r->reserved) {
        r->reserved = r->start + room;
    }

    if (r->start != pos && rest >= MDVR_BUS_HEADER) {
        memset(&pad, 0, sizeof(pad));
        pad.size = (uint32_t) rest;
        pad.flags = MDVR_BUS_F_PAD;
        memcpy(data + pos % size, &pad, sizeof(pad));
    }

    *payload = data + r->start % size + MDVR_BUS_HEADER;

    return MDVR_OK;
}


void
mdvr_bus_cancel(mdvr_bus_t *bus, mdvr_bus_ref_t ref, unsigned ring)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (slot != NULL && ring == MDVR_BUS_RING_MEDIA) {
        slot->busy = 0;
    }
}


mdvr_rc_t
mdvr_bus_commit(mdvr_bus_t *bus, mdvr_bus_ref_t ref, unsigned ring,
    mdvr_bus_rec_t *rec)
{
    bool              picture;
    uint8_t          *data;
    int64_t           now_ms;
    uint64_t          size, room;
    struct timespec   now;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);
    mdvr_bus_ring_t  *r;

    if (slot == NULL) {
        return MDVR_E_NOT_FOUND;
    }

    data = mdvr_bus_ring_data(bus, ref.index, ring, &size);
    r = &slot->ring[ring];
    room = (MDVR_BUS_HEADER + rec->len + 7) & ~UINT64_C(7);

    if (room > r->room) {
        mdvr_bus_cancel(bus, ref, ring);
        return MDVR_E_NO_SPACE;
    }

    rec->size = (uint32_t) room;
    rec->ring = (uint8_t) ring;
    rec->seq = r->seq++;
    rec->flags &= (uint16_t) ~MDVR_BUS_F_PAD;

    memcpy(data + r->start % size, rec, sizeof(*rec));

    if (rec->flags & MDVR_BUS_F_KEY) {
        r->keys[r->next_key++ % MDVR_BUS_KEYS] = r->start;
    }

    r->last = r->start;
    r->head = r->start + room;
    r->room = 0;

    if (rec->flags & MDVR_BUS_F_KEY) {
        r->key = r->start;                      /* now it may be read */
    }

    if (ring == MDVR_BUS_RING_MEDIA) {
        clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        now_ms = (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
        picture = !(rec->flags & MDVR_BUS_F_AUDIO);

        slot->last_frame_ms = now_ms;
        slot->bytes += rec->len - rec->hdr_len;

        if (picture) {
            slot->frames++;

            if (rec->flags & MDVR_BUS_F_DISCONT) {
                slot->discontinuities++;
            }
        }

        if (rec->flags & MDVR_BUS_F_KEY) {
            slot->key_frames++;
        }

        if (slot->state == MDVR_BUS_STARTING
            && ((rec->flags & MDVR_BUS_F_KEY)
                || (slot->kind > MDVR_BUS_KIND_PLAYBACK
                    && slot->kind != MDVR_BUS_KIND_H264)))
        {
            if (slot->live_ms == 0) {
                slot->live_ms = now_ms;
            }

            (void) mdvr_bus_move(slot, MDVR_BUS_STARTING, MDVR_BUS_LIVE);
        }

        slot->busy = 0;
    }

    mdvr_bus_wake(bus, ref.index);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_bus_put(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket,
    unsigned ring, mdvr_bus_rec_t *rec, const uint8_t *payload)
{
    uint8_t    *p;
    mdvr_rc_t   rc;

    rc = mdvr_bus_reserve(bus, ref, ticket, ring, rec->len, &p);
    if (rc != MDVR_OK) {
        return rc;
    }

    memcpy(p, payload, rec->len);

    return mdvr_bus_commit(bus, ref, ring, rec);
}


/* --- the microphone of a talk ------------------------------------------------ */

mdvr_rc_t
mdvr_bus_mic_claim(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t *ticket)
{
    mdvr_rc_t         rc = MDVR_E_NOT_FOUND;
    mdvr_bus_slot_t  *slot;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);

    if (slot != NULL && slot->kind == MDVR_BUS_KIND_TALK
        && may_write(slot, 0, MDVR_BUS_RING_AUX))
    {
        *ticket = ++slot->mic;
        rc = MDVR_OK;
    }

    mdvr_bus_unlock(bus);

    return rc;
}


mdvr_rc_t
mdvr_bus_mic_put(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket,
    const int16_t *pcm, size_t samples)
{
    mdvr_rc_t         rc = MDVR_E_NOT_FOUND;
    mdvr_bus_rec_t    rec;
    struct timespec   now;
    mdvr_bus_slot_t  *slot;

    if (samples == 0 || samples > MDVR_BUS_MIC_MAX) {
        return MDVR_E_RANGE;
    }

    clock_gettime(CLOCK_REALTIME, &now);

    memset(&rec, 0, sizeof(rec));
    rec.len = (uint32_t) (samples * sizeof(*pcm));
    rec.flags = MDVR_BUS_F_AUDIO;
    rec.codec = MDVR_BUS_PCM;
    rec.dur_us = (uint32_t) (samples * 125);
    rec.received_us = (uint64_t) now.tv_sec * 1000000
                      + (uint64_t) now.tv_nsec / 1000;

    mdvr_bus_lock(bus);

    slot = mdvr_bus_slot(bus, ref);

    if (slot != NULL && slot->kind == MDVR_BUS_KIND_TALK
        && slot->mic == ticket)
    {
        rc = mdvr_bus_put(bus, ref, 0, MDVR_BUS_RING_AUX, &rec,
                          (const uint8_t *) pcm);
    }

    mdvr_bus_unlock(bus);

    return rc;
}


/* --- init segment and HLS table: a sequence counter around plain bytes ------- */

static void
open_counter(_Atomic uint32_t *lock)
{
    atomic_fetch_add(lock, 1);
    atomic_thread_fence(memory_order_seq_cst);
}


static void
close_counter(_Atomic uint32_t *lock)
{
    atomic_thread_fence(memory_order_seq_cst);
    atomic_fetch_add(lock, 1);
}


mdvr_rc_t
mdvr_bus_set_init(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket,
    const mdvr_bus_init_t *init, uint32_t *version)
{
    size_t            n;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (init->len > MDVR_BUS_INIT_MAX || init->av_len > MDVR_BUS_INIT_MAX) {
        return MDVR_E_NO_SPACE;
    }

    if (slot == NULL || !may_write(slot, ticket, MDVR_BUS_RING_MEDIA)) {
        return MDVR_E_NOT_FOUND;
    }

    open_counter(&slot->init_lock);

    memcpy(slot->init, init->data, init->len);
    slot->init_len = (uint32_t) init->len;

    if (init->av_len) {
        memcpy(slot->av, init->av, init->av_len);
    }

    slot->av_len = (uint32_t) init->av_len;
    slot->codec = init->codec;
    slot->width = init->width;
    slot->height = init->height;
    slot->timescale = init->timescale;

    n = strlen(init->codecs);

    if (n >= sizeof(slot->codecs)) {
        n = sizeof(slot->codecs) - 1;
    }

    memcpy(slot->codecs, init->codecs, n);
    slot->codecs[n] = '\0';

    *version = ++slot->init_version;

    close_counter(&slot->init_lock);

    return MDVR_OK;
}


static mdvr_rc_t
get_init(mdvr_bus_t *bus, mdvr_bus_ref_t ref, bool av, uint8_t *buf,
    size_t cap, size_t *len, uint32_t *version)
{
    uint32_t          before;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (slot == NULL) {
        return MDVR_E_NOT_FOUND;
    }

    for (unsigned i = 0; i < 1000; i++) {

        before = slot->init_lock;

        if (before & 1) {
            continue;
        }

        atomic_thread_fence(memory_order_seq_cst);

        *len = av ? slot->av_len : slot->init_len;
        *version = slot->init_version;

        if (*len <= cap && *len <= MDVR_BUS_INIT_MAX) {
            memcpy(buf, av ? slot->av : slot->init, *len);
        }

        atomic_thread_fence(memory_order_seq_cst);

        if (slot->init_lock != before) {
            continue;
        }

        if (slot->generation != ref.generation) {
            return MDVR_E_NOT_FOUND;
        }

        if (*version == 0 || *len == 0) {
            return MDVR_AGAIN;
        }

        return *len <= cap ? MDVR_OK : MDVR_E_NO_SPACE;
    }

    return MDVR_AGAIN;
}


mdvr_rc_t
mdvr_bus_get_init(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint8_t *buf,
    size_t cap, size_t *len, uint32_t *version)
{
    return get_init(bus, ref, false, buf, cap, len, version);
}


mdvr_rc_t
mdvr_bus_get_init_av(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint8_t *buf,
    size_t cap, size_t *len, uint32_t *version)
{
    return get_init(bus, ref, true, buf, cap, len, version);
}


static size_t
table_size(const mdvr_bus_hls_t *hls)
{
    return offsetof(mdvr_bus_hls_t, part)
           + hls->n_parts * sizeof(mdvr_bus_part_t);
}


mdvr_rc_t
mdvr_bus_hls_set(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint32_t ticket,
    const mdvr_bus_hls_t *hls)
{
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (hls->n_parts > MDVR_BUS_HLS_PARTS
        || hls->n_segments > MDVR_BUS_HLS_SEGMENTS)
    {
        return MDVR_E_RANGE;
    }

    if (slot == NULL || !may_write(slot, ticket, MDVR_BUS_RING_MEDIA)) {
        return MDVR_E_NOT_FOUND;
    }

    open_counter(&slot->hls_lock);
    memcpy(&slot->hls, hls, table_size(hls));
    close_counter(&slot->hls_lock);

    mdvr_bus_wake(bus, ref.index);

    return MDVR_OK;
}


mdvr_rc_t
mdvr_bus_hls_get(mdvr_bus_t *bus, mdvr_bus_ref_t ref, mdvr_bus_hls_t *hls)
{
    size_t            fixed = offsetof(mdvr_bus_hls_t, part);
    uint32_t          before;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);

    if (slot == NULL) {
        return MDVR_E_NOT_FOUND;
    }

    for (unsigned i = 0; i < 1000; i++) {

        before = slot->hls_lock;

        if (before & 1) {
            continue;
        }

        atomic_thread_fence(memory_order_seq_cst);
        memcpy(hls, &slot->hls, fixed);

        if (hls->n_parts > MDVR_BUS_HLS_PARTS
            || hls->n_segments > MDVR_BUS_HLS_SEGMENTS)
        {
            continue;
        }

        memcpy(hls->part, slot->hls.part,
               hls->n_parts * sizeof(mdvr_bus_part_t));
        atomic_thread_fence(memory_order_seq_cst);

        if (slot->hls_lock == before) {
            return slot->generation == ref.generation ? MDVR_OK
                                                      : MDVR_E_NOT_FOUND;
        }
    }

    return MDVR_AGAIN;
}


/* --- reading ------------------------------------------------------------------ */

static bool
intact(const mdvr_bus_ring_t *r, uint64_t pos, uint64_t size)
{
    uint64_t  reserved;

    atomic_thread_fence(memory_order_seq_cst);
    reserved = r->reserved;

    return reserved <= size || pos >= reserved - size;
}


bool
mdvr_bus_aac_end(mdvr_bus_t *bus, mdvr_bus_ref_t ref, uint64_t *end_us)
{
    uint8_t          *data;
    uint64_t          size, last;
    mdvr_bus_rec_t    rec;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);
    mdvr_bus_ring_t  *r;

    if (slot == NULL || bus->header->encoder == 0) {
        return false;
    }

    data = mdvr_bus_ring_data(bus, ref.index, MDVR_BUS_RING_AUX, &size);
    r = &slot->ring[MDVR_BUS_RING_AUX];
    last = r->last;

    if (last == MDVR_BUS_NO_KEY) {
        return false;
    }

    memcpy(&rec, data + last % size, sizeof(rec));

    if (!intact(r, last, size) || rec.codec != MDVR_BUS_AAC) {
        return false;
    }

    *end_us = rec.pts_us + rec.dur_us;
    return true;
}


/* The newest key frame, if it is still there. */

static bool
newest_key(const mdvr_bus_ring_t *r, uint64_t size, uint64_t *pos)
{
    uint64_t  key = r->key;

    if (key == MDVR_BUS_NO_KEY || !intact(r, key, size)) {
        return false;
    }

    *pos = key;
    return true;
}


mdvr_rc_t
mdvr_bus_reader_init(mdvr_bus_t *bus, mdvr_bus_ref_t ref, unsigned ring,
    bool live_edge, mdvr_bus_reader_t *reader)
{
    uint64_t          size, last;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, ref);
    mdvr_bus_ring_t  *r;

    if (slot == NULL) {
        return MDVR_E_NOT_FOUND;
    }

    (void) mdvr_bus_ring_data(bus, ref.index, ring, &size);

    memset(reader, 0, sizeof(*reader));
    reader->ref = ref;
    reader->ring = (uint8_t) ring;

    r = &slot->ring[ring];
    reader->pos = r->head;
    reader->need_key = ring == MDVR_BUS_RING_MEDIA;

    if (live_edge) {
        return MDVR_OK;
    }

    if (ring == MDVR_BUS_RING_MEDIA) {
        (void) newest_key(r, size, &reader->pos);
        return MDVR_OK;
    }

    last = r->last;

    if (last != MDVR_BUS_NO_KEY && intact(r, last, size)) {
        reader->pos = last;
    }

    return MDVR_OK;
}


bool
mdvr_bus_reader_back(mdvr_bus_t *bus, mdvr_bus_reader_t *reader, uint64_t us)
{
    bool              found = false;
    uint8_t          *data;
    uint64_t          size, pos, newest;
    mdvr_bus_rec_t    rec;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, reader->ref);
    mdvr_bus_ring_t  *r;

    if (slot == NULL) {
        return false;
    }

    data = mdvr_bus_ring_data(bus, reader->ref.index, reader->ring, &size);
    r = &slot->ring[reader->ring];

    pos = r->last;

    if (pos == MDVR_BUS_NO_KEY) {
        return false;
    }

    memcpy(&rec, data + pos % size, sizeof(rec));
    newest = rec.pts_us;

    for (unsigned i = 0; i < MDVR_BUS_KEYS; i++) {
        pos = r->keys[i];

        if (pos == MDVR_BUS_NO_KEY || pos >= r->head || pos >= reader->pos) {
            continue;
        }

        memcpy(&rec, data + pos % size, sizeof(rec));

        if (intact(r, pos, size) && rec.pts_us + us >= newest) {
            reader->pos = pos;
            reader->need_key = reader->ring == MDVR_BUS_RING_MEDIA;
            found = true;
        }
    }

    return found;
}


/* An overrun: on from the newest key frame, or from what comes next. */

static void
recover(mdvr_bus_reader_t *reader, const mdvr_bus_ring_t *r, uint64_t size)
{
    uint64_t  head = r->head;

    reader->overruns++;
    reader->need_key = reader->ring == MDVR_BUS_RING_MEDIA;

    if (!reader->need_key || !newest_key(r, size, &reader->pos)) {
        reader->pos = head;
    }
}


mdvr_rc_t
mdvr_bus_peek(mdvr_bus_t *bus, mdvr_bus_reader_t *reader,
    mdvr_bus_rec_t *rec, const uint8_t **payload)
{
    uint8_t          *data;
    uint64_t          size, head, rest;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, reader->ref);
    mdvr_bus_ring_t  *r;

    if (slot == NULL) {
        return MDVR_E_NOT_FOUND;
    }

    data = mdvr_bus_ring_data(bus, reader->ref.index, reader->ring, &size);
    r = &slot->ring[reader->ring];

    for ( ;; ) {

        head = r->head;

        if (reader->pos >= head) {
            return MDVR_AGAIN;
        }

        rest = size - reader->pos % size;

        if (rest < MDVR_BUS_HEADER) {
            reader->pos += rest;
            continue;
        }

        memcpy(rec, data + reader->pos % size, sizeof(*rec));

        if (!intact(r, reader->pos, size)) {
            recover(reader, r, size);
            continue;
        }

        if (rec->size < MDVR_BUS_HEADER || rec->size > rest
            || rec->size % 8 != 0)
        {
            return MDVR_E_NOT_FOUND;            /* given away meanwhile */
        }

        if (rec->flags & MDVR_BUS_F_PAD) {
            reader->pos += rec->size;
            continue;
        }

        if (rec->len > rec->size - MDVR_BUS_HEADER
            || rec->hdr_len > rec->len)
        {
            return MDVR_E_NOT_FOUND;
        }

        if (reader->need_key && !(rec->flags & MDVR_BUS_F_KEY)) {
            reader->pos += rec->size;
            continue;
        }

        if (rec->seq > reader->seq && reader->seq != 0) {
            reader->skipped += rec->seq - reader->seq;
        }

        reader->need_key = false;
        reader->seq = rec->seq;

        *payload = data + reader->pos % size + MDVR_BUS_HEADER;

        return MDVR_OK;
    }
}


mdvr_rc_t
mdvr_bus_take(mdvr_bus_t *bus, mdvr_bus_reader_t *reader,
    const mdvr_bus_rec_t *rec)
{
    uint64_t          size;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, reader->ref);
    mdvr_bus_ring_t  *r;

    if (slot == NULL) {
        return MDVR_E_NOT_FOUND;
    }

    (void) mdvr_bus_ring_data(bus, reader->ref.index, reader->ring, &size);
    r = &slot->ring[reader->ring];

    if (!intact(r, reader->pos, size)) {
        recover(reader, r, size);
        return MDVR_E_CONFLICT;
    }

    reader->pos += rec->size;
    reader->seq = rec->seq + 1;

    return MDVR_OK;
}


mdvr_rc_t
mdvr_bus_read(mdvr_bus_t *bus, mdvr_bus_reader_t *reader,
    mdvr_bus_rec_t *rec, uint8_t *buf, size_t cap)
{
    mdvr_rc_t       rc;
    const uint8_t  *payload;

    for ( ;; ) {

        rc = mdvr_bus_peek(bus, reader, rec, &payload);
        if (rc != MDVR_OK) {
            return rc;
        }

        if (rec->len > cap) {
            return MDVR_E_NO_SPACE;
        }

        memcpy(buf, payload, rec->len);

        rc = mdvr_bus_take(bus, reader, rec);
        if (rc != MDVR_E_CONFLICT) {
            return rc;
        }
    }
}


bool
mdvr_bus_skip(mdvr_bus_t *bus, mdvr_bus_reader_t *reader)
{
    uint64_t          size, key;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, reader->ref);

    if (slot == NULL) {
        return false;
    }

    (void) mdvr_bus_ring_data(bus, reader->ref.index, reader->ring, &size);

    if (!newest_key(&slot->ring[reader->ring], size, &key)
        || key <= reader->pos)
    {
        return false;
    }

    reader->pos = key;
    reader->need_key = true;

    return true;
}


uint64_t
mdvr_bus_lag(mdvr_bus_t *bus, const mdvr_bus_reader_t *reader)
{
    uint64_t          head;
    mdvr_bus_slot_t  *slot = mdvr_bus_slot(bus, reader->ref);

    if (slot == NULL) {
        return 0;
    }

    head = slot->ring[reader->ring].head;

    return head > reader->pos ? head - reader->pos : 0;
}
