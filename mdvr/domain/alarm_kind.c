/* The alarm catalogue: one row per start keyword. */

#include "mdvr/domain/alarm_kind.h"

#define INFO      MDVR_SEVERITY_INFO
#define WARNING   MDVR_SEVERITY_WARNING
#define CRITICAL  MDVR_SEVERITY_CRITICAL

static const mdvr_alarm_kind_t  mdvr_alarm_kinds[] = {
    /* code    end     kind                severity  sub-key  V299 type */
    { "V201", "V251", "custom",            WARNING,   0,  1 },
    { "V202", "V252", "panic_button",      CRITICAL,  0,  2 },
    { "V203", "V253", "vibration",         WARNING,  -1,  3 },
    { "V204", "V254", "video_loss",        WARNING,   0,  4 },
    { "V205", "V255", "camera_covered",    WARNING,   0,  5 },
    { "V206", "V256", "door_illegal",      WARNING,   1,  6 },
    { "V207", "V257", "password_error",    WARNING,  -1,  7 },
    { "V208", "V258", "ignition_illegal",  CRITICAL, -1,  8 },
    { "V209", "V259", "temperature",       WARNING,   0,  9 },
    { "V210", "V260", "disk_error",        CRITICAL,  0, 10 },
    { "V211", "V261", "overspeed",         WARNING,  -1, 11 },
    { "V212", "V262", "geofence",          WARNING,   1, 12 },
    { "V213", "V263", "door_abnormal",     WARNING,   1, 13 },
    { "V214", NULL,   "ignition_on",       INFO,     -1,  0 },
    { "V215", NULL,   "ignition_off",      INFO,     -1,  0 },
    { "V216", "V266", "parking_long",      INFO,     -1,  0 },
    { "V217", "V267", "motion",            INFO,      0,  0 },
    { "V218", "V268", "gps_failure",       WARNING,  -1,  0 },
    { "V219", "V269", "fatigue",           CRITICAL, -1,  0 },
    { "V220", NULL,   "power_cut",         CRITICAL, -1,  0 },
    { "V221", "V271", "disk_hot",          WARNING,   0,  0 },
    { "V222", NULL,   "panel_open",        WARNING,  -1,  0 },
    { "V231", NULL,   "transparent_data",  INFO,     -1,  0 },
    { "V234", NULL,   "file_fetched",      INFO,     -1,  0 },
    { "V304", NULL,   "fuel_up",           INFO,     -1,  0 },
    { "V305", NULL,   "fuel_down",         WARNING,  -1,  0 },
    { NULL,   NULL,   "unknown",           INFO,     -1,  0 }
};

#define MDVR_ALARM_KINDS                                                  \
    (sizeof(mdvr_alarm_kinds) / sizeof(mdvr_alarm_kinds[0]) - 1)


const mdvr_alarm_kind_t *
mdvr_alarm_catalogue(void)
{
    return mdvr_alarm_kinds;
}


const mdvr_alarm_kind_t *
mdvr_alarm_kind(mdvr_str_t keyword, mdvr_phase_e *phase)
{
    size_t                    i;
    const mdvr_alarm_kind_t  *k;

    if (mdvr_str_eqc(keyword, "V232")) {
        return NULL;
    }

    for (i = 0; i < MDVR_ALARM_KINDS; i++) {
        k = &mdvr_alarm_kinds[i];

        if (mdvr_str_eqc(keyword, k->code)) {

            /* the end of a motion alarm is in no document */

            *phase = k->end == NULL || mdvr_str_eqc(keyword, "V217")
                     ? MDVR_PHASE_EVENT : MDVR_PHASE_START;
            return k;
        }

        if (k->end && mdvr_str_eqc(keyword, k->end)) {
            *phase = MDVR_PHASE_END;
            return k;
        }
    }

    *phase = MDVR_PHASE_EVENT;

    return &mdvr_alarm_kinds[MDVR_ALARM_KINDS];
}


const mdvr_alarm_kind_t *
mdvr_alarm_kind_of_type(int type)
{
    size_t  i;

    for (i = 0; type > 0 && i < MDVR_ALARM_KINDS; i++) {
        if (mdvr_alarm_kinds[i].type == type) {
            return &mdvr_alarm_kinds[i];
        }
    }

    return NULL;
}


const mdvr_alarm_kind_t *
mdvr_alarm_kind_of_name(mdvr_str_t kind)
{
    size_t  i;

    for (i = 0; i < MDVR_ALARM_KINDS; i++) {
        if (mdvr_str_eqc(kind, mdvr_alarm_kinds[i].kind)) {
            return &mdvr_alarm_kinds[i];
        }
    }

    return NULL;
}


mdvr_str_t
mdvr_alarm_sub_key(const mdvr_alarm_kind_t *kind, const mdvr_alarm_t *alarm)
{
    if (kind->sub_field < 0) {
        return mdvr_str("", 0);
    }

    return mdvr_alarm_data(alarm, (unsigned) kind->sub_field);
}


const char *
mdvr_severity_name(mdvr_severity_e severity)
{
    static const char *const  names[] = { "info", "warning", "critical" };

    return names[(unsigned) severity <= MDVR_SEVERITY_CRITICAL ? severity
                                                               : 0];
}
