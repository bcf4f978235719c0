/*
 * What waking another process costs: FIFO against eventfd.  The figures are in
 * docs/decisions/0001-wake-fifo.md.
 *
 *     cc -O2 -D_GNU_SOURCE -o /tmp/wake t/bench/wake.c && /tmp/wake
 */

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/eventfd.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <sys/mman.h>
#include <time.h>
#include <stdint.h>
#include <stdatomic.h>

enum { LOOPS = 500000, WAKES = 20000 };


static uint64_t
now_ns(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_MONOTONIC, &t);

    return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}


static int
compare(const void *one, const void *two)
{
    uint64_t  a = *(const uint64_t *) one, b = *(const uint64_t *) two;

    return (a > b) - (a < b);
}


static double
write_and_read(int fd)
{
    uint64_t  value = 1, start = now_ns();

    for (int i = 0; i < LOOPS; i++) {
        value = 1;
        if (write(fd, &value, 8) != 8 || read(fd, &value, 8) != 8) {
            abort();
        }
    }

    return (double) (now_ns() - start) / LOOPS;
}


static void
across(int fd, double *p50_us, double *p99_us)
{
    size_t             size = (WAKES + 1) * sizeof(uint64_t);
    pid_t              pid;
    uint64_t          *late, value;
    _Atomic uint64_t  *sent;

    late = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS,
                -1, 0);
    if (late == MAP_FAILED) {
        abort();
    }

    sent = (_Atomic uint64_t *) (late + WAKES);

    pid = fork();

    if (pid == 0) {
        int                 ep = epoll_create1(0);
        struct epoll_event  ev = { .events = EPOLLIN };

        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);

        for (int i = 0; i < WAKES; i++) {
            if (epoll_wait(ep, &ev, 1, -1) != 1 || read(fd, &value, 8) != 8) {
                abort();
            }
            late[i] = now_ns() - *sent;
            *sent = 0;
        }

        _exit(0);
    }

    for (int i = 0; i < WAKES; i++) {
        usleep(50);
        value = 1;
        *sent = now_ns();
        if (write(fd, &value, 8) != 8) {
            abort();
        }
        while (*sent) {
            sched_yield();
        }
    }

    waitpid(pid, NULL, 0);

    qsort(late, WAKES, sizeof(uint64_t), compare);

    *p50_us = (double) late[WAKES / 2] / 1000;
    *p99_us = (double) late[WAKES * 99 / 100] / 1000;
}


int
main(void)
{
    char    dir[] = "/tmp/wake.XXXXXX", path[64];
    int     fd[2];
    double  p50, p99;

    static const char  *name[] = { "fifo", "eventfd" };

    if (mkdtemp(dir) == NULL) {
        return 1;
    }

    snprintf(path, sizeof(path), "%s/fifo", dir);
    mkfifo(path, 0600);

    fd[0] = open(path, O_RDWR|O_NONBLOCK);
    fd[1] = eventfd(0, EFD_NONBLOCK);

    for (int i = 0; i < 2; i++) {
        printf("%-8s write and read %4.0f ns", name[i], write_and_read(fd[i]));
        across(fd[i], &p50, &p99);
        printf(", another process wakes after %.1f us (p99 %.1f us)\n",
               p50, p99);
    }

    unlink(path);
    rmdir(dir);

    return 0;
}
