/*
 * A relay that cuts what clients send into pieces, one piece of each
 * connection in turn, as `feed` does: so that two servers can be measured with
 * the same arrival pattern.
 *
 *     chop <listen port> <target port> <piece>
 */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/socket.h>

enum { PAIRS = 256, BUFFER = 1 << 20 };

typedef struct {
    int       client;
    int       server;
    uint8_t  *buf;
    size_t    len;
} pair_t;

static pair_t  pairs[PAIRS];


static int
tcp(int port, bool listener)
{
    int                 fd, one = 1;
    struct sockaddr_in  sin;

    fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));

    if (listener ? bind(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
                   || listen(fd, 64) == -1
                 : connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1)
    {
        perror("socket");
        exit(1);
    }

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(fd, F_SETFL, O_NONBLOCK);

    return fd;
}


static void
drop(pair_t *p)
{
    close(p->client);
    close(p->server);
    free(p->buf);
    memset(p, 0, sizeof(*p));
}


int
main(int argc, char **argv)
{
    int      listener, fd, port;
    bool     busy;
    size_t   piece, n;
    ssize_t  got;
    uint8_t  back[65536];

    if (argc < 4) {
        return 2;
    }

    signal(SIGPIPE, SIG_IGN);
    listener = tcp(atoi(argv[1]), true);
    port = atoi(argv[2]);
    piece = (size_t) atoi(argv[3]);

    for ( ;; ) {
        busy = false;
        fd = accept(listener, NULL, NULL);

        for (int i = 0; i < PAIRS; i++) {
            pair_t  *p = &pairs[i];

            if (p->buf == NULL && fd != -1) {
                fcntl(fd, F_SETFL, O_NONBLOCK);
                p->client = fd;
                p->server = tcp(port, false);
                p->buf = malloc(BUFFER);
                fd = -1;
            }

            if (p->buf == NULL) {
                continue;
            }

            if (p->len < BUFFER) {
                got = read(p->client, p->buf + p->len, BUFFER - p->len);

                if (got == 0 || (got == -1 && errno != EAGAIN)) {
                    drop(p);
                    continue;
                }

                p->len += got > 0 ? (size_t) got : 0;
            }

            if (p->len) {
                n = p->len < piece ? p->len : piece;
                got = write(p->server, p->buf, n);

                if (got > 0) {
                    p->len -= (size_t) got;
                    memmove(p->buf, p->buf + got, p->len);
                    busy = true;
                }
            }

            while ((got = read(p->server, back, sizeof(back))) > 0) {
                if (write(p->client, back, (size_t) got) != got) {
                    break;
                }
            }

            if (got == 0) {
                drop(p);
            }
        }

        if (!busy) {
            struct timespec  t = { 0, 500000 };

            nanosleep(&t, NULL);
        }
    }
}
