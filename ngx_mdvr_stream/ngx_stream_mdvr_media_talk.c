/*
 * Talk and listen (V105): the device's voice to the MEDIA ring as it came, the
 * operator's from the AUX ring to the device.
 *
 *   device                        here
 *   V105                          0x6000
 *   0x6401 coding, frame length   0x6401 the same; after 2 s by itself
 *   0x6411 or 0x6402              the same layout, with the voice header when
 *                                 the device's own frames have it
 *   0x6404                        the session ends: hung_up
 *
 * What the operator says arrives in pieces of any length and leaves in frames
 * of the device's length at its pace: sending begins when a frame and
 * MARGIN are there, what exceeds LIMIT is dropped from the old end, and a queue
 * that never got short during a second is shortened, so that no delay stays.
 * Encoding a frame costs about 20 us, so it is done here.
 *
 * Half duplex: while the operator is heard, and HOLD longer, the device is
 * not, and digital silence is not sent at all.
 *
 * Source: protocol reference, media.md section 7.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_media.h"
#include "ngx_mdvr_core/ngx_mdvr_talk.h"

#include "mdvr/media/voice.h"


#define NGX_STREAM_MDVR_TALK_GREET    2000      /* ms */
#define NGX_STREAM_MDVR_TALK_BEAT     10000     /* ms between two 0x6005 */
#define NGX_STREAM_MDVR_TALK_RETURN   10000     /* ms, after a broken line */
#define NGX_STREAM_MDVR_TALK_HOLD     300       /* ms */
#define NGX_STREAM_MDVR_TALK_LOUD     64        /* of 32768 */
#define NGX_STREAM_MDVR_TALK_MARGIN   320       /* samples */
#define NGX_STREAM_MDVR_TALK_LIMIT    3200      /* samples */
#define NGX_STREAM_MDVR_TALK_FRAME    480       /* samples, at most */
#define NGX_STREAM_MDVR_TALK_CODED    (NGX_STREAM_MDVR_TALK_FRAME + 4)


typedef struct {
    unsigned                       type;             /* of both directions */
    size_t                         frame;            /* samples to the device */
    mdvr_voice_t                   voice;
    mdvr_bus_reader_t              mic;

    int16_t                        queue[NGX_STREAM_MDVR_TALK_LIMIT];
    size_t                         queued;
    size_t                         shortest;         /* of this second */
    size_t                         counted;          /* samples of it */
    ngx_event_t                    pace;
    uint64_t                       due_us;           /* next frame */
    uint64_t                       stamp_us;

    uint64_t                       first_us;         /* device's clock */
    uint64_t                       report_from;
    uint64_t                       report_to;
    ngx_msec_t                     reported;

    ngx_msec_t                     bound;
    ngx_msec_t                     sent;
    ngx_msec_t                     loud;             /* the operator speaks */

    unsigned                       listen:1;
    unsigned                       half:1;
    unsigned                       greeted:1;        /* 0x6401 sent */
    unsigned                       started:1;        /* a record was put */
    unsigned                       have_stamp:1;
    unsigned                       have_report:1;
    unsigned                       have_layout:1;
    unsigned                       old_layout:1;
    unsigned                       voice_header:1;
    unsigned                       spoke:1;          /* `loud` is a time */
} ngx_stream_mdvr_talk_t;


static ngx_int_t ngx_stream_mdvr_talk_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg);
static ngx_int_t ngx_stream_mdvr_talk_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg);
static ngx_int_t ngx_stream_mdvr_talk_wake(ngx_stream_mdvr_media_t *m);
static ngx_int_t ngx_stream_mdvr_talk_tick(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_talk_close(ngx_stream_mdvr_media_t *m);
static void ngx_stream_mdvr_talk_pace(ngx_event_t *ev);


const ngx_stream_mdvr_media_kind_t  ngx_stream_mdvr_media_talk = {
    MDVR_SESSION_AUDIO,
    MDVR_BUS_KIND_TALK,
    sizeof(ngx_stream_mdvr_talk_t),
    ngx_stream_mdvr_talk_open,
    ngx_stream_mdvr_talk_message,
    ngx_stream_mdvr_talk_wake,
    ngx_stream_mdvr_talk_tick,
    ngx_stream_mdvr_talk_close,
    NULL
};


/* --- coding ------------------------------------------------------------------- */

/* The type that fits V105's coarser code; 0: a coding we do not speak. */

static unsigned
ngx_stream_mdvr_talk_guess(const mdvr_media_reg_t *reg)
{
    switch (reg->format) {

    case 1:                                     /* AMR */
        return 0;

    case 2:                                     /* "PCM": companded, 8 bits */
        return MDVR_VOICE_ALAW;

    case 3:
        return MDVR_VOICE_IMA;

    default:                                    /* G.726, at a rate */

        switch (reg->frame_length) {
        case 160: return 7;
        case 120: return 8;
        case 80:  return 9;
        default:  return 1;
        }
    }
}


/* NGX_DECLINED: no such coding. */

static ngx_int_t
ngx_stream_mdvr_talk_coding(ngx_stream_mdvr_talk_t *talk, unsigned type,
    size_t length)
{
    size_t  n;

    if (type == 0
        || (type != talk->type
            && mdvr_voice_init(&talk->voice, type) != MDVR_OK))
    {
        return NGX_DECLINED;
    }

    n = mdvr_voice_samples(type, length);

    talk->type = type;
    talk->frame = n >= 80 && n <= NGX_STREAM_MDVR_TALK_FRAME
                  ? n : MDVR_VOICE_FRAME;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_mdvr_talk_unsupported(ngx_stream_mdvr_media_t *m)
{
    mdvr_bus_info_t  info;

    (void) ngx_mdvr_bus_end(m->ref, MDVR_BUS_END_UNSUPPORTED,
                            m->connection->log);

    if (mdvr_bus_info(ngx_mdvr_bus(), m->ref, &info) == MDVR_OK) {
        ngx_mdvr_bus_stop_device(&info);
    }

    return ngx_stream_mdvr_media_refuse(m, "talk_codec");
}


static ngx_int_t
ngx_stream_mdvr_talk_open(ngx_stream_mdvr_media_t *m,
    const mdvr_media_reg_t *reg)
{
    u_char                   text[64];
    mdvr_buf_t               b;
    ngx_mdvr_talk_note_t     note;
    ngx_stream_mdvr_talk_t  *talk = m->data;

    if (m->info->state == MDVR_BUS_ENDING
        || ngx_mdvr_talk_note(m->ref, &note) != MDVR_OK)
    {
        return NGX_DECLINED;
    }

    if ((reg->sample_rate > 0 && reg->sample_rate != MDVR_VOICE_RATE)
        || ngx_stream_mdvr_talk_coding(talk, ngx_stream_mdvr_talk_guess(reg),
                                       reg->frame_length > 0
                                       ? (size_t) reg->frame_length : 0)
           != NGX_OK)
    {
        b = mdvr_buf(text, sizeof(text));
        mdvr_media_write_result(&b, 0, MDVR_MEDIA_NO_CENTER);
        (void) ngx_stream_mdvr_media_send(m, &b);

        return ngx_stream_mdvr_talk_unsupported(m);
    }

    talk->listen = note.listen;
    talk->half = note.half;
    talk->voice_header = 1;
    talk->bound = ngx_current_msec;
    talk->sent = ngx_current_msec;
    talk->reported = ngx_current_msec;
    talk->shortest = NGX_STREAM_MDVR_TALK_LIMIT;

    talk->pace.handler = ngx_stream_mdvr_talk_pace;
    talk->pace.data = m;
    talk->pace.log = m->connection->log;

    (void) mdvr_bus_reader_init(ngx_mdvr_bus(), m->ref, MDVR_BUS_RING_AUX,
                                true, &talk->mic);

    return NGX_OK;
}


/* --- to the device -------------------------------------------------------------- */

static void
ngx_stream_mdvr_talk_greet(ngx_stream_mdvr_media_t *m)
{
    u_char                   text[NGX_STREAM_MDVR_MEDIA_OUT];
    uint8_t                  coded[NGX_STREAM_MDVR_TALK_CODED];
    int16_t                  pcm[NGX_STREAM_MDVR_TALK_FRAME];
    mdvr_buf_t               b;
    mdvr_voice_t             v;
    ngx_stream_mdvr_talk_t  *talk = m->data;

    if (talk->greeted) {
        return;
    }

    talk->greeted = 1;

    /* the length of a frame is that of one encoded */

    v = talk->voice;
    ngx_memzero(pcm, sizeof(pcm));

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_talk(&b, talk->type,
                          (uint16_t) mdvr_voice_encode(&v, pcm, talk->frame,
                                                       coded));

    (void) ngx_stream_mdvr_media_send(m, &b);
    talk->sent = ngx_current_msec;
}


static void
ngx_stream_mdvr_talk_drop(ngx_stream_mdvr_talk_t *talk, size_t n)
{
    talk->queued -= n;
    ngx_memmove(talk->queue, talk->queue + n, talk->queued * sizeof(int16_t));
}


/* --- from the operator ------------------------------------------------------------ */

static ngx_uint_t
ngx_stream_mdvr_talk_is_loud(const int16_t *pcm, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (pcm[i] > NGX_STREAM_MDVR_TALK_LOUD
            || pcm[i] < -NGX_STREAM_MDVR_TALK_LOUD)
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_stream_mdvr_talk_mic(ngx_stream_mdvr_media_t *m)
{
    size_t                   n, over;
    int16_t                  pcm[MDVR_BUS_MIC_MAX];
    ngx_uint_t               loud;
    mdvr_bus_t              *bus = ngx_mdvr_bus();
    mdvr_bus_rec_t           rec;
    ngx_stream_mdvr_talk_t  *talk = m->data;

    while (mdvr_bus_read(bus, &talk->mic, &rec, (uint8_t *) pcm, sizeof(pcm))
           == MDVR_OK)
    {
        n = rec.len / sizeof(int16_t);

        if (rec.codec != MDVR_BUS_PCM || n == 0 || talk->listen) {
            continue;
        }

        loud = ngx_stream_mdvr_talk_is_loud(pcm, n);

        if (loud) {
            talk->loud = ngx_current_msec;
            talk->spoke = 1;

        } else if (talk->half) {
            continue;
        }

        if (talk->queued + n > NGX_STREAM_MDVR_TALK_LIMIT) {
            over = talk->queued + n - NGX_STREAM_MDVR_TALK_LIMIT;
            ngx_stream_mdvr_talk_drop(talk, over);
            ngx_mdvr_count_n(talk_dropped_ms_total, over / 8);
        }

        ngx_memcpy(talk->queue + talk->queued, pcm, n * sizeof(int16_t));
        talk->queued += n;
    }

    if (!talk->pace.timer_set && talk->greeted
        && talk->queued >= talk->frame + NGX_STREAM_MDVR_TALK_MARGIN)
    {
        talk->due_us = (uint64_t) ngx_current_msec * 1000;
        ngx_stream_mdvr_talk_pace(&talk->pace);
    }
}


/* A queue that never gets short is delay and nothing else. */

static void
ngx_stream_mdvr_talk_shorten(ngx_stream_mdvr_talk_t *talk)
{
    size_t  n;

    talk->shortest = ngx_min(talk->shortest, talk->queued);
    talk->counted += talk->frame;

    if (talk->counted < MDVR_VOICE_RATE) {
        return;
    }

    if (talk->shortest > 2 * NGX_STREAM_MDVR_TALK_MARGIN) {
        n = talk->shortest - NGX_STREAM_MDVR_TALK_MARGIN;
        ngx_stream_mdvr_talk_drop(talk, n);
        ngx_mdvr_count_n(talk_dropped_ms_total, n / 8);
    }

    talk->counted = 0;
    talk->shortest = NGX_STREAM_MDVR_TALK_LIMIT;
}


static void
ngx_stream_mdvr_talk_frame(ngx_stream_mdvr_media_t *m)
{
    size_t                   n;
    u_char                   text[NGX_STREAM_MDVR_MEDIA_OUT];
    uint8_t                  coded[NGX_STREAM_MDVR_TALK_CODED];
    mdvr_buf_t               b;
    ngx_stream_mdvr_talk_t  *talk = m->data;

    n = mdvr_voice_encode(&talk->voice, talk->queue, talk->frame, coded);

    b = mdvr_buf(text, sizeof(text));
    mdvr_media_write_audio(&b, talk->old_layout ? MDVR_MEDIA_TALK_OLD
                                                : MDVR_MEDIA_TALK,
                           talk->stamp_us, mdvr_str(coded, n),
                           talk->voice_header, 0);

    /* a device that takes nothing loses the oldest: this one */

    if (ngx_stream_mdvr_media_send(m, &b) == NGX_OK) {
        ngx_mdvr_count(talk_frames_out_total);
        talk->sent = ngx_current_msec;

    } else {
        ngx_mdvr_count_n(talk_dropped_ms_total, talk->frame / 8);
    }

    talk->stamp_us += talk->frame * 125;
    ngx_stream_mdvr_talk_drop(talk, talk->frame);
}


static void
ngx_stream_mdvr_talk_pace(ngx_event_t *ev)
{
    uint64_t                  now_us;
    ngx_stream_mdvr_media_t  *m = ev->data;
    ngx_stream_mdvr_talk_t   *talk = m->data;

    now_us = (uint64_t) ngx_current_msec * 1000;

    while (talk->due_us <= now_us) {

        if (talk->queued < talk->frame) {
            return;                             /* wait for speech again */
        }

        ngx_stream_mdvr_talk_frame(m);
        ngx_stream_mdvr_talk_shorten(talk);
        talk->due_us += talk->frame * 125;
    }

    ngx_add_timer(ev, (ngx_msec_t) ((talk->due_us - now_us + 999) / 1000));
}


/* --- from the device ---------------------------------------------------------------- */

static void
ngx_stream_mdvr_talk_put(ngx_stream_mdvr_media_t *m, uint64_t stamp_us,
    mdvr_str_t data)
{
    ngx_time_t              *tp = ngx_timeofday();
    mdvr_bus_rec_t           rec;
    ngx_stream_mdvr_talk_t  *talk = m->data;

    ngx_memzero(&rec, sizeof(mdvr_bus_rec_t));
    rec.len = (uint32_t) data.len;
    rec.flags = MDVR_BUS_F_AUDIO|MDVR_BUS_F_KEY;
    rec.codec = (uint8_t) talk->type;
    rec.device_us = stamp_us;
    rec.dur_us = (uint32_t) (mdvr_voice_samples(talk->type, data.len) * 125);
    rec.received_us = (uint64_t) tp->sec * 1000000 + tp->msec * 1000;

    if (stamp_us >= talk->first_us) {
        rec.pts_us = stamp_us - talk->first_us;
    }

    if (mdvr_bus_put(ngx_mdvr_bus(), m->ref, m->ticket, MDVR_BUS_RING_MEDIA,
                     &rec, data.p ? data.p : (const uint8_t *) "")
        == MDVR_OK)
    {
        talk->started = 1;
    }
}


static ngx_int_t
ngx_stream_mdvr_talk_params(ngx_stream_mdvr_media_t *m, mdvr_str_t payload)
{
    mdvr_media_talk_t        params;
    ngx_stream_mdvr_talk_t  *talk = m->data;

    if (mdvr_media_read_talk(payload, &params) != MDVR_OK) {
        return ngx_stream_mdvr_media_refuse(m, "media_payload");
    }

    /* zero says nothing: then V105 counts */

    if (params.audio_type
        && ngx_stream_mdvr_talk_coding(talk, params.audio_type,
                                       params.frame_length)
           != NGX_OK)
    {
        return ngx_stream_mdvr_talk_unsupported(m);
    }

    if (!talk->listen) {
        ngx_stream_mdvr_talk_greet(m);
    }

    /* from here on both may speak: an empty record says so */

    ngx_stream_mdvr_talk_put(m, talk->first_us, mdvr_str(NULL, 0));

    return NGX_OK;
}


static void
ngx_stream_mdvr_talk_voice(ngx_stream_mdvr_media_t *m, unsigned type,
    const mdvr_media_audio_t *audio)
{
    ngx_stream_mdvr_talk_t  *talk = m->data;

    ngx_mdvr_count(talk_frames_in_total);

    if (!talk->have_stamp || audio->stamp_us < talk->first_us) {
        talk->have_stamp = 1;
        talk->first_us = audio->stamp_us;
    }

    if (!talk->have_report) {
        talk->have_report = 1;
        talk->report_from = audio->stamp_us;
    }

    talk->report_to = audio->stamp_us;

    if (audio->data.len == 0) {
        return;
    }

    if (!talk->have_layout) {
        talk->have_layout = 1;
        talk->old_layout = type == MDVR_MEDIA_TALK_OLD;
        talk->voice_header = audio->voice_header;
    }

    if (talk->half && talk->spoke
        && ngx_current_msec - talk->loud < NGX_STREAM_MDVR_TALK_HOLD)
    {
        return;
    }

    ngx_stream_mdvr_talk_put(m, audio->stamp_us, audio->data);
}


/* Over, by whoever ended it: the device is told, and has time to close. */

static ngx_int_t
ngx_stream_mdvr_talk_stop(ngx_stream_mdvr_media_t *m)
{
    mdvr_bus_info_t          info;
    ngx_stream_mdvr_talk_t  *talk = m->data;

    if (talk->pace.timer_set) {
        ngx_del_timer(&talk->pace);
    }

    if (mdvr_bus_info(ngx_mdvr_bus(), m->ref, &info) == MDVR_OK) {
        ngx_mdvr_bus_stop_device(&info);
    }

    ngx_stream_mdvr_media_move(m, NGX_STREAM_MDVR_MEDIA_STOPPING,
                               m->conf->close_wait);

    return NGX_DONE;
}


static ngx_int_t
ngx_stream_mdvr_talk_end(ngx_stream_mdvr_media_t *m, mdvr_bus_end_e why)
{
    (void) ngx_mdvr_bus_end(m->ref, why, m->connection->log);

    return ngx_stream_mdvr_talk_stop(m);
}


static ngx_int_t
ngx_stream_mdvr_talk_message(ngx_stream_mdvr_media_t *m,
    const mdvr_media_msg_t *msg)
{
    mdvr_media_audio_t  audio;

    if (msg->resynced) {
        ngx_mdvr_refusal("media_resync");
    }

    switch (msg->type) {

    case MDVR_MEDIA_TALK_PARAMS:
        return ngx_stream_mdvr_talk_params(m, msg->payload);

    case MDVR_MEDIA_TALK:
    case MDVR_MEDIA_TALK_OLD:

        if (mdvr_media_read_audio(msg->type, msg->payload, &audio) != MDVR_OK)
        {
            return ngx_stream_mdvr_media_refuse(m, "media_payload");
        }

        ngx_stream_mdvr_talk_voice(m, msg->type, &audio);
        return NGX_OK;

    case MDVR_MEDIA_HANG_UP:
    case MDVR_MEDIA_END:
        return ngx_stream_mdvr_talk_end(m, MDVR_BUS_END_HUNG_UP);

    case MDVR_MEDIA_PARAMETERS:
    case MDVR_MEDIA_INFO:
    case MDVR_MEDIA_HEARTBEAT:
    case MDVR_MEDIA_REPORT:
    case MDVR_MEDIA_REPORT_VIDEO:
        return NGX_OK;

    default:
        return ngx_stream_mdvr_media_refuse(m, "media_type");
    }
}


/* --- time ------------------------------------------------------------------------------ */

static ngx_int_t
ngx_stream_mdvr_talk_wake(ngx_stream_mdvr_media_t *m)
{
    mdvr_bus_t       *bus = ngx_mdvr_bus();
    mdvr_bus_info_t   info;

    if (!mdvr_bus_owns(bus, m->ref, m->ticket)) {

        if (mdvr_bus_info(bus, m->ref, &info) == MDVR_OK
            && info.state == MDVR_BUS_ENDING)
        {
            return ngx_stream_mdvr_talk_stop(m);
        }

        return ngx_stream_mdvr_media_refuse(m, "session_replaced");
    }

    ngx_stream_mdvr_talk_mic(m);

    return NGX_OK;
}


static void
ngx_stream_mdvr_talk_words(ngx_stream_mdvr_media_t *m)
{
    u_char                   text[64];
    mdvr_buf_t               b;
    ngx_stream_mdvr_talk_t  *talk = m->data;

    if (talk->have_report
        && ngx_current_msec - talk->reported >= m->conf->report)
    {
        b = mdvr_buf(text, sizeof(text));
        mdvr_media_write_report(&b, MDVR_MEDIA_REPORT, talk->report_from,
                                talk->report_to);
        (void) ngx_stream_mdvr_media_send(m, &b);

        talk->reported = ngx_current_msec;
        talk->sent = ngx_current_msec;
        talk->have_report = 0;

    } else if (ngx_current_msec - talk->sent >= NGX_STREAM_MDVR_TALK_BEAT) {
        b = mdvr_buf(text, sizeof(text));
        mdvr_media_write_empty(&b, MDVR_MEDIA_HEARTBEAT);
        (void) ngx_stream_mdvr_media_send(m, &b);

        talk->sent = ngx_current_msec;
    }
}


static ngx_int_t
ngx_stream_mdvr_talk_tick(ngx_stream_mdvr_media_t *m)
{
    ngx_int_t                rc;
    ngx_msec_t               idle, limit;
    mdvr_bus_info_t          info;
    ngx_stream_mdvr_talk_t  *talk = m->data;

    rc = ngx_stream_mdvr_talk_wake(m);
    if (rc != NGX_OK) {
        return rc;
    }

    if (!talk->greeted && (!talk->listen || !talk->have_stamp)
        && ngx_current_msec - talk->bound >= NGX_STREAM_MDVR_TALK_GREET)
    {
        ngx_stream_mdvr_talk_greet(m);

        if (!talk->started) {
            ngx_stream_mdvr_talk_put(m, talk->first_us, mdvr_str(NULL, 0));
        }
    }

    ngx_stream_mdvr_talk_words(m);

    if (ngx_current_msec - m->heard >= m->conf->talk_timeout) {
        (void) ngx_stream_mdvr_media_refuse(m, "media_silence");
        return ngx_stream_mdvr_talk_end(m, MDVR_BUS_END_STALLED);
    }

    if (mdvr_bus_info(ngx_mdvr_bus(), m->ref, &info) != MDVR_OK) {
        return ngx_stream_mdvr_media_refuse(m, "session_replaced");
    }

    if (info.idle_since_ms) {
        idle = (ngx_msec_t) (mdvr_bus_clock_ms() - info.idle_since_ms);
        limit = info.viewed ? m->conf->talk_idle : m->conf->unseen_stop;

        if (idle >= limit) {
            return ngx_stream_mdvr_talk_end(m, MDVR_BUS_END_NO_VIEWERS);
        }
    }

    return NGX_OK;
}


/* The line is broken: the device may return to the same session. */

static void
ngx_stream_mdvr_talk_close(ngx_stream_mdvr_media_t *m)
{
    mdvr_bus_t              *bus = ngx_mdvr_bus();
    ngx_msec_t               wait;
    ngx_stream_mdvr_talk_t  *talk = m->data;

    if (talk->pace.timer_set) {
        ngx_del_timer(&talk->pace);
    }

    if (bus == NULL) {
        return;
    }

    wait = ngx_min(m->conf->comeback, NGX_STREAM_MDVR_TALK_RETURN);

    mdvr_bus_disown(bus, m->ref, m->ticket, mdvr_bus_clock_ms() + wait,
                    MDVR_BUS_END_DISCONNECTED, 0);
}
