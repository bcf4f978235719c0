/*
 * JSON members at the top level: strings are skipped with their escapes,
 * nested values by counting brackets outside strings.
 */

#include "mdvr/web/peek.h"

static const uint8_t *
space(const uint8_t *p, const uint8_t *last)
{
    while (p < last && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) {
        p++;
    }

    return p;
}

/* `p` is behind the opening quote; returns the closing one, or NULL */

static const uint8_t *
string_end(const uint8_t *p, const uint8_t *last)
{
    for (; p < last; p++) {
        if (*p == '"') {
            return p;
        }

        if (*p == '\\') {
            p++;
        }
    }

    return NULL;
}

/* Returns the end of the value at `p`, or NULL. */

static const uint8_t *
value_end(const uint8_t *p, const uint8_t *last)
{
    unsigned  depth = 0;

    for (; p < last; p++) {

        switch (*p) {

        case '"':
            p = string_end(p + 1, last);
            if (p == NULL) {
                return NULL;
            }

            if (depth == 0) {
                return p + 1;
            }

            break;

        case '{':
        case '[':
            depth++;
            break;

        case '}':
        case ']':
            if (depth == 0) {
                return p;
            }

            if (--depth == 0) {
                return p + 1;
            }

            break;

        case ',':
        case ' ':
        case '\t':
        case '\r':
        case '\n':
            if (depth == 0) {
                return p;
            }

            break;
        }
    }

    return NULL;
}

bool
mdvr_peek(mdvr_str_t doc, const char *const *names, size_t n,
    mdvr_str_t *values)
{
    size_t          i, left;
    mdvr_str_t      name;
    const uint8_t  *p, *end, *last;

    for (i = 0; i < n; i++) {
        values[i] = mdvr_str(NULL, 0);
    }

    if (doc.len == 0) {
        return false;
    }

    last = doc.p + doc.len;
    p = space(doc.p, last);

    if (p == last || *p++ != '{') {
        return false;
    }

    for (left = n; left; ) {

        p = space(p, last);

        if (p < last && *p == '}') {
            return true;
        }

        if (p == last || *p++ != '"') {
            return false;
        }

        end = string_end(p, last);
        if (end == NULL) {
            return false;
        }

        name = mdvr_str(p, (size_t) (end - p));

        p = space(end + 1, last);

        if (p == last || *p++ != ':') {
            return false;
        }

        p = space(p, last);
        end = value_end(p, last);

        if (end == NULL || end == p) {
            return false;
        }

        for (i = 0; i < n; i++) {
            if (values[i].p == NULL && mdvr_str_eqc(name, names[i])) {
                values[i] = *p == '"' ? mdvr_str(p + 1,
                                                 (size_t) (end - p - 2))
                                      : mdvr_str(p, (size_t) (end - p));
                left--;
                break;
            }
        }

        p = space(end, last);

        if (p == last || (*p != ',' && *p != '}')) {
            return false;
        }

        if (*p == ',') {
            p++;
        }
    }

    return true;
}
