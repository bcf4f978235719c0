/*
 * A JSON writer over a bounded buffer: events, jobs, logs.
 *
 * Keeps one bit per nesting level (has this level a member already?), so at
 * most 64 levels.  `key` is NULL inside arrays and for the outermost value.
 * Keys are written as they are (plain names of ours); string values are
 * escaped, and bytes that are not UTF-8 become U+FFFD: the output is always
 * valid JSON in UTF-8, unless the buffer's `full` is set.
 */

#ifndef MDVR_BASICS_JSON_H
#define MDVR_BASICS_JSON_H

#include "mdvr/basics/str.h"

typedef struct {
    mdvr_buf_t  *buf;
    uint64_t     used;          /* bit per level */
    unsigned     level;
} mdvr_json_t;

void mdvr_json_init(mdvr_json_t *j, mdvr_buf_t *buf);

void mdvr_json_object(mdvr_json_t *j, const char *key);
void mdvr_json_object_end(mdvr_json_t *j);
void mdvr_json_array(mdvr_json_t *j, const char *key);
void mdvr_json_array_end(mdvr_json_t *j);

void mdvr_json_str(mdvr_json_t *j, const char *key, mdvr_str_t value);
void mdvr_json_cstr(mdvr_json_t *j, const char *key, const char *value);
                                                /* NULL is written as null */
void mdvr_json_i64(mdvr_json_t *j, const char *key, int64_t value);
void mdvr_json_u64(mdvr_json_t *j, const char *key, uint64_t value);
void mdvr_json_bool(mdvr_json_t *j, const char *key, bool value);
void mdvr_json_null(mdvr_json_t *j, const char *key);

/* Fixed decimals; a value that is not finite is written as null. */
void mdvr_json_dec(mdvr_json_t *j, const char *key, double value,
    unsigned places);

/* `value` is JSON already and is copied as it is. */
void mdvr_json_raw(mdvr_json_t *j, const char *key, mdvr_str_t value);

/* Only the escaping, without the quotes: for documents made by hand. */
void mdvr_json_escape(mdvr_buf_t *b, mdvr_str_t s);

#endif /* MDVR_BASICS_JSON_H */
