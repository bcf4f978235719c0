#include "mdvr/web/accept.h"


/* a range without its parameters, and its weight in thousandths */

typedef struct {
    mdvr_str_t  name;
    unsigned    weight;
} range_t;


static mdvr_str_t
token(mdvr_str_t *rest, uint8_t end)
{
    ptrdiff_t   at = mdvr_str_chr(*rest, end);
    size_t      len = at < 0 ? rest->len : (size_t) at;
    mdvr_str_t  t = mdvr_str_trim(mdvr_str(rest->p, len));

    len += at < 0 ? 0 : 1;
    *rest = mdvr_str(rest->p + len, rest->len - len);

    return t;
}


static range_t
range_read(mdvr_str_t text)
{
    double      q;
    range_t     r = { token(&text, ';'), 1000 };
    mdvr_str_t  param;

    while (text.len) {
        param = token(&text, ';');

        if (param.len > 2 && (param.p[0] | 0x20) == 'q' && param.p[1] == '=') {
            r.weight = mdvr_str_dec(mdvr_str(param.p + 2, param.len - 2), &q)
                       && q >= 0 && q <= 1
                       ? (unsigned) (q * 1000 + 0.5) : 0;
        }
    }

    return r;
}


static bool
same(mdvr_str_t a, const char *b, size_t len)
{
    uint8_t  c;

    if (a.len != len) {
        return false;
    }

    for (size_t i = 0; i < len; i++) {
        c = a.p[i] >= 'A' && a.p[i] <= 'Z' ? a.p[i] | 0x20 : a.p[i];

        if (c != (uint8_t) b[i]) {
            return false;
        }
    }

    return true;
}


/* 3: the type itself, 2: all of its kind, 1: anything, 0: does not fit */

static unsigned
range_fits(mdvr_str_t range, const char *type)
{
    mdvr_str_t  t = mdvr_cstr(type);
    size_t      kind = (size_t) mdvr_str_chr(t, '/') + 1;

    if (same(range, type, t.len)) {
        return 3;
    }

    if (range.len == kind + 1 && range.p[kind] == '*'
        && same(mdvr_str(range.p, kind), type, kind))
    {
        return 2;
    }

    return same(range, "*/*", 3) ? 1 : 0;
}


size_t
mdvr_accept(mdvr_str_t header, const char *const *types, size_t n)
{
    size_t      best = 0;
    unsigned    fit, exact, weight, rank, most = 0;
    range_t     r;
    mdvr_str_t  rest;

    for (size_t i = 0; i < n; i++) {
        exact = weight = 0;

        for (rest = header; rest.len; ) {
            r = range_read(token(&rest, ','));
            fit = range_fits(r.name, types[i]);

            if (fit > exact) {
                exact = fit;
                weight = r.weight;
            }
        }

        rank = weight ? weight * 4 + exact : 0;

        if (rank > most) {
            most = rank;
            best = i;
        }
    }

    return best;
}
