/*
 * Children: one process for one job, so that a job may crash, hang or eat
 * memory without taking anything with it.
 *
 * A child has limits of memory and of CPU and wall time, dies with its
 * parent, and reports one verdict through a pipe.
 */

#ifndef MDVR_WORKER_POOL_H
#define MDVR_WORKER_POOL_H

#include <sys/types.h>

#include "worker/worker.h"

typedef enum {
    WK_DONE = 0,
    WK_RETRY,               /* may go better later */
    WK_GIVE_UP              /* never will */
} wk_verdict_e;

typedef struct {
    wk_verdict_e  verdict;
    char          code[32];     /* for metrics: one of a few words */
    char          reason[300];  /* for people */
} wk_result_t;

/* For handlers: sets all three and returns the verdict. */
wk_verdict_e wk_result(wk_result_t *res, wk_verdict_e verdict,
    const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

typedef struct {
    pid_t    pid;           /* 0: free */
    int      fd;            /* read end of the pipe */
    int64_t  started_ms;    /* wk_clock_ms() */
    int64_t  deadline_ms;
    bool     killed;        /* by us: it hung */
} wk_child_t;

typedef void (*wk_run_pt)(void *data, wk_result_t *res);

/* Starts `run` in a child; false when there is no process to be had. */
bool wk_child_start(wk_child_t *child, const wk_conf_t *conf,
    unsigned wall_s, wk_run_pt run, void *data);

/*
 * True when the child has ended: *res is what it said, or WK_RETRY with code
 * "crash" or "timeout" when it died without a word.  Kills it when its time
 * is up.
 */
bool wk_child_poll(wk_child_t *child, wk_result_t *res);

void wk_child_kill(wk_child_t *child);

#endif /* MDVR_WORKER_POOL_H */
