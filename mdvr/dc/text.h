/*
 * Text of devices <-> UTF-8: plates, names, reasons, paths.
 *
 * Nobody says which encoding a device uses.  Valid UTF-8 is taken as it is;
 * a NUL in every second position means UTF-16LE; everything else is GB18030,
 * and what is not even that becomes U+FFFD.  Control bytes are dropped.
 * Source: protocol reference, framing.md section 5.
 */

#ifndef MDVR_DC_TEXT_H
#define MDVR_DC_TEXT_H

#include "mdvr/basics/rc.h"
#include "mdvr/basics/str.h"

#define MDVR_TEXT_MAX       128     /* bytes after decoding: plates, names */
#define MDVR_TEXT_PATH_MAX  1024    /* file names */

typedef enum {
    MDVR_TEXT_UTF8 = 0,
    MDVR_TEXT_GB18030,
    MDVR_TEXT_UTF16LE
} mdvr_text_e;

mdvr_text_e mdvr_text_detect(mdvr_str_t in);

/*
 * Appends `in` as UTF-8, cut to `max` bytes on a character's edge.  Always
 * valid UTF-8 without control characters.  Returns the encoding it found.
 */
mdvr_text_e mdvr_text_decode(mdvr_buf_t *out, mdvr_str_t in, size_t max);

/*
 * Appends UTF-8 text in the encoding of the device.  Characters it cannot
 * carry, and broken UTF-8, become '?'.  Commas, '#' and control characters
 * become spaces unless `verbatim` (C151, whose length field protects them).
 */
void mdvr_text_encode(mdvr_buf_t *out, mdvr_str_t utf8, mdvr_text_e encoding,
    bool verbatim);

/* "utf-8", "gb18030", "utf-16le"; unknown names give GB18030 */
const char *mdvr_text_name(mdvr_text_e encoding);
mdvr_text_e mdvr_text_find(mdvr_str_t name);

/* Strict UTF-8: no overlong forms, no surrogates, at most U+10FFFF. */
bool mdvr_utf8_valid(mdvr_str_t s);

/* One character from *pos; U+FFFD and one byte for broken input. */
uint32_t mdvr_utf8_next(const uint8_t **pos, const uint8_t *last);

void mdvr_utf8_put(mdvr_buf_t *b, uint32_t c);

#endif /* MDVR_DC_TEXT_H */
