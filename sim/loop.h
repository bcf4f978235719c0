/*
 * The event loop of the simulator: one epoll, timers in a heap, two clocks.
 * Everything runs in one thread; a handler may close what it was called for.
 */

#ifndef SIM_LOOP_H
#define SIM_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t   at_us;
    size_t     place;               /* 1-based place in the heap, 0: not set */
    void     (*fire)(void *data);
    void      *data;
} sim_timer_t;

/* Sets (or moves) a timer; the owner keeps it in its own memory. */
void sim_timer_set(sim_timer_t *t, uint64_t in_us);
void sim_timer_at(sim_timer_t *t, uint64_t at_us);
void sim_timer_stop(sim_timer_t *t);

typedef struct sim_io_s {
    int     fd;
    void  (*ready)(struct sim_io_s *io, uint32_t events);
} sim_io_t;

bool sim_io_add(sim_io_t *io, uint32_t events);
void sim_io_change(sim_io_t *io, uint32_t events);

/* Forgets the descriptor; events of it that are already fetched are
 * dropped.  Does not close it. */
void sim_io_remove(sim_io_t *io);

/* Runs until sim_stop().  False when epoll cannot be set up. */
bool sim_loop_init(void);
void sim_loop_run(void);
void sim_loop_stop(void);

uint64_t sim_now_us(void);          /* monotonic, as of this turn */
uint64_t sim_now_exact_us(void);    /* monotonic, asked now */
int64_t sim_wall_us(void);          /* Unix time, asked now */

/* Allocates or ends the program. */
void *sim_alloc(size_t n);          /* zeroed */
void *sim_realloc(void *p, size_t n);

/* Frees at the end of this turn: handlers may still look at it. */
void sim_free_later(void *p);

/* A line for the operator, with the time; only with --verbose when
 * `detail`. */
extern bool sim_verbose;
void sim_log(bool detail, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A small random generator; the state is the caller's. */
uint64_t sim_random(uint64_t *state);
double sim_uniform(uint64_t *state);            /* 0 <= x < 1 */

#endif /* SIM_LOOP_H */
