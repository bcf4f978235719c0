/* When each picture of a device's file is decoded and shown, see timeline.h. */

#include <libavcodec/avcodec.h>
#include <stdlib.h>
#include <string.h>

#include "worker/timeline.h"

#define WK_FRAMES_MAX  2000000


/* Within each group of pictures, times follow the picture order count. */

static int
wk_tick_order(const void *a, const void *b)
{
    const wk_tick_t *const  *x = a, *const  *y = b;

    return (*x)->poc < (*y)->poc ? -1 : (*x)->poc > (*y)->poc;
}


static bool
wk_reorder(wk_tick_t *t, unsigned n)
{
    bool         moved;
    int64_t      late, *times;
    unsigned     i, k, first;
    wk_tick_t  **order;

    order = malloc(n * sizeof(*order));
    times = malloc(n * sizeof(*times));
    moved = false;
    late = 0;

    for (first = 0; order && times && first < n; first = i) {
        for (i = first + 1; i < n && !t[i].key; i++) {
            moved |= t[i].poc < t[i - 1].poc;
        }

        for (k = first; k < i; k++) {
            order[k] = &t[k];
            times[k] = t[k].dts_us;
        }

        qsort(order + first, i - first, sizeof(*order), wk_tick_order);

        for (k = first; k < i; k++) {
            order[k]->pts_us = times[k];
        }
    }

    for (i = 0; i < n; i++) {
        if (!moved) {
            t[i].pts_us = t[i].dts_us;

        } else if (t[i].dts_us - t[i].pts_us > late) {
            late = t[i].dts_us - t[i].pts_us;
        }
    }

    for (i = 0; i < n; i++) {
        t[i].dts_us -= late;            /* never shown before decoded */
    }

    moved = order != NULL && times != NULL;
    free(order);
    free(times);

    return moved;
}


mdvr_rc_t
wk_timeline(wk_source_t *s, unsigned announced_s, wk_tick_t **ticks,
    unsigned *count, double *duration_s, const char **why)
{
    int                    size;
    void                  *p;
    double                 fps;
    int64_t                step;
    uint8_t               *data, *pad;
    unsigned               i, n, cap;
    bool                   stamped;
    wk_frame_t             f;
    AVCodecContext        *ctx;
    AVCodecParserContext  *parser;
    enum AVCodecID         id;

    id = s->codec == MDVR_CODEC_H264 ? AV_CODEC_ID_H264 : AV_CODEC_ID_HEVC;
    parser = av_parser_init(id);
    ctx = avcodec_alloc_context3(NULL);
    pad = NULL;
    n = cap = 0;
    stamped = false;

    if (parser == NULL || ctx == NULL) {
        *why = "no parser";
        return MDVR_E_NO_MEMORY;
    }

    parser->flags |= PARSER_FLAG_COMPLETE_FRAMES;
    ctx->codec_id = id;
    wk_source_rewind(s);

    while (n < WK_FRAMES_MAX && wk_source_next(s, &f)) {
        if (f.audio) {
            continue;
        }

        if (n == cap) {
            cap = cap ? cap * 2 : 1024;
            p = realloc(*ticks, cap * sizeof(**ticks));
            if (p == NULL) {
                break;
            }
            *ticks = p;
        }

        (*ticks)[n].key = f.key;
        (*ticks)[n].dts_us = f.stamp_us;
        stamped = f.stamp_us >= 0;

        /* the parser reads a little beyond the end */
        p = realloc(pad, f.data.len + AV_INPUT_BUFFER_PADDING_SIZE);
        if (p == NULL) {
            break;
        }
        pad = p;
        memcpy(pad, f.data.p, f.data.len);
        memset(pad + f.data.len, 0, AV_INPUT_BUFFER_PADDING_SIZE);

        av_parser_parse2(parser, ctx, &data, &size, pad, (int) f.data.len,
                         AV_NOPTS_VALUE, AV_NOPTS_VALUE, 0);
        (*ticks)[n].poc = parser->output_picture_number;
        n++;
    }

    av_parser_close(parser);
    avcodec_free_context(&ctx);
    free(pad);

    if (n == 0) {
        *why = "it has no complete picture";
        return MDVR_E_CODEC;
    }

    step = s->nominal_us;

    if (!stamped) {
        fps = announced_s ? (double) n / announced_s : 0;

        if (fps >= 5 && fps <= 60) {
            step = (int64_t) (1e6 / fps);
        }

        for (i = 0; i < n; i++) {
            (*ticks)[i].dts_us = (int64_t) i * step;
        }
    }

    *duration_s = (double) ((*ticks)[n - 1].dts_us + step) / 1e6;
    *count = n;

    if (!wk_reorder(*ticks, n)) {
        *why = "no memory";
        return MDVR_E_NO_MEMORY;
    }

    return MDVR_OK;
}
