/* Stamps of the wire.  Proleptic Gregorian arithmetic, no C library time. */

#include "mdvr/dc/time.h"


int64_t
mdvr_time_unix(int year, int month, int day, int hour, int minute, int second)
{
    int64_t  y, era, yoe, doy, doe;

    y = year - (month <= 2);
    era = (y >= 0 ? y : y - 399) / 400;
    yoe = y - era * 400;
    doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

    return (era * 146097 + doe - 719468) * 86400
           + hour * 3600LL + minute * 60LL + second;
}


void
mdvr_time_civil(int64_t unix_s, int out[6])
{
    int64_t  days, rest, era, doe, yoe, doy, mp;

    days = unix_s / 86400;
    rest = unix_s % 86400;

    if (rest < 0) {
        rest += 86400;
        days--;
    }

    days += 719468;
    era = (days >= 0 ? days : days - 146096) / 146097;
    doe = days - era * 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;

    out[2] = (int) (doy - (153 * mp + 2) / 5 + 1);
    out[1] = (int) (mp < 10 ? mp + 3 : mp - 9);
    out[0] = (int) (yoe + era * 400 + (out[1] <= 2));
    out[3] = (int) (rest / 3600);
    out[4] = (int) (rest / 60 % 60);
    out[5] = (int) (rest % 60);
}


static bool
mdvr_time_fields(const int f[6], int offset_minutes, int64_t *unix_s)
{
    int  days;

    static const uint8_t  month_days[] = {
        31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31
    };

    if (f[1] < 1 || f[1] > 12) {
        return false;
    }

    days = month_days[f[1] - 1];

    if (f[1] == 2 && (f[0] % 4 != 0 || (f[0] % 100 == 0 && f[0] % 400))) {
        days = 28;
    }

    if (f[2] < 1 || f[2] > days || f[3] > 23 || f[4] > 59 || f[5] > 59) {
        return false;
    }

    *unix_s = mdvr_time_unix(f[0], f[1], f[2], f[3], f[4], f[5])
              - offset_minutes * 60LL;
    return true;
}


/* reads `n` pairs of digits */
static bool
mdvr_time_pairs(const uint8_t *p, unsigned n, int *out)
{
    unsigned  i, a, b;

    for (i = 0; i < n; i++) {
        a = p[2 * i] - '0';
        b = p[2 * i + 1] - '0';

        if (a > 9 || b > 9) {
            return false;
        }

        out[i] = (int) (a * 10 + b);
    }

    return true;
}


bool
mdvr_time_parse(mdvr_str_t s, int offset_minutes, int64_t *unix_s)
{
    int  f[6];

    if (s.len != 13 || s.p[6] != ' ' || !mdvr_time_pairs(s.p, 3, f)
        || !mdvr_time_pairs(s.p + 7, 3, f + 3))
    {
        return false;
    }

    f[0] += 2000;

    return mdvr_time_fields(f, offset_minutes, unix_s);
}


bool
mdvr_time_parse_file(mdvr_str_t s, int offset_minutes, int64_t *unix_s)
{
    int  f[6], century, year;

    if (s.len == 13) {
        return mdvr_time_parse(s, offset_minutes, unix_s);
    }

    if (s.len != 15 && s.len != 17) {
        return false;
    }

    if (!mdvr_time_pairs(s.p, 1, &century)
        || !mdvr_time_pairs(s.p + 2, 1, &year)
        || !mdvr_time_pairs(s.p + s.len - 6, 3, f + 3)
        || s.p[s.len - 7] != ' ')
    {
        return false;
    }

    f[0] = century * 100 + year;

    if (s.len == 15) {

        if (!mdvr_time_pairs(s.p + 4, 2, f + 1)) {
            return false;
        }

    } else if (s.p[4] != '-' || s.p[7] != '-'
               || !mdvr_time_pairs(s.p + 5, 1, f + 1)
               || !mdvr_time_pairs(s.p + 8, 1, f + 2))
    {
        return false;
    }

    return mdvr_time_fields(f, offset_minutes, unix_s);
}


bool
mdvr_time_parse_bcd6(const uint8_t p[6], int offset_minutes, int64_t *unix_s)
{
    int  f[6];

    f[0] = 2000 + p[0];
    f[1] = p[1];
    f[2] = p[2];
    f[3] = p[3];
    f[4] = p[4];
    f[5] = p[5];

    return mdvr_time_fields(f, offset_minutes, unix_s);
}


bool
mdvr_time_clamp(mdvr_str_t stamp, int offset_minutes, int64_t received_ms,
    int64_t *unix_ms)
{
    int64_t  s;

    if (!mdvr_time_parse(stamp, offset_minutes, &s)
        || s * 1000 > received_ms + MDVR_TIME_FUTURE_MAX_MS)
    {
        *unix_ms = received_ms;
        return false;
    }

    *unix_ms = s * 1000;

    return true;
}


bool
mdvr_time_suggest_offset(mdvr_str_t stamp, int64_t received_ms,
    int *offset_minutes)
{
    int64_t  s, diff, quarters;

    if (!mdvr_time_parse(stamp, 0, &s)) {
        return false;
    }

    diff = s - received_ms / 1000;
    quarters = (diff >= 0 ? diff + 450 : diff - 450) / 900;

    if (quarters < -60 || quarters > 60) {
        return false;
    }

    *offset_minutes = (int) quarters * 15;

    return true;
}


void
mdvr_time_write(mdvr_buf_t *b, int64_t unix_s, int offset_minutes)
{
    int      f[6];
    uint8_t  out[13];

    mdvr_time_civil(unix_s + offset_minutes * 60LL, f);

    out[0] = (uint8_t) ('0' + f[0] / 10 % 10);
    out[1] = (uint8_t) ('0' + f[0] % 10);
    out[2] = (uint8_t) ('0' + f[1] / 10);
    out[3] = (uint8_t) ('0' + f[1] % 10);
    out[4] = (uint8_t) ('0' + f[2] / 10);
    out[5] = (uint8_t) ('0' + f[2] % 10);
    out[6] = ' ';
    out[7] = (uint8_t) ('0' + f[3] / 10);
    out[8] = (uint8_t) ('0' + f[3] % 10);
    out[9] = (uint8_t) ('0' + f[4] / 10);
    out[10] = (uint8_t) ('0' + f[4] % 10);
    out[11] = (uint8_t) ('0' + f[5] / 10);
    out[12] = (uint8_t) ('0' + f[5] % 10);

    mdvr_buf_add(b, out, sizeof(out));
}


void
mdvr_time_write_rfc3339(mdvr_buf_t *b, int64_t unix_ms)
{
    int      f[6];
    int64_t  s, ms;

    s = unix_ms / 1000;
    ms = unix_ms % 1000;

    if (ms < 0) {
        ms += 1000;
        s--;
    }

    mdvr_time_civil(s, f);

    mdvr_buf_u64w(b, (uint64_t) f[0], 4);
    mdvr_buf_chr(b, '-');
    mdvr_buf_u64w(b, (uint64_t) f[1], 2);
    mdvr_buf_chr(b, '-');
    mdvr_buf_u64w(b, (uint64_t) f[2], 2);
    mdvr_buf_chr(b, 'T');
    mdvr_buf_u64w(b, (uint64_t) f[3], 2);
    mdvr_buf_chr(b, ':');
    mdvr_buf_u64w(b, (uint64_t) f[4], 2);
    mdvr_buf_chr(b, ':');
    mdvr_buf_u64w(b, (uint64_t) f[5], 2);
    mdvr_buf_chr(b, '.');
    mdvr_buf_u64w(b, (uint64_t) ms, 3);
    mdvr_buf_chr(b, 'Z');
}
