/*
 * Many WebSocket subscribers in one process, and the publisher they listen to,
 * in a thread of its own with its own clock.
 *
 * Every message has the same length and carries its number and the time it
 * was published at; a subscriber counts what it gets, what is missing between
 * two numbers and what comes twice.  Deliveries and the CPU time of the given
 * processes are taken over the same window, from 1 s after the first message
 * to the last one.
 *
 * usage: listen [-c pid,pid...] [-C pid,pid...] [-d device]... port path
 *            subscribers seconds rate size header subscribe publish...
 *
 *   header     one line for the handshake, or ""
 *   subscribe  the first message of a subscriber, or ""
 *   subscribe  beginning with @: a file, of whose lines subscribers take turns
 *   publish    http <port> <path>  or  redis <socket> <password> <channel>
 *              or  none: somebody else does; messages are those that have
 *              "received_at", the age of which is the latency
 *
 * "ready" when all have their handshake; begins with a line on stdin.
 */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define READ       262144
#define PART       4096         /* longest message */
#define BUCKETS    20000        /* of 0.1 ms */
#define DEVICES    64

typedef struct {
    int       fd;
    uint64_t  next;             /* number of the next message */
    uint32_t  have;             /* bytes of an unfinished frame */
    uint8_t   part[PART];
} listener_t;

typedef struct {
    char  **argv;
    int     port;
    int     seconds;
    int     rate;
    int     size;
} publisher_t;

static char                *devices[DEVICES];
static int                  ndevices;
static _Atomic uint64_t     published;
static _Atomic int          over;
static uint64_t             deliveries, gaps, twice, other;
static int                  foreign;    /* published by somebody else */
static uint64_t             buckets[BUCKETS + 1];

static uint64_t
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static int
connected(int port)
{
    int                 fd, one = 1;
    struct sockaddr_in  sin = { .sin_family = AF_INET,
                                .sin_port = htons((uint16_t) port) };

    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd == -1 || connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1) {
        die("connect");
    }

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    return fd;
}

static void
put(int fd, const char *p, size_t len)
{
    ssize_t  n;

    while (len) {
        n = write(fd, p, len);

        if (n <= 0) {
            die("write");
        }

        p += n;
        len -= (size_t) n;
    }
}

/* -- the publisher --------------------------------------------------------- */

/* {"type":"telemetry","n":"<16 hex>","t":"<16 hex>", ... of `size` bytes */

static void
message(char *p, int size, uint64_t n)
{
    int  len;

    len = snprintf(p, (size_t) size, "{\"n\":\"%016llx\",\"t\":\"%016llx\","
                   "\"type\":\"telemetry\",\"id\":\"1-%llu\",\"device_id\":"
                   "\"%s\",\"fill\":\"", (unsigned long long) n,
                   (unsigned long long) now(), (unsigned long long) n,
                   devices[n % (uint64_t) ndevices]);

    memset(p + len, 'x', (size_t) (size - len));
    memcpy(p + size - 2, "\"}", 2);
}

static void *
publisher(void *data)
{
    int            fd, http, head;
    char           buf[PART + 512], msg[PART], answer[65536];
    uint64_t       i, start, at, total;
    publisher_t   *p = data;

    struct timespec  ts;

    if (foreign) {
        sleep((unsigned) p->seconds);
        over = 1;
        return NULL;
    }

    http = (strcmp(p->argv[0], "http") == 0);

    if (http) {
        fd = connected(atoi(p->argv[1]));

    } else {
        struct sockaddr_un  sun = { .sun_family = AF_UNIX };

        snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", p->argv[1]);
        fd = socket(AF_UNIX, SOCK_STREAM, 0);

        if (connect(fd, (struct sockaddr *) &sun, sizeof(sun)) == -1) {
            die("redis");
        }

        head = snprintf(buf, sizeof(buf), "AUTH %s\r\n", p->argv[2]);
        put(fd, buf, (size_t) head);
        (void) !read(fd, answer, sizeof(answer));
    }

    total = (uint64_t) p->seconds * (uint64_t) p->rate;
    start = now();

    for (i = 0; i < total; i++) {

        at = start + i * 1000000000 / (uint64_t) p->rate;
        ts.tv_sec = (time_t) (at / 1000000000);
        ts.tv_nsec = (long) (at % 1000000000);

        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL)) {
            /* again */
        }

        message(msg, p->size, i);

        if (http) {
            head = snprintf(buf, sizeof(buf), "POST %s HTTP/1.1\r\nHost: x\r\n"
                            "Content-Length: %d\r\n\r\n", p->argv[2], p->size);

        } else {
            head = snprintf(buf, sizeof(buf), "*3\r\n$7\r\nPUBLISH\r\n$%zu\r\n"
                            "%s\r\n$%d\r\n", strlen(p->argv[3]), p->argv[3],
                            p->size);
        }

        memcpy(buf + head, msg, (size_t) p->size);
        head += p->size;

        if (!http) {
            memcpy(buf + head, "\r\n", 2);
            head += 2;
        }

        put(fd, buf, (size_t) head);
        published = i + 1;

        /* answers are read and forgotten, so that nobody has to wait */

        while (recv(fd, answer, sizeof(answer), MSG_DONTWAIT) > 0) { }
    }

    over = 1;
    usleep(100000);
    close(fd);

    return NULL;
}

/* -- the subscribers ------------------------------------------------------- */

/* "received_at":"2018-09-03T13:59:49.000Z" */

static void
aged(const uint8_t *p, uint64_t len)
{
    int              ms;
    char             text[32];
    double           late;
    struct tm        tm = { 0 };
    const uint8_t   *at;
    struct timespec  ts;

    at = memmem(p, len, "\"received_at\":\"", 15);

    if (at == NULL || (uint64_t) (at - p) + 15 + 24 > len) {
        other++;
        return;
    }

    memcpy(text, at + 15, 24);
    text[24] = '\0';

    if (sscanf(text, "%d-%d-%dT%d:%d:%d.%dZ", &tm.tm_year, &tm.tm_mon,
               &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &ms) != 7)
    {
        other++;
        return;
    }

    tm.tm_year -= 1900;
    tm.tm_mon--;
    clock_gettime(CLOCK_REALTIME, &ts);

    late = (double) (ts.tv_sec - timegm(&tm)) * 1e4
           + (double) ts.tv_nsec / 1e5 - ms * 10;
    deliveries++;
    buckets[late < 0 ? 0 : late < BUCKETS ? (int) late : BUCKETS]++;
}

static void
heard(listener_t *l, const uint8_t *p, uint64_t len, int size, uint64_t t)
{
    char      hex[17];
    uint64_t  n, late;

    if (foreign) {
        aged(p, len);
        return;
    }

    if (len != (uint64_t) size || memcmp(p, "{\"n\":\"", 6) != 0) {
        other++;
        return;
    }

    hex[16] = '\0';
    memcpy(hex, p + 6, 16);
    n = strtoull(hex, NULL, 16);
    memcpy(hex, p + 29, 16);
    late = (t - strtoull(hex, NULL, 16)) / 100000;

    if (n < l->next) {
        twice++;
        return;
    }

    gaps += n - l->next;
    l->next = n + 1;
    deliveries++;
    buckets[late < BUCKETS ? late : BUCKETS]++;
}

/* Frames of a server: not masked, never longer than 64 KiB here. */

static size_t
frames(listener_t *l, const uint8_t *p, size_t len, int size, uint64_t t)
{
    size_t    used = 0, head;
    uint64_t  n;

    for ( ;; ) {
        if (len - used < 4) {
            return used;
        }

        n = p[used + 1] & 127;
        head = 2;

        if (n == 126) {
            n = (uint64_t) p[used + 2] << 8 | p[used + 3];
            head = 4;
        }

        if (len - used < head + n) {
            return used;
        }

        if ((p[used] & 15) == 1) {
            heard(l, p + used + head, n, size, t);
        }

        used += head + n;
    }
}

static void
listener(listener_t *l, int size)
{
    size_t          used, len;
    ssize_t         n;
    uint64_t        t;
    static uint8_t  buf[PART + READ];

    memcpy(buf, l->part, l->have);
    n = recv(l->fd, buf + l->have, READ, MSG_DONTWAIT);

    if (n <= 0) {
        if (n == -1 && errno == EAGAIN) {
            return;
        }

        fprintf(stderr, "a subscriber was closed\n");
        exit(1);
    }

    t = now();
    len = l->have + (size_t) n;
    used = frames(l, buf, len, size, t);
    l->have = (uint32_t) (len - used);

    if (l->have > PART) {
        fprintf(stderr, "a message is too long\n");
        exit(1);
    }

    memcpy(l->part, buf + used, l->have);
}

static int
subscribed(int port, const char *path, const char *header, const char *first)
{
    int      fd;
    char     buf[8192], *end;
    size_t   len = 0, n, i;
    ssize_t  got;

    fd = connected(port);

    len = (size_t) snprintf(buf, sizeof(buf), "GET %s HTTP/1.1\r\nHost: x\r\n"
              "Upgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Version: 13\r\n"
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s\r\n", path,
              header, *header ? "\r\n" : "");
    put(fd, buf, len);
    len = 0;

    /* byte by byte: what follows belongs to the frames */

    do {
        got = recv(fd, buf + len, 1, 0);

        if (got <= 0 || len == sizeof(buf) - 2) {
            die("handshake");
        }

        buf[++len] = '\0';
        end = len >= 4 ? strstr(buf + len - 4, "\r\n\r\n") : NULL;
    } while (end == NULL);

    if (strncmp(buf, "HTTP/1.1 101", 12) != 0) {
        fprintf(stderr, "%.200s\n", buf);
        exit(1);
    }

    if (*first) {
        n = strlen(first);
        i = 0;
        buf[i++] = (char) 0x81;

        if (n < 126) {
            buf[i++] = (char) (0x80 | n);

        } else {
            buf[i++] = (char) (0x80 | 126);
            buf[i++] = (char) (n >> 8);
            buf[i++] = (char) n;
        }

        memset(buf + i, 0, 4);          /* a mask of zeros */
        memcpy(buf + i + 4, first, n);
        put(fd, buf, i + 4 + n);
    }

    return fd;
}

/* -- figures --------------------------------------------------------------- */

static double
cpu(const char *pids)
{
    char                file[64];
    FILE               *f;
    double              sum = 0;
    const char         *p;
    unsigned long long  ns;

    for (p = pids; p && *p; p += strcspn(p, ","), p += (*p == ',')) {
        snprintf(file, sizeof(file), "/proc/%d/schedstat", atoi(p));
        f = fopen(file, "r");

        if (f == NULL || fscanf(f, "%llu", &ns) != 1) {
            die(file);
        }

        fclose(f);
        sum += (double) ns / 1e9;
    }

    return sum;
}

static double
quantile(double q)
{
    uint64_t  i, sum = 0, all = 0;

    for (i = 0; i <= BUCKETS; i++) {
        all += buckets[i];
    }

    for (i = 0; i <= BUCKETS; i++) {
        sum += buckets[i];

        if (all && (double) sum >= q * (double) all) {
            break;
        }
    }

    return (double) i / 10;
}

int
main(int argc, char **argv)
{
    int                  opt, ep, i, k, n, count;
    char                *server = NULL, *besides = NULL, *first;
    FILE                *list = NULL;
    double               c0 = 0, b0 = 0, c1, b1;
    uint64_t             start, t, t0 = 0, d0 = 0, settle;
    pthread_t            thread;
    listener_t          *all;
    publisher_t          pub;
    struct rlimit        rl = { 65536, 65536 };
    struct epoll_event   ev, evs[512];
    static char          line[4000];

    while ((opt = getopt(argc, argv, "+c:C:d:")) != -1) {
        if (opt == 'c') {
            server = optarg;

        } else if (opt == 'C') {
            besides = optarg;

        } else if (opt == 'd' && ndevices < DEVICES) {
            devices[ndevices++] = optarg;
        }
    }

    argv += optind;
    argc -= optind;

    if (argc < 9) {
        fprintf(stderr, "see the head of listen.c\n");
        return 2;
    }

    foreign = (strcmp(argv[8], "none") == 0);

    if (argv[7][0] == '@') {
        list = fopen(argv[7] + 1, "r");

        if (list == NULL) {
            die(argv[7]);
        }
    }

    if (ndevices == 0) {
        devices[ndevices++] = "00000000-0000-0000-0000-000000000000";
    }

    pub.port = atoi(argv[0]);
    count = atoi(argv[2]);
    pub.seconds = atoi(argv[3]);
    pub.rate = atoi(argv[4]);
    pub.size = atoi(argv[5]);
    pub.argv = argv + 8;

    setrlimit(RLIMIT_NOFILE, &rl);
    ep = epoll_create1(0);
    all = calloc((size_t) count, sizeof(*all));

    for (i = 0; i < count; i++) {
        first = argv[7];

        if (list) {
            if (!fgets(line, sizeof(line), list)) {
                rewind(list);
                (void) !fgets(line, sizeof(line), list);
            }

            line[strcspn(line, "\n")] = '\0';
            first = line;
        }

        all[i].fd = subscribed(pub.port, argv[1], argv[6], first);
        ev.events = EPOLLIN;
        ev.data.ptr = &all[i];
        epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &ev);

        /* answers to those who came before */

        n = epoll_wait(ep, evs, 512, 0);

        for (k = 0; k < n; k++) {
            listener(evs[k].data.ptr, pub.size);
        }
    }

    /* all of them are subscribed when nothing comes any more */

    do {
        n = epoll_wait(ep, evs, 512, 500);

        for (k = 0; k < n; k++) {
            listener(evs[k].data.ptr, pub.size);
        }
    } while (n > 0);

    printf("ready %d\n", count);
    fflush(stdout);
    (void) !read(0, evs, 1);

    start = now();
    pthread_create(&thread, NULL, publisher, &pub);

    for (settle = 0; !settle || now() < settle; /* void */ ) {
        n = epoll_wait(ep, evs, 512, 20);

        for (k = 0; k < n; k++) {
            listener(evs[k].data.ptr, pub.size);
        }

        t = now();

        if (!t0 && t - start > 1000000000) {
            t0 = t;
            d0 = deliveries;
            c0 = cpu(server);
            b0 = cpu(besides);
        }

        if (over && !settle) {
            c1 = cpu(server) - c0;
            b1 = cpu(besides) - b0;
            printf("%.3f s %llu deliveries %.3f cpu %.3f besides\n",
                   (double) (t - t0) / 1e9,
                   (unsigned long long) (deliveries - d0), c1, b1);
            settle = t + (foreign ? 1 : 3000000000);
        }

        if (settle && !foreign && deliveries + gaps == published * (uint64_t) count) {
            break;
        }
    }

    printf("%llu published %llu delivered %llu missed %llu twice %llu unseen "
           "p50 %.1f p99 %.1f max %.1f\n", (unsigned long long) published,
           (unsigned long long) deliveries, (unsigned long long) gaps,
           (unsigned long long) twice,
           (unsigned long long) (published * (uint64_t) count - deliveries
                                 - gaps),
           quantile(0.5), quantile(0.99), quantile(1.0));

    return 0;
}
