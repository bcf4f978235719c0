/*
 * Playback of recordings that lie on a device.
 *
 * A PLAYBACK session on the frame bus (made by the API, its note says what is
 * to be played and how) gets a player here.  The player connects to the media
 * port as a device would (V102) and sends the recording's pictures when they are
 * due: position in the recording, divided by the speed.  The media front does
 * with them what it does with live video, for all kinds of viewers.  The bytes
 * come from the device through a reel (worker/reel.h); which range the
 * player needs, it says on its connection (0x6103).
 *
 * Pause, speed and position change with the note; above KEYS_ONLY only key frames
 * are sent, and sound only at its own speed.
 *
 * A connection that is lost is opened again, from the key frame before the last
 * picture on, as long as the session waits for it: the front's worker has drained
 * or died.
 */

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <jansson.h>

#include "bus/mdvr_bus.h"
#include "mdvr/basics/bytes.h"
#include "mdvr/dc/media.h"
#include "mdvr/dc/register.h"
#include "mdvr/dc/write.h"
#include "worker/node.h"
#include "worker/playback.h"
#include "worker/reel.h"
#include "worker/worker.h"

#define PLAYERS         32
#define CONNECT_MS      1000            /* the media port is next door */
#define KEYS_ONLY       2.0             /* speed */
#define OUT_MAX         (4U << 20)      /* bytes that the front has not taken */
#define LOOK_MS         50              /* at the note */
#define FIND_MS         100             /* new sessions */
#define BEAT_MS         1000            /* 0x6005 */
#define LATE_US         300000          /* then time is counted anew */
#define WAIT_US         20000
#define BREAKS_MAX      5               /* in a row, without a byte */
#define BREAK_MS        1000
#define AGAIN_MS        200             /* until a lost connection is opened */

typedef struct {
    bool                 used;
    mdvr_bus_ref_t       ref;
    char                 session[MDVR_BUS_SESSION_MAX + 1];
    char                 note[MDVR_BUS_NOTE_MAX];
    int64_t              looked_ms;

    int                  fd;
    bool                 registered;    /* 0x6000 has come */
    mdvr_media_parser_t  parser;
    uint8_t              in[1024];
    size_t               in_len;
    uint8_t             *out;
    size_t               out_len, out_cap;
    int64_t              beat_ms;

    wk_reel_t            reel;
    unsigned             breaks;
    uint64_t             broke_at;
    int64_t              again_ms;      /* not before */

    double               speed;
    bool                 paused;
    int64_t              seek_seq;
    bool                 over;          /* the last picture was sent */

    bool                 have;          /* a frame that is not due yet */
    wk_frame_t           frame;
    int64_t              pos_us;

    int64_t              base_pos_us, base_wall_us, base_out_us;
    int64_t              out_us;        /* stamp of the last picture sent */
    bool                 anew;          /* take the bases from the next one */
} player_t;

static mdvr_bus_t  *playback_bus;
static player_t     players[PLAYERS];


static int64_t
playback_now_us(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}


/* ---- the connection -------------------------------------------------------- */

static void
player_close(player_t *p, mdvr_bus_end_e why)
{
    if (why != MDVR_BUS_END_NONE) {
        (void) mdvr_bus_end(playback_bus, p->ref, why);
    }

    if (p->fd >= 0) {
        close(p->fd);
    }

    wk_reel_close(&p->reel);
    free(p->out);
    memset(p, 0, sizeof(*p));
    p->fd = -1;
}


/* False: the connection is gone. */

static bool
player_flush(player_t *p)
{
    ssize_t  n;

    while (p->out_len) {
        n = send(p->fd, p->out, p->out_len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }

        p->out_len -= (size_t) n;
        memmove(p->out, p->out + n, p->out_len);
    }

    return true;
}


static uint8_t *
player_room(player_t *p, size_t len)
{
    uint8_t  *out;

    if (p->out_cap - p->out_len < len) {
        out = realloc(p->out, p->out_len + len + 65536);

        if (out == NULL) {
            return NULL;
        }

        p->out = out;
        p->out_cap = p->out_len + len + 65536;
    }

    p->out_len += len;

    return p->out + p->out_len - len;
}


static void
player_put(player_t *p, const mdvr_buf_t *b)
{
    uint8_t  *at;

    at = b->full ? NULL : player_room(p, b->len);

    if (at) {
        memcpy(at, b->p, b->len);
    }
}


/* The media port of this node, which answers at once or is not there. */

static int
player_connect(const char *host, const char *port)
{
    int               fd, err, on = 1;
    socklen_t         len = sizeof(err);
    struct pollfd     wait;
    struct addrinfo   hint, *list;

    memset(&hint, 0, sizeof(hint));
    hint.ai_family = AF_INET;
    hint.ai_socktype = SOCK_STREAM;
    hint.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;

    if (getaddrinfo(host, port, &hint, &list) != 0) {
        return -1;
    }

    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && connect(fd, list->ai_addr, list->ai_addrlen) != 0) {
        wait.fd = fd;
        wait.events = POLLOUT;

        if (errno != EINPROGRESS || poll(&wait, 1, CONNECT_MS) != 1
            || getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0
            || err != 0)
        {
            close(fd);
            fd = -1;
        }
    }

    freeaddrinfo(list);

    if (fd >= 0) {
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    }

    return fd;
}


static void
player_register(player_t *p, const mdvr_bus_info_t *info, const char *port,
    unsigned audio_type)
{
    uint8_t           text[2048], message[2048], params[1024];
    mdvr_buf_t        body, out;
    mdvr_head_t       head;
    mdvr_loc_out_t    l;
    mdvr_media_reg_t  r;

    memset(&l, 0, sizeof(l));
    l.people = -1;

    memset(&r, 0, sizeof(r));
    r.kind = MDVR_SESSION_LIVE;
    r.protocol = MDVR_STR("V0.0.0.1");
    r.device_type = MDVR_STR("4108");
    r.server_address = MDVR_STR("127.0.0.1");
    r.server_port = mdvr_cstr(port);
    r.session_id = mdvr_cstr(p->session);
    r.command = MDVR_STR("C508");
    r.channel = 99;
    r.stream = info->stream;

    body = mdvr_buf(text, sizeof(text));
    mdvr_body_media_reg(&body, &l, &r, MDVR_PLATE_NONE, MDVR_TEXT_UTF8);

    head = (mdvr_head_t) {
        MDVR_STR("1"), MDVR_STR("V102"), mdvr_cstr(info->serial),
        mdvr_str("", 0), wk_now_ms() / 1000, 0
    };
    out = mdvr_buf(message, sizeof(message));

    if (mdvr_write_media_message(&out, &head, mdvr_buf_view(&body))
        == MDVR_OK)
    {
        player_put(p, &out);
    }

    out = mdvr_buf(params, sizeof(params));
    mdvr_media_write_params(&out, audio_type, 8000, 16);
    player_put(p, &out);
}


/* What the media front says: accepted, or the end. */

static bool
player_read(player_t *p)
{
    ssize_t              n;
    mdvr_rc_t            rc;
    const uint8_t       *pos;
    mdvr_media_msg_t     msg;
    mdvr_media_result_t  result;

    for ( ;; ) {
        n = recv(p->fd, p->in + p->in_len, sizeof(p->in) - p->in_len,
                 MSG_DONTWAIT);

        if (n < 0) {
            return errno == EAGAIN || errno == EINTR;
        }

        if (n == 0) {
            return false;
        }

        p->in_len += (size_t) n;
        pos = p->in;

        while ((rc = mdvr_media_next(&p->parser, &pos, p->in + p->in_len,
                                     &msg))
               == MDVR_OK)
        {
            if (msg.text) {
                continue;
            }

            if (msg.type == MDVR_MEDIA_RESULT) {
                if (mdvr_media_read_result(msg.payload, &result) != MDVR_OK
                    || result.result != 1)
                {
                    return false;
                }

                p->registered = true;
            }
        }

        if (rc != MDVR_AGAIN) {
            return false;
        }

        p->in_len = (size_t) (p->in + p->in_len - pos);
        memmove(p->in, pos, p->in_len);

        if (p->in_len == sizeof(p->in)) {
            return false;
        }
    }
}


/* ---- time ------------------------------------------------------------------- */

static void
player_clock(player_t *p, int64_t now_us)
{
    p->base_pos_us = p->pos_us;
    p->base_wall_us = now_us;
    p->base_out_us = p->out_us;
    p->anew = false;
}


/* Time goes on from here at another speed, or after a gap. */

static void
player_anew(player_t *p, bool jump)
{
    if (p->out_us && jump) {
        p->out_us += p->reel.step_us;
    }

    p->anew = true;
}


static int64_t
player_due(const player_t *p)
{
    return p->base_wall_us + (int64_t) ((double) (p->pos_us - p->base_pos_us)
                                        / p->speed);
}


static void
player_send(player_t *p)
{
    size_t      len;
    uint8_t    *at;
    int64_t     stamp;
    uint8_t     head[4096];
    mdvr_buf_t  b;

    stamp = p->base_out_us + (int64_t) ((double) (p->pos_us - p->base_pos_us)
                                        / p->speed);

    if (p->frame.audio) {

        if (p->speed != 1 || p->frame.data.len > 2048) {
            return;
        }

        b = mdvr_buf(head, sizeof(head));
        mdvr_media_write_audio(&b, MDVR_MEDIA_AUDIO, (uint64_t) stamp,
                               p->frame.data, true, 0);
        player_put(p, &b);
        return;
    }

    len = p->frame.data.len;
    at = player_room(p, 16 + len);

    if (at == NULL) {
        return;
    }

    b = mdvr_buf(at, 16);
    mdvr_media_write_header(&b, p->frame.key ? MDVR_MEDIA_IFRAME
                                             : MDVR_MEDIA_PFRAME,
                            (uint32_t) len + 8);
    mdvr_put_le64(at + 8, (uint64_t) stamp);
    memcpy(at + 16, p->frame.data.p, len);

    p->out_us = stamp;
}


/* ---- one player ------------------------------------------------------------------ */

static void
player_wish(player_t *p)
{
    uint8_t     mem[32];
    mdvr_buf_t  b;

    if (!p->registered || wk_now_ms() < p->again_ms) {
        return;
    }

    b = mdvr_buf(mem, sizeof(mem));
    mdvr_media_write_reposition(&b, 0x6001, (uint32_t) p->reel.wish_at,
                                p->reel.wish);
    player_put(p, &b);

    p->reel.asked = true;
}


static bool
player_broken(player_t *p)
{
    uint64_t  at = p->reel.at + p->reel.len;

    p->breaks = at > p->broke_at ? 0 : p->breaks + 1;
    p->broke_at = at;

    if (p->breaks >= BREAKS_MAX) {
        return false;
    }

    p->again_ms = wk_now_ms() + BREAK_MS;
    wk_reel_resume(&p->reel);

    return true;
}


/* Frames that are due.  The microseconds until the next one, -1: over. */

static int64_t
player_run(player_t *p)
{
    int64_t  now_us, due_us;

    for ( ;; ) {

        if (p->paused || p->over || p->out_len > OUT_MAX || !p->registered) {
            return WAIT_US;
        }

        now_us = playback_now_us();

        if (!p->have) {

            switch (wk_reel_next(&p->reel, &p->frame, &p->pos_us)) {

            case WK_REEL_FRAME:
                p->have = true;
                break;

            case WK_REEL_WISH:
                player_wish(p);
                return WAIT_US;

            case WK_REEL_BROKEN:

                if (!player_broken(p)) {
                    player_close(p, MDVR_BUS_END_DISCONNECTED);
                    return -1;
                }

                return WAIT_US;

            case WK_REEL_END:
                p->over = true;
                return 0;

            case WK_REEL_UNKNOWN:
                wk_log(WK_WARN, "recording cannot be played", NULL);
                player_close(p, MDVR_BUS_END_UNSUPPORTED);
                return -1;

            default:
                return WAIT_US;
            }
        }

        if (!p->frame.audio && !p->frame.key && p->speed > KEYS_ONLY) {
            p->have = false;
            continue;
        }

        if (p->anew) {
            player_clock(p, now_us);
        }

        due_us = player_due(p);

        if (due_us > now_us) {
            return due_us - now_us < WAIT_US ? due_us - now_us : WAIT_US;
        }

        player_send(p);
        p->have = false;

        if (now_us - due_us > LATE_US) {
            player_clock(p, now_us);    /* the device was slower than time */
        }
    }
}


static bool
player_note(player_t *p)
{
    char     text[MDVR_BUS_NOTE_MAX];
    bool     paused;
    double   speed;
    int64_t  seq;
    json_t  *note;

    if (mdvr_bus_note(playback_bus, p->ref, text, sizeof(text)) != MDVR_OK) {
        return false;
    }

    if (strcmp(text, p->note) == 0) {
        return true;
    }

    memcpy(p->note, text, sizeof(text));
    note = json_loads(text, 0, NULL);

    speed = json_number_value(json_object_get(note, "speed"));
    speed = speed < 0.1 || speed > 16 ? 1 : speed;
    paused = json_is_true(json_object_get(note, "paused"));
    seq = json_integer_value(json_object_get(note, "seek"));

    if (seq != p->seek_seq) {
        p->seek_seq = seq;

        if (wk_reel_seek(&p->reel, json_number_value(
                                       json_object_get(note, "position_s"))))
        {
            p->have = false;
            p->over = false;
            p->breaks = 0;
            player_anew(p, true);
        }
    }

    if (speed != p->speed || (p->paused && !paused)) {
        player_anew(p, p->speed != 0);
    }

    p->speed = speed;
    p->paused = paused;

    json_decref(note);

    return true;
}


/* False: the media port is not reached. */

static bool
player_reach(player_t *p, const mdvr_bus_info_t *info, json_t *note)
{
    const char  *port = json_string_value(json_object_get(note, "port"));
    const char  *host = json_string_value(json_object_get(note, "host"));

    if (port == NULL) {
        return false;
    }

    p->fd = player_connect("127.0.0.1", port);

    if (p->fd < 0 && host) {
        p->fd = player_connect(host, port);
    }

    if (p->fd < 0) {
        return false;
    }

    memset(&p->parser, 0, sizeof(p->parser));
    p->parser.started = true;
    p->registered = false;
    p->in_len = 0;
    p->out_len = 0;

    player_register(p, info, port, (unsigned) json_integer_value(
                                       json_object_get(note, "audio_type")));
    return true;
}


static void
player_open(mdvr_bus_ref_t ref, const mdvr_bus_info_t *info)
{
    char         text[MDVR_BUS_NOTE_MAX];
    unsigned     i;
    json_t      *note;
    player_t    *p;
    const char  *dir;

    for (i = 0, p = NULL; i < PLAYERS; i++) {
        if (players[i].used && players[i].ref.index == ref.index
            && players[i].ref.generation == ref.generation)
        {
            return;
        }

        if (!players[i].used && p == NULL) {
            p = &players[i];
        }
    }

    if (p == NULL
        || mdvr_bus_note(playback_bus, ref, text, sizeof(text)) != MDVR_OK)
    {
        return;
    }

    note = json_loads(text, 0, NULL);
    dir = json_string_value(json_object_get(note, "dir"));

    if (dir == NULL || json_object_get(note, "port") == NULL) {
        json_decref(note);
        return;                         /* not told yet what to play */
    }

    memset(p, 0, sizeof(*p));
    p->used = true;
    p->ref = ref;
    p->fd = -1;
    p->anew = true;
    snprintf(p->session, sizeof(p->session), "%s", info->session);
    p->seek_seq = 0;

    if (!wk_reel_open(&p->reel, dir, info->session,
                      json_number_value(json_object_get(note, "duration_s")))
        || !player_reach(p, info, note))
    {
        wk_log(WK_ERROR, "player does not reach the media port", "port",
               json_string_value(json_object_get(note, "port")), NULL);
        json_decref(note);
        player_close(p, MDVR_BUS_END_FAILED);
        return;
    }

    wk_log(WK_INFO, "playback begins", "serial", info->serial, NULL);
    json_decref(note);

    (void) player_note(p);
}


static void
player_end(player_t *p)
{
    uint8_t     mem[16];
    mdvr_buf_t  b;

    b = mdvr_buf(mem, sizeof(mem));
    mdvr_media_write_empty(&b, MDVR_MEDIA_END);
    player_put(p, &b);
}


/*
 * The connection is gone.  Either the session is over, which the next look at it
 * shows, or it waits for us.
 */

static void
player_lost(player_t *p)
{
    close(p->fd);
    p->fd = -1;
    p->registered = false;
    p->have = false;
    p->again_ms = wk_now_ms() + AGAIN_MS;

    if (p->over) {
        return;
    }

    if (!wk_reel_seek(&p->reel, (double) p->pos_us / 1e6)) {
        wk_reel_resume(&p->reel);
    }

    player_anew(p, true);
}


/* False: not yet. */

static bool
player_back(player_t *p, const mdvr_bus_info_t *info)
{
    bool     ok;
    json_t  *note;

    if (wk_now_ms() < p->again_ms) {
        return false;
    }

    note = json_loads(p->note, 0, NULL);
    ok = player_reach(p, info, note);
    json_decref(note);

    p->again_ms = wk_now_ms() + (ok ? 0 : BREAK_MS);

    if (ok && p->over) {
        player_end(p);
    }

    return ok;
}


/* Milliseconds until it wants to be looked at again. */

static int64_t
player_turn(player_t *p, int64_t now_ms)
{
    bool             was_over;
    int64_t          wait_us;
    uint8_t          mem[16];
    mdvr_buf_t       b;
    mdvr_bus_info_t  info;

    if (now_ms - p->looked_ms >= LOOK_MS) {
        p->looked_ms = now_ms;

        if (mdvr_bus_info(playback_bus, p->ref, &info) != MDVR_OK
            || info.state == MDVR_BUS_ENDING || !player_note(p))
        {
            player_close(p, MDVR_BUS_END_NONE);
            return FIND_MS;
        }

        if (p->fd < 0 && !player_back(p, &info)) {
            return LOOK_MS;
        }
    }

    if (p->fd < 0) {
        return LOOK_MS;
    }

    was_over = p->over;
    wait_us = player_run(p);

    if (wait_us < 0) {
        return FIND_MS;
    }

    if (p->over && !was_over) {
        player_end(p);
    }

    if (now_ms - p->beat_ms >= BEAT_MS) {
        p->beat_ms = now_ms;
        b = mdvr_buf(mem, sizeof(mem));
        mdvr_media_write_empty(&b, MDVR_MEDIA_HEARTBEAT);
        player_put(p, &b);
    }

    if (!player_flush(p) || !player_read(p)) {
        player_lost(p);
        return LOOK_MS;
    }

    return wait_us / 1000;
}


/* ---- the process ------------------------------------------------------------------ */

static void
playback_find(void)
{
    uint32_t          i;
    mdvr_bus_ref_t    ref;
    mdvr_bus_info_t   info;

    for (i = 0; i < mdvr_bus_streams(playback_bus); i++) {
        if (mdvr_bus_at(playback_bus, i, &ref) == MDVR_OK
            && mdvr_bus_info(playback_bus, ref, &info) == MDVR_OK
            && info.kind == MDVR_BUS_KIND_PLAYBACK
            && info.state == MDVR_BUS_STARTING && !info.connected)
        {
            player_open(ref, &info);
        }
    }
}


/* One process of a node plays: whoever has this name. */

static bool
playback_claim(const char *bus)
{
    static int          fd = -1;
    struct sockaddr_un  a;

    if (fd >= 0) {
        return true;
    }

    memset(&a, 0, sizeof(a));
    a.sun_family = AF_UNIX;
    snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "mdvr-playback-%s", bus);

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && bind(fd, (struct sockaddr *) &a, sizeof(a)) != 0) {
        close(fd);
        fd = -1;
    }

    return fd >= 0;
}


static void
playback_wait(int64_t ms)
{
    unsigned       i, n;
    uint64_t       dirty[MDVR_BUS_DIRTY_WORDS];
    struct pollfd  wait[PLAYERS + 1];

    wait[0].fd = mdvr_bus_fd(playback_bus);
    wait[0].events = POLLIN;

    for (i = 0, n = 1; i < PLAYERS; i++) {
        if (players[i].used) {
            wait[n].fd = players[i].fd;
            wait[n].events = (short) (POLLIN | (players[i].out_len ? POLLOUT
                                                                   : 0));
            n++;
        }
    }

    if (poll(wait, n, (int) ms) > 0 && (wait[0].revents & POLLIN)) {
        (void) mdvr_bus_woken(playback_bus, dirty);
    }
}


int
wk_playback_main(void)
{
    int64_t      now_ms, found_ms = 0, ms, wish_ms;
    unsigned     i;
    const char  *name = getenv("MDVR_BUS");

    if (!wk_node_begin("sound")) {
        return 2;
    }

    while (!wk_node_stop) {

        if (!playback_claim(name)) {
            (void) poll(NULL, 0, 1000);
            continue;
        }

        if (!wk_node_attach(&playback_bus, "playback")) {
            continue;
        }

        now_ms = mdvr_bus_clock_ms();

        if (now_ms - found_ms >= FIND_MS) {
            found_ms = now_ms;
            playback_find();
        }

        for (i = 0, ms = FIND_MS; i < PLAYERS; i++) {
            if (players[i].used) {
                wish_ms = player_turn(&players[i], now_ms);
                ms = wish_ms < ms ? wish_ms : ms;
            }
        }

        playback_wait(ms > 0 ? ms : 1);
    }

    for (i = 0; i < PLAYERS; i++) {
        if (players[i].used) {
            player_close(&players[i], MDVR_BUS_END_SHUTDOWN);
        }
    }

    if (playback_bus) {
        mdvr_bus_detach(playback_bus);
    }

    return 0;
}
