/* Children of the worker. */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/pool.h"


wk_verdict_e
wk_result(wk_result_t *res, wk_verdict_e verdict, const char *code,
    const char *format, ...)
{
    va_list  args;

    res->verdict = verdict;
    snprintf(res->code, sizeof(res->code), "%s", code);

    va_start(args, format);
    vsnprintf(res->reason, sizeof(res->reason), format, args);
    va_end(args);

    return verdict;
}


static void
wk_limit(int what, uint64_t value)
{
    struct rlimit  l;

    if (getrlimit(what, &l) == 0
        && (l.rlim_max == RLIM_INFINITY || value < l.rlim_max))
    {
        l.rlim_cur = value;
        l.rlim_max = value;
        setrlimit(what, &l);
    }
}


bool
wk_child_start(wk_child_t *child, const wk_conf_t *conf, unsigned wall_s,
    wk_run_pt run, void *data)
{
    int          fd[2];
    pid_t        pid, parent;
    ssize_t      n;
    sigset_t     none;
    wk_result_t  res;

    if (pipe2(fd, O_CLOEXEC) < 0) {
        wk_log(WK_ERROR, "no pipe", "error", strerror(errno), NULL);
        return false;
    }

    parent = getpid();
    pid = fork();

    if (pid < 0) {
        wk_log(WK_ERROR, "no process", "error", strerror(errno), NULL);
        close(fd[0]);
        close(fd[1]);
        return false;
    }

    if (pid > 0) {
        close(fd[1]);
        child->pid = pid;
        child->fd = fd[0];
        child->started_ms = wk_clock_ms();
        child->deadline_ms = child->started_ms + (int64_t) wall_s * 1000;
        child->killed = false;
        return true;
    }

    prctl(PR_SET_PDEATHSIG, SIGKILL);

    if (getppid() != parent) {
        _exit(1);                       /* it died before we could ask */
    }

    close(fd[0]);
    signal(SIGTERM, SIG_IGN);           /* the parent decides */
    signal(SIGINT, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);

    wk_limit(RLIMIT_CORE, 0);
    wk_limit(RLIMIT_AS, conf->memory);
    wk_limit(RLIMIT_CPU, (uint64_t) wall_s * 2);

    if (nice(5) == -1) {
        errno = 0;                      /* a wish only */
    }

    memset(&res, 0, sizeof(res));
    run(data, &res);

    n = write(fd[1], &res, sizeof(res));

    _exit(n == (ssize_t) sizeof(res) ? 0 : 1);
}


bool
wk_child_poll(wk_child_t *child, wk_result_t *res)
{
    int      status;
    pid_t    pid;
    ssize_t  n;

    if (!child->killed && wk_clock_ms() > child->deadline_ms) {
        child->killed = true;
        kill(child->pid, SIGKILL);
    }

    do {
        pid = waitpid(child->pid, &status, WNOHANG);
    } while (pid < 0 && errno == EINTR);

    if (pid == 0) {
        return false;
    }

    memset(res, 0, sizeof(*res));
    n = read(child->fd, res, sizeof(*res));
    close(child->fd);
    child->pid = 0;

    if (n == (ssize_t) sizeof(*res)) {
        return true;
    }

    if (child->killed) {
        wk_result(res, WK_RETRY, "timeout", "took longer than allowed");

    } else if (pid > 0 && WIFSIGNALED(status)) {
        wk_result(res, WK_RETRY, "crash", "died by signal %d",
                  WTERMSIG(status));

    } else {
        wk_result(res, WK_RETRY, "crash", "ended without a verdict");
    }

    return true;
}


void
wk_child_kill(wk_child_t *child)
{
    wk_result_t  res;

    if (child->pid == 0) {
        return;
    }

    kill(child->pid, SIGKILL);

    while (child->pid && !wk_child_poll(child, &res)) {
        usleep(1000);
    }
}
