/*
 * mdvr-worker traces: the one process of a node that speaks to the collector.
 *
 * Spans come as datagrams "<service>\n<span as OTLP's JSON>" from nginx, the
 * worker's processes and mdvr-rtc, which never wait.  They leave in batches
 * (held.h), full ones at once, others after a second, as OTLP/HTTP in JSON; one
 * request at a time, and spans come in meanwhile.  While the collector is away
 * (no answer within 10 s, 408, 429, 502, 503, 504) they wait in a bounded
 * buffer.  What does not fit, and what the collector refuses, is dropped, and
 * counted in the log and, where Redis is known, for /metrics.
 *
 *   MDVR_OTLP_ENDPOINT        http://host:4318; "/v1/traces" is added
 *   MDVR_OTLP_HEADERS_FILE    lines "Name: value" for the collector, optional
 *   MDVR_TRACE_SOCKET         where spans come in
 */

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mdvr/basics/json.h"
#include "worker/held.h"
#include "worker/redis.h"
#include "worker/trace.h"

#define OTLP_READS      512             /* datagrams at a time */
#define OTLP_DELAY_MS   1000
#define OTLP_DATAGRAM   (MDVR_SPAN_MAX + 64)
#define OTLP_RETRY_MS   1000            /* first pause, doubling */
#define OTLP_RETRY_MAX  30000
#define OTLP_TIMEOUT_S  10
#define OTLP_COUNT_MS   2000            /* between two looks at Redis */

typedef struct {
    int                 fd;
    const char         *node;
    char               *url;
    CURLM              *multi;
    CURL               *curl;
    struct curl_slist  *headers;
    char                error[CURL_ERROR_SIZE];
    char               *sending;        /* the request under way, or NULL */
    wk_held_t           held;
    int64_t             since;          /* when the oldest came; 0: none */
    int64_t             not_before;     /* after a failure */
    int64_t             pause;
    uint64_t            dropped;        /* since the last line about it */
    uint64_t            uncounted;      /* of them, not yet in Redis */
    int64_t             count_at;
    bool                counts;         /* Redis is known */
    wk_conf_t           conf;
    wk_redis_t          redis;
} otlp_t;

static volatile sig_atomic_t  otlp_stop;


static void
otlp_on_signal(int signo)
{
    (void) signo;
    otlp_stop = 1;
}


static void
otlp_lost(otlp_t *o, uint64_t n)
{
    o->dropped += n;
    o->uncounted += n;
}


static void
otlp_receive(otlp_t *o)
{
    char      text[OTLP_DATAGRAM], *nl;
    ssize_t   n;
    unsigned  i;

    for (i = 0; i < OTLP_READS; i++) {
        n = recv(o->fd, text, sizeof(text), MSG_DONTWAIT|MSG_TRUNC);

        if (n < 0) {
            return;
        }

        nl = n <= (ssize_t) sizeof(text) ? memchr(text, '\n', (size_t) n)
                                         : NULL;

        if (nl == NULL || nl + 1 == text + n || nl[1] != '{'
            || !wk_held_add(&o->held, text, (size_t) (nl - text), nl + 1,
                            (size_t) (text + n - nl - 1)))
        {
            otlp_lost(o, 1);
            continue;
        }

        if (o->since == 0) {
            o->since = wk_clock_ms();
        }
    }
}


static size_t
otlp_ignore(char *p, size_t size, size_t n, void *data)
{
    (void) p;
    (void) data;

    return size * n;
}


/* resourceSpans of the blocks that were taken; NULL: no memory. */

static char *
otlp_document(const otlp_t *o, size_t *len)
{
    char              *text;
    size_t             size;
    unsigned           i;
    mdvr_buf_t         b;
    mdvr_json_t        j;
    const wk_block_t  *block;

    size = 256;

    for (i = 0; i < o->held.nservices; i++) {
        block = o->held.services[i].first;
        size += block ? block->len + 1024 : 0;
    }

    text = malloc(size);

    if (text == NULL) {
        return NULL;
    }

    b = mdvr_buf(text, size);
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    mdvr_json_array(&j, "resourceSpans");

    for (i = 0; i < o->held.nservices; i++) {
        block = o->held.services[i].first;

        if (block == NULL) {
            continue;
        }

        mdvr_json_object(&j, NULL);
        mdvr_json_object(&j, "resource");
        mdvr_json_array(&j, "attributes");
        mdvr_json_object(&j, NULL);
        mdvr_json_cstr(&j, "key", "service.name");
        mdvr_json_object(&j, "value");
        mdvr_json_cstr(&j, "stringValue", o->held.services[i].name);
        mdvr_json_object_end(&j);
        mdvr_json_object_end(&j);
        mdvr_json_object(&j, NULL);
        mdvr_json_cstr(&j, "key", "service.instance.id");
        mdvr_json_object(&j, "value");
        mdvr_json_cstr(&j, "stringValue", o->node);
        mdvr_json_object_end(&j);
        mdvr_json_object_end(&j);
        mdvr_json_array_end(&j);
        mdvr_json_object_end(&j);
        mdvr_json_array(&j, "scopeSpans");
        mdvr_json_object(&j, NULL);
        mdvr_json_object(&j, "scope");
        mdvr_json_cstr(&j, "name", "mdvr");
        mdvr_json_object_end(&j);
        mdvr_json_array(&j, "spans");
        mdvr_json_raw(&j, NULL, mdvr_str(block->text, block->len));
        mdvr_json_array_end(&j);
        mdvr_json_object_end(&j);
        mdvr_json_array_end(&j);
        mdvr_json_object_end(&j);
    }

    mdvr_json_array_end(&j);
    mdvr_json_object_end(&j);
    *len = b.len;

    if (b.full) {
        free(text);
        return NULL;
    }

    return text;
}


/* What became of the request; status 0: there was no answer. */

static void
otlp_ended(otlp_t *o, long status)
{
    char      n[24];
    unsigned  spans;

    free(o->sending);
    o->sending = NULL;

    if (status == 0 || status == 408 || status == 429
        || (status >= 502 && status <= 504))
    {
        if (o->pause == 0) {
            snprintf(n, sizeof(n), "%ld", status);
            wk_log(WK_WARN, "the trace collector does not take spans",
                   "code", n, "reason", o->error, NULL);
        }

        o->pause = o->pause ? o->pause * 2 : OTLP_RETRY_MS;
        o->pause = o->pause > OTLP_RETRY_MAX ? OTLP_RETRY_MAX : o->pause;
        o->not_before = wk_clock_ms() + o->pause;
        return;
    }

    spans = wk_held_drop(&o->held);
    snprintf(n, sizeof(n), "%u", spans);

    o->since = wk_held_any(&o->held) ? wk_clock_ms() : 0;
    o->pause = 0;
    o->not_before = 0;

    if (status >= 300) {
        otlp_lost(o, spans);
        snprintf(n, sizeof(n), "%ld", status);
        wk_log(WK_ERROR, "the trace collector refused spans", "code", n,
               NULL);

    } else {
        wk_log(WK_DEBUG, "spans sent", "count", n, NULL);
    }

    if (o->dropped) {
        snprintf(n, sizeof(n), "%llu", (unsigned long long) o->dropped);
        wk_log(WK_WARN, "spans were dropped", "count", n, NULL);
        o->dropped = 0;
    }
}


/* Begins a request with the oldest spans; others come in meanwhile. */

static void
otlp_send(otlp_t *o)
{
    size_t  len;

    wk_held_take(&o->held);
    o->error[0] = '\0';
    o->sending = otlp_document(o, &len);

    if (o->sending == NULL) {
        otlp_ended(o, 0);
        return;
    }

    curl_easy_setopt(o->curl, CURLOPT_URL, o->url);
    curl_easy_setopt(o->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(o->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(o->curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(o->curl, CURLOPT_HTTPHEADER, o->headers);
    curl_easy_setopt(o->curl, CURLOPT_POSTFIELDS, o->sending);
    curl_easy_setopt(o->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) len);
    curl_easy_setopt(o->curl, CURLOPT_TIMEOUT, (long) OTLP_TIMEOUT_S);
    curl_easy_setopt(o->curl, CURLOPT_WRITEFUNCTION, otlp_ignore);
    curl_easy_setopt(o->curl, CURLOPT_ERRORBUFFER, o->error);

    if (curl_multi_add_handle(o->multi, o->curl) != CURLM_OK) {
        otlp_ended(o, 0);
    }
}


/* Waits at most so long for spans and for the collector, and serves both. */

static void
otlp_step(otlp_t *o, int wait)
{
    int                  n;
    long                 status;
    CURLMsg             *msg;
    struct curl_waitfd   in = { o->fd, CURL_WAIT_POLLIN, 0 };

    (void) curl_multi_poll(o->multi, &in, 1, wait, NULL);
    otlp_receive(o);

    if (o->sending == NULL) {
        return;
    }

    (void) curl_multi_perform(o->multi, &n);

    while ((msg = curl_multi_info_read(o->multi, &n)) != NULL) {
        if (msg->msg == CURLMSG_DONE) {
            status = 0;
            curl_easy_getinfo(o->curl, CURLINFO_RESPONSE_CODE, &status);
            status = msg->data.result == CURLE_OK ? status : 0;
            curl_multi_remove_handle(o->multi, o->curl);
            otlp_ended(o, status);
            return;
        }
    }
}


static bool
otlp_due(const otlp_t *o, int64_t now)
{
    if (o->sending || o->since == 0 || now < o->not_before) {
        return false;
    }

    return wk_held_full(&o->held) || now >= o->since + OTLP_DELAY_MS;
}


/* Tells /metrics, by way of Redis, how many spans were lost here. */

static void
otlp_count(otlp_t *o, int64_t now)
{
    if (o->uncounted && o->counts && now >= o->count_at) {
        o->count_at = now + OTLP_COUNT_MS;

        if (wk_trace_count(&o->redis, o->uncounted)) {
            o->uncounted = 0;
        }
    }
}


static int
otlp_listen(const char *path)
{
    int                 fd, size = 4 << 20;
    struct sockaddr_un  sa;

    memset(&sa, 0, sizeof(sa));
    sa.sun_family = AF_UNIX;

    if (strlen(path) >= sizeof(sa.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }

    strcpy(sa.sun_path, path);
    fd = socket(AF_UNIX, SOCK_DGRAM|SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return -1;
    }

    (void) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    (void) unlink(path);
    (void) umask(007);

    if (bind(fd, (struct sockaddr *) &sa, sizeof(sa)) == -1) {
        close(fd);
        return -1;
    }

    return fd;
}


/* "Name: value" a line; false: the file cannot be read. */

static bool
otlp_headers(otlp_t *o, const char *file)
{
    char   line[2048];
    FILE  *f;

    o->headers = curl_slist_append(NULL, "Content-Type: application/json");

    if (file == NULL || *file == '\0') {
        return true;
    }

    f = fopen(file, "r");

    if (f == NULL) {
        return false;
    }

    while (fgets(line, sizeof(line), f)) {
        line[strcspn(line, "\r\n")] = '\0';

        if (line[0]) {
            o->headers = curl_slist_append(o->headers, line);
        }
    }

    fclose(f);

    return true;
}


static bool
otlp_setup(otlp_t *o)
{
    size_t       n;
    const char  *endpoint, *path, *file;

    endpoint = getenv("MDVR_OTLP_ENDPOINT");
    path = getenv("MDVR_TRACE_SOCKET");
    file = getenv("MDVR_OTLP_HEADERS_FILE");
    o->node = getenv("MDVR_NODE") ? getenv("MDVR_NODE") : "";

    if (endpoint == NULL || path == NULL
        || (strncmp(endpoint, "http://", 7) != 0
            && strncmp(endpoint, "https://", 8) != 0))
    {
        fputs("mdvr-worker traces: needs MDVR_OTLP_ENDPOINT (http:// or "
              "https://) and MDVR_TRACE_SOCKET\n", stderr);
        return false;
    }

    n = strlen(endpoint);
    o->url = malloc(n + sizeof("/v1/traces"));
    o->curl = curl_easy_init();

    o->multi = curl_multi_init();

    if (o->url == NULL || o->curl == NULL || o->multi == NULL) {
        return false;
    }

    strcpy(o->url, endpoint);

    while (n && o->url[n - 1] == '/') {
        o->url[--n] = '\0';
    }

    if (n < 10 || strcmp(o->url + n - 10, "/v1/traces") != 0) {
        strcpy(o->url + n, "/v1/traces");
    }

    if (!otlp_headers(o, file)) {
        fprintf(stderr, "mdvr-worker: cannot open %s: %s\n", file,
                strerror(errno));
        return false;
    }

    o->fd = otlp_listen(path);

    if (o->fd == -1) {
        fprintf(stderr, "mdvr-worker: cannot listen at %s: %s\n", path,
                strerror(errno));
        return false;
    }

    return true;
}


int
wk_otlp_main(void)
{
    int64_t           now, wait, until;
    static otlp_t     o;
    struct sigaction  sa;

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = otlp_on_signal;
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !otlp_setup(&o)) {
        return 2;
    }

    if (getenv("MDVR_REDIS") && getenv("MDVR_PG_CONNINFO")
        && getenv("MDVR_STORAGE"))
    {
        o.counts = wk_conf_read(&o.conf);
        wk_redis_init(&o.redis, &o.conf);
    }

    wk_log(WK_INFO, "traces go to the collector", "url", o.url, NULL);

    while (!otlp_stop) {
        now = wk_clock_ms();
        wait = OTLP_DELAY_MS;

        if (o.since && !o.sending) {
            until = o.not_before > now ? o.not_before
                    : wk_held_full(&o.held) ? now : o.since + OTLP_DELAY_MS;
            wait = until - now;
            wait = wait < 0 ? 0 : wait > OTLP_DELAY_MS ? OTLP_DELAY_MS : wait;
        }

        otlp_step(&o, (int) wait);
        now = wk_clock_ms();
        otlp_count(&o, now);

        if (otlp_due(&o, now)) {
            otlp_send(&o);
        }
    }

    /* what there is goes out, unless the collector takes its time */

    until = wk_clock_ms() + OTLP_TIMEOUT_S * 1000;
    otlp_receive(&o);

    while (wk_held_any(&o.held) && o.pause == 0 && wk_clock_ms() < until) {
        if (o.sending == NULL) {
            otlp_send(&o);
        }

        otlp_step(&o, 100);
    }

    o.count_at = 0;
    otlp_count(&o, wk_clock_ms());
    (void) unlink(getenv("MDVR_TRACE_SOCKET"));

    return 0;
}
