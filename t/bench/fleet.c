/*
 * A fleet for measurements: many devices in one process and one thread, each
 * on its own connection, that register and then report as fast as told.  It
 * only says what a device says; sim/ is the one that behaves like one.
 *
 * usage: fleet <port> <devices> <prefix> [rate] [seconds] [per write] [window]
 *
 * Devices are <prefix>0 ... <prefix>N-1.  `rate` is V114/s of the whole fleet
 * (0: stay idle), `per write` how many a device sends in one segment, `window`
 * how many registrations are under way at a time (256).
 * Addresses 127.0.<first letter>.2 and on are used, 4,000 devices each.  Prints
 * one line per phase; stays connected until its input ends.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mdvr/dc/write.h"

#define PER_ADDR   4000

typedef struct {
    int        fd;
    double     began;
    unsigned   number;
    char       serial[24];
    char       in[256];
    unsigned   have;
    int        online;
} device_t;

static device_t  *devices;
static unsigned   n_devices, online, pending, failed;
static double    *latency;
static int        ep, port;
static uint64_t   answers;


static double
now(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_REALTIME, &t);

    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}


static size_t
message(device_t *d, uint8_t *out, size_t size, const char *keyword,
    mdvr_str_t body)
{
    char         number[16];
    mdvr_buf_t   b = mdvr_buf(out, size);
    mdvr_head_t  h;

    snprintf(number, sizeof(number), "%u", ++d->number);

    memset(&h, 0, sizeof(h));
    h.number = mdvr_cstr(number);
    h.keyword = mdvr_cstr(keyword);
    h.serial = mdvr_cstr(d->serial);
    h.unix_s = (int64_t) now();

    return mdvr_write_message(&b, &h, body) == MDVR_OK ? b.len : 0;
}


static void
location(mdvr_loc_out_t *l, device_t *d)
{
    memset(l, 0, sizeof(*l));
    l->layout = MDVR_LOC_CURRENT;
    l->bus_fields = 9;
    l->gps_valid = true;
    l->satellites = 12;
    l->has_position = true;
    l->lat_deg = 47.0 + (double) (d - devices) / 1e4;
    l->lon_deg = 8.0 + (double) d->number / 1e5;
    l->speed_kmh = 63.4;
    l->course_deg = 271.45;
    l->status = 0x0F00000000007783ULL;
    l->temp_device_c = 41.5;
    l->mileage_m = 18250431 + d->number;
    l->fuel_l = 62.75;
    l->rpm = 1450;
    l->obd_speed_kmh = 63;
    l->people = -1;
}


static int
start(device_t *d)
{
    int                 on = 1;
    struct sockaddr_in  a;
    struct epoll_event  ev;

    d->fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0);
    if (d->fd < 0) {
        perror("socket");
        return -1;
    }

    setsockopt(d->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(d->fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &on,
               sizeof(on));

    memset(&a, 0, sizeof(a));
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(0x7f000002 + ((unsigned) d->serial[0] << 8)
                              + (unsigned) (d - devices) / PER_ADDR);

    if (bind(d->fd, (struct sockaddr *) &a, sizeof(a)) < 0) {
        perror("bind");
        return -1;
    }

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    a.sin_port = htons((uint16_t) port);

    d->began = now();

    if (connect(d->fd, (struct sockaddr *) &a, sizeof(a)) < 0
        && errno != EINPROGRESS)
    {
        perror("connect");
        return -1;
    }

    ev.events = EPOLLOUT;
    ev.data.ptr = d;
    pending++;

    return epoll_ctl(ep, EPOLL_CTL_ADD, d->fd, &ev);
}


static void
registers(device_t *d)
{
    uint8_t             body[1024], out[2048];
    size_t              len;
    mdvr_buf_t          b = mdvr_buf(body, sizeof(body));
    mdvr_v101_t         r;
    mdvr_loc_out_t      l;
    struct epoll_event  ev;

    memset(&r, 0, sizeof(r));
    r.protocol = MDVR_STR("V1.0.0.1");
    r.device_type = MDVR_STR("4108");
    r.plate = MDVR_STR("ZH 4711");
    r.imei = MDVR_STR("860000000000042");
    r.firmware = MDVR_STR("T2019061202");
    r.network_library = MDVR_STR("V6.1.50 20190301");
    r.network = 3;
    r.audio_type = 1;
    r.storage_type = 1;

    location(&l, d);
    mdvr_body_v101(&b, &l, &r, 16, false, MDVR_TEXT_UTF8);
    len = message(d, out, sizeof(out), "V101", mdvr_buf_view(&b));

    if (send(d->fd, out, len, MSG_NOSIGNAL) != (ssize_t) len) {
        failed++;
        pending--;
        return;
    }

    ev.events = EPOLLIN;
    ev.data.ptr = d;
    epoll_ctl(ep, EPOLL_CTL_MOD, d->fd, &ev);
}


static void
reads(device_t *d)
{
    ssize_t  n;

    n = recv(d->fd, d->in + d->have, sizeof(d->in) - 1 - d->have, 0);

    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) {
            return;
        }

        epoll_ctl(ep, EPOLL_CTL_DEL, d->fd, NULL);
        close(d->fd);
        d->fd = -1;
        failed++;

        if (d->online) {
            online--;
            d->online = 0;
        } else {
            pending--;
        }

        return;
    }

    answers++;

    if (d->online) {
        return;
    }

    d->have += (unsigned) n;
    d->in[d->have] = '\0';

    if (strstr(d->in, ",0,1,1,#")) {
        latency[online++] = now() - d->began;
        d->online = 1;
        d->have = 0;
        pending--;
    }
}


static void
turn(int ms)
{
    int                 i, n;
    device_t           *d;
    struct epoll_event  ev[512];

    n = epoll_wait(ep, ev, 512, ms);

    for (i = 0; i < n; i++) {
        d = ev[i].data.ptr;

        if (d->fd < 0) {
            continue;
        }

        if (ev[i].events & EPOLLOUT) {
            registers(d);

        } else {
            reads(d);
        }
    }
}


static int
ascending(const void *a, const void *b)
{
    double  x = *(const double *) a, y = *(const double *) b;

    return x < y ? -1 : x > y;
}


static void
report(unsigned rate, double seconds, unsigned per_write)
{
    double          t0, t, took;
    size_t          len;
    uint64_t        sent, bytes, blocked, due;
    unsigned        i, k;
    ssize_t         n;
    device_t       *d;
    struct rusage   u;

    static uint8_t  body[1024], out[65536];

    sent = bytes = blocked = 0;
    i = 0;
    t0 = now();

    while ((t = now() - t0) < seconds) {

        due = (uint64_t) (t * rate);

        while (sent < due) {

            d = &devices[i++ % n_devices];

            if (!d->online) {
                continue;
            }

            len = 0;

            for (k = 0; k < per_write; k++) {
                mdvr_buf_t      b = mdvr_buf(body, sizeof(body));
                mdvr_loc_out_t  l;

                location(&l, d);
                mdvr_body_v114(&b, &l, 1);
                len += message(d, out + len, sizeof(out) - len, "V114",
                               mdvr_buf_view(&b));
            }

            n = send(d->fd, out, len, MSG_NOSIGNAL);

            if (n != (ssize_t) len) {
                blocked++;              /* a torn message; not sent again */

                if (n > 0) {
                    d->online = 0;
                    online--;
                }

                continue;
            }

            sent += per_write;
            bytes += len;

            if (sent % 512 == 0) {
                turn(0);
            }
        }

        turn(1);
    }

    took = now() - t0;
    getrusage(RUSAGE_SELF, &u);

    printf("sent %llu in %.2f s, %.0f/s, %llu blocked, own cpu %.2f s\n",
           (unsigned long long) sent, took, (double) sent / took,
           (unsigned long long) blocked,
           (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec)
           + (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
    fflush(stdout);
}


int
main(int argc, char **argv)
{
    char           c;
    double         t0;
    unsigned       i, window;
    struct pollfd  p;
    struct rlimit  r;

    if (argc < 4) {
        fprintf(stderr, "usage: %s <port> <devices> <prefix> [rate] "
                "[seconds] [per write] [window]\n", argv[0]);
        return 2;
    }

    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }

    port = atoi(argv[1]);
    n_devices = (unsigned) atoi(argv[2]);
    devices = calloc(n_devices, sizeof(device_t));
    latency = calloc(n_devices, sizeof(double));
    ep = epoll_create1(0);

    if (devices == NULL || latency == NULL || n_devices == 0) {
        return 1;
    }

    window = argc > 7 ? (unsigned) atoi(argv[7]) : 256;
    t0 = now();

    for (i = 0; i < n_devices || pending; ) {

        while (i < n_devices && pending < window) {
            snprintf(devices[i].serial, sizeof(devices[i].serial), "%s%u",
                     argv[3], i);

            if (start(&devices[i]) != 0) {
                return 1;
            }

            i++;
        }

        turn(10);

        if (now() - t0 > 120) {
            break;
        }
    }

    qsort(latency, online, sizeof(double), ascending);

    printf("registered %u of %u in %.2f s, p50 %.2f ms, p99 %.2f ms, "
           "%u failed\n", online, n_devices, now() - t0,
           online ? latency[online / 2] * 1e3 : 0,
           online ? latency[online * 99 / 100] * 1e3 : 0, failed);
    fflush(stdout);

    if (argc > 5 && atoi(argv[4]) > 0) {
        report((unsigned) atoi(argv[4]), atof(argv[5]),
               argc > 6 ? (unsigned) atoi(argv[6]) : 1);
    }

    p.fd = 0;
    p.events = POLLIN;

    for ( ;; ) {
        turn(100);

        if (poll(&p, 1, 0) > 0 && read(0, &c, 1) <= 0) {
            break;
        }
    }

    printf("left %u online, %llu answers\n", online,
           (unsigned long long) answers);

    return 0;
}
