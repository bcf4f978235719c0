/*
 * Borrowed views of bytes, number readers, and the bounded append writer.
 *
 * A view never owns and is never terminated.  Readers accept exactly the
 * whole view: "12x" is not a number.  The writer never writes past its end;
 * the first byte that does not fit sets `full`, which stays set, so that a
 * caller checks once, at the end.
 */

#ifndef MDVR_BASICS_STR_H
#define MDVR_BASICS_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t  *p;
    size_t          len;
} mdvr_str_t;

/* for literals only */
#define MDVR_STR(lit)                                                     \
    ((mdvr_str_t) { (const uint8_t *) (lit), sizeof(lit) - 1 })

static inline mdvr_str_t
mdvr_str(const void *p, size_t len)
{
    return (mdvr_str_t) { (const uint8_t *) p, len };
}

/* `s` may be NULL, which gives an empty view */
static inline mdvr_str_t
mdvr_cstr(const char *s)
{
    return (mdvr_str_t) { (const uint8_t *) s, s ? strlen(s) : 0 };
}

static inline bool
mdvr_str_eq(mdvr_str_t a, mdvr_str_t b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

bool mdvr_str_eqc(mdvr_str_t a, const char *b);

/* offset of the first (last) `c`, or -1 */
ptrdiff_t mdvr_str_chr(mdvr_str_t s, uint8_t c);
ptrdiff_t mdvr_str_rchr(mdvr_str_t s, uint8_t c);

/* without leading and trailing spaces */
mdvr_str_t mdvr_str_trim(mdvr_str_t s);

/* without one pair of surrounding quotation marks */
mdvr_str_t mdvr_str_unquote(mdvr_str_t s);

/* Copies at most size - 1 bytes and terminates; returns `dst`. size > 0. */
char *mdvr_str_copy(char *dst, size_t size, mdvr_str_t s);

/*
 * Decimal integers.  A leading '+' (2017 firmware) or '-' is accepted by the
 * signed reader, '+' by the unsigned one.  False, `*out` untouched: empty,
 * other bytes, or out of range of the type.
 */
bool mdvr_str_u64(mdvr_str_t s, uint64_t *out);
bool mdvr_str_i64(mdvr_str_t s, int64_t *out);
bool mdvr_str_u32(mdvr_str_t s, uint32_t *out);

/* 1..16 hexadecimal digits, either case. */
bool mdvr_str_hex(mdvr_str_t s, uint64_t *out);

/*
 * Decimal fraction "[+-]digits[.digits]" of at most 15 integer digits; digits
 * behind the 9th decimal are ignored.  Gives NaN-free doubles.
 */
bool mdvr_str_dec(mdvr_str_t s, double *out);

typedef struct {
    uint8_t  *p;
    size_t    len;              /* bytes written */
    size_t    cap;
    bool      full;             /* something did not fit; sticky */
} mdvr_buf_t;

static inline mdvr_buf_t
mdvr_buf(void *p, size_t cap)
{
    return (mdvr_buf_t) { (uint8_t *) p, 0, cap, false };
}

static inline mdvr_str_t
mdvr_buf_view(const mdvr_buf_t *b)
{
    return (mdvr_str_t) { b->p, b->len };
}

/* All or nothing: a piece that does not fit is not written in part. */
void mdvr_buf_add(mdvr_buf_t *b, const void *p, size_t len);
void mdvr_buf_str(mdvr_buf_t *b, mdvr_str_t s);
void mdvr_buf_cstr(mdvr_buf_t *b, const char *s);
void mdvr_buf_chr(mdvr_buf_t *b, uint8_t c);
void mdvr_buf_zero(mdvr_buf_t *b, size_t len);
void mdvr_buf_u64(mdvr_buf_t *b, uint64_t v);
void mdvr_buf_i64(mdvr_buf_t *b, int64_t v);

/* zero padded to `width` digits; a longer number is written whole */
void mdvr_buf_u64w(mdvr_buf_t *b, uint64_t v, unsigned width);

/* `digits` hexadecimal digits (1..16) of `v` */
void mdvr_buf_hex(mdvr_buf_t *b, uint64_t v, unsigned digits, bool upper);

/* each byte as two lower-case hexadecimal digits */
void mdvr_buf_hexs(mdvr_buf_t *b, mdvr_str_t s);

/* `v` with exactly `places` decimals (0..9), rounded half away from zero;
 * not finite or beyond +-9e9: "0" */
void mdvr_buf_dec(mdvr_buf_t *b, double v, unsigned places);

/* printf into the buffer, at most 512 bytes at a time */
void mdvr_buf_fmt(mdvr_buf_t *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#endif /* MDVR_BASICS_STR_H */
