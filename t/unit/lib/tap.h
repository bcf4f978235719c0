/*
 * TAP for the C tests, input that faults when read past its end, and the
 * vectors of t/vectors/.
 */

#ifndef MDVR_T_UNIT_LIB_TAP_H
#define MDVR_T_UNIT_LIB_TAP_H

#include <jansson.h>

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

void tap_ok(bool good, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* compare, and show both sides when they differ */
void tap_is(mdvr_str_t got, const char *want, const char *what);
void tap_int(long long got, long long want, const char *what);
void tap_near(double got, double want, const char *what);
void tap_rc(mdvr_rc_t got, mdvr_rc_t want, const char *what);

/* prints the plan; the exit status of main() */
int tap_end(void);

/*
 * Places input so that the byte behind it is in a page nobody may read.
 * Each arena holds one input at a time.
 */
typedef struct {
    uint8_t  *map;
    size_t    size;
    uint8_t  *end;
} tap_arena_t;

tap_arena_t tap_arena(size_t max);
const uint8_t *tap_place(tap_arena_t *a, const void *p, size_t len);

/* a file below t/, whole; ends the test when it is not there */
mdvr_str_t tap_file(const char *path);
json_t *tap_json(const char *path);

/* Next line of *text, without its end; false when none is left. */
bool tap_line(mdvr_str_t *text, mdvr_str_t *line);

/* Field `n` of a line with tabs. */
mdvr_str_t tap_field(mdvr_str_t line, unsigned n);

/* Hexadecimal digits to bytes of the heap. */
mdvr_str_t tap_unhex(mdvr_str_t hex);

/* The message of a tag of vectors/signaling.txt. */
mdvr_str_t tap_message(const char *tag);

/* The bytes of a name of vectors/media.hex. */
mdvr_str_t tap_media(const char *name);

#endif /* MDVR_T_UNIT_LIB_TAP_H */
