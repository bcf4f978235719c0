/*
 * What the files of the process share and the peers do not know:
 *
 *   main.c      settings, start, the loop
 *   listen.c    addresses and ports, candidates, accepting
 *   conn.c      connections, and datagrams on their way to a peer
 *   control.c   what nginx says and is told
 */

#ifndef RTC_APP_H
#define RTC_APP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "rtc/peer.h"

enum {
    PEERS_MAX = 512,
    CONNS_MAX = 1024,
    OFFER_MAX = 64 * 1024,
    TCP_IN_MAX = 2 + 2048,
    CANDIDATES_MAX = 8
};

typedef enum {
    CONN_UDP = 0,
    CONN_TCP_LISTEN,
    CONN_UNIX_LISTEN,
    CONN_BUS,
    CONN_CONTROL,
    CONN_MEDIA              /* ICE-TCP, RFC 4571 framing */
} conn_kind_e;

typedef struct {
    rtc_path_t               path;      /* first: is cast back */
    conn_kind_e              kind;
    int                      fd;
    int64_t                  opened_ms;
    struct sockaddr_storage  addr;
    socklen_t                addr_len;
    rtc_peer_t              *peer;      /* CONTROL */
    char                     id[64];
    uint8_t                 *in;
    size_t                   in_len;
    uint8_t                 *out;
    size_t                   out_len;
    bool                     dead;
} conn_t;

typedef struct {
    rtc_world_t            world;
    int                    epoll;
    conn_t                *conns[CONNS_MAX];
    unsigned               n_conns;
    rtc_peer_t            *peers[PEERS_MAX];
    unsigned               n_peers;
    char                   candidates[CANDIDATES_MAX * 256];
    char                   socket_path[108];
    uint64_t               offers;
    uint64_t               refused;
} rtc_app_t;

extern rtc_app_t  rtc_app;


/* Reads which lines the log has; false: the setting is invalid. */
bool rtc_log_init(void);

/* Does what signals asked for since the last time. */
void rtc_log_signals(void);

/* One line of the log, JSON; `level` is "DEBUG", "INFO", "WARN" or "ERROR". */
void rtc_say(const char *level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Takes the descriptor, and closes it when there is no room: NULL. */
conn_t *rtc_conn_add(conn_kind_e kind, int fd);

/* Whole or not at all; what is over the room is lost.  Flush sends it. */
void rtc_conn_write(conn_t *c, const void *p, size_t n);
void rtc_conn_flush(conn_t *c);

/* Frees what has been marked dead, with the peers of such viewers. */
void rtc_conns_reap(int64_t now);

/* What has come in: datagrams, and frames of ICE-TCP. */
void rtc_udp_read(conn_t *c, int64_t now);
void rtc_media_read(conn_t *c, int64_t now);

/* Requests of nginx; control_json takes the document. */
void rtc_control_read(conn_t *c, int64_t now);
void rtc_control_json(conn_t *c, json_t *doc);

/*
 * `listen_hosts` are addresses, separated by commas.  Candidates are the public
 * address and those of the list that are somebody's.
 */
bool rtc_open_ports(const char *listen_hosts, const char *public_host,
    unsigned port);
bool rtc_open_control(const char *state_dir);
void rtc_accept_all(conn_t *l);

#endif /* RTC_APP_H */
