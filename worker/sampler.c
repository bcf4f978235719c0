/* Pictures for the analysers. */

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/sampler.h"

#define WK_SAMPLE_STEP_S   0.5
#define WK_SAMPLE_WHOLE_S  60.0
#define WK_SAMPLE_THREADS  2
#define WK_SAMPLE_PACKETS  2000         /* looked at for one picture */

typedef struct {
    AVFormatContext    *fmt;
    AVCodecContext     *dec;
    AVStream           *st;
    AVPacket           *pkt;
    AVFrame            *frame;
    struct SwsContext  *bgr, *grey;
    int64_t             start;          /* pts of the first picture */
    bool                started;
    bool                drained;
} wk_reader_t;


static bool
wk_reader_open(wk_reader_t *r, const char *file)
{
    int             index;
    FILE           *f;
    uint8_t         head[2];
    const AVCodec  *codec;

    memset(r, 0, sizeof(*r));
    av_log_set_level(AV_LOG_QUIET);

    f = fopen(file, "r");
    if (f == NULL) {
        return false;
    }

    head[0] = 0;
    index = fread(head, 1, 2, f) == 2;
    fclose(f);

    r->pkt = av_packet_alloc();
    r->frame = av_frame_alloc();

    return index && r->pkt && r->frame
           && avformat_open_input(&r->fmt, file, av_find_input_format(
                  head[0] == 0xff && head[1] == 0xd8 ? "jpeg_pipe" : "mp4"),
                  NULL) >= 0
           && avformat_find_stream_info(r->fmt, NULL) >= 0
           && (index = av_find_best_stream(r->fmt, AVMEDIA_TYPE_VIDEO, -1, -1,
                                           NULL, 0)) >= 0
           && (r->st = r->fmt->streams[index],
               codec = avcodec_find_decoder(r->st->codecpar->codec_id))
           && (r->dec = avcodec_alloc_context3(codec)) != NULL
           && (r->dec->thread_count = WK_SAMPLE_THREADS)
           && avcodec_parameters_to_context(r->dec, r->st->codecpar) >= 0
           && avcodec_open2(r->dec, codec, NULL) >= 0;
}


static void
wk_reader_close(wk_reader_t *r)
{
    sws_freeContext(r->bgr);
    sws_freeContext(r->grey);
    avcodec_free_context(&r->dec);
    avformat_close_input(&r->fmt);
    av_packet_free(&r->pkt);
    av_frame_free(&r->frame);
}


/* The next picture and its time; false at the end. */

static bool
wk_reader_next(wk_reader_t *r, double *at_s)
{
    int       n;
    int64_t   pts;

    for (n = 0; n < WK_SAMPLE_PACKETS; n++) {
        if (avcodec_receive_frame(r->dec, r->frame) >= 0) {
            pts = r->frame->best_effort_timestamp;

            if (pts == AV_NOPTS_VALUE) {
                pts = 0;
            }

            if (!r->started) {
                r->started = true;
                r->start = pts;
            }

            *at_s = (double) (pts - r->start) * av_q2d(r->st->time_base);

            return r->frame->width > 0 && r->frame->height > 0;
        }

        if (r->drained) {
            return false;
        }

        if (av_read_frame(r->fmt, r->pkt) < 0) {
            r->drained = true;
            avcodec_send_packet(r->dec, NULL);
            continue;
        }

        if (r->pkt->stream_index == r->st->index) {
            avcodec_send_packet(r->dec, r->pkt);
        }

        av_packet_unref(r->pkt);
    }

    return false;
}


static bool
wk_sample_add(wk_samples_t *s, wk_reader_t *r, double at_s)
{
    int           line[4] = { 0 };
    uint8_t      *to[4] = { NULL };
    AVFrame      *f;
    wk_sample_t  *p;

    f = r->frame;

    if (s->n == 0) {
        s->w = f->width > WK_SAMPLE_WIDTH ? WK_SAMPLE_WIDTH : f->width & ~1;
        s->h = (int) ((int64_t) f->height * s->w / f->width) & ~1;

        if (s->w < 16 || s->h < 16) {
            return false;
        }
    }

    r->bgr = sws_getCachedContext(r->bgr, f->width, f->height, f->format,
                                  s->w, s->h, AV_PIX_FMT_BGR24, SWS_AREA,
                                  NULL, NULL, NULL);
    r->grey = sws_getCachedContext(r->grey, s->w, s->h, AV_PIX_FMT_BGR24,
                                   s->w, s->h, AV_PIX_FMT_GRAY8, SWS_POINT,
                                   NULL, NULL, NULL);
    p = &s->list[s->n];
    p->at_s = at_s < 0 ? 0 : at_s;
    p->unfit = false;
    p->bgr = malloc((size_t) s->w * (size_t) s->h * 3 + 64);
    p->grey = malloc((size_t) s->w * (size_t) s->h + 64);

    if (p->bgr == NULL || p->grey == NULL || r->bgr == NULL
        || r->grey == NULL)
    {
        free(p->bgr);
        free(p->grey);
        return false;
    }

    to[0] = p->bgr;
    line[0] = s->w * 3;
    sws_scale(r->bgr, (const uint8_t *const *) f->data, f->linesize, 0,
              f->height, to, line);

    to[0] = p->grey;
    sws_scale(r->grey, (const uint8_t *const *) &p->bgr, line, 0, s->h, to,
              (int[4]) { s->w, 0, 0, 0 });
    s->n++;

    return true;
}


bool
wk_samples_read(wk_samples_t *s, const char *file, unsigned max, char *error,
    size_t size)
{
    bool          ok;
    double        at, want, step;
    int64_t       ts;
    wk_reader_t   r;

    memset(s, 0, sizeof(*s));
    s->list = calloc(max, sizeof(s->list[0]));

    if (s->list == NULL || !wk_reader_open(&r, file)) {
        snprintf(error, size, "no picture could be decoded");

        if (s->list) {
            wk_reader_close(&r);
        }

        wk_samples_free(s);
        return false;
    }

    if (r.fmt->duration > 0 && strcmp(r.fmt->iformat->name, "jpeg_pipe") != 0)
    {
        s->duration_s = (double) r.fmt->duration / AV_TIME_BASE;
    }

    step = s->duration_s / max;

    if (step < WK_SAMPLE_STEP_S) {
        step = WK_SAMPLE_STEP_S;
    }

    want = 0;
    ok = true;

    while (ok && s->n < max) {
        if (s->duration_s > WK_SAMPLE_WHOLE_S && s->n) {
            ts = r.start + (int64_t) (want / av_q2d(r.st->time_base));

            if (want >= s->duration_s
                || av_seek_frame(r.fmt, r.st->index, ts,
                                 AVSEEK_FLAG_BACKWARD) < 0)
            {
                break;
            }

            avcodec_flush_buffers(r.dec);
            r.drained = false;
        }

        if (!wk_reader_next(&r, &at)) {
            break;
        }

        if (s->duration_s > WK_SAMPLE_WHOLE_S) {
            if (s->n == 0 || at > s->list[s->n - 1].at_s) {
                ok = wk_sample_add(s, &r, at);
            }

            want += step;
            continue;
        }

        if (at + 0.001 >= want) {
            ok = wk_sample_add(s, &r, at);
            want += step;
        }
    }

    wk_reader_close(&r);

    if (s->n == 0) {
        snprintf(error, size, "no picture could be decoded");
        wk_samples_free(s);
        return false;
    }

    return true;
}


void
wk_samples_free(wk_samples_t *s)
{
    unsigned  i;

    for (i = 0; s->list && i < s->n; i++) {
        free(s->list[i].bgr);
        free(s->list[i].grey);
    }

    free(s->list);
    memset(s, 0, sizeof(*s));
}


bool
wk_sample_write(const wk_samples_t *s, unsigned i, const char *file)
{
    int                 line[1] = { s->w * 3 };
    bool                ok;
    FILE               *f;
    AVFrame            *frame;
    AVPacket           *pkt;
    const AVCodec      *codec;
    AVCodecContext     *enc;
    struct SwsContext  *sws;

    codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
    enc = codec ? avcodec_alloc_context3(codec) : NULL;
    frame = av_frame_alloc();
    pkt = av_packet_alloc();
    sws = sws_getContext(s->w, s->h, AV_PIX_FMT_BGR24, s->w, s->h,
                         AV_PIX_FMT_YUVJ420P, SWS_AREA, NULL, NULL, NULL);
    ok = false;

    if (enc && frame && pkt && sws) {
        enc->width = frame->width = s->w;
        enc->height = frame->height = s->h;
        enc->pix_fmt = AV_PIX_FMT_YUVJ420P;
        frame->format = AV_PIX_FMT_YUVJ420P;
        enc->time_base = (AVRational) { 1, 25 };
        enc->flags |= AV_CODEC_FLAG_QSCALE;
        enc->global_quality = FF_QP2LAMBDA * 4;
        frame->quality = enc->global_quality;

        if (avcodec_open2(enc, codec, NULL) >= 0
            && av_frame_get_buffer(frame, 0) >= 0
            && sws_scale(sws, (const uint8_t *const *) &s->list[i].bgr, line,
                         0, s->h, frame->data, frame->linesize) > 0
            && avcodec_send_frame(enc, frame) >= 0
            && avcodec_receive_packet(enc, pkt) >= 0
            && (f = fopen(file, "w")) != NULL)
        {
            ok = fwrite(pkt->data, 1, (size_t) pkt->size, f)
                 == (size_t) pkt->size;
            ok = fclose(f) == 0 && ok;
        }
    }

    sws_freeContext(sws);
    avcodec_free_context(&enc);
    av_frame_free(&frame);
    av_packet_free(&pkt);

    return ok;
}
