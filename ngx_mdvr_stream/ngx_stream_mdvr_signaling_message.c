
/*
 * What each message of a device means and what it is answered with.
 *
 *   V100  -            V114  -                      V2xx  C100 uid, stored
 *   V101  C100         V130  C100 permission        V298  C100 permission
 *   V109  C501         V141  C100 nothing waiting   V299  C100 type, stored
 *   V142  -            V600  C100 flag,kind,number  V80   -
 *                      (stored)
 *
 * Before V101 only V101 and alarms count; anything else from a known serial is
 * answered C500, so that the device registers again.  Afterwards messages with
 * another serial are dropped.
 * Source: protocol reference, signaling.md, alarms.md, flows.md 1.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "mdvr/basics/json.h"
#include "mdvr/dc/answer.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


#define NGX_MDVR_SIG_LOOKUP  5000       /* ms for a device lookup */


static void ngx_mdvr_sig_count(const mdvr_message_t *m);
static void ngx_mdvr_sig_keep(ngx_mdvr_link_t *link, const mdvr_message_t *m);
static ngx_int_t ngx_mdvr_sig_stranger(ngx_mdvr_link_t *link,
    const mdvr_message_t *m);
static ngx_int_t ngx_mdvr_sig_alarm_like(ngx_mdvr_link_t *link,
    const mdvr_message_t *m, const ngx_mdvr_device_t *device);
static ngx_int_t ngx_mdvr_sig_known(ngx_mdvr_link_t *link,
    const mdvr_message_t *m);
static void ngx_mdvr_sig_unknown(ngx_mdvr_link_t *link,
    const mdvr_message_t *m);
static void ngx_mdvr_sig_looked_up(void *data,
    const ngx_mdvr_device_t *device, mdvr_rc_t rc);
static void ngx_mdvr_sig_v130(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const mdvr_location_t *loc);
static void ngx_mdvr_sig_v142(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const mdvr_location_t *loc);


ngx_int_t
ngx_mdvr_sig_message(ngx_mdvr_link_t *link, mdvr_str_t content)
{
    mdvr_rc_t        rc;
    ngx_int_t        result;
    mdvr_message_t  *m;

    m = &ngx_mdvr_sig.message;
    rc = mdvr_message_parse(content, m);

    switch (rc) {

    case MDVR_OK:
        break;

    case MDVR_E_SERIAL:
        ngx_mdvr_refusal("serial");

        if (link->state == NGX_MDVR_LINK_NEW) {
            ngx_log_error(NGX_LOG_INFO, link->connection->log, 0,
                          "mdvr: malformed serial in %*s",
                          m->keyword.len, m->keyword.p);
            ngx_mdvr_link_close(link, "malformed serial", 0);
        }

        return NGX_OK;

    case MDVR_E_LIMIT:
        ngx_mdvr_refusal("tokens");
        return NGX_OK;

    default:
        ngx_mdvr_refusal("header");
        return NGX_OK;
    }

    if (m->keyword.p[0] != 'V') {
        ngx_mdvr_refusal("direction");
        return NGX_OK;
    }

    if (link->state == NGX_MDVR_LINK_NEW) {
        result = ngx_mdvr_sig_stranger(link, m);

    } else if (link->state == NGX_MDVR_LINK_LEAVING
               && m->kw != MDVR_KW_V114)
    {
        result = NGX_OK;

    } else if (m->serial.len == link->serial_len
               && ngx_memcmp(m->serial.p, link->serial, m->serial.len) == 0)
    {
        result = ngx_mdvr_sig_known(link, m);

    } else {
        ngx_mdvr_refusal("serial_mismatch");

        if (m->kw == MDVR_KW_V101) {
            ngx_mdvr_sig_c100(link, m, link->utc_offset,
                              MDVR_STR("0,2,"));
            ngx_mdvr_link_close(link, "registered with another serial", 1);
        }

        result = NGX_OK;
    }

    if (result != NGX_AGAIN) {
        ngx_mdvr_sig_count(m);
        ngx_mdvr_sig_keep(link, m);
    }

    return result;
}


static void
ngx_mdvr_sig_count(const mdvr_message_t *m)
{
    ngx_str_t    name;
    const char  *text;

    text = m->kw == MDVR_KW_UNKNOWN ? "unknown" : mdvr_keyword_name(m->kw);

    name.data = (u_char *) text;
    name.len = ngx_strlen(text);

    ngx_mdvr_count_by(messages_total, &name, 1);
}


/* positions and alarms are stored, what strangers say is not */

static void
ngx_mdvr_sig_keep(ngx_mdvr_link_t *link, const mdvr_message_t *m)
{
    mdvr_str_t  body;

    if (m->kw == MDVR_KW_V114 || mdvr_keyword_is_alarm(m->keyword)
        || link->state == NGX_MDVR_LINK_NEW
        || m->serial.len != link->serial_len
        || ngx_memcmp(m->serial.p, link->serial, m->serial.len) != 0)
    {
        return;
    }

    body = mdvr_str(m->content.p, 0);

    if (m->nbody) {
        body.p = m->body[0].p;
        body.len = m->content.p + m->content.len - body.p;
    }

    ngx_mdvr_sig_wire(link, 0, m->keyword, body);
}


/* -- before V101 ---------------------------------------------------------- */

static ngx_int_t
ngx_mdvr_sig_stranger(ngx_mdvr_link_t *link, const mdvr_message_t *m)
{
    u_char             number[8];
    ngx_int_t          rc;
    ngx_uint_t         alarm;
    ngx_mdvr_device_t  device;

    if (m->kw == MDVR_KW_V101) {
        return ngx_mdvr_sig_v101(link, m);
    }

    rc = ngx_mdvr_sig_device(link, m->serial, &device);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc == NGX_ERROR) {
        ngx_mdvr_refusal("unavailable");
        return NGX_OK;
    }

    if (rc == NGX_DECLINED || device.suspended) {
        ngx_mdvr_refusal("unknown_serial");
        return NGX_OK;
    }

    alarm = mdvr_keyword_is_alarm(m->keyword) || m->kw == MDVR_KW_V298
            || m->kw == MDVR_KW_V299;

    if (alarm) {
        link->frame.relaxed = 1;
        link->close_at = ngx_current_msec + link->conf->idle_timeout;

        return ngx_mdvr_sig_alarm_like(link, m, &device);
    }

    ngx_mdvr_refusal("not_registered");

    (void) ngx_mdvr_link_write(link,
               mdvr_str(number, ngx_mdvr_link_number(link, number)),
               MDVR_STR("C500"), m->serial, MDVR_STR(""),
               ngx_mdvr_sig_offset(&device), MDVR_STR(""));
    return NGX_OK;
}


ngx_int_t
ngx_mdvr_sig_device(ngx_mdvr_link_t *link, mdvr_str_t serial,
    ngx_mdvr_device_t *device)
{
    ngx_int_t  rc;
    ngx_str_t  name;

    if (ngx_mdvr_sig.resolved_for == link) {
        ngx_mdvr_sig.resolved_for = NULL;
        *device = ngx_mdvr_sig.resolved;
        return ngx_mdvr_sig.resolved_rc;
    }

    ngx_mdvr_sig_str(&name, serial);

    rc = ngx_mdvr_registry_lookup(link->connection->pool, &name, device,
                                  NGX_MDVR_SIG_LOOKUP,
                                  ngx_mdvr_sig_looked_up, link);

    if (rc == NGX_AGAIN) {
        link->lookup = 1;
        ngx_mdvr_sig.nlookups++;
    }

    return rc == NGX_BUSY ? NGX_ERROR : rc;
}


/* the message that asked is the first of the kept bytes */

static void
ngx_mdvr_sig_looked_up(void *data, const ngx_mdvr_device_t *device,
    mdvr_rc_t rc)
{
    ngx_mdvr_link_t  *link = data;

    link->lookup = 0;
    ngx_mdvr_sig.nlookups--;

    ngx_mdvr_sig.resolved_for = link;

    switch (rc) {
    case MDVR_OK:
        ngx_mdvr_sig.resolved_rc = NGX_OK;
        ngx_mdvr_sig.resolved = *device;
        break;
    case MDVR_E_NOT_FOUND:
        ngx_mdvr_sig.resolved_rc = NGX_DECLINED;
        break;
    default:
        ngx_mdvr_sig.resolved_rc = NGX_ERROR;
        ngx_log_error(NGX_LOG_WARN, link->connection->log, 0,
                      "mdvr: device lookup: %s", mdvr_rc_words(rc));
    }

    ngx_mdvr_link_resume(link);
    ngx_mdvr_sig.resolved_for = NULL;
}


/* -- registered ----------------------------------------------------------- */

static ngx_int_t
ngx_mdvr_sig_known(ngx_mdvr_link_t *link, const mdvr_message_t *m)
{
    u_char             number[8];
    mdvr_buf_t         b;
    mdvr_location_t    loc;
    ngx_mdvr_device_t  device;

    static u_char      content[256];

    switch (m->kw) {

    case MDVR_KW_V101:
        return ngx_mdvr_sig_v101(link, m);

    case MDVR_KW_V109:
        ngx_mdvr_sig_clock(link, m);
        (void) ngx_mdvr_link_write(link,
                   mdvr_str(number, ngx_mdvr_link_number(link, number)),
                   MDVR_STR("C501"), m->serial, MDVR_STR(""),
                   link->utc_offset, MDVR_STR(""));
        return NGX_OK;

    case MDVR_KW_V80:
        return NGX_OK;

    default:
        break;
    }

    if (mdvr_keyword_is_alarm(m->keyword) || m->kw == MDVR_KW_V298
        || m->kw == MDVR_KW_V299)
    {
        ngx_memzero(&device, sizeof(ngx_mdvr_device_t));
        device.device_id = link->device_id;
        device.tenant_id = link->tenant_id;
        device.utc_offset_minutes = link->utc_offset;
        device.bus_layout = link->bus_layout;

        return ngx_mdvr_sig_alarm_like(link, m, &device);
    }

    if (m->kw != MDVR_KW_V114 && m->kw != MDVR_KW_V100
        && m->kw != MDVR_KW_V130 && m->kw != MDVR_KW_V141
        && m->kw != MDVR_KW_V142 && m->kw != MDVR_KW_V600)
    {
        ngx_mdvr_sig_unknown(link, m);
        return NGX_OK;
    }

    if (mdvr_location_parse(m, link->bus_layout, &loc) != MDVR_OK) {
        ngx_mdvr_refusal("location");
        return NGX_OK;
    }

    switch (m->kw) {

    case MDVR_KW_V114:
        ngx_mdvr_position_report(link, m, &loc);
        return NGX_OK;

    case MDVR_KW_V100:
        ngx_mdvr_sig_v100(link, m, &loc);
        break;

    case MDVR_KW_V130:
        ngx_mdvr_sig_v130(link, m, &loc);
        break;

    case MDVR_KW_V141:
        b = mdvr_buf(content, sizeof(content));
        mdvr_content_v141_none(&b);
        ngx_mdvr_sig_c100(link, m, link->utc_offset, mdvr_buf_view(&b));
        break;

    case MDVR_KW_V142:
        ngx_mdvr_sig_v142(link, m, &loc);
        break;

    default:                                /* V600 */
        ngx_mdvr_sig_v600(link, m, &loc);
        break;
    }

    if (loc.layout != MDVR_LOC_NONE) {
        ngx_mdvr_position_seen(&link->device_id, link->utc_offset, m, &loc);
    }

    return NGX_OK;
}


/* no answer; the log says it once per device, keyword and firmware */

static void
ngx_mdvr_sig_unknown(ngx_mdvr_link_t *link, const mdvr_message_t *m)
{
    uint32_t  hash;

    ngx_mdvr_refusal("keyword");

    hash = ngx_crc32_long((u_char *) m->keyword.p, m->keyword.len)
           ^ link->firmware;

    if (ngx_mdvr_registry_first(&link->claim, hash ? hash : 1)) {
        ngx_log_error(NGX_LOG_NOTICE, link->connection->log, 0,
                      "mdvr: keyword %*s is not for this port or not known",
                      m->keyword.len, m->keyword.p);
    }
}


static ngx_int_t
ngx_mdvr_sig_alarm_like(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const ngx_mdvr_device_t *device)
{
    switch (m->kw) {
    case MDVR_KW_V298:
        return ngx_mdvr_sig_v298(link, m, device);
    case MDVR_KW_V299:
        return ngx_mdvr_sig_v299(link, m, device);
    default:
        return ngx_mdvr_sig_alarm(link, m, device);
    }
}


void
ngx_mdvr_sig_c100(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    int16_t offset, mdvr_str_t content)
{
    mdvr_buf_t     b;

    static u_char  body[2048];

    b = mdvr_buf(body, sizeof(body));
    mdvr_body_c100(&b, m->keyword, m->time, content);

    if (!b.full) {
        (void) ngx_mdvr_link_write(link, m->number, MDVR_STR("C100"),
                                   m->serial, m->workstation, offset,
                                   mdvr_buf_view(&b));
    }
}


static void
ngx_mdvr_sig_v130(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const mdvr_location_t *loc)
{
    mdvr_v130_t  v;

    if (mdvr_v130_parse(m, loc, &v) != MDVR_OK) {
        ngx_mdvr_refusal("fields");
        return;
    }

    if (v.start) {
        ngx_mdvr_call_start(link, m);

    } else {
        ngx_mdvr_call_stop(link, m);
    }
}


static void
ngx_mdvr_sig_v142(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const mdvr_location_t *loc)
{
    unsigned           i;
    u_char             id[NGX_MDVR_UUID_LEN];
    ngx_str_t          params[2];
    mdvr_buf_t         b;
    mdvr_json_t        j;
    ngx_mdvr_store_t  *store;

    static u_char      json[8192];

    i = loc->layout == MDVR_LOC_NONE ? 0 : loc->next;

    b = mdvr_buf(json, sizeof(json));
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    mdvr_device_info_json(&j, m->body + i, m->nbody > i ? m->nbody - i : 0);
    mdvr_json_object_end(&j);

    if (b.full) {
        ngx_mdvr_refusal("fields");
        return;
    }

    params[0].data = id;
    params[0].len = ngx_mdvr_uuid_print(id, &link->device_id) - id;
    params[1].data = b.p;
    params[1].len = b.len;

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_HEALTH, &link->device_id,
                               &link->tenant_id, params, 2, NULL, 0,
                               MDVR_STR(""));
    if (store) {
        ngx_mdvr_store_queue(store, NULL);
    }
}
