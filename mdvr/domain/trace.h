/*
 * Traces: the W3C "traceparent" word and spans as OTLP/HTTP's JSON wants them.
 *
 * An alarm is a trace of its own whose id is the alarm's UUID, and its first
 * span has the UUID's last eight bytes as id: every part that knows the alarm
 * (signaling, transfer, worker, notification) can continue that trace without
 * being told, on any node and after any restart.
 *
 * Source: W3C Trace Context 1 (3.2), OTLP 1.0 (JSON: ids in hexadecimal, 64-bit
 * numbers as decimal strings, enumerations as numbers).
 */

#ifndef MDVR_DOMAIN_TRACE_H
#define MDVR_DOMAIN_TRACE_H

#include "mdvr/basics/str.h"

#define MDVR_TRACEPARENT_LEN  55
#define MDVR_SPAN_MAX         4096      /* bytes of a span: what is larger is
                                           written without its attributes */
#define MDVR_SPAN_ATTRS       12

typedef struct {
    uint8_t  trace[16];
    uint8_t  span[8];
    bool     sampled;
} mdvr_trace_t;

/* OTLP's numbers */
typedef enum {
    MDVR_SPAN_INTERNAL = 1,
    MDVR_SPAN_SERVER,
    MDVR_SPAN_CLIENT,
    MDVR_SPAN_PRODUCER,
    MDVR_SPAN_CONSUMER
} mdvr_span_kind_e;

/* `text` is cut at 300 bytes; with text.p NULL the value is `number`. */
typedef struct {
    const char  *key;
    mdvr_str_t   text;
    int64_t      number;
} mdvr_span_attr_t;

typedef struct {
    mdvr_trace_t             self;
    uint8_t                  parent[8];     /* zeros: the first of its trace */
    mdvr_span_kind_e         kind;
    mdvr_str_t               name;          /* cut at 100 bytes */
    int64_t                  start_us;      /* unix time */
    int64_t                  end_us;
    bool                     error;
    mdvr_str_t               message;       /* of the error; cut at 200 bytes */
    const mdvr_span_attr_t  *attrs;
    unsigned                 nattrs;        /* at most MDVR_SPAN_ATTRS */
} mdvr_span_t;

/*
 * Reads a traceparent: lower-case hexadecimal only, no id all zeros, version
 * 00 of exactly 55 characters, later versions longer when '-' follows, ff
 * never.  False, *t untouched: it is none.
 */
bool mdvr_trace_read(mdvr_trace_t *t, mdvr_str_t s);

/* Writes version 00. */
void mdvr_trace_write(mdvr_buf_t *b, const mdvr_trace_t *t);

/*
 * The trace of an alarm, its first span as `span`.  `uuid` in the canonical
 * 36 characters; false when it is not.  `ratio` as below decides `sampled`.
 */
bool mdvr_trace_alarm(mdvr_trace_t *t, mdvr_str_t uuid, double ratio);

/* Whether a trace of that id belongs to the share `ratio` (0..1) that is kept:
 * the same answer everywhere. */
bool mdvr_trace_kept(const uint8_t trace[16], double ratio);

bool mdvr_trace_none(const mdvr_trace_t *t);

/* One JSON object, an element of "spans"; look at b->full. */
void mdvr_span_write(mdvr_buf_t *b, const mdvr_span_t *s);

#endif /* MDVR_DOMAIN_TRACE_H */
