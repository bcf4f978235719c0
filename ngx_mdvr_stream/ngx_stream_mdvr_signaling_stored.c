
/*
 * What is told when a call of ngx_stream_mdvr_signaling_store.c has been
 * stored: the log, with the keys by which an alarm is followed from here to
 * the viewer and through the worker (tenant_id, device, device_id, alarm_id,
 * trace_id, event_id); spans; the recording that an alarm begins; viewers.
 */


#include "ngx_mdvr_stream/ngx_stream_mdvr_signaling.h"

#include "mdvr/domain/keys.h"
#include "mdvr/web/peek.h"
#include "ngx_mdvr_core/ngx_mdvr_download.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"
#include "ngx_mdvr_core/ngx_mdvr_pg.h"
#include "ngx_mdvr_core/ngx_mdvr_record.h"
#include "ngx_mdvr_core/ngx_mdvr_redis.h"
#include "ngx_mdvr_core/ngx_mdvr_trace.h"


/* One line for each row: an alarm that came, or the file of one. */

static void
ngx_mdvr_stored_log(const ngx_mdvr_stored_t *s, const ngx_mdvr_pg_rows_t *rows)
{
    u_char       tenant[NGX_MDVR_UUID_LEN], device[NGX_MDVR_UUID_LEN],
                 trace[NGX_MDVR_TRACE_KEY_LEN];
    ngx_str_t    id, keyword, is_new, msg, key;
    mdvr_str_t   event;
    ngx_uint_t   i;

    static const char *const  names[] = { "id" };

    if (s->log->log_level < NGX_LOG_INFO) {
        return;
    }

    (void) ngx_mdvr_uuid_print(tenant, s->tenant_id);
    (void) ngx_mdvr_uuid_print(device, s->device_id);

    for (i = 0; i < ngx_mdvr_pg_nrows(rows); i++) {
        is_new = ngx_mdvr_pg_value(rows, i, 1);
        id = ngx_mdvr_pg_value(rows, i, 2);
        keyword = ngx_mdvr_pg_value(rows, i, 3);
        key = ngx_mdvr_trace_key(&id, trace);
        event = mdvr_str(NULL, 0);

        if (s->rows) {
            msg = ngx_mdvr_pg_value(rows, i, 0);
            (void) mdvr_peek(ngx_mdvr_sig_view(&msg), names, 1, &event);
        }

        ngx_log_error(NGX_LOG_INFO, s->log, 0,
                      "mdvr: alarm %V %s, event_id: %*s, tenant_id: %*s, "
                      "device: \"%*s\", device_id: %*s, alarm_id: %V, "
                      "trace_id: %V",
                      &keyword,
                      is_new.len && is_new.data[0] == 't' ? "stored"
                                                          : "came again",
                      event.p ? event.len : 0, event.p,
                      (size_t) NGX_MDVR_UUID_LEN, tenant,
                      s->serial.len, s->serial.p,
                      (size_t) NGX_MDVR_UUID_LEN, device, &id, &key);
    }
}


/*
 * The trace of an alarm begins with the message that made it, from the moment
 * it came; what ends it and what announces its file are spans below that one.
 */

static void
ngx_mdvr_stored_trace(const ngx_mdvr_stored_t *s,
    const ngx_mdvr_pg_rows_t *rows)
{
    u_char            tenant[NGX_MDVR_UUID_LEN], buf[MDVR_TRACEPARENT_LEN];
    int64_t           received_us;
    ngx_str_t         id, keyword, later, above;
    ngx_mdvr_span_t   span, db;

    id = ngx_mdvr_pg_value(rows, 0, 2);
    keyword = ngx_mdvr_pg_value(rows, 0, 3);
    later = ngx_mdvr_pg_value(rows, 0, 4);

    if (id.len == 0
        || ngx_mdvr_pg_int(rows, 0, 5, &received_us) != NGX_OK)
    {
        return;
    }

    (void) ngx_mdvr_uuid_print(tenant, s->tenant_id);

    mdvr_span_attr_t  call[] = {
        { "db.system", MDVR_STR("postgresql"), 0 },
        { "db.statement", mdvr_cstr(s->sql), 0 }
    };

    mdvr_span_attr_t  attrs[] = {
        { "mdvr.keyword", ngx_mdvr_sig_view(&keyword), 0 },
        { "mdvr.alarm_id", ngx_mdvr_sig_view(&id), 0 },
        { "mdvr.tenant_id", mdvr_str(tenant, NGX_MDVR_UUID_LEN), 0 }
    };

    above = ngx_mdvr_trace_of_alarm(&id, buf);

    if (later.len && later.data[0] == 't') {
        ngx_mdvr_span_child(&span, &above);
        above = ngx_mdvr_span_parent(&span, buf);
        span.start_us = received_us;
        ngx_mdvr_span_end(&span, MDVR_SPAN_SERVER,
                          ngx_mdvr_sig_view(&keyword), NULL, attrs, 3);

    } else {
        ngx_mdvr_trace_alarm(&id, received_us, ngx_mdvr_sig_view(&keyword),
                             attrs, 3);
    }

    ngx_mdvr_span_child(&db, &above);
    db.start_us = s->sent_us ? s->sent_us : db.start_us;
    ngx_mdvr_span_end(&db, MDVR_SPAN_CLIENT, MDVR_STR("postgresql"), NULL,
                      call, 2);
}


/* What is live of the device is recorded when its tenant wants that. */

static void
ngx_mdvr_stored_record(const ngx_mdvr_uuid_t *device_id,
    const ngx_mdvr_pg_rows_t *rows)
{
    ngx_str_t        wanted;
    ngx_mdvr_uuid_t  alarm;

    wanted = ngx_mdvr_pg_value(rows, 0, 6);

    if (wanted.len && wanted.data[0] == 't'
        && ngx_mdvr_pg_uuid(rows, 0, 2, &alarm) == NGX_OK)
    {
        ngx_mdvr_record_alarm(device_id, &alarm);
    }
}


void
ngx_mdvr_stored(const ngx_mdvr_stored_t *s, const ngx_mdvr_pg_rows_t *rows)
{
    ngx_str_t   msg, is_new;
    ngx_uint_t  i;

    if (s->kind == NGX_MDVR_STORE_ALARM || s->kind == NGX_MDVR_STORE_FILE) {
        ngx_mdvr_stored_log(s, rows);

        is_new = ngx_mdvr_pg_nrows(rows) ? ngx_mdvr_pg_value(rows, 0, 1)
                                         : (ngx_str_t) ngx_null_string;

        if (is_new.len && is_new.data[0] == 't') {
            ngx_mdvr_count(alarms_stored_total);

            if (ngx_mdvr_trace_on()) {
                ngx_mdvr_stored_trace(s, rows);
            }

            if (s->kind == NGX_MDVR_STORE_ALARM) {
                ngx_mdvr_stored_record(s->device_id, rows);
            }

        } else {
            ngx_mdvr_count(alarms_repeated_total);
        }
    }

    if (s->kind == NGX_MDVR_STORE_FILE && ngx_mdvr_pg_nrows(rows)
        && !ngx_mdvr_pg_isnull(rows, 0, 0))
    {
        ngx_mdvr_download_hurry();
    }

    if (!s->rows) {
        return;
    }

    for (i = 0; i < ngx_mdvr_pg_nrows(rows); i++) {

        if (ngx_mdvr_pg_isnull(rows, i, 0)) {
            continue;
        }

        msg = ngx_mdvr_pg_value(rows, i, 0);
        ngx_mdvr_sig_publish(s->tenant_id, &msg, 0);
    }
}


void
ngx_mdvr_sig_publish(const ngx_mdvr_uuid_t *tenant_id, ngx_str_t *msg,
    ngx_uint_t flags)
{
    u_char      tenant[NGX_MDVR_UUID_LEN], name[MDVR_KEY_MAX];
    ngx_str_t   channel;
    mdvr_buf_t  b;

    ngx_mdvr_uuid_print(tenant, tenant_id);

    b = mdvr_buf(name, sizeof(name));
    mdvr_channel_event(&b, mdvr_str(tenant, NGX_MDVR_UUID_LEN));

    channel.data = b.p;
    channel.len = b.len;

    (void) ngx_mdvr_redis_publish(&channel, msg, flags);
}
