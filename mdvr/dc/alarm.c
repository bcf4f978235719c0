/*
 * Alarm bodies.  The six common fields stand behind the location group, or
 * behind empty tokens when the trigger location is missing; what follows is
 * named by a table per keyword.
 */

#include "mdvr/dc/alarm.h"
#include "mdvr/dc/register.h"
#include "mdvr/dc/text.h"
#include "mdvr/dc/time.h"


static int
mdvr_alarm_int(mdvr_str_t s)
{
    int64_t  v;

    return mdvr_str_i64(s, &v) && v >= 0 && v <= INT32_MAX ? (int) v : -1;
}


static mdvr_rc_t
mdvr_alarm_uid(mdvr_str_t uid)
{
    size_t  i;

    if (uid.len == 0) {
        return MDVR_E_ABSENT;
    }

    if (uid.len > MDVR_UID_MAX) {
        return MDVR_E_LIMIT;
    }

    for (i = 0; i < uid.len; i++) {
        if (uid.p[i] < 0x20 || uid.p[i] > 0x7e) {
            return MDVR_E_SYNTAX;
        }
    }

    return MDVR_OK;
}


/* body index of the alarm time */
static unsigned
mdvr_alarm_start(const mdvr_message_t *m, const mdvr_location_t *loc)
{
    int64_t   unused;
    unsigned  i;

    i = loc->next;

    if (mdvr_time_parse(mdvr_message_token(m, i), 0, &unused)) {
        return i;
    }

    /* "empty tokens, then a time": the location is unknown */

    for (i = 0; i < m->nbody && m->body[i].len == 0; i++) { /* void */ }

    if (mdvr_time_parse(mdvr_message_token(m, i), 0, &unused)) {
        return i;
    }

    return loc->next;
}


mdvr_rc_t
mdvr_alarm_parse(const mdvr_message_t *m, const mdvr_location_t *loc,
    mdvr_alarm_t *a)
{
    unsigned  i;

    memset(a, 0, sizeof(mdvr_alarm_t));

    i = mdvr_alarm_start(m, loc);

    a->kw = m->kw;
    a->code = m->keyword;
    a->time = mdvr_message_token(m, i);
    a->uid = mdvr_message_token(m, i + 1);
    a->snapshot = mdvr_alarm_int(mdvr_message_token(m, i + 2));
    a->snapshot_path = mdvr_message_token(m, i + 3);
    a->recording = mdvr_alarm_int(mdvr_message_token(m, i + 4));
    a->recording_path = mdvr_message_token(m, i + 5);
    a->raw = mdvr_message_rest(m, i + 6);

    if (m->nbody > i + 6) {
        a->data = m->body + i + 6;
        a->ndata = m->nbody - i - 6;
    }

    if (a->time.len == 0) {
        return MDVR_E_ABSENT;
    }

    return mdvr_alarm_uid(a->uid);
}


mdvr_str_t
mdvr_alarm_data(const mdvr_alarm_t *a, unsigned i)
{
    return i < a->ndata ? a->data[i] : mdvr_str(NULL, 0);
}


bool
mdvr_channel_set(mdvr_str_t s, uint32_t *out)
{
    uint64_t  v;

    if (s.len > 4 || !mdvr_str_hex(s, &v)) {
        return false;
    }

    *out = (uint32_t) v;

    return true;
}


/* ---- data by name -------------------------------------------------------- */

typedef enum {
    MDVR_FIELD_TEXT,
    MDVR_FIELD_INT,
    MDVR_FIELD_DEC,
    MDVR_FIELD_SET,             /* hexadecimal bit set -> list of numbers */
    MDVR_FIELD_CENTI            /* integer in hundredths */
} mdvr_field_e;

typedef struct {
    const char    *key;
    mdvr_field_e   form;
} mdvr_field_t;

typedef struct {
    mdvr_keyword_e  start;
    mdvr_keyword_e  end;
    mdvr_field_t    field[9];
} mdvr_alarm_form_t;

#define MDVR_TEMPERATURE                                                  \
    { { "sensor", MDVR_FIELD_INT }, { "temperature_c", MDVR_FIELD_DEC },  \
      { "minimum_c", MDVR_FIELD_DEC }, { "maximum_c", MDVR_FIELD_DEC } }
#define MDVR_DOOR                                                         \
    { { "cause", MDVR_FIELD_INT }, { "doors", MDVR_FIELD_SET },           \
      { "duration_s", MDVR_FIELD_INT } }
#define MDVR_CHANNELS   { { "channels", MDVR_FIELD_SET } }
#define MDVR_FUEL                                                         \
    { { "amount_l", MDVR_FIELD_CENTI }, { "before_l", MDVR_FIELD_CENTI } }

static const mdvr_alarm_form_t  mdvr_alarm_forms[] = {
    { MDVR_KW_V201, MDVR_KW_V251,
      { { "number", MDVR_FIELD_INT }, { "source", MDVR_FIELD_TEXT },
        { "name", MDVR_FIELD_TEXT } } },
    { MDVR_KW_V202, MDVR_KW_V252,
      { { "button", MDVR_FIELD_INT }, { "alias", MDVR_FIELD_TEXT } } },
    { MDVR_KW_V204, MDVR_KW_V254, MDVR_CHANNELS },
    { MDVR_KW_V205, MDVR_KW_V255, MDVR_CHANNELS },
    { MDVR_KW_V206, MDVR_KW_V256, MDVR_DOOR },
    { MDVR_KW_V209, MDVR_KW_V259, MDVR_TEMPERATURE },
    { MDVR_KW_V210, MDVR_KW_V260,
      { { "disk", MDVR_FIELD_INT }, { "error_code", MDVR_FIELD_TEXT },
        { "text", MDVR_FIELD_TEXT } } },
    { MDVR_KW_V211, MDVR_KW_V261,
      { { "speed_kmh", MDVR_FIELD_DEC }, { "lower_kmh", MDVR_FIELD_DEC },
        { "upper_kmh", MDVR_FIELD_DEC }, { "duration_s", MDVR_FIELD_INT } } },
    { MDVR_KW_V212, MDVR_KW_V262,
      { { "left", MDVR_FIELD_INT }, { "fence", MDVR_FIELD_INT },
        { "nw_lon", MDVR_FIELD_DEC }, { "nw_lat", MDVR_FIELD_DEC },
        { "se_lon", MDVR_FIELD_DEC }, { "se_lat", MDVR_FIELD_DEC },
        { "entry_enabled", MDVR_FIELD_INT },
        { "exit_enabled", MDVR_FIELD_INT } } },
    { MDVR_KW_V213, MDVR_KW_V263, MDVR_DOOR },
    { MDVR_KW_V216, MDVR_KW_V266,
      { { "parked_s", MDVR_FIELD_INT }, { "limit_s", MDVR_FIELD_INT } } },
    { MDVR_KW_V217, MDVR_KW_V267, MDVR_CHANNELS },
    { MDVR_KW_V219, MDVR_KW_V269, { { "level", MDVR_FIELD_INT } } },
    { MDVR_KW_V221, MDVR_KW_V271,
      { { "disk", MDVR_FIELD_INT }, { "disk_type", MDVR_FIELD_INT },
        { "temperature_c", MDVR_FIELD_CENTI } } },
    { MDVR_KW_V234, MDVR_KW_V234,
      { { "file_id", MDVR_FIELD_TEXT }, { "file_type", MDVR_FIELD_INT },
        { "result", MDVR_FIELD_INT } } },
    { MDVR_KW_V304, MDVR_KW_V304, MDVR_FUEL },
    { MDVR_KW_V305, MDVR_KW_V305, MDVR_FUEL },
};


static void
mdvr_alarm_json_text(mdvr_json_t *j, const char *key, mdvr_str_t s)
{
    uint8_t     tmp[256];
    mdvr_buf_t  b;

    b = mdvr_buf(tmp, sizeof(tmp));
    mdvr_text_decode(&b, mdvr_str_unquote(s), sizeof(tmp));
    mdvr_json_str(j, key, mdvr_buf_view(&b));
}


static void
mdvr_alarm_json_set(mdvr_json_t *j, const char *key, mdvr_str_t s)
{
    unsigned  n;
    uint32_t  set;

    if (!mdvr_channel_set(s, &set)) {
        mdvr_json_null(j, key);
        return;
    }

    mdvr_json_array(j, key);

    for (n = 1; set; n++, set >>= 1) {
        if (set & 1) {
            mdvr_json_u64(j, NULL, n);
        }
    }

    mdvr_json_array_end(j);
}


static void
mdvr_alarm_json_field(mdvr_json_t *j, const mdvr_field_t *f, mdvr_str_t s)
{
    double   d;
    int64_t  v;

    switch (f->form) {

    case MDVR_FIELD_INT:
        if (mdvr_str_i64(s, &v)) {
            mdvr_json_i64(j, f->key, v);
            return;
        }

        break;

    case MDVR_FIELD_DEC:
        if (mdvr_str_dec(s, &d)) {
            mdvr_json_dec(j, f->key, d, 6);
            return;
        }

        break;

    case MDVR_FIELD_CENTI:
        if (mdvr_str_dec(s, &d)) {
            mdvr_json_dec(j, f->key, d / 100, 2);
            return;
        }

        break;

    case MDVR_FIELD_SET:
        mdvr_alarm_json_set(j, f->key, s);
        return;

    case MDVR_FIELD_TEXT:
        mdvr_alarm_json_text(j, f->key, s);
        return;
    }

    mdvr_json_null(j, f->key);
}


/* V231: the data is all that follows, commas included */

static void
mdvr_alarm_json_rest(mdvr_json_t *j, const mdvr_alarm_t *a)
{
    size_t       len;
    uint8_t      tmp[4096];
    mdvr_str_t   last;
    mdvr_buf_t   b;

    static const mdvr_field_t  type = { "type", MDVR_FIELD_INT };
    static const mdvr_field_t  length = { "length", MDVR_FIELD_INT };

    mdvr_alarm_json_field(j, &type, mdvr_alarm_data(a, 0));
    mdvr_alarm_json_field(j, &length, mdvr_alarm_data(a, 1));

    len = 0;

    if (a->ndata > 2) {
        last = a->data[a->ndata - 1];
        len = (size_t) (last.p + last.len - a->data[2].p);
    }

    b = mdvr_buf(tmp, sizeof(tmp));
    mdvr_text_decode(&b, mdvr_str(len ? a->data[2].p : NULL, len),
                     sizeof(tmp));
    mdvr_json_str(j, "data", mdvr_buf_view(&b));
}


void
mdvr_alarm_json(mdvr_json_t *j, const mdvr_alarm_t *a)
{
    size_t                    k;
    unsigned                  i;
    const mdvr_alarm_form_t  *form;

    if (a->kw == MDVR_KW_V231) {
        mdvr_alarm_json_rest(j, a);
        return;
    }

    for (k = 0; k < sizeof(mdvr_alarm_forms) / sizeof(mdvr_alarm_forms[0]);
         k++)
    {
        form = &mdvr_alarm_forms[k];

        if (a->kw != form->start && a->kw != form->end) {
            continue;
        }

        for (i = 0; i < 9 && form->field[i].key; i++) {
            mdvr_alarm_json_field(j, &form->field[i], mdvr_alarm_data(a, i));
        }

        return;
    }

    if (a->ndata == 0) {
        return;
    }

    mdvr_json_array(j, "fields");

    for (i = 0; i < a->ndata && i < 32; i++) {
        mdvr_alarm_json_text(j, NULL, a->data[i]);
    }

    mdvr_json_array_end(j);
}


/* ---- the odd ones --------------------------------------------------------- */

mdvr_rc_t
mdvr_v232_parse(const mdvr_alarm_t *a, mdvr_v232_t *f)
{
    int64_t  v;

    f->media = mdvr_alarm_int(mdvr_alarm_data(a, 0));
    f->path = mdvr_alarm_data(a, 1);
    f->size = mdvr_str_i64(mdvr_alarm_data(a, 2), &v) && v >= 0 ? v : -1;
    f->record_type = mdvr_alarm_int(mdvr_alarm_data(a, 3));
    f->start = mdvr_alarm_data(a, 4);
    f->duration_s = mdvr_str_i64(mdvr_alarm_data(a, 5), &v) && v >= 0 ? v
                                                                      : -1;
    f->channel = mdvr_alarm_int(mdvr_alarm_data(a, 6));

    if (f->path.len == 0) {
        return MDVR_E_ABSENT;
    }

    return f->path.len > MDVR_TEXT_PATH_MAX ? MDVR_E_LIMIT : MDVR_OK;
}


mdvr_rc_t
mdvr_v234_parse(const mdvr_alarm_t *a, mdvr_v234_t *f)
{
    f->file_id = mdvr_alarm_data(a, 0);
    f->file_type = mdvr_alarm_int(mdvr_alarm_data(a, 1));
    f->result = mdvr_alarm_int(mdvr_alarm_data(a, 2));

    return f->file_id.len ? MDVR_OK : MDVR_E_ABSENT;
}


mdvr_rc_t
mdvr_alarm_permit_parse(const mdvr_message_t *m, const mdvr_location_t *loc,
    mdvr_alarm_permit_t *p)
{
    unsigned  i;

    memset(p, 0, sizeof(mdvr_alarm_permit_t));

    i = loc->next;
    p->channel = -1;

    if (m->kw == MDVR_KW_V298) {
        p->time = mdvr_message_token(m, i);
        p->uid = mdvr_message_token(m, i + 1);
        p->channel = mdvr_alarm_int(mdvr_message_token(m, i + 2));
        i += 3;
    }

    p->type = mdvr_alarm_int(mdvr_message_token(m, i));
    p->number = mdvr_message_token(m, i + 1);

    if (p->uid.len > MDVR_UID_MAX) {
        return MDVR_E_LIMIT;
    }

    return p->type < 0 ? MDVR_E_ABSENT : MDVR_OK;
}


mdvr_rc_t
mdvr_v130_parse(const mdvr_message_t *m, const mdvr_location_t *loc,
    mdvr_v130_t *v)
{
    unsigned  i, n;

    i = loc->next;
    n = m->nbody > i ? m->nbody - i : 0;
    v->session_id = mdvr_str(NULL, 0);

    if (n >= 3) {
        v->session_id = m->body[i++];
    }

    v->start = mdvr_alarm_int(mdvr_message_token(m, i));

    if (v->session_id.len > MDVR_SESSION_ID_MAX) {
        return MDVR_E_LIMIT;
    }

    return v->start == 0 || v->start == 1 ? MDVR_OK : MDVR_E_ABSENT;
}


mdvr_rc_t
mdvr_v600_parse(const mdvr_message_t *m, const mdvr_location_t *loc,
    mdvr_v600_t *v)
{
    unsigned  i;

    i = loc->next;

    v->number = mdvr_message_token(m, i);
    v->type = mdvr_message_token(m, i + 1);
    v->hex = mdvr_message_token(m, i + 3);

    return v->number.len ? MDVR_OK : MDVR_E_ABSENT;
}
