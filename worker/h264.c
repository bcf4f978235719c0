/*
 * mdvr-worker h264: H.265 cameras for who cannot show H.265 (WebRTC in most
 * browsers), only while somebody watches.
 *
 * One process per node, beside nginx because nginx must not link libav, and by
 * itself because it decodes what devices send.  For each session of kind H264
 * it reads the session that is made of, decodes, makes it smaller when it is
 * wide, encodes, and writes fragments on the same time line; the device's sound
 * goes along as it is.  It is a viewer of the one and the owner of the other: the
 * last viewer of H.264 ends both.
 *
 * What cannot be encoded in time is not queued: more than LATE_US behind, it
 * goes on with the newest key frame.
 */

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>

#include "bus/mdvr_bus.h"
#include "mdvr/media/fmp4.h"
#include "worker/h264.h"
#include "worker/node.h"
#include "worker/worker.h"

#define H264_STREAMS_MAX   16
#define H264_WIDE          1280         /* wider pictures are made smaller */
#define H264_IDLE_MS       10000        /* without a viewer */
#define H264_LATE_US       1500000
#define H264_KEY_MS        2000         /* at most between key frames */
#define H264_SOUND_MS      15000
#define H264_POLL_MS       100
#define H264_UNIT_MAX      (4 * 1024 * 1024)


typedef struct {
    bool                 open;
    mdvr_bus_ref_t       ref;           /* what is made */
    mdvr_bus_ref_t       source;
    uint32_t             ticket;
    mdvr_bus_reader_t    reader;

    AVCodecContext      *decoder;
    AVCodecContext      *encoder;
    struct SwsContext   *scaler;
    AVFrame             *frame;
    AVFrame             *small;
    AVPacket            *packet;

    uint32_t             sequence;
    uint32_t             init_version;
    uint64_t             sets;          /* digest of the parameter sets */
    mdvr_bus_rec_t       rec;           /* of the picture being made */
    int64_t              key_ms;
} h264_t;


static mdvr_bus_t  *h264_bus;
static h264_t       h264s[H264_STREAMS_MAX];
static uint8_t      h264_unit[H264_UNIT_MAX + AV_INPUT_BUFFER_PADDING_SIZE];


/* ---- out ------------------------------------------------------------------ */

static bool
h264_init(h264_t *s, const mdvr_au_t *au)
{
    uint8_t           head[MDVR_FMP4_INIT_MAX], av[MDVR_FMP4_INIT_MAX];
    uint64_t          sets = 0;
    mdvr_buf_t        b;
    mdvr_sps_t        sps;
    mdvr_bus_init_t   init;
    mdvr_fmp4_init_t  fmp4;

    for (size_t i = 0; i < au->sps.len; i++) {
        sets = sets * 31 + au->sps.p[i];
    }

    for (size_t i = 0; i < au->pps.len; i++) {
        sets = sets * 31 + au->pps.p[i];
    }

    if (s->init_version && sets == s->sets) {
        return true;
    }

    memset(&fmp4, 0, sizeof(fmp4));
    fmp4.codec = MDVR_CODEC_H264;
    fmp4.sps = au->sps;
    fmp4.pps = au->pps;

    b = mdvr_buf(head, sizeof(head));

    if (mdvr_fmp4_init(&b, &fmp4, &sps) != MDVR_OK) {
        return false;
    }

    memset(&init, 0, sizeof(init));
    init.data = head;
    init.len = b.len;

    fmp4.audio_rate = MDVR_BUS_AAC_RATE;
    fmp4.audio_channels = 1;
    b = mdvr_buf(av, sizeof(av));

    if (mdvr_fmp4_init(&b, &fmp4, NULL) == MDVR_OK) {
        init.av = av;
        init.av_len = b.len;
    }

    init.codec = MDVR_CODEC_H264;
    init.width = (uint16_t) sps.width;
    init.height = (uint16_t) sps.height;
    init.codecs = sps.codec_string;
    init.timescale = MDVR_FMP4_TIMESCALE;

    s->sets = sets;

    return mdvr_bus_set_init(h264_bus, s->ref, s->ticket, &init,
                             &s->init_version)
           == MDVR_OK;
}


static void
h264_put(h264_t *s, const AVPacket *packet)
{
    uint8_t            *p;
    mdvr_au_t           au;
    mdvr_str_t          unit;
    mdvr_bus_rec_t      rec;
    mdvr_fmp4_frame_t   frame;

    unit = mdvr_str(packet->data, (size_t) packet->size);
    mdvr_au_scan(MDVR_CODEC_H264, unit, &au);

    if (!au.picture || (au.key && !h264_init(s, &au)) || !s->init_version
        || mdvr_bus_reserve(h264_bus, s->ref, s->ticket, MDVR_BUS_RING_MEDIA,
                            mdvr_fmp4_video_size(&au), &p)
           != MDVR_OK)
    {
        return;
    }

    frame.sequence = ++s->sequence;
    frame.time_us = (uint64_t) packet->pts;
    frame.duration_us = s->rec.dur_us;
    frame.key = au.key;

    memset(&rec, 0, sizeof(rec));
    rec.len = (uint32_t) mdvr_fmp4_video(p, &frame, MDVR_CODEC_H264, &au,
                                         unit);
    rec.hdr_len = MDVR_FMP4_FRAGMENT_HEAD;
    rec.codec = MDVR_CODEC_H264;
    rec.flags = (uint16_t) ((au.key ? MDVR_BUS_F_KEY : 0)
                            | (s->rec.flags & MDVR_BUS_F_DISCONT));
    rec.init_version = s->init_version;
    rec.pts_us = frame.time_us;
    rec.dur_us = s->rec.dur_us;
    rec.device_us = s->rec.device_us;
    rec.received_us = s->rec.received_us;

    (void) mdvr_bus_commit(h264_bus, s->ref, MDVR_BUS_RING_MEDIA, &rec);

    if (au.key) {
        s->key_ms = wk_clock_ms();
    }
}


/* ---- between ---------------------------------------------------------------- */

static void
h264_no_encoder(h264_t *s)
{
    avcodec_free_context(&s->encoder);
    av_frame_free(&s->small);
    sws_freeContext(s->scaler);
    s->scaler = NULL;
}


/* For pictures of this size; kept as long as that stays. */

static bool
h264_encoder(h264_t *s, const AVFrame *f)
{
    int             width, height;
    int64_t         rate;
    const AVCodec  *codec;

    width = f->width > H264_WIDE ? H264_WIDE : f->width & ~1;
    height = (int) ((int64_t) f->height * width / f->width) & ~1;

    if (s->encoder && s->encoder->width == width
        && s->encoder->height == height)
    {
        return true;
    }

    h264_no_encoder(s);

    codec = avcodec_find_encoder_by_name("libx264");
    s->encoder = codec ? avcodec_alloc_context3(codec) : NULL;

    if (s->encoder == NULL || width < 16 || height < 16) {
        return false;
    }

    /* a tenth of a bit for each pixel of 25 pictures a second */

    rate = (int64_t) width * height * 25 / 10;
    rate = rate < 300000 ? 300000 : rate;

    s->encoder->width = width;
    s->encoder->height = height;
    s->encoder->pix_fmt = AV_PIX_FMT_YUV420P;
    s->encoder->color_range = f->color_range;
    s->encoder->time_base = (AVRational) { 1, 1000000 };
    s->encoder->framerate = (AVRational) { 25, 1 };
    s->encoder->thread_count = 1;
    s->encoder->max_b_frames = 0;
    s->encoder->gop_size = 250;
    s->encoder->rc_max_rate = rate;
    s->encoder->rc_buffer_size = (int) rate;

    (void) av_opt_set(s->encoder->priv_data, "preset", "superfast", 0);
    (void) av_opt_set(s->encoder->priv_data, "tune", "zerolatency", 0);
    (void) av_opt_set(s->encoder->priv_data, "profile", "baseline", 0);
    (void) av_opt_set(s->encoder->priv_data, "crf", "24", 0);
    (void) av_opt_set(s->encoder->priv_data, "forced-idr", "1", 0);
    (void) av_opt_set(s->encoder->priv_data, "x264-params",
                      "scenecut=0:repeat-headers=1:sliced-threads=0", 0);

    return avcodec_open2(s->encoder, codec, NULL) >= 0;
}


/* The picture as the encoder takes it; NULL: it cannot be made. */

static AVFrame *
h264_fit(h264_t *s)
{
    AVFrame  *f = s->frame;

    if (f->format == AV_PIX_FMT_YUV420P && f->width == s->encoder->width
        && f->height == s->encoder->height)
    {
        return f;
    }

    if (s->small == NULL) {
        s->small = av_frame_alloc();

        if (s->small == NULL) {
            return NULL;
        }

        s->small->format = AV_PIX_FMT_YUV420P;
        s->small->width = s->encoder->width;
        s->small->height = s->encoder->height;

        if (av_frame_get_buffer(s->small, 0) < 0) {
            return NULL;
        }
    }

    s->scaler = sws_getCachedContext(s->scaler, f->width, f->height,
                                     f->format, s->small->width,
                                     s->small->height, AV_PIX_FMT_YUV420P,
                                     SWS_FAST_BILINEAR, NULL, NULL, NULL);

    if (s->scaler == NULL || av_frame_make_writable(s->small) < 0
        || sws_scale(s->scaler, (const uint8_t *const *) f->data, f->linesize,
                     0, f->height, s->small->data, s->small->linesize)
           <= 0)
    {
        return NULL;
    }

    s->small->pts = f->pts;

    return s->small;
}


static void
h264_picture(h264_t *s)
{
    bool      key;
    AVFrame  *f;

    s->frame->pts = s->frame->best_effort_timestamp;

    if (!h264_encoder(s, s->frame) || (f = h264_fit(s)) == NULL) {
        return;
    }

    key = (mdvr_bus_take_wants(h264_bus, s->ref) & MDVR_BUS_WANT_KEY)
          || (s->rec.flags & MDVR_BUS_F_DISCONT)
          || wk_clock_ms() - s->key_ms > H264_KEY_MS;

    f->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;

    if (avcodec_send_frame(s->encoder, f) >= 0) {
        while (avcodec_receive_packet(s->encoder, s->packet) >= 0) {
            h264_put(s, s->packet);
            av_packet_unref(s->packet);
        }
    }
}


/* ---- in ---------------------------------------------------------------------- */

static void
h264_decode(h264_t *s, uint8_t *unit, size_t len)
{
    len = mdvr_au_to_annexb(mdvr_str(unit, len), unit);

    if (len == 0) {
        return;
    }

    memset(unit + len, 0, AV_INPUT_BUFFER_PADDING_SIZE);

    av_packet_unref(s->packet);
    s->packet->data = unit;
    s->packet->size = (int) len;
    s->packet->pts = s->packet->dts = (int64_t) s->rec.pts_us;

    /* what is broken shows as a broken picture until the next key frame */

    if (avcodec_send_packet(s->decoder, s->packet) < 0) {
        return;
    }

    while (avcodec_receive_frame(s->decoder, s->frame) >= 0) {
        h264_picture(s);
        av_frame_unref(s->frame);
    }
}


static void
h264_close(h264_t *s)
{
    if (!s->open) {
        return;
    }

    mdvr_bus_viewer_del(h264_bus, s->source, mdvr_bus_clock_ms());
    avcodec_free_context(&s->decoder);
    h264_no_encoder(s);
    av_frame_free(&s->frame);
    av_packet_free(&s->packet);
    memset(s, 0, sizeof(*s));

    wk_log(WK_INFO, "H.264 ends", NULL);
}


static void
h264_open(h264_t *s, mdvr_bus_ref_t ref)
{
    const AVCodec  *codec;

    memset(s, 0, sizeof(*s));
    s->ref = ref;

    if (!mdvr_bus_h264_source(h264_bus, ref, &s->source)
        || mdvr_bus_reader_init(h264_bus, s->source, MDVR_BUS_RING_MEDIA,
                                false, &s->reader)
           != MDVR_OK
        || mdvr_bus_viewer_add(h264_bus, s->source) != MDVR_OK)
    {
        (void) mdvr_bus_end(h264_bus, ref, MDVR_BUS_END_FAILED);
        return;
    }

    s->open = true;

    codec = avcodec_find_decoder(AV_CODEC_ID_HEVC);
    s->decoder = codec ? avcodec_alloc_context3(codec) : NULL;
    s->frame = av_frame_alloc();
    s->packet = av_packet_alloc();

    if (s->decoder) {
        s->decoder->thread_count = 1;
        s->decoder->flags |= AV_CODEC_FLAG_LOW_DELAY;
        s->decoder->pkt_timebase = (AVRational) { 1, 1000000 };
    }

    if (s->frame == NULL || s->packet == NULL || s->decoder == NULL
        || avcodec_open2(s->decoder, codec, NULL) < 0
        || mdvr_bus_own(h264_bus, ref, &s->ticket) != MDVR_OK)
    {
        wk_log(WK_ERROR, "H.265 decoder does not open", NULL);
        (void) mdvr_bus_end(h264_bus, ref, MDVR_BUS_END_FAILED);
        h264_close(s);
        return;
    }

    wk_log(WK_INFO, "H.264 begins", NULL);
}


/* The reason why it should not go on, or NONE. */

static mdvr_bus_end_e
h264_over(h264_t *s, int64_t now_ms)
{
    mdvr_bus_info_t  info;

    if (mdvr_bus_info(h264_bus, s->source, &info) != MDVR_OK) {
        return MDVR_BUS_END_STOPPED;
    }

    if (info.state == MDVR_BUS_ENDING) {
        return info.end;
    }

    if (mdvr_bus_info(h264_bus, s->ref, &info) != MDVR_OK
        || (info.idle_since_ms
            && now_ms - info.idle_since_ms > H264_IDLE_MS))
    {
        return MDVR_BUS_END_NO_VIEWERS;
    }

    return MDVR_BUS_END_NONE;
}


/* Everything that has come, but at most a second of it: others wait, too. */

static void
h264_read(h264_t *s)
{
    mdvr_rc_t       rc;
    mdvr_bus_rec_t  rec;

    for (unsigned n = 0; n < 50 && !wk_node_stop; n++) {

        rc = mdvr_bus_read(h264_bus, &s->reader, &rec, h264_unit,
                           H264_UNIT_MAX);

        if (rc == MDVR_AGAIN || rc == MDVR_E_NOT_FOUND) {
            return;
        }

        if (rc != MDVR_OK) {
            continue;
        }

        if (rec.flags & MDVR_BUS_F_AUDIO) {
            rec.init_version = s->init_version;
            (void) mdvr_bus_put(h264_bus, s->ref, s->ticket,
                                MDVR_BUS_RING_MEDIA, &rec, h264_unit);
            continue;
        }

        if ((uint64_t) wk_now_ms() * 1000 > rec.received_us + H264_LATE_US
            && mdvr_bus_skip(h264_bus, &s->reader))
        {
            continue;
        }

        s->rec = rec;
        h264_decode(s, h264_unit + rec.hdr_len, rec.len - rec.hdr_len);
    }
}


static void
h264_round(unsigned max)
{
    int64_t           now_ms = mdvr_bus_clock_ms();
    h264_t           *s, *room;
    mdvr_bus_end_e    end;
    mdvr_bus_ref_t    ref;
    mdvr_bus_info_t   info;

    for (unsigned i = 0; i < max; i++) {
        s = &h264s[i];

        if (!s->open) {
            continue;
        }

        if (!mdvr_bus_owns(h264_bus, s->ref, s->ticket)) {
            h264_close(s);
            continue;
        }

        end = h264_over(s, now_ms);

        if (end != MDVR_BUS_END_NONE) {
            (void) mdvr_bus_end(h264_bus, s->ref, end);
            h264_close(s);
            continue;
        }

        if (mdvr_bus_audio_wanted(h264_bus, s->ref, now_ms)) {
            mdvr_bus_want_audio(h264_bus, s->source, now_ms + H264_SOUND_MS);
        }

        h264_read(s);
    }

    for (uint32_t i = 0; i < mdvr_bus_streams(h264_bus); i++) {

        if (mdvr_bus_at(h264_bus, i, &ref) != MDVR_OK
            || mdvr_bus_info(h264_bus, ref, &info) != MDVR_OK
            || info.kind != MDVR_BUS_KIND_H264
            || info.state != MDVR_BUS_STARTING || info.connected)
        {
            continue;
        }

        room = NULL;

        for (unsigned k = 0; k < max && room == NULL; k++) {
            room = h264s[k].open ? NULL : &h264s[k];
        }

        if (room) {
            h264_open(room, ref);
        }
    }
}


static unsigned
h264_max(void)
{
    int          n;
    const char  *text = getenv("MDVR_H264_STREAMS");

    n = text && *text ? atoi(text) : 2;

    return n < 0 ? 0 : n > H264_STREAMS_MAX ? H264_STREAMS_MAX : (unsigned) n;
}


int
wk_h264_main(void)
{
    bool              mine = false;
    unsigned          max = h264_max();

    if (!wk_node_begin("h264")) {
        return 2;
    }
    av_log_set_level(AV_LOG_QUIET);

    while (!wk_node_stop) {

        if (!wk_node_attach(&h264_bus, "h264")) {
            continue;
        }

        if (!mine) {
            mine = mdvr_bus_h264_claim(h264_bus, max);

            if (!mine) {
                (void) poll(NULL, 0, 1000);     /* another one does it */
                continue;
            }

            wk_log(WK_INFO, "H.264 encoder ready", NULL);
        }

        wk_node_wait(h264_bus, H264_POLL_MS);
        h264_round(max);
    }

    for (unsigned i = 0; h264_bus && i < H264_STREAMS_MAX; i++) {
        h264_close(&h264s[i]);
    }

    if (h264_bus) {
        mdvr_bus_detach(h264_bus);
    }

    return 0;
}
