/*
 * The media port: every binary vector whole, cut at every byte and byte by
 * byte behind a registration, payload by payload against the expectation,
 * and what happens when bytes are wrong.
 */

#include <stdio.h>
#include <stdlib.h>

#include "mdvr/basics/bytes.h"
#include "mdvr/dc/media.h"
#include "mdvr/dc/register.h"
#include "mdvr/dc/time.h"
#include "mdvr/media/nal.h"
#include "t/unit/lib/tap.h"

#define OLD  "$$dc0184,1d,V102,MDVR_0017,,170429 133652,A,+13,24,140983296," \
             "+52,31,75620352,0,0,0001000000107780,0000000000000000,0.00,"   \
             "0.00,0.00,,-1,0,0,0,V0.00.01,2,203.0.113.10,6602,26636840,"    \
             "C508,0,1,00000#"
#define NEW  "@@$$dc0029,13,V102,00007,,180903 110250#"

static tap_arena_t  arena;


typedef struct {
    mdvr_media_parser_t  parser;
    uint8_t             *tail;
    size_t               len;
    mdvr_rc_t            rc;
    unsigned             count;
    unsigned             resynced;
    unsigned             types[64];
    uint8_t              payload[8192];     /* of the last binary one */
    size_t               payload_len;
} receiver_t;


static void
receive(receiver_t *r, const uint8_t *p, size_t len)
{
    const uint8_t    *pos, *last;
    mdvr_media_msg_t  msg;

    memcpy(r->tail + r->len, p, len);
    r->len += len;

    pos = tap_place(&arena, r->tail, r->len);
    last = pos + r->len;

    while ((r->rc = mdvr_media_next(&r->parser, &pos, last, &msg))
           == MDVR_OK)
    {
        r->types[r->count++ % 64] = msg.text ? 1 : msg.type;
        r->resynced += msg.resynced;

        if (!msg.text && msg.payload.len <= sizeof(r->payload)) {
            memcpy(r->payload, msg.payload.p, msg.payload.len);
            r->payload_len = msg.payload.len;
        }
    }

    r->len = (size_t) (last - pos);
    memmove(r->tail, pos, r->len);
}


static void
start(receiver_t *r)
{
    static uint8_t  tail[6 << 20];

    memset(r, 0, sizeof(receiver_t));
    r->tail = tail;
}


static void
vector(const char *name, mdvr_str_t in, unsigned messages, bool legacy)
{
    bool               good;
    size_t             cut, i;
    mdvr_str_t         reg;
    static receiver_t  r, whole;

    reg = legacy ? MDVR_STR(OLD) : MDVR_STR(NEW);
    good = true;

    for (cut = 0; cut <= in.len + 1 && good; cut++) {
        start(&r);
        receive(&r, reg.p, reg.len);

        if (cut == in.len + 1) {
            for (i = 0; i < in.len; i++) {
                receive(&r, in.p + i, 1);
            }

        } else {
            receive(&r, in.p, cut);
            receive(&r, in.p + cut, in.len - cut);
        }

        if (cut == 0) {
            whole = r;
        }

        good = r.rc == MDVR_AGAIN && r.len == 0 && r.count == messages + 1
               && memcmp(r.types, whole.types, sizeof(r.types)) == 0
               && r.payload_len == whole.payload_len
               && memcmp(r.payload, whole.payload, r.payload_len) == 0;
    }

    tap_ok(good, "%s arrives in any pieces", name);

    if (!good) {
        printf("# cut %zu: %s, %u messages, %zu left\n", cut - 1,
               mdvr_rc_name(r.rc), r.count, r.len);
    }
}


static long long
want(json_t *e, const char *key)
{
    return json_integer_value(json_object_get(e, key));
}


static void
video(const char *name, json_t *e, unsigned type, mdvr_str_t p)
{
    size_t              i;
    bool                good;
    mdvr_str_t          nal;
    mdvr_codec_e        codec;
    const uint8_t      *pos;
    mdvr_media_video_t  v;

    tap_rc(mdvr_media_read_video(type, p, &v), MDVR_OK, name);
    tap_int((long long) v.stamp_us, want(e, "timestamp_us"), "stamp");
    tap_int((long long) v.data.len, want(e, "video_bytes"), "video bytes");

    codec = strcmp(json_string_value(json_object_get(e, "codec")), "h264")
            == 0 ? MDVR_CODEC_H264 : MDVR_CODEC_H265;

    if (v.key) {
        tap_int(mdvr_codec_detect(v.data), codec, "codec");
    }

    pos = v.data.p;
    good = true;

    for (i = 0; mdvr_nal_next(&pos, v.data.p + v.data.len, &nal); i++) {
        good = good && mdvr_nal_type(codec, nal)
               == json_integer_value(
                      json_array_get(json_object_get(e, "nal_types"), i));
    }

    tap_ok(good && i == json_array_size(json_object_get(e, "nal_types")),
           "%s: NAL units", name);
}


static void
audio(const char *name, json_t *e, unsigned type, mdvr_str_t p)
{
    mdvr_media_audio_t  a;

    tap_rc(mdvr_media_read_audio(type, p, &a), MDVR_OK, name);
    tap_ok((long long) a.stamp_us == want(e, "timestamp_us")
           && (long long) a.data.len == want(e, "coded_bytes")
           && (long long) a.padding == want(e, "padding_bytes")
           && a.voice_header, "%s: stamp, data, padding", name);
}


static void
records(const char *name, json_t *e, mdvr_str_t p)
{
    char                 text[40];
    size_t               i;
    json_t              *list, *want_one;
    int64_t              t;
    mdvr_buf_t           b;
    mdvr_media_record_t  r;

    list = json_object_get(e, "records");
    tap_int(mdvr_media_record_count(p), (long long) json_array_size(list),
            "records");

    json_array_foreach(list, i, want_one) {
        tap_rc(mdvr_media_read_record(p, (unsigned) i, &r), MDVR_OK, name);
        tap_ok(r.last == json_is_null(want_one), "%s: last", name);

        if (r.last) {
            continue;
        }

        tap_is(r.name, json_string_value(json_object_get(want_one, "name")),
               "name");
        tap_ok(r.duration_s == want(want_one, "duration_s")
               && r.size == want(want_one, "size")
               && r.file_type == want(want_one, "file_type")
               && r.channel == want(want_one, "channel"),
               "%s: numbers", name);

        mdvr_time_parse_bcd6(r.start, 0, &t);
        b = mdvr_buf(text, sizeof(text));
        mdvr_time_write_rfc3339(&b, t * 1000);
        text[10] = ' ';
        text[19] = '\0';
        tap_ok(strcmp(text, json_string_value(json_object_get(want_one,
                                                              "start"))) == 0,
               "%s: start", name);
    }
}


static void
payload(const char *name, json_t *e, unsigned type, mdvr_str_t p)
{
    uint16_t                 result, error;
    uint32_t                 on;
    mdvr_media_block_t       block;
    mdvr_media_params_t      params;
    mdvr_media_report_t      report;
    mdvr_media_result_t      res;
    mdvr_media_talk_t        talk;
    mdvr_media_switch_t      sw;
    mdvr_media_reposition_t  repo;

    tap_int((long long) p.len, want(e, "length"), "payload length");

    switch (type) {

    case MDVR_MEDIA_RESULT:
        mdvr_media_read_result(p, &res);
        tap_ok(res.result == want(e, "result")
               && res.reason == want(e, "reason"), "%s: result", name);
        break;

    case MDVR_MEDIA_AUDIO_SWITCH:
        mdvr_media_read_switch(p, &on);
        tap_int(on, want(e, "audio"), "audio on");
        break;

    case MDVR_MEDIA_IFRAME:
    case MDVR_MEDIA_PFRAME:
        video(name, e, type, p);
        break;

    case MDVR_MEDIA_AUDIO:
    case MDVR_MEDIA_TALK:
        audio(name, e, type, p);
        break;

    case MDVR_MEDIA_PARAMETERS:
        mdvr_media_read_params(p, &params);
        tap_ok(params.audio_type == 1 && params.sample_rate == 8000
               && params.bits == 16 && params.channels == 1,
               "%s: G.726-40, 8 kHz", name);
        break;

    case MDVR_MEDIA_REPORT:
    case MDVR_MEDIA_REPORT_VIDEO:
        mdvr_media_read_report(p, &report);
        tap_ok((long long) report.start_us == want(e, "start_us")
               && (long long) report.end_us == want(e, "end_us")
               && report.start_s == 0 && report.end_s == 0,
               "%s: span", name);
        break;

    case MDVR_MEDIA_BLOCK:
    case MDVR_MEDIA_SNAPSHOT:
        tap_rc(mdvr_media_read_block(p, &block), MDVR_OK, name);
        tap_ok(block.offset == want(e, "offset")
               && (long long) block.data.len == want(e, "data_length"),
               "%s: offset and length", name);
        break;

    case MDVR_MEDIA_SEARCH:
        records(name, e, p);
        break;

    case MDVR_MEDIA_REPOSITION:
        mdvr_media_read_reposition(p, &repo);
        tap_ok(repo.kind == 0x6001 && repo.start == 262144 && repo.end == 0,
               "%s: from byte 262144", name);
        break;

    case MDVR_MEDIA_TALK_PARAMS:
        mdvr_media_read_talk(p, &talk);
        tap_ok(talk.audio_type == 1 && talk.frame_length == 200,
               "%s: G.726-40", name);
        break;

    case MDVR_MEDIA_CHECKSUM:
        mdvr_media_read_checksum(p, &result, &error);
        tap_ok(result == want(e, "result") && error == want(e, "error"),
               "%s: result", name);
        break;

    case MDVR_MEDIA_VIDEO_SWITCH:
        mdvr_media_read_video_switch(p, &sw);
        tap_ok(sw.start == 1 && sw.channel == 0 && sw.stream == 1,
               "%s: start sub stream", name);
        break;
    }
}


static void
vectors(void)
{
    char        name[64];
    json_t     *all, *e;
    uint32_t    length;
    unsigned    type;
    mdvr_str_t  text, line, in;

    all = tap_json("t/vectors/media.expected.json");
    text = tap_file("t/vectors/media.hex");

    while (tap_line(&text, &line)) {
        mdvr_str_copy(name, sizeof(name), tap_field(line, 0));
        in = tap_unhex(tap_field(line, 1));
        e = json_object_get(all, name);

        if (json_object_get(e, "envelope")) {
            vector(name, in, 1, true);
            continue;
        }

        vector(name, in, json_object_get(e, "messages") ? 2 : 1, false);

        if (json_object_get(e, "messages")) {
            continue;
        }

        tap_rc(mdvr_media_header(in.p, in.p + in.len, NULL, &type, &length),
               MDVR_OK, name);
        tap_int(type, strtol(json_string_value(json_object_get(e, "type")),
                             NULL, 16), "type");
        payload(name, e, type,
                mdvr_str(tap_place(&arena, in.p + 8, in.len - 8),
                         in.len - 8));
    }

    json_decref(all);
}


static void
first(const char *in, mdvr_media_first_e want_one, const char *what)
{
    size_t          n;
    const uint8_t  *p;

    n = strlen(in);
    p = tap_place(&arena, in, n);
    tap_int(mdvr_media_first(p, p + n), want_one, what);
}


static void
beginnings(void)
{
    static receiver_t  r;

    first("", MDVR_MEDIA_FIRST_MORE, "nothing tells nothing");
    first("@@$", MDVR_MEDIA_FIRST_MORE, "@@$ may be anything");
    first("@@$$dc", MDVR_MEDIA_FIRST_TEXT, "a registration");
    first("$$dc", MDVR_MEDIA_FIRST_LEGACY, "a legacy registration");
    first("$$$$$$dc", MDVR_MEDIA_FIRST_LEGACY, "a legacy binary");
    first("$$$", MDVR_MEDIA_FIRST_MORE, "$$$ may become one");
    first("$$$x", MDVR_MEDIA_FIRST_JUNK, "$$$x is junk");
    first("@@\x02\x60", MDVR_MEDIA_FIRST_BINARY, "binary at once");
    first("@@\x02\x20", MDVR_MEDIA_FIRST_JUNK, "an impossible type");
    first("GET ", MDVR_MEDIA_FIRST_JUNK, "a web browser");

    start(&r);
    receive(&r, (const uint8_t *) "@@\x05\x60\0\0\0\0", 8);
    tap_rc(r.rc, MDVR_E_SYNTAX, "binary before the registration is refused");

    start(&r);
    receive(&r, (const uint8_t *) "$$$$$$dc", 8);
    tap_rc(r.rc, MDVR_E_LEGACY, "legacy binary before it is told apart");

    start(&r);
    receive(&r, (const uint8_t *) "@@$$dcxxxx", 10);
    tap_rc(r.rc, MDVR_E_SYNTAX, "a broken registration is refused");

    start(&r);
    receive(&r, (const uint8_t *) NEW NEW, 2 * sizeof(NEW) - 2);
    tap_ok(r.rc == MDVR_AGAIN && r.count == 2, "a second registration");
    receive(&r, (const uint8_t *) "@@$$d", 5);
    tap_rc(r.rc, MDVR_AGAIN, "half a mark waits");
}


static void
idle(void)
{
    mdvr_rc_t          rc;
    const uint8_t     *pos;
    mdvr_media_msg_t   msg;
    static receiver_t  r;

    static const char  in[] = "@@$$dc0030,13,V102,00007,,180903 110250#";

    start(&r);
    receive(&r, (const uint8_t *) in, sizeof(in) - 1);
    tap_ok(r.rc == MDVR_AGAIN && r.count == 0, "a length that counts '#'");
    pos = r.tail;
    rc = mdvr_media_idle(&r.parser, &pos, r.tail + r.len, &msg);
    tap_ok(rc == MDVR_OK && msg.text && r.parser.started && !r.parser.legacy,
           "is taken after 5 s of silence");
}


static void
message(uint8_t *p, unsigned type, uint32_t length)
{
    p[0] = p[1] = '@';
    mdvr_put_le16(p + 2, (uint16_t) type);
    mdvr_put_le32(p + 4, length);
}


static void
trouble(void)
{
    size_t             i;
    uint8_t            h[8], *big;
    static receiver_t  r;

    big = calloc(1, 5 << 20);

    start(&r);
    receive(&r, (const uint8_t *) NEW, sizeof(NEW) - 1);
    message(h, 0x6011, 0xffffffff);
    receive(&r, h, 8);
    tap_rc(r.rc, MDVR_E_LIMIT, "length 0xFFFFFFFF closes");

    start(&r);
    receive(&r, (const uint8_t *) NEW, sizeof(NEW) - 1);
    receive(&r, (const uint8_t *) "garbage@@xx@\x05\x60\0\0\0", 17);
    message(h, 0x6005, 0);
    receive(&r, h, 8);
    tap_ok(r.count == 2 && r.types[1] == 0x6005 && r.resynced == 1,
           "the next plausible message is found and marked");
    receive(&r, h, 8);
    tap_int(r.resynced, 1, "the one after it is not marked");
    receive(&r, (const uint8_t *) "x", 1);
    receive(&r, h, 8);
    tap_int(r.parser.incidents, 2, "a second incident");
    receive(&r, (const uint8_t *) "y", 1);
    tap_rc(r.rc, MDVR_E_SYNTAX, "the third closes");

    start(&r);
    receive(&r, (const uint8_t *) NEW, sizeof(NEW) - 1);

    for (i = 0; i < 40 && r.rc == MDVR_AGAIN; i++) {
        receive(&r, big, 32768);
    }

    tap_ok(r.rc == MDVR_E_SYNTAX && i == 33, "nothing within 1 MiB closes");

    start(&r);
    receive(&r, (const uint8_t *) NEW, sizeof(NEW) - 1);
    message(h, 0x6014, 65536);
    receive(&r, h, 8);
    tap_ok(r.parser.incidents == 0 && r.parser.need == 65544,
           "need tells how much is missing");
    receive(&r, big, 65536);
    tap_int(r.count, 2, "64 KiB are allowed");
    message(h, 0x6014, 65537);
    receive(&r, h, 8);
    tap_rc(r.rc, MDVR_E_LIMIT, "a byte more is not");

    start(&r);
    r.parser.limits.video = 1000;
    receive(&r, (const uint8_t *) NEW, sizeof(NEW) - 1);
    message(h, 0x6012, 1001);
    receive(&r, h, 8);
    tap_rc(r.rc, MDVR_E_LIMIT, "the video limit can be set");

    start(&r);
    receive(&r, (const uint8_t *) NEW, sizeof(NEW) - 1);
    message(h, 0x6012, 4 << 20);
    receive(&r, h, 8);
    receive(&r, big, 4 << 20);
    tap_ok(r.count == 2 && r.parser.incidents == 0, "4 MiB of video");

    start(&r);
    receive(&r, (const uint8_t *) NEW, sizeof(NEW) - 1);
    message(h, 0x6677, 3);
    receive(&r, h, 8);
    receive(&r, big, 3);
    tap_ok(r.count == 2 && r.types[1] == 0x6677,
           "an unknown type at a boundary is delivered");

    start(&r);
    receive(&r, (const uint8_t *) OLD, sizeof(OLD) - 1);
    receive(&r, (const uint8_t *) "$$$$$$dc\xff\xff\xff\xff\x01\x60\0\0\0\0\0\0",
            20);
    tap_int(r.parser.incidents, 1, "legacy: an impossible length");
    receive(&r, (const uint8_t *) "$$$$$$$dc\x08\0\0\0\x05\x60\0\0\0\0\0\0####",
            25);
    tap_ok(r.count == 2 && r.types[1] == 0x6005 && r.resynced == 1,
           "legacy: found again");

    free(big);
}


static void
short_payloads(void)
{
    bool                     good;
    size_t                   n;
    uint8_t                  zero[64];
    uint16_t                 a, b;
    uint32_t                 on;
    mdvr_str_t               p;
    mdvr_media_talk_t        talk;
    mdvr_media_audio_t       au;
    mdvr_media_block_t       block;
    mdvr_media_video_t       v;
    mdvr_media_params_t      params;
    mdvr_media_record_t      record;
    mdvr_media_report_t      report;
    mdvr_media_result_t      res;
    mdvr_media_switch_t      sw;
    mdvr_media_reposition_t  repo;

    memset(zero, 0, sizeof(zero));
    good = true;

    for (n = 0; n <= 40; n++) {
        p = mdvr_str(tap_place(&arena, zero, n), n);

        good = good
            && (mdvr_media_read_result(p, &res) == MDVR_OK) == (n >= 4)
            && (mdvr_media_read_switch(p, &on) == MDVR_OK) == (n >= 4)
            && mdvr_media_read_params(p, &params) == MDVR_OK
            && (mdvr_media_read_report(p, &report) == MDVR_OK) == (n >= 24)
            && (mdvr_media_read_block(p, &block) == MDVR_OK) == (n == 8)
            && mdvr_media_read_record(p, 0, &record) == MDVR_E_SYNTAX
            && (mdvr_media_read_reposition(p, &repo) == MDVR_OK) == (n >= 12)
            && (mdvr_media_read_talk(p, &talk) == MDVR_OK) == (n >= 10)
            && (mdvr_media_read_checksum(p, &a, &b) == MDVR_OK) == (n >= 2)
            && (mdvr_media_read_video_switch(p, &sw) == MDVR_OK) == (n >= 12)
            && (mdvr_media_read_video(0x6011, p, &v) == MDVR_OK) == (n >= 8)
            && (mdvr_media_read_audio(0x6013, p, &au) == MDVR_OK) == (n >= 8)
            && (mdvr_media_read_audio(0x6402, p, &au) == MDVR_OK)
               == (n >= 12)
            && mdvr_media_read_video(0x6001, p, &v) != MDVR_OK;

        if (!good) {
            break;
        }
    }

    tap_int((long long) n, 41, "payloads of 0 to 40 bytes");

    p = MDVR_STR("12345678" "\x00\x01\xff\x00" "short");
    mdvr_media_read_audio(0x6013, p, &au);
    tap_ok(!au.voice_header && au.data.len == 9,
           "a voice header that does not fit is audio");
}


static void
tables(void)
{
    tap_int(mdvr_audio_type(1)->frame_bytes, 200, "G.726-40: 200 bytes");
    tap_int(mdvr_audio_type(11)->frame_bytes, 320, "G.711: 320 bytes");
    tap_ok(mdvr_audio_type(13) == NULL && mdvr_audio_type(0) == NULL,
           "13 is in no table");

    tap_ok(!mdvr_session_together(MDVR_SESSION_LIVE, MDVR_SESSION_FILE)
           && !mdvr_session_together(MDVR_SESSION_FILE, MDVR_SESSION_LIVE)
           && mdvr_session_together(MDVR_SESSION_LIVE, MDVR_SESSION_LIVE)
           && mdvr_session_together(MDVR_SESSION_LIVE, MDVR_SESSION_AUDIO)
           && !mdvr_session_together(MDVR_SESSION_AUDIO, MDVR_SESSION_AUDIO)
           && !mdvr_session_together(MDVR_SESSION_UPGRADE,
                                     MDVR_SESSION_SNAPSHOT)
           && !mdvr_session_together(MDVR_SESSION_LIVE, MDVR_SESSION_PUSH),
           "who excludes whom");
}


int
main(void)
{
    arena = tap_arena(6 << 20);

    vectors();
    beginnings();
    idle();
    trouble();
    short_payloads();
    tables();

    return tap_end();
}
