/*
 * V100: what a device answers to a command, decoded per command.
 *
 *   location group, source keyword, source time, answer mode, content...
 *
 * The server decides success by the first content field only.  The content
 * in general is success, error code, reason; C505 and C508 echo their mark
 * between success and error code (captured); some have forms of their own.
 * Source: protocol reference, signaling.md sections 1 and 9.
 */

#ifndef MDVR_DC_ANSWER_H
#define MDVR_DC_ANSWER_H

#include "mdvr/dc/location.h"

typedef struct {
    mdvr_keyword_e  source;         /* MDVR_KW_UNKNOWN for others */
    mdvr_str_t      source_text;    /* "C508" */
    mdvr_str_t      source_time;
    mdvr_str_t      number;         /* h1 = number of the command */
    int             mode;           /* 0 automatic, 1 by a person, -1 */
    mdvr_str_t      content;        /* everything behind the mode */

    int             status;         /* first content field, -1 not a number */
    bool            success;        /* status says so for this command */
    bool            progress;       /* more answers follow (C152, ...) */
    int             mark;           /* C505, C508: echoed mark, -1 */
    int             error;          /* decimal code, 0 none, -1 textual */
    mdvr_str_t      error_text;     /* the field: "8", "FFFFFF0A" */
    mdvr_str_t      reason;         /* free text, may contain commas */

    const mdvr_str_t  *field;       /* content fields */
    unsigned        nfields;
} mdvr_answer_t;

/* MDVR_E_ABSENT: no source keyword. */
mdvr_rc_t mdvr_answer_parse(const mdvr_message_t *m,
    const mdvr_location_t *loc, mdvr_answer_t *a);

/* The words of signaling.md section 9; NULL for codes not in the table. */
const char *mdvr_error_words(int code);

/*
 * Does this answer belong to that command?  3 keyword, number and time agree,
 * 2 keyword and number, 1 keyword and time, 0 no.  The newest command with
 * the highest rank is meant.
 */
int mdvr_answer_match(const mdvr_answer_t *a, mdvr_str_t keyword,
    mdvr_str_t number, mdvr_str_t time);

/*
 * The answer as members inside an object the caller opened: "success",
 * "status", "error_code", "error", "reason" and, where the command asks for
 * data, its fields by name (C588 device information, C512 motion settings,
 * C723 picture settings, C517 and C600 data as hexadecimal digits).
 */
void mdvr_answer_json(mdvr_json_t *j, const mdvr_answer_t *a);

/*
 * V142 carries the fields of a C588 answer unsolicited; `i` is the first body
 * index behind the location group (0 without one).
 */
void mdvr_device_info_json(mdvr_json_t *j, const mdvr_str_t *field,
    unsigned n);

#endif /* MDVR_DC_ANSWER_H */
