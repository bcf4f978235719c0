/* Traces: traceparent and spans. */

#include "mdvr/domain/trace.h"
#include "mdvr/basics/json.h"

#define TRACE_TEXT_MAX     300
#define TRACE_NAME_MAX     100
#define TRACE_MESSAGE_MAX  200


static int
trace_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


static bool
trace_unhex(uint8_t *out, const uint8_t *p, size_t n)
{
    int     hi, lo;
    size_t  i;

    for (i = 0; i < n; i++) {
        hi = trace_digit(p[2 * i]);
        lo = trace_digit(p[2 * i + 1]);

        if (hi < 0 || lo < 0) {
            return false;
        }

        out[i] = (uint8_t) (hi << 4 | lo);
    }

    return true;
}


static void
trace_hex(char *out, const uint8_t *p, size_t n)
{
    static const char  digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }

    out[2 * n] = '\0';
}


static bool
trace_zero(const uint8_t *p, size_t n)
{
    uint8_t  any = 0;

    for (size_t i = 0; i < n; i++) {
        any |= p[i];
    }

    return any == 0;
}


bool
mdvr_trace_none(const mdvr_trace_t *t)
{
    return trace_zero(t->trace, sizeof(t->trace));
}


bool
mdvr_trace_read(mdvr_trace_t *t, mdvr_str_t s)
{
    uint8_t       version, flags;
    mdvr_trace_t  read;

    if (s.len < MDVR_TRACEPARENT_LEN || s.p[2] != '-' || s.p[35] != '-'
        || s.p[52] != '-' || !trace_unhex(&version, s.p, 1)
        || !trace_unhex(read.trace, s.p + 3, 16)
        || !trace_unhex(read.span, s.p + 36, 8)
        || !trace_unhex(&flags, s.p + 53, 1))
    {
        return false;
    }

    if (version == 0xff || trace_zero(read.trace, 16)
        || trace_zero(read.span, 8))
    {
        return false;
    }

    if (s.len > MDVR_TRACEPARENT_LEN
        && (version == 0 || s.p[MDVR_TRACEPARENT_LEN] != '-'))
    {
        return false;
    }

    read.sampled = flags & 1;
    *t = read;

    return true;
}


void
mdvr_trace_write(mdvr_buf_t *b, const mdvr_trace_t *t)
{
    char  hex[33];

    mdvr_buf_cstr(b, "00-");
    trace_hex(hex, t->trace, 16);
    mdvr_buf_cstr(b, hex);
    mdvr_buf_chr(b, '-');
    trace_hex(hex, t->span, 8);
    mdvr_buf_cstr(b, hex);
    mdvr_buf_cstr(b, t->sampled ? "-01" : "-00");
}


/* By the last seven bytes, which are random in a UUIDv7 as well. */

bool
mdvr_trace_kept(const uint8_t trace[16], double ratio)
{
    uint64_t  n = 0;

    for (unsigned i = 9; i < 16; i++) {
        n = n << 8 | trace[i];
    }

    return (double) n < ratio * 72057594037927936.0;        /* 2^56 */
}


bool
mdvr_trace_alarm(mdvr_trace_t *t, mdvr_str_t uuid, double ratio)
{
    size_t   i, n;
    uint8_t  digits[32];

    if (uuid.len != 36) {
        return false;
    }

    for (i = 0, n = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (uuid.p[i] != '-') {
                return false;
            }

        } else {
            digits[n++] = uuid.p[i];
        }
    }

    if (!trace_unhex(t->trace, digits, 16) || trace_zero(t->trace + 8, 8)) {
        return false;
    }

    memcpy(t->span, t->trace + 8, 8);
    t->sampled = mdvr_trace_kept(t->trace, ratio);

    return true;
}


/* Cut between characters of UTF-8. */

static mdvr_str_t
trace_cut(mdvr_str_t s, size_t max)
{
    if (s.len > max) {
        s.len = max;

        while (s.len && (s.p[s.len] & 0xc0) == 0x80) {
            s.len--;
        }
    }

    return s;
}


static void
trace_number(mdvr_json_t *j, const char *key, int64_t value)
{
    uint8_t     text[24];
    mdvr_buf_t  b = mdvr_buf(text, sizeof(text));
    mdvr_json_t digits;

    mdvr_json_init(&digits, &b);
    mdvr_json_i64(&digits, NULL, value);
    mdvr_json_str(j, key, mdvr_buf_view(&b));
}


static void
trace_attr(mdvr_json_t *j, const mdvr_span_attr_t *a)
{
    mdvr_json_object(j, NULL);
    mdvr_json_cstr(j, "key", a->key);
    mdvr_json_object(j, "value");

    if (a->text.p) {
        mdvr_json_str(j, "stringValue", trace_cut(a->text, TRACE_TEXT_MAX));

    } else {
        trace_number(j, "intValue", a->number);
    }

    mdvr_json_object_end(j);
    mdvr_json_object_end(j);
}


void
mdvr_span_write(mdvr_buf_t *b, const mdvr_span_t *s)
{
    char         hex[33];
    mdvr_json_t  j;

    mdvr_json_init(&j, b);
    mdvr_json_object(&j, NULL);

    trace_hex(hex, s->self.trace, 16);
    mdvr_json_cstr(&j, "traceId", hex);
    trace_hex(hex, s->self.span, 8);
    mdvr_json_cstr(&j, "spanId", hex);

    if (!trace_zero(s->parent, 8)) {
        trace_hex(hex, s->parent, 8);
        mdvr_json_cstr(&j, "parentSpanId", hex);
    }

    mdvr_json_str(&j, "name", trace_cut(s->name, TRACE_NAME_MAX));
    mdvr_json_i64(&j, "kind", s->kind);
    trace_number(&j, "startTimeUnixNano", s->start_us * 1000);
    trace_number(&j, "endTimeUnixNano",
                 (s->end_us < s->start_us ? s->start_us : s->end_us) * 1000);

    mdvr_json_array(&j, "attributes");

    for (unsigned i = 0; i < s->nattrs && i < MDVR_SPAN_ATTRS; i++) {
        if (s->attrs[i].key && (s->attrs[i].text.len || !s->attrs[i].text.p)) {
            trace_attr(&j, &s->attrs[i]);
        }
    }

    mdvr_json_array_end(&j);

    mdvr_json_object(&j, "status");

    if (s->error) {
        mdvr_json_i64(&j, "code", 2);

        if (s->message.len) {
            mdvr_json_str(&j, "message",
                          trace_cut(s->message, TRACE_MESSAGE_MAX));
        }
    }

    mdvr_json_object_end(&j);
    mdvr_json_object_end(&j);
}
