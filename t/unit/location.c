/*
 * The location group: every vector with every number and flag, and the edges
 * of each field.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "mdvr/dc/location.h"
#include "t/unit/lib/tap.h"

static tap_arena_t      arena;
static mdvr_message_t   m;
static mdvr_location_t  loc;


static mdvr_rc_t
group(const char *keyword, const char *text, const char *rest)
{
    int   n;
    char  tmp[2048];

    n = snprintf(tmp, sizeof(tmp), "1,%s,7,,180903 110250,%s%s", keyword,
                 text, rest);
    mdvr_message_parse(mdvr_str(tap_place(&arena, tmp, (size_t) n),
                                (size_t) n), &m);

    return mdvr_location_parse(&m, false, &loc);
}


/* a number or null (NaN, -1) of the expectation */
static double
number(json_t *e, const char *key)
{
    json_t  *v;

    v = json_object_get(e, key);

    return json_is_number(v) ? json_number_value(v) : NAN;
}


static double
known(int64_t v)
{
    return v < 0 ? NAN : (double) v;
}


static bool
flag(json_t *flags, const char *key, mdvr_status_flag_e f)
{
    json_t  *v;

    v = json_object_get(flags, key);

    return mdvr_status_flag(&loc.status, f)
           == (json_is_boolean(v) ? json_is_true(v) : -1);
}


static bool
set(json_t *flags, const char *key, mdvr_status_set_e s)
{
    json_t   *list;
    size_t    i;
    uint32_t  want;

    list = json_object_get(flags, key);
    want = 0;

    for (i = 0; i < json_array_size(list); i++) {
        want |= 1U << (json_integer_value(json_array_get(list, i)) - 1);
    }

    return mdvr_status_set(&loc.status, s, NULL) == want;
}


static bool
state(json_t *flags, const char *flag_key, const char *key, int got)
{
    json_t  *f;

    f = json_object_get(flags, flag_key);

    if (!json_is_true(f)) {
        return got == -1;
    }

    return got == json_integer_value(json_object_get(flags, key));
}


static void
vector(json_t *v)
{
    char         title[128];
    double       n;
    json_t      *e, *flags;
    const char  *tag, *keyword, *layout;

    tag = json_string_value(json_object_get(v, "tag"));
    keyword = json_string_value(json_object_get(v, "message"));
    e = json_object_get(v, "expect");

    if (keyword == NULL) {
        keyword = "V114";
    }

    tap_rc(group(keyword, json_string_value(json_object_get(v, "group")),
                 strcmp(keyword, "V114") == 0 ? ",1" : ",,x"),
           MDVR_OK, tag);

    layout = json_string_value(json_object_get(e, "layout"));
    tap_ok(loc.layout == (strcmp(layout, "current") == 0 ? MDVR_LOC_CURRENT
                          : strcmp(layout, "documented") == 0
                            ? MDVR_LOC_DOCUMENTED : MDVR_LOC_MINUTES),
           "%s: layout", tag);
    tap_int(loc.ntokens, json_integer_value(json_object_get(v, "tokens")),
            "tokens");
    tap_ok(loc.gps_valid == json_is_true(json_object_get(e, "fix")),
           "%s: fix", tag);
    tap_near(known(loc.satellites), number(e, "satellites"), "satellites");
    tap_ok(loc.has_position
           == !json_is_true(json_object_get(e, "position_null")),
           "%s: position", tag);

    if (loc.has_position) {
        tap_near(loc.lon_deg, number(e, "lon"), "longitude");
        tap_near(loc.lat_deg, number(e, "lat"), "latitude");
    }

#define NUMBER(key, got)                                                  \
    snprintf(title, sizeof(title), "%s: %s", tag, key);                   \
    tap_near(got, number(e, key), title)

    NUMBER("speed_kmh", loc.speed_kmh);
    NUMBER("course_deg", loc.course_deg);
    NUMBER("temp_device_c", loc.temp_device_c);
    NUMBER("temp_engine_c", loc.temp_engine_c);
    NUMBER("temp_cabin_c", loc.temp_cabin_c);
    NUMBER("mileage_m", known(loc.mileage_m));
    NUMBER("fuel_l", loc.fuel_l);
    NUMBER("parking_s", known(loc.parking_s));
    NUMBER("rpm", known(loc.rpm));
    NUMBER("obd_speed_kmh", loc.obd_speed_kmh);
    NUMBER("stop_flag", known(loc.stop_flag));

    n = number(e, "pipe_fields");
    tap_int(loc.bus_fields, isnan(n) ? 0 : (int) n, "bus fields");

    tap_is(loc.status_hex, json_string_value(json_object_get(e, "status")),
           "status as it arrived");
    tap_is(loc.mask_hex, json_string_value(json_object_get(e, "mask")),
           "mask as it arrived");

    flags = json_object_get(e, "flags");

    tap_ok(set(flags, "recording", MDVR_STATUS_RECORDING)
           && set(flags, "video_loss", MDVR_STATUS_VIDEO_LOSS)
           && set(flags, "io_in", MDVR_STATUS_INPUTS)
           && set(flags, "io_out", MDVR_STATUS_OUTPUTS),
           "%s: sets", tag);

    /* the expectation knows no "unknown": a masked flag is false there */

    if (loc.status.known == UINT64_MAX) {
        tap_ok(flag(flags, "stationary", MDVR_STATUS_stationary)
               && flag(flags, "overspeed", MDVR_STATUS_overspeed)
               && flag(flags, "backfill", MDVR_STATUS_late)
               && flag(flags, "low_speed", MDVR_STATUS_low_speed)
               && flag(flags, "gps_present", MDVR_STATUS_gps_present)
               && flag(flags, "acc_on", MDVR_STATUS_acc)
               && flag(flags, "left_turn", MDVR_STATUS_left_turn)
               && flag(flags, "right_turn", MDVR_STATUS_right_turn)
               && flag(flags, "brake", MDVR_STATUS_brake)
               && flag(flags, "forward", MDVR_STATUS_forward)
               && flag(flags, "reverse", MDVR_STATUS_reverse),
               "%s: flags", tag);
    }

    tap_ok(state(flags, "disk0_flag", "disk0_state",
                 mdvr_status_disk(&loc.status, 1))
           && state(flags, "disk1_flag", "disk1_state",
                    mdvr_status_disk(&loc.status, 2))
           && state(flags, "net_flag", "net_state",
                    mdvr_status_network(&loc.status)),
           "%s: disks and network", tag);

    if (strcmp(keyword, "V114") == 0) {
        tap_int(mdvr_location_trigger(&m, &loc), 1, "drive flag");
    }
}


/* a group of the current layout with one field replaced */
static void
with(unsigned field, const char *value)
{
    unsigned     i;
    mdvr_buf_t   b;
    static char  tmp[1024];

    static const char *const  usual[] = {
        "A0010", "114", "3", "337788000", "22", "40", "230304000", "12.50",
        "2265900", "000E00010101D383", "0000000000000000", "1.00", "-2.50",
        "3.00", "1200", "7.50", "61", "800|13.00|0|0"
    };

    b = mdvr_buf(tmp, sizeof(tmp) - 1);

    for (i = 0; i < 18; i++) {

        if (i) {
            mdvr_buf_chr(&b, ',');
        }

        mdvr_buf_cstr(&b, i + 1 == field ? value : usual[i]);
    }

    tmp[b.len] = '\0';
    group("V114", tmp, ",1");
}


static void
edges(void)
{
    with(0, "");
    tap_near(loc.speed_kmh, 12.5, "speed");
    tap_near(loc.temp_engine_c, -2.5, "a negative temperature");
    tap_near(loc.obd_speed_kmh, 13, "speed from the bus");

    with(2, "-0");
    tap_near(loc.lon_deg, -(3 / 60.0 + 33.7788 / 3600), "-0 degrees are west");
    with(5, "-0");
    tap_ok(loc.lat_deg < 0, "-0 degrees are south");
    with(2, "+114");
    tap_near(loc.lon_deg, 114.059383, "a plus sign");
    with(3, "-3");
    tap_near(loc.lon_deg, 114.059383, "a sign on the minutes is ignored");
    with(2, "181");
    tap_ok(!loc.has_position && loc.mileage_m == 1200,
           "181 degrees: no position, the rest stays");
    with(2, "180");
    tap_ok(!loc.has_position, "180 degrees and some minutes are too much");
    with(5, "91");
    tap_ok(!loc.has_position, "91 degrees north");
    with(3, "60");
    tap_ok(!loc.has_position, "60 minutes");
    with(4, "599999999");
    tap_ok(loc.has_position, "599999999 are seconds");
    with(4, "600000000");
    tap_ok(!loc.has_position, "600000000 are not");
    with(4, "99999999999999999999");
    tap_ok(!loc.has_position, "nor are more digits than fit");
    with(6, "");
    tap_ok(!loc.has_position, "an empty part: no position");
    with(4, "12x");
    tap_ok(!loc.has_position, "letters: no position");

    with(1, "A");
    tap_ok(loc.gps_valid && loc.satellites == -1, "no satellite count");
    with(1, "V0003");
    tap_ok(!loc.gps_valid && loc.satellites == 3 && loc.has_position,
           "void with the last position");
    with(1, "A0000");
    tap_ok(loc.gps_valid && loc.satellites == 0, "valid with no satellites");
    with(1, "X");
    tap_ok(loc.layout == MDVR_LOC_CURRENT && !loc.gps_valid,
           "another letter: not valid");
    with(1, "");
    tap_ok(loc.layout == MDVR_LOC_CURRENT && !loc.gps_valid, "nothing, too");

    with(8, "500.01");
    tap_ok(isnan(loc.speed_kmh), "more than 500 km/h is malformed");
    with(8, "-1");
    tap_ok(isnan(loc.speed_kmh), "a negative speed is unknown");
    with(8, "63");
    tap_near(loc.speed_kmh, 63, "an integer speed");
    with(9, "3600000");
    tap_near(loc.course_deg, 0, "360 degrees are 0");
    with(9, "7200000");
    tap_ok(isnan(loc.course_deg), "720 are unknown");
    with(9, "");
    tap_ok(isnan(loc.course_deg), "no course");

    with(15, "-1");
    tap_int(loc.mileage_m, -1, "negative mileage is unknown");
    with(15, "12.75");
    tap_int(loc.mileage_m, 12, "mileage is truncated");
    with(16, "9999");
    tap_near(loc.fuel_l, 99.99, "integer fuel is in hundredths");
    with(16, "-1");
    tap_ok(isnan(loc.fuel_l), "no fuel sensor");
    with(18, "|");
    tap_ok(loc.rpm == -1 && isnan(loc.obd_speed_kmh) && loc.bus_fields == 2,
           "an empty bus group");

    with(10, "000e00010101d383");
    tap_int(mdvr_status_flag(&loc.status, MDVR_STATUS_acc), 1,
            "lower case status");
    with(10, "000E00010101D38");
    tap_int(mdvr_status_flag(&loc.status, MDVR_STATUS_acc), -1,
            "15 digits are no status");
    with(11, "0000000000000002");
    tap_int(mdvr_status_flag(&loc.status, MDVR_STATUS_acc), 1,
            "a mask lets one bit through");
    tap_int(mdvr_status_flag(&loc.status, MDVR_STATUS_stationary), -1,
            "and makes the others unknown");
    tap_int(mdvr_status_network(&loc.status), -1, "the network, too");
    with(11, "00000000000000zz");
    tap_int(mdvr_status_flag(&loc.status, MDVR_STATUS_stationary), 1,
            "a broken mask is none");

    tap_rc(group("V201", "A0010,1,2,3", ""), MDVR_E_SYNTAX,
           "a group that is too short is an error");
    tap_rc(group("V130", "abc,1,", ""), MDVR_OK, "own fields without one");
    tap_ok(loc.layout == MDVR_LOC_NONE && loc.next == 0, "are no group");
    tap_ok(loc.mileage_m == -1 && isnan(loc.speed_kmh)
           && mdvr_status_flag(&loc.status, MDVR_STATUS_acc) == -1,
           "and everything is unknown");

    tap_rc(mdvr_location_tokens(NULL, 0, true, false, &loc), MDVR_OK,
           "no tokens at all");
}


static void
exact(void)
{
    double  d;

    tap_rc(mdvr_dms_to_deg(114, 3, 341826000, false, 180, &d), MDVR_OK,
           "degrees, minutes, seconds");
    tap_near(d, 114.0594952, "are degrees");
    tap_rc(mdvr_dms_to_deg(180, 0, 0, true, 180, &d), MDVR_OK, "180 west");
    tap_near(d, -180, "is -180");
    tap_rc(mdvr_dms_to_deg(180, 0, 1, false, 180, &d), MDVR_E_RANGE,
           "a bit more is not");
    tap_rc(mdvr_dms_to_deg(0, 60, 0, false, 180, &d), MDVR_E_RANGE,
           "60 minutes are not");
}


static void
bus_layout(void)
{
    mdvr_str_t  tok[19];
    unsigned    i;

    static const char *const  t[] = {
        "A", "+8", "32", "5261", "+47", "22", "6075", "63", "271",
        "0F0E000100007783", "FFFF00FF01000F83", "41.50", "", "", "324", "1",
        "5", "0", "14"
    };

    for (i = 0; i < 19; i++) {
        tok[i] = mdvr_cstr(t[i]);
    }

    mdvr_location_tokens(tok, 19, true, true, &loc);
    tap_is(loc.route, "324", "with bus_layout L15 is the route");
    tap_is(loc.driver, "1", "L16 the driver");
    tap_is(loc.next_stop, "5", "L17 the next stop");
    tap_ok(loc.mileage_m == -1 && isnan(loc.fuel_l) && loc.parking_s == -1,
           "and nothing else");
}


static void
json(void)
{
    char         out[2048];
    json_t      *j, *s;
    mdvr_buf_t   b;
    mdvr_json_t  w;

    with(0, "");
    b = mdvr_buf(out, sizeof(out));
    mdvr_json_init(&w, &b);
    mdvr_json_object(&w, NULL);
    mdvr_location_json(&w, &loc);
    mdvr_json_object_end(&w);

    j = json_loadb(out, b.len, 0, NULL);
    s = json_object_get(j, "status");
    tap_ok(j && !b.full, "a position as JSON");
    tap_near(json_number_value(json_object_get(j, "lat")), 22.673064, "lat");
    tap_ok(json_is_true(json_object_get(j, "acc")), "acc");
    tap_int((long long) json_array_size(json_object_get(s, "video_loss")), 3,
            "three cameras lost");
    tap_ok(json_is_true(json_object_get(s, "stationary"))
           && json_is_false(json_object_get(s, "late"))
           && json_is_null(json_object_get(s, "disk2")), "flags");
    tap_ok(strcmp(json_string_value(json_object_get(s, "network")),
                  "no_modem") == 0
           && strcmp(json_string_value(json_object_get(s, "disk1")),
                     "absent") == 0, "states in words");
    json_decref(j);

    b = mdvr_buf(out, sizeof(out));
    mdvr_json_init(&w, &b);
    memset(&loc.status, 0, sizeof(loc.status));
    mdvr_status_json(&w, NULL, &loc.status);
    j = json_loadb(out, b.len, 0, NULL);
    tap_ok(json_is_null(json_object_get(j, "recording"))
           && json_is_null(json_object_get(j, "acc")),
           "unknown is null");
    json_decref(j);
}


int
main(void)
{
    size_t   i;
    json_t  *all, *v;

    arena = tap_arena(8192);
    all = tap_json("t/vectors/location.json");

    json_array_foreach(json_object_get(all, "vectors"), i, v) {
        vector(v);
    }

    json_decref(all);

    edges();
    exact();
    bus_layout();
    json();

    return tap_end();
}
