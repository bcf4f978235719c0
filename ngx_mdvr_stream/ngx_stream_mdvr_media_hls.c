/*
 * HLS: parts and segments of one stream, written only while somebody asks.
 *
 *   <hls dir>/<slot>-<generation>/init-<version>.mp4
 *   <hls dir>/<slot>-<generation>/seg-<msn>.m4s       grows part by part
 *
 * A segment begins with a key frame once the one before has lasted long
 * enough; a part holds as many frames as fit into the part target.  The last
 * frame of a part is taken to last as long as the frame before it, so that a
 * part is out with its last frame and not one frame later.  Which bytes are a
 * part stands in the table in the slot; it names bytes only after they were
 * written.
 *
 * With sound each part holds the AAC fragments that were there when it was
 * made, behind the frames they belong to.  Whether there is sound is settled
 * when the first segment begins, and again should the sound stop: players do
 * not take a track that comes later.
 *
 * The directory is on tmpfs: writing there does not wait for a disk.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_media.h"


#define NGX_STREAM_MDVR_HLS_LIST      10            /* closed segments */
#define NGX_STREAM_MDVR_HLS_KEEP      4             /* files beyond the list */
#define NGX_STREAM_MDVR_HLS_PARTS     4             /* segments with parts */
#define NGX_STREAM_MDVR_HLS_PIECES    64
#define NGX_STREAM_MDVR_HLS_FLUSH     (128 * 1024)
#define NGX_STREAM_MDVR_HLS_SLACK     2000          /* us */
#define NGX_STREAM_MDVR_HLS_LONGEST   10000000      /* us, then cut anywhere */
#define NGX_STREAM_MDVR_HLS_ASK_KEY   4000000       /* us */
#define NGX_STREAM_MDVR_HLS_BACK      6000000       /* us */
#define NGX_STREAM_MDVR_HLS_SOUND     500           /* ms to wait for it */
#define NGX_STREAM_MDVR_HLS_SILENT    3000000       /* us, then without */


struct ngx_stream_mdvr_media_hls_s {
    mdvr_bus_hls_t             table;
    ngx_fd_t                   fd;
    size_t                     dir_len;
    u_char                     path[NGX_MAX_PATH];
    uint32_t                   init_version;        /* last one written */
    ngx_msec_t                 opened;
    mdvr_bus_reader_t          sound;
    uint32_t                   discont_seq;

    uint64_t                   first_us;            /* pts of the first frame */
    uint64_t                   part_us;             /* pts of its begin */
    uint64_t                   end_us;              /* of its newest frame */
    uint32_t                   offset;              /* begin of the part */
    uint32_t                   written;             /* bytes in the file */
    unsigned                   independent:1;
    unsigned                   open:1;              /* a part has frames */
    unsigned                   discont:1;           /* before next segment */
    unsigned                   failed:1;
    unsigned                   begun:1;             /* segments are made */
    unsigned                   audio:1;
    unsigned                   cut:1;               /* at the next key frame */
    unsigned                   silent:1;            /* nothing published */

    ngx_uint_t                 npieces;             /* not yet written */
    size_t                     waiting;
    struct iovec               piece[NGX_STREAM_MDVR_HLS_PIECES];
};


static ngx_stream_mdvr_media_hls_t *ngx_stream_mdvr_hls_open(
    ngx_stream_mdvr_media_t *m);
static ngx_int_t ngx_stream_mdvr_hls_sound(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls);
static void ngx_stream_mdvr_hls_backfill(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls);
static void ngx_stream_mdvr_hls_feed(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls, const mdvr_bus_rec_t *rec,
    const uint8_t *fragment);
static void ngx_stream_mdvr_hls_segment(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls, const mdvr_bus_rec_t *rec);
static void ngx_stream_mdvr_hls_part(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls, uint64_t end_us);
static void ngx_stream_mdvr_hls_publish(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls);
static void ngx_stream_mdvr_hls_forget(ngx_stream_mdvr_media_hls_t *hls);


void
ngx_stream_mdvr_media_hls(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t **hls, const mdvr_bus_rec_t *rec,
    const uint8_t *fragment)
{
    if (*hls == NULL || rec == NULL) {

        if (!mdvr_bus_hls_wanted(ngx_mdvr_bus(), m->ref,
                                 mdvr_bus_clock_ms()))
        {
            if (*hls) {
                ngx_stream_mdvr_hls_forget(*hls);
                (void) mdvr_bus_hls_set(ngx_mdvr_bus(), m->ref, m->ticket,
                                        &(*hls)->table);
                ngx_stream_mdvr_media_hls_close(m, hls);
            }

            return;
        }

        if (*hls == NULL) {
            *hls = ngx_stream_mdvr_hls_open(m);

            if (*hls == NULL) {
                return;
            }
        }
    }

    if ((*hls)->begun) {
        if (rec) {
            ngx_stream_mdvr_hls_feed(m, *hls, rec, fragment);
        }

        return;
    }

    if (ngx_stream_mdvr_hls_sound(m, *hls) == NGX_OK) {
        (*hls)->begun = 1;
        ngx_stream_mdvr_hls_backfill(m, *hls);
    }
}


/* NGX_AGAIN: the sound may still come. */

static ngx_int_t
ngx_stream_mdvr_hls_sound(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls)
{
    uint64_t            end;
    mdvr_bus_t         *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t      rec;
    mdvr_bus_reader_t   reader;
    const uint8_t      *p;

    hls->audio = 0;

    if (!mdvr_bus_aac_wanted(bus, m->ref, mdvr_bus_clock_ms())
        || !mdvr_bus_encoder(bus))
    {
        return NGX_OK;
    }

    if (mdvr_bus_reader_init(bus, m->ref, MDVR_BUS_RING_MEDIA, false, &reader)
        != MDVR_OK
        || mdvr_bus_peek(bus, &reader, &rec, &p) != MDVR_OK)
    {
        return NGX_AGAIN;                       /* no picture either */
    }

    if (hls->opened == 0) {
        hls->opened = ngx_current_msec;
    }

    if (mdvr_bus_aac_end(bus, m->ref, &end) && end + 300000 > rec.pts_us) {
        hls->audio = 1;
        return NGX_OK;
    }

    return ngx_current_msec - hls->opened < NGX_STREAM_MDVR_HLS_SOUND
           ? NGX_AGAIN : NGX_OK;
}


static u_char *
ngx_stream_mdvr_hls_name(ngx_stream_mdvr_media_hls_t *hls, const char *fmt,
    uint32_t n)
{
    u_char  *p;

    p = ngx_slprintf(hls->path + hls->dir_len, hls->path + NGX_MAX_PATH - 1,
                     fmt, n);
    *p = '\0';

    return hls->path;
}


static ngx_stream_mdvr_media_hls_t *
ngx_stream_mdvr_hls_open(ngx_stream_mdvr_media_t *m)
{
    u_char                       *p;
    mdvr_bus_segment_t           *last;
    ngx_stream_mdvr_media_hls_t  *hls;

    hls = ngx_calloc(sizeof(ngx_stream_mdvr_media_hls_t), m->connection->log);
    if (hls == NULL) {
        return NULL;
    }

    hls->fd = NGX_INVALID_FILE;

    /* an earlier connection of the session, or an earlier time */

    if (mdvr_bus_hls_get(ngx_mdvr_bus(), m->ref, &hls->table) != MDVR_OK) {
        ngx_free(hls);
        return NULL;
    }

    if (hls->table.n_segments) {
        last = &hls->table.segment[hls->table.n_segments - 1];
        hls->discont_seq = last->discont_seq;
        last->closed = 1;
    }

    hls->discont = hls->table.next_msn != 0;
    hls->table.part_us = (uint32_t) m->conf->hls_part * 1000;
    hls->table.segment_us = ngx_max(hls->table.segment_us,
                                    (uint32_t) m->conf->hls_segment * 1000);

    p = ngx_slprintf(hls->path, hls->path + NGX_MAX_PATH - 64, "%s/%uD-%uD",
                     mdvr_bus_hls_dir(ngx_mdvr_bus()), m->ref.index,
                     m->ref.generation);
    *p = '\0';

    if (ngx_create_dir(hls->path, 0770) == NGX_FILE_ERROR
        && ngx_errno != NGX_EEXIST)
    {
        ngx_log_error(NGX_LOG_ERR, m->connection->log, ngx_errno,
                      ngx_create_dir_n " \"%s\" failed", hls->path);
        ngx_free(hls);
        return NULL;
    }

    *p++ = '/';
    hls->dir_len = p - hls->path;

    return hls;
}


/*
 * What the ring still has: whole segments are there at once.  The table is
 * published when all of it is in: a viewer in another worker must not begin
 * with a segment of some seconds ago.
 */

static void
ngx_stream_mdvr_hls_backfill(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls)
{
    uint64_t             from;
    mdvr_bus_t          *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t       rec;
    mdvr_bus_reader_t    reader;
    mdvr_bus_segment_t  *last;
    const uint8_t       *p;

    if (mdvr_bus_reader_init(bus, m->ref, MDVR_BUS_RING_MEDIA, false, &reader)
        != MDVR_OK)
    {
        return;
    }

    from = 0;

    if (hls->table.n_segments) {
        last = &hls->table.segment[hls->table.n_segments - 1];
        from = last->pts_us + last->dur_us;     /* those have been served */
    }

    (void) mdvr_bus_reader_back(bus, &reader, NGX_STREAM_MDVR_HLS_BACK);

    if (hls->audio) {
        (void) mdvr_bus_reader_init(bus, m->ref, MDVR_BUS_RING_AUX, false,
                                    &hls->sound);
        (void) mdvr_bus_reader_back(bus, &hls->sound,
                                    2 * NGX_STREAM_MDVR_HLS_BACK);
    }

    hls->silent = 1;

    while (mdvr_bus_peek(bus, &reader, &rec, &p) == MDVR_OK) {

        if (!(rec.flags & MDVR_BUS_F_AUDIO) && rec.pts_us >= from) {
            ngx_stream_mdvr_hls_feed(m, hls, &rec, p);
        }

        if (mdvr_bus_take(bus, &reader, &rec) != MDVR_OK) {
            break;
        }
    }

    hls->silent = 0;

    if (hls->table.n_segments) {
        ngx_stream_mdvr_hls_publish(m, hls);
    }
}


/* Init segments with and without sound have names of their own. */

static uint32_t
ngx_stream_mdvr_hls_version(ngx_stream_mdvr_media_hls_t *hls,
    uint32_t version)
{
    return version * 2 + hls->audio;
}


/* --- files ----------------------------------------------------------------- */

static void
ngx_stream_mdvr_hls_failed(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls, const char *what)
{
    ngx_log_error(NGX_LOG_ERR, m->connection->log, ngx_errno,
                  "%s \"%s\" failed", what, hls->path);

    ngx_mdvr_refusal("hls_write");
    hls->failed = 1;
}


static void
ngx_stream_mdvr_hls_flush(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls)
{
    ssize_t  n;

    if (hls->npieces == 0) {
        return;
    }

    n = writev(hls->fd, hls->piece, (int) hls->npieces);

    if (n != (ssize_t) hls->waiting) {
        ngx_stream_mdvr_hls_failed(m, hls, "writev()");
    }

    hls->written += (uint32_t) hls->waiting;
    hls->waiting = 0;
    hls->npieces = 0;
}


static void
ngx_stream_mdvr_hls_init(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls, uint32_t version)
{
    size_t      len;
    ngx_fd_t    fd;
    uint8_t     head[MDVR_BUS_INIT_MAX];
    uint32_t    current;
    mdvr_rc_t   rc;
    mdvr_bus_t *bus = ngx_mdvr_bus();

    if (hls->init_version == ngx_stream_mdvr_hls_version(hls, version)) {
        return;
    }

    rc = hls->audio ? mdvr_bus_get_init_av(bus, m->ref, head, sizeof(head),
                                           &len, &current)
                    : mdvr_bus_get_init(bus, m->ref, head, sizeof(head), &len,
                                        &current);

    if (rc != MDVR_OK || current != version) {
        return;
    }

    ngx_stream_mdvr_hls_name(hls, "init-%uD.mp4",
                             ngx_stream_mdvr_hls_version(hls, version));

    fd = ngx_open_file(hls->path, NGX_FILE_WRONLY, NGX_FILE_TRUNCATE, 0660);

    if (fd == NGX_INVALID_FILE) {
        ngx_stream_mdvr_hls_failed(m, hls, ngx_open_file_n);
        return;
    }

    if (ngx_write_fd(fd, head, len) != (ssize_t) len) {
        ngx_stream_mdvr_hls_failed(m, hls, ngx_write_fd_n);
    }

    ngx_close_file(fd);

    hls->init_version = ngx_stream_mdvr_hls_version(hls, version);
}


static void
ngx_stream_mdvr_hls_delete(ngx_stream_mdvr_media_hls_t *hls, uint32_t msn)
{
    ngx_stream_mdvr_hls_name(hls, "seg-%uD.m4s", msn);
    (void) ngx_delete_file(hls->path);
}


/* --- the table ---------------------------------------------------------------- */

static void
ngx_stream_mdvr_hls_publish(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls)
{
    uint32_t         first, i, drop;
    mdvr_bus_hls_t  *t = &hls->table;

    while (t->n_segments > NGX_STREAM_MDVR_HLS_LIST + 1) {

        if (t->segment[0].msn >= NGX_STREAM_MDVR_HLS_KEEP) {
            ngx_stream_mdvr_hls_delete(hls, t->segment[0].msn
                                            - NGX_STREAM_MDVR_HLS_KEEP);
        }

        t->n_segments--;
        ngx_memmove(t->segment, t->segment + 1,
                    t->n_segments * sizeof(mdvr_bus_segment_t));
    }

    first = t->next_msn > NGX_STREAM_MDVR_HLS_PARTS
            ? t->next_msn - NGX_STREAM_MDVR_HLS_PARTS : 0;
    drop = t->n_parts >= MDVR_BUS_HLS_PARTS ? 1 : 0;

    for (i = drop; i < t->n_parts && t->part[i].msn < first; i++) {
        drop = i + 1;
    }

    if (drop) {
        t->n_parts -= drop;
        ngx_memmove(t->part, t->part + drop,
                    t->n_parts * sizeof(mdvr_bus_part_t));
    }

    if (!hls->silent) {
        (void) mdvr_bus_hls_set(ngx_mdvr_bus(), m->ref, m->ticket, t);
    }
}


static mdvr_bus_segment_t *
ngx_stream_mdvr_hls_current(ngx_stream_mdvr_media_hls_t *hls)
{
    mdvr_bus_segment_t  *segment;

    if (hls->table.n_segments == 0) {
        return NULL;
    }

    segment = &hls->table.segment[hls->table.n_segments - 1];

    return segment->closed ? NULL : segment;
}


static void
ngx_stream_mdvr_hls_piece(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls, const uint8_t *p, size_t len)
{
    hls->piece[hls->npieces].iov_base = (void *) p;
    hls->piece[hls->npieces].iov_len = len;
    hls->npieces++;
    hls->waiting += len;

    if (hls->npieces == NGX_STREAM_MDVR_HLS_PIECES
        || hls->waiting >= NGX_STREAM_MDVR_HLS_FLUSH)
    {
        ngx_stream_mdvr_hls_flush(m, hls);
    }
}


/*
 * The sound up to this frame.  A sound that falls behind by seconds has lost
 * its encoder: what follows has none, from a new segment on.
 */

static void
ngx_stream_mdvr_hls_interleave(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls, const mdvr_bus_rec_t *rec)
{
    uint64_t             end;
    mdvr_bus_t          *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t       sound;
    const uint8_t       *p;
    mdvr_bus_segment_t  *segment;

    segment = ngx_stream_mdvr_hls_current(hls);

    while (mdvr_bus_peek(bus, &hls->sound, &sound, &p) == MDVR_OK) {

        if (sound.pts_us > rec->pts_us) {
            break;
        }

        /* pieces lie in the ring until the part is written: the encoder needs
           many seconds to come round there */

        if (segment && sound.codec == MDVR_BUS_AAC
            && sound.pts_us + sound.dur_us > hls->first_us)
        {
            ngx_stream_mdvr_hls_piece(m, hls, p, sound.len);
        }

        if (mdvr_bus_take(bus, &hls->sound, &sound) != MDVR_OK) {
            break;
        }
    }

    if (!mdvr_bus_aac_end(bus, m->ref, &end)
        || end + NGX_STREAM_MDVR_HLS_SILENT < rec->pts_us)
    {
        hls->audio = 0;
        hls->discont = 1;
        hls->cut = 1;
        mdvr_bus_want(bus, m->ref, MDVR_BUS_WANT_KEY);
    }
}


static void
ngx_stream_mdvr_hls_feed(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls, const mdvr_bus_rec_t *rec,
    const uint8_t *fragment)
{
    uint64_t             length, target;
    ngx_uint_t           key;
    mdvr_bus_segment_t  *segment;

    key = rec->flags & MDVR_BUS_F_KEY;
    target = hls->table.part_us + NGX_STREAM_MDVR_HLS_SLACK;
    segment = ngx_stream_mdvr_hls_current(hls);

    if (rec->flags & MDVR_BUS_F_DISCONT) {
        hls->discont = hls->table.next_msn != 0;
    }

    if (segment) {
        length = rec->pts_us - segment->pts_us;

        if ((key && (length + 50000 >= (uint64_t) m->conf->hls_segment * 1000
                     || hls->cut || (rec->flags & MDVR_BUS_F_INIT)))
            || length >= NGX_STREAM_MDVR_HLS_LONGEST)
        {
            ngx_stream_mdvr_hls_segment(m, hls, rec);
            segment = NULL;

        } else if (length >= NGX_STREAM_MDVR_HLS_ASK_KEY) {
            mdvr_bus_want(ngx_mdvr_bus(), m->ref, MDVR_BUS_WANT_KEY);
        }
    }

    if (segment == NULL) {

        if (!key && hls->table.next_msn == 0) {
            return;
        }

        ngx_stream_mdvr_hls_segment(m, hls, rec);

        if (hls->fd == NGX_INVALID_FILE) {
            return;
        }
    }

    if (hls->open && rec->pts_us + rec->dur_us - hls->part_us > target) {
        ngx_stream_mdvr_hls_part(m, hls, rec->pts_us);
    }

    if (!hls->open) {
        hls->open = 1;
        hls->part_us = rec->pts_us;
        hls->independent = key ? 1 : 0;
    }

    ngx_stream_mdvr_hls_piece(m, hls, fragment, rec->len);
    hls->end_us = rec->pts_us + rec->dur_us;

    if (hls->audio) {
        ngx_stream_mdvr_hls_interleave(m, hls, rec);
    }

    if (hls->end_us + rec->dur_us - hls->part_us > target) {
        ngx_stream_mdvr_hls_part(m, hls, hls->end_us);
    }
}


/* Ends the open part, if there is one. */

static void
ngx_stream_mdvr_hls_part(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls, uint64_t end_us)
{
    uint64_t             dur;
    mdvr_bus_part_t     *part;
    mdvr_bus_segment_t  *segment;

    segment = ngx_stream_mdvr_hls_current(hls);

    if (!hls->open || segment == NULL) {
        return;
    }

    ngx_stream_mdvr_hls_flush(m, hls);

    hls->open = 0;
    dur = end_us - hls->part_us;

    if (hls->failed) {
        hls->offset = hls->written;
        return;
    }

    /* a gap between two frames must not make a part longer than announced */

    part = &hls->table.part[hls->table.n_parts++];
    part->msn = segment->msn;
    part->part = segment->parts++;
    part->independent = hls->independent;
    part->offset = hls->offset;
    part->size = hls->written - hls->offset;
    part->dur_us = (uint32_t) ngx_min(dur, hls->table.part_us);
    part->reserved = 0;

    hls->offset = hls->written;
    segment->size = hls->written;
    segment->dur_us = (uint32_t) (end_us - segment->pts_us);

    ngx_stream_mdvr_hls_publish(m, hls);
}


/* Ends the open segment with the frame before `rec`, or opens one with it. */

static void
ngx_stream_mdvr_hls_segment(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t *hls, const mdvr_bus_rec_t *rec)
{
    mdvr_bus_segment_t  *segment;

    segment = ngx_stream_mdvr_hls_current(hls);

    if (segment) {
        ngx_stream_mdvr_hls_part(m, hls, rec->pts_us);

        segment->closed = 1;
        segment->size = hls->written;
        segment->dur_us = (uint32_t) (rec->pts_us - segment->pts_us);
        hls->table.segment_us = ngx_max(hls->table.segment_us,
                                        segment->dur_us);

        ngx_close_file(hls->fd);
        hls->fd = NGX_INVALID_FILE;

        if (!hls->failed) {
            ngx_stream_mdvr_hls_publish(m, hls);
        }

        return;
    }

    hls->failed = 0;

    ngx_stream_mdvr_hls_init(m, hls, rec->init_version);
    ngx_stream_mdvr_hls_name(hls, "seg-%uD.m4s", hls->table.next_msn);

    hls->fd = ngx_open_file(hls->path, NGX_FILE_WRONLY, NGX_FILE_TRUNCATE,
                            0660);

    if (hls->fd == NGX_INVALID_FILE) {
        ngx_stream_mdvr_hls_failed(m, hls, ngx_open_file_n);
        return;
    }

    if (hls->table.n_segments == MDVR_BUS_HLS_SEGMENTS) {
        hls->table.n_segments--;
        ngx_memmove(hls->table.segment, hls->table.segment + 1,
                    hls->table.n_segments * sizeof(mdvr_bus_segment_t));
    }

    segment = &hls->table.segment[hls->table.n_segments++];
    ngx_memzero(segment, sizeof(mdvr_bus_segment_t));

    hls->discont_seq += hls->discont;

    segment->msn = hls->table.next_msn++;
    segment->init_version = ngx_stream_mdvr_hls_version(hls,
                                                        rec->init_version);
    hls->table.audio = hls->audio;
    segment->discont = hls->discont;
    segment->discont_seq = hls->discont_seq;
    segment->pts_us = rec->pts_us;

    if (hls->first_us == 0) {
        hls->first_us = rec->pts_us + 1;
    }

    segment->received_us = rec->received_us;

    hls->discont = 0;
    hls->cut = 0;
    hls->offset = 0;
    hls->written = 0;
}


/* --- ends ------------------------------------------------------------------------ */

/* Nobody asks any more: no files, an empty table that remembers the number. */

static void
ngx_stream_mdvr_hls_forget(ngx_stream_mdvr_media_hls_t *hls)
{
    uint32_t  msn, first;

    first = hls->table.n_segments ? hls->table.segment[0].msn
                                  : hls->table.next_msn;
    first = first > NGX_STREAM_MDVR_HLS_KEEP ? first - NGX_STREAM_MDVR_HLS_KEEP
                                             : 0;

    for (msn = first; msn < hls->table.next_msn; msn++) {
        ngx_stream_mdvr_hls_delete(hls, msn);
    }

    hls->table.n_segments = 0;
    hls->table.n_parts = 0;
    hls->open = 0;
    hls->npieces = 0;
    hls->waiting = 0;
}


void
ngx_stream_mdvr_media_hls_close(ngx_stream_mdvr_media_t *m,
    ngx_stream_mdvr_media_hls_t **phls)
{
    mdvr_bus_segment_t           *segment;
    ngx_stream_mdvr_media_hls_t  *hls = *phls;

    if (hls == NULL) {
        return;
    }

    if (!hls->failed) {
        ngx_stream_mdvr_hls_part(m, hls, hls->end_us);

        segment = ngx_stream_mdvr_hls_current(hls);

        if (segment) {
            segment->closed = 1;
            ngx_stream_mdvr_hls_publish(m, hls);
        }
    }

    if (hls->fd != NGX_INVALID_FILE) {
        ngx_close_file(hls->fd);
    }

    ngx_free(hls);
    *phls = NULL;
}
