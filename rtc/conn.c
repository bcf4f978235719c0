/*
 * Connections of the process, each with what waits to be sent, and datagrams:
 * STUN goes to the peer by its ICE name, the rest by its path.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rtc/app.h"

enum {
    TCP_OUT_MAX = 512 * 1024
};


static void
udp_send(rtc_path_t *path, const struct sockaddr *to, socklen_t len,
    const uint8_t *p, size_t n)
{
    conn_t  *c = (conn_t *) path;

    /* a full socket buffer is a lost packet: the viewer will ask again */
    (void) sendto(c->fd, p, n, MSG_DONTWAIT, to, len);
}


void
rtc_conn_flush(conn_t *c)
{
    ssize_t             n;
    struct epoll_event  ev;

    while (c->out_len) {
        n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n <= 0) {
            if (n < 0 && errno != EAGAIN && errno != EINTR) {
                c->dead = true;
            }
            break;
        }

        c->out_len -= (size_t) n;
        memmove(c->out, c->out + n, c->out_len);
    }

    ev.events = EPOLLIN | (c->out_len ? (unsigned) EPOLLOUT : 0);
    ev.data.ptr = c;
    epoll_ctl(rtc_app.epoll, EPOLL_CTL_MOD, c->fd, &ev);
}


void
rtc_conn_write(conn_t *c, const void *p, size_t n)
{
    if (c->out == NULL) {
        c->out = malloc(TCP_OUT_MAX);
    }

    if (c->out == NULL || n > TCP_OUT_MAX - c->out_len) {
        return;
    }

    memcpy(c->out + c->out_len, p, n);
    c->out_len += n;
}


static void
tcp_send(rtc_path_t *path, const struct sockaddr *to, socklen_t len,
    const uint8_t *p, size_t n)
{
    conn_t   *c = (conn_t *) path;
    uint8_t   head[2] = { (uint8_t) (n >> 8), (uint8_t) n };

    (void) to;
    (void) len;

    /* whole packets or none: what is lost here is asked for again */

    if (c->out_len + n + 2 > TCP_OUT_MAX) {
        return;
    }

    rtc_conn_write(c, head, 2);
    rtc_conn_write(c, p, n);
    rtc_conn_flush(c);
}


conn_t *
rtc_conn_add(conn_kind_e kind, int fd)
{
    conn_t              *c;
    struct epoll_event   ev;

    if (rtc_app.n_conns == CONNS_MAX || (c = calloc(1, sizeof(*c))) == NULL) {
        close(fd);
        return NULL;
    }

    c->kind = kind;
    c->fd = fd;
    c->opened_ms = mdvr_bus_clock_ms();
    c->path.send = kind == CONN_MEDIA ? tcp_send : udp_send;

    ev.events = EPOLLIN;
    ev.data.ptr = c;

    if (epoll_ctl(rtc_app.epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
        close(fd);
        free(c);
        return NULL;
    }

    rtc_app.conns[rtc_app.n_conns++] = c;
    return c;
}


static void
peer_drop(rtc_peer_t *peer, int64_t now)
{
    for (unsigned i = 0; i < rtc_app.n_peers; i++) {
        if (rtc_app.peers[i] == peer) {
            rtc_app.peers[i] = rtc_app.peers[--rtc_app.n_peers];
            rtc_peer_free(peer, now);
            return;
        }
    }
}


static void
conn_free(conn_t *c, int64_t now)
{
    if (c->peer) {
        peer_drop(c->peer, now);
    }

    if (c->kind == CONN_MEDIA) {
        for (unsigned i = 0; i < rtc_app.n_peers; i++) {
            rtc_peer_lost(rtc_app.peers[i], &c->path);
        }
    }

    if (c->kind != CONN_BUS) {
        close(c->fd);
    }

    free(c->in);
    free(c->out);
    free(c);
}


void
rtc_conns_reap(int64_t now)
{
    for (unsigned i = 0; i < rtc_app.n_conns; ) {
        if (rtc_app.conns[i]->dead) {
            conn_free(rtc_app.conns[i], now);
            rtc_app.conns[i] = rtc_app.conns[--rtc_app.n_conns];

        } else {
            i++;
        }
    }
}


/* --- datagrams -------------------------------------------------------------- */

static void
datagram(conn_t *c, const struct sockaddr *from, socklen_t from_len,
    uint8_t *p, size_t len, int64_t now)
{
    rtc_stun_t  stun;

    if (rtc_stun_is(p, len)) {

        if (rtc_stun_parse(p, len, &stun) != MDVR_OK) {
            rtc_app.world.bad_datagrams++;
            return;
        }

        for (unsigned i = 0; i < rtc_app.n_peers; i++) {
            if (mdvr_str_eqc(stun.local_ufrag,
                             rtc_peer_ufrag(rtc_app.peers[i])))
            {
                rtc_peer_check(rtc_app.peers[i], &c->path, from, from_len, p,
                               &stun, now);
                return;
            }
        }

        rtc_app.world.bad_datagrams++;
        return;
    }

    for (unsigned i = 0; i < rtc_app.n_peers; i++) {
        if (rtc_peer_is_from(rtc_app.peers[i], &c->path, from, from_len)) {
            rtc_peer_datagram(rtc_app.peers[i], p, len, now);
            (void) rtc_peer_pump(rtc_app.peers[i], now);
            return;
        }
    }

    rtc_app.world.bad_datagrams++;
}


void
rtc_udp_read(conn_t *c, int64_t now)
{
    ssize_t                  n;
    uint8_t                  buf[2048];
    socklen_t                len;
    struct sockaddr_storage  from;

    for (unsigned i = 0; i < 256; i++) {        /* others want a turn, too */
        len = sizeof(from);
        memset(&from, 0, sizeof(from));
        n = recvfrom(c->fd, buf, sizeof(buf), MSG_DONTWAIT,
                     (struct sockaddr *) &from, &len);
        if (n < 0) {
            return;
        }

        datagram(c, (struct sockaddr *) &from, len, buf, (size_t) n, now);
    }
}


void
rtc_media_read(conn_t *c, int64_t now)
{
    size_t   n, at;
    ssize_t  got;

    got = recv(c->fd, c->in + c->in_len, TCP_IN_MAX - c->in_len,
               MSG_DONTWAIT);

    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        c->dead = true;
        return;
    }

    if (got < 0) {
        return;
    }

    c->in_len += (size_t) got;

    for (at = 0; c->in_len - at >= 2; at += 2 + n) {
        n = (size_t) c->in[at] << 8 | c->in[at + 1];

        if (n > TCP_IN_MAX - 2) {
            rtc_app.world.bad_datagrams++;
            c->dead = true;
            return;
        }

        if (c->in_len - at < 2 + n) {
            break;
        }

        datagram(c, (struct sockaddr *) &c->addr, c->addr_len,
                 c->in + at + 2, n, now);
    }

    c->in_len -= at;
    memmove(c->in, c->in + at, c->in_len);
}
