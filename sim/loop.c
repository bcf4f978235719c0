/* See loop.h. */

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "sim/loop.h"

#define SIM_EVENTS  512

bool  sim_verbose;

static int                 sim_epoll = -1;
static bool                sim_running;
static uint64_t            sim_turn_us;
static sim_timer_t       **sim_heap;        /* from 1 */
static size_t              sim_heap_len, sim_heap_cap;
static struct epoll_event  sim_events[SIM_EVENTS];
static int                 sim_event_at, sim_event_count;
static void              **sim_graves;
static size_t              sim_graves_len, sim_graves_cap;


uint64_t
sim_now_exact_us(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_MONOTONIC, &t);

    return (uint64_t) t.tv_sec * 1000000 + (uint64_t) t.tv_nsec / 1000;
}


uint64_t
sim_now_us(void)
{
    return sim_turn_us ? sim_turn_us : sim_now_exact_us();
}


int64_t
sim_wall_us(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_REALTIME, &t);

    return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}


/* ---- timers ---------------------------------------------------------------- */

static void
sim_heap_put(size_t i, sim_timer_t *t)
{
    sim_heap[i] = t;
    t->place = i;
}


static void
sim_heap_up(size_t i, sim_timer_t *t)
{
    while (i > 1 && sim_heap[i / 2]->at_us > t->at_us) {
        sim_heap_put(i, sim_heap[i / 2]);
        i /= 2;
    }

    sim_heap_put(i, t);
}


static void
sim_heap_down(size_t i, sim_timer_t *t)
{
    size_t  child;

    for ( ;; ) {
        child = 2 * i;

        if (child > sim_heap_len) {
            break;
        }

        if (child < sim_heap_len
            && sim_heap[child + 1]->at_us < sim_heap[child]->at_us)
        {
            child++;
        }

        if (sim_heap[child]->at_us >= t->at_us) {
            break;
        }

        sim_heap_put(i, sim_heap[child]);
        i = child;
    }

    sim_heap_put(i, t);
}


void
sim_timer_stop(sim_timer_t *t)
{
    size_t        i;
    sim_timer_t  *last;

    i = t->place;

    if (i == 0) {
        return;
    }

    t->place = 0;
    last = sim_heap[sim_heap_len--];

    if (last == t) {
        return;
    }

    if (i > 1 && sim_heap[i / 2]->at_us > last->at_us) {
        sim_heap_up(i, last);

    } else {
        sim_heap_down(i, last);
    }
}


void
sim_timer_at(sim_timer_t *t, uint64_t at_us)
{
    sim_timer_stop(t);

    if (sim_heap_len + 2 > sim_heap_cap) {
        sim_heap_cap = sim_heap_cap ? 2 * sim_heap_cap : 1024;
        sim_heap = sim_realloc(sim_heap, sim_heap_cap * sizeof(sim_heap[0]));
    }

    t->at_us = at_us;
    sim_heap_up(++sim_heap_len, t);
}


void
sim_timer_set(sim_timer_t *t, uint64_t in_us)
{
    sim_timer_at(t, sim_now_us() + in_us);
}


/* ---- descriptors ------------------------------------------------------------- */

bool
sim_io_add(sim_io_t *io, uint32_t events)
{
    struct epoll_event  e;

    e.events = events;
    e.data.ptr = io;

    return epoll_ctl(sim_epoll, EPOLL_CTL_ADD, io->fd, &e) == 0;
}


void
sim_io_change(sim_io_t *io, uint32_t events)
{
    struct epoll_event  e;

    e.events = events;
    e.data.ptr = io;
    (void) epoll_ctl(sim_epoll, EPOLL_CTL_MOD, io->fd, &e);
}


void
sim_io_remove(sim_io_t *io)
{
    int  i;

    (void) epoll_ctl(sim_epoll, EPOLL_CTL_DEL, io->fd, NULL);

    for (i = sim_event_at; i < sim_event_count; i++) {
        if (sim_events[i].data.ptr == io) {
            sim_events[i].data.ptr = NULL;
        }
    }
}


bool
sim_loop_init(void)
{
    sim_epoll = epoll_create1(EPOLL_CLOEXEC);

    return sim_epoll >= 0;
}


void
sim_loop_stop(void)
{
    sim_running = false;
}


static int
sim_loop_wait(void)
{
    uint64_t  now, at;

    if (sim_heap_len == 0) {
        return 1000;
    }

    now = sim_now_exact_us();
    at = sim_heap[1]->at_us;

    if (at <= now) {
        return 0;
    }

    return at - now > 1000000 ? 1000 : (int) ((at - now + 999) / 1000);
}


void
sim_loop_run(void)
{
    sim_io_t     *io;
    sim_timer_t  *t;

    sim_running = true;

    while (sim_running) {
        sim_event_count = epoll_wait(sim_epoll, sim_events, SIM_EVENTS,
                                     sim_loop_wait());

        if (sim_event_count < 0 && errno != EINTR) {
            perror("epoll_wait");
            exit(1);
        }

        sim_turn_us = sim_now_exact_us();

        for (sim_event_at = 0; sim_event_at < sim_event_count; /* void */) {
            io = sim_events[sim_event_at].data.ptr;

            if (io) {
                io->ready(io, sim_events[sim_event_at++].events);

            } else {
                sim_event_at++;
            }
        }

        sim_event_count = 0;

        while (sim_heap_len && sim_heap[1]->at_us <= sim_turn_us
               && sim_running)
        {
            t = sim_heap[1];
            sim_timer_stop(t);
            t->fire(t->data);
        }

        while (sim_graves_len) {
            free(sim_graves[--sim_graves_len]);
        }

        sim_turn_us = 0;
    }
}


/* ---- odds and ends ------------------------------------------------------------ */

void *
sim_alloc(size_t n)
{
    void  *p;

    p = calloc(1, n ? n : 1);

    if (p == NULL) {
        fprintf(stderr, "mdvr-sim: out of memory\n");
        exit(1);
    }

    return p;
}


void *
sim_realloc(void *p, size_t n)
{
    p = realloc(p, n);

    if (p == NULL) {
        fprintf(stderr, "mdvr-sim: out of memory\n");
        exit(1);
    }

    return p;
}


void
sim_free_later(void *p)
{
    if (sim_graves_len == sim_graves_cap) {
        sim_graves_cap = sim_graves_cap ? 2 * sim_graves_cap : 64;
        sim_graves = sim_realloc(sim_graves,
                                 sim_graves_cap * sizeof(sim_graves[0]));
    }

    sim_graves[sim_graves_len++] = p;
}


void
sim_log(bool detail, const char *fmt, ...)
{
    char       stamp[16];
    time_t     now;
    va_list    args;
    struct tm  tm;

    if (detail && !sim_verbose) {
        return;
    }

    now = time(NULL);
    localtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%H:%M:%S", &tm);
    printf("%s ", stamp);

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    putchar('\n');
    fflush(stdout);
}


uint64_t
sim_random(uint64_t *state)
{
    uint64_t  z;

    z = (*state += 0x9e3779b97f4a7c15);             /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;

    return z ^ z >> 31;
}


double
sim_uniform(uint64_t *state)
{
    return (double) (sim_random(state) >> 11) / 9007199254740992.0;
}
