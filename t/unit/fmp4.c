/*
 * NAL units, parameter sets, fragments and playlists.
 *
 * With "pack <annexb> <mp4>" the program packages a whole stream into one
 * file instead, which t/media/fmp4.t decodes.
 */

#include <stdio.h>
#include <stdlib.h>

#include "mdvr/basics/bytes.h"
#include "mdvr/dc/media.h"
#include "mdvr/media/fmp4.h"
#include "mdvr/media/playlist.h"
#include "t/unit/lib/tap.h"

static tap_arena_t  arena;


static mdvr_str_t
access_unit(const char *name)
{
    mdvr_str_t          v;
    mdvr_media_video_t  f;

    v = tap_media(name);
    mdvr_media_read_video(mdvr_le16(v.p + 2), mdvr_str(v.p + 8, v.len - 8),
                          &f);
    f.data.p = tap_place(&arena, f.data.p, f.data.len);

    return f.data;
}


static void
nals(void)
{
    unsigned        n;
    mdvr_str_t      in, nal, au;
    const uint8_t  *pos;
    uint8_t         out[64], back[64];

    static const struct {
        mdvr_str_t  in;
        unsigned    n;
        const char *what;
    } cases[] = {
        { MDVR_STR(""), 0, "nothing" },
        { MDVR_STR("\0\0\1"), 0, "a start code" },
        { MDVR_STR("\0\0\1\x67"), 1, "one unit of one byte" },
        { MDVR_STR("\0\0\0\1\x67\0\0\1\x68"), 2, "both start codes" },
        { MDVR_STR("\0\0\1\0\0\1\x68"), 1, "an empty unit is none" },
        { MDVR_STR("xyz\0\0\1\x68y"), 1, "junk in front" },
        { MDVR_STR("\0\0\1\x68\0\0\0\0\0\0\1\x65"), 2, "many zeros" },
        { MDVR_STR("\0\0\1\x68\1\0\1\0\0\3\1"), 1, "almost start codes" },
        { MDVR_STR("\0\0\1\1\1\1\0\0\1\1"), 2, "units of ones" },
        { MDVR_STR("\x67\x68"), 0, "no start code" },
    };

    for (n = 0; n < sizeof(cases) / sizeof(cases[0]); n++) {
        unsigned  k;

        in = cases[n].in;
        in.p = tap_place(&arena, in.p, in.len);
        pos = in.p;

        for (k = 0; mdvr_nal_next(&pos, in.p + in.len, &nal); k++) {
            /* void */
        }

        tap_int(k, cases[n].n, cases[n].what);
    }

    in = MDVR_STR("\0\0\0\1\x67\x42\0\0\1\x68\xce\0\0\0\1\x65\x88");
    pos = in.p;
    mdvr_nal_next(&pos, in.p + in.len, &nal);
    tap_ok(nal.len == 2 && nal.p[0] == 0x67,
           "zeros in front of a start code belong to it");

    n = (unsigned) mdvr_au_to_length_prefixed(MDVR_CODEC_H264, in, out);
    tap_ok(n == 18 && memcmp(out, "\0\0\0\2\x67\x42\0\0\0\2\x68\xce"
                                  "\0\0\0\2\x65\x88", 18) == 0,
           "length-prefixed");
    tap_ok(mdvr_au_to_annexb(mdvr_str(out, n), back) == 18
           && memcmp(back + 12, "\0\0\0\1\x65\x88", 6) == 0, "and back");
    out[3] = 200;
    tap_int((long long) mdvr_au_to_annexb(mdvr_str(out, n), back), 0,
            "a wrong length is refused");

    in = MDVR_STR("\0\0\1\x09\x10\0\0\1\x67\x42\0\0\1\x65\x88\0\0\1\x65\x08"
                  "\0\0\1\x41\x9a\0\0\0\1\x06\x05\0\0\1\x41\x9a");
    pos = in.p;

    for (n = 0; mdvr_au_next(MDVR_CODEC_H264, &pos, in.p + in.len, &au); n++)
    {
        tap_int((long long) au.len, n == 0 ? 20 : (n == 1 ? 5 : 11),
                "an access unit");
    }

    tap_int(n, 3, "three pictures, the first of two slices");
}


static void
codecs(void)
{
    mdvr_au_t   au;
    mdvr_sps_t  sps;
    mdvr_str_t  in;
    size_t      i;
    unsigned    good;
    uint8_t     tmp[256];

    in = access_unit("model.6011");
    tap_int(mdvr_codec_detect(in), MDVR_CODEC_H264, "H.264 is recognised");
    mdvr_au_scan(MDVR_CODEC_H264, in, &au);
    tap_ok(au.key && au.picture && au.nals == 3 && au.vps.len == 0,
           "an IDR picture with its parameter sets");
    tap_rc(mdvr_sps_parse(MDVR_CODEC_H264, au.sps, &sps), MDVR_OK, "its SPS");
    tap_ok(sps.width == 96 && sps.height == 80, "96x80");
    tap_ok(strcmp(sps.codec_string, "avc1.42C014") == 0, "%s",
           sps.codec_string);

    memcpy(tmp, au.sps.p, au.sps.len);

    for (i = 0, good = 0; i < 7; i++) {
        good += mdvr_sps_parse(MDVR_CODEC_H264,
                               mdvr_str(tap_place(&arena, tmp, i), i), &sps)
                == MDVR_OK;
    }

    tap_int(good, 0, "an SPS cut short is refused");

    in = access_unit("model.6012.1");
    mdvr_au_scan(MDVR_CODEC_H264, in, &au);
    tap_ok(!au.key && au.picture, "a P picture is no key");
    tap_int(mdvr_codec_detect(in), MDVR_CODEC_NONE, "and tells no codec");

    in = access_unit("model.6011.hevc");
    tap_int(mdvr_codec_detect(in), MDVR_CODEC_H265, "H.265 is recognised");
    mdvr_au_scan(MDVR_CODEC_H265, in, &au);
    tap_ok(au.key && au.nals == 4 && au.vps.len && au.pps.len,
           "an IRAP picture with its parameter sets");
    tap_rc(mdvr_sps_parse(MDVR_CODEC_H265, au.sps, &sps), MDVR_OK, "its SPS");
    tap_ok(sps.width == 96 && sps.height == 80 && sps.chroma == 1
           && sps.depth_luma == 8, "96x80, 4:2:0, 8 bits");
    tap_ok(strncmp(sps.codec_string, "hvc1.1.6.L", 10) == 0, "%s",
           sps.codec_string);

    memcpy(tmp, au.sps.p, au.sps.len);

    for (i = 0; i < au.sps.len; i++) {
        (void) mdvr_sps_parse(MDVR_CODEC_H265,
                              mdvr_str(tap_place(&arena, tmp, i), i), &sps);
    }

    tap_rc(mdvr_sps_parse(MDVR_CODEC_H264, MDVR_STR("\x67\x42\xc0\x14"),
                          &sps), MDVR_E_SYNTAX, "an empty SPS");
    tap_int(mdvr_codec_detect(MDVR_STR("\0\0\1\x67\x01\0\0\1")),
            MDVR_CODEC_NONE, "junk is neither");

    /* 1920x1080: 1088 lines, cropped */

    tap_rc(mdvr_sps_parse(MDVR_CODEC_H264,
                          MDVR_STR("\x67\x64\x00\x28\xac\xd9\x40\x78\x02\x27"
                                   "\xe5\xc0\x44\x00\x00\x03\x00\x04\x00\x00"
                                   "\x03\x00\xc8\x3c\x60\xc6\x58"), &sps),
           MDVR_OK, "High profile");
    tap_ok(sps.width == 1920 && sps.height == 1080, "%ux%u", sps.width,
           sps.height);
}


static void
fragments(void)
{
    size_t             n;
    uint8_t            mem[MDVR_FMP4_INIT_MAX], *frag;
    uint64_t           t;
    mdvr_au_t          au;
    mdvr_buf_t         b;
    mdvr_sps_t         sps;
    mdvr_str_t         in;
    tap_arena_t        out;
    mdvr_fmp4_init_t   init;
    mdvr_fmp4_frame_t  f;

    in = access_unit("model.6011");
    mdvr_au_scan(MDVR_CODEC_H264, in, &au);

    memset(&init, 0, sizeof(init));
    init.codec = MDVR_CODEC_H264;
    init.sps = au.sps;
    init.pps = au.pps;

    b = mdvr_buf(mem, sizeof(mem));
    tap_rc(mdvr_fmp4_init(&b, &init, &sps), MDVR_OK, "init segment");
    tap_ok(b.len > 500 && b.len < 1000
           && memcmp(mem + 4, "ftypiso6", 8) == 0, "%zu bytes", b.len);
    n = mdvr_be32(mem);
    tap_ok(memcmp(mem + n + 4, "moov", 4) == 0
           && n + mdvr_be32(mem + n) == b.len, "ftyp and moov fill it");

    b = mdvr_buf(mem, 300);
    tap_rc(mdvr_fmp4_init(&b, &init, NULL), MDVR_E_NO_SPACE, "too small");
    tap_int((long long) b.len, 0, "leaves nothing");

    init.audio_rate = 8000;
    init.audio_channels = 1;
    b = mdvr_buf(mem, sizeof(mem));
    tap_rc(mdvr_fmp4_init(&b, &init, NULL), MDVR_OK, "with an audio track");

    init.codec = MDVR_CODEC_NONE;
    tap_rc(mdvr_fmp4_init(&b, &init, NULL), MDVR_E_CODEC, "without a codec");

    out = tap_arena(65536);
    n = mdvr_fmp4_video_size(&au);
    frag = out.end - n;
    f = (mdvr_fmp4_frame_t) { 7, 400000000000ULL, 40000, au.key };
    tap_int((long long) mdvr_fmp4_video(frag, &f, MDVR_CODEC_H264, &au, in),
            (long long) n, "a fragment fills exactly its size");
    tap_ok(mdvr_be32(frag) + mdvr_be32(frag + 100) == n
           && memcmp(frag + 104, "mdat", 4) == 0, "moof and mdat");
    tap_ok(mdvr_fmp4_get_time(frag, n, &t) && t == 36000000000ULL,
           "the time does not wrap");
    tap_int(mdvr_be32(frag + 88), 3600, "40 ms are 3600 ticks");
    tap_int(mdvr_be32(frag + MDVR_FMP4_FRAGMENT_HEAD),
            (long long) au.sps.len, "the sample begins with the SPS");
    tap_ok(mdvr_fmp4_set_time(frag, n, 1, 5)
           && mdvr_fmp4_get_time(frag, n, &t) && t == 5, "its time is moved");
    tap_ok(!mdvr_fmp4_set_time(mem, 300, 1, 5), "not in other bytes");

    frag = out.end - mdvr_fmp4_audio_size(10);
    n = mdvr_fmp4_audio(frag, &f, 8000, MDVR_STR("0123456789"));
    tap_ok(n == MDVR_FMP4_FRAGMENT_HEAD + 10
           && mdvr_fmp4_get_time(frag, n, &t) && t == 3200000000ULL,
           "an audio fragment");
}


static void
playlists(void)
{
    int                    part;
    char                   out[4096];
    uint64_t               number;
    mdvr_buf_t             b;
    mdvr_hls_name_e        kind;
    mdvr_hls_media_t       pl;
    mdvr_hls_variant_t     v;
    mdvr_hls_segment_t     seg[3];

    static const mdvr_hls_part_t  parts[] = {
        { 200000, true }, { 200000, false }, { 160000, false }
    };

    memset(&pl, 0, sizeof(pl));
    memset(seg, 0, sizeof(seg));

    seg[0] = (mdvr_hls_segment_t) { 41, 1000000, 1600000000000, 1, false, 3,
                                    parts };
    seg[1] = (mdvr_hls_segment_t) { 42, 1040000, 1600000001000, 2, true, 3,
                                    parts };
    seg[2] = (mdvr_hls_segment_t) { 43, 0, 1600000002040, 2, false, 2,
                                    parts };
    pl.segments = seg;
    pl.nsegments = 3;
    pl.open = true;
    pl.low_latency = true;
    pl.target_us = 1000000;
    pl.part_target_us = 200000;
    pl.parts_segments = 1;

    b = mdvr_buf(out, sizeof(out));
    tap_rc(mdvr_hls_media(&b, &pl), MDVR_OK, "a low-latency playlist");
    tap_is(mdvr_buf_view(&b),
           "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n"
           "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,"
           "PART-HOLD-BACK=0.60000\n"
           "#EXT-X-PART-INF:PART-TARGET=0.20000\n"
           "#EXT-X-MEDIA-SEQUENCE:41\n"
           "#EXT-X-MAP:URI=\"init-1.mp4\"\n"
           "#EXT-X-PROGRAM-DATE-TIME:2020-09-13T12:26:40.000Z\n"
           "#EXTINF:1.00000,\nseg-41.m4s\n"
           "#EXT-X-DISCONTINUITY\n"
           "#EXT-X-MAP:URI=\"init-2.mp4\"\n"
           "#EXT-X-PROGRAM-DATE-TIME:2020-09-13T12:26:41.000Z\n"
           "#EXT-X-PART:DURATION=0.20000,URI=\"part-42.0.m4s\","
           "INDEPENDENT=YES\n"
           "#EXT-X-PART:DURATION=0.20000,URI=\"part-42.1.m4s\"\n"
           "#EXT-X-PART:DURATION=0.16000,URI=\"part-42.2.m4s\"\n"
           "#EXTINF:1.04000,\nseg-42.m4s\n"
           "#EXT-X-PROGRAM-DATE-TIME:2020-09-13T12:26:42.040Z\n"
           "#EXT-X-PART:DURATION=0.20000,URI=\"part-43.0.m4s\","
           "INDEPENDENT=YES\n"
           "#EXT-X-PART:DURATION=0.20000,URI=\"part-43.1.m4s\"\n"
           "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part-43.2.m4s\"\n",
           "with parts and a hint");

    pl.low_latency = false;
    b = mdvr_buf(out, sizeof(out));
    mdvr_hls_media(&b, &pl);
    tap_ok(!strstr(mdvr_str_copy((char[4096]) { 0 }, 4096,
                                 mdvr_buf_view(&b)), "PART"),
           "a plain playlist has no parts");

    pl.low_latency = true;
    pl.open = false;
    pl.nsegments = 2;
    pl.ended = true;
    b = mdvr_buf(out, sizeof(out));
    mdvr_hls_media(&b, &pl);
    tap_ok(b.len > 15 && memcmp(out + b.len - 15, "#EXT-X-ENDLIST\n", 15)
           == 0, "an ended one");

    b = mdvr_buf(out, 50);
    tap_rc(mdvr_hls_media(&b, &pl), MDVR_E_NO_SPACE, "too small a buffer");

    memset(&v, 0, sizeof(v));
    v.uri = MDVR_STR("media.m3u8");
    v.codecs = MDVR_STR("avc1.42C014");
    v.width = 352;
    v.height = 288;
    v.bandwidth = 400000;
    v.frame_rate_milli = 25000;
    b = mdvr_buf(out, sizeof(out));
    mdvr_hls_multivariant(&b, &v, 1);
    tap_is(mdvr_buf_view(&b),
           "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n"
           "#EXT-X-STREAM-INF:BANDWIDTH=400000,CODECS=\"avc1.42C014\","
           "RESOLUTION=352x288,FRAME-RATE=25.000\nmedia.m3u8\n",
           "a multivariant playlist");

    tap_ok(mdvr_hls_name(MDVR_STR("init-2.mp4"), &kind, &number, &part)
           && kind == MDVR_HLS_INIT && number == 2 && part == -1, "init");
    tap_ok(mdvr_hls_name(MDVR_STR("seg-42.m4s"), &kind, &number, &part)
           && kind == MDVR_HLS_SEGMENT && number == 42, "segment");
    tap_ok(mdvr_hls_name(MDVR_STR("part-42.3.m4s"), &kind, &number, &part)
           && kind == MDVR_HLS_PART && number == 42 && part == 3, "part");
    tap_ok(!mdvr_hls_name(MDVR_STR("part-42.m4s"), &kind, &number, &part)
           && !mdvr_hls_name(MDVR_STR("seg-.m4s"), &kind, &number, &part)
           && !mdvr_hls_name(MDVR_STR("seg--1.m4s"), &kind, &number, &part)
           && !mdvr_hls_name(MDVR_STR("seg-+1.m4s"), &kind, &number, &part)
           && !mdvr_hls_name(MDVR_STR("../x"), &kind, &number, &part)
           && !mdvr_hls_name(MDVR_STR(""), &kind, &number, &part),
           "other names are none");
}


static int
pack(const char *in_path, const char *out_path)
{
    FILE              *f;
    size_t             n;
    uint8_t            head[MDVR_FMP4_INIT_MAX], *out;
    uint32_t           i;
    mdvr_au_t          scan;
    mdvr_buf_t         b;
    mdvr_str_t         in, au;
    mdvr_codec_e       codec;
    const uint8_t     *pos;
    mdvr_fmp4_init_t   init;
    mdvr_fmp4_frame_t  frame;

    in = tap_file(in_path);
    f = fopen(out_path, "wb");
    out = malloc(in.len + 65536);
    codec = mdvr_codec_detect(in);
    pos = in.p;

    if (f == NULL || out == NULL) {
        return 2;
    }

    for (i = 0; mdvr_au_next(codec, &pos, in.p + in.len, &au); i++) {
        mdvr_au_scan(codec, au, &scan);

        if (i == 0) {
            memset(&init, 0, sizeof(init));
            init.codec = codec;
            init.vps = scan.vps;
            init.sps = scan.sps;
            init.pps = scan.pps;
            b = mdvr_buf(head, sizeof(head));

            if (mdvr_fmp4_init(&b, &init, NULL) != MDVR_OK) {
                return 2;
            }

            fwrite(head, 1, b.len, f);
        }

        frame = (mdvr_fmp4_frame_t) { i + 1, i * 40000ULL, 40000, scan.key };
        n = mdvr_fmp4_video(out, &frame, codec, &scan, au);
        fwrite(out, 1, n, f);
    }

    free(out);
    fclose(f);
    printf("%u frames\n", i);
    tap_end();

    return 0;
}


int
main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "pack") == 0) {
        return pack(argv[2], argv[3]);
    }

    arena = tap_arena(65536);

    nals();
    codecs();
    fragments();
    playlists();

    return tap_end();
}
