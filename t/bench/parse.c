/*
 * What the wire library costs: position reports framed, cut and decoded;
 * media packets; packaging of one video stream.  CPU time of this process.
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mdvr/dc/frame.h"
#include "mdvr/dc/location.h"
#include "mdvr/dc/media.h"
#include "mdvr/media/fmp4.h"

#define POSITION                                                          \
    "$$dc0179,51,V114,MDVR_0042,,210305 082000,A0012,8,32,315660000,47,"  \
    "22,364500000,63.40,2714500,0F00000000007783,0000000000000000,41.50," \
    "0.00,23.25,18250431,62.75,0,1450|63.00|0|0|0|0|0|0|0,1#"

#define FRAME  20000                /* bytes: 4 Mbit/s at 25 fps */


static double
cpu(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);

    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}


static int
positions(void)
{
    double                  start, used;
    unsigned                n;
    const uint8_t          *pos, *last;
    mdvr_frame_t            f;
    mdvr_frame_msg_t        msg;
    mdvr_location_t         loc;
    static char             batch[400 * sizeof(POSITION)];
    static mdvr_message_t   m;

    for (n = 0; n < 400; n++) {
        memcpy(batch + n * (sizeof(POSITION) - 1), POSITION,
               sizeof(POSITION) - 1);
    }

    memset(&f, 0, sizeof(f));
    f.relaxed = true;
    start = cpu();

    for (n = 0; n < 2000000; /* void */) {
        pos = (const uint8_t *) batch;
        last = pos + 400 * (sizeof(POSITION) - 1);

        while (mdvr_frame_next(&f, &pos, last, &msg) == MDVR_OK) {
            if (mdvr_message_parse(msg.content, &m) != MDVR_OK
                || mdvr_location_parse(&m, false, &loc) != MDVR_OK
                || loc.lat_deg < 47)
            {
                return 1;
            }

            n++;
        }
    }

    used = cpu() - start;
    printf("V114 framed and decoded: %.0f per core and second (%.0f ns)\n",
           n / used, used / n * 1e9);

    return n / used < 1000000;
}


static int
packaging(void)
{
    double               start, used;
    size_t               i;
    unsigned             n, seed;
    uint8_t             *au_bytes, *out;
    mdvr_au_t            au;
    mdvr_buf_t           b;
    const uint8_t       *pos;
    mdvr_media_msg_t     msg;
    mdvr_media_video_t   v;
    mdvr_media_parser_t  parser;
    mdvr_fmp4_frame_t    frame;

    au_bytes = malloc(FRAME + 64);
    out = malloc(2 * FRAME);
    seed = 1;

    for (i = 0; i < FRAME; i++) {
        seed = seed * 1103515245 + 12345;
        au_bytes[i] = (uint8_t) (seed >> 16 | 1);
    }

    memcpy(au_bytes, "\0\0\0\1\x41", 5);

    b = mdvr_buf(malloc(FRAME + 64), FRAME + 64);
    mdvr_media_write_video(&b, false, 40000, mdvr_str(au_bytes, FRAME));
    memset(&parser, 0, sizeof(parser));
    parser.started = true;
    start = cpu();

    for (n = 0; n < 50000; n++) {
        pos = b.p;

        if (mdvr_media_next(&parser, &pos, b.p + b.len, &msg) != MDVR_OK
            || mdvr_media_read_video(msg.type, msg.payload, &v) != MDVR_OK)
        {
            return 1;
        }

        mdvr_au_scan(MDVR_CODEC_H264, v.data, &au);
        frame = (mdvr_fmp4_frame_t) { n, n * 40000ULL, 40000, false };
        (void) mdvr_fmp4_video(out, &frame, MDVR_CODEC_H264, &au, v.data);
    }

    used = cpu() - start;
    printf("1080p25 stream of 4 Mbit/s, envelope and fragments: %.3f %% of a "
           "core\n", used / n * 25 * 100);

    free(au_bytes);
    free(out);
    free(b.p);

    return used / n * 25 > 0.003;
}


int
main(void)
{
    return positions() | packaging();
}
