/*
 * NAL units, parameter sets and the fragment writer: a fragment always fills
 * exactly the bytes that were asked for.
 */

#include "mdvr/media/fmp4.h"
#include "t/fuzz/fuzz.h"


static void
stream(mdvr_codec_e codec, mdvr_str_t in)
{
    size_t              n;
    uint8_t            *out, mem[MDVR_FMP4_INIT_MAX];
    mdvr_au_t           au;
    mdvr_buf_t          b;
    mdvr_sps_t          sps;
    mdvr_str_t          one;
    const uint8_t      *pos, *before;
    mdvr_fmp4_init_t    init;
    mdvr_fmp4_frame_t   frame;

    mdvr_au_scan(codec, in, &au);

    if (au.sps.len && mdvr_sps_parse(codec, au.sps, &sps) == MDVR_OK
        && (sps.width < 16 || sps.width > 8192 || sps.height < 16
            || sps.height > 8192))
    {
        abort();
    }

    memset(&init, 0, sizeof(init));
    init.codec = codec;
    init.vps = au.vps;
    init.sps = au.sps;
    init.pps = au.pps;
    b = mdvr_buf(mem, sizeof(mem));
    (void) mdvr_fmp4_init(&b, &init, &sps);

    n = mdvr_fmp4_video_size(&au);
    out = malloc(n);
    frame = (mdvr_fmp4_frame_t) { 1, 0, 40000, au.key };

    if (mdvr_fmp4_video(out, &frame, codec, &au, in) != n) {
        abort();
    }

    if (mdvr_au_to_annexb(mdvr_str(out + MDVR_FMP4_FRAGMENT_HEAD,
                                   n - MDVR_FMP4_FRAGMENT_HEAD),
                          out + MDVR_FMP4_FRAGMENT_HEAD)
        != n - MDVR_FMP4_FRAGMENT_HEAD)
    {
        abort();
    }

    free(out);

    for (pos = in.p; /* void */; /* void */) {
        before = pos;

        if (!mdvr_au_next(codec, &pos, in.p + in.len, &one)) {
            break;
        }

        if (pos <= before || one.len == 0) {
            abort();
        }

        fuzz_touch(one);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mdvr_str_t  in;

    in = mdvr_str(data, size);
    (void) mdvr_codec_detect(in);

    stream(MDVR_CODEC_H264, in);
    stream(MDVR_CODEC_H265, in);

    return 0;
}
