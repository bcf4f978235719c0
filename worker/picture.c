/* A small JPEG of the first picture of a movie or of a JPEG. */

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/movie.h"
#include "worker/picture.h"

#define WK_PACKETS_MAX  500             /* looked at for a first picture */
#define WK_QUALITY      4               /* of mjpeg, 2 best to 31 */


static mdvr_rc_t
wk_picture_failed(char *error, size_t size, mdvr_rc_t rc, const char *what)
{
    snprintf(error, size, "%s", what);
    return rc;
}


/* The first picture that `dec` can make of stream `index`. */

static bool
wk_picture_first(AVFormatContext *in, int index, AVCodecContext *dec,
    AVFrame *frame)
{
    int        n;
    bool       got;
    AVPacket  *pkt;

    got = false;
    pkt = av_packet_alloc();

    for (n = 0; pkt && !got && n < WK_PACKETS_MAX; n++) {
        if (av_read_frame(in, pkt) < 0) {
            avcodec_send_packet(dec, NULL);
            got = avcodec_receive_frame(dec, frame) >= 0;
            break;
        }

        if (pkt->stream_index == index) {
            avcodec_send_packet(dec, pkt);
            got = avcodec_receive_frame(dec, frame) >= 0;
        }

        av_packet_unref(pkt);
    }

    av_packet_free(&pkt);

    return got;
}


mdvr_rc_t
wk_picture_write(AVFrame *frame, const char *out, unsigned width, char *error,
    size_t size)
{
    int                 w, h;
    FILE               *f;
    AVFrame            *small;
    AVPacket           *pkt;
    mdvr_rc_t           rc;
    const AVCodec      *codec;
    AVCodecContext     *enc;
    struct SwsContext  *sws;

    w = frame->width;
    h = frame->height;

    if (w > (int) width) {
        h = (int) ((int64_t) h * (int) width / w);
        w = (int) width;
    }

    w = w > 2 ? w & ~1 : 2;
    h = h > 2 ? h & ~1 : 2;

    codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
    enc = codec ? avcodec_alloc_context3(codec) : NULL;
    small = av_frame_alloc();
    pkt = av_packet_alloc();
    sws = sws_getContext(frame->width, frame->height, frame->format, w, h,
                         AV_PIX_FMT_YUVJ420P, SWS_AREA, NULL, NULL, NULL);
    rc = MDVR_E_NO_MEMORY;

    if (enc && small && pkt && sws) {
        enc->width = w;
        enc->height = h;
        enc->pix_fmt = AV_PIX_FMT_YUVJ420P;
        enc->time_base = (AVRational) { 1, 25 };
        enc->flags |= AV_CODEC_FLAG_QSCALE;
        enc->global_quality = FF_QP2LAMBDA * WK_QUALITY;

        small->format = AV_PIX_FMT_YUVJ420P;
        small->width = w;
        small->height = h;
        small->quality = enc->global_quality;

        if (avcodec_open2(enc, codec, NULL) >= 0
            && av_frame_get_buffer(small, 0) >= 0)
        {
            sws_scale(sws, (const uint8_t *const *) frame->data,
                      frame->linesize, 0, frame->height, small->data,
                      small->linesize);

            rc = MDVR_E_CODEC;

            if (avcodec_send_frame(enc, small) >= 0
                && avcodec_receive_packet(enc, pkt) >= 0)
            {
                rc = MDVR_E_UNAVAILABLE;
                f = fopen(out, "w");

                if (f) {
                    if (fwrite(pkt->data, 1, (size_t) pkt->size, f)
                        == (size_t) pkt->size)
                    {
                        rc = MDVR_OK;
                    }

                    if (fclose(f) != 0) {
                        rc = MDVR_E_UNAVAILABLE;
                    }
                }
            }
        }
    }

    sws_freeContext(sws);
    avcodec_free_context(&enc);
    av_frame_free(&small);
    av_packet_free(&pkt);

    return rc == MDVR_OK ? rc
           : wk_picture_failed(error, size, rc, "cannot write a picture");
}


mdvr_rc_t
wk_thumbnail(const char *in, const char *out, unsigned width, unsigned *w,
    unsigned *h, char *error, size_t size)
{
    int                    index;
    bool                   jpeg;
    FILE                  *f;
    uint8_t                head[2];
    AVFrame               *frame;
    mdvr_rc_t              rc;
    const AVCodec         *codec;
    AVCodecContext        *dec;
    AVFormatContext       *fmt;

    av_log_set_level(AV_LOG_QUIET);
    f = fopen(in, "r");
    jpeg = f && fread(head, 1, 2, f) == 2 && head[0] == 0xff
           && head[1] == 0xd8;

    if (f) {
        fclose(f);
    }

    fmt = NULL;
    dec = NULL;
    frame = av_frame_alloc();
    rc = wk_picture_failed(error, size, MDVR_E_CODEC,
                           "no picture could be decoded");

    /* the demuxer is named: what the file is, is not for its name to say */

    if (frame
        && avformat_open_input(&fmt, in,
                               av_find_input_format(jpeg ? "jpeg_pipe"
                                                         : "mp4"), NULL) >= 0
        && avformat_find_stream_info(fmt, NULL) >= 0
        && (index = av_find_best_stream(fmt, AVMEDIA_TYPE_VIDEO, -1, -1,
                                        NULL, 0)) >= 0
        && (codec = avcodec_find_decoder(
                fmt->streams[index]->codecpar->codec_id)) != NULL
        && (dec = avcodec_alloc_context3(codec)) != NULL)
    {
        dec->thread_count = 1;

        if (avcodec_parameters_to_context(dec, fmt->streams[index]->codecpar)
            >= 0
            && avcodec_open2(dec, codec, NULL) >= 0
            && wk_picture_first(fmt, index, dec, frame)
            && frame->width > 0 && frame->height > 0)
        {
            *w = (unsigned) frame->width;
            *h = (unsigned) frame->height;
            rc = wk_picture_write(frame, out, width, error, size);
        }
    }

    avcodec_free_context(&dec);
    avformat_close_input(&fmt);
    av_frame_free(&frame);

    return rc;
}
