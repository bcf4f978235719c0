/*
 * Which of the forms of an answer a client prefers: Accept of RFC 9110, 12.5.1.
 */

#ifndef MDVR_WEB_ACCEPT_H
#define MDVR_WEB_ACCEPT_H

#include "mdvr/basics/str.h"

/*
 * `header` is the field's value, empty when there was none; `types` has `n`
 * lower-case media types without parameters, the usual one first.  Returns the
 * index of the type with the greatest weight; among equals that of the one that
 * was named more exactly, then the usual one; 0 when none of them was asked
 * for.  Parameters other than "q" are not looked at.
 */
size_t mdvr_accept(mdvr_str_t header, const char *const *types, size_t n);

#endif
