/*
 * Films for many devices at once: N live streams from one Annex B file to the
 * media port, in real time, in pieces of a given size.  For the benchmarks of
 * the media path; it makes the sessions on the frame bus itself.
 *
 *     feed <bus name> <port> <file> <streams> <seconds> <piece> [fps]
 *
 * Piece 0 sends each frame whole.  Prints the frames sent and how late the
 * latest of them was.
 */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "bus/mdvr_bus.h"
#include "mdvr/dc/media.h"
#include "mdvr/dc/write.h"
#include "mdvr/media/nal.h"


typedef struct {
    const uint8_t  *p;
    size_t          len;
    bool            key;
} unit_t;


typedef struct {
    int             fd;
    unsigned        next;       /* unit */
    uint64_t        us;
    uint8_t        *out;        /* message being sent */
    size_t          len;
    size_t          sent;
    uint64_t        due_ns;
} stream_t;


static unit_t  *units;
static unsigned  nunits;


static uint64_t
now_ns(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_MONOTONIC, &t);

    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}


/* One slice per picture: a picture begins with what precedes its slice. */

static void
cut(const uint8_t *p, size_t len)
{
    int             kind;
    mdvr_str_t      nal;
    mdvr_codec_e    codec = mdvr_codec_detect(mdvr_str(p, len < 4096 ? len : 4096));
    const uint8_t  *pos = p, *last = p + len, *begin = p;
    bool            key = false;

    while (mdvr_nal_next(&pos, last, &nal)) {
        kind = mdvr_nal_kind(codec, nal);

        if (kind == MDVR_NAL_KEY) {
            key = true;
        }

        if (kind == MDVR_NAL_SLICE || kind == MDVR_NAL_KEY) {
            units = realloc(units, (nunits + 1) * sizeof(unit_t));
            units[nunits].p = begin;
            units[nunits].len = (size_t) (nal.p + nal.len - begin);
            units[nunits].key = key;
            nunits++;
            begin = nal.p + nal.len;
            key = false;
        }
    }
}


static int
dial(int port, const mdvr_bus_info_t *info)
{
    int                 fd, one = 1;
    uint8_t             text[1024], answer[64];
    mdvr_buf_t          body, b;
    mdvr_head_t         head;
    mdvr_loc_out_t      loc;
    mdvr_media_reg_t    reg;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
        perror("connect");
        exit(1);
    }

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    memset(&loc, 0, sizeof(loc));
    loc.bus_fields = 9;
    loc.people = -1;

    memset(&reg, 0, sizeof(reg));
    reg.kind = MDVR_SESSION_LIVE;
    reg.protocol = MDVR_STR("V0.0.0.1");
    reg.device_type = MDVR_STR("4108");
    reg.server_address = MDVR_STR("127.0.0.1");
    reg.server_port = MDVR_STR("6602");
    reg.session_id = mdvr_cstr(info->session);
    reg.command = MDVR_STR("C508");
    reg.channel = info->channel - 1;
    reg.stream = info->stream;

    uint8_t  inner[900];
    body = mdvr_buf(inner, sizeof(inner));
    mdvr_body_media_reg(&body, &loc, &reg, MDVR_PLATE_COMMA, 0);

    memset(&head, 0, sizeof(head));
    head.number = MDVR_STR("1");
    head.keyword = MDVR_STR("V102");
    head.serial = mdvr_cstr(info->serial);
    head.unix_s = time(NULL);

    b = mdvr_buf(text, sizeof(text));

    if (mdvr_write_media_message(&b, &head, mdvr_buf_view(&body)) != MDVR_OK
        || write(fd, b.p, b.len) != (ssize_t) b.len
        || read(fd, answer, sizeof(answer)) < 16 || answer[8] != 1)
    {
        fputs("registration failed\n", stderr);
        exit(1);
    }

    fcntl(fd, F_SETFL, O_NONBLOCK);

    return fd;
}


/* What is left of a frame that was being sent. */

static void
finish(stream_t *t)
{
    ssize_t        w;
    struct pollfd  pfd = { t->fd, POLLOUT, 0 };

    while (t->sent < t->len) {
        w = write(t->fd, t->out + t->sent, t->len - t->sent);

        if (w > 0) {
            t->sent += (size_t) w;

        } else if (errno != EAGAIN || poll(&pfd, 1, 2000) != 1) {
            return;
        }
    }
}


/* Frames in the rings of all sessions; waits up to 3 s for `want` of them. */

static uint64_t
arrived(mdvr_bus_t *bus, const mdvr_bus_ref_t *refs, int n, uint64_t want)
{
    int64_t          until = mdvr_bus_clock_ms() + 3000;
    uint64_t         sum;
    mdvr_bus_info_t  info;

    for ( ;; ) {
        sum = 0;

        for (int i = 0; i < n; i++) {
            if (mdvr_bus_info(bus, refs[i], &info) == MDVR_OK) {
                sum += info.frames;
            }
        }

        if (sum >= want || mdvr_bus_clock_ms() > until) {
            return sum < want ? sum : want;
        }

        (void) poll(NULL, 0, 20);
    }
}


int
main(int argc, char **argv)
{
    int                fd, port, n, seconds, fps;
    char               err[256], serial[24];
    bool               created;
    size_t             piece, most = 0;
    uint8_t           *file, junk[4096];
    uint64_t           start, end, now, late = 0, frames = 0, step;
    stream_t          *s;
    struct stat        st;
    mdvr_bus_t        *bus;
    mdvr_bus_ref_t    *refs;
    mdvr_bus_info_t    info;
    mdvr_bus_start_t   req;

    if (argc < 7) {
        fputs("usage: feed <bus> <port> <file> <streams> <seconds> <piece> "
              "[fps]\n", stderr);
        return 2;
    }

    port = atoi(argv[2]);
    n = atoi(argv[4]);
    seconds = atoi(argv[5]);
    piece = (size_t) atoi(argv[6]);
    fps = argc > 7 ? atoi(argv[7]) : 25;
    step = 1000000000u / (unsigned) fps;

    fd = open(argv[3], O_RDONLY);

    if (fd == -1 || fstat(fd, &st) == -1) {
        perror(argv[3]);
        return 1;
    }

    file = malloc((size_t) st.st_size);

    if (read(fd, file, (size_t) st.st_size) != (ssize_t) st.st_size) {
        return 1;
    }

    cut(file, (size_t) st.st_size);

    for (unsigned i = 0; i < nunits; i++) {
        most = units[i].len > most ? units[i].len : most;
    }

    if (mdvr_bus_attach(&bus, "/dev/shm", argv[1], "feed", err, sizeof(err))
        != MDVR_OK)
    {
        fprintf(stderr, "%s\n", err);
        return 1;
    }

    s = calloc((size_t) n, sizeof(stream_t));
    refs = calloc((size_t) n, sizeof(mdvr_bus_ref_t));

    for (int i = 0; i < n; i++) {
        memset(&req, 0, sizeof(req));
        req.device_id[0] = 0xfe;
        req.device_id[14] = (uint8_t) (i >> 8);
        req.device_id[15] = (uint8_t) i;
        snprintf(serial, sizeof(serial), "F%05d", i);
        req.serial = serial;
        req.channel = 1;
        req.deadline_ms = mdvr_bus_clock_ms() + 20000;

        if (mdvr_bus_start(bus, &req, mdvr_bus_clock_ms(), &refs[i], &created)
            != MDVR_OK
            || mdvr_bus_info(bus, refs[i], &info) != MDVR_OK)
        {
            fputs("the frame bus is full\n", stderr);
            return 1;
        }

        /* a lease: counts as a viewer, wakes nobody */

        mdvr_bus_viewer_lease(bus, refs[i], 1, mdvr_bus_clock_ms(),
                              mdvr_bus_clock_ms() + seconds * 1000 + 10000);
        s[i].fd = dial(port, &info);
        s[i].next = (unsigned) (i * 7) % nunits;
        s[i].out = malloc(most + 32);
    }

    start = now_ns();
    end = start + (uint64_t) seconds * 1000000000;

    for (int i = 0; i < n; i++) {
        s[i].due_ns = start + step * (uint64_t) i / (uint64_t) n;

        while (!units[s[i].next].key) {
            s[i].next = (s[i].next + 1) % nunits;
        }
    }

    for (now = start; now < end; now = now_ns()) {
        uint64_t  wake = now + 1000000;

        for (int i = 0; i < n; i++) {
            stream_t  *t = &s[i];

            if (t->sent == t->len && t->due_ns <= now) {
                mdvr_buf_t  b = mdvr_buf(t->out, most + 32);

                mdvr_media_write_video(&b, units[t->next].key, t->us,
                                       mdvr_str(units[t->next].p,
                                                units[t->next].len));
                t->len = b.len;
                t->sent = 0;
                t->us += 1000000u / (unsigned) fps;
                t->next = (t->next + 1) % nunits;
                t->due_ns += step;
                frames++;

                if (now - (t->due_ns - step) > late) {
                    late = now - (t->due_ns - step);
                }

                while (read(t->fd, junk, sizeof(junk)) > 0) {
                    /* reports, requests */
                }
            }

            if (t->sent < t->len) {
                size_t   k = t->len - t->sent;
                ssize_t  w;

                if (piece && k > piece) {
                    k = piece;
                }

                w = write(t->fd, t->out + t->sent, k);

                if (w > 0) {
                    t->sent += (size_t) w;

                } else if (errno != EAGAIN) {
                    fprintf(stderr, "stream %d was closed\n", i);
                    return 1;
                }

                if (t->sent < t->len) {
                    wake = now;
                }
            }
        }

        if (wake > now) {
            struct timespec  ts = { 0, 500000 };

            nanosleep(&ts, NULL);
        }
    }

    for (int i = 0; i < n; i++) {
        finish(&s[i]);
    }

    printf("%llu frames, latest %.1f ms late, %lld lost\n",
           (unsigned long long) frames, (double) late / 1000000,
           (long long) (frames - arrived(bus, refs, n, frames)));

    for (int i = 0; i < n; i++) {
        if (mdvr_bus_info(bus, refs[i], &info) == MDVR_OK && info.dropped) {
            printf("stream %d: %llu dropped\n", i,
                   (unsigned long long) info.dropped);
        }

        mdvr_bus_end(bus, refs[i], MDVR_BUS_END_STOPPED);
    }

    mdvr_bus_detach(bus);

    return 0;
}
