/*
 * RFC 3339 and unix milliseconds.  Days are counted in the proleptic
 * Gregorian calendar (the era arithmetic of 400 years = 146097 days).
 */

#include "ngx_mdvr_core/ngx_mdvr_time.h"


int64_t
ngx_mdvr_now_ms(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (int64_t) tp->sec * 1000 + tp->msec;
}


static u_char *
ngx_mdvr_digits(u_char *p, ngx_uint_t value, ngx_uint_t width)
{
    ngx_uint_t  i;

    for (i = width; i > 0; i--) {
        p[i - 1] = (u_char) ('0' + value % 10);
        value /= 10;
    }

    return p + width;
}


u_char *
ngx_mdvr_rfc3339(u_char *p, int64_t ms)
{
    int64_t     days;
    ngx_uint_t  rest, era, doe, yoe, doy, mp, y, m, d;

    days = ms / 86400000;
    rest = (ngx_uint_t) (ms % 86400000);

    days += 719468;                             /* since 0000-03-01 */
    era = days / 146097;
    doe = days % 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;

    d = doy - (153 * mp + 2) / 5 + 1;
    m = mp < 10 ? mp + 3 : mp - 9;
    y = yoe + era * 400 + (m <= 2);

    p = ngx_mdvr_digits(p, y, 4);
    *p++ = '-';
    p = ngx_mdvr_digits(p, m, 2);
    *p++ = '-';
    p = ngx_mdvr_digits(p, d, 2);
    *p++ = 'T';
    p = ngx_mdvr_digits(p, rest / 3600000, 2);
    *p++ = ':';
    p = ngx_mdvr_digits(p, rest / 60000 % 60, 2);
    *p++ = ':';
    p = ngx_mdvr_digits(p, rest / 1000 % 60, 2);
    *p++ = '.';
    p = ngx_mdvr_digits(p, rest % 1000, 3);
    *p++ = 'Z';

    return p;
}


ngx_int_t
ngx_mdvr_rfc3339_parse(const ngx_str_t *text, int64_t *ms)
{
    u_char                  *p, *last;
    int64_t                  days, y;
    ngx_int_t                v[6], offset, n;
    ngx_uint_t               i, frac, scale, era, yoe, doy, doe, leap, sign;
    static const u_char      width[6] = { 4, 2, 2, 2, 2, 2 };
    static const char        after[] = "--T::";
    static const ngx_int_t   mdays[12] = { 31, 28, 31, 30, 31, 30,
                                           31, 31, 30, 31, 30, 31 };

    p = text->data;
    last = p + text->len;

    if (text->len < sizeof("2026-01-31T08:15:30Z") - 1 || text->len > 40) {
        return NGX_ERROR;
    }

    for (i = 0; i < 6; i++) {
        v[i] = ngx_atoi(p, width[i]);
        if (v[i] == NGX_ERROR) {
            return NGX_ERROR;
        }

        p += width[i];

        if (i < 5) {
            if (*p != (u_char) after[i]
                && !(i == 2 && (*p == 't' || *p == ' ')))
            {
                return NGX_ERROR;
            }

            p++;
        }
    }

    frac = 0;

    if (p < last && *p == '.') {
        p++;

        if (p == last || *p < '0' || *p > '9') {
            return NGX_ERROR;
        }

        for (scale = 100; p < last && *p >= '0' && *p <= '9'; p++) {
            frac += (*p - '0') * scale;
            scale /= 10;
        }
    }

    if (p == last) {
        return NGX_ERROR;
    }

    offset = 0;

    if (*p == 'Z' || *p == 'z') {
        p++;

    } else if (*p == '+' || *p == '-') {
        sign = (*p == '-');

        if (last - p != 6 || p[3] != ':') {
            return NGX_ERROR;
        }

        offset = ngx_atoi(p + 1, 2);
        n = ngx_atoi(p + 4, 2);

        if (offset == NGX_ERROR || n == NGX_ERROR || offset > 23 || n > 59) {
            return NGX_ERROR;
        }

        offset = offset * 60 + n;

        if (sign) {
            offset = -offset;
        }

        p += 6;
    }

    if (p != last) {
        return NGX_ERROR;
    }

    leap = (v[0] % 4 == 0 && (v[0] % 100 != 0 || v[0] % 400 == 0));

    if (v[0] < 1970 || v[1] < 1 || v[1] > 12 || v[2] < 1
        || v[2] > mdays[v[1] - 1] + (v[1] == 2 && leap)
        || v[3] > 23 || v[4] > 59 || v[5] > 60)
    {
        return NGX_ERROR;
    }

    y = v[0] - (v[1] <= 2);
    era = y / 400;
    yoe = y - era * 400;
    doy = (153 * (v[1] > 2 ? v[1] - 3 : v[1] + 9) + 2) / 5 + v[2] - 1;
    doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    days = (int64_t) era * 146097 + (int64_t) doe - 719468;

    *ms = ((days * 24 + v[3]) * 60 + v[4] - offset) * 60000
          + v[5] * 1000 + (int64_t) frac;

    return NGX_OK;
}
