/*
 * Numbers for /metrics.  Each worker adds to the array of its own slot in the
 * zone, without a lock; the scrape sums over slots.  A slot's counters outlive
 * the worker, its gauges are zeroed when a worker takes the slot.
 *
 * Keyed counters have one label; the first 128 values that are seen get a row
 * of their own (those listed below from the start), the rest is "other".
 */

#ifndef NGX_MDVR_METRICS_H
#define NGX_MDVR_METRICS_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"


/* kind, name (without "mdvr_"), help; included several times on purpose */

#define NGX_MDVR_METRICS(M)                                                   \
    M(GAUGE,   device_connections, "Open connections on the signaling port")  \
    M(GAUGE,   devices_online, "Registered devices of this node")             \
    M(GAUGE,   media_connections, "Open connections on the media port")       \
    M(GAUGE,   db_pool_in_use, "Database calls sent and not answered")        \
    M(GAUGE,   db_pool_waiting, "Database calls waiting for a connection")    \
    M(GAUGE,   db_connections, "Established database connections")            \
    M(COUNTER, db_calls_total, "Database calls made")                         \
    M(COUNTER, db_errors_total, "Database calls that failed")                 \
    M(COUNTER, db_timeouts_total, "Database calls that passed their deadline") \
    M(COUNTER, db_repeated_total, "Database calls run again after a deadlock") \
    M(COUNTER, db_refused_total, "Database calls refused, queue full")        \
    M(COUNTER, db_connects_total, "Database connections established")         \
    M(GAUGE,   secrets_closed, "Secrets that no key of mdvr_secret_key opens") \
    M(GAUGE,   redis_connections, "Established Redis connections")            \
    M(COUNTER, redis_commands_total, "Redis commands sent")                   \
    M(COUNTER, redis_errors_total, "Redis commands that failed")              \
    M(COUNTER, redis_dropped_total, "Publications dropped")                   \
    M(COUNTER, redis_connects_total, "Redis connections established")         \
    M(COUNTER, signaling_bytes_in_total, "Bytes read on the signaling port")  \
    M(COUNTER, signaling_bytes_out_total, "Bytes sent on the signaling port") \
    M(COUNTER, registrations_contested_total, "Registrations from another address while the device was sending") \
    M(COUNTER, telemetry_stored_total, "Positions stored")                    \
    M(COUNTER, telemetry_late_total, "Positions that came late")              \
    M(COUNTER, telemetry_duplicate_total, "Positions stored before")          \
    M(COUNTER, telemetry_spooled_total, "Positions that went to the spool")   \
    M(COUNTER, telemetry_adopted_total, "Positions taken over from a worker that was killed") \
    M(GAUGE,   telemetry_waiting, "Positions in the batch")                   \
    M(GAUGE,   spool_depth, "Positions in the spool on disk")                 \
    M(GAUGE,   alarm_journal_depth, "Alarms in the journal on disk")          \
    M(COUNTER, alarms_stored_total, "Alarm messages stored")                  \
    M(COUNTER, alarms_repeated_total, "Alarm messages recognised as repeats") \
    M(COUNTER, commands_total, "Commands sent to devices")                    \
    M(COUNTER, commands_failed_total, "Commands that a device refused")       \
    M(COUNTER, commands_timeout_total, "Commands that were not answered")     \
    M(GAUGE,   live_streams, "Streams that arrive on this node")              \
    M(GAUGE,   live_viewers, "Viewers attached on this node")                 \
    M(GAUGE,   talks, "Voice sessions that run on this node")                 \
    M(COUNTER, talk_frames_in_total, "Voice frames of devices")               \
    M(COUNTER, talk_frames_out_total, "Voice frames sent to devices")         \
    M(COUNTER, talk_dropped_ms_total, "Speech dropped on its way to devices") \
    M(COUNTER, media_frames_total, "Video frames accepted")                   \
    M(COUNTER, media_audio_frames_total, "Audio frames accepted")             \
    M(COUNTER, media_gaps_total, "Discontinuities in live streams")           \
    M(COUNTER, media_no_key_total, "Frames dropped before a key frame")       \
    M(COUNTER, viewer_skips_total, "Times a viewer skipped to a key frame")   \
    M(GAUGE,   ws_sockets, "Open push sockets and event streams")             \
    M(COUNTER, ws_messages_total, "Messages queued to push sockets")          \
    M(COUNTER, ws_bytes_total, "Bytes written to push sockets")               \
    M(COUNTER, ws_dropped_total, "Telemetry messages dropped, slow client")   \
    M(COUNTER, ws_closed_slow_total, "Push sockets closed with 4408")         \
    M(COUNTER, trace_spans_total, "Spans handed to the exporter")             \
    M(COUNTER, trace_spans_dropped_total, "Spans that could not be handed on") \
    M(COUNTER, zone_full_total, "Refusals because the zone was full")

typedef enum {
#define M(kind, name, help)  NGX_MDVR_M_##name,
    NGX_MDVR_METRICS(M)
#undef M
    NGX_MDVR_M_COUNT
} ngx_mdvr_metric_e;


/* name, label, help, values that are there from the start */

#define NGX_MDVR_METRICS_KEYED(K)                                             \
    K(messages_total, "keyword", "Messages of devices by keyword",            \
      "V100 V101 V109 V114 V141 V142 V201 V232")                              \
    K(refusals_total, "reason", "Refusals by reason",                         \
      "syntax length unknown_serial address_limit timeout")                   \
    K(media_bytes_total, "direction", "Media bytes", "in out")                \
    K(media_messages_total, "type", "Messages on the media port by type", "") \
    K(stream_ends_total, "reason", "Ends of live streams by reason", "")      \
    K(talk_ends_total, "reason", "Ends of voice sessions by reason", "")

typedef enum {
#define K(name, label, help, values)  NGX_MDVR_K_##name,
    NGX_MDVR_METRICS_KEYED(K)
#undef K
    NGX_MDVR_K_COUNT
} ngx_mdvr_keyed_e;


/* name, help: seconds, buckets 1 ms to 10 s */

#define NGX_MDVR_METRICS_HISTOGRAM(H)                                         \
    H(db_call_seconds, "Time of a database call, waiting included")           \
    H(command_seconds, "Time from a command to the device's answer")          \
    H(live_start_seconds, "Time from video start to the first frame")

typedef enum {
#define H(name, help)  NGX_MDVR_H_##name,
    NGX_MDVR_METRICS_HISTOGRAM(H)
#undef H
    NGX_MDVR_H_COUNT
} ngx_mdvr_histogram_e;


/* All of these may be called in any process; without a slot they do nothing. */

#define ngx_mdvr_count(name)      ngx_mdvr_metric_add(NGX_MDVR_M_##name, 1)
#define ngx_mdvr_count_n(name, n) ngx_mdvr_metric_add(NGX_MDVR_M_##name, n)
#define ngx_mdvr_gauge(name, n)   ngx_mdvr_metric_set(NGX_MDVR_M_##name, n)

void ngx_mdvr_metric_add(ngx_mdvr_metric_e metric, int64_t n);
void ngx_mdvr_metric_set(ngx_mdvr_metric_e metric, int64_t value);

/* `value` is the label's, [A-Za-z0-9_./-]{1,31}; what does not fit or comes
 * too late is counted as "other". */
#define ngx_mdvr_count_by(name, value, n)                                     \
    ngx_mdvr_keyed_add(NGX_MDVR_K_##name, value, n)

void ngx_mdvr_keyed_add(ngx_mdvr_keyed_e keyed, const ngx_str_t *value,
    int64_t n);

/* A refusal by its reason, a string literal. */
#define ngx_mdvr_refusal(reason)                                              \
    do {                                                                      \
        static const ngx_str_t  ngx_mdvr_refusal_ = ngx_string(reason);       \
        ngx_mdvr_keyed_add(NGX_MDVR_K_refusals_total, &ngx_mdvr_refusal_, 1); \
    } while (0)

#define ngx_mdvr_observe(name, ms)                                            \
    ngx_mdvr_histogram_add(NGX_MDVR_H_##name, ms)

void ngx_mdvr_histogram_add(ngx_mdvr_histogram_e histogram, ngx_msec_t ms);

/*
 * One HTTP request of the suite: `route` as in the route table ("GET
 * /devices/{id}", 63 characters at most), counted in http_requests_total
 * {route,status} and http_request_seconds.
 */
void ngx_mdvr_metric_http(const ngx_str_t *route, ngx_uint_t status,
    ngx_msec_t ms);

/* Shows a route with status 200 and zero from the start. */
void ngx_mdvr_metric_route(const ngx_str_t *route);


/* for the core module only */

size_t ngx_mdvr_metrics_size(void);
void ngx_mdvr_metrics_attach(void *area, ngx_uint_t slot);
ngx_int_t ngx_mdvr_metrics_text(ngx_pool_t *pool, ngx_str_t *text);


#endif
