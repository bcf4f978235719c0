/*
 * A TCP connection of a device: connecting, writing with a bounded backlog,
 * reading through one buffer that all connections share.  Between two reads
 * only the bytes that no parser took yet are kept.
 */

#ifndef SIM_CONN_H
#define SIM_CONN_H

#include <netinet/in.h>

#include "mdvr/basics/str.h"
#include "sim/loop.h"

/* how bytes are cut on their way out (flows.md section 15, "TCP") */
typedef enum {
    SIM_TCP_WHOLE = 0,
    SIM_TCP_BYTES,                  /* one byte per segment */
    SIM_TCP_SPLIT                   /* cut inside the length digits */
} sim_tcp_e;

typedef struct sim_conn_s  sim_conn_t;

struct sim_conn_s {
    sim_io_t     io;
    bool         open;              /* a descriptor exists */
    bool         connected;
    bool         writable;          /* epoll watches for EPOLLOUT */
    sim_tcp_e    tcp;

    uint8_t     *out;               /* backlog: [out_pos, out_len) */
    size_t       out_pos, out_len, out_cap;
    sim_timer_t  later;             /* the rest of a split message */

    uint8_t     *tail;
    size_t       tail_len, tail_cap;

    uint64_t     last_read_us;
    uint64_t     last_write_us;

    /* `connected` once; `data` takes [*pos, last) and moves *pos; false
     * closes.  `closed` exactly once per connection that was opened, unless
     * sim_conn_close() was called; why is a word. */
    void       (*on_connected)(sim_conn_t *c);
    bool       (*on_data)(sim_conn_t *c, const uint8_t **pos,
                          const uint8_t *last);
    void       (*on_drained)(sim_conn_t *c);    /* may be NULL */
    void       (*on_closed)(sim_conn_t *c, const char *why);
    void        *owner;
};

/* False: no descriptor or no route at once; nothing is called. */
bool sim_conn_open(sim_conn_t *c, const struct sockaddr_in *to);

/* Sends now or keeps what the socket does not take. */
void sim_conn_write(sim_conn_t *c, const void *p, size_t len);

/* Head and body without copying them together when the socket takes both. */
void sim_conn_write2(sim_conn_t *c, const void *head, size_t head_len,
    const void *body, size_t body_len);

static inline size_t
sim_conn_backlog(const sim_conn_t *c)
{
    return c->out_len - c->out_pos;
}

/* Closes without a call of on_closed.  `reset`: with RST. */
void sim_conn_close(sim_conn_t *c, bool reset);

/* "127.0.0.1" or a name, and a port. */
bool sim_address(const char *host, unsigned port, struct sockaddr_in *out);

/* Source address of all connections (0.0.0.0: the system's choice). */
extern struct in_addr  sim_bind_address;

#endif /* SIM_CONN_H */
