/* One HTTP POST of the worker to somebody else's server. */

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mdvr/domain/address.h"
#include "worker/http.h"
#include "worker/trace.h"

#define WK_HTTP_CONNECT_MS  5000L
#define WK_HTTP_TOTAL_MS    10000L


bool
wk_network_read(wk_network_t *net, const char *text)
{
    char           address[64], *end;
    size_t         n;
    unsigned long  bits;

    memset(net, 0, sizeof(*net));
    n = strcspn(text, "/");

    if (n == 0 || n >= sizeof(address)) {
        return false;
    }

    memcpy(address, text, n);
    address[n] = '\0';

    net->family = strchr(address, ':') ? AF_INET6 : AF_INET;
    net->bits = net->family == AF_INET ? 32 : 128;

    if (inet_pton(net->family, address, net->address) != 1) {
        return false;
    }

    if (text[n] == '/') {
        bits = strtoul(text + n + 1, &end, 10);

        if (end == text + n + 1 || *end || bits > net->bits) {
            return false;
        }

        net->bits = (unsigned) bits;
    }

    return true;
}


static bool
wk_network_has(const wk_network_t *net, int family, const uint8_t *p)
{
    uint8_t  mask;

    if (net->family != family
        || memcmp(net->address, p, net->bits / 8) != 0)
    {
        return false;
    }

    if (net->bits % 8 == 0) {
        return true;
    }

    mask = (uint8_t) (0xff << (8 - net->bits % 8));

    return ((net->address[net->bits / 8] ^ p[net->bits / 8]) & mask) == 0;
}


bool
wk_http_may(const wk_http_t *h, const struct sockaddr *sa)
{
    bool            open;
    unsigned        i;
    const uint8_t  *p;

    if (!h->guard) {
        return true;
    }

    if (sa->sa_family == AF_INET) {
        p = (const uint8_t *) &((const struct sockaddr_in *) sa)->sin_addr;
        open = mdvr_address_public4(ntohl(*(const uint32_t *) (const void *) p));

    } else if (sa->sa_family == AF_INET6) {
        p = ((const struct sockaddr_in6 *) sa)->sin6_addr.s6_addr;
        open = mdvr_address_public6(p);

    } else {
        return false;
    }

    for (i = 0; !open && i < h->allowed; i++) {
        open = wk_network_has(&h->allow[i], sa->sa_family, p);
    }

    return open;
}


static curl_socket_t
wk_http_socket(void *data, curlsocktype purpose, struct curl_sockaddr *a)
{
    wk_http_t  *h = data;

    if (!wk_http_may(h, &a->addr)) {
        h->refused = true;
        return CURL_SOCKET_BAD;
    }

    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}


static size_t
wk_http_write(char *p, size_t size, size_t count, void *data)
{
    size_t      n, room;
    wk_http_t  *h = data;

    n = size * count;
    room = sizeof(h->answer) - 1 - h->answered;

    if (room == 0) {
        return 0;                       /* an answer without end */
    }

    if (n > room) {
        memcpy(h->answer + h->answered, p, room);
        h->answered += room;
        h->answer[h->answered] = '\0';
        return 0;
    }

    memcpy(h->answer + h->answered, p, n);
    h->answered += n;
    h->answer[h->answered] = '\0';

    return n;
}


/*
 * Resolves the host once and pins the call to what came, "host:port:a,b".
 * NULL with h->error set: refused, or no such name.
 */

static struct curl_slist *
wk_http_pin(wk_http_t *h)
{
    int                 rc;
    char               *host, *port, pin[1024], text[INET6_ADDRSTRLEN];
    size_t              n, len;
    CURLU              *url;
    const void         *p;
    struct addrinfo     hints, *list, *ai;
    struct curl_slist  *pinned;

    host = NULL;
    port = NULL;
    list = NULL;
    pinned = NULL;
    url = curl_url();

    if (url == NULL || curl_url_set(url, CURLUPART_URL, h->url, 0) != CURLUE_OK
        || curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK
        || curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT)
           != CURLUE_OK)
    {
        snprintf(h->error, sizeof(h->error), "this is no address");
        goto done;
    }

    len = strlen(host);

    if (len > 2 && host[0] == '[') {            /* an IPv6 address */
        memmove(host, host + 1, len - 2);
        host[len - 2] = '\0';
        len -= 2;
    }

    memset(&hints, 0, sizeof(hints));
    hints.ai_socktype = SOCK_STREAM;
    rc = getaddrinfo(host, port, &hints, &list);

    if (rc != 0 || list == NULL) {
        snprintf(h->error, sizeof(h->error), "cannot resolve %.100s: %.60s",
                 host, gai_strerror(rc));
        goto done;
    }

    n = (size_t) snprintf(pin, sizeof(pin), "%.400s:%s:", host, port);

    for (ai = list; ai; ai = ai->ai_next) {

        if (!wk_http_may(h, ai->ai_addr)) {
            h->refused = true;
            snprintf(h->error, sizeof(h->error), "the address of %.100s is "
                     "not public", host);
            goto done;
        }

        p = ai->ai_family == AF_INET
            ? (void *) &((struct sockaddr_in *) ai->ai_addr)->sin_addr
            : (void *) &((struct sockaddr_in6 *) ai->ai_addr)->sin6_addr;

        if (inet_ntop(ai->ai_family, p, text, sizeof(text))
            && n + strlen(text) + 4 < sizeof(pin))
        {
            n += (size_t) snprintf(pin + n, sizeof(pin) - n,
                                   ai->ai_family == AF_INET ? "%s%s" : "%s[%s]",
                                   pin[n - 1] == ':' ? "" : ",", text);
        }
    }

    pinned = curl_slist_append(NULL, pin);

done:

    if (list) {
        freeaddrinfo(list);
    }

    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);

    return pinned;
}


/* The host of an address, without what may be secret in it. */

static void
wk_http_host(char *out, size_t size, const char *url)
{
    size_t       n;
    const char  *p, *at;

    p = strstr(url, "://");
    p = p ? p + 3 : url;
    n = strcspn(p, "/?#");
    at = memchr(p, '@', n);

    if (at) {
        n -= (size_t) (at + 1 - p);
        p = at + 1;
    }

    snprintf(out, size, "%.*s", (int) n, p);
}


static void wk_http_call(CURL **curl, wk_http_t *h);


void
wk_http_post(CURL **curl, wk_http_t *h)
{
    char                host[128], header[128];
    wk_span_t           span;
    struct curl_slist  *first, *own = h->headers;

    wk_http_host(host, sizeof(host), h->url);
    wk_trace_begin(&span, MDVR_SPAN_CLIENT, "POST");
    first = NULL;

    if (wk_trace_parent(header + sizeof("traceparent: ") - 1)) {
        memcpy(header, "traceparent: ", sizeof("traceparent: ") - 1);
        first = curl_slist_append(NULL, header);
    }

    if (first) {                        /* before the caller's headers */
        first->next = own;
        h->headers = first;
    }

    wk_http_call(curl, h);

    if (first) {
        h->headers = own;
        first->next = NULL;
        curl_slist_free_all(first);
    }

    wk_trace_text(&span, "http.request.method", "POST");
    wk_trace_text(&span, "server.address", host);
    wk_trace_number(&span, "http.response.status_code", h->status);
    wk_trace_end(&span, h->status == 0 ? h->error
                        : h->status >= 400 ? "refused" : NULL);
}


static void
wk_http_call(CURL **curl, wk_http_t *h)
{
    CURL               *c;
    CURLcode            rc;
    struct curl_slist  *pinned;

    h->status = 0;
    h->answered = 0;
    h->answer[0] = '\0';
    h->refused = false;
    h->error[0] = '\0';
    pinned = NULL;

    if (*curl == NULL) {
        *curl = curl_easy_init();
    }

    c = *curl;

    if (c == NULL) {
        snprintf(h->error, sizeof(h->error), "no memory");
        return;
    }

    if (h->guard && (pinned = wk_http_pin(h)) == NULL) {
        return;
    }

    curl_easy_reset(c);
    curl_easy_setopt(c, CURLOPT_URL, h->url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, h->headers);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "mdvr-worker");
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_POSTFIELDS, h->body);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) h->length);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, WK_HTTP_CONNECT_MS);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, WK_HTTP_TOTAL_MS);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, wk_http_write);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, h);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, wk_http_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, h);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION,
                     !h->h2 ? (long) CURL_HTTP_VERSION_1_1
                     : strncmp(h->url, "http:", 5) == 0
                     ? (long) CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE
                     : (long) CURL_HTTP_VERSION_2TLS);

    if (h->ca_file) {
        curl_easy_setopt(c, CURLOPT_CAINFO, h->ca_file);
    }

    if (pinned) {
        curl_easy_setopt(c, CURLOPT_RESOLVE, pinned);
    }

    rc = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &h->status);

    if (rc != CURLE_OK && rc != CURLE_WRITE_ERROR) {
        h->status = 0;
        snprintf(h->error, sizeof(h->error), "%s",
                 h->refused ? "the address is not public"
                            : curl_easy_strerror(rc));
    }

    curl_slist_free_all(pinned);
}
