/*
 * Spans of the event loop.  A finished span is one datagram to the socket of
 * "mdvr-worker traces", which speaks to the collector; nobody ever waits for
 * it: a span that cannot be handed over at once is counted and dropped.
 *
 * Without "mdvr_trace" everything here does nothing, and the traceparent of a
 * request is passed on as it came.
 */

#ifndef NGX_MDVR_TRACE_H
#define NGX_MDVR_TRACE_H


#include "ngx_mdvr_core/ngx_mdvr_core.h"

#include "mdvr/domain/trace.h"


typedef struct {
    mdvr_trace_t              self;
    u_char                    parent[8];
    int64_t                   start_us;
    unsigned                  open:1;        /* begun, kept and not ended */
} ngx_mdvr_span_t;


/* Whether spans are made at all. */
ngx_uint_t ngx_mdvr_trace_on(void);

/* Unix time in microseconds. */
int64_t ngx_mdvr_trace_now(void);

/*
 * Begins a span below `traceparent`, or a trace of its own when that is empty
 * or none.  Costs nothing when spans are not made or the trace is not kept.
 */
void ngx_mdvr_span_begin(ngx_mdvr_span_t *span, const ngx_str_t *traceparent);

/* Begins one only when `traceparent` is one: no trace of its own. */
void ngx_mdvr_span_child(ngx_mdvr_span_t *span, const ngx_str_t *traceparent);

/*
 * Ends it: `attrs` as in mdvr_span_t, `error` in words or NULL.  Does nothing
 * when the span is not open.
 */
void ngx_mdvr_span_end(ngx_mdvr_span_t *span, mdvr_span_kind_e kind,
    mdvr_str_t name, const char *error, const mdvr_span_attr_t *attrs,
    ngx_uint_t nattrs);

/*
 * The first span of an alarm's trace (mdvr_trace_alarm()), already ended.
 * `alarm_id` in 36 characters.
 */
void ngx_mdvr_trace_alarm(const ngx_str_t *alarm_id, int64_t start_us,
    mdvr_str_t name, const mdvr_span_attr_t *attrs, ngx_uint_t nattrs);

/*
 * "traceparent" of an alarm's trace into `buf` of MDVR_TRACEPARENT_LEN bytes;
 * "" when spans are not made or `alarm_id` is none.
 */
ngx_str_t ngx_mdvr_trace_of_alarm(const ngx_str_t *alarm_id, u_char *buf);


#define NGX_MDVR_TRACE_KEY_LEN  32

/*
 * "trace_id" of log lines into `buf` of NGX_MDVR_TRACE_KEY_LEN bytes: of an
 * alarm's id, as in ngx_mdvr_trace_alarm(), or of a traceparent; "" of anything
 * else.  Whether spans are made does not matter.
 */
ngx_str_t ngx_mdvr_trace_key(const ngx_str_t *of, u_char *buf);

/* The traceparent that continues below this span, into `buf` as above; "" when
 * it has none. */
ngx_str_t ngx_mdvr_span_parent(const ngx_mdvr_span_t *span, u_char *buf);


/* for the core module only */

char *ngx_mdvr_conf_trace(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_mdvr_trace_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf);


#endif
