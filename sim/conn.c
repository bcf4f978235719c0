/* See conn.h. */

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sim/conn.h"

#define SIM_READ  (256 * 1024)

struct in_addr  sim_bind_address;

static uint8_t  sim_scratch[SIM_READ];

static void sim_conn_ready(sim_io_t *io, uint32_t events);


bool
sim_address(const char *host, unsigned port, struct sockaddr_in *out)
{
    struct addrinfo   hints, *res;

    memset(&hints, 0, sizeof(hints));
    hints.ai_family = AF_INET;
    hints.ai_socktype = SOCK_STREAM;

    if (getaddrinfo(host, NULL, &hints, &res) != 0) {
        return false;
    }

    memcpy(out, res->ai_addr, sizeof(struct sockaddr_in));
    out->sin_port = htons((uint16_t) port);
    freeaddrinfo(res);

    return true;
}


bool
sim_conn_open(sim_conn_t *c, const struct sockaddr_in *to)
{
    int                 fd, one;
    struct sockaddr_in  from;

    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return false;
    }

    one = 1;
    (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    if (sim_bind_address.s_addr != 0) {
        memset(&from, 0, sizeof(from));
        from.sin_family = AF_INET;
        from.sin_addr = sim_bind_address;

        /* the port is chosen at connect(): as many per destination */

        (void) setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one,
                          sizeof(one));
        (void) bind(fd, (struct sockaddr *) &from, sizeof(from));
    }

    if (connect(fd, (const struct sockaddr *) to, sizeof(*to)) != 0
        && errno != EINPROGRESS)
    {
        close(fd);
        return false;
    }

    c->io.fd = fd;
    c->io.ready = sim_conn_ready;
    c->open = true;
    c->connected = false;
    c->writable = true;
    c->out_pos = c->out_len = 0;
    c->tail_len = 0;
    c->last_read_us = c->last_write_us = sim_now_us();

    if (!sim_io_add(&c->io, EPOLLIN|EPOLLOUT)) {
        close(fd);
        c->open = false;
        return false;
    }

    return true;
}


void
sim_conn_close(sim_conn_t *c, bool reset)
{
    struct linger  l;

    if (!c->open) {
        return;
    }

    if (reset) {
        l.l_onoff = 1;
        l.l_linger = 0;
        (void) setsockopt(c->io.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
    }

    sim_timer_stop(&c->later);
    sim_io_remove(&c->io);
    close(c->io.fd);

    c->open = false;
    c->connected = false;

    free(c->out);
    free(c->tail);
    c->out = c->tail = NULL;
    c->out_cap = c->out_len = c->out_pos = 0;
    c->tail_cap = c->tail_len = 0;
}


static void
sim_conn_fail(sim_conn_t *c, const char *why)
{
    sim_conn_close(c, false);
    c->on_closed(c, why);
}


static void
sim_conn_watch(sim_conn_t *c, bool writable)
{
    if (c->writable != writable) {
        c->writable = writable;
        sim_io_change(&c->io, writable ? EPOLLIN|EPOLLOUT : EPOLLIN);
    }
}


static void
sim_conn_keep(sim_conn_t *c, const void *p, size_t len)
{
    if (c->out_pos == c->out_len) {
        c->out_pos = c->out_len = 0;
    }

    if (c->out_len + len > c->out_cap) {

        if (c->out_pos) {
            memmove(c->out, c->out + c->out_pos, c->out_len - c->out_pos);
            c->out_len -= c->out_pos;
            c->out_pos = 0;
        }

        while (c->out_len + len > c->out_cap) {
            c->out_cap = c->out_cap ? 2 * c->out_cap : 4096;
        }

        c->out = sim_realloc(c->out, c->out_cap);
    }

    memcpy(c->out + c->out_len, p, len);
    c->out_len += len;
}


static void
sim_conn_flush(sim_conn_t *c)
{
    size_t   n;
    ssize_t  done;

    while (c->out_pos < c->out_len) {
        n = c->tcp == SIM_TCP_BYTES ? 1 : c->out_len - c->out_pos;
        done = send(c->io.fd, c->out + c->out_pos, n, MSG_NOSIGNAL);

        if (done < 0) {

            if (errno == EINTR) {
                continue;
            }

            if (errno == EAGAIN) {
                sim_conn_watch(c, true);
                return;
            }

            /* the read side will say why */

            c->out_pos = c->out_len;
            return;
        }

        c->out_pos += (size_t) done;
    }

    if (c->out_cap > 65536) {
        free(c->out);
        c->out = NULL;
        c->out_cap = 0;
    }

    c->out_pos = c->out_len = 0;
    sim_conn_watch(c, false);
}


static void
sim_conn_later(void *data)
{
    sim_conn_t  *c = data;

    if (c->open && c->connected) {
        sim_conn_flush(c);
    }
}


void
sim_conn_write2(sim_conn_t *c, const void *head, size_t head_len,
    const void *body, size_t body_len)
{
    size_t        done;
    ssize_t       n;
    struct iovec  iov[2];

    if (!c->open) {
        return;
    }

    c->last_write_us = sim_now_us();
    done = 0;

    if (c->connected && c->tcp == SIM_TCP_WHOLE
        && c->out_pos == c->out_len)
    {
        iov[0].iov_base = (void *) head;
        iov[0].iov_len = head_len;
        iov[1].iov_base = (void *) body;
        iov[1].iov_len = body_len;

        n = writev(c->io.fd, iov, body_len ? 2 : 1);

        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return;
        }

        done = n > 0 ? (size_t) n : 0;

        if (done == head_len + body_len) {
            return;
        }
    }

    if (done < head_len) {
        sim_conn_keep(c, (const uint8_t *) head + done, head_len - done);
        done = head_len;
    }

    if (body_len) {
        sim_conn_keep(c, (const uint8_t *) body + (done - head_len),
                      body_len - (done - head_len));
    }

    if (!c->connected) {
        return;
    }

    if (c->tcp == SIM_TCP_SPLIT && sim_conn_backlog(c) > 6) {

        /* "$$dc" and two digits now, the rest 5 ms later */

        if (c->later.place == 0
            && send(c->io.fd, c->out + c->out_pos, 6, MSG_NOSIGNAL) == 6)
        {
            c->out_pos += 6;
        }

        c->later.fire = sim_conn_later;
        c->later.data = c;

        if (c->later.place == 0) {
            sim_timer_set(&c->later, 5000);
        }

        return;
    }

    if (c->tcp == SIM_TCP_BYTES) {
        sim_conn_flush(c);

    } else {
        sim_conn_watch(c, true);
    }
}


void
sim_conn_write(sim_conn_t *c, const void *p, size_t len)
{
    sim_conn_write2(c, p, len, NULL, 0);
}


static void
sim_conn_read(sim_conn_t *c)
{
    size_t          have;
    ssize_t         n;
    const uint8_t  *pos, *last;

    for ( ;; ) {
        have = c->tail_len;
        pos = sim_scratch;

        if (have > sizeof(sim_scratch) / 2) {

            /* a big message is coming: it grows in place */

            if (c->tail_cap - have < sizeof(sim_scratch) / 2) {
                c->tail_cap = 2 * c->tail_cap + sizeof(sim_scratch);
                c->tail = sim_realloc(c->tail, c->tail_cap);
            }

            n = recv(c->io.fd, c->tail + have, c->tail_cap - have, 0);
            pos = c->tail;

        } else {
            n = recv(c->io.fd, sim_scratch + have,
                     sizeof(sim_scratch) - have, 0);

            if (n > 0 && have) {
                memcpy(sim_scratch, c->tail, have);
            }
        }

        if (n == 0) {
            sim_conn_fail(c, "closed by the server");
            return;
        }

        if (n < 0) {

            if (errno == EINTR) {
                continue;
            }

            if (errno != EAGAIN) {
                sim_conn_fail(c, "lost");
            }

            return;
        }

        c->last_read_us = sim_now_us();
        last = pos + have + n;

        if (!c->on_data(c, &pos, last)) {
            if (c->open) {
                sim_conn_fail(c, "not understood");
            }

            return;
        }

        if (!c->open) {
            return;
        }

        c->tail_len = (size_t) (last - pos);

        if (c->tail_len) {

            if (c->tail_len > c->tail_cap) {
                c->tail_cap = c->tail_len + 512;
                c->tail = sim_realloc(c->tail, c->tail_cap);
            }

            memmove(c->tail, pos, c->tail_len);

        } else if (c->tail) {
            free(c->tail);
            c->tail = NULL;
            c->tail_cap = 0;
        }

        if (have + (size_t) n < sizeof(sim_scratch)) {
            return;
        }
    }
}


static void
sim_conn_ready(sim_io_t *io, uint32_t events)
{
    int          err;
    socklen_t    len;
    sim_conn_t  *c = (sim_conn_t *) io;

    if (!c->connected) {
        err = 0;
        len = sizeof(err);
        (void) getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &err, &len);

        if (err != 0 || (events & (EPOLLERR|EPOLLHUP))) {
            sim_conn_fail(c, "no connection");
            return;
        }

        if (!(events & EPOLLOUT)) {
            return;
        }

        c->connected = true;
        c->on_connected(c);

        if (!c->open) {
            return;
        }

        sim_conn_flush(c);
        events &= ~(uint32_t) EPOLLOUT;
    }

    if (events & EPOLLOUT) {
        sim_conn_flush(c);

        if (sim_conn_backlog(c) == 0 && c->on_drained) {
            c->on_drained(c);

            if (!c->open) {
                return;
            }
        }
    }

    if (events & (EPOLLIN|EPOLLHUP|EPOLLERR)) {
        sim_conn_read(c);
    }
}
