/*
 * Where the process listens: UDP and ICE-TCP on each address, the candidates
 * that browsers are told, the Unix socket of nginx; and who connects there.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rtc/app.h"


static socklen_t
listen_address(const char *host, unsigned port, struct sockaddr_storage *ss)
{
    struct sockaddr_in   *sin = (struct sockaddr_in *) ss;
    struct sockaddr_in6  *sin6 = (struct sockaddr_in6 *) ss;

    memset(ss, 0, sizeof(*ss));

    if (inet_pton(AF_INET, host, &sin->sin_addr) == 1) {
        sin->sin_family = AF_INET;
        sin->sin_port = htons((uint16_t) port);
        return sizeof(*sin);
    }

    if (inet_pton(AF_INET6, host, &sin6->sin6_addr) == 1) {
        sin6->sin6_family = AF_INET6;
        sin6->sin6_port = htons((uint16_t) port);
        return sizeof(*sin6);
    }

    return 0;
}


static unsigned
bound_port(int fd)
{
    socklen_t                len;
    struct sockaddr_storage  ss;

    len = sizeof(ss);

    if (getsockname(fd, (struct sockaddr *) &ss, &len) != 0) {
        return 0;
    }

    return ntohs(ss.ss_family == AF_INET6
                 ? ((struct sockaddr_in6 *) &ss)->sin6_port
                 : ((struct sockaddr_in *) &ss)->sin_port);
}


/* UDP and TCP on one address; *port is the first one's, and all the same. */

static bool
open_address(const char *host, unsigned *port)
{
    int                      udp, tcp, one = 1, buf = 2 * 1024 * 1024;
    socklen_t                len;
    struct sockaddr_storage  ss;

    len = listen_address(host, *port, &ss);

    if (len == 0) {
        rtc_say("ERROR", "\"%s\" is not an address to listen on", host);
        return false;
    }

    udp = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (ss.ss_family == AF_INET6) {
        setsockopt(udp, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }

    if (udp < 0 || bind(udp, (struct sockaddr *) &ss, len) != 0) {
        rtc_say("ERROR", "UDP %s port %u: %s", host, *port, strerror(errno));
        return false;
    }

    setsockopt(udp, SOL_SOCKET, SO_SNDBUF, &buf, sizeof(buf));
    setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &buf, sizeof(buf));
    *port = bound_port(udp);

    if (rtc_conn_add(CONN_UDP, udp) == NULL) {
        return false;
    }

    len = listen_address(host, *port, &ss);
    tcp = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));

    if (ss.ss_family == AF_INET6) {
        setsockopt(tcp, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }

    if (tcp < 0 || bind(tcp, (struct sockaddr *) &ss, len) != 0
        || listen(tcp, 128) != 0 || rtc_conn_add(CONN_TCP_LISTEN, tcp) == NULL)
    {
        rtc_say("ERROR", "TCP %s port %u: %s", host, *port, strerror(errno));
        return false;
    }

    rtc_say("INFO", "listening on %s port %u", host, *port);
    return true;
}


static void
add_candidate(mdvr_buf_t *b, unsigned n, const char *host, unsigned port)
{
    int                      len;
    char                     line[256];
    struct sockaddr_storage  ss;

    /* a name would need the browser's resolver, which mDNS rules forbid */

    if (listen_address(host, 0, &ss) == 0) {
        rtc_say("WARN", "\"%s\" is not an address: no candidate for it", host);
        return;
    }

    len = snprintf(line, sizeof(line),
                   "a=candidate:%u 1 udp %u %s %u typ host\r\n"
                   "a=candidate:%u 1 tcp %u %s %u typ host tcptype passive"
                   "\r\n",
                   2 * n + 1, 2130706431u - n, host, port,
                   2 * n + 2, 1671430143u - n, host, port);
    mdvr_buf_add(b, line, (size_t) len);
}


bool
rtc_open_ports(const char *listen_hosts, const char *public_host, unsigned port)
{
    char        list[512], *host, *save;
    unsigned    n = 0;
    mdvr_buf_t  b;

    b = mdvr_buf(rtc_app.candidates, sizeof(rtc_app.candidates) - 1);
    snprintf(list, sizeof(list), "%s", listen_hosts);

    for (host = strtok_r(list, ", ", &save); host;
         host = strtok_r(NULL, ", ", &save))
    {
        if (!open_address(host, &port)) {
            return false;
        }

        if (n == 0) {
            add_candidate(&b, n++, public_host, port);
        }

        if (strcmp(host, "0.0.0.0") != 0 && strcmp(host, "::") != 0
            && strcmp(host, public_host) != 0 && n < CANDIDATES_MAX)
        {
            add_candidate(&b, n++, host, port);
        }
    }

    rtc_app.world.candidates = rtc_app.candidates;
    return n > 0 && rtc_app.n_conns > 0;
}


bool
rtc_open_control(const char *state_dir)
{
    int                 fd;
    mode_t              mask;
    struct sockaddr_un  sun = { .sun_family = AF_UNIX };

    if (snprintf(rtc_app.socket_path, sizeof(rtc_app.socket_path),
                 "%s/rtc.sock", state_dir)
        >= (int) sizeof(rtc_app.socket_path))
    {
        rtc_say("ERROR", "MDVR_STATE_DIR is too long for a socket");
        return false;
    }

    strcpy(sun.sun_path, rtc_app.socket_path);
    unlink(rtc_app.socket_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mask = umask(0117);

    if (fd < 0 || bind(fd, (struct sockaddr *) &sun, sizeof(sun)) != 0
        || listen(fd, 256) != 0)
    {
        umask(mask);
        rtc_say("ERROR", "%s: %s", rtc_app.socket_path, strerror(errno));
        return false;
    }

    umask(mask);
    return rtc_conn_add(CONN_UNIX_LISTEN, fd) != NULL;
}


void
rtc_accept_all(conn_t *l)
{
    int                      fd, one = 1;
    conn_t                  *c;
    socklen_t                len;
    struct sockaddr_storage  addr;

    for ( ;; ) {
        len = sizeof(addr);
        memset(&addr, 0, sizeof(addr));
        fd = accept4(l->fd, (struct sockaddr *) &addr, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }

        c = rtc_conn_add(l->kind == CONN_UNIX_LISTEN ? CONN_CONTROL
                                                     : CONN_MEDIA, fd);
        if (c == NULL) {
            return;
        }

        c->in = malloc(c->kind == CONN_CONTROL ? OFFER_MAX : TCP_IN_MAX);
        c->dead = c->in == NULL;
        memcpy(&c->addr, &addr, len);
        c->addr_len = len;

        if (c->kind == CONN_MEDIA) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        }
    }
}
