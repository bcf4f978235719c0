/*
 * A look at a few top-level members of a JSON object, without building it:
 * what a front needs to route a message that it passes on unchanged.
 */

#ifndef MDVR_WEB_PEEK_H
#define MDVR_WEB_PEEK_H

#include "mdvr/basics/str.h"

/*
 * Finds the members names[0..n) of the object `doc`.  values[i] is a view of
 * the value: the inside of a string as it is written (escapes and all), or the
 * text of anything else; its p is NULL when there is no such member.  The
 * first of two members of one name counts.
 *
 * False when `doc` is not an object, or is broken at or before the last
 * member that was looked for; values beyond are not checked.
 */
bool mdvr_peek(mdvr_str_t doc, const char *const *names, size_t n,
    mdvr_str_t *values);

#endif /* MDVR_WEB_PEEK_H */
