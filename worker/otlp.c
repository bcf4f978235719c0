/*
 * mdvr-worker traces: the one process of a node that speaks to the collector.
 *
 * Spans come as datagrams "<service>\n<span as OTLP's JSON>" from nginx, the
 * worker's processes and mdvr-rtc, which never wait.  They leave in batches,
 * at most OTLP_BATCH spans or a second apart, as OTLP/HTTP in JSON.  While the
 * collector is away (no connection, 429, 502, 503, 504) they wait in a bounded
 * buffer; what does not fit is dropped, and counted in the log.
 *
 *   MDVR_OTLP_ENDPOINT        http://host:4318; "/v1/traces" is added
 *   MDVR_OTLP_HEADERS_FILE    lines "Name: value" for the collector, optional
 *   MDVR_TRACE_SOCKET         where spans come in
 */

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mdvr/basics/json.h"
#include "worker/trace.h"

#define OTLP_BATCH      512
#define OTLP_DELAY_MS   1000
#define OTLP_HELD       (4 << 20)       /* bytes of a service that may wait:
                                           collectors refuse larger requests */
#define OTLP_DATAGRAM   (MDVR_SPAN_MAX + 64)
#define OTLP_RETRY_MS   1000            /* first pause, doubling */
#define OTLP_RETRY_MAX  30000
#define OTLP_TIMEOUT_S  10
#define OTLP_SERVICES   4

/* spans of one service that wait, comma between them */
typedef struct {
    char      name[32];
    char     *text;
    size_t    len, size;
    unsigned  n;
} otlp_service_t;

typedef struct {
    int                 fd;
    const char         *node;
    char               *url;
    CURL               *curl;
    struct curl_slist  *headers;
    otlp_service_t      services[OTLP_SERVICES];
    unsigned            nservices;
    int64_t             since;          /* when the oldest came; 0: none */
    int64_t             not_before;     /* after a failure */
    int64_t             pause;
    uint64_t            dropped;
} otlp_t;

static volatile sig_atomic_t  otlp_stop;


static void
otlp_on_signal(int signo)
{
    (void) signo;
    otlp_stop = 1;
}


static otlp_service_t *
otlp_service(otlp_t *o, const char *name, size_t len)
{
    otlp_service_t  *s;

    for (unsigned i = 0; i < o->nservices; i++) {
        s = &o->services[i];

        if (strlen(s->name) == len && memcmp(s->name, name, len) == 0) {
            return s;
        }
    }

    if (o->nservices == OTLP_SERVICES || len == 0 || len >= sizeof(s->name)) {
        return NULL;
    }

    s = &o->services[o->nservices++];
    memcpy(s->name, name, len);

    return s;
}


static bool
otlp_keep(otlp_service_t *s, const char *span, size_t len)
{
    char    *p;
    size_t   size;

    if (s->len + len + 2 > OTLP_HELD) {
        return false;
    }

    if (s->len + len + 2 > s->size) {
        size = s->size ? s->size * 2 : 65536;
        p = realloc(s->text, size);

        if (p == NULL) {
            return false;
        }

        s->text = p;
        s->size = size;
    }

    if (s->n) {
        s->text[s->len++] = ',';
    }

    memcpy(s->text + s->len, span, len);
    s->len += len;
    s->n++;

    return true;
}


static void
otlp_receive(otlp_t *o)
{
    char             text[OTLP_DATAGRAM], *nl;
    ssize_t          n;
    otlp_service_t  *s;

    for (unsigned i = 0; i < OTLP_BATCH; i++) {
        n = recv(o->fd, text, sizeof(text), MSG_DONTWAIT|MSG_TRUNC);

        if (n < 0) {
            return;
        }

        nl = memchr(text, '\n', n < (ssize_t) sizeof(text) ? (size_t) n
                                                           : sizeof(text));
        s = nl && n <= (ssize_t) sizeof(text)
            ? otlp_service(o, text, (size_t) (nl - text)) : NULL;

        if (s == NULL || nl[1] != '{'
            || !otlp_keep(s, nl + 1, (size_t) (text + n - nl - 1)))
        {
            o->dropped++;
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


/* resourceSpans of all services; the caller frees it.  NULL: no memory. */

static char *
otlp_document(otlp_t *o, size_t *len)
{
    char            *text;
    size_t           size;
    mdvr_buf_t       b;
    mdvr_json_t      j;
    otlp_service_t  *s;

    size = 256;

    for (unsigned i = 0; i < o->nservices; i++) {
        size += o->services[i].len + 1024;
    }

    text = malloc(size);

    if (text == NULL) {
        return NULL;
    }

    b = mdvr_buf(text, size);
    mdvr_json_init(&j, &b);
    mdvr_json_object(&j, NULL);
    mdvr_json_array(&j, "resourceSpans");

    for (unsigned i = 0; i < o->nservices; i++) {
        s = &o->services[i];

        if (s->n == 0) {
            continue;
        }

        mdvr_json_object(&j, NULL);
        mdvr_json_object(&j, "resource");
        mdvr_json_array(&j, "attributes");
        mdvr_json_object(&j, NULL);
        mdvr_json_cstr(&j, "key", "service.name");
        mdvr_json_object(&j, "value");
        mdvr_json_cstr(&j, "stringValue", s->name);
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
        mdvr_json_raw(&j, NULL, mdvr_str(s->text, s->len));
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


/* 0: there was no answer. */

static long
otlp_post(otlp_t *o, const char *text, size_t len, char *error)
{
    long      status;
    CURLcode  rc;

    error[0] = '\0';
    curl_easy_setopt(o->curl, CURLOPT_URL, o->url);
    curl_easy_setopt(o->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(o->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(o->curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(o->curl, CURLOPT_HTTPHEADER, o->headers);
    curl_easy_setopt(o->curl, CURLOPT_POSTFIELDS, text);
    curl_easy_setopt(o->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) len);
    curl_easy_setopt(o->curl, CURLOPT_TIMEOUT, (long) OTLP_TIMEOUT_S);
    curl_easy_setopt(o->curl, CURLOPT_WRITEFUNCTION, otlp_ignore);
    curl_easy_setopt(o->curl, CURLOPT_ERRORBUFFER, error);

    rc = curl_easy_perform(o->curl);
    status = 0;
    curl_easy_getinfo(o->curl, CURLINFO_RESPONSE_CODE, &status);

    return rc == CURLE_OK ? status : 0;
}


static void
otlp_flush(otlp_t *o)
{
    bool      again;
    char     *text, error[CURL_ERROR_SIZE], n[24];
    long      status;
    size_t    len;
    unsigned  spans;

    error[0] = '\0';
    text = otlp_document(o, &len);
    status = text ? otlp_post(o, text, len, error) : 0;
    free(text);

    again = status == 0 || status == 429 || (status >= 502 && status <= 504);

    if (again) {
        if (o->pause == 0) {
            snprintf(n, sizeof(n), "%ld", status);
            wk_log(WK_WARN, "the trace collector does not take spans",
                   "code", n, "reason", error, NULL);
        }

        o->pause = o->pause ? o->pause * 2 : OTLP_RETRY_MS;
        o->pause = o->pause > OTLP_RETRY_MAX ? OTLP_RETRY_MAX : o->pause;
        o->not_before = wk_clock_ms() + o->pause;
        return;
    }

    spans = 0;

    for (unsigned i = 0; i < o->nservices; i++) {
        spans += o->services[i].n;
        o->services[i].n = 0;
        o->services[i].len = 0;
    }

    o->since = 0;
    o->pause = 0;
    o->not_before = 0;

    if (status >= 300) {
        snprintf(n, sizeof(n), "%ld", status);
        wk_log(WK_ERROR, "the trace collector refused spans", "code", n,
               NULL);

    } else {
        snprintf(n, sizeof(n), "%u", spans);
        wk_log(WK_DEBUG, "spans sent", "count", n, NULL);
    }

    if (o->dropped) {
        snprintf(n, sizeof(n), "%llu", (unsigned long long) o->dropped);
        wk_log(WK_WARN, "spans were dropped", "count", n, NULL);
        o->dropped = 0;
    }
}


static bool
otlp_due(otlp_t *o, int64_t now)
{
    if (o->since == 0 || now < o->not_before) {
        return false;
    }

    for (unsigned i = 0; i < o->nservices; i++) {
        if (o->services[i].n >= OTLP_BATCH) {
            return true;
        }
    }

    return now >= o->since + OTLP_DELAY_MS;
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

    if (o->url == NULL || o->curl == NULL) {
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
    int               wait;
    int64_t           now;
    otlp_t            o;
    struct pollfd     pfd;
    struct sigaction  sa;

    memset(&o, 0, sizeof(o));
    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = otlp_on_signal;
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !otlp_setup(&o)) {
        return 2;
    }

    wk_log(WK_INFO, "traces go to the collector", "url", o.url, NULL);

    while (!otlp_stop) {
        now = wk_clock_ms();
        wait = OTLP_DELAY_MS;

        if (o.since) {
            now = (o.not_before > now ? o.not_before
                                      : o.since + OTLP_DELAY_MS) - now;
            wait = now < 0 ? 0 : now > OTLP_DELAY_MS ? OTLP_DELAY_MS
                                                     : (int) now;
        }

        pfd.fd = o.fd;
        pfd.events = POLLIN;

        if (poll(&pfd, 1, wait) == 1) {
            otlp_receive(&o);
        }

        if (otlp_due(&o, wk_clock_ms())) {
            otlp_flush(&o);
        }
    }

    otlp_receive(&o);

    if (o.since) {
        otlp_flush(&o);
    }

    (void) unlink(getenv("MDVR_TRACE_SOCKET"));

    return 0;
}
