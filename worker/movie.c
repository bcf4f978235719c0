/* A playable MP4 from what a device recorded. */

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mdvr/dc/media.h"
#include "mdvr/media/g711.h"
#include "mdvr/media/g726.h"
#include "worker/movie.h"
#include "worker/source.h"
#include "worker/timeline.h"

#define WK_US            ((AVRational) { 1, 1000000 })
#define WK_MP4_TIME      ((AVRational) { 1, 90000 })
#define WK_SOUND_RATE    8000
#define WK_SOUND_FRAME   1024           /* samples of an AAC frame */
#define WK_DRIFT_US      500000         /* sound is moved beyond this */

typedef struct {
    wk_movie_t       *m;
    AVFormatContext  *fmt;
    AVStream         *video;
    AVStream         *audio;
    AVPacket         *pkt;

    AVCodecContext   *dec, *enc;        /* when encoding */
    AVFrame          *frame, *scaled;
    struct SwsContext  *sws;
    int64_t           last_pts;

    AVCodecContext   *aac;
    AVFrame          *sound;
    mdvr_g726_t       g726;
    int               law;              /* 'a', 'u' or 0: G.726 */
    int64_t           samples;          /* given to the encoder, as pts */
    int               fill;
} wk_out_t;


static mdvr_rc_t
wk_failed(wk_movie_t *m, mdvr_rc_t rc, const char *what, int err)
{
    char  text[AV_ERROR_MAX_STRING_SIZE];

    text[0] = '\0';

    if (err < 0) {
        av_strerror(err, text, sizeof(text));
    }

    snprintf(m->error, sizeof(m->error), "%s%s%s", what, text[0] ? ": " : "",
             text);

    return rc;
}


/* ---- output ------------------------------------------------------------ */

static mdvr_rc_t
wk_out_open(wk_out_t *o, const char *path)
{
    int  err;

    err = avformat_alloc_output_context2(&o->fmt, NULL, "mp4", path);
    o->pkt = av_packet_alloc();
    o->frame = av_frame_alloc();
    o->video = o->fmt ? avformat_new_stream(o->fmt, NULL) : NULL;

    if (err < 0 || o->pkt == NULL || o->frame == NULL || o->video == NULL) {
        return wk_failed(o->m, MDVR_E_NO_MEMORY, "no memory", err);
    }

    return MDVR_OK;
}


static mdvr_rc_t
wk_out_begin(wk_out_t *o, const char *path)
{
    int            err;
    AVDictionary  *opt;

    opt = NULL;
    av_dict_set(&opt, "movflags", "faststart", 0);

    err = avio_open(&o->fmt->pb, path, AVIO_FLAG_WRITE);

    if (err >= 0) {
        err = avformat_write_header(o->fmt, &opt);
    }

    av_dict_free(&opt);

    return err < 0 ? wk_failed(o->m, MDVR_E_UNAVAILABLE, "cannot write", err)
                   : MDVR_OK;
}


static mdvr_rc_t
wk_out_packet(wk_out_t *o, AVStream *st, AVRational base)
{
    int  err;

    o->pkt->stream_index = st->index;
    av_packet_rescale_ts(o->pkt, base, st->time_base);
    err = av_interleaved_write_frame(o->fmt, o->pkt);
    av_packet_unref(o->pkt);

    return err < 0 ? wk_failed(o->m, MDVR_E_UNAVAILABLE, "cannot write", err)
                   : MDVR_OK;
}


static void
wk_out_close(wk_out_t *o)
{
    if (o->fmt) {
        if (o->fmt->pb) {
            avio_closep(&o->fmt->pb);
        }

        avformat_free_context(o->fmt);
    }

    avcodec_free_context(&o->dec);
    avcodec_free_context(&o->enc);
    avcodec_free_context(&o->aac);
    av_packet_free(&o->pkt);
    av_frame_free(&o->frame);
    av_frame_free(&o->scaled);
    av_frame_free(&o->sound);
    sws_freeContext(o->sws);
}


static mdvr_rc_t
wk_out_end(wk_out_t *o)
{
    int  err;

    err = av_write_trailer(o->fmt);

    if (err >= 0) {
        err = avio_closep(&o->fmt->pb);
    }

    return err < 0 ? wk_failed(o->m, MDVR_E_UNAVAILABLE, "cannot write", err)
                   : MDVR_OK;
}


/* ---- encoding ---------------------------------------------------------- */

static mdvr_rc_t
wk_encoder(wk_out_t *o, unsigned width, unsigned height)
{
    int             err;
    const AVCodec  *codec;

    codec = avcodec_find_encoder_by_name("libx264");
    o->enc = codec ? avcodec_alloc_context3(codec) : NULL;

    if (o->enc == NULL) {
        return wk_failed(o->m, MDVR_E_UNAVAILABLE, "no H.264 encoder", 0);
    }

    o->enc->width = (int) (width & ~1U);
    o->enc->height = (int) (height & ~1U);
    o->enc->pix_fmt = AV_PIX_FMT_YUV420P;
    o->enc->time_base = WK_MP4_TIME;
    o->enc->gop_size = 50;
    o->enc->max_b_frames = 0;
    o->enc->thread_count = 1;
    o->enc->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set(o->enc->priv_data, "preset", "veryfast", 0);
    av_opt_set(o->enc->priv_data, "crf", "23", 0);
    av_opt_set(o->enc->priv_data, "x264-params", "scenecut=0", 0);

    err = avcodec_open2(o->enc, codec, NULL);

    if (err >= 0) {
        err = avcodec_parameters_from_context(o->video->codecpar, o->enc);
    }

    o->video->time_base = o->enc->time_base;
    o->last_pts = -1;
    o->m->encoded = true;

    return err < 0 ? wk_failed(o->m, MDVR_E_UNAVAILABLE, "H.264 encoder", err)
                   : MDVR_OK;
}


static mdvr_rc_t
wk_encode_frame(wk_out_t *o, AVFrame *frame)
{
    int        err;
    mdvr_rc_t  rc;

    err = avcodec_send_frame(o->enc, frame);

    while (err >= 0) {
        err = avcodec_receive_packet(o->enc, o->pkt);

        if (err == AVERROR(EAGAIN) || err == AVERROR_EOF) {
            return MDVR_OK;
        }

        if (err >= 0) {
            o->m->frames++;

            if (o->pkt->duration == 0) {        /* else the last one is cut */
                o->pkt->duration = WK_MP4_TIME.den / 25;
            }

            rc = wk_out_packet(o, o->video, o->enc->time_base);
            if (rc != MDVR_OK) {
                return rc;
            }
        }
    }

    return wk_failed(o->m, MDVR_E_UNAVAILABLE, "H.264 encoder", err);
}


/* A decoded picture, stamped in `base`, to the encoder. */

static mdvr_rc_t
wk_encode(wk_out_t *o, AVRational base)
{
    int64_t    pts;
    AVFrame   *f;
    mdvr_rc_t  rc;

    f = o->frame;
    pts = av_rescale_q(f->best_effort_timestamp != AV_NOPTS_VALUE
                       ? f->best_effort_timestamp : 0, base, WK_MP4_TIME);

    if (pts <= o->last_pts) {
        pts = o->last_pts + 1;
    }

    o->last_pts = pts;

    if (f->format != AV_PIX_FMT_YUV420P || f->width != o->enc->width
        || f->height != o->enc->height)
    {
        o->sws = sws_getCachedContext(o->sws, f->width, f->height, f->format,
                                      o->enc->width, o->enc->height,
                                      AV_PIX_FMT_YUV420P, SWS_BILINEAR, NULL,
                                      NULL, NULL);

        if (o->scaled == NULL) {
            o->scaled = av_frame_alloc();

            if (o->scaled) {
                o->scaled->format = AV_PIX_FMT_YUV420P;
                o->scaled->width = o->enc->width;
                o->scaled->height = o->enc->height;
            }
        }

        if (o->sws == NULL || o->scaled == NULL
            || (o->scaled->data[0] == NULL
                && av_frame_get_buffer(o->scaled, 0) < 0)
            || av_frame_make_writable(o->scaled) < 0)
        {
            return wk_failed(o->m, MDVR_E_NO_MEMORY, "no memory", 0);
        }

        sws_scale(o->sws, (const uint8_t *const *) f->data, f->linesize, 0,
                  f->height, o->scaled->data, o->scaled->linesize);
        f = o->scaled;
    }

    f->pts = pts;
    f->pict_type = AV_PICTURE_TYPE_NONE;
    rc = wk_encode_frame(o, f);
    av_frame_unref(o->frame);

    return rc;
}


/* `pkt` NULL drains.  What cannot be decoded is skipped. */

static mdvr_rc_t
wk_decode(wk_out_t *o, AVPacket *pkt, AVRational base)
{
    int        err;
    mdvr_rc_t  rc;

    err = avcodec_send_packet(o->dec, pkt);

    if (err < 0 && err != AVERROR(EAGAIN)) {
        return MDVR_OK;
    }

    while (avcodec_receive_frame(o->dec, o->frame) >= 0) {
        rc = wk_encode(o, base);
        if (rc != MDVR_OK) {
            return rc;
        }
    }

    return MDVR_OK;
}


static mdvr_rc_t
wk_decoder(wk_out_t *o, const AVCodecParameters *par)
{
    int             err;
    const AVCodec  *codec;

    codec = avcodec_find_decoder(par->codec_id);
    o->dec = codec ? avcodec_alloc_context3(codec) : NULL;

    if (o->dec == NULL) {
        return wk_failed(o->m, MDVR_E_CODEC, "no decoder for it", 0);
    }

    o->dec->thread_count = 1;
    err = avcodec_parameters_to_context(o->dec, par);

    if (err >= 0) {
        err = avcodec_open2(o->dec, codec, NULL);
    }

    return err < 0 ? wk_failed(o->m, MDVR_E_CODEC, "decoder", err) : MDVR_OK;
}


/* ---- sound of the device ----------------------------------------------- */

static bool
wk_sound_codec(wk_out_t *o, unsigned audio_type)
{
    const mdvr_audio_type_t  *type;

    type = mdvr_audio_type((int) audio_type);

    if (type == NULL) {
        return false;
    }

    if (strcmp(type->codec, "pcm_mulaw") == 0) {
        o->law = 'u';
        return true;
    }

    if (strcmp(type->codec, "pcm_alaw") == 0) {
        o->law = 'a';
        return true;
    }

    return mdvr_g726_init(&o->g726, audio_type) == MDVR_OK;
}


static mdvr_rc_t
wk_sound_open(wk_out_t *o, unsigned audio_type)
{
    int             err;
    const AVCodec  *codec;

    if (!wk_sound_codec(o, audio_type)) {
        return MDVR_OK;                 /* unknown: the picture alone */
    }

    codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
    o->aac = codec ? avcodec_alloc_context3(codec) : NULL;
    o->sound = av_frame_alloc();
    o->audio = avformat_new_stream(o->fmt, NULL);

    if (o->aac == NULL || o->sound == NULL || o->audio == NULL) {
        return wk_failed(o->m, MDVR_E_NO_MEMORY, "no memory", 0);
    }

    o->aac->sample_rate = WK_SOUND_RATE;
    o->aac->sample_fmt = AV_SAMPLE_FMT_FLTP;
    av_channel_layout_default(&o->aac->ch_layout, 1);
    o->aac->bit_rate = 24000;
    o->aac->time_base = (AVRational) { 1, WK_SOUND_RATE };
    o->aac->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;

    err = avcodec_open2(o->aac, codec, NULL);

    if (err >= 0) {
        err = avcodec_parameters_from_context(o->audio->codecpar, o->aac);
    }

    if (err >= 0) {
        o->sound->format = AV_SAMPLE_FMT_FLTP;
        o->sound->sample_rate = WK_SOUND_RATE;
        o->sound->nb_samples = WK_SOUND_FRAME;
        av_channel_layout_copy(&o->sound->ch_layout, &o->aac->ch_layout);
        err = av_frame_get_buffer(o->sound, 0);
    }

    o->audio->time_base = o->aac->time_base;
    o->samples = -1;

    return err < 0 ? wk_failed(o->m, MDVR_E_UNAVAILABLE, "AAC encoder", err)
                   : MDVR_OK;
}


static mdvr_rc_t
wk_sound_flush(wk_out_t *o, AVFrame *frame)
{
    mdvr_rc_t  rc;

    if (avcodec_send_frame(o->aac, frame) < 0) {
        return MDVR_OK;
    }

    while (avcodec_receive_packet(o->aac, o->pkt) >= 0) {
        o->m->sound = true;
        rc = wk_out_packet(o, o->audio, o->aac->time_base);
        if (rc != MDVR_OK) {
            return rc;
        }
    }

    return MDVR_OK;
}


static mdvr_rc_t
wk_sound_sample(wk_out_t *o, int16_t sample)
{
    mdvr_rc_t  rc;

    ((float *) o->sound->data[0])[o->fill++] = (float) sample / 32768;

    if (o->fill < WK_SOUND_FRAME) {
        return MDVR_OK;
    }

    o->sound->pts = o->samples;
    o->samples += WK_SOUND_FRAME;
    o->fill = 0;
    rc = wk_sound_flush(o, o->sound);

    if (rc == MDVR_OK && av_frame_make_writable(o->sound) < 0) {
        rc = wk_failed(o->m, MDVR_E_NO_MEMORY, "no memory", 0);
    }

    return rc;
}


static mdvr_rc_t
wk_sound(wk_out_t *o, const wk_frame_t *f)
{
    size_t          i, n;
    int64_t         here;
    mdvr_rc_t       rc;
    static int16_t  pcm[1 << 16];

    if (f->data.len > 16384) {
        return MDVR_OK;
    }

    here = f->stamp_us * WK_SOUND_RATE / 1000000;

    if (o->samples < 0) {
        o->samples = here;

    } else if (here - o->samples - o->fill
               > (int64_t) WK_DRIFT_US * WK_SOUND_RATE / 1000000)
    {
        while (o->fill) {               /* fill up with silence and move on */
            rc = wk_sound_sample(o, 0);
            if (rc != MDVR_OK) {
                return rc;
            }
        }

        if (here > o->samples) {
            o->samples = here;
        }
    }

    if (o->law) {
        for (i = 0; i < f->data.len; i++) {
            pcm[i] = o->law == 'a' ? mdvr_alaw_decode(f->data.p[i])
                                   : mdvr_ulaw_decode(f->data.p[i]);
        }

        n = f->data.len;

    } else {
        n = mdvr_g726_decode(&o->g726, f->data, pcm,
                             sizeof(pcm) / sizeof(pcm[0]));
    }

    for (i = 0; i < n; i++) {
        rc = wk_sound_sample(o, pcm[i]);
        if (rc != MDVR_OK) {
            return rc;
        }
    }

    return MDVR_OK;
}


/* ---- the forms of a device ---------------------------------------------- */

static mdvr_rc_t
wk_source_par(wk_source_t *s, AVCodecParameters *par)
{
    par->codec_type = AVMEDIA_TYPE_VIDEO;
    par->codec_id = s->codec == MDVR_CODEC_H264 ? AV_CODEC_ID_H264
                                                : AV_CODEC_ID_HEVC;
    par->width = (int) s->sps.width;
    par->height = (int) s->sps.height;
    par->extradata = av_mallocz(s->headers_len + AV_INPUT_BUFFER_PADDING_SIZE);

    if (par->extradata == NULL) {
        return MDVR_E_NO_MEMORY;
    }

    memcpy(par->extradata, s->headers, s->headers_len);
    par->extradata_size = (int) s->headers_len;

    return MDVR_OK;
}


static mdvr_rc_t
wk_source_packets(wk_out_t *o, wk_source_t *s, const wk_tick_t *ticks,
    unsigned count)
{
    int         err;
    unsigned    i;
    mdvr_rc_t   rc;
    wk_frame_t  f;

    i = 0;
    wk_source_rewind(s);

    while (i < count && wk_source_next(s, &f)) {
        if (f.audio) {
            if (o->aac) {
                rc = wk_sound(o, &f);
                if (rc != MDVR_OK) {
                    return rc;
                }
            }
            continue;
        }

        err = av_new_packet(o->pkt, (int) f.data.len);
        if (err < 0) {
            return wk_failed(o->m, MDVR_E_NO_MEMORY, "no memory", err);
        }

        memcpy(o->pkt->data, f.data.p, f.data.len);
        o->pkt->dts = ticks[i].dts_us;
        o->pkt->pts = ticks[i].pts_us;

        if (f.key) {
            o->pkt->flags |= AV_PKT_FLAG_KEY;
        }

        if (o->enc) {
            AVPacket  *in = o->pkt;

            o->pkt = av_packet_alloc();
            rc = o->pkt ? wk_decode(o, in, WK_US)
                        : wk_failed(o->m, MDVR_E_NO_MEMORY, "no memory", 0);
            av_packet_free(&in);

        } else {
            o->pkt->duration = i + 1 < count
                               ? ticks[i + 1].dts_us - ticks[i].dts_us
                               : s->nominal_us;
            o->m->frames++;
            rc = wk_out_packet(o, o->video, WK_US);
        }

        if (rc != MDVR_OK) {
            return rc;
        }

        i++;
    }

    return MDVR_OK;
}


static mdvr_rc_t
wk_movie_source(wk_out_t *o, wk_source_t *s, const char *path)
{
    unsigned            count;
    const char         *why;
    mdvr_rc_t           rc;
    wk_tick_t          *ticks;
    AVCodecParameters  *par;

    ticks = NULL;
    par = NULL;
    snprintf(o->m->codec, sizeof(o->m->codec), "%s", s->sps.codec_string);
    o->m->width = s->sps.width;
    o->m->height = s->sps.height;

    rc = wk_timeline(s, o->m->announced_s, &ticks, &count, &o->m->duration_s,
                     &why);

    rc = rc == MDVR_OK ? wk_out_open(o, path) : wk_failed(o->m, rc, why, 0);

    if (rc == MDVR_OK && s->codec == MDVR_CODEC_H264) {
        rc = wk_source_par(s, o->video->codecpar);
        o->video->time_base = WK_MP4_TIME;

    } else if (rc == MDVR_OK) {
        par = avcodec_parameters_alloc();
        rc = par ? wk_source_par(s, par) : MDVR_E_NO_MEMORY;

        if (rc == MDVR_OK) {
            rc = wk_decoder(o, par);
        }

        if (rc == MDVR_OK) {
            rc = wk_encoder(o, s->sps.width, s->sps.height);
        }

        avcodec_parameters_free(&par);
    }

    if (rc == MDVR_OK && s->form == WK_FORM_PRIVATE && o->m->audio_type) {
        rc = wk_sound_open(o, o->m->audio_type);
    }

    if (rc == MDVR_OK) {
        rc = wk_out_begin(o, path);
    }

    if (rc == MDVR_OK) {
        rc = wk_source_packets(o, s, ticks, count);
    }

    if (rc == MDVR_OK && o->enc) {
        rc = wk_decode(o, NULL, WK_US);

        if (rc == MDVR_OK) {
            rc = wk_encode_frame(o, NULL);
        }
    }

    if (rc == MDVR_OK && o->aac) {
        rc = wk_sound_flush(o, NULL);
    }

    if (rc == MDVR_OK && o->m->frames == 0) {
        rc = wk_failed(o->m, MDVR_E_CODEC, "no picture could be decoded", 0);
    }

    if (rc == MDVR_OK) {
        rc = wk_out_end(o);
    }

    free(ticks);

    return rc;
}


/* ---- MP4 ---------------------------------------------------------------- */

static mdvr_rc_t
wk_movie_mp4_packets(wk_out_t *o, AVFormatContext *in, int video, int audio)
{
    AVPacket   *p;
    mdvr_rc_t   rc;
    AVRational  base;

    p = av_packet_alloc();
    rc = p ? MDVR_OK : wk_failed(o->m, MDVR_E_NO_MEMORY, "no memory", 0);

    while (rc == MDVR_OK && av_read_frame(in, p) >= 0) {
        base = in->streams[p->stream_index]->time_base;

        if (p->stream_index == video && o->enc) {
            rc = wk_decode(o, p, base);

        } else if (p->stream_index == video || p->stream_index == audio) {
            o->m->frames += p->stream_index == video;
            o->m->sound |= p->stream_index == audio;
            av_packet_move_ref(o->pkt, p);
            rc = wk_out_packet(o, o->pkt->stream_index == video ? o->video
                                                                : o->audio,
                               base);
        }

        av_packet_unref(p);
    }

    if (rc == MDVR_OK && o->enc) {
        rc = wk_decode(o, NULL, in->streams[video]->time_base);

        if (rc == MDVR_OK) {
            rc = wk_encode_frame(o, NULL);
        }
    }

    av_packet_free(&p);

    return rc;
}


static mdvr_rc_t
wk_movie_mp4(wk_out_t *o, const char *path_in, const char *path)
{
    int                 err, video, audio;
    mdvr_rc_t           rc;
    AVFormatContext    *in;
    AVCodecParameters  *par;

    in = NULL;
    err = avformat_open_input(&in, path_in, av_find_input_format("mp4"),
                              NULL);
    if (err < 0) {
        return wk_failed(o->m, MDVR_E_CODEC, "not a readable MP4", err);
    }

    err = avformat_find_stream_info(in, NULL);
    video = err < 0 ? err : av_find_best_stream(in, AVMEDIA_TYPE_VIDEO, -1, -1,
                                                NULL, 0);

    if (video < 0) {
        avformat_close_input(&in);
        return wk_failed(o->m, MDVR_E_CODEC, "the MP4 has no picture", video);
    }

    par = in->streams[video]->codecpar;
    o->m->width = (unsigned) par->width;
    o->m->height = (unsigned) par->height;
    o->m->duration_s = in->duration > 0 ? (double) in->duration / AV_TIME_BASE
                                        : 0;
    snprintf(o->m->codec, sizeof(o->m->codec), "%s",
             avcodec_get_name(par->codec_id));

    audio = av_find_best_stream(in, AVMEDIA_TYPE_AUDIO, -1, video, NULL, 0);

    if (audio >= 0
        && in->streams[audio]->codecpar->codec_id != AV_CODEC_ID_AAC)
    {
        audio = -1;
    }

    rc = wk_out_open(o, path);

    if (rc == MDVR_OK && par->codec_id == AV_CODEC_ID_H264) {
        if (avcodec_parameters_copy(o->video->codecpar, par) < 0) {
            rc = MDVR_E_NO_MEMORY;
        }

        o->video->codecpar->codec_tag = 0;
        o->video->time_base = in->streams[video]->time_base;

    } else if (rc == MDVR_OK) {
        rc = wk_decoder(o, par);

        if (rc == MDVR_OK) {
            rc = wk_encoder(o, o->m->width, o->m->height);
        }
    }

    if (rc == MDVR_OK && audio >= 0) {
        o->audio = avformat_new_stream(o->fmt, NULL);

        if (o->audio == NULL
            || avcodec_parameters_copy(o->audio->codecpar,
                                       in->streams[audio]->codecpar) < 0)
        {
            rc = MDVR_E_NO_MEMORY;

        } else {
            o->audio->codecpar->codec_tag = 0;
            o->audio->time_base = in->streams[audio]->time_base;
        }
    }

    if (rc == MDVR_OK) {
        rc = wk_out_begin(o, path);
    }

    if (rc == MDVR_OK) {
        rc = wk_movie_mp4_packets(o, in, video, audio);
    }

    if (rc == MDVR_OK && o->m->frames == 0) {
        rc = wk_failed(o->m, MDVR_E_CODEC, "no picture could be decoded", 0);
    }

    if (rc == MDVR_OK) {
        rc = wk_out_end(o);
    }

    avformat_close_input(&in);

    return rc;
}


mdvr_rc_t
wk_movie_make(const char *in, mdvr_str_t bytes, const char *out,
    wk_movie_t *m)
{
    wk_out_t     o;
    mdvr_rc_t    rc;
    wk_source_t  s;

    av_log_set_level(AV_LOG_QUIET);
    memset(&o, 0, sizeof(o));
    o.m = m;

    rc = wk_source_open(&s, bytes);
    m->form = wk_form_name(s.form);

    if (rc != MDVR_OK) {
        wk_failed(m, rc, "nothing in it is a picture of H.264 or H.265", 0);

    } else if (s.form == WK_FORM_MP4) {
        rc = wk_movie_mp4(&o, in, out);

    } else {
        rc = wk_movie_source(&o, &s, out);
    }

    wk_out_close(&o);
    wk_source_close(&s);

    return rc;
}
