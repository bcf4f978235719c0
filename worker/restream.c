/*
 * mdvr-worker restream FROM TO: a live stream to an RTMP server.
 *
 * nginx-rtmp runs it (exec_pull) when somebody plays rtmp://host/live/<token>
 * and kills it when the last player has left.  It is a viewer like any other: it
 * reads /live/<token>/stream.mp4, where the token is checked all the time, and
 * where a reader that is too slow skips to a key frame.  Nothing is decoded.
 *
 * The time stamps begin at 0.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libavformat/avformat.h>

#include "worker/restream.h"
#include "worker/worker.h"

#define RESTREAM_IDLE_MS   30000        /* nothing comes, or nothing leaves */
#define RESTREAM_STREAMS   2


typedef struct {
    AVFormatContext  *in;
    AVFormatContext  *out;
    AVPacket         *packet;
    int               map[RESTREAM_STREAMS];    /* of `in` to `out`, -1: none */
    int64_t           zero_us;
    int64_t           last[RESTREAM_STREAMS];   /* dts written, per output */
    bool              begun;
} restream_t;

static volatile sig_atomic_t  restream_stop;
static int64_t                restream_deadline;


static void
restream_on_signal(int signo)
{
    restream_stop = 1;
}


static int
restream_interrupt(void *data)
{
    return restream_stop || wk_clock_ms() > restream_deadline;
}


static void
restream_alive(void)
{
    restream_deadline = wk_clock_ms() + RESTREAM_IDLE_MS;
}


static const AVIOInterruptCB  restream_cb = { restream_interrupt, NULL };


static int
restream_open_in(restream_t *s, const char *from)
{
    int            err;
    AVDictionary  *opt = NULL;

    s->in = avformat_alloc_context();

    if (s->in == NULL) {
        return AVERROR(ENOMEM);
    }

    s->in->interrupt_callback = restream_cb;
    s->in->flags |= AVFMT_FLAG_NOBUFFER;

    /* the init segment says everything: nothing is to be guessed */

    s->in->probesize = 4096;
    s->in->max_analyze_duration = 0;
    s->in->fps_probe_size = 0;

    av_dict_set(&opt, "seekable", "0", 0);
    err = avformat_open_input(&s->in, from, av_find_input_format("mp4"), &opt);
    av_dict_free(&opt);

    return err;
}


/* The tracks that FLV has room for; the first of each kind. */

static int
restream_tracks(restream_t *s)
{
    unsigned   kinds[] = { AVMEDIA_TYPE_VIDEO, AVMEDIA_TYPE_AUDIO };
    AVStream  *from, *to;

    s->map[0] = s->map[1] = -1;

    for (unsigned k = 0; k < 2; k++) {
        for (unsigned i = 0; i < s->in->nb_streams && i < RESTREAM_STREAMS;
             i++)
        {
            from = s->in->streams[i];

            if ((unsigned) from->codecpar->codec_type != kinds[k]
                || s->map[i] != -1)
            {
                continue;
            }

            to = avformat_new_stream(s->out, NULL);

            if (to == NULL
                || avcodec_parameters_copy(to->codecpar, from->codecpar) < 0)
            {
                return AVERROR(ENOMEM);
            }

            to->codecpar->codec_tag = 0;
            s->map[i] = to->index;
            break;
        }
    }

    return s->out->nb_streams ? 0 : AVERROR_STREAM_NOT_FOUND;
}


static int
restream_open_out(restream_t *s, const char *to)
{
    int            err;
    AVDictionary  *opt = NULL;

    err = avformat_alloc_output_context2(&s->out, NULL, "flv", to);

    if (err < 0) {
        return err;
    }

    s->out->interrupt_callback = restream_cb;
    s->out->flags |= AVFMT_FLAG_FLUSH_PACKETS;

    if ((err = restream_tracks(s)) < 0) {
        return err;
    }

    err = avio_open2(&s->out->pb, to, AVIO_FLAG_WRITE, &restream_cb, NULL);

    if (err < 0) {
        return err;
    }

    av_dict_set(&opt, "flvflags", "no_duration_filesize", 0);
    err = avformat_write_header(s->out, &opt);
    av_dict_free(&opt);

    s->begun = err >= 0;

    return err;
}


/* Each as it comes; sound and picture go by the same clock already. */

static int
restream_packet(restream_t *s)
{
    int         track;
    int64_t     us;
    AVPacket   *p = s->packet;
    AVStream   *from, *to;

    if (p->stream_index >= RESTREAM_STREAMS || s->map[p->stream_index] < 0) {
        return 0;
    }

    from = s->in->streams[p->stream_index];
    track = s->map[p->stream_index];
    to = s->out->streams[track];

    us = av_rescale_q(p->dts, from->time_base, AV_TIME_BASE_Q);

    if (s->zero_us == AV_NOPTS_VALUE) {
        s->zero_us = us;
    }

    p->dts = av_rescale_q(us - s->zero_us, AV_TIME_BASE_Q, to->time_base);

    if (p->dts < 0) {
        return 0;                       /* sound from before the picture */
    }

    if (p->dts <= s->last[track]) {
        p->dts = s->last[track] + 1;
    }

    s->last[track] = p->dts;
    p->pts = p->dts;                    /* there are no B-frames */
    p->duration = av_rescale_q(p->duration, from->time_base, to->time_base);
    p->stream_index = track;
    p->pos = -1;

    return av_write_frame(s->out, p);
}


static int
restream_run(restream_t *s, const char *from, const char *to)
{
    int  err;

    restream_alive();

    s->zero_us = AV_NOPTS_VALUE;
    s->last[0] = s->last[1] = -1;
    s->packet = av_packet_alloc();

    if (s->packet == NULL) {
        return AVERROR(ENOMEM);
    }

    if ((err = restream_open_in(s, from)) < 0
        || (err = restream_open_out(s, to)) < 0)
    {
        return err;
    }

    wk_log(WK_INFO, "restream begins", NULL);

    while ((err = av_read_frame(s->in, s->packet)) >= 0) {
        restream_alive();
        err = restream_packet(s);
        av_packet_unref(s->packet);

        if (err < 0) {
            break;
        }
    }

    return err;
}


int
wk_restream_main(char *from, char *to)
{
    int               err;
    char              text[AV_ERROR_MAX_STRING_SIZE];
    char             *source, *target;
    restream_t        s;
    struct sigaction  sa;

    source = strdup(from);
    target = strdup(to);

    if (source == NULL || target == NULL) {
        return 1;
    }

    memset(from, 'x', strlen(from));
    memset(to, 'x', strlen(to));

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = restream_on_signal;
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);

    /* libavformat would write the addresses, and with them the token */

    av_log_set_level(AV_LOG_QUIET);
    memset(&s, 0, sizeof(s));

    err = restream_run(&s, source, target);

    if (s.begun) {
        (void) av_write_trailer(s.out);
    }

    if (s.out) {
        avio_closep(&s.out->pb);
        avformat_free_context(s.out);
    }

    avformat_close_input(&s.in);
    av_packet_free(&s.packet);
    free(source);
    free(target);

    if (err == AVERROR_EOF || restream_stop) {
        wk_log(WK_INFO, "restream ends", NULL);
        return 0;
    }

    (void) av_strerror(err, text, sizeof(text));
    wk_log(WK_WARN, "restream failed", "reason", text, NULL);

    return 1;
}
