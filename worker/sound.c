/*
 * mdvr-worker sound: sound of devices to AAC, only while somebody listens; and
 * the parent of the player of recordings (playback.c).
 *
 * One process per node, beside nginx because nginx must not link libav.  It
 * reads the device's own coding from the MEDIA ring of a session and writes
 * AAC fragments to the AUX ring, on the same time line.  A player of picture and
 * sound plays only what it has of both, so the sound goes on whatever the device
 * does: where nothing came, and before anything came, there is silence, and
 * never less of it than the picture minus SILENT_LAG or LATE_LAG.
 *
 * Sound of the device is 8 kHz mono (protocol reference, media.md 5); AAC has
 * 16 kHz, because a frame of 1024 then lasts 64 ms and not 128.
 */

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/prctl.h>
#include <sys/wait.h>

#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>

#include "bus/mdvr_bus.h"
#include "mdvr/media/fmp4.h"
#include "mdvr/media/voice.h"
#include "worker/playback.h"
#include "worker/node.h"
#include "worker/sound.h"
#include "worker/worker.h"

#define SOUND_BACK_US    10500000       /* begin so far back: a recording does */
#define SOUND_SLACK_US   60000          /* drift that is let be */
#define SILENT_LAG_US    100000         /* behind the picture: no sound comes */
#define LATE_LAG_US      500000         /* sound comes, but later */
#define SOUND_FLOWS_US   1000000        /* without any for so long: it does not */
#define SOUND_JUMP_US    10000000       /* no silence for more than that */
#define SOUND_POLL_MS    200
#define SOUND_SAMPLES    16384          /* of one device frame, at most */

typedef struct {
    bool                 open;
    mdvr_bus_ref_t       ref;
    mdvr_bus_reader_t    reader;
    AVCodecContext      *aac;
    AVFrame             *frame;
    AVPacket            *packet;
    unsigned             fill;          /* samples in frame */
    int16_t              last;          /* sample, to interpolate from */

    mdvr_voice_t         voice;

    uint64_t             start_us;      /* pts of the first sample */
    uint64_t             samples;       /* made since then */
    uint64_t             sound_us;      /* newest sound of the device, pts */
    bool                 heard;
    uint32_t             sequence;
} sound_t;


static mdvr_bus_t  *sound_bus;
static sound_t      sounds[MDVR_BUS_STREAMS_MAX];


static uint64_t
sound_clock(const sound_t *s)
{
    return s->start_us + s->samples * 1000000 / MDVR_BUS_AAC_RATE;
}


/* ---- AAC ------------------------------------------------------------------ */

static bool
sound_open_aac(sound_t *s)
{
    const AVCodec  *codec = avcodec_find_encoder(AV_CODEC_ID_AAC);

    s->aac = codec ? avcodec_alloc_context3(codec) : NULL;
    s->frame = av_frame_alloc();
    s->packet = av_packet_alloc();

    if (s->aac == NULL || s->frame == NULL || s->packet == NULL) {
        return false;
    }

    s->aac->sample_rate = MDVR_BUS_AAC_RATE;
    s->aac->sample_fmt = AV_SAMPLE_FMT_FLTP;
    av_channel_layout_default(&s->aac->ch_layout, 1);
    s->aac->bit_rate = 32000;
    s->aac->time_base = (AVRational) { 1, MDVR_BUS_AAC_RATE };
    s->aac->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    s->aac->thread_count = 1;
    av_opt_set(s->aac->priv_data, "aac_coder", "fast", 0);

    if (avcodec_open2(s->aac, codec, NULL) < 0) {
        return false;
    }

    s->frame->format = AV_SAMPLE_FMT_FLTP;
    s->frame->sample_rate = MDVR_BUS_AAC_RATE;
    s->frame->nb_samples = MDVR_BUS_AAC_FRAME;
    av_channel_layout_copy(&s->frame->ch_layout, &s->aac->ch_layout);

    return av_frame_get_buffer(s->frame, 0) >= 0;
}


static void
sound_put(sound_t *s, const AVPacket *packet)
{
    int64_t            at;
    uint8_t           *p;
    mdvr_bus_rec_t     rec;
    mdvr_fmp4_frame_t  frame;

    /* the encoder's first packet begins before its first sample */

    at = (int64_t) s->start_us + packet->pts * 1000000 / MDVR_BUS_AAC_RATE;

    if (at < 0
        || mdvr_bus_reserve(sound_bus, s->ref, 0, MDVR_BUS_RING_AUX,
                            mdvr_fmp4_audio_size((size_t) packet->size), &p)
           != MDVR_OK)
    {
        return;
    }

    frame.sequence = ++s->sequence;
    frame.time_us = (uint64_t) at;
    frame.duration_us = MDVR_BUS_AAC_FRAME * 1000000 / MDVR_BUS_AAC_RATE;
    frame.key = true;

    memset(&rec, 0, sizeof(rec));
    rec.len = (uint32_t) mdvr_fmp4_audio(p, &frame, MDVR_BUS_AAC_RATE,
                                         mdvr_str(packet->data,
                                                  (size_t) packet->size));
    rec.hdr_len = MDVR_FMP4_FRAGMENT_HEAD;
    rec.flags = MDVR_BUS_F_AUDIO;
    rec.codec = MDVR_BUS_AAC;
    rec.pts_us = frame.time_us;
    rec.dur_us = frame.duration_us;
    rec.received_us = (uint64_t) wk_now_ms() * 1000;

    if (s->sequence % 16 == 1) {
        rec.flags |= MDVR_BUS_F_KEY;
    }

    (void) mdvr_bus_commit(sound_bus, s->ref, MDVR_BUS_RING_AUX, &rec);
}


static void
sound_encode(sound_t *s)
{
    s->frame->pts = (int64_t) s->samples - MDVR_BUS_AAC_FRAME;

    if (avcodec_send_frame(s->aac, s->frame) >= 0) {
        while (avcodec_receive_packet(s->aac, s->packet) >= 0) {
            sound_put(s, s->packet);
            av_packet_unref(s->packet);
        }
    }

    s->fill = 0;
    (void) av_frame_make_writable(s->frame);
}


static void
sound_sample(sound_t *s, float value)
{
    ((float *) s->frame->data[0])[s->fill++] = value;
    s->samples++;

    if (s->fill == MDVR_BUS_AAC_FRAME) {
        sound_encode(s);
    }
}


/* 8 kHz in: each sample, and before it the middle to the one before. */

static void
sound_pcm(sound_t *s, const int16_t *pcm, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sound_sample(s, ((float) s->last + (float) pcm[i]) / 65536);
        sound_sample(s, (float) pcm[i] / 32768);
        s->last = pcm[i];
    }
}


static void
sound_silence(sound_t *s, uint64_t until_us)
{
    if (until_us > sound_clock(s) + SOUND_JUMP_US) {

        /* nobody listens that far back: go on from here */

        s->samples += (until_us - sound_clock(s))
                      * MDVR_BUS_AAC_RATE / 1000000;
        s->fill = 0;
        return;
    }

    s->last = 0;

    while (sound_clock(s) < until_us) {
        sound_sample(s, 0);
    }
}


/* ---- the device's coding ----------------------------------------------------- */

static void
sound_frame(sound_t *s, const mdvr_bus_rec_t *rec, const uint8_t *p)
{
    size_t          n, skip;
    int64_t         ahead;
    static int16_t  pcm[SOUND_SAMPLES];

    n = mdvr_voice_decode(&s->voice, rec->codec, mdvr_str(p, rec->len), pcm,
                          SOUND_SAMPLES);

    if (n == 0) {
        return;
    }

    ahead = (int64_t) (rec->pts_us - sound_clock(s));

    if (ahead > SOUND_SLACK_US) {
        sound_silence(s, rec->pts_us);
        ahead = 0;
    }

    skip = 0;

    if (ahead < -SOUND_SLACK_US) {
        skip = (size_t) (-ahead) * 8 / 1000;

        if (skip >= n) {
            return;
        }
    }

    sound_pcm(s, pcm + skip, n - skip);

    s->heard = true;
    s->sound_us = rec->pts_us;
}


/* ---- sessions ------------------------------------------------------------------ */

static void
sound_close(sound_t *s)
{
    if (!s->open) {
        return;
    }

    mdvr_bus_unwatch(sound_bus, s->ref);
    avcodec_free_context(&s->aac);
    av_frame_free(&s->frame);
    av_packet_free(&s->packet);
    memset(s, 0, sizeof(*s));
}


static void
sound_open(sound_t *s, mdvr_bus_ref_t ref)
{
    uint64_t         end_us;
    const uint8_t   *p;
    mdvr_bus_rec_t   rec;

    memset(s, 0, sizeof(*s));
    s->ref = ref;

    if (mdvr_bus_reader_init(sound_bus, ref, MDVR_BUS_RING_MEDIA, false,
                             &s->reader)
        != MDVR_OK)
    {
        return;
    }

    (void) mdvr_bus_reader_back(sound_bus, &s->reader, SOUND_BACK_US);

    if (mdvr_bus_peek(sound_bus, &s->reader, &rec, &p) != MDVR_OK
        || mdvr_bus_watch(sound_bus, ref) != MDVR_OK)
    {
        return;                         /* no picture yet: asked again */
    }

    s->open = true;
    s->start_us = rec.pts_us;

    /* where an earlier time of listening has ended */

    if (mdvr_bus_aac_end(sound_bus, ref, &end_us) && end_us > s->start_us) {
        s->start_us = end_us;
    }

    if (!sound_open_aac(s)) {
        wk_log(WK_ERROR, "AAC encoder does not open", NULL);
        sound_close(s);
        return;
    }

    wk_log(WK_DEBUG, "sound is encoded", NULL);
}


/* Everything that has come; false: the session is over. */

static bool
sound_read(sound_t *s)
{
    bool             flows;
    uint64_t         lag;
    mdvr_rc_t        rc;
    const uint8_t   *p;
    mdvr_bus_rec_t   rec;
    static uint8_t   copy[65536];

    for ( ;; ) {

        rc = mdvr_bus_peek(sound_bus, &s->reader, &rec, &p);

        if (rc != MDVR_OK) {
            return rc == MDVR_AGAIN;
        }

        if (rec.flags & MDVR_BUS_F_AUDIO) {

            if (rec.len > sizeof(copy)) {
                rec.len = 0;
            }

            memcpy(copy, p, rec.len);

            if (mdvr_bus_take(sound_bus, &s->reader, &rec) == MDVR_OK
                && rec.len)
            {
                sound_frame(s, &rec, copy);
            }

            continue;
        }

        if (mdvr_bus_take(sound_bus, &s->reader, &rec) != MDVR_OK) {
            continue;
        }

        /* the picture drives the clock */

        flows = s->heard && rec.pts_us < s->sound_us + SOUND_FLOWS_US;
        lag = flows ? LATE_LAG_US : SILENT_LAG_US;

        if (rec.pts_us > sound_clock(s) + lag) {
            sound_silence(s, rec.pts_us - lag);
        }
    }
}


static void
sound_round(void)
{
    int64_t          now_ms = mdvr_bus_clock_ms();
    sound_t         *s;
    mdvr_bus_ref_t   ref;

    for (uint32_t i = 0; i < mdvr_bus_streams(sound_bus); i++) {
        s = &sounds[i];

        if (s->open && !mdvr_bus_aac_wanted(sound_bus, s->ref, now_ms)) {
            sound_close(s);
        }

        if (!s->open && mdvr_bus_at(sound_bus, i, &ref) == MDVR_OK
            && mdvr_bus_aac_wanted(sound_bus, ref, now_ms))
        {
            sound_open(s, ref);
        }

        if (s->open && !sound_read(s)) {
            sound_close(s);
        }
    }
}


/*
 * The player of recordings is a child: what it reads was written by devices.
 * It is begun before this process attaches and again when it has ended.
 */

static void
sound_player(void)
{
    static pid_t    child;
    static int64_t  begun_ms;

    if (child > 0 && waitpid(child, NULL, WNOHANG) == 0) {
        return;
    }

    if (child > 0 && mdvr_bus_clock_ms() - begun_ms < 1000) {
        return;                         /* it does not want to live */
    }

    begun_ms = mdvr_bus_clock_ms();
    child = fork();

    if (child == 0) {
        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        sound_bus = NULL;
        exit(wk_playback_main());
    }
}


int
wk_sound_main(void)
{
    bool              mine = false;

    if (!wk_node_begin("sound")) {
        return 2;
    }

    while (!wk_node_stop) {

        sound_player();

        if (!wk_node_attach(&sound_bus, "sound")) {
            continue;
        }

        if (!mine) {
            mine = mdvr_bus_encoder_claim(sound_bus);

            if (!mine) {
                (void) poll(NULL, 0, 1000);     /* another one does it */
                continue;
            }

            wk_log(WK_INFO, "sound encoder ready", NULL);
        }

        wk_node_wait(sound_bus, SOUND_POLL_MS);
        sound_round();
    }

    for (uint32_t i = 0; sound_bus && i < MDVR_BUS_STREAMS_MAX; i++) {
        sound_close(&sounds[i]);
    }

    if (sound_bus) {
        mdvr_bus_detach(sound_bus);
    }

    return 0;
}
