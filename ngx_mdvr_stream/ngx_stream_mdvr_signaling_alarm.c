
/*
 * Alarm messages: decoded here, stored in _store.c, which answers C100 with
 * the UID once they are safe.  V299 says that the device released alarms by
 * itself.
 *
 * One device that raises alarms faster than they can be stored is not read
 * for a while (mdvr_signaling_alarm_queue): nothing is lost, TCP holds it.
 * Source: protocol reference, alarms.md.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "mdvr/basics/json.h"
#include "mdvr/dc/time.h"
#include "mdvr/domain/alarm_kind.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"


#define ngx_mdvr_alarm_param(i, bytes, n)                                     \
    params[i].data = (u_char *) (bytes);                                      \
    params[i].len = (n)

#define ngx_mdvr_alarm_text(i, text)                                          \
    ngx_mdvr_alarm_param(i, text, ngx_strlen(text))


static ngx_int_t ngx_mdvr_alarm_file(ngx_mdvr_link_t *link,
    const mdvr_message_t *m, const ngx_mdvr_device_t *device,
    const mdvr_location_t *loc, const mdvr_alarm_t *alarm);
static void ngx_mdvr_alarm_path(ngx_str_t *param, mdvr_buf_t *b,
    mdvr_str_t path);


ngx_int_t
ngx_mdvr_sig_alarm(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const ngx_mdvr_device_t *device)
{
    size_t                    mark;
    u_char                    id[NGX_MDVR_UUID_LEN],
                              at[NGX_MDVR_RFC3339_LEN],
                              received[NGX_MDVR_RFC3339_LEN];
    int16_t                   offset;
    int64_t                   ms;
    ngx_str_t                 params[14];
    mdvr_buf_t                b;
    mdvr_json_t               j;
    mdvr_alarm_t              alarm;
    mdvr_phase_e              phase;
    const char               *severity;
    mdvr_location_t           loc;
    ngx_mdvr_store_t         *store;
    const mdvr_alarm_kind_t  *kind;

    static const char  *phases[] = { "start", "end", "event" };

    static u_char      buf[65536];

    offset = ngx_mdvr_sig_offset(device);

    if (mdvr_location_parse(m, device->bus_layout, &loc) != MDVR_OK
        || mdvr_alarm_parse(m, &loc, &alarm) != MDVR_OK)
    {
        ngx_mdvr_refusal("alarm");
        ngx_log_error(NGX_LOG_INFO, link->connection->log, 0,
                      "mdvr: malformed alarm %*s",
                      m->keyword.len, m->keyword.p);
        return NGX_OK;
    }

    if (m->kw == MDVR_KW_V232) {
        return ngx_mdvr_alarm_file(link, m, device, &loc, &alarm);
    }

    kind = mdvr_alarm_kind(m->keyword, &phase);

    severity = mdvr_severity_name(kind->severity);

    ngx_mdvr_alarm_param(0, id,
                         ngx_mdvr_uuid_print(id, &device->device_id) - id);
    ngx_mdvr_alarm_param(1, m->keyword.p, m->keyword.len);

    if (kind->code && phase == MDVR_PHASE_END) {
        ngx_mdvr_alarm_text(2, kind->code);
    } else {
        params[2] = params[1];
    }

    ngx_mdvr_alarm_text(3, phases[phase]);
    ngx_mdvr_alarm_text(4, kind->kind);
    ngx_mdvr_alarm_text(5, severity);

    b = mdvr_buf(buf, sizeof(buf));

    mdvr_text_decode(&b, mdvr_alarm_sub_key(kind, &alarm), 64);
    ngx_mdvr_alarm_param(6, b.p, b.len);

    ngx_mdvr_alarm_param(7, alarm.uid.p, alarm.uid.len);

    (void) mdvr_time_clamp(alarm.time, offset, ngx_mdvr_now_ms(), &ms);
    ngx_mdvr_alarm_param(8, at, ngx_mdvr_rfc3339(at, ms) - at);
    ngx_mdvr_alarm_param(9, received,
                         ngx_mdvr_rfc3339(received, ngx_mdvr_now_ms())
                         - received);

    mark = b.len;
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);

    if (loc.layout != MDVR_LOC_NONE) {
        mdvr_location_json(&j, &loc);
    }

    mdvr_json_object_end(&j);
    ngx_mdvr_alarm_param(10, b.p + mark, b.len - mark);

    mark = b.len;
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    mdvr_alarm_json(&j, &alarm);
    mdvr_json_object_end(&j);
    ngx_mdvr_alarm_param(11, b.p + mark, b.len - mark);

    ngx_mdvr_alarm_path(&params[12], &b, alarm.snapshot_path);
    ngx_mdvr_alarm_path(&params[13], &b, alarm.recording_path);

    if (b.full) {
        ngx_mdvr_refusal("alarm");
        return NGX_OK;
    }

    if (loc.layout != MDVR_LOC_NONE) {
        ngx_mdvr_position_seen(&device->device_id, offset, m, &loc);
    }

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_ALARM, &device->device_id,
                               &device->tenant_id, params, 14, m, offset,
                               alarm.uid);
    ngx_mdvr_alarm_store(link, store);

    return NGX_OK;
}


/* V232: a recording is ready; whether it is fetched is the tenant's policy */

static ngx_int_t
ngx_mdvr_alarm_file(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const ngx_mdvr_device_t *device, const mdvr_location_t *loc,
    const mdvr_alarm_t *alarm)
{
    u_char             id[NGX_MDVR_UUID_LEN], at[NGX_MDVR_RFC3339_LEN],
                       received[NGX_MDVR_RFC3339_LEN],
                       start[NGX_MDVR_RFC3339_LEN], size[24], duration[24],
                       channel[8];
    size_t             mark;
    int16_t            offset;
    int64_t            ms, now, from;
    ngx_str_t          params[11];
    mdvr_buf_t         b;
    const char        *kind;
    mdvr_json_t        j;
    mdvr_v232_t        file;
    ngx_mdvr_store_t  *store;

    static u_char      buf[16384];

    offset = ngx_mdvr_sig_offset(device);
    now = ngx_mdvr_now_ms();

    if (mdvr_v232_parse(alarm, &file) != MDVR_OK) {
        ngx_mdvr_refusal("alarm");
        return NGX_OK;
    }

    (void) mdvr_time_clamp(alarm->time, offset, now, &ms);

    if (mdvr_time_parse_file(file.start, offset, &from)) {
        from *= 1000;

    } else {
        from = ms - 1000 * ngx_max(file.duration_s, 0);
    }

    b = mdvr_buf(buf, sizeof(buf));

    ngx_mdvr_alarm_param(0, id,
                         ngx_mdvr_uuid_print(id, &device->device_id) - id);
    ngx_mdvr_alarm_param(1, alarm->uid.p, alarm->uid.len);
    ngx_mdvr_alarm_param(2, at, ngx_mdvr_rfc3339(at, ms) - at);
    ngx_mdvr_alarm_param(3, received,
                         ngx_mdvr_rfc3339(received, now) - received);
    kind = file.media == 1 ? "jpeg" : "mp4";
    ngx_mdvr_alarm_text(4, kind);
    ngx_mdvr_alarm_path(&params[5], &b, file.path);
    ngx_mdvr_alarm_param(6, size, ngx_sprintf(size, "%L", file.size) - size);
    ngx_mdvr_alarm_param(7, start, ngx_mdvr_rfc3339(start, from) - start);

    ngx_str_null(&params[8]);
    ngx_str_null(&params[9]);

    if (file.duration_s >= 0 && file.duration_s < 86400) {
        ngx_mdvr_alarm_param(8, duration,
                             ngx_sprintf(duration, "%L", file.duration_s)
                             - duration);
    }

    if (file.channel >= 0) {
        ngx_mdvr_alarm_param(9, channel,
                             ngx_sprintf(channel, "%d", file.channel + 1)
                             - channel);
    }

    mark = b.len;
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    mdvr_alarm_json(&j, alarm);
    mdvr_json_object_end(&j);
    ngx_mdvr_alarm_param(10, b.p + mark, b.len - mark);

    if (b.full) {
        ngx_mdvr_refusal("alarm");
        return NGX_OK;
    }

    if (loc->layout != MDVR_LOC_NONE) {
        ngx_mdvr_position_seen(&device->device_id, offset, m, loc);
    }

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_FILE, &device->device_id,
                               &device->tenant_id, params, 11, m, offset,
                               alarm->uid);
    ngx_mdvr_alarm_store(link, store);

    return NGX_OK;
}


void
ngx_mdvr_alarm_store(ngx_mdvr_link_t *link, ngx_mdvr_store_t *store)
{
    if (store) {
        ngx_mdvr_store_queue(store, link);
    }

    if (link->nstores >= link->conf->alarm_queue) {
        link->paused = 1;
    }
}


static void
ngx_mdvr_alarm_path(ngx_str_t *param, mdvr_buf_t *b, mdvr_str_t path)
{
    size_t  mark;

    if (path.len == 0) {
        ngx_str_null(param);
        return;
    }

    mark = b->len;
    mdvr_text_decode(b, path, MDVR_TEXT_PATH_MAX);

    param->data = b->p + mark;
    param->len = b->len - mark;
}


ngx_int_t
ngx_mdvr_sig_v299(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const ngx_mdvr_device_t *device)
{
    u_char                    id[NGX_MDVR_UUID_LEN],
                              at[NGX_MDVR_RFC3339_LEN], type[8];
    int16_t                   offset;
    int64_t                   ms;
    ngx_str_t                 params[4];
    const char               *code;
    mdvr_location_t           loc;
    ngx_mdvr_store_t         *store;
    mdvr_alarm_permit_t       permit;
    const mdvr_alarm_kind_t  *kind;

    offset = ngx_mdvr_sig_offset(device);

    if (mdvr_location_parse(m, device->bus_layout, &loc) != MDVR_OK
        || mdvr_alarm_permit_parse(m, &loc, &permit) != MDVR_OK
        || permit.type < 0 || permit.type > 99)
    {
        ngx_mdvr_refusal("alarm");
        return NGX_OK;
    }

    kind = mdvr_alarm_kind_of_type(permit.type);

    ngx_mdvr_alarm_param(0, id,
                         ngx_mdvr_uuid_print(id, &device->device_id) - id);

    if (permit.type == 0) {
        ngx_str_null(&params[1]);           /* all of them */

    } else {
        code = kind ? kind->code : "V0";
        ngx_mdvr_alarm_text(1, code);
    }

    if (permit.type == 1 && permit.number.len) {
        ngx_mdvr_alarm_param(2, permit.number.p, permit.number.len);

    } else {
        ngx_str_null(&params[2]);
    }

    (void) mdvr_time_clamp(m->time, offset, ngx_mdvr_now_ms(), &ms);
    ngx_mdvr_alarm_param(3, at, ngx_mdvr_rfc3339(at, ms) - at);

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_RELEASE, &device->device_id,
                               &device->tenant_id, params, 4, m, offset,
                               mdvr_str(type, ngx_sprintf(type, "%d",
                                                          permit.type)
                                              - type));
    ngx_mdvr_alarm_store(link, store);

    return NGX_OK;
}
