
/*
 * Messages that are no alarms and are kept like them, because somebody may want
 * to see them, search for them or be told: a device asks whether it may send
 * alarm video (V298) or hands over data that only its makers understand (V600).
 *
 * What has no UID of its own gets one of what identifies it, so that a message
 * that the device repeats is stored once.  The answer follows the commit, as
 * with alarms.
 * Source: protocol reference, signaling.md 8, alarms.md 8.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "mdvr/basics/json.h"
#include "mdvr/dc/time.h"
#include "mdvr/domain/alarm_kind.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"


typedef struct {
    const ngx_mdvr_device_t      *device;
    const mdvr_location_t        *loc;
    const char                   *phase;        /* start, end, event */
    const char                   *kind;
    const char                   *severity;
    mdvr_str_t                    uid;
    mdvr_str_t                    time;         /* the device's */
    mdvr_str_t                    data;         /* a JSON object */
    mdvr_str_t                    answer;       /* content of the C100 */
} ngx_mdvr_note_t;


static void ngx_mdvr_note_store(ngx_mdvr_link_t *link,
    const mdvr_message_t *m, const ngx_mdvr_note_t *note);
static void ngx_mdvr_note_device(ngx_mdvr_link_t *link,
    ngx_mdvr_device_t *device);
static void ngx_mdvr_note_plain(mdvr_buf_t *b, mdvr_str_t s, size_t max);
static void ngx_mdvr_note_digits(mdvr_buf_t *b, mdvr_str_t s);


ngx_int_t
ngx_mdvr_sig_v298(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const ngx_mdvr_device_t *device)
{
    u_char               json[256];
    mdvr_buf_t           b;
    mdvr_json_t          j;
    mdvr_location_t      loc;
    ngx_mdvr_note_t      note;
    mdvr_alarm_permit_t  p;

    note.answer = link->conf->alarm_video ? MDVR_STR("1") : MDVR_STR("0");

    if (mdvr_location_parse(m, device->bus_layout, &loc) != MDVR_OK
        || mdvr_alarm_permit_parse(m, &loc, &p) != MDVR_OK
        || p.uid.len == 0 || p.uid.len > 64)
    {
        ngx_mdvr_sig_c100(link, m, ngx_mdvr_sig_offset(device), note.answer);
        return NGX_OK;
    }

    b = mdvr_buf(json, sizeof(json));
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);

    if (p.channel >= 0 && p.channel < 99) {
        mdvr_json_i64(&j, "channel", p.channel + 1);
    }

    mdvr_json_i64(&j, "type", p.type);
    mdvr_json_bool(&j, "allowed", link->conf->alarm_video);
    mdvr_json_object_end(&j);

    note.device = device;
    note.loc = &loc;
    note.phase = "event";
    note.kind = "video_offer";
    note.severity = mdvr_severity_name(MDVR_SEVERITY_INFO);
    note.uid = p.uid;
    note.time = p.time.len ? p.time : m->time;
    note.data = mdvr_buf_view(&b);

    ngx_mdvr_note_store(link, m, &note);

    return NGX_OK;
}


/* as V231: an event without severity */

void
ngx_mdvr_sig_v600(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const mdvr_location_t *loc)
{
    u_char              content[32], uid[64];
    mdvr_buf_t          b, u, c;
    mdvr_json_t         j;
    mdvr_v600_t         v;
    ngx_mdvr_note_t     note;
    ngx_mdvr_device_t   device;

    static u_char       json[32768];

    if (mdvr_v600_parse(m, loc, &v) != MDVR_OK
        || v.number.len == 0 || v.number.len > 16)
    {
        ngx_mdvr_refusal("fields");
        return;
    }

    ngx_mdvr_note_device(link, &device);

    u = mdvr_buf(uid, sizeof(uid));
    ngx_mdvr_note_plain(&u, v.number, 16);
    mdvr_buf_chr(&u, '_');
    ngx_mdvr_note_digits(&u, m->time);

    c = mdvr_buf(content, sizeof(content));
    mdvr_buf_cstr(&c, "1,0,");
    mdvr_buf_str(&c, v.number);

    b = mdvr_buf(json, sizeof(json));
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    mdvr_json_str(&j, "number", v.number);
    mdvr_json_str(&j, "type", v.type);
    mdvr_json_str(&j, "hex", v.hex);
    mdvr_json_object_end(&j);

    if (b.full || u.full || c.full) {
        ngx_mdvr_refusal("fields");
        return;
    }

    note.device = &device;
    note.loc = loc;
    note.phase = "event";
    note.kind = "transparent_data";
    note.severity = mdvr_severity_name(MDVR_SEVERITY_INFO);
    note.uid = mdvr_buf_view(&u);
    note.time = m->time;
    note.data = mdvr_buf_view(&b);
    note.answer = mdvr_buf_view(&c);

    ngx_mdvr_note_store(link, m, &note);
}


static void
ngx_mdvr_note_store(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const ngx_mdvr_note_t *note)
{
    u_char      id[NGX_MDVR_UUID_LEN], at[NGX_MDVR_RFC3339_LEN],
                received[NGX_MDVR_RFC3339_LEN];
    int16_t     offset;
    int64_t     ms, now;
    ngx_str_t   params[14];
    mdvr_buf_t  b;
    mdvr_json_t  j;

    static u_char  position[4096];

    offset = ngx_mdvr_sig_offset(note->device);
    now = ngx_mdvr_now_ms();

    (void) mdvr_time_clamp(note->time, offset, now, &ms);

    b = mdvr_buf(position, sizeof(position));
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);

    if (note->loc->layout != MDVR_LOC_NONE) {
        mdvr_location_json(&j, note->loc);
    }

    mdvr_json_object_end(&j);

    if (b.full) {
        ngx_mdvr_refusal("fields");
        return;
    }

#define ngx_mdvr_note_param(i, bytes, n)                                      \
    params[i].data = (u_char *) (bytes);                                      \
    params[i].len = (n)

    ngx_mdvr_note_param(0, id, ngx_mdvr_uuid_print(id,
                                            &note->device->device_id) - id);
    ngx_mdvr_note_param(1, m->keyword.p, m->keyword.len);
    params[2] = params[1];
    ngx_mdvr_note_param(3, note->phase, ngx_strlen(note->phase));
    ngx_mdvr_note_param(4, note->kind, ngx_strlen(note->kind));
    ngx_mdvr_note_param(5, note->severity, ngx_strlen(note->severity));
    ngx_mdvr_note_param(6, "", 0);
    ngx_mdvr_note_param(7, note->uid.p, note->uid.len);
    ngx_mdvr_note_param(8, at, ngx_mdvr_rfc3339(at, ms) - at);
    ngx_mdvr_note_param(9, received,
                        ngx_mdvr_rfc3339(received, now) - received);
    ngx_mdvr_note_param(10, b.p, b.len);
    ngx_mdvr_note_param(11, note->data.p, note->data.len);
    ngx_str_null(&params[12]);
    ngx_str_null(&params[13]);

#undef ngx_mdvr_note_param

    ngx_mdvr_alarm_store(link,
        ngx_mdvr_store_new(NGX_MDVR_STORE_ALARM, &note->device->device_id,
                           &note->device->tenant_id, params, 14, m, offset,
                           note->answer));
}


/* the device of a registered link, as far as a note needs it */

static void
ngx_mdvr_note_device(ngx_mdvr_link_t *link, ngx_mdvr_device_t *device)
{
    ngx_memzero(device, sizeof(ngx_mdvr_device_t));

    device->device_id = link->device_id;
    device->tenant_id = link->tenant_id;
    device->utc_offset_minutes = link->utc_offset;
    device->bus_layout = link->bus_layout;
}


static void
ngx_mdvr_note_plain(mdvr_buf_t *b, mdvr_str_t s, size_t max)
{
    u_char  ch;
    size_t  i;

    for (i = 0; i < s.len && i < max; i++) {
        ch = s.p[i];
        mdvr_buf_chr(b, (ch >= '0' && ch <= '9')
                        || ((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z')
                        ? ch : '_');
    }
}


static void
ngx_mdvr_note_digits(mdvr_buf_t *b, mdvr_str_t s)
{
    size_t  i;

    for (i = 0; i < s.len && i < 16; i++) {
        if (s.p[i] >= '0' && s.p[i] <= '9') {
            mdvr_buf_chr(b, s.p[i]);
        }
    }
}
