/*
 * V100 decoded.  Where error code and reason stand depends on the command
 * and, for some, on the number of fields: one table says it.
 */

#include "mdvr/dc/answer.h"
#include "mdvr/dc/text.h"


static const char *const mdvr_errors[] = {
    [2] = "bad parameter",
    [3] = "session already exists",
    [4] = "no resources for another session",
    [5] = "wrong upgrade file type",
    [6] = "upgrade version too old",
    [7] = "upgrade already running",
    [8] = "channel does not exist",
    [9] = "snapshot failed",
    [10] = "disk full",
    [11] = "upgrade version equals the installed one",
    [12] = "file missing or unreadable",
    [13] = "upgrade file checksum wrong",
    [14] = "cannot upgrade from this version",
    [15] = "upgrade failed",
    [16] = "remote configuration failed",
};


const char *
mdvr_error_words(int code)
{
    if (code == 99) {
        return "other error";
    }

    if (code < 0
        || (size_t) code >= sizeof(mdvr_errors) / sizeof(mdvr_errors[0]))
    {
        return NULL;
    }

    return mdvr_errors[code];
}


static mdvr_str_t
mdvr_answer_field(const mdvr_answer_t *a, unsigned i)
{
    return i < a->nfields ? a->field[i] : mdvr_str(NULL, 0);
}


/* field `i` and everything behind it */
static mdvr_str_t
mdvr_answer_rest(const mdvr_answer_t *a, unsigned i)
{
    const uint8_t  *p;

    if (i >= a->nfields) {
        return mdvr_str(NULL, 0);
    }

    p = a->field[i].p;

    return mdvr_str(p, (size_t) (a->content.p + a->content.len - p));
}


static int
mdvr_answer_int(mdvr_str_t s)
{
    int64_t  v;

    return mdvr_str_i64(s, &v) && v >= 0 && v <= INT32_MAX ? (int) v : -1;
}


/* index of the error code; the reason is behind it */
static unsigned
mdvr_answer_error_at(const mdvr_answer_t *a)
{
    unsigned  n = a->nfields;

    switch (a->source) {
    case MDVR_KW_C505:
    case MDVR_KW_C508:
        return n >= 4 ? 2 : 1;
    case MDVR_KW_C512:
        return n >= 14 ? 12 : (n > 3 ? n : 1);
    case MDVR_KW_C588:
        return n >= 23 ? n - 2 : (n > 3 ? n : 1);
    case MDVR_KW_C723:
        return n >= 6 ? n : 1;
    case MDVR_KW_C517:
        return a->success ? n : 1;
    case MDVR_KW_C600:
        return n >= 8 ? 6 : (n > 3 ? n : 1);
    default:
        return 1;
    }
}


static bool
mdvr_answer_good(mdvr_keyword_e source, int status)
{
    switch (source) {
    case MDVR_KW_C152:
    case MDVR_KW_C520:
    case MDVR_KW_C706:
        return status == 1 || status == 3 || status == 4;
    case MDVR_KW_C550:
    case MDVR_KW_C551:
        return status == 1 || status == 2;
    default:
        return status == 1;
    }
}


mdvr_rc_t
mdvr_answer_parse(const mdvr_message_t *m, const mdvr_location_t *loc,
    mdvr_answer_t *a)
{
    size_t    k;
    unsigned  i, error_at;

    memset(a, 0, sizeof(mdvr_answer_t));

    i = loc->next;

    a->number = m->number;
    a->source_text = mdvr_message_token(m, i);
    a->source_time = mdvr_message_token(m, i + 1);
    a->mode = mdvr_answer_int(mdvr_message_token(m, i + 2));
    a->content = mdvr_message_rest(m, i + 3);
    a->status = -1;
    a->mark = -1;

    if (!mdvr_keyword_valid(a->source_text)) {
        return MDVR_E_ABSENT;
    }

    a->source = mdvr_keyword_find(a->source_text);

    if (m->nbody > i + 3) {
        a->field = m->body + i + 3;
        a->nfields = m->nbody - i - 3;
    }

    a->status = mdvr_answer_int(mdvr_answer_field(a, 0));
    a->success = mdvr_answer_good(a->source, a->status);

    if (a->source == MDVR_KW_C152 || a->source == MDVR_KW_C520
        || a->source == MDVR_KW_C706)
    {
        a->progress = a->status == 1 || a->status == 3;
    }

    if ((a->source == MDVR_KW_C505 || a->source == MDVR_KW_C508)
        && a->nfields >= 4)
    {
        a->mark = mdvr_answer_int(a->field[1]);
    }

    error_at = mdvr_answer_error_at(a);

    a->error_text = mdvr_answer_field(a, error_at);
    a->reason = mdvr_answer_rest(a, error_at + 1);

    if (a->error_text.len == 0) {
        return MDVR_OK;
    }

    a->error = a->error_text.len <= 3 ? mdvr_answer_int(a->error_text) : -1;

    for (k = 0; a->error > 0 && k < a->error_text.len; k++) {
        if (a->error_text.p[k] < '0' || a->error_text.p[k] > '9') {
            a->error = -1;
        }
    }

    return MDVR_OK;
}


int
mdvr_answer_match(const mdvr_answer_t *a, mdvr_str_t keyword,
    mdvr_str_t number, mdvr_str_t time)
{
    if (!mdvr_str_eq(a->source_text, keyword)) {
        return 0;
    }

    if (mdvr_str_eq(a->number, number)) {
        return mdvr_str_eq(a->source_time, time) ? 3 : 2;
    }

    return mdvr_str_eq(a->source_time, time) ? 1 : 0;
}


static void
mdvr_answer_json_text(mdvr_json_t *j, const char *key, mdvr_str_t s)
{
    uint8_t     tmp[512];
    mdvr_buf_t  b;

    if (s.len == 0) {
        mdvr_json_null(j, key);
        return;
    }

    b = mdvr_buf(tmp, sizeof(tmp));
    mdvr_text_decode(&b, mdvr_str_unquote(s), sizeof(tmp));
    mdvr_json_str(j, key, mdvr_buf_view(&b));
}


static void
mdvr_answer_json_int(mdvr_json_t *j, const char *key, mdvr_str_t s)
{
    int64_t  v;

    if (mdvr_str_i64(s, &v)) {
        mdvr_json_i64(j, key, v);

    } else {
        mdvr_json_null(j, key);
    }
}


/* an integer mask as a list of 1-based numbers */
static void
mdvr_answer_json_mask(mdvr_json_t *j, const char *key, mdvr_str_t s)
{
    unsigned  n;
    uint64_t  v;

    if (!mdvr_str_u64(s, &v)) {
        mdvr_json_null(j, key);
        return;
    }

    mdvr_json_array(j, key);

    for (n = 1; v; n++, v >>= 1) {
        if (v & 1) {
            mdvr_json_u64(j, NULL, n);
        }
    }

    mdvr_json_array_end(j);
}


/* "16023_8034": total and free in units of 0.01 GB */
static void
mdvr_answer_json_disk(mdvr_json_t *j, mdvr_str_t s)
{
    uint64_t   total, free_part;
    ptrdiff_t  cut;

    cut = mdvr_str_chr(s, '_');

    if (cut < 0 || !mdvr_str_u64(mdvr_str(s.p, (size_t) cut), &total)
        || !mdvr_str_u64(mdvr_str(s.p + cut + 1, s.len - (size_t) cut - 1),
                         &free_part))
    {
        mdvr_json_null(j, "disk_total_gb");
        mdvr_json_null(j, "disk_free_gb");
        return;
    }

    mdvr_json_dec(j, "disk_total_gb", (double) total / 100, 2);
    mdvr_json_dec(j, "disk_free_gb", (double) free_part / 100, 2);
}


void
mdvr_device_info_json(mdvr_json_t *j, const mdvr_str_t *field, unsigned n)
{
    unsigned           i, last;
    mdvr_str_t         s;

    typedef void (*writer_pt)(mdvr_json_t *j, const char *key, mdvr_str_t s);

    static const struct {
        const char  *key;
        writer_pt    write;
    } members[] = {
        { "hardware_serial", mdvr_answer_json_text },
        { "device_type", mdvr_answer_json_text },
        { "device_id", mdvr_answer_json_text },
        { "firmware", mdvr_answer_json_text },
        { "channels", mdvr_answer_json_int },
        { "video_loss", mdvr_answer_json_mask },
        { "recording", mdvr_answer_json_mask },
        { "disks", mdvr_answer_json_int },
        { NULL, NULL },                         /* disk state, two members */
        { "mobile_connected", mdvr_answer_json_int },
        { "mobile_type", mdvr_answer_json_int },
        { "mobile_signal", mdvr_answer_json_int },
        { "mobile_ip", mdvr_answer_json_text },
        { "wifi_connected", mdvr_answer_json_int },
        { "wifi_ssid", mdvr_answer_json_text },
        { "wifi_signal", mdvr_answer_json_int },
        { "wifi_ip", mdvr_answer_json_text },
        { "alarm_outputs", mdvr_answer_json_int },
        { "alarm_inputs", mdvr_answer_json_int },
        { "video_channels", mdvr_answer_json_int },
        { "traffic_3g_kb", mdvr_answer_json_int },
        { "traffic_4g_kb", mdvr_answer_json_int },
        { "disk_serials", mdvr_answer_json_text },
    };

    /* the last two are error code and reason when there are 23 or more */

    last = n >= 23 ? n - 2 : n;

    for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        s = i + 1 < last ? field[i + 1] : mdvr_str(NULL, 0);

        if (members[i].key == NULL) {
            mdvr_answer_json_disk(j, s);

        } else if (i < 20 || i + 1 < last) {
            members[i].write(j, members[i].key, s);
        }
    }
}


static void
mdvr_answer_json_motion(mdvr_json_t *j, const mdvr_answer_t *a)
{
    unsigned  i;

    mdvr_json_array(j, "rows");

    for (i = 1; i <= 9; i++) {
        mdvr_answer_json_int(j, NULL, mdvr_answer_field(a, i));
    }

    mdvr_json_array_end(j);
    mdvr_answer_json_int(j, "enabled", mdvr_answer_field(a, 10));
    mdvr_answer_json_int(j, "sensitivity", mdvr_answer_field(a, 11));
}


static void
mdvr_answer_json_picture(mdvr_json_t *j, const mdvr_answer_t *a)
{
    unsigned  i;

    static const char *const  keys[] = {
        "exposure", "brightness", "contrast", "hue", "saturation"
    };

    for (i = 0; i < 5; i++) {
        mdvr_answer_json_int(j, keys[i], mdvr_answer_field(a, i + 1));
    }
}


/* C517: length, then exactly so many raw bytes */
static void
mdvr_answer_json_params(mdvr_json_t *j, const mdvr_answer_t *a)
{
    uint64_t    len;
    uint8_t     tmp[2048 + 2];
    mdvr_buf_t  b;
    mdvr_str_t  raw;

    raw = mdvr_answer_rest(a, 2);

    if (!mdvr_str_u64(mdvr_answer_field(a, 1), &len) || len > 1024
        || len > raw.len)
    {
        mdvr_json_null(j, "data_hex");
        return;
    }

    raw.len = (size_t) len;
    b = mdvr_buf(tmp, sizeof(tmp));
    mdvr_buf_hexs(&b, raw);
    mdvr_json_str(j, "data_hex", mdvr_buf_view(&b));
}


void
mdvr_answer_json(mdvr_json_t *j, const mdvr_answer_t *a)
{
    mdvr_json_bool(j, "success", a->success);

    if (a->status >= 0) {
        mdvr_json_i64(j, "status", a->status);

    } else {
        mdvr_json_null(j, "status");
    }

    mdvr_answer_json_text(j, "error_code", a->error == 0
                          ? mdvr_str(NULL, 0) : a->error_text);
    mdvr_json_cstr(j, "error", mdvr_error_words(a->error));
    mdvr_answer_json_text(j, "reason", a->reason);

    switch (a->source) {

    case MDVR_KW_C588:
        if (a->nfields >= 21) {
            mdvr_device_info_json(j, a->field, a->nfields);
        }

        break;

    case MDVR_KW_C512:
        if (a->nfields >= 12) {
            mdvr_answer_json_motion(j, a);
        }

        break;

    case MDVR_KW_C723:
        if (a->nfields >= 6) {
            mdvr_answer_json_picture(j, a);
        }

        break;

    case MDVR_KW_C517:
        if (a->success) {
            mdvr_answer_json_params(j, a);
        }

        break;

    case MDVR_KW_C600:
        if (a->nfields >= 6) {
            mdvr_answer_json_int(j, "kind", a->field[1]);
            mdvr_answer_json_text(j, "data_hex", a->field[5]);
        }

        break;

    default:
        break;
    }
}
