/*
 * The alarm catalogue: what a V keyword means to a person.
 *
 * An alarm's end is announced by the start keyword + 50, with a UID of its
 * own; start and end are paired by device, kind and sub-key.
 * Source: protocol reference, alarms.md section 3; names: the client
 * contract.
 */

#ifndef MDVR_DOMAIN_ALARM_KIND_H
#define MDVR_DOMAIN_ALARM_KIND_H

#include "mdvr/dc/alarm.h"

typedef enum {
    MDVR_SEVERITY_INFO = 0,
    MDVR_SEVERITY_WARNING,
    MDVR_SEVERITY_CRITICAL
} mdvr_severity_e;

typedef enum {
    MDVR_PHASE_START = 0,       /* opens an alarm that an end closes */
    MDVR_PHASE_END,
    MDVR_PHASE_EVENT            /* no end is defined */
} mdvr_phase_e;

typedef struct {
    const char      *code;      /* start keyword "V211" */
    const char      *end;       /* "V261", NULL: no end */
    const char      *kind;      /* "overspeed" */
    mdvr_severity_e  severity;
    int              sub_field; /* index into the alarm's data, -1: none */
    int              type;      /* V299 number 1..13, 0: none */
} mdvr_alarm_kind_t;

/*
 * The catalogue entry of a start or end keyword and the phase.  Keywords
 * that are not in the catalogue give kind "unknown", no end, MDVR_PHASE_EVENT;
 * V267 is taken as the end of V217.  V232 is not an alarm: NULL.
 */
const mdvr_alarm_kind_t *mdvr_alarm_kind(mdvr_str_t keyword,
    mdvr_phase_e *phase);

/* By V299 number (1..13) or by name; NULL when there is none. */
const mdvr_alarm_kind_t *mdvr_alarm_kind_of_type(int type);
const mdvr_alarm_kind_t *mdvr_alarm_kind_of_name(mdvr_str_t kind);

/* The whole catalogue, ended by an entry whose code is NULL. */
const mdvr_alarm_kind_t *mdvr_alarm_catalogue(void);

/*
 * The sub-key of an alarm message: custom number, button, channel set, door
 * set, disk, ...; empty when the kind has none.  V211 that reports a speed
 * below the lower limit keeps the kind "overspeed".
 */
mdvr_str_t mdvr_alarm_sub_key(const mdvr_alarm_kind_t *kind,
    const mdvr_alarm_t *alarm);

const char *mdvr_severity_name(mdvr_severity_e severity);

#endif /* MDVR_DOMAIN_ALARM_KIND_H */
