/*
 * One HTTP POST of the worker to somebody else's server.
 *
 * No proxy, no redirect, no other protocol, a bounded answer.  A guarded call
 * goes to public addresses only: every address that the name resolves to is
 * looked at, the call is pinned to them, and the address of the socket is
 * looked at once more before it connects, so that a name which changes in
 * between leads nowhere.
 */

#ifndef MDVR_WORKER_HTTP_H
#define MDVR_WORKER_HTTP_H

#include <curl/curl.h>
#include <sys/socket.h>

#include "worker/worker.h"

#define WK_HTTP_ANSWER  8192

typedef struct {
    int       family;
    uint8_t   address[16];
    unsigned  bits;
} wk_network_t;

typedef struct {
    const char          *url;
    struct curl_slist   *headers;       /* the caller's */
    const char          *body;
    size_t               length;
    const char          *ca_file;       /* NULL: the system's */
    bool                 h2;            /* HTTP/2, also without TLS */
    bool                 guard;
    const wk_network_t  *allow;         /* exceptions from the guard */
    unsigned             allowed;

    long                 status;        /* 0: there was no answer */
    char                 answer[WK_HTTP_ANSWER];
    size_t               answered;      /* bytes kept, NUL follows */
    bool                 refused;       /* by the guard */
    char                 error[200];    /* when status is 0 */
} wk_http_t;

/* Makes *curl when it is NULL; connections are kept in it. */
void wk_http_post(CURL **curl, wk_http_t *h);

/* Whether the guard lets a call through to that address. */
bool wk_http_may(const wk_http_t *h, const struct sockaddr *sa);

/* "10.0.0.0/8" or "fd00::/8" or one address; false: it is neither. */
bool wk_network_read(wk_network_t *net, const char *text);

#endif /* MDVR_WORKER_HTTP_H */
