/* Sprites, see sprite.h: key frames only, so the cost is a fraction of a
 * second for any length. */

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "worker/picture.h"
#include "worker/sprite.h"

#define WK_SPRITE_WIDTH    160
#define WK_SPRITE_COLUMNS  10
#define WK_SPRITE_MAX      100          /* pictures */
#define WK_SPRITE_EVERY_S  2.0          /* at least */
#define WK_SPRITE_PACKETS  200          /* looked at for a key frame */

typedef struct {
    AVFormatContext    *fmt;
    AVStream           *st;
    AVCodecContext     *dec;
    AVPacket           *pkt;
    AVFrame            *frame;
    AVFrame            *sheet;
    struct SwsContext  *sws;
} wk_strip_t;


static mdvr_rc_t
wk_sprite_failed(char *error, size_t size, mdvr_rc_t rc, const char *what)
{
    snprintf(error, size, "%s", what);
    return rc;
}


static bool
wk_sprite_open(wk_strip_t *s, const char *movie)
{
    int             index;
    const AVCodec  *codec;

    memset(s, 0, sizeof(*s));
    s->pkt = av_packet_alloc();
    s->frame = av_frame_alloc();
    s->sheet = av_frame_alloc();

    if (s->pkt == NULL || s->frame == NULL || s->sheet == NULL
        || avformat_open_input(&s->fmt, movie, av_find_input_format("mp4"),
                               NULL) < 0
        || avformat_find_stream_info(s->fmt, NULL) < 0
        || (index = av_find_best_stream(s->fmt, AVMEDIA_TYPE_VIDEO, -1, -1,
                                        NULL, 0)) < 0)
    {
        return false;
    }

    s->st = s->fmt->streams[index];
    codec = avcodec_find_decoder(s->st->codecpar->codec_id);
    s->dec = codec ? avcodec_alloc_context3(codec) : NULL;

    if (s->dec == NULL) {
        return false;
    }

    s->dec->thread_count = 1;
    s->dec->skip_frame = AVDISCARD_NONKEY;

    return avcodec_parameters_to_context(s->dec, s->st->codecpar) >= 0
           && avcodec_open2(s->dec, codec, NULL) >= 0;
}


static void
wk_sprite_close(wk_strip_t *s)
{
    sws_freeContext(s->sws);
    avcodec_free_context(&s->dec);
    avformat_close_input(&s->fmt);
    av_packet_free(&s->pkt);
    av_frame_free(&s->frame);
    av_frame_free(&s->sheet);
}


/* The key frame at or before that time into s->frame. */

static bool
wk_sprite_seek(wk_strip_t *s, double at_s)
{
    int      n;
    int64_t  ts;

    ts = (int64_t) (at_s / av_q2d(s->st->time_base));

    if (s->st->start_time != AV_NOPTS_VALUE) {
        ts += s->st->start_time;
    }

    if (av_seek_frame(s->fmt, s->st->index, ts, AVSEEK_FLAG_BACKWARD) < 0) {
        return false;
    }

    avcodec_flush_buffers(s->dec);

    for (n = 0; n < WK_SPRITE_PACKETS; n++) {
        if (av_read_frame(s->fmt, s->pkt) < 0) {
            return false;
        }

        if (s->pkt->stream_index != s->st->index
            || !(s->pkt->flags & AV_PKT_FLAG_KEY))
        {
            av_packet_unref(s->pkt);
            continue;
        }

        avcodec_send_packet(s->dec, s->pkt);
        av_packet_unref(s->pkt);
        avcodec_send_packet(s->dec, NULL);      /* this one, now */

        return avcodec_receive_frame(s->dec, s->frame) >= 0
               && s->frame->width > 0 && s->frame->height > 0;
    }

    return false;
}


static bool
wk_sprite_sheet(wk_strip_t *s, const wk_sprite_t *p)
{
    int  i;

    s->sheet->format = AV_PIX_FMT_YUVJ420P;
    s->sheet->width = (int) (p->columns * p->width);
    s->sheet->height = (int) (p->rows * p->height);

    if (av_frame_get_buffer(s->sheet, 0) < 0) {
        return false;
    }

    for (i = 0; i < 3; i++) {
        memset(s->sheet->data[i], i ? 128 : 0,
               (size_t) s->sheet->linesize[i]
               * (size_t) (i ? (s->sheet->height + 1) / 2
                             : s->sheet->height));
    }

    return true;
}


static bool
wk_sprite_draw(wk_strip_t *s, const wk_sprite_t *p, unsigned n)
{
    int       i, x, y;
    uint8_t  *to[4] = { NULL };

    s->sws = sws_getCachedContext(s->sws, s->frame->width, s->frame->height,
                                  s->frame->format, (int) p->width,
                                  (int) p->height, AV_PIX_FMT_YUVJ420P,
                                  SWS_AREA, NULL, NULL, NULL);
    if (s->sws == NULL) {
        return false;
    }

    for (i = 0; i < 3; i++) {
        x = (int) (n % p->columns * p->width);
        y = (int) (n / p->columns * p->height);

        if (i) {
            x /= 2;
            y /= 2;
        }

        to[i] = s->sheet->data[i] + y * s->sheet->linesize[i] + x;
    }

    return sws_scale(s->sws, (const uint8_t *const *) s->frame->data,
                     s->frame->linesize, 0, s->frame->height, to,
                     s->sheet->linesize) > 0;
}


mdvr_rc_t
wk_sprite_make(const char *movie, const char *out, wk_sprite_t *p,
    char *error, size_t size)
{
    double      duration;
    unsigned    n, made;
    mdvr_rc_t   rc;
    wk_strip_t  s;

    memset(p, 0, sizeof(*p));
    av_log_set_level(AV_LOG_QUIET);

    if (!wk_sprite_open(&s, movie) || s.fmt->duration <= 0
        || s.st->codecpar->width < 16 || s.st->codecpar->height < 16)
    {
        wk_sprite_close(&s);
        return wk_sprite_failed(error, size, MDVR_E_CODEC,
                                "no picture could be decoded");
    }

    duration = (double) s.fmt->duration / AV_TIME_BASE;
    p->every_s = ceil(duration / WK_SPRITE_MAX);

    if (p->every_s < WK_SPRITE_EVERY_S) {
        p->every_s = WK_SPRITE_EVERY_S;
    }

    p->count = (unsigned) ceil(duration / p->every_s);
    p->columns = p->count < WK_SPRITE_COLUMNS ? p->count : WK_SPRITE_COLUMNS;
    p->rows = (p->count + WK_SPRITE_COLUMNS - 1) / WK_SPRITE_COLUMNS;
    p->width = WK_SPRITE_WIDTH;
    p->height = (unsigned) ((int64_t) WK_SPRITE_WIDTH
                            * s.st->codecpar->height
                            / s.st->codecpar->width + 1) & ~1u;

    if (p->height > 2 * WK_SPRITE_WIDTH) {
        p->height = 2 * WK_SPRITE_WIDTH;
    }

    if (!wk_sprite_sheet(&s, p)) {
        wk_sprite_close(&s);
        return wk_sprite_failed(error, size, MDVR_E_NO_MEMORY, "no memory");
    }

    for (n = 0, made = 0; n < p->count; n++) {
        if (wk_sprite_seek(&s, n * p->every_s)) {
            made += wk_sprite_draw(&s, p, n);
        }

        av_frame_unref(s.frame);
    }

    rc = made ? wk_picture_write(s.sheet, out, (unsigned) s.sheet->width,
                                 error, size)
              : wk_sprite_failed(error, size, MDVR_E_CODEC,
                                 "no picture could be decoded");
    wk_sprite_close(&s);

    return rc;
}
