/*
 * The location group: positions in exact integer arithmetic (units of 1e-7
 * arc-second), everything else as decimal text.
 */

#include <math.h>

#include "mdvr/dc/location.h"

#define MDVR_LOC_TOKENS   18
#define MDVR_LOC_SEC_MAX  599999999
#define MDVR_LOC_SECOND   10000000ULL       /* units of one arc-second */


/* ^[AV][0-9]*$ */
static bool
mdvr_location_fix(mdvr_str_t s)
{
    size_t  i;

    if (s.len == 0 || (s.p[0] != 'A' && s.p[0] != 'V')) {
        return false;
    }

    for (i = 1; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return false;
        }
    }

    return true;
}


static bool
mdvr_location_hex64(mdvr_str_t s, uint64_t *out)
{
    return s.len == 16 && mdvr_str_hex(s, out);
}


mdvr_rc_t
mdvr_dms_to_deg(unsigned deg, unsigned min, uint64_t sec_e7, bool negative,
    unsigned max_deg, double *out)
{
    int64_t   e7;
    uint64_t  units;

    if (deg > max_deg || min > 59 || sec_e7 > MDVR_LOC_SEC_MAX) {
        return MDVR_E_RANGE;
    }

    units = (deg * 3600ULL + min * 60ULL) * MDVR_LOC_SECOND + sec_e7;

    if (units > max_deg * 3600ULL * MDVR_LOC_SECOND) {
        return MDVR_E_RANGE;
    }

    e7 = (int64_t) ((units + 1800) / 3600);     /* 1e-7 degrees */
    *out = (double) (negative ? -e7 : e7) / 1e7;

    return MDVR_OK;
}


/* one coordinate; *zero: degree, minute and second are all zero */
static bool
mdvr_location_coordinate(const mdvr_str_t *tok, bool minutes,
    unsigned max_deg, double *out, bool *zero)
{
    bool        negative;
    unsigned    i;
    uint64_t    v[3];
    mdvr_str_t  s;

    negative = tok[0].len && tok[0].p[0] == '-';

    for (i = 0; i < 3; i++) {
        s = tok[i];

        if (s.len && (s.p[0] == '-' || s.p[0] == '+')) {
            s.p++;
            s.len--;
        }

        if (!mdvr_str_u64(s, &v[i]) || v[i] > MDVR_LOC_SEC_MAX) {
            return false;
        }
    }

    *zero = v[0] == 0 && v[1] == 0 && v[2] == 0;

    if (minutes) {
        v[2] = v[2] * 60 * (MDVR_LOC_SECOND / 10000);
    }

    if (v[0] > 999 || v[1] > 99) {
        return false;
    }

    return mdvr_dms_to_deg((unsigned) v[0], (unsigned) v[1], v[2], negative,
                           max_deg, out)
           == MDVR_OK;
}


static void
mdvr_location_position(const mdvr_str_t *tok, mdvr_location_t *loc)
{
    bool      minutes, zero_lon, zero_lat;
    double    lon, lat;
    uint64_t  a, b;

    minutes = false;

    if (loc->layout != MDVR_LOC_CURRENT
        && mdvr_str_u64(tok[3], &a) && mdvr_str_u64(tok[6], &b)
        && a < 10000 && b < 10000 && (a || b))
    {
        loc->layout = MDVR_LOC_MINUTES;
        minutes = true;
    }

    if (!mdvr_location_coordinate(tok + 1, minutes, 180, &lon, &zero_lon)
        || !mdvr_location_coordinate(tok + 4, minutes, 90, &lat, &zero_lat)
        || (zero_lon && zero_lat))
    {
        return;
    }

    loc->has_position = true;
    loc->lon_deg = lon;
    loc->lat_deg = lat;
}


static double
mdvr_location_dec(mdvr_str_t s)
{
    double  v;

    return mdvr_str_dec(s, &v) ? v : NAN;
}


/* digits up to the first dot; -1 when empty, negative or no number */
static int64_t
mdvr_location_int(mdvr_str_t s)
{
    int64_t    v;
    ptrdiff_t  dot;

    dot = mdvr_str_chr(s, '.');

    if (dot > 0) {
        s.len = (size_t) dot;
    }

    return mdvr_str_i64(s, &v) && v >= 0 ? v : -1;
}


static double
mdvr_location_course(mdvr_str_t s, mdvr_loc_layout_e layout)
{
    double  v;

    if (!mdvr_str_dec(s, &v) || v < 0) {
        return NAN;
    }

    if (layout == MDVR_LOC_CURRENT || v > 36000) {
        v /= 10000;

    } else if (v > 360) {
        v /= 100;
    }

    if (v >= 360) {
        return v < 720 ? v - 360 : NAN;
    }

    return v;
}


static void
mdvr_location_bus(mdvr_str_t s, mdvr_location_t *loc)
{
    ptrdiff_t   bar;
    unsigned    n;
    double      v;
    mdvr_str_t  field;

    for (n = 0; /* void */; n++) {
        bar = mdvr_str_chr(s, '|');
        field = mdvr_str(s.p, bar < 0 ? s.len : (size_t) bar);

        if (n == 0) {
            loc->rpm = mdvr_location_int(field);

        } else if (n == 1) {
            v = mdvr_location_dec(field);
            loc->obd_speed_kmh = v >= 0 ? v : NAN;
        }

        if (bar < 0) {
            break;
        }

        s.p += bar + 1;
        s.len -= (size_t) bar + 1;
    }

    loc->bus_fields = n + 1;
}


void
mdvr_status_read(mdvr_str_t status, mdvr_str_t mask, mdvr_status_t *st)
{
    uint64_t  known;

    st->present = false;
    st->known = 0;

    if (!mdvr_location_hex64(status, &st->bits)) {
        st->bits = 0;
        return;
    }

    if (!mdvr_location_hex64(mask, &known) || known == 0) {
        known = UINT64_MAX;             /* "mask not supplied" */
    }

    st->present = true;
    st->known = known;
    st->bits &= known;
}


static void
mdvr_location_status(mdvr_str_t status, mdvr_str_t mask, mdvr_location_t *loc)
{
    loc->status_hex = status;
    loc->mask_hex = mask;

    mdvr_status_read(status, mask, &loc->status);
}


static void
mdvr_location_unknown(mdvr_location_t *loc)
{
    memset(loc, 0, sizeof(mdvr_location_t));

    loc->satellites = -1;
    loc->speed_kmh = NAN;
    loc->course_deg = NAN;
    loc->temp_device_c = NAN;
    loc->temp_engine_c = NAN;
    loc->temp_cabin_c = NAN;
    loc->fuel_l = NAN;
    loc->obd_speed_kmh = NAN;
    loc->mileage_m = -1;
    loc->parking_s = -1;
    loc->rpm = -1;
    loc->people = -1;
    loc->stop_flag = -1;
}


mdvr_rc_t
mdvr_location_tokens(const mdvr_str_t *tok, unsigned n, bool v114,
    bool bus_layout, mdvr_location_t *loc)
{
    double      v;
    int64_t     i;
    uint64_t    x;
    mdvr_str_t  s;

    mdvr_location_unknown(loc);

    if (n < MDVR_LOC_TOKENS) {
        return n > 0 && mdvr_location_fix(tok[0]) ? MDVR_E_SYNTAX : MDVR_OK;
    }

    if (!mdvr_location_fix(tok[0])
        && (!mdvr_location_hex64(tok[9], &x)
            || !mdvr_location_hex64(tok[10], &x)))
    {
        return MDVR_OK;                 /* the message's own fields */
    }

    loc->layout = mdvr_str_chr(tok[17], '|') >= 0 ? MDVR_LOC_CURRENT
                                                  : MDVR_LOC_DOCUMENTED;

    s = tok[0];
    loc->gps_valid = s.len && s.p[0] == 'A';

    if (s.len > 1 && (s.p[0] == 'A' || s.p[0] == 'V')
        && mdvr_str_u64(mdvr_str(s.p + 1, s.len - 1), &x) && x < 10000)
    {
        loc->satellites = (int) x;
    }

    mdvr_location_position(tok, loc);

    v = mdvr_location_dec(tok[7]);
    loc->speed_kmh = v >= 0 && v <= 500 ? v : NAN;
    loc->course_deg = mdvr_location_course(tok[8], loc->layout);

    mdvr_location_status(tok[9], tok[10], loc);

    loc->temp_device_c = mdvr_location_dec(tok[11]);
    loc->temp_engine_c = mdvr_location_dec(tok[12]);
    loc->temp_cabin_c = mdvr_location_dec(tok[13]);

    if (bus_layout && loc->layout != MDVR_LOC_CURRENT) {
        loc->route = tok[14];
        loc->driver = tok[15];
        loc->next_stop = tok[16];

    } else {
        loc->mileage_m = mdvr_location_int(tok[14]);

        v = mdvr_location_dec(tok[15]);

        if (v >= 0 && !(tok[15].p[0] == '-')) {
            loc->fuel_l = mdvr_str_chr(tok[15], '.') >= 0 ? v : v / 100;
        }

        loc->parking_s = mdvr_location_int(tok[16]);
    }

    if (loc->layout == MDVR_LOC_CURRENT) {
        mdvr_location_bus(tok[17], loc);
        loc->ntokens = MDVR_LOC_TOKENS;

        if (v114) {
            loc->next = n > MDVR_LOC_TOKENS ? n - 1 : n;

            if (n == MDVR_LOC_TOKENS + 2) {
                loc->people = mdvr_location_int(tok[18]);
            }

        } else if (n > MDVR_LOC_TOKENS) {
            loc->people = mdvr_location_int(tok[18]);
            loc->next = MDVR_LOC_TOKENS + 1;

        } else {
            loc->next = MDVR_LOC_TOKENS;
        }

        return MDVR_OK;
    }

    i = mdvr_location_int(tok[17]);
    loc->stop_flag = i >= 0 && i <= 1 ? (int) i : -1;

    if (n > MDVR_LOC_TOKENS) {
        loc->people = mdvr_location_int(tok[18]);
        loc->ntokens = MDVR_LOC_TOKENS + 1;

    } else {
        loc->ntokens = MDVR_LOC_TOKENS;
    }

    loc->next = loc->ntokens;

    return MDVR_OK;
}


mdvr_rc_t
mdvr_location_parse(const mdvr_message_t *m, bool bus_layout,
    mdvr_location_t *loc)
{
    return mdvr_location_tokens(m->body, m->nbody, m->kw == MDVR_KW_V114,
                                bus_layout, loc);
}


int
mdvr_location_trigger(const mdvr_message_t *m, const mdvr_location_t *loc)
{
    mdvr_str_t  s;

    s = mdvr_message_token(m, loc->next);

    if (loc->layout == MDVR_LOC_NONE || s.len != 1 || s.p[0] < '0'
        || s.p[0] > '3')
    {
        return -1;
    }

    return s.p[0] - '0';
}


const char *
mdvr_trigger_name(int trigger)
{
    static const char *const  names[] = {
        "realtime", "interval", "request", "video"
    };

    return trigger >= 0 && trigger <= 3 ? names[trigger] : NULL;
}
