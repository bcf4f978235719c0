/* HLS of a stored movie, see hls.h: a remux with libavformat. */

#include <libavformat/avformat.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "worker/hls.h"

#define WK_HLS_SEGMENT_S  "4"


static mdvr_rc_t
wk_hls_failed(int err, char *error, size_t size)
{
    if (err == 0) {
        return MDVR_OK;
    }

    av_strerror(err, error, size);

    return err == AVERROR(ENOMEM) ? MDVR_E_NO_MEMORY : MDVR_E_UNAVAILABLE;
}


static int
wk_hls_begin(AVFormatContext *in, AVFormatContext *out, const char *segments)
{
    int            err;
    unsigned       i;
    AVStream      *st;
    AVDictionary  *opt;

    for (i = 0; i < in->nb_streams; i++) {
        st = avformat_new_stream(out, NULL);

        if (st == NULL) {
            return AVERROR(ENOMEM);
        }

        err = avcodec_parameters_copy(st->codecpar, in->streams[i]->codecpar);

        if (err < 0) {
            return err;
        }

        st->codecpar->codec_tag = 0;
        st->time_base = in->streams[i]->time_base;
    }

    opt = NULL;
    av_dict_set(&opt, "hls_time", WK_HLS_SEGMENT_S, 0);
    av_dict_set(&opt, "hls_playlist_type", "vod", 0);
    av_dict_set(&opt, "hls_segment_type", "fmp4", 0);
    av_dict_set(&opt, "hls_flags", "single_file", 0);
    av_dict_set(&opt, "hls_segment_filename", segments, 0);

    err = avformat_write_header(out, &opt);
    av_dict_free(&opt);

    return err < 0 ? err : 0;
}


static int
wk_hls_copy(AVFormatContext *in, AVFormatContext *out)
{
    int        err;
    AVPacket  *pkt;

    pkt = av_packet_alloc();
    if (pkt == NULL) {
        return AVERROR(ENOMEM);
    }

    while ((err = av_read_frame(in, pkt)) >= 0) {
        av_packet_rescale_ts(pkt, in->streams[pkt->stream_index]->time_base,
                             out->streams[pkt->stream_index]->time_base);
        pkt->pos = -1;

        err = av_interleaved_write_frame(out, pkt);
        if (err < 0) {
            break;
        }
    }

    av_packet_free(&pkt);

    if (err == AVERROR_EOF) {
        err = av_write_trailer(out);
    }

    return err < 0 ? err : 0;
}


mdvr_rc_t
wk_hls_make(const char *movie, const char *playlist, char *error, size_t size)
{
    int               err;
    char              segments[PATH_MAX];
    const char       *slash;
    AVFormatContext  *in, *out;

    in = NULL;
    out = NULL;
    error[0] = '\0';

    slash = strrchr(playlist, '/');
    snprintf(segments, sizeof(segments), "%.*s/media.mp4",
             slash ? (int) (slash - playlist) : 1, slash ? playlist : ".");

    err = avformat_open_input(&in, movie, NULL, NULL);

    if (err >= 0) {
        err = avformat_find_stream_info(in, NULL);
    }

    if (err >= 0) {
        err = avformat_alloc_output_context2(&out, NULL, "hls", playlist);
    }

    if (err >= 0) {
        err = wk_hls_begin(in, out, segments);
    }

    if (err >= 0) {
        err = wk_hls_copy(in, out);
    }

    avformat_close_input(&in);
    avformat_free_context(out);

    return wk_hls_failed(err < 0 ? err : 0, error, size);
}
