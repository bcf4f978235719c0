/*
 * Spans of the worker: what a child does for a job is below the span of the
 * job, which the supervisor makes, so that a child that is killed still shows.
 *
 * A finished span is one datagram to "mdvr-worker traces" (otlp.c); nobody
 * waits for it.  Without MDVR_TRACE_SOCKET all of this does nothing.
 */

#ifndef MDVR_WORKER_TRACE_H
#define MDVR_WORKER_TRACE_H

#include <jansson.h>

#include "mdvr/domain/trace.h"
#include "worker/redis.h"

#define WK_TRACE_ATTRS  6

typedef struct {
    mdvr_span_t       span;             /* attrs point below */
    mdvr_span_attr_t  attrs[WK_TRACE_ATTRS];
    mdvr_trace_t      above;            /* what was current before */
    bool              open;
} wk_span_t;

/*
 * Spans that this program and its children could not hand over since the last
 * call; wk_trace_count() adds a number to what /metrics shows (false: Redis is
 * away).
 */
uint64_t wk_trace_lost(void);
bool wk_trace_count(wk_redis_t *redis, uint64_t n);

/* Reads MDVR_TRACE_SOCKET and MDVR_TRACE_SAMPLE; false after saying what is
 * wrong with them. */
bool wk_trace_init(void);

/*
 * The span of a job document: below its "traceparent", or its alarm's trace.
 * Does not become the current one.
 */
void wk_trace_job(wk_span_t *s, const json_t *doc);

/* Makes the span of a job that of this process; what follows is below it. */
void wk_trace_enter(const wk_span_t *s);

/* The first span of an alarm becomes the current one; false: no such trace.
 * `saved` takes what was current, for wk_trace_back(). */
bool wk_trace_alarm(const char *alarm_id, mdvr_trace_t *saved);
void wk_trace_back(const mdvr_trace_t *saved);

/*
 * "trace_id" in each line of the log from here on: of a traceparent, else of an
 * alarm; neither (NULL or ""): none.  Whether spans are made does not matter.
 */
void wk_trace_log(const char *traceparent, const char *alarm_id);

/*
 * A span below the current one, current until its end.  Attributes hold views:
 * what they show must live as long.
 */
void wk_trace_begin(wk_span_t *s, mdvr_span_kind_e kind, const char *name);
void wk_trace_text(wk_span_t *s, const char *key, const char *value);
void wk_trace_number(wk_span_t *s, const char *key, int64_t value);
void wk_trace_end(wk_span_t *s, const char *error);     /* NULL: it went well */

/* "traceparent" of the current span into `out` of 56 bytes; false: none. */
bool wk_trace_parent(char *out);

/* Sets "traceparent" of a job document to the current span, if there is. */
void wk_trace_stamp(json_t *doc);

/* mdvr-worker traces: receives spans, sends them to MDVR_OTLP_ENDPOINT. */
int wk_otlp_main(void);

#endif /* MDVR_WORKER_TRACE_H */
