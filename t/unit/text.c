/* Device text, numbers, JSON, stamps: the small things everything rests on. */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "mdvr/basics/json.h"
#include "mdvr/dc/text.h"
#include "mdvr/dc/time.h"
#include "t/unit/lib/tap.h"

static tap_arena_t  arena;


static void
decode(mdvr_str_t in, const char *want, mdvr_text_e kind, const char *what)
{
    char        out[256];
    mdvr_buf_t  b;

    b = mdvr_buf(out, sizeof(out));
    in.p = tap_place(&arena, in.p, in.len);
    tap_int(mdvr_text_decode(&b, in, 128), kind, what);
    tap_is(mdvr_buf_view(&b), want, "  gives the text");
}


static void
encode(const char *in, mdvr_text_e encoding, mdvr_str_t want, const char *what)
{
    char        out[256];
    mdvr_buf_t  b;

    b = mdvr_buf(out, sizeof(out));
    mdvr_text_encode(&b, mdvr_str(tap_place(&arena, in, strlen(in)),
                                  strlen(in)), encoding, false);
    tap_ok(mdvr_str_eq(mdvr_buf_view(&b), want), "%s", what);
}


static void
texts(void)
{
    bool        good;
    char        utf8[8], gb[8], back[8];
    uint32_t    c;
    unsigned    tried;
    mdvr_buf_t  u, g, r;

    decode(MDVR_STR("ZH 4711"), "ZH 4711", MDVR_TEXT_UTF8, "ASCII");
    decode(MDVR_STR("\xd4\xc1" "B88888"), "粤B88888", MDVR_TEXT_GB18030,
           "GB18030");
    decode(MDVR_STR("粤B88888"), "粤B88888", MDVR_TEXT_UTF8, "UTF-8");
    decode(MDVR_STR("Z\0H\0 \0" "4\0"), "ZH 4", MDVR_TEXT_UTF16LE,
           "UTF-16LE");
    decode(MDVR_STR("\x81\x30\x81\x30"), "\xc2\x80" + 2, MDVR_TEXT_GB18030,
           "a four-byte control character is dropped");
    decode(MDVR_STR("\x81\x30\x84\x36"), "¥", MDVR_TEXT_GB18030,
           "four bytes");
    decode(MDVR_STR("\x95\x32\x83\x37" "x"), "\xf0\xa0\x80\x8b" "x",
           MDVR_TEXT_GB18030, "four bytes beyond the first plane");
    decode(MDVR_STR("\xff\x80\x81\x7f"), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
           MDVR_TEXT_GB18030, "junk becomes U+FFFD");
    decode(MDVR_STR("a\xd4"), "a\xef\xbf\xbd", MDVR_TEXT_GB18030,
           "half a character");
    decode(MDVR_STR("\xc0\xaf"), "蜡", MDVR_TEXT_GB18030,
           "overlong UTF-8 is not UTF-8");
    decode(MDVR_STR("a\x01\x7f\nb"), "ab", MDVR_TEXT_UTF8,
           "control bytes are dropped");
    decode(MDVR_STR(""), "", MDVR_TEXT_UTF8, "nothing");

    encode("粤B,8#8", MDVR_TEXT_GB18030, MDVR_STR("\xd4\xc1" "B 8 8"),
           "comma and '#' become spaces");
    encode("粤", MDVR_TEXT_UTF8, MDVR_STR("粤"), "to UTF-8");
    encode("Zü", MDVR_TEXT_GB18030, MDVR_STR("Z\xa8\xb9"), "an umlaut");
    encode("\xf0\xa0\x80\x8b", MDVR_TEXT_GB18030,
           MDVR_STR("\x95\x32\x83\x37"), "beyond the first plane");
    encode("\xff", MDVR_TEXT_UTF8, MDVR_STR("?"), "broken UTF-8");

    /* every character there is, to GB18030 and back */

    good = true;
    tried = 0;

    for (c = 0xa0; c <= 0x10ffff && good; c += c < 0x10000 ? 1 : 97) {

        if (c >= 0xd800 && c <= 0xdfff) {
            continue;
        }

        u = mdvr_buf(utf8, sizeof(utf8));
        g = mdvr_buf(gb, sizeof(gb));
        r = mdvr_buf(back, sizeof(back));
        mdvr_utf8_put(&u, c);
        mdvr_text_encode(&g, mdvr_buf_view(&u), MDVR_TEXT_GB18030, false);

        if (mdvr_text_detect(mdvr_buf_view(&g)) != MDVR_TEXT_GB18030) {
            continue;                       /* looks like UTF-8, too */
        }

        mdvr_text_decode(&r, mdvr_buf_view(&g), 8);
        good = mdvr_str_eq(mdvr_buf_view(&u), mdvr_buf_view(&r));
        tried++;
    }

    tap_ok(good && tried > 50000,
           "%u characters survive the way there and back", tried);

    if (!good) {
        printf("# U+%04X\n", c);
    }

    u = mdvr_buf(utf8, sizeof(utf8));
    mdvr_text_decode(&u, MDVR_STR("äöü"), 5);
    tap_is(mdvr_buf_view(&u), "äö", "cut on the edge of a character");
}


static void
number(const char *s, bool good, double want)
{
    double  d;

    d = NAN;
    tap_ok(mdvr_str_dec(mdvr_str(tap_place(&arena, s, strlen(s)),
                                 strlen(s)), &d) == good, "\"%s\"", s);

    if (good) {
        tap_near(d, want, "  is the number");
    }
}


static void
numbers(void)
{
    char        out[64];
    double      d;
    int64_t     i;
    uint32_t    w;
    uint64_t    u;
    mdvr_buf_t  b;

    number("0.00", true, 0);
    number("63.40", true, 63.4);
    number("-2.5", true, -2.5);
    number("+29", true, 29);
    number("120", true, 120);
    number(".5", true, 0.5);
    number("5.", true, 5);
    number("", false, 0);
    number(".", false, 0);
    number("-", false, 0);
    number("1e5", false, 0);
    number("nan", false, 0);
    number("0x10", false, 0);
    number("1234567890123456", false, 0);
    number("0.1234567890123456789", true, 0.123456789);

    d = 1;
    tap_ok(mdvr_str_dec(MDVR_STR("-0"), &d) && d == 0 && signbit(d),
           "minus zero keeps its sign");

    tap_ok(mdvr_str_u64(MDVR_STR("18446744073709551615"), &u)
           && u == UINT64_MAX, "the largest number");
    tap_ok(!mdvr_str_u64(MDVR_STR("18446744073709551616"), &u),
           "one more is none");
    tap_ok(!mdvr_str_u32(MDVR_STR("4294967296"), &w)
           && mdvr_str_u32(MDVR_STR("4294967295"), &w), "32 bits");
    tap_ok(mdvr_str_i64(MDVR_STR("-12"), &i) && i == -12, "a negative one");
    tap_ok(!mdvr_str_i64(MDVR_STR("-+1"), &i)
           && !mdvr_str_i64(MDVR_STR("1 "), &i), "junk is none");
    tap_ok(mdvr_str_hex(MDVR_STR("00fF"), &u) && u == 255
           && !mdvr_str_hex(MDVR_STR("0g"), &u)
           && !mdvr_str_hex(MDVR_STR(""), &u), "hexadecimal digits");

    b = mdvr_buf(out, sizeof(out));
    mdvr_buf_dec(&b, -12.345, 2);
    mdvr_buf_chr(&b, ' ');
    mdvr_buf_dec(&b, 0.995, 2);
    mdvr_buf_chr(&b, ' ');
    mdvr_buf_dec(&b, NAN, 1);
    mdvr_buf_chr(&b, ' ');
    mdvr_buf_i64(&b, INT64_MIN);
    tap_is(mdvr_buf_view(&b), "-12.35 1.00 0.0 -9223372036854775808",
           "numbers are written");

    b = mdvr_buf(out, 4);
    mdvr_buf_cstr(&b, "abcde");
    tap_ok(b.full && b.len == 0, "what does not fit is not begun");
    mdvr_buf_cstr(&b, "abcd");
    tap_ok(b.full && b.len == 4, "and is not forgotten");
}


static void
json(void)
{
    char         out[512];
    json_t      *j;
    mdvr_buf_t   b;
    mdvr_json_t  w;

    b = mdvr_buf(out, sizeof(out));
    mdvr_json_init(&w, &b);
    mdvr_json_object(&w, NULL);
    mdvr_json_str(&w, "s", MDVR_STR("a\"\\\n\x01\xff\xe7\xb2\xa4/"));
    mdvr_json_array(&w, "a");
    mdvr_json_i64(&w, NULL, -1);
    mdvr_json_dec(&w, NULL, 1.5, 2);
    mdvr_json_dec(&w, NULL, NAN, 2);
    mdvr_json_object(&w, NULL);
    mdvr_json_object_end(&w);
    mdvr_json_array_end(&w);
    mdvr_json_bool(&w, "b", true);
    mdvr_json_cstr(&w, "n", NULL);
    mdvr_json_object_end(&w);

    tap_is(mdvr_buf_view(&b),
           "{\"s\":\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd粤/\","
           "\"a\":[-1,1.50,null,{}],\"b\":true,\"n\":null}", "JSON");
    j = json_loadb(out, b.len, 0, NULL);
    tap_ok(j != NULL, "another reader takes it");
    json_decref(j);
}


static void
stamp(const char *s, bool file, int64_t want, const char *what)
{
    bool        good;
    int64_t     t;
    mdvr_str_t  v;

    v = mdvr_str(tap_place(&arena, s, strlen(s)), strlen(s));
    t = -1;
    good = file ? mdvr_time_parse_file(v, 480, &t)
                : mdvr_time_parse(v, 0, &t);
    tap_ok(good == (want >= 0) && (!good || t == want), "%s", what);
}


static void
times(void)
{
    int         offset, f[6];
    bool        good;
    char        out[64];
    int64_t     t, ms;
    mdvr_buf_t  b;

    stamp("180903 110250", false, 1535972570, "a stamp");
    stamp("000101 000000", false, 946684800, "the first");
    stamp("991231 235959", false, 4102444799, "the last");
    stamp("200229 000000", false, 1582934400, "a leap day");
    stamp("190229 000000", false, -1, "no leap day");
    stamp("181303 110250", false, -1, "month 13");
    stamp("180900 110250", false, -1, "day 0");
    stamp("180903 240000", false, -1, "hour 24");
    stamp("180903 116000", false, -1, "minute 60");
    stamp("180903-110250", false, -1, "no space");
    stamp("180903 11025", false, -1, "too short");
    stamp("", false, -1, "nothing");
    stamp("2018-09-04 104337", true, 1536029017, "as captured in V232");
    stamp("20180904 104337", true, 1536029017, "as documented");
    stamp("180904 104337", true, 1536029017, "as everywhere else");
    stamp("2018/09/04 104337", true, -1, "slashes");

    ms = 0;
    tap_ok(mdvr_time_clamp(MDVR_STR("180903 110250"), 480,
                           1535943800000, &ms) && ms == 1535943770000,
           "a device eight hours ahead");
    tap_ok(!mdvr_time_clamp(MDVR_STR("180905 110250"), 0, 1535972570000, &ms)
           && ms == 1535972570000, "a day in the future is replaced");
    tap_ok(!mdvr_time_clamp(MDVR_STR("x"), 0, 5, &ms) && ms == 5,
           "so is junk");
    tap_ok(mdvr_time_suggest_offset(MDVR_STR("180903 110250"), 1535943800000,
                                    &offset) && offset == 480,
           "an offset of eight hours is seen");
    tap_ok(!mdvr_time_suggest_offset(MDVR_STR("100903 110250"), 1535943800000,
                                     &offset), "a wrong year is no offset");

    b = mdvr_buf(out, sizeof(out));
    mdvr_time_write(&b, 1535943770, 480);
    mdvr_buf_chr(&b, ' ');
    mdvr_time_write_rfc3339(&b, 1535943770250);
    tap_is(mdvr_buf_view(&b), "180903 110250 2018-09-03T03:02:50.250Z",
           "stamps are written");

    good = true;

    for (t = -3000000000; t < 5000000000 && good; t += 86399 * 7) {
        mdvr_time_civil(t, f);
        good = mdvr_time_unix(f[0], f[1], f[2], f[3], f[4], f[5]) == t;
    }

    tap_ok(good, "two and a half centuries there and back");
}


int
main(void)
{
    arena = tap_arena(4096);

    texts();
    numbers();
    json();
    times();

    return tap_end();
}
