/*
 * mdvr-rtc: serves live sessions of the frame bus to browsers by WebRTC.
 *
 * One process, one thread, one UDP port and the same TCP port (ICE-TCP).
 * nginx checks tokens and passes the WHEP exchange on over a Unix socket
 * (control.c).
 *
 * Settings come from the environment (docs/operations.md): MDVR_STATE_DIR
 * (rtc.sock lives there), MDVR_BUS, MDVR_BUS_DIR, MDVR_LISTEN,
 * MDVR_PUBLIC_HOST, MDVR_RTC_PORT, and those of the log (log.c).
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "rtc/app.h"

enum {
    TICK_MS = 100,
    PACE_MS = 2
};

rtc_app_t  rtc_app;

static volatile sig_atomic_t  stopping;


static void
on_signal(int sig)
{
    (void) sig;
    stopping = 1;
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
        rtc_conn_flush(c);
    }

    switch (c->kind) {

    case CONN_UDP:
        rtc_udp_read(c, now);
        break;

    case CONN_TCP_LISTEN:
    case CONN_UNIX_LISTEN:
        rtc_accept_all(c);
        break;

    case CONN_BUS:
        *news |= mdvr_bus_woken(rtc_app.world.bus, dirty) != 0;
        break;

    case CONN_CONTROL:
        rtc_control_read(c, now);
        break;

    case CONN_MEDIA:
        rtc_media_read(c, now);
        break;
    }
}


static void
tick(int64_t now)
{
    conn_t  *c;

    for (unsigned i = 0; i < rtc_app.n_conns; i++) {
        c = rtc_app.conns[i];

        if (c->kind != CONN_CONTROL || c->dead) {
            continue;
        }

        if (c->peer == NULL) {
            c->dead |= now - c->opened_ms > 10000;
            continue;
        }

        rtc_peer_tick(c->peer, now);

        if (rtc_peer_state(c->peer) == RTC_PEER_OVER) {
            rtc_say("DEBUG", "viewer %s ends: %s", c->id,
                    rtc_peer_reason(c->peer));
            rtc_control_json(c, json_pack("{s:s}", "end",
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
        n = epoll_wait(rtc_app.epoll, events, 64, wait);
        now = mdvr_bus_clock_ms();
        news = waiting;
        rtc_log_signals();

        for (int i = 0; i < n; i++) {
            handle(events[i].data.ptr, events[i].events, &news, now);
        }

        if (now - last_tick >= TICK_MS) {
            last_tick = now;
            tick(now);
            news = true;            /* a lost wake-up costs a tick at most */
        }

        waiting = false;

        for (unsigned i = 0; news && i < rtc_app.n_peers; i++) {
            waiting |= rtc_peer_pump(rtc_app.peers[i], now);
        }

        rtc_conns_reap(now);
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

    if (!rtc_log_init()) {
        return 2;
    }

    state = setting("MDVR_STATE_DIR", NULL);

    if (state == NULL) {
        rtc_say("ERROR", "MDVR_STATE_DIR is not set");
        return 2;
    }

    host = setting("MDVR_LISTEN", "127.0.0.1");
    rtc_app.epoll = epoll_create1(EPOLL_CLOEXEC);

    if (rtc_app.epoll < 0 || srtp_init() != srtp_err_status_ok
        || rtc_dtls_ctx_init(&rtc_app.world.dtls) != MDVR_OK)
    {
        rtc_say("ERROR", "cannot set up epoll, SRTP or DTLS");
        return 1;
    }

    if (mdvr_bus_attach(&rtc_app.world.bus, setting("MDVR_BUS_DIR", "/dev/shm"),
                        setting("MDVR_BUS", "mdvr"), "rtc", err, sizeof(err))
        != MDVR_OK)
    {
        rtc_say("ERROR", "frame bus: %s", err);
        return 1;                               /* the keeper starts us again */
    }

    if (!rtc_open_ports(setting("MDVR_RTC_LISTEN", host),
                        setting("MDVR_PUBLIC_HOST", host),
                        (unsigned) atoi(setting("MDVR_RTC_PORT", "0")))
        || !rtc_open_control(state)
        || rtc_conn_add(CONN_BUS, mdvr_bus_fd(rtc_app.world.bus)) == NULL)
    {
        return 1;
    }

    loop();

    for (unsigned i = 0; i < rtc_app.n_conns; i++) {
        rtc_app.conns[i]->dead = true;
    }

    rtc_conns_reap(mdvr_bus_clock_ms());
    unlink(rtc_app.socket_path);
    mdvr_bus_detach(rtc_app.world.bus);
    SSL_CTX_free(rtc_app.world.dtls.ssl);
    srtp_shutdown();
    close(rtc_app.epoll);

    return 0;
}
