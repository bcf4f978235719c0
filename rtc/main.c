/*
 * mdvr-rtc: serves live sessions of the frame bus to browsers by WebRTC.
 *
 * One process, one thread, one UDP port and the same TCP port (ICE-TCP).
 * nginx checks tokens and passes the WHEP exchange on over a Unix socket:
 *
 *   nginx -> {"op":"offer","id":"...","slot":3,"generation":17,"mic":false,
 *             "sdp":"v=0..."}\n
 *   rtc   -> {"status":201,"sdp":"v=0..."}\n      or
 *            {"status":409,"code":"...","detail":"..."}\n (and closes)
 *
 * The connection stays open as long as the viewer may watch: nginx closes it
 * when the token ends, mdvr-rtc writes {"end":"reason"}\n and closes it when
 * the viewer or the stream is gone.  So no viewer outlives its permission,
 * whatever dies.
 *
 *   nginx -> {"op":"close","id":"..."}\n    rtc -> {"status":204} or 404
 *   nginx -> {"op":"stats"}\n    rtc -> one line of counters
 *
 * Settings come from the environment (docs/operations.md): MDVR_STATE_DIR
 * (rtc.sock lives there), MDVR_BUS, MDVR_BUS_DIR, MDVR_LISTEN,
 * MDVR_PUBLIC_HOST, MDVR_RTC_PORT.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "rtc/peer.h"

enum {
    PEERS_MAX = 512,
    CONNS_MAX = 1024,
    OFFER_MAX = 64 * 1024,
    TCP_IN_MAX = 2 + 2048,
    TCP_OUT_MAX = 512 * 1024,
    TICK_MS = 100,
    PACE_MS = 2,
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

static struct {
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
} app;

static volatile sig_atomic_t  stopping;


static void
on_signal(int sig)
{
    (void) sig;
    stopping = 1;
}


__attribute__((format(printf, 2, 3)))
static void
say(const char *level, const char *fmt, ...)
{
    char             msg[512], at[32], when[40];
    va_list          args;
    struct tm        tm;
    struct timespec  now;

    va_start(args, fmt);
    vsnprintf(msg, sizeof(msg), fmt, args);
    va_end(args);

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(when, sizeof(when), "%s.%03dZ", at,
             (int) (now.tv_nsec / 1000000));

    json_t *line = json_pack("{s:s,s:s,s:s,s:s}", "time", when, "level", level,
                             "component", "rtc", "msg", msg);
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;

    if (text) {
        fprintf(stderr, "%s\n", text);
    }

    free(text);
    json_decref(line);
}


/* --- connections ------------------------------------------------------------ */

static void
udp_send(rtc_path_t *path, const struct sockaddr *to, socklen_t len,
    const uint8_t *p, size_t n)
{
    conn_t  *c = (conn_t *) path;

    /* a full socket buffer is a lost packet: the viewer will ask again */
    (void) sendto(c->fd, p, n, MSG_DONTWAIT, to, len);
}


static void
conn_flush(conn_t *c)
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
    epoll_ctl(app.epoll, EPOLL_CTL_MOD, c->fd, &ev);
}


static void
conn_write(conn_t *c, const void *p, size_t n)
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

    conn_write(c, head, 2);
    conn_write(c, p, n);
    conn_flush(c);
}


static conn_t *
conn_add(conn_kind_e kind, int fd)
{
    conn_t              *c;
    struct epoll_event   ev;

    if (app.n_conns == CONNS_MAX || (c = calloc(1, sizeof(*c))) == NULL) {
        close(fd);
        return NULL;
    }

    c->kind = kind;
    c->fd = fd;
    c->opened_ms = mdvr_bus_clock_ms();
    c->path.send = kind == CONN_MEDIA ? tcp_send : udp_send;

    ev.events = EPOLLIN;
    ev.data.ptr = c;

    if (epoll_ctl(app.epoll, EPOLL_CTL_ADD, fd, &ev) != 0) {
        close(fd);
        free(c);
        return NULL;
    }

    app.conns[app.n_conns++] = c;
    return c;
}


static void
peer_drop(rtc_peer_t *peer, int64_t now)
{
    for (unsigned i = 0; i < app.n_peers; i++) {
        if (app.peers[i] == peer) {
            app.peers[i] = app.peers[--app.n_peers];
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
        for (unsigned i = 0; i < app.n_peers; i++) {
            rtc_peer_lost(app.peers[i], &c->path);
        }
    }

    if (c->kind != CONN_BUS) {
        close(c->fd);
    }

    free(c->in);
    free(c->out);
    free(c);
}


static void
conns_reap(int64_t now)
{
    for (unsigned i = 0; i < app.n_conns; ) {
        if (app.conns[i]->dead) {
            conn_free(app.conns[i], now);
            app.conns[i] = app.conns[--app.n_conns];

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
            app.world.bad_datagrams++;
            return;
        }

        for (unsigned i = 0; i < app.n_peers; i++) {
            if (mdvr_str_eqc(stun.local_ufrag,
                             rtc_peer_ufrag(app.peers[i])))
            {
                rtc_peer_check(app.peers[i], &c->path, from, from_len, p,
                               &stun, now);
                return;
            }
        }

        app.world.bad_datagrams++;
        return;
    }

    for (unsigned i = 0; i < app.n_peers; i++) {
        if (rtc_peer_is_from(app.peers[i], &c->path, from, from_len)) {
            rtc_peer_datagram(app.peers[i], p, len, now);
            (void) rtc_peer_pump(app.peers[i], now);
            return;
        }
    }

    app.world.bad_datagrams++;
}


static void
udp_read(conn_t *c, int64_t now)
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


static void
media_read(conn_t *c, int64_t now)
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
            app.world.bad_datagrams++;
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


/* --- the control socket ------------------------------------------------------- */

static void
control_json(conn_t *c, json_t *doc)
{
    char  *text;

    text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;

    if (text) {
        conn_write(c, text, strlen(text));
        conn_write(c, "\n", 1);
        conn_flush(c);
    }

    free(text);
    json_decref(doc);
}


static void
control_refuse(conn_t *c, int status, const char *code, const char *detail)
{
    app.refused++;
    control_json(c, json_pack("{s:i,s:s,s:s}", "status", status, "code", code,
                              "detail", detail));
    c->dead = true;
}


static void
control_offer(conn_t *c, json_t *doc, int64_t now)
{
    char             answer[16384];
    json_t          *sdp, *slot, *generation;
    mdvr_rc_t        rc;
    mdvr_buf_t       buf;
    const char      *id;
    rtc_offer_t      offer;
    mdvr_bus_ref_t   ref;

    app.offers++;
    sdp = json_object_get(doc, "sdp");
    slot = json_object_get(doc, "slot");
    generation = json_object_get(doc, "generation");

    id = json_string_value(json_object_get(doc, "id"));

    if (!json_is_string(sdp) || !json_is_integer(slot)
        || !json_is_integer(generation) || id == NULL
        || strlen(id) >= sizeof(c->id))
    {
        control_refuse(c, 400, "malformed", "id, sdp, slot and generation are "
                       "required");
        return;
    }

    if (app.n_peers == PEERS_MAX) {
        control_refuse(c, 503, "busy", "too many WebRTC viewers on this node");
        return;
    }

    rc = rtc_sdp_parse(mdvr_str(json_string_value(sdp),
                                json_string_length(sdp)), &offer);

    if (rc == MDVR_E_UNSUPPORTED) {
        control_refuse(c, 422, "codec_not_offered", "the offer has neither "
                       "H.264 with packetization-mode=1 nor G.711");
        return;
    }

    if (rc != MDVR_OK) {
        control_refuse(c, 422, "malformed", "the offer is not a usable SDP: "
                       "ICE credentials and a sha-256 fingerprint are "
                       "required");
        return;
    }

    offer.mic = json_is_true(json_object_get(doc, "mic"));
    ref.index = (uint32_t) json_integer_value(slot);
    ref.generation = (uint32_t) json_integer_value(generation);
    buf = mdvr_buf(answer, sizeof(answer));

    rc = rtc_peer_new(&app.world, ref, &offer, &buf, now, &c->peer);

    if (rc == MDVR_E_ABSENT) {
        control_refuse(c, 422, "codec_not_offered", "a camera needs H.264 with "
                       "packetization-mode=1, a talk G.711");
        return;
    }

    if (rc == MDVR_E_UNSUPPORTED) {
        control_refuse(c, 409, "codec_unsupported", "the camera does not send "
                       "H.264: WebRTC cannot show it");
        return;
    }

    if (rc == MDVR_E_BUSY) {
        control_refuse(c, 503, "transcoder_busy", "the camera sends H.265, and "
                       "as many of these as this node converts are watched");
        return;
    }

    if (rc == MDVR_E_NOT_FOUND) {
        control_refuse(c, 404, "not_found", "the stream has ended");
        return;
    }

    if (rc != MDVR_OK) {
        control_refuse(c, 503, "busy", mdvr_rc_words(rc));
        return;
    }

    app.peers[app.n_peers++] = c->peer;
    strcpy(c->id, id);
    control_json(c, json_pack("{s:i,s:s%}", "status", 201, "sdp", answer,
                              buf.len));
}


/* A viewer that leaves: its own connection is closed with it. */

static void
control_close(conn_t *c, json_t *doc)
{
    conn_t      *other;
    const char  *id;

    id = json_string_value(json_object_get(doc, "id"));

    for (unsigned i = 0; id && *id && i < app.n_conns; i++) {
        other = app.conns[i];

        if (other->kind == CONN_CONTROL && other->peer && !other->dead
            && strcmp(other->id, id) == 0)
        {
            other->dead = true;
            control_json(c, json_pack("{s:i}", "status", 204));
            return;
        }
    }

    control_refuse(c, 404, "not_found", "there is no such viewer");
}


static void
control_stats(conn_t *c)
{
    unsigned  up = 0;

    for (unsigned i = 0; i < app.n_peers; i++) {
        up += rtc_peer_state(app.peers[i]) == RTC_PEER_UP;
    }

    control_json(c, json_pack(
        "{s:i,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}",
        "viewers", (int) app.n_peers, "connected", (int) up,
        "offers", (json_int_t) app.offers,
        "refused", (json_int_t) app.refused,
        "packets", (json_int_t) app.world.sent_packets,
        "bytes", (json_int_t) app.world.sent_bytes,
        "retransmissions", (json_int_t) app.world.nacks,
        "key_frame_requests", (json_int_t) app.world.plis,
        "skips", (json_int_t) app.world.skips,
        "speech", (json_int_t) app.world.speech,
        "bad_datagrams", (json_int_t) app.world.bad_datagrams));
}


static void
control_read(conn_t *c, int64_t now)
{
    json_t      *doc;
    uint8_t     *nl;
    ssize_t      n;
    const char  *op;

    n = recv(c->fd, c->in + c->in_len, OFFER_MAX - c->in_len, MSG_DONTWAIT);

    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        c->dead = true;
        return;
    }

    if (n < 0) {
        return;
    }

    c->in_len += (size_t) n;

    while (!c->dead && (nl = memchr(c->in, '\n', c->in_len)) != NULL) {

        doc = json_loadb((char *) c->in, (size_t) (nl - c->in),
                         JSON_REJECT_DUPLICATES, NULL);
        op = doc ? json_string_value(json_object_get(doc, "op")) : NULL;

        if (op && strcmp(op, "offer") == 0 && c->peer == NULL) {
            control_offer(c, doc, now);

        } else if (op && strcmp(op, "close") == 0) {
            control_close(c, doc);

        } else if (op && strcmp(op, "stats") == 0) {
            control_stats(c);

        } else {
            control_refuse(c, 400, "malformed", "unknown operation");
        }

        json_decref(doc);
        c->in_len -= (size_t) (nl + 1 - c->in);
        memmove(c->in, nl + 1, c->in_len);
    }

    if (c->in_len == OFFER_MAX) {
        control_refuse(c, 413, "too_large", "offers have at most 64 KiB");
    }
}


static void
accept_all(conn_t *l)
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

        c = conn_add(l->kind == CONN_UNIX_LISTEN ? CONN_CONTROL : CONN_MEDIA,
                     fd);
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


/* --- start -------------------------------------------------------------------- */

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
        say("ERROR", "\"%s\" is not an address to listen on", host);
        return false;
    }

    udp = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (ss.ss_family == AF_INET6) {
        setsockopt(udp, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }

    if (udp < 0 || bind(udp, (struct sockaddr *) &ss, len) != 0) {
        say("ERROR", "UDP %s port %u: %s", host, *port, strerror(errno));
        return false;
    }

    setsockopt(udp, SOL_SOCKET, SO_SNDBUF, &buf, sizeof(buf));
    setsockopt(udp, SOL_SOCKET, SO_RCVBUF, &buf, sizeof(buf));
    *port = bound_port(udp);

    if (conn_add(CONN_UDP, udp) == NULL) {
        return false;
    }

    len = listen_address(host, *port, &ss);
    tcp = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));

    if (ss.ss_family == AF_INET6) {
        setsockopt(tcp, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    }

    if (tcp < 0 || bind(tcp, (struct sockaddr *) &ss, len) != 0
        || listen(tcp, 128) != 0 || conn_add(CONN_TCP_LISTEN, tcp) == NULL)
    {
        say("ERROR", "TCP %s port %u: %s", host, *port, strerror(errno));
        return false;
    }

    say("INFO", "listening on %s port %u", host, *port);
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
        say("WARN", "\"%s\" is not an address: no candidate for it", host);
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


/*
 * `listen_hosts` are addresses, separated by commas.  Candidates are the public
 * address and those of the list that are somebody's.
 */

static bool
open_ports(const char *listen_hosts, const char *public_host, unsigned port)
{
    char        list[512], *host, *save;
    unsigned    n = 0;
    mdvr_buf_t  b;

    b = mdvr_buf(app.candidates, sizeof(app.candidates) - 1);
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

    app.world.candidates = app.candidates;
    return n > 0 && app.n_conns > 0;
}


static bool
open_control(const char *state_dir)
{
    int                 fd;
    mode_t              mask;
    struct sockaddr_un  sun = { .sun_family = AF_UNIX };

    if (snprintf(app.socket_path, sizeof(app.socket_path), "%s/rtc.sock",
                 state_dir) >= (int) sizeof(app.socket_path))
    {
        say("ERROR", "MDVR_STATE_DIR is too long for a socket");
        return false;
    }

    strcpy(sun.sun_path, app.socket_path);
    unlink(app.socket_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mask = umask(0117);

    if (fd < 0 || bind(fd, (struct sockaddr *) &sun, sizeof(sun)) != 0
        || listen(fd, 256) != 0)
    {
        umask(mask);
        say("ERROR", "%s: %s", app.socket_path, strerror(errno));
        return false;
    }

    umask(mask);
    return conn_add(CONN_UNIX_LISTEN, fd) != NULL;
}


static const char *
setting(const char *name, const char *fallback)
{
    const char  *v = getenv(name);

    return v && *v ? v : fallback;
}


/* --- the loop ------------------------------------------------------------------- */

static void
handle(conn_t *c, uint32_t events, bool *news, int64_t now)
{
    uint64_t  dirty[MDVR_BUS_DIRTY_WORDS];

    if (c->dead) {
        return;
    }

    if (events & EPOLLOUT) {
        conn_flush(c);
    }

    switch (c->kind) {

    case CONN_UDP:
        udp_read(c, now);
        break;

    case CONN_TCP_LISTEN:
    case CONN_UNIX_LISTEN:
        accept_all(c);
        break;

    case CONN_BUS:
        *news |= mdvr_bus_woken(app.world.bus, dirty) != 0;
        break;

    case CONN_CONTROL:
        control_read(c, now);
        break;

    case CONN_MEDIA:
        media_read(c, now);
        break;
    }
}


static void
tick(int64_t now)
{
    conn_t  *c;

    for (unsigned i = 0; i < app.n_conns; i++) {
        c = app.conns[i];

        if (c->kind != CONN_CONTROL || c->dead) {
            continue;
        }

        if (c->peer == NULL) {
            c->dead |= now - c->opened_ms > 10000;
            continue;
        }

        rtc_peer_tick(c->peer, now);

        if (rtc_peer_state(c->peer) == RTC_PEER_OVER) {
            control_json(c, json_pack("{s:s}", "end",
                                      rtc_peer_reason(c->peer)));
            c->dead = true;
        }
    }
}


static void
loop(void)
{
    int                 n, wait;
    bool                news, waiting;
    int64_t             now, last_tick;
    struct epoll_event  events[64];

    waiting = false;
    last_tick = 0;

    while (!stopping) {
        wait = waiting ? PACE_MS : TICK_MS;
        n = epoll_wait(app.epoll, events, 64, wait);
        now = mdvr_bus_clock_ms();
        news = waiting;

        for (int i = 0; i < n; i++) {
            handle(events[i].data.ptr, events[i].events, &news, now);
        }

        if (now - last_tick >= TICK_MS) {
            last_tick = now;
            tick(now);
            news = true;            /* a lost wake-up costs a tick at most */
        }

        waiting = false;

        for (unsigned i = 0; news && i < app.n_peers; i++) {
            waiting |= rtc_peer_pump(app.peers[i], now);
        }

        conns_reap(now);
    }
}


int
main(void)
{
    char         err[256];
    const char  *state, *host;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);

    state = setting("MDVR_STATE_DIR", NULL);

    if (state == NULL) {
        say("ERROR", "MDVR_STATE_DIR is not set");
        return 2;
    }

    host = setting("MDVR_LISTEN", "127.0.0.1");
    app.epoll = epoll_create1(EPOLL_CLOEXEC);

    if (app.epoll < 0 || srtp_init() != srtp_err_status_ok
        || rtc_dtls_ctx_init(&app.world.dtls) != MDVR_OK)
    {
        say("ERROR", "cannot set up epoll, SRTP or DTLS");
        return 1;
    }

    if (mdvr_bus_attach(&app.world.bus, setting("MDVR_BUS_DIR", "/dev/shm"),
                        setting("MDVR_BUS", "mdvr"), "rtc", err, sizeof(err))
        != MDVR_OK)
    {
        say("ERROR", "frame bus: %s", err);     /* the keeper starts us again */
        return 1;
    }

    if (!open_ports(setting("MDVR_RTC_LISTEN", host),
                    setting("MDVR_PUBLIC_HOST", host),
                    (unsigned) atoi(setting("MDVR_RTC_PORT", "0")))
        || !open_control(state)
        || conn_add(CONN_BUS, mdvr_bus_fd(app.world.bus)) == NULL)
    {
        return 1;
    }

    loop();

    for (unsigned i = 0; i < app.n_conns; i++) {
        app.conns[i]->dead = true;
    }

    conns_reap(mdvr_bus_clock_ms());
    unlink(app.socket_path);
    mdvr_bus_detach(app.world.bus);
    SSL_CTX_free(app.world.dtls.ssl);
    srtp_shutdown();
    close(app.epoll);

    return 0;
}
