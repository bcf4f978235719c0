/*
 * Live video (V102): frames of the device to the frame bus, wishes of the
 * viewers to the device.
 *
 * Each access unit becomes one fMP4 fragment, written in place into the ring.
 * Nothing is put there before a key frame with its parameter sets has come.
 * The session's time line (pts_us) begins at 0 and follows the differences of
 * the device's stamps; where those step back or jump by more than 5 s it goes
 * on by one frame and the record is marked as a discontinuity.
 *
 * When nothing was delivered for `stall`, the device is started once more,
 * then the session ends; viewers read the reason in the slot.
 *
 * A recording that is played (worker/playback.c) comes in the same way, from a
 * player on this machine, for a session whose id no device has heard.  It may
 * be paused, so that silence is no fault, and when it ends it has ended.
 *
 * Source: protocol reference, media.md sections 3 and 4.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_media.h"
#include "ngx_mdvr_core/ngx_mdvr_playback.h"

#include "mdvr/media/fmp4.h"


#define NGX_STREAM_MDVR_LIVE_JUMP      5000000      /* us */
#define NGX_STREAM_MDVR_LIVE_FRAME     40000        /* us, before any is known */
#define NGX_STREAM_MDVR_LIVE_STILL     10           /* frames of one stamp: no
                                                       clock to go by */
#define NGX_STREAM_MDVR_LIVE_UNKNOWN   5            /* I-frames of no codec */
#define NGX_STREAM_MDVR_LIVE_ASK       1000         /* ms between two 0x6002 */
#define NGX_STREAM_MDVR_LIVE_OLD_KEY   2000         /* ms */
#define NGX_STREAM_MDVR_LIVE_GREET     300          /* ms */
#define NGX_STREAM_MDVR_LIVE_MOVE      3000         /* ms to connect again */
#define NGX_STREAM_MDVR_LIVE_MOVES     3


typedef struct {
    mdvr_codec_e                   codec;
    uint64_t                       sets;             /* digest of VPS/SPS/PPS */
    uint32_t                       init_version;
    unsigned                       width;
    unsigned                       height;

    uint32_t                       sequence;
    uint64_t                       device_us;        /* last video stamp */
    uint64_t                       pts_us;           /* of the last frame */
    uint32_t                       dur_us;
    uint32_t                       still;            /* same stamp in a row */

    uint64_t                       report_from;      /* 0x6403 */
    uint64_t                       report_to;
    ngx_msec_t                     reported;

    ngx_msec_t                     bound;
    ngx_msec_t                     delivered;        /* last record */
    ngx_msec_t                     key;              /* last key frame */
    ngx_msec_t                     asked;            /* last 0x6002 */
    ngx_msec_t                     restarted;

    uint32_t                       frames[3];        /* I, P, audio to count */
    uint32_t                       no_key;
    uint32_t                       unknown;          /* I-frames in a row */
    uint32_t                       audio_type;

    unsigned                       greeted:1;        /* 0x6002, 0x6004 sent */
    unsigned                       audio:1;          /* device sends sound */
    unsigned                       announced:1;      /* its type, in V101 */
    unsigned                       have_stamp:1;
    unsigned                       have_report:1;
    unsigned                       need_key:1;
    unsigned                       discont:1;        /* mark the next record */
    unsigned                       restarts:1;       /* one was tried */
    unsigned                       moves:3;          /* asked to move so often */
    unsigned                       given_up:1;       /* closed without that */
    ngx_msec_t                     drain;            /* when, 0: not draining */

    ngx_stream_mdvr_media_hls_t   *hls;
} ngx_stream_mdvr_live_t;


static ngx_int_t ngx_stream_mdvr_live_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg);
static ngx_int_t ngx_stream_mdvr_live_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg);
static ngx_int_t ngx_stream_mdvr_live_wake(ngx_stream_mdvr_media_t *m);
static ngx_int_t ngx_stream_mdvr_live_tick(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_live_close(ngx_stream_mdvr_media_t *m);
static ngx_int_t ngx_stream_mdvr_live_end(ngx_stream_mdvr_media_t *m,
    mdvr_bus_end_e why);


const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_live = {
    MDVR_SESSION_LIVE,
    MDVR_BUS_KIND_LIVE,
    sizeof(ngx_stream_mdvr_live_t),
    ngx_stream_mdvr_live_open,
    ngx_stream_mdvr_live_message,
    ngx_stream_mdvr_live_wake,
    ngx_stream_mdvr_live_tick,
    ngx_stream_mdvr_live_close,
    NULL
};


const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_playback = {
    MDVR_SESSION_LIVE,
    MDVR_BUS_KIND_PLAYBACK,
    sizeof(ngx_stream_mdvr_live_t),
    ngx_stream_mdvr_live_open,
    ngx_stream_mdvr_live_message,
    ngx_stream_mdvr_live_wake,
    ngx_stream_mdvr_live_tick,
    ngx_stream_mdvr_live_close,
    NULL
};


static ngx_uint_t
ngx_stream_mdvr_live_recorded(const ngx_stream_mdvr_media_t *m)
{
    return m->info->kind == MDVR_BUS_KIND_PLAYBACK;
}


static ngx_int_t
ngx_stream_mdvr_live_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg)
{
    ngx_stream_mdvr_live_t  *live = m->data;

    /* channel 99 is the split picture; the wire counts from 0 */

    if ((reg->channel != 99 && reg->channel + 1 != m->info->channel)
        || reg->stream != m->info->stream)
    {
        return NGX_DECLINED;
    }

    if (m->info->state == MDVR_BUS_ENDING) {
        return NGX_DECLINED;
    }

    live->bound = ngx_current_msec;
    live->delivered = ngx_current_msec;
    live->reported = ngx_current_msec;
    live->need_key = 1;
    live->dur_us = NGX_STREAM_MDVR_LIVE_FRAME;
    live->restarts = m->info->restarts != 0;
    live->restarted = ngx_current_msec;
    live->discont = m->info->frames != 0;
    live->audio_type = ngx_mdvr_bus_live_audio(m->ref);
    live->announced = mdvr_audio_type((int) live->audio_type) != NULL;

    return NGX_OK;
}


/* --- to the device -------------------------------------------------------- */

static void
ngx_stream_mdvr_live_ask_key(ngx_stream_mdvr_media_t *m)
{
    u_char                   text[16];
    mdvr_buf_t               b;
    ngx_stream_mdvr_live_t  *live = m->data;

    if (!live->greeted
        || (live->asked && ngx_current_msec - live->asked
                           < NGX_STREAM_MDVR_LIVE_ASK))
    {
        return;
    }

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_empty(&b, MDVR_MEDIA_KEY_REQUEST);

    if (ngx_stream_mdvr_media_send(m, &b) == NGX_OK) {
        live->asked = ngx_current_msec;
    }
}


static void
ngx_stream_mdvr_live_audio(ngx_stream_mdvr_media_t *m)
{
    u_char                   text[16];
    bool                     on;
    mdvr_buf_t               b;
    ngx_stream_mdvr_live_t  *live = m->data;

    on = mdvr_bus_audio_wanted(ngx_mdvr_bus(), m->ref, mdvr_bus_clock_ms());

    if (!live->greeted || on == live->audio) {
        return;
    }

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_audio_switch(&b, on);

    if (ngx_stream_mdvr_media_send(m, &b) == NGX_OK) {
        live->audio = on;
    }
}


/*
 * As captured: the I-frame request and the sound switch in one segment, when
 * the device has said its first word after 0x6000, or a little later.
 */

static void
ngx_stream_mdvr_live_greet(ngx_stream_mdvr_media_t *m)
{
    u_char                   text[32];
    mdvr_buf_t               b;
    ngx_stream_mdvr_live_t  *live = m->data;

    live->greeted = 1;
    live->audio = mdvr_bus_audio_wanted(ngx_mdvr_bus(), m->ref,
                                        mdvr_bus_clock_ms());

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_empty(&b, MDVR_MEDIA_KEY_REQUEST);
    mdvr_media_write_audio_switch(&b, live->audio);

    if (ngx_stream_mdvr_media_send(m, &b) == NGX_OK) {
        live->asked = ngx_current_msec;
    }
}


static void
ngx_stream_mdvr_live_report(ngx_stream_mdvr_media_t *m)
{
    u_char                   text[48];
    mdvr_buf_t               b;
    ngx_stream_mdvr_live_t  *live = m->data;

    if (!live->have_report
        || ngx_current_msec - live->reported < m->conf->report)
    {
        return;
    }

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_report(&b, MDVR_MEDIA_REPORT, live->report_from,
                            live->report_to);

    (void) ngx_stream_mdvr_media_send(m, &b);   /* full: the next one tells */

    live->reported = ngx_current_msec;
    live->have_report = 0;
}


static void
ngx_stream_mdvr_live_covers(ngx_stream_mdvr_live_t *live, uint64_t stamp)
{
    if (!live->have_report) {
        live->have_report = 1;
        live->report_from = stamp;
    }

    live->report_to = stamp;
}


/* --- the picture ------------------------------------------------------------- */

static uint64_t
ngx_stream_mdvr_live_digest(uint64_t sum, mdvr_str_t s)
{
    size_t  i;

    for (i = 0; i < s.len; i++) {
        sum = (sum ^ s.p[i]) * UINT64_C(1099511628211);        /* FNV-1a */
    }

    return sum ^ s.len;
}


/*
 * Parameter sets as they stand in this key frame: a new init segment when they
 * have changed.  NGX_DECLINED: no decoder could start here.
 */

static ngx_int_t
ngx_stream_mdvr_live_sets(ngx_stream_mdvr_media_t *m, const mdvr_au_t *au,
    ngx_uint_t *changed)
{
    uint8_t                  head[MDVR_FMP4_INIT_MAX];
    uint8_t                  head_av[MDVR_FMP4_INIT_MAX];
    uint64_t                 sets;
    mdvr_rc_t                rc;
    mdvr_buf_t               b;
    mdvr_sps_t               sps;
    mdvr_bus_init_t          init;
    mdvr_fmp4_init_t         fmp4;
    ngx_stream_mdvr_live_t  *live = m->data;

    *changed = 0;

    if (au->sps.len == 0 || au->pps.len == 0
        || (live->codec == MDVR_CODEC_H265 && au->vps.len == 0))
    {
        return live->init_version ? NGX_OK : NGX_DECLINED;
    }

    sets = UINT64_C(14695981039346656037);
    sets = ngx_stream_mdvr_live_digest(sets, au->vps);
    sets = ngx_stream_mdvr_live_digest(sets, au->sps);
    sets = ngx_stream_mdvr_live_digest(sets, au->pps);

    if (live->init_version && sets == live->sets) {
        return NGX_OK;
    }

    ngx_memzero(&fmp4, sizeof(mdvr_fmp4_init_t));
    fmp4.codec = live->codec;
    fmp4.vps = au->vps;
    fmp4.sps = au->sps;
    fmp4.pps = au->pps;

    b = mdvr_buf(head, sizeof(head));

    rc = mdvr_fmp4_init(&b, &fmp4, &sps);

    if (rc != MDVR_OK) {
        ngx_log_error(NGX_LOG_INFO, m->connection->log, 0,
                      "parameter sets refused: %s, device: %s",
                      mdvr_rc_words(rc), m->info->serial);
        return NGX_DECLINED;
    }

    init.data = head;
    init.len = b.len;

    /* the same with a track of sound, for who wants that (mdvr_bus_want_aac) */

    fmp4.audio_rate = MDVR_BUS_AAC_RATE;
    fmp4.audio_channels = 1;

    b = mdvr_buf(head_av, sizeof(head_av));
    rc = mdvr_fmp4_init(&b, &fmp4, NULL);
    init.av = head_av;
    init.av_len = rc == MDVR_OK ? b.len : 0;
    init.codec = (uint8_t) live->codec;
    init.width = (uint16_t) sps.width;
    init.height = (uint16_t) sps.height;
    init.codecs = sps.codec_string;
    init.timescale = MDVR_FMP4_TIMESCALE;

    if (mdvr_bus_set_init(ngx_mdvr_bus(), m->ref, m->ticket, &init,
                          &live->init_version)
        != MDVR_OK)
    {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_INFO, m->connection->log, 0,
                  "media session %s carries %s, %dx%d, %s",
                  m->info->session, mdvr_codec_name(live->codec),
                  (int) sps.width, (int) sps.height, sps.codec_string);

    live->sets = sets;
    live->width = sps.width;
    live->height = sps.height;
    *changed = 1;

    return NGX_OK;
}


/* The session's time of this frame; true when the device's clock jumped. */

static ngx_uint_t
ngx_stream_mdvr_live_time(ngx_stream_mdvr_live_t *live, uint64_t stamp)
{
    int64_t     delta;
    ngx_uint_t  jump;

    if (!live->have_stamp) {
        live->have_stamp = 1;
        live->device_us = stamp;
        return 0;
    }

    delta = (int64_t) (stamp - live->device_us);
    live->device_us = stamp;
    live->still = delta == 0 ? live->still + 1 : 0;
    jump = 0;

    if (delta < 0 || delta > NGX_STREAM_MDVR_LIVE_JUMP) {
        jump = 1;
        delta = live->dur_us;

    } else if (delta == 0) {
        delta = live->still < NGX_STREAM_MDVR_LIVE_STILL
                ? 1000 : live->dur_us;          /* time has to go on */

    } else if (delta >= 5000 && delta <= 1000000) {
        live->dur_us = (uint32_t) delta;
    }

    live->pts_us += delta;

    return jump;
}


/* Where an earlier connection of the same session left off. */

static void
ngx_stream_mdvr_live_resume(ngx_stream_mdvr_media_t *m)
{
    mdvr_bus_t              *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t           rec;
    mdvr_bus_reader_t        reader;
    const uint8_t           *p;
    ngx_stream_mdvr_live_t  *live = m->data;

    if (mdvr_bus_reader_init(bus, m->ref, MDVR_BUS_RING_MEDIA, false, &reader)
        != MDVR_OK)
    {
        return;
    }

    while (mdvr_bus_peek(bus, &reader, &rec, &p) == MDVR_OK) {
        live->pts_us = ngx_max(live->pts_us, rec.pts_us + rec.dur_us);
        live->sequence = (uint32_t) rec.seq + 1;
        live->discont = 1;

        if (mdvr_bus_take(bus, &reader, &rec) != MDVR_OK) {
            break;
        }
    }
}


/* When the event loop woke: as good as now, and costs nothing. */

static uint64_t
ngx_stream_mdvr_live_now_us(void)
{
    ngx_time_t  *tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000000 + tp->msec * 1000;
}


static ngx_int_t
ngx_stream_mdvr_live_video(ngx_stream_mdvr_media_t *m,
    const mdvr_media_video_t *video)
{
    uint8_t                 *p;
    size_t                   size;
    mdvr_rc_t                rc;
    ngx_int_t                n;
    mdvr_au_t                au;
    ngx_uint_t               jump, changed;
    mdvr_codec_e             codec;
    mdvr_bus_t              *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t           rec;
    mdvr_fmp4_frame_t        frame;
    ngx_stream_mdvr_live_t  *live = m->data;

    ngx_stream_mdvr_live_covers(live, video->stamp_us);

    /* the codec: from the bytes of what says it is an I-frame */

    if (live->codec == MDVR_CODEC_NONE || video->key) {
        codec = mdvr_codec_detect(video->data);

        if (codec != MDVR_CODEC_NONE) {
            live->unknown = 0;

            if (codec != live->codec) {
                live->codec = codec;
                live->init_version = 0;
                live->need_key = 1;
            }

        } else if (live->codec == MDVR_CODEC_NONE) {

            if (video->key
                && ++live->unknown >= NGX_STREAM_MDVR_LIVE_UNKNOWN)
            {
                (void) ngx_mdvr_bus_end(m->ref, MDVR_BUS_END_UNSUPPORTED,
                                        m->connection->log);
                ngx_mdvr_bus_stop_device(m->info);
                return ngx_stream_mdvr_media_refuse(m, "codec");
            }

            goto drop;
        }
    }

    mdvr_au_scan(live->codec, video->data, &au);

    if (!au.picture) {
        return NGX_OK;                          /* parameter sets alone, SEI */
    }

    if (live->need_key && !au.key) {
        goto drop;
    }

    changed = 0;

    if (au.key) {
        n = ngx_stream_mdvr_live_sets(m, &au, &changed);

        if (n == NGX_ERROR) {
            return NGX_OK;                      /* the tick sees to it */
        }

        if (n == NGX_DECLINED) {
            goto drop;
        }

        live->key = ngx_current_msec;
    }

    jump = ngx_stream_mdvr_live_time(live, video->stamp_us);

    size = mdvr_fmp4_video_size(&au);

    rc = mdvr_bus_reserve(bus, m->ref, m->ticket, MDVR_BUS_RING_MEDIA, size,
                          &p);

    if (rc == MDVR_E_NO_SPACE) {
        ngx_mdvr_refusal("frame_ring");
        live->need_key = 1;
        goto drop;
    }

    if (rc != MDVR_OK) {
        return NGX_OK;                          /* over, or replaced */
    }

    frame.sequence = ++live->sequence;
    frame.time_us = live->pts_us;
    frame.duration_us = live->dur_us;
    frame.key = au.key;

    ngx_memzero(&rec, sizeof(mdvr_bus_rec_t));
    rec.len = (uint32_t) mdvr_fmp4_video(p, &frame, live->codec, &au,
                                         video->data);
    rec.hdr_len = MDVR_FMP4_FRAGMENT_HEAD;
    rec.codec = (uint8_t) live->codec;
    rec.init_version = live->init_version;
    rec.dur_us = live->dur_us;
    rec.pts_us = live->pts_us;
    rec.device_us = video->stamp_us;
    rec.received_us = ngx_stream_mdvr_live_now_us();

    if (au.key) {
        rec.flags |= MDVR_BUS_F_KEY;
    }

    if (changed) {
        rec.flags |= MDVR_BUS_F_INIT;
    }

    if (jump || live->discont
        || (changed && m->info->frames + live->sequence > 1))
    {
        rec.flags |= MDVR_BUS_F_DISCONT;
        ngx_mdvr_count(media_gaps_total);
    }

    if (mdvr_bus_commit(bus, m->ref, MDVR_BUS_RING_MEDIA, &rec) != MDVR_OK) {
        return NGX_OK;
    }

    if (m->info->live_ms == 0) {
        m->info->live_ms = mdvr_bus_clock_ms();
        ngx_mdvr_observe(live_start_seconds,
                         (ngx_msec_t) (m->info->live_ms
                                       - m->info->created_ms));
    }

    live->need_key = 0;
    live->discont = 0;
    live->delivered = ngx_current_msec;
    live->frames[au.key ? 0 : 1]++;

    if (live->hls) {
        ngx_stream_mdvr_media_hls(m, &live->hls, &rec, p);
    }

    return NGX_OK;

drop:

    live->no_key++;
    ngx_stream_mdvr_live_ask_key(m);

    return NGX_OK;
}


/* Sound goes to the ring as it came; whoever listens decodes it. */

static void
ngx_stream_mdvr_live_sound(ngx_stream_mdvr_media_t *m,
    const mdvr_media_audio_t *audio)
{
    int64_t                  ahead;
    mdvr_bus_rec_t           rec;
    ngx_stream_mdvr_live_t  *live = m->data;

    ngx_stream_mdvr_live_covers(live, audio->stamp_us);

    live->frames[2]++;

    if (audio->data.len == 0 || live->need_key) {
        return;
    }

    /* one clock for both: the picture's time plus the difference */

    ahead = (int64_t) (audio->stamp_us - live->device_us);

    if (ahead < -NGX_STREAM_MDVR_LIVE_JUMP || ahead > NGX_STREAM_MDVR_LIVE_JUMP)
    {
        ahead = 0;
    }

    if (ahead < 0 && (uint64_t) -ahead > live->pts_us) {
        ahead = -(int64_t) live->pts_us;
    }

    ngx_memzero(&rec, sizeof(mdvr_bus_rec_t));
    rec.len = (uint32_t) audio->data.len;
    rec.flags = MDVR_BUS_F_AUDIO;
    rec.codec = (uint8_t) live->audio_type;
    rec.init_version = live->init_version;
    rec.pts_us = live->pts_us + ahead;
    rec.device_us = audio->stamp_us;
    rec.received_us = ngx_stream_mdvr_live_now_us();

    (void) mdvr_bus_put(ngx_mdvr_bus(), m->ref, m->ticket,
                        MDVR_BUS_RING_MEDIA, &rec, audio->data.p);
}


/* --- messages ------------------------------------------------------------------ */

static ngx_int_t
ngx_stream_mdvr_live_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg)
{
    u_char                   text[32];
    ngx_int_t                rc;
    mdvr_buf_t               b;
    mdvr_media_audio_t       audio;
    mdvr_media_video_t       video;
    mdvr_media_params_t      params;
    ngx_stream_mdvr_live_t  *live = m->data;

    if (!live->greeted) {
        if (m->info->frames == 0 || live->discont) {
            ngx_stream_mdvr_live_resume(m);
        }

        ngx_stream_mdvr_live_greet(m);
    }

    if (msg->resynced) {
        ngx_mdvr_refusal("media_resync");
        live->need_key = 1;
        live->discont = 1;
        ngx_stream_mdvr_live_ask_key(m);
    }

    rc = NGX_OK;

    switch (msg->type) {

    case MDVR_MEDIA_IFRAME:
    case MDVR_MEDIA_PFRAME:

        if (mdvr_media_read_video(msg->type, msg->payload, &video) != MDVR_OK)
        {
            return ngx_stream_mdvr_media_refuse(m, "media_payload");
        }

        rc = ngx_stream_mdvr_live_video(m, &video);
        break;

    case MDVR_MEDIA_AUDIO:

        if (mdvr_media_read_audio(msg->type, msg->payload, &audio) != MDVR_OK)
        {
            return ngx_stream_mdvr_media_refuse(m, "media_payload");
        }

        ngx_stream_mdvr_live_sound(m, &audio);
        break;

    case MDVR_MEDIA_PARAMETERS:

        /* what V101 announced counts, when it is one of the table */

        if (mdvr_media_read_params(msg->payload, &params) == MDVR_OK
            && !live->announced
            && params.audio_type && params.audio_type < 256)
        {
            live->audio_type = params.audio_type;
        }

        break;

    case MDVR_MEDIA_VIDEO_SWITCH:

        b = mdvr_buf(text, sizeof(text));
        mdvr_media_write_video_answer(&b, 0, MDVR_MEDIA_NO_CENTER);
        (void) ngx_stream_mdvr_media_send(m, &b);
        break;

    case MDVR_MEDIA_VIDEO_OLD:
        return ngx_stream_mdvr_media_refuse(m, "legacy");

    case MDVR_MEDIA_REPOSITION:

        if (!ngx_stream_mdvr_live_recorded(m)) {
            return ngx_stream_mdvr_media_refuse(m, "media_type");
        }

        return ngx_stream_mdvr_media_reel_wish(m, msg);

    case MDVR_MEDIA_END:

        if (ngx_stream_mdvr_live_recorded(m)) {
            return ngx_stream_mdvr_live_end(m, MDVR_BUS_END_COMPLETE);
        }

        /* the device ends the session by itself */

        m->deadline = ngx_current_msec;
        break;

    case MDVR_MEDIA_INFO:
    case MDVR_MEDIA_HEARTBEAT:
    case MDVR_MEDIA_REPORT:
    case MDVR_MEDIA_REPORT_VIDEO:
        break;

    default:

        /* a file block on a live session, or the server's own types */

        return ngx_stream_mdvr_media_refuse(m, "media_type");
    }

    if (rc == NGX_OK) {
        ngx_stream_mdvr_live_report(m);
    }

    return rc;
}


/* --- viewers and time -------------------------------------------------------------- */

/*
 * Over, by whoever ended it: the device is told, and has `close_wait` to close
 * the connection.
 */

static ngx_int_t
ngx_stream_mdvr_live_stop(ngx_stream_mdvr_media_t *m)
{
    ngx_stream_mdvr_live_t  *live = m->data;

    ngx_mdvr_bus_stop_device(m->info);
    ngx_stream_mdvr_media_hls_close(m, &live->hls);
    ngx_stream_mdvr_media_move(m, NGX_STREAM_MDVR_MEDIA_STOPPING,
                               m->conf->close_wait);

    return NGX_DONE;
}


static ngx_int_t
ngx_stream_mdvr_live_wake(ngx_stream_mdvr_media_t *m)
{
    mdvr_bus_t              *bus = ngx_mdvr_bus();
    mdvr_bus_info_t          info;
    ngx_stream_mdvr_live_t  *live = m->data;

    if (!mdvr_bus_owns(bus, m->ref, m->ticket)) {

        if (mdvr_bus_info(bus, m->ref, &info) == MDVR_OK
            && info.state == MDVR_BUS_ENDING)
        {
            return ngx_stream_mdvr_live_stop(m);
        }

        if (live->moves) {
            return NGX_ERROR;                   /* it has moved */
        }

        return ngx_stream_mdvr_media_refuse(m, "session_replaced");
    }

    if (mdvr_bus_take_wants(bus, m->ref) & MDVR_BUS_WANT_KEY) {
        if (live->need_key
            || ngx_current_msec - live->key > NGX_STREAM_MDVR_LIVE_OLD_KEY)
        {
            ngx_stream_mdvr_live_ask_key(m);
        }
    }

    ngx_stream_mdvr_live_audio(m);
    ngx_stream_mdvr_media_hls(m, &live->hls, NULL, NULL);

    return NGX_OK;
}


static void
ngx_stream_mdvr_live_count(ngx_stream_mdvr_media_t *m)
{
    ngx_uint_t               i;
    ngx_stream_mdvr_live_t  *live = m->data;

    static ngx_str_t         type[] = {
        ngx_string("0x6011"), ngx_string("0x6012"), ngx_string("0x6013")
    };

    for (i = 0; i < 3; i++) {
        if (live->frames[i]) {
            ngx_mdvr_keyed_add(NGX_MDVR_K_media_messages_total, &type[i],
                               live->frames[i]);
        }
    }

    if (live->frames[0] + live->frames[1]) {
        ngx_mdvr_count_n(media_frames_total,
                         live->frames[0] + live->frames[1]);
    }

    if (live->frames[2]) {
        ngx_mdvr_count_n(media_audio_frames_total, live->frames[2]);
    }

    if (live->no_key) {
        ngx_mdvr_count_n(media_no_key_total, live->no_key);
        mdvr_bus_dropped(ngx_mdvr_bus(), m->ref, live->no_key);
        live->no_key = 0;
    }

    ngx_memzero(live->frames, sizeof(live->frames));
}


static ngx_int_t
ngx_stream_mdvr_live_end(ngx_stream_mdvr_media_t *m, mdvr_bus_end_e why)
{
    (void) ngx_mdvr_bus_end(m->ref, why, m->connection->log);

    return ngx_stream_mdvr_live_stop(m);
}


/*
 * In a draining worker: the device is asked for another connection, which comes
 * to a new worker.  Until that is there this one goes on, so that viewers miss
 * what the device needs to its next key frame.  It may be offline for the
 * moment, or not want two connections for one session: asked in vain, it loses
 * this one.  The player of a recording comes back by itself.
 */

static ngx_int_t
ngx_stream_mdvr_live_move(ngx_stream_mdvr_media_t *m,
    const mdvr_bus_info_t *info)
{
    ngx_stream_mdvr_live_t  *live = m->data;

    if (live->drain == 0) {
        live->drain = ngx_current_msec + m->conf->drain
                      + (ngx_msec_t) ngx_random() % (m->conf->drain + 1);
        return NGX_OK;
    }

    if ((ngx_msec_int_t) (ngx_current_msec - live->drain) < 0) {
        return NGX_OK;
    }

    if (ngx_stream_mdvr_live_recorded(m)
        || live->moves == NGX_STREAM_MDVR_LIVE_MOVES)
    {
        live->given_up = 1;
        return NGX_ERROR;
    }

    live->moves++;
    live->drain = ngx_current_msec + NGX_STREAM_MDVR_LIVE_MOVE;

    ngx_log_error(NGX_LOG_INFO, m->connection->log, 0,
                  "media session %s moves to another worker, device: %s",
                  info->session, info->serial);

    ngx_mdvr_bus_start_device(info);

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mdvr_live_tick(ngx_stream_mdvr_media_t *m)
{
    int64_t                  now_ms;
    ngx_int_t                rc;
    mdvr_bus_t              *bus = ngx_mdvr_bus();
    ngx_msec_t               idle, limit;
    mdvr_bus_info_t          info;
    ngx_stream_mdvr_live_t  *live = m->data;

    ngx_stream_mdvr_live_count(m);

    if (!live->greeted
        && ngx_current_msec - live->bound >= NGX_STREAM_MDVR_LIVE_GREET)
    {
        ngx_stream_mdvr_live_resume(m);
        ngx_stream_mdvr_live_greet(m);
    }

    rc = ngx_stream_mdvr_live_wake(m);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_stream_mdvr_live_report(m);

    if (ngx_current_msec - m->heard >= m->conf->live_timeout) {
        return ngx_stream_mdvr_media_refuse(m, "media_silence");
    }

    if (mdvr_bus_info(bus, m->ref, &info) != MDVR_OK) {
        return ngx_stream_mdvr_media_refuse(m, "session_replaced");
    }

    now_ms = mdvr_bus_clock_ms();

    if (info.idle_since_ms) {
        idle = (ngx_msec_t) (now_ms - info.idle_since_ms);
        limit = info.viewed ? m->conf->idle_stop : m->conf->unseen_stop;

        if (idle >= limit) {
            return ngx_stream_mdvr_live_end(m, MDVR_BUS_END_NO_VIEWERS);
        }
    }

    if (ngx_exiting && ngx_stream_mdvr_live_move(m, &info) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_stream_mdvr_live_recorded(m)) {
        ngx_stream_mdvr_media_hls(m, &live->hls, NULL, NULL);
        return NGX_OK;
    }

    /* nothing delivered: start the device once more, then give up */

    if (ngx_current_msec - live->delivered < m->conf->stall) {

        if (live->restarts
            && live->delivered - live->restarted > 60000
            && (ngx_msec_int_t) (live->delivered - live->restarted) > 0)
        {
            live->restarts = 0;                 /* it has recovered */
        }

    } else if (!live->restarts) {
        live->restarts = 1;
        live->restarted = ngx_current_msec;
        live->delivered = ngx_current_msec;
        live->need_key = 1;
        live->discont = 1;

        ngx_log_error(NGX_LOG_INFO, m->connection->log, 0,
                      "media session %s delivers nothing, starting it again, "
                      "device: %s", info.session, info.serial);

        mdvr_bus_restarted(bus, m->ref);
        ngx_mdvr_bus_start_device(&info);

    } else {
        ngx_mdvr_refusal("media_stalled");
        return ngx_stream_mdvr_live_end(m, MDVR_BUS_END_STALLED);
    }

    ngx_stream_mdvr_media_hls(m, &live->hls, NULL, NULL);

    return NGX_OK;
}


/* The connection is gone; the session may live on. */

static void
ngx_stream_mdvr_live_close(ngx_stream_mdvr_media_t *m)
{
    char                     note[MDVR_BUS_NOTE_MAX];
    int64_t                  now_ms, deadline_ms, restart_ms;
    mdvr_bus_t              *bus = ngx_mdvr_bus();
    mdvr_bus_end_e           why;
    mdvr_bus_info_t          info;
    ngx_stream_mdvr_live_t  *live = m->data;

    if (bus == NULL) {
        return;
    }

    ngx_stream_mdvr_live_count(m);
    ngx_stream_mdvr_media_hls_close(m, &live->hls);

    now_ms = mdvr_bus_clock_ms();
    deadline_ms = now_ms + m->conf->comeback;

    if (ngx_stream_mdvr_live_recorded(m)) {
        (void) mdvr_bus_end(bus, m->reel, MDVR_BUS_END_STOPPED);

        if (ngx_exiting && mdvr_bus_owns(bus, m->ref, m->ticket)) {

            /* the player comes back, to a new worker */

            mdvr_bus_disown(bus, m->ref, m->ticket, deadline_ms,
                            MDVR_BUS_END_DISCONNECTED, 0);
            return;
        }

        (void) ngx_mdvr_bus_end(m->ref, MDVR_BUS_END_DISCONNECTED,
                                m->connection->log);

        if (mdvr_bus_info(bus, m->ref, &info) == MDVR_OK
            && mdvr_bus_note(bus, m->ref, note, sizeof(note)) == MDVR_OK)
        {
            ngx_mdvr_playback_over(note, mdvr_bus_end_name(info.end));
        }

        return;
    }

    restart_ms = 0;
    why = MDVR_BUS_END_DISCONNECTED;

    if (live->given_up) {
        restart_ms = now_ms;

    } else if (live->moves) {

        /* the device has closed it, and is about to connect again */

        restart_ms = now_ms + NGX_STREAM_MDVR_LIVE_MOVE;

    } else if (!live->restarts) {
        restart_ms = now_ms + MDVR_BUS_RESTART_MS;

    } else if (ngx_current_msec - live->delivered < m->conf->stall) {

        /* it was started again already and has that long to deliver */

        deadline_ms = now_ms + m->conf->stall
                      - (ngx_current_msec - live->delivered);
        why = MDVR_BUS_END_STALLED;
    }

    mdvr_bus_disown(bus, m->ref, m->ticket, deadline_ms, why, restart_ms);
}
