/*
 * What a device says beyond its position: registrations, answers, alarms,
 * and the catalogue, roles and names of the domain.
 */

#include <stdio.h>
#include <stdlib.h>

#include "mdvr/dc/alarm.h"
#include "mdvr/dc/answer.h"
#include "mdvr/dc/register.h"
#include "mdvr/domain/alarm_kind.h"
#include "mdvr/domain/keys.h"
#include "mdvr/domain/scope.h"
#include "t/unit/lib/tap.h"

#define LOC  "A0010,114,3,337788000,22,40,230304000,0.00,2265900," \
             "000E00010101D383,0000000000000000,0.00,0.00,0.00,0,0.00,61," \
             "0|0.00|0|0|0|0|0|0|0"

static tap_arena_t      arena;
static mdvr_message_t   m;
static mdvr_location_t  loc;


static void
parse(const void *p, size_t n)
{
    mdvr_message_parse(mdvr_str(tap_place(&arena, p, n), n), &m);
    mdvr_location_parse(&m, false, &loc);
}


static void
load(const char *tag)
{
    mdvr_str_t  v;

    v = tap_message(tag);

    if (v.p[0] == '@') {
        v.p += 2;
        v.len -= 2;
    }

    parse(v.p + 8, v.len - 9);
}


/* keyword, body with or without its group */
static void
say(const char *keyword, const char *body)
{
    int   n;
    char  tmp[4096];

    n = snprintf(tmp, sizeof(tmp), ",7,%s,00007,,180903 110250,%s", keyword,
                 body);
    parse(tmp, (size_t) n);
}


typedef void (*json_pt)(mdvr_json_t *j, const void *data);

static json_t *
object(json_pt write, const void *data)
{
    char         out[8192];
    mdvr_buf_t   b;
    mdvr_json_t  j;

    b = mdvr_buf(out, sizeof(out));
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    write(&j, data);
    mdvr_json_object_end(&j);

    return b.full ? NULL : json_loadb(out, b.len, 0, NULL);
}


static void
has(json_t *j, const char *key, const char *want)
{
    char    *got;
    json_t  *v;

    v = json_object_get(j, key);
    got = v ? json_dumps(v, JSON_ENCODE_ANY|JSON_COMPACT|JSON_REAL_PRECISION(9))
            : NULL;
    tap_ok(got && strcmp(got, want) == 0, "%s is %s", key, want);

    if (got == NULL || strcmp(got, want) != 0) {
        printf("# got: %s\n", got ? got : "nothing");
    }

    free(got);
}


static void
registration(void)
{
    json_t       *j;
    mdvr_v101_t   r;

    load("model.V101.current");
    tap_rc(mdvr_v101_parse(&m, &loc, &r), MDVR_OK, "V101");
    tap_is(r.protocol, "V1.0.0.1", "protocol");
    tap_is(r.plate, "ZH 4711", "plate");
    tap_is(r.imei, "860000000000042", "IMEI");
    tap_is(r.network_library, "V6.1.50 20190301", "library");
    tap_ok(r.network == 3 && r.audio_type == 1 && r.storage_type == 1
           && r.power_on_count == 1 && r.connect_count == 3,
           "numbers");
    tap_int(r.channels_hint, 12, "4108 has 12 channels");

    j = object((json_pt) mdvr_v101_json, &r);
    has(j, "network", "\"4g\"");
    has(j, "storage", "\"sd_card\"");
    has(j, "plate", "\"ZH 4711\"");
    has(j, "login_port", "\"0\"");
    json_decref(j);

    load("model.V101.old");
    tap_rc(mdvr_v101_parse(&m, &loc, &r), MDVR_OK, "V101 of seven fields");
    tap_ok(r.network == -1 && r.imei.len == 0 && r.channels_hint == 4,
           "the rest is unknown");
    tap_is(r.plate, "00000", "plate of the old one");

    load("model.V101.newer");
    tap_rc(mdvr_v101_parse(&m, &loc, &r), MDVR_OK, "V101 with extra fields");
    tap_int(r.audio_type, 13, "an audio type of no table");
    tap_is(r.network_name, "DEPOT-AP", "SSID");

    load("model.V101.people");
    mdvr_v101_parse(&m, &loc, &r);
    tap_ok(loc.people == 14 && r.storage_type == 2, "V101 with people");

    say("V101", LOC ",");
    tap_rc(mdvr_v101_parse(&m, &loc, &r), MDVR_E_ABSENT, "V101 of nothing");

    say("V101", LOC ",,V1,4108,,,,,\xd4\xc1" "B88888");
    mdvr_v101_parse(&m, &loc, &r);
    j = object((json_pt) mdvr_v101_json, &r);
    has(j, "plate", "\"粤B88888\"");
    json_decref(j);
}


static mdvr_rc_t
media(const char *keyword, const char *fields, mdvr_media_reg_t *r)
{
    char  tmp[2048];

    snprintf(tmp, sizeof(tmp), LOC ",,V0.0.0.1,4108,10.0.0.1,6602,%s",
             fields);
    say(keyword, tmp);

    return mdvr_media_reg_parse(&m, &loc, r);
}


static void
media_registrations(void)
{
    mdvr_media_reg_t  r;

    load("cap.V102");
    tap_rc(mdvr_media_reg_parse(&m, &loc, &r), MDVR_OK, "V102");
    tap_ok(r.kind == MDVR_SESSION_LIVE && r.channel == 0 && r.stream == 1,
           "channel and stream");
    tap_is(r.session_id, "45649064", "session");
    tap_is(r.command, "C508", "command");

    load("model.V102.old");
    tap_rc(mdvr_media_reg_parse(&m, &loc, &r), MDVR_OK, "old V102");
    tap_is(r.session_id, "26636840", "its session");

    load("cap.V103");
    mdvr_media_reg_parse(&m, &loc, &r);
    tap_int(r.size, 655360, "V103 size");
    tap_is(r.file_name, "/ssyhdd/0/p1/2018-09-04/"
                        "241-02-104340-104356-05p100.h264", "file");
    tap_is(r.plate, "2014", "plate behind a comma");
    load("model.V103.pipe");
    mdvr_media_reg_parse(&m, &loc, &r);
    tap_is(r.plate, "ZH 4711", "plate behind a bar");
    load("model.V103.noplate");
    mdvr_media_reg_parse(&m, &loc, &r);
    tap_ok(r.plate.len == 0 && r.file_name.len == 43, "no plate");

    media("V105", "1,C550,1,8000,16,4,200,2,,ZH", &r);
    tap_ok(r.sample_rate == 8000 && r.format == 4 && r.channel == -1,
           "V105 of nine fields");
    tap_is(r.plate, "ZH", "its plate");
    media("V105", "1,C550,1,8000,16,4,200,2,ZH", &r);
    tap_is(r.plate, "ZH", "V105 of eight fields");
    media("V106", "1,app.img,100,ZH", &r);
    tap_ok(r.offset == 100 && r.file_name.len == 7, "V106 with a name");
    media("V106", "1,100,ZH", &r);
    tap_ok(r.offset == 100 && r.file_name.len == 0, "V106 without");
    media("V107", "1,2,31842,2,ZH", &r);
    tap_ok(r.channel == 2 && r.size == 31842 && r.format == 2, "V107");
    media("V109", "1,C520,0,512,2108,fleet.cfg,md5,ZH", &r);
    tap_ok(r.direction == 0 && r.offset == 512 && r.size == 2108,
           "V109 of seven fields");
    media("V109", "1,C521,,2108,fleet.cfg,md5,ZH", &r);
    tap_ok(r.direction == 1 && r.size == 2108, "V109 of six: from the device");
    media("V109", "1,C520,512,,,,ZH", &r);
    tap_ok(r.direction == 0 && r.offset == 512, "with an offset: to it");
    media("V112", ",,77,ZH,/fw/a", &r);
    tap_ok(r.kind == MDVR_SESSION_FETCH && r.offset == 77, "V112");
    tap_is(r.file_name, "/fw/a", "its file");

    tap_rc(media("V102", ",C508,0,1,ZH", &r), MDVR_E_ABSENT, "no session");
    tap_rc(media("V102", "a\x01,C508,0,1,ZH", &r), MDVR_E_ABSENT,
           "an unprintable one");
    tap_rc(media("V102", "12345678901234567890123456789012345678901234567890"
                         "123456789012345,C508,0,1,ZH", &r), MDVR_E_ABSENT,
           "65 bytes");
    tap_rc(media("V102", "1,C508,x,1,ZH", &r), MDVR_E_RANGE, "no channel");
    tap_rc(media("V102", "1,C508,0,2,ZH", &r), MDVR_E_RANGE, "no stream");
    tap_rc(media("V102", "1", &r), MDVR_E_RANGE, "too short");
    tap_rc(media("V103", "1,-5,x", &r), MDVR_E_RANGE, "a negative size");
    tap_rc(media("V114", "1", &r), MDVR_E_UNSUPPORTED, "V114 registers none");
    tap_ok(strcmp(mdvr_session_name(MDVR_SESSION_LIVE), "live") == 0,
           "kinds have names");
}


static mdvr_answer_t *
answer(const char *content)
{
    char                  tmp[4096];
    static mdvr_answer_t  a;

    snprintf(tmp, sizeof(tmp), LOC ",,%s", content);
    say("V100", tmp);
    mdvr_answer_parse(&m, &loc, &a);

    return &a;
}


static void
answers(void)
{
    json_t         *j;
    mdvr_answer_t  *a;

    load("cap.V100.C508.start");
    a = answer("C508,180903 170716,0,1,1,,0");
    tap_ok(a->success && a->mark == 1 && a->error == 0, "C508 as captured");
    tap_is(a->reason, "0", "its reason");
    a = answer("C508,180903 170716,0,0,1,8,no channel 3");
    tap_ok(!a->success && a->error == 8, "C508 failed");
    tap_is(a->reason, "no channel 3", "because");
    a = answer("C505,x,0,0,1,FFFFFF0A,GPS fault, antenna open");
    tap_ok(a->error == -1, "an error in hexadecimal digits");
    tap_is(a->reason, "GPS fault, antenna open", "a reason with a comma");
    a = answer("C505,x,0,0,8,no");
    tap_ok(a->error == 8 && a->mark == -1, "C505 of three fields");
    a = answer("C702,180904 104400,0,1,0,");
    tap_ok(a->success && a->error == 0 && a->mode == 0, "C702 as captured");
    a = answer("C701,x,0,1");
    tap_ok(a->success && a->error == 0 && a->nfields == 1, "one field");
    a = answer("C150,x,1,0,99,");
    tap_ok(a->mode == 1 && a->error == 99, "by a person");
    a = answer("C152,x,0,3,,");
    tap_ok(a->success && a->progress, "C152 verified, more to come");
    a = answer("C152,x,0,4,,");
    tap_ok(a->success && !a->progress, "C152 done");
    a = answer("C152,x,0,5,,");
    tap_ok(!a->success && !a->progress, "C152 refused");
    a = answer("C550,x,0,2,,");
    tap_ok(a->success, "C550 stopped");
    a = answer("C510,x,0,2,,");
    tap_ok(!a->success, "2 is no success elsewhere");
    a = answer("C510,x,0");
    tap_ok(!a->success && a->status == -1, "no content");

    say("V100", LOC ",");
    tap_rc(mdvr_answer_parse(&m, &loc, a), MDVR_E_ABSENT, "answers nothing");

    a = answer("C508,t,0,1,1,,0");
    tap_int(mdvr_answer_match(a, MDVR_STR("C508"), MDVR_STR("7"),
                              MDVR_STR("t")), 3, "keyword, number, time");
    tap_int(mdvr_answer_match(a, MDVR_STR("C508"), MDVR_STR("7"),
                              MDVR_STR("u")), 2, "keyword, number");
    tap_int(mdvr_answer_match(a, MDVR_STR("C508"), MDVR_STR("8"),
                              MDVR_STR("t")), 1, "keyword, time");
    tap_int(mdvr_answer_match(a, MDVR_STR("C509"), MDVR_STR("7"),
                              MDVR_STR("t")), 0, "another keyword");

    a = answer("C508,x,0,0,1,8,");
    j = object((json_pt) mdvr_answer_json, a);
    has(j, "success", "false");
    has(j, "error_code", "\"8\"");
    has(j, "error", "\"channel does not exist\"");
    has(j, "reason", "null");
    json_decref(j);

    a = answer("C588,x,0,1,SN0042,4108,MDVR_0042,T2019061202,4,5,15,1,"
               "12745_8023,1,5,27,198.51.100.7,0,,,,1,4,4,,");
    j = object((json_pt) mdvr_answer_json, a);
    has(j, "success", "true");
    has(j, "channels", "4");
    has(j, "video_loss", "[1,3]");
    has(j, "recording", "[1,2,3,4]");
    has(j, "disk_total_gb", "127.45");
    has(j, "mobile_ip", "\"198.51.100.7\"");
    has(j, "video_channels", "4");
    json_decref(j);

    a = answer("C588,x,0,1,S,4108,M,T,4,0,0,0,,1,5,27,,0,,,,1,4,4,11,22,"
               "abc|def,,");
    j = object((json_pt) mdvr_answer_json, a);
    has(j, "traffic_3g_kb", "11");
    has(j, "traffic_4g_kb", "22");
    has(j, "disk_serials", "\"abc|def\"");
    has(j, "disk_total_gb", "null");
    json_decref(j);

    a = answer("C512,x,0,1,2047,2047,1,0,0,0,0,0,0,1,2,,");
    j = object((json_pt) mdvr_answer_json, a);
    has(j, "rows", "[2047,2047,1,0,0,0,0,0,0]");
    has(j, "sensitivity", "2");
    json_decref(j);
    a = answer("C512,x,0,0,8,no channel");
    tap_ok(a->error == 8, "C512 failed");

    a = answer("C723,x,0,1,128,120,0,-4,130");
    j = object((json_pt) mdvr_answer_json, a);
    has(j, "hue", "-4");
    has(j, "saturation", "130");
    has(j, "error_code", "null");
    json_decref(j);

    a = answer("C517,x,0,1,5,a,b#c");
    j = object((json_pt) mdvr_answer_json, a);
    has(j, "data_hex", "\"612c622363\"");
    json_decref(j);
    a = answer("C517,x,0,1,50,a");
    j = object((json_pt) mdvr_answer_json, a);
    has(j, "data_hex", "null");
    json_decref(j);

    a = answer("C600,x,0,1,1,7,2,4,abcd,,");
    j = object((json_pt) mdvr_answer_json, a);
    has(j, "data_hex", "\"abcd\"");
    json_decref(j);
}


static void
alarms(void)
{
    json_t        *j;
    mdvr_v130_t    call;
    mdvr_v232_t    f;
    mdvr_v234_t    fetched;
    mdvr_v600_t    data;
    mdvr_alarm_t   a;
    mdvr_alarm_permit_t  p;

    load("cap.V201");
    tap_rc(mdvr_alarm_parse(&m, &loc, &a), MDVR_OK, "V201");
    tap_is(a.uid, "A4362779F6557409", "UID");
    tap_is(a.time, "180904 104340", "time");
    tap_ok(a.snapshot == 0 && a.recording == 0 && a.ndata == 3, "fields");
    j = object((json_pt) mdvr_alarm_json, &a);
    has(j, "number", "2");
    has(j, "source", "\"0\"");
    has(j, "name", "\"\"");
    json_decref(j);

    load("model.V201.old");
    mdvr_alarm_parse(&m, &loc, &a);
    tap_is(a.uid, "2200719711", "UID of the old layout");
    tap_is(a.snapshot_path, "/sd/chn0.jpg", "its snapshot");
    tap_is(mdvr_alarm_data(&a, 2), "input1", "its name");

    load("model.V251.old");
    mdvr_alarm_parse(&m, &loc, &a);
    tap_ok(a.ndata == 2, "its end lacks the name");

    load("model.V203.nodata");
    mdvr_alarm_parse(&m, &loc, &a);
    tap_ok(a.ndata == 0, "no data");

    say("V211", LOC ",,180903 110250,U1,0,,1,/a,130.80,0.00,100.00,5");
    mdvr_alarm_parse(&m, &loc, &a);
    j = object((json_pt) mdvr_alarm_json, &a);
    has(j, "speed_kmh", "130.8");
    has(j, "upper_kmh", "100.0");
    has(j, "duration_s", "5");
    json_decref(j);

    say("V204", LOC ",,180903 110250,U1,0,,0,,000A");
    mdvr_alarm_parse(&m, &loc, &a);
    j = object((json_pt) mdvr_alarm_json, &a);
    has(j, "channels", "[2,4]");
    json_decref(j);

    say("V206", LOC ",,180903 110250,U1,0,,0,,1,6,12");
    mdvr_alarm_parse(&m, &loc, &a);
    j = object((json_pt) mdvr_alarm_json, &a);
    has(j, "doors", "[2,3]");
    json_decref(j);

    say("V210", LOC ",,180903 110250,U1,0,,0,,0,FFFFFF0A,\"not recognised\"");
    mdvr_alarm_parse(&m, &loc, &a);
    j = object((json_pt) mdvr_alarm_json, &a);
    has(j, "text", "\"not recognised\"");
    json_decref(j);

    say("V304", LOC ",,180903 110250,U1,0,,0,,4050,1270");
    mdvr_alarm_parse(&m, &loc, &a);
    j = object((json_pt) mdvr_alarm_json, &a);
    has(j, "amount_l", "40.5");
    json_decref(j);

    say("V245", LOC ",,180903 110250,U1,0,,0,,a,b");
    tap_rc(mdvr_alarm_parse(&m, &loc, &a), MDVR_OK, "a newer alarm");
    j = object((json_pt) mdvr_alarm_json, &a);
    has(j, "fields", "[\"a\",\"b\"]");
    json_decref(j);

    say("V203", ",,,,180903 110250,U2,0,,0,");
    tap_rc(mdvr_alarm_parse(&m, &loc, &a), MDVR_OK, "no trigger location");
    tap_is(a.uid, "U2", "its UID is found");
    say("V203", ",,,,,,,,,,,,,,,,,,,180903 110250,U3,0,,0,");
    tap_rc(mdvr_alarm_parse(&m, &loc, &a), MDVR_OK, "all tokens empty");
    tap_is(a.uid, "U3", "found as well");

    say("V203", LOC ",,180903 110250,,0,,0,");
    tap_rc(mdvr_alarm_parse(&m, &loc, &a), MDVR_E_ABSENT, "no UID");
    say("V203", LOC ",");
    tap_rc(mdvr_alarm_parse(&m, &loc, &a), MDVR_E_ABSENT, "nothing");
    say("V203", LOC ",,180903 110250,1234567890123456789012345678901234567890"
                "1234567890123456789012345,0,,0,");
    tap_rc(mdvr_alarm_parse(&m, &loc, &a), MDVR_E_LIMIT, "65 bytes of UID");
    say("V203", LOC ",,180903 110250,a\x02,0,,0,");
    tap_rc(mdvr_alarm_parse(&m, &loc, &a), MDVR_E_SYNTAX, "binary UID");

    load("model.V232");
    mdvr_alarm_parse(&m, &loc, &a);
    tap_rc(mdvr_v232_parse(&a, &f), MDVR_OK, "V232");
    tap_ok(f.media == 2 && f.size == 1310720 && f.record_type == 2
           && f.duration_s == 25 && f.channel == 0, "numbers");
    tap_is(f.path, "/mnt/sd0/2021-03-05/ch01-101750-101810.h264", "path");
    tap_is(f.start, "2021-03-05 101747", "start");

    say("V234", LOC ",,210305 110000,U,0,,0,,77,2,0");
    mdvr_alarm_parse(&m, &loc, &a);
    tap_rc(mdvr_v234_parse(&a, &fetched), MDVR_OK, "V234");
    tap_ok(fetched.file_type == 2 && fetched.result == 0, "good");
    j = object((json_pt) mdvr_alarm_json, &a);
    has(j, "file_id", "\"77\"");
    has(j, "result", "0");
    json_decref(j);

    say("V231", LOC ",,210305 110000,U,0,,0,,7,5,a,b,c");
    mdvr_alarm_parse(&m, &loc, &a);
    j = object((json_pt) mdvr_alarm_json, &a);
    has(j, "data", "\"a,b,c\"");
    json_decref(j);

    say("V298", LOC ",,210305 110000,U,3,1,2");
    tap_rc(mdvr_alarm_permit_parse(&m, &loc, &p), MDVR_OK, "V298");
    tap_ok(p.channel == 3 && p.type == 1, "channel, type");
    say("V299", LOC ",,2,");
    tap_rc(mdvr_alarm_permit_parse(&m, &loc, &p), MDVR_OK, "V299");
    tap_int(p.type, 2, "type");

    load("model.V130");
    tap_rc(mdvr_v130_parse(&m, &loc, &call), MDVR_OK, "V130");
    tap_ok(call.start == 1 && call.session_id.len == 36, "starts");
    load("model.V130.noloc");
    mdvr_v130_parse(&m, &loc, &call);
    tap_ok(call.start == 0 && call.session_id.len == 36, "stops");
    say("V130", LOC ",,1,");
    mdvr_v130_parse(&m, &loc, &call);
    tap_ok(call.start == 1 && call.session_id.len == 0, "without a session");

    load("model.V600");
    tap_rc(mdvr_v600_parse(&m, &loc, &data), MDVR_OK, "V600");
    tap_is(data.hex, "0a1b2c3d", "data");
}


static void
catalogue(void)
{
    mdvr_alarm_t              a;
    mdvr_phase_e              phase;
    const mdvr_alarm_kind_t  *k;

    k = mdvr_alarm_kind(MDVR_STR("V211"), &phase);
    tap_ok(strcmp(k->kind, "overspeed") == 0 && phase == MDVR_PHASE_START,
           "V211 starts overspeed");
    k = mdvr_alarm_kind(MDVR_STR("V261"), &phase);
    tap_ok(strcmp(k->code, "V211") == 0 && phase == MDVR_PHASE_END,
           "V261 ends it");
    k = mdvr_alarm_kind(MDVR_STR("V214"), &phase);
    tap_ok(strcmp(k->kind, "ignition_on") == 0 && phase == MDVR_PHASE_EVENT,
           "V214 is an event");
    k = mdvr_alarm_kind(MDVR_STR("V267"), &phase);
    tap_ok(strcmp(k->kind, "motion") == 0 && phase == MDVR_PHASE_END,
           "V267 ends V217");
    k = mdvr_alarm_kind(MDVR_STR("V234"), &phase);
    tap_ok(k && strcmp(k->kind, "file_fetched") == 0, "V234 is kept");
    k = mdvr_alarm_kind(MDVR_STR("V245"), &phase);
    tap_ok(strcmp(k->kind, "unknown") == 0, "V245 is unknown");
    tap_ok(mdvr_alarm_kind(MDVR_STR("V232"), &phase) == NULL,
           "V232 is no alarm");
    tap_ok(strcmp(mdvr_alarm_kind_of_type(2)->kind, "panic_button") == 0
           && mdvr_alarm_kind_of_type(0) == NULL
           && mdvr_alarm_kind_of_type(14) == NULL, "numbers of V299");
    tap_ok(mdvr_alarm_kind_of_name(MDVR_STR("disk_hot"))->sub_field == 0
           && mdvr_alarm_kind_of_name(MDVR_STR("x")) == NULL, "names");

    load("cap.V201");
    mdvr_alarm_parse(&m, &loc, &a);
    k = mdvr_alarm_kind(a.code, &phase);
    tap_is(mdvr_alarm_sub_key(k, &a), "2", "the custom number is a sub-key");
    load("model.V203.nodata");
    mdvr_alarm_parse(&m, &loc, &a);
    k = mdvr_alarm_kind(a.code, &phase);
    tap_is(mdvr_alarm_sub_key(k, &a), "", "vibration has none");
}


static void
scopes(void)
{
    char        out[512];
    uint32_t    s;
    mdvr_buf_t  b;

    tap_int(mdvr_role_scopes(MDVR_ROLE_SUPER_ADMIN), MDVR_SCOPE_ALL,
            "a super admin may everything");
    tap_ok(!(mdvr_role_scopes(MDVR_ROLE_TECHNICIAN)
             & (MDVR_SCOPE_VIDEO_DOWNLOAD|MDVR_SCOPE_ALARM_ACKNOWLEDGE
                |MDVR_SCOPE_USER_MANAGE|MDVR_SCOPE_BILLING_MANAGE)),
           "what a technician may not");
    tap_int(mdvr_role_scopes(MDVR_ROLE_CLIENT_USER),
            MDVR_SCOPE_DEVICE_READ|MDVR_SCOPE_VIDEO_WATCH
            |MDVR_SCOPE_ALARM_READ, "what a client user may");
    tap_ok(mdvr_role_find(MDVR_STR("technician")) == MDVR_ROLE_TECHNICIAN
           && mdvr_role_find(MDVR_STR("root")) == MDVR_ROLE_NONE
           && mdvr_role_find(MDVR_STR("")) == MDVR_ROLE_NONE, "roles");
    tap_ok(mdvr_role_assigned_only(MDVR_ROLE_CLIENT_USER)
           && !mdvr_role_assigned_only(MDVR_ROLE_TECHNICIAN), "confined");

    b = mdvr_buf(out, sizeof(out));
    mdvr_scopes_write(&b, MDVR_SCOPE_DEVICE_READ|MDVR_SCOPE_USER_MANAGE);
    tap_is(mdvr_buf_view(&b), "device:read user:manage", "scopes as words");
    tap_ok(mdvr_scopes_parse(mdvr_buf_view(&b), &s)
           && s == (MDVR_SCOPE_DEVICE_READ|MDVR_SCOPE_USER_MANAGE), "back");
    tap_ok(!mdvr_scopes_parse(MDVR_STR("device:read x"), &s)
           && s == MDVR_SCOPE_DEVICE_READ, "an unknown one is told");
    tap_ok(mdvr_scope_find(MDVR_STR("video:watch")) == MDVR_SCOPE_VIDEO_WATCH
           && strcmp(mdvr_scope_name(MDVR_SCOPE_ALARM_READ), "alarm:read")
              == 0, "by name");
}


static void
keys(void)
{
    char          out[256];
    mdvr_buf_t    b;
    mdvr_route_t  r, back;

#define KEY(call, want)                                                   \
    b = mdvr_buf(out, sizeof(out));                                       \
    call;                                                                 \
    tap_is(mdvr_buf_view(&b), want, want)

    KEY(mdvr_key_route(&b, MDVR_STR("00007")), "mdvr:route:{00007}");
    KEY(mdvr_channel_command(&b, MDVR_STR("n1"), 3), "mdvr:cmd:n1:3");
    KEY(mdvr_channel_answer(&b, MDVR_STR("n1"), 3), "mdvr:ans:n1:3");
    KEY(mdvr_channel_event(&b, MDVR_STR("t")), "mdvr:event:t");
    KEY(mdvr_key_live(&b, MDVR_STR("d"), 1, MDVR_STR("sub")),
        "mdvr:live:{d:1:sub}");
    KEY(mdvr_key_vsession(&b, MDVR_STR("v")), "mdvr:vsession:{v}");
    KEY(mdvr_key_idem(&b, MDVR_STR("t"), MDVR_STR("u"), MDVR_STR("k")),
        "mdvr:idem:{t}:u:k");
    KEY(mdvr_key_rate(&b, MDVR_STR("login"), MDVR_STR("10.0.0.1")),
        "mdvr:rate:{login}:10.0.0.1");
    KEY(mdvr_key_job(&b, MDVR_STR("mail"), ""), "mdvr:job:{mail}");

    r = (mdvr_route_t) { MDVR_STR("node-a"), 63, 1234567890123 };
    KEY(mdvr_route_write(&b, &r), "node-a 63 1234567890123");
    tap_ok(mdvr_route_parse(mdvr_buf_view(&b), &back)
           && mdvr_str_eq(back.node, r.node) && back.slot == 63
           && back.connection == r.connection, "a route there and back");
    tap_ok(!mdvr_route_parse(MDVR_STR("node"), &back)
           && !mdvr_route_parse(MDVR_STR("node 1"), &back)
           && !mdvr_route_parse(MDVR_STR(" 1 2"), &back)
           && !mdvr_route_parse(MDVR_STR("n x 2"), &back), "broken routes");
}


int
main(void)
{
    arena = tap_arena(8192);

    registration();
    media_registrations();
    answers();
    alarms();
    catalogue();
    scopes();
    keys();

    return tap_end();
}
