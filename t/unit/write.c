/*
 * Writers: the vectors made again, byte for byte, and everything that is
 * written is read back.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "mdvr/dc/alarm.h"
#include "mdvr/dc/answer.h"
#include "mdvr/dc/frame.h"
#include "mdvr/dc/media.h"
#include "mdvr/dc/register.h"
#include "mdvr/dc/time.h"
#include "mdvr/dc/write.h"
#include "t/unit/lib/tap.h"

static uint8_t          body_mem[20000], out_mem[20000];
static mdvr_buf_t       body;
static mdvr_message_t   m, written;
static mdvr_location_t  loc;


static mdvr_buf_t *
fresh(void)
{
    body = mdvr_buf(body_mem, sizeof(body_mem));
    return &body;
}


/* parses the vector, so that its header can be written again */
static void
load(const char *tag)
{
    mdvr_str_t  v;

    v = tap_message(tag);

    if (v.p[0] == '@') {
        v.p += 2;
        v.len -= 2;
    }

    mdvr_message_parse(mdvr_str(v.p + 8, v.len - 9), &m);
    mdvr_location_parse(&m, false, &loc);
}


/* the body in `body` gives the vector's message */
static void
same(const char *tag)
{
    int64_t      t;
    mdvr_buf_t   out;
    mdvr_str_t   v;
    mdvr_head_t  h;

    v = tap_message(tag);
    load(tag);
    mdvr_time_parse(m.time, 0, &t);
    h = (mdvr_head_t) { m.number, m.keyword, m.serial, m.workstation, t, 0 };
    out = mdvr_buf(out_mem, sizeof(out_mem));

    if (v.p[0] == '@') {
        mdvr_write_media_message(&out, &h, mdvr_buf_view(&body));

    } else {
        mdvr_write_message(&out, &h, mdvr_buf_view(&body));
    }

    tap_ok(mdvr_str_eq(mdvr_buf_view(&out), v) && !out.full && !body.full,
           "%s", tag);

    if (!mdvr_str_eq(mdvr_buf_view(&out), v)) {
        printf("#      got: %.*s\n# expected: %.*s\n", (int) out.len,
               (char *) out.p, (int) v.len, (const char *) v.p);
    }
}


#define S(lit)  MDVR_STR(lit)
#define EP      ((mdvr_endpoint_t) { S("203.0.113.10"), 6602 })

static void
server(void)
{
    uint8_t     tmp[256];
    mdvr_buf_t  c;

    c = mdvr_buf(tmp, sizeof(tmp));
    mdvr_content_v101(&c, 0);
    mdvr_body_c100(fresh(), S("V101"), S("210305 081455"), mdvr_buf_view(&c));
    same("model.C100.V101.ok");

    c = mdvr_buf(tmp, sizeof(tmp));
    mdvr_content_v101(&c, MDVR_CAUSE_UNKNOWN_SERIAL);
    mdvr_body_c100(fresh(), S("V101"), S("210305 081455"), mdvr_buf_view(&c));
    same("model.C100.V101.reject");

    mdvr_body_c100(fresh(), S("V201"), S("180904 104340"),
                   S("A4362779F6557409"));
    same("cap.C100.V201");

    mdvr_body_c100(fresh(), S("V232"), S("210305 101812"),
                   S("5F00AEE2E3D4121D"));
    same("model.C100.V232");

    c = mdvr_buf(tmp, sizeof(tmp));
    mdvr_content_v141_none(&c);
    mdvr_body_c100(fresh(), S("V141"), S("210305 090000"), mdvr_buf_view(&c));
    same("model.C100.V141.nothing");

    c = mdvr_buf(tmp, sizeof(tmp));
    mdvr_content_v141(&c, &(mdvr_fetch_t) {
        2, S("77"), S("/fw/app_2.1.img"), S("203.0.113.10"), 6602,
        S("1d249cc3f0300519fcc74afaf75f8ce9"), S("2.1,beta") });
    mdvr_body_c100(fresh(), S("V141"), S("210305 090100"), mdvr_buf_view(&c));
    same("model.C100.V141.file");

    fresh();
    same("model.C500");
    same("cap.C501");

    mdvr_body_c508_start(fresh(), S("45649064"), 0, 1,
                         (mdvr_endpoint_t) { S("192.168.10.140"), 6602 });
    same("cap.C508.start");
    mdvr_body_c508_stop(fresh(), S("50012345"), 2, 1);
    same("model.C508.stop");

    tap_rc(mdvr_body_c505(fresh(), 1, 500, 10), MDVR_OK, "C505");
    same("model.C505");
    mdvr_body_c505(fresh(), 1, 0, 30);
    tap_is(mdvr_buf_view(&body), ",1,,30,0200", "C505 by time");
    mdvr_body_c505(fresh(), 1, 100, 0);
    tap_is(mdvr_buf_view(&body), ",1,10,,0100", "C505 by distance");
    mdvr_body_c505(fresh(), 0, 0, 0);
    tap_is(mdvr_buf_view(&body), ",0,,,0300", "C505 off");
    tap_rc(mdvr_body_c505(fresh(), 1, 0, 4), MDVR_E_RANGE, "4 s are refused");
    tap_rc(mdvr_body_c505(fresh(), 1, 0, 0), MDVR_E_RANGE, "neither, too");
    tap_rc(mdvr_body_c505(fresh(), 3, 0, 9), MDVR_E_RANGE, "mode 3, too");

    mdvr_body_c510(fresh(), S("50012346"), 0, EP);
    same("model.C510");
    tap_rc(mdvr_body_c701(fresh(), S("50012347"), 1614902400, 1614988799, 0,
                          3, 98, EP), MDVR_OK, "C701");
    same("model.C701");
    tap_rc(mdvr_body_c701(fresh(), S("1"), 1614902400, 1614988800, 0, 3, 98,
                          EP), MDVR_E_RANGE, "C701 never spans midnight");
    tap_rc(mdvr_body_c701(fresh(), S("1"), 1614902400, 1614916800, 480, 3,
                          98, EP), MDVR_OK,
           "midnight is the device's own");
    mdvr_body_c702(fresh(), S("32415600"), 3, 0, 0,
                   (mdvr_endpoint_t) { S("192.168.10.140"), 6612 },
                   S("/ssyhdd/0/p1/2018-09-04/"
                     "241-02-104340-104356-05p100.h264"));
    same("cap.C702");
    mdvr_body_c702(fresh(), S("50012348"), 1, 262144, 0, EP,
                   S("/mnt/sd0/2021-03-05/ch02-081502-081530.h264"));
    same("model.C702.resume");
    mdvr_body_c151(fresh(), S("Call #5, gate open"), MDVR_TEXT_GB18030);
    same("model.C151.hash-and-comma");

    mdvr_body_c151(fresh(), S("粤#"), MDVR_TEXT_GB18030);
    tap_is(mdvr_buf_view(&body), ",3,\xd4\xc1#", "C151 counts encoded bytes");
}


static void
examples(void)
{
    static const uint16_t  rows[9] = { 2047, 2047, 2047 };
    static const char      md5[] = "1d249cc3f0300519fcc74afaf75f8ce9";
    mdvr_push_t            p;

    p = (mdvr_push_t) { S("50012353"), 21083, mdvr_cstr(md5), EP,
                        S("app_2.1.img") };

#define IS(want)  tap_is(mdvr_buf_view(&body), want, want)

    mdvr_body_c150(fresh(), 5, S("21232f297a57a5a743894a0e4a801fc3"),
                   S("e10adc3949ba59abbe56e057f20f883e"));
    IS(",5,21232f297a57a5a743894a0e4a801fc3,"
       "e10adc3949ba59abbe56e057f20f883e");
    mdvr_body_c152(fresh(), &p, S("4108"), S("2.1"));
    IS(",50012353,21083,1d249cc3f0300519fcc74afaf75f8ce9,203.0.113.10,6602,"
       "app_2.1.img,4108,2.1,");
    mdvr_body_c511(fresh(), 0, rows, true, 2);
    IS(",0,2047,2047,2047,0,0,0,0,0,0,1,2");
    mdvr_body_c512(fresh(), 0);
    IS(",0");
    mdvr_body_c517(fresh(), 4, S("\x00#,$$dc"));
    tap_ok(mdvr_str_eq(mdvr_buf_view(&body), S(",4,7,\x00#,$$dc")),
           "C517 raw data");

    p.session_id = S("50012354");
    p.size = 2108;
    p.name = S("fleet.cfg");
    mdvr_body_c520(fresh(), &p);
    IS(",50012354,2108,1d249cc3f0300519fcc74afaf75f8ce9,203.0.113.10,6602,"
       "fleet.cfg");
    mdvr_body_c521(fresh(), S("50012355"), EP);
    IS(",50012355,203.0.113.10,6602");
    mdvr_body_c550(fresh(), S("50012351"), true, -1, 2, EP);
    IS(",50012351,1,,2,0,203.0.113.10,6602");
    mdvr_body_c550(fresh(), S("50012351"), false, -1, 2, EP);
    IS(",50012351,0,,2,0,,0");
    mdvr_body_c551(fresh(), S("50012352"), true, 0, 1, EP);
    IS(",50012352,1,0,1,0,203.0.113.10,6602");
    mdvr_body_c600(fresh(), 7, S("\x0a\x1b\x2c"));
    IS(",7,3,0a1b2c");
    mdvr_body_c704(fresh(), S("50012349"), EP, 1614902400, 1614988799, 0, 3);
    IS(",50012349,203.0.113.10,6602,1,29,210305 000000,210305 235959,3");

    p.session_id = S("50012350");
    p.size = 21083;
    p.name = S("logo.jpg");
    mdvr_body_c706(fresh(), &p, 1, S(""));
    IS(",50012350,21083,1d249cc3f0300519fcc74afaf75f8ce9,203.0.113.10,6602,"
       "logo.jpg,1,0,");
    mdvr_body_c722(fresh(), 0, 128, 140, 0, -4, 130);
    IS(",0,128,140,0,-4,130");
    mdvr_body_c723(fresh(), 0);
    IS(",0");
    mdvr_body_c1111(fresh(), 0, 1, 60, -1);
    IS(",0,1,60,");
    mdvr_body_c1111(fresh(), 0, 22, -1, 5);
    IS(",0,22,,5");
    mdvr_body_c7212(fresh(), S("203.0.113.10"), 1087, 0);
    IS(",203.0.113.10,1087,0");

    mdvr_body_c510(fresh(), S("1,#2"), 0,
                   (mdvr_endpoint_t) { S("a,b"), 1 });
    IS(",1  2,0,a b,1");
}


static mdvr_loc_out_t
moving(void)
{
    return (mdvr_loc_out_t) {
        .layout = MDVR_LOC_CURRENT, .bus_fields = 9, .gps_valid = true,
        .satellites = 12, .has_position = true,
        .lat_deg = 47.3767916667, .lon_deg = 8.5421016667,
        .speed_kmh = 63.4, .course_deg = 271.45,
        .status = 0x0F00000000007783, .temp_device_c = 41.5,
        .temp_cabin_c = 23.25, .mileage_m = 18250431, .fuel_l = 62.75,
        .rpm = 1450, .obd_speed_kmh = 63, .people = -1
    };
}


/* writes the location of a vector again from what was read of it */
static mdvr_loc_out_t
again(const char *tag)
{
    mdvr_loc_out_t  l;

    load(tag);

    memset(&l, 0, sizeof(l));
    l.layout = loc.layout;
    l.bus_fields = loc.bus_fields;
    l.gps_valid = loc.gps_valid;
    l.satellites = loc.satellites;
    l.has_position = loc.has_position;
    l.lat_deg = loc.lat_deg;
    l.lon_deg = loc.lon_deg;
    l.speed_kmh = loc.speed_kmh;
    l.course_deg = loc.course_deg;
    l.status = loc.status.bits;
    l.temp_device_c = loc.temp_device_c;
    l.temp_engine_c = loc.temp_engine_c;
    l.temp_cabin_c = loc.temp_cabin_c;
    l.mileage_m = loc.mileage_m;
    l.fuel_l = loc.fuel_l;
    l.parking_s = loc.parking_s;
    l.rpm = loc.rpm;
    l.obd_speed_kmh = loc.obd_speed_kmh;
    l.people = (int) loc.people;

    return l;
}


/* what is written in each layout reads back as the same place */
static void
layouts(void)
{
    double            lat, lon, eps;
    unsigned          i, k;
    mdvr_buf_t        out;
    mdvr_head_t       h;
    mdvr_loc_out_t    l;

    static const mdvr_loc_layout_e  all[] = {
        MDVR_LOC_CURRENT, MDVR_LOC_DOCUMENTED, MDVR_LOC_MINUTES
    };
    static const double  places[][2] = {
        { 47.3767917, 8.5421017 }, { -23.5487833, -46.6331833 },
        { 51.5074333, -0.1276833 }, { -0.5001, 0.2501 }, { 89.9812345, 179.9712345 }
    };

    h = (mdvr_head_t) { S("1"), S("V114"), S("SIM00001"), S(""), 1614932400,
                        0 };

    for (i = 0; i < 3; i++) {
        for (k = 0; k < 5; k++) {
            l = moving();
            l.layout = all[i];
            l.lat_deg = lat = places[k][0];
            l.lon_deg = lon = places[k][1];

            mdvr_body_v114(fresh(), &l, 1);
            out = mdvr_buf(out_mem, sizeof(out_mem));
            mdvr_write_message(&out, &h, mdvr_buf_view(&body));
            mdvr_message_parse(mdvr_str(out.p + 8, out.len - 9), &written);
            mdvr_location_parse(&written, false, &loc);

            eps = all[i] == MDVR_LOC_MINUTES ? 2e-6 : 1.1e-7;
            tap_ok(loc.layout == all[i] && loc.has_position
                   && fabs(loc.lat_deg - lat) < eps
                   && fabs(loc.lon_deg - lon) < eps
                   && mdvr_location_trigger(&written, &loc) == 1
                   && loc.mileage_m == 18250431
                   && fabs(loc.fuel_l - 62.75) < 1e-9
                   && fabs(loc.course_deg - 271) < 0.5,
                   "layout %u at %.7f %.7f", i, lat, lon);
        }
    }
}


static void
device(void)
{
    mdvr_alarm_t      a;
    mdvr_v101_t       r;
    mdvr_loc_out_t    l;
    mdvr_answer_t     ans;
    mdvr_media_reg_t  reg;

    l = moving();
    mdvr_body_v114(fresh(), &l, 1);
    same("model.V114.moving");

    l.people = 27;
    mdvr_body_v114(fresh(), &l, 1);
    same("model.V114.people");

    l = again("model.V114.south-west");
    mdvr_body_v114(fresh(), &l, 1);
    same("model.V114.south-west");

    l = again("model.V114.minus-zero");
    mdvr_body_v114(fresh(), &l, 3);
    same("model.V114.minus-zero");

    l = again("model.V114.no-fix");
    mdvr_body_v114(fresh(), &l, 1);
    same("model.V114.no-fix");

    l = again("model.V101.current");
    mdvr_v101_parse(&m, &loc, &r);
    mdvr_body_v101(fresh(), &l, &r, 16, false, MDVR_TEXT_GB18030);
    same("model.V101.current");

    l = again("model.V101.newer");
    mdvr_v101_parse(&m, &loc, &r);
    mdvr_body_v101(fresh(), &l, &r, 16, true, MDVR_TEXT_GB18030);
    same("model.V101.newer");

    l = again("cap.V141");
    mdvr_body_v141(fresh(), &l);
    same("cap.V141");

    l = again("cap.V100.C508.start");
    mdvr_answer_parse(&m, &loc, &ans);
    mdvr_body_v100(fresh(), &l, ans.source_text, ans.source_time, 0,
                   S("1,1,,0"));
    same("cap.V100.C508.start");

    l = again("model.V251.current");
    mdvr_alarm_parse(&m, &loc, &a);
    mdvr_body_alarm(fresh(), &l, a.time, a.uid, a.snapshot, a.snapshot_path,
                    a.recording, a.recording_path, true, a.raw);
    same("model.V251.current");

    l = again("model.V203.nodata");
    mdvr_alarm_parse(&m, &loc, &a);
    mdvr_body_alarm(fresh(), &l, a.time, a.uid, 0, S(""), 0, S(""), false,
                    S(""));
    same("model.V203.nodata");

    l = again("model.V130");
    mdvr_body_v130(fresh(), &l, mdvr_message_token(&m, loc.next), true);
    same("model.V130");
    load("model.V130.noloc");
    mdvr_body_v130(fresh(), NULL, mdvr_message_token(&m, 0), false);
    same("model.V130.noloc");

    l = again("model.V600");
    mdvr_body_v600(fresh(), &l, 12345, S("\x0a\x1b\x2c\x3d"));
    same("model.V600");

#define REG(tag, how)                                                     \
    l = again(tag);                                                       \
    tap_rc(mdvr_media_reg_parse(&m, &loc, &reg), MDVR_OK, tag);           \
    mdvr_body_media_reg(fresh(), &l, &reg, how, MDVR_TEXT_GB18030);       \
    same(tag)

    REG("cap.V102", MDVR_PLATE_COMMA);
    REG("cap.V103", MDVR_PLATE_COMMA);
    REG("model.V103.pipe", MDVR_PLATE_BAR);
    REG("model.V103.noplate", MDVR_PLATE_NONE);
    REG("model.V105", MDVR_PLATE_COMMA);
    REG("model.V106", MDVR_PLATE_COMMA);
    REG("model.V107", MDVR_PLATE_COMMA);
    REG("model.V108", MDVR_PLATE_COMMA);
    REG("model.V109.media", MDVR_PLATE_COMMA);
}


static void
binary(const char *name)
{
    mdvr_str_t  v;

    v = tap_media(name);
    tap_ok(mdvr_str_eq(mdvr_buf_view(&body), v) && !body.full, "%s", name);
}


static void
media(void)
{
    mdvr_str_t           v;
    mdvr_media_audio_t   a;
    mdvr_media_block_t   block;
    mdvr_media_video_t   f;
    mdvr_media_record_t  r;

    mdvr_media_write_result(fresh(), 1, 0);
    binary("cap.6000");
    mdvr_media_write_result(fresh(), 0, MDVR_MEDIA_BAD_SERIAL);
    binary("model.6000.fail");
    mdvr_media_write_empty(fresh(), MDVR_MEDIA_KEY_REQUEST);
    mdvr_media_write_audio_switch(&body, true);
    binary("cap.6002+6004.one-segment");
    mdvr_media_write_params(fresh(), 1, 8000, 16);
    binary("cap.6015");
    mdvr_media_write_report(fresh(), MDVR_MEDIA_REPORT, 22060066382,
                            22061746390);
    binary("cap.6403");
    mdvr_media_write_block(fresh(), MDVR_MEDIA_BLOCK, 0, S(""));
    binary("cap.6102.eof");
    mdvr_media_write_reposition(fresh(), 0x6001, 262144, 0);
    binary("model.6103.bytes");
    mdvr_media_write_file_report(fresh());
    binary("model.6104");
    mdvr_media_write_talk(fresh(), 1, 200);
    binary("model.6401");
    mdvr_media_write_checksum(fresh(), 0, 13);
    binary("model.6501.bad");
    mdvr_media_write_video_switch(fresh(), true, 0, 1);
    binary("model.6601");
    mdvr_media_write_video_answer(fresh(), 1, 0);
    binary("model.6602");

    v = tap_media("cap.6013");
    mdvr_media_read_audio(0x6013, mdvr_str(v.p + 8, v.len - 8), &a);
    mdvr_media_write_audio(fresh(), 0x6013, a.stamp_us, a.data, true,
                           a.padding);
    binary("cap.6013");

    v = tap_media("model.6012.1");
    mdvr_media_read_video(0x6012, mdvr_str(v.p + 8, v.len - 8), &f);
    mdvr_media_write_video(fresh(), false, f.stamp_us, f.data);
    binary("model.6012.1");

    v = tap_media("model.6201.last");
    mdvr_media_read_block(mdvr_str(v.p + 8, v.len - 8), &block);
    mdvr_media_write_block(fresh(), MDVR_MEDIA_SNAPSHOT, block.offset,
                           block.data);
    binary("model.6201.last");

    v = tap_media("model.6101.record");
    mdvr_media_read_record(mdvr_str(v.p + 8, v.len - 8), 0, &r);
    mdvr_media_write_record(fresh(), &r);
    binary("model.6101.record");
    r.last = true;
    mdvr_media_write_record(fresh(), &r);
    binary("model.6101.end");

    mdvr_media_write_audio(fresh(), 0x6402, 5, S("abcd"), false, 0);
    mdvr_media_read_audio(0x6402, mdvr_str(body.p + 8, body.len - 8), &a);
    tap_ok(a.stamp_us == 5 && mdvr_str_eqc(a.data, "abcd"), "0x6402");

    mdvr_media_write_legacy_result(fresh(), 7, 36000, 1, 0);
    tap_ok(body.len == 32 && memcmp(body.p + 28, "####", 4) == 0,
           "0x6000 in the legacy envelope");
}


static void
bounds(void)
{
    uint8_t      tmp[64];
    mdvr_buf_t   out;
    mdvr_head_t  h;

    h = (mdvr_head_t) { S("1"), S("C501"), S("00007"), S(""), 0, 0 };

    out = mdvr_buf(tmp, 20);
    tap_rc(mdvr_write_message(&out, &h, S("")), MDVR_E_NO_SPACE,
           "a message that does not fit");
    tap_ok(out.len == 0 && out.full, "leaves nothing behind");

    memset(body_mem, 'x', sizeof(body_mem));
    out = mdvr_buf(out_mem, sizeof(out_mem));
    tap_rc(mdvr_write_message(&out, &h, mdvr_str(body_mem, 9990)),
           MDVR_E_LIMIT, "content beyond 9999 bytes is refused");
    tap_rc(mdvr_write_message(&out, &h, mdvr_str(body_mem, 9999 - 28)),
           MDVR_E_LIMIT, "one byte too many");
    tap_rc(mdvr_write_message(&out, &h, mdvr_str(body_mem, 9999 - 29)),
           MDVR_OK, "9999 bytes are taken");
    tap_ok(memcmp(out.p, "$$dc9999,", 9) == 0 && out.len == 10008,
           "as the longest message");
}


int
main(void)
{
    server();
    examples();
    layouts();
    device();
    media();
    bounds();

    return tap_end();
}
