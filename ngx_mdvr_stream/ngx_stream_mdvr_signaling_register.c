
/*
 * V101: a device says who it is.  C100 needs only the device lookup, which the
 * zone caches; the record in PostgreSQL, the event and the route follow.
 *
 *   1,1,   accepted (as captured; a device that follows the documents reads
 *          result 1 too)
 *   0,1,   malformed, then closed
 *   0,2,   unknown serial, suspended tenant, or an IMEI that is not the one on
 *          record, then closed
 *
 * The newest registered connection of a device wins: the older one is closed
 * at once, in this worker directly, in another one by a mail, on another node
 * through the route in Redis.  Nearly always that is a dead NAT mapping.  When
 * it had something to say in the last half minute and the newer one came from
 * another address, somebody may be using a serial that is not his: an event,
 * an audit row and the history of the device say so.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "mdvr/basics/json.h"
#include "mdvr/dc/register.h"
#include "mdvr/dc/time.h"
#include "ngx_mdvr_core/ngx_mdvr_command.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_route.h"
#include "ngx_mdvr_core/ngx_mdvr_time.h"

#include <jansson.h>


#define NGX_MDVR_SIG_RECHECKS  500      /* links looked at again per second */
#define NGX_MDVR_SIG_RECHECK   5000     /* ms for one */
#define NGX_MDVR_SIG_SENDING   30000    /* ms since the last byte */
#define NGX_MDVR_SIG_CLOCK     600000   /* ms that a clock may be wrong before
                                           that is taken for another zone */


static ngx_uint_t ngx_mdvr_sig_clock_fits(ngx_mdvr_link_t *link,
    const mdvr_message_t *m);
static void ngx_mdvr_sig_reject(ngx_mdvr_link_t *link,
    const mdvr_message_t *m, int cause, const char *reason);
static void ngx_mdvr_sig_knock(ngx_mdvr_link_t *link,
    const mdvr_message_t *m);
static void ngx_mdvr_sig_refused(ngx_mdvr_link_t *link,
    const ngx_mdvr_device_t *device, const char *reason);
static ngx_uint_t ngx_mdvr_sig_imei(const ngx_mdvr_device_t *device,
    mdvr_str_t imei);
static ngx_int_t ngx_mdvr_sig_take(ngx_mdvr_link_t *link,
    const mdvr_message_t *m, const ngx_mdvr_device_t *device);
static void ngx_mdvr_sig_rechecked(void *data,
    const ngx_mdvr_device_t *device, mdvr_rc_t rc);
static void ngx_mdvr_sig_contested(ngx_mdvr_link_t *link,
    const ngx_str_t *address, ngx_msec_t silent);
static void ngx_mdvr_sig_gone(const ngx_mdvr_uuid_t *device_id,
    const ngx_mdvr_uuid_t *tenant_id, int64_t connected_at,
    const char *reason);


ngx_int_t
ngx_mdvr_sig_v101(ngx_mdvr_link_t *link, const mdvr_message_t *m)
{
    int                suggestion;
    ngx_int_t          rc;
    ngx_uint_t         detected, again;
    mdvr_v101_t        v;
    mdvr_location_t    loc;
    ngx_mdvr_device_t  device;

    rc = ngx_mdvr_sig_device(link, m->serial, &device);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc == NGX_ERROR) {

        /* no answer: the device repeats, and by then we may know */

        ngx_mdvr_refusal("unavailable");
        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        ngx_mdvr_refusal("unknown_serial");
        ngx_mdvr_sig_knock(link, m);
        ngx_mdvr_sig_reject(link, m, MDVR_CAUSE_UNKNOWN_SERIAL,
                            "unknown serial");
        return NGX_OK;
    }

    if (device.suspended) {
        ngx_mdvr_refusal("suspended");
        ngx_mdvr_sig_refused(link, &device, "suspended");
        ngx_mdvr_sig_reject(link, m, MDVR_CAUSE_UNKNOWN_SERIAL, "suspended");
        return NGX_OK;
    }

    if (mdvr_location_parse(m, device.bus_layout, &loc) != MDVR_OK
        || mdvr_v101_parse(m, &loc, &v) != MDVR_OK)
    {
        ngx_mdvr_refusal("registration");
        ngx_mdvr_sig_refused(link, &device, "malformed registration");
        ngx_mdvr_sig_reject(link, m, MDVR_CAUSE_MALFORMED,
                            "malformed registration");
        return NGX_OK;
    }

    if (!ngx_mdvr_sig_imei(&device, v.imei)) {
        ngx_mdvr_refusal("imei");
        ngx_mdvr_sig_refused(link, &device, "wrong IMEI");
        ngx_mdvr_sig_reject(link, m, MDVR_CAUSE_UNKNOWN_SERIAL,
                            "wrong IMEI");
        return NGX_OK;
    }

    suggestion = 0;
    detected = mdvr_time_suggest_offset(m->time, ngx_mdvr_now_ms(),
                                        &suggestion);

    link->zone_set = device.offset_set;
    link->zone_moves = 0;
    link->zone_known = detected || device.utc_offset_minutes
                                   != NGX_MDVR_OFFSET_UNKNOWN;
    link->utc_offset = ngx_mdvr_sig_offset(&device);

    if (!link->zone_set) {

        if (detected
            && (device.utc_offset_minutes == NGX_MDVR_OFFSET_UNKNOWN
                || !ngx_mdvr_sig_clock_fits(link, m)))
        {
            link->utc_offset = suggestion;
        }

        suggestion = link->utc_offset;
    }

    link->bus_layout = device.bus_layout;
    link->encoding = mdvr_text_find(mdvr_cstr((char *) device.text_encoding));

    link->firmware = ngx_crc32_long((u_char *) v.firmware.p, v.firmware.len);

    again = link->state == NGX_MDVR_LINK_ONLINE;

    if (!again && ngx_mdvr_sig_take(link, m, &device) != NGX_OK) {
        return NGX_OK;
    }

    ngx_mdvr_sig_c100(link, m, link->utc_offset, MDVR_STR("1,1,"));

    if (link->state != NGX_MDVR_LINK_ONLINE) {
        return NGX_OK;
    }

    if (!again) {
        ngx_str_t  name = { link->serial_len, link->serial };

        ngx_mdvr_route_claim(&name, link->connection->number);

        ngx_log_error(NGX_LOG_INFO, link->connection->log, 0,
                      "mdvr: registered, clock %s%d min", detected ? ""
                      : "unusable, ", detected ? suggestion : 0);
    }

    ngx_mdvr_sig_record(link, &v, detected, suggestion);

    if (loc.layout != MDVR_LOC_NONE) {
        ngx_mdvr_position_seen(&link->device_id, link->utc_offset, m, &loc);
    }

    if (detected && !link->zone_set) {
        ngx_mdvr_registry_offset(&link->claim, link->utc_offset);
    }

    if (!again && link->conf->alarm_server.len) {
        ngx_mdvr_task_alarm_server(link);
    }

    return NGX_OK;
}


/*
 * Many devices stamp local time, some of them only after they have seen a
 * satellite, and clocks are put forward and back twice a year.  What was known
 * gives way when two heartbeats in a row show the same other zone.
 */

void
ngx_mdvr_sig_clock(ngx_mdvr_link_t *link, const mdvr_message_t *m)
{
    int                suggestion;
    u_char             id[NGX_MDVR_UUID_LEN], minutes[NGX_INT_T_LEN];
    ngx_str_t          params[2];
    ngx_mdvr_store_t  *store;

    if (link->zone_set || ngx_mdvr_sig_clock_fits(link, m)
        || !mdvr_time_suggest_offset(m->time, ngx_mdvr_now_ms(), &suggestion)
        || suggestion == link->utc_offset)
    {
        link->zone_moves = 0;
        return;
    }

    if (link->zone_known
        && (!link->zone_moves || link->zone_next != suggestion))
    {
        link->zone_moves = 1;
        link->zone_next = suggestion;
        return;
    }

    link->zone_known = 1;
    link->zone_moves = 0;

    ngx_log_error(NGX_LOG_NOTICE, link->connection->log, 0,
                  "mdvr: the clock of \"%*s\" went from %d to %d min",
                  (size_t) link->serial_len, link->serial,
                  (int) link->utc_offset, suggestion);

    link->utc_offset = suggestion;
    ngx_mdvr_registry_offset(&link->claim, suggestion);

    params[0].data = id;
    params[0].len = ngx_mdvr_uuid_print(id, &link->device_id) - id;
    params[1].data = minutes;
    params[1].len = ngx_sprintf(minutes, "%d", suggestion) - minutes;

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_CLOCK, &link->device_id,
                               &link->tenant_id, params, 2, NULL, 0,
                               MDVR_STR(""));
    if (store) {
        ngx_mdvr_store_queue(store, NULL);
    }
}


static ngx_uint_t
ngx_mdvr_sig_clock_fits(ngx_mdvr_link_t *link, const mdvr_message_t *m)
{
    int64_t  at, wrong;

    if (!mdvr_time_parse(m->time, link->utc_offset, &at)) {
        return 0;
    }

    wrong = at * 1000 - ngx_mdvr_now_ms();

    return wrong > -NGX_MDVR_SIG_CLOCK && wrong < NGX_MDVR_SIG_CLOCK;
}


static void
ngx_mdvr_sig_reject(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    int cause, const char *reason)
{
    mdvr_buf_t  b;
    u_char      content[16];

    ngx_log_error(NGX_LOG_INFO, link->connection->log, 0,
                  "mdvr: registration of \"%*s\" refused: %s",
                  m->serial.len, m->serial.p, reason);

    b = mdvr_buf(content, sizeof(content));
    mdvr_content_v101(&b, cause);

    ngx_mdvr_sig_c100(link, m, 0, mdvr_buf_view(&b));
    ngx_mdvr_link_close(link, reason, 1);
}


static void
ngx_mdvr_sig_knock(ngx_mdvr_link_t *link, const mdvr_message_t *m)
{
    ngx_str_t          params[2];
    ngx_mdvr_store_t  *store;

    static ngx_mdvr_uuid_t  nobody;

    ngx_mdvr_sig_str(&params[0], m->serial);
    params[1] = link->connection->addr_text;

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_KNOCK, &nobody, &nobody, params,
                               2, NULL, 0, MDVR_STR(""));
    if (store) {
        ngx_mdvr_store_queue(store, NULL);
    }
}


static void
ngx_mdvr_sig_refused(ngx_mdvr_link_t *link, const ngx_mdvr_device_t *device,
    const char *reason)
{
    u_char             id[NGX_MDVR_UUID_LEN];
    ngx_str_t          params[4];
    ngx_mdvr_store_t  *store;

    params[0].data = id;
    params[0].len = ngx_mdvr_uuid_print(id, &device->device_id) - id;
    params[1] = ngx_mdvr_sig.core->node;
    params[2] = link->connection->addr_text;
    params[3].data = (u_char *) reason;
    params[3].len = ngx_strlen(reason);

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_REFUSED, &device->device_id,
                               &device->tenant_id, params, 4, NULL, 0,
                               MDVR_STR(""));
    if (store) {
        ngx_mdvr_store_queue(store, NULL);
    }
}


static ngx_uint_t
ngx_mdvr_sig_imei(const ngx_mdvr_device_t *device, mdvr_str_t imei)
{
    size_t  len;

    len = ngx_strlen(device->imei);

    if (len == 0) {
        return 1;
    }

    imei = mdvr_str_trim(imei);

    return imei.len == len && ngx_memcmp(imei.p, device->imei, len) == 0;
}


/* makes this link the holder of the device */

static ngx_int_t
ngx_mdvr_sig_take(ngx_mdvr_link_t *link, const mdvr_message_t *m,
    const ngx_mdvr_device_t *device)
{
    ngx_mdvr_link_t    *old;
    ngx_mdvr_holder_t   previous;

    /* the time of the claim, not of the connect: the newest claim wins */

    link->connected_at = ngx_mdvr_now_ms();

    if (ngx_mdvr_registry_claim(&link->claim, device,
                                link->connection->number,
                                &link->connection->addr_text,
                                link->connected_at, &previous)
        != NGX_OK)
    {
        ngx_mdvr_refusal("zone_full");
        ngx_log_error(NGX_LOG_ERR, link->connection->log, 0,
                      "mdvr: the zone is full, registration not taken");
        ngx_mdvr_link_close(link, "zone full", 0);
        return NGX_DECLINED;
    }

    link->device_id = device->device_id;
    link->tenant_id = device->tenant_id;
    link->record = ngx_mdvr_sig.records;
    link->serial_len = m->serial.len;
    ngx_memcpy(link->serial, m->serial.p, m->serial.len);

    old = ngx_mdvr_link_find(m->serial);

    if (old && old != link) {
        ngx_mdvr_sig_replaced(old, &link->connection->addr_text);
    }

    ngx_mdvr_link_online(link);

    return NGX_OK;
}


void
ngx_mdvr_sig_record(ngx_mdvr_link_t *link, const mdvr_v101_t *v,
    ngx_uint_t detected, int suggestion)
{
    u_char             id[NGX_MDVR_UUID_LEN], boot[NGX_MDVR_UUID_LEN],
                       at[NGX_MDVR_RFC3339_LEN];
    ngx_str_t          params[6];
    mdvr_buf_t         b;
    mdvr_json_t        j;
    ngx_mdvr_store_t  *store;

    static u_char      json[8192];

    b = mdvr_buf(json, sizeof(json));
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);

    if (v) {
        mdvr_v101_json(&j, v);
    }

    if (detected) {
        mdvr_json_i64(&j, "utc_offset_minutes", suggestion);
    }

    mdvr_json_object_end(&j);

    params[0].data = id;
    params[0].len = ngx_mdvr_uuid_print(id, &link->device_id) - id;
    params[1] = ngx_mdvr_sig.core->node;
    params[2].data = boot;
    params[2].len = ngx_mdvr_uuid_print(boot, ngx_mdvr_boot()) - boot;
    params[3] = link->connection->addr_text;
    params[4].data = at;
    params[4].len = ngx_mdvr_rfc3339(at, link->connected_at) - at;
    params[5].data = b.full || v == NULL ? NULL : b.p;
    params[5].len = b.len;

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_REGISTER, &link->device_id,
                               &link->tenant_id, params, 6, NULL, 0,
                               MDVR_STR(""));
    if (store) {
        ngx_mdvr_store_queue(store, NULL);
    }
}


/* -- changes of the record ------------------------------------------------ */

void
ngx_mdvr_sig_control(void *data, const ngx_str_t *channel,
    const ngx_str_t *msg)
{
    json_t           *doc;
    ngx_str_t         value;
    ngx_int_t         rc;
    const char       *op, *text;
    ngx_queue_t      *q;
    ngx_uint_t        tenant;
    ngx_mdvr_link_t  *link;
    ngx_mdvr_uuid_t   id;

    /* the core has forgotten the cached rows before we are called */

    if (msg == NULL) {
        return;
    }

    doc = json_loadb((char *) msg->data, msg->len, 0, NULL);

    op = json_string_value(json_object_get(doc, "op"));
    text = json_string_value(json_object_get(doc, "id"));

    tenant = op && ngx_strcmp(op, "tenant_changed") == 0;
    rc = NGX_DECLINED;

    if (text && (tenant || (op && ngx_strcmp(op, "device_changed") == 0))) {
        value.data = (u_char *) text;
        value.len = ngx_strlen(text);
        rc = ngx_mdvr_uuid_parse(&value, &id);
    }

    json_decref(doc);

    if (rc != NGX_OK) {
        return;
    }

    for (q = ngx_queue_head(&ngx_mdvr_sig.links);
         q != ngx_queue_sentinel(&ngx_mdvr_sig.links);
         q = ngx_queue_next(q))
    {
        link = ngx_queue_data(q, ngx_mdvr_link_t, queue);

        if (link->state != NGX_MDVR_LINK_ONLINE || link->recheck
            || !ngx_mdvr_uuid_equal(tenant ? &link->tenant_id
                                           : &link->device_id, &id))
        {
            continue;
        }

        link->recheck = 1;
        ngx_mdvr_sig.rechecks = 1;
    }
}


void
ngx_mdvr_sig_rechecks(void)
{
    ngx_uint_t        n;
    ngx_queue_t      *q;
    ngx_mdvr_link_t  *link;

    if (!ngx_mdvr_sig.rechecks) {
        return;
    }

    n = 0;

    for (q = ngx_queue_head(&ngx_mdvr_sig.links);
         q != ngx_queue_sentinel(&ngx_mdvr_sig.links);
         q = ngx_queue_next(q))
    {
        link = ngx_queue_data(q, ngx_mdvr_link_t, queue);

        if (!link->recheck) {
            continue;
        }

        if (n++ == NGX_MDVR_SIG_RECHECKS) {
            return;
        }

        link->recheck = 0;
        ngx_mdvr_sig_recheck(link);
    }

    ngx_mdvr_sig.rechecks = 0;
}


void
ngx_mdvr_sig_recheck(ngx_mdvr_link_t *link)
{
    ngx_int_t          rc;
    ngx_mdvr_device_t  device;
    ngx_str_t          name = { link->serial_len, link->serial };

    if (link->state != NGX_MDVR_LINK_ONLINE || link->rechecking) {
        return;
    }

    rc = ngx_mdvr_registry_lookup(link->connection->pool, &name, &device,
                                  NGX_MDVR_SIG_RECHECK,
                                  ngx_mdvr_sig_rechecked, link);

    switch (rc) {
    case NGX_OK:
        ngx_mdvr_sig_rechecked(link, &device, MDVR_OK);
        break;
    case NGX_DECLINED:
        ngx_mdvr_sig_rechecked(link, NULL, MDVR_E_NOT_FOUND);
        break;
    case NGX_AGAIN:
        link->rechecking = 1;
        break;
    }
}


static void
ngx_mdvr_sig_rechecked(void *data, const ngx_mdvr_device_t *device,
    mdvr_rc_t rc)
{
    ngx_mdvr_link_t  *link = data;

    link->rechecking = 0;

    if (link->state != NGX_MDVR_LINK_ONLINE) {
        return;
    }

    if (rc == MDVR_E_NOT_FOUND
        || (rc == MDVR_OK
            && !ngx_mdvr_uuid_equal(&device->device_id, &link->device_id)))
    {
        ngx_mdvr_refusal("unknown_serial");
        ngx_mdvr_link_close(link, "device removed", 1);
        return;
    }

    if (rc != MDVR_OK) {
        return;                         /* nobody can say now */
    }

    if (device->suspended) {
        ngx_mdvr_refusal("suspended");
        ngx_mdvr_link_close(link, "suspended", 1);
        return;
    }

    link->bus_layout = device->bus_layout;
    link->encoding = mdvr_text_find(mdvr_cstr((char *)
                                              device->text_encoding));

    /* what its clock showed last on this connection is newer than the row */

    if (device->offset_set || link->zone_set) {
        link->utc_offset = ngx_mdvr_sig_offset(device);
        link->zone_set = device->offset_set;
    }
}


/* -- the end -------------------------------------------------------------- */

void
ngx_mdvr_sig_offline(ngx_mdvr_link_t *link, const char *reason)
{
    ngx_str_t  name = { link->serial_len, link->serial };

    ngx_mdvr_task_detach(link);

    ngx_mdvr_route_release(&name, link->connection->number);

    ngx_log_error(NGX_LOG_INFO, link->connection->log, 0,
                  "mdvr: connection ends: %s", reason);

    if (ngx_mdvr_registry_release(&link->claim) == NGX_OK) {
        ngx_mdvr_sig_gone(&link->device_id, &link->tenant_id,
                          link->connected_at, reason);
    }
}


static void
ngx_mdvr_sig_gone(const ngx_mdvr_uuid_t *device_id,
    const ngx_mdvr_uuid_t *tenant_id, int64_t connected_at,
    const char *reason)
{
    u_char             id[NGX_MDVR_UUID_LEN], at[NGX_MDVR_RFC3339_LEN];
    ngx_str_t          params[4];
    ngx_mdvr_store_t  *store;

    params[0].data = id;
    params[0].len = ngx_mdvr_uuid_print(id, device_id) - id;
    params[1] = ngx_mdvr_sig.core->node;
    params[2].data = at;
    params[2].len = ngx_mdvr_rfc3339(at, connected_at) - at;
    params[3].data = (u_char *) reason;
    params[3].len = ngx_strlen(reason);

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_OFFLINE, device_id, tenant_id,
                               params, 4, NULL, 0, MDVR_STR(""));
    if (store) {
        ngx_mdvr_store_queue(store, NULL);
    }
}


void
ngx_mdvr_sig_mail(const ngx_mdvr_mail_t *mail)
{
    ngx_mdvr_link_t  *link;

    link = ngx_mdvr_link_find_number(mail->a);

    if (link) {
        ngx_mdvr_sig_replaced(link, NULL);
    }
}


void
ngx_mdvr_sig_close_order(const ngx_str_t *body)
{
    u_char           *p, *last;
    ngx_int_t         n;
    ngx_str_t         address;
    ngx_mdvr_link_t  *link;

    last = body->data + body->len;
    p = ngx_strlchr(body->data, last, ',');

    n = ngx_atoi(body->data, (p ? p : last) - body->data);
    link = n > 0 ? ngx_mdvr_link_find_number(n) : NULL;

    if (link == NULL) {
        return;
    }

    address.data = p ? p + 1 : last;
    address.len = last - address.data;

    ngx_mdvr_sig_replaced(link, &address);
}


void
ngx_mdvr_sig_replaced(ngx_mdvr_link_t *link, const ngx_str_t *address)
{
    ngx_str_t          name = { link->serial_len, link->serial }, holder;
    ngx_msec_t         silent;
    ngx_mdvr_holder_t  now;

    silent = ngx_current_msec - link->last_recv;

    if (address == NULL
        && ngx_mdvr_registry_holder(&name, &now) == NGX_OK && now.held)
    {
        holder.data = now.address;
        holder.len = ngx_strlen(now.address);
        address = &holder;
    }

    if (link->state == NGX_MDVR_LINK_ONLINE && silent < NGX_MDVR_SIG_SENDING
        && address && address->len
        && (address->len != link->connection->addr_text.len
            || ngx_memcmp(address->data, link->connection->addr_text.data,
                          address->len) != 0))
    {
        ngx_mdvr_sig_contested(link, address, silent);
    }

    ngx_mdvr_link_close(link, "replaced", 0);
}


static void
ngx_mdvr_sig_contested(ngx_mdvr_link_t *link, const ngx_str_t *address,
    ngx_msec_t silent)
{
    u_char             id[NGX_MDVR_UUID_LEN], at[NGX_MDVR_RFC3339_LEN],
                       seconds[NGX_INT64_LEN];
    ngx_str_t          params[6];
    ngx_mdvr_store_t  *store;

    ngx_mdvr_count(registrations_contested_total);

    ngx_log_error(NGX_LOG_WARN, link->connection->log, 0,
                  "mdvr: \"%*s\" registered from %V while it was sending",
                  (size_t) link->serial_len, link->serial, address);

    params[0].data = id;
    params[0].len = ngx_mdvr_uuid_print(id, &link->device_id) - id;
    params[1] = ngx_mdvr_sig.core->node;
    params[2].data = at;
    params[2].len = ngx_mdvr_rfc3339(at, link->connected_at) - at;
    params[3] = link->connection->addr_text;
    params[4] = *address;
    params[5].data = seconds;
    params[5].len = ngx_sprintf(seconds, "%M", silent / 1000) - seconds;

    store = ngx_mdvr_store_new(NGX_MDVR_STORE_CONTESTED, &link->device_id,
                               &link->tenant_id, params, 6, NULL, 0,
                               MDVR_STR(""));
    if (store) {
        ngx_mdvr_store_queue(store, NULL);
    }
}


void
ngx_mdvr_sig_lost(const ngx_mdvr_device_t *device)
{
    ngx_mdvr_sig_gone(&device->device_id, &device->tenant_id,
                      device->holder.connected_at, "worker process lost");
}
