/*
 * Spans of the event loop, one datagram each: see ngx_mdvr_trace.h.
 *
 * The socket is not connected, so that the exporter may come, go and come
 * again: each datagram names it.  "No such file", "refused" and "try again"
 * are all the same to us: the span is dropped and counted.
 */


#include "ngx_mdvr_core/ngx_mdvr_trace.h"
#include "ngx_mdvr_core/ngx_mdvr_metrics.h"


#define NGX_MDVR_TRACE_SERVICE  "mdvr-nginx\n"


static ngx_socket_t        ngx_mdvr_trace_fd = (ngx_socket_t) -1;
static double              ngx_mdvr_trace_ratio;
static struct sockaddr_un  ngx_mdvr_trace_to;


/* mdvr_trace <socket> [sample=<0..1>] */

char *
ngx_mdvr_conf_trace(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_mdvr_core_conf_t *mcf = conf;

    double       ratio;
    ngx_str_t   *value;

    if (mcf->trace.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0
        || value[1].len >= sizeof(ngx_mdvr_trace_to.sun_path))
    {
        return "needs the path of a socket, of at most 107 characters";
    }

    mcf->trace = value[1];
    mcf->trace_ratio = 1000000;

    if (cf->args->nelts == 3) {
        if (value[2].len <= 7 || ngx_strncmp(value[2].data, "sample=", 7) != 0
            || !mdvr_str_dec(mdvr_str(value[2].data + 7, value[2].len - 7),
                             &ratio)
            || ratio < 0 || ratio > 1)
        {
            return "needs \"sample=\" with a number from 0 to 1";
        }

        mcf->trace_ratio = (ngx_uint_t) (ratio * 1000000);
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_mdvr_trace_init(ngx_cycle_t *cycle, ngx_mdvr_core_conf_t *conf)
{
    if (conf->trace.len == 0) {
        return NGX_OK;
    }

    ngx_mdvr_trace_fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_NONBLOCK|SOCK_CLOEXEC,
                               0);

    if (ngx_mdvr_trace_fd == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, ngx_errno,
                      "no socket for traces");
        return NGX_ERROR;
    }

    ngx_mdvr_trace_to.sun_family = AF_UNIX;
    ngx_memcpy(ngx_mdvr_trace_to.sun_path, conf->trace.data, conf->trace.len);
    ngx_mdvr_trace_ratio = (double) conf->trace_ratio / 1000000;

    return NGX_OK;
}


ngx_uint_t
ngx_mdvr_trace_on(void)
{
    return ngx_mdvr_trace_fd != (ngx_socket_t) -1;
}


int64_t
ngx_mdvr_trace_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


static void
ngx_mdvr_trace_id(u_char *id, size_t len)
{
    size_t    i;
    uint32_t  r = 0;

    for (i = 0; i < len; i++) {
        if (i % 3 == 0) {
            r = (uint32_t) ngx_random();        /* 31 bits */
        }

        id[i] = (u_char) r;
        r >>= 8;
    }

    id[len - 1] |= 1;                           /* never all zeros */
}


void
ngx_mdvr_span_begin(ngx_mdvr_span_t *span, const ngx_str_t *traceparent)
{
    if (!ngx_mdvr_trace_on()) {
        ngx_memzero(span, sizeof(ngx_mdvr_span_t));
        return;
    }

    ngx_mdvr_span_child(span, traceparent);

    if (mdvr_trace_none(&span->self)) {
        ngx_mdvr_trace_id(span->self.trace, 16);
        ngx_mdvr_trace_id(span->self.span, 8);
        span->self.sampled = mdvr_trace_kept(span->self.trace,
                                             ngx_mdvr_trace_ratio);
        span->open = span->self.sampled;
        span->start_us = span->open ? ngx_mdvr_trace_now() : 0;
    }
}


void
ngx_mdvr_span_child(ngx_mdvr_span_t *span, const ngx_str_t *traceparent)
{
    mdvr_trace_t  above;

    ngx_memzero(span, sizeof(ngx_mdvr_span_t));

    if (!ngx_mdvr_trace_on()
        || !mdvr_trace_read(&above, mdvr_str(traceparent->data,
                                             traceparent->len)))
    {
        return;
    }

    span->self = above;
    ngx_memcpy(span->parent, above.span, 8);
    ngx_mdvr_trace_id(span->self.span, 8);

    if (above.sampled) {
        span->open = 1;
        span->start_us = ngx_mdvr_trace_now();
    }
}


static void
ngx_mdvr_trace_send(mdvr_span_t *s)
{
    u_char      text[sizeof(NGX_MDVR_TRACE_SERVICE) + MDVR_SPAN_MAX];
    mdvr_buf_t  b;

    b = mdvr_buf(text, sizeof(text));
    mdvr_buf_cstr(&b, NGX_MDVR_TRACE_SERVICE);
    mdvr_span_write(&b, s);

    if (b.full) {
        s->nattrs = 0;
        b = mdvr_buf(text, sizeof(text));
        mdvr_buf_cstr(&b, NGX_MDVR_TRACE_SERVICE);
        mdvr_span_write(&b, s);
    }

    if (!b.full
        && sendto(ngx_mdvr_trace_fd, b.p, b.len, MSG_DONTWAIT|MSG_NOSIGNAL,
                  (struct sockaddr *) &ngx_mdvr_trace_to,
                  sizeof(ngx_mdvr_trace_to))
           == (ssize_t) b.len)
    {
        ngx_mdvr_count(trace_spans_total);
        return;
    }

    ngx_mdvr_count(trace_spans_dropped_total);
}


void
ngx_mdvr_span_end(ngx_mdvr_span_t *span, mdvr_span_kind_e kind,
    mdvr_str_t name, const char *error, const mdvr_span_attr_t *attrs,
    ngx_uint_t nattrs)
{
    mdvr_span_t  s;

    if (!span->open) {
        return;
    }

    span->open = 0;

    ngx_memzero(&s, sizeof(mdvr_span_t));
    s.self = span->self;
    ngx_memcpy(s.parent, span->parent, 8);
    s.kind = kind;
    s.name = name;
    s.start_us = span->start_us;
    s.end_us = ngx_mdvr_trace_now();
    s.error = error != NULL;
    s.message = mdvr_cstr(error);
    s.attrs = attrs;
    s.nattrs = nattrs;

    ngx_mdvr_trace_send(&s);
}


ngx_str_t
ngx_mdvr_trace_key(const ngx_str_t *of, u_char *buf)
{
    ngx_str_t     key;
    mdvr_trace_t  t;

    key.data = buf;
    key.len = 0;

    if (mdvr_trace_read(&t, mdvr_str(of->data, of->len))
        || mdvr_trace_alarm(&t, mdvr_str(of->data, of->len), 0))
    {
        key.len = ngx_hex_dump(buf, t.trace, 16) - buf;
    }

    return key;
}


void
ngx_mdvr_trace_alarm(const ngx_str_t *alarm_id, int64_t start_us,
    mdvr_str_t name, const mdvr_span_attr_t *attrs, ngx_uint_t nattrs)
{
    mdvr_span_t  s;

    ngx_memzero(&s, sizeof(mdvr_span_t));

    if (!ngx_mdvr_trace_on()
        || !mdvr_trace_alarm(&s.self, mdvr_str(alarm_id->data, alarm_id->len),
                             ngx_mdvr_trace_ratio)
        || !s.self.sampled)
    {
        return;
    }

    s.kind = MDVR_SPAN_SERVER;
    s.name = name;
    s.start_us = start_us;
    s.end_us = ngx_mdvr_trace_now();
    s.attrs = attrs;
    s.nattrs = nattrs;

    ngx_mdvr_trace_send(&s);
}


static ngx_str_t
ngx_mdvr_trace_text(const mdvr_trace_t *t, u_char *buf)
{
    ngx_str_t   s;
    mdvr_buf_t  b;

    b = mdvr_buf(buf, MDVR_TRACEPARENT_LEN);
    mdvr_trace_write(&b, t);

    s.data = buf;
    s.len = b.len;

    return s;
}


ngx_str_t
ngx_mdvr_trace_of_alarm(const ngx_str_t *alarm_id, u_char *buf)
{
    mdvr_trace_t  t;

    if (!ngx_mdvr_trace_on()
        || !mdvr_trace_alarm(&t, mdvr_str(alarm_id->data, alarm_id->len),
                             ngx_mdvr_trace_ratio))
    {
        return (ngx_str_t) ngx_null_string;
    }

    return ngx_mdvr_trace_text(&t, buf);
}


ngx_str_t
ngx_mdvr_span_parent(const ngx_mdvr_span_t *span, u_char *buf)
{
    if (mdvr_trace_none(&span->self)) {
        return (ngx_str_t) ngx_null_string;
    }

    return ngx_mdvr_trace_text(&span->self, buf);
}
