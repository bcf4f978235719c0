/*
 * Offers of permessage-deflate.
 */

#include "mdvr/web/ws_offer.h"

/* `word` has small letters, digits, '-' and '_' only */

static bool
is(mdvr_str_t s, const char *word)
{
    size_t   i;
    uint8_t  c;

    if (s.len != strlen(word)) {
        return false;
    }

    for (i = 0; i < s.len; i++) {
        c = s.p[i];

        if (c >= 'A' && c <= 'Z') {
            c |= 0x20;
        }

        if (c != (uint8_t) word[i]) {
            return false;
        }
    }

    return true;
}

static mdvr_str_t
trimmed(mdvr_str_t s)
{
    while (s.len && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.len--;
    }

    while (s.len && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t')) {
        s.len--;
    }

    return s;
}

/* Takes what stands before the next `sep`; false at the end. */

static bool
next(mdvr_str_t *rest, uint8_t sep, mdvr_str_t *out)
{
    size_t  n;

    if (rest->p == NULL) {
        return false;
    }

    for (n = 0; n < rest->len && rest->p[n] != sep; n++) { /* void */ }

    *out = trimmed(mdvr_str(rest->p, n));

    if (n == rest->len) {
        *rest = mdvr_str(NULL, 0);

    } else {
        *rest = mdvr_str(rest->p + n + 1, rest->len - n - 1);
    }

    return true;
}

/* 8..15 without a leading zero, quoted or not; 0: something else */

static unsigned
window_bits(mdvr_str_t v)
{
    if (v.len >= 2 && v.p[0] == '"' && v.p[v.len - 1] == '"') {
        v.p++;
        v.len -= 2;
    }

    if (v.len == 1 && (v.p[0] == '8' || v.p[0] == '9')) {
        return v.p[0] - '0';
    }

    if (v.len == 2 && v.p[0] == '1' && v.p[1] >= '0' && v.p[1] <= '5') {
        return 10 + v.p[1] - '0';
    }

    return 0;
}

static bool
takes(mdvr_str_t offer, unsigned window, unsigned *bits)
{
    bool        valued;
    unsigned    i, seen = 0;
    mdvr_str_t  param, name, value;

    static const char *const  names[] = {
        "server_no_context_takeover", "client_no_context_takeover",
        "client_max_window_bits", "server_max_window_bits"
    };

    *bits = 0;

    if (!next(&offer, ';', &name) || !is(name, "permessage-deflate")) {
        return false;
    }

    while (next(&offer, ';', &param)) {

        (void) next(&param, '=', &name);
        valued = (param.p != NULL);
        value = trimmed(param);

        for (i = 0; i < 4 && !is(name, names[i]); i++) { /* void */ }

        if (i == 4 || (seen & 1u << i) || (i < 2 && valued)
            || (i == 3 && !valued)
            || (i >= 2 && valued && window_bits(value) == 0))
        {
            return false;
        }

        seen |= 1u << i;

        if (i == 3) {
            *bits = window_bits(value);
        }
    }

    return *bits == 0 || *bits >= window;
}

bool
mdvr_ws_offer_deflate(mdvr_str_t header, unsigned window, unsigned *bits)
{
    mdvr_str_t  offer;

    while (next(&header, ',', &offer)) {
        if (takes(offer, window, bits)) {
            return true;
        }
    }

    *bits = 0;

    return false;
}
