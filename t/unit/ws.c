/*
 * WebSocket frames.  Each case is fed whole, cut once at every byte and byte
 * by byte; the events must be the same, pieces of a message joined.
 */

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "mdvr/web/ws.h"


static int  tests, failed;


static void
ok(bool good, const char *fmt, ...)
{
    va_list  args;

    printf("%sok %d - ", good ? "" : "not ", ++tests);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
    failed += !good;
}


/*
 * What the stream says, as text: "T<text>." "B<bytes>." "C<payload>." "I." "O."
 * and at its end "+" (more, please) or the verdict's name.
 */

static void
run(const uint8_t *in, size_t len, size_t a, size_t b, bool server, char *out)
{
    bool             open = false;
    char             *p = out;
    size_t           i, n, used, at, end, cuts[3];
    uint8_t          *copy;
    mdvr_rc_t        rc;
    mdvr_ws_t        ws;
    mdvr_ws_event_t  ev;

    mdvr_ws_init(&ws, server, 1000);

    cuts[0] = a;
    cuts[1] = b;
    cuts[2] = len;
    at = 0;

    for (i = 0; i < 3; i++) {
        end = cuts[i];

        if (end < at) {
            continue;
        }

        n = end - at;
        copy = malloc(n ? n : 1);           /* its end is guarded by ASAN */
        memcpy(copy, in + at, n);

        for (used = 0; ; ) {
            size_t  u;

            rc = mdvr_ws_parse(&ws, copy + used, n - used, &u, &ev);
            used += u;

            if (rc != MDVR_OK) {
                break;
            }

            if (ev.opcode == MDVR_WS_TEXT || ev.opcode == MDVR_WS_BINARY) {
                if (!open) {
                    *p++ = ev.opcode == MDVR_WS_TEXT ? 'T' : 'B';
                    open = true;
                }

            } else {
                *p++ = ev.opcode == MDVR_WS_CLOSE ? 'C'
                       : ev.opcode == MDVR_WS_PING ? 'I' : 'O';
            }

            for (u = 0; u < ev.data.len; u++) {
                if (ev.opcode != MDVR_WS_TEXT && ev.opcode != MDVR_WS_BINARY) {
                    p += sprintf(p, "%02x", ev.data.p[u]);

                } else if (p - out < 10) {
                    *p++ = (char) ev.data.p[u];
                }
            }

            if (ev.last) {
                *p++ = '.';

                if (ev.opcode == MDVR_WS_TEXT || ev.opcode == MDVR_WS_BINARY) {
                    open = false;
                }
            }
        }

        free(copy);

        if (rc != MDVR_AGAIN) {
            strcpy(p, mdvr_rc_name(rc));
            return;
        }

        at = end;
    }

    strcpy(p, "+");
}


static size_t
unhex(const char *s, uint8_t *p)
{
    size_t    n = 0;
    unsigned  v;

    for (; *s; s++) {
        if (*s != ' ') {
            sscanf(s, "%2x", &v);
            p[n++] = (uint8_t) v;
            s++;
        }
    }

    return n;
}


/* frames of a client without masks: "81 05 68..." gets mask bit and key here */

static size_t
masked(const uint8_t *in, size_t len, uint8_t *out)
{
    size_t         i, n, h, o = 0;
    const uint8_t  key[4] = { 0x37, 0xfa, 0x21, 0x3d };

    for (i = 0; i < len; i += h + n) {
        h = 2;

        if (i + 2 > len) {
            memcpy(out + o, in + i, len - i);
            return o + len - i;
        }

        n = in[i + 1] & 0x7f;

        if (n == 126) {
            h = 4;
            n = (size_t) in[i + 2] << 8 | in[i + 3];

        } else if (n == 127) {
            h = 10;
            n = (size_t) in[i + 8] << 8 | in[i + 9];
        }

        memcpy(out + o, in + i, h);
        out[o + 1] |= 0x80;
        o += h;
        memcpy(out + o, key, 4);
        o += 4;

        if (i + h + n > len) {
            n = len - i - h;
        }

        memcpy(out + o, in + i + h, n);
        mdvr_ws_mask(out + o, n, key, 0);
        o += n;
    }

    return o;
}


static void
frame(const char *hex, const char *want, const char *title)
{
    bool     good;
    char     got[4096], first[4096];
    size_t   len, mlen, a;
    uint8_t  in[4096], m[8192];

    len = unhex(hex, in);
    mlen = masked(in, len, m);

    run(in, len, len, len, false, first);
    good = strcmp(first, want) == 0;

    run(m, mlen, mlen, mlen, true, got);
    good = good && strcmp(got, want) == 0;

    for (a = 0; good && a <= mlen; a++) {
        run(m, mlen, a, a, true, got);
        good = strcmp(got, want) == 0;

        if (good && a < mlen) {
            run(m, mlen, a, a + 1, true, got);
            good = strcmp(got, want) == 0;
        }
    }

    ok(good, "%s", title);

    if (!good) {
        printf("# want %s got %s and %s\n", want, first, got);
    }
}


static void
lengths(void)
{
    size_t           n, h, used, total;
    uint8_t          *p, head[MDVR_WS_HEADER_MAX];
    mdvr_rc_t        rc;
    mdvr_ws_t        ws;
    mdvr_ws_event_t  ev;
    const size_t     sizes[] = { 0, 1, 125, 126, 127, 65535, 65536, 70000 };
    const size_t     heads[] = { 2, 2, 2, 4, 4, 4, 10, 10 };

    for (n = 0; n < sizeof(sizes) / sizeof(sizes[0]); n++) {
        p = calloc(1, sizes[n] + MDVR_WS_HEADER_MAX);
        h = mdvr_ws_header(p, MDVR_WS_BINARY, true, sizes[n], NULL);

        mdvr_ws_init(&ws, false, 70000);
        rc = mdvr_ws_parse(&ws, p, h + sizes[n], &used, &ev);

        ok(h == heads[n] && rc == MDVR_OK && ev.last
           && ev.data.len == sizes[n] && used == h + sizes[n],
           "a payload of %zu bytes has a header of %zu", sizes[n], heads[n]);

        free(p);
    }

    h = mdvr_ws_header(head, MDVR_WS_TEXT, true, 70000,
                       (const uint8_t *) "abcd");
    mdvr_ws_init(&ws, true, 69999);
    rc = mdvr_ws_parse(&ws, head, h, &used, &ev);
    ok(rc == MDVR_E_LIMIT, "a message over the limit is refused by its header");

    /* fragments add up */

    mdvr_ws_init(&ws, false, 100);
    p = calloc(1, 200);
    p[0] = 0x02;
    p[1] = 60;
    p[62] = 0x00;
    p[63] = 41;

    for (total = 0, rc = MDVR_OK; rc == MDVR_OK; total += used) {
        rc = mdvr_ws_parse(&ws, p + total, 200 - total, &used, &ev);
    }

    ok(rc == MDVR_E_LIMIT, "fragments count towards the limit");
    free(p);
}


static void
codes(void)
{
    unsigned    i, code;
    uint8_t     p[2];
    bool        good = true, want;
    mdvr_rc_t   rc;
    mdvr_str_t  reason;

    for (i = 0; i < 65536; i++) {
        p[0] = (uint8_t) (i >> 8);
        p[1] = (uint8_t) i;
        rc = mdvr_ws_close_read(mdvr_str(p, 2), &code, &reason);

        want = (i >= 1000 && i <= 1003) || (i >= 1007 && i <= 1014)
               || (i >= 3000 && i <= 4999);
        good = good && (rc == MDVR_OK) == want && (!want || code == i);
    }

    ok(good, "only close codes that may travel are accepted");

    rc = mdvr_ws_close_read(mdvr_str("", 0), &code, &reason);
    ok(rc == MDVR_OK && code == 1005, "an empty close has no status");

    rc = mdvr_ws_close_read(mdvr_str("\x03", 1), &code, &reason);
    ok(rc == MDVR_E_SYNTAX, "half a close code is refused");

    rc = mdvr_ws_close_read(mdvr_str("\x03\xe8" "bye", 5), &code, &reason);
    ok(rc == MDVR_OK && code == 1000 && mdvr_str_eqc(reason, "bye"),
       "a reason is read");

    rc = mdvr_ws_close_read(mdvr_str("\x03\xe8\xff", 3), &code, &reason);
    ok(rc == MDVR_E_INVALID, "a reason that is not UTF-8 is refused");
}


static void
utf8(void)
{
    size_t  i;

    static const struct { const char *s; bool good; } cases[] = {
        { "plain", true }, { "", true },
        { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", true },
        { "\xed\x9f\xbf", true }, { "\xee\x80\x80", true },
        { "\xf4\x8f\xbf\xbf", true }, { "\xef\xbf\xbf", true },
        { "\x80", false }, { "\xbf", false }, { "\xc0\x80", false },
        { "\xc1\xbf", false }, { "\xe0\x80\x80", false },
        { "\xe0\x9f\xbf", false }, { "\xed\xa0\x80", false },
        { "\xed\xbf\xbf", false }, { "\xf0\x80\x80\x80", false },
        { "\xf0\x8f\xbf\xbf", false }, { "\xf4\x90\x80\x80", false },
        { "\xf5\x80\x80\x80", false }, { "\xfe", false }, { "\xff", false },
        { "\xe2\x82", false }, { "\xf0\x9f\x98", false }, { "\xc3", false },
        { "\xc3(", false },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (mdvr_ws_utf8(mdvr_cstr(cases[i].s)) != cases[i].good) {
            break;
        }
    }

    ok(i == sizeof(cases) / sizeof(cases[0]),
       "UTF-8 is what Unicode's table 3-7 says");
}


int
main(void)
{
    frame("81 05 48656c6c6f", "THello.+", "a text message");
    frame("82 03 616263", "Babc.+", "a binary message");
    frame("81 00", "T.+", "an empty text message");
    frame("01 03 48656c 80 02 6c6f", "THello.+", "a message in two fragments");
    frame("01 00 00 00 80 00", "T.+", "a message of empty fragments");
    frame("01 03 48656c 89 01 78 80 02 6c6f", "THelI78.lo.+",
          "a ping between fragments");
    frame("89 00", "I.+", "an empty ping");
    frame("8a 02 6869", "O6869.+", "a pong with a payload");
    frame("88 02 03e8", "C03e8.+", "a close");
    frame("81 7e 007e " "616161616161616161616161616161616161616161616161"
          "61616161616161616161616161616161616161616161616161616161616161"
          "61616161616161616161616161616161616161616161616161616161616161"
          "61616161616161616161616161616161616161616161616161616161616161"
          "616161616161616161",
          "Taaaaaaaaa.+", "a length of two bytes");

    frame("81 05 4865", "THe+", "the rest of a message is missing");
    frame("81", "+", "half a header");

    frame("c1 00", "syntax", "RSV1 is refused");
    frame("a1 00", "syntax", "RSV2 is refused");
    frame("91 00", "syntax", "RSV3 is refused");
    frame("83 00", "syntax", "a reserved data opcode is refused");
    frame("8b 00", "syntax", "a reserved control opcode is refused");
    frame("80 01 61", "syntax", "a continuation of nothing is refused");
    frame("01 01 61 81 01 62", "Tasyntax",
          "a new message within another is refused");
    frame("81 01 61 80 01 62", "Ta.syntax",
          "a continuation after the end is refused");
    frame("09 00", "syntax", "a fragmented ping is refused");
    frame("89 7e 007e", "syntax", "a long ping is refused");
    frame("88 7e 007e", "syntax", "a long close is refused");
    frame("81 7e 007d", "syntax", "a length that is not the shortest form");
    frame("81 7f 000000000000ffff", "syntax",
          "a long length that is not the shortest form");
    frame("81 7f 8000000000000000", "syntax", "a length of 64 bits");
    frame("81 7f 7fffffffffffffff", "limit", "a length nobody has memory for");

    frame("81 02 c3a9", "T\xc3\xa9.+", "two bytes of UTF-8");
    frame("01 01 c3 80 01 a9", "T\xc3\xa9.+", "UTF-8 cut by a fragment");
    frame("81 01 c3", "invalid", "UTF-8 that ends too early");
    frame("01 01 c3 80 00", "T\xc3" "invalid",
          "UTF-8 that ends too early in an empty fragment");
    frame("82 01 c3", "B\xc3.+", "binary may be anything");

    {
        char     got[64];
        uint8_t  plain[] = { 0x81, 0x01, 0x61 };
        uint8_t  mask[] = { 0x81, 0x81, 1, 2, 3, 4, 0x60 };

        run(plain, 3, 3, 3, true, got);
        ok(strcmp(got, "syntax") == 0, "a client that does not mask is refused");

        run(mask, 7, 7, 7, false, got);
        ok(strcmp(got, "syntax") == 0, "a server that masks is refused");
    }

    lengths();
    codes();
    utf8();

    printf("1..%d\n", tests);

    return failed != 0;
}
