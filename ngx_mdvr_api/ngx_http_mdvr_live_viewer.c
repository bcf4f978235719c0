/*
 * A viewer that stays: reads the bus for stream.mp4 and ws.
 *
 * Nothing is queued for a viewer beyond what its transport has under way; while
 * that is over `max_queue` the viewer simply does not read on, and the ring
 * goes on without it.  Once it reads again and is later than `max_delay`, it
 * skips to the newest key frame.
 *
 * What one viewer of a worker has copied out of the ring the others send too:
 * the last fragments of each stream are kept as long as somebody may want them.
 */


#include "ngx_mdvr_api/ngx_http_mdvr_live.h"


#define NGX_HTTP_MDVR_BLOB_KEEP   4         /* per stream */
#define NGX_HTTP_MDVR_SOUND_WAIT  500       /* ms for the first sound */
#define NGX_HTTP_MDVR_SOUND_TICK  100
#define NGX_HTTP_MDVR_SOUND_KEEP  15000


static ngx_http_mdvr_blob_t *ngx_http_mdvr_viewer_read(
    ngx_http_mdvr_viewer_t *v, mdvr_rc_t *rc);
static ngx_int_t ngx_http_mdvr_viewer_init(ngx_http_mdvr_viewer_t *v);
static void ngx_http_mdvr_viewer_end(ngx_http_mdvr_viewer_t *v,
    ngx_uint_t code, const char *reason);
static void ngx_http_mdvr_viewer_woken(void *data);
static void ngx_http_mdvr_viewer_tick(ngx_event_t *ev);


typedef struct {
    uint32_t                 generation;
    ngx_uint_t               next;
    ngx_uint_t               viewers;       /* of this worker */
    ngx_http_mdvr_blob_t    *blob[NGX_HTTP_MDVR_BLOB_KEEP];
} ngx_http_mdvr_shelf_t;


static ngx_http_mdvr_shelf_t  ngx_http_mdvr_shelves[MDVR_BUS_STREAMS_MAX];


/* --- fragments in memory ----------------------------------------------------- */

ngx_http_mdvr_blob_t *
ngx_http_mdvr_blob_make(const u_char *p, size_t len)
{
    ngx_http_mdvr_blob_t  *blob;

    blob = ngx_alloc(offsetof(ngx_http_mdvr_blob_t, data) + len,
                     ngx_cycle->log);
    if (blob == NULL) {
        return NULL;
    }

    blob->refs = 1;
    blob->len = len;
    ngx_memcpy(blob->data, p, len);

    return blob;
}


void
ngx_http_mdvr_blob_drop(ngx_http_mdvr_blob_t *blob)
{
    if (--blob->refs == 0) {
        ngx_free(blob);
    }
}


static void
ngx_http_mdvr_shelf_clear(ngx_http_mdvr_shelf_t *shelf)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_HTTP_MDVR_BLOB_KEEP; i++) {
        if (shelf->blob[i]) {
            ngx_http_mdvr_blob_drop(shelf->blob[i]);
            shelf->blob[i] = NULL;
        }
    }
}


/* The next record as a blob with a reference for the caller. */

static ngx_http_mdvr_blob_t *
ngx_http_mdvr_viewer_read(ngx_http_mdvr_viewer_t *v, mdvr_rc_t *rc)
{
    ngx_uint_t              i;
    mdvr_bus_t             *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t          rec;
    const uint8_t          *payload;
    ngx_http_mdvr_blob_t   *blob;
    ngx_http_mdvr_shelf_t  *shelf;

    shelf = &ngx_http_mdvr_shelves[v->ref.index];

    for ( ;; ) {

        *rc = mdvr_bus_peek(bus, &v->reader, &rec, &payload);

        if (*rc != MDVR_OK) {
            return NULL;
        }

        if (rec.flags & MDVR_BUS_F_AUDIO) {

            /* the device's own coding; players get it as AAC, if at all */

            (void) mdvr_bus_take(bus, &v->reader, &rec);
            continue;
        }

        blob = NULL;

        if (shelf->generation == v->ref.generation) {
            for (i = 0; i < NGX_HTTP_MDVR_BLOB_KEEP; i++) {
                if (shelf->blob[i] && shelf->blob[i]->rec.seq == rec.seq) {
                    blob = shelf->blob[i];
                    blob->refs++;
                    break;
                }
            }
        }

        if (blob == NULL) {
            blob = ngx_http_mdvr_blob_make(payload, rec.len);

            if (blob == NULL) {
                *rc = MDVR_E_NO_MEMORY;
                return NULL;
            }

            blob->rec = rec;

            if (mdvr_bus_take(bus, &v->reader, &rec) != MDVR_OK) {
                ngx_http_mdvr_blob_drop(blob);
                continue;
            }

            if (shelf->generation != v->ref.generation) {
                ngx_http_mdvr_shelf_clear(shelf);
                shelf->generation = v->ref.generation;
            }

            i = shelf->next++ % NGX_HTTP_MDVR_BLOB_KEEP;

            if (shelf->blob[i]) {
                ngx_http_mdvr_blob_drop(shelf->blob[i]);
            }

            shelf->blob[i] = blob;
            blob->refs++;

            return blob;
        }

        if (mdvr_bus_take(bus, &v->reader, &rec) == MDVR_OK) {
            return blob;
        }

        ngx_http_mdvr_blob_drop(blob);
    }
}


/* --- life ------------------------------------------------------------------------ */

mdvr_rc_t
ngx_http_mdvr_viewer_open(ngx_http_mdvr_viewer_t *v)
{
    mdvr_rc_t  rc;

    rc = ngx_mdvr_bus_watch(&v->watch, v->ref, NGX_MDVR_BUS_VIEWER,
                            ngx_http_mdvr_viewer_woken, v);
    if (rc != MDVR_OK) {
        return rc;
    }

    v->open = 1;
    v->opened = ngx_current_msec;
    ngx_http_mdvr_shelves[v->ref.index].viewers++;

    v->timer.handler = ngx_http_mdvr_viewer_tick;
    v->timer.data = v;
    v->timer.log = v->log;

    ngx_add_timer(&v->timer, v->want_audio ? NGX_HTTP_MDVR_SOUND_TICK
                                           : v->conf->recheck);

    if (v->want_audio) {
        mdvr_bus_want_aac(ngx_mdvr_bus(), v->ref, mdvr_bus_clock_ms()
                                                + NGX_HTTP_MDVR_SOUND_KEEP);
    }

    /* a fresh I-frame, should the newest be old; the owner limits the rate */

    mdvr_bus_want(ngx_mdvr_bus(), v->ref, MDVR_BUS_WANT_KEY);

    return MDVR_OK;
}


void
ngx_http_mdvr_viewer_close(ngx_http_mdvr_viewer_t *v)
{
    ngx_http_mdvr_shelf_t  *shelf;

    if (!v->open) {
        return;
    }

    v->open = 0;
    ngx_mdvr_bus_unwatch(&v->watch);

    if (v->timer.timer_set) {
        ngx_del_timer(&v->timer);
    }

    shelf = &ngx_http_mdvr_shelves[v->ref.index];

    if (--shelf->viewers == 0) {
        ngx_http_mdvr_shelf_clear(shelf);
    }
}


static void
ngx_http_mdvr_viewer_end(ngx_http_mdvr_viewer_t *v, ngx_uint_t code,
    const char *reason)
{
    ngx_http_mdvr_viewer_close(v);
    v->transport->end(v, code, reason);
}


/* --- reading ---------------------------------------------------------------------- */

static ngx_int_t
ngx_http_mdvr_viewer_init(ngx_http_mdvr_viewer_t *v)
{
    size_t                 len;
    uint32_t               version;
    uint8_t                head[MDVR_BUS_INIT_MAX];
    mdvr_rc_t              rc;
    ngx_http_mdvr_blob_t  *blob;

    rc = v->audio ? mdvr_bus_get_init_av(ngx_mdvr_bus(), v->ref, head,
                                         sizeof(head), &len, &version)
                  : mdvr_bus_get_init(ngx_mdvr_bus(), v->ref, head,
                                      sizeof(head), &len, &version);
    if (rc != MDVR_OK) {
        return NGX_AGAIN;
    }

    blob = ngx_http_mdvr_blob_make(head, len);
    if (blob == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&blob->rec, sizeof(mdvr_bus_rec_t));
    blob->rec.init_version = version;

    v->init_version = version;

    return v->transport->send(v, blob, 1);
}


static uint64_t
ngx_http_mdvr_viewer_age_ms(const mdvr_bus_rec_t *rec)
{
    ngx_time_t  *tp = ngx_timeofday();
    uint64_t     now_ms;

    now_ms = (uint64_t) tp->sec * 1000 + tp->msec;

    return now_ms > rec->received_us / 1000
           ? now_ms - rec->received_us / 1000 : 0;
}


/*
 * With sound or without is settled before the first byte: a track cannot be
 * added later.  NGX_AGAIN: the sound may still come.
 */

static ngx_int_t
ngx_http_mdvr_viewer_settle(ngx_http_mdvr_viewer_t *v,
    const mdvr_bus_rec_t *rec)
{
    uint64_t     end;
    mdvr_bus_t  *bus = ngx_mdvr_bus();

    if (v->want_audio && mdvr_bus_encoder(bus)) {

        if (mdvr_bus_aac_end(bus, v->ref, &end) && end > rec->pts_us) {
            v->audio = 1;
            (void) mdvr_bus_reader_init(bus, v->ref, MDVR_BUS_RING_AUX, false,
                                        &v->sound);
            (void) mdvr_bus_reader_back(bus, &v->sound,
                                        end - rec->pts_us + 2000000);

        } else {
            if (v->first_us == 0) {
                v->first_us = 1;                /* the picture is there */
                v->settling = ngx_current_msec;
            }

            if (ngx_current_msec - v->settling < NGX_HTTP_MDVR_SOUND_WAIT) {
                return NGX_AGAIN;
            }
        }
    }

    v->settled = 1;
    v->first_us = rec->pts_us;

    return NGX_OK;
}


/* The sound that is there, from the first frame on. */

static ngx_int_t
ngx_http_mdvr_viewer_sound(ngx_http_mdvr_viewer_t *v, uint64_t until_us)
{
    ngx_int_t              n;
    mdvr_bus_t            *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t         rec;
    const uint8_t         *payload;
    ngx_http_mdvr_blob_t  *blob;

    while (mdvr_bus_peek(bus, &v->sound, &rec, &payload) == MDVR_OK
           && rec.pts_us <= until_us)
    {
        blob = NULL;

        if (rec.codec == MDVR_BUS_AAC && rec.pts_us >= v->first_us) {
            blob = ngx_http_mdvr_blob_make(payload, rec.len);

            if (blob == NULL) {
                return NGX_ERROR;
            }

            blob->rec = rec;
        }

        if (mdvr_bus_take(bus, &v->sound, &rec) != MDVR_OK) {
            if (blob) {
                ngx_http_mdvr_blob_drop(blob);
            }

            continue;
        }

        if (blob) {
            n = v->transport->send(v, blob, 0);

            if (n != NGX_OK) {
                return n;
            }
        }

        if (v->transport->queued(v) >= v->conf->max_queue) {
            break;
        }
    }

    return NGX_OK;
}


void
ngx_http_mdvr_viewer_pump(ngx_http_mdvr_viewer_t *v)
{
    mdvr_rc_t              rc;
    ngx_int_t              n;
    mdvr_bus_t            *bus = ngx_mdvr_bus();
    ngx_uint_t             sent, code;
    mdvr_bus_rec_t         rec;
    mdvr_bus_info_t        info;
    const uint8_t         *payload;
    ngx_http_mdvr_blob_t  *blob;

    if (!v->open || v->pumping) {
        return;
    }

    v->pumping = 1;
    sent = 0;
    n = NGX_OK;

    if (!v->reading) {
        if (mdvr_bus_reader_init(bus, v->ref, MDVR_BUS_RING_MEDIA, false,
                                 &v->reader)
            == MDVR_OK)
        {
            v->reading = 1;
        }
    }

    while (v->reading
           && v->transport->queued(v) < v->conf->max_queue)
    {
        rc = mdvr_bus_peek(bus, &v->reader, &rec, &payload);

        if (v->reader.overruns != v->overruns) {
            v->overruns = v->reader.overruns;
            ngx_mdvr_count(viewer_skips_total);
        }

        if (rc != MDVR_OK) {
            break;
        }

        if (!v->settled
            && ngx_http_mdvr_viewer_settle(v, &rec) != NGX_OK)
        {
            break;
        }

        /*
         * The group of pictures that a new viewer begins with is old by
         * nature; later on age means that this viewer is slow.
         */

        if (v->fragments && ngx_current_msec - v->opened > v->conf->max_delay
            && ngx_http_mdvr_viewer_age_ms(&rec) > v->conf->max_delay
            && mdvr_bus_skip(bus, &v->reader))
        {
            ngx_mdvr_count(viewer_skips_total);
            continue;
        }

        blob = ngx_http_mdvr_viewer_read(v, &rc);

        if (blob == NULL) {
            break;
        }

        if (blob->rec.init_version != v->init_version) {
            n = ngx_http_mdvr_viewer_init(v);

            if (n == NGX_ERROR) {
                ngx_http_mdvr_blob_drop(blob);
                break;
            }
        }

        ngx_mdvr_count_by(media_bytes_total, &(ngx_str_t) ngx_string("out"),
                          blob->len);
        v->fragments++;
        sent++;

        rec = blob->rec;
        n = v->transport->send(v, blob, 0);

        if (n == NGX_OK && v->audio) {
            n = ngx_http_mdvr_viewer_sound(v, rec.pts_us);
        }

        if (n == NGX_ERROR) {
            break;
        }
    }

    if (sent && n != NGX_ERROR) {
        n = v->transport->flush(v);
    }

    v->pumping = 0;

    if (n == NGX_ERROR) {
        ngx_http_mdvr_viewer_end(v, NGX_HTTP_MDVR_LIVE_ENDED, "failed");
        return;
    }

    if (sent) {
        return;
    }

    /* nothing new: is it over? */

    if (mdvr_bus_info(bus, v->ref, &info) != MDVR_OK) {
        ngx_http_mdvr_viewer_end(v, NGX_HTTP_MDVR_LIVE_ENDED, "stopped");

    } else if (info.state == MDVR_BUS_ENDING
               && v->transport->queued(v) < v->conf->max_queue)
    {
        code = info.end == MDVR_BUS_END_STOPPED
               || info.end == MDVR_BUS_END_NO_VIEWERS
               || info.end == MDVR_BUS_END_COMPLETE
               ? NGX_HTTP_MDVR_LIVE_DONE : NGX_HTTP_MDVR_LIVE_ENDED;

        ngx_http_mdvr_viewer_end(v, code, mdvr_bus_end_name(info.end));
    }
}


static void
ngx_http_mdvr_viewer_woken(void *data)
{
    ngx_http_mdvr_viewer_pump(data);
}


static void
ngx_http_mdvr_viewer_tick(ngx_event_t *ev)
{
    mdvr_rc_t                rc;
    ngx_http_mdvr_viewer_t  *v = ev->data;

    rc = ngx_mdvr_stream_token_recheck(v->token);

    if (rc != MDVR_OK) {
        ngx_http_mdvr_viewer_end(v, NGX_HTTP_MDVR_LIVE_DENIED,
                                 rc == MDVR_E_EXPIRED ? "token_expired"
                                                      : "token_revoked");
        return;
    }

    if (v->want_audio) {
        mdvr_bus_want_aac(ngx_mdvr_bus(), v->ref, mdvr_bus_clock_ms()
                                                + NGX_HTTP_MDVR_SOUND_KEEP);
    }

    ngx_add_timer(ev, v->want_audio && !v->settled ? NGX_HTTP_MDVR_SOUND_TICK
                                                   : v->conf->recheck);

    ngx_http_mdvr_viewer_pump(v);
}
