/*
 * Views, number readers, the bounded writer.  Number readers take the whole
 * view or nothing; the writer drops what does not fit and remembers that.
 */

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "mdvr/basics/str.h"


bool
mdvr_str_eqc(mdvr_str_t a, const char *b)
{
    return mdvr_str_eq(a, mdvr_cstr(b));
}


ptrdiff_t
mdvr_str_chr(mdvr_str_t s, uint8_t c)
{
    const uint8_t  *p;

    p = s.len ? memchr(s.p, c, s.len) : NULL;

    return p ? p - s.p : -1;
}


ptrdiff_t
mdvr_str_rchr(mdvr_str_t s, uint8_t c)
{
    size_t  i;

    for (i = s.len; i > 0; i--) {
        if (s.p[i - 1] == c) {
            return (ptrdiff_t) (i - 1);
        }
    }

    return -1;
}


mdvr_str_t
mdvr_str_trim(mdvr_str_t s)
{
    while (s.len && s.p[0] == ' ') {
        s.p++;
        s.len--;
    }

    while (s.len && s.p[s.len - 1] == ' ') {
        s.len--;
    }

    return s;
}


mdvr_str_t
mdvr_str_unquote(mdvr_str_t s)
{
    if (s.len >= 2 && s.p[0] == '"' && s.p[s.len - 1] == '"') {
        s.p++;
        s.len -= 2;
    }

    return s;
}


char *
mdvr_str_copy(char *dst, size_t size, mdvr_str_t s)
{
    size_t  n;

    n = s.len < size - 1 ? s.len : size - 1;

    if (n) {
        memcpy(dst, s.p, n);
    }

    dst[n] = '\0';

    return dst;
}


bool
mdvr_str_u64(mdvr_str_t s, uint64_t *out)
{
    size_t    i;
    unsigned  d;
    uint64_t  v;

    i = (s.len && s.p[0] == '+') ? 1 : 0;

    if (i == s.len) {
        return false;
    }

    for (v = 0; i < s.len; i++) {
        d = s.p[i] - '0';

        if (d > 9 || v > (UINT64_MAX - d) / 10) {
            return false;
        }

        v = v * 10 + d;
    }

    *out = v;

    return true;
}


bool
mdvr_str_u32(mdvr_str_t s, uint32_t *out)
{
    uint64_t  v;

    if (!mdvr_str_u64(s, &v) || v > UINT32_MAX) {
        return false;
    }

    *out = (uint32_t) v;

    return true;
}


bool
mdvr_str_i64(mdvr_str_t s, int64_t *out)
{
    bool      negative;
    uint64_t  v;

    negative = s.len && s.p[0] == '-';

    if (negative) {
        s.p++;
        s.len--;

        if (s.len && s.p[0] == '+') {
            return false;
        }
    }

    if (!mdvr_str_u64(s, &v)) {
        return false;
    }

    if (v > (uint64_t) INT64_MAX) {
        return false;
    }

    *out = negative ? -(int64_t) v : (int64_t) v;

    return true;
}


bool
mdvr_str_hex(mdvr_str_t s, uint64_t *out)
{
    size_t    i;
    unsigned  c, d;
    uint64_t  v;

    if (s.len == 0 || s.len > 16) {
        return false;
    }

    for (i = 0, v = 0; i < s.len; i++) {
        c = s.p[i];
        d = c - '0';

        if (d > 9) {
            d = (c | 0x20) - 'a';

            if (d > 5) {
                return false;
            }

            d += 10;
        }

        v = v << 4 | d;
    }

    *out = v;

    return true;
}


bool
mdvr_str_dec(mdvr_str_t s, double *out)
{
    bool             negative, digits;
    size_t           i, n;
    unsigned         d, places;
    uint64_t         v;

    static const double  scale[] = {
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9
    };

    negative = s.len && s.p[0] == '-';
    i = (s.len && (s.p[0] == '-' || s.p[0] == '+')) ? 1 : 0;

    for (v = 0, n = i, digits = false; i < s.len && s.p[i] != '.'; i++) {
        d = s.p[i] - '0';

        if (d > 9 || i - n >= 15) {
            return false;
        }

        v = v * 10 + d;
        digits = true;
    }

    places = 0;

    if (i < s.len) {

        for (i++; i < s.len; i++) {
            d = s.p[i] - '0';

            if (d > 9) {
                return false;
            }

            digits = true;

            if (places < 9 && v < 100000000000000000ULL) {
                v = v * 10 + d;
                places++;
            }
        }
    }

    if (!digits) {
        return false;
    }

    *out = (negative ? -1.0 : 1.0) * (double) v / scale[places];

    return true;
}


static uint8_t *
mdvr_buf_take(mdvr_buf_t *b, size_t len)
{
    uint8_t  *p;

    if (len > b->cap - b->len) {
        b->full = true;
        return NULL;
    }

    p = b->p + b->len;
    b->len += len;

    return p;
}


void
mdvr_buf_add(mdvr_buf_t *b, const void *p, size_t len)
{
    uint8_t  *dst;

    if (len == 0) {
        return;
    }

    dst = mdvr_buf_take(b, len);

    if (dst) {
        memcpy(dst, p, len);
    }
}


void
mdvr_buf_str(mdvr_buf_t *b, mdvr_str_t s)
{
    mdvr_buf_add(b, s.p, s.len);
}


void
mdvr_buf_cstr(mdvr_buf_t *b, const char *s)
{
    mdvr_buf_add(b, s, strlen(s));
}


void
mdvr_buf_chr(mdvr_buf_t *b, uint8_t c)
{
    mdvr_buf_add(b, &c, 1);
}


void
mdvr_buf_zero(mdvr_buf_t *b, size_t len)
{
    uint8_t  *dst;

    dst = len ? mdvr_buf_take(b, len) : NULL;

    if (dst) {
        memset(dst, 0, len);
    }
}


void
mdvr_buf_u64(mdvr_buf_t *b, uint64_t v)
{
    mdvr_buf_u64w(b, v, 1);
}


void
mdvr_buf_u64w(mdvr_buf_t *b, uint64_t v, unsigned width)
{
    uint8_t  tmp[32], *p;

    p = tmp + sizeof(tmp);

    do {
        *--p = (uint8_t) ('0' + v % 10);
        v /= 10;
    } while (v);

    while ((size_t) (tmp + sizeof(tmp) - p) < width && p > tmp) {
        *--p = '0';
    }

    mdvr_buf_add(b, p, (size_t) (tmp + sizeof(tmp) - p));
}


void
mdvr_buf_i64(mdvr_buf_t *b, int64_t v)
{
    uint8_t   tmp[24], *p;
    uint64_t  u;

    u = v < 0 ? 0 - (uint64_t) v : (uint64_t) v;
    p = tmp + sizeof(tmp);

    do {
        *--p = (uint8_t) ('0' + u % 10);
        u /= 10;
    } while (u);

    if (v < 0) {
        *--p = '-';
    }

    mdvr_buf_add(b, p, (size_t) (tmp + sizeof(tmp) - p));
}


void
mdvr_buf_hex(mdvr_buf_t *b, uint64_t v, unsigned digits, bool upper)
{
    uint8_t      tmp[16];
    unsigned     i;
    const char  *hex;

    hex = upper ? "0123456789ABCDEF" : "0123456789abcdef";

    if (digits > 16) {
        digits = 16;
    }

    for (i = digits; i > 0; i--) {
        tmp[i - 1] = (uint8_t) hex[v & 15];
        v >>= 4;
    }

    mdvr_buf_add(b, tmp, digits);
}


void
mdvr_buf_hexs(mdvr_buf_t *b, mdvr_str_t s)
{
    size_t    i;
    uint8_t  *dst;

    if (s.len > SIZE_MAX / 2) {
        b->full = true;
        return;
    }

    dst = s.len ? mdvr_buf_take(b, s.len * 2) : NULL;

    if (dst == NULL) {
        return;
    }

    for (i = 0; i < s.len; i++) {
        *dst++ = (uint8_t) "0123456789abcdef"[s.p[i] >> 4];
        *dst++ = (uint8_t) "0123456789abcdef"[s.p[i] & 15];
    }
}


void
mdvr_buf_dec(mdvr_buf_t *b, double v, unsigned places)
{
    unsigned  i;
    uint64_t  scaled, scale;
    uint8_t   tmp[32], *p;

    if (!isfinite(v) || v > 9e9 || v < -9e9) {
        v = 0;
    }

    if (places > 9) {
        places = 9;
    }

    for (i = 0, scale = 1; i < places; i++) {
        scale *= 10;
    }

    scaled = (uint64_t) ((v < 0 ? -v : v) * (double) scale + 0.5);
    p = tmp + sizeof(tmp);

    for (i = 0; i < places; i++) {
        *--p = (uint8_t) ('0' + scaled % 10);
        scaled /= 10;
    }

    if (places) {
        *--p = '.';
    }

    do {
        *--p = (uint8_t) ('0' + scaled % 10);
        scaled /= 10;
    } while (scaled);

    if (v < 0) {
        *--p = '-';
    }

    mdvr_buf_add(b, p, (size_t) (tmp + sizeof(tmp) - p));
}


void
mdvr_buf_fmt(mdvr_buf_t *b, const char *fmt, ...)
{
    int      n;
    char     tmp[512];
    va_list  args;

    va_start(args, fmt);
    n = vsnprintf(tmp, sizeof(tmp), fmt, args);
    va_end(args);

    if (n < 0 || (size_t) n >= sizeof(tmp)) {
        b->full = true;
        return;
    }

    mdvr_buf_add(b, tmp, (size_t) n);
}
