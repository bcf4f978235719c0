/* traceparent and spans. */

#include "t/unit/lib/tap.h"
#include "mdvr/domain/trace.h"

#define GOOD  "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


static void
reads(void)
{
    static const struct {
        const char  *text;
        bool         good;
        const char  *what;
    } cases[] = {
        { GOOD, true, "version 00" },
        { "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", true,
          "not sampled" },
        { GOOD "-x", false, "version 00 with more behind it" },
        { "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what",
          true, "a later version with more" },
        { "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
          false, "a later version, wrong separator" },
        { "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false,
          "version ff" },
        { "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false,
          "upper case" },
        { "00-00000000000000000000000000000000-00f067aa0ba902b7-01", false,
          "trace of zeros" },
        { "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false,
          "span of zeros" },
        { "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01", false,
          "wrong separator" },
        { "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0", false,
          "one too short" },
        { "", false, "nothing" },
    };

    uint8_t        text[64];
    mdvr_buf_t     b;
    mdvr_trace_t   t;
    tap_arena_t    a = tap_arena(4096);

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t  n = strlen(cases[i].text);

        tap_ok(mdvr_trace_read(&t, mdvr_str(tap_place(&a, cases[i].text, n),
                                            n))
               == cases[i].good, "traceparent: %s", cases[i].what);
    }

    tap_ok(mdvr_trace_read(&t, MDVR_STR(GOOD)) && t.sampled, "sampled");
    b = mdvr_buf(text, sizeof(text));
    mdvr_trace_write(&b, &t);
    tap_is(mdvr_buf_view(&b), GOOD, "written as it was read");
}


static void
alarms(void)
{
    uint8_t       text[64];
    unsigned      kept = 0;
    mdvr_buf_t    b;
    mdvr_trace_t  t;

    tap_ok(mdvr_trace_alarm(&t,
                            MDVR_STR("01890a5d-ac96-774b-bcce-b302099a8057"),
                            1.0), "an alarm's trace");
    b = mdvr_buf(text, sizeof(text));
    mdvr_trace_write(&b, &t);
    tap_is(mdvr_buf_view(&b),
           "00-01890a5dac96774bbcceb302099a8057-bcceb302099a8057-01",
           "has the alarm's id");
    tap_ok(!mdvr_trace_alarm(&t, MDVR_STR("01890a5d"), 1.0), "no UUID");
    tap_ok(!mdvr_trace_alarm(&t,
                             MDVR_STR("01890a5d-ac96-774b-bcce-b302099a805x"),
                             1.0), "no hexadecimal digit");

    for (unsigned i = 0; i < 1000; i++) {
        uint8_t  id[16] = { 1 };

        id[9] = (uint8_t) (i * 2654435761u >> 24);
        id[10] = (uint8_t) i;
        kept += mdvr_trace_kept(id, 0.25);
        id[9] = 255;

        if (!mdvr_trace_kept(id, 1.0) || mdvr_trace_kept(id, 0.0)) {
            kept = 9999;
        }
    }

    tap_ok(kept > 150 && kept < 350, "a quarter is kept: %u of 1000", kept);
}


static void
spans(void)
{
    char              longer[400];
    uint8_t           text[MDVR_SPAN_MAX];
    json_t           *doc, *attrs;
    mdvr_buf_t        b = mdvr_buf(text, sizeof(text));
    mdvr_span_t       s;
    mdvr_span_attr_t  list[MDVR_SPAN_ATTRS];

    memset(&s, 0, sizeof(s));
    memset(longer, '"', sizeof(longer));
    mdvr_trace_read(&s.self, MDVR_STR(GOOD));

    for (unsigned i = 0; i < MDVR_SPAN_ATTRS; i++) {
        list[i] = (mdvr_span_attr_t) { "some.key", { NULL, 0 }, (int) i - 3 };
    }

    list[0].text = MDVR_STR("say \"so\"");
    list[1].text = mdvr_str(longer, 0);
    list[2].text = mdvr_str(longer, sizeof(longer));

    s.kind = MDVR_SPAN_SERVER;
    s.name = MDVR_STR("GET /devices/{id}");
    s.start_us = 1700000000123456;
    s.end_us = s.start_us - 5;
    s.error = true;
    s.message = MDVR_STR("no");
    s.attrs = list;
    s.nattrs = MDVR_SPAN_ATTRS;
    mdvr_span_write(&b, &s);
    tap_ok(!b.full, "a span of %zu bytes fits", b.len);

    doc = json_loadb((char *) b.p, b.len, 0, NULL);
    tap_ok(doc != NULL, "it is JSON");
    tap_ok(json_object_get(doc, "parentSpanId") == NULL, "a first span");
    tap_is(mdvr_cstr(json_string_value(json_object_get(doc, "spanId"))),
           "00f067aa0ba902b7", "span id in hexadecimal");
    tap_is(mdvr_cstr(json_string_value(json_object_get(doc,
                                                  "startTimeUnixNano"))),
           "1700000000123456000", "nanoseconds as a string");
    tap_is(mdvr_cstr(json_string_value(json_object_get(doc,
                                                       "endTimeUnixNano"))),
           "1700000000123456000", "never ends before it starts");
    attrs = json_object_get(doc, "attributes");
    tap_int(json_array_size(attrs), MDVR_SPAN_ATTRS - 1,
            "empty attributes are left out");
    tap_int(json_integer_value(json_object_get(json_object_get(doc, "status"),
                                               "code")), 2, "an error");
    json_decref(doc);

    s.parent[7] = 7;
    b = mdvr_buf(text, 100);
    mdvr_span_write(&b, &s);
    tap_ok(b.full, "too little room is noticed");
}


int
main(void)
{
    reads();
    alarms();
    spans();

    return tap_end();
}
