/* Spans of the worker, one datagram each: see trace.h. */

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "mdvr/domain/keys.h"
#include "worker/trace.h"

#define WK_TRACE_SERVICE  "mdvr-worker\n"

static int                 wk_trace_fd = -1;
static double              wk_trace_ratio = 1;
static _Atomic uint64_t   *wk_trace_missed;     /* shared with the children */
static struct sockaddr_un  wk_trace_to;
static mdvr_trace_t        wk_trace_now;        /* zeros: none */


static void
wk_trace_miss(uint64_t n)
{
    if (wk_trace_missed) {
        atomic_fetch_add(wk_trace_missed, n);
    }
}


uint64_t
wk_trace_lost(void)
{
    return wk_trace_missed ? atomic_exchange(wk_trace_missed, 0) : 0;
}


bool
wk_trace_count(wk_redis_t *redis, uint64_t n)
{
    redisReply  *reply;

    reply = wk_redis(redis, "HINCRBY " MDVR_KEY_JOB_STATS " spans:dropped %llu",
                     (unsigned long long) n);
    if (reply == NULL) {
        return false;
    }

    freeReplyObject(reply);

    return true;
}


bool
wk_trace_init(void)
{
    void        *page;
    const char  *path, *sample;

    path = getenv("MDVR_TRACE_SOCKET");
    sample = getenv("MDVR_TRACE_SAMPLE");

    if (sample && *sample
        && (!mdvr_str_dec(mdvr_cstr(sample), &wk_trace_ratio)
            || wk_trace_ratio < 0 || wk_trace_ratio > 1))
    {
        fprintf(stderr, "mdvr-worker: invalid value \"%s\" of "
                "MDVR_TRACE_SAMPLE: it must be between 0 and 1\n", sample);
        return false;
    }

    if (path == NULL || *path == '\0') {
        return true;
    }

    if (strlen(path) >= sizeof(wk_trace_to.sun_path)) {
        fprintf(stderr, "mdvr-worker: MDVR_TRACE_SOCKET is too long\n");
        return false;
    }

    wk_trace_to.sun_family = AF_UNIX;
    strcpy(wk_trace_to.sun_path, path);

    page = mmap(NULL, sizeof(*wk_trace_missed), PROT_READ|PROT_WRITE,
                MAP_SHARED|MAP_ANONYMOUS, -1, 0);
    wk_trace_missed = page == MAP_FAILED ? NULL : page;

    wk_trace_fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    return true;
}


static int64_t
wk_trace_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


static void
wk_trace_open(wk_span_t *s, const mdvr_trace_t *above)
{
    s->span.self = *above;
    memcpy(s->span.parent, above->span, 8);

    if (getrandom(s->span.self.span, 8, 0) != 8) {
        return;
    }

    s->span.self.span[7] |= 1;          /* never all zeros */
    s->open = above->sampled;
    s->span.start_us = wk_trace_us();
}


void
wk_trace_job(wk_span_t *s, const json_t *doc)
{
    const char    *text;
    mdvr_trace_t   above;

    memset(s, 0, sizeof(*s));

    if (wk_trace_fd == -1) {
        return;
    }

    text = json_string_value(json_object_get(doc, "traceparent"));

    if (text == NULL || !mdvr_trace_read(&above, mdvr_cstr(text))) {
        text = json_string_value(json_object_get(doc, "alarm_id"));

        if (text == NULL
            || !mdvr_trace_alarm(&above, mdvr_cstr(text), wk_trace_ratio))
        {
            return;
        }
    }

    s->span.kind = MDVR_SPAN_CONSUMER;
    wk_trace_open(s, &above);
}


void
wk_trace_enter(const wk_span_t *s)
{
    wk_trace_now = s->span.self;
}


bool
wk_trace_alarm(const char *alarm_id, mdvr_trace_t *saved)
{
    *saved = wk_trace_now;

    return wk_trace_fd != -1 && alarm_id
           && mdvr_trace_alarm(&wk_trace_now, mdvr_cstr(alarm_id),
                               wk_trace_ratio);
}


void
wk_trace_log(const char *traceparent, const char *alarm_id)
{
    char          id[33];
    unsigned      i;
    mdvr_trace_t  t;

    id[0] = '\0';

    if ((traceparent && mdvr_trace_read(&t, mdvr_cstr(traceparent)))
        || (alarm_id && mdvr_trace_alarm(&t, mdvr_cstr(alarm_id), 0)))
    {
        for (i = 0; i < 16; i++) {
            snprintf(id + 2 * i, 3, "%02x", t.trace[i]);
        }
    }

    wk_log_with("trace_id", id);
}


void
wk_trace_back(const mdvr_trace_t *saved)
{
    wk_trace_now = *saved;
}


void
wk_trace_begin(wk_span_t *s, mdvr_span_kind_e kind, const char *name)
{
    memset(s, 0, sizeof(*s));

    if (wk_trace_fd == -1 || mdvr_trace_none(&wk_trace_now)) {
        return;
    }

    s->above = wk_trace_now;
    s->span.kind = kind;
    s->span.name = mdvr_cstr(name);
    wk_trace_open(s, &s->above);
    wk_trace_now = s->span.self;
}


static mdvr_span_attr_t *
wk_trace_attr(wk_span_t *s, const char *key)
{
    static mdvr_span_attr_t  lost;

    if (!s->open || s->span.nattrs == WK_TRACE_ATTRS) {
        return &lost;
    }

    s->attrs[s->span.nattrs].key = key;

    return &s->attrs[s->span.nattrs++];
}


void
wk_trace_text(wk_span_t *s, const char *key, const char *value)
{
    if (value) {
        wk_trace_attr(s, key)->text = mdvr_cstr(value);
    }
}


void
wk_trace_number(wk_span_t *s, const char *key, int64_t value)
{
    wk_trace_attr(s, key)->number = value;
}


void
wk_trace_end(wk_span_t *s, const char *error)
{
    char        text[sizeof(WK_TRACE_SERVICE) + MDVR_SPAN_MAX];
    mdvr_buf_t  b;

    if (!mdvr_trace_none(&s->above)) {
        wk_trace_now = s->above;
    }

    if (!s->open) {
        return;
    }

    s->open = false;
    s->span.end_us = wk_trace_us();
    s->span.error = error != NULL;
    s->span.message = mdvr_cstr(error);
    s->span.attrs = s->attrs;

    b = mdvr_buf(text, sizeof(text));
    mdvr_buf_cstr(&b, WK_TRACE_SERVICE);
    mdvr_span_write(&b, &s->span);

    if (b.full) {
        s->span.nattrs = 0;
        b = mdvr_buf(text, sizeof(text));
        mdvr_buf_cstr(&b, WK_TRACE_SERVICE);
        mdvr_span_write(&b, &s->span);
    }

    if (!b.full
        && sendto(wk_trace_fd, b.p, b.len, MSG_DONTWAIT|MSG_NOSIGNAL,
                  (struct sockaddr *) &wk_trace_to, sizeof(wk_trace_to)) < 0)
    {
        wk_trace_miss(1);
        wk_log(WK_DEBUG, "a span was dropped", "reason", strerror(errno),
               NULL);
    }
}


bool
wk_trace_parent(char *out)
{
    mdvr_buf_t  b;

    if (wk_trace_fd == -1 || mdvr_trace_none(&wk_trace_now)) {
        return false;
    }

    b = mdvr_buf(out, MDVR_TRACEPARENT_LEN);
    mdvr_trace_write(&b, &wk_trace_now);
    out[MDVR_TRACEPARENT_LEN] = '\0';

    return true;
}


void
wk_trace_stamp(json_t *doc)
{
    char  text[MDVR_TRACEPARENT_LEN + 1];

    if (wk_trace_parent(text)) {
        json_object_set_new(doc, "traceparent", json_string(text));
    }
}
