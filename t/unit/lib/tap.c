/* See tap.h. */

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "t/unit/lib/tap.h"

static int     tap_count, tap_failed;
static void   *tap_held[256];               /* freed by tap_end() */
static size_t  tap_nheld;


static void *
tap_hold(size_t n)
{
    void  *p;

    p = tap_nheld < sizeof(tap_held) / sizeof(tap_held[0]) ? malloc(n) : NULL;

    if (p == NULL) {
        printf("Bail out! no memory\n");
        exit(1);
    }

    tap_held[tap_nheld++] = p;

    return p;
}


void
tap_ok(bool good, const char *fmt, ...)
{
    va_list  args;

    printf("%sok %d - ", good ? "" : "not ", ++tap_count);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");

    tap_failed += !good;
}


void
tap_is(mdvr_str_t got, const char *want, const char *what)
{
    bool  good;

    good = mdvr_str_eqc(got, want);
    tap_ok(good, "%s", what);

    if (!good) {
        printf("#      got: \"%.*s\"\n# expected: \"%s\"\n", (int) got.len,
               (const char *) got.p, want);
    }
}


void
tap_int(long long got, long long want, const char *what)
{
    tap_ok(got == want, "%s", what);

    if (got != want) {
        printf("#      got: %lld\n# expected: %lld\n", got, want);
    }
}


void
tap_near(double got, double want, const char *what)
{
    bool  good;

    good = (isnan(got) && isnan(want)) || fabs(got - want) < 1e-6;
    tap_ok(good, "%s", what);

    if (!good) {
        printf("#      got: %.9g\n# expected: %.9g\n", got, want);
    }
}


void
tap_rc(mdvr_rc_t got, mdvr_rc_t want, const char *what)
{
    tap_ok(got == want, "%s", what);

    if (got != want) {
        printf("#      got: %s\n# expected: %s\n", mdvr_rc_name(got),
               mdvr_rc_name(want));
    }
}


int
tap_end(void)
{
    printf("1..%d\n", tap_count);

    while (tap_nheld) {
        free(tap_held[--tap_nheld]);
    }

    return tap_failed ? 1 : 0;
}


tap_arena_t
tap_arena(size_t max)
{
    size_t       page;
    tap_arena_t  a;

    page = (size_t) sysconf(_SC_PAGESIZE);
    a.size = (max + page - 1) / page * page;
    a.map = mmap(NULL, a.size + page, PROT_READ|PROT_WRITE,
                 MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);

    if (a.map == MAP_FAILED || mprotect(a.map + a.size, page, PROT_NONE)) {
        printf("Bail out! no memory\n");
        exit(1);
    }

    a.end = a.map + a.size;

    return a;
}


const uint8_t *
tap_place(tap_arena_t *a, const void *p, size_t len)
{
    if (len) {
        memmove(a->end - len, p, len);
    }

    return a->end - len;
}


mdvr_str_t
tap_file(const char *path)
{
    long      n;
    FILE     *f;
    uint8_t  *p;

    f = fopen(path, "rb");

    if (f == NULL) {
        printf("Bail out! cannot open %s\n", path);
        exit(1);
    }

    fseek(f, 0, SEEK_END);
    n = ftell(f);
    rewind(f);

    p = tap_hold((size_t) n + 1);

    if (fread(p, 1, (size_t) n, f) != (size_t) n) {
        printf("Bail out! cannot read %s\n", path);
        exit(1);
    }

    fclose(f);

    return mdvr_str(p, (size_t) n);
}


json_t *
tap_json(const char *path)
{
    json_t       *j;
    json_error_t  e;

    j = json_load_file(path, 0, &e);

    if (j == NULL) {
        printf("Bail out! %s:%d: %s\n", path, e.line, e.text);
        exit(1);
    }

    return j;
}


bool
tap_line(mdvr_str_t *text, mdvr_str_t *line)
{
    ptrdiff_t  n;

    if (text->len == 0) {
        return false;
    }

    n = mdvr_str_chr(*text, '\n');
    *line = mdvr_str(text->p, n < 0 ? text->len : (size_t) n);

    text->p += line->len + (n >= 0);
    text->len -= line->len + (n >= 0);

    return true;
}


mdvr_str_t
tap_field(mdvr_str_t line, unsigned n)
{
    ptrdiff_t  tab;

    for ( ;; ) {
        tab = mdvr_str_chr(line, '\t');

        if (n-- == 0) {
            return mdvr_str(line.p, tab < 0 ? line.len : (size_t) tab);
        }

        if (tab < 0) {
            return mdvr_str(line.p, 0);
        }

        line.p += tab + 1;
        line.len -= (size_t) tab + 1;
    }
}


mdvr_str_t
tap_unhex(mdvr_str_t hex)
{
    size_t    i;
    uint8_t  *p;
    uint64_t  v;

    p = tap_hold(hex.len / 2 + 1);

    for (i = 0; i < hex.len / 2; i++) {
        mdvr_str_hex(mdvr_str(hex.p + 2 * i, 2), &v);
        p[i] = (uint8_t) v;
    }

    return mdvr_str(p, hex.len / 2);
}


static mdvr_str_t
tap_lookup(mdvr_str_t text, const char *name)
{
    mdvr_str_t  line;

    while (tap_line(&text, &line)) {
        if (mdvr_str_eqc(tap_field(line, 0), name)) {
            return tap_field(line, 1);
        }
    }

    printf("Bail out! no vector %s\n", name);
    exit(1);
}


mdvr_str_t
tap_message(const char *tag)
{
    static mdvr_str_t  text;

    if (text.p == NULL) {
        text = tap_file("t/vectors/signaling.txt");
    }

    return tap_lookup(text, tag);
}


mdvr_str_t
tap_media(const char *name)
{
    static mdvr_str_t  text;

    if (text.p == NULL) {
        text = tap_file("t/vectors/media.hex");
    }

    return tap_unhex(tap_lookup(text, name));
}
